package route53

import (
	"fmt"
	"slices"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

// kind separates what may not share a batch: the role's policy has one statement
// for addresses and one for challenge values, and a batch must fit one of them.
type kind int

const (
	addresses kind = iota
	texts
	kinds
)

func kindOf(t ddns.Type) kind {
	if t == ddns.TypeTXT {
		return texts
	}
	return addresses
}

// job is one host on its way to DNS.
type job struct {
	host   *ddns.Host // to be published; may become newer than the one asked for
	wanted []ddns.RRset
	pairs  [kinds][]pair // how that differs from Host.Shown
	errs   [kinds]error  // why DNS is not known to show what the host says of a kind
}

// publish makes h the state that is to be published.
func (j *job) publish(h *ddns.Host) {
	j.host, j.wanted = h, h.RRsets()
	for k := range kinds {
		j.pairs[k], _ = j.plan(k, nil) // what Host.Shown says is in nobody's way
	}
}

// doubtful tells whether DNS has to be asked before anything is sent of a kind.
// What was sent at a generation in between may have been taken although nobody
// heard so, and it may be anything. And a host that DNS should show already is
// published for some reason.
func (j *job) doubtful() bool {
	return j.host.Published+1 < j.host.Generation || len(j.pairs[addresses])+len(j.pairs[texts]) == 0
}

// fail notes why DNS is not known to show a kind; the first reason stays.
func (j *job) fail(k kind, err error) {
	if j.errs[k] == nil {
		j.errs[k] = err
	}
}

// pair is one set of a batch: exactly what is believed to be shown goes, and
// what the host says comes. Either may be zero, not both.
type pair struct{ before, after record }

func (p *pair) key() key {
	if p.after.isZero() {
		return keyOf(&p.before.RRset)
	}
	return keyOf(&p.after.RRset)
}

// unit is what is sent together or not at all: a host's sets of one kind. Only
// if they are more than a batch takes are they several units.
type unit struct {
	job                  *job
	kind                 kind
	pairs                []pair
	part                 map[key]bool // of several units, this one's sets; nil: it is the only one
	elements, characters int
	looked               int // how often DNS has been asked what it shows
}

// challengeOf is where a host's challenge values stand; false: nowhere.
func challengeOf(h *ddns.Host) (dnsname.Name, bool) {
	if h.Name.IsWildcard() {
		return dnsname.Name{}, false
	}
	owner, err := h.Name.Child("_acme-challenge")
	return owner, err == nil
}

// keys are the places that a host has of a kind: addresses at its names, and
// whatever it is known to have shown. Challenge values count only once it has
// had some: others may use that name.
func keys(h *ddns.Host, k kind) []key {
	var out []key
	add := func(x key) {
		if !slices.Contains(out, x) {
			out = append(out, x)
		}
	}
	if k == addresses {
		for _, n := range h.Names() {
			add(key{n, ddns.TypeA})
			add(key{n, ddns.TypeAAAA})
		}
	} else if owner, ok := challengeOf(h); ok && len(h.TXT) > 0 {
		add(key{owner, ddns.TypeTXT})
	}
	for i := range h.Shown {
		if kindOf(h.Shown[i].Type) != k {
			continue
		}
		if k == addresses {
			add(key{h.Shown[i].Owner, ddns.TypeA})
			add(key{h.Shown[i].Owner, ddns.TypeAAAA})
		} else {
			add(keyOf(&h.Shown[i]))
		}
	}
	return out
}

// owns tells whether what stands at a key is the host's, whatever it is. At a
// name that the host has given up, another's may stand by now.
func owns(h *ddns.Host, x key) bool {
	if x.t == ddns.TypeTXT {
		owner, ok := challengeOf(h)
		return ok && owner == x.owner
	}
	return slices.Contains(h.Names(), x.owner)
}

// plan is the difference between what DNS shows of a kind and what the host
// says. shown is what it was seen to show; nil: what Host.Shown says. An error
// names what stands in the way.
func (j *job) plan(k kind, shown map[key]record) ([]pair, error) {
	var pairs []pair
	h, wanted := j.host, j.wanted
	before := func(x key) record {
		if shown != nil {
			return shown[x]
		}
		if i := index(h.Shown, x); i >= 0 {
			return record{RRset: h.Shown[i]}
		}
		return record{}
	}
	for i := range wanted {
		x := keyOf(&wanted[i])
		if kindOf(x.t) != k {
			continue
		}
		p := pair{before(x), record{RRset: wanted[i]}}
		if p.before.foreign != "" {
			return nil, fmt.Errorf("%w: %s at %s %s is in the way: take it away in Route 53, or choose another name", ddns.ErrNotTaken, p.before.foreign, x.owner, x.t)
		}
		if p.before.isZero() || !p.before.same(&p.after) {
			pairs = append(pairs, p)
		}
	}
	gone := func(r record) {
		if index(wanted, keyOf(&r.RRset)) < 0 && r.foreign == "" {
			pairs = append(pairs, pair{before: r})
		}
	}
	if shown == nil {
		for i := range h.Shown {
			if kindOf(h.Shown[i].Type) == k {
				gone(record{RRset: h.Shown[i]})
			}
		}
		return pairs, nil
	}
	for _, x := range keys(h, k) { // in a fixed order
		r, ok := shown[x]
		if !ok {
			continue
		}
		if i := index(h.Shown, x); owns(h, x) || i >= 0 && r.same(&record{RRset: h.Shown[i]}) {
			gone(r)
		}
	}
	return pairs, nil
}

func index(sets []ddns.RRset, x key) int {
	return slices.IndexFunc(sets, func(r ddns.RRset) bool { return r.Owner == x.owner && r.Type == x.t })
}

// samePairs tells whether two plans send the same, to the letter: Route 53 may
// compare values as text.
func samePairs(a, b []pair) bool {
	return slices.EqualFunc(a, b, func(p, q pair) bool {
		return p.before.same(&q.before) && slices.Equal(p.before.values(), q.before.values()) && p.after.same(&q.after)
	})
}

// Limits of one batch. DELETE and CREATE count each value once.
const (
	maxElements   = 1000
	maxCharacters = 32000
)

// units makes what is to be sent of a job: none if nothing differs.
func (j *job) units(k kind, pairs []pair) []*unit {
	if len(pairs) == 0 {
		return nil
	}
	whole := &unit{job: j, kind: k}
	whole.set(pairs)
	if whole.elements <= maxElements && whole.characters <= maxCharacters {
		return []*unit{whole}
	}
	// One set always fits: a host has at most eight values in it.
	var out []*unit
	var last *unit
	for i := range pairs {
		elements, characters := pairs[i].size()
		if last == nil || last.elements+elements > maxElements || last.characters+characters > maxCharacters {
			last = &unit{job: j, kind: k, part: map[key]bool{}}
			out = append(out, last)
		}
		last.part[pairs[i].key()] = true
		last.set(append(last.pairs, pairs[i]))
	}
	return out
}

// set gives a unit its pairs, in a new plan those of its part.
func (u *unit) set(pairs []pair) {
	u.pairs, u.elements, u.characters = pairs, 0, 0
	for i := range pairs {
		elements, characters := pairs[i].size()
		u.elements += elements
		u.characters += characters
	}
}

func (p *pair) size() (elements, characters int) {
	e1, c1 := p.before.size()
	e2, c2 := p.after.size()
	return e1 + e2, c1 + c2
}

// cut takes as many units as one batch may hold.
func cut(units []*unit) (batch, rest []*unit) {
	elements, characters := 0, 0
	for i, u := range units {
		elements += u.elements
		characters += u.characters
		if i > 0 && (elements > maxElements || characters > maxCharacters) {
			return units[:i], units[i:]
		}
	}
	return units, nil
}
