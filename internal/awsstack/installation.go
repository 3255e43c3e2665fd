package awsstack

import (
	"context"
	"fmt"

	"godwit/internal/awscall"
)

// Installation is what who works on the hosts of an installation has to know.
type Installation struct {
	URL   string
	Table string
	Mode  string // direct or stream
	Zones []Zone
}

// Installation reads the stack's. One that is not there is a [*NotFoundError];
// one that has never been up is an error too.
func (s *Stack) Installation(ctx context.Context) (*Installation, error) {
	stack, err := s.existing(ctx)
	if err != nil {
		return nil, err
	}
	out := outputs(stack)
	if out["Table"] == "" {
		return nil, fmt.Errorf("stack %s has never been up (%s); run: godwit aws deploy --stack %[1]s", s.Name, stack.StackStatus)
	}
	zones, err := parseZones(out["Zones"])
	if err != nil {
		return nil, err
	}
	return &Installation{URL: out["Url"], Table: out["Table"], Mode: out["Mode"], Zones: zones}, nil
}

// Client is the client of a service in the installation's region, with the
// operator's credentials: dynamodb, route53 or sqs.
func (s *Stack) Client(service string) *awscall.Client { return s.calls[service] }
