package awstest

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Template is a CloudFormation template as it is written: its functions are not
// evaluated yet. The short forms (!Sub) are read as the long ones (Fn::Sub).
type Template struct {
	Parameters map[string]map[string]any
	Conditions map[string]any
	Resources  map[string]map[string]any
	Outputs    map[string]map[string]any
	Order      []string // names of resources as they stand in the text
}

// ParseTemplate reads a template. Like the service it takes no YAML aliases, and
// no section or key twice.
func ParseTemplate(text string) (*Template, error) {
	var document yaml.Node
	if err := yaml.Load([]byte(text), &document); err != nil {
		return nil, err
	}
	root := &document
	if root.Kind == yaml.DocumentNode && len(root.Content) == 1 {
		root = root.Content[0]
	}
	value, err := nodeValue(root)
	if err != nil {
		return nil, err
	}
	sections, ok := value.(map[string]any)
	if !ok {
		return nil, errors.New("a template is a mapping")
	}
	t := &Template{Parameters: map[string]map[string]any{}, Conditions: map[string]any{}, Resources: map[string]map[string]any{}, Outputs: map[string]map[string]any{}}
	for name, section := range sections {
		switch name {
		case "AWSTemplateFormatVersion", "Description", "Metadata":
			continue
		}
		entries, ok := section.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("section %s is not a mapping", name)
		}
		if name == "Conditions" {
			t.Conditions = entries
			continue
		}
		into, ok := map[string]map[string]map[string]any{"Parameters": t.Parameters, "Resources": t.Resources, "Outputs": t.Outputs}[name]
		if !ok {
			return nil, fmt.Errorf("there is no section %s", name)
		}
		for key, entry := range entries {
			if into[key], ok = entry.(map[string]any); !ok {
				return nil, fmt.Errorf("%s of %s is not a mapping", key, name)
			}
		}
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		if root.Content[i].Value != "Resources" {
			continue
		}
		for j := 0; j+1 < len(root.Content[i+1].Content); j += 2 {
			t.Order = append(t.Order, root.Content[i+1].Content[j].Value)
		}
	}
	return t, nil
}

// nodeValue turns a node into maps, lists and scalars.
func nodeValue(n *yaml.Node) (any, error) {
	value, err := bareValue(n)
	if err != nil || !strings.HasPrefix(n.Tag, "!") || strings.HasPrefix(n.Tag, "!!") {
		return value, err
	}
	switch name := strings.TrimPrefix(n.Tag, "!"); name {
	case "Ref", "Condition":
		return map[string]any{name: value}, nil
	case "GetAtt":
		if text, ok := value.(string); ok {
			resource, attribute, _ := strings.Cut(text, ".")
			value = []any{resource, attribute}
		}
		return map[string]any{"Fn::GetAtt": value}, nil
	default:
		return map[string]any{"Fn::" + name: value}, nil
	}
}

func bareValue(n *yaml.Node) (any, error) {
	switch n.Kind {
	case yaml.MappingNode:
		out := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i].Value
			if _, twice := out[key]; twice {
				return nil, fmt.Errorf("line %d: %s is there twice", n.Content[i].Line, key)
			}
			value, err := nodeValue(n.Content[i+1])
			if err != nil {
				return nil, err
			}
			out[key] = value
		}
		return out, nil
	case yaml.SequenceNode:
		out := make([]any, len(n.Content))
		for i, item := range n.Content {
			var err error
			if out[i], err = nodeValue(item); err != nil {
				return nil, err
			}
		}
		return out, nil
	case yaml.ScalarNode:
		if strings.HasPrefix(n.Tag, "!") && !strings.HasPrefix(n.Tag, "!!") {
			return n.Value, nil // what a function takes is text
		}
		var v any
		err := n.Decode(&v)
		return v, err
	}
	return nil, fmt.Errorf("line %d: CloudFormation takes no YAML aliases", n.Line)
}

// Expansion says what a template's names stand for.
type Expansion struct {
	Parameters map[string]string
	// Pseudo has the pseudo parameters: "AWS::Region" …
	Pseudo map[string]string
	// Resource says what a resource's Ref (attribute "") or GetAtt gives.
	Resource func(name, attribute string) (string, error)

	template *Template
}

// Expanded is a template whose functions have been evaluated: what is to be
// made, and no more.
type Expanded struct {
	Resources map[string]map[string]any // those whose condition holds
	Outputs   map[string]string
	Order     []string // names of resources, the ones that others need first
}

// noValue is the value of AWS::NoValue.
type noValue struct{}

// Expand evaluates a template. Errors read as the service's, capitals included.
func (t *Template) Expand(e Expansion) (*Expanded, error) {
	e.template = t
	if err := e.complete(); err != nil {
		return nil, err
	}
	out := &Expanded{Resources: map[string]map[string]any{}, Outputs: map[string]string{}}
	here := map[string]bool{}
	for name, r := range t.Resources {
		holds, err := e.holds(r["Condition"])
		if err != nil {
			return nil, err
		}
		here[name] = holds
	}
	needs := map[string][]string{}
	for _, name := range t.Order {
		if !here[name] {
			continue
		}
		using := e
		using.Resource = func(other, attribute string) (string, error) {
			if !here[other] {
				return "", fmt.Errorf("unresolved resource dependencies [%s] in the Resources block of the template", other)
			}
			needs[name] = append(needs[name], other)
			return e.Resource(other, attribute)
		}
		value, err := using.eval(t.Resources[name])
		if err != nil {
			return nil, fmt.Errorf("resource %s: %w", name, err)
		}
		out.Resources[name] = value.(map[string]any)
	}
	for _, name := range slices.Sorted(maps.Keys(t.Outputs)) {
		holds, err := e.holds(t.Outputs[name]["Condition"])
		if err != nil {
			return nil, err
		}
		if !holds {
			continue
		}
		value, err := e.eval(t.Outputs[name]["Value"])
		if err != nil {
			return nil, fmt.Errorf("output %s: %w", name, err)
		}
		out.Outputs[name] = fmt.Sprint(value)
	}
	var err error
	out.Order, err = inOrder(t.Order, out.Resources, needs)
	return out, err
}

// inOrder puts each resource after those that it needs.
func inOrder(names []string, here map[string]map[string]any, needs map[string][]string) ([]string, error) {
	var order []string
	for len(order) < len(here) {
		before := len(order)
		for _, name := range names {
			if here[name] == nil || slices.Contains(order, name) {
				continue
			}
			if !slices.ContainsFunc(needs[name], func(other string) bool { return !slices.Contains(order, other) }) {
				order = append(order, name)
			}
		}
		if len(order) == before {
			return nil, errors.New("circular dependency between resources")
		}
	}
	return order, nil
}

// complete fills in defaults and checks the parameters.
func (e *Expansion) complete() error {
	given := e.Parameters
	e.Parameters = map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if e.template.Parameters[name] == nil {
			return cfnInvalid("Parameters: [%s] do not exist in the template", name)
		}
	}
	var missing []string
	for _, name := range slices.Sorted(maps.Keys(e.template.Parameters)) {
		p := e.template.Parameters[name]
		value, ok := given[name]
		if fallback, has := p["Default"]; !ok && has {
			value, ok = fmt.Sprint(fallback), true
		}
		if !ok {
			missing = append(missing, name)
			continue
		}
		if err := checkParameter(name, value, p); err != nil {
			return err
		}
		e.Parameters[name] = value
	}
	if missing != nil {
		return cfnInvalid("Parameters: [%s] must have values", strings.Join(missing, ", "))
	}
	return nil
}

func checkParameter(name, value string, p map[string]any) error {
	if allowed, ok := p["AllowedValues"].([]any); ok && !slices.ContainsFunc(allowed, func(v any) bool { return fmt.Sprint(v) == value }) {
		return cfnInvalid("Parameter '%s' must be one of AllowedValues", name)
	}
	if pattern, ok := p["AllowedPattern"].(string); ok {
		if matches, err := regexp.MatchString("^(?:"+pattern+")$", value); err != nil || !matches {
			if why, ok := p["ConstraintDescription"].(string); ok {
				return cfnInvalid("Parameter %s failed to satisfy constraint: %s", name, why)
			}
			return cfnInvalid("Parameter '%s' must match pattern %s", name, pattern)
		}
	}
	if p["Type"] == "Number" {
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return cfnInvalid("Parameter '%s' must be a number", name)
		}
		if least, ok := p["MinValue"].(int); ok && n < float64(least) {
			return cfnInvalid("Parameter '%s' must be a number not less than %d", name, least)
		}
	}
	return nil
}

// holds evaluates a condition: its name, or a function. None holds.
func (e *Expansion) holds(condition any) (bool, error) {
	switch c := condition.(type) {
	case nil:
		return true, nil
	case string:
		definition, ok := e.template.Conditions[c]
		if !ok {
			return false, fmt.Errorf("there is no condition %s", c)
		}
		return e.holds(definition)
	case map[string]any:
		for function, argument := range c {
			list, _ := argument.([]any)
			switch function {
			case "Condition":
				return e.holds(argument)
			case "Fn::Equals":
				if len(list) != 2 {
					return false, errors.New("Fn::Equals takes two values")
				}
				a, err := e.text(list[0])
				if err != nil {
					return false, err
				}
				b, err := e.text(list[1])
				return a == b, err
			case "Fn::Not":
				if len(list) != 1 {
					return false, errors.New("Fn::Not takes one condition")
				}
				is, err := e.holds(list[0])
				return !is, err
			}
		}
	}
	return false, fmt.Errorf("condition %v is not understood", condition)
}

// eval evaluates a value.
func (e *Expansion) eval(value any) (any, error) {
	switch v := value.(type) {
	case []any:
		out := []any{}
		for _, item := range v {
			item, err := e.eval(item)
			if err != nil {
				return nil, err
			}
			if item != (any)(noValue{}) {
				out = append(out, item)
			}
		}
		return out, nil
	case map[string]any:
		if len(v) == 1 {
			for function, argument := range v {
				if function == "Ref" || strings.HasPrefix(function, "Fn::") {
					return e.call(function, argument)
				}
			}
		}
		out := map[string]any{}
		for key, item := range v {
			item, err := e.eval(item)
			if err != nil {
				return nil, err
			}
			if _, none := item.(noValue); !none {
				out[key] = item
			}
		}
		return out, nil
	}
	return value, nil
}

// call evaluates a function.
func (e *Expansion) call(function string, argument any) (any, error) {
	list, _ := argument.([]any)
	switch {
	case function == "Ref":
		name, _ := argument.(string)
		if name == "AWS::NoValue" {
			return noValue{}, nil
		}
		if p := e.template.Parameters[name]; p != nil && p["Type"] == "CommaDelimitedList" {
			items := []any{}
			for item := range strings.SplitSeq(e.Parameters[name], ",") {
				items = append(items, strings.TrimSpace(item))
			}
			return items, nil
		}
		return e.ref(name)
	case function == "Fn::GetAtt" && len(list) == 2:
		resource, _ := list[0].(string)
		attribute, _ := list[1].(string)
		if e.template.Resources[resource] == nil {
			return nil, fmt.Errorf("Fn::GetAtt references undefined resource %s", resource)
		}
		return e.Resource(resource, attribute)
	case function == "Fn::If" && len(list) == 3:
		holds, err := e.holds(list[0])
		if err != nil {
			return nil, err
		}
		if holds {
			return e.eval(list[1])
		}
		return e.eval(list[2])
	case function == "Fn::Join" && len(list) == 2:
		items, err := e.eval(list[1])
		if err != nil {
			return nil, err
		}
		var texts []string
		for _, item := range items.([]any) {
			texts = append(texts, fmt.Sprint(item))
		}
		return strings.Join(texts, list[0].(string)), nil
	case function == "Fn::Split" && len(list) == 2:
		text, err := e.text(list[1])
		if err != nil {
			return nil, err
		}
		items := []any{}
		for item := range strings.SplitSeq(text, list[0].(string)) {
			items = append(items, item)
		}
		return items, nil
	case function == "Fn::Sub":
		return e.substitute(argument)
	}
	return nil, fmt.Errorf("function %s is not understood here", function)
}

// ref is what a name gives as text.
func (e *Expansion) ref(name string) (string, error) {
	if value, ok := e.Pseudo[name]; ok {
		return value, nil
	}
	if value, ok := e.Parameters[name]; ok {
		return value, nil
	}
	if e.template.Resources[name] != nil {
		return e.Resource(name, "")
	}
	return "", fmt.Errorf("unresolved resource dependencies [%s]", name)
}

var subPlaceholder = regexp.MustCompile(`\$\{([^}]*)\}`)

func (e *Expansion) substitute(argument any) (any, error) {
	own := map[string]string{}
	text, ok := argument.(string)
	if list, isList := argument.([]any); isList && len(list) == 2 {
		text, ok = list[0].(string)
		values, _ := list[1].(map[string]any)
		for name, value := range values {
			var err error
			if own[name], err = e.text(value); err != nil {
				return nil, err
			}
		}
	}
	if !ok {
		return nil, errors.New("Fn::Sub takes a text")
	}
	var failed error
	out := subPlaceholder.ReplaceAllStringFunc(text, func(match string) string {
		name := match[2 : len(match)-1]
		if value, ok := own[name]; ok {
			return value
		}
		var value string
		var err error
		if resource, attribute, dotted := strings.Cut(name, "."); dotted {
			value, err = e.Resource(resource, attribute)
		} else {
			value, err = e.ref(name)
		}
		failed = errors.Join(failed, err)
		return value
	})
	return out, failed
}

// text evaluates to a text.
func (e *Expansion) text(value any) (string, error) {
	out, err := e.eval(value)
	if err != nil {
		return "", err
	}
	switch out.(type) {
	case []any, map[string]any, noValue:
		return "", fmt.Errorf("%v is not a text", out)
	}
	return fmt.Sprint(out), nil
}
