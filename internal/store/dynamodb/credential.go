package dynamodb

import (
	"crypto/sha256"
	"encoding/base32"
	"net/netip"
	"strings"
	"unicode/utf8"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

// credential reads one member of gw_creds, and whether its secret is in data.
func (d *decoder) credential(n *node) (c *ddns.Credential, owns bool) {
	c = &ddns.Credential{ID: n.name}
	for _, m := range d.dict(n) {
		switch m.name {
		case "kind":
			c.Kind = ddns.Kind(d.s(&m))
		case "algorithm":
			c.Algorithm = d.s(&m)
		case "verifier":
			c.Verifier = d.b(&m)
		case "sealed":
			c.Sealed = d.b(&m)
		case "fingerprint":
			c.Fingerprint = d.b(&m)
		case "data":
			owns = m.yes()
		case "grants":
			list := d.list(&m)
			for i := range list {
				list[i].name = m.name
				c.Grants = append(c.Grants, d.grant(&list[i]))
			}
		case "networks":
			for _, text := range d.texts(&m) {
				p, err := netip.ParsePrefix(text)
				d.fail("networks", err)
				c.Networks = append(c.Networks, p)
			}
		case "rate":
			c.Rate = int(d.n(&m))
		case "created":
			c.Created = d.time(&m)
		case "expires":
			c.Expires = d.time(&m)
		case "state":
			c.State = ddns.State(d.s(&m))
		case "mark":
			c.Mark = d.n(&m)
		case "label":
			c.Label = d.s(&m)
		}
	}
	return c, owns
}

func (d *decoder) grant(n *node) (g ddns.Grant) {
	for _, m := range d.dict(n) {
		switch m.name {
		case "host":
			g.Host = d.name(&m)
		case "types":
			for _, text := range d.texts(&m) {
				var t ddns.Type
				d.fail("types", t.UnmarshalText([]byte(text)))
				g.Types = append(g.Types, t)
			}
		case "url_token":
			g.URLToken = m.yes()
		}
	}
	return g
}

// appendCredential writes a member of gw_creds. Of one whose secret is in data
// neither secret nor hash stands here: the seed's tools may change it.
func appendCredential(dst []byte, c *ddns.Credential, owns bool) []byte {
	o := openObject(dst, `{"M":{`)
	o.s("kind", string(c.Kind))
	o.text("algorithm", c.Algorithm)
	octets := func(name string, b []byte) {
		if b != nil {
			o.key(name)
			o.b = appendB(o.b, b)
		}
	}
	if owns {
		o.flag("data", true)
	} else {
		octets("verifier", c.Verifier)
		octets("sealed", c.Sealed)
	}
	octets("fingerprint", c.Fingerprint)
	if len(c.Grants) > 0 {
		o.key("grants")
		o.b = appendList(o.b, c.Grants, func(dst []byte, g ddns.Grant) []byte {
			m := openObject(dst, `{"M":{`)
			m.s("host", g.Host.String())
			if len(g.Types) > 0 {
				m.key("types")
				m.b = appendList(m.b, g.Types, func(dst []byte, t ddns.Type) []byte { return appendS(dst, t.String()) })
			}
			m.flag("url_token", g.URLToken)
			return append(m.b, "}}"...)
		})
	}
	if len(c.Networks) > 0 {
		o.key("networks")
		o.b = appendList(o.b, c.Networks, func(dst []byte, p netip.Prefix) []byte { return appendS(dst, p.String()) })
	}
	if c.Rate != 0 {
		o.n("rate", int64(c.Rate))
	}
	if !c.Created.IsZero() {
		o.n("created", micros(c.Created))
	}
	if !c.Expires.IsZero() {
		o.n("expires", micros(c.Expires))
	}
	o.text("state", string(c.State))
	o.n("mark", c.Mark) // always there, so that a condition can compare it
	o.text("label", c.Label)
	return append(o.b, "}}"...)
}

func appendCredentials(dst []byte, list []*ddns.Credential, owned string) []byte {
	o := openObject(dst, `{"M":{`)
	for _, c := range list {
		o.key(c.ID)
		o.b = appendCredential(o.b, c, c.ID == owned)
	}
	return append(o.b, "}}"...)
}

// seedCredential is what the secret in a row of the seed's is to us. Its ID is
// the token's own, or made of the host's name, so that it is always the same.
func (s *Store) seedCredential(name dnsname.Name, secret string) *ddns.Credential {
	sum := sha256.Sum256([]byte("godwit seed credential " + name.Wire()))
	id := strings.ToLower(base32.StdEncoding.EncodeToString(sum[:5]))
	proof := ddns.TokenProof{Token: ddns.NewSecret(secret)}
	if own := proof.CredentialID(); own != "" {
		id = own
	}
	c := &ddns.Credential{ID: id, Kind: ddns.KindToken, Grants: []ddns.Grant{{Host: name}}, State: ddns.Active}
	holdSecret(c, secret)
	return c
}

// holdSecret gives a credential the secret that is in data now. One that is no
// token of that ID is a secret of the user's own.
func holdSecret(c *ddns.Credential, secret string) {
	if c.Kind == ddns.KindToken && (ddns.TokenProof{Token: ddns.NewSecret(secret)}).CredentialID() != c.ID {
		c.Kind = ddns.KindSeed
	}
	sum := sha256.Sum256([]byte(secret))
	c.Verifier, c.Sealed = sum[:], []byte(secret)
}

// mayOwn tells whether a credential's secret can stand in data: the seed's
// function then knows what our doors know.
func mayOwn(c *ddns.Credential) bool {
	if c.Kind != ddns.KindToken && c.Kind != ddns.KindSeed || len(c.Sealed) == 0 || !utf8.Valid(c.Sealed) {
		return false
	}
	sum := sha256.Sum256(c.Sealed)
	return string(sum[:]) == string(c.Verifier)
}
