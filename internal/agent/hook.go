package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"time"
)

const (
	hookTimeout = 30 * time.Second
	// hookOutput bounds what is kept of a hook's output, in octets.
	hookOutput = 2048
)

// runHook runs a program after the server acknowledged another address. There
// is no shell: argv is what the configuration has. The environment is PATH,
// HOME and LANG, and
//
//	GODWIT_HOST          the host's name
//	GODWIT_SERVER        the server's URL
//	GODWIT_FAMILY        IPv4 or IPv6
//	GODWIT_ADDRESS       the new address; empty: it was removed
//	GODWIT_OLD_ADDRESS   the one before; empty: none
//
// It is ended after half a minute. The output is its first 2048 octets.
func runHook(ctx context.Context, argv []string, host, server string, f Family, now, old netip.Addr) (output string, err error) {
	ctx, cancel := context.WithTimeout(ctx, hookTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = []string{
		"PATH=" + cmp.Or(os.Getenv("PATH"), "/usr/sbin:/usr/bin:/sbin:/bin"),
		"GODWIT_HOST=" + host, "GODWIT_SERVER=" + server, "GODWIT_FAMILY=" + f.String(),
		"GODWIT_ADDRESS=" + text(now), "GODWIT_OLD_ADDRESS=" + text(old),
	}
	for _, key := range []string{"HOME", "LANG"} {
		if value, ok := os.LookupEnv(key); ok {
			cmd.Env = append(cmd.Env, key+"="+value)
		}
	}
	var out bounded
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second // for a child of its own that holds the output open
	err = cmd.Run()
	if ctx.Err() != nil && err != nil {
		err = fmt.Errorf("it took more than %s and was ended", hookTimeout)
	}
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // it went well, and left something in the background
	}
	return string(out.kept), err
}

func text(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// bounded keeps the beginning of what is written.
type bounded struct{ kept []byte }

func (b *bounded) Write(p []byte) (int, error) {
	b.kept = append(b.kept, p[:min(len(p), hookOutput-len(b.kept))]...)
	return len(p), nil
}
