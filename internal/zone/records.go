package zone

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"codeberg.org/miekg/dns"
	"codeberg.org/miekg/dns/dnsutil"

	"godwit/internal/dnsname"
)

// Records are the static records of a zone, checked against each other. Make
// them with [Parse]. They do not change.
type Records struct {
	file  string
	apex  dnsname.Name
	nodes map[string]*node // by name below the apex; the apex is always there
	soa   *soa             // nil: none in the file
	count int
}

// A node is a name that exists: with RRsets, or as an empty non-terminal.
type node struct {
	sets []*rrset
}

// An rrset is a static RRset, never changed once it is served.
type rrset struct {
	rrtype uint16
	ttl    uint32   // seconds
	rdata  [][]byte // RFC 1035 types: names in lower case, not compressed
	line   int      // of the first record; 0: not from the zone file
	size   int      // octets of the records, about
}

func (n *node) set(rrtype uint16) *rrset {
	if n != nil {
		for _, s := range n.sets {
			if s.rrtype == rrtype {
				return s
			}
		}
	}
	return nil
}

func newRecords(file string, apex dnsname.Name) *Records {
	return &Records{file: file, apex: apex, nodes: map[string]*node{"": {}}}
}

// clone copies what addNameServers may change: the map, and the nodes' lists.
func (r *Records) clone() *Records {
	c := *r
	c.nodes = maps.Clone(r.nodes)
	for name, n := range c.nodes {
		sets := slices.Clone(n.sets)
		for i, s := range sets {
			copied := *s
			copied.rdata = slices.Clone(s.rdata)
			sets[i] = &copied
		}
		c.nodes[name] = &node{sets: sets}
	}
	return &c
}

// relativeText is the part of owner below the apex in wire form, without the root.
func (r *Records) relativeText(owner dnsname.Name) string {
	return owner.Wire()[:len(owner.Wire())-len(r.apex.Wire())]
}

// add puts one record into its RRset and makes its name and all names between
// it and the apex exist. It reports whether the record is new: a second copy of
// a record is no record (RFC 2181 section 5). owner must be under the apex.
func (r *Records) add(owner dnsname.Name, rrtype uint16, ttl uint32, rdata []byte, line int) (*rrset, bool) {
	rel := r.relativeText(owner)
	n := r.nodes[rel]
	if n == nil {
		n = &node{}
		r.nodes[rel] = n
		for up := rel[1+int(rel[0]):]; up != "" && r.nodes[up] == nil; up = up[1+int(up[0]):] {
			r.nodes[up] = &node{}
		}
	}
	s := n.set(rrtype)
	if s == nil {
		s = &rrset{rrtype: rrtype, ttl: ttl, line: line}
		n.sets = append(n.sets, s)
	}
	for _, have := range s.rdata {
		if string(have) == string(rdata) {
			return s, false
		}
	}
	s.rdata = append(s.rdata, rdata)
	r.count++
	return s, true
}

// governor returns what takes the data of owner away from its zone: the topmost
// delegation at or above it, or DNAME above it (RFC 6672 section 2.4).
func governor[T string | []byte](nodes map[string]*node, rel T) (at T, found *rrset) {
	for name := rel; ; name = name[1+int(name[0]):] {
		n := nodes[string(name)] // allocates nothing
		if s := n.set(dns.TypeDNAME); s != nil && len(name) < len(rel) {
			at, found = name, s
		}
		if len(name) == 0 {
			return at, found
		}
		if s := n.set(dns.TypeNS); s != nil {
			at, found = name, s
		}
	}
}

// govern says in words what governor found, at a name below apex.
func govern(at string, s *rrset, apex dnsname.Name) string {
	name, _, _ := dnsname.FromWire([]byte(at + apex.Wire()))
	if s.rrtype == dns.TypeDNAME {
		return "a DNAME at " + name.String() + " redirects it"
	}
	return name.String() + " is delegated to other name servers"
}

func (r *Records) addNameServers(servers []NameServer) error {
	if len(servers) == 0 && r.nodes[""].set(dns.TypeNS) == nil {
		name, err := r.apex.Child("ns")
		if err != nil {
			return fmt.Errorf("zone %s needs a name server: %w", r.apex, err)
		}
		servers = []NameServer{{Name: name}}
	}
	for i, server := range servers {
		s, _ := r.add(r.apex, dns.TypeNS, defaultTTL, []byte(server.Name.Wire()), 0)
		if i == 0 { // to the front: the first one is the SOA's MNAME
			at := slices.IndexFunc(s.rdata, func(rdata []byte) bool { return string(rdata) == server.Name.Wire() })
			s.rdata = slices.Insert(slices.Delete(s.rdata, at, at+1), 0, []byte(server.Name.Wire()))
		}
		if !server.Name.Under(r.apex) {
			if len(server.Addresses) > 0 {
				return fmt.Errorf("name server %s is outside of zone %s, which cannot hold its addresses; give the name alone", server.Name, r.apex)
			}
			continue
		}
		if len(server.Addresses) == 0 {
			continue
		}
		if at, s := governor(r.nodes, r.relativeText(server.Name)); s != nil {
			return fmt.Errorf("name server %s cannot have addresses in zone %s: %s: %s; give the name alone, and its addresses as glue in the zone file", server.Name, r.apex, r.position(s.line), govern(at, s, r.apex))
		}
		if s := r.nodes[r.relativeText(server.Name)].set(dns.TypeCNAME); s != nil {
			return fmt.Errorf("name server %s has a CNAME at %s; a name server must have addresses of its own (RFC 2181 section 10.3)", server.Name, r.position(s.line))
		}
		for _, a := range server.Addresses {
			a = a.Unmap()
			rrtype := dns.TypeA
			if a.Is6() {
				rrtype = dns.TypeAAAA
			}
			if !a.IsValid() || a.Zone() != "" {
				return fmt.Errorf("name server %s: %q is not an address; give one such as 192.0.2.1", server.Name, a)
			}
			r.add(server.Name, rrtype, defaultTTL, a.AsSlice(), 0)
		}
	}
	return nil
}

// check finds what contradicts itself once all records are known.
func (r *Records) check() error {
	// In a fixed order, so that a file with two errors always shows the same one.
	names := slices.Sorted(maps.Keys(r.nodes))
	for _, rel := range names {
		n := r.nodes[rel]
		owner, _, err := dnsname.FromWire([]byte(rel + r.apex.Wire()))
		if err != nil {
			return err
		}
		bad := func(line int, why, fix string) error {
			return &FileError{File: r.file, Line: line, Why: why, Fix: fix}
		}
		cname, dname, ns, ds := n.set(dns.TypeCNAME), n.set(dns.TypeDNAME), n.set(dns.TypeNS), n.set(dns.TypeDS)
		if ds != nil && (ns == nil || rel == "") {
			return bad(ds.line, fmt.Sprintf("DS record at %s, which is not delegated", owner), "it belongs beside the NS records of a child zone (RFC 4034 section 5); remove it, or add them")
		}
		if cname != nil {
			if len(cname.rdata) > 1 {
				return bad(cname.line, fmt.Sprintf("%s has %d CNAME records", owner, len(cname.rdata)), "keep one of them (RFC 2181 section 10.1)")
			}
			if rel == "" {
				return bad(cname.line, "a CNAME at the zone's apex, which has SOA and NS", "give addresses there, or make the apex a host")
			}
			if len(n.sets) > 1 {
				other := n.sets[0]
				if other == cname {
					other = n.sets[1]
				}
				return bad(max(cname.line, other.line), fmt.Sprintf("%s has CNAME on line %d and %s on line %d", owner, cname.line, typeName(other.rrtype), other.line), "keep one of them (RFC 1034 section 3.6.2)")
			}
		}
		if dname != nil {
			if len(dname.rdata) > 1 {
				return bad(dname.line, fmt.Sprintf("%s has %d DNAME records", owner, len(dname.rdata)), "keep one of them (RFC 6672 section 2.4)")
			}
			if ns != nil && rel != "" {
				return bad(max(dname.line, ns.line), fmt.Sprintf("%s has DNAME on line %d and is delegated on line %d", owner, dname.line, ns.line), "keep one of them (RFC 6672 section 2.3)")
			}
		}
		if len(n.sets) == 0 {
			continue
		}
		if err := r.checkAbove(rel, owner, n, bad); err != nil {
			return err
		}
	}
	return nil
}

// checkAbove finds records that a delegation or a DNAME hides.
func (r *Records) checkAbove(rel string, owner dnsname.Name, n *node, bad func(int, string, string) error) error {
	for up := rel; ; up = up[1+int(up[0]):] {
		above := r.nodes[up]
		if dname := above.set(dns.TypeDNAME); dname != nil && len(up) < len(rel) {
			return bad(n.sets[0].line, fmt.Sprintf("%s is below the DNAME on line %d", owner, dname.line), "nothing can be there (RFC 6672 section 2.4); remove one of them")
		}
		if up == "" {
			return nil
		}
		if ns := above.set(dns.TypeNS); ns != nil {
			for _, s := range n.sets {
				glue := s.rrtype == dns.TypeA || s.rrtype == dns.TypeAAAA
				ds := s.rrtype == dns.TypeDS && up == rel // of the parent's side
				if s != ns && !glue && !ds {
					return bad(s.line, fmt.Sprintf("%s %s is at or below the delegation on line %d", owner, typeName(s.rrtype), ns.line), "only addresses of name servers (glue) can be there; put the record into the child zone")
				}
			}
		}
	}
}

func (r *Records) position(line int) string { return position(r.file, line) }

func position(file string, line int) string {
	if line == 0 {
		return "the list of name servers"
	}
	return fmt.Sprintf("%s:%d", file, line)
}

// typeName is the mnemonic of a type, TYPE666 for an unknown one (RFC 3597 section 5).
func typeName(rrtype uint16) string { return dnsutil.TypeToString(rrtype) }

// A ClashError says that a name cannot be a host because of a static record. What
// to do depends on which of them was first, so the caller says it.
type ClashError struct {
	Owner dnsname.Name
	File  string // as it was given to Parse
	Line  int    // 0: not in the file, but in Config.NameServers
	Why   string
}

func (e *ClashError) Error() string {
	return fmt.Sprintf("%s cannot be a host: %s: %s", e.Owner, position(e.File, e.Line), e.Why)
}

// CheckHost tells whether owner may be a host beside the static records; if
// not, the error is a *[ClashError] with the record that stands in the way, or
// says that owner is outside of the zone. MX, TXT, CAA and the like do not.
func (z *Zone) CheckHost(owner dnsname.Name) error {
	if !owner.Under(z.apex) {
		return fmt.Errorf("%s is not in zone %s", owner, z.apex)
	}
	if len(z.static) == 1 && z.boundaries == 0 && owner != z.apex {
		return nil // the ordinary zone has a static apex and nothing else
	}
	rel := owner.Wire()[:len(owner.Wire())-len(z.suffix)]
	clash := func(s *rrset, why string) error {
		return &ClashError{Owner: owner, File: z.file, Line: s.line, Why: why}
	}
	if z.boundaries > 0 {
		if at, s := governor(z.static, rel); s != nil {
			return clash(s, govern(at, s, z.apex))
		}
	}
	n := z.static[rel]
	if n == nil {
		return nil
	}
	for _, s := range n.sets {
		switch s.rrtype {
		case dns.TypeA, dns.TypeAAAA, dns.TypeCNAME, dns.TypeDNAME:
			if s.line == 0 {
				return clash(s, "it is a name server with an address of its own")
			}
			return clash(s, "a static "+typeName(s.rrtype)+" record is there")
		}
	}
	return nil
}

// isAddress tells whether a is an address of the family.
func isAddress(a netip.Addr, v6 bool) bool {
	return a.IsValid() && a.Zone() == "" && a.Unmap().Is6() == v6
}
