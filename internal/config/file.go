package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// maxFile bounds what a file can cost.
const maxFile = 1 << 20

// file is a configuration file as text: what each key says and on which line.
type file struct {
	name    string
	entries map[string]entry
}

type entry struct {
	values []string
	array  bool
	line   int // 0: not known
}

func readBounded(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("read %s: it is larger than 1 MiB", name)
	}
	return data, err
}

// parseFile reads the file's keys: all of them known, each text, a whole
// number, or a list of texts.
func parseFile(name string, data []byte) (*file, error) {
	fail := func(line int, why, fix string) error {
		at := name
		if line > 0 {
			at += fmt.Sprintf(" line %d", line)
		}
		return &Error{Why: at + ": " + why, Fix: fix}
	}
	var top map[string]any
	meta, err := toml.NewDecoder(bytes.NewReader(data)).Decode(&top)
	if err != nil {
		var pe toml.ParseError
		if errors.As(err, &pe) {
			return nil, fail(pe.Position.Line, pe.Message, `write keys as in zone = ["dyn.example.com"]`)
		}
		return nil, fail(0, err.Error(), `write keys as in zone = ["dyn.example.com"]`)
	}
	var known []string
	for _, row := range settings {
		known = append(known, row.name)
	}
	f := &file{name: name, entries: make(map[string]entry)}
	for _, key := range meta.Keys() { // in the file's order, so that the first mistake is named
		line := lineOf(data, key[0])
		row, ok := settingNamed(key[0])
		if !ok {
			return nil, fail(line, fmt.Sprintf("there is no setting %q", key[0]), fmt.Sprintf("did you mean %s?", nearest(key[0], known)))
		}
		e := entry{line: line}
		switch v := top[key[0]].(type) {
		case []any:
			e.array = true
			for _, item := range v {
				text, err := scalar(item)
				if err != nil {
					return nil, fail(line, fmt.Sprintf("%s: %v", key[0], err), "write it as in "+row.inFile())
				}
				e.values = append(e.values, text)
			}
		default:
			text, err := scalar(v)
			if err != nil {
				return nil, fail(line, fmt.Sprintf("%s: %v", key[0], err), "write it as in "+row.inFile())
			}
			e.values = []string{text}
		}
		f.entries[key[0]] = e
	}
	return f, nil
}

func settingNamed(name string) (setting, bool) {
	for _, row := range settings {
		if row.name == name {
			return row, true
		}
	}
	return setting{}, false
}

func scalar(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case bool:
		return strconv.FormatBool(v), nil
	case map[string]any, []map[string]any:
		return "", errors.New("it is not a table")
	}
	return "", errors.New("it is neither text, a whole number, true nor false")
}

// lineOf finds the line on which a key of the top level stands; 0 if it is
// written in a way that this simple search does not see.
func lineOf(data []byte, key string) int {
	n := 0
	for line := range bytes.Lines(data) {
		n++
		text := strings.TrimLeft(strings.TrimSpace(string(line)), "[ \t")
		for _, spelling := range []string{key, strconv.Quote(key), "'" + key + "'"} {
			rest, ok := strings.CutPrefix(text, spelling)
			if rest = strings.TrimLeft(rest, " \t"); ok && rest != "" && strings.ContainsRune("=.]", rune(rest[0])) {
				return n
			}
		}
	}
	return 0
}

// nearest is the known word with the fewest edits to reach.
func nearest(word string, known []string) string {
	best, least := "", -1
	for _, k := range known {
		if d := edits(word, k); least < 0 || d < least {
			best, least = k, d
		}
	}
	return best
}

// edits is the Levenshtein distance. Words beyond 64 octets are cut: the cost
// of a wrong key must not grow with its length.
func edits(a, b string) int {
	a, b = a[:min(len(a), 64)], b[:min(len(b), 64)]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}

// String shows every setting, its value and where it came from, aligned. It is
// itself a file that LoadServe reads to the same settings.
func (s *Serve) String() string {
	rows := make([][2]string, 0, len(s.Sources))
	name, value := 0, 0
	for _, src := range s.Sources {
		texts := make([]string, len(src.Values))
		for i, v := range src.Values {
			if texts[i] = quote(v); src.Number {
				texts[i] = v
			}
		}
		text := strings.Join(texts, ", ")
		if src.List {
			text = "[" + text + "]"
		}
		label := src.Name
		if len(src.Values) == 0 {
			label, text = "# "+label, "not set"
		}
		rows = append(rows, [2]string{label, text})
		name = max(name, len(label))
		if len(text) <= 48 { // one long value must not push all places out of sight
			value = max(value, len(text))
		}
	}
	var b strings.Builder
	for i, src := range s.Sources {
		sign := "="
		if len(src.Values) == 0 {
			sign = " "
		}
		fmt.Fprintf(&b, "%-*s %s %-*s  # %s\n", name, rows[i][0], sign, value, rows[i][1], src.From)
	}
	return b.String()
}

// quote writes a TOML basic string. Values are checked: they hold no control
// characters.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
