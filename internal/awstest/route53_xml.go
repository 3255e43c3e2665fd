package awstest

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

const namespace = "https://route53.amazonaws.com/doc/2013-04-01/"

// xmlElement is an XML element without attributes.
type xmlElement struct {
	name     string
	text     string // of an element without children
	children []xmlElement
}

const (
	maxDepth    = 8
	maxChildren = 2 * maxElements
)

// errShape is what every failure to read a request says.
var errShape = errors.New("invalid XML")

// parseElement reads one document in Route 53's namespace. Depth and the number
// of children are bounded, the length is by the caller.
func parseElement(body []byte) (xmlElement, error) {
	d := xml.NewDecoder(bytes.NewReader(body))
	var stack []xmlElement
	var texts [maxDepth][]byte // of the elements on the stack
	for {
		token, err := d.RawToken()
		if err == io.EOF {
			return xmlElement{}, errShape // no root that ends
		}
		if err != nil {
			return xmlElement{}, fmt.Errorf("%w: %w", errShape, err)
		}
		switch t := token.(type) {
		case xml.StartElement:
			if len(stack) == 0 && !inNamespace(t) || len(stack) >= maxDepth || t.Name.Space != "" {
				return xmlElement{}, fmt.Errorf("%w: unexpected element %.40q", errShape, t.Name.Local)
			}
			texts[len(stack)] = nil
			stack = append(stack, xmlElement{name: t.Name.Local})
		case xml.CharData:
			if len(stack) > 0 {
				texts[len(stack)-1] = append(texts[len(stack)-1], t...)
			} else if len(bytes.TrimSpace(t)) > 0 {
				return xmlElement{}, errShape
			}
		case xml.EndElement:
			if len(stack) == 0 || stack[len(stack)-1].name != t.Name.Local || t.Name.Space != "" {
				return xmlElement{}, fmt.Errorf("%w: unexpected end of %.40q", errShape, t.Name.Local)
			}
			e := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			text := texts[len(stack)]
			if len(e.children) == 0 {
				e.text = string(text)
			} else if len(bytes.TrimSpace(text)) > 0 {
				return xmlElement{}, fmt.Errorf("%w: text beside elements in %.40q", errShape, e.name)
			}
			if len(stack) == 0 {
				return e, nothingAfter(d)
			}
			up := &stack[len(stack)-1]
			if up.children = append(up.children, e); len(up.children) > maxChildren {
				return xmlElement{}, fmt.Errorf("%w: too many elements in %.40q", errShape, up.name)
			}
		case xml.Directive:
			return xmlElement{}, errShape
		}
	}
}

// nothingAfter is an error if something follows the root element.
func nothingAfter(d *xml.Decoder) error {
	for {
		token, err := d.RawToken()
		if err == io.EOF {
			return nil
		}
		if text, ok := token.(xml.CharData); err != nil || !ok || len(bytes.TrimSpace(text)) > 0 {
			return errShape
		}
	}
}

func inNamespace(t xml.StartElement) bool {
	for _, a := range t.Attr {
		if a.Name.Space == "" && a.Name.Local == "xmlns" {
			return a.Value == namespace
		}
	}
	return false
}

// sequence takes an element's children in the order of the schema. Names that
// end in "?" may be absent. The result has one element for each name, nil where
// it is absent.
func (e *xmlElement) sequence(names ...string) ([]*xmlElement, error) {
	out := make([]*xmlElement, len(names))
	i := 0
	for at := range names {
		name, optional := strings.CutSuffix(names[at], "?")
		switch {
		case i < len(e.children) && e.children[i].name == name:
			out[at] = &e.children[i]
			i++
		case !optional:
			return nil, fmt.Errorf("%w: %s lacks %s, or has it in the wrong place", errShape, e.name, name)
		}
	}
	if i < len(e.children) {
		return nil, fmt.Errorf("%w: unexpected %.40q in %s", errShape, e.children[i].name, e.name)
	}
	return out, nil
}

func malformedInput(err error) *route53Error { return refusal(400, "MalformedInput", err.Error()) }

// parseChanges reads the body of ChangeResourceRecordSets. Names come back
// canonical; values are as they were sent.
func parseChanges(body []byte) ([]Change, *route53Error) {
	if len(body) > maxRequest {
		return nil, refusal(413, "RequestEntityTooLarge", "the request is too large")
	}
	root, err := parseElement(body)
	if err != nil {
		return nil, malformedInput(err)
	}
	if root.name != "ChangeResourceRecordSetsRequest" {
		return nil, malformedInput(fmt.Errorf("%w: unexpected element %.40q", errShape, root.name))
	}
	parts, err := root.sequence("ChangeBatch")
	if err != nil {
		return nil, malformedInput(err)
	}
	if parts, err = parts[0].sequence("Comment?", "Changes"); err != nil {
		return nil, malformedInput(err)
	}
	list := parts[1].children
	if len(list) == 0 {
		return nil, invalidInput("1 validation error detected: Value '[]' at 'changeBatch.changes' failed to satisfy constraint: Member must have length greater than or equal to 1")
	}
	changes := make([]Change, len(list))
	for i := range list {
		if f := changes[i].parse(&list[i]); f != nil {
			return nil, f
		}
	}
	return changes, nil
}

func (c *Change) parse(e *xmlElement) *route53Error {
	if e.name != "Change" {
		return malformedInput(fmt.Errorf("%w: unexpected element %.40q", errShape, e.name))
	}
	parts, err := e.sequence("Action", "ResourceRecordSet")
	if err != nil {
		return malformedInput(err)
	}
	switch c.Action = parts[0].text; c.Action {
	case "CREATE", "DELETE", "UPSERT":
	default:
		return invalidInput(fmt.Sprintf("Value '%.40s' at 'changeBatch.changes.action' is not CREATE, DELETE or UPSERT", c.Action))
	}
	parts, err = parts[1].sequence("Name", "Type", "SetIdentifier?", "Weight?", "TTL?", "ResourceRecords?", "AliasTarget?")
	if err != nil {
		return malformedInput(err)
	}
	if c.Set.Name, err = canonicalName(parts[0].text); err != nil {
		return invalidInput(err.Error())
	}
	if c.Set.Type = parts[1].text; !recordTypes[c.Set.Type] {
		return invalidInput(fmt.Sprintf("Value '%.40s' at 'type' is no type of record", c.Set.Type))
	}
	if parts[2] != nil {
		c.Set.Identifier = parts[2].text
	}
	ttl, values, alias := parts[4], parts[5], parts[6]
	if (ttl == nil) != (values == nil) || (values == nil) == (alias == nil) {
		return invalidInput("TTL and ResourceRecords belong together, or there is an AliasTarget")
	}
	if alias != nil {
		if parts, err = alias.sequence("HostedZoneId", "DNSName", "EvaluateTargetHealth"); err != nil {
			return malformedInput(err)
		}
		c.Set.Alias = parts[1].text
		return nil
	}
	if c.Set.TTL, err = strconv.ParseInt(ttl.text, 10, 64); err != nil {
		return malformedInput(fmt.Errorf("%w: TTL", errShape))
	}
	c.Set.Values = make([]string, len(values.children))
	for i := range values.children {
		if values.children[i].name != "ResourceRecord" {
			return malformedInput(fmt.Errorf("%w: unexpected element in ResourceRecords", errShape))
		}
		parts, err := values.children[i].sequence("Value")
		if err != nil {
			return malformedInput(err)
		}
		c.Set.Values[i] = parts[0].text
	}
	return nil
}

// recordTypes are the types of record that Route 53 keeps.
var recordTypes = map[string]bool{"A": true, "AAAA": true, "CAA": true, "CNAME": true, "DS": true, "HTTPS": true, "MX": true, "NAPTR": true,
	"NS": true, "PTR": true, "SOA": true, "SPF": true, "SRV": true, "SSHFP": true, "SVCB": true, "TLSA": true, "TXT": true}

func parseCreate(body []byte) (name, reference string, f *route53Error) {
	root, err := parseElement(body)
	if err != nil {
		return "", "", malformedInput(err)
	}
	parts, err := root.sequence("Name", "VPC?", "CallerReference", "HostedZoneConfig?", "DelegationSetId?")
	if err != nil {
		return "", "", malformedInput(err)
	}
	if parts[1] != nil {
		return "", "", invalidInput("private zones are not modelled")
	}
	if name, err = canonicalName(parts[0].text); err != nil {
		return "", "", refusal(400, "InvalidDomainName", err.Error())
	}
	if reference = parts[2].text; reference == "" || len(reference) > 128 {
		return "", "", invalidInput("CallerReference has 1 to 128 characters")
	}
	return name, reference, nil
}

// xmlWriter writes XML. Names are ours; texts are escaped.
type xmlWriter struct{ bytes.Buffer }

func (w *xmlWriter) open(names ...string) {
	for _, n := range names {
		w.WriteString("<" + n + ">")
	}
}

func (w *xmlWriter) shut(names ...string) {
	for _, n := range names {
		w.WriteString("</" + n + ">")
	}
}

func (w *xmlWriter) leaf(name, text string) {
	w.open(name)
	_ = xml.EscapeText(w, []byte(text)) // into memory
	w.shut(name)
}

// xmlDocument writes the declaration and a root element in the namespace.
func xmlDocument(root string, inside func(*xmlWriter)) []byte {
	w := new(xmlWriter)
	w.WriteString("<?xml version=\"1.0\"?>\n<" + root + ` xmlns="` + namespace + `">`)
	inside(w)
	w.shut(root)
	return w.Bytes()
}

func errorAnswer(f *route53Error, ownRoot bool) []byte {
	if ownRoot && f.code == "InvalidChangeBatch" {
		return xmlDocument(f.code, func(w *xmlWriter) {
			w.open("Messages")
			for _, m := range f.messages {
				w.leaf("Message", m)
			}
			w.shut("Messages")
			w.leaf("RequestId", "r")
		})
	}
	return xmlDocument("ErrorResponse", func(w *xmlWriter) {
		w.open("Error")
		w.leaf("Type", "Sender")
		w.leaf("Code", f.code)
		message := f.messages[0]
		if f.code == "InvalidChangeBatch" {
			message = "[" + strings.Join(f.messages, ", ") + "]"
		}
		w.leaf("Message", message)
		w.shut("Error")
		w.leaf("RequestId", "r")
	})
}

type changeInfo struct {
	id, status string
	at         time.Time
}

func (w *xmlWriter) change(c changeInfo) {
	w.open("ChangeInfo")
	w.leaf("Id", "/change/"+c.id)
	w.leaf("Status", c.status)
	w.leaf("SubmittedAt", c.at.UTC().Format("2006-01-02T15:04:05.000Z"))
	w.shut("ChangeInfo")
}

func changeAnswer(root string, c changeInfo) []byte {
	return xmlDocument(root, func(w *xmlWriter) { w.change(c) })
}

func (w *xmlWriter) zone(z *hostedZone) {
	w.open("HostedZone")
	w.leaf("Id", "/hostedzone/"+z.id)
	w.leaf("Name", z.name)
	w.leaf("CallerReference", z.reference)
	w.open("Config")
	w.leaf("PrivateZone", "false")
	w.shut("Config")
	w.leaf("ResourceRecordSetCount", strconv.Itoa(len(z.sets)))
	w.shut("HostedZone")
}

func zoneAnswer(root string, z *hostedZone, c *changeInfo) []byte {
	return xmlDocument(root, func(w *xmlWriter) {
		w.zone(z)
		if c != nil {
			w.change(*c)
		}
		w.open("DelegationSet", "NameServers")
		for _, ns := range nameServers {
			w.leaf("NameServer", strings.TrimSuffix(ns, "."))
		}
		w.shut("NameServers", "DelegationSet")
	})
}

func zonesAnswer(page []*hostedZone, next, start *hostedZone, size int) []byte {
	return xmlDocument("ListHostedZonesByNameResponse", func(w *xmlWriter) {
		w.open("HostedZones")
		for _, z := range page {
			w.zone(z)
		}
		w.shut("HostedZones")
		if start.name != "" {
			w.leaf("DNSName", start.name)
		}
		if start.id != "" {
			w.leaf("HostedZoneId", start.id)
		}
		w.leaf("IsTruncated", strconv.FormatBool(next != nil))
		if next != nil {
			w.leaf("NextDNSName", next.name)
			w.leaf("NextHostedZoneId", next.id)
		}
		w.leaf("MaxItems", strconv.Itoa(size))
	})
}

func listAnswer(page []*RecordSet, next *RecordSet, size int) []byte {
	return xmlDocument("ListResourceRecordSetsResponse", func(w *xmlWriter) {
		w.open("ResourceRecordSets")
		for _, s := range page {
			w.open("ResourceRecordSet")
			w.leaf("Name", s.Name)
			w.leaf("Type", s.Type)
			if s.Identifier != "" {
				w.leaf("SetIdentifier", s.Identifier)
				w.leaf("Weight", "1")
			}
			if s.Alias != "" {
				w.open("AliasTarget")
				w.leaf("HostedZoneId", "ZALIAS")
				w.leaf("DNSName", s.Alias)
				w.leaf("EvaluateTargetHealth", "false")
				w.shut("AliasTarget")
			} else {
				w.leaf("TTL", strconv.FormatInt(s.TTL, 10))
				w.open("ResourceRecords")
				for _, v := range s.Values {
					w.open("ResourceRecord")
					w.leaf("Value", v)
					w.shut("ResourceRecord")
				}
				w.shut("ResourceRecords")
			}
			w.shut("ResourceRecordSet")
		}
		w.shut("ResourceRecordSets")
		w.leaf("IsTruncated", strconv.FormatBool(next != nil))
		if next != nil {
			w.leaf("NextRecordName", next.Name)
			w.leaf("NextRecordType", next.Type)
			if next.Identifier != "" {
				w.leaf("NextRecordIdentifier", next.Identifier)
			}
		}
		w.leaf("MaxItems", strconv.Itoa(size))
	})
}
