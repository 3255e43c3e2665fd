package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"godwit/internal/api"
	"godwit/internal/ddns"
	"godwit/internal/dnsname"
	"godwit/internal/dnssec"
	"godwit/internal/doctor"
)

// parentTime bounds how long a parent zone is asked for DS records.
const parentTime = time.Minute

// makeKeys has the zones signed that are to be.
func (d *daemon) makeKeys(ctx context.Context) (err error) {
	apexes := make(map[dnsname.Name]time.Duration)
	for _, apex := range d.settings.DNSSEC {
		apexes[apex] = 0
	}
	for _, z := range d.authority.List() {
		if _, signed := apexes[z.Apex()]; signed {
			apexes[z.Apex()] = time.Duration(max(z.MaxStaticTTL(), ddns.MaxTTL)) * time.Second
			continue
		}
		if unused, err := dnssec.Unused(ctx, d.store, z.Apex(), time.Now()); err != nil || !unused {
			d.warn(fmt.Sprintf("zone %s has been signed and is not now: if its parent has a DS record, resolvers refuse it; add --dnssec %s, and before leaving it out again: godwit zone unsign %s", z.Apex(), z.Apex(), z.Apex()))
		}
	}
	if len(apexes) == 0 {
		return nil
	}
	d.keeper, err = dnssec.Open(ctx, dnssec.Config{
		Zones: d.authority, Store: d.store, Apexes: apexes, Log: d.log, Parent: d.askParent,
		Lifetime: time.Duration(d.settings.DNSSECKeyDays) * 24 * time.Hour,
	})
	return err
}

// askParent asks the parent zone for a zone's DS records.
func (d *daemon) askParent(ctx context.Context, apex dnsname.Name) (dnssec.Parent, error) {
	resolver := d.settings.DNSSECResolver
	if !resolver.IsValid() {
		var err error
		if resolver, err = doctor.SystemResolver(); err != nil {
			return dnssec.Parent{}, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, parentTime)
	defer cancel()
	at, err := doctor.AskParentDS(ctx, doctor.Config{Resolver: resolver}, apex)
	return dnssec.Parent{DS: at.DS, TTL: at.TTL}, err
}

// changeKeys does what the operator asks for.
func (d *daemon) changeKeys(ctx context.Context, apex dnsname.Name, do string) (out api.ZoneKeys, err error) {
	if d.keeper == nil {
		return out, refused(dnssec.NotSigned(apex))
	}
	switch do {
	case "roll":
		err = d.keeper.Roll(ctx, apex)
	case "confirm":
		err = d.keeper.Confirm(ctx, apex)
	default:
		err = d.keeper.Leave(ctx, apex, do == "stay")
	}
	if err != nil {
		return out, refused(err)
	}
	return *d.keys(apex), nil
}

// refused is what the admin API tells of an error of the keeper, which is a refusal
// or the store's.
func refused(err error) error {
	if r, ok := errors.AsType[*dnssec.Refusal](err); ok {
		return &ddns.Refusal{Code: ddns.ConditionFailed, Why: r.Why, Fix: r.Fix}
	}
	return &ddns.Refusal{Code: ddns.Unavailable, Why: "the server cannot store keys at the moment", Fix: "see why in its log, and try again", Cause: err}
}

// keys is what the admin API tells of a zone's keys; nil: it is not signed.
func (d *daemon) keys(apex dnsname.Name) *api.ZoneKeys {
	if d.keeper == nil {
		return nil
	}
	s, ok := d.keeper.Status(apex)
	if !ok {
		return nil
	}
	out := &api.ZoneKeys{DS: []string{}, DNSKEY: []string{}, Leaving: s.Leaving, Keys: []api.ZoneKey{}, Next: s.Next}
	if s.Ready && !s.Leaving {
		out.DS, out.DNSKEY = append(out.DS, s.DS.Text()), append(out.DNSKEY, s.DNSKEY)
	}
	if !s.Due.IsZero() {
		out.Due = &s.Due
	}
	for _, k := range s.Keys {
		out.Keys = append(out.Keys, api.ZoneKey{Tag: k.Tag, State: k.State, Made: k.Made, AtParent: k.Parent})
	}
	return out
}
