package config

import (
	"fmt"
	"slices"

	"godwit/internal/dnsname"
)

// parseApexes takes names of zones, each once.
func parseApexes(field *[]dnsname.Name, values []string) ([]string, error) {
	var texts []string
	for _, v := range values {
		apex, err := dnsname.Parse(v)
		if err != nil {
			return nil, err
		}
		if slices.Contains(*field, apex) {
			return nil, &Error{Why: fmt.Sprintf("zone %s is there twice", apex), Fix: "name it once"}
		}
		*field = append(*field, apex)
		texts = append(texts, apex.String())
	}
	return texts, nil
}

// checkDNSSEC judges which zones are to be signed.
func (s *Serve) checkDNSSEC(bad func(name, why, fix string) error) error {
	if s.DNSSECResolver.IsValid() && len(s.DNSSEC) == 0 {
		return bad("dnssec-resolver", "no zone is signed, so nothing asks it", "add --dnssec with a zone, or leave it out")
	}
	for _, apex := range s.DNSSEC {
		switch {
		case s.Route53:
			return bad("dnssec", "Route 53 answers, and signs by itself", "turn signing on there, and leave --dnssec out")
		case !slices.Contains(s.Zones, apex):
			return bad("dnssec", fmt.Sprintf("%s is not one of the zones", apex), "add --zone "+apex.String()+", or leave it out")
		}
	}
	return nil
}
