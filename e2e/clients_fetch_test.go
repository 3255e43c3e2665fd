//go:build linux

package e2e

import (
	"fmt"
	"strings"
)

// updateURL is the update of hosts in one request. Without named
// addresses it is the one that the request comes from.
func (r *clientRig) updateURL(w wish, userinfo string) string {
	url := fmt.Sprintf("%s://%s%s/nic/update?hostname=%s", r.scheme, userinfo, r.server(), strings.Join(w.hosts, ","))
	if len(w.addresses()) > 1 {
		url += "&myip=" + strings.Join(w.addresses(), ",")
	}
	return url
}

func curl() program {
	return program{
		name: "curl", need: needs("curl"),
		update: func(r *clientRig, w wish) ran {
			return r.run(foreign{args: []string{"curl", "-q", "-K", r.write("curlrc", fmt.Sprintf(
				"url = %q\nuser = \"%s:%s\"\ncacert = %q\nsilent\nshow-error\nfail-with-body\nmax-time = 30\n", r.updateURL(w, ""), w.login(), w.token, r.ca))}})
		},
		lessons: map[string]lesson{
			"first update":                 {says: `^good 198\.51\.100\.7\n$`, sent: 1},
			"nothing new":                  {says: `^nochg 198\.51\.100\.7\n$`, sent: 1},
			"nothing new, forced":          {says: `^nochg 198\.51\.100\.7\n$`, sent: 1},
			"change":                       {says: `^good 198\.51\.100\.8\n$`, sent: 1},
			"server down":                  {code: 7, says: "Failed to connect"},
			"server back":                  {says: `^good 198\.51\.100\.9\n$`, sent: 1},
			"wrong password":               {code: 22, says: `error: 401\nbadauth[^\n]*\n$`, sent: 1},
			"wrong password, unknown host": {code: 22, says: `error: 401\nbadauth[^\n]*\n$`, sent: 1},
			"another's host":               {code: 22, says: `error: 404\nnohost not-yours\n$`, sent: 1},
			"unknown host":                 {code: 22, says: `error: 404\nnohost not-yours\n$`, sent: 1},
			"two names":                    {says: `^good 198\.51\.100\.14\ngood 198\.51\.100\.14\n$`, sent: 1},
			"both families":                {says: `^good 198\.51\.100\.11,2001:db8::11\n$`, sent: 1},
			"address refused":              {code: 22, says: `error: 422\ndnserr address-not-allowed\n$`, sent: 1},
			"too often":                    {code: 22, says: `error: 503\n911 rate-limited\n$`, sent: 1},
		},
	}
}

// wget is GNU wget. It sends a password when it has been asked for one, so that
// each update is two requests.
func wget() program {
	return program{
		name: "wget", need: needs("wget"),
		update: func(r *clientRig, w wish) ran {
			return r.run(foreign{args: []string{"wget", "--config=" + r.write("wgetrc", fmt.Sprintf(
				"user = %s\npassword = %s\nca_certificate = %s\n", w.login(), w.token, r.ca)), "-nv", "-t", "1", "-O", "-", r.updateURL(w, "")}})
		},
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
			"two names":                    {says: `(?m)^good 198\.51\.100\.14\ngood 198\.51\.100\.14$`, sent: 2},
			"both families":                {says: `(?m)^good 198\.51\.100\.11,2001:db8::11$`, sent: 2},
			"address refused":              {code: 8, says: "ERROR 422", sent: 2},
			"too often":                    {code: 8, says: "ERROR 503", sent: 2},
		},
	}
}

// busyboxWget checks certificates with the openssl that stands beside it. It is
// never given -T: Debian's build falls over it.
func busyboxWget() program {
	return program{
		name: "busybox wget", need: needs("busybox", "openssl"),
		update: func(r *clientRig, w wish) ran {
			return r.run(foreign{
				args: []string{"busybox", "wget", "-q", "-O", "-", r.updateURL(w, w.login()+":"+w.token+"@")},
				env:  []string{"SSL_CERT_FILE=" + r.ca},
			})
		},
		lessons: map[string]lesson{
			"first update":                 {says: `(?m)^good 198\.51\.100\.7$`, sent: 1},
			"nothing new":                  {says: `(?m)^nochg 198\.51\.100\.7$`, sent: 1},
			"nothing new, forced":          {says: `(?m)^nochg 198\.51\.100\.7$`, sent: 1},
			"change":                       {says: `(?m)^good 198\.51\.100\.8$`, sent: 1},
			"server down":                  {code: 1, says: "error getting response|Connection refused|error"},
			"server back":                  {says: `(?m)^good 198\.51\.100\.9$`, sent: 1},
			"wrong password":               {code: 1, says: "401 Unauthorized", sent: 1},
			"wrong password, unknown host": {code: 1, says: "401 Unauthorized", sent: 1},
			"another's host":               {code: 1, says: "404 Not Found", sent: 1},
			"unknown host":                 {code: 1, says: "404 Not Found", sent: 1},
			"two names":                    {says: `(?m)^good 198\.51\.100\.14\ngood 198\.51\.100\.14$`, sent: 1},
			"both families":                {says: `(?m)^good 198\.51\.100\.11,2001:db8::11$`, sent: 1},
			"address refused":              {code: 1, says: "422 Unprocessable Entity", sent: 1},
			"too often":                    {code: 1, says: "503 Service Unavailable", sent: 1},
		},
	}
}
