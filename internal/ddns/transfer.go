package ddns

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
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
	Generation  uint64               `json:"generation"`
	Created     time.Time            `json:"created,omitzero"`
	Credentials []ExportedCredential `json:"credentials"`
}

// ExportedCredential is one credential of an exported host.
type ExportedCredential struct {
	ID        string         `json:"id,omitempty"` // empty: made at import
	Kind      Kind           `json:"kind"`
	Algorithm string         `json:"algorithm,omitempty"`
	Verifier  []byte         `json:"verifier,omitempty"` // base64; hash or public key
	Secret    string         `json:"secret,omitempty"`   // only with secrets
	Grants    []Grant        `json:"grants,omitempty"`   // empty: this host
	Networks  []netip.Prefix `json:"networks,omitempty"`
	Rate      int            `json:"rate,omitempty"`
	Created   time.Time      `json:"created,omitzero"`
	Expires   time.Time      `json:"expires,omitzero"`
	State     State          `json:"state,omitempty"`
	Mark      int64          `json:"mark,omitempty"`
	Label     string         `json:"label,omitempty"`
}

// ExportHost makes the exported form of one host. With secrets, sealed ones are
// opened into it.
func (s *Service) ExportHost(h *Host, credentials []*Credential, withSecrets bool) (ExportedHost, error) {
	out := ExportedHost{
		Name: h.Name, TTL: h.TTL, Addresses: h.Addresses, Free: h.Free, SeedOff: h.SeedOff, Suspended: h.Suspended,
		Wildcard: h.Wildcard, Lease: int64(h.Lease / time.Second), A: h.A, AAAA: h.AAAA, Prefix: h.Prefix,
		Followers: h.Followers, Generation: h.Generation, Created: h.Created,
	}
	for _, c := range credentials {
		e := ExportedCredential{
			ID: c.ID, Kind: c.Kind, Algorithm: c.Algorithm, Verifier: c.Verifier, Grants: c.Grants, Networks: c.Networks,
			Rate: c.Rate, Created: c.Created, Expires: c.Expires, State: c.State, Mark: c.Mark, Label: c.Label,
		}
		if withSecrets && c.Sealed != nil {
			secret, err := s.Sealer.Open(h.Name, c.ID, c.Sealed)
			if err != nil {
				return ExportedHost{}, fmt.Errorf("open the secret %s of %s: %w", c.ID, h.Name, err)
			}
			e.Secret = secret.Reveal()
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
// reports added is durable.
func (s *Service) ImportHosts(ctx context.Context, hosts []ExportedHost) (Imported, error) {
	var out Imported
	var writes []Write
	skip := func(name dnsname.Name, err error) {
		var r *Refusal
		why := err.Error()
		if errors.As(err, &r) {
			why = r.Why + "; " + r.Fix
		}
		out.Skipped = append(out.Skipped, ImportRefuse{name.String(), why})
	}
	flush := func() error {
		if len(writes) == 0 {
			return nil
		}
		err := s.save(ctx, writes...)
		if err == nil {
			out.Added += len(writes)
			for _, w := range writes {
				s.publish(ctx, w.Host)
			}
			writes = nil
			return nil
		}
		// One of them stands in the way of all: find out which, one by one.
		for _, w := range writes {
			switch err := s.save(ctx, w); {
			case errors.Is(err, ErrNameTaken), errors.Is(err, ErrSecretTaken), errors.Is(err, ErrConflict):
				if errors.Is(err, ErrConflict) {
					err = ErrNameTaken
				}
				skip(w.Host.Name, s.adminError("import", err))
			case err != nil:
				return s.adminError("import "+w.Host.Name.String(), err)
			default:
				out.Added++
				s.publish(ctx, w.Host)
			}
		}
		writes = nil
		return nil
	}
	for _, e := range hosts {
		w, err := s.importWrite(ctx, e)
		if err != nil {
			skip(e.Name, err)
			continue
		}
		if writes = append(writes, w); len(writes) == 500 {
			if err := flush(); err != nil {
				return out, err
			}
		}
	}
	return out, flush()
}

// importWrite makes the write that adds one exported host.
func (s *Service) importWrite(ctx context.Context, e ExportedHost) (Write, error) {
	now := s.Now()
	h := &Host{
		Name: e.Name, TTL: e.TTL, Addresses: e.Addresses, Free: e.Free, SeedOff: e.SeedOff, Suspended: e.Suspended,
		Wildcard: e.Wildcard, Lease: time.Duration(e.Lease) * time.Second, A: sortAddrs(slices.Clone(e.A)), AAAA: sortAddrs(slices.Clone(e.AAAA)),
		Prefix: e.Prefix, Followers: e.Followers, Generation: max(e.Generation, 1),
		Created: e.Created, ChangedAt: now, ChangedBy: byAdmin,
	}
	if h.TTL == 0 {
		h.TTL = DefaultTTL
	}
	if h.Created.IsZero() {
		h.Created = now
	}
	if _, err := dnsname.ParseHost(e.Name.String()); err != nil {
		return Write{}, err
	}
	if err := s.place(ctx, h); err != nil {
		return Write{}, err
	}
	if len(h.A) > MaxAddresses || len(h.AAAA) > MaxAddresses {
		return Write{}, refuse(TooMany, fmt.Sprintf("more than %d addresses of a family", MaxAddresses), "name fewer")
	}
	for _, a := range h.Current() {
		if a.Is4In6() || a.Zone() != "" || a.Is4() != slices.Contains(h.A, a) {
			return Write{}, refuse(Malformed, fmt.Sprintf("address %s is not plain or stands under the wrong family", a), "correct it in the file")
		}
		if !h.Addresses.Allows(a) {
			return Write{}, refuse(AddressNotAllowed, fmt.Sprintf("its address policy (%s) does not admit %s", h.Addresses, a), "import it with --addresses any")
		}
	}
	w := Write{Host: h, Event: Event{Time: now, Generation: h.Generation, Outcome: "changed", Door: byAdmin, What: "imported", After: h.Current()}}
	for _, ec := range e.Credentials {
		c, err := s.importCredential(h, ec, now)
		if err != nil {
			return Write{}, err
		}
		w.Credentials = append(w.Credentials, c)
		h.Credentials = append(h.Credentials, c.ID)
	}
	return w, h.Validate()
}

func (s *Service) importCredential(h *Host, e ExportedCredential, now time.Time) (*Credential, error) {
	c := &Credential{
		ID: e.ID, Kind: e.Kind, Algorithm: e.Algorithm, Verifier: e.Verifier, Grants: e.Grants, Networks: e.Networks,
		Rate: e.Rate, Created: e.Created, Expires: e.Expires, State: e.State, Mark: e.Mark, Label: e.Label,
	}
	if c.ID == "" {
		c.ID = randomText(idLength)
	}
	if len(c.ID) != idLength || strings.Trim(c.ID, "abcdefghijklmnopqrstuvwxyz234567") != "" {
		return nil, refuse(Malformed, fmt.Sprintf("credential ID %q is not 8 characters of a-z and 2-7", c.ID), "leave it out: one is made")
	}
	if !slices.Contains([]Kind{KindToken, KindSeed, KindEd25519, KindTSIG, KindACME, KindJoin}, c.Kind) {
		return nil, refuse(Malformed, fmt.Sprintf("credential kind %q is not known", c.Kind), "use token or seed")
	}
	if c.State == "" {
		c.State = Active
	}
	if c.Created.IsZero() {
		c.Created = now
	}
	// A credential that serves several hosts comes with each of them; the store
	// merges nothing, so it serves the one it comes with, and the operator is
	// told by the grants that the export lists.
	if g, ok := c.Grant(h.Name); ok {
		c.Grants = []Grant{g}
	} else {
		c.Grants = []Grant{{Host: h.Name}}
	}
	if e.Secret == "" {
		if len(c.Verifier) != 32 {
			return nil, refuse(Malformed, "a credential has neither a secret nor a verifier", "export it again")
		}
		return c, nil
	}
	secret := NewSecret(e.Secret)
	if err := CheckOwnSecret(secret, 1); err != nil {
		return nil, err
	}
	if c.Kind == KindToken || c.Kind == KindSeed {
		c.Verifier = hashSecret(secret)
	}
	return c, s.seal(h, c, secret)
}

// seedRow is one host as the seed's files and table have it.
type seedRow struct {
	ZoneID string          `json:"route_53_zone_id"`
	TTL    json.RawMessage `json:"route_53_record_ttl"` // a number, or a number in a string
	Type   string          `json:"route_53_record_type"`
	Secret string          `json:"shared_secret"`
	Region string          `json:"aws_region"`
}

func (r seedRow) host(name string) (ExportedHost, error) {
	n, err := dnsname.ParseHost(name)
	if err != nil {
		return ExportedHost{}, err
	}
	h := ExportedHost{Name: n, TTL: DefaultTTL, Credentials: []ExportedCredential{{Kind: KindSeed, Secret: r.Secret}}}
	if text := strings.Trim(string(r.TTL), `"`); text != "" && text != "null" {
		if _, err := fmt.Sscanf(text, "%d", &h.TTL); err != nil {
			return ExportedHost{}, refuse(Malformed, fmt.Sprintf("%s: route_53_record_ttl %s is not a number of seconds", n, r.TTL), "write it as 60")
		}
	}
	if r.Secret == "" {
		return ExportedHost{}, refuse(Malformed, fmt.Sprintf("%s has no shared_secret", n), "add it to the file")
	}
	return h, nil
}

// ParseImport reads hosts from what people have: a document of `godwit host
// export`; the seed's many-host file (an object of host names); one row's data
// of the seed's table, for the host named by single; or items as the DynamoDB
// command line prints them. The input is bounded by the caller. Pure.
func ParseImport(data []byte, single dnsname.Name) ([]ExportedHost, error) {
	bad := func(err error) error {
		return &Refusal{Code: Malformed, Why: "the file is not JSON that can be imported: " + err.Error(),
			Fix: "give a file of `godwit host export`, the seed's config.json, or one host's row with --host NAME", Cause: err}
	}
	decode := func(data []byte, v any) error {
		d := json.NewDecoder(bytes.NewReader(data))
		if err := d.Decode(v); err != nil {
			return err
		}
		if d.More() {
			return errors.New("there is more after the JSON document")
		}
		return nil
	}
	var top map[string]json.RawMessage
	if err := decode(data, &top); err != nil {
		return nil, bad(err)
	}
	if _, ours := top["godwit_export"]; ours {
		var doc Export
		if err := decode(data, &doc); err != nil {
			return nil, bad(err)
		}
		if doc.Version != ExportVersion {
			return nil, refuse(Malformed, fmt.Sprintf("the export has version %d, this program reads %d", doc.Version, ExportVersion), "use the godwit that wrote it, or a newer one")
		}
		return doc.Hosts, nil
	}
	if _, row := top["shared_secret"]; row {
		var r seedRow
		if err := decode(data, &r); err != nil {
			return nil, bad(err)
		}
		if single.IsZero() {
			return nil, refuse(Malformed, "this is one host's row, without its name", "say which host it is with --host NAME")
		}
		h, err := r.host(single.String())
		return []ExportedHost{h}, err
	}
	type item struct {
		Hostname struct{ S string } `json:"hostname"`
		Data     struct{ S string } `json:"data"`
	}
	var items []item
	if _, scan := top["Items"]; scan {
		var doc struct{ Items []item }
		if err := decode(data, &doc); err != nil {
			return nil, bad(err)
		}
		items = doc.Items
	} else if one, ok := top["Item"]; ok {
		items = make([]item, 1)
		if err := decode(one, &items[0]); err != nil {
			return nil, bad(err)
		}
	}
	var hosts []ExportedHost
	add := func(name string, row []byte) error {
		var r seedRow
		if err := decode(row, &r); err != nil {
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
		names := make([]string, 0, len(top))
		for name := range top {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
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
