package ddns

import (
	"cmp"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"godwit/internal/dnsname"
)

// ExportVersion is the version of the export document.
const ExportVersion = 1

// Export is the document that `godwit host export` writes and `godwit host
// import` reads: everything about hosts but their history. Without secrets it
// holds hashes and public keys, so tokens go on working where it is imported,
// and the seed's proof does not until it is rotated.
type Export struct {
	Version int            `json:"godwit_export"`
	Time    time.Time      `json:"time"`
	Hosts   []ExportedHost `json:"hosts"`
}

// ExportedHost is one host of an Export.
type ExportedHost struct {
	Name      dnsname.Name `json:"name"`
	TTL       uint32       `json:"ttl"`
	Addresses AddressRule  `json:"addresses"`
	Free      bool         `json:"free,omitempty"`
	SeedOff   bool         `json:"seed_off,omitempty"`
	Suspended bool         `json:"suspended,omitempty"`
	Wildcard  bool         `json:"wildcard,omitempty"`
	// Lease in whole seconds; 0: none.
	Lease       int64                `json:"lease,omitempty"`
	A           []netip.Addr         `json:"a,omitempty"`
	AAAA        []netip.Addr         `json:"aaaa,omitempty"`
	Prefix      netip.Prefix         `json:"prefix,omitzero"`
	Followers   []Follower           `json:"followers,omitempty"`
	Generation  uint64               `json:"generation"` // for the reader; an imported host begins anew
	Created     time.Time            `json:"created,omitzero"`
	Credentials []ExportedCredential `json:"credentials"`
}

// ExportedCredential is one credential of an exported host.
type ExportedCredential struct {
	ID        string         `json:"id,omitempty"` // empty: made at import
	Kind      Kind           `json:"kind"`
	Algorithm string         `json:"algorithm,omitempty"`
	Verifier  []byte         `json:"verifier,omitempty"` // base64; hash or public key
	Secret    ExportedSecret `json:"secret,omitzero"`    // only with secrets
	Grants    []Grant        `json:"grants,omitempty"`   // empty: this host
	Networks  []netip.Prefix `json:"networks,omitempty"`
	Rate      int            `json:"rate,omitempty"`
	Created   time.Time      `json:"created,omitzero"`
	Expires   time.Time      `json:"expires,omitzero"`
	State     State          `json:"state,omitempty"`
	Mark      int64          `json:"mark,omitempty"`
	Label     string         `json:"label,omitempty"`
}

// ExportedSecret is a Secret that JSON shows and reads, because an export with
// secrets is where it is meant to go. All else hides it.
type ExportedSecret struct{ Secret }

// MarshalText shows the secret.
func (s ExportedSecret) MarshalText() ([]byte, error) { return []byte(s.Reveal()), nil }

// UnmarshalText takes the text as it is.
func (s *ExportedSecret) UnmarshalText(text []byte) error {
	s.Secret = NewSecret(string(text))
	return nil
}

// ExportHost makes the exported form of one host, whose slices are the host's
// own. With secrets, sealed ones are opened into it; an error then says which
// one cannot be opened.
func (s *Service) ExportHost(h *Host, credentials []*Credential, withSecrets bool) (ExportedHost, error) {
	out := ExportedHost{
		Name: h.Name, TTL: h.TTL, Addresses: h.Addresses, Free: h.Free, SeedOff: h.SeedOff, Suspended: h.Suspended,
		Wildcard: h.Wildcard, Lease: int64(h.Lease / time.Second), A: h.A, AAAA: h.AAAA, Prefix: h.Prefix,
		Followers: h.Followers, Generation: h.Generation, Created: h.Created, Credentials: []ExportedCredential{},
	}
	for _, c := range credentials {
		e := ExportedCredential{
			ID: c.ID, Kind: c.Kind, Algorithm: c.Algorithm, Verifier: c.Verifier, Grants: c.Grants, Networks: c.Networks,
			Rate: c.Rate, Created: c.Created, Expires: c.Expires, State: c.State, Mark: c.Mark, Label: c.Label,
		}
		if withSecrets && c.Sealed != nil {
			secret, err := s.Sealer.Open(c.sealedFor(h.Name), c.ID, c.Sealed)
			if err != nil {
				return ExportedHost{}, fmt.Errorf("open the secret %s of %s: %w", c.ID, h.Name, err)
			}
			e.Secret = ExportedSecret{secret}
		}
		out.Credentials = append(out.Credentials, e)
	}
	return out, nil
}

// Imported is what came of an import.
type Imported struct {
	Added   int            `json:"added"`
	Skipped []ImportRefuse `json:"skipped,omitempty"` // hosts that were not imported, and why
}

// ImportRefuse is one host that an import left out.
type ImportRefuse struct {
	Name string `json:"name"`
	Why  string `json:"why"`
}

// ImportHosts adds hosts, as many as it can, and says which it could not add
// and why. Hosts that exist already are left as they are. All of what it
// reports added is durable, also when it returns an error: a *Refusal with code
// unavailable, after which the hosts of the batch at hand may have been added.
//
// A credential that serves several hosts comes with each of them: it is granted
// each host that is added, if it is the same credential (kind and verifier).
func (s *Service) ImportHosts(ctx context.Context, hosts []ExportedHost) (Imported, error) {
	var out Imported
	var writes []Write
	pending := map[string]bool{} // IDs of credentials in writes
	flush := func() error {
		err := s.importBatch(ctx, writes, &out)
		writes = nil
		clear(pending)
		return err
	}
	for _, e := range hosts {
		// What an earlier host brought must be in the store before it is looked for.
		if slices.ContainsFunc(e.Credentials, func(c ExportedCredential) bool { return pending[c.ID] }) {
			if err := flush(); err != nil {
				return out, err
			}
		}
		w, err := s.importWrite(ctx, e)
		if r, ok := errors.AsType[*Refusal](err); ok && r.Code == Unavailable {
			return out, errors.Join(r, flush())
		}
		if err != nil {
			out.skip(e.Name, err)
			continue
		}
		for _, c := range w.Credentials {
			pending[c.ID] = true
		}
		if writes = append(writes, w); len(writes) == importBatch {
			if err := flush(); err != nil {
				return out, err
			}
		}
	}
	return out, flush()
}

// importBatch is how many hosts are imported in one transaction.
const importBatch = 500

func (out *Imported) skip(name dnsname.Name, err error) {
	why := err.Error()
	if r, ok := errors.AsType[*Refusal](err); ok {
		why = r.Why + "; " + r.Fix
	}
	out.Skipped = append(out.Skipped, ImportRefuse{name.String(), why})
}

// importBatch saves and publishes new hosts. If one of them stands in the way
// of all, it finds out which, one by one.
func (s *Service) importBatch(ctx context.Context, writes []Write, out *Imported) error {
	if len(writes) == 0 {
		return nil
	}
	if err := s.meetNew(ctx, writes); err != nil {
		return err
	}
	// Save takes what it is given, so the first try gets hosts of its own.
	batch := slices.Clone(writes)
	added := make([]*Host, 0, len(writes))
	for i := range batch {
		batch[i].Host = writes[i].Host.Clone()
		added = append(added, batch[i].Host)
	}
	var failed error
	if err := s.save(ctx, batch...); err != nil {
		added = added[:0]
		for _, w := range writes {
			err := s.save(ctx, w)
			switch {
			case errors.Is(err, ErrConflict), errors.Is(err, ErrNameTaken):
				out.skip(w.Host.Name, s.taken(ctx, w.Host))
			case errors.Is(err, ErrSecretTaken):
				out.skip(w.Host.Name, s.adminError(ctx, "import", w.Host, err))
			case err != nil:
				failed = s.adminError(ctx, "import", w.Host, err)
			default:
				added = append(added, w.Host)
			}
			if failed != nil {
				break
			}
		}
	}
	out.Added += len(added)
	if !s.Deferred {
		s.publishAll(ctx, slices.DeleteFunc(added, func(h *Host) bool { return h.Published == h.Generation }))
	}
	return failed
}

// importWrite makes the write that adds one exported host.
func (s *Service) importWrite(ctx context.Context, e ExportedHost) (Write, error) {
	now := s.Now()
	h := &Host{
		Name: e.Name, TTL: e.TTL, Addresses: e.Addresses, Free: e.Free, SeedOff: e.SeedOff, Suspended: e.Suspended,
		Wildcard: e.Wildcard, A: sortAddrs(slices.Clone(e.A)), AAAA: sortAddrs(slices.Clone(e.AAAA)),
		Prefix: e.Prefix, Followers: slices.Clone(e.Followers), Generation: 1,
		Created: e.Created, ChangedAt: now, ChangedBy: byAdmin,
	}
	if h.TTL == 0 {
		h.TTL = DefaultTTL
	}
	if h.Created.IsZero() {
		h.Created = now
	}
	if h.Lease = time.Duration(e.Lease) * time.Second; int64(h.Lease/time.Second) != e.Lease {
		h.Lease = -1 // too long to be told in nanoseconds
	}
	if err := s.place(h); err != nil {
		return Write{}, err
	}
	if err := h.Validate(); err != nil {
		return Write{}, err
	}
	for _, a := range h.Current() {
		if !h.Addresses.Allows(a) {
			return Write{}, refuse(AddressNotAllowed, fmt.Sprintf("its address policy (%s) does not admit %s", h.Addresses, a), "import it with --addresses any")
		}
	}
	if h.Prefix.IsValid() && !h.Addresses.AllowsPrefix(h.Prefix) {
		return Write{}, refuse(AddressNotAllowed, fmt.Sprintf("its address policy (%s) does not admit %s", h.Addresses, h.Prefix), "import it with --addresses any")
	}
	w := Write{Host: h, Event: Event{Time: now, Generation: h.Generation, Outcome: changed, Door: byAdmin, What: "imported", After: h.Current()}}
	for _, ec := range e.Credentials {
		if ec.ID != "" && slices.Contains(h.Credentials, ec.ID) {
			return Write{}, refuse(Malformed, fmt.Sprintf("credential %s is given twice", ec.ID), "take one of them out of the file")
		}
		c, err := s.importCredential(ctx, h, ec, now)
		if err != nil {
			return Write{}, err
		}
		w.Credentials = append(w.Credentials, c)
		h.Credentials = append(h.Credentials, c.ID)
	}
	w.setEnds(nil)
	return w, h.Validate()
}

func (s *Service) importCredential(ctx context.Context, h *Host, e ExportedCredential, now time.Time) (*Credential, error) {
	bad := func(fix, why string, args ...any) (*Credential, error) {
		return nil, refuse(Malformed, fmt.Sprintf(why, args...), fix)
	}
	c := &Credential{
		ID: e.ID, Kind: e.Kind, Algorithm: e.Algorithm, Verifier: e.Verifier, Networks: e.Networks,
		Rate: e.Rate, Created: e.Created, Expires: e.Expires, State: cmp.Or(e.State, Active), Mark: e.Mark, Label: e.Label,
	}
	secret := e.Secret.Secret
	if id := (TokenProof{Token: secret}).CredentialID(); c.Kind == KindToken && !secret.IsZero() {
		// A token carries its ID, so under another one it would never be found.
		if c.ID = cmp.Or(c.ID, id); id == "" || id != c.ID {
			return bad("give its kind as seed if it is a secret of your own", "the secret of token %.20q is not its ID, a hyphen and %d characters", c.ID, secretLength)
		}
	}
	if c.Created.IsZero() {
		c.Created = now
	}
	grant := Grant{Host: h.Name}
	if i := slices.IndexFunc(e.Grants, func(g Grant) bool { return g.Host == h.Name }); i >= 0 {
		grant = e.Grants[i]
	}
	c.Grants = []Grant{grant}
	spec := TokenSpec{Label: c.Label, Types: grant.Types, Networks: c.Networks, Rate: c.Rate}
	if err := spec.validate(now); err != nil {
		return nil, err
	}
	switch {
	case c.ID != "" && (len(c.ID) != idLength || strings.Trim(c.ID, "abcdefghijklmnopqrstuvwxyz234567") != ""):
		return bad("leave it out: one is made", "credential ID %.20q is not 8 characters of a-z and 2-7", c.ID)
	case !slices.Contains([]Kind{KindToken, KindSeed, KindEd25519, KindTSIG, KindACME, KindJoin}, c.Kind):
		return bad("use token or seed", "credential kind %.20q is not known", string(c.Kind))
	case !slices.Contains([]State{Active, CredentialStop}, c.State):
		return bad("use active or suspended", "credential state %.20q is not known", string(c.State))
	case !secret.IsZero() && !c.shared() && c.Kind != KindTSIG:
		return bad("leave the secret out", "a credential of kind %s has no secret", c.Kind)
	case c.Kind == KindTSIG && !c.tsigAlgorithmKnown():
		return bad("use hmac-sha256", "TSIG algorithm %.20q is not known", c.Algorithm)
	case c.Kind == KindTSIG && !secret.IsZero() && tsigSecret(secret) == nil:
		return bad("give it as the key file has it", "the secret of TSIG key %.20q is not base64", c.ID)
	case secret.IsZero() && len(c.Verifier) != 32:
		return bad("export it with --with-secrets", "credential %.20q has neither a secret nor a verifier of 32 octets", c.ID)
	}
	given := c.ID != ""
	for {
		c.ID = cmp.Or(c.ID, randomText(idLength))
		old, err := s.Store.Credential(ctx, c.ID)
		if errors.Is(err, ErrNoCredential) {
			break
		}
		if err != nil {
			return nil, unavailable("look for credential "+c.ID, err)
		}
		if given {
			return grantAlso(old, c, secret)
		}
		c.ID = "" // taken by chance
	}
	if secret.IsZero() {
		return c, nil
	}
	if err := CheckOwnSecret(secret, 1); err != nil {
		return nil, err
	}
	if c.shared() || c.Kind == KindTSIG {
		c.Verifier = hashSecret(secret)
	}
	return c, s.seal(h, c, secret)
}

// grantAlso gives a credential that the store has the one grant of another that
// claims to be the same. It must be: else whoever wrote the file would take it over.
func grantAlso(old, c *Credential, secret Secret) (*Credential, error) {
	if (c.shared() || c.Kind == KindTSIG) && !secret.IsZero() {
		c.Verifier = hashSecret(secret)
	}
	if old.Kind != c.Kind || len(old.Verifier) == 0 || subtle.ConstantTimeCompare(old.Verifier, c.Verifier) != 1 {
		return nil, &Refusal{Code: Exists, Why: fmt.Sprintf("another credential has the ID %s", c.ID), Fix: "leave the ID out, or rotate the host's secret first"}
	}
	// Of a host that is there already, that is what is to be said.
	if _, same := old.Grant(c.Grants[0].Host); old.Sealed != nil && old.shared() && !same {
		return nil, refuse(Malformed, fmt.Sprintf("credential %s is also the secret of %s for the seed's proof, and no other host may have that", c.ID, old.Grants[0].Host),
			fmt.Sprintf("leave it out of this host, or turn that proof off first: godwit host set %s --seed=off", old.Grants[0].Host))
	}
	also := *old
	also.Grants = append(slices.DeleteFunc(slices.Clone(old.Grants), func(g Grant) bool { return g.Host == c.Grants[0].Host }), c.Grants[0])
	return &also, checkGrants(&also)
}

// seedRow is one host as the seed's files and table have it.
type seedRow struct {
	ZoneID string          `json:"route_53_zone_id"`
	TTL    json.RawMessage `json:"route_53_record_ttl"` // a number, or a number in a string
	Type   string          `json:"route_53_record_type"`
	Secret ExportedSecret  `json:"shared_secret"`
	Region string          `json:"aws_region"`
}

func (r seedRow) host(name string) (ExportedHost, error) {
	n, err := dnsname.ParseHost(name)
	if err != nil {
		return ExportedHost{}, badName(err)
	}
	h := ExportedHost{Name: n, TTL: DefaultTTL, Credentials: []ExportedCredential{{Kind: KindSeed, Secret: r.Secret}}}
	// A number in a string is that number; what is no string is itself already.
	text := string(r.TTL)
	if len(text) > 1 && text[0] == '"' {
		text = text[1 : len(text)-1]
	}
	if text != "" && text != "null" {
		ttl, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return ExportedHost{}, refuse(Malformed, fmt.Sprintf("%s: route_53_record_ttl %.40s is not a number of seconds", n, r.TTL), "write it as 60")
		}
		h.TTL = uint32(ttl)
	}
	switch {
	case r.Secret.IsZero():
		return ExportedHost{}, refuse(Malformed, fmt.Sprintf("%s has no shared_secret", n), "add it to the file")
	case r.Type != "" && r.Type != "A" && r.Type != "AAAA": // neither restricts the family
		return ExportedHost{}, refuse(Malformed, fmt.Sprintf("%s: route_53_record_type %.20q is not A or AAAA", n, r.Type), "correct it in the file")
	}
	return h, nil
}

// ParseImport reads hosts from what people have: a document of `godwit host
// export`; the seed's many-host file (an object of host names); one row's data
// of the seed's table, for the host named by single; or items as the DynamoDB
// command line prints them (get-item or scan). single is for the third only and
// may be zero otherwise. The caller bounds the input. It reads all hosts or
// returns a *Refusal with code malformed; whether they may be added is for
// [Service.ImportHosts] to say. Pure.
func ParseImport(data []byte, single dnsname.Name) ([]ExportedHost, error) {
	bad := func(err error) error {
		why := err.Error()
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok { // its text names a Go type
			why = fmt.Sprintf("%s stands where something else belongs", wrong.Value)
			if wrong.Field != "" {
				why = fmt.Sprintf("%s: %s", wrong.Field, why)
			}
		}
		return &Refusal{Code: Malformed, Why: "the file is not JSON that can be imported: " + why,
			Fix: "give a file of `godwit host export`, the seed's config.json, or one host's row with --host NAME", Cause: err}
	}
	var top map[string]json.RawMessage
	if err := json.Unmarshal(data, &top); err != nil {
		return nil, bad(err)
	}
	if _, ours := top["godwit_export"]; ours {
		var doc Export
		if err := json.Unmarshal(data, &doc); err != nil {
			return nil, bad(err)
		}
		if doc.Version != ExportVersion {
			return nil, refuse(Malformed, fmt.Sprintf("the export has version %d, this program reads %d", doc.Version, ExportVersion), "use the godwit that wrote it, or a newer one")
		}
		return doc.Hosts, nil
	}
	if _, row := top["shared_secret"]; row {
		var r seedRow
		if err := json.Unmarshal(data, &r); err != nil {
			return nil, bad(err)
		}
		if single.IsZero() {
			return nil, refuse(Malformed, "this is one host's row, without its name", "say which host it is with --host NAME")
		}
		h, err := r.host(single.String())
		if err != nil {
			return nil, err
		}
		return []ExportedHost{h}, nil
	}
	type item struct {
		Hostname struct{ S string } `json:"hostname"`
		Data     struct{ S string } `json:"data"`
	}
	var items []item
	if _, scan := top["Items"]; scan {
		var doc struct{ Items []item }
		if err := json.Unmarshal(data, &doc); err != nil {
			return nil, bad(err)
		}
		items = doc.Items
	} else if one, ok := top["Item"]; ok {
		items = make([]item, 1)
		if err := json.Unmarshal(one, &items[0]); err != nil {
			return nil, bad(err)
		}
	}
	var hosts []ExportedHost
	add := func(name string, row []byte) error {
		var r seedRow
		if err := json.Unmarshal(row, &r); err != nil {
			return bad(fmt.Errorf("host %q: %w", name, err))
		}
		h, err := r.host(name)
		if err != nil {
			return err
		}
		hosts = append(hosts, h)
		return nil
	}
	for _, it := range items {
		if err := add(it.Hostname.S, []byte(it.Data.S)); err != nil {
			return nil, err
		}
	}
	if items == nil {
		for _, name := range slices.Sorted(maps.Keys(top)) {
			if err := add(name, top[name]); err != nil {
				return nil, err
			}
		}
	}
	if len(hosts) == 0 {
		return nil, bad(errors.New("it names no host"))
	}
	return hosts, nil
}
