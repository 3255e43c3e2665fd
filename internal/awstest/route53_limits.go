package awstest

import (
	"slices"
	"strings"
	"time"
)

// Rate is a token bucket. The zero Rate has no limit.
type Rate struct {
	Capacity float64 // tokens
	Refill   float64 // tokens a second
}

// Rates are the buckets of an account.
type Rates struct {
	Account Rate            // a token for every request
	Action  map[string]Rate // and one more of the action's own; "": of any action not named
	Changes Rate            // CREATE and DELETE 1, UPSERT 2; making or deleting a zone 2
}

// Rates2026 are Route 53's since 2026-07-30.
func Rates2026() Rates {
	return Rates{
		Account: Rate{50, 10},
		Action:  map[string]Rate{"": {50, 10}, CreateZone: {40, 2}, DeleteZone: {40, 5}},
		Changes: Rate{1500, 100},
	}
}

// RatesLegacy are those before: five requests a second and nothing else. How
// much of it could be saved up is not documented; a second's worth is assumed.
func RatesLegacy() Rates { return Rates{Account: Rate{5, 5}} }

// bucket is a Rate at work.
type bucket struct {
	Rate
	tokens float64
	at     time.Time
}

func (b *bucket) fill(now time.Time) {
	if b.at.IsZero() {
		b.tokens = b.Capacity
	} else if d := now.Sub(b.at); d > 0 {
		b.tokens = min(b.Capacity, b.tokens+d.Seconds()*b.Refill)
	}
	b.at = now
}

func (b *bucket) has(n float64) bool { return b.Rate == Rate{} || b.tokens >= n }

type buckets struct {
	Rates
	account, changes bucket
	actions          map[string]*bucket
}

func newBuckets(r Rates) buckets {
	return buckets{Rates: r, account: bucket{Rate: r.Account}, changes: bucket{Rate: r.Changes}, actions: map[string]*bucket{}}
}

// take takes one token for the request and changes for what it holds, all or none.
func (b *buckets) take(now time.Time, action string, changes float64) bool {
	own := b.actions[action]
	if own == nil {
		rate, ok := b.Action[action]
		if !ok {
			rate = b.Action[""]
		}
		own = &bucket{Rate: rate}
		b.actions[action] = own
	}
	for _, x := range []*bucket{&b.account, own, &b.changes} {
		x.fill(now)
	}
	if !b.account.has(1) || !own.has(1) || !b.changes.has(changes) {
		return false
	}
	b.account.tokens--
	own.tokens--
	b.changes.tokens -= changes
	return true
}

// Policy is one statement of an IAM policy with effect Allow. What a list does
// not hold is denied; a nil list holds everything.
type Policy struct {
	Actions []string // ChangeSets, ListSets …
	Zones   []string // IDs; actions that have no zone need nil
	// The condition keys of ChangeResourceRecordSets, each with ForAllValues:
	// every one that a batch has must be matched.
	Names   []string // patterns as of StringLike: * and ?, on names in lower case, \ooo, without a final dot
	Types   []string
	Changes []string // CREATE, DELETE, UPSERT
}

// allows tells whether the statement allows the whole request.
func (p *Policy) allows(q *route53Call) bool {
	if p.Actions != nil && !slices.Contains(p.Actions, q.Action) || p.Zones != nil && !slices.Contains(p.Zones, q.Zone) {
		return false
	}
	if q.Action == ChangeSets && p.Names != nil && len(q.changes) == 0 {
		return false // the condition Null: false
	}
	for _, c := range q.changes {
		name := strings.TrimSuffix(c.Set.Name, ".")
		if p.Names != nil && !slices.ContainsFunc(p.Names, func(pattern string) bool { return like(pattern, name) }) ||
			p.Types != nil && !slices.Contains(p.Types, c.Set.Type) ||
			p.Changes != nil && !slices.Contains(p.Changes, c.Action) {
			return false
		}
	}
	return true
}

func (r *Route53) allowed(q *route53Call) *route53Error {
	if r.config.Policies == nil || slices.ContainsFunc(r.config.Policies, func(p Policy) bool { return p.allows(q) }) {
		return nil
	}
	return refusal(403, "AccessDenied", "User: arn:aws:sts::111122223333:assumed-role/test is not authorized to perform: route53:"+q.Action+
		" on resource: arn:aws:route53:::hostedzone/"+q.Zone+" because no identity-based policy allows the route53:"+q.Action+" action")
}

// like matches as IAM's StringLike does: * is any run of characters, ? any one.
func like(pattern, text string) bool {
	star, mark := -1, 0 // the last * and what it has taken so far
	p, i := 0, 0
	for i < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == text[i]):
			p++
			i++
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
