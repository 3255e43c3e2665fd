package sim

import (
	"context"
	"errors"
	"hash/maphash"
	"strconv"
	"strings"
	"sync"
	"time"

	"godwit/internal/ddns"
	"godwit/internal/ddns/publishtest"
	"godwit/internal/dnsname"
)

// table is the store: many small publishtest.Stores, because one of them looks
// through all that it has. Every call takes storeTime. What it accepts, it tells
// feed, as a table tells its stream.
type table struct {
	parts []publishtest.Store
	seed  maphash.Seed
	feed  func(dnsname.Name) // nil: there is no stream

	mu   sync.Mutex // guards pass
	pass ddns.Pass
}

var (
	_ ddns.Store      = (*table)(nil)
	_ ddns.PassKeeper = (*table)(nil)
)

// newTable makes a table for about so many hosts. The daily inspection of DNS
// has just been done.
func newTable(hosts int, feed func(dnsname.Name)) *table {
	return &table{parts: make([]publishtest.Store, hosts/32+1), seed: maphash.MakeSeed(), feed: feed,
		pass: ddns.Pass{Began: time.Now(), Completed: time.Now()}}
}

func (t *table) part(name dnsname.Name) *publishtest.Store {
	return &t.parts[maphash.String(t.seed, name.Wire())%uint64(len(t.parts))]
}

// work takes the time of a call.
func (t *table) work(ctx context.Context) error {
	select {
	case <-time.After(storeTime):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t *table) Host(ctx context.Context, name dnsname.Name) (*ddns.Host, []*ddns.Credential, error) {
	if err := t.work(ctx); err != nil {
		return nil, nil, err
	}
	return t.part(name).Host(ctx, name)
}

func (t *table) Save(ctx context.Context, writes ...ddns.Write) error {
	if len(writes) != 1 {
		return errors.New("the table of the simulation saves one host at a time")
	}
	if err := t.work(ctx); err != nil {
		return err
	}
	h := writes[0].Host
	err := t.part(h.Name).Save(ctx, writes...)
	if err == nil && t.feed != nil && h.Published < h.Generation {
		t.feed(h.Name)
	}
	return err
}

func (t *table) Note(ctx context.Context, name dnsname.Name, generation uint64, shown []ddns.RRset) (uint64, error) {
	if err := t.work(ctx); err != nil {
		return 0, err
	}
	return t.part(name).Note(ctx, name, generation, shown)
}

func (t *table) Touch(ctx context.Context, name dnsname.Name, generation uint64, to ddns.Touch) error {
	if err := t.work(ctx); err != nil {
		return err
	}
	return t.part(name).Touch(ctx, name, generation, to)
}

func (t *table) Refused(ctx context.Context, name dnsname.Name, e ddns.Event, n uint64) error {
	if err := t.work(ctx); err != nil {
		return err
	}
	return t.part(name).Refused(ctx, name, e, n)
}

func (t *table) Owner(ctx context.Context, name dnsname.Name) (dnsname.Name, error) {
	return t.part(name).Owner(ctx, name)
}

func (t *table) Events(ctx context.Context, name dnsname.Name) ([]ddns.Event, error) {
	return t.part(name).Events(ctx, name)
}

// Credential is not needed: an update reads those of its host.
func (t *table) Credential(context.Context, string) (*ddns.Credential, error) {
	return nil, ddns.ErrNoCredential
}

func (t *table) Hosts(ctx context.Context, cursor string, limit int) ([]*ddns.Host, string, error) {
	return t.list(ctx, cursor, limit, (*publishtest.Store).Hosts)
}

func (t *table) Unpublished(ctx context.Context, cursor string, limit int) ([]*ddns.Host, string, error) {
	return t.list(ctx, cursor, limit, (*publishtest.Store).Unpublished)
}

func (t *table) Due(ctx context.Context, now time.Time, cursor string, limit int) ([]*ddns.Host, string, error) {
	return t.list(ctx, cursor, limit, func(s *publishtest.Store, ctx context.Context, cursor string, limit int) ([]*ddns.Host, string, error) {
		return s.Due(ctx, now, cursor, limit)
	})
}

// list goes through the parts. Its cursor is the part and, after a colon, the
// part's own.
func (t *table) list(ctx context.Context, cursor string, limit int, page func(*publishtest.Store, context.Context, string, int) ([]*ddns.Host, string, error)) ([]*ddns.Host, string, error) {
	if err := t.work(ctx); err != nil {
		return nil, "", err
	}
	first, inner, _ := strings.Cut(cursor, ":")
	at, _ := strconv.Atoi(first) // "" is 0
	var hosts []*ddns.Host
	for at < len(t.parts) && len(hosts) < limit {
		some, next, err := page(&t.parts[at], ctx, inner, limit-len(hosts))
		if err != nil {
			return nil, "", err
		}
		hosts = append(hosts, some...)
		if inner = next; next == "" {
			at++
		}
	}
	if at == len(t.parts) {
		return hosts, "", nil
	}
	return hosts, strconv.Itoa(at) + ":" + inner, nil
}

func (t *table) Pass(context.Context) (ddns.Pass, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.pass, nil
}

func (t *table) SetPass(_ context.Context, p ddns.Pass) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pass = p
	return nil
}

func (t *table) Inspected(ctx context.Context) (time.Time, error) {
	p, err := t.Pass(ctx)
	return p.Completed, err
}
