package sqlite

import (
	"crypto/rand"
	"fmt"
)

// applicationID marks a database as ours in its header: "gdwt".
const applicationID = 0x67647774

// schemaVersion is the newest format that this program knows: PRAGMA user_version.
const schemaVersion = 3

// step is one forward migration. It runs in a transaction of its own together
// with the new version number, so a crash leaves the version before or after.
type step struct {
	to int
	do func(*conn) error
}

// steps lead from an empty file to schemaVersion, in order. A released step is
// never edited.
var steps = []step{
	{1, func(c *conn) error { return c.exec(schema1) }},
	// From here on a part of the log is beside the database (docs/decisions/0015).
	{2, newLogKey},
	{3, func(c *conn) error { return c.exec(schema3) }},
}

// newLogKey has the database take no record for its own that was written before.
func newLogKey(c *conn) error { return setNote(c, noteLog, rand.Text()) }

// schema1 is the first format.
//
// Times are microseconds since 1970, 0 for none; the views show them as text.
// Names are texts without the trailing dot. Lists are separated by spaces.
//
// A host's columns are packed, because each column costs more than what is in it
// where a million rows are read or an update is bound. host_view unpacks them.
// An ordinary change of a host rewrites one row of hosts, and every fourth one of
// history, and touches no index: the partial ones hold only hosts that something
// is to be done about.
const schema1 = `
create table hosts (
	id          integer primary key,
	-- JSON: name, zone, TTL, flags, addresses (IPv4 first), generation, CRC-32C (see sumDNS);
	-- then an object of prefix, followers, txt and ends if there are any.
	dns         text    not null,
	-- JSON: published, changed, changed by, seen, busy, refusals, created, policy, lease, credentials,
	-- applied, CRC-32C (see sumState); then the RRsets that DNS showed at published if that is known.
	state       text    not null,
	due         integer,                    -- when something ends by itself
	unpublished integer,                    -- 1: published is below generation
	recent      text    not null,           -- the changes that are not in history yet, as there, then spaces
	chunks      blob    not null            -- ids of the host's rows in history, the oldest first, five octets each
);
create index hosts_due on hosts(due, id) where due is not null;
create index hosts_unpublished on hosts(id) where unpublished is not null;

-- The log: what hosts has not yet, see pending.go. Rows go when hosts has it.
create table pending (
	id    integer primary key,              -- in the order of commits; never given again
	sum   integer not null,                 -- CRC-32C of id and batch
	batch text    not null                  -- JSON: {"hosts":[[id, dns, state, event …, {credential: mark} …] …], "zones":[[name, serial] …]}
);

create table names (
	name text primary key,
	host integer not null,
	kind text    not null                   -- host, wildcard or follower
) without rowid;

create table credentials (
	id          text primary key,
	kind        text    not null,
	algorithm   text    not null,
	state       text    not null,
	verifier    blob,
	sealed      blob,                       -- AES-256-GCM; the key is in seal.key
	fingerprint blob,
	grants      text    not null,           -- JSON
	networks    text    not null,
	rate        integer not null,           -- changes an hour; 0: the host's limit
	created     integer not null,
	expires     integer not null,
	mark        integer not null,
	label       text    not null,
	sum         integer not null            -- CRC-32C of the row, see sumCredential
) without rowid;
create unique index credentials_fingerprint on credentials(fingerprint) where fingerprint is not null;

create table grants (
	host       text not null,
	credential text not null,
	primary key (host, credential)
) without rowid;

-- Four changes a row, at most eight rows a host; a ninth overwrites the oldest.
create table history (
	id     integer primary key,
	host   integer not null,
	events text    not null                 -- JSON arrays, a comma before each; event_view has the columns
);

-- At most eight a host: id is eight times the host's id plus a slot.
create table refusals (
	id     integer primary key,
	event  text not null,                   -- as in history
	host   integer as (id / 8) virtual
);

create table retired (
	name       text primary key,
	generation integer not null             -- at which the name's last host went
) without rowid;

create table zones (
	name        text primary key,
	serial      integer not null,           -- SOA serial, with every change of the zone
	fingerprint blob                        -- of the zone's static content
) without rowid;

create table notes (
	key   text primary key,
	value text not null
) without rowid;

-- The views show what is in hosts, and not what is pending, which takes half a
-- minute at most to get there. A row that is no JSON any more would end every
-- question: it is left out.
create view host_view as
	select json_extract(dns, '$[0]') as name, json_extract(dns, '$[1]') as zone, json_extract(dns, '$[2]') as ttl,
		json_extract(dns, '$[3]') as flags, json_extract(dns, '$[4]') as addresses, json_extract(dns, '$[7]') as detail,
		json_extract(dns, '$[5]') as generation, json_extract(state, '$[0]') as published,
		strftime('%Y-%m-%dT%H:%M:%SZ', json_extract(state, '$[6]') / 1000000, 'unixepoch') as created,
		strftime('%Y-%m-%dT%H:%M:%SZ', json_extract(state, '$[1]') / 1000000, 'unixepoch') as changed,
		json_extract(state, '$[2]') as changed_by,
		case when json_extract(state, '$[3]') = 0 then '' else strftime('%Y-%m-%dT%H:%M:%SZ', json_extract(state, '$[3]') / 1000000, 'unixepoch') end as seen,
		json_extract(state, '$[5]') as refusals, json_extract(state, '$[7]') as policy, json_extract(state, '$[8]') / 1000000 as lease_seconds,
		json_extract(state, '$[9]') as credentials, id
	from hosts where json_valid(dns) and json_valid(state);
create view event_view as
	with texts (host, events) as (
		select v.name, h.recent from host_view v join hosts h on h.id = v.id
		union all select v.name, x.events from history x join host_view v on v.id = x.host
		union all select v.name, x.event from refusals x join host_view v on v.id = x.host)
	select t.host,
		strftime('%Y-%m-%dT%H:%M:%SZ', json_extract(e.value, '$[0]') / 1000000, 'unixepoch') as time,
		json_extract(e.value, '$[1]') as generation, json_extract(e.value, '$[2]') as outcome,
		json_extract(e.value, '$[3]') as door, json_extract(e.value, '$[4]') as credential,
		json_extract(e.value, '$[5]') as source, json_extract(e.value, '$[6]') as proven,
		json_extract(e.value, '$[7]') as before, json_extract(e.value, '$[8]') as after,
		json_extract(e.value, '$[9]') as what, json_extract(e.value, '$[10]') as refusals
	from texts t, json_each('[' || substr(t.events, 2) || ']') e;
`

// version reads a database's application ID and format version. fresh tells
// that nothing has been made in it yet.
func version(c *conn) (application, format int64, fresh bool, err error) {
	if application, _, err = c.queryInt("pragma application_id"); err != nil {
		return 0, 0, false, err
	}
	if format, _, err = c.queryInt("pragma user_version"); err != nil {
		return 0, 0, false, err
	}
	tables, _, err := c.queryInt("select count(*) from sqlite_master")
	return application, format, application == 0 && format == 0 && tables == 0, err
}

// checkVersion refuses what is not ours or is newer than this program, before
// anything is written.
func checkVersion(c *conn, file string) (format int64, err error) {
	application, format, fresh, err := version(c)
	switch {
	case err != nil:
		return 0, err
	case fresh:
		return 0, nil
	case application != applicationID:
		return 0, fmt.Errorf("%s is an SQLite database, but not one of godwit's: give another data directory", file)
	case format > schemaVersion:
		return 0, fmt.Errorf("%s has format %d and this godwit knows formats up to %d: it was written by a newer godwit; run that version (nothing has been touched)",
			file, format, schemaVersion)
	}
	return format, nil
}

// migrate takes a database step by step to the newest format.
func migrate(c *conn, steps []step) error {
	_, format, _, err := version(c)
	if err != nil {
		return err
	}
	for _, s := range steps {
		if int64(s.to) <= format {
			continue
		}
		if err := inTransaction(c, func() error {
			if err := s.do(c); err != nil {
				return err
			}
			// Pragmas take no arguments; these are our own numbers.
			return c.exec(fmt.Sprintf("pragma application_id = %d; pragma user_version = %d", applicationID, s.to))
		}); err != nil {
			return fmt.Errorf("migrate to format %d: %w", s.to, err)
		}
	}
	return nil
}

// inTransaction runs do in a write transaction and rolls back if it fails.
func inTransaction(c *conn, do func() error) error {
	if err := c.run("begin immediate"); err != nil {
		return err
	}
	err := do()
	if err == nil {
		err = c.run("commit")
	}
	if err != nil {
		_ = c.run("rollback") // SQLite may have done so already
	}
	return err
}

// note reads a text kept about the database itself; "" if there is none.
func note(c *conn, key string) (string, error) {
	text, _, err := c.queryText("select value from notes where key = ?", key)
	return text, err
}

func setNote(c *conn, key, value string) error {
	return c.run("insert into notes values (?, ?) on conflict (key) do update set value = excluded.value", key, value)
}
