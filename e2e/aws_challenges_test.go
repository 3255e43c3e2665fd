//go:build linux

package e2e

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"godwit/internal/api"
	"godwit/internal/awstest"
)

// awsChallenges: values for certificates come through the Function URL and stand
// in Route 53 beside the addresses, in batches of their own, until they are taken
// away; the account of acme-dns that a token registers is there for both.
func awsChallenges(t *testing.T, s *stack) {
	const host = "certificates." + zone
	var made, limited api.Created
	s.must(&made, "", "host", "add", host)
	s.must(&limited, "", "host", "token", "add", host, "--types", "TXT")
	basic := func(token string) map[string]string {
		return map[string]string{"authorization": "Basic " + base64.StdEncoding.EncodeToString([]byte(host+":"+token))}
	}
	post := func(path, body string, header map[string]string, status int) string {
		t.Helper()
		a := ask(t, s.function, awstest.URLRequest{Method: "POST", Path: path, Body: body, Source: "203.0.113.9", Header: header})
		if a.StatusCode != status {
			t.Errorf("%s: %d %s, want %d", path, a.StatusCode, a.Body, status)
		}
		return a.Body
	}
	shows := func(want string) {
		t.Helper()
		if got := s.shows("_acme-challenge."+host, "TXT"); got != want {
			t.Errorf("Route 53 shows %q, want %q", got, want)
		}
	}
	httpreq := func(verb, value, token string, status int) {
		t.Helper()
		post("/httpreq/"+verb, `{"fqdn":"_acme-challenge.`+host+`.","value":"`+value+`"}`+"\n", basic(token), status)
	}
	one, two := strings.Repeat("1", 43), strings.Repeat("2", 43)
	httpreq("present", "x", limited.Token[:34]+"0", 401)
	httpreq("present", one, limited.Token, 200)
	shows(`60 "` + one + `"`)
	httpreq("present", two, made.Token, 200) // before the other is cleaned up
	shows(`60 "` + one + `" "` + two + `"`)
	httpreq("cleanup", one, limited.Token, 200)
	shows(`60 "` + two + `"`)
	httpreq("cleanup", two, limited.Token, 200)
	httpreq("cleanup", two, limited.Token, 200)
	shows("")

	post("/acme-dns/register", "", nil, 401)
	var account struct{ Username, Password, FullDomain, Subdomain string }
	body := post("/acme-dns/register", `{"allowfrom":["203.0.113.0/24"]}`, basic(limited.Token), 201)
	if err := json.Unmarshal([]byte(body), &account); err != nil || account.FullDomain != "_acme-challenge."+host {
		t.Fatalf("registered %s", body)
	}
	header := map[string]string{"x-api-user": account.Username, "x-api-key": account.Password}
	for _, path := range []string{"/acme-dns/update", "/update"} { // a Function URL has no path of its own
		if got := post(path, `{"subdomain":"`+account.Subdomain+`","txt":"`+one+`"}`, header, 200); got != `{"txt": "`+one+`"}` {
			t.Errorf("answered %s", got)
		}
	}
	shows(`60 "` + one + `"`)
	elsewhere := ask(t, s.function, awstest.URLRequest{Method: "POST", Path: "/acme-dns/update", Body: `{"subdomain":"` + account.Subdomain + `","txt":"` + two + `"}`, Source: home1, Header: header})
	if elsewhere.StatusCode != 401 || elsewhere.Body != `{"error":"forbidden"}` {
		t.Errorf("from elsewhere: %d %s", elsewhere.StatusCode, elsewhere.Body)
	}
	if got := post("/register", `{"execution_mode":"get"}`, nil, 200); !strings.Contains(got, "203.0.113.9") {
		t.Errorf("the seed's door at another's path: %s", got)
	}
	s.must(nil, "", "host", "rotate", host)
	post("/acme-dns/update", `{"subdomain":"`+account.Subdomain+`","txt":"`+two+`"}`, header, 401)
}
