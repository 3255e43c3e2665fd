package route53

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"godwit/internal/dnsname"
)

// ErrNoZone: the account has no public hosted zone for a name.
var ErrNoZone = errors.New("no such hosted zone")

// hostedZone is one zone of a listing.
type hostedZone struct {
	apex    dnsname.Name
	id      string // without prefix
	private bool
}

// maxZones is how many zones of one name are looked at. There is one, or a few
// more by mistake.
const maxZones = 10

// FindZone is the public hosted zone with the longest apex that a name is under,
// and its ID. It is for operators' commands: it takes a call for each label, of
// an action that the function's role does not have. Several zones of that apex
// are an error, for only the operator knows which one is delegated.
func (p *Publisher) FindZone(ctx context.Context, name dnsname.Name) (apex dnsname.Name, id string, err error) {
	for apex, more := name, true; more && apex.CountLabels() > 0; apex, more = apex.Parent() {
		at := version + "hostedzonesbyname?dnsname=" + escape(string(appendName(nil, apex))) + "&maxitems=" + strconv.Itoa(maxZones)
		zones, err := ask(ctx, p, at, decodeZones)
		if err != nil {
			return dnsname.Name{}, "", fmt.Errorf("find the hosted zone of %s: %w", name, err)
		}
		var ids []string
		for _, z := range zones {
			if z.apex == apex && !z.private {
				ids = append(ids, z.id)
			}
		}
		if len(ids) > 1 {
			return dnsname.Name{}, "", fmt.Errorf("there are several hosted zones %s: %s; name the one that is delegated", apex, strings.Join(ids, ", "))
		}
		if len(ids) == 1 {
			return apex, ids[0], nil
		}
	}
	return dnsname.Name{}, "", fmt.Errorf("%w: none that %s is under; make one first", ErrNoZone, name)
}

// decodeZones reads an answer of ListHostedZonesByName. Zones whose names are
// none of ours are left out.
func decodeZones(body []byte) ([]hostedZone, error) {
	var l struct {
		XMLName xml.Name `xml:"ListHostedZonesByNameResponse"`
		Zones   []struct {
			ID      string `xml:"Id"`
			Name    string
			Private bool `xml:"Config>PrivateZone"`
		} `xml:"HostedZones>HostedZone"`
	}
	if err := xml.Unmarshal(body, &l); err != nil {
		return nil, fmt.Errorf("read Route 53's hosted zones: %w", err)
	}
	if len(l.Zones) > maxPage {
		return nil, fmt.Errorf("read Route 53's hosted zones: %d on a page", len(l.Zones))
	}
	var zones []hostedZone
	for _, z := range l.Zones {
		apex, err := parseName(z.Name)
		id := strings.TrimPrefix(z.ID, "/hostedzone/")
		if err != nil || !validID(id) {
			continue
		}
		zones = append(zones, hostedZone{apex, id, z.Private})
	}
	return zones, nil
}

// validID tells whether a text can be a zone's ID: letters and digits, at most
// 32 of them.
func validID(id string) bool {
	return id != "" && len(id) <= 32 && !strings.ContainsFunc(id, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
}
