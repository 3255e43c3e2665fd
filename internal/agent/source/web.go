package source

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"godwit/internal/agent"
)

const (
	webTimeout = 10 * time.Second // of one page, from the look-up of its name to its last octet
	textLimit  = 64               // octets around one address
)

// web is a list of pages that answer with the caller's address. One page is
// believed alone; of several, two must agree.
type web struct {
	urls []*url.URL
}

func newWeb(rest string) (*web, error) {
	s := &web{}
	for text := range strings.FieldsSeq(rest) {
		u, err := url.Parse(text)
		if err != nil || u.Hostname() == "" || u.User != nil {
			return nil, fmt.Errorf("source web: %q is not a URL such as https://ddns.example.com/ip", text)
		}
		loopback, _ := netip.ParseAddr(u.Hostname())
		if u.Scheme != "https" && !(u.Scheme == "http" && loopback.IsLoopback()) {
			return nil, fmt.Errorf("source web: %q is not https, so that anyone on the way could answer; give an https URL", text)
		}
		if slices.ContainsFunc(s.urls, func(other *url.URL) bool { return other.Host == u.Host }) {
			return nil, fmt.Errorf("source web: %s is there twice, and cannot confirm itself; give pages of different hosts", u.Host)
		}
		s.urls = append(s.urls, u)
	}
	if len(s.urls) == 0 {
		return nil, errors.New("source web needs the URL of at least one page, as in \"web https://ddns.example.com/ip\"")
	}
	return s, nil
}

func (s *web) Name() string {
	name := "web"
	for _, u := range s.urls {
		shown := *u // a query may hold a secret
		shown.RawQuery, shown.ForceQuery, shown.Fragment, shown.RawFragment = "", false, "", ""
		name += " " + shown.String()
	}
	return name
}

// Find asks one page after the other until one is enough or two agree.
func (s *web) Find(ctx context.Context, f agent.Family) (agent.Finding, error) {
	client := newClient(map[agent.Family]string{agent.IPv4: "tcp4", agent.IPv6: "tcp6"}[f], webTimeout)
	heard := map[netip.Addr][]string{} // which hosts answered with an address
	var answers, failures []string
	for _, u := range s.urls {
		addr, err := askPage(ctx, client, u, f)
		if ctx.Err() != nil {
			return agent.Finding{}, ctx.Err()
		}
		if err != nil && len(s.urls) == 1 {
			return agent.Finding{}, err
		}
		if err != nil { // one page alone does not even say that there is no address
			failures = append(failures, err.Error())
			continue
		}
		answers = append(answers, u.Host+" says "+addr.String())
		heard[addr] = append(heard[addr], u.Host)
		if len(heard[addr]) == min(2, len(s.urls)) {
			finding := agent.Finding{Addr: addr}
			if len(heard) > 1 {
				finding.Note = "not all pages agree: " + strings.Join(answers, ", ")
			}
			return finding, nil
		}
	}
	return agent.Finding{}, fmt.Errorf("no two pages agree on the %s address: %s", f, strings.Join(append(answers, failures...), "; "))
}

func askPage(ctx context.Context, client *http.Client, u *url.URL, f agent.Family) (netip.Addr, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return netip.Addr{}, err
	}
	request.Header.Set("Accept", "text/plain")
	data, err := fetch(client, request, textLimit)
	if err != nil {
		return netip.Addr{}, err
	}
	return parseAddr(u.Host, string(data), f)
}

// newClient makes a client that comes from an address of this device: of the
// network's family, and through no proxy, which would be told its own address. It
// follows no redirect and keeps no connection.
func newClient(network string, timeout time.Duration) *http.Client {
	return &http.Client{
		Timeout: timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
				var d net.Dialer
				return d.DialContext(ctx, network, addr)
			},
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: 16 << 10,
		},
	}
}

// fetch returns the body of an answer with status 200, at most limit octets.
func fetch(client *http.Client, request *http.Request, limit int64) ([]byte, error) {
	request.Header.Set("User-Agent", "godwit-agent")
	response, err := client.Do(request)
	if failed, ok := errors.AsType[*url.Error](err); ok {
		return nil, fmt.Errorf("ask %s: %w", request.URL.Host, failed.Err) // without the query
	}
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers with status %d, not 200", request.URL.Host, response.StatusCode)
	}
	data, err := io.ReadAll(io.LimitReader(response.Body, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", request.URL.Host, err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s answers with more than %d octets", request.URL.Host, limit)
	}
	return data, nil
}
