package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/smithy-go/logging"

	"godwit/internal/awsstack"
	godwitconfig "godwit/internal/config"
)

type awsCommand struct {
	Deploy   awsDeployCommand   `cmd:"" help:"Put godwit into an AWS account, or change it there."`
	Status   awsStatusCommand   `cmd:"" help:"Show how the installation is, and what it costs."`
	Destroy  awsDestroyCommand  `cmd:"" help:"Take godwit out of the account; keeps the data."`
	Template awsTemplateCommand `cmd:"" help:"Print the CloudFormation template."`
}

// stackFlags say which installation in which account is meant.
type stackFlags struct {
	Stack   string `default:"godwit" placeholder:"NAME" help:"Name of the CloudFormation stack. Default: godwit."`
	Region  string `placeholder:"REGION" help:"AWS region. Default: that of the AWS configuration (AWS_REGION, profile)."`
	Profile string `placeholder:"NAME" help:"Profile of the AWS configuration. Default: AWS_PROFILE."`
}

// stack makes the installation that is meant. Credentials, region and endpoints
// come from where every AWS tool has them.
func (f stackFlags) stack(a *app) (*awsstack.Stack, error) {
	options := []func(*config.LoadOptions) error{config.WithLogger(logging.Nop{})} // errors say enough
	if f.Region != "" {
		options = append(options, config.WithRegion(f.Region))
	}
	if f.Profile != "" {
		options = append(options, config.WithSharedConfigProfile(f.Profile))
	}
	settings, err := config.LoadDefaultConfig(a.ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("read the AWS configuration: %w; see it with: aws configure list", err)
	}
	endpoints := map[string]string{}
	for _, service := range []string{"dynamodb", "route53", "sqs", "logs"} {
		endpoints[service] = awsEndpoint(a.env, service)
	}
	stack, err := awsstack.New(awsstack.Config{Name: f.Stack, AWS: settings, Endpoints: endpoints, Say: a.say, Now: a.now})
	if err != nil {
		return nil, usage("%s", err)
	}
	return stack, nil
}

// awsEndpoint is where a service is said to be, by its signing name; "": at
// AWS's own endpoint. The variables are those of every AWS SDK.
func awsEndpoint(env godwitconfig.Environment, service string) string {
	variable := map[string]string{"dynamodb": "DYNAMODB", "route53": "ROUTE_53", "sqs": "SQS", "logs": "CLOUDWATCH_LOGS"}[service]
	for _, key := range []string{"AWS_ENDPOINT_URL_" + variable, "AWS_ENDPOINT_URL"} {
		if url, _ := env.Lookup(key); url != "" {
			return url
		}
	}
	return ""
}

// flags are how a command that is printed names the same installation.
func (f stackFlags) flags() string {
	var out strings.Builder
	if f.Stack != "godwit" {
		out.WriteString(" --stack " + shellQuote(f.Stack))
	}
	if f.Region != "" {
		out.WriteString(" --region " + shellQuote(f.Region))
	}
	if f.Profile != "" {
		out.WriteString(" --profile " + shellQuote(f.Profile))
	}
	return out.String()
}

// target is how commands about hosts name the same installation, and environment
// what has to stand before them for the same profile.
func (f stackFlags) target() string {
	if f.Region != "" {
		return awsTarget + f.Stack + "@" + f.Region
	}
	return awsTarget + f.Stack
}

func (f stackFlags) environment() string {
	if f.Profile != "" {
		return "AWS_PROFILE=" + shellQuote(f.Profile) + " "
	}
	return ""
}

// awsError is a mistake in the request where it is one.
func awsError(err error) error {
	if wrong, ok := errors.AsType[*awsstack.UsageError](err); ok {
		return usage("%s", wrong.Text)
	}
	return err
}

// printDelegation says what the parents of zones need.
func printDelegation(a *app, zones []awsstack.Zone) {
	for _, z := range zones {
		a.print("\nThe parent of %s needs:\n", z.Apex)
		for _, line := range delegation(z.Apex.String(), z.NameServers) {
			a.print("  %s", line)
		}
	}
}

type awsTemplateCommand struct{}

func (awsTemplateCommand) Help() string {
	return `It is what "godwit aws deploy" gives to CloudFormation, for those who want to read it
first or to deploy it with tools of their own.

Examples:

    godwit aws template
    godwit aws template > godwit.yaml && cfn-lint godwit.yaml`
}

func (awsTemplateCommand) Run(a *app) error {
	a.print("%s", strings.TrimSuffix(awsstack.Template, "\n"))
	return nil
}
