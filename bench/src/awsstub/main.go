// Command awsstub answers the calls that the Lambda form makes, as fast as it
// can, so that what is timed is the caller. It judges nothing, no condition and
// no signature: it is no stand-in for AWS and proves nothing about correctness.
//
//	awsstub [-address A] ADDR
//
// In DynamoDB every host has a row as the reference implementation's, until it
// is written to. UpdateItem sets and removes whole attributes. Route 53 lists
// one A record with the given address and takes every change. GET /count prints the calls since the last /count, as key=value pairs.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"hash/crc32"
	"io"
	"log"
	"net/http"
	"slices"
	"strings"
	"sync"
)

const (
	seedData = `{"route_53_zone_id":"Z123","route_53_record_ttl":60,"shared_secret":"SHARED"}`
	list     = `<?xml version="1.0"?><ListResourceRecordSetsResponse xmlns="https://route53.amazonaws.com/doc/2013-04-01/"><ResourceRecordSets><ResourceRecordSet><Name>host.example.com.</Name><Type>A</Type><TTL>60</TTL><ResourceRecords><ResourceRecord><Value>%s</Value></ResourceRecord></ResourceRecords></ResourceRecordSet></ResourceRecordSets><IsTruncated>false</IsTruncated><MaxItems>1</MaxItems></ListResourceRecordSetsResponse>`
	change   = `<?xml version="1.0"?><ChangeResourceRecordSetsResponse xmlns="https://route53.amazonaws.com/doc/2013-04-01/"><ChangeInfo><Id>/change/C1</Id><Status>PENDING</Status><SubmittedAt>2026-01-01T00:00:00Z</SubmittedAt></ChangeInfo></ChangeResourceRecordSetsResponse>`
)

// value is an attribute in DynamoDB's JSON, as it came.
type value = json.RawMessage

// table is what DynamoDB holds.
type table struct {
	mu    sync.Mutex // guards items
	items map[string]map[string]value
}

// itemLocked is the item of that key; the first time it is the reference's row.
func (t *table) itemLocked(key value) map[string]value {
	item, ok := t.items[string(key)]
	if !ok && strings.Contains(string(key), `"#`) {
		return nil // rows of ours beside the hosts: there are none
	}
	if !ok {
		data, _ := json.Marshal(map[string]string{"S": seedData}) // text
		item = map[string]value{"hostname": key, "data": data}
		t.items[string(key)] = item
	}
	return item
}

type request struct {
	Key                                                  map[string]value
	UpdateExpression, ProjectionExpression, ReturnValues string
	Names                                                map[string]string `json:"ExpressionAttributeNames"`
	Values                                               map[string]value  `json:"ExpressionAttributeValues"`
	RequestItems                                         map[string]struct {
		Keys                 []map[string]value
		ProjectionExpression string
		Names                map[string]string `json:"ExpressionAttributeNames"`
	}
}

// project leaves of an item what an expression names; "" is all.
func project(item map[string]value, expression string, names map[string]string) map[string]value {
	if expression == "" {
		return item
	}
	out := map[string]value{}
	for attribute := range strings.SplitSeq(expression, ",") {
		if real, ok := names[attribute]; ok {
			attribute = real
		}
		if v, ok := item[attribute]; ok {
			out[attribute] = v
		}
	}
	return out
}

// answer is the answer to one operation.
func (t *table) answer(op string, body []byte) ([]byte, error) {
	var r request
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch op {
	case "GetItem":
		item := t.itemLocked(r.Key["hostname"])
		if item == nil {
			return []byte("{}"), nil
		}
		return json.Marshal(map[string]any{"Item": project(item, r.ProjectionExpression, r.Names)})
	case "BatchGetItem":
		found := map[string][]map[string]value{}
		for name, asked := range r.RequestItems {
			for _, key := range asked.Keys {
				if item := t.itemLocked(key["hostname"]); item != nil {
					found[name] = append(found[name], project(item, asked.ProjectionExpression, asked.Names))
				}
			}
		}
		return json.Marshal(map[string]any{"Responses": found})
	case "UpdateItem":
		item := t.itemLocked(r.Key["hostname"])
		r.apply(item)
		if r.ReturnValues != "ALL_NEW" {
			return []byte("{}"), nil
		}
		return json.Marshal(map[string]any{"Attributes": item})
	}
	return []byte("{}"), nil
}

// apply does what the expression says of whole attributes: SET a = :a, b = :b
// REMOVE c. Anything in it that computes is left out.
func (r *request) apply(item map[string]value) {
	name := func(text string) string {
		if real, ok := r.Names[text]; ok {
			return real
		}
		return text
	}
	verb, words := "", strings.Fields(strings.NewReplacer("=", " = ", ",", " , ").Replace(r.UpdateExpression))
	for i, w := range words {
		switch {
		case slices.Contains([]string{"SET", "REMOVE", "ADD", "DELETE"}, w):
			verb = w
		case verb == "SET" && i+2 < len(words) && words[i+1] == "=" && strings.HasPrefix(words[i+2], ":") && item != nil:
			item[name(w)] = r.Values[words[i+2]]
		case verb == "REMOVE" && w != ",":
			delete(item, name(w))
		}
	}
}

func main() {
	address := flag.String("address", "192.0.2.1", "address that Route 53 shows")
	flag.Parse()
	if flag.NArg() != 1 {
		log.Fatal("usage: awsstub [-address A] ADDR")
	}
	var mu sync.Mutex
	calls := map[string]int{}
	note := func(op string) {
		mu.Lock()
		calls[op]++
		mu.Unlock()
	}
	rows := table{items: map[string]map[string]value{}}
	http.HandleFunc("/count", func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		var out []string
		for op, n := range calls {
			out = append(out, fmt.Sprintf("%s=%d", op, n))
		}
		slices.Sort(out)
		fmt.Fprintln(w, strings.Join(out, " "))
		clear(calls)
		rows.mu.Lock()
		defer rows.mu.Unlock()
		clear(rows.items)
	})
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the caller is gone
		}
		xml := func(op, text string) {
			note(op)
			w.Header().Set("Content-Type", "text/xml")
			_, _ = io.WriteString(w, text)
		}
		_, op, isDynamo := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		switch {
		case isDynamo:
			note(op)
			out, err := rows.answer(op, body)
			if err != nil {
				log.Print("awsstub: ", err)
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			w.Header().Set("Content-Type", "application/x-amz-json-1.0")
			w.Header().Set("X-Amz-Crc32", fmt.Sprint(crc32.ChecksumIEEE(out)))
			w.Header().Set("Content-Length", fmt.Sprint(len(out)))
			_, _ = w.Write(out)
		case strings.Contains(r.URL.Path, "/rrset") && r.Method == "GET":
			xml("List", fmt.Sprintf(list, *address))
		case strings.Contains(r.URL.Path, "/rrset") && r.Method == "POST":
			xml("Change", change)
		default:
			note("other")
			log.Println("awsstub: not known:", r.Method, r.URL)
			w.WriteHeader(http.StatusNotFound)
		}
	})
	log.Fatal(http.ListenAndServe(flag.Arg(0), nil))
}
