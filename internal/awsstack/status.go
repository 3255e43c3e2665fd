package awsstack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
)

// Status is how an installation is.
type Status struct {
	Stack    string    `json:"stack"`
	Region   string    `json:"region"`
	State    string    `json:"state"` // CloudFormation's word
	Changed  time.Time `json:"changed"`
	URL      string    `json:"url"`
	Table    string    `json:"table"`
	Function string    `json:"function"`
	LogGroup string    `json:"log_group"`
	Mode     string    `json:"mode"`
	Zones    []Zone    `json:"zones"`

	Hosts       int       `json:"hosts"`
	HostsAbout  bool      `json:"hosts_approximate"` // counted by DynamoDB some hours ago
	Unpublished int       `json:"unpublished"`
	Oldest      time.Time `json:"oldest_unpublished,omitzero"`
	DeadLetters int       `json:"dead_letters"`

	Cost     Cost     `json:"cost"`
	Problems []string `json:"problems"` // empty: all is well

	seedRows bool
}

// tooLong is when an unpublished host is a problem: the schedule looks every
// minute, and the alarm waits as long.
const tooLong = 10 * time.Minute

// Status asks the installation and the services below it how they are. What is
// wrong is among its problems; an error says that it could not be found out.
func (s *Stack) Status(ctx context.Context) (*Status, error) {
	stack, err := s.existing(ctx)
	if err != nil {
		return nil, err
	}
	p, out := parameters(stack), outputs(stack)
	is := &Status{Stack: s.Name, Region: s.AWS.Region, State: string(stack.StackStatus), Changed: aws.ToTime(stack.CreationTime),
		URL: out["Url"], Table: out["Table"], Function: out["Function"], LogGroup: out["LogGroup"], Mode: out["Mode"], Problems: []string{}}
	if stack.LastUpdatedTime != nil {
		is.Changed = *stack.LastUpdatedTime
	}
	up := []types.StackStatus{types.StackStatusCreateComplete, types.StackStatusUpdateComplete, types.StackStatusUpdateRollbackComplete}
	switch {
	case strings.HasSuffix(is.State, "_IN_PROGRESS"):
		is.problem("the stack is being changed (%s); look again when that is done", is.State)
	case !slices.Contains(up, stack.StackStatus):
		is.problem("the stack is in %s; run godwit aws deploy%s, which says how to go on", is.State, s.flags())
	}
	if is.Table == "" {
		return is, nil // never up
	}
	if is.Zones, err = parseZones(p["Zones"]); err != nil {
		return nil, err
	}
	if err := s.statusOfZones(ctx, is); err != nil {
		return nil, err
	}
	if err := s.statusOfTable(ctx, is); err != nil {
		return nil, err
	}
	if err := s.statusOfQueue(ctx, is, out["DeadLetters"]); err != nil {
		return nil, err
	}
	s.statusOfDoor(ctx, is)
	is.Cost = Estimate(Load{Hosts: is.Hosts, Zones: len(is.Zones), SeedRows: is.seedRows})
	return is, nil
}

func (is *Status) problem(format string, args ...any) {
	is.Problems = append(is.Problems, fmt.Sprintf(format, args...))
}

func (s *Stack) statusOfZones(ctx context.Context, is *Status) error {
	for i := range is.Zones {
		z := &is.Zones[i]
		switch err := s.readZone(ctx, z); {
		case refused(err, "NoSuchHostedZone"):
			is.problem("the hosted zone of %s (%s) is gone; make it again: godwit aws deploy%s --zone %[1]s --create-zone", z.Apex, z.ID, s.flags())
		case err != nil:
			return err
		case z.Records > 9000:
			is.problem("the hosted zone of %s has %d record sets, and 10,000 are its quota; put new hosts into another zone", z.Apex, z.Records)
		}
	}
	return nil
}

func (s *Stack) statusOfTable(ctx context.Context, is *Status) error {
	t, err := s.readTable(ctx, is.Table)
	switch {
	case err != nil:
		return err
	case t == nil:
		is.problem("the table %s is gone; restore it from a backup under this name", is.Table)
		return nil
	case t.Status != "ACTIVE" && t.Status != "UPDATING":
		is.problem("the table %s is %s", is.Table, t.Status)
		return nil
	}
	for _, name := range indexes {
		if !slices.ContainsFunc(t.Indexes, func(i tableIndex) bool { return i.IndexName == name && i.IndexStatus == "ACTIVE" }) {
			is.problem("the table %s has no index %s that can be used, so nothing is repaired; run: godwit aws deploy%s", is.Table, name, s.flags())
			return nil
		}
	}
	c, err := s.count(ctx, t)
	if err != nil {
		return err
	}
	is.Hosts, is.HostsAbout, is.Unpublished = c.hosts, c.about, c.unpublished
	if is.seedRows, err = s.seedRows(ctx, is.Table); err != nil {
		return err
	}
	if c.oldest == 0 {
		return nil
	}
	is.Oldest = time.UnixMicro(c.oldest).UTC()
	if waiting := s.Now().Sub(is.Oldest); waiting > tooLong {
		is.problem("DNS has not shown a host's newest address for %d minutes; the function's log says why: aws logs tail %s --region %s", int(waiting.Minutes()), is.LogGroup, s.AWS.Region)
	}
	return nil
}

func (s *Stack) statusOfQueue(ctx context.Context, is *Status, queue string) error {
	if queue == "" {
		return nil
	}
	var out struct{ Attributes map[string]string }
	err := s.jsonCall(ctx, "sqs", "AmazonSQS.GetQueueAttributes", map[string]any{"QueueUrl": queue, "AttributeNames": []string{"ApproximateNumberOfMessages"}}, &out, true)
	if err != nil {
		return fmt.Errorf("count the dead letters: %w", err)
	}
	if is.DeadLetters, err = strconv.Atoi(out.Attributes["ApproximateNumberOfMessages"]); err != nil {
		return errors.New("count the dead letters: the answer is not understood")
	}
	if is.DeadLetters > 0 {
		is.problem("the stream has given up changes (messages: %d); the schedule publishes them all the same, and which they are is in %s", is.DeadLetters, queue)
	}
	return nil
}

// statusOfDoor asks the installation from outside, as a client does.
func (s *Stack) statusOfDoor(ctx context.Context, is *Status) {
	text, err := s.ask(ctx, strings.TrimSuffix(is.URL, "/")+"/ip")
	if err == nil {
		if _, bad := netip.ParseAddr(strings.TrimSpace(text)); bad == nil {
			return
		}
		err = errors.New("its answer is not an address")
	}
	is.problem("%s/ip does not answer as it should: %s; the function's log says more: aws logs tail %s --region %s", strings.TrimSuffix(is.URL, "/"), err, is.LogGroup, s.AWS.Region)
}

func (s *Stack) ask(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	r, err := s.HTTP.Do(req)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(io.LimitReader(r.Body, 1<<10))
	if err == nil && r.StatusCode != http.StatusOK {
		err = fmt.Errorf("HTTP %d", r.StatusCode)
	}
	return string(text), err
}
