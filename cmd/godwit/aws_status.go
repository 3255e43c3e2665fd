package main

import (
	"fmt"
	"strings"

	"godwit/internal/awsstack"
)

type awsStatusCommand struct {
	stackFlags
	jsonFlag
}

func (awsStatusCommand) Help() string {
	return `Asks CloudFormation, Route 53, DynamoDB and the function itself. The exit code is 1 if
something is wrong.

Examples:

    godwit aws status
    godwit aws status --json | jq .unpublished`
}

func (c awsStatusCommand) Run(a *app) error {
	stack, err := c.stack(a)
	if err != nil {
		return err
	}
	s, err := stack.Status(a.ctx)
	if err != nil {
		return awsError(err)
	}
	if c.JSON {
		err = a.printJSON(s)
	} else {
		c.show(a, s)
	}
	if err == nil && len(s.Problems) > 0 {
		err = errFailed
	}
	return err
}

func (c awsStatusCommand) show(a *app, s *awsstack.Status) {
	hosts := quantity(s.Hosts, "host")
	if s.HostsAbout {
		hosts = "about " + hosts
	}
	due := fmt.Sprint(s.Unpublished)
	if !s.Oldest.IsZero() {
		due += ", the oldest since " + when(a.now(), s.Oldest)
	}
	dead := ""
	if s.Mode == "stream" {
		dead = fmt.Sprint(s.DeadLetters)
	}
	fields(a.stdout, "Stack", fmt.Sprintf("%s in %s, %s", s.Stack, s.Region, s.State), "Changed", when(a.now(), s.Changed), "URL", s.URL, "Mode", s.Mode, "Zones", zoneList(s.Zones),
		"Table", s.Table, "Function", s.Function, "Log", s.LogGroup, "Hosts", hosts, "Unpublished", due, "Dead letters", dead,
		"Estimate", fmt.Sprintf("$%.2f a month (DNS %.2f, Lambda %.2f, table %.2f, rest %.2f, free tier %.2f)",
			s.Cost.Total, s.Cost.DNS, s.Cost.Lambda, s.Cost.Reads+s.Cost.Writes, s.Cost.Rest, s.Cost.FreeTier))
	if len(s.Problems) == 0 {
		a.print("\nAll is well.")
		return
	}
	a.print("\nWrong:\n\n  %s", strings.Join(s.Problems, "\n  "))
}
