package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"godwit/internal/dnsname"
)

// stream is the table's stream with its event source mapping: a batch at a time
// for each shard, in order for each host.
type stream struct {
	*account
	seed   maphash.Seed
	shards []shard
}

type shard struct {
	mu      sync.Mutex // guards following
	waiting []record
	last    int // sequence number
}

// record is one change of an item.
type record struct {
	host   dnsname.Name
	number string // of its sequence
	at     time.Time
}

func newStream(a *account, shards int) *stream {
	return &stream{a, maphash.MakeSeed(), make([]shard, shards)}
}

// add tells that a host has changed.
func (s *stream) add(host dnsname.Name) {
	h := &s.shards[maphash.String(s.seed, host.Wire())%uint64(len(s.shards))]
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last++
	h.waiting = append(h.waiting, record{host, fmt.Sprintf("%021d", h.last), time.Now()})
}

// take takes a batch: as many as there may be, or what has waited for a window.
func (h *shard) take() []record {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := min(len(h.waiting), batchSize)
	if n == 0 || n < batchSize && time.Since(h.waiting[0].at) < batchWindow {
		return nil
	}
	batch := h.waiting[:n:n]
	h.waiting = h.waiting[n:]
	return batch
}

// follow delivers a shard's records until ctx ends.
func (s *stream) follow(ctx context.Context, h *shard) {
	for ctx.Err() == nil {
		batch := h.take()
		if batch == nil {
			pause(ctx, pollTime)
			continue
		}
		s.deliver(ctx, batch)
	}
}

// deliver delivers a batch until all of it is done: with
// ReportBatchItemFailures from the earliest record that failed, and with
// BisectBatchOnFunctionError in halves if the function failed as a whole.
func (s *stream) deliver(ctx context.Context, batch []record) {
	for todo := [][]record{batch}; len(todo) > 0 && ctx.Err() == nil; {
		again, failed := s.invoke(batchEvent(todo[0]), todo[0])
		switch {
		case failed && len(again) > 1:
			todo = slices.Concat([][]record{again[:len(again)/2], again[len(again)/2:]}, todo[1:])
		case len(again) > 0:
			todo[0] = again
		default:
			todo = todo[1:]
			continue
		}
		s.count(func(r *report) { r.redelivered++ })
		pause(ctx, redeliverTime)
	}
}

// invoke hands a batch to an instance of the function and says what is to come
// again, and whether the function failed.
func (s *stream) invoke(event []byte, batch []record) (again []record, failed bool) {
	in := s.start()
	if in == nil {
		return batch, false // the mapping waits for a place
	}
	defer s.end(in)
	ctx, cancel := context.WithTimeout(context.Background(), functionTime)
	defer cancel()
	out, err := in.server.Invoke(ctx, event)
	var answer struct {
		Failures []struct {
			Record string `json:"itemIdentifier"`
		} `json:"batchItemFailures"`
	}
	if err != nil || json.Unmarshal(out, &answer) != nil {
		return batch, true
	}
	first := len(batch)
	for _, f := range answer.Failures {
		if i := slices.IndexFunc(batch, func(r record) bool { return r.number == f.Record }); i >= 0 {
			first = min(first, i)
		}
	}
	return batch[first:], false
}

// batchEvent is a batch as the function gets it.
func batchEvent(batch []record) []byte {
	type text struct{ S string }
	type item struct {
		EventID     string `json:"eventID"`
		EventSource string `json:"eventSource"`
		DynamoDB    struct {
			Keys           map[string]text
			SequenceNumber string
		} `json:"dynamodb"`
	}
	var event struct{ Records []item }
	for _, r := range batch {
		x := item{EventID: r.number, EventSource: "aws:dynamodb"}
		x.DynamoDB.Keys, x.DynamoDB.SequenceNumber = map[string]text{"hostname": {r.host.String()}}, r.number
		event.Records = append(event.Records, x)
	}
	out, err := json.Marshal(event)
	if err != nil {
		panic(err) // it holds texts
	}
	return out
}

// pause sleeps, or less if ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
