package source

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"godwit/internal/agent"
)

const commandTimeout = 10 * time.Second

// command is a program that prints the address.
type command struct {
	text string
	argv []string
}

func newCommand(rest string) (*command, error) {
	argv, err := splitArgs(rest)
	if err != nil {
		return nil, fmt.Errorf("source \"command %s\": %w", rest, err)
	}
	if len(argv) == 0 || !filepath.IsAbs(argv[0]) {
		return nil, fmt.Errorf("source \"command %s\" needs the whole path of a program, as in \"command /usr/local/bin/address\"", rest)
	}
	return &command{text: rest, argv: argv}, nil
}

// splitArgs splits at spaces and tabs. What is between double or single quotes
// stays together and is taken as it is; there are no escapes.
func splitArgs(text string) ([]string, error) {
	var args []string
	var arg strings.Builder
	inside, quote := false, rune(0)
	for _, c := range text {
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			inside, quote = true, c
		case quote == 0 && (c == ' ' || c == '\t'):
			if inside {
				args = append(args, arg.String())
				arg.Reset()
			}
			inside = false
		case c == 0:
			return nil, errors.New("an argument has a NUL in it, which no program can take")
		default:
			inside = true
			arg.WriteRune(c)
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("a quotation that %c begins does not end", quote)
	}
	if inside {
		args = append(args, arg.String())
	}
	return args, nil
}

func (s *command) Name() string { return "command " + s.text }

// Find runs the program with PATH, HOME, LANG and GODWIT_FAMILY (IPv4 or IPv6) as
// its environment. It prints one address; nothing and exit status 0 say that
// there is none.
func (s *command) Find(ctx context.Context, f agent.Family) (agent.Finding, error) {
	text, err := s.output(ctx, f)
	if err != nil {
		return agent.Finding{}, err
	}
	addr, err := parseAddr(s.argv[0], text, f)
	return agent.Finding{Addr: addr}, err
}

// output is what the program prints: something.
func (s *command) output(ctx context.Context, f agent.Family) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	out := limitedBuffer{stop: cancel}
	cmd := exec.CommandContext(ctx, s.argv[0], s.argv[1:]...)
	cmd.Stdout = &out
	cmd.WaitDelay = time.Second // for a grandchild that holds the output open
	// Nothing else of our environment, which may hold a secret.
	cmd.Env = []string{"GODWIT_FAMILY=" + f.String()}
	for _, key := range []string{"PATH", "HOME", "LANG"} {
		if value, ok := os.LookupEnv(key); ok {
			cmd.Env = append(cmd.Env, key+"="+value)
		}
	}
	err := cmd.Run()
	switch {
	case out.full:
		return "", fmt.Errorf("%s prints more than %d octets", s.argv[0], textLimit)
	case ctx.Err() != nil:
		return "", fmt.Errorf("%s did not end in time: %w", s.argv[0], ctx.Err())
	case err != nil:
		return "", fmt.Errorf("%s: %w", s.argv[0], err)
	case strings.TrimSpace(string(out.text)) == "":
		return "", fmt.Errorf("%s prints nothing: %w", s.argv[0], agent.ErrNone)
	}
	return string(out.text), nil
}

// limitedBuffer takes textLimit octets, and stops a program that writes more: a
// closed pipe alone does not end one that ignores it.
type limitedBuffer struct {
	text []byte
	full bool
	stop func()
}

func (b *limitedBuffer) Write(data []byte) (int, error) {
	if len(b.text)+len(data) > textLimit {
		b.full = true
		b.stop()
		return 0, errors.New("too much output")
	}
	b.text = append(b.text, data...)
	return len(data), nil
}
