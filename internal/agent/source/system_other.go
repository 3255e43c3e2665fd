//go:build !linux && !windows && !darwin && !dragonfly && !freebsd && !netbsd && !openbsd

package source

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"godwit/internal/agent"
)

func addresses(agent.Family) ([]address, error) {
	return nil, fmt.Errorf("interfaces are not read on this system: %w", errors.ErrUnsupported)
}

func gateway() (netip.Addr, error) {
	return netip.Addr{}, fmt.Errorf("routes are not read on this system: %w", errors.ErrUnsupported)
}

func delegated() ([]netip.Prefix, error) {
	return nil, fmt.Errorf("this system does not tell which prefix is delegated; give interface or command: %w", errors.ErrUnsupported)
}

// Watch returns errors.ErrUnsupported: this system has no report of changes
// that it could wait for.
func Watch(context.Context, func()) error { return errors.ErrUnsupported }
