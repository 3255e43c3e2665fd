package main

import (
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"
)

// table writes aligned columns. Rows that come in pages stay aligned as far as
// they can: a column never gets narrower.
type table struct {
	w      io.Writer
	header []string
	widths []int
	rows   [][]string
	begun  bool
}

func newTable(w io.Writer, header ...string) *table {
	return &table{w: w, header: header, widths: make([]int, len(header))}
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// flush writes what was added since the last one.
func (t *table) flush() {
	if !t.begun && len(t.rows) > 0 {
		t.rows = append([][]string{t.header}, t.rows...)
		t.begun = true
	}
	for _, row := range t.rows {
		for i, cell := range row {
			t.widths[i] = max(t.widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range t.rows {
		var b strings.Builder
		for i, cell := range row {
			b.WriteString(cell)
			b.WriteString(strings.Repeat(" ", t.widths[i]-utf8.RuneCountInString(cell)+2))
		}
		fmt.Fprintln(t.w, strings.TrimRight(b.String(), " "))
	}
	t.rows = nil
}

// fields writes name and value pairs below each other.
func fields(w io.Writer, pairs ...string) {
	width := 0
	for i := 0; i < len(pairs); i += 2 {
		width = max(width, len(pairs[i]))
	}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			fmt.Fprintf(w, "%-*s  %s\n", width, pairs[i], pairs[i+1])
		}
	}
}

// age says how long ago something was, in one unit that a person thinks in.
func age(now, t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	switch d := now.Sub(t); {
	case d < time.Second:
		return "now"
	case d < time.Minute:
		return fmt.Sprintf("%ds ago", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh ago", int(d.Hours()))
	default:
		return fmt.Sprintf("%dd ago", int(d.Hours()/24))
	}
}

// when is a time with its age.
func when(now, t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return fmt.Sprintf("%s (%s)", t.UTC().Format(time.RFC3339), age(now, t))
}

func addrs(list ...[]netip.Addr) string {
	var texts []string
	for _, l := range list {
		for _, a := range l {
			texts = append(texts, a.String())
		}
	}
	if texts == nil {
		return "-"
	}
	return strings.Join(texts, " ")
}

func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}

// quantity is a number with its noun: "1 host", "2 hosts".
func quantity(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
