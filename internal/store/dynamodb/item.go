package dynamodb

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

// Attributes of an item. docs/decisions/0008 says what each is for.
const (
	attrKey    = "hostname"
	attrData   = "data"
	attrGen    = "gw_gen"
	attrPub    = "gw_pub"
	attrDue    = "gw_due"
	attrNext   = "gw_next"
	attrShown  = "gw_shown"
	attrA      = "gw_a"
	attrAAAA   = "gw_aaaa"
	attrPrefix = "gw_prefix"
	attrTXT    = "gw_txt"
	attrFollow = "gw_follow"
	attrCreds  = "gw_creds"
	attrOpts   = "gw_opts"
	attrAt     = "gw_at"
	attrBy     = "gw_by"
	attrSeen   = "gw_seen"
	attrBusy   = "gw_busy"
	attrLog    = "gw_log"
	attrRefuse = "gw_refused"
	attrGone   = "gw_gone" // of a row whose host is gone: only the generation stays
	attrV      = "gw_v"

	layoutVersion = 1
)

// DamagedError says that an item is not what its writer meant: its host is
// neither served nor published.
type DamagedError struct {
	Key string // "nas.example.org"
	Why string
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("the item %q cannot be used (%s): mend it, or remove it and add the host again", e.Key, e.Why)
}

// row is a host's item as it was read.
type row struct {
	key  string // hostname as the item has it
	data data
	// first tells that nothing of ours is in it yet; the host is at generation 0.
	first bool
	gen   uint64
	// gone tells that only the generation is left. host is nil.
	gone bool
	// owned is the ID of the credential whose secret is in data; "": it is nobody's.
	owned string
	host  *ddns.Host
	creds []*ddns.Credential
	item  *node
}

// micros is how times and durations are kept: whole microseconds, 0 for none.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}

// canonical reads the name in an item's key; items that begin with # are no hosts.
func canonical(key string) (dnsname.Name, error) { return dnsname.Parse(key) }

// zoneOf is the apex of a row's zone: by the hosted zone's ID, which the seed's
// tools may have changed, else as we wrote it, else by the name.
func (s *Store) zoneOf(id string, name dnsname.Name, written string) (dnsname.Name, error) {
	if apex, ok := s.apexes[strings.TrimPrefix(id, "/hostedzone/")]; ok {
		return apex, nil
	}
	if written != "" {
		return dnsname.Parse(written)
	}
	var best dnsname.Name
	for apex := range s.Zones {
		if name.Under(apex) && (best.IsZero() || len(apex.Wire()) > len(best.Wire())) {
			best = apex
		}
	}
	if best.IsZero() {
		return best, fmt.Errorf("its hosted zone %.40s is not one that this installation serves", id)
	}
	return best, nil
}

// decoder reads attributes and keeps the first thing that is wrong.
type decoder struct{ err error }

func (d *decoder) fail(name string, err error) {
	if d.err == nil && err != nil {
		d.err = fmt.Errorf("%s %w", name, err)
	}
}

var errType = errors.New("has another type than ours")

func (d *decoder) check(name string, ok bool) {
	if !ok {
		d.fail(name, errType)
	}
}

func (d *decoder) s(n *node) string {
	text, ok := n.str()
	d.check(n.name, ok)
	return text
}

func (d *decoder) n(n *node) int64 {
	i, ok := n.integer()
	d.check(n.name, ok)
	return i
}

func (d *decoder) count(n *node) uint64 {
	i := d.n(n)
	d.check(n.name, i >= 0)
	return uint64(i)
}

func (d *decoder) time(n *node) time.Time { return fromMicros(d.n(n)) }

func (d *decoder) b(n *node) []byte {
	b, ok := n.octets()
	d.check(n.name, ok)
	return b
}

func (d *decoder) list(n *node) []node {
	list, ok := n.list()
	d.check(n.name, ok)
	return list
}

func (d *decoder) dict(n *node) []node {
	m := n.dict()
	if m == nil {
		d.check(n.name, false)
		return nil
	}
	return m.kids
}

func (d *decoder) texts(n *node) []string {
	list := d.list(n)
	if len(list) == 0 {
		return nil
	}
	out := make([]string, len(list))
	for i := range list {
		list[i].name = n.name
		out[i] = d.s(&list[i])
	}
	return out
}

func (d *decoder) addrs(n *node, is4 bool) []netip.Addr {
	list := d.list(n)
	if len(list) == 0 {
		return nil
	}
	out := make([]netip.Addr, len(list))
	for i := range list {
		list[i].name = n.name
		a, err := netip.ParseAddr(d.s(&list[i]))
		if err == nil && (a.Is4() != is4 || a.Is4In6() || a.Zone() != "") {
			err = fmt.Errorf("has %s, which is of another family", a)
		}
		d.fail(n.name, err)
		out[i] = a
	}
	return out
}

func (d *decoder) name(n *node) dnsname.Name {
	name, err := dnsname.Parse(d.s(n))
	d.fail(n.name, err)
	return name
}

// decode reads a host's item.
func (s *Store) decode(item *node) (*row, error) {
	key, _ := item.member(attrKey).str()
	r := &row{key: key, item: item}
	bad := func(err error) (*row, error) { return nil, &DamagedError{key, err.Error()} }
	name, err := canonical(key)
	if err != nil {
		return bad(err)
	}
	gen := item.member(attrGen)
	r.first = gen == nil
	var d decoder
	if !r.first {
		r.gen = d.count(gen)
	}
	if r.gone = item.has(attrGone); r.gone {
		if d.err != nil {
			return bad(d.err)
		}
		return r, nil
	}
	text, ok := item.member(attrData).str()
	if !ok {
		return bad(errors.New("it has no data"))
	}
	if r.data, err = parseData(text); err != nil {
		return bad(err)
	}
	h := &ddns.Host{Name: name, TTL: r.data.ttl, Generation: r.gen, Row: r}
	r.host = h
	zone := ""
	if r.first {
		c := s.seedCredential(name, r.data.secret)
		h.Credentials, r.creds, r.owned = []string{c.ID}, []*ddns.Credential{c}, c.ID
	} else {
		zone = s.decodeOurs(&d, item, r)
	}
	if d.err != nil {
		return bad(d.err)
	}
	if h.Zone, err = s.zoneOf(r.data.zone, name, zone); err != nil {
		return bad(err)
	}
	return r, nil
}

// decodeOurs reads the attributes that are ours, and returns the zone as we wrote it.
func (s *Store) decodeOurs(d *decoder, item *node, r *row) (zone string) {
	h := r.host
	for i := range item.kids {
		switch a := &item.kids[i]; a.name {
		case attrV:
			if v := d.n(a); v != layoutVersion {
				d.fail(a.name, fmt.Errorf("is %d; this program knows %d", v, layoutVersion))
			}
		case attrPub:
			h.Published = d.count(a)
		case attrA:
			h.A = d.addrs(a, true)
		case attrAAAA:
			h.AAAA = d.addrs(a, false)
		case attrPrefix:
			p, err := netip.ParsePrefix(d.s(a))
			d.fail(a.name, err)
			h.Prefix = p
		case attrAt:
			h.ChangedAt = d.time(a)
		case attrBy:
			h.ChangedBy = d.s(a)
		case attrSeen:
			h.Seen = d.time(a)
		case attrBusy:
			h.Busy = d.time(a)
		case attrShown:
			h.Shown = d.shown(a)
		case attrTXT:
			h.TXT = d.txt(a)
		case attrFollow:
			h.Followers = d.followers(a)
		case attrOpts:
			zone = d.opts(a, h)
		case attrRefuse:
			if n := a.dict().member("n"); n != nil {
				h.Refusals = d.count(n)
			}
		}
	}
	if creds := item.member(attrCreds); creds != nil {
		for _, m := range d.dict(creds) {
			c, owns := d.credential(&m)
			if owns {
				r.owned = c.ID
				holdSecret(c, r.data.secret)
			}
			r.creds = append(r.creds, c)
		}
		slices.SortFunc(r.creds, func(a, b *ddns.Credential) int {
			if c := a.Created.Compare(b.Created); c != 0 {
				return c
			}
			return strings.Compare(a.ID, b.ID)
		})
	}
	return zone
}

func (d *decoder) opts(n *node, h *ddns.Host) (zone string) {
	for _, m := range d.dict(n) {
		switch m.name {
		case "zone":
			zone = d.s(&m)
		case "addresses":
			rule, err := ddns.ParseAddressRule(d.s(&m))
			d.fail(n.name, err)
			h.Addresses = rule
		case "free":
			h.Free = m.yes()
		case "seed_off":
			h.SeedOff = m.yes()
		case "suspended":
			h.Suspended = m.yes()
		case "wildcard":
			h.Wildcard = m.yes()
		case "removed":
			h.Removed = m.yes()
		case "lease":
			h.Lease = time.Duration(d.n(&m)) * time.Microsecond
		case "created":
			h.Created = d.time(&m)
		case "credentials":
			h.Credentials = d.texts(&m)
		}
	}
	return zone
}

func appendOpts(dst []byte, h *ddns.Host) []byte {
	o := openObject(dst, `{"M":{`)
	o.s("zone", h.Zone.String())
	o.s("addresses", h.Addresses.String())
	o.flag("free", h.Free)
	o.flag("seed_off", h.SeedOff)
	o.flag("suspended", h.Suspended)
	o.flag("wildcard", h.Wildcard)
	o.flag("removed", h.Removed)
	if h.Lease != 0 {
		o.n("lease", h.Lease.Microseconds())
	}
	if !h.Created.IsZero() {
		o.n("created", micros(h.Created))
	}
	if len(h.Credentials) > 0 {
		o.key("credentials")
		o.b = appendList(o.b, h.Credentials, appendS)
	}
	return append(o.b, "}}"...)
}

func sameOpts(a, b *ddns.Host) bool {
	return a.Zone == b.Zone && a.Addresses == b.Addresses && a.Free == b.Free && a.SeedOff == b.SeedOff && a.Suspended == b.Suspended &&
		a.Wildcard == b.Wildcard && a.Removed == b.Removed && a.Lease == b.Lease && a.Created.Equal(b.Created) &&
		slices.Equal(a.Credentials, b.Credentials)
}

// shown reads lines such as "nas.example.org 60 A 192.0.2.1 192.0.2.2".
func (d *decoder) shown(n *node) []ddns.RRset {
	sets := n.dict().member("sets")
	if sets == nil {
		return nil
	}
	lines := d.texts(sets)
	if len(lines) == 0 {
		return nil
	}
	out := make([]ddns.RRset, len(lines))
	for i, line := range lines {
		set, err := parseRRset(line)
		d.fail(n.name, err)
		out[i] = set
	}
	return out
}

func appendShown(dst []byte, shown []ddns.RRset) []byte {
	dst = append(dst, `{"M":{"sets":`...)
	var line []byte
	dst = appendList(dst, shown, func(dst []byte, set ddns.RRset) []byte {
		line = appendRRset(line[:0], set)
		return appendS(dst, string(line))
	})
	return append(dst, "}}"...)
}

// appendRRset writes an RRset as in a zone file, but all values in one line.
func appendRRset(dst []byte, set ddns.RRset) []byte {
	dst = append(dst, set.Owner.String()...)
	dst = strconv.AppendUint(append(dst, ' '), uint64(set.TTL), 10)
	dst = append(append(dst, ' '), set.Type.String()...)
	for _, a := range set.Addrs {
		dst = a.AppendTo(append(dst, ' '))
	}
	for _, t := range set.Texts {
		dst = append(dst, ' ', '"')
		for _, c := range []byte(t) {
			switch {
			case c == '"' || c == '\\':
				dst = append(dst, '\\', c)
			case c < ' ' || c >= 0x7f:
				dst = append(dst, '\\', '0'+c/100, '0'+c/10%10, '0'+c%10)
			default:
				dst = append(dst, c)
			}
		}
		dst = append(dst, '"')
	}
	return dst
}

func parseRRset(line string) (set ddns.RRset, err error) {
	owner, rest, _ := strings.Cut(line, " ")
	ttl, rest, _ := strings.Cut(rest, " ")
	kind, rest, _ := strings.Cut(rest, " ")
	seconds, err1 := strconv.ParseUint(ttl, 10, 32)
	set.TTL = uint32(seconds)
	var err2 error
	set.Owner, err2 = dnsname.Parse(owner)
	if err := errors.Join(err1, err2, set.Type.UnmarshalText([]byte(kind))); err != nil {
		return set, fmt.Errorf("has the line %.80q: %w", line, err)
	}
	for rest != "" {
		if set.Type == ddns.TypeTXT {
			var text string
			var ok bool
			if text, rest, ok = cutText(rest); !ok {
				return set, fmt.Errorf("has the line %.80q: its text does not end", line)
			}
			set.Texts = append(set.Texts, text)
			continue
		}
		var one string
		one, rest, _ = strings.Cut(rest, " ")
		a, err := netip.ParseAddr(one)
		if err != nil {
			return set, fmt.Errorf("has the line %.80q: %w", line, err)
		}
		set.Addrs = append(set.Addrs, a)
	}
	return set, nil
}

// cutText takes one quoted text and the space behind it.
func cutText(line string) (text, rest string, ok bool) {
	if line == "" || line[0] != '"' {
		return "", "", false
	}
	var out []byte
	for i := 1; i < len(line); i++ {
		switch c := line[i]; {
		case c == '"':
			return string(out), strings.TrimPrefix(line[i+1:], " "), true
		case c != '\\':
			out = append(out, c)
		case i+3 < len(line) && line[i+1] >= '0' && line[i+1] <= '9':
			n, err := strconv.ParseUint(line[i+1:i+4], 10, 8)
			if err != nil {
				return "", "", false
			}
			out = append(out, byte(n))
			i += 3
		case i+1 < len(line):
			i++
			out = append(out, line[i])
		}
	}
	return "", "", false
}

func (d *decoder) txt(n *node) []ddns.TXT {
	list := d.list(n)
	if len(list) == 0 {
		return nil
	}
	out := make([]ddns.TXT, len(list))
	for i := range list {
		list[i].name = n.name
		for _, m := range d.dict(&list[i]) {
			switch m.name {
			case "value":
				if b, ok := m.octets(); ok {
					out[i].Value = string(b)
				} else {
					out[i].Value = d.s(&m)
				}
			case "credential":
				out[i].Credential = d.s(&m)
			case "time":
				out[i].Time = d.time(&m)
			}
		}
	}
	return out
}

func appendTXT(dst []byte, list []ddns.TXT) []byte {
	return appendList(dst, list, func(dst []byte, t ddns.TXT) []byte {
		o := openObject(dst, `{"M":{`)
		if utf8.ValidString(t.Value) {
			o.s("value", t.Value)
		} else {
			o.key("value")
			o.b = appendB(o.b, []byte(t.Value))
		}
		o.text("credential", t.Credential)
		o.n("time", micros(t.Time))
		return append(o.b, "}}"...)
	})
}

func (d *decoder) followers(n *node) []ddns.Follower {
	type placed struct {
		at int64
		ddns.Follower
	}
	var list []placed
	for _, m := range d.dict(n) {
		f := placed{}
		name, err := dnsname.Parse(m.name)
		d.fail(n.name, err)
		f.Name = name
		for _, a := range d.dict(&m) {
			switch a.name {
			case "at":
				f.at = d.n(&a)
			case "low":
				low, err := netip.ParseAddr(d.s(&a))
				if err == nil && (!low.Is6() || low.Is4In6() || low.Zone() != "") {
					err = fmt.Errorf("%s is no interface ID", low)
				}
				d.fail(n.name, err)
				f.Low = low
			case "a":
				f.A = a.yes()
			case "aaaa":
				f.AAAA = a.yes()
			}
		}
		list = append(list, f)
	}
	slices.SortStableFunc(list, func(a, b placed) int { return int(min(max(a.at-b.at, -1), 1)) })
	var out []ddns.Follower
	for _, f := range list {
		out = append(out, f.Follower)
	}
	return out
}

func appendFollowers(dst []byte, list []ddns.Follower) []byte {
	o := openObject(dst, `{"M":{`)
	for i, f := range list {
		o.key(f.Name.String())
		m := openObject(o.b, `{"M":{`)
		m.n("at", int64(i)) // a map has no order, the operator's list has
		if f.Low.IsValid() {
			m.s("low", f.Low.String())
		}
		m.flag("a", f.A)
		m.flag("aaaa", f.AAAA)
		o.b = append(m.b, "}}"...)
	}
	return append(o.b, "}}"...)
}

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

func appendAddr(dst []byte, a netip.Addr) []byte {
	dst = append(dst, `{"S":"`...)
	return append(a.AppendTo(dst), `"}`...)
}

// appendEvent writes an event as the JSON that ddns.Event reads. The mark is of
// this one write: who has lost the answer knows his own by it.
func appendEvent(dst []byte, e *ddns.Event, mark uint64) []byte {
	dst = append(dst, `{"write":"`...)
	dst = strconv.AppendUint(dst, mark, 36)
	dst = append(dst, `","time":"`...)
	dst = e.Time.UTC().Truncate(time.Microsecond).AppendFormat(dst, time.RFC3339Nano)
	dst = strconv.AppendUint(append(dst, `","generation":`...), e.Generation, 10)
	dst = appendQuoted(append(dst, `,"outcome":`...), e.Outcome)
	dst = appendQuoted(append(dst, `,"door":`...), e.Door)
	if e.Credential != "" {
		dst = appendQuoted(append(dst, `,"credential":`...), e.Credential)
	}
	if e.Source.IsValid() {
		dst = append(e.Source.AppendTo(append(dst, `,"source":"`...)), '"')
	}
	if e.Proven {
		dst = append(dst, `,"proven":true`...)
	}
	if e.What != "" {
		dst = appendQuoted(append(dst, `,"what":`...), e.What)
	}
	list := func(name string, addrs []netip.Addr) {
		if len(addrs) == 0 {
			return
		}
		dst = append(dst, `,"`...)
		dst = append(dst, name...)
		for i, a := range addrs {
			if dst = append(dst, `,"`...); i == 0 {
				dst = append(dst[:len(dst)-2], `":["`...)
			}
			dst = append(a.AppendTo(dst), '"')
		}
		dst = append(dst, ']')
	}
	list("before", e.Before)
	list("after", e.After)
	return append(dst, '}')
}

func parseEvent(text string) (e ddns.Event, err error) {
	err = json.Unmarshal([]byte(text), &e)
	return e, err
}

// slot is where in gw_log the event of a generation stands: over that of
// MaxEvents generations before. The list has all its places from the beginning,
// so one can be written without reading the others.
func slot(generation uint64) int { return int(generation % ddns.MaxEvents) }

func appendLog(dst []byte, generation uint64, event string) []byte {
	dst = append(dst, `{"L":[`...)
	for i := range ddns.MaxEvents {
		if i > 0 {
			dst = append(dst, ',')
		}
		if text := ""; i == slot(generation) {
			dst = appendS(dst, event)
		} else {
			dst = appendS(dst, text)
		}
	}
	return append(dst, "]}"...)
}
