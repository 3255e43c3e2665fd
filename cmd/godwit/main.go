// Command godwit is dynamic DNS that you own: the server, and the commands that
// run it. It is the only place that knows all packages; see serve.go for how
// they are put together.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"golang.org/x/term"

	"godwit/internal/config"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// Exit codes, a contract.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// commands is the command line.
type commands struct {
	Demo    demoCommand    `cmd:"" help:"Show the whole loop on this machine, in one command."`
	Serve   serveCommand   `cmd:"" help:"Run the server."`
	Host    hostCommand    `cmd:"" help:"Hosts: names that follow an address."`
	Get     getCommand     `cmd:"" help:"Print the address that a server sees you at."`
	Set     setCommand     `cmd:"" help:"Set a host to your present address."`
	Doctor  doctorCommand  `cmd:"" help:"Say why a name is wrong in DNS, and what to do."`
	Agent   agentCommand   `cmd:"" help:"Keep this device's names at its address."`
	Zone    zoneCommand    `cmd:"" help:"Zones, and what their parents need."`
	AWS     awsCommand     `cmd:"" name:"aws" help:"godwit in an AWS account, without a server."`
	Backup  backupCommand  `cmd:"" help:"Copy the store into a file."`
	Restore restoreCommand `cmd:"" help:"Make a data directory from a backup."`
	Check   checkCommand   `cmd:"" help:"Check that the store is sound."`
	Version versionCommand `cmd:"" help:"Print the version."`
}

// app is what every command works with.
type app struct {
	ctx    context.Context // ends at Ctrl-C or SIGTERM
	stdin  io.Reader
	stdout io.Writer // results only
	stderr io.Writer // messages
	env    config.Environment
	now    func() time.Time
}

// say writes a message for the person.
func (a *app) say(format string, args ...any) { fmt.Fprintf(a.stderr, format+"\n", args...) }

// print writes a result.
func (a *app) print(format string, args ...any) { fmt.Fprintf(a.stdout, format+"\n", args...) }

// printJSON writes the result as the one JSON document.
func (a *app) printJSON(v any) error {
	e := json.NewEncoder(a.stdout)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// usageError is a mistake in how the program was called.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usage(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// errFailed ends a command with exit 1 when all has been said already.
var errFailed = errors.New("failed")

// run is the program: it returns the exit code.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	a := &app{ctx: ctx, stdin: stdin, stdout: stdout, stderr: stderr, env: config.OSEnvironment(), now: time.Now}
	return a.run(args)
}

func (a *app) run(args []string) int {
	out := &results{Writer: a.stdout}
	a.stdout = out
	code := a.do(args)
	if out.err != nil {
		a.say("godwit: the result could not be written: %s; make room, and look before you repeat a change (for a token that is lost: godwit host rotate)", out.err)
		return exitFailed
	}
	return code
}

// results is standard output. It remembers that it could not be written: what
// is shown once must not get lost with exit code 0.
type results struct {
	io.Writer
	err error
}

func (r *results) Write(p []byte) (int, error) {
	n, err := r.Writer.Write(p)
	if err != nil && r.err == nil {
		r.err = err
	}
	return n, err
}

// isTerminal tells whether a stream is a person's screen or keyboard.
func isTerminal(stream any) bool {
	if r, ok := stream.(*results); ok {
		stream = r.Writer
	}
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// do runs the command and says why it did not succeed, unless that is that its
// result could not be written.
func (a *app) do(args []string) int {
	out := a.stdout.(*results)
	switch {
	case len(args) == 0:
		// Asked for nothing: say what there is, as a mistake.
		a.stdout = a.stderr
		_, _, _ = a.parse([]string{"--help"})
		return exitUsage
	case args[0] == "help":
		args = append(slices.Clone(args[1:]), "--help")
	}
	command, helped, err := a.parse(args)
	if helped {
		return exitDone
	}
	if err == nil {
		err = command.Run(a)
	}
	if out.err != nil {
		return exitFailed
	}
	return a.explain(command, err)
}

// parse reads the command line. helped tells that help was asked for and given.
func (a *app) parse(args []string) (command *kong.Context, helped bool, err error) {
	parser, err := kong.New(&commands{},
		kong.Name("godwit"),
		kong.Description("Dynamic DNS that you own: a name that follows its address.\n\nBegin with: godwit demo"),
		kong.Writers(a.stdout, a.stderr),
		kong.Exit(func(int) { helped = true }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.Bind(a),
		kong.Vars{"run_socket": runSocket},
	)
	if err != nil {
		return nil, false, err
	}
	command, err = parser.Parse(args)
	if err != nil {
		var wrong *kong.ParseError
		if errors.As(err, &wrong) {
			command = wrong.Context
		}
		return command, helped, usage("%s", err)
	}
	// The last one would win, and the others would be ignored silently.
	seen := map[*kong.Flag]bool{}
	for _, path := range command.Path {
		if path.Flag == nil || path.Resolved {
			continue
		}
		if seen[path.Flag] && !path.Flag.IsCumulative() {
			return command, helped, usage("--%s is given twice", path.Flag.Name)
		}
		seen[path.Flag] = true
	}
	return command, helped, nil
}

// explain says why a command did not succeed and returns the exit code.
func (a *app) explain(command *kong.Context, err error) int {
	var wrong *usageError
	var setting *config.Error
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errFailed):
		return exitFailed
	case errors.As(err, &wrong), errors.As(err, &setting):
		a.say("godwit: %s", err)
		path := "godwit"
		if command != nil {
			if node := command.Selected(); node != nil {
				path = node.FullPath()
			} else if words := command.Command(); words != "" {
				path += " " + words
			}
		}
		// Without the names of arguments, which FullPath has.
		words := slices.DeleteFunc(strings.Fields(path), func(w string) bool { return strings.HasPrefix(w, "<") || strings.HasPrefix(w, "[") })
		a.say("For help run: %s --help", strings.Join(words, " "))
		return exitUsage
	case errors.Is(err, context.Canceled) && a.ctx.Err() != nil:
		a.say("godwit: interrupted; run the command again to finish")
		return exitFailed
	}
	a.say("godwit: %s", err)
	return exitFailed
}
