package awstest

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// RecordSet is a resource record set. TTL and Values belong together unless
// Alias is used.
type RecordSet struct {
	Name       string // absolute, lower case, other octets than a-z 0-9 - _ as \ooo
	Type       string // "A", "AAAA", "TXT" …
	Identifier string // SetIdentifier of one of several sets of the same name and type
	TTL        int64  // seconds
	Values     []string
	Alias      string // DNS name of an alias target
}

func (s *RecordSet) String() string {
	return fmt.Sprintf("%s %d %s %q%s", s.Name, s.TTL, s.Type, s.Values, s.Alias)
}

// Change is one change of a batch.
type Change struct {
	Action string // CREATE, DELETE, UPSERT
	Set    RecordSet
}

// setKey is a set's place in a zone; its order is that of listings.
type setKey struct{ reversed, rrType, identifier string }

func keyOf(s *RecordSet) setKey { return setKey{reversedName(s.Name), s.Type, s.Identifier} }

func (k setKey) compare(l setKey) int {
	return cmp.Or(strings.Compare(k.reversed, l.reversed), strings.Compare(k.rrType, l.rrType), strings.Compare(k.identifier, l.identifier))
}

type hostedZone struct {
	id, name  string
	reference string
	sets      map[setKey]*RecordSet // never changed in place
	order     []setKey
	busyUntil int64 // Unix nanoseconds
}

// put places a set, or takes away what is there if set is nil.
func (z *hostedZone) put(k setKey, set *RecordSet) {
	_, there := z.sets[k]
	if there == (set != nil) {
		if there {
			z.sets[k] = set
		}
		return
	}
	i, _ := slices.BinarySearchFunc(z.order, k, setKey.compare)
	if set == nil {
		delete(z.sets, k)
		z.order = slices.Delete(z.order, i, i+1)
		return
	}
	z.sets[k] = set
	z.order = slices.Insert(z.order, i, k)
}

// canonicalName is a name as Route 53 keeps it: absolute, lower case, octets other
// than a-z 0-9 - _ as \ooo, in three octal digits.
func canonicalName(name string) (string, error) {
	if isCanonical(name) {
		return name, nil
	}
	var out strings.Builder
	length, label := 1, 0 // octets in wire form; those of the label at hand
	name = strings.TrimSuffix(name, ".")
	for i := 0; i < len(name); i++ {
		c := name[i]
		if c == '.' {
			if label == 0 {
				return "", fmt.Errorf("%q has an empty label", name)
			}
			out.WriteByte('.')
			length, label = length+1, 0
			continue
		}
		if c == '\\' {
			n, err := strconv.ParseUint(name[i+1:min(i+4, len(name))], 8, 8)
			if err != nil || i+4 > len(name) {
				return "", fmt.Errorf(`%q has a \ without three octal digits`, name)
			}
			c, i = byte(n), i+3
		}
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if inName(c) {
			out.WriteByte(c)
		} else {
			fmt.Fprintf(&out, `\%03o`, c)
		}
		if length, label = length+1, label+1; label > 63 {
			return "", fmt.Errorf("%q has a label of more than 63 octets", name)
		}
	}
	if label == 0 || length+1 > 255 {
		return "", fmt.Errorf("%q is empty, ends in two dots or has more than 255 octets", name)
	}
	out.WriteByte('.')
	return out.String(), nil
}

func inName(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}

// isCanonical tells whether a name is canonical as it is; most are.
func isCanonical(name string) bool {
	if len(name) < 2 || len(name) > 254 || name[len(name)-1] != '.' {
		return false
	}
	label := 0
	for i := range len(name) {
		switch c := name[i]; {
		case c == '.' && label > 0 && label <= 63:
			label = 0
		case inName(c):
			label++
		default:
			return false
		}
	}
	return true
}

// reversedName is a canonical name as listings compare it: labels in reverse, a
// final dot, and * as the character that it is.
func reversedName(name string) string {
	var out strings.Builder
	out.Grow(len(name))
	for end := len(name) - 1; end > 0; {
		start := strings.LastIndexByte(name[:end], '.') + 1
		if label := name[start:end]; strings.IndexByte(label, '\\') < 0 {
			out.WriteString(label)
		} else {
			out.WriteString(strings.ReplaceAll(label, `\052`, "*"))
		}
		out.WriteByte('.')
		end = start - 1
	}
	return out.String()
}

// underApex tells whether a canonical name is the apex or below it.
func underApex(name, apex string) bool {
	rest, ok := strings.CutSuffix(name, apex)
	return ok && (rest == "" || rest[len(rest)-1] == '.')
}

// changeBatch is a zone while its changes are judged: each sees what the earlier ones
// leave.
type changeBatch struct {
	*hostedZone
	after  map[setKey]*RecordSet // nil: gone
	order  []setKey              // of after, as they came
	count  int                   // of sets
	cnames bool                  // whether there is a CNAME among the changes
	exact  bool                  // values are compared as text
}

func (b *changeBatch) get(k setKey) *RecordSet {
	if s, ok := b.after[k]; ok {
		return s
	}
	return b.sets[k]
}

func (b *changeBatch) put(k setKey, s *RecordSet) {
	if _, ok := b.after[k]; !ok {
		b.order = append(b.order, k)
	}
	if before := b.get(k); before == nil && s != nil {
		b.count++
	} else if before != nil && s == nil {
		b.count--
	}
	b.after[k] = s
}

// conflicts tells whether a set of that type would stand beside a CNAME, or be
// one beside another.
func (b *changeBatch) conflicts(name, rrType string) bool {
	wanted := func(k setKey, s *RecordSet) bool {
		return s != nil && k.reversed == name && (k.rrType == "CNAME") != (rrType == "CNAME")
	}
	if b.cnames { // otherwise the batch itself makes no conflict, and this costs its square
		for k, s := range b.after {
			if wanted(k, s) {
				return true
			}
		}
	}
	i, _ := slices.BinarySearchFunc(b.hostedZone.order, setKey{reversed: name}, setKey.compare)
	for ; i < len(b.hostedZone.order) && b.hostedZone.order[i].reversed == name; i++ {
		if k := b.hostedZone.order[i]; wanted(k, b.get(k)) {
			return true
		}
	}
	return false
}

// changeLocked judges a batch change by change and makes all of it or nothing.
func (r *Route53) changeLocked(z *hostedZone, changes []Change) (route53Answer, *route53Error) {
	now := r.config.Now()
	if now.UnixNano() < z.busyUntil {
		return route53Answer{}, refusal(400, "PriorRequestNotComplete", priorRequest)
	}
	if f := bounds(changes); f != nil {
		return route53Answer{}, f
	}
	b := &changeBatch{hostedZone: z, after: make(map[setKey]*RecordSet, len(changes)), count: len(z.sets), exact: r.config.Exact}
	b.cnames = slices.ContainsFunc(changes, func(c Change) bool { return c.Set.Type == "CNAME" })
	var messages []string
	for i := range changes {
		s := &changes[i].Set
		why := ""
		if r.poisoned[s.Name] {
			why = fmt.Sprintf("Invalid Resource Record: FATAL problem: injected encountered at name='%s', type='%s'", s.Name, s.Type)
		} else {
			why = b.apply(changes[i].Action, s)
		}
		if why != "" {
			messages = append(messages, why)
		}
	}
	if max := r.config.MaxSets; max > 0 && b.count > max && b.count > len(z.sets) {
		messages = append(messages, fmt.Sprintf("Number of records limit of %d exceeded.", max))
	}
	if messages != nil {
		return route53Answer{}, &route53Error{400, "InvalidChangeBatch", messages}
	}
	c := Commit{Time: now, Zone: z.id}
	for _, k := range b.order {
		before, after := z.sets[k], b.after[k]
		z.put(k, after)
		if before != nil || after != nil {
			c.Sets = append(c.Sets, Transition{before, after})
		}
	}
	r.recordLocked(c)
	z.busyUntil = now.Add(r.config.Hold).UnixNano()
	return route53Answer{status: 200, body: changeAnswer("ChangeResourceRecordSetsResponse", r.acceptLocked())}, nil
}

// bounds holds a batch to the limits that do not depend on the zone.
func bounds(changes []Change) *route53Error {
	elements, characters := 0, 0
	for i := range changes {
		c := &changes[i]
		n, chars := len(c.Set.Values), 0
		if c.Set.Alias != "" {
			n++
		}
		for _, v := range c.Set.Values {
			chars += len(v)
		}
		if c.Action == "UPSERT" {
			n, chars = 2*n, 2*chars
		}
		elements, characters = elements+n, characters+chars
	}
	// Both texts are believed, not seen.
	if elements > maxElements {
		return refusal(400, "InvalidChangeBatch", "Number of records limit of 1000 exceeded.")
	}
	if characters > maxCharacters {
		return refusal(400, "InvalidChangeBatch", "Number of characters limit of 32000 exceeded.")
	}
	return nil
}

// apply judges one change and makes it in the batch, or says what is wrong.
func (b *changeBatch) apply(action string, s *RecordSet) string {
	k := keyOf(s)
	there := b.get(k)
	if !underApex(s.Name, b.name) {
		return fmt.Sprintf("RRSet with DNS name %s is not permitted in zone %s", s.Name, b.name)
	}
	if why := checkSet(s, b.name); why != "" {
		return why
	}
	tried := fmt.Sprintf("resource record set [name='%s', type='%s'", s.Name, s.Type)
	if s.Identifier != "" {
		tried += fmt.Sprintf(", set identifier='%s'", s.Identifier)
	}
	tried += "] but "
	switch action {
	case "DELETE":
		switch {
		case there == nil:
			return "Tried to delete " + tried + "it was not found"
		case !sameSet(there, s) || b.exact && !slices.Equal(slices.Sorted(slices.Values(there.Values)), slices.Sorted(slices.Values(s.Values))):
			return "Tried to delete " + tried + "the values provided do not match the current values"
		case s.Name == b.name && (s.Type == "SOA" || s.Type == "NS"):
			return "A HostedZone must contain exactly one " + s.Type + " record at its apex"
		}
		b.put(k, nil)
		return ""
	case "CREATE":
		if there != nil {
			return "Tried to create " + tried + "it already exists"
		}
	}
	// A CNAME stands alone at its name.
	if b.conflicts(k.reversed, s.Type) {
		return fmt.Sprintf("RRSet of type %s with DNS name %s is not permitted because a conflicting RRSet with the same DNS name already exists in zone %s", s.Type, s.Name, b.name)
	}
	b.put(k, s)
	return ""
}

// checkSet says what is wrong with a set in itself.
func checkSet(s *RecordSet, apex string) string {
	wrong := func(why string) string {
		return fmt.Sprintf("Invalid Resource Record: FATAL problem: %s encountered with '%s' (name='%s', type='%s')", why, strings.Join(s.Values, " "), s.Name, s.Type)
	}
	switch {
	case s.Type == "CNAME" && s.Name == apex:
		return fmt.Sprintf("RRSet of type CNAME with DNS name %s is not permitted at apex in zone %s", s.Name, apex)
	case s.Alias != "" && len(s.Values) > 0, s.Alias == "" && len(s.Values) == 0:
		return wrong("a set has either values or an alias target")
	case s.TTL < 0 || s.TTL > 1<<31-1:
		return wrong("InvalidTTL")
	case len(s.Values) > maxValues:
		return wrong("more than 400 values")
	}
	seen := make(map[string]bool, len(s.Values))
	for _, v := range s.Values {
		if len(v) > maxValue {
			return wrong("ValueTooLong")
		}
		if why := checkValue(s.Type, v); why != "" {
			return wrong(why)
		}
		n := normalValue(s.Type, v)
		if seen[n] {
			return wrong("Duplicate Resource Record")
		}
		seen[n] = true
	}
	return ""
}

func checkValue(rrType, v string) string {
	switch rrType {
	case "A":
		if a, err := netip.ParseAddr(v); err != nil || !a.Is4() {
			return "ARRDATAIllegalIPv4Address (Value is not a valid IPv4 address)"
		}
	case "AAAA":
		if a, err := netip.ParseAddr(v); err != nil || !a.Is6() || a.Zone() != "" {
			return "AAAARRDATAIllegalIPv6Address (Value is not a valid IPv6 address)"
		}
	case "TXT":
		if _, ok := txtStrings(v); !ok {
			return "InvalidCharacterString (Value should be enclosed in quotation marks, strings of at most 255)"
		}
	}
	return ""
}

// txtStrings reads a TXT value: strings in quotation marks, blanks between them, with
// \", \\ and \ooo inside. Each string is prefixed with its length.
func txtStrings(v string) (string, bool) {
	var out strings.Builder
	for n := 0; ; n++ {
		v = strings.TrimLeft(v, " \t")
		if v == "" {
			return out.String(), n > 0
		}
		var one []byte
		i := 1
		for ; v[0] == '"' && i < len(v) && v[i] != '"'; i++ {
			c := v[i]
			if c == '\\' {
				if d, err := strconv.ParseUint(v[i+1:min(i+4, len(v))], 8, 8); err == nil && i+4 <= len(v) {
					c, i = byte(d), i+3
				} else if i++; i < len(v) {
					c = v[i]
				}
			}
			one = append(one, c)
		}
		if v[0] != '"' || i >= len(v) || len(one) > 255 {
			return "", false
		}
		out.WriteByte(byte(len(one)))
		out.Write(one)
		v = v[i+1:]
	}
}

// normalValue is what a value is compared by.
func normalValue(rrType, v string) string {
	switch rrType {
	case "A", "AAAA":
		if a, err := netip.ParseAddr(v); err == nil {
			return a.String()
		}
	case "TXT":
		if t, ok := txtStrings(v); ok {
			return t
		}
	}
	return v
}

// sameSet tells whether a DELETE names what is there: TTL and the full set of values.
func sameSet(a, b *RecordSet) bool {
	if a.TTL != b.TTL || len(a.Values) != len(b.Values) || !strings.EqualFold(a.Alias, b.Alias) {
		return false
	}
	if len(a.Values) == 1 && a.Values[0] == b.Values[0] {
		return true
	}
	norm := func(s *RecordSet) []string {
		out := make([]string, len(s.Values))
		for i, v := range s.Values {
			out[i] = normalValue(s.Type, v)
		}
		slices.Sort(out)
		return out
	}
	return slices.Equal(norm(a), norm(b))
}

// list is one page of a zone.
func (z *hostedZone) list(query map[string]string) (route53Answer, *route53Error) {
	size := maxPage
	if text, ok := query["maxitems"]; ok {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return route53Answer{}, invalidInput("maxitems is not a positive number: " + text)
		}
		size = min(n, maxPage)
	}
	var start setKey
	switch name, rrType, identifier := query["name"], query["type"], query["identifier"]; {
	case name == "" && rrType != "", rrType == "" && identifier != "":
		return route53Answer{}, invalidInput("a type needs a name, and an identifier a type")
	case name != "":
		canon, err := canonicalName(name)
		if err != nil {
			return route53Answer{}, invalidInput(err.Error())
		}
		start = setKey{reversedName(canon), rrType, identifier}
	}
	i, _ := slices.BinarySearchFunc(z.order, start, setKey.compare)
	page := make([]*RecordSet, 0, min(size, len(z.order)-i))
	for ; i < len(z.order) && len(page) < size; i++ {
		page = append(page, z.sets[z.order[i]])
	}
	var next *RecordSet
	if i < len(z.order) {
		next = z.sets[z.order[i]]
	}
	return route53Answer{status: 200, body: listAnswer(page, next, size)}, nil
}

// addZoneLocked makes a zone with the sets that every zone has at its apex.
func (r *Route53) addZoneLocked(name string) *hostedZone {
	z := &hostedZone{id: r.newIDLocked("Z"), name: name, sets: map[setKey]*RecordSet{}}
	soa := &RecordSet{Name: name, Type: "SOA", TTL: 900, Values: []string{nameServers[0] + " awsdns-hostmaster.amazon.com. 1 7200 900 1209600 86400"}}
	ns := &RecordSet{Name: name, Type: "NS", TTL: 172800, Values: nameServers}
	z.put(keyOf(soa), soa)
	z.put(keyOf(ns), ns)
	r.zones[z.id] = z
	i, _ := slices.BinarySearchFunc(r.order, z, compareZones)
	r.order = slices.Insert(r.order, i, z)
	return z
}

func compareZones(a, b *hostedZone) int {
	return cmp.Or(strings.Compare(reversedName(a.name), reversedName(b.name)), strings.Compare(a.id, b.id))
}

// nameServers are of no zone in particular, at names that are kept for documents.
var nameServers = []string{"ns-1.example.net.", "ns-2.example.org.", "ns-3.example.com.", "ns-4.example.net."}

func (r *Route53) createLocked(q *route53Call) (route53Answer, *route53Error) {
	name, reference, f := parseCreate(q.body)
	if f != nil {
		return route53Answer{}, f
	}
	if r.references[reference] {
		return route53Answer{}, refusal(409, "HostedZoneAlreadyExists", "A hosted zone has already been created with the specified caller reference.")
	}
	r.references[reference] = true
	z := r.addZoneLocked(name)
	z.reference = reference
	info := r.acceptLocked()
	return route53Answer{status: 201, body: zoneAnswer("CreateHostedZoneResponse", z, &info), location: "https://route53.amazonaws.com/2013-04-01/hostedzone/" + z.id}, nil
}

func (r *Route53) deleteLocked(z *hostedZone) (route53Answer, *route53Error) {
	if len(z.sets) > 2 {
		return route53Answer{}, refusal(400, "HostedZoneNotEmpty", "The specified hosted zone contains non-required resource record sets and so cannot be deleted.")
	}
	delete(r.zones, z.id)
	r.order = slices.DeleteFunc(r.order, func(x *hostedZone) bool { return x == z })
	return route53Answer{status: 200, body: changeAnswer("DeleteHostedZoneResponse", r.acceptLocked())}, nil
}

// byNameLocked lists zones from a start point on.
func (r *Route53) byNameLocked(q *route53Call) (route53Answer, *route53Error) {
	size := 100
	if text, ok := q.query["maxitems"]; ok {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return route53Answer{}, invalidInput("maxitems is not a positive number: " + text)
		}
		size = min(n, 100)
	}
	start := &hostedZone{id: strings.TrimPrefix(q.query["hostedzoneid"], "/hostedzone/")}
	if start.id != "" && q.query["dnsname"] == "" {
		return route53Answer{}, invalidInput("hostedzoneid needs dnsname")
	}
	if name := q.query["dnsname"]; name != "" {
		canon, err := canonicalName(name)
		if err != nil {
			return route53Answer{}, invalidInput(err.Error())
		}
		start.name = canon
	}
	i, _ := slices.BinarySearchFunc(r.order, start, compareZones)
	page := r.order[i:min(i+size, len(r.order))]
	var next *hostedZone
	if i+size < len(r.order) {
		next = r.order[i+size]
	}
	return route53Answer{status: 200, body: zonesAnswer(page, next, start, size)}, nil
}
