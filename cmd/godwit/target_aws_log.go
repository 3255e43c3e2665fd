package main

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"godwit/internal/api"
	"godwit/internal/awsstack"
	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

// How far back the function's log is read for the newest requests: of one host, and
// of all; and how late CloudWatch may take a line that was written earlier.
const (
	loggedOfOne = 24 * time.Hour
	loggedOfAll = 10 * time.Minute
	loggedLate  = 2 * time.Minute
)

// logged are the newest requests, as the function's log has them: changes and the
// refusals of hosts that were named. Its marks are the times at which CloudWatch
// took the lines.
func logged(ctx context.Context, stack *awsstack.Stack, group string, host dnsname.Name, after uint64) (api.Requests, error) {
	out := api.Requests{Requests: []api.Request{}, Mark: after}
	since, name := time.Now().Add(-loggedOfAll), ""
	if !host.IsZero() {
		since, name = time.Now().Add(-loggedOfOne), host.String()
	}
	if after > 0 {
		since = time.UnixMilli(int64(after)).Add(-loggedLate)
	}
	lines, err := stack.Requests(ctx, group, name, since)
	if err != nil {
		return out, &ddns.Refusal{Code: ddns.Unavailable, Why: withFix(err).Error(), Cause: err}
	}
	for _, l := range lines {
		mark := uint64(max(l.Taken, 0))
		if mark <= after {
			continue
		}
		out.Mark = max(out.Mark, mark)
		r := api.Request{Mark: mark, Time: l.Time.UTC(), First: l.Time.UTC(), Count: 1, Door: l.Door, Host: l.Host, Outcome: l.Outcome, Why: l.Err}
		r.Source, _ = netip.ParseAddr(l.Source)
		out.Requests = append(out.Requests, r)
	}
	slices.SortStableFunc(out.Requests, func(a, b api.Request) int { return b.Time.Compare(a.Time) })
	if out.Mark == 0 { // nothing at all: from now on, as far as clocks agree
		out.Mark = uint64(since.UnixMilli())
	}
	return out, nil
}
