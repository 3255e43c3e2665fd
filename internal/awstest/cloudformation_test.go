package awstest_test

import (
	"encoding/xml"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"godwit/internal/awstest"
)

const smallTemplate = `
Parameters:
  Size: {Type: Number, Default: 1, MinValue: 1}
  Names: {Type: CommaDelimitedList, Default: "a, b"}
  Kind: {Type: String, AllowedValues: [plain, fancy]}
Conditions:
  Fancy: !Equals [!Ref Kind, fancy]
  Plain: !Not [!Condition Fancy]
Resources:
  Reader:
    Type: Test::Reader
    Properties:
      Of: !GetAtt Queue.Arn
      Both: !Sub "${AWS::Region}/${Queue}/${Queue.Arn}"
      Names: !Ref Names
      Joined: !Join ["+", !Ref Names]
      Split: !Split ["/", "x/y"]
      Choice: !If [Fancy, [1, !Ref AWS::NoValue], !Ref AWS::NoValue]
  Queue:
    Type: AWS::SQS::Queue
    DeletionPolicy: Retain
    Properties: {Size: !Ref Size}
  Extra:
    Type: Test::Extra
    Condition: Fancy
Outputs:
  Arn: {Value: !GetAtt Queue.Arn}
  Extra: {Condition: Fancy, Value: !Ref Extra}
`

func TestTemplate(t *testing.T) {
	template, err := awstest.ParseTemplate(smallTemplate)
	if err != nil {
		t.Fatal(err)
	}
	expand := func(parameters map[string]string) (*awstest.Expanded, error) {
		return template.Expand(awstest.Expansion{Parameters: parameters, Pseudo: map[string]string{"AWS::Region": "eu-west-1"},
			Resource: func(name, attribute string) (string, error) { return name + ":" + attribute, nil }})
	}
	got, err := expand(map[string]string{"Kind": "fancy"})
	if err != nil {
		t.Fatal(err)
	}
	want := &awstest.Expanded{
		Order:   []string{"Queue", "Extra", "Reader"},
		Outputs: map[string]string{"Arn": "Queue:Arn", "Extra": "Extra:"},
		Resources: map[string]map[string]any{
			"Reader": {"Type": "Test::Reader", "Properties": map[string]any{"Of": "Queue:Arn", "Both": "eu-west-1/Queue:/Queue:Arn", "Names": []any{"a", "b"},
				"Joined": "a+b", "Split": []any{"x", "y"}, "Choice": []any{1}}},
			"Queue": {"Type": "AWS::SQS::Queue", "DeletionPolicy": "Retain", "Properties": map[string]any{"Size": "1"}},
			"Extra": {"Type": "Test::Extra", "Condition": "Fancy"},
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if got, err = expand(map[string]string{"Kind": "plain"}); err != nil || len(got.Resources) != 2 || len(got.Outputs) != 1 {
		t.Errorf("plain: %+v, %v", got, err)
	} else if _, there := got.Resources["Reader"]["Properties"].(map[string]any)["Choice"]; there {
		t.Error("a property without a value is there")
	}
	for text, parameters := range map[string]map[string]string{
		"Parameters: [Kind] must have values":     {},
		"Parameters: [Flavour] do not exist":      {"Kind": "plain", "Flavour": "x"},
		"'Kind' must be one of AllowedValues":     {"Kind": "odd"},
		"'Size' must be a number not less than 1": {"Kind": "plain", "Size": "0"},
		"Parameter 'Size' must be a number":       {"Kind": "plain", "Size": "big"},
	} {
		if _, err := expand(parameters); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%v: got %v, want %q", parameters, err, text)
		}
	}
	for _, bad := range []string{"[]", "Resources: []", "Mappings: {}", "Resources: {A: {}, A: {}}", "Resources: {A: {B: &x {C: 1}, D: *x}}", "Resources: {"} {
		if _, err := awstest.ParseTemplate(bad); err == nil {
			t.Errorf("the template %q is taken", bad)
		}
	}
}

// TestCloudFormation walks one stack through its life, over the wire.
func TestCloudFormation(t *testing.T) {
	made := 0
	stub := &awstest.CloudFormation{Account: "123456789012", Region: "eu-west-1", Make: func(r awstest.Resource) (awstest.Resource, error) { made++; return r, nil }}
	call := func(action string, fields ...string) string {
		t.Helper()
		form := url.Values{"Action": {action}, "StackName": {"s"}}
		for i := 0; i < len(fields); i += 2 {
			form.Set(fields[i], fields[i+1])
		}
		r := httptest.NewRequest("POST", "/", strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=x")
		w := httptest.NewRecorder()
		stub.ServeHTTP(w, r)
		var answer struct {
			Code   string `xml:"Error>Code"`
			Text   string `xml:"Error>Message"`
			Status string `xml:"DescribeStacksResult>Stacks>member>StackStatus"`
			ID     string `xml:"CreateStackResult>StackId"`
		}
		if err := xml.Unmarshal(w.Body.Bytes(), &answer); err != nil {
			t.Fatalf("%s: %v in %s", action, err, w.Body)
		}
		if answer.Code != "" {
			return answer.Code + ": " + answer.Text
		}
		return answer.Status + answer.ID
	}
	expect := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	until := func(name, status string) {
		t.Helper()
		got := ""
		for range 30 {
			if got = call("DescribeStacks", "StackName", name); !strings.HasSuffix(got, "_IN_PROGRESS") {
				break
			}
		}
		expect(got, status)
	}
	plain := []string{"TemplateBody", smallTemplate, "Parameters.member.1.ParameterKey", "Kind", "Parameters.member.1.ParameterValue", "plain"}
	fancy := []string{"TemplateBody", smallTemplate, "Parameters.member.1.ParameterKey", "Kind", "Parameters.member.1.ParameterValue", "fancy"}
	previous := []string{"TemplateBody", smallTemplate, "Parameters.member.1.ParameterKey", "Kind", "Parameters.member.1.UsePreviousValue", "true"}

	expect(call("DescribeStacks"), "ValidationError: Stack with id s does not exist")
	expect(call("UpdateStack", plain...), "ValidationError: Stack [s] does not exist")
	expect(call("CreateStack", previous...), "ValidationError: Invalid input for parameter key Kind. Cannot specify usePreviousValue as true for a parameter key not in the previous template")
	expect(call("CreateStack", "TemplateBody", "Resources: {R: {Type: 'AWS::IAM::Role'}}"), "InsufficientCapabilitiesException: Requires capabilities : [CAPABILITY_IAM]")
	expect(call("CreateStack", "TemplateBody", strings.Repeat("#", 51201)), "ValidationError: 1 validation error detected: Value at 'templateBody' failed to satisfy constraint: Member must have length less than or equal to 51200")
	id := call("CreateStack", plain...)
	expect(call("CreateStack", plain...), "AlreadyExistsException: Stack [s] already exists")
	expect(call("UpdateStack", fancy...), "ValidationError: Stack:"+id+" is in CREATE_IN_PROGRESS state and can not be updated.")
	until("s", "CREATE_COMPLETE")
	expect(call("UpdateStack", previous...), "ValidationError: No updates are to be performed.")
	call("UpdateStack", fancy...)
	until("s", "UPDATE_COMPLETE")
	stub.FailOn("Queue", "no room")
	call("UpdateStack", append(previous, "Parameters.member.2.ParameterKey", "Size", "Parameters.member.2.ParameterValue", "2")...)
	until("s", "UPDATE_ROLLBACK_COMPLETE")
	if s, _ := stub.Stack("s"); s.Parameters["Size"] != "1" || len(s.Resources) != 3 || made != 3 {
		t.Errorf("after the roll-back: %+v, %d made", s, made)
	}
	stub.FailOn("Reader", "in use")
	call("DeleteStack")
	until("s", "DELETE_FAILED")
	call("DeleteStack")
	until(id, "DELETE_COMPLETE")
	expect(call("DescribeStacks"), "ValidationError: Stack with id s does not exist")
	expect(call("DeleteStack"), "") // as often as one likes
	expect(call("ListStacks"), "InvalidAction: Could not find operation ListStacks")

	// A first attempt that fails leaves a stack that can only be deleted.
	stub.FailOn("Queue", "no room")
	id = call("CreateStack", plain...)
	until("s", "ROLLBACK_COMPLETE")
	expect(call("UpdateStack", fancy...), "ValidationError: Stack:"+id+" is in ROLLBACK_COMPLETE state and can not be updated.")
}
