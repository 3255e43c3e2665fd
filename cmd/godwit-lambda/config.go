package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"

	"godwit/internal/dnsname"
)

// The variables of the function's environment, all that there are. What is not
// here is not configurable; `godwit aws deploy` sets them. Whether the table was
// the reference implementation's is said in the table.
const (
	// envTable names the DynamoDB table. Required.
	envTable = "GODWIT_TABLE"
	// envZones are the zones and the IDs of their Route 53 hosted zones,
	// "dyn.example.com=Z0123456789ABC", several with commas in between. Required.
	envZones = "GODWIT_ZONES"
	// envMode says who publishes a change: "direct", the request that made it, or
	// "stream", the table's stream. Default: direct.
	envMode = "GODWIT_MODE"
	// envChanges bounds accepted changes per host and hour; 0: no limit. Default: 30.
	envChanges = "GODWIT_CHANGES_PER_HOUR"
	// envRequests bounds requests per source and second that one instance of the
	// function takes; 0: no limit. Default: 20.
	envRequests = "GODWIT_REQUESTS_PER_SECOND"
	// envRoute53 bounds requests of Route 53 a second that one instance of the
	// function sends, bursts aside. Route 53 has ten for the whole account, unless
	// AWS has raised that. Default: 8.
	envRoute53 = "GODWIT_ROUTE53_REQUESTS_PER_SECOND"
	// envLogLevel is debug, info, warn or error. Default: info.
	envLogLevel = "GODWIT_LOG_LEVEL"

	// Lambda sets these. The credentials are the role's; the session token may be
	// absent outside Lambda.
	envRegion       = "AWS_REGION"
	envAccessKey    = "AWS_ACCESS_KEY_ID"
	envSecretKey    = "AWS_SECRET_ACCESS_KEY"
	envSessionToken = "AWS_SESSION_TOKEN"
	envMemory       = "AWS_LAMBDA_FUNCTION_MEMORY_SIZE" // in MiB

	// Where the services are, if not at AWS's own endpoints: as every AWS SDK
	// reads them. A service's own variable goes before the common one.
	envEndpoint         = "AWS_ENDPOINT_URL"
	envEndpointDynamoDB = "AWS_ENDPOINT_URL_DYNAMODB"
	envEndpointRoute53  = "AWS_ENDPOINT_URL_ROUTE_53"
)

// mode says who publishes a change.
type mode string

const (
	direct mode = "direct"
	stream mode = "stream"
)

// zone is a zone that the function serves.
type zone struct {
	apex dnsname.Name
	id   string // of its hosted zone, without /hostedzone/
}

// settings are the environment, read once.
type settings struct {
	table    string
	zones    []zone // at least one; each apex and each ID once
	mode     mode
	changes  int // per host and hour; 0: no limit
	requests int // per source and second; 0: no limit
	route53  int // requests of Route 53 a second
	level    slog.Level

	region                             string
	accessKey, secretKey, sessionToken string
	endpointDynamoDB, endpointRoute53  string
	memory                             int // MiB; 0: not known

	warnings []string
}

// readSettings reads the environment. The error says everything that is wrong
// with it, not only the first thing.
func readSettings(environ []string) (settings, error) {
	env := make(map[string]string, len(environ))
	for _, kv := range environ {
		key, value, _ := strings.Cut(kv, "=")
		env[key] = value
	}
	s := settings{
		table: env[envTable], mode: direct, changes: 30, requests: 20, route53: 8,
		region: env[envRegion], accessKey: env[envAccessKey], secretKey: env[envSecretKey], sessionToken: env[envSessionToken],
		endpointDynamoDB: cmp.Or(env[envEndpointDynamoDB], env[envEndpoint]),
		endpointRoute53:  cmp.Or(env[envEndpointRoute53], env[envEndpoint]),
	}
	var errs []error
	bad := func(variable, why, example string) {
		errs = append(errs, fmt.Errorf("%s: %s; set it as in %s=%s", variable, why, variable, example))
	}
	required := func(variable, example string) {
		if env[variable] == "" {
			bad(variable, "it is not set", example)
		}
	}
	required(envTable, "godwit-hosts")
	var err error
	if s.zones, err = readZones(env[envZones]); err != nil {
		bad(envZones, err.Error(), "dyn.example.com=Z0123456789ABC")
	}
	switch m := mode(env[envMode]); m {
	case "":
	case direct, stream:
		s.mode = m
	default:
		bad(envMode, fmt.Sprintf("%q is not direct or stream", m), string(direct))
	}
	for _, n := range []struct {
		variable string
		into     *int
		least    int
	}{{envChanges, &s.changes, 0}, {envRequests, &s.requests, 0}, {envRoute53, &s.route53, 1}} {
		if v := env[n.variable]; v != "" {
			fallback := *n.into
			if *n.into, err = strconv.Atoi(v); err != nil || *n.into < n.least || *n.into > 1000000 {
				bad(n.variable, fmt.Sprintf("%q is not a whole number from %d to 1000000", v, n.least), strconv.Itoa(fallback))
			}
		}
	}
	if v := env[envLogLevel]; v != "" {
		if err := s.level.UnmarshalText([]byte(v)); err != nil {
			bad(envLogLevel, fmt.Sprintf("%q is not debug, info, warn or error", v), "info")
		}
	}
	required(envRegion, "eu-central-1")
	required(envAccessKey, "AKIAIOSFODNN7EXAMPLE")
	required(envSecretKey, "...")
	if s.endpointDynamoDB == "" {
		s.endpointDynamoDB = "https://dynamodb." + s.region + ".amazonaws.com"
	}
	if s.endpointRoute53 == "" {
		s.endpointRoute53 = "https://route53.amazonaws.com"
	}
	s.memory, _ = strconv.Atoi(env[envMemory]) // Lambda's; without it there is no limit to keep
	s.warnings = unknown(env)
	return s, errors.Join(errs...)
}

// unknown warns of variables that look like ours and are not: a misspelt one
// must not go unseen.
func unknown(env map[string]string) []string {
	known := []string{envTable, envZones, envMode, envChanges, envRequests, envRoute53, envLogLevel}
	var warnings []string
	for key := range env {
		if strings.HasPrefix(key, "GODWIT_") && !slices.Contains(known, key) {
			warnings = append(warnings, "the environment variable "+key+" means nothing to godwit-lambda")
		}
	}
	slices.Sort(warnings)
	return warnings
}

// readZones reads pairs of apex and hosted zone ID.
func readZones(text string) ([]zone, error) {
	var zones []zone
	for pair := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' }) {
		apex, id, ok := strings.Cut(pair, "=")
		id = strings.TrimPrefix(id, "/hostedzone/")
		if !ok || !isZoneID(id) {
			return nil, fmt.Errorf("%q is not a zone and the ID of its hosted zone", pair)
		}
		name, err := dnsname.Parse(apex)
		if err != nil {
			return nil, err
		}
		for _, z := range zones {
			if z.apex == name || z.id == id {
				return nil, fmt.Errorf("%q names a zone or an ID for the second time", pair)
			}
		}
		zones = append(zones, zone{name, id})
	}
	if len(zones) == 0 {
		return nil, errors.New("it names no zone")
	}
	return zones, nil
}

// isZoneID tells whether a text may be a hosted zone's ID: what AWS documents,
// and nothing that could go elsewhere in a path.
func isZoneID(text string) bool {
	return text != "" && len(text) <= 32 && strings.Trim(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == ""
}

// defaultZone is the only zone; zero: there are several.
func (s *settings) defaultZone() dnsname.Name {
	if len(s.zones) != 1 {
		return dnsname.Name{}
	}
	return s.zones[0].apex
}

// apexes are the zones' names.
func (s *settings) apexes() []dnsname.Name {
	var names []dnsname.Name
	for _, z := range s.zones {
		names = append(names, z.apex)
	}
	return names
}
