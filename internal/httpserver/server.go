// Package httpserver is godwit's HTTP side: the public doors, one file each, the
// admin API, and the listeners that they are served on.
//
// A door turns a request into what the core understands and the core's outcome
// into an answer; it judges nothing itself. Rules that hold for all doors:
//
//   - Paths are put into one form before they are routed, and nothing is ever
//     redirected: routers and shell clients follow no redirect.
//   - HEAD is refused on every path that can write.
//   - An answer has a Content-Length and is never chunked, and no header holds an
//     address or a version: old clients take one for the other. Only the admin
//     API's export and backup, and /metrics, stream.
//   - The source address is the socket's, or what a listed proxy says; see [Config].
//   - No input alone makes a status of 500 or above, but for inadyn, which would
//     end for good at any other: see dyndns2Status.
//   - Queries, bodies and Authorization are not logged.
package httpserver

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"sync"

	"godwit/internal/api"
	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

// Config is what a Server is made of.
type Config struct {
	Service *ddns.Service // required
	// TrustedProxies are the networks whose X-Forwarded-For is believed. Their
	// requests must have one. Empty: no header is looked at. Forwarded,
	// X-Real-IP and the like are never looked at.
	TrustedProxies []netip.Prefix
	// URL of the public doors as clients reach them, without a path; "" if not known.
	URL     string
	Version string
	// Authority is the only one that signatures may be made for, as
	// [signature.Authority] writes it; "": the one that a request names.
	Authority string
	// HTTPTokens takes tokens over plain HTTP too, where others can read them. On
	// a loopback address they are always taken.
	HTTPTokens bool
	// DefaultZone completes a label at DuckDNS's door. Zero: full names alone are
	// taken.
	DefaultZone dnsname.Name
	// SeedEverywhere gives a POST to a path that no door owns to the seed's door:
	// behind a Function URL the reference implementation takes any path.
	SeedEverywhere bool
	// Ready says why the server cannot yet do its work, in words for everyone;
	// nil: it can. A nil function: always.
	Ready  func() error
	Limits Limits
	Log    *slog.Logger // nil: nothing is logged
	// Noted is told of every request for a change, guesses too. It is called while
	// the request's sender waits, by many at once. nil: nobody is.
	Noted func(Request)

	// AdminTokenHash is HashAdminToken of the admin token. Zero: the admin API
	// is refused over TCP.
	AdminTokenHash [32]byte
	// AdminHosts are further names by which the admin API may be addressed, besides
	// addresses, localhost and URL's host.
	AdminHosts []string

	// What the admin API tells that the core does not know. A nil one:
	// there is nothing to tell, and the path answers not-found.
	Zones  func() []api.Zone
	Status func(context.Context) (api.Status, error)
	// ZoneKeys does with a signed zone's keys what [api.ChangeZoneKeys] says. What
	// cannot be now it refuses with a [*ddns.Refusal], as the store does when it
	// fails.
	ZoneKeys func(ctx context.Context, apex dnsname.Name, do string) (api.ZoneKeys, error)
	// Requests are the newest requests for changes; see [Recent.List].
	Requests func(ctx context.Context, host dnsname.Name, after uint64) (api.Requests, error)
	// Look reads what the DNS provider has of a host and its followers.
	Look func(context.Context, *ddns.Host) ([]ddns.RRset, error)
	// Backup writes a copy of the database.
	Backup func(context.Context, io.Writer) error
	// Check looks at the whole store and returns what is wrong with it.
	Check func(context.Context) (problems []string, err error)
	// Metrics answers /metrics. It may stream.
	Metrics http.Handler
}

// Server makes the handlers and serves them. Safe for concurrent use.
type Server struct {
	Config
	codes  map[string]api.Code
	bodies sync.Pool // of *[]byte, for the doors
	public http.Handler
	admin  http.Handler
}

// New returns a Server. It listens to nothing yet; see [Server.Serve].
func New(c Config) (*Server, error) {
	if c.Service == nil {
		return nil, errors.New("httpserver: Config.Service is missing")
	}
	if u, err := url.Parse(c.URL); c.URL != "" && (err != nil || u.Host == "" || strings.Trim(u.Path, "/") != "") {
		return nil, errors.New("the server's URL " + c.URL + " is not understood; write it as https://ddns.example.com")
	}
	c.URL = strings.TrimRight(c.URL, "/")
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.Limits.fill()
	s := &Server{Config: c, codes: make(map[string]api.Code)}
	for _, code := range api.Codes() {
		s.codes[code.Code] = code
	}
	s.bodies.New = func() any {
		room := make([]byte, seedBody+1)
		return &room
	}
	s.public = s.guard(normalise(s.mux(s.publicRoutes(), s.unowned), s.unowned))
	s.admin = s.guard(s.adminLock(normalise(s.mux(s.adminRoutes(), s.notFound), s.notFound)))
	return s, nil
}

// Public is the handler of all doors that are for everyone.
func (s *Server) Public() http.Handler { return s.public }

// Admin is the handler of the admin API. A request that came over a Unix socket
// is let in: the socket's permissions are the lock. Any other needs the admin
// token.
func (s *Server) Admin() http.Handler { return s.admin }

// route is one path and what its methods do.
type route struct {
	path    string // a ServeMux pattern without method
	methods map[string]http.HandlerFunc
}

func (s *Server) publicRoutes() []route {
	writes := func(handle http.HandlerFunc) map[string]http.HandlerFunc {
		return map[string]http.HandlerFunc{"GET": handle, "POST": handle}
	}
	dyndns2 := writes(s.router(doorDyndns2, (*Server).dyndns2))
	update := s.router(doorDyndns2, (*Server).update)
	return []route{
		{"/{$}", map[string]http.HandlerFunc{"GET": s.frontPage, "POST": s.seed, "OPTIONS": s.seedOptions}},
		{"/ip", map[string]http.HandlerFunc{"GET": s.echo}},
		{"/healthz", map[string]http.HandlerFunc{"GET": s.healthz}},
		{"/readyz", map[string]http.HandlerFunc{"GET": s.readyz}},
		{api.HostPath + "{name}", map[string]http.HandlerFunc{"GET": s.getAddresses}},
		{api.HostPath + "{name}" + api.AddressesPath, map[string]http.HandlerFunc{"PUT": s.setAddresses}},
		{api.HostPath + "{name}" + api.KeyPath, map[string]http.HandlerFunc{"POST": s.replaceKey}},
		{api.JoinPath, map[string]http.HandlerFunc{"POST": s.join}},
		{dyndns2Path, dyndns2},
		{"/v2/update", dyndns2},
		{"/v3/update", dyndns2},
		{"/ddns/update", dyndns2},
		{"/update", map[string]http.HandlerFunc{"GET": update, "POST": orACMEDNS(apiUser, s.acmeUpdate, update)}},
		{"/update/{domain}/{token}", writes(s.duckDNSPath)},
		{"/update/{domain}/{token}/{ip}", writes(s.duckDNSPath)},
		{"/api/update", writes(s.router(doorDynv6, (*Server).dynv6))},
		{"/u", writes(s.router(doorTokenURL, (*Server).tokenURL))},
		{"/u/{token}", writes(s.tokenURLPath)},
		{"/nic/checkip", map[string]http.HandlerFunc{"GET": s.checkIP}},
		{"/acme-dns/register", map[string]http.HandlerFunc{"POST": s.acmeRegister}},
		{"/acme-dns/update", map[string]http.HandlerFunc{"POST": s.acmeUpdate}},
		{"/acme-dns/health", map[string]http.HandlerFunc{"GET": s.acmeHealth}},
		{"/register", map[string]http.HandlerFunc{"POST": orACMEDNS("Authorization", s.acmeRegister, s.unowned)}},
		{"/health", map[string]http.HandlerFunc{"GET": orACMEDNS(apiUser, s.acmeHealth, s.unowned)}},
		{"/httpreq/present", map[string]http.HandlerFunc{"POST": s.httpreq(ddns.Add)}},
		{"/httpreq/cleanup", map[string]http.HandlerFunc{"POST": s.httpreq(ddns.Remove)}},
		{"/errors/{code}", map[string]http.HandlerFunc{"GET": s.errorPage}},
	}
}

// mux routes by path, then by method. The mux never sees a path that it would
// redirect, and its own answers are never used: they are not problems.
func (s *Server) mux(routes []route, unowned http.HandlerFunc) http.Handler {
	mux := http.NewServeMux()
	for _, r := range routes {
		var allowed []string
		writes := false
		for method := range r.methods {
			allowed = append(allowed, method)
			writes = writes || method != http.MethodGet
		}
		if !writes {
			allowed = append(allowed, http.MethodHead)
		}
		slices.Sort(allowed)
		allow := strings.Join(allowed, ", ")
		mux.HandleFunc(r.path, func(w http.ResponseWriter, req *http.Request) {
			method := req.Method
			if method == http.MethodHead && !writes {
				method = http.MethodGet
			}
			if handle, ok := r.methods[method]; ok {
				handle(w, req)
				return
			}
			w.Header().Set("Allow", allow)
			s.refuse(w, api.CodeMethod, "this path does not take "+word(req.Method), "use one of: "+allow)
		})
	}
	mux.HandleFunc("/", unowned)
	return mux
}

// word is a stranger's word, cut to what a message may hold.
func word(text string) string {
	if len(text) > 20 || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "that"
	}
	return text
}

// unowned answers for the public paths that no door owns.
func (s *Server) unowned(w http.ResponseWriter, r *http.Request) {
	if s.SeedEverywhere && r.Method == http.MethodPost {
		s.seed(w, r)
		return
	}
	s.notFound(w, r)
}

func (s *Server) notFound(w http.ResponseWriter, _ *http.Request) {
	s.refuse(w, api.CodeNotFound, "there is nothing at this path", "check the URL")
}

// guard keeps a handler's panic inside: it is logged, and the caller learns
// nothing of it.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			switch v := recover(); v {
			case nil:
			case http.ErrAbortHandler: // a stream that broke off; net/http ends the connection
				panic(v)
			default:
				s.Log.Error("a handler panicked; please report it", "method", r.Method, "panic", v, "stack", string(debug.Stack()))
				// If the answer has begun already, this only ends the connection.
				w.Header().Set("Connection", "close")
				s.refuse(w, api.CodeInternal, "the server made a mistake", "try again later")
			}
		}()
		next.ServeHTTP(w, r)
	})
}
