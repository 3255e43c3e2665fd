package httpserver

import "strings"

// param is a parameter that the doors for routers know, in a query or in a form.
type param uint8

// Parameters that mean the same stand together, the one that wins first.
const (
	pHostname param = iota // hosts
	pHost
	pHostID
	pDomain
	pDomains
	pH
	pMyIPv4 // IPv4 addresses
	pIPv4
	pIP4
	pMyIPv6 // IPv6 addresses
	pIPv6
	pMyIP6
	pIP6
	pMyIP2
	pMyIP // addresses of either family
	pIP
	pAddress
	pIP6LANPrefix // delegated prefix
	pIPv6Prefix
	pIP6Prefix
	pLANPrefix
	pUsername // credential
	pUser
	pLogin
	pPassword
	pPass
	pPasswd
	pKey
	pToken
	pOffline
	pZone // dynv6's hosts
	pTXT  // DuckDNS
	pVerbose
	pClear
	pFormat // of the echo
	params
)

// paramOf finds a parameter by its name in lower case.
func paramOf(name []byte) (param, bool) {
	switch string(name) {
	case "hostname":
		return pHostname, true
	case "host":
		return pHost, true
	case "host_id":
		return pHostID, true
	case "domain":
		return pDomain, true
	case "domains":
		return pDomains, true
	case "h":
		return pH, true
	case "myipv4":
		return pMyIPv4, true
	case "ipv4":
		return pIPv4, true
	case "ip4":
		return pIP4, true
	case "myipv6":
		return pMyIPv6, true
	case "ipv6":
		return pIPv6, true
	case "myip6":
		return pMyIP6, true
	case "ip6":
		return pIP6, true
	case "myip2":
		return pMyIP2, true
	case "myip":
		return pMyIP, true
	case "ip":
		return pIP, true
	case "address":
		return pAddress, true
	case "ip6lanprefix":
		return pIP6LANPrefix, true
	case "ipv6prefix":
		return pIPv6Prefix, true
	case "ip6prefix":
		return pIP6Prefix, true
	case "lanprefix":
		return pLANPrefix, true
	case "username":
		return pUsername, true
	case "user":
		return pUser, true
	case "login":
		return pLogin, true
	case "password":
		return pPassword, true
	case "pass":
		return pPass, true
	case "passwd":
		return pPasswd, true
	case "key":
		return pKey, true
	case "token":
		return pToken, true
	case "offline":
		return pOffline, true
	case "zone":
		return pZone, true
	case "txt":
		return pTXT, true
	case "verbose":
		return pVerbose, true
	case "clear":
		return pClear, true
	case "format":
		return pFormat, true
	}
	return 0, false
}

// paramValues are the values of one query or form: of each parameter the first
// that is not empty. Blanks around a value do not count.
type paramValues struct {
	text  [params]string
	named [params]bool // it is there, though it may be empty
}

// paramSet is what a request says, in its query and in the form that it sends.
type paramSet struct{ query, form paramValues }

// get is the value of the first parameter from first to last that has one. The
// query goes before the form.
func (p *paramSet) get(first, last param) string {
	for _, values := range [...]*paramValues{&p.query, &p.form} {
		for _, text := range values.text[first : last+1] {
			if text != "" {
				return text
			}
		}
	}
	return ""
}

// has tells whether a parameter is there, be it empty.
func (p *paramSet) has(one param) bool { return p.query.named[one] || p.form.named[one] }

// read reads both. A paramSet is long, and may stay on its caller's stack.
func (p *paramSet) read(query, form string) {
	p.query.read(query)
	p.form.read(form)
}

// read reads a text of the form application/x-www-form-urlencoded. Nothing is
// malformed: routers put values in as they have them, so an escape that is none
// stands for itself. What is not known is passed over. Names are compared without
// regard to case.
func (v *paramValues) read(text string) {
	for text != "" {
		var pair string
		pair, text, _ = strings.Cut(text, "&")
		name, value, _ := strings.Cut(pair, "=")
		var room [len("ip6lanprefix")]byte // the longest one
		if name = decodeParam(name); len(name) > len(room) {
			continue
		}
		lower := room[:copy(room[:], name)]
		for i, c := range lower {
			if 'A' <= c && c <= 'Z' {
				lower[i] = c + 'a' - 'A'
			}
		}
		one, known := paramOf(lower)
		if !known {
			continue
		}
		v.named[one] = true
		if v.text[one] == "" {
			v.text[one] = strings.Trim(decodeParam(value), " \t\r\n")
		}
	}
}

// decodeParam decodes a name or a value.
func decodeParam(text string) string {
	if !strings.ContainsAny(text, "%+") {
		return text
	}
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '+':
			c = ' '
		case c == '%' && i+2 < len(text):
			high, low := unhex(text[i+1]), unhex(text[i+2])
			if high < 16 && low < 16 {
				c = high<<4 | low
				i += 2
			}
		}
		out = append(out, c)
	}
	return string(out)
}

// unhex is the value of a hexadecimal digit, 255 if it is none.
func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}
