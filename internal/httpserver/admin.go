package httpserver

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"godwit/internal/api"
	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

const (
	adminBody  = 64 << 10 // octets of a body, but an import's
	importBody = 16 << 20
	// longWork is how long an import or a check may take, and streamStall how long
	// a reader of an export or a backup may stand still.
	longWork    = 10 * time.Minute
	streamStall = 30 * time.Second
)

// HashAdminToken is what the server keeps of an admin token.
func HashAdminToken(token string) [32]byte { return sha256.Sum256([]byte(token)) }

func (s *Server) adminRoutes() []route {
	type verbs = map[string]http.HandlerFunc
	const host = api.AdminPath + "/hosts/{name}"
	return []route{
		{api.AdminPath + "/openapi.yaml", verbs{"GET": s.openAPI}},
		{api.AdminPath + "/status", verbs{"GET": s.status}},
		{api.AdminPath + "/zones", verbs{"GET": s.zones}},
		{api.AdminPath + "/zones/{zone}/keys", verbs{"POST": s.zoneKeys}},
		{api.AdminPath + "/requests", verbs{"GET": s.requests}},
		{api.AdminPath + "/hosts", verbs{"GET": s.listHosts, "POST": s.addHost}},
		{host, verbs{"GET": s.showHost, "PATCH": s.setHost, "DELETE": s.removeHost}},
		{host + "/history", verbs{"GET": s.history}},
		{host + "/dns", verbs{"GET": s.inDNS}},
		{host + "/rotate", verbs{"POST": s.rotateHost}},
		{host + "/tokens", verbs{"GET": s.listTokens, "POST": s.addToken}},
		{host + "/tokens/{id}", verbs{"PATCH": s.setToken, "DELETE": s.revokeToken}},
		{host + "/tokens/{id}/rotate", verbs{"POST": s.rotateToken}},
		{api.AdminPath + "/import", verbs{"POST": s.importHosts}},
		{api.AdminPath + "/export", verbs{"GET": s.exportHosts}},
		{api.AdminPath + "/backup", verbs{"GET": s.backup}},
		{api.AdminPath + "/check", verbs{"POST": s.check}},
		{"/metrics", verbs{"GET": s.metrics}},
	}
}

// adminLock lets in who came over a Unix socket, and over TCP who has the admin
// token and is not a page of another web site in a browser.
func (s *Server) adminLock(next http.Handler) http.Handler {
	protection := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok && local.Network() == "unix" {
			next.ServeHTTP(w, r)
			return
		}
		// A name of an attacker's that leads here makes his page same-origin.
		if !s.goesBy(r.Host) {
			s.refuse(w, api.CodeWrongHost, "the Host header does not name this server", "use the admin listener's address, localhost, or the name in --url")
			return
		}
		if protection.Check(r) != nil {
			s.refuse(w, api.CodeCrossOrigin, "a browser sent this for a page of another origin", "use the command line")
			return
		}
		if !s.holdsToken(r) {
			if peer, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
				if refusal := s.Service.Admit(ddns.SourceOf(peer.Addr())); refusal != nil {
					s.fail(w, refusal)
					return
				}
			}
			s.Log.Info("admin request refused", "door", "admin", "outcome", string(ddns.BadProof), "source", r.RemoteAddr)
			w.Header().Set("WWW-Authenticate", `Bearer realm="godwit"`)
			s.refuse(w, string(ddns.BadProof), "the admin API needs the admin token here", "send it as Authorization: Bearer …, or use the socket on the server itself")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// holdsToken checks the admin token in constant time.
func (s *Server) holdsToken(r *http.Request) bool {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	sum := HashAdminToken(token)
	holds := subtle.ConstantTimeCompare(sum[:], s.AdminTokenHash[:]) == 1
	return holds && s.AdminTokenHash != [32]byte{} && strings.EqualFold(scheme, "Bearer") && token != ""
}

// goesBy tells whether the admin API may be addressed by this Host header.
func (s *Server) goesBy(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if _, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil || name == "localhost" {
		return true
	}
	if u, err := url.Parse(s.URL); err == nil && name != "" && strings.EqualFold(name, u.Hostname()) {
		return true
	}
	return slices.ContainsFunc(s.AdminHosts, func(h string) bool { return strings.EqualFold(h, name) })
}

// malformed is a refusal of the request's shape.
func malformed(why, fix string) error {
	return &ddns.Refusal{Code: ddns.Malformed, Why: why, Fix: fix}
}

// httpError is a refusal that only HTTP has.
type httpError struct{ code, why, fix string }

func (e *httpError) Error() string { return e.why + "; " + e.fix }

// adminFail answers an admin request that was not done, and logs it.
func (s *Server) adminFail(w http.ResponseWriter, r *http.Request, doing string, err error) {
	var code string
	if h := (*httpError)(nil); errors.As(err, &h) {
		code = h.code
		s.refuse(w, h.code, h.why, h.fix)
	} else {
		code = s.fail(w, err)
	}
	s.Log.Debug("admin", "door", "admin", "do", doing, "host", r.PathValue("name"), "outcome", code)
}

// adminDone logs an admin request that changed something.
func (s *Server) adminDone(ctx context.Context, doing, host string) {
	s.Log.LogAttrs(ctx, slog.LevelInfo, "admin", slog.String("host", host), slog.String("door", "admin"), slog.String("outcome", "changed"), slog.String("do", doing))
}

// readAll reads a JSON body of at most limit octets.
func readAll(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return nil, &httpError{api.CodeUnsupportedType, "the body is not declared to be JSON", "send Content-Type: application/json"}
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if large := (*http.MaxBytesError)(nil); errors.As(err, &large) {
		return nil, &httpError{api.CodeTooLarge, "the body is too large", "send it in parts"}
	}
	if err != nil {
		return nil, malformed("the body broke off", "send it again")
	}
	return data, nil
}

// decode reads a strict JSON body into out: unknown members are refused, and a
// member is there with a value or not at all.
func decode(w http.ResponseWriter, r *http.Request, out any) error {
	data, err := readAll(w, r, adminBody)
	if err != nil {
		return err
	}
	return strict(data, out, "see "+api.AdminPath+"/openapi.yaml")
}

// strict is decode for a body that has been read; help says what to do about one
// that is not as it should be.
func strict(data []byte, out any, help string) error {
	if !checkJSON(data) {
		return malformed("the body is not one strict JSON object", "send an object without null, without repeated members, without capitals in their names and in UTF-8; {} says nothing")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(out); err != nil {
		return malformed("the body does not say what this path takes: "+jsonError(err), help)
	}
	return nil
}

// jsonError is a decoding error without Go's words in it.
func jsonError(err error) string {
	if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
		// A part of a type is named as if it were a member, with a capital, which
		// none of ours has.
		field := slices.DeleteFunc(strings.Split(wrong.Field, "."), func(part string) bool { return part != "" && isCapital(part[0]) })
		return "member " + strings.Join(field, ".") + " cannot be a " + wrong.Value
	}
	if name := (*dnsname.Error)(nil); errors.As(err, &name) {
		return name.Error()
	}
	if _, ok := errors.AsType[base64.CorruptInputError](err); ok {
		return "a member is not base64"
	}
	return goWords.Replace(strings.TrimPrefix(err.Error(), "json: "))
}

// goWords are what netip's errors have around the text that it could not read.
var goWords = strings.NewReplacer("netip.", "", "ParsePrefix(", "", "ParseAddr(", "", "):", ":")

// query reads the query's parameters, of which only those named are known, each
// at most once.
func query(r *http.Request, known ...string) (url.Values, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, malformed("the query cannot be read", "escape it")
	}
	for name, values := range q {
		if !slices.Contains(known, name) {
			return nil, malformed("query parameter "+word(name)+" is not known here", "see "+api.AdminPath+"/openapi.yaml")
		}
		if len(values) > 1 {
			return nil, malformed("query parameter "+name+" is there twice", "give it once")
		}
	}
	return q, nil
}

// hostName reads the host that a path names.
func hostName(r *http.Request) (dnsname.Name, error) { return dnsname.ParseHost(r.PathValue("name")) }

// reply writes a JSON answer.
func reply(w http.ResponseWriter, status int, v any) {
	respondJSON(status, v).write(w)
}

// allowLong gives a request that is known to be an operator's the time for long
// work. Where deadlines are not supported there are none.
func allowLong(w http.ResponseWriter, d time.Duration) {
	c := http.NewResponseController(w)
	_ = c.SetReadDeadline(time.Now().Add(d))
	_ = c.SetWriteDeadline(time.Now().Add(d))
}
