package httpserver

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"time"
	"unicode/utf16"

	"godwit/internal/api"
	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

// seedBody is how long a body at the seed's door may be, in octets.
const seedBody = 4 << 10

const doorSeed = "seed"

// The texts of the seed's door. The bytes are the contract (docs/protocols.md);
// none names a host, and only a successful set names an address.
const (
	seedMatches   = "Your IP address matches the current Route53 DNS record."
	seedBadHash   = "You must pass a valid sha256 hash in the hash= argument."
	seedBadMode   = "You must pass mode=get or mode=set arguments."
	seedMalformed = "The request body must be a JSON object with the documented members."
	seedTooLarge  = "The request body is too large."
	seedBadProof  = "Validation hashes do not match."
	seedTooOften  = "Too many requests. Try again later."
	seedNotYet    = "The change is stored; DNS has not confirmed it yet."
	seedNotNow    = "Temporarily unavailable. Try again later."

	seedAddress   = "The address is outside this host's address policy (--addresses)."
	seedFamily    = "This host or secret takes no address of this family."
	seedSuspended = "An operator suspended this host."
	seedForbidden = "This host cannot be updated in this way."
)

// nowhere stands for every text that is no owner name. It is asked for as any
// unknown host is, so that both cost and answer the same.
var nowhere = dnsname.MustParse("no-name.invalid")

// seedRequest is what a body at the seed's door says. Each part is inside the
// body unless it was escaped there; nil: it is missing.
type seedRequest struct {
	mode, host, hash []byte
}

// parseSeed reads a body. Unknown members are skipped; anything else that is
// not documented is malformed. Member names are compared exactly.
func parseSeed(body []byte) (seedRequest, bool) {
	var texts [3][]byte
	s := scanner{data: body}
	ok := s.textMembers([]string{"execution_mode", "ddns_hostname", "validation_hash"}, texts[:])
	return seedRequest{texts[0], texts[1], texts[2]}, ok
}

// seedReply is what the seed's door says to a request.
type seedReply struct {
	status int
	text   string
	retry  int64 // seconds; 0: no Retry-After
}

// seed is the seed's door: POST / with a JSON object. A request like most is
// answered by front instead.
func (s *Server) seed(w http.ResponseWriter, r *http.Request) {
	room := s.bodies.Get().(*[]byte)
	defer s.bodies.Put(room)
	body, whole := readBody(r, *room)
	src, err := s.source(r)
	switch {
	case len(body) > seedBody:
		w.Header().Set("Connection", "close")
		s.refused(doorSeed, nowhere, src, r.UserAgent(), &httpError{api.CodeTooLarge, seedTooLarge, ""})
		seedReply{status: http.StatusRequestEntityTooLarge, text: seedTooLarge}.response().write(w)
	case !whole:
		s.refused(doorSeed, nowhere, src, r.UserAgent(), malformed(seedMalformed, ""))
		seedReply{status: http.StatusBadRequest, text: seedMalformed}.response().write(w)
	default:
		s.seedReply(r.Context(), body, src, r.UserAgent(), err).response().write(w)
	}
}

// seedUpdate is seed without net/http.
func (s *Server) seedUpdate(ctx context.Context, in doorRequest) response {
	return s.seedReply(ctx, in.Body, in.source, in.agent, in.unknown).response()
}

// seedReply is the door itself. unknown is why the source is not known, or nil.
func (s *Server) seedReply(ctx context.Context, body []byte, src ddns.Source, agent string, unknown error) seedReply {
	bad := func(text string) seedReply {
		s.refused(doorSeed, nowhere, src, agent, malformed(text, ""))
		return seedReply{status: http.StatusBadRequest, text: text}
	}
	req, ok := parseSeed(body)
	if !ok {
		return bad(seedMalformed)
	}
	set := false
	switch string(req.mode) {
	case "get":
	case "set":
		set = true
	default:
		return bad(seedBadMode)
	}
	var hash [sha256.Size]byte
	if set {
		if req.host == nil || req.hash == nil {
			return bad(seedMalformed)
		}
		if len(req.hash) != hex.EncodedLen(len(hash)) {
			return bad(seedBadHash)
		}
		if _, err := hex.Decode(hash[:], req.hash); err != nil {
			return bad(seedBadHash)
		}
	}
	if unknown != nil {
		s.Log.Warn("a request's source is not known", "door", doorSeed, "err", unknown)
		return bad("The server does not know your address: " + unknown.Error() + ".")
	}
	if !set {
		if refusal := s.Service.Admit(src); refusal != nil {
			return seedRefusal(refusal)
		}
		return seedReply{status: http.StatusOK, text: src.Addr.String()}
	}
	return s.seedSet(ctx, src, agent, string(req.host), hash)
}

// readBody reads a body into room, which is one octet longer than a body may
// be, so that one which is too long can be told. whole is false if it broke off.
func readBody(r *http.Request, room []byte) (body []byte, whole bool) {
	if r.ContentLength >= int64(len(room)) {
		return room, false // do not even begin
	}
	n := 0
	for n < len(room) {
		m, err := r.Body.Read(room[n:])
		n += m
		if err != nil {
			return room[:n], err == io.EOF
		}
	}
	return room, false
}

func (s *Server) seedSet(ctx context.Context, src ddns.Source, agent, host string, hash [sha256.Size]byte) seedReply {
	name, err := dnsname.Parse(host)
	if err != nil {
		name = nowhere
	}
	out, err := s.Service.Update(ctx, ddns.Update{
		Host: name, Door: doorSeed, Source: src,
		Proof: ddns.SeedProof{Source: src, Host: host, Hash: hash},
	})
	s.logUpdate(ctx, name, doorSeed, src, agent, out, err)
	switch {
	case err != nil:
		return seedRefusal(err)
	case out.Unconfirmed != nil:
		return seedReply{status: http.StatusInternalServerError, text: seedNotYet}
	case !out.Changed:
		return seedReply{status: http.StatusOK, text: seedMatches}
	}
	return seedReply{status: http.StatusCreated, text: "Your hostname record " + name.FQDN() + " has been set to " + src.Addr.String()}
}

// seedRefusal is the answer where the core refused. Its words are this door's
// own: the core's may name hosts and addresses.
func seedRefusal(err error) seedReply {
	var refusal *ddns.Refusal
	if !errors.As(err, &refusal) {
		refusal = &ddns.Refusal{Code: ddns.Unavailable}
	}
	r := seedReply{status: http.StatusForbidden, text: seedForbidden}
	switch refusal.Code {
	case ddns.BadProof:
		r.status, r.text = http.StatusUnauthorized, seedBadProof
	case ddns.AddressNotAllowed:
		r.text = seedAddress
	case ddns.WrongFamily:
		r.text = seedFamily
	case ddns.Suspended:
		r.text = seedSuspended
	case ddns.RateLimited:
		r.status, r.text = http.StatusTooManyRequests, seedTooOften
	case ddns.Unavailable:
		r.status, r.text = http.StatusServiceUnavailable, seedNotNow
	}
	if r.status == http.StatusTooManyRequests || r.status == http.StatusServiceUnavailable {
		r.retry = max(retrySeconds(refusal.RetryAfter), 1)
	}
	return r
}

// Header values of many answers.
const (
	jsonType = "application/json"
	noStore  = "no-store"
)

// seedFields are the header fields of the seed's door, and optionsFields those of
// its answer to a browser that asks before it posts.
var (
	seedFields    = append(slices.Clip(optionsFields), field{"Content-Type", jsonType})
	optionsFields = []field{{"Access-Control-Allow-Headers", "Content-Type"}, {"Access-Control-Allow-Methods", "GET"},
		{"Access-Control-Allow-Origin", "*"}, {"Cache-Control", noStore}}
)

// seedOptions answers a browser that asks before it posts.
func (s *Server) seedOptions(w http.ResponseWriter, _ *http.Request) {
	for _, f := range optionsFields {
		w.Header().Set(f.name, f.value)
	}
	w.WriteHeader(http.StatusNoContent)
}

// response is what goes over the wire.
func (r seedReply) response() response {
	out := response{r.status, seedFields, r.appendBody(make([]byte, 0, 192))}
	if r.retry > 0 {
		out.fields = append(slices.Clip(seedFields), field{"Retry-After", strconv.FormatInt(r.retry, 10)})
	}
	return out
}

// appendBody appends the body as Python's json.dumps would have it, and nothing
// else: the seed's own client takes every run of digits and dots in it for an
// address.
func (r seedReply) appendBody(b []byte) []byte {
	b = append(b, `{"return_status": "`...)
	if r.status/100 == 2 {
		b = append(b, "success"...)
	} else {
		b = append(b, "fail"...)
	}
	b = append(b, `", "return_message": "`...)
	return append(appendPythonJSON(b, r.text), `"}`...)
}

// appendPythonJSON appends text as json.dumps writes it between quotes: ASCII
// only.
func appendPythonJSON(b []byte, text string) []byte {
	for _, r := range text {
		switch {
		case r == '"', r == '\\':
			b = append(b, '\\', byte(r))
		case r >= ' ' && r <= '~':
			b = append(b, byte(r))
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\r':
			b = append(b, `\r`...)
		case r == '\t':
			b = append(b, `\t`...)
		case r == '\b':
			b = append(b, `\b`...)
		case r == '\f':
			b = append(b, `\f`...)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			b = appendHex4(appendHex4(b, high), low)
		default:
			b = appendHex4(b, r)
		}
	}
	return b
}

func appendHex4(b []byte, r rune) []byte {
	const digits = "0123456789abcdef"
	return append(b, '\\', 'u', digits[r>>12&15], digits[r>>8&15], digits[r>>4&15], digits[r&15])
}

// logUpdate writes the one line that an update leaves: changes and refusals for
// everyday reading, the rest for debugging. A limit that is exceeded is such a
// rest: a flood must not fill the log. Config.Noted is told of all of them.
func (s *Server) logUpdate(ctx context.Context, host dnsname.Name, door string, src ddns.Source, agent string, out ddns.Outcome, err error) {
	if err != nil {
		s.refused(door, host, src, agent, err)
	} else {
		s.done(door, host, src, agent, out.Changed)
	}
	level, outcome := slog.LevelInfo, "changed"
	var cause error
	if refusal := (*ddns.Refusal)(nil); errors.As(err, &refusal) {
		outcome, cause = string(refusal.Code), refusal.Cause
		switch refusal.Code {
		case ddns.RateLimited:
			level = slog.LevelDebug
		case ddns.Unavailable:
			level = slog.LevelError
		}
	} else if err != nil {
		level, outcome, cause = slog.LevelError, string(ddns.Unavailable), err
	} else if !out.Changed {
		level, outcome = slog.LevelDebug, "unchanged"
	}
	if !s.Log.Enabled(ctx, level) {
		return
	}
	name := ""
	if !host.IsZero() { // none was named
		if _, ours := s.Service.Zones.Zone(host); ours { // else a secret in the wrong place could be one
			name = host.String()
		}
	}
	// Without the place in the source, for which the logger would walk the stack. A
	// record has room for five, so that the line of a change allocates its texts only.
	record := slog.NewRecord(time.Now(), level, "update", 0)
	record.AddAttrs(slog.String("host", name), slog.String("door", door), slog.String("outcome", outcome), slog.String("source", src.Addr.String()))
	if out.Changed {
		record.AddAttrs(slog.Uint64("generation", out.Host.Generation))
	}
	if cause != nil {
		record.AddAttrs(slog.Any("err", cause))
	}
	_ = s.Log.Handler().Handle(ctx, record) // nobody could be told
}
