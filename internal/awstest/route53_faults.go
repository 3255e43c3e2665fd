package awstest

import (
	"math/rand/v2"
	"slices"
	"time"
)

// Fault is how a call goes wrong.
type Fault struct {
	// After lets the call take effect first; otherwise nothing happens. Faults
	// that only delay or garble an answer come after it anyway.
	After bool
	// Wait holds the call between its arrival and its effect until the channel
	// is closed, whether or not the client still waits.
	Wait <-chan struct{}
	// Delay holds back the answer.
	Delay time.Duration
	// Cut ends the connection in place of an answer.
	Cut bool
	// Status and Code are answered instead.
	Status int
	Code   string
	// Garble makes another body of the answer's.
	Garble func(body []byte) []byte
}

// Faults that clients must expect.
func ServerError() Fault { return Fault{Status: 500, Code: "InternalFailure"} }
func Unavailable() Fault { return Fault{Status: 503, Code: "ServiceUnavailable"} }
func Throttled() Fault   { return Fault{Status: 400, Code: "Throttling"} }
func Busy() Fault        { return Fault{Status: 400, Code: "PriorRequestNotComplete"} }
func Denied() Fault      { return Fault{Status: 403, Code: "AccessDenied"} }
func Cut() Fault         { return Fault{Cut: true} }

// Malformed answers with something that is not XML, Truncated with half of the answer.
func Malformed() Fault {
	return Fault{Garble: func([]byte) []byte { return []byte("<html><p>try <b>again</p>") }}
}
func Truncated() Fault {
	return Fault{Garble: func(body []byte) []byte { return body[:len(body)/2] }}
}

// AfterCommit is the fault after the call has taken effect.
func (f Fault) AfterCommit() Fault {
	f.After = true
	return f
}

// stops tells whether the fault leaves nothing of the call.
func (f *Fault) stops() bool { return f.Cut || f.Status != 0 }

// spoil makes the fault's answer of the real one.
func (f *Fault) spoil(a route53Answer) route53Answer {
	if f.Status != 0 {
		message := "Rate exceeded"
		switch f.Code {
		case "Throttling":
		case "PriorRequestNotComplete":
			message = priorRequest
		default:
			message = "injected"
		}
		e := refusal(f.Status, f.Code, message)
		a = route53Answer{status: e.status, code: e.code, body: errorAnswer(e, false)}
	}
	if f.Garble != nil {
		a.body = f.Garble(a.body)
	}
	a.delay, a.cut = f.Delay, f.Cut
	return a
}

const priorRequest = "The request was rejected because Route 53 was still processing a prior request."

// Rule says which calls a Fault befalls.
type Rule struct {
	Action string // "": any
	// Name is the owner name that a change batch has to touch, or that a listing
	// has to start at; "": any.
	Name string
	// Skip is how many calls that match pass first.
	Skip int
	// Times is how many then go wrong; 0: one, negative: all.
	Times int
	// Chance, if not 0, is the probability that one goes wrong at all. Seed makes
	// it the same every time.
	Chance float64
	Seed   uint64
	Fault
}

type faultRule struct {
	Rule
	random *rand.Rand
}

// Inject adds a rule. The first rule that matches a call is the one that counts.
// remove takes the rule away again.
func (r *Route53) Inject(add Rule) (remove func()) {
	if add.Times == 0 {
		add.Times = 1
	}
	if add.Name != "" {
		name, err := canonicalName(add.Name)
		if err != nil {
			panic(err)
		}
		add.Name = name
	}
	made := &faultRule{Rule: add, random: rand.New(rand.NewPCG(add.Seed, 53))}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rules = append(r.rules, made)
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.rules = slices.DeleteFunc(r.rules, func(x *faultRule) bool { return x == made })
	}
}

// Poison makes every batch invalid that changes a set of that owner name, until
// heal is called.
func (r *Route53) Poison(name string) (heal func()) {
	name, err := canonicalName(name)
	if err != nil {
		panic(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.poisoned[name] = true
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.poisoned, name)
	}
}

// faulty is the fault that befalls a call, if one does.
func (r *Route53) faulty(q *route53Call) *Fault {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, x := range r.rules {
		if x.Times == 0 || x.Action != "" && x.Action != q.Action || x.Name != "" && !touches(q, x.Name) {
			continue
		}
		if x.Skip > 0 {
			x.Skip--
			continue
		}
		if x.Chance != 0 && x.random.Float64() >= x.Chance {
			continue
		}
		if x.Times > 0 {
			x.Times--
		}
		f := x.Fault
		return &f
	}
	return nil
}

func touches(q *route53Call, name string) bool {
	if q.Action == ListSets {
		start, err := canonicalName(q.query["name"])
		return err == nil && start == name
	}
	return slices.ContainsFunc(q.changes, func(c Change) bool { return c.Set.Name == name })
}
