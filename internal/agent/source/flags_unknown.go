//go:build dragonfly || netbsd || openbsd

package source

import (
	"errors"
	"fmt"
	"net/netip"
)

// unfit: without the flags a temporary address looks like a stable one, so none
// is taken.
func unfit(string, netip.Addr) (string, error) {
	return "", fmt.Errorf("this system's IPv6 addresses are not told apart; let the server see the address: %w", errors.ErrUnsupported)
}
