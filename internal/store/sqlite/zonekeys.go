package sqlite

import (
	"context"
	"database/sql/driver"
	"fmt"

	"godwit/internal/ddns"
	"godwit/internal/dnsname"
)

// schema3 adds the keys of signed zones.
const schema3 = `
create table if not exists zone_keys (
	zone   text primary key,
	sealed blob not null                    -- JSON of package dnssec; AES-256-GCM, the key is in seal.key
) without rowid;
`

// zoneKeys is the place of a credential's ID in what a zone's keys are sealed
// with. No credential has such a one.
const zoneKeys = "zone keys"

// ZoneKeys returns the keys of a signed zone, as SetZoneKeys had them; nil, if it
// has none.
func (s *Store) ZoneKeys(ctx context.Context, apex dnsname.Name) ([]byte, error) {
	var sealed []byte
	err := s.read(ctx, func(c *conn) error {
		return c.query("select sealed from zone_keys where zone = ?", func(row []driver.Value) error {
			r := reader{row: row}
			sealed = r.blob()
			return r.err
		}, apex.String())
	})
	if err != nil || sealed == nil {
		return nil, err
	}
	text, err := s.Open(apex, zoneKeys, sealed)
	if err != nil {
		return nil, fmt.Errorf("its keys cannot be read: %w", err)
	}
	return []byte(text.Reveal()), nil
}

// SetZoneKeys stores the keys of a signed zone, sealed and durable.
func (s *Store) SetZoneKeys(ctx context.Context, apex dnsname.Name, text []byte) error {
	sealed, err := s.Seal(apex, zoneKeys, ddns.NewSecret(string(text)))
	if err != nil {
		return err
	}
	return s.write(ctx, func(b *batch) error {
		b.wrote = true
		return b.w.conn.run("insert into zone_keys values (?, ?) on conflict (zone) do update set sealed = excluded.sealed", apex.String(), sealed)
	})
}

// zoneKeys finds keys of zones that cannot be used.
func (s *sealer) zoneKeys(f *findings, c *conn) error {
	return c.query("select zone, sealed from zone_keys", func(row []driver.Value) error {
		text, _ := row[0].(string)
		sealed, _ := row[1].([]byte)
		apex, err := dnsname.Parse(text)
		if err == nil {
			_, err = s.open(apex, zoneKeys, sealed)
		}
		if err != nil {
			return f.add("see 'When keys are lost' in docs/dnssec.md", "the keys of zone %.300q cannot be read: %v", text, err)
		}
		return nil
	})
}
