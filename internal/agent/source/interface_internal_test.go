package source

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"godwit/internal/agent"
)

func on(iface, addr string, preferred time.Duration, unfit string) address {
	return address{addr: netip.MustParseAddr(addr), iface: iface, unfit: unfit, preferred: preferred}
}

func TestChoose(t *testing.T) {
	for _, test := range []struct {
		name           string
		all            []address
		outgoing, last string
		want           string // an address, or what the error says
	}{
		{"one", []address{on("eth0", "2a01:100::1", forever, "")}, "eth0", "", "2a01:100::1"},
		{"none", nil, "", "", "no public address of this family"},
		{"unique local and link-local only", []address{on("eth0", "fd00::1", forever, ""), on("eth0", "fe80::1", forever, "")}, "eth0", "",
			"no public address of this family"},
		{"documentation only", []address{on("eth0", "2001:db8::1", forever, "")}, "eth0", "", "no public address of this family"},
		{"temporary only", []address{on("eth0", "2a01:100::9", time.Hour, "temporary")}, "eth0", "", "2a01:100::9 is temporary"},
		{"stable beside all others", []address{
			on("eth0", "2a01:100::2", 20*time.Hour, "temporary"), on("eth0", "2a01:100::3", 0, "deprecated"), on("eth0", "fd00::1", forever, ""),
			on("eth0", "2a01:100::4", time.Hour, "still tentative"), on("eth0", "fe80::1", forever, ""), on("eth0", "2a01:100::5", time.Hour, ""),
		}, "eth0", "", "2a01:100::5"},
		{"the kernel's interface first", []address{on("docker0", "2a01:200::1", forever, ""), on("eth0", "2a01:100::1", time.Hour, "")}, "eth0", "",
			"2a01:100::1"},
		{"another interface if that has none", []address{on("eth1", "2a01:200::1", time.Hour, ""), on("vpn0", "fd00::1", forever, "")}, "vpn0", "",
			"2a01:200::1"},
		{"longest preferred prefix", []address{on("eth0", "2a01:100:0:1::1", time.Hour, ""), on("eth0", "2a01:100:0:2::1", 2*time.Hour, "")}, "eth0", "",
			"2a01:100:0:2::1"},
		{"last while it is as good", []address{on("eth0", "2a01:100:0:1::1", 50*time.Minute, ""), on("eth0", "2a01:100:0:2::1", 55*time.Minute, "")}, "eth0",
			"2a01:100:0:1::1", "2a01:100:0:1::1"},
		{"not last when its prefix lingers", []address{on("eth0", "2a01:100:0:1::1", 50*time.Minute, ""), on("eth0", "2a01:100:0:2::1", 60*time.Minute, "")},
			"eth0", "2a01:100:0:1::1", "2a01:100:0:2::1"},
		{"not last when it is gone", []address{on("eth0", "2a01:100::1", time.Hour, "")}, "eth0", "2a01:100::7", "2a01:100::1"},
		{"not last when it is deprecated", []address{on("eth0", "2a01:100::1", time.Hour, ""), on("eth0", "2a01:100::7", 0, "deprecated")}, "eth0",
			"2a01:100::7", "2a01:100::1"},
		{"two of one prefix, whatever their lives", []address{on("eth0", "2a01:100::ffff", time.Hour, ""), on("eth0", "2a01:100::1", 5*time.Hour, "")}, "eth0",
			"2a01:100::ffff", "2a01:100::ffff"},
		{"lowest of one prefix", []address{on("eth0", "2a01:100::ffff", 5*time.Hour, ""), on("eth0", "2a01:100::1", time.Hour, "")}, "eth0", "", "2a01:100::1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			last, _ := netip.ParseAddr(test.last)
			got, err := choose("interface eth0", test.all, agent.IPv6, test.outgoing, last)
			checkChoice(t, got, err, test.want)
		})
	}
}

func TestChooseIPv4(t *testing.T) {
	for _, test := range []struct {
		name, want string
		all        []address
	}{
		{"public beside private", "20.0.0.7", []address{on("lo", "127.0.0.1", forever, ""), on("br0", "192.168.1.1", forever, ""), on("eth0", "20.0.0.7", forever, "")}},
		{"private", "behind NAT", []address{on("lo", "127.0.0.1", forever, ""), on("eth0", "192.168.1.7", forever, "")}},
		{"shared", "behind CGNAT", []address{on("eth0", "100.72.0.1", forever, "")}},
		{"what the kernel sends from is spoken of", "behind CGNAT", []address{on("docker0", "172.17.0.1", forever, ""), on("eth0", "100.72.0.1", forever, ""),
			on("br1", "10.0.0.1", forever, "")}},
		{"link-local only", "no public address", []address{on("eth0", "169.254.7.7", forever, "")}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := choose("interface", test.all, agent.IPv4, "eth0", netip.Addr{})
			checkChoice(t, got, err, test.want)
			public, ok := errors.AsType[*NotPublic](err)
			if strings.HasPrefix(test.want, "behind") && (!ok || public.NAT() != (test.want == "behind NAT") || public.CGNAT() != (test.want == "behind CGNAT")) {
				t.Errorf("error %v is not a NotPublic that says %s", err, test.want)
			}
		})
	}
}

func checkChoice(t *testing.T, got netip.Addr, err error, want string) {
	t.Helper()
	if addr, parseErr := netip.ParseAddr(want); parseErr == nil {
		if err != nil || got != addr {
			t.Errorf("got %v, %v; want %s", got, err, want)
		}
		return
	}
	if got.IsValid() || !errors.Is(err, agent.ErrNone) || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, %v; want ErrNone that says %q", got, err, want)
	}
}
