package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"godwit/internal/api"
)

type zoneCommand struct {
	List    zoneListCommand    `cmd:"" help:"List zones, and the records that their parents need."`
	DS      zoneDSCommand      `cmd:"" name:"ds" help:"Print the DS record that a signed zone's parent needs."`
	Check   zoneCheckCommand   `cmd:"" help:"Compare a zone with what its parent says, and say what to do."`
	Roll    zoneRollCommand    `cmd:"" help:"Replace the key of a signed zone."`
	Confirm zoneConfirmCommand `cmd:"" help:"Say that the parent has a zone's DS record."`
	Unsign  zoneUnsignCommand  `cmd:"" help:"Begin to sign a zone no more."`
}

type zoneListCommand struct {
	targetFlags
	jsonFlag
}

func (zoneListCommand) Help() string {
	return `A zone is reached when its parent delegates to it: put the NS records that are printed
into the parent zone, and the addresses (glue) where a name server is inside of the zone itself.
Of secondaries (serve --secondary) it says what they were told, and what they have got since the
server started.

Examples:

    godwit zone list
    godwit zone list --json | jq '.[].serial'`
}

func (c zoneListCommand) Run(a *app) error {
	server, err := c.client(a)
	if err != nil {
		return err
	}
	defer server.Close()
	zones, err := server.Zones(a.ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(zones)
	}
	t := newTable(a.stdout, "ZONE", "SERIAL", "IN DNS", "NAME SERVERS")
	for _, z := range zones {
		var names []string
		for _, ns := range z.NameServers {
			name, _, _ := strings.Cut(ns, "=")
			names = append(names, name)
		}
		serial := "-"
		if z.Serial != 0 {
			serial = fmt.Sprint(z.Serial)
		}
		t.add(z.Apex, serial, quantity(z.Hosts, "name"), strings.Join(names, " "))
	}
	t.flush()
	if slices.ContainsFunc(zones, func(z api.Zone) bool { return len(z.Secondaries) > 0 }) {
		a.print("")
		printSecondaries(a, zones)
	}
	for _, z := range zones {
		a.print("\nThe parent of %s needs:\n", z.Apex)
		for _, line := range delegation(z.Apex, z.NameServers) {
			a.print("  %s", line)
		}
	}
	return nil
}

// printSecondaries says how far each secondary follows each zone.
func printSecondaries(a *app, zones []api.Zone) {
	t := newTable(a.stdout, "ZONE", "SECONDARY", "HAS SERIAL", "LAST TRANSFER", "LAST NOTIFY ACKNOWLEDGED")
	when := func(at time.Time) string {
		if at.IsZero() {
			return "-"
		}
		return at.UTC().Format(time.RFC3339)
	}
	for _, z := range zones {
		for _, s := range z.Secondaries {
			has, transfer, notified := "-", when(s.Transferred), when(s.Notified)
			if s.Serial != 0 {
				has = fmt.Sprint(s.Serial)
				transfer += " (" + s.Transfer + ")"
			}
			if s.Problem != "" {
				notified += "; " + s.Problem
			}
			t.add(z.Apex, s.Address, has, transfer, notified)
		}
	}
	t.flush()
}

// delegation is what the parent zone needs, as lines of a zone file.
// nameServers are NAME or NAME=ADDR,… as in --ns.
func delegation(apex string, nameServers []string) []string {
	var ns, glue []string
	for _, text := range nameServers {
		name, list, has := strings.Cut(text, "=")
		ns = append(ns, fmt.Sprintf("%s. 3600 IN NS %s.", apex, name))
		inside := name == apex || strings.HasSuffix(name, "."+apex)
		if inside && !has {
			glue = append(glue, fmt.Sprintf("; %s. has no address here: start the server with --ns %s=ADDRESS", name, name))
		}
		if !inside || !has {
			continue // elsewhere, its addresses come by that zone's own delegation
		}
		for addr := range strings.SplitSeq(list, ",") {
			if a, err := netip.ParseAddr(addr); err == nil && (a.IsLoopback() || a.IsPrivate() || a.IsLinkLocalUnicast()) {
				glue = append(glue, fmt.Sprintf("; %s is not reached from the internet: for that start the server with --dns and --ns %s=ADDRESS", addr, name))
			}
			rrtype := "A"
			if strings.Contains(addr, ":") {
				rrtype = "AAAA"
			}
			glue = append(glue, fmt.Sprintf("%s. 3600 IN %s %s", name, rrtype, addr))
		}
	}
	return append(ns, glue...)
}
