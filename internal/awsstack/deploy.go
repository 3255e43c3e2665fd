package awsstack

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
)

// Request is what an installation shall be. What it does not say stays as it is
// or, in a new installation, gets the template's default.
type Request struct {
	Zones      []Zone // of a new installation at least one
	CreateZone bool   // make the hosted zones that are not there
	// Names are the names that the function may change: a name, or * and a name.
	// Default: all of the zones.
	Names []string
	Mode  string // direct or stream
	// Table is a table that is there already, the reference implementation's or
	// one that an earlier installation has left. An installation never changes its
	// table for another one.
	Table        string
	Architecture string // ARM64 or AMD64
	Zip          []byte // the function; nil: the one that this program carries
	// Parameters are values for the template's other parameters, by name.
	Parameters map[string]string
	Tags       map[string]string // of everything that can have tags; nil: as before
}

// Result is an installation that has been deployed.
type Result struct {
	Change   string   `json:"change"` // created, updated, unchanged
	Stack    string   `json:"stack"`
	Region   string   `json:"region"`
	URL      string   `json:"url"`
	Table    string   `json:"table"`
	Adopted  bool     `json:"adopted"` // the table was there before
	Function string   `json:"function"`
	Mode     string   `json:"mode"`
	Zones    []Zone   `json:"zones"`
	Names    []string `json:"names"` // that the function may change, as in Request
	// Created are the zones that were made: their parents need their name servers.
	Created []Zone `json:"created_zones"`
	// OperatorPolicy is an IAM policy for who administers hosts and no more.
	OperatorPolicy map[string]any `json:"operator_policy"`
}

// UsageError is a request that cannot be, whatever AWS says.
type UsageError struct{ Text string }

func (e *UsageError) Error() string { return e.Text }

func usage(format string, args ...any) error { return &UsageError{fmt.Sprintf(format, args...)} }

// Deploy makes the installation, or changes it in place so that it is as r says.
// Repeated it changes nothing. Interrupted it can be repeated. When CloudFormation
// does not succeed the error is a [*FailedError], and a change has been undone.
func (s *Stack) Deploy(ctx context.Context, r Request) (*Result, error) {
	result, err := s.deploy(ctx, r)
	if isAPI(err, "AlreadyExistsException", "") {
		// A run that was interrupted has begun it, and that was on its way when
		// this one looked.
		s.Say("The stack %s has come into being meanwhile; going on from there.", s.Name)
		result, err = s.deploy(ctx, r)
	}
	return result, err
}

func (s *Stack) deploy(ctx context.Context, r Request) (*Result, error) {
	account, err := s.account(ctx)
	if err != nil {
		return nil, err
	}
	stack, err := s.ready(ctx)
	if err != nil {
		return nil, err
	}
	before := parameters(stack)
	if err := r.check(stack != nil, before); err != nil {
		return nil, err
	}
	zip, architecture, err := code(r.Zip, cmp.Or(r.Architecture, keepArchitecture(r, before)))
	if err != nil {
		return nil, err
	}
	values := maps.Clone(r.Parameters)
	if values == nil {
		values = map[string]string{}
	}
	values["Architecture"] = architecture
	zones, made, err := s.zones(ctx, r, before, values)
	if err != nil {
		return nil, err
	}
	if err := s.table(ctx, r, before, values); err != nil {
		return nil, err
	}
	if values["CodeBucket"], values["CodeKey"], err = s.upload(ctx, account, zip); err != nil {
		return nil, err
	}
	change, stack, err := s.apply(ctx, stack, values, before, r.Tags)
	if err != nil {
		return nil, err
	}
	out := outputs(stack)
	if err := s.mark(ctx, out["Table"], false, out["Url"]); err != nil {
		return nil, err
	}
	return &Result{Change: change, Stack: s.Name, Region: s.AWS.Region, URL: out["Url"], Table: out["Table"], Adopted: parameters(stack)["AdoptedTable"] != "", Function: out["Function"],
		Mode: out["Mode"], Zones: zones, Names: strings.Split(parameters(stack)["NamePatterns"], ","), Created: append([]Zone{}, made...), OperatorPolicy: s.operatorPolicy(account, stack, out["Table"], zones)}, nil
}

// check refuses what cannot be before anything is made.
func (r *Request) check(exists bool, before map[string]string) error {
	switch {
	case !exists && len(r.Zones) == 0:
		return usage("a zone is needed: add --zone, as in --zone dyn.example.com")
	case exists && r.Table != "" && r.Table != before["AdoptedTable"]:
		return usage("this stack works on another table, and a stack keeps its table; for %s take another stack: --stack NAME --table %[1]s", r.Table)
	case len(r.Names) > 0 && len(r.Zones) == 0:
		return usage("--names narrows zones: name the zones too, with --zone")
	}
	for _, text := range r.Names {
		if _, err := checkPattern(text, r.Zones); err != nil {
			return usage("%s", err)
		}
	}
	return nil
}

// keepArchitecture is the present one, unless a zip that is given says another.
func keepArchitecture(r Request, before map[string]string) string {
	if r.Zip != nil {
		return ""
	}
	return before["Architecture"]
}

// ready returns the stack if it can be updated, nil if there is none. It waits
// for what is going on and clears away what an attempt to create has left.
func (s *Stack) ready(ctx context.Context) (*types.Stack, error) {
	stack, err := s.describe(ctx, s.Name)
	if err != nil {
		return nil, err
	}
	if stack, err = s.settle(ctx, stack); err != nil || stack == nil {
		return nil, err
	}
	switch stack.StackStatus {
	case types.StackStatusRollbackComplete, types.StackStatusRollbackFailed, types.StackStatusCreateFailed:
		// It was never up, and CloudFormation lets it only be deleted.
		s.Say("An earlier attempt has failed and left the empty stack %s; removing it first.", s.Name)
		return nil, s.delete(ctx, stack)
	case types.StackStatusUpdateRollbackFailed:
		return nil, fmt.Errorf("stack %s is stuck in %s: %s; free it with: %s", s.Name, stack.StackStatus, aws.ToString(stack.StackStatusReason), s.continueRollback())
	case types.StackStatusDeleteFailed:
		return nil, fmt.Errorf("stack %s is half removed (%s); finish that first: godwit aws destroy%s", s.Name, stack.StackStatus, s.flags())
	case types.StackStatusReviewInProgress:
		return nil, fmt.Errorf("stack %s waits for a change set that somebody has made by hand; execute or delete that first", s.Name)
	}
	return stack, nil
}

// zones fills in the parameters about zones.
func (s *Stack) zones(ctx context.Context, r Request, before, values map[string]string) (zones, made []Zone, err error) {
	if r.Zones == nil {
		zones, err = parseZones(before["Zones"])
		return zones, nil, err
	}
	if zones, made, err = s.findZones(ctx, r.Zones, r.CreateZone); err != nil {
		return nil, nil, err
	}
	maps.Copy(values, zoneParameters(zones))
	names := patterns(zones)
	if r.Names != nil {
		names = nil
		for _, text := range r.Names {
			name, err := checkPattern(text, zones)
			if err != nil {
				return nil, nil, err
			}
			names = append(names, name)
		}
	}
	values["NamePatterns"] = strings.Join(names, ",")
	return zones, made, nil
}

// table fills in the parameters about the table.
func (s *Stack) table(ctx context.Context, r Request, before, values map[string]string) error {
	if r.Mode != "" {
		values["Mode"] = r.Mode
	}
	adopted := cmp.Or(r.Table, before["AdoptedTable"])
	values["AdoptedTable"], values["AdoptedStreamArn"] = adopted, ""
	if adopted == "" {
		return nil
	}
	var err error
	values["AdoptedStreamArn"], err = s.adopt(ctx, adopted, cmp.Or(r.Mode, before["Mode"]) == "stream")
	return err
}

// apply creates or updates the stack with these values; parameters without one
// keep theirs.
func (s *Stack) apply(ctx context.Context, stack *types.Stack, values, before map[string]string, tags map[string]string) (change string, _ *types.Stack, err error) {
	var given []types.Parameter
	for _, name := range slices.Sorted(maps.Keys(values)) {
		given = append(given, types.Parameter{ParameterKey: aws.String(name), ParameterValue: aws.String(values[name])})
	}
	capabilities := []types.Capability{types.CapabilityCapabilityIam}
	var stackTags []types.Tag
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		stackTags = append(stackTags, types.Tag{Key: aws.String(key), Value: aws.String(tags[key])})
	}
	var id, last string
	if stack == nil {
		s.Say("Create the stack %s in %s. This takes some two minutes.", s.Name, s.AWS.Region)
		out, err := s.formation.CreateStack(ctx, &cloudformation.CreateStackInput{
			StackName: &s.Name, TemplateBody: &Template, Parameters: given, Capabilities: capabilities, Tags: stackTags, ClientRequestToken: token(),
			// A table that was made a minute ago holds nothing worth keeping.
			RetainExceptOnCreate: aws.Bool(true),
		})
		if err != nil {
			return "", nil, fmt.Errorf("create the stack %s: %w", s.Name, brief(err))
		}
		change, id = "created", aws.ToString(out.StackId)
	} else {
		for _, name := range slices.Sorted(maps.Keys(before)) {
			// What an older template had and this one has not is left out.
			if _, ok := values[name]; !ok && templateHas(name) {
				given = append(given, types.Parameter{ParameterKey: aws.String(name), UsePreviousValue: aws.Bool(true)})
			}
		}
		change, id = "updated", aws.ToString(stack.StackId)
		if last, err = s.newest(ctx, id); err != nil {
			return "", nil, err
		}
		_, err := s.formation.UpdateStack(ctx, &cloudformation.UpdateStackInput{
			StackName: &s.Name, TemplateBody: &Template, Parameters: given, Capabilities: capabilities, Tags: stackTags, ClientRequestToken: token(),
			RetainExceptOnCreate: aws.Bool(true),
		})
		if isAPI(err, "ValidationError", "No updates are to be performed") {
			return "unchanged", stack, nil
		}
		if err != nil {
			return "", nil, fmt.Errorf("update the stack %s: %w", s.Name, brief(err))
		}
		s.Say("Update the stack %s in %s.", s.Name, s.AWS.Region)
	}
	stack, events, err := s.follow(ctx, id, last)
	if err != nil {
		return "", nil, err
	}
	if stack == nil || stack.StackStatus != types.StackStatusCreateComplete && stack.StackStatus != types.StackStatusUpdateComplete {
		return "", nil, s.failure(stack, events)
	}
	return change, stack, nil
}

// templateHas tells whether the template has a parameter of that name. Its
// parameters stand two blanks in, before the conditions.
func templateHas(name string) bool {
	head, _, _ := strings.Cut(Template, "\nConditions:")
	return strings.Contains(head, "\n  "+name+":\n")
}

// delete deletes the stack and waits for it.
func (s *Stack) delete(ctx context.Context, stack *types.Stack) error {
	id := aws.ToString(stack.StackId)
	last, err := s.newest(ctx, id)
	if err != nil {
		return err
	}
	if _, err := s.formation.DeleteStack(ctx, &cloudformation.DeleteStackInput{StackName: &id, ClientRequestToken: token()}); err != nil {
		return fmt.Errorf("remove the stack %s: %w", s.Name, brief(err))
	}
	stack, events, err := s.follow(ctx, id, last)
	if err == nil && stack != nil && stack.StackStatus != types.StackStatusDeleteComplete {
		err = s.failure(stack, events)
	}
	return err
}

// operatorPolicy is what the commands with --target aws:STACK need, and no more.
func (s *Stack) operatorPolicy(account string, stack *types.Stack, tableName string, zones []Zone) map[string]any {
	table := fmt.Sprintf("arn:aws:dynamodb:%s:%s:table/%s", s.AWS.Region, account, tableName)
	var arns []string
	for _, z := range zones {
		arns = append(arns, zoneARN(z))
	}
	stackID := aws.ToString(stack.StackId)
	allow := func(resource any, actions ...string) map[string]any {
		return map[string]any{"Effect": "Allow", "Action": actions, "Resource": resource}
	}
	return map[string]any{"Version": "2012-10-17", "Statement": []any{
		allow(stackID[:strings.LastIndexByte(stackID, '/')+1]+"*", "cloudformation:DescribeStacks"),
		allow([]string{table, table + "/index/" + indexes[0], table + "/index/" + indexes[1]}, "dynamodb:BatchGetItem", "dynamodb:ConditionCheckItem", "dynamodb:DeleteItem",
			"dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Scan", "dynamodb:UpdateItem"),
		allow(arns, "route53:ChangeResourceRecordSets", "route53:GetHostedZone", "route53:ListResourceRecordSets"),
		allow(fmt.Sprintf("arn:aws:logs:%s:%s:log-group:%s:*", s.AWS.Region, account, outputs(stack)["LogGroup"]), "logs:FilterLogEvents"),
	}}
}
