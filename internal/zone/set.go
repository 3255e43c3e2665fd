package zone

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"codeberg.org/miekg/dns"

	"godwit/internal/dnsname"
)

const (
	// maxValues is how many addresses of a family, or texts, a host may have.
	// The doors allow far fewer; this is what the encoding holds.
	maxValues = 255
	// maxText is the length of one text in octets. All of them together must
	// fit into a response by TCP.
	maxText     = 4096
	maxAllTexts = 32768
	maxTTL      = 1<<31 - 1 // RFC 2181 section 8
)

// A host is one dynamic name as it is stored: what it shows, or only that there
// are hosts below it, or only the generation at which it was emptied.
type host struct {
	generation uint64
	children   uint64 // hosts below this name that are in DNS
	ttl        uint32
	a, aaaa    []byte // 4 and 16 octets each
	txt        []byte // a length of 2 octets before each record's data
	challenge  []byte // the same, of texts that are the server's own
}

// The first octet of a stored host says which parts follow. They come in this
// order: generation, children, TTL (each as uvarint), then the values, each
// kind after its number of octets (uvarint).
const (
	hasChildren = 1 << iota
	hasA
	hasAAAA
	hasTXT
	hasChallenge
)

// ofHost tells whether there is something that Set has set.
func (h *host) ofHost() bool { return len(h.a) > 0 || len(h.aaaa) > 0 || len(h.txt) > 0 }

func (h *host) hasData() bool { return h.ofHost() || len(h.challenge) > 0 }

// exists tells whether the name is in DNS; an empty non-terminal is.
func (h *host) exists() bool { return h.children > 0 || h.hasData() }

func readHost(value []byte) (h host) {
	if value == nil {
		return h
	}
	flags := value[0]
	h.generation, value = uvarint(value[1:])
	if flags&hasChildren != 0 {
		h.children, value = uvarint(value)
	}
	if flags&(hasA|hasAAAA|hasTXT|hasChallenge) == 0 {
		return h
	}
	ttl, value := uvarint(value)
	h.ttl = uint32(ttl)
	if flags&hasA != 0 {
		h.a, value = part(value)
	}
	if flags&hasAAAA != 0 {
		h.aaaa, value = part(value)
	}
	if flags&hasTXT != 0 {
		h.txt, value = part(value)
	}
	if flags&hasChallenge != 0 {
		h.challenge, _ = part(value)
	}
	return h
}

func uvarint(b []byte) (uint64, []byte) {
	if b[0] < 0x80 {
		return uint64(b[0]), b[1:]
	}
	v, n := binary.Uvarint(b)
	return v, b[n:]
}

func part(b []byte) (value, rest []byte) {
	n, b := uvarint(b)
	return b[:n:n], b[n:]
}

// store is the form that readHost reads, in buf if it is large enough; nil if
// there is nothing to remember.
func (h *host) store(buf []byte) []byte {
	if !h.exists() && h.generation == 0 {
		return nil
	}
	b := append(buf[:0], 0)
	b = binary.AppendUvarint(b, h.generation)
	if h.children > 0 {
		b[0] |= hasChildren
		b = binary.AppendUvarint(b, h.children)
	}
	if !h.hasData() {
		return b
	}
	b = binary.AppendUvarint(b, uint64(h.ttl))
	for _, p := range []struct {
		flag  byte
		value []byte
	}{{hasA, h.a}, {hasAAAA, h.aaaa}, {hasTXT, h.txt}, {hasChallenge, h.challenge}} {
		if len(p.value) > 0 {
			b[0] |= p.flag
			b = binary.AppendUvarint(b, uint64(len(p.value)))
			b = append(b, p.value...)
		}
	}
	return b
}

// Set makes the zone show what the host's state of this generation is: TTL in
// seconds, its addresses and its texts (one TXT record each, cut into strings
// of 255 octets). It sets the whole state: what is not given is gone, and with
// nothing given the name is gone from DNS. Duplicates are dropped.
//
// A state older than the one last set is ignored, so states may arrive in any
// order and more than once. To that end an emptied name keeps its generation
// until [Zone.Forget].
//
// An error says that the host cannot be shown ([Zone.CheckHost], or values out
// of bounds); nothing has changed then.
func (z *Zone) Set(owner dnsname.Name, ttl uint32, a, aaaa []netip.Addr, txt []string, generation uint64) error {
	var four, sixteen [128]byte // room for as many as the doors allow
	next, name, err := z.state(owner, ttl, a, aaaa, txt, generation, four[:0], sixteen[:0])
	if err != nil {
		return err
	}
	rel := []byte(name)
	old := readHost(z.hosts.find(rel))
	if generation < old.generation {
		return nil
	}
	next.children, next.challenge = old.children, old.challenge
	z.replace(rel, &old, &next)
	return nil
}

// challengeTTL is the TTL in seconds of texts where there is no host.
const challengeTTL = 60

// SetChallenge makes the zone show texts of the server's own at owner, beside
// those of a host with that name, in place of the ones of the call before; with
// none given they are gone. They have no part in the host's generations.
//
// An error says that owner cannot show them ([Zone.CheckChallenge]); nothing has
// changed then.
func (z *Zone) SetChallenge(owner dnsname.Name, txt []string) error {
	data, err := z.challengeData(owner, txt)
	if err != nil {
		return err
	}
	rel := z.relative([]byte(owner.Wire()))
	old := readHost(z.hosts.find(rel))
	next := old
	if next.challenge = data; !old.hasData() {
		next.ttl = challengeTTL
	}
	z.replace(rel, &old, &next)
	return nil
}

// CheckChallenge tells whether owner may show such texts; see [Zone.CheckHost].
func (z *Zone) CheckChallenge(owner dnsname.Name, txt []string) error {
	_, err := z.challengeData(owner, txt)
	return err
}

func (z *Zone) challengeData(owner dnsname.Name, txt []string) ([]byte, error) {
	if err := z.CheckHost(owner); err != nil {
		return nil, err
	}
	rel := owner.Wire()[:len(owner.Wire())-len(z.suffix)]
	return texts(owner, txt, z.static[rel].set(dns.TypeTXT))
}

// replace stores what a name shows in place of what it showed.
func (z *Zone) replace(rel []byte, old, next *host) {
	z.history.note(rel, old, next)
	var buf [128]byte // most hosts fit
	switch was, is := old.hasData(), next.hasData(); {
	case is && !was:
		// The host first, then the names above it: whoever asks in between gets
		// the answer of before or of after, for each name.
		z.version.Add(1)
		z.hosts.put(rel, next.store(buf[:]))
		z.countAbove(rel, 1)
		z.present.Add(1)
	case was && !is:
		z.countAbove(rel, ^uint64(0))
		z.version.Add(1)
		z.hosts.put(rel, next.store(buf[:]))
		z.present.Add(-1)
	default:
		z.hosts.put(rel, next.store(buf[:]))
	}
}

// state is what Set is to store, and under which relative name. The addresses
// are appended to four and sixteen.
func (z *Zone) state(owner dnsname.Name, ttl uint32, a, aaaa []netip.Addr, txt []string, generation uint64, four, sixteen []byte) (next host, rel string, err error) {
	if err := z.CheckHost(owner); err != nil {
		return host{}, "", err
	}
	if ttl > maxTTL {
		return host{}, "", fmt.Errorf("%s: a TTL of %d seconds is too long; give at most %d", owner, ttl, maxTTL)
	}
	next = host{generation: generation, ttl: ttl}
	if next.a, err = addresses(four, owner, a, false); err != nil {
		return host{}, "", err
	}
	if next.aaaa, err = addresses(sixteen, owner, aaaa, true); err != nil {
		return host{}, "", err
	}
	rel = owner.Wire()[:len(owner.Wire())-len(z.suffix)]
	if len(txt) > 0 {
		next.txt, err = texts(owner, txt, z.static[rel].set(dns.TypeTXT))
	}
	return next, rel, err
}

// countAbove adds delta to the count of hosts below of each name between rel
// and the apex.
func (z *Zone) countAbove(rel []byte, delta uint64) {
	if len(rel) == 0 {
		return
	}
	for rel = parent(rel); len(rel) > 0; rel = parent(rel) {
		h := readHost(z.hosts.find(rel))
		h.children += delta
		// Before each store, not once: a reader that sees this count must not
		// believe that nothing changed since it missed the host.
		z.version.Add(1)
		z.hosts.put(rel, h.store(nil))
	}
}

// Forget drops what is remembered of an emptied host, once no older state of it
// can arrive any more. A host that is in DNS stays.
func (z *Zone) Forget(owner dnsname.Name) {
	if !owner.Under(z.apex) {
		return
	}
	rel := z.relative([]byte(owner.Wire()))
	h := readHost(z.hosts.find(rel))
	if h.generation == 0 || h.ofHost() {
		return
	}
	h.generation = 0
	z.hosts.put(rel, h.store(nil))
}

// addresses appends the octets of addrs, each address once.
func addresses(out []byte, owner dnsname.Name, addrs []netip.Addr, v6 bool) ([]byte, error) {
	if len(addrs) > maxValues {
		return nil, fmt.Errorf("%s: %d addresses of one family; give at most %d", owner, len(addrs), maxValues)
	}
next:
	for i, addr := range addrs {
		if !isAddress(addr, v6) {
			return nil, fmt.Errorf("%s: %s is not an address for this record type", owner, addr)
		}
		for _, before := range addrs[:i] {
			if before.Unmap() == addr.Unmap() {
				continue next
			}
		}
		if v6 {
			octets := addr.As16()
			out = append(out, octets[:]...)
		} else {
			octets := addr.Unmap().As4()
			out = append(out, octets[:]...)
		}
	}
	return out, nil
}

func texts(owner dnsname.Name, values []string, static *rrset) ([]byte, error) {
	if len(values) > maxValues {
		return nil, fmt.Errorf("%s: %d texts; give at most %d", owner, len(values), maxValues)
	}
	var out []byte
next:
	for i, text := range values {
		if len(text) > maxText {
			return nil, fmt.Errorf("%s: a text of %d octets; give at most %d", owner, len(text), maxText)
		}
		for _, before := range values[:i] {
			if before == text {
				continue next
			}
		}
		rdata := textData(text)
		if static != nil {
			for _, have := range static.rdata {
				if string(have) == string(rdata) {
					continue next
				}
			}
		}
		out = binary.BigEndian.AppendUint16(out, uint16(len(rdata)))
		out = append(out, rdata...)
	}
	if len(out) > maxAllTexts {
		return nil, fmt.Errorf("%s: texts of %d octets in all; give at most %d", owner, len(out), maxAllTexts)
	}
	return out, nil
}

// textData is the data of a TXT record: strings of at most 255 octets (RFC 1035
// section 3.3.14), one of them even if text is empty.
func textData(text string) []byte {
	out := make([]byte, 0, len(text)+2+len(text)/255)
	for {
		n := min(len(text), 255)
		out = append(out, byte(n))
		out = append(out, text[:n]...)
		if text = text[n:]; text == "" {
			return out
		}
	}
}
