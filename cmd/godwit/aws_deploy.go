package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"godwit/internal/awsstack"
	"godwit/internal/store/dynamodb"
)

type awsDeployCommand struct {
	stackFlags
	jsonFlag
	Zone                []string          `placeholder:"ZONE" help:"Zone for the hosts, in Route 53; the first time at least one. ZONE=ID names one of several hosted zones of that name."`
	CreateZone          bool              `help:"Make the hosted zones that are not there."`
	Names               []string          `placeholder:"NAME" help:"Names that the function may change, such as '*.home.example.com'. Default: all of the zones."`
	Mode                string            `enum:",direct,stream" default:"" placeholder:"MODE" help:"Who publishes a change: direct, the request that made it, or stream, in batches, for many hosts. Default: direct."`
	Table               string            `placeholder:"TABLE" help:"Adopt a DynamoDB table that is there: the reference implementation's, or one that an earlier installation has left."`
	Arch                string            `enum:",arm64,x86_64" default:"" placeholder:"ARCH" help:"The function's architecture: arm64 or x86_64. Default: arm64, which costs less."`
	FunctionZip         string            `placeholder:"FILE" help:"The function. Default: the one that release builds carry; make lambda-zip makes one."`
	ReservedConcurrency *int              `placeholder:"N" help:"At most so many instances of the function at once; -1 for no limit, 0 switches it off. Default: no limit."`
	ChangesPerHour      *int              `placeholder:"N" help:"Changes of a host in an hour, at most; 0 for no limit. Default: 30."`
	RequestsPerSecond   *int              `placeholder:"N" help:"Requests of a source in a second, at most; 0 for no limit. Default: 20."`
	LogDays             *int              `placeholder:"DAYS" help:"Keep the function's log so long. Default: 30."`
	AlarmEmail          *string           `placeholder:"ADDRESS" help:"Send alarms to this address; empty for none. Default: none."`
	DeletionProtection  *bool             `negatable:"" help:"Let DynamoDB refuse to delete the table. Default: yes."`
	Tag                 map[string]string `placeholder:"KEY=VALUE" help:"Tag everything that is made."`
}

func (awsDeployCommand) Help() string {
	return `Makes one CloudFormation stack: a function behind a URL, a table, and what they need.
Run it again to change a setting or to bring a new version: what is not named stays
as it is, and when nothing is to be done nothing is. docs/aws.md has the costs, and
the policy that whoever deploys needs.

Examples:

    godwit aws deploy --zone dyn.example.com --create-zone
    godwit aws deploy --zone example.com --names '*.home.example.com'
    godwit aws deploy --zone dyn.example.com --table ddns
    godwit aws deploy --mode stream --alarm-email ops@example.com`
}

func (c awsDeployCommand) Run(a *app) error {
	request, err := c.request()
	if err != nil {
		return err
	}
	stack, err := c.stack(a)
	if err != nil {
		return err
	}
	result, err := stack.Deploy(a.ctx, request)
	if err != nil {
		return awsError(err)
	}
	if result.Adopted {
		if err := c.adopt(a, stack, result.Table); err != nil {
			return err
		}
	}
	if c.JSON {
		return a.printJSON(result)
	}
	switch result.Change {
	case "created":
		a.print("The installation %s in %s is up.", result.Stack, result.Region)
	case "updated":
		a.print("The installation %s in %s is up to date.", result.Stack, result.Region)
	default:
		a.print("The installation %s in %s was up to date already.", result.Stack, result.Region)
	}
	a.print("")
	fields(a.stdout, "URL", result.URL, "Table", result.Table, "Zones", zoneList(result.Zones), "Mode", result.Mode)
	if result.Change == "created" {
		policy, err := json.MarshalIndent(result.OperatorPolicy, "  ", "  ")
		if err != nil {
			return err
		}
		a.print("\nCommands about hosts work with your own AWS credentials. Somebody who shall administer\nhosts and nothing else needs this policy:\n\n  %s", policy)
	}
	printDelegation(a, result.Created)
	if c.AlarmEmail != nil && *c.AlarmEmail != "" && result.Change != "unchanged" {
		a.print("\nAWS asks %s by mail whether it wants alarms: none arrives before that is confirmed.", *c.AlarmEmail)
	}
	a.print("\nAdd a host:\n\n  %sgodwit host add %s --target %s", c.environment(), exampleHost(result.Names), shellQuote(c.target()))
	return nil
}

// exampleHost is a name that the function may change.
func exampleHost(names []string) string {
	for _, name := range names {
		if below, ok := strings.CutPrefix(name, "*."); ok {
			return "nas." + below
		}
	}
	return names[0]
}

// adopt makes the rows of an adopted table be found whatever their spelling.
func (c awsDeployCommand) adopt(a *app, stack *awsstack.Stack, table string) error {
	store, err := dynamodb.New(dynamodb.Config{Client: stack.Client("dynamodb"), Table: table, Log: newLogger(a.stderr, quietLevel, false)})
	if err != nil {
		return err
	}
	n, err := store.Adopt(a.ctx)
	if err != nil {
		return fmt.Errorf("adopt the rows of %s: %w; run the same command again", table, err)
	}
	if n > 0 {
		a.say("Found %s in another spelling; each has an alias now.", quantity(n, "host"))
	}
	return nil
}

func zoneList(zones []awsstack.Zone) string {
	var out []string
	for _, z := range zones {
		out = append(out, fmt.Sprintf("%s (%s)", z.Apex, z.ID))
	}
	return strings.Join(out, ", ")
}

// request is what the flags ask for.
func (c awsDeployCommand) request() (awsstack.Request, error) {
	r := awsstack.Request{CreateZone: c.CreateZone, Names: c.Names, Mode: c.Mode, Table: c.Table, Architecture: c.Arch, Tags: c.Tag, Parameters: map[string]string{}}
	if c.CreateZone && len(c.Zone) == 0 {
		return r, usage("--create-zone makes the zones that --zone names; add --zone, as in --zone dyn.example.com")
	}
	for _, text := range c.Zone {
		z, err := awsstack.ParseZone(text)
		if err != nil {
			return r, usage("--zone: %s", err)
		}
		r.Zones = append(r.Zones, z)
	}
	for name, n := range map[string]*int{"ReservedConcurrency": c.ReservedConcurrency, "ChangesPerHour": c.ChangesPerHour, "RequestsPerSecond": c.RequestsPerSecond, "LogDays": c.LogDays} {
		if n != nil {
			r.Parameters[name] = strconv.Itoa(*n)
		}
	}
	if c.AlarmEmail != nil {
		if *c.AlarmEmail != "" && !strings.Contains(*c.AlarmEmail, "@") {
			return r, usage("--alarm-email %s is no address; give one, or --alarm-email= for no alarms", *c.AlarmEmail)
		}
		r.Parameters["AlarmEmail"] = *c.AlarmEmail
	}
	if c.DeletionProtection != nil {
		r.Parameters["DeletionProtection"] = strconv.FormatBool(*c.DeletionProtection)
	}
	var err error
	if c.FunctionZip != "" {
		r.Zip, err = readBounded(c.FunctionZip, awsstack.MaxZip)
	}
	return r, err
}

// readBounded reads a file that must not be larger than limit octets.
func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("--function-zip: %w; make one with: make lambda-zip", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("--function-zip: %w; make one with: make lambda-zip", err)
	}
	return data, nil // CheckZip refuses one that is too long
}
