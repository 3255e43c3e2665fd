package lambdaserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// record is as much of a stream record as is looked at: which item changed. What
// it changed to is read again, strongly, when it is published.
type record struct {
	EventID     string `json:"eventID"`
	EventSource string `json:"eventSource"`
	DynamoDB    struct {
		Keys struct {
			Hostname struct {
				S string `json:"S"`
			} `json:"hostname"`
		} `json:"Keys"`
		SequenceNumber string `json:"SequenceNumber"`
	} `json:"dynamodb"`
}

// batchResponse says which records of a batch must come again
// (ReportBatchItemFailures).
type batchResponse struct {
	Failures []batchFailure `json:"batchItemFailures"`
}

type batchFailure struct {
	Record string `json:"itemIdentifier"` // its sequence number
}

// stream publishes the hosts that a batch names, each once, however many records
// it has there: publishing is by state. If that fails for a host, all its records
// fail, so that they come again in their order. The platform goes on at the
// earliest record that failed, so others may come again too, which is harmless.
func (s *Server) stream(ctx context.Context, records []record) ([]byte, error) {
	if s.Publish == nil {
		return nil, errors.New("the function does not publish from a stream: take the event source mapping away, or set its mode to stream")
	}
	at := make(map[string]int, len(records)) // key to index into keys
	var keys []string
	for _, r := range records {
		// A batch with a record that cannot be named as failed can only fail whole.
		if r.EventSource != "aws:dynamodb" || r.DynamoDB.SequenceNumber == "" || r.DynamoDB.Keys.Hostname.S == "" {
			return nil, fmt.Errorf("record %.60q is not one of the table's stream", r.EventID)
		}
		key := r.DynamoDB.Keys.Hostname.S
		if _, ok := at[key]; !ok {
			at[key] = len(keys)
			keys = append(keys, key)
		}
	}
	var errs []error
	if len(keys) > 0 {
		errs = s.Publish(ctx, keys)
	}
	out := batchResponse{Failures: []batchFailure{}}
	for _, r := range records {
		// A result that is missing is no success.
		if i := at[r.DynamoDB.Keys.Hostname.S]; i >= len(errs) || errs[i] != nil {
			out.Failures = append(out.Failures, batchFailure{r.DynamoDB.SequenceNumber})
		}
	}
	return json.Marshal(out)
}
