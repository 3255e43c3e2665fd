package awsstack

import (
	"context"
	"crypto/rand"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"godwit/internal/awscall"
	"godwit/internal/dnsname"
)

// Zone is a DNS zone and the Route 53 hosted zone that holds it.
type Zone struct {
	Apex dnsname.Name `json:"zone"`
	ID   string       `json:"hosted_zone"` // without /hostedzone/; "" where it is to be found
	// NameServers are what the parent has to delegate to. They and Records, the
	// number of record sets, are read only where a zone is made or looked at.
	NameServers []string `json:"name_servers,omitempty"`
	Records     int      `json:"records,omitempty"`
}

// ParseZone reads NAME or NAME=ID.
func ParseZone(text string) (Zone, error) {
	name, id, hasID := strings.Cut(text, "=")
	apex, err := dnsname.Parse(name)
	if err != nil {
		return Zone{}, err
	}
	id = strings.TrimPrefix(id, "/hostedzone/")
	if apex.CountLabels() == 0 || hasID && (id == "" || len(id) > 32 || strings.Trim(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") != "") {
		return Zone{}, fmt.Errorf("%q is no zone; give its name, as in dyn.example.com, or its name and the ID of its hosted zone, as in dyn.example.com=Z0123456789ABC", text)
	}
	return Zone{Apex: apex, ID: id}, nil
}

// parseZones reads the template's parameter Zones.
func parseZones(text string) ([]Zone, error) {
	var zones []Zone
	for pair := range strings.SplitSeq(text, ",") {
		z, err := ParseZone(pair)
		if err != nil {
			return nil, fmt.Errorf("the stack's zones: %w", err)
		}
		zones = append(zones, z)
	}
	return zones, nil
}

// zoneParameters are the template's parameters about zones.
func zoneParameters(zones []Zone) map[string]string {
	var all, arns []string
	for _, z := range zones {
		all = append(all, z.Apex.String()+"="+z.ID)
		arns = append(arns, zoneARN(z))
	}
	return map[string]string{"Zones": strings.Join(all, ","), "ZoneArns": strings.Join(arns, ",")}
}

func zoneARN(z Zone) string { return "arn:aws:route53:::hostedzone/" + z.ID }

// patterns are the names that the function may change unless they are narrowed:
// all of the zones.
func patterns(zones []Zone) []string {
	var out []string
	for _, z := range zones {
		out = append(out, z.Apex.String(), "*."+z.Apex.String())
	}
	return out
}

// checkPattern reads a name, or * and a name, that lies in one of the zones.
func checkPattern(text string, zones []Zone) (string, error) {
	name, err := dnsname.ParseHost(text)
	if err != nil {
		return "", err
	}
	if !slices.ContainsFunc(zones, func(z Zone) bool { return name.Under(z.Apex) }) {
		return "", fmt.Errorf("--names %s is in none of the zones; give names below them, as in '*.%s'", name, zones[0].Apex)
	}
	return name.String(), nil
}

// findZones finds the hosted zones of those that have no ID, and makes them if
// create. It returns which it has made.
func (s *Stack) findZones(ctx context.Context, zones []Zone, create bool) (found, made []Zone, err error) {
	for _, z := range zones {
		if z.ID == "" {
			ids, err := s.hostedZones(ctx, z.Apex)
			if err != nil {
				return nil, nil, err
			}
			switch {
			case len(ids) > 1:
				return nil, nil, fmt.Errorf("this account has %d public hosted zones %s; say which: --zone %[2]s=%s", len(ids), z.Apex, strings.Join(ids, " or --zone "+z.Apex.String()+"="))
			case len(ids) == 1:
				z.ID = ids[0]
			case !create:
				return nil, nil, s.noZone(ctx, z.Apex)
			default:
				if z, err = s.createZone(ctx, z.Apex); err != nil {
					return nil, nil, err
				}
				made = append(made, z)
			}
		}
		if slices.ContainsFunc(found, func(other Zone) bool { return other.Apex == z.Apex || other.ID == z.ID }) {
			return nil, nil, fmt.Errorf("the zone %s is given twice; give each zone once", z.Apex)
		}
		found = append(found, z)
	}
	return found, made, nil
}

// noZone says what there is instead.
func (s *Stack) noZone(ctx context.Context, apex dnsname.Name) error {
	for parent, ok := apex.Parent(); ok && parent.CountLabels() > 1; parent, ok = parent.Parent() {
		ids, err := s.hostedZones(ctx, parent)
		if err != nil {
			return err
		}
		if len(ids) > 0 {
			return fmt.Errorf("this account has no public hosted zone %s; add --create-zone to make it ($0.50 a month), or use the one that is here: --zone %s --names '*.%[1]s'", apex, parent)
		}
	}
	return fmt.Errorf("this account has no public hosted zone %s; add --create-zone to make it ($0.50 a month)", apex)
}

// Elements of Route 53's answers (API version 2013-04-01).
type hostedZone struct {
	ID      string `xml:"Id"`
	Name    string
	Private bool `xml:"Config>PrivateZone"`
	Records int  `xml:"ResourceRecordSetCount"`
}

func (s *Stack) hostedZones(ctx context.Context, apex dnsname.Name) ([]string, error) {
	return HostedZones(ctx, s.calls["route53"], apex)
}

// HostedZones are the IDs of the public hosted zones of that name in the account
// of a client of Route 53, which needs route53:ListHostedZonesByName.
func HostedZones(ctx context.Context, client *awscall.Client, apex dnsname.Name) ([]string, error) {
	var ids []string
	query := url.Values{"dnsname": {apex.FQDN()}}
	for {
		var page struct {
			Zones     []hostedZone `xml:"HostedZones>HostedZone"`
			Truncated bool         `xml:"IsTruncated"`
			NextName  string       `xml:"NextDNSName"`
			NextID    string       `xml:"NextHostedZoneId"`
		}
		if err := route53(ctx, client, http.MethodGet, "/2013-04-01/hostedzonesbyname?"+query.Encode(), nil, &page); err != nil {
			return nil, fmt.Errorf("look for the hosted zone %s: %w", apex, err)
		}
		for _, z := range page.Zones {
			// The name is where the list begins, no filter: others follow.
			name, err := dnsname.Parse(z.Name)
			if err != nil || name != apex {
				return ids, nil
			}
			if !z.Private {
				ids = append(ids, strings.TrimPrefix(z.ID, "/hostedzone/"))
			}
		}
		if next, err := dnsname.Parse(page.NextName); !page.Truncated || err != nil || next != apex {
			return ids, nil
		}
		query.Set("hostedzoneid", strings.TrimPrefix(page.NextID, "/hostedzone/"))
	}
}

// zoneAnswer is how Route 53 shows one zone.
type zoneAnswer struct {
	Zone        hostedZone `xml:"HostedZone"`
	NameServers []string   `xml:"DelegationSet>NameServers>NameServer"`
}

func (s *Stack) createZone(ctx context.Context, apex dnsname.Name) (Zone, error) {
	body, err := xml.Marshal(&struct {
		XMLName   xml.Name `xml:"https://route53.amazonaws.com/doc/2013-04-01/ CreateHostedZoneRequest"`
		Name      string
		Reference string `xml:"CallerReference"`
		Comment   string `xml:"HostedZoneConfig>Comment"`
	}{Name: apex.FQDN(), Reference: "godwit-" + rand.Text(), Comment: "godwit, stack " + s.Name})
	if err != nil {
		return Zone{}, err
	}
	var made zoneAnswer
	if err := s.route53(ctx, http.MethodPost, "/2013-04-01/hostedzone", append([]byte(xml.Header), body...), &made); err != nil {
		if awscall.Unknown(err) {
			return Zone{}, fmt.Errorf("could not confirm that the hosted zone %s was made: %w; run the same command again, it looks first", apex, err)
		}
		return Zone{}, fmt.Errorf("make the hosted zone %s: %w", apex, err)
	}
	s.Say("Made the hosted zone %s.", apex)
	return Zone{Apex: apex, ID: strings.TrimPrefix(made.Zone.ID, "/hostedzone/"), NameServers: made.NameServers}, nil
}

func (s *Stack) readZone(ctx context.Context, z *Zone) error {
	return z.Read(ctx, s.calls["route53"])
}

// Read completes a zone that has an ID by what Route 53 has about it. The client
// needs route53:GetHostedZone.
func (z *Zone) Read(ctx context.Context, client *awscall.Client) error {
	var is zoneAnswer
	if err := route53(ctx, client, http.MethodGet, "/2013-04-01/hostedzone/"+z.ID, nil, &is); err != nil {
		return fmt.Errorf("read the hosted zone %s (%s): %w", z.Apex, z.ID, err)
	}
	z.NameServers, z.Records = is.NameServers, is.Zone.Records
	return nil
}

func (s *Stack) route53(ctx context.Context, method, path string, body []byte, answer any) error {
	return route53(ctx, s.calls["route53"], method, path, body, answer)
}

func route53(ctx context.Context, client *awscall.Client, method, path string, body []byte, answer any) error {
	r, err := client.Do(ctx, awscall.Request{
		Method: method, Path: path, Body: body, Repeat: method == http.MethodGet,
		Header: http.Header{"Content-Type": {"text/xml"}},
	})
	if err != nil {
		return explain(err)
	}
	if err := xml.Unmarshal(r.Body, answer); err != nil {
		return fmt.Errorf("the answer of Route 53 is not understood: %w", err)
	}
	return nil
}

// explain adds what to do to a refusal of our own client.
func explain(err error) error {
	if e, ok := errors.AsType[*awscall.Error](err); ok && strings.Contains(e.Code, "AccessDenied") {
		return fmt.Errorf("%w (docs/aws.md has the policy that whoever deploys needs)", err)
	}
	return err
}
