package command

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// read takes the settings of a file: keys at its top, and those of each host in
// a [[host]] table.
func (l *loader) read(name string, data []byte) error {
	var top map[string]any
	meta, err := toml.NewDecoder(bytes.NewReader(data)).Decode(&top)
	if err != nil {
		line, why := 0, err.Error()
		var parse toml.ParseError
		if errors.As(err, &parse) {
			line, why = parse.Position.Line, parse.Message
		}
		return wrong(`write keys as in url = "https://ddns.example.com"`, "%s: %s", place(name, line), why)
	}
	hosts, isList := top["host"].([]map[string]any)
	if _, there := top["host"]; there && !isList {
		return wrong("begin each host with [[host]]", "%s: host is not a list of tables", place(name, lineOf(data, "host", 0)))
	}
	l.top = map[string]value{}
	seen := map[string]int{} // how often a key of a host came, for its line
	host := -1
	for _, key := range meta.Keys() { // in the file's order
		inHost := key[0] == "host"
		if len(key) == 1 && inHost {
			host++
			l.hosts = append(l.hosts, map[string]value{})
			continue
		}
		last := key[len(key)-1]
		line := lineOf(data, last, seen[last])
		seen[last]++
		from := place(name, line)
		s, ok := named(last)
		switch {
		case len(key) > 2 || len(key) == 2 && !inHost, !ok:
			return wrong("see docs/agent.md for those that there are", "%s: there is no setting %q", from, key.String())
		case inHost && !s.host:
			return wrong("put it above the first [[host]]", "%s: %s is not a host's setting", from, last)
		case !inHost && !s.top:
			return wrong("put it below a [[host]]", "%s: %s is a host's setting", from, last)
		}
		v, into := top[last], l.top
		if inHost {
			if host < 0 || host >= len(hosts) {
				break // written in another way; refused below
			}
			v, into = hosts[host][last], l.hosts[host]
		}
		texts, err := textsOf(v, s.list)
		if err != nil {
			return wrong("write it as in "+s.example, "%s: %s %v", from, last, err)
		}
		into[last] = value{texts, from}
	}
	if len(l.hosts) != len(hosts) {
		return wrong("begin each host with [[host]]", "%s: the hosts are not understood", name)
	}
	for i, h := range l.hosts {
		if _, ok := h["name"]; !ok {
			return wrong(`add name = "nas.dyn.example.com"`, "%s: the %s [[host]] has no name", name, ordinal(i+1))
		}
	}
	return nil
}

// textsOf are the values of a key: text, or a list of it where that is allowed.
func textsOf(v any, list bool) ([]string, error) {
	switch v := v.(type) {
	case string:
		if v == "" {
			return nil, errors.New("is empty")
		}
		return []string{v}, nil
	case []any:
		if !list {
			return nil, errors.New("takes one value")
		}
		var out []string
		for _, item := range v {
			text, ok := item.(string)
			if !ok || text == "" {
				return nil, errors.New("has what is no text")
			}
			out = append(out, text)
		}
		if out == nil {
			return nil, errors.New("is an empty list")
		}
		return out, nil
	}
	return nil, errors.New("is no text")
}

func place(name string, line int) string {
	if line == 0 {
		return name
	}
	return fmt.Sprintf("%s line %d", name, line)
}

// lineOf finds the line on which a key stands for the nth time, from 0; 0 if it
// is written in a way that this simple search does not see.
func lineOf(data []byte, key string, n int) int {
	line := 0
	for text := range bytes.Lines(data) {
		line++
		for _, spelling := range []string{key, strconv.Quote(key), "'" + key + "'"} {
			rest, ok := strings.CutPrefix(strings.TrimLeft(string(text), "[ \t"), spelling)
			if rest = strings.TrimLeft(rest, " \t"); ok && rest != "" && strings.ContainsRune("=.]", rune(rest[0])) {
				if n--; n < 0 {
					return line
				}
			}
		}
	}
	return 0
}

func ordinal(n int) string {
	switch n {
	case 1:
		return "first"
	case 2:
		return "second"
	case 3:
		return "third"
	}
	return strconv.Itoa(n) + "th"
}
