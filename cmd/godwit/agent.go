package main

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"godwit/internal/agent"
	"godwit/internal/agent/command"
)

// agentCommand is the program at the changing address. godwit-agent has the same
// commands, but for install and uninstall.
type agentCommand struct {
	Run       agentRunCommand       `cmd:"" help:"Keep this device's hosts right, for ever."`
	Once      agentOnceCommand      `cmd:"" help:"Tell the servers this device's addresses one time."`
	Join      agentJoinCommand      `cmd:"" help:"Make a key on this device and register it with a one-time code."`
	Rotate    agentRotateCommand    `cmd:"" help:"Replace this device's keys."`
	Status    agentStatusCommand    `cmd:"" help:"Show what the agent believes and does."`
	Install   agentInstallCommand   `cmd:"" help:"Run the agent as a service of this system."`
	Uninstall agentUninstallCommand `cmd:"" help:"Remove the service."`
}

// agentFlags are the agent's settings; docs/agent.md has them all.
type agentFlags struct {
	command.Flags `embed:""`
}

func (f agentFlags) load() (*command.Settings, error) {
	s, err := command.Load(f.Flags, command.OS())
	return s, agentUsage(err)
}

// agentUsage makes what a person set wrongly a mistake in how the program was
// called.
func agentUsage(err error) error {
	var wrong *command.Error
	if errors.As(err, &wrong) {
		return usage("%s", err)
	}
	return err
}

type agentRunCommand struct {
	agentFlags
}

func (agentRunCommand) Help() string {
	return `Looks at this device's addresses every five minutes, and at once when the system reports a
change; tells the server only what is new; and retries for ever. What it does when is in
docs/agent.md.

Examples:

    godwit agent run
    godwit agent run --host nas.dyn.example.com --url https://ddns.example.com --token-file nas.token --ipv6 off`
}

// startedAfter is when what an agent does at its start is over, or has failed for
// now. Starting a program that holds a server, a store and the tools for AWS
// takes 15 MiB that none of it uses later.
const startedAfter = 15 * time.Second

func (c agentRunCommand) Run(a *app) error {
	s, err := c.load()
	if err != nil {
		return err
	}
	// Once it is at work it hardly needs more than an agent does.
	defer time.AfterFunc(startedAfter, func() {
		debug.FreeOSMemory()
		dropProgramPages()
	}).Stop()
	if asService() {
		return agentUsage(a.runService(s))
	}
	return agentUsage(command.Run(a.ctx, s, a.stderr))
}

type agentOnceCommand struct {
	agentFlags
}

func (agentOnceCommand) Help() string {
	return `For cron: exit 0 if every host is right, 1 if one is not.

Example:

    godwit agent once --log-level warn`
}

func (c agentOnceCommand) Run(a *app) error {
	s, err := c.load()
	if err != nil {
		return err
	}
	return agentUsage(command.Once(a.ctx, s, a.stderr))
}

type agentJoinCommand struct {
	agentFlags
	jsonFlag
	Server string `arg:"" name:"url" help:"The server's URL."`
	Code   string `arg:"" help:"The one-time code that 'godwit host add --join' printed."`
}

func (agentJoinCommand) Help() string {
	return `Makes an Ed25519 key that never leaves this device, registers it for the host that the code
was made for, and adds the host to the configuration. If the answer got lost, run it again with
the same code.

Example:

    godwit agent join https://ddns.example.com abcd-efgh-ijkl-mnop`
}

func (c agentJoinCommand) Run(a *app) error {
	s, err := c.load()
	if err != nil {
		return err
	}
	joined, err := command.Join(a.ctx, s, c.Server, c.Code)
	if err != nil {
		return agentUsage(err)
	}
	if c.JSON {
		return a.printJSON(joined)
	}
	run, install := "godwit agent run", "godwit agent install"
	if c.Config != "" {
		run, install = run+" --config "+c.Config, install+" --config "+c.Config
	}
	if os.Geteuid() > 0 { // -1 on Windows
		install += " --user"
	}
	joined.Tell(a.stdout, run+", or as a service: "+install)
	return nil
}

type agentRotateCommand struct {
	agentFlags
	jsonFlag
}

func (agentRotateCommand) Help() string {
	return `The old key introduces the new one, and goes on working for a day. A running agent takes the
new key by itself.

Examples:

    godwit agent rotate
    godwit agent rotate --host nas.dyn.example.com`
}

func (c agentRotateCommand) Run(a *app) error {
	s, err := c.load()
	if err != nil {
		return err
	}
	rotated, err := command.Rotate(a.ctx, s)
	if c.JSON && err == nil {
		return a.printJSON(rotated)
	}
	command.TellRotated(a.stdout, rotated)
	return agentUsage(err)
}

type agentStatusCommand struct {
	agentFlags
	jsonFlag
}

func (agentStatusCommand) Help() string {
	return `For monitoring: exit 0 if all is right, 1 if there is trouble or the agent does not run.

Examples:

    godwit agent status
    godwit agent status --json | jq '.hosts[].families[] | {family, state, address}'`
}

func (c agentStatusCommand) Run(a *app) error {
	s, err := c.load()
	if err != nil {
		return err
	}
	status, err := agent.ReadStatus(s.StatusFile())
	if err != nil {
		return err
	}
	if c.JSON {
		if err := a.printJSON(status); err != nil {
			return err
		}
	} else {
		command.ShowStatus(a.stdout, status, a.now())
	}
	if err := status.Health(time.Now()); err != nil {
		return fmt.Errorf("trouble: %w", err)
	}
	return nil
}
