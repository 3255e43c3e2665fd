package main

import (
	"context"
	"fmt"
	"slices"

	"godwit/internal/api"
	"godwit/internal/client"
	"godwit/internal/dnsname"
	"godwit/internal/doctor"
)

// zoneName is a zone's apex as an argument.
type zoneName struct{ dnsname.Name }

// UnmarshalText is how kong reads it.
func (z *zoneName) UnmarshalText(text []byte) error {
	n, err := dnsname.Parse(string(text))
	z.Name = n
	return err
}

// find asks the server for the zone.
func (z zoneName) find(ctx context.Context, server *client.Client) (api.Zone, error) {
	zones, err := server.Zones(ctx)
	if err != nil {
		return api.Zone{}, err
	}
	i := slices.IndexFunc(zones, func(o api.Zone) bool { return o.Apex == z.String() })
	if i < 0 {
		return api.Zone{}, fmt.Errorf("the server does not serve %s; 'godwit zone list' shows what it serves", z)
	}
	return zones[i], nil
}

type zoneDSCommand struct {
	targetFlags
	jsonFlag
	Zone zoneName `arg:"" help:"The zone, by its apex."`
}

func (zoneDSCommand) Help() string {
	return `Prints the DS record that the parent of a signed zone is to have, and no other, as a line of a
zone file. Parents that read CDS or CDNSKEY records take it by themselves. A registrar that asks
for a key in place of a DS record wants the DNSKEY: it is in --json.

Examples:

    godwit zone ds dyn.example.com
    godwit zone ds dyn.example.com --json | jq -r '.dnskey[]'`
}

func (c zoneDSCommand) Run(a *app) error {
	server, err := c.client(a)
	if err != nil {
		return err
	}
	defer server.Close()
	z, err := c.Zone.find(a.ctx, server)
	if err != nil {
		return err
	}
	if z.DNSSEC == nil {
		return fmt.Errorf("%s is not signed; start the server with --dnssec %s", z.Apex, z.Apex)
	}
	if c.JSON {
		return a.printJSON(z.DNSSEC)
	}
	for _, ds := range z.DNSSEC.DS {
		a.print("%s. 3600 IN DS %s", z.Apex, ds)
	}
	a.say("Next: %s.", z.DNSSEC.Next)
	return nil
}

type zoneCheckCommand struct {
	targetFlags
	jsonFlag
	resolverFlags
	Zone zoneName `arg:"" help:"The zone, by its apex."`
}

func (zoneCheckCommand) Help() string {
	return `Compares what the server says of a zone with what the parent zone says: name servers, their
addresses, and the DS records of a signed zone; and says what its keys wait for. It changes
nothing. The exit code is 1 if something is wrong.

Examples:

    godwit zone check dyn.example.com
    godwit zone check dyn.example.com --resolver 9.9.9.9`
}

func (c zoneCheckCommand) Run(a *app) error {
	config := doctor.Config{Port: c.DNSPort}
	var err error
	if config.Resolver, err = c.resolver(); err != nil {
		return err
	}
	server, err := c.client(a)
	if err != nil {
		return err
	}
	defer server.Close()
	ctx, cancel := context.WithTimeout(a.ctx, doctorTime)
	defer cancel()
	z, err := c.Zone.find(ctx, server)
	if err != nil {
		return err
	}
	return a.report(doctor.ExamineZone(ctx, config, z, c.targetFlag(a)), c.JSON)
}

type zoneRollCommand struct{ zoneKeysCommand }

func (zoneRollCommand) Help() string {
	return `Replaces the key of a signed zone, in steps that no resolver notices: a new key is published, the
parent gets its DS record, the new key signs, the old one goes. Each waits for what resolvers may
still hold, and for the parent; 'godwit zone check' says for what. It happens by itself once a year
(--dnssec-key-days of the server).

Example:

    godwit zone roll dyn.example.com`
}

func (c zoneRollCommand) Run(a *app) error { return c.change(a, "roll") }

type zoneConfirmCommand struct{ zoneKeysCommand }

func (zoneConfirmCommand) Help() string {
	return `Tells the server that the parent zone has the DS record that 'godwit zone ds' prints, and no other;
or none, after 'godwit zone unsign'. The server looks for itself every hour: this is for parents that
it cannot ask. Look first; resolvers refuse the zone if it is not so.

Example:

    godwit zone confirm dyn.example.com`
}

func (c zoneConfirmCommand) Run(a *app) error { return c.change(a, "confirm") }

type zoneUnsignCommand struct {
	zoneKeysCommand
	Undo bool `help:"Go on signing."`
}

func (zoneUnsignCommand) Help() string {
	return `Asks the parent, by CDS and CDNSKEY records, to take the DS records of a zone away. The zone stays
signed. When the parent has none and resolvers have forgotten them, which 'godwit zone check' tells,
start the server without --dnssec for the zone.

Examples:

    godwit zone unsign dyn.example.com
    godwit zone unsign dyn.example.com --undo`
}

func (c zoneUnsignCommand) Run(a *app) error {
	if c.Undo {
		return c.change(a, "stay")
	}
	return c.change(a, "leave")
}

// zoneKeysCommand is a command that changes something about a zone's keys.
type zoneKeysCommand struct {
	targetFlags
	jsonFlag
	Zone zoneName `arg:"" help:"The zone, by its apex."`
}

func (c zoneKeysCommand) change(a *app, do string) error {
	server, err := c.client(a)
	if err != nil {
		return err
	}
	defer server.Close()
	keys, err := server.ChangeZoneKeys(a.ctx, c.Zone.String(), do)
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(keys)
	}
	a.say("Next: %s.", keys.Next)
	return nil
}
