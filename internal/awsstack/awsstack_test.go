package awsstack_test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"godwit/internal/awsstack"
)

var update = flag.Bool("update", false, "rewrite the table in docs/aws.md")

func TestRegions(t *testing.T) {
	for region, text := range map[string]string{
		"":           "no region is set; add --region",
		"ap-east-2":  "no function URLs in ap-east-2; take another region",
		"ap-south-2": "no function URLs", "ap-southeast-4": "no function URLs", "ap-southeast-5": "no function URLs", "ap-southeast-6": "no function URLs",
		"ap-southeast-7": "no function URLs", "ca-west-1": "no function URLs", "eu-central-2": "no function URLs", "eu-south-2": "no function URLs",
		"il-central-1": "no function URLs", "me-central-1": "no function URLs",
		"cn-north-1": "not one of AWS's public regions", "us-gov-west-1": "not one of AWS's public regions", "us-iso-east-1": "not one of AWS's public regions",
		"eu-central-1": "", "us-east-1": "", "ap-southeast-2": "",
	} {
		_, err := awsstack.New(awsstack.Config{Name: "godwit", AWS: aws.Config{Region: region, Credentials: aws.AnonymousCredentials{}}})
		if text == "" && err != nil || text != "" && (err == nil || !strings.Contains(err.Error(), text)) {
			t.Errorf("region %q: got %v, want %q", region, err, text)
		}
	}
	for _, name := range []string{"", "1st", "a_b", "a/b", strings.Repeat("a", 101)} {
		if _, err := awsstack.New(awsstack.Config{Name: name, AWS: aws.Config{Region: "eu-west-1"}}); err == nil || !strings.Contains(err.Error(), "is no name of a stack") {
			t.Errorf("stack %q: %v", name, err)
		}
	}
}

func TestParseZone(t *testing.T) {
	for text, want := range map[string]string{
		"dyn.example.com":                 "dyn.example.com=",
		"Dyn.Example.com.=Z1":             "dyn.example.com=Z1",
		"dyn.example.com=/hostedzone/Z1A": "dyn.example.com=Z1A",
		"dyn.example.com=":                "is no zone",
		"dyn.example.com=Z1/../Z2":        "is no zone",
		"dyn.example.com=z1":              "is no zone",
		".":                               "is no zone",
		"a..b":                            "empty label",
	} {
		z, err := awsstack.ParseZone(text)
		got := z.Apex.String() + "=" + z.ID
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, want) || err == nil && got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}

func TestCheckZip(t *testing.T) {
	pack := func(name string, mode os.FileMode, content string) []byte {
		var out bytes.Buffer
		archive := zip.NewWriter(&out)
		header := &zip.FileHeader{Name: name}
		header.SetMode(mode)
		file, err := archive.CreateHeader(header)
		if err == nil {
			_, err = file.Write([]byte(content))
		}
		if err != nil || archive.Close() != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	for name, c := range map[string]struct {
		data []byte
		want string // an architecture, or of the error
	}{
		"arm64":          {functionZip(t, arm64, "x"), awsstack.ARM64},
		"x86-64":         {functionZip(t, amd64, ""), awsstack.AMD64},
		"another":        {functionZip(t, 40, ""), "is for EM_ARM"},
		"empty":          {nil, "cannot be read"},
		"no zip":         {[]byte("\x7fELF"), "cannot be read"},
		"another file":   {pack("main", 0o755, "\x7fELF"), "holds no bootstrap"},
		"in a folder":    {pack("bin/bootstrap", 0o755, "\x7fELF"), "holds no bootstrap"},
		"not executable": {pack("bootstrap", 0o644, "\x7fELF"), "may not be executed"},
		"a script":       {pack("bootstrap", 0o755, "#!/bin/sh\nexec something else\n"), "no program for Linux"},
		"cut short":      {pack("bootstrap", 0o755, "\x7fELF\x02\x01\x01"), "no program for Linux"},
	} {
		got, err := awsstack.CheckZip(c.data)
		if err != nil {
			got = err.Error()
			if !strings.HasSuffix(got, "; make one with: make lambda-zip") {
				t.Errorf("%s: %v does not say what to do", name, err)
			}
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
}

// FuzzCheckZip: whatever a file holds, it is of one of two architectures or
// refused with what to do.
func FuzzCheckZip(f *testing.F) {
	var empty bytes.Buffer
	if err := zip.NewWriter(&empty).Close(); err != nil {
		f.Fatal(err)
	}
	f.Add(empty.Bytes())
	f.Add([]byte("PK\x03\x04"))
	f.Fuzz(func(t *testing.T, data []byte) {
		architecture, err := awsstack.CheckZip(data)
		if (err == nil) != (architecture == awsstack.ARM64 || architecture == awsstack.AMD64) || err != nil && !strings.Contains(err.Error(), "make lambda-zip") {
			t.Errorf("got %q, %v", architecture, err)
		}
	})
}

// TestCosts makes the table of docs/aws.md from the formula.
func TestCosts(t *testing.T) {
	var table strings.Builder
	table.WriteString("| Hosts | Requests | Zone + queries | Lambda | Reads | Writes | Scan + logs | Free tier | **Total** |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, hosts := range []int{1, 10, 1000, 100000} {
		l := awsstack.Load{Hosts: hosts, Zones: 1}
		c := awsstack.Estimate(l)
		requests := fmt.Sprint(int(l.Requests()))
		if l.Requests() >= 1e6 {
			requests = strings.TrimSuffix(fmt.Sprintf("%.2f", l.Requests()/1e6), ".00") + " M"
		}
		fmt.Fprintf(&table, "| %d | %s | %.2f | %.2f | %.2f | %.2f | %.2f | %.2f | **$%.2f** |\n", hosts, requests, c.DNS, c.Lambda, c.Reads, c.Writes, c.Rest, c.FreeTier, c.Total)
	}
	const file, begin, end = "../../docs/aws.md", "<!-- costs: begin, made by TestCosts -->\n", "<!-- costs: end -->"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(data), begin)
	shown, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s lacks the markers %q and %q", file, begin, end)
	}
	if made := "\n" + table.String() + "\n"; shown != made {
		if !*update {
			t.Fatalf("%s shows another table; go test ./internal/awsstack -run Costs -update rewrites it:\n%s", file, made)
		}
		if err := os.WriteFile(file, []byte(before+begin+made+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestEstimate holds the formula to sums that were made by hand.
func TestEstimate(t *testing.T) {
	near := func(what string, got, want float64) {
		if got < want-0.005 || got > want+0.005 {
			t.Errorf("%s: got %.3f, want %.2f", what, got, want)
		}
	}
	c := awsstack.Estimate(awsstack.Load{Hosts: 1000, Zones: 1})
	near("zone and 10 million queries", c.DNS, 0.5+4)
	near("8.64 million requests of 0.02 s at 0.125 GB", c.Lambda, 1.728+0.288)
	near("reads", c.Reads, 1.08)
	near("30,000 changes of 8 units", c.Writes, 0.15)
	near("free tier", c.FreeTier, -0.2-0.288)
	near("total", c.Total, c.DNS+c.Lambda+c.Reads+c.Writes+c.Rest+c.FreeTier)
	near("three reads", awsstack.Estimate(awsstack.Load{Hosts: 1000, Zones: 1, SeedRows: true}).Reads, 3.24)
	near("27 zones", awsstack.Estimate(awsstack.Load{Zones: 27}).DNS, 25*0.5+2*0.1)
	near("2,000 million queries", awsstack.Estimate(awsstack.Load{Hosts: 200000, Zones: 1}).DNS, 0.5+400+200)
}

// TestDeployerPolicy holds the policy of docs/aws.md to what it is for: it can be
// read, and names every service that the template and this package call.
func TestDeployerPolicy(t *testing.T) {
	data, err := os.ReadFile("../../docs/aws.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), "<!-- policy: begin, held by TestDeployerPolicy -->")
	_, rest, _ = strings.Cut(rest, "```json\n")
	text, _, ok := strings.Cut(rest, "```")
	var policy struct {
		Version   string
		Statement []struct {
			Effect   string
			Action   []string
			Resource any
		}
	}
	if err := json.Unmarshal([]byte(text), &policy); err != nil || !ok {
		t.Fatalf("the policy cannot be read: %v", err)
	}
	if n := len(strings.Join(strings.Fields(text), "")); n > 6144 { // what a managed policy may have, white space not counted
		t.Errorf("the policy has %d characters", n)
	}
	allowed := map[string]bool{}
	for _, s := range policy.Statement {
		if s.Effect != "Allow" || s.Resource == nil {
			t.Errorf("statement %+v", s)
		}
		for _, action := range s.Action {
			service, verb, _ := strings.Cut(action, ":")
			if strings.Contains(verb, "*") {
				t.Errorf("%s allows more than it says", action)
			}
			if s.Resource == "*" && service != "sts" && service != "route53" && !strings.Contains(verb, "EventSourceMapping") && verb != "DescribeLogGroups" {
				t.Errorf("%s is allowed on everything", action)
			}
			allowed[service], allowed[action] = true, true
		}
	}
	// What a type of the template is called in IAM.
	services := map[string]string{"DynamoDB": "dynamodb", "Logs": "logs", "IAM": "iam", "Lambda": "lambda", "Events": "events", "SQS": "sqs", "SNS": "sns", "CloudWatch": "cloudwatch"}
	for name, r := range expand(t, forms["all"]).Resources {
		if service := services[strings.Split(fmt.Sprint(r["Type"]), "::")[1]]; !allowed[service] {
			t.Errorf("%s needs %s, which the policy does not have", name, r["Type"])
		}
	}
	// What this package itself calls.
	for _, action := range []string{"sts:GetCallerIdentity", "cloudformation:CreateStack", "cloudformation:UpdateStack", "cloudformation:DeleteStack", "cloudformation:DescribeStacks",
		"cloudformation:DescribeStackEvents", "s3:CreateBucket", "s3:ListBucket", "s3:PutBucketPublicAccessBlock", "s3:PutEncryptionConfiguration", "s3:PutObject", "s3:GetObject",
		"route53:ListHostedZonesByName", "route53:CreateHostedZone", "route53:GetHostedZone", "dynamodb:DescribeTable", "dynamodb:UpdateTable", "dynamodb:DescribeTimeToLive",
		"dynamodb:UpdateTimeToLive", "dynamodb:GetItem", "dynamodb:UpdateItem", "dynamodb:Scan", "dynamodb:DeleteTable", "sqs:GetQueueAttributes"} {
		if !allowed[action] {
			t.Errorf("the policy lacks %s", action)
		}
	}
}
