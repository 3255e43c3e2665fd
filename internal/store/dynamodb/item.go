package dynamodb

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

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
	attrMark   = "gw_mark" // of a #name# item: another one at each write

	layoutVersion = 1
)

// DamagedError says that an item is not what its writer meant: its host is
// neither served nor published.
type DamagedError struct {
	Key string // "nas.example.org"
	Why string
}

// Is makes a host's item ErrDamaged. #meta is everybody's: with that damaged the
// table cannot be used.
func (e *DamagedError) Is(target error) bool { return target == ddns.ErrDamaged && e.Key != metaItem }

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
	if v, _ := item.member(attrV).integer(); v > layoutVersion {
		return nil, fmt.Errorf("the item %q has layout %d and this program knows %d: deploy a newer one", key, v, layoutVersion) // no damage
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
		case "ends":
			h.Ends = d.time(&m)
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
	if !h.Ends.IsZero() {
		o.n("ends", micros(h.Ends))
	}
	if len(h.Credentials) > 0 {
		o.key("credentials")
		o.b = appendList(o.b, h.Credentials, appendS)
	}
	return append(o.b, "}}"...)
}

func sameOpts(a, b *ddns.Host) bool {
	return a.Zone == b.Zone && a.Addresses == b.Addresses && a.Free == b.Free && a.SeedOff == b.SeedOff && a.Suspended == b.Suspended &&
		a.Wildcard == b.Wildcard && a.Removed == b.Removed && a.Lease == b.Lease && a.Created.Equal(b.Created) && a.Ends.Equal(b.Ends) &&
		slices.Equal(a.Credentials, b.Credentials)
}

func appendAddr(dst []byte, a netip.Addr) []byte {
	dst = append(dst, `{"S":"`...)
	return append(a.AppendTo(dst), `"}`...)
}
