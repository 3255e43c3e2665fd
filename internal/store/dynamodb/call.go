package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"godwit/internal/awscall"
)

// headers of the actions that a Store calls.
var headers = func() map[string]http.Header {
	all := map[string]http.Header{}
	for _, action := range []string{"GetItem", "BatchGetItem", "UpdateItem", "PutItem", "TransactWriteItems", "Scan"} {
		all[action] = http.Header{"X-Amz-Target": {"DynamoDB_20120810." + action}, "Content-Type": {"application/x-amz-json-1.0"}}
	}
	return all
}()

// call makes one call and reads its answer.
func (s *Store) call(ctx context.Context, action string, body []byte, repeat bool) (node, error) {
	resp, err := s.Client.Do(ctx, awscall.Request{Method: http.MethodPost, Path: "/", Header: headers[action], Body: body, Repeat: repeat})
	if err != nil {
		return node{}, s.explain(err)
	}
	n, err := parseJSON(string(resp.Body))
	if err != nil || n.kind != '{' {
		return node{}, &garbledError{action}
	}
	return n, nil
}

// garbledError is an answer of success that is none of DynamoDB's.
type garbledError struct{ action string }

func (e *garbledError) Error() string {
	return "could not confirm that " + e.action + " was done: its answer is not DynamoDB's"
}

// unknown tells whether a write that ended in err may have been made.
func unknown(err error) bool {
	_, garbled := errors.AsType[*garbledError](err)
	return garbled || awscall.Unknown(err)
}

// explain says what an operator can do about an error.
func (s *Store) explain(err error) error {
	e, ok := errors.AsType[*awscall.Error](err)
	if !ok {
		return err
	}
	fix := ""
	switch e.Code {
	case "ValidationException":
		if strings.Contains(e.Message, "Item size") {
			fix = "a DynamoDB item holds 400 KB at most: take away what else is in data, or some of the host's credentials"
		}
	case "ResourceNotFoundException":
		fix = fmt.Sprintf("there is no table %q in %s: look at the stack with godwit aws status", s.Table, s.Client.Region)
	case "AccessDeniedException":
		fix = fmt.Sprintf("the credentials may not do this on table %q: compare them with the policy that godwit aws deploy prints", s.Table)
	case "UnrecognizedClientException", "ExpiredTokenException", "MissingAuthenticationTokenException":
		fix = "AWS does not know these credentials or they have expired: get new ones"
	}
	if fix == "" {
		return err
	}
	return fmt.Errorf("%w; %s", err, fix)
}

// failedItem is the item of a write whose condition did not hold. ok is false if
// err is something else; the item is nil if there is none.
func failedItem(err error) (item *node, ok bool) {
	e, is := errors.AsType[*awscall.Error](err)
	if !is || e.Code != "ConditionalCheckFailedException" {
		return nil, false
	}
	n, parseErr := parseJSON(string(e.Body))
	if parseErr != nil {
		return nil, true
	}
	return n.member("Item"), true
}

func (s *Store) open() object {
	o := openObject(make([]byte, 0, 1024), "{")
	o.key("TableName")
	o.b = appendQuoted(o.b, s.Table)
	return o
}

// keyOf writes an item's key.
func keyOf(dst []byte, key string) []byte {
	return append(appendS(append(dst, `{"hostname":`...), key), '}')
}

// hostAttributes are all that a host's state is made of: everything but its history.
const hostAttributes = "hostname,#d,gw_v,gw_gen,gw_gone,gw_pub,gw_due,gw_shown,gw_a,gw_aaaa,gw_prefix,gw_txt,gw_follow,gw_creds,gw_opts,gw_at,gw_by,gw_seen,gw_busy,gw_refused"

const dataName = `{"#d":"data"}`

// get reads one item, or nil. attributes "" is all.
func (s *Store) get(ctx context.Context, key, attributes string) (*node, error) {
	o := s.open()
	o.key("Key")
	o.b = keyOf(o.b, key)
	// An eventual read can call a host unchanged that has moved and moved back;
	// its client would not come again for weeks.
	o.raw("ConsistentRead", "true")
	project(&o, attributes)
	n, err := s.call(ctx, "GetItem", append(o.b, '}'), true)
	if err != nil {
		return nil, err
	}
	return n.member("Item"), nil
}

func project(o *object, attributes string) {
	if attributes != "" {
		o.key("ProjectionExpression")
		o.b = appendQuoted(o.b, attributes)
		o.raw("ExpressionAttributeNames", dataName)
	}
}

// maxBatch is how many items one BatchGetItem reads at most.
const maxBatch = 100

// getAll reads items by their keys, strongly each. Those that are not there are
// not in the result.
func (s *Store) getAll(ctx context.Context, keys []string, attributes string) (map[string]*node, error) {
	found := make(map[string]*node, len(keys))
	for attempt := 0; len(keys) > 0; {
		batch := keys[:min(len(keys), maxBatch)]
		keys = keys[len(batch):]
		b := append(make([]byte, 0, 512+64*len(batch)), `{"RequestItems":{`...)
		b = appendQuoted(b, s.Table)
		b = append(b, `:{"ConsistentRead":true`...)
		if attributes != "" {
			b = appendQuoted(append(b, `,"ProjectionExpression":`...), attributes)
			b = append(append(b, `,"ExpressionAttributeNames":`...), dataName...)
		}
		b = append(b, `,"Keys":[`...)
		for i, key := range batch {
			if i > 0 {
				b = append(b, ',')
			}
			b = keyOf(b, key)
		}
		n, err := s.call(ctx, "BatchGetItem", append(b, "]}}}"...), true)
		if err != nil {
			return nil, err
		}
		if items := n.member("Responses").member(s.Table); items != nil {
			for i := range items.kids {
				if key, ok := items.kids[i].member(attrKey).str(); ok {
					found[key] = &items.kids[i]
				}
			}
		}
		left := n.member("UnprocessedKeys").member(s.Table).member("Keys")
		if left == nil || len(left.kids) == 0 {
			attempt = 0
			continue
		}
		for i := range left.kids {
			key, ok := left.kids[i].member(attrKey).str()
			if !ok {
				return nil, &garbledError{"BatchGetItem"}
			}
			keys = append(keys, key)
		}
		if attempt++; attempt >= 8 {
			return nil, errors.New("DynamoDB has no room for reading; try again later")
		}
		if err := pause(ctx, attempt); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// pause waits before an attempt is made again, with full jitter.
func pause(ctx context.Context, attempt int) error {
	t := time.NewTimer(rand.N(10 * time.Millisecond << min(attempt, 7)))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// scan reads a page of the table, or of an index of it, from a cursor on. What
// filter says of the values must hold for an item to be in it.
func (s *Store) scan(ctx context.Context, index, cursor string, limit int, attributes, filter, values string, strong bool) (items []node, next string, err error) {
	o := s.open()
	if index != "" {
		o.key("IndexName")
		o.b = appendQuoted(o.b, index)
	}
	o.key("Limit")
	o.b = strconv.AppendInt(o.b, int64(limit), 10)
	if attributes != "" {
		project(&o, attributes)
	}
	if filter != "" {
		o.key("FilterExpression")
		o.b = appendQuoted(o.b, filter)
	}
	if values != "" {
		o.raw("ExpressionAttributeValues", values)
	}
	if strong {
		o.raw("ConsistentRead", "true")
	}
	if cursor != "" {
		from, err := parseJSON(cursor)
		if err != nil || from.kind != '{' {
			return nil, "", fmt.Errorf("%.40q is not a cursor of this store", cursor)
		}
		o.raw("ExclusiveStartKey", from.raw)
	}
	n, err := s.call(ctx, "Scan", append(o.b, '}'), true)
	if err != nil {
		return nil, "", err
	}
	if list := n.member("Items"); list != nil {
		items = list.kids
	}
	if last := n.member("LastEvaluatedKey"); last != nil {
		next = last.raw
	}
	return items, next, nil
}

// op is one write of one item: an UpdateItem, or a part of a transaction.
type op struct {
	kind   string // "Update", "Put", "Delete" or "ConditionCheck"
	key    string
	item   []byte // of a Put
	set    []byte // what an Update sets, comma separated
	remove []byte
	when   []byte // what must hold, joined by AND
	values object
	names  object
}

func newOp(kind, key string) *op {
	return &op{kind: kind, key: key, values: openObject(make([]byte, 0, 512), "{"), names: openObject(nil, "{")}
}

// name has a placeholder stand for a name that an expression cannot have.
func (o *op) name(placeholder, name string) {
	o.names.key(placeholder)
	o.names.b = appendQuoted(o.names.b, name)
}

// put begins a value, which the caller appends to o.values.b, and returns its
// placeholder.
func (o *op) put() string {
	name := ":" + strconv.Itoa(len(o.values.b)) // no two begin at one place
	o.values.key(name)
	return name
}

func (o *op) setRaw(path string, av []byte) {
	name := o.put()
	o.values.b = append(o.values.b, av...)
	o.assign(path, name)
}

func (o *op) setN(path string, n int64) {
	name := o.put()
	o.values.b = appendN(o.values.b, n)
	o.assign(path, name)
}

func (o *op) setS(path, text string) {
	name := o.put()
	o.values.b = appendS(o.values.b, text)
	o.assign(path, name)
}

// assign sets a path to an expression.
func (o *op) assign(path, expression string) {
	if len(o.set) > 0 {
		o.set = append(o.set, ',')
	}
	o.set = append(append(append(o.set, path...), '='), expression...)
}

func (o *op) drop(path string) {
	if len(o.remove) > 0 {
		o.remove = append(o.remove, ',')
	}
	o.remove = append(o.remove, path...)
}

// only adds to what must hold.
func (o *op) only(condition string) {
	if len(o.when) > 0 {
		o.when = append(o.when, " AND "...)
	}
	o.when = append(o.when, condition...)
}

// onlyIs says that a path must have a value, or be absent if av is "".
func (o *op) onlyIs(path, av string) {
	if av == "" {
		o.only("attribute_not_exists(" + path + ")")
		return
	}
	name := o.put()
	o.values.b = append(o.values.b, av...)
	o.only(path + "=" + name)
}

// write writes the members of the request.
func (o *op) write(dst object, failed string) object {
	if o.kind == "Put" {
		dst.key("Item")
		dst.b = append(dst.b, o.item...)
	} else {
		dst.key("Key")
		dst.b = keyOf(dst.b, o.key)
	}
	if len(o.set)+len(o.remove) > 0 {
		dst.key("UpdateExpression")
		dst.b = append(dst.b, '"')
		if len(o.set) > 0 {
			dst.b = append(append(dst.b, "SET "...), o.set...)
		}
		if len(o.remove) > 0 {
			dst.b = append(append(dst.b, " REMOVE "...), o.remove...)
		}
		dst.b = append(dst.b, '"')
	}
	if len(o.when) > 0 {
		dst.key("ConditionExpression")
		dst.b = appendQuoted(dst.b, string(o.when))
	}
	if !o.names.empty {
		dst.key("ExpressionAttributeNames")
		dst.b = append(append(dst.b, o.names.b...), '}')
	}
	if !o.values.empty {
		dst.key("ExpressionAttributeValues")
		dst.b = append(append(dst.b, o.values.b...), '}')
	}
	if failed != "" {
		dst.raw("ReturnValuesOnConditionCheckFailure", failed)
	}
	return dst
}

// update makes one conditional write. If its condition does not hold the error
// has the item, see failedItem.
func (s *Store) update(ctx context.Context, o *op, repeat bool) error {
	body := append(o.write(s.open(), `"ALL_OLD"`).b, '}')
	for attempt := 1; ; attempt++ {
		_, err := s.call(ctx, "UpdateItem", body, repeat)
		e, ok := errors.AsType[*awscall.Error](err)
		if !ok || e.Code != "TransactionConflictException" || unknown(err) || attempt == 8 {
			return err
		}
		// A transaction is at work on the item; nothing was done.
		if wait := pause(ctx, attempt); wait != nil {
			return err
		}
	}
}

// maxTransaction is how many items one transaction writes at most.
const maxTransaction = 100

// errMoved is a transaction that was not made because an item is not as it was
// read, or because another one is at work on it.
var errMoved = errors.New("an item has changed meanwhile")

// transact makes all writes or none.
func (s *Store) transact(ctx context.Context, ops []*op) error {
	if len(ops) > maxTransaction {
		return fmt.Errorf("this would write %d items and one DynamoDB transaction writes %d at most: do it in several steps, fewer hosts, followers or credentials at a time", len(ops), maxTransaction)
	}
	b := append(make([]byte, 0, 4096), `{"TransactItems":[`...)
	for i, o := range ops {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendQuoted(append(b, '{'), o.kind)
		inner := openObject(append(b, ':'), "{")
		inner.key("TableName")
		inner.b = appendQuoted(inner.b, s.Table)
		b = append(o.write(inner, "").b, "}}"...)
	}
	_, err := s.call(ctx, "TransactWriteItems", append(b, "]}"...), false)
	e, ok := errors.AsType[*awscall.Error](err)
	if !ok || e.Code != "TransactionCanceledException" {
		return err
	}
	n, parseErr := parseJSON(string(e.Body))
	reasons := n.member("CancellationReasons")
	if parseErr != nil || reasons == nil {
		return err
	}
	for i := range reasons.kids {
		code := reasons.kids[i].member("Code")
		switch {
		case code == nil || code.kind != '"' || code.text == "None":
		case code.text == "ConditionalCheckFailed", code.text == "TransactionConflict", code.text == "ThrottlingError", code.text == "ProvisionedThroughputExceeded":
			// Nothing was written. What was lost before is for the next look at the items.
			return fmt.Errorf("%w (%s)", errMoved, code.text)
		default:
			return fmt.Errorf("write %d items at once: %s: %w", len(ops), code.text, err)
		}
	}
	return err
}
