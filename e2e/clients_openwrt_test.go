//go:build linux

package e2e

import (
	"fmt"
	"path/filepath"
	"testing"
)

// OpenWrt's ddns-scripts cannot run here. What they run can: do_transfer of
// net/ddns-scripts/files/usr/lib/ddns/dynamic_dns_functions.sh (2.8.4, in
// https://github.com/openwrt/packages) makes these command lines, for a section
// of the "custom" service with use_https and cacert set. One section has one
// name and one family. Such a service has no pattern for the answer: the exit
// code alone says whether it worked. The scripts then ask DNS.

// openwrtURL is the update_url of docs/clients.md, filled in.
func (r *clientRig) openwrtURL(w wish, host, address string) string {
	return fmt.Sprintf("%s://%s:%s@%s/nic/update?hostname=%s&myip=%s", r.scheme, w.login(), w.token, r.server(), host, address)
}

// openwrtSection runs one section's update with a program, and returns with what
// it said what the scripts find in the file for the answer.
func (r *clientRig) openwrtSection(transfer func(data, errors string) []string, w wish, host, address string) ran {
	data, errors := filepath.Join(r.dir, "ddns.dat"), filepath.Join(r.dir, "ddns.err")
	r.write("ddns.dat", "")
	got := r.run(foreign{args: append(transfer(data, errors), r.openwrtURL(w, host, address))})
	got.said += r.read("ddns.dat") + r.read("ddns.err")
	return got
}

func openwrtUpdate(transfer func(ca, data, errors string) []string) func(*clientRig, wish) ran {
	return func(r *clientRig, w wish) ran {
		var last ran
		said := ""
		for _, host := range w.hosts {
			for _, address := range w.addresses() {
				last = r.openwrtSection(func(data, errors string) []string { return transfer(r.ca, data, errors) }, w, host, address)
				said += last.said
			}
		}
		last.said = said
		return last
	}
}

func openwrtWget() program {
	return program{
		name: "OpenWrt with wget", need: needs("wget"),
		update: openwrtUpdate(func(ca, data, errors string) []string {
			return []string{"wget", "--hsts-file=" + filepath.Join(filepath.Dir(data), "hsts"), "-nv", "-t", "1", "-O", data, "-o", errors, "--ca-certificate=" + ca, "--no-proxy"}
		}),
		lessons: map[string]lesson{
			"first update":                 {says: `(?m)^good 198\.51\.100\.7$`, sent: 2},
			"nothing new":                  {says: `(?m)^nochg 198\.51\.100\.7$`, sent: 2},
			"nothing new, forced":          {says: `(?m)^nochg 198\.51\.100\.7$`, sent: 2},
			"change":                       {says: `(?m)^good 198\.51\.100\.8$`, sent: 2},
			"server down":                  {code: 4, says: "Connection refused"},
			"server back":                  {says: `(?m)^good 198\.51\.100\.9$`, sent: 2},
			"wrong password":               {code: 6, says: "Username/Password Authentication Failed", sent: 2},
			"wrong password, unknown host": {code: 6, says: "Username/Password Authentication Failed", sent: 2},
			"another's host":               {code: 8, says: "ERROR 404", sent: 2},
			"unknown host":                 {code: 8, says: "ERROR 404", sent: 2},
			"two names":                    {says: `(?s)good 198\.51\.100\.14\n.*good 198\.51\.100\.14\n`, sent: 4},
			"both families":                {says: `(?s)good 198\.51\.100\.11\n.*good 2001:db8::11\n`, sent: 4},
			"address refused":              {code: 8, says: "ERROR 422", sent: 2},
			"too often":                    {code: 8, says: "ERROR 503", sent: 2},
		},
	}
}

// openwrtCurl has no -f: a status makes no difference to it, and the scripts
// take every answer for success until they ask DNS.
func openwrtCurl() program {
	return program{
		name: "OpenWrt with curl", need: needs("curl"),
		update: openwrtUpdate(func(ca, data, errors string) []string {
			return []string{"curl", "-RsS", "-o", data, "--stderr", errors, "--cacert", ca, "--noproxy", "*"}
		}),
		lessons: map[string]lesson{
			"first update":                 {says: `^good 198\.51\.100\.7\n$`, sent: 1},
			"nothing new":                  {says: `^nochg 198\.51\.100\.7\n$`, sent: 1},
			"nothing new, forced":          {says: `^nochg 198\.51\.100\.7\n$`, sent: 1},
			"change":                       {says: `^good 198\.51\.100\.8\n$`, sent: 1},
			"server down":                  {code: 7, says: "Failed to connect"},
			"server back":                  {says: `^good 198\.51\.100\.9\n$`, sent: 1},
			"wrong password":               {says: "^badauth", sent: 1},
			"wrong password, unknown host": {says: "^badauth", sent: 1},
			"another's host":               {says: `^nohost not-yours\n$`, sent: 1},
			"unknown host":                 {says: `^nohost not-yours\n$`, sent: 1},
			"two names":                    {says: `^good 198\.51\.100\.14\ngood 198\.51\.100\.14\n$`, sent: 2},
			"both families":                {says: `^good 198\.51\.100\.11\ngood 198\.51\.100\.11,2001:db8::11\n$|^good 198\.51\.100\.11\ngood 2001:db8::11\n$`, sent: 2},
			"address refused":              {says: `^dnserr address-not-allowed\n$`, sent: 1},
			"too often":                    {says: `^911 rate-limited\n$`, sent: 1},
		},
	}
}

// TestOpenWrtWithBusyBox: the scripts refuse https with BusyBox wget, so this is
// plain HTTP, which takes a password over loopback only.
func TestOpenWrtWithBusyBox(t *testing.T) {
	needProgram(t, "busybox")
	r := newClientRig(t, false)
	r.scheme = "http"
	const host = "nas." + zone
	url := r.openwrtURL(wish{hosts: []string{host}, token: r.add(host)}, host, "127.0.0.1")
	got := r.run(foreign{args: []string{"busybox", "wget", "-q", "-O", filepath.Join(r.dir, "ddns.dat"), "-Y", "off", url}})
	if answer := r.read("ddns.dat"); got.code != 0 || got.said != "" || answer != "good 127.0.0.1\n" || r.shows(host) != "127.0.0.1" {
		t.Errorf("exit %d, %q, answer %q, DNS shows %q", got.code, got.said, answer, r.shows(host))
	}
}

// TestOpenWrtNoIP: update_no-ip_com.sh first sets a loopback address, goes on only
// if that is good, and sets the true one a second later. DNS never shows the first.
func TestOpenWrtNoIP(t *testing.T) {
	needProgram(t, "curl")
	r := newClientRig(t, true)
	const host = "nas." + zone
	w := wish{hosts: []string{host}, token: r.token("host", "add", host, "--addresses", "198.51.100.0/24,2001:db8::/32", "--source", "free")}
	for _, c := range []struct{ dummy, address, shows string }{
		{"127.0.0.1", "198.51.100.7", "198.51.100.7"},
		{"::1", "2001:db8::7", "198.51.100.7 2001:db8::7"},
	} {
		r.relay.move(c.address)
		before := r.shows(host)
		for _, step := range []struct{ address, shows string }{{c.dummy, before}, {c.address, c.shows}} {
			w.v4 = step.address
			got := openwrtCurl().update(r, w)
			if got.said != "good "+step.address+"\n" || r.shows(host) != step.shows {
				t.Errorf("%s: exit %d, %q, and DNS shows %q", step.address, got.code, got.said, r.shows(host))
			}
		}
	}
}
