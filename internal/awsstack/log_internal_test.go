package awsstack

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestParseLine(t *testing.T) {
	const line = `{"time":"2026-01-01T12:00:00.5Z","level":"INFO","msg":"update","host":"nas.dyn.example.com","door":"dyndns2","outcome":"bad-proof","source":"192.0.2.1"}`
	l, ok := parseLine(line)
	if !ok || l.Host != "nas.dyn.example.com" || l.Door != "dyndns2" || l.Outcome != "bad-proof" || l.Source != "192.0.2.1" || l.Time.Unix() != 1767268800 {
		t.Errorf("%+v, %v", l, ok)
	}
	for _, other := range []string{"", "START RequestId: 1 Version: 2", "{", `{"msg":"update"}`, strings.Replace(line, "update", "admin", 1), `{"time":"` + strings.Repeat("9", 20000) + `"}`} {
		if l, ok := parseLine(other); ok {
			t.Errorf("%.40q is taken for %+v", other, l)
		}
	}
}

// FuzzParseLine: nothing that a line says can change a terminal, or is long.
func FuzzParseLine(f *testing.F) {
	f.Add(`{"time":"2026-01-01T12:00:00Z","msg":"update","host":"a","door":"seed","outcome":"changed","source":"192.0.2.1","generation":7}`)
	f.Add(`{"time":"2026-01-01T12:00:00Z","msg":"update","host":"\u001b[2J","door":"\u009b","outcome":"\n","err":"x"}`)
	f.Fuzz(func(t *testing.T, text string) {
		l, ok := parseLine(text)
		if !ok {
			return
		}
		for _, s := range []string{l.Host, l.Door, l.Outcome, l.Source, l.Err} {
			if len(s) > 300 || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 }) {
				t.Errorf("%q", s)
			}
		}
		if _, err := json.Marshal(l); err != nil && utf8.ValidString(text) {
			t.Error(err)
		}
	})
}
