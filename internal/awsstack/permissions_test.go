package awsstack_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestEveryPermissionIsUsed: for each action that the role has, something of
// ours asks for it, or the service that runs the function for us does.
func TestEveryPermissionIsUsed(t *testing.T) {
	const store, publisher, platform = "../store/dynamodb", "../publish/route53", ""
	users := map[string]string{
		"dynamodb:GetItem": store, "dynamodb:BatchGetItem": store, "dynamodb:UpdateItem": store, "dynamodb:PutItem": store, "dynamodb:Scan": store,
		"dynamodb:DeleteItem":              store,
		"route53:ChangeResourceRecordSets": publisher, "route53:ListResourceRecordSets": publisher,
		// Lambda reads the stream, sends dead letters and writes the log as this role.
		"dynamodb:DescribeStream": platform, "dynamodb:GetRecords": platform, "dynamodb:GetShardIterator": platform, "dynamodb:ListStreams": platform,
		"sqs:SendMessage": platform, "logs:CreateLogStream": platform, "logs:PutLogEvents": platform,
	}
	used := map[string]bool{}
	// Route 53's API is REST: its actions are a path and a method. Items are deleted
	// in transactions alone.
	spelt := map[string]string{"DeleteItem": `"Delete"`, "ChangeResourceRecordSets": "ChangeResourceRecordSetsRequest", "ListResourceRecordSets": "/rrset"}
	for _, s := range role(t, forms["all"]) {
		for _, action := range s.actions {
			folder, known := users[action]
			if !known {
				t.Errorf("the role has %s, and nobody is known to use it", action)
			}
			used[action] = true
			_, call, _ := strings.Cut(action, ":")
			if text, ok := spelt[call]; ok {
				call = text
			} else {
				call = `"` + call + `"`
			}
			if folder != platform && !sourceHas(t, folder, call) {
				t.Errorf("the role has %s, and nothing in %s asks for it (%s)", action, folder, call)
			}
		}
	}
	for action := range users {
		if !used[action] {
			t.Errorf("the role does not have %s any more", action)
		}
	}
}

// TestUnpublishedIsLogged: the alarm waits for a line that the core writes.
func TestUnpublishedIsLogged(t *testing.T) {
	pattern := at(expand(t, forms["alarms"]).Resources["UnpublishedMetric"], "Properties", "FilterPattern").(string)
	text, ok := strings.CutPrefix(pattern, `{ $.msg = "`)
	text, ok2 := strings.CutSuffix(text, `*" }`)
	if !ok || !ok2 || !sourceHas(t, "../ddns", `Log.Warn("`+text) {
		t.Errorf("nothing logs what %s looks for", pattern)
	}
}

func sourceHas(t *testing.T, folder, text string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(source), text) {
			return true
		}
	}
	return false
}
