// Package awstest has stand-ins for services of AWS, for tests that need no
// account and no network beyond loopback.
//
// [Route53] behaves as Route 53 is documented to: wire form, signatures, atomic
// change batches, limits, throttling, and what goes wrong when a test says so.
package awstest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The key pair that stand-ins accept if they are given no other.
const (
	AccessKeyID     = "AKIDEXAMPLE"
	SecretAccessKey = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
)

// Actions of Route 53 that the stand-in knows, as requests, rules and policies
// name them.
const (
	ChangeSets  = "ChangeResourceRecordSets"
	ListSets    = "ListResourceRecordSets"
	GetChange   = "GetChange"
	CreateZone  = "CreateHostedZone"
	GetZone     = "GetHostedZone"
	DeleteZone  = "DeleteHostedZone"
	ZonesByName = "ListHostedZonesByName"
)

// Limits that Route 53 has for everyone.
const (
	maxElements   = 1000  // ResourceRecord elements in a batch, those of an UPSERT twice
	maxCharacters = 32000 // over all values of a batch, those of an UPSERT twice
	maxValue      = 4000  // characters
	maxValues     = 400   // in one set
	maxPage       = 300   // sets
	maxRequest    = 4 << 20
)

// Route53Config is how a stand-in behaves. The zero value throttles nothing,
// lets everything be seen at once and takes [AccessKeyID].
type Route53Config struct {
	Keys  map[string]string // access key to secret; nil: the pair above
	Rates Rates             // zero: no throttling
	// MaxSets is how many sets a zone may have; 0: 10,000, negative: no limit.
	MaxSets int
	// Hold is how long a zone refuses further change requests after one
	// (PriorRequestNotComplete).
	Hold time.Duration
	// Pending is how long a change stays PENDING; negative: for ever.
	Pending time.Duration
	// OwnRoot answers InvalidChangeBatch as a root element of its own, with one
	// Message for each faulty change. Otherwise it is an ErrorResponse like others.
	OwnRoot bool
	// Silent leaves out of its messages which changes are faulty: no text of them
	// is documented.
	Silent bool
	// Exact compares the values of a DELETE as text and not as what they mean:
	// which of the two Route 53 does is not documented.
	Exact bool
	// Policies, if not nil, are what the key pairs may do: a request needs one
	// that allows all of it.
	Policies []Policy
	// Now is the clock of buckets, holds and changes; nil: time.Now.
	Now func() time.Time
	// Forget keeps no calls and no commits, only their number: for long runs.
	Forget bool
}

// Route53 stands in for one account's Route 53. It is an [http.Handler] and safe
// for concurrent use. Not modelled: routing policies beyond telling sets apart
// by SetIdentifier, what alias targets mean, health checks, DNSSEC, private
// zones, and answering DNS.
type Route53 struct {
	config Route53Config

	mu         sync.Mutex // guards following
	rates      buckets
	zones      map[string]*hostedZone // by ID without prefix
	order      []*hostedZone          // in the order of listings
	references map[string]bool        // of CreateHostedZone
	changes    map[string]time.Time   // ID to when it was accepted
	ids        int
	rules      []*faultRule
	poisoned   map[string]bool
	calls      []Call
	counts     map[string]int
	commits    []Commit
	keys       map[string][]byte // derived signing keys, by access key and date
}

// NewRoute53 makes a stand-in without zones. It starts nothing.
func NewRoute53(c Route53Config) *Route53 {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Keys == nil {
		c.Keys = map[string]string{AccessKeyID: SecretAccessKey}
	}
	if c.MaxSets == 0 {
		c.MaxSets = 10000
	}
	return &Route53{
		config: c, rates: newBuckets(c.Rates), zones: map[string]*hostedZone{}, references: map[string]bool{},
		changes: map[string]time.Time{}, poisoned: map[string]bool{}, counts: map[string]int{}, keys: map[string][]byte{},
	}
}

// Listen serves the stand-in on a free port of 127.0.0.1 and returns its URL.
// stop ends it and all its connections.
func (r *Route53) Listen() (url string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	server := &http.Server{Handler: r, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l) // until stop
	}()
	return "http://" + l.Addr().String(), func() {
		_ = server.Close()
		<-done
	}, nil
}

// RoundTrip is [http.RoundTripper]: it hands the request to the stand-in without
// a network, whatever its URL. It is for tests with a clock of their own
// (testing/synctest) and for speed. When the request's context ends, it returns
// and the stand-in goes on, as it would at the other end of a network.
func (r *Route53) RoundTrip(req *http.Request) (*http.Response, error) {
	var body []byte
	if req.Body != nil {
		var err error
		if body, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
		_ = req.Body.Close()
	}
	in := req.Clone(context.WithoutCancel(req.Context()))
	in.Body, in.RequestURI = io.NopCloser(bytes.NewReader(body)), req.URL.RequestURI()
	if in.Host == "" {
		in.Host = req.URL.Host
	}
	w := &recorder{header: http.Header{}, done: make(chan struct{})}
	serve := func() {
		defer close(w.done)
		defer func() {
			if p := recover(); p != nil && p != http.ErrAbortHandler {
				panic(p)
			} else if p != nil {
				w.cut = true
			}
		}()
		r.ServeHTTP(w, in)
	}
	if req.Context().Done() == nil {
		serve()
	} else {
		go serve()
	}
	select {
	case <-w.done:
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
	if w.cut {
		return nil, errCut
	}
	return &http.Response{
		Status: http.StatusText(w.status), StatusCode: w.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.header, Body: io.NopCloser(&w.body), ContentLength: int64(w.body.Len()), Request: req,
	}, nil
}

var errCut = errors.New("awstest: connection cut before an answer")

// recorder is the answer of a RoundTrip.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
	cut    bool
	done   chan struct{}
}

func (w *recorder) Header() http.Header         { return w.header }
func (w *recorder) WriteHeader(status int)      { w.status = status }
func (w *recorder) Write(p []byte) (int, error) { return w.body.Write(p) }

// Call is one request and how it was answered.
type Call struct {
	Time    time.Time
	Action  string
	Zone    string   // ID; "" if the action has none
	Changes []Change // as far as they could be read; nil if the call was throttled
	Query   string
	Status  int    // 0: the connection was cut
	Code    string // of the error that was answered, if one was
}

// Calls are the requests so far, in the order in which they were answered.
func (r *Route53) Calls() []Call {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.calls)
}

// Count is how many requests there were: of these actions, or all.
func (r *Route53) Count(actions ...string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(actions) == 0 {
		actions = slices.Collect(maps.Keys(r.counts))
	}
	n := 0
	for _, a := range actions {
		n += r.counts[a]
	}
	return n
}

// Commit is one moment at which what the zones hold changed.
type Commit struct {
	Time time.Time
	Zone string // ID
	Sets []Transition
}

// Transition is one set before and after a commit; nil: there was, or is, none.
type Transition struct{ Before, After *RecordSet }

// Commits are all states that there have been, as the steps between them.
func (r *Route53) Commits() []Commit {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.commits)
}

// History is what one set has been after each commit that touched it; nil where
// it was not there. name may be in any form that a request may have.
func (r *Route53) History(name, rrType string) []*RecordSet {
	name, _ = canonicalName(name)
	var out []*RecordSet
	for _, c := range r.Commits() {
		for _, t := range c.Sets {
			if s := cmpSet(t); s.Name == name && s.Type == rrType {
				out = append(out, t.After)
			}
		}
	}
	return out
}

func cmpSet(t Transition) *RecordSet {
	if t.After != nil {
		return t.After
	}
	return t.Before
}

// AddZone makes a hosted zone as CreateHostedZone does, without a request, and
// returns its ID. An apex that is no name panics.
func (r *Route53) AddZone(apex string) (id string) {
	name, err := canonicalName(apex)
	if err != nil {
		panic(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.addZoneLocked(name).id
}

// Put places a set without a request and without judging it; one of the same
// name, type and identifier goes. Without values and alias it only goes.
func (r *Route53) Put(zone string, set RecordSet) {
	name, err := canonicalName(set.Name)
	if err != nil {
		panic(err)
	}
	set.Name = name
	r.mu.Lock()
	defer r.mu.Unlock()
	z := r.zones[zone]
	k := keyOf(&set)
	after := &set
	if len(set.Values) == 0 && set.Alias == "" {
		after = nil
	}
	before := z.sets[k]
	z.put(k, after)
	r.recordLocked(Commit{Time: r.config.Now(), Zone: zone, Sets: []Transition{{before, after}}})
}

// Sets is all that a zone holds, in the order of listings.
func (r *Route53) Sets(zone string) []RecordSet {
	r.mu.Lock()
	defer r.mu.Unlock()
	z := r.zones[zone]
	out := make([]RecordSet, len(z.order))
	for i, k := range z.order {
		out[i] = *z.sets[k]
	}
	return out
}

// Set is one simple set of a zone. name may be in any form that a request may have.
func (r *Route53) Set(zone, name, rrType string) (RecordSet, bool) {
	name, err := canonicalName(name)
	if err != nil {
		return RecordSet{}, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.zones[zone].sets[keyOf(&RecordSet{Name: name, Type: rrType})]; s != nil {
		return *s, true
	}
	return RecordSet{}, false
}

func (r *Route53) recordLocked(c Commit) {
	if !r.config.Forget {
		r.commits = append(r.commits, c)
	}
}

// route53Error is an error answer.
type route53Error struct {
	status   int
	code     string
	messages []string
}

func refusal(status int, code, message string) *route53Error {
	return &route53Error{status, code, []string{message}}
}

func invalidInput(message string) *route53Error { return refusal(400, "InvalidInput", message) }

// route53Call is a call while it is served.
type route53Call struct {
	Call
	id      string // of a change
	query   map[string]string
	body    []byte
	changes []Change
}

// ServeHTTP is [http.Handler]. The order: shape of the path, signature, buckets,
// faults that come before, body, policy, the deed, faults that come after.
func (r *Route53) ServeHTTP(w http.ResponseWriter, in *http.Request) {
	body, err := io.ReadAll(io.LimitReader(in.Body, maxRequest+1))
	if err != nil {
		return // the client is gone
	}
	q := route53Call{body: body, Call: Call{Query: in.URL.RawQuery}}
	a := r.serve(in, &q)
	q.Status, q.Code = a.status, a.code
	if a.cut {
		q.Status = 0
	}
	r.mu.Lock()
	q.Time = r.config.Now()
	r.counts[q.Action]++
	if !r.config.Forget {
		r.calls = append(r.calls, q.Call)
	}
	r.mu.Unlock()
	if a.delay > 0 {
		t := time.NewTimer(a.delay)
		select {
		case <-t.C:
		case <-in.Context().Done():
			t.Stop()
		}
	}
	if a.cut {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "text/xml")
	w.Header().Set("X-Amzn-Requestid", "00000000-0000-4000-8000-000000000000")
	w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	if a.location != "" {
		w.Header().Set("Location", a.location)
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body)
}

// route53Answer is what goes back.
type route53Answer struct {
	status   int
	code     string
	body     []byte
	location string
	delay    time.Duration
	cut      bool
}

func (r *Route53) serve(in *http.Request, q *route53Call) route53Answer {
	if f := route(in, q); f != nil {
		return r.refuse(f)
	}
	if f := r.verify(in, q.body); f != nil {
		return r.refuse(f)
	}
	if f := r.take(q); f != nil {
		return r.refuse(f)
	}
	var shape *route53Error
	if q.Action == ChangeSets {
		q.changes, shape = parseChanges(q.body)
		q.Changes = q.changes
	}
	fault := r.faulty(q)
	if fault != nil && fault.Wait != nil {
		<-fault.Wait
	}
	if fault != nil && !fault.After && fault.stops() {
		return fault.spoil(route53Answer{})
	}
	if shape == nil {
		shape = r.allowed(q)
	}
	var a route53Answer
	if shape != nil {
		a = r.refuse(shape)
	} else {
		a = r.do(q)
	}
	if fault != nil {
		a = fault.spoil(a)
	}
	return a
}

// take takes the request's tokens, or says that there are none left.
func (r *Route53) take(q *route53Call) *route53Error {
	cost := 0
	switch q.Action {
	case CreateZone, DeleteZone:
		cost = 2
	case ChangeSets:
		// Counted, not read: what is throttled must cost little here, for clients
		// repeat it often.
		cost = bytes.Count(q.body, []byte("</Change>")) + bytes.Count(q.body, []byte(">UPSERT<"))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.rates.take(r.config.Now(), q.Action, float64(cost)) {
		return rateExceeded()
	}
	return nil
}

func rateExceeded() *route53Error { return refusal(400, "Throttling", "Rate exceeded") }

// route finds out what a request asks for.
func route(in *http.Request, q *route53Call) *route53Error {
	const version = "/2013-04-01/"
	path, ok := strings.CutPrefix(in.URL.Path, version)
	unknown := refusal(404, "UnknownOperationException", "there is no such operation: "+in.Method+" "+in.URL.Path)
	if !ok {
		return unknown
	}
	q.query = map[string]string{}
	for name, values := range in.URL.Query() {
		q.query[name] = values[0]
	}
	kind, rest, _ := strings.Cut(path, "/")
	rest = strings.TrimPrefix(strings.TrimPrefix(rest, "/"), kind+"/") // an ID may come with its prefix
	rest = strings.TrimSuffix(rest, "/")
	id, sub, _ := strings.Cut(rest, "/")
	switch what := in.Method + " " + kind; {
	case what == "POST hostedzone" && id == "":
		q.Action = CreateZone
	case what == "GET hostedzonesbyname" && id == "":
		q.Action = ZonesByName
	case what == "GET change" && id != "" && sub == "":
		q.Action, q.id = GetChange, id
	case kind == "hostedzone" && id != "":
		q.Zone = id
		q.Action = map[string]string{"POST rrset": ChangeSets, "GET rrset": ListSets, "GET ": GetZone, "DELETE ": DeleteZone}[in.Method+" "+sub]
	}
	if q.Action == "" {
		return unknown
	}
	return nil
}

// do does what a request asks for.
func (r *Route53) do(q *route53Call) route53Answer {
	r.mu.Lock()
	defer r.mu.Unlock()
	var a route53Answer
	var f *route53Error
	switch q.Action {
	case CreateZone:
		a, f = r.createLocked(q)
	case ZonesByName:
		a, f = r.byNameLocked(q)
	case GetChange:
		a, f = r.getChangeLocked(q)
	default:
		z := r.zones[q.Zone]
		if z == nil {
			f = refusal(404, "NoSuchHostedZone", "No hosted zone found with ID: "+q.Zone)
			break
		}
		switch q.Action {
		case ChangeSets:
			a, f = r.changeLocked(z, q.changes)
		case ListSets:
			a, f = z.list(q.query)
		case GetZone:
			a = route53Answer{status: 200, body: zoneAnswer("GetHostedZoneResponse", z, nil)}
		case DeleteZone:
			a, f = r.deleteLocked(z)
		}
	}
	if f != nil {
		return r.refuse(f)
	}
	return a
}

// refuse writes an error answer, in the form that the config asks for.
func (r *Route53) refuse(f *route53Error) route53Answer {
	if r.config.Silent && f.code == "InvalidChangeBatch" {
		f = refusal(f.status, f.code, "The batch is invalid.")
	}
	return route53Answer{status: f.status, code: f.code, body: errorAnswer(f, r.config.OwnRoot)}
}

// newIDLocked makes an ID such as Route 53's.
func (r *Route53) newIDLocked(first string) string {
	r.ids++
	n := strings.ToUpper(strconv.FormatInt(int64(r.ids), 36))
	return first + strings.Repeat("0", max(0, 12-len(n))) + n
}

// acceptLocked notes an accepted change and describes it.
func (r *Route53) acceptLocked() changeInfo {
	id, now := r.newIDLocked("C"), r.config.Now()
	if !r.config.Forget {
		r.changes[id] = now
	}
	return changeInfo{id, "PENDING", now}
}

func (r *Route53) getChangeLocked(q *route53Call) (route53Answer, *route53Error) {
	at, ok := r.changes[q.id]
	if !ok {
		return route53Answer{}, refusal(404, "NoSuchChange", "Could not find resource with ID: "+q.id)
	}
	info := changeInfo{q.id, "PENDING", at}
	if p := r.config.Pending; p >= 0 && r.config.Now().Sub(at) >= p {
		info.status = "INSYNC"
	}
	return route53Answer{status: 200, body: changeAnswer("GetChangeResponse", info)}, nil
}
