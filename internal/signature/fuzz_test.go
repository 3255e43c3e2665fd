package signature_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"godwit/internal/signature"
)

// A second reading of RFC 8941: parser and serialiser as sections 4.2 and 4.1
// write them down, the parser as lenient as it is there. The strict parser must
// take exactly the texts that come back unchanged, within its bounds.

type (
	token   string
	decimal int64 // thousandths

	parameter struct {
		key   string
		value any
	}
	item struct {
		value  any // int64, decimal, string, token, []byte, bool
		params []parameter
	}
	innerList struct {
		items  []item
		params []parameter
	}
	entry struct {
		key   string
		value any // item or innerList
	}
)

// reader reads one text; it panics with a failure at the first octet that fits
// nothing.
type reader struct{ rest string }

type failure string

func readDictionary(text string) (out []entry, err error) {
	defer func() {
		if why, ok := recover().(failure); ok {
			err = fmt.Errorf("%s", string(why))
		}
	}()
	r := &reader{strings.Trim(text, " ")}
	for r.rest != "" {
		key := r.key()
		e := entry{key, item{value: true}}
		if r.take('=') {
			if r.peek() == '(' {
				e.value = r.innerList()
			} else {
				value := r.bareItem()
				e.value = item{value, r.params()}
			}
		} else {
			e.value = item{true, r.params()}
		}
		at := -1
		for i := range out {
			if out[i].key == key {
				at = i
			}
		}
		if at >= 0 {
			out[at].value = e.value
		} else {
			out = append(out, e)
		}
		r.rest = strings.TrimLeft(r.rest, " \t")
		if r.rest == "" {
			return out, nil
		}
		if !r.take(',') {
			panic(failure("no comma"))
		}
		r.rest = strings.TrimLeft(r.rest, " \t")
		if r.rest == "" {
			panic(failure("a comma at the end"))
		}
	}
	return out, nil
}

func (r *reader) peek() byte {
	if r.rest == "" {
		return 0
	}
	return r.rest[0]
}

func (r *reader) take(c byte) bool {
	if r.rest == "" || r.rest[0] != c {
		return false
	}
	r.rest = r.rest[1:]
	return true
}

// run takes the longest prefix of characters in set.
func (r *reader) run(set string) string {
	n := len(r.rest) - len(strings.TrimLeft(r.rest, set))
	out := r.rest[:n]
	r.rest = r.rest[n:]
	return out
}

const (
	small  = "abcdefghijklmnopqrstuvwxyz"
	big    = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digits = "0123456789"
)

func (r *reader) key() string {
	if !strings.Contains(small+"*", string(r.peek())) || r.rest == "" {
		panic(failure("no key"))
	}
	return r.run(small + digits + "_-.*")
}

func (r *reader) params() (out []parameter) {
	for r.take(';') {
		r.rest = strings.TrimLeft(r.rest, " ")
		p := parameter{r.key(), true}
		if r.take('=') {
			p.value = r.bareItem()
		}
		at := -1
		for i := range out {
			if out[i].key == p.key {
				at = i
			}
		}
		if at >= 0 {
			out[at].value = p.value
		} else {
			out = append(out, p)
		}
	}
	return out
}

func (r *reader) innerList() (out innerList) {
	r.take('(')
	for {
		r.rest = strings.TrimLeft(r.rest, " ")
		if r.take(')') {
			out.params = r.params()
			return out
		}
		value := r.bareItem()
		out.items = append(out.items, item{value, r.params()})
		if c := r.peek(); c != ' ' && c != ')' {
			panic(failure("no end of an item"))
		}
	}
}

func (r *reader) bareItem() any {
	switch c := r.peek(); {
	case r.rest == "":
		panic(failure("no item"))
	case c == '"':
		var out []byte
		for r.take('"'); ; {
			switch c := r.peek(); {
			case r.take('"'):
				return string(out)
			case r.take('\\'):
				if c := r.peek(); c != '"' && c != '\\' {
					panic(failure("escape"))
				}
				out, r.rest = append(out, r.rest[0]), r.rest[1:]
			case c < 0x20 || c > 0x7e:
				panic(failure("string"))
			default:
				out, r.rest = append(out, c), r.rest[1:]
			}
		}
	case c == ':':
		text, rest, ok := strings.Cut(r.rest[1:], ":")
		if !ok || strings.Trim(text, small+big+digits+"+/=") != "" {
			panic(failure("bytes"))
		}
		r.rest = rest
		raw, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "="))
		if err != nil || strings.ContainsAny(text, "\r\n") {
			panic(failure("bytes"))
		}
		return raw
	case r.take('?'):
		switch {
		case r.take('0'):
			return false
		case r.take('1'):
			return true
		}
		panic(failure("boolean"))
	case c == '-' || strings.Contains(digits, string(c)):
		sign := int64(1)
		if r.take('-') {
			sign = -1
		}
		whole := r.run(digits)
		if whole == "" || len(whole) > 15 {
			panic(failure("integer"))
		}
		n, _ := strconv.ParseInt(whole, 10, 64)
		if !r.take('.') {
			return sign * n
		}
		places := r.run(digits)
		if len(whole) > 12 || places == "" || len(places) > 3 {
			panic(failure("decimal"))
		}
		thousandths, _ := strconv.ParseInt((places + "00")[:3], 10, 64)
		return decimal(sign * (n*1000 + thousandths))
	case strings.Contains(small+big+"*", string(c)):
		return token(r.run(small + big + digits + "!#$%&'*+-.^_`|~:/"))
	}
	panic(failure("item"))
}

func writeDictionary(entries []entry) string {
	var out []string
	for _, e := range entries {
		out = append(out, e.key+writeMember(e.value))
	}
	return strings.Join(out, ", ")
}

func writeMember(value any) string {
	switch v := value.(type) {
	case item:
		if v.value == true {
			return writeParams(v.params)
		}
		return "=" + writeBare(v.value) + writeParams(v.params)
	case innerList:
		return "=" + writeList(v)
	}
	panic("no member")
}

func writeList(l innerList) string {
	var out []string
	for _, i := range l.items {
		out = append(out, writeBare(i.value)+writeParams(i.params))
	}
	return "(" + strings.Join(out, " ") + ")" + writeParams(l.params)
}

func writeParams(params []parameter) (out string) {
	for _, p := range params {
		out += ";" + p.key
		if p.value != true {
			out += "=" + writeBare(p.value)
		}
	}
	return out
}

func writeBare(value any) string {
	switch v := value.(type) {
	case int64:
		return strconv.FormatInt(v, 10)
	case decimal:
		sign := ""
		if v < 0 {
			sign, v = "-", -v
		}
		places := strings.TrimRight(fmt.Sprintf("%03d", v%1000), "0")
		if places == "" {
			places = "0"
		}
		return fmt.Sprintf("%s%d.%s", sign, v/1000, places)
	case string:
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(v) + `"`
	case token:
		return string(v)
	case []byte:
		return ":" + base64.StdEncoding.EncodeToString(v) + ":"
	case bool:
		if v {
			return "?1"
		}
		return "?0"
	}
	panic("no item")
}

// inBounds tells whether the strict parser takes so much.
func inBounds(entries []entry) bool {
	if len(entries) > signature.MaxMembers {
		return false
	}
	for _, e := range entries {
		var params []parameter
		switch v := e.value.(type) {
		case item:
			params = v.params
		case innerList:
			params = v.params
			for _, i := range v.items {
				if len(i.params) > signature.MaxParams {
					return false
				}
			}
			if len(v.items) > signature.MaxItems {
				return false
			}
		}
		if len(params) > signature.MaxParams {
			return false
		}
	}
	return true
}

// compareReadings holds the strict parser to the second reading.
func compareReadings(t testing.TB, text string) {
	t.Helper()
	entries, err := readDictionary(text)
	want := err == nil && writeDictionary(entries) == text && inBounds(entries)
	if got := signature.IsDictionary(text); got != want {
		t.Fatalf("%q: taken %t, want %t: the RFC reads %v, %v and writes %q", text, got, want, entries, err, writeDictionary(entries))
	}
}

// dictionaries are texts that are read in one way, in several, or in none.
var dictionaries = []string{
	"", "a", "*", "a=1", "a=?1", "a=?0", "a=?2", "a=?", "a;b", "a;b=?1", "a=1;b", "a=1;b=2;b=3", "a=1, a=2", "a=1,b=2", "a=1,  b", "a=1 , b", "a, ",
	" a", "a ", "a\t", ",", "A=1", "a=", "a;", "a;=", "1=1", "-a", "_a", "a_-.*1=1",
	"a=0", "a=-0", "a=00", "a=-1", "a=-", "a=+1", "a=01", "a=999999999999999", "a=1000000000000000", "a=0000000000000001",
	"a=1.", "a=1.0", "a=1.00", "a=1.50", "a=1.005", "a=1.0005", "a=-0.0", "a=-0.5", "a=0.5", "a=00.5", "a=.5", "a=123456789012.123", "a=1234567890123.1", "a=1e5", "a=0x1",
	`a="b"`, `a=""`, `a="`, `a="\"`, `a="\\"`, `a="\""`, `a="\a"`, `a="\`, "a=\"\x7f\"", "a=\"é\"", "a=\"\n\"",
	"a=tok/en:*", "a=*", "a=/", "a=@1", `a=%"x"`,
	"a=::", "a=:AA==:", "a=:AA=:", "a=:AA:", "a=:AB==:", "a=:AAA=:", "a=:AAB=:", "a=:AAAA:", "a=:AAAA", "a=:AA-_:", "a=:AA\nAA:", "a=:=AAA:", "a=:====:", "a=:A:", "a=: AAAA:",
	"a=()", "a=( )", "a=(1)", "a=( 1)", "a=(1 )", "a=(1 2)", "a=(1  2)", "a=(1\t2)", `a=(1"x")`, "a=(1", "a=(1 ", "a=(", "a=((1))", "a=(1);b", "a=(1;b);c=d", "a=(1; b)", "a=() ", "a=()b", "a=(),b",
	"a, b, c, d, e, f, g, h", "a, b, c, d, e, f, g, h, i",
	"a;a;b;c;d;e;f;g;h;i;j;k;l;m;n;o;p", "a;b;c;d;e;f;g;h;i;j;k;l;m;n;o;p;q", "a;b;c;d;e;f;g;h;i;j;k;l;m;n;o;p;q;r",
	"a=(" + strings.Repeat("1 ", signature.MaxItems-1) + "1)", "a=(" + strings.Repeat("1 ", signature.MaxItems) + "1)",
	"godwit=" + list + params, vectors[0].signature, vectors[0].digest,
}

// Every text of the list, and each with an octet changed, left out or doubled,
// is taken exactly if it is in canonical spelling.
func TestDictionary(t *testing.T) {
	taken := 0
	for _, text := range dictionaries {
		compareReadings(t, text)
		if signature.IsDictionary(text) {
			taken++
		}
		random := rand.New(rand.NewPCG(1, uint64(len(text))))
		const octets = "a1;=, ()\"\\:?-.*@%A\x00\n\x7f"
		for i := range len(text) {
			compareReadings(t, text[:i]+text[i+1:])
			compareReadings(t, text[:i]+text[i:i+1]+text[i:])
			for range 8 {
				compareReadings(t, text[:i]+string(octets[random.IntN(len(octets))])+text[i+1:])
			}
		}
	}
	if taken < 30 || taken > len(dictionaries)-60 {
		t.Errorf("%d of %d texts were taken", taken, len(dictionaries))
	}
}

func FuzzDictionary(f *testing.F) {
	for _, text := range dictionaries {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) { compareReadings(t, text) })
}

// shape is the profile, for the signature base: what it may be at all.
var shape = regexp.MustCompile(`^(?:"@method": [A-Z]{1,16}\n|"@authority": [a-z0-9._:\[\]-]+\n|"@path": /[!$&-;=@A-Z_a-z~%]*\n|"content-digest": [ -~]+\n){3,4}` +
	`"@signature-params": \(("@method"|"@authority"|"@path"|"content-digest"| ){5,7}\)` +
	`(?:;created=[1-9][0-9]{0,14}|;keyid="[!#-\[\]-~]{1,64}"|;alg="ed25519"|;tag="godwit"|;nonce="(?:[ !#-\[\]-~]|\\["\\])*"|;expires=[1-9][0-9]{0,14}){4,6}$`)

// What is read has the profile's shape and says what the second reading of the
// fields says, and it is proof for a key exactly if that key signed the base.
func FuzzParse(f *testing.F) {
	for _, v := range vectors {
		f.Add(v.method, v.host, v.target, v.input, v.signature, v.digest, []byte(v.body))
	}
	v := vectors[0]
	for _, text := range dictionaries {
		f.Add(v.method, v.host, v.target, text, v.signature, v.digest, []byte(v.body))
		f.Add(v.method, v.host, v.target, v.input+"\n"+text, text+"\n"+v.signature, v.digest+"\n"+text, []byte(v.body))
	}
	f.Add("PUT", "[2001:DB8::1]:80", "/%2A//x", `x=("content-digest" "@path" "@authority" "@method");tag="godwit";nonce="\"";expires=9;created=9;alg="ed25519";keyid="a"`,
		strings.Replace(v.signature, "godwit", "x", 1), v.digest, []byte("{}"))
	key, public := testKey(f), publicKey(f)
	f.Fuzz(func(t *testing.T, method, host, target, input, sig, digest string, body []byte) {
		w := wire{method: method, host: host, target: target, input: input, signature: sig, digest: digest, body: string(body)}
		m, err := w.parse()
		if err != nil {
			if m != nil {
				t.Fatal("a message and an error")
			}
			checkError(t, err)
			return
		}
		base := m.Base()
		if !shape.MatchString(base) {
			t.Fatalf("the base has not the profile's shape: %q", base)
		}
		lines := strings.Split(base, "\n")
		fields := map[string]string{}
		for _, line := range lines {
			name, value, _ := strings.Cut(line, ": ")
			fields[name] = value
		}
		want := 5
		if method == "GET" {
			want = 4
		}
		if len(lines) != want || len(fields) != want {
			t.Fatalf("the base has %d lines and %d names: %q", len(lines), len(fields), base)
		}
		if fields[`"@method"`] != method || fields[`"@path"`] != target || fields[`"@authority"`] != strings.TrimSuffix(strings.ToLower(host), ":80") {
			t.Fatalf("the base is of another request: %q", base)
		}
		if method != "GET" && fields[`"content-digest"`] != joined(digest) {
			t.Fatalf("the base has another digest: %q", base)
		}

		entries, err := readDictionary(joined(input))
		if err != nil || writeDictionary(entries) != joined(input) {
			t.Fatalf("%q is not what the RFC writes: %v", joined(input), err)
		}
		ours := 0
		label := ""
		for _, e := range entries {
			l, ok := e.value.(innerList)
			if !ok {
				continue
			}
			said := map[string]any{}
			for _, p := range l.params {
				said[p.key] = p.value
			}
			if said["tag"] != "godwit" {
				continue
			}
			ours++
			label = e.key
			for i, component := range l.items { // the lines are in its order
				if name, _, _ := strings.Cut(lines[i], ": "); writeBare(component.value) != name {
					t.Fatalf("line %d of the base is out of order: %q", i+1, base)
				}
			}
			if got := writeList(l); got != fields[`"@signature-params"`] {
				t.Fatalf("signed are %q, sent %q", fields[`"@signature-params"`], got)
			}
			expires, _ := said["expires"].(int64)
			if said["created"] != m.Created || said["keyid"] != m.KeyID || expires != m.Expires {
				t.Fatalf("read as %s, %d, %d: %q", m.KeyID, m.Created, m.Expires, base)
			}
		}
		if ours != 1 {
			t.Fatalf("%d signatures are ours", ours)
		}

		made := ed25519.Sign(key, []byte(base))
		text := label + "=:" + base64.StdEncoding.EncodeToString(made) + ":"
		if held := m.Verify(public); held != contains(joined(sig), text) {
			t.Fatalf("holds %t; the signature for it is %s, and %q was sent", held, text, sig)
		}
		w.signature = text
		if !w.holds(public) {
			t.Fatalf("does not hold when it is signed: %q", base)
		}
	})
}

// joined is a field as wire has it, one line of the field on each.
func joined(lines string) string {
	var out []string
	for line := range strings.SplitSeq(lines, "\n") {
		out = append(out, strings.Trim(line, " \t"))
	}
	return strings.Join(out, ", ")
}

// contains tells whether a dictionary has this member.
func contains(dictionary, member string) bool {
	entries, err := readDictionary(dictionary)
	if err != nil {
		return false
	}
	for _, e := range entries {
		if e.key+writeMember(e.value) == member {
			return true
		}
	}
	return false
}
