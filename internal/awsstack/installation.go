package awsstack

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"godwit/internal/awscall"
	"godwit/internal/dnsname"
)

// Installation is what who works on the hosts of an installation has to know.
type Installation struct {
	URL   string
	Table string
	Log   string // the function's log group
	Mode  string // direct or stream
	Zones []Zone
	Names []string // as in Request; at least one
}

// Allows tells whether the function's role lets it change a name's addresses.
func (i *Installation) Allows(name dnsname.Name) bool {
	return slices.ContainsFunc(i.Names, func(pattern string) bool {
		// IAM's * crosses dots, and so does this one: names have no slashes.
		ok, err := path.Match(pattern, name.String())
		return ok && err == nil
	})
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
		return nil, fmt.Errorf("stack %s has never been up (%s); run: godwit aws deploy%s", s.Name, stack.StackStatus, s.flags())
	}
	zones, err := parseZones(out["Zones"])
	if err != nil {
		return nil, err
	}
	return &Installation{URL: out["Url"], Table: out["Table"], Log: out["LogGroup"], Mode: out["Mode"], Zones: zones,
		Names: strings.Split(parameters(stack)["NamePatterns"], ",")}, nil
}

// Client is the client of a service in the installation's region, with the
// operator's credentials: dynamodb, route53 or sqs.
func (s *Stack) Client(service string) *awscall.Client { return s.calls[service] }

// flags name the installation to a command that is to be pasted.
func (s *Stack) flags() string { return " --stack " + s.Name + " --region " + s.AWS.Region }
