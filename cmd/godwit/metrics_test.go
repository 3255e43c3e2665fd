package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"godwit/internal/dnsname"
)

const metricsToken = "admin-token-of-a-test"

// watched is a server that has everything that there are metrics of.
type watched struct {
	*daemon
	token string // of nas.dyn.example.com
	tls   *http.Client
}

func startWatched(t *testing.T) *watched {
	t.Helper()
	file := pair(t, time.Now().AddDate(0, 1, 0))
	tokenFile := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(tokenFile, []byte(metricsToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	keys := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(keys, []byte("key \"transfer\" { algorithm hmac-sha256; secret \""+base64.StdEncoding.EncodeToString([]byte(metricsToken))+"\"; };\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d, target := start(t, "--zone=dyn.example.com,signed.invalid", "--dnssec=signed.invalid", "--dnssec-resolver=127.0.0.9:9", "--tsig-key-file="+keys, "--secondary=127.0.0.9:9", "--https=127.0.0.1:0", "--tls-cert="+file, "--tls-key="+file, "--admin=127.0.0.1:0", "--admin-token-file="+tokenFile)
	pem, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	var made struct{ Token string }
	text := must(t, "host", "add", "nas.dyn.example.com", "--addresses", "any", "--json", "--target", target)
	if err := json.Unmarshal([]byte(text), &made); err != nil {
		t.Fatal(err)
	}
	return &watched{d, made.Token, &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}}}
}

// fetch gets a URL, with header fields as pairs of name and value.
func fetch(t *testing.T, client *http.Client, url string, fields ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(body)
}

// overSocket speaks HTTP over a Unix socket.
func overSocket(path string) *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
}

// scrape is what Prometheus gets.
func (w *watched) scrape(t *testing.T) string {
	t.Helper()
	response, text := fetch(t, w.tls, "https://"+w.bound.Admin[0]+"/metrics", "Authorization", "Bearer "+metricsToken)
	if response.StatusCode != http.StatusOK || !strings.HasPrefix(response.Header.Get("Content-Type"), "text/plain; version=0.0.4") {
		t.Fatalf("%s %v\n%s", response.Status, response.Header, text)
	}
	return text
}

// use updates the host three times, sends an UPDATE message without a key, and
// asks six questions.
func (w *watched) use(t *testing.T) {
	t.Helper()
	for _, password := range []string{w.token, w.token, "wrong"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+w.bound.HTTPS[0]+"/nic/update", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth("nas.dyn.example.com", password)
		response, err := w.tls.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
	}
	// RFC 2136 section 2: a header with this opcode, which is refused before the rest is read.
	w.send(t, "udp", append([]byte{0, 7, 5 << 3, 0}, make([]byte, 8)...))
	for _, network := range []string{"udp", "tcp"} {
		for _, name := range []string{"nas.dyn.example.com", "nothere.dyn.example.com", "example.org"} {
			w.send(t, network, question(7, dnsname.MustParse(name), typeA))
		}
	}
}

// send sends a DNS message and waits for its answer.
func (w *watched) send(t *testing.T, network string, message []byte) {
	t.Helper()
	c, err := net.Dial(network, w.bound.DNS[0])
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if network == "tcp" {
		message = append(binary.BigEndian.AppendUint16(nil, uint16(len(message))), message...)
	}
	if _, err := c.Write(message); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 512)); err != nil {
		t.Fatal(err)
	}
}

// TestMetrics uses a server and looks at what it tells of that.
func TestMetrics(t *testing.T) {
	w := startWatched(t)
	w.use(t)
	text := w.scrape(t)
	for _, want := range []string{
		`godwit_dns_queries_total{transport="udp",type="A"} 3`,
		`godwit_dns_queries_total{transport="tcp",type="A"} 3`,
		`godwit_dns_queries_total{transport="tcp",type="other"} 0`,
		`godwit_dns_responses_total{rcode="NOERROR",transport="udp"} 1`,
		`godwit_dns_responses_total{rcode="NXDOMAIN",transport="udp"} 1`,
		`godwit_dns_responses_total{rcode="REFUSED",transport="tcp"} 1`,
		`godwit_dns_drops_total{reason="rate_limited"} 0`,
		`godwit_dns_tcp_connections_total 3`,
		`godwit_updates_total{door="dyndns2",outcome="changed"} 1`,
		`godwit_updates_total{door="dyndns2",outcome="unchanged"} 1`,
		`godwit_updates_total{door="dyndns2",outcome="bad-proof"} 1`,
		`godwit_update_duration_seconds_count{door="dyndns2"} 3`,
		`godwit_update_duration_seconds_bucket{door="dyndns2",le="10"} 3`,
		`godwit_store_hosts 1`,
		`godwit_store_refusing 0`,
		`godwit_unpublished_hosts 0`,
		`godwit_unpublished_oldest_age_seconds 0`,
		`godwit_zone_hosts{zone="dyn.example.com"} 1`,
		`godwit_dns_update_responses_total{rcode="REFUSED",transport="udp"} 1`,
		`godwit_dns_tsig_errors_total{error="BADKEY"} 0`,
		`godwit_dns_updates_overloaded_total 0`,
		`godwit_secondary_behind{secondary="127.0.0.9:9",zone="dyn.example.com"} 0`,
		`godwit_secondary_notified_timestamp_seconds{secondary="127.0.0.9:9",zone="dyn.example.com"} 0`,
		`godwit_secondary_transferred_timestamp_seconds{secondary="127.0.0.9:9",zone="dyn.example.com"} 0`,
		`godwit_dnssec_key_age_seconds{state="published",zone="signed.invalid"} 0`,
		`godwit_dnssec_at_parent{zone="signed.invalid"} 0`,
		`godwit_dnssec_signatures_total{kind="present"} 0`,
		`godwit_dnssec_signatures_refused_total{kind="made_up"} 0`,
		`godwit_tls_certificate_problem 0`,
	} {
		if !strings.Contains(text, "\n"+want+"\n") {
			t.Errorf("it lacks %s", want)
		}
	}
	for _, private := range []string{w.token, metricsToken, "nas.", "nothere", "127.0.0.1", "transfer\""} {
		if strings.Contains(text, private) {
			t.Errorf("it has %s", private)
		}
	}
	if n := strings.Count(text, "\ngodwit_"); n > 400 {
		t.Errorf("%d time series", n)
	}
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v, %v", problems, err)
	}
	if t.Failed() {
		t.Log(text)
	}
}

// TestMetricsAreTheOperators: they are there for who holds the admin token or
// the socket, and for nobody else.
func TestMetricsAreTheOperators(t *testing.T) {
	w := startWatched(t)
	admin := "https://" + w.bound.Admin[0] + "/metrics"
	response, text := fetch(t, w.tls, admin, "Authorization", "Bearer "+metricsToken, "Accept", "application/openmetrics-text; version=1.0.0")
	if kind := response.Header.Get("Content-Type"); !strings.HasPrefix(kind, "application/openmetrics-text") || !strings.HasSuffix(text, "# EOF\n") {
		t.Errorf("OpenMetrics: %s, ends in %q", kind, text[max(0, len(text)-20):])
	}
	if response, _ := fetch(t, overSocket(w.bound.Admin[1]), "http://localhost/metrics"); response.StatusCode != http.StatusOK {
		t.Errorf("at the socket: %s", response.Status)
	}
	if response, text := fetch(t, w.tls, admin); response.StatusCode != http.StatusUnauthorized || strings.Contains(text, "godwit_") {
		t.Errorf("without a token: %s", response.Status)
	}
	if response, text := fetch(t, w.tls, admin, "Authorization", "Bearer "+w.token); response.StatusCode != http.StatusUnauthorized || strings.Contains(text, "godwit_") {
		t.Errorf("with a host's token: %s", response.Status)
	}
	for _, public := range []string{"https://" + w.bound.HTTPS[0], "http://" + w.bound.HTTP[0]} {
		if response, text := fetch(t, w.tls, public+"/metrics", "Authorization", "Bearer "+metricsToken); response.StatusCode != http.StatusNotFound || strings.Contains(text, "godwit_") {
			t.Errorf("at a public listener: %s", response.Status)
		}
	}
}

// TestMetricsWithoutDNS: where DNS is not answered there is nothing to tell of it,
// and the rest is there.
func TestMetricsWithoutDNS(t *testing.T) {
	d, _ := start(t, "--dns=off")
	response, text := fetch(t, overSocket(d.bound.Admin[0]), "http://localhost/metrics")
	if response.StatusCode != http.StatusOK || strings.Contains(text, "godwit_dns_") || strings.Contains(text, "godwit_tls_") || !strings.Contains(text, "\ngodwit_store_hosts 0\n") {
		t.Errorf("%s\n%s", response.Status, text)
	}
}

// TestMetricsWithoutStore: what can be told is told when the store cannot be
// asked, for somebody is about to look why.
func TestMetricsWithoutStore(t *testing.T) {
	d, _ := start(t)
	if err := d.store.Close(); err != nil {
		t.Fatal(err)
	}
	response, text := fetch(t, overSocket(d.bound.Admin[0]), "http://localhost/metrics")
	if response.StatusCode != http.StatusOK || strings.Contains(text, "godwit_store_hosts") || !strings.Contains(text, "\ngodwit_dns_tcp_connections_total 0\n") {
		t.Errorf("%s\n%s", response.Status, text)
	}
}
