package awsstack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"godwit/internal/awscall"
)

// Names of the table's layout. The template has them too, and a test holds both
// to each other.
const (
	keyAttribute = "hostname"
	dueAttribute = "gw_due"
	ttlAttribute = "gw_expires"
)

// indexes are the table's sparse indexes, each over the number of its name: the
// hosts that DNS does not show yet, and those of which something ends by itself.
var indexes = []string{dueAttribute, "gw_next"}

// table is what DynamoDB says about one.
type table struct {
	Name        string `json:"TableName"`
	ARN         string `json:"TableArn"`
	Status      string `json:"TableStatus"`
	Items       int    `json:"ItemCount"` // as it was some hours ago
	Bytes       int64  `json:"TableSizeBytes"`
	Protected   bool   `json:"DeletionProtectionEnabled"`
	KeySchema   []keyElement
	Attributes  []attributeDefinition `json:"AttributeDefinitions"`
	Indexes     []tableIndex          `json:"GlobalSecondaryIndexes"`
	Stream      *streamSpecification  `json:"StreamSpecification"`
	StreamARN   string                `json:"LatestStreamArn"`
	Throughput  throughput            `json:"ProvisionedThroughput"`
	BillingMode struct {
		Mode string `json:"BillingMode"`
	} `json:"BillingModeSummary"`
}

type keyElement struct{ AttributeName, KeyType string }

type attributeDefinition struct{ AttributeName, AttributeType string }

type tableIndex struct {
	IndexName   string
	IndexStatus string `json:",omitempty"`
	KeySchema   []keyElement
	Projection  struct{ ProjectionType string }
	Throughput  *throughput `json:"ProvisionedThroughput,omitempty"`
}

type throughput struct{ ReadCapacityUnits, WriteCapacityUnits int }

type streamSpecification struct {
	StreamEnabled  bool
	StreamViewType string `json:",omitempty"`
}

// dynamo makes a call of DynamoDB. A change may be repeated if repeat: if what
// it asks for is a state, not a step.
func (s *Stack) dynamo(ctx context.Context, operation string, in, out any, repeat bool) error {
	return s.jsonCall(ctx, "dynamodb", "DynamoDB_20120810."+operation, in, out, repeat)
}

func (s *Stack) jsonCall(ctx context.Context, service, target string, in, out any, repeat bool) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	r, err := s.calls[service].Do(ctx, awscall.Request{
		Method: http.MethodPost, Path: "/", Body: body, Repeat: repeat,
		Header: http.Header{"X-Amz-Target": {target}, "Content-Type": {"application/x-amz-json-1.0"}},
	})
	if err != nil {
		return explain(err)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(r.Body, out); err != nil {
		return fmt.Errorf("the answer to %s is not understood: %w", target, err)
	}
	return nil
}

// refused tells whether a service refused with that code.
func refused(err error, code string) bool {
	e, ok := errors.AsType[*awscall.Error](err)
	return ok && e.Code == code
}

// readTable reads a table; nil if there is none.
func (s *Stack) readTable(ctx context.Context, name string) (*table, error) {
	var out struct{ Table table }
	err := s.dynamo(ctx, "DescribeTable", map[string]string{"TableName": name}, &out, true)
	if refused(err, "ResourceNotFoundException") {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the table %s: %w", name, err)
	}
	return &out.Table, nil
}

// active waits until the table and its index can be used.
func (s *Stack) active(ctx context.Context, name string) (*table, error) {
	said := false
	for look := 0; ; look++ {
		t, err := s.readTable(ctx, name)
		if err != nil {
			return nil, err
		}
		if t == nil {
			return nil, fmt.Errorf("there is no table %s in %s; name one that is there with --table, or leave --table out to get a new one", name, s.AWS.Region)
		}
		if t.Status == "ACTIVE" && !slices.ContainsFunc(t.Indexes, func(i tableIndex) bool { return slices.Contains(indexes, i.IndexName) && i.IndexStatus != "ACTIVE" }) {
			return t, nil
		}
		if !said {
			s.Say("The table %s is %s; waiting until it is ready.", name, t.Status)
			said = true
		}
		if err := s.wait(ctx, look); err != nil {
			return nil, fmt.Errorf("stop waiting for the table %s, which goes on by itself (the same command takes it up again): %w", name, err)
		}
	}
}

// adopt makes a table that is there already fit for us, and changes nothing else
// of it: rows stay as they are. It returns the table's stream, "" without.
func (s *Stack) adopt(ctx context.Context, name string, stream bool) (streamARN string, err error) {
	t, err := s.active(ctx, name)
	if err != nil {
		return "", err
	}
	if len(t.KeySchema) != 1 || t.KeySchema[0] != (keyElement{keyAttribute, "HASH"}) || !slices.Contains(t.Attributes, attributeDefinition{keyAttribute, "S"}) {
		return "", fmt.Errorf("the table %s cannot be adopted: its key is not %s alone, a string; name the table of the reference implementation, or leave --table out to get a new one", name, keyAttribute)
	}
	for _, name := range indexes {
		if t, err = s.addIndex(ctx, t, name); err != nil {
			return "", err
		}
	}
	if stream {
		switch on := t.Stream != nil && t.Stream.StreamEnabled; {
		case !on:
			if t, err = s.updateTable(ctx, name, "a stream", map[string]any{"StreamSpecification": streamSpecification{true, "NEW_IMAGE"}}); err != nil {
				return "", err
			}
		case t.Stream.StreamViewType != "NEW_IMAGE" && t.Stream.StreamViewType != "NEW_AND_OLD_IMAGES":
			return "", fmt.Errorf("the stream of the table %s shows %s, and godwit needs NEW_IMAGE; switch that stream off, or use --mode direct", name, t.Stream.StreamViewType)
		}
		streamARN = t.StreamARN
	}
	if err := s.expire(ctx, name); err != nil {
		return "", err
	}
	// Before the function works on it: its rows may be spelt in other ways.
	return streamARN, s.mark(ctx, name, true, "")
}

// addIndex gives a table one of our indexes if it lacks it. DynamoDB makes one at
// a time.
func (s *Stack) addIndex(ctx context.Context, t *table, name string) (*table, error) {
	key := []keyElement{{name, "HASH"}}
	if i := slices.IndexFunc(t.Indexes, func(i tableIndex) bool { return i.IndexName == name }); i >= 0 {
		if !slices.Equal(t.Indexes[i].KeySchema, key) {
			return nil, fmt.Errorf("the table %s has an index %s that is not godwit's; remove it, then run the same command again", t.Name, name)
		}
		return t, nil
	}
	index := tableIndex{IndexName: name, KeySchema: key}
	index.Projection.ProjectionType = "KEYS_ONLY"
	if t.BillingMode.Mode != "PAY_PER_REQUEST" {
		index.Throughput = &throughput{max(t.Throughput.ReadCapacityUnits, 1), max(t.Throughput.WriteCapacityUnits, 1)}
	}
	return s.updateTable(ctx, t.Name, "the index "+name, map[string]any{
		"AttributeDefinitions":        []attributeDefinition{{keyAttribute, "S"}, {name, "N"}},
		"GlobalSecondaryIndexUpdates": []any{map[string]any{"Create": index}},
	})
}

func (s *Stack) updateTable(ctx context.Context, name, what string, change map[string]any) (*table, error) {
	change["TableName"] = name
	if err := s.dynamo(ctx, "UpdateTable", change, nil, false); err != nil {
		return nil, fmt.Errorf("give the table %s %s: %w", name, what, err)
	}
	s.Say("Give the table %s %s.", name, what)
	return s.active(ctx, name)
}

// expire lets DynamoDB remove what has expired.
func (s *Stack) expire(ctx context.Context, name string) error {
	var is struct {
		Description struct{ TimeToLiveStatus, AttributeName string } `json:"TimeToLiveDescription"`
	}
	in := map[string]any{"TableName": name}
	if err := s.dynamo(ctx, "DescribeTimeToLive", in, &is, true); err != nil {
		return fmt.Errorf("read the time to live of the table %s: %w", name, err)
	}
	switch d := is.Description; {
	case d.TimeToLiveStatus == "DISABLED" || d.TimeToLiveStatus == "":
	case d.AttributeName == ttlAttribute:
		return nil
	default:
		// Nothing depends on it: what has expired is only not removed.
		s.Say("The table %s removes items by %s already, so spent join codes stay in it; that does no harm.", name, d.AttributeName)
		return nil
	}
	in["TimeToLiveSpecification"] = map[string]any{"Enabled": true, "AttributeName": ttlAttribute}
	if err := s.dynamo(ctx, "UpdateTimeToLive", in, nil, false); err != nil {
		return fmt.Errorf("let the table %s remove what has expired: %w", name, err)
	}
	return nil
}

// metaKey is the item that says what the table is.
var metaKey = map[string]any{keyAttribute: map[string]string{"S": "#meta"}}

// seedRows tells whether a table's rows are the reference implementation's.
func (s *Stack) seedRows(ctx context.Context, name string) (bool, error) {
	var out struct {
		Item map[string]struct{ BOOL bool }
	}
	err := s.dynamo(ctx, "GetItem", map[string]any{"TableName": name, "Key": metaKey}, &out, true)
	if err != nil {
		return false, fmt.Errorf("read what the table %s is: %w", name, err)
	}
	return out.Item["adopted"].BOOL, nil
}

// mark writes into #meta what the table is, unless that is known: one that an
// installation of ours has left is none of the reference implementation's. With
// a URL it says also who works on it. Members that others have written stay.
func (s *Stack) mark(ctx context.Context, name string, seedRows bool, url string) error {
	in := map[string]any{"TableName": name, "Key": metaKey, "UpdateExpression": "SET gw_v = if_not_exists(gw_v, :one), adopted = if_not_exists(adopted, :adopted)"}
	values := map[string]any{":one": map[string]string{"N": "1"}, ":adopted": map[string]bool{"BOOL": seedRows}}
	if url != "" {
		in["UpdateExpression"] = in["UpdateExpression"].(string) + ", #stack = :stack, #url = :url"
		in["ExpressionAttributeNames"] = map[string]string{"#stack": "stack", "#url": "url"}
		values[":stack"], values[":url"] = map[string]string{"S": s.Name}, map[string]string{"S": url}
	}
	in["ExpressionAttributeValues"] = values
	if err := s.dynamo(ctx, "UpdateItem", in, nil, true); err != nil {
		return fmt.Errorf("write into the table %s what it is: %w; run the same command again", name, err)
	}
	return nil
}

// counts are how many hosts there are.
type counts struct {
	hosts       int
	about       bool // hosts is as DynamoDB counted some hours ago
	unpublished int
	oldest      int64 // of the unpublished ones, the smallest gw_due; 0: none
}

// countPages bounds how much of a table is read to count its hosts: a page is a
// mebibyte, some hundreds of hosts.
const countPages = 20

func (s *Stack) count(ctx context.Context, t *table) (counts, error) {
	var c counts
	var start any
	for page := 0; ; page++ {
		if page == countPages {
			c.hosts, c.about = t.Items, true
			break
		}
		in := map[string]any{
			"TableName": t.Name, "Select": "COUNT", "FilterExpression": "NOT begins_with(hostname, :own)",
			"ExpressionAttributeValues": map[string]any{":own": map[string]string{"S": "#"}},
		}
		var out struct {
			Count int
			Last  json.RawMessage `json:"LastEvaluatedKey"`
		}
		if start != nil {
			in["ExclusiveStartKey"] = start
		}
		if err := s.dynamo(ctx, "Scan", in, &out, true); err != nil {
			return c, fmt.Errorf("count the hosts in %s: %w", t.Name, err)
		}
		c.hosts += out.Count
		if out.Last == nil {
			break
		}
		start = out.Last
	}
	return c, s.countDue(ctx, t, &c)
}

// countDue counts the hosts that DNS does not show yet, up to one page of them.
func (s *Stack) countDue(ctx context.Context, t *table, c *counts) error {
	var due struct {
		Items []map[string]struct{ N json.Number }
	}
	if err := s.dynamo(ctx, "Scan", map[string]any{"TableName": t.Name, "IndexName": dueAttribute}, &due, true); err != nil {
		return fmt.Errorf("count the unpublished hosts in %s: %w", t.Name, err)
	}
	c.unpublished = len(due.Items)
	for _, item := range due.Items {
		at, err := item[dueAttribute].N.Int64()
		if err == nil && (c.oldest == 0 || at < c.oldest) {
			c.oldest = at
		}
	}
	return nil
}
