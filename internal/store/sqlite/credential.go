package sqlite

import (
	"cmp"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"strings"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

const credentialColumns = "id, kind, algorithm, state, verifier, sealed, fingerprint, grants, networks, rate, created, expires, mark, label, sum"

// normalizeCredential makes a credential's times those that will be read back.
func normalizeCredential(c *ddns.Credential) {
	c.Created, c.Expires = stored(c.Created), stored(c.Expires)
}

// sumCredential is the checksum of a credential's row.
func sumCredential(c *ddns.Credential) int64 {
	s := summer{make([]byte, 0, 256)}
	for _, t := range []string{c.ID, string(c.Kind), c.Algorithm, string(c.State), c.Label} {
		s.text(t)
	}
	for _, b := range [][]byte{c.Verifier, c.Sealed, c.Fingerprint} {
		s.bytes(b)
	}
	s.num(uint64(len(c.Grants)))
	for _, g := range c.Grants {
		s.text(g.Host.Wire())
		s.num(uint64(len(g.Types)))
		for _, t := range g.Types {
			s.num(uint64(t))
		}
		s.bool(g.URLToken)
	}
	s.num(uint64(len(c.Networks)))
	for _, p := range c.Networks {
		s.addr(p.Addr())
		s.num(uint64(p.Bits()))
	}
	s.num(uint64(c.Rate))
	s.time(c.Created)
	s.time(c.Expires)
	s.num(uint64(c.Mark))
	return s.sum()
}

// decodeCredential reads credentialColumns. A bad row gives a *DamagedError.
func decodeCredential(row []driver.Value) (*ddns.Credential, error) {
	r := reader{row: row}
	c := &ddns.Credential{ID: r.text(), Kind: ddns.Kind(r.text()), Algorithm: r.text(), State: ddns.State(r.text()),
		Verifier: r.blob(), Sealed: r.blob(), Fingerprint: r.blob()}
	if err := json.Unmarshal([]byte(r.text()), &c.Grants); err != nil {
		r.fail(err)
	}
	for text := r.text(); text != ""; {
		var one string
		one, text, _ = strings.Cut(text, " ")
		p, err := netip.ParsePrefix(one)
		r.fail(err)
		c.Networks = append(c.Networks, p)
	}
	c.Rate = int(r.num())
	c.Created, c.Expires = r.time(), r.time()
	c.Mark = r.num()
	c.Label = r.text()
	sum := r.num()
	if r.err == nil && sum != sumCredential(c) {
		r.err = errSum
	}
	if r.err != nil {
		return nil, &DamagedError{"credential " + c.ID, r.err.Error()}
	}
	return c, nil
}

func blobOrNull(b []byte) driver.Value {
	if len(b) == 0 {
		return nil
	}
	return b
}

// credentialValues are a credential's row in the order of credentialColumns.
func credentialValues(cred *ddns.Credential) ([]driver.Value, error) {
	grants, err := json.Marshal(cred.Grants)
	networks := make([]string, len(cred.Networks))
	for i, p := range cred.Networks {
		networks[i] = p.String()
	}
	return []driver.Value{cred.ID, string(cred.Kind), cred.Algorithm, string(cred.State), blobOrNull(cred.Verifier), blobOrNull(cred.Sealed),
		blobOrNull(cred.Fingerprint), string(grants), strings.Join(networks, " "), int64(cred.Rate), micros(cred.Created), micros(cred.Expires),
		cred.Mark, cred.Label, sumCredential(cred)}, err
}

// putCredential adds a credential or replaces it by its ID; old is the one
// before, nil for a new one.
func putCredential(c *conn, old, cred *ddns.Credential) error {
	values, err := credentialValues(cred)
	if err != nil {
		return err
	}
	if err := c.run("insert or replace into credentials ("+credentialColumns+") values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values...); err != nil {
		return err
	}
	for _, g := range cred.Grants {
		if !granted(old, g.Host) {
			if err := c.run("insert or ignore into grants values (?, ?)", g.Host.String(), cred.ID); err != nil {
				return err
			}
		}
	}
	if old != nil {
		for _, g := range old.Grants {
			if !granted(cred, g.Host) {
				if err := c.run("delete from grants where host = ? and credential = ?", g.Host.String(), cred.ID); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func dropCredential(c *conn, old *ddns.Credential) error {
	for _, g := range old.Grants {
		if err := c.run("delete from grants where host = ? and credential = ?", g.Host.String(), old.ID); err != nil {
			return err
		}
	}
	return c.run("delete from credentials where id = ?", old.ID)
}

// setMark moves a credential's replay mark.
func setMark(c *conn, cred *ddns.Credential) error {
	return c.run("update credentials set mark = ?, sum = ? where id = ?", cred.Mark, sumCredential(cred), cred.ID)
}

func granted(c *ddns.Credential, host dnsname.Name) bool {
	return c != nil && slices.ContainsFunc(c.Grants, func(g ddns.Grant) bool { return g.Host == host })
}

// readCredential reads one credential; nil if there is none.
func readCredential(c *conn, id string) (cred *ddns.Credential, err error) {
	err = c.query("select "+credentialColumns+" from credentials where id = ?", func(row []driver.Value) (err error) {
		cred, err = decodeCredential(row)
		return err
	}, id)
	return cred, err
}

// readCredentials reads all credentials granted on a host. Those with damaged
// rows are left out and reported: they prove nothing.
func readCredentials(c *conn, host string, damaged func(error)) ([]*ddns.Credential, error) {
	var out []*ddns.Credential
	err := c.query("select c."+strings.ReplaceAll(credentialColumns, ", ", ", c.")+" from grants g join credentials c on c.id = g.credential where g.host = ?",
		func(row []driver.Value) error {
			cred, err := decodeCredential(row)
			if _, bad := errors.AsType[*DamagedError](err); bad {
				damaged(err)
				return nil
			}
			if err == nil {
				out = append(out, cred)
			}
			return err
		}, host)
	sortCredentials(out)
	return out, err
}

// sortCredentials puts them in order of creation.
func sortCredentials(list []*ddns.Credential) {
	slices.SortFunc(list, func(a, b *ddns.Credential) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
}
