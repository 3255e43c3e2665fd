package doctor

import (
	"fmt"
	"strings"

	"godwit/internal/api"
)

// Advice says what to do about a refused request, from what the refusal itself
// says and what is usually behind it. flag names the installation, as in
// [Case.Flag]. It is never empty.
func Advice(r api.Request, host, flag string) []string {
	host = quote(host)
	var out []string
	switch r.Outcome {
	case "not-source", "address-not-allowed", "suspended": // said below, with the installation's name
	default:
		if r.Fix == "" {
			break
		}
		out = append(out, strings.ToUpper(r.Fix[:1])+r.Fix[1:])
	}
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	where := "where the client is"
	if r.Source.IsValid() {
		where = r.Source.String()
	}
	switch r.Outcome {
	case "bad-proof":
		if strings.Contains(r.Why, "plain HTTP") || strings.Contains(r.Why, "in a URL") {
			break // that is all
		}
		add("Is the whole token in the client: 8 characters, a hyphen, 26 more, with no space around it? Is it this host's, and the host's name the user name?")
		add("Is it still good, and may it be used from %s? godwit host token list %s%s", where, host, flag)
		add("If it is lost, make a new one: godwit host token add %s%s", host, flag)
	case "not-source":
		add("The client named another address than the one that it comes from. If that is meant, as where it sends both families over one connection: godwit host set %s --source free%s", host, flag)
		add("Else let it send no address at all, or look whether it sits behind a VPN or a second router")
	case "address-not-allowed":
		add("The address is private, shared by a provider (100.64.0.0/10) or otherwise not a public one. If it is to be published all the same: godwit host set %s --addresses any%s", host, flag)
		add("Else let the client take the address that the server sees it at, not that of its own interface")
	case "wrong-family":
		add("The token is for other types of records. See: godwit host token list %s%s", host, flag)
	case "not-yours":
		add("The token is another host's, or for other types of records. See: godwit host token list %s%s", host, flag)
	case "suspended":
		add("Let the host go on: godwit host set %s --suspended=off%s", host, flag)
	case "rate-limited":
		add("It sends too often. Set it to look every five minutes; two clients that fight over one name do this too: godwit host history %s%s", host, flag)
	case "clock":
		add("Set the device's clock, with NTP for example")
	case "unavailable":
		add("The server could not do it; its log says why")
	}
	if len(out) == 0 {
		add("Compare the client's settings with: godwit host setup %s --for CLIENT%s", host, flag)
	}
	return out
}
