//go:build linux

package e2e

import (
	"encoding/base64"
	"strings"
	"testing"

	"godwit/internal/api"
	"godwit/internal/awstest"
)

// TestAWSRouters: routers speak dyndns2 and its dialects to the Function URL as
// they do to the daemon: Basic and the query come through the platform's event as
// they were sent, and the seed's door, which takes any path, leaves theirs alone.
func TestAWSRouters(t *testing.T) {
	s := deploy(t, awstest.StartMoto(t), nil)
	const host = "router." + zone
	var made, url api.Created
	s.must(&made, "", "host", "add", host, "--source", "free")
	s.must(&url, "", "host", "token", "add", host, "--url-token")
	basic := func(token string) map[string]string {
		return map[string]string{"authorization": "Basic " + base64.StdEncoding.EncodeToString([]byte(host+":"+token)), "user-agent": "ddclient/3.10.0"}
	}
	for _, c := range []struct {
		name string
		awstest.URLRequest
		status int
		body   string
	}{
		{"first update", awstest.URLRequest{Path: "/nic/update", Query: "system=dyndns&hostname=" + host + "&myip=" + home1, Header: basic(made.Token)}, 200, "good " + home1 + "\n"},
		{"again", awstest.URLRequest{Path: "//nic/update/", Query: "hostname=" + host + "&myip=" + home1, Header: basic(made.Token)}, 200, "nochg " + home1 + "\n"},
		{"the source, over IPv6", awstest.URLRequest{Path: "/v3/update", Query: "hostname=" + host + "&myip=", Source: home6, Header: basic(made.Token)}, 200, "good " + home6 + "\n"},
		{"escapes stay as they were sent", awstest.URLRequest{Path: "/nic/update", Query: "hostname=" + strings.ReplaceAll(host, ".", "%2E") + "%2C&myip=" + home2 + "%2C" + strings.ReplaceAll(home6, ":", "%3a"), Header: basic(made.Token)}, 200, "good " + home2 + "," + home6 + "\n"},
		{"a form", awstest.URLRequest{Method: "POST", Path: "/nic/update", Body: "hostname=" + host + "&myip=" + home1, Encoded: true, Header: map[string]string{"authorization": basic(made.Token)["authorization"], "content-type": "application/x-www-form-urlencoded"}}, 200, "good " + home1 + "\n"},
		{"wrong password", awstest.URLRequest{Path: "/nic/update", Query: "hostname=" + host, Header: basic(made.Token[:34] + "0")}, 401, "badauth\n"},
		{"unknown host", awstest.URLRequest{Path: "/nic/update", Query: "hostname=none." + zone, Header: basic(made.Token)}, 200, "nohost not-yours\n"},
		{"a private address", awstest.URLRequest{Path: "/nic/update", Query: "hostname=" + host + "&myip=192.168.1.1", Header: basic(made.Token)}, 200, "dnserr address-not-allowed\n"},
		{"DuckDNS", awstest.URLRequest{Path: "/update", Query: "domains=router&token=" + url.Token + "&ip=" + home2}, 200, "OK"},
		{"DuckDNS by path", awstest.URLRequest{Path: "/update/router/" + url.Token + "/" + home1}, 200, "OK"},
		{"DuckDNS, a token that may not be in a URL", awstest.URLRequest{Path: "/update", Query: "domains=router&token=" + made.Token}, 200, "KO"},
		{"dynv6", awstest.URLRequest{Path: "/api/update", Query: "zone=" + host + "&token=" + url.Token + "&ipv4=" + home2}, 200, "addresses updated"},
		{"token URL", awstest.URLRequest{Path: "/u/" + url.Token + "/", Query: "ip=" + home1}, 200, "Updated " + host + " from " + home2 + "," + home6 + " to " + home1 + "," + home6},
		{"echo", awstest.URLRequest{Path: "/nic/checkip", Source: home1}, 200, "<html><head><title>Current IP Check</title></head><body>Current IP Address: " + home1 + "</body></html>\r\n"},
		{"HEAD", awstest.URLRequest{Method: "HEAD", Path: "/nic/update", Query: "hostname=" + host, Header: basic(made.Token)}, 405, ""},
		{"the seed's door is elsewhere", awstest.URLRequest{Method: "POST", Path: "/nic/update", Body: `{"execution_mode":"get"}`, Source: home1}, 415, ""},
	} {
		if c.Source == "" {
			c.Source = "203.0.113.9"
		}
		if c.Method == "" {
			c.Method = "GET"
		}
		a := ask(t, s.function, c.URLRequest)
		if a.StatusCode != c.status || c.body != "" && a.Body != c.body {
			t.Errorf("%s: %d %q, want %d %q", c.name, a.StatusCode, a.Body, c.status, c.body)
		}
		if c.status == 401 && a.Headers["www-authenticate"] != `Basic realm="godwit"` {
			t.Errorf("%s: headers %v", c.name, a.Headers)
		}
	}
	s.wantShown(host, "60 "+home1, "60 "+home6)
	var history []struct{ Door string }
	s.must(&history, "", "host", "history", host)
	doors := map[string]bool{}
	for _, e := range history {
		doors[e.Door] = true
	}
	if !doors["dyndns2"] || !doors["duckdns"] || !doors["dynv6"] || !doors["token-url"] {
		t.Errorf("the doors in the history are %v", doors)
	}
	awsChallenges(t, s)
}
