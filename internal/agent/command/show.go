package command

import (
	"fmt"
	"io"
	"strings"
	"time"

	"godwit/internal/agent"
)

// ShowStatus prints a status for people.
func ShowStatus(w io.Writer, s *agent.Status, now time.Time) {
	for i, h := range s.Hosts {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "%s at %s\n", h.Host, h.Server)
		for _, f := range h.Families {
			fmt.Fprintf(w, "  %s  %s\n", f.Family, strings.Join(about(f, now), "; "))
			for _, text := range []string{f.Message, f.Note} {
				if text != "" {
					fmt.Fprintf(w, "        %s\n", text)
				}
			}
			for _, a := range f.Answers {
				fmt.Fprintf(w, "        %s  %s\n", a.Time.Local().Format(time.DateTime), a.Outcome)
			}
		}
	}
}

func about(f agent.FamilyStatus, now time.Time) []string {
	parts := []string{f.State}
	if f.Address.IsValid() {
		text := f.Address.String()
		if !f.Since.IsZero() {
			text += " since " + f.Since.Local().Format(time.DateTime)
		}
		parts = append(parts, text)
	}
	if f.Prefix.IsValid() {
		parts = append(parts, "prefix "+f.Prefix.String())
	}
	if !f.Next.IsZero() {
		if wait := f.Next.Sub(now); wait > 0 {
			parts = append(parts, "next try in "+wait.Round(time.Second).String())
		} else {
			parts = append(parts, "due")
		}
	}
	return parts
}

// Tell says what came of joining, and what to do next. run is the command that
// starts the agent.
func (j *Joined) Tell(w io.Writer, run string) {
	fmt.Fprintf(w, "This device is %s at %s, with the key %s in %s.\n", j.Host, j.Server, j.Credential, j.KeyFile)
	switch {
	case j.Added:
		fmt.Fprintf(w, "It was added to %s.\n", j.Config)
	case j.ToAdd != "":
		fmt.Fprintf(w, "Put this at the end of %s, which could not be written:\n\n%s\n", j.Config, j.ToAdd)
	}
	fmt.Fprintf(w, "Next: %s\n", run)
}

// TellRotated says which keys hosts have now.
func TellRotated(w io.Writer, rotated []*Joined) {
	for _, j := range rotated {
		fmt.Fprintf(w, "%s at %s has the key %s now.\n", j.Host, j.Server, j.Credential)
	}
}
