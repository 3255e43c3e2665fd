package awstest

import (
	"encoding/xml"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// CloudFormation stands in for the query APIs of CloudFormation and STS, as far
// as a program needs them that makes, changes, watches and deletes stacks. It
// evaluates templates, so a resource gets the properties that it would get, and
// it works in steps: an operation moves on when somebody looks (DescribeStacks,
// DescribeStackEvents), so that nothing here waits and no test depends on time.
//
// Not modelled: change sets, nested stacks, replacement of a resource, drift,
// validation of properties. Safe for concurrent use; set the fields before.
type CloudFormation struct {
	Account string // "123456789012"
	Region  string // "eu-west-1"
	// Make makes a resource for real, or says why it cannot be. Its ID and
	// attributes go before the ones that are made up; nil: all are made up.
	Make func(Resource) (Resource, error)
	// Refuse answers a call of an action with an error, when code is not "".
	Refuse func(action string) (code, message string)
	// Pace is how many steps an operation goes on when somebody looks; 0: 3.
	Pace int

	mu     sync.Mutex // guards what follows
	stacks []*stack   // also those that were deleted
	serial int
	calls  []string
	fail   map[string]string
}

// Resource is one resource of a stack.
type Resource struct {
	Stack, Name, Type string
	ID                string // what Ref gives
	Attributes        map[string]string
	Properties        map[string]any
	Retain            bool
}

// StackState is what a test sees of a stack.
type StackState struct {
	ID, Status string
	Parameters map[string]string
	Tags       map[string]string
	Resources  map[string]Resource
	Protected  bool // from termination
}

type stack struct {
	name, id, status, reason string
	token                    string
	created, updated         time.Time
	template                 *Template
	parameters, tags         map[string]string
	outputs                  map[string]string
	order                    []string
	resources                map[string]Resource
	protected                bool
	events                   []stackEvent // oldest first
	steps                    []func() bool
}

type stackEvent struct {
	id, name, physical, kind, status, reason, token string
	at                                              time.Time
}

// awsError is an answer that is not a success.
type cfnError struct{ code, message string }

func (e *cfnError) Error() string { return e.code + ": " + e.message }

func cfnInvalid(format string, args ...any) error {
	return &cfnError{"ValidationError", fmt.Sprintf(format, args...)}
}

// FailOn lets the next attempt to make or change a resource fail, for a reason.
func (c *CloudFormation) FailOn(resource, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fail == nil {
		c.fail = map[string]string{}
	}
	c.fail[resource] = reason
}

// Set puts a stack into a status, with no operation going on.
func (c *CloudFormation) Set(name, status string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.find(name)
	s.steps, s.status = nil, status
}

// Change changes a stack's parameters behind everybody's back, as if it were of
// an older template.
func (c *CloudFormation) Change(name string, change func(parameters map[string]string)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(c.find(name).parameters)
}

// Stack looks at a stack that is not deleted.
func (c *CloudFormation) Stack(name string) (StackState, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.find(name)
	if s == nil {
		return StackState{}, false
	}
	return StackState{ID: s.id, Status: s.status, Parameters: maps.Clone(s.parameters), Tags: maps.Clone(s.tags), Resources: maps.Clone(s.resources), Protected: s.protected}, true
}

// Calls are the actions that were called, in order.
func (c *CloudFormation) Calls() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.calls)
}

func (c *CloudFormation) find(name string) *stack {
	for _, s := range slices.Backward(c.stacks) {
		if s.id == name || s.name == name && s.status != "DELETE_COMPLETE" {
			return s
		}
	}
	return nil
}

// ServeHTTP answers the query APIs.
func (c *CloudFormation) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
	if err := r.ParseForm(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	action := r.Form.Get("Action")
	c.calls = append(c.calls, action)
	c.serial++
	request := fmt.Sprintf("request-%d", c.serial)
	result, err := c.act(action, r)
	if err != nil {
		e, ok := err.(*cfnError)
		if !ok {
			e = &cfnError{"ValidationError", err.Error()}
		}
		writeQueryXML(w, http.StatusBadRequest, &struct {
			XMLName   xml.Name `xml:"ErrorResponse"`
			Type      string   `xml:"Error>Type"`
			Code      string   `xml:"Error>Code"`
			Message   string   `xml:"Error>Message"`
			RequestID string   `xml:"RequestId"`
		}{Type: "Sender", Code: e.code, Message: e.message, RequestID: request})
		return
	}
	var out queryResponse
	out.XMLName.Local = action + "Response"
	out.Result = result
	out.Metadata.RequestID = request
	writeQueryXML(w, http.StatusOK, &out)
}

func (c *CloudFormation) act(action string, r *http.Request) (any, error) {
	if !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ") {
		return nil, &cfnError{"MissingAuthenticationToken", "Request is missing Authentication Token"}
	}
	if c.Refuse != nil {
		if code, message := c.Refuse(action); code != "" {
			return nil, &cfnError{code, message}
		}
	}
	switch action {
	case "GetCallerIdentity":
		return &struct {
			XMLName xml.Name `xml:"GetCallerIdentityResult"`
			Arn     string
			UserID  string `xml:"UserId"`
			Account string
		}{Arn: "arn:aws:iam::" + c.Account + ":user/operator", UserID: "AIDA0", Account: c.Account}, nil
	case "CreateStack":
		return c.create(r.Form)
	case "UpdateStack":
		return c.update(r.Form)
	case "DeleteStack":
		return nil, c.remove(r.Form)
	case "DescribeStacks":
		return c.describe(r.Form.Get("StackName"))
	case "DescribeStackEvents":
		return c.describeEvents(r.Form.Get("StackName"), r.Form.Get("NextToken"))
	}
	return nil, &cfnError{"InvalidAction", "Could not find operation " + action}
}

// formEntries reads Prefix.member.1.Key and .Value.
func formEntries(form url.Values, prefix, key string, do func(key string, entry func(string) string) error) error {
	for i := 1; ; i++ {
		at := prefix + ".member." + strconv.Itoa(i) + "."
		if !form.Has(at + key) {
			return nil
		}
		if err := do(form.Get(at+key), func(name string) string { return form.Get(at + name) }); err != nil {
			return err
		}
	}
}

const maxTemplate = 51200 // octets, of a template in the request itself

// wantedOf reads what a create or an update asks for.
func wantedOf(form url.Values, before *stack) (template *Template, parameters, tags map[string]string, err error) {
	body := form.Get("TemplateBody")
	if len(body) > maxTemplate {
		return nil, nil, nil, cfnInvalid("1 validation error detected: Value at 'templateBody' failed to satisfy constraint: Member must have length less than or equal to %d", maxTemplate)
	}
	if template, err = ParseTemplate(body); err != nil {
		return nil, nil, nil, cfnInvalid("Template format error: %s", err)
	}
	parameters = map[string]string{}
	err = formEntries(form, "Parameters", "ParameterKey", func(key string, entry func(string) string) error {
		if entry("UsePreviousValue") != "true" {
			parameters[key] = entry("ParameterValue")
			return nil
		}
		value, ok := "", false
		if before != nil {
			value, ok = before.parameters[key]
		}
		if !ok {
			return cfnInvalid("Invalid input for parameter key %s. Cannot specify usePreviousValue as true for a parameter key not in the previous template", key)
		}
		parameters[key] = value
		return nil
	})
	if err != nil {
		return nil, nil, nil, err
	}
	_ = formEntries(form, "Tags", "Key", func(key string, entry func(string) string) error {
		if tags == nil {
			tags = map[string]string{}
		}
		tags[key] = entry("Value")
		return nil
	})
	iam := false
	for _, r := range template.Resources {
		iam = iam || strings.HasPrefix(fmt.Sprint(r["Type"]), "AWS::IAM::")
	}
	if c := form.Get("Capabilities.member.1"); iam && c != "CAPABILITY_IAM" && c != "CAPABILITY_NAMED_IAM" {
		return nil, nil, nil, &cfnError{"InsufficientCapabilitiesException", "Requires capabilities : [CAPABILITY_IAM]"}
	}
	return template, parameters, tags, nil
}

type stackIDResult struct {
	XMLName xml.Name
	StackID string `xml:"StackId"`
}

func (c *CloudFormation) create(form url.Values) (any, error) {
	name := form.Get("StackName")
	if s := c.find(name); s != nil {
		if s.token != "" && s.token == form.Get("ClientRequestToken") {
			return stackIDResult{xml.Name{Local: "CreateStackResult"}, s.id}, nil
		}
		return nil, &cfnError{"AlreadyExistsException", fmt.Sprintf("Stack [%s] already exists", name)}
	}
	template, parameters, tags, err := wantedOf(form, nil)
	if err != nil {
		return nil, err
	}
	c.serial++
	s := &stack{
		name: name, id: fmt.Sprintf("arn:aws:cloudformation:%s:%s:stack/%s/%08d", c.Region, c.Account, name, c.serial),
		token: form.Get("ClientRequestToken"), created: time.Now(), tags: tags, template: template, resources: map[string]Resource{},
		protected: form.Get("EnableTerminationProtection") == "true",
	}
	plan, err := c.expand(s, template, parameters)
	if err != nil {
		return nil, err
	}
	s.parameters = plan.parameters
	c.stacks = append(c.stacks, s)
	c.status(s, "CREATE_IN_PROGRESS", "User Initiated")
	retain := form.Get("RetainExceptOnCreate") != "true"
	for _, name := range plan.Order {
		s.steps = append(s.steps, c.stepsToMake(s, name, "CREATE", func(reason string) { c.rollBackCreate(s, retain) })...)
	}
	s.steps = append(s.steps, func() bool { c.finish(s, "CREATE_COMPLETE"); return true })
	return stackIDResult{xml.Name{Local: "CreateStackResult"}, s.id}, nil
}

// stackPlan is an evaluated template with its parameters in full.
type stackPlan struct {
	*Expanded
	parameters map[string]string
}

func (c *CloudFormation) expand(s *stack, t *Template, parameters map[string]string) (*stackPlan, error) {
	e := Expansion{
		Parameters: parameters,
		Pseudo: map[string]string{"AWS::Region": c.Region, "AWS::AccountId": c.Account, "AWS::Partition": "aws",
			"AWS::StackName": s.name, "AWS::StackId": s.id, "AWS::URLSuffix": "amazonaws.com"},
		Resource: func(name, attribute string) (string, error) {
			r, ok := s.resources[name]
			switch {
			case !ok: // not made yet
				return "{" + name + "." + attribute + "}", nil
			case attribute == "":
				return r.ID, nil
			}
			value, ok := r.Attributes[attribute]
			if !ok {
				return "", fmt.Errorf("requested attribute %s does not exist in schema for %s", attribute, r.Type)
			}
			return value, nil
		},
	}
	out, err := t.Expand(e)
	if err != nil {
		return nil, err
	}
	e.template, e.Parameters = t, parameters
	if err := e.complete(); err != nil {
		return nil, err
	}
	return &stackPlan{out, e.Parameters}, nil
}

// stepsToMake are the two steps of making (CREATE) or changing (UPDATE) a resource.
func (c *CloudFormation) stepsToMake(s *stack, name, verb string, failed func(reason string)) []func() bool {
	kind := fmt.Sprint(s.template.Resources[name]["Type"])
	return []func() bool{
		func() bool {
			c.event(s, name, s.resources[name].ID, kind, verb+"_IN_PROGRESS", "")
			return true
		},
		func() bool {
			r, err := c.realize(s, name, verb)
			if err != nil {
				c.event(s, name, r.ID, kind, verb+"_FAILED", err.Error())
				failed(err.Error())
				return false
			}
			s.resources[name] = r
			s.order = append(slices.DeleteFunc(s.order, func(n string) bool { return n == name }), name)
			c.event(s, name, r.ID, kind, verb+"_COMPLETE", "")
			return true
		},
	}
}

func (c *CloudFormation) realize(s *stack, name, verb string) (Resource, error) {
	p, err := c.expand(s, s.template, s.parameters)
	if err != nil {
		return Resource{}, err
	}
	definition := p.Resources[name]
	r := s.resources[name]
	r.Properties, _ = definition["Properties"].(map[string]any)
	r.Retain = definition["DeletionPolicy"] == "Retain"
	if reason, ok := c.fail[name]; ok {
		delete(c.fail, name)
		return r, fmt.Errorf("%s", reason)
	}
	if verb == "UPDATE" {
		return r, nil
	}
	r.Stack, r.Name, r.Type = s.name, name, fmt.Sprint(definition["Type"])
	c.serial++
	r.ID, r.Attributes = c.invent(s, r)
	if c.Make == nil {
		return r, nil
	}
	made, err := c.Make(r)
	if err != nil {
		return r, err
	}
	return made, nil
}

// invent makes up what a resource of that type has for Ref and GetAtt.
func (c *CloudFormation) invent(s *stack, r Resource) (string, map[string]string) {
	id := fmt.Sprintf("%s-%s-%08d", s.name, r.Name, c.serial)
	arn := func(service, rest string) string {
		return "arn:aws:" + service + ":" + c.Region + ":" + c.Account + ":" + rest
	}
	switch r.Type {
	case "AWS::DynamoDB::Table":
		table := arn("dynamodb", "table/"+id)
		return id, map[string]string{"Arn": table, "StreamArn": table + "/stream/2026-11-24T00:00:00.000"}
	case "AWS::Logs::LogGroup":
		return id, map[string]string{"Arn": arn("logs", "log-group:"+id+":*")}
	case "AWS::IAM::Role":
		return id, map[string]string{"Arn": "arn:aws:iam::" + c.Account + ":role/" + id}
	case "AWS::Lambda::Function":
		return id, map[string]string{"Arn": arn("lambda", "function:"+id)}
	case "AWS::Lambda::Url":
		return id, map[string]string{"FunctionUrl": "https://" + strings.ToLower(id) + ".lambda-url." + c.Region + ".on.aws/"}
	case "AWS::Events::Rule":
		return id, map[string]string{"Arn": arn("events", "rule/"+id)}
	case "AWS::SQS::Queue":
		return "https://sqs." + c.Region + ".amazonaws.com/" + c.Account + "/" + id, map[string]string{"Arn": arn("sqs", id), "QueueName": id}
	case "AWS::SNS::Topic":
		return arn("sns", id), nil
	}
	return id, nil
}

func (c *CloudFormation) rollBackCreate(s *stack, retain bool) {
	c.status(s, "ROLLBACK_IN_PROGRESS", "The following resource(s) failed to create. Rollback requested by user.")
	s.steps = c.stepsToDelete(s, slices.Clone(s.order), retain)
	s.steps = append(s.steps, func() bool { c.finish(s, "ROLLBACK_COMPLETE"); return true })
}

func (c *CloudFormation) stepsToDelete(s *stack, names []string, retain bool) []func() bool {
	var steps []func() bool
	for _, name := range slices.Backward(names) {
		steps = append(steps, func() bool {
			r := s.resources[name]
			if r.Retain && retain {
				c.event(s, name, r.ID, r.Type, "DELETE_SKIPPED", "")
			} else if reason, ok := c.fail[name]; ok {
				delete(c.fail, name)
				c.event(s, name, r.ID, r.Type, "DELETE_FAILED", reason)
				s.steps = nil
				c.finish(s, "DELETE_FAILED")
				return false
			} else {
				c.event(s, name, r.ID, r.Type, "DELETE_COMPLETE", "")
			}
			delete(s.resources, name)
			s.order = slices.DeleteFunc(s.order, func(n string) bool { return n == name })
			return true
		})
	}
	return steps
}

func (c *CloudFormation) update(form url.Values) (any, error) {
	name := form.Get("StackName")
	s := c.find(name)
	if s == nil {
		return nil, cfnInvalid("Stack [%s] does not exist", name)
	}
	if strings.HasSuffix(s.status, "_IN_PROGRESS") || !slices.Contains([]string{"CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"}, s.status) {
		return nil, cfnInvalid("Stack:%s is in %s state and can not be updated.", s.id, s.status)
	}
	template, parameters, tags, err := wantedOf(form, s)
	if err != nil {
		return nil, err
	}
	next, err := c.expand(s, template, parameters)
	if err != nil {
		return nil, err
	}
	before := *s
	before.resources, before.order = maps.Clone(s.resources), slices.Clone(s.order)
	var made, changed, gone []string
	for _, name := range next.Order {
		r, ok := s.resources[name]
		properties, _ := next.Resources[name]["Properties"].(map[string]any)
		switch {
		case !ok:
			made = append(made, name)
		case !reflect.DeepEqual(properties, r.Properties):
			changed = append(changed, name)
		}
	}
	for _, name := range s.order {
		if next.Resources[name] == nil {
			gone = append(gone, name)
		}
	}
	sameTags := tags == nil || maps.Equal(tags, s.tags)
	if made == nil && changed == nil && gone == nil && sameTags {
		return nil, cfnInvalid("No updates are to be performed.")
	}
	s.template, s.parameters, s.token, s.updated = template, next.parameters, form.Get("ClientRequestToken"), time.Now()
	if tags != nil {
		s.tags = tags
	}
	c.status(s, "UPDATE_IN_PROGRESS", "User Initiated")
	failed := func(string) { c.rollBackUpdate(s, before) }
	for _, name := range next.Order {
		if verb := map[bool]string{true: "CREATE", false: "UPDATE"}[slices.Contains(made, name)]; verb == "CREATE" || slices.Contains(changed, name) {
			s.steps = append(s.steps, c.stepsToMake(s, name, verb, failed)...)
		}
	}
	s.steps = append(s.steps, func() bool {
		c.status(s, "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "")
		s.steps = append([]func() bool{nil}, append(c.stepsToDelete(s, gone, true), func() bool { c.finish(s, "UPDATE_COMPLETE"); return true })...)
		return true
	})
	return stackIDResult{xml.Name{Local: "UpdateStackResult"}, s.id}, nil
}

func (c *CloudFormation) rollBackUpdate(s *stack, before stack) {
	c.status(s, "UPDATE_ROLLBACK_IN_PROGRESS", "The following resource(s) failed to update.")
	s.steps = []func() bool{
		func() bool {
			s.template, s.parameters, s.tags, s.resources, s.order = before.template, before.parameters, before.tags, before.resources, before.order
			c.status(s, "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS", "")
			return true
		},
		func() bool { c.finish(s, "UPDATE_ROLLBACK_COMPLETE"); return true },
	}
}

// remove begins to delete a stack. One that is not there is deleted already.
func (c *CloudFormation) remove(form url.Values) error {
	s := c.find(form.Get("StackName"))
	if s == nil || s.status == "DELETE_COMPLETE" {
		return nil
	}
	if s.protected {
		return cfnInvalid("Stack [%s] cannot be deleted while TerminationProtection is enabled", s.name)
	}
	if s.status == "DELETE_IN_PROGRESS" {
		return nil
	}
	s.token = form.Get("ClientRequestToken")
	c.status(s, "DELETE_IN_PROGRESS", "User Initiated")
	s.steps = append(c.stepsToDelete(s, slices.Clone(s.order), true), func() bool { c.finish(s, "DELETE_COMPLETE"); return true })
	return nil
}

func (c *CloudFormation) finish(s *stack, status string) {
	c.status(s, status, "")
	if status != "CREATE_COMPLETE" && !strings.HasPrefix(status, "UPDATE_") {
		return
	}
	if p, err := c.expand(s, s.template, s.parameters); err == nil {
		s.outputs = p.Outputs
	}
}

// status puts a stack into a status, which is an event of the stack itself.
func (c *CloudFormation) status(s *stack, status, reason string) {
	s.status, s.reason = status, reason
	c.event(s, s.name, s.id, "AWS::CloudFormation::Stack", status, reason)
}

func (c *CloudFormation) event(s *stack, name, physical, kind, status, reason string) {
	c.serial++
	s.events = append(s.events, stackEvent{fmt.Sprintf("%08d", c.serial), name, physical, kind, status, reason, s.token, time.Now()})
}

// move lets an operation go on.
func (c *CloudFormation) move(s *stack) {
	pace := c.Pace
	if pace == 0 {
		pace = 3
	}
	for range pace {
		if len(s.steps) == 0 {
			return
		}
		if s.steps[0]() && len(s.steps) > 0 { // a step that failed has put others there
			s.steps = s.steps[1:]
		}
	}
}
