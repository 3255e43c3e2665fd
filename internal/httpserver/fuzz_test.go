package httpserver

import (
	"bytes"
	"encoding/json"
	"io"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// oracle is what parseSeed should say, by way of encoding/json: slower, and
// with a check for each thing that it lets through.
func oracle(body []byte) (map[string]string, bool) {
	if !utf8.Valid(body) || !json.Valid(body) || hasLoneSurrogate(body) {
		return nil, false
	}
	d := json.NewDecoder(bytes.NewReader(body))
	if !oracleValue(d, 0) {
		return nil, false
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, false
	}
	var top map[string]json.RawMessage
	if json.Unmarshal(body, &top) != nil || top == nil {
		return nil, false
	}
	out := map[string]string{}
	for _, name := range []string{"execution_mode", "ddns_hostname", "validation_hash"} {
		if raw, ok := top[name]; ok {
			var text *string
			if json.Unmarshal(raw, &text) != nil || text == nil {
				return nil, false
			}
			out[name] = *text
		}
	}
	return out, true
}

// oracleValue reads one value and tells whether its objects repeat no member
// and nothing is too deep.
func oracleValue(d *json.Decoder, depth int) bool {
	t, err := d.Token()
	if err != nil {
		return false
	}
	open, ok := t.(json.Delim)
	if !ok {
		return true
	}
	if depth++; depth > maxDepth {
		return false
	}
	seen := map[string]bool{}
	for d.More() {
		if open == '{' {
			name, err := d.Token()
			if err != nil || seen[name.(string)] {
				return false
			}
			seen[name.(string)] = true
		}
		if !oracleValue(d, depth) {
			return false
		}
	}
	_, err = d.Token()
	return err == nil
}

var surrogates = regexp.MustCompile(`\\u[dD]([89abAB][0-9a-fA-F]{2})(\\u[dD][c-fC-F][0-9a-fA-F]{2})?|\\u[dD][c-fC-F]`)

func hasLoneSurrogate(body []byte) bool {
	text := strings.ReplaceAll(string(body), `\\`, "xx")
	for _, m := range surrogates.FindAllString(text, -1) {
		if len(m) != len(`\ud800\udc00`) {
			return true
		}
	}
	return false
}

func FuzzSeedBody(f *testing.F) {
	for _, s := range []string{
		``, `{}`, `[]`, `{"execution_mode":"get"}`, `{"execution_mode":"set","ddns_hostname":"NAS.Example.ORG.","validation_hash":"ab"}`,
		`{"execution\u005fmode":"\ud83e\udd89","a":[1,-0.5e+7,true,false,null,{"b":"\\\""}]}`, `{"a":1,"a":2}`, `{"a":"\ud800"}`, "{\"a\":\"\xff\"}",
		`{"a":01}`, `{"a":-}`, `{"a":1.}`, `{"a":.1}`, `{"a":1e}`, `{"a":tru}`, `{"a" 1}`, `{"a":1,}`, `{"execution_mode":null}`, `{"":"","x":{"":{}}}`,
		strings.Repeat(`{"a":`, 40), `{"a":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`, `{"1":1,"2":1,"3":1,"4":1,"5":1,"6":1,"7":1,"8":1,"9":1,"1":1}`,
		`{"ddns_hostname":"\u0000\/\b\f\n\r\t"}`, "\ufeff{}", "{}\x00",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) > seedBody {
			return
		}
		got, ok := parseSeed(body)
		want, wantOK := oracle(body)
		if ok != wantOK {
			t.Fatalf("parseSeed(%q) is %v, encoding/json with checks is %v", body, ok, wantOK)
		}
		if !ok {
			return
		}
		for name, text := range map[string][]byte{"execution_mode": got.mode, "ddns_hostname": got.host, "validation_hash": got.hash} {
			if wantText, there := want[name]; there != (text != nil) || wantText != string(text) {
				t.Fatalf("%s of %q is %q, want %q", name, body, text, wantText)
			}
		}
	})
}

// Whatever a message holds, what is written is JSON that reads back the same.
func FuzzPythonJSON(f *testing.F) {
	f.Add("☃ 🦉 \"\\\n\x00\x7f~")
	f.Fuzz(func(t *testing.T, text string) {
		b := append(appendPythonJSON([]byte{'"'}, text), '"')
		var got string
		if err := json.Unmarshal(b, &got); err != nil || got != strings.ToValidUTF8(text, "�") && utf8.ValidString(text) {
			t.Fatalf("%q became %s, read back as %q (%v)", text, b, got, err)
		}
		for _, c := range b {
			if c < ' ' || c > '~' {
				t.Fatalf("%s is not ASCII", b)
			}
		}
	})
}

func FuzzForwardedFor(f *testing.F) {
	for _, s := range []string{"198.51.100.7", "a, [2001:db8::1]:443", "192.0.2.1,198.51.100.7:80", "fe80::1%eth0", "::ffff:192.0.2.1", ",", "[", "[]:", ":", "1.2.3.4:99999999"} {
		f.Add(s)
	}
	listed := netip.MustParsePrefix("192.0.2.0/24")
	f.Fuzz(func(t *testing.T, header string) {
		got, err := sourceHop([]string{header}, listed.Contains)
		if err != nil {
			return
		}
		if !got.IsValid() || got.Zone() != "" || got.Is4In6() {
			t.Fatalf("%q gives %v", header, got)
		}
		// What is further to the left, a stranger's own words, changes nothing,
		// unless every hop is a listed proxy.
		again, err := sourceHop([]string{"203.0.113.9, x, " + header}, listed.Contains)
		if !listed.Contains(got) && (err != nil || again != got) {
			t.Fatalf("%q gives %v, with more to the left %v (%v)", header, got, again, err)
		}
	})
}

func FuzzNormalPath(f *testing.F) {
	for _, s := range []string{"", "/", "//", "/ip", "/ip/", "//a///b//", "/%2F/", "*", "a/b", "/../x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		got := normalPath(path)
		if !strings.HasPrefix(got, "/") || strings.Contains(got, "//") || len(got) > 1 && strings.HasSuffix(got, "/") {
			t.Fatalf("%q became %q", path, got)
		}
		if again := normalPath(got); again != got {
			t.Fatalf("%q became %q and then %q", path, got, again)
		}
		if len(got) > len(path)+1 {
			t.Fatalf("%q grew to %q", path, got)
		}
		if strings.ReplaceAll(got, "/", "") != strings.ReplaceAll(path, "/", "") {
			t.Fatalf("%q became %q", path, got)
		}
		if _, err := url.PathUnescape(path); err == nil {
			if _, err := url.PathUnescape(got); err != nil {
				t.Fatalf("%q became %q, which cannot be unescaped", path, got)
			}
		}
	})
}
