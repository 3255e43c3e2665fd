package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/kardianos/service"

	"godwit/internal/agent"
	"godwit/internal/agent/command"
)

// serviceName is what the system calls the agent, the same as in packages.
const serviceName = "godwit-agent"

// agentServiceFlags say which service.
type agentServiceFlags struct {
	User   bool `help:"A service of your own, which runs while you are logged in and needs no root. macOS has only these."`
	DryRun bool `help:"Only print what would be done."`
}

// user tells whether the service is the user's own.
func (f agentServiceFlags) user() bool { return f.User || runtime.GOOS == "darwin" }

type agentInstallCommand struct {
	agentServiceFlags
	Config string `placeholder:"FILE" help:"Configuration file that the service reads, if it is not the default one."`
}

func (agentInstallCommand) Help() string {
	return `Makes a service of this very program, with systemd, launchd, OpenWrt's procd, or Windows, and
starts it. Under systemd it has a user of its own, made by systemd, and no capability. A package
that brought its own service file needs none of this.

Examples:

    sudo godwit agent install
    godwit agent install --user
    godwit agent install --dry-run`
}

func (c agentInstallCommand) Run(a *app) error {
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program's own file: %w", err)
	}
	config := c.Config
	if config != "" {
		if config, err = filepath.Abs(config); err != nil {
			return err
		}
	}
	s, platform, err := agentService(c.user(), program, config)
	if err != nil {
		return err
	}
	if c.DryRun {
		a.say("With %s, this would make and start the service %s:", platform, serviceName)
		a.print("%s", strings.TrimRight(serviceText(platform, c.user(), program, config), "\n"))
		return nil
	}
	settings, err := installSettings(config, c.user())
	if err != nil {
		return err
	}
	if err := protect(settings.Agent.Dir); err != nil {
		return err
	}
	if err := s.Install(); err != nil {
		return fmt.Errorf("make the service %s: %w; it may need root (sudo), or be there already (godwit agent uninstall)", serviceName, err)
	}
	a.say("The service %s was made with %s.", serviceName, platform)
	if err := s.Start(); err != nil {
		return fmt.Errorf("start the service %s: %w; look at its log, and start it yourself", serviceName, err)
	}
	a.say("It was started. To see how it is: godwit agent status")
	return nil
}

// installSettings refuses a service that would only fail, again and again: who
// joined without root has keys and settings where root's service does not look.
func installSettings(config string, user bool) (*command.Settings, error) {
	s, err := command.Load(command.Flags{Config: config}, command.OS())
	if err == nil {
		err = s.Check()
	}
	if err != nil && !user {
		return nil, usage("%s, as the one who installs the service (sudo), or make one of your own: godwit agent install --user", err)
	}
	return s, agentUsage(err)
}

// protect gives the state directory on Windows to the service's user, and takes
// it from all but the system and its administrators: what is below %ProgramData%
// can be read by every user. Accounts are named by their well-known SIDs, because
// their names differ by language. Elsewhere the files' modes do all that.
func protect(dir string) error {
	if runtime.GOOS != "windows" {
		return nil
	}
	if err := agent.MakeDir(dir); err != nil {
		return fmt.Errorf("make the state directory: %w", err)
	}
	out, err := exec.Command("icacls", dir, "/inheritance:r", "/grant:r",
		"*S-1-5-18:(OI)(CI)F", "*S-1-5-32-544:(OI)(CI)F", "*S-1-5-19:(OI)(CI)M").CombinedOutput()
	if err != nil {
		return fmt.Errorf("give %s to the service: icacls: %w: %s; run this as an administrator", dir, err, strings.TrimSpace(string(out)))
	}
	return nil
}

type agentUninstallCommand struct {
	agentServiceFlags
}

func (agentUninstallCommand) Help() string {
	return `Keys, configuration and state stay.

Example:

    sudo godwit agent uninstall`
}

func (c agentUninstallCommand) Run(a *app) error {
	s, platform, err := agentService(c.user(), "", "")
	if err != nil {
		return err
	}
	if c.DryRun {
		a.say("With %s, this would stop and remove the service %s.", platform, serviceName)
		return nil
	}
	_ = s.Stop() // it may not run; if it cannot be removed, that is said
	if err := s.Uninstall(); err != nil {
		return fmt.Errorf("remove the service %s: %w; it may need root (sudo), or not be there", serviceName, err)
	}
	a.say("The service %s was removed. Keys, configuration and state are where they were.", serviceName)
	return nil
}

// agentService is the service as the library has it.
func agentService(user bool, program, config string) (service.Service, string, error) {
	platform := service.Platform()
	if platform == "" {
		return nil, "", errors.New("this system has no service manager that godwit knows; start it as your system starts its programs: godwit agent run")
	}
	c := &service.Config{
		Name: serviceName, DisplayName: "godwit agent", Description: "Keeps names at this device's address",
		Executable: program, Arguments: serviceArguments(config),
		Option: service.KeyValue{"UserService": user, "OnFailure": "restart"},
	}
	switch platform {
	case "linux-systemd":
		c.Option["SystemdScript"] = serviceText(platform, user, program, config)
	case "windows-service":
		c.UserName = `NT AUTHORITY\LocalService`
	}
	s, err := service.New(&agentProgram{}, c)
	if err != nil {
		return nil, platform, fmt.Errorf("prepare the service: %w", err)
	}
	return s, platform, nil
}

func serviceArguments(config string) []string {
	args := []string{"agent", "run"}
	if config != "" {
		args = append(args, "--config", config)
	}
	return args
}

// serviceText is the file that the service manager gets, or what it is told.
func serviceText(platform string, user bool, program, config string) string {
	words := append([]string{program}, serviceArguments(config)...)
	if platform != "linux-systemd" {
		return strings.Join(words, " ")
	}
	for i, w := range words {
		words[i] = systemdWord(w)
	}
	start := strings.Join(words, " ")
	if user {
		return fmt.Sprintf(systemdUserUnit, start)
	}
	return fmt.Sprintf(systemdUnit, start)
}

// systemdWord is one argument as systemd.service(5) reads it.
func systemdWord(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `%`, `%%`, `$`, `$$`).Replace(text) + `"`
}

const systemdUnit = `[Unit]
Description=Keeps names at this device's address
After=network-online.target
Wants=network-online.target

[Service]
ExecStart=%s
Restart=always
RestartSec=30
DynamicUser=yes
StateDirectory=godwit-agent
StateDirectoryMode=0700
CapabilityBoundingSet=
NoNewPrivileges=yes
PrivateDevices=yes
PrivateTmp=yes
ProtectSystem=strict
ProtectHome=read-only
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
ProtectClock=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK AF_UNIX
RestrictNamespaces=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service

[Install]
WantedBy=multi-user.target
`

const systemdUserUnit = `[Unit]
Description=Keeps names at this device's address

[Service]
ExecStart=%s
Restart=always
RestartSec=30
NoNewPrivileges=yes

[Install]
WantedBy=default.target
`

// agentProgram is the agent as Windows runs it, which wants to be told that the
// service has started and stopped. Elsewhere a service is a program like any.
type agentProgram struct {
	a      *app
	s      *command.Settings
	cancel context.CancelFunc
	done   chan error
}

// asService tells whether Windows started the program as a service.
func asService() bool { return runtime.GOOS == "windows" && !service.Interactive() }

func (p *agentProgram) Start(service.Service) error {
	if err := p.s.Check(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(p.a.ctx)
	p.cancel, p.done = cancel, make(chan error, 1)
	go func() { p.done <- command.Run(ctx, p.s, p.a.stderr) }()
	return nil
}

func (p *agentProgram) Stop(service.Service) error {
	p.cancel()
	return <-p.done
}

// runService runs the agent under Windows's service manager until that stops it.
func (a *app) runService(s *command.Settings) error {
	service, err := service.New(&agentProgram{a: a, s: s}, &service.Config{Name: serviceName})
	if err != nil {
		return fmt.Errorf("speak to the service manager: %w", err)
	}
	return service.Run()
}
