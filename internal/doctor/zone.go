package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"godwit/internal/api"
	"godwit/internal/dnsname"
)

// ExamineZone compares what a server says of a zone with what its parent says:
// name servers, their addresses, and DS records. flag is as in [Case.Flag]. ctx
// bounds the whole.
func ExamineZone(ctx context.Context, c Config, z api.Zone, flag string) Report {
	e := &exam{Case: Case{Flag: flag}, ask: newAsker(c), out: Report{Host: z.Apex, Findings: []Finding{}, Do: []string{}}}
	apex, err := dnsname.Parse(z.Apex)
	if err != nil {
		return e.report()
	}
	if _, known := e.delegation(ctx, apex, parseServers(z.NameServers)); known {
		e.keys(ctx, apex, z.DNSSEC)
	}
	if k := z.DNSSEC; k != nil {
		e.find(Note, "keys", k.Next)
	}
	return e.report()
}

// keys compares DS records with keys; k is nil for a zone that is not signed.
func (e *exam) keys(ctx context.Context, apex dnsname.Name, k *api.ZoneKeys) {
	at, err := AskParentDS(ctx, e.ask.Config, apex)
	if err != nil {
		e.find(Note, "DS", "the parent zone cannot be asked for DS records: "+reason(err), "Look again later. If it never can be asked from here, say it when the parent has what this prints, and nothing else: godwit zone ds "+apex.String()+e.Flag+"; then: godwit zone confirm "+apex.String()+e.Flag)
		return
	}
	has := "none"
	if len(at.DS) > 0 {
		has = strings.Join(at.DS, ", ")
	}
	put := fmt.Sprintf("Make the DS records of %s in %s those that this prints, and no others: godwit zone ds %s%s", apex, at.Parent, apex, e.Flag)
	remove := fmt.Sprintf("Take the DS records of %s out of %s", apex, at.Parent)
	switch {
	case k == nil && len(at.DS) > 0:
		e.find(Wrong, "DS", fmt.Sprintf("the zone is not signed, and the parent zone %s has DS records: resolvers that validate refuse all names of the zone; it has %s", at.Parent, has),
			"If the server has the keys still, start it with --dnssec "+apex.String()+"; if not: "+strings.ToLower(remove[:1])+remove[1:])
	case k == nil:
		e.right("DS", "the zone is not signed, and the parent zone %s has no DS record", at.Parent)
	case k.Leaving && len(at.DS) > 0:
		e.find(Wrong, "DS", fmt.Sprintf("the zone is to be signed no more, and the parent zone %s still has DS records: %s", at.Parent, has), remove)
	case k.Leaving:
		e.right("DS", "the parent zone %s has no DS record any more", at.Parent)
	case len(k.DS) == 0 && len(at.DS) == 0:
		e.right("DS", "the parent zone %s has no DS record yet; it is too early", at.Parent)
	case slices.Equal(k.DS, at.DS):
		e.right("DS", "the parent zone %s has %s", at.Parent, has)
	case !slices.ContainsFunc(k.Keys, func(key api.ZoneKey) bool {
		return slices.ContainsFunc(at.DS, func(ds string) bool { return strings.HasPrefix(ds, fmt.Sprint(key.Tag, " ")) })
	}) && len(at.DS) > 0:
		e.find(Wrong, "DS", fmt.Sprintf("the DS records in the parent zone %s are of none of the zone's keys: resolvers that validate refuse all names of the zone; it has %s", at.Parent, has), put)
	case len(k.DS) == 0:
		e.find(Note, "DS", fmt.Sprintf("the parent zone %s has %s already, and it is too early: resolvers that hold unsigned answers from before refuse them until they run out", at.Parent, has))
	case len(at.DS) == 0:
		e.find(Wrong, "DS", fmt.Sprintf("the parent zone %s has no DS record, so nobody checks the signatures", at.Parent), put)
	default:
		e.find(Wrong, "DS", fmt.Sprintf("the parent zone %s is to have %s, and has %s", at.Parent, strings.Join(k.DS, ", "), has), put)
	}
}
