// Command godwit-agent is the agent alone: `godwit agent` without the server, so
// small that it fits a router. Its settings and files are the same, see
// docs/agent.md; a package brings the file that makes it a service.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"godwit/internal/agent"
	"godwit/internal/agent/command"
)

// version is what a release build says it is: -ldflags "-X main.version=1.2".
var version string

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// Exit codes, a contract.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

const help = `godwit-agent keeps names at the address of this device.

Commands:
  join URL CODE   make a key on this device and register it with a one-time code
  run             keep this device's hosts right, for ever
  once            tell the servers this device's addresses one time
  status          show what the agent believes and does; exit 1 if there is trouble
  rotate          replace this device's keys
  version         print the version

Settings are flags, GODWIT_ variables, or the file ` + command.DefaultFile + `.
For the flags: godwit-agent run -help
`

// run is the program: it returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := do(ctx, args, stdout, stderr)
	var wrong *command.Error
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return exitDone
	case errors.Is(err, errUsage): // it has been said
		return exitUsage
	case errors.As(err, &wrong):
		fmt.Fprintf(stderr, "godwit-agent: %s\n", err)
		return exitUsage
	}
	fmt.Fprintf(stderr, "godwit-agent: %s\n", err)
	return exitFailed
}

// errUsage ends a command when package flag has said what is wrong.
var errUsage = errors.New("usage")

func do(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		fmt.Fprint(stderr, help)
		return errUsage
	}
	name := args[0]
	switch name {
	case "help", "-h", "-help", "--help":
		fmt.Fprint(stdout, help)
		return nil
	case "version", "-version", "--version":
		fmt.Fprintf(stdout, "godwit-agent %s %s %s/%s\n", versionText(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
		return nil
	case "run", "once", "join", "status", "rotate":
	default:
		fmt.Fprintf(stderr, "godwit-agent: there is no command %q\n\n%s", name, help)
		return errUsage
	}
	var flags command.Flags
	asJSON := false
	set := flag.NewFlagSet("godwit-agent "+name, flag.ContinueOnError)
	set.SetOutput(stderr)
	flags.Bind(set)
	if name == "status" || name == "join" || name == "rotate" {
		set.BoolVar(&asJSON, "json", false, "print the result as one JSON document")
	}
	words, err := parse(set, args[1:])
	if err != nil {
		return err
	}
	want := map[string]int{"join": 2}[name]
	if len(words) != want {
		fmt.Fprintf(stderr, "godwit-agent: %s takes %d arguments, not %d\n\n%s", name, want, len(words), help)
		return errUsage
	}
	s, err := command.Load(flags, command.OS())
	if err != nil {
		return err
	}
	switch name {
	case "run":
		return command.Run(ctx, s, stderr)
	case "once":
		return command.Once(ctx, s, stderr)
	case "join":
		joined, err := command.Join(ctx, s, words[0], words[1])
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(stdout, joined)
		}
		joined.Tell(stdout, "godwit-agent run, or start its service")
		return nil
	case "rotate":
		return rotate(ctx, s, stdout, asJSON)
	}
	return status(s, stdout, asJSON)
}

// parse takes flags before, between and behind the arguments.
func parse(set *flag.FlagSet, args []string) (words []string, err error) {
	for {
		if err := set.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, err
			}
			return nil, errUsage
		}
		if args = set.Args(); len(args) == 0 {
			return words, nil
		}
		words, args = append(words, args[0]), args[1:]
	}
}

func rotate(ctx context.Context, s *command.Settings, stdout io.Writer, asJSON bool) error {
	rotated, err := command.Rotate(ctx, s)
	if asJSON && err == nil {
		return printJSON(stdout, rotated)
	}
	command.TellRotated(stdout, rotated)
	return err
}

func status(s *command.Settings, stdout io.Writer, asJSON bool) error {
	status, err := agent.ReadStatus(s.StatusFile())
	if err != nil {
		return err
	}
	if asJSON {
		if err := printJSON(stdout, status); err != nil {
			return err
		}
	} else {
		command.ShowStatus(stdout, status, time.Now())
	}
	if err := status.Health(time.Now()); err != nil {
		return fmt.Errorf("trouble: %w", err)
	}
	return nil
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

func versionText() string {
	info, ok := debug.ReadBuildInfo()
	switch {
	case version != "":
		return version
	case ok && info.Main.Version != "" && info.Main.Version != "(devel)":
		return strings.TrimPrefix(info.Main.Version, "v")
	}
	return "development"
}
