package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// maxSecret bounds a file that is read as a secret.
const maxSecret = 4096

// readSecret reads a secret from a file, without the line's end. "-" is
// standard input, and there a person is asked without an echo. A secret is
// never an argument: every user of the machine can read those.
func (a *app) readSecret(file, what string) (string, error) {
	var in io.Reader = a.stdin
	if file == "-" {
		if f, ok := a.stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
			return a.prompt(f, what)
		}
	} else {
		f, err := os.Open(file)
		if err != nil {
			return "", fmt.Errorf("%w; give a file that holds the secret on its first line", err)
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxSecret+1))
	if err != nil {
		return "", fmt.Errorf("read the secret: %w; give a file that holds the secret on its first line", err)
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	switch {
	case len(data) > maxSecret:
		return "", fmt.Errorf("%s is longer than %d octets; give a file that holds the secret alone", name(file), maxSecret)
	case text == "":
		return "", fmt.Errorf("%s is empty; give a file that holds the secret on its first line", name(file))
	case strings.ContainsAny(text, "\r\n"):
		return "", fmt.Errorf("%s has more than one line; give a file that holds the secret alone", name(file))
	}
	return text, nil
}

func name(file string) string {
	if file == "-" {
		return "standard input"
	}
	return file
}

func (a *app) prompt(f *os.File, what string) (string, error) {
	fmt.Fprintf(a.stderr, "%s: ", what)
	text, err := term.ReadPassword(int(f.Fd()))
	fmt.Fprintln(a.stderr)
	if err != nil {
		return "", fmt.Errorf("read from the terminal: %w", err)
	}
	if len(text) == 0 {
		return "", usage("nothing was typed")
	}
	return string(text), nil
}

// confirm asks a person, who must type yes. Without a terminal nobody is there
// to ask: the command must say so itself, with the flag named by instead.
func (a *app) confirm(question, instead string) error {
	f, ok := a.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return usage("%s Nobody can be asked here; to do it, add %s", question, instead)
	}
	fmt.Fprintf(a.stderr, "%s Type yes to do it: ", question)
	var answer string
	fmt.Fscanln(a.stdin, &answer)
	if answer != "yes" {
		a.say("Nothing was done.")
		return errFailed
	}
	return nil
}
