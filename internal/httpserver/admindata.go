package httpserver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"godwit/internal/api"
	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

func (s *Server) openAPI(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, "application/yaml", api.OpenAPI)
}

// untold answers for what this server has nothing to tell about.
var untold = &httpError{api.CodeNotFound, "this server does not tell that", "ask another kind of installation"}

func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	if s.Status == nil {
		s.adminFail(w, r, "status", untold)
		return
	}
	st, err := s.Status(r.Context())
	if err != nil {
		s.adminFail(w, r, "status", err)
		return
	}
	st.Started, st.Warnings = st.Started.UTC(), some(st.Warnings)
	l := &st.Listeners
	l.HTTP, l.HTTPS, l.DNS, l.Admin = some(l.HTTP), some(l.HTTPS), some(l.DNS), some(l.Admin)
	if st.Version == "" {
		st.Version = s.Version
	}
	if st.URL == "" {
		st.URL = s.URL
	}
	reply(w, http.StatusOK, st)
}

func (s *Server) zones(w http.ResponseWriter, r *http.Request) {
	if s.Zones == nil {
		s.adminFail(w, r, "zones", untold)
		return
	}
	out := api.Zones{Zones: some(s.Zones())}
	for i := range out.Zones {
		out.Zones[i].NameServers = some(out.Zones[i].NameServers)
	}
	reply(w, http.StatusOK, out)
}

// zoneKeys changes how a signed zone's keys are.
func (s *Server) zoneKeys(w http.ResponseWriter, r *http.Request) {
	apex, err := dnsname.Parse(r.PathValue("zone"))
	var in api.ChangeZoneKeys
	switch {
	case s.ZoneKeys == nil:
		err = untold
	case err != nil:
		err = malformed(err.Error(), "name a zone, such as dyn.example.com")
	default:
		err = decode(w, r, &in)
	}
	if err == nil && !slices.Contains([]string{"roll", "confirm", "leave", "stay"}, in.Do) {
		err = malformed("do is none of roll, confirm, leave and stay", "give one of them")
	}
	var out api.ZoneKeys
	if err == nil {
		out, err = s.ZoneKeys(r.Context(), apex, in.Do)
	}
	if err != nil {
		s.adminFail(w, r, "zone keys", err)
		return
	}
	s.adminDone(r.Context(), "zone keys: "+in.Do, apex.String())
	reply(w, http.StatusOK, out)
}

// requests lists the newest requests for changes.
func (s *Server) requests(w http.ResponseWriter, r *http.Request) {
	if s.Requests == nil {
		s.adminFail(w, r, "requests", untold)
		return
	}
	q, err := query(r, "host", "after")
	var host dnsname.Name
	if err == nil && q.Has("host") {
		host, err = parseHost(q.Get("host"))
	}
	var after uint64
	if err == nil && q.Has("after") {
		if after, err = strconv.ParseUint(q.Get("after"), 10, 64); err != nil {
			err = malformed("after is not a mark", "give the mark of the answer before, or leave it out")
		}
	}
	var out api.Requests
	if err == nil {
		out, err = s.Requests(r.Context(), host, after)
	}
	if err != nil {
		s.adminFail(w, r, "requests", err)
		return
	}
	reply(w, http.StatusOK, out)
}

// inDNS lists what the DNS provider has of a host.
func (s *Server) inDNS(w http.ResponseWriter, r *http.Request) {
	name, err := hostName(r)
	if err == nil && s.Look == nil {
		err = untold
	}
	var h *ddns.Host
	if err == nil {
		h, _, err = s.Service.Find(r.Context(), name)
	}
	var sets []ddns.RRset
	if err == nil {
		if sets, err = s.Look(r.Context(), h); err != nil {
			err = &ddns.Refusal{Code: ddns.Unavailable, Why: err.Error(), Cause: err} // an operator asks
		}
	}
	if err != nil {
		s.adminFail(w, r, "dns", err)
		return
	}
	out := api.InDNS{Host: name.String(), RRsets: []api.RRset{}}
	for _, set := range sets {
		values := slices.Clone(set.Texts)
		for _, a := range set.Addrs {
			values = append(values, a.String())
		}
		out.RRsets = append(out.RRsets, api.RRset{Name: set.Owner.String(), Type: set.Type.String(), TTL: set.TTL, Values: some(values)})
	}
	reply(w, http.StatusOK, out)
}

func (s *Server) importHosts(w http.ResponseWriter, r *http.Request) {
	q, err := query(r, "host")
	var single dnsname.Name
	if err == nil && q.Has("host") {
		single, err = parseHost(q.Get("host"))
	}
	if err != nil {
		s.adminFail(w, r, "import", err)
		return
	}
	allowLong(w, longWork)
	data, err := readAll(w, r, importBody)
	if err != nil {
		s.adminFail(w, r, "import", err)
		return
	}
	hosts, err := ddns.ParseImport(data, single)
	if err != nil {
		s.adminFail(w, r, "import", err)
		return
	}
	got, err := s.Service.ImportHosts(r.Context(), hosts)
	if got.Added > 0 {
		s.Log.Info("admin", "door", "admin", "outcome", "changed", "do", "import", "hosts", got.Added)
	}
	if err != nil {
		s.adminFail(w, r, "import", err)
		return
	}
	out := api.ImportResult{Added: got.Added, Skipped: make([]api.Skipped, len(got.Skipped))}
	for i, skipped := range got.Skipped {
		out.Skipped[i] = api.Skipped{Name: skipped.Name, Why: skipped.Why}
	}
	reply(w, http.StatusOK, out)
}

func (s *Server) exportHosts(w http.ResponseWriter, r *http.Request) {
	q, err := query(r, "host", "secrets")
	secrets := false
	if err == nil && q.Has("secrets") {
		if secrets, err = strconv.ParseBool(q.Get("secrets")); err != nil {
			err = malformed("secrets is neither true nor false", "give one of them")
		}
	}
	var single dnsname.Name
	if err == nil && q.Has("host") {
		single, err = parseHost(q.Get("host"))
	}
	if err != nil {
		s.adminFail(w, r, "export", err)
		return
	}
	x := exporter{s: s, out: newStream(w, "application/json"), secrets: secrets}
	if single.IsZero() {
		err = x.all(r.Context())
	} else if h, _, findErr := s.Service.Find(r.Context(), single); findErr == nil {
		err = x.one(r.Context(), h.Name) // a follower goes with its router
	} else {
		err = findErr
	}
	if err == nil {
		err = x.end()
	}
	s.endStream(w, r, "export", x.out, err)
}

// exporter writes an export document host by host.
type exporter struct {
	s       *Server
	out     *stream
	secrets bool
	hosts   int
	buffer  bytes.Buffer
}

func (x *exporter) all(ctx context.Context) error {
	for cursor := ""; ; {
		hosts, next, err := x.s.Service.List(ctx, cursor, pageHosts)
		if err != nil {
			return err
		}
		for _, h := range hosts {
			err := x.one(ctx, h.Name)
			if refusal := (*ddns.Refusal)(nil); errors.As(err, &refusal) && refusal.Code == ddns.NotFound {
				continue // removed meanwhile
			}
			if err != nil {
				return err
			}
		}
		if cursor = next; cursor == "" {
			return nil
		}
	}
}

// one writes a host. Nothing of the document is written before its first host
// was read, so that an error until then can still be told.
func (x *exporter) one(ctx context.Context, name dnsname.Name) error {
	h, credentials, err := x.s.Service.Show(ctx, name)
	if err != nil {
		return err
	}
	e, err := x.s.Service.ExportHost(h, credentials, x.secrets)
	if err != nil {
		return err
	}
	body, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	x.buffer.Reset()
	x.begin()
	x.hosts++
	x.buffer.Write(body)
	_, err = x.out.Write(x.buffer.Bytes())
	return err
}

// begin puts what stands before the next host into the buffer.
func (x *exporter) begin() {
	if x.hosts > 0 {
		x.buffer.WriteString(",\n")
		return
	}
	fmt.Fprintf(&x.buffer, "{\"godwit_export\":%d,\"time\":%q,\"hosts\":[\n", ddns.ExportVersion, time.Now().UTC().Format(time.RFC3339))
}

func (x *exporter) end() error {
	x.buffer.Reset()
	if x.hosts == 0 {
		x.begin()
	}
	x.buffer.WriteString("\n]}\n")
	_, err := x.out.Write(x.buffer.Bytes())
	return err
}

func (s *Server) backup(w http.ResponseWriter, r *http.Request) {
	if s.Backup == nil {
		s.adminFail(w, r, "backup", untold)
		return
	}
	out := newStream(w, "application/vnd.sqlite3")
	s.endStream(w, r, "backup", out, s.Backup(r.Context(), out))
}

func (s *Server) metrics(w http.ResponseWriter, r *http.Request) {
	if s.Metrics == nil {
		s.adminFail(w, r, "metrics", untold)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	s.Metrics.ServeHTTP(w, r)
}

func (s *Server) check(w http.ResponseWriter, r *http.Request) {
	if s.Check == nil {
		s.adminFail(w, r, "check", untold)
		return
	}
	allowLong(w, longWork)
	problems, err := s.Check(r.Context())
	if err != nil {
		s.adminFail(w, r, "check", err)
		return
	}
	reply(w, http.StatusOK, api.CheckResult{OK: len(problems) == 0, Problems: some(problems)})
}

// stream is an answer that is as long as it turns out to be. Its reader may be
// slow, but not stand still.
type stream struct {
	w           http.ResponseWriter
	contentType string
	begun       bool
	deadline    time.Time // of writing
	err         error     // of writing: the reader has gone
}

func newStream(w http.ResponseWriter, contentType string) *stream {
	return &stream{w: w, contentType: contentType}
}

var _ io.Writer = (*stream)(nil)

func (s *stream) Write(p []byte) (int, error) {
	if now := time.Now(); s.deadline.Sub(now) < streamStall/2 {
		s.deadline = now.Add(streamStall)
		_ = http.NewResponseController(s.w).SetWriteDeadline(s.deadline)
	}
	if !s.begun {
		s.begun = true
		h := s.w.Header()
		h.Set("Content-Type", s.contentType)
		h.Set("Cache-Control", "no-store")
	}
	n, err := s.w.Write(p)
	if err != nil {
		s.err = err
	}
	return n, err
}

// endStream ends a streamed answer. One that went wrong after it began is broken
// off, so that nobody takes it for whole.
func (s *Server) endStream(w http.ResponseWriter, r *http.Request, doing string, out *stream, err error) {
	switch {
	case err == nil:
	case !out.begun:
		s.adminFail(w, r, doing, err)
	default:
		if out.err == nil {
			s.Log.Error("an answer broke off", "door", "admin", "do", doing, "err", err)
		}
		panic(http.ErrAbortHandler)
	}
}
