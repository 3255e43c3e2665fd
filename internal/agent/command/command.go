// Package command is what `godwit agent` and godwit-agent do: it turns flags,
// environment and one file into an agent, and has the deeds around it: join,
// rotate, status. The programs only parse their command lines and print.
//
// A flag goes before its environment variable, and that before the file. In the
// file, what a [[host]] says goes before what stands above all of them. Nothing
// that is set is ignored: an unknown key is refused with its line.
package command

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"

	"godwit/internal/agent"
	"godwit/internal/agent/source"
)

// Run keeps the hosts right until ctx ends.
func Run(ctx context.Context, s *Settings, messages io.Writer) error {
	a, unlock, err := s.agent(messages)
	if err != nil {
		return err
	}
	defer unlock()
	a.Run(ctx)
	return nil
}

// Once tries every host one time. The error is that of what did not succeed.
func Once(ctx context.Context, s *Settings, messages io.Writer) error {
	a, unlock, err := s.agent(messages)
	if err != nil {
		return err
	}
	defer unlock()
	return a.Once(ctx)
}

// agent makes the agent, and holds its state directory until unlock.
func (s *Settings) agent(messages io.Writer) (a *agent.Agent, unlock func(), err error) {
	if err := s.Check(); err != nil {
		return nil, nil, err
	}
	if err := agent.MakeDir(s.Agent.Dir); err != nil {
		return nil, nil, fmt.Errorf("make the state directory: %w; name another: --state-dir DIR", err)
	}
	if unlock, err = lock(s.Agent.Dir); err != nil {
		return nil, nil, err
	}
	c := s.Agent
	c.Watch = source.Watch
	options := &slog.HandlerOptions{Level: s.LogLevel}
	if s.LogJSON {
		c.Log = slog.New(slog.NewJSONHandler(messages, options))
	} else {
		c.Log = slog.New(slog.NewTextHandler(messages, options))
	}
	if a, err = agent.New(c); err != nil {
		unlock()
		return nil, nil, err
	}
	return a, unlock, nil
}

// StatusFile is where the agent tells what it does.
func (s *Settings) StatusFile() string {
	if s.Agent.Status != "" {
		return s.Agent.Status
	}
	return filepath.Join(s.Agent.Dir, agent.StatusName)
}
