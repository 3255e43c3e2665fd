package httpserver

import (
	"net/netip"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"godwit/internal/ddns"
)

// FuzzReadParams: of a query that net/url can read, each parameter has the first
// value that is not empty, by whatever case its name is spelt in; no query is too
// bad to be read.
func FuzzReadParams(f *testing.F) {
	for _, query := range []string{"hostname=a&hostname=b", "HostName=&hostname=%41%2c+b+", "myip=%zz&x=%", "=&&a&=b", "ip6lanprefix=2001:db8::/56&ip6lanprefixx=1", "h=%00&%68=1"} {
		f.Add(query)
	}
	names := []string{"hostname", "h", "myip", "myip2", "ip6lanprefix", "token", "offline", "txt", "clear", "format"}
	f.Fuzz(func(t *testing.T, query string) {
		var p, form paramSet
		p.read(query, "")
		if form.read("", query); form.form != p.query {
			t.Fatal("a form is read otherwise")
		}
		if _, err := url.ParseQuery(query); err != nil {
			return
		}
		for _, name := range names {
			one, ok := paramOf([]byte(name))
			if !ok {
				t.Fatal(name)
			}
			want := ""
			for pair := range strings.SplitSeq(query, "&") { // in order, which a map is not
				key, value, _ := strings.Cut(pair, "=")
				key, _ = url.QueryUnescape(key)
				value, _ = url.QueryUnescape(value)
				if value = strings.Trim(value, " \t\r\n"); want == "" && asciiFold(key) == name {
					want = value
				}
			}
			if got := p.get(one, one); got != want {
				t.Fatalf("%q has %s=%q, want %q", query, name, got, want)
			}
		}
	})
}

// asciiFold is text in lower case, if it is ASCII.
func asciiFold(text string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, text)
}

// FuzzReadWishes: what is read of address parameters is addresses of their
// families, at most 8 of each, and a prefix that followers can be put below; and
// written out plainly it is read as the same again.
func FuzzReadWishes(f *testing.F) {
	for _, s := range [][4]string{
		{"", "", "198.51.100.7,2001:db8::7", ""}, {"198.51.100.7/32", "-", "", "2001:db8::/56"}, {"preserve", "auto", ",", "auto"},
		{"", "2001:db8::7/64", "::ffff:192.0.2.1", ""}, {"", "2001:db8::/56", "", "-"}, {"", "", "127.0.0.1,::1", ""}, {"", "", "-,1.2.3.4", ""},
		{"1.2.3.4,,", "fe80::1%eth0", "010.1.1.1", "2001:db8::1/56"},
	} {
		f.Add(s[0], s[1], s[2], s[3], false)
		f.Add(s[0], s[1], s[2], s[3], true)
	}
	f.Fuzz(func(t *testing.T, v4, v6, either, prefix string, over6 bool) {
		source := netip.MustParseAddr("198.51.100.1")
		if over6 {
			source = netip.MustParseAddr("2001:db8:0:ff00::1")
		}
		w, refusal := readWishes(v4, v6, either, prefix, source)
		if refusal != nil {
			if refusal.Code != ddns.Malformed && refusal.Code != ddns.TooMany || refusal.Why == "" || refusal.Fix == "" {
				t.Fatalf("%+v", refusal)
			}
			return
		}
		seen := map[ddns.Type]bool{}
		plain := map[ddns.Type]string{ddns.TypeA: "preserve", ddns.TypeAAAA: "preserve"}
		if w.auto {
			plain = map[ddns.Type]string{}
		}
		for _, c := range w.changes {
			if seen[c.Type] {
				t.Fatalf("%s is there twice", c.Type)
			}
			seen[c.Type] = true
			var texts []string
			for _, a := range c.Addrs {
				if !a.IsValid() || a.Is4In6() || a.Zone() != "" || a.Is4() != (c.Type == ddns.TypeA) {
					t.Fatalf("%s of type %s", a, c.Type)
				}
				texts = append(texts, a.String())
			}
			plain[c.Type] = strings.Join(texts, ",")
			switch {
			case c.Op == ddns.Clear:
				plain[c.Type] = "-"
			case c.Type == ddns.TypePrefix && !isDelegated(c.Prefix):
				t.Fatalf("prefix %s", c.Prefix)
			case c.Type == ddns.TypePrefix:
				plain[c.Type] = c.Prefix.String()
			case len(c.Addrs) == 0:
				t.Fatalf("%s is set to nothing", c.Type)
			}
		}
		again, refusal := readWishes(plain[ddns.TypeA], plain[ddns.TypeAAAA], "", plain[ddns.TypePrefix], source)
		if refusal != nil || !reflect.DeepEqual(again.changes, w.changes) || again.auto != w.auto {
			t.Fatalf("%+v, written as %v is %+v, %v", w, plain, again, refusal)
		}
	})
}
