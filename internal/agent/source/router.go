package source

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"godwit/internal/agent"
)

var (
	errNoGateway = errors.New("there is no IPv4 default route, so no router to ask")
	errSilent    = errors.New("no answer")
)

// router asks the default gateway for the address of its other side.
type router struct {
	gateway func() (netip.Addr, error)
}

func (r *router) Name() string { return "router" }

// Find asks by PCP, then NAT-PMP, then UPnP IGD, and takes the first answer. A
// gateway that knows none of them and says so takes milliseconds, a silent one
// seven seconds.
func (r *router) Find(ctx context.Context, f agent.Family) (agent.Finding, error) {
	if f != agent.IPv4 {
		return agent.Finding{}, fmt.Errorf("a router has an IPv6 address of its own, not ours; use \"interface\": %w", errors.ErrUnsupported)
	}
	gateway, err := r.gateway()
	if err != nil {
		return agent.Finding{}, err
	}
	failures := []error{fmt.Errorf("router %s tells no address; switch on PCP, NAT-PMP or UPnP there, or use another source", gateway)}
	for _, protocol := range []struct {
		name string
		ask  func(context.Context, netip.Addr) (netip.Addr, error)
	}{{"PCP", askPCP}, {"NAT-PMP", askNATPMP}, {"UPnP", askUPnP}} {
		addr, err := protocol.ask(ctx, gateway)
		if ctx.Err() != nil {
			return agent.Finding{}, ctx.Err()
		}
		if err == nil {
			addr, err = checkAddr(fmt.Sprintf("router %s (%s)", gateway, protocol.name), addr, f)
		}
		switch {
		case err == nil:
			return agent.Finding{Addr: addr}, nil
		case errors.Is(err, agent.ErrNone):
			return agent.Finding{}, err
		}
		failures = append(failures, fmt.Errorf("%s: %w", protocol.name, err))
	}
	return agent.Finding{}, errors.Join(failures...)
}

// pauses are how long an answer is waited for before the request is sent again:
// the schedules of RFC 6886 section 3.1 and RFC 6887 section 8.1.1 go on for
// minutes, for the sake of a router that is starting; the agent asks again anyway.
var pauses = [...]time.Duration{250 * time.Millisecond, 500 * time.Millisecond, time.Second}

// exchange sends a datagram until accept takes an answer. What it does not take
// is not an answer to this request, and is passed over. The connection is closed
// when ctx ends.
func exchange(ctx context.Context, conn net.Conn, request []byte, accept func(reply []byte) bool) error {
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	buffer := make([]byte, 2<<10)
	for _, pause := range pauses {
		if _, err := conn.Write(request); err != nil {
			return err
		}
		if err := conn.SetReadDeadline(time.Now().Add(pause)); err != nil {
			return err
		}
		for {
			n, err := conn.Read(buffer)
			if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
				break
			}
			if err != nil {
				return err
			}
			if accept(buffer[:n]) {
				return nil
			}
		}
	}
	return errSilent
}
