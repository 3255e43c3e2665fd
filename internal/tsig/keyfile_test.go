package tsig_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"godwit/internal/tsig"
)

const keygen = `key "xfr.Example.com" {
	algorithm hmac-sha256;
	secret "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
};
`

func TestParseKeys(t *testing.T) {
	for name, text := range map[string]string{
		"tsig-keygen": keygen,
		"one line":    strings.Join(strings.Fields(keygen), " "),
		"comments":    "# one\n// two\n/* three\n four */" + keygen + "# end",
		"bare words":  strings.ReplaceAll(keygen, `"`, ""),
		"other order": "key xfr.example.com. { secret MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=;\r\nalgorithm HMAC-SHA256.; };",
	} {
		keys, err := tsig.ParseKeys(text)
		if err != nil || len(keys) != 1 {
			t.Errorf("%s: %d keys, %v", name, len(keys), err)
			continue
		}
		k := keys[0]
		if string(k.Name) != "\x03xfr\x07example\x03com\x00" || k.Algorithm != tsig.SHA256 || string(k.Secret) != "0123456789abcdef0123456789abcdef" {
			t.Errorf("%s: %q %s", name, k.Name, k.Algorithm)
		}
	}
	two := keygen + strings.Replace(strings.Replace(keygen, "xfr", "other", 1), "sha256", "sha512", 1)
	if keys, err := tsig.ParseKeys(two); err != nil || len(keys) != 2 || keys[1].Algorithm != tsig.SHA512 {
		t.Errorf("two keys: %d, %v", len(keys), err)
	}
}

func TestParseKeysRefuses(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"nothing":        {"# nothing\n", "line 2: there is no key; make one: tsig-keygen NAME"},
		"other content":  {"options { };", "line 1: this is not a key"},
		"MD5":            {strings.Replace(keygen, "sha256", "md5", 1), "tsig-keygen -a hmac-sha256 xfr.example.com"},
		"SHA-1":          {strings.Replace(keygen, "sha256", "sha1", 1), "line 2: the algorithm of key xfr.example.com is not"},
		"unknown":        {strings.Replace(keygen, "sha256", "sha3", 1), "line 2: the algorithm of key xfr.example.com is not"},
		"no base64":      {strings.Replace(keygen, "MDEy", "MDE!", 1), "line 3: the secret of key xfr.example.com is not base64"},
		"short":          {`key k { algorithm hmac-sha256; secret "MDEy"; };`, "has less than 16 octets"},
		"no secret":      {`key k { algorithm hmac-sha256; };`, "lacks its algorithm or its secret"},
		"no algorithm":   {`key k { secret "MDEyMzQ1Njc4OWFiY2RlZg=="; };`, "lacks its algorithm or its secret"},
		"twice":          {keygen + keygen, "a key is there twice"},
		"two secrets":    {strings.Replace(keygen, "};", "secret \"MDEyMzQ1Njc4OWFiY2RlZg==\";\n};", 1), "one algorithm and one secret"},
		"cut":            {keygen[:40], ""},
		"open quote":     {strings.Replace(keygen, `com"`, `com`, 1), "line 1: a quote that is not closed on its line"},
		"open comment":   {keygen + "/* ", "a comment that does not end"},
		"no semicolon":   {strings.TrimSuffix(keygen, ";\n"), "there is no ; where one belongs"},
		"empty quotes":   {`key "" { algorithm hmac-sha256; };`, "quotes with nothing in them"},
		"name too long":  {`key ` + strings.Repeat("x", 64) + ` { };`, "the key's name: "},
		"too many":       {many(1001), "more than 1000 keys"},
		"no key at all{": {"{", "this is not a key"},
	} {
		keys, err := tsig.ParseKeys(test.text)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %d keys, error %v, want %q", name, len(keys), err, test.want)
		} else if strings.Contains(err.Error(), "MDEy") {
			t.Errorf("%s: the error has the secret in it: %v", name, err)
		}
	}
}

func many(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "key k%d { algorithm hmac-sha256; secret MDEyMzQ1Njc4OWFiY2RlZg==; };\n", i)
	}
	return b.String()
}

// FuzzParseKeys: keys that are taken can be written down and are then the same.
func FuzzParseKeys(f *testing.F) {
	f.Add(keygen)
	f.Add("/**/key k{secret\"MDEyMzQ1Njc4OWFiY2RlZg==\";algorithm hmac-sha384;};#")
	f.Add("key \"\n")
	f.Add(`key "a\.b" { algorithm hmac-sha256; };`)
	f.Fuzz(func(t *testing.T, text string) {
		keys, err := tsig.ParseKeys(text)
		if err != nil {
			return
		}
		for _, k := range keys {
			one := fmt.Sprintf("key \"k\" {\n\talgorithm %s;\n\tsecret %q;\n};\n", k.Algorithm, base64.StdEncoding.EncodeToString(k.Secret))
			again, err := tsig.ParseKeys(one)
			if err != nil || len(again) != 1 || string(again[0].Secret) != string(k.Secret) || again[0].Algorithm != k.Algorithm {
				t.Errorf("%q: %v", one, err)
			}
		}
	})
}
