package awsstack

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
)

// FailedError is an operation on the stack that did not succeed: which resource
// failed first, why, and how to go on.
type FailedError struct {
	Stack, Status string // the stack's status now
	Resource      string // its name in the template; "" if CloudFormation named none
	Type, Reason  string
	Fix           string
}

func (e *FailedError) Error() string {
	if e.Resource == "" {
		return fmt.Sprintf("stack %s is now %s: %s; %s", e.Stack, e.Status, e.Reason, e.Fix)
	}
	return fmt.Sprintf("%s (%s) failed: %s; %s", e.Resource, e.Type, e.Reason, e.Fix)
}

// newest is the ID of the stack's newest event; what comes after it belongs to
// what is begun next.
func (s *Stack) newest(ctx context.Context, id string) (string, error) {
	out, err := s.formation.DescribeStackEvents(ctx, &cloudformation.DescribeStackEventsInput{StackName: &id})
	if err != nil {
		return "", fmt.Errorf("read the events of stack %s: %w", s.Name, brief(err))
	}
	if len(out.StackEvents) == 0 {
		return "", nil
	}
	return aws.ToString(out.StackEvents[0].EventId), nil
}

// eventsAfter are the stack's events after one of them, oldest first; "" is
// before the first.
func (s *Stack) eventsAfter(ctx context.Context, id, last string) ([]types.StackEvent, error) {
	var events []types.StackEvent
	pages := cloudformation.NewDescribeStackEventsPaginator(s.formation, &cloudformation.DescribeStackEventsInput{StackName: &id})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("read the events of stack %s: %w", s.Name, brief(err))
		}
		for _, e := range page.StackEvents { // newest first
			if aws.ToString(e.EventId) == last {
				slices.Reverse(events)
				return events, nil
			}
			events = append(events, e)
		}
	}
	slices.Reverse(events)
	return events, nil
}

// follow says what happens to the stack until its operation has ended, and
// returns the stack as it then is and what happened after the event last. The
// stack is named by its ID, under which a deleted one can be read too.
func (s *Stack) follow(ctx context.Context, id, last string) (*types.Stack, []types.StackEvent, error) {
	begun := s.Now()
	var all []types.StackEvent
	for look := 0; ; look++ {
		// The status first: then the events of an operation that has ended are all there.
		stack, err := s.describe(ctx, id)
		if err != nil {
			return nil, nil, err
		}
		events, err := s.eventsAfter(ctx, id, last)
		if err != nil {
			return nil, nil, err
		}
		for _, e := range events {
			last = aws.ToString(e.EventId)
			all = append(all, e)
			line := fmt.Sprintf("%4ds  %-18s %s", int(s.Now().Sub(begun).Seconds()), aws.ToString(e.LogicalResourceId), e.ResourceStatus)
			if reason := aws.ToString(e.ResourceStatusReason); reason != "" && strings.HasSuffix(string(e.ResourceStatus), "_FAILED") {
				line += ": " + reason
			}
			s.Say("%s", line)
		}
		if stack == nil || !strings.HasSuffix(string(stack.StackStatus), "_IN_PROGRESS") {
			return stack, all, nil
		}
		if err := s.wait(ctx, look); err != nil {
			return nil, nil, fmt.Errorf("stop watching the stack %s, which goes on by itself (the same command takes it up again): %w", s.Name, err)
		}
	}
}

// settle waits for an operation that somebody else has begun, or an earlier run.
func (s *Stack) settle(ctx context.Context, stack *types.Stack) (*types.Stack, error) {
	if stack == nil || !strings.HasSuffix(string(stack.StackStatus), "_IN_PROGRESS") || stack.StackStatus == types.StackStatusReviewInProgress {
		return stack, nil
	}
	s.Say("Stack %s is in %s already; waiting for that first.", s.Name, stack.StackStatus)
	last, err := s.newest(ctx, aws.ToString(stack.StackId))
	if err != nil {
		return nil, err
	}
	stack, _, err = s.follow(ctx, aws.ToString(stack.StackId), last)
	if stack != nil && stack.StackStatus == types.StackStatusDeleteComplete {
		stack = nil
	}
	return stack, err
}

// failure explains an operation that did not succeed.
func (s *Stack) failure(stack *types.Stack, events []types.StackEvent) error {
	e := &FailedError{Stack: s.Name, Status: "gone"}
	if stack != nil {
		e.Status, e.Reason = string(stack.StackStatus), aws.ToString(stack.StackStatusReason)
	}
	for _, event := range events {
		reason := aws.ToString(event.ResourceStatusReason)
		itself := aws.ToString(event.PhysicalResourceId) == aws.ToString(event.StackId)
		// The first one that failed is the cause; others were cancelled because of it.
		if strings.HasSuffix(string(event.ResourceStatus), "_FAILED") && !itself && !strings.Contains(reason, "cancelled") {
			e.Resource, e.Type, e.Reason = aws.ToString(event.LogicalResourceId), aws.ToString(event.ResourceType), reason
			break
		}
	}
	e.Fix = advice(e.Reason)
	switch types.StackStatus(e.Status) {
	case types.StackStatusRollbackComplete, types.StackStatusRollbackFailed:
		e.Fix += "then run the same command again: it clears away what this attempt has left"
	case types.StackStatusUpdateRollbackComplete:
		e.Fix += "then run the same command again; the installation goes on as it was before"
	case types.StackStatusUpdateRollbackFailed:
		e.Fix += "then: " + s.continueRollback()
	case types.StackStatusDeleteFailed:
		e.Fix += "then run the same command again"
	default:
		e.Fix += "then run the same command again"
	}
	return e
}

func (s *Stack) continueRollback() string {
	return fmt.Sprintf("aws cloudformation continue-update-rollback --region %s --stack-name %s, and after it the same command again", s.AWS.Region, s.Name)
}

// advice knows the usual causes. It ends so that "then …" can follow.
func advice(reason string) string {
	switch {
	case strings.Contains(reason, "UnreservedConcurrentExecution") || strings.Contains(reason, "ReservedConcurrentExecutions"):
		return "this account has no room for reserved concurrency: add --reserved-concurrency -1, "
	case strings.Contains(reason, "not authorized to perform") || strings.Contains(reason, "AccessDenied"):
		return "give whoever deploys the policy of docs/aws.md, "
	case strings.Contains(reason, "already exists"):
		return "remove what has that name or take another --stack, "
	case strings.Contains(reason, "imit exceeded") || strings.Contains(reason, "LimitExceeded"):
		return "have the account's limit raised or make room, "
	}
	return "mend that, "
}
