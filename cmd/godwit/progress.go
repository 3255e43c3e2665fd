package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// progress says how far long work is: on a terminal as one line that is written
// over, elsewhere as a line every ten seconds.
type progress struct {
	a        *app
	terminal bool
	began    time.Time
	last     time.Time
	width    int // of what stands on the line
}

func newProgress(a *app) *progress {
	f, ok := a.stderr.(*os.File)
	now := time.Now()
	return &progress{a: a, terminal: ok && term.IsTerminal(int(f.Fd())), began: now, last: now}
}

func (p *progress) show(format string, args ...any) {
	now, every := time.Now(), 10*time.Second
	if p.terminal {
		every = 200 * time.Millisecond
	}
	if now.Sub(p.last) < every {
		return // short work needs no progress
	}
	p.last = now
	text := fmt.Sprintf(format, args...)
	if !p.terminal {
		p.a.say("%s", text)
		return
	}
	fmt.Fprintf(p.a.stderr, "\r%-*s", p.width, text)
	p.width = len(text)
}

// done clears the line.
func (p *progress) done() {
	if p.width > 0 {
		fmt.Fprintf(p.a.stderr, "\r%s\r", strings.Repeat(" ", p.width))
		p.width = 0
	}
}
