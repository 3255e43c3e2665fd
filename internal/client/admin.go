package client

import (
	"context"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"

	"godwit/internal/api"
)

// Status asks the daemon about itself.
func (c *Client) Status(ctx context.Context) (api.Status, error) {
	var out api.Status
	return out, c.do(ctx, http.MethodGet, path("status"), nil, nil, &out)
}

// Zones lists the zones that the server serves.
func (c *Client) Zones(ctx context.Context) ([]api.Zone, error) {
	var out api.Zones
	err := c.do(ctx, http.MethodGet, path("zones"), nil, nil, &out)
	return out.Zones, err
}

// ChangeZoneKeys does something with a signed zone's keys; see [api.ChangeZoneKeys].
func (c *Client) ChangeZoneKeys(ctx context.Context, zone, do string) (api.ZoneKeys, error) {
	var out api.ZoneKeys
	return out, c.do(ctx, http.MethodPost, path("zones", zone, "keys"), nil, api.ChangeZoneKeys{Do: do}, &out)
}

// AddHost makes a host with its first credential.
func (c *Client) AddHost(ctx context.Context, in api.AddHost) (api.Created, error) {
	var out api.Created
	return out, c.do(ctx, http.MethodPost, path("hosts"), nil, in, &out)
}

// Hosts lists all hosts, without credentials. It asks for page after page as
// the iteration goes on, and ends with the first error.
func (c *Client) Hosts(ctx context.Context) iter.Seq2[api.HostState, error] {
	return func(yield func(api.HostState, error) bool) {
		for cursor := ""; ; {
			page, err := c.HostPage(ctx, cursor, 0)
			if err != nil {
				yield(api.HostState{}, err)
				return
			}
			for _, h := range page.Hosts {
				if !yield(h, nil) {
					return
				}
			}
			if cursor = page.Next; cursor == "" {
				return
			}
		}
	}
}

// HostPage is one page of hosts. cursor "" is the first page; limit 0 leaves
// its size to the server.
func (c *Client) HostPage(ctx context.Context, cursor string, limit int) (api.HostPage, error) {
	query := url.Values{}
	if cursor != "" {
		query.Set("cursor", cursor)
	}
	if limit > 0 {
		query.Set("limit", strconv.Itoa(limit))
	}
	var out api.HostPage
	return out, c.do(ctx, http.MethodGet, path("hosts"), query, nil, &out)
}

// ShowHost is one host with its credentials.
func (c *Client) ShowHost(ctx context.Context, host string) (api.HostState, error) {
	var out api.HostState
	return out, c.do(ctx, http.MethodGet, path("hosts", host), nil, nil, &out)
}

// SetHost changes a host's settings; nil members stay as they are.
func (c *Client) SetHost(ctx context.Context, host string, in api.Settings) (api.HostState, error) {
	var out api.HostState
	return out, c.do(ctx, http.MethodPatch, path("hosts", host), nil, in, &out)
}

// RemoveHost empties DNS of a host and forgets it.
func (c *Client) RemoveHost(ctx context.Context, host string) error {
	return c.do(ctx, http.MethodDelete, path("hosts", host), nil, nil, nil)
}

// RotateHost replaces all tokens and secrets of a host by one new credential.
func (c *Client) RotateHost(ctx context.Context, host string, in api.RotateHost) (api.Created, error) {
	var out api.Created
	return out, c.do(ctx, http.MethodPost, path("hosts", host, "rotate"), nil, in, &out)
}

// History is a host's newest events, the newest first.
func (c *Client) History(ctx context.Context, host string) (api.History, error) {
	var out api.History
	return out, c.do(ctx, http.MethodGet, path("hosts", host, "history"), nil, nil, &out)
}

// Requests are the newest requests for changes of a host, and those that named no
// host of the server's; host "" is all. Only those after a mark are listed, which
// is 0 or the Mark of an answer before.
func (c *Client) Requests(ctx context.Context, host string, after uint64) (api.Requests, error) {
	query := url.Values{}
	if host != "" {
		query.Set("host", host)
	}
	if after > 0 {
		query.Set("after", strconv.FormatUint(after, 10))
	}
	var out api.Requests
	return out, c.do(ctx, http.MethodGet, path("requests"), query, nil, &out)
}

// InDNS is what the DNS provider has of a host. Where the server answers DNS itself
// there is none: code not-found.
func (c *Client) InDNS(ctx context.Context, host string) (api.InDNS, error) {
	var out api.InDNS
	return out, c.do(ctx, http.MethodGet, path("hosts", host, "dns"), nil, nil, &out)
}

// Tokens are a host's credentials, without secrets.
func (c *Client) Tokens(ctx context.Context, host string) (api.Tokens, error) {
	var out api.Tokens
	return out, c.do(ctx, http.MethodGet, path("hosts", host, "tokens"), nil, nil, &out)
}

// AddToken gives a host a further token.
func (c *Client) AddToken(ctx context.Context, host string, in api.TokenSpec) (api.Created, error) {
	var out api.Created
	return out, c.do(ctx, http.MethodPost, path("hosts", host, "tokens"), nil, in, &out)
}

// RotateToken replaces a token by a new one with the same limits.
func (c *Client) RotateToken(ctx context.Context, host, id string, in api.RotateToken) (api.Created, error) {
	var out api.Created
	return out, c.do(ctx, http.MethodPost, path("hosts", host, "tokens", id, "rotate"), nil, in, &out)
}

// SetToken changes which hosts a token serves, and returns all that it serves then.
func (c *Client) SetToken(ctx context.Context, host, id string, in api.SetToken) (api.TokenHosts, error) {
	var out api.TokenHosts
	return out, c.do(ctx, http.MethodPatch, path("hosts", host, "tokens", id), nil, in, &out)
}

// RevokeToken ends a credential at once, for all hosts that it served, and returns
// those.
func (c *Client) RevokeToken(ctx context.Context, host, id string) (api.TokenHosts, error) {
	var out api.TokenHosts
	return out, c.do(ctx, http.MethodDelete, path("hosts", host, "tokens", id), nil, nil, &out)
}

// Check checks the server's store. It takes as long as it takes: bound it by ctx.
func (c *Client) Check(ctx context.Context) (api.CheckResult, error) {
	var out api.CheckResult
	return out, c.exchange(ctx, http.MethodPost, path("check"), nil, nil, &out)
}

// Backup copies the server's database, without its sealing key, to w. If it
// returns an error, what w got is not whole.
func (c *Client) Backup(ctx context.Context, w io.Writer) error {
	return c.stream(ctx, path("backup"), nil, w)
}

// ExportOptions say what an export holds.
type ExportOptions struct {
	Host    string // only this one; "": all
	Secrets bool   // recoverable secrets too, in the clear
}

// Export writes hosts as one JSON document to w. If it returns an error, what w
// got is not whole.
func (c *Client) Export(ctx context.Context, w io.Writer, o ExportOptions) error {
	query := url.Values{}
	if o.Host != "" {
		query.Set("host", o.Host)
	}
	if o.Secrets {
		query.Set("secrets", "true")
	}
	return c.stream(ctx, path("export"), query, w)
}
