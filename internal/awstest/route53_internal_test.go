package awstest

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// printChanges writes changes as a request.
func printChanges(changes []Change) []byte {
	return xmlDocument("ChangeResourceRecordSetsRequest", func(w *xmlWriter) {
		w.open("ChangeBatch", "Changes")
		for _, c := range changes {
			w.open("Change")
			w.leaf("Action", c.Action)
			w.open("ResourceRecordSet")
			w.leaf("Name", c.Set.Name)
			w.leaf("Type", c.Set.Type)
			if c.Set.Identifier != "" {
				w.leaf("SetIdentifier", c.Set.Identifier)
			}
			if c.Set.Values != nil {
				w.leaf("TTL", strconv.FormatInt(c.Set.TTL, 10))
				w.open("ResourceRecords")
				for _, v := range c.Set.Values {
					w.open("ResourceRecord")
					w.leaf("Value", v)
					w.shut("ResourceRecord")
				}
				w.shut("ResourceRecords")
			} else {
				w.open("AliasTarget")
				w.leaf("HostedZoneId", "Z")
				w.leaf("DNSName", c.Set.Alias)
				w.leaf("EvaluateTargetHealth", "false")
				w.shut("AliasTarget")
			}
			w.shut("ResourceRecordSet", "Change")
		}
		w.shut("Changes", "ChangeBatch")
	})
}

// FuzzRoute53Request: what is taken can be printed and read again as the same,
// and its names are canonical.
func FuzzRoute53Request(f *testing.F) {
	f.Add(printChanges([]Change{{"UPSERT", RecordSet{Name: `\052.example.org.`, Type: "A", TTL: 60, Values: []string{"192.0.2.1", "192.0.2.2"}}}}))
	f.Add(printChanges([]Change{{"DELETE", RecordSet{Name: "a.example.org.", Type: "TXT", Identifier: "<&>", TTL: -1, Values: []string{`"a" "\"b"`}}}}))
	f.Add(printChanges([]Change{{"CREATE", RecordSet{Name: "a.example.org.", Type: "A", Alias: "b.example.org."}}}))
	f.Add(printChanges(nil))
	for _, text := range []string{"", "<", "<a/>", "<?xml version=\"1.0\" encoding=\"latin1\"?><ChangeResourceRecordSetsRequest/>", "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>",
		`<ChangeResourceRecordSetsRequest xmlns="` + namespace + `"><ChangeBatch><Changes><Change><Action>CREATE</Action></Change></Changes></ChangeBatch></ChangeResourceRecordSetsRequest>x`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		changes, wrong := parseChanges(body)
		if wrong != nil {
			return
		}
		for _, c := range changes {
			if again, err := canonicalName(c.Set.Name); err != nil || again != c.Set.Name {
				t.Errorf("%q becomes %q, %v", c.Set.Name, again, err)
			}
			// What Unicode's replacement character stands for is not known.
			if slices.ContainsFunc(append(c.Set.Values, c.Set.Identifier, c.Set.Alias), func(s string) bool { return strings.ContainsRune(s, '\ufffd') }) {
				return
			}
		}
		again, wrong := parseChanges(printChanges(changes))
		if wrong != nil || !reflect.DeepEqual(again, changes) {
			t.Errorf("%+v\nbecomes %+v, %v", changes, again, wrong)
		}
	})
}

// FuzzRoute53Name: canonical twice is canonical once, the short way agrees with
// the long one, and the reverse has as many dots.
func FuzzRoute53Name(f *testing.F) {
	for _, name := range []string{"a.example.org", "A.Example.ORG.", `\052.example.org`, "*.example.org.", `a\056b.org`, "..", "", ".", `\40`, strings.Repeat("a", 64), strings.Repeat("a.", 127), strings.Repeat("a.", 128)} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		once, err := canonicalName(name)
		if err != nil {
			return
		}
		if twice, err := canonicalName(once); err != nil || twice != once {
			t.Errorf("%q, then %q, then %q, %v", name, once, twice, err)
		}
		if strings.Count(once, ".") != strings.Count(reversedName(once), ".") {
			t.Errorf("%q reversed is %q", once, reversedName(once))
		}
		if !strings.Contains(once, `\`) && !isCanonical(once) {
			t.Errorf("%q is canonical", once)
		}
	})
}

func TestLike(t *testing.T) {
	for _, tt := range []struct {
		pattern, text string
		want          bool
	}{
		{"*.dyn.example.org", `\052.dyn.example.org`, true},
		{"*.dyn.example.org", "dyn.example.org", false},
		{"*.dyn.example.org", "a.b.dyn.example.org", true},
		{"_acme-challenge.*", "_acme-challenge.a.example.org", true},
		{"a?c*", "abc", true},
		{"a?c", "ac", false},
		{"*a*b", "xaybzb", true},
		{"*a*b", "xaybz", false},
		{"", "", true},
		{"**", "", true},
	} {
		if got := like(tt.pattern, tt.text); got != tt.want {
			t.Errorf("%q, %q: %t", tt.pattern, tt.text, got)
		}
	}
}
