package awstest

import (
	"encoding/xml"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"
)

type queryResponse struct {
	XMLName  xml.Name
	Result   any
	Metadata struct {
		RequestID string `xml:"RequestId"`
	} `xml:"ResponseMetadata"`
}

func writeQueryXML(w http.ResponseWriter, status int, v any) {
	text, err := xml.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(status)
	_, _ = w.Write(append([]byte(xml.Header), text...))
}

type stackTime time.Time

func (t stackTime) MarshalXML(e *xml.Encoder, start xml.StartElement) error {
	if time.Time(t).IsZero() {
		return nil
	}
	return e.EncodeElement(time.Time(t).UTC().Format("2006-01-02T15:04:05.000Z"), start)
}

type describedStack struct {
	StackID     string `xml:"StackId"`
	StackName   string
	StackStatus string
	Reason      string    `xml:"StackStatusReason,omitempty"`
	Created     stackTime `xml:"CreationTime"`
	Updated     stackTime `xml:"LastUpdatedTime"`
	Protected   bool      `xml:"EnableTerminationProtection"`
	Parameters  []struct {
		ParameterKey, ParameterValue string
	} `xml:"Parameters>member"`
	Outputs []struct {
		OutputKey, OutputValue string
	} `xml:"Outputs>member"`
	Tags []struct {
		Key, Value string
	} `xml:"Tags>member"`
}

func (c *CloudFormation) describe(name string) (any, error) {
	s := c.find(name)
	if s == nil {
		return nil, cfnInvalid("Stack with id %s does not exist", name)
	}
	c.move(s)
	if s.status == "DELETE_COMPLETE" && name == s.name {
		return nil, cfnInvalid("Stack with id %s does not exist", name)
	}
	d := describedStack{StackID: s.id, StackName: s.name, StackStatus: s.status, Reason: s.reason, Created: stackTime(s.created), Updated: stackTime(s.updated), Protected: s.protected}
	for _, key := range slices.Sorted(maps.Keys(s.parameters)) {
		d.Parameters = append(d.Parameters, struct{ ParameterKey, ParameterValue string }{key, s.parameters[key]})
	}
	for _, key := range slices.Sorted(maps.Keys(s.outputs)) {
		d.Outputs = append(d.Outputs, struct{ OutputKey, OutputValue string }{key, s.outputs[key]})
	}
	for _, key := range slices.Sorted(maps.Keys(s.tags)) {
		d.Tags = append(d.Tags, struct{ Key, Value string }{key, s.tags[key]})
	}
	return &struct {
		XMLName xml.Name         `xml:"DescribeStacksResult"`
		Stacks  []describedStack `xml:"Stacks>member"`
	}{Stacks: []describedStack{d}}, nil
}

type describedEvent struct {
	StackID   string `xml:"StackId"`
	EventID   string `xml:"EventId"`
	StackName string
	Logical   string    `xml:"LogicalResourceId"`
	Physical  string    `xml:"PhysicalResourceId"`
	Type      string    `xml:"ResourceType"`
	At        stackTime `xml:"Timestamp"`
	Status    string    `xml:"ResourceStatus"`
	Reason    string    `xml:"ResourceStatusReason,omitempty"`
	Token     string    `xml:"ClientRequestToken,omitempty"`
}

// eventsPage is small, so that few events make several pages.
const eventsPage = 20

func (c *CloudFormation) describeEvents(name, next string) (any, error) {
	s := c.find(name)
	if s == nil {
		return nil, cfnInvalid("Stack [%s] does not exist", name)
	}
	if next == "" {
		c.move(s)
	}
	end := len(s.events) // events are shown newest first; the token is where the page ends
	if n, err := strconv.Atoi(next); err == nil && n <= end {
		end = n
	}
	begin := max(0, end-eventsPage)
	var out []describedEvent
	for _, e := range slices.Backward(s.events[begin:end]) {
		out = append(out, describedEvent{s.id, e.id, s.name, e.name, e.physical, e.kind, stackTime(e.at), e.status, e.reason, e.token})
	}
	token := ""
	if begin > 0 {
		token = strconv.Itoa(begin)
	}
	return &struct {
		XMLName   xml.Name         `xml:"DescribeStackEventsResult"`
		Events    []describedEvent `xml:"StackEvents>member"`
		NextToken string           `xml:"NextToken,omitempty"`
	}{Events: out, NextToken: token}, nil
}
