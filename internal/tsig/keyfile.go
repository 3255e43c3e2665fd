package tsig

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"godwit/internal/dnsname"
)

// maxKeys bounds the keys of one file.
const maxKeys = 1000

// minSecret is the least length of a secret in octets that is taken from a file.
const minSecret = 16

// ParseKeys reads keys in the form that BIND has and tsig-keygen prints:
//
//	key "name" {
//		algorithm hmac-sha256;
//		secret "base64";
//	};
//
// with comments of all of BIND's kinds. The algorithms are [SHA256], [SHA384] and
// [SHA512]. An error names the line and says what to do; it never has a secret.
func ParseKeys(text string) ([]Key, error) {
	p := &keyParser{text: text, line: 1}
	var keys []Key
	for p.next(); p.token != ""; {
		key, err := p.key()
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(keys, func(k Key) bool { return string(k.Name) == string(key.Name) }) {
			return nil, p.wrong("a key is there twice", "keep one of them")
		}
		if keys = append(keys, key); len(keys) > maxKeys {
			return nil, p.wrong(fmt.Sprintf("there are more than %d keys", maxKeys), "remove those that nobody uses")
		}
	}
	if p.broken != "" {
		return nil, p.wrong("", "close it")
	}
	if len(keys) == 0 {
		return nil, p.wrong("there is no key", "make one: tsig-keygen NAME")
	}
	return keys, nil
}

// keyParser cuts the text into tokens: words, quoted texts without their quotes,
// and the characters { } ;
type keyParser struct {
	text   string
	line   int
	token  string // "" at the end
	quoted bool   // token was in quotes
	broken string // why there is no token
}

func (p *keyParser) wrong(why, fix string) error {
	if p.broken != "" {
		why = p.broken
	}
	return fmt.Errorf("line %d: %s; %s", p.line, why, fix)
}

// next finds the next token.
func (p *keyParser) next() {
	p.token, p.quoted = "", false
	for p.text != "" {
		switch c := p.text[0]; {
		case c == '\n':
			p.line++
			p.text = p.text[1:]
		case c == ' ', c == '\t', c == '\r':
			p.text = p.text[1:]
		case c == '#', strings.HasPrefix(p.text, "//"):
			i := strings.IndexByte(p.text, '\n')
			if i < 0 {
				i = len(p.text)
			}
			p.text = p.text[i:]
		case strings.HasPrefix(p.text, "/*"):
			i := strings.Index(p.text[2:], "*/")
			if i < 0 {
				p.broken, p.text = "a comment that does not end", ""
				return
			}
			p.line += strings.Count(p.text[:i+4], "\n")
			p.text = p.text[i+4:]
		case c == '{', c == '}', c == ';':
			p.token, p.text = p.text[:1], p.text[1:]
			return
		case c == '"':
			i := strings.IndexAny(p.text[1:], "\"\n")
			if i < 0 || p.text[1+i] == '\n' {
				p.broken, p.text = "a quote that is not closed on its line", ""
				return
			}
			p.token, p.quoted, p.text = p.text[1:1+i], true, p.text[i+2:]
			if p.token == "" {
				p.broken, p.text = "quotes with nothing in them", ""
			}
			return
		default:
			i := strings.IndexAny(p.text, " \t\r\n{};\"#")
			if i < 0 {
				i = len(p.text)
			}
			p.token, p.text = p.text[:i], p.text[i:]
			return
		}
	}
}

const keyForm = `write it as tsig-keygen does: key "name" { algorithm hmac-sha256; secret "..."; };`

// punctuation takes one of { } ; which must come next.
func (p *keyParser) punctuation(want string) error {
	if p.quoted || p.token != want {
		return p.wrong("there is no "+want+" where one belongs", keyForm)
	}
	p.next()
	return nil
}

// word takes a token that is no punctuation.
func (p *keyParser) word() (string, error) {
	if p.token == "" || !p.quoted && strings.Contains("{};", p.token) {
		return "", p.wrong("a word is missing", keyForm)
	}
	word := p.token
	p.next()
	return word, nil
}

func (p *keyParser) key() (key Key, err error) {
	if p.quoted || p.token != "key" {
		return key, p.wrong("this is not a key", keyForm)
	}
	p.next()
	text, err := p.word()
	if err != nil {
		return key, err
	}
	name, err := dnsname.Parse(text)
	if err != nil {
		return key, p.wrong("the key's name: "+err.Error(), "give it a name as hosts have, such as transfer.example.com")
	}
	key.Name = []byte(name.Wire())
	if err := p.punctuation("{"); err != nil {
		return key, err
	}
	for p.quoted || p.token != "}" {
		what, err := p.word()
		if err != nil {
			return key, err
		}
		value, err := p.word()
		if err != nil {
			return key, err
		}
		switch {
		case what == "algorithm" && key.Algorithm == "":
			algorithm, ok := ParseAlgorithm(value)
			if !ok || algorithm == MD5 || algorithm == SHA1 {
				return key, p.wrong(fmt.Sprintf("the algorithm of key %s is not hmac-sha256, hmac-sha384 or hmac-sha512", name),
					fmt.Sprintf("make another key: tsig-keygen -a hmac-sha256 %s", name))
			}
			key.Algorithm = algorithm
		case what == "secret" && key.Secret == nil:
			if key.Secret, err = base64.StdEncoding.DecodeString(value); err != nil {
				return key, p.wrong(fmt.Sprintf("the secret of key %s is not base64", name), fmt.Sprintf("make another key: tsig-keygen %s", name))
			}
			if len(key.Secret) < minSecret {
				return key, p.wrong(fmt.Sprintf("the secret of key %s has less than %d octets", name, minSecret), fmt.Sprintf("make another key: tsig-keygen %s", name))
			}
		default:
			return key, p.wrong("a key has one algorithm and one secret, and nothing else", keyForm)
		}
		if err := p.punctuation(";"); err != nil {
			return key, err
		}
	}
	p.next()
	if key.Algorithm == "" || key.Secret == nil {
		return key, p.wrong(fmt.Sprintf("key %s lacks its algorithm or its secret", name), keyForm)
	}
	return key, p.punctuation(";")
}
