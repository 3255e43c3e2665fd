package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// stuck is a writer that takes nothing until it is let go.
type stuck struct {
	free chan struct{}
	mu   sync.Mutex // guards text
	text bytes.Buffer
	n    int // of writes
}

func (s *stuck) Write(p []byte) (int, error) {
	<-s.free
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	return s.text.Write(p)
}

// TestLogNeverWaits: a log that nobody reads stops nobody, and loses nothing
// until a mebibyte waits; then it says how much.
func TestLogNeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &stuck{free: make(chan struct{})}
		q := &lineQueue{w: out}
		for i := range 1000 {
			fmt.Fprintf(q, "line %d\n", i)
		}
		line := strings.Repeat("x", 1023) + "\n"
		for range 3000 {
			if n, err := io.WriteString(q, line); n != len(line) || err != nil {
				t.Fatal(n, err)
			}
		}
		began := time.Now()
		if q.flush(); time.Since(began) != 2*time.Second {
			t.Errorf("Close waited %s for a log that nobody reads", time.Since(began))
		}
		close(out.free)
		synctest.Wait()
		text := out.text.String()
		for i := range 1000 {
			if want := fmt.Sprintf("line %d\n", i); !strings.HasPrefix(text, want) {
				t.Fatalf("after %d lines comes %.40q", i, text)
			} else {
				text = text[len(want):]
			}
		}
		kept := strings.Count(text, line)
		if want := fmt.Sprintf("godwit: %d lines lost here: the log is not read as fast as it is written\n", 3000-kept); !strings.HasSuffix(text, want) {
			t.Errorf("%d lines were kept, and the end is %q", kept, text[len(text)-100:])
		}
		if out.n > 3 {
			t.Errorf("%d writes for what waited together", out.n)
		}
		// It goes on as if nothing had been.
		fmt.Fprintln(q, "again")
		q.flush()
		if !strings.HasSuffix(out.text.String(), "\nagain\n") {
			t.Error("the next line is not there")
		}
	})
}

func BenchmarkLog(b *testing.B) {
	line := []byte("time=2026-11-24T07:03:30.213Z level=INFO msg=update host=host1.dyn.example.com door=seed outcome=changed source=192.0.2.1 generation=7\n")
	f, err := os.Create(b.TempDir() + "/log")
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	for name, w := range map[string]io.Writer{"file": f, "queue": &lineQueue{w: f}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = w.Write(line)
			}
		})
	}
}
