// Package awsstack makes, changes, watches and removes an installation of godwit
// in an AWS account.
//
// An installation is one CloudFormation stack of one template (template.yaml): a
// function behind a URL, a table, and what they need. Everything that is made
// twice in the same way is in the template; what a template cannot do is done
// here around it, and in this order, so that a failure leaves nothing half made
// that the next attempt does not take up:
//
//	account and stack → hosted zones → adopted table → code in a bucket → stack
//
// [Stack.Deploy] may be repeated at any time and does only what is missing.
// Nothing here knows what a host is.
package awsstack

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"godwit/internal/awscall"
)

// Config is what a Stack is made of.
type Config struct {
	// Name is the stack's name: a letter, then letters, digits and hyphens, at
	// most 100.
	Name string
	// AWS has region and credentials; it also says where CloudFormation, S3 and
	// STS are, as every AWS SDK reads it.
	AWS aws.Config
	// Endpoints say where services are if not at AWS's own endpoints: by signing
	// name, of dynamodb, route53, sqs and logs.
	Endpoints map[string]string
	// Say gets one line at a time about what is being done; nil: nobody.
	Say func(format string, args ...any)
	// Pause is the first pause between two looks at something that takes time; it
	// grows to five seconds. 0: 250 ms.
	Pause time.Duration
	// HTTP asks the installation itself how it is; nil: a client of its own with
	// 15 seconds for an answer.
	HTTP *http.Client
	Now  func() time.Time // nil: time.Now
}

// Stack is one installation, which may not be there yet. Use one method at a time.
type Stack struct {
	Config
	formation *cloudformation.Client
	buckets   *s3.Client
	identity  *sts.Client
	calls     map[string]*awscall.Client
}

// NotFoundError says that there is no such stack.
type NotFoundError struct{ Name, Region string }

func (e *NotFoundError) Error() string {
	return fmt.Sprintf("there is no stack %s in %s; name another with --stack or --region, or make it: godwit aws deploy", e.Name, e.Region)
}

var stackName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]{0,99}$`)

// New returns a Stack. It calls nobody; a region where it could not work is an
// error.
func New(c Config) (*Stack, error) {
	if !stackName.MatchString(c.Name) {
		return nil, fmt.Errorf("%q is no name of a stack; take letters, digits and hyphens, a letter first, as in godwit", c.Name)
	}
	if err := checkRegion(c.AWS.Region); err != nil {
		return nil, err
	}
	if c.Say == nil {
		c.Say = func(string, ...any) {}
	}
	if c.Pause <= 0 {
		c.Pause = 250 * time.Millisecond
	}
	if c.HTTP == nil {
		c.HTTP = &http.Client{Timeout: 15 * time.Second}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.AWS.HTTPClient == nil {
		c.AWS.HTTPClient = http.DefaultClient
	}
	s := &Stack{Config: c, formation: cloudformation.NewFromConfig(c.AWS), identity: sts.NewFromConfig(c.AWS), calls: map[string]*awscall.Client{}}
	s.buckets = s3.NewFromConfig(c.AWS, func(o *s3.Options) {
		o.UsePathStyle = c.AWS.BaseEndpoint != nil || o.BaseEndpoint != nil // a stand-in has no names for buckets
	})
	for service, endpoint := range map[string]string{
		"dynamodb": "https://dynamodb." + c.AWS.Region + ".amazonaws.com",
		"sqs":      "https://sqs." + c.AWS.Region + ".amazonaws.com",
		"logs":     "https://logs." + c.AWS.Region + ".amazonaws.com",
		"route53":  "https://route53.amazonaws.com",
	} {
		region := c.AWS.Region
		if service == "route53" {
			region = "us-east-1" // the one that its requests are signed for
		}
		if given := c.Endpoints[service]; given != "" {
			endpoint = given
		}
		client, err := awscall.New(awscall.Config{Service: service, Region: region, Endpoint: endpoint, Credentials: c.AWS.Credentials,
			Transport: transport{c.AWS.HTTPClient}, Attempts: 6, Timeout: 30 * time.Second})
		if err != nil {
			return nil, err
		}
		s.calls[service] = client
	}
	return s, nil
}

// transport carries our own calls over the SDK's client, which knows the
// proxies and certificates that AWS_CA_BUNDLE and the configuration name.
type transport struct{ client aws.HTTPClient }

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) { return t.client.Do(r) }

// withoutURLs are the regions where functions have no URL (AWS Lambda Developer
// Guide, "Creating and managing Lambda function URLs", November 2026).
var withoutURLs = []string{
	"ap-east-2", "ap-south-2", "ap-southeast-4", "ap-southeast-5", "ap-southeast-6", "ap-southeast-7",
	"ca-west-1", "eu-central-2", "eu-south-2", "il-central-1", "me-central-1",
}

func checkRegion(region string) error {
	switch prefix, _, _ := strings.Cut(region, "-"); {
	case region == "":
		return errors.New("no region is set; add --region, as in --region eu-central-1")
	case slices.Contains(withoutURLs, region):
		return fmt.Errorf("AWS Lambda has no function URLs in %s; take another region, as in --region eu-central-1 (its distance does not matter to DNS)", region)
	case prefix == "cn" || strings.HasPrefix(region, "us-gov-") || strings.Contains(region, "-iso"):
		return fmt.Errorf("%s is not one of AWS's public regions; take another, as in --region eu-central-1", region)
	}
	return nil
}

// account asks whose credentials these are.
func (s *Stack) account(ctx context.Context) (string, error) {
	out, err := s.identity.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return "", fmt.Errorf("ask AWS who we are: %w; check the credentials with: aws sts get-caller-identity", brief(err))
	}
	return aws.ToString(out.Account), nil
}

// describe reads the stack; nil if there is none.
func (s *Stack) describe(ctx context.Context, name string) (*types.Stack, error) {
	out, err := s.formation.DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: &name})
	switch {
	case isAPI(err, "ValidationError", "does not exist"):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read the stack %s: %w", s.Name, brief(err))
	case len(out.Stacks) == 0:
		return nil, nil
	}
	return &out.Stacks[0], nil
}

// existing is describe for what needs a stack.
func (s *Stack) existing(ctx context.Context) (*types.Stack, error) {
	stack, err := s.describe(ctx, s.Name)
	if err == nil && stack == nil {
		err = &NotFoundError{s.Name, s.AWS.Region}
	}
	return stack, err
}

// parameters and outputs of a stack by name.
func parameters(stack *types.Stack) map[string]string {
	out := map[string]string{}
	if stack != nil {
		for _, p := range stack.Parameters {
			out[aws.ToString(p.ParameterKey)] = aws.ToString(p.ParameterValue)
		}
	}
	return out
}

func outputs(stack *types.Stack) map[string]string {
	out := map[string]string{}
	for _, o := range stack.Outputs {
		out[aws.ToString(o.OutputKey)] = aws.ToString(o.OutputValue)
	}
	return out
}

// isAPI tells whether a service refused with that code, and a message with that
// text in it.
func isAPI(err error, code, text string) bool {
	var api smithy.APIError
	return errors.As(err, &api) && api.ErrorCode() == code && strings.Contains(api.ErrorMessage(), text)
}

// brief is an error of the SDK without its long preface: code and message.
func brief(err error) error {
	var api smithy.APIError
	if errors.As(err, &api) {
		text := api.ErrorCode() + ": " + api.ErrorMessage()
		if code := api.ErrorCode(); strings.Contains(code, "AccessDenied") || strings.Contains(code, "NotAuthorized") || code == "UnauthorizedOperation" {
			text += " (docs/aws.md has the policy that whoever deploys needs)"
		}
		return &briefError{text, err}
	}
	return err
}

type briefError struct {
	text  string
	cause error
}

func (e *briefError) Error() string { return e.text }
func (e *briefError) Unwrap() error { return e.cause }

// wait sleeps between two looks, longer each time.
func (s *Stack) wait(ctx context.Context, look int) error {
	pause := s.Pause
	for range look {
		if pause = pause * 3 / 2; pause > 5*time.Second {
			pause = 5 * time.Second
			break
		}
	}
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// token names one operation, so that a request whose answer was lost can be
// repeated without beginning it twice.
func token() *string { return aws.String("godwit-" + rand.Text()) }
