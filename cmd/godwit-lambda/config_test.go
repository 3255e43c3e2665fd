package main

import (
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"

	"godwit/internal/dnsname"
)

// least is the least that the function needs to start.
func least() map[string]string {
	return map[string]string{
		"GODWIT_TABLE": "hosts", "GODWIT_ZONES": "dyn.example.com=Z0123456789ABC",
		"AWS_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "key",
	}
}

func environ(env map[string]string) []string {
	var out []string
	for k, v := range env {
		out = append(out, k+"="+v)
	}
	return out
}

func TestSettings(t *testing.T) {
	s, err := readSettings(environ(least()))
	if err != nil {
		t.Fatal(err)
	}
	if s.table != "hosts" || s.mode != direct || s.changes != 30 || s.requests != 20 || s.route53 != 8 || s.level != slog.LevelInfo ||
		s.region != "eu-central-1" || s.endpointDynamoDB != "https://dynamodb.eu-central-1.amazonaws.com" || s.endpointRoute53 != "https://route53.amazonaws.com" || len(s.warnings) != 0 ||
		!slices.Equal(s.zones, []zone{{dnsname.MustParse("dyn.example.com"), "Z0123456789ABC"}}) {
		t.Errorf("got %+v", s)
	}

	env := least()
	maps.Copy(env, map[string]string{
		"GODWIT_ZONES": "Dyn.Example.Com.=/hostedzone/Z1, example.org=Z2", "GODWIT_MODE": "stream",
		"GODWIT_CHANGES_PER_HOUR": "0", "GODWIT_REQUESTS_PER_SECOND": "7", "GODWIT_ROUTE53_REQUESTS_PER_SECOND": "50", "GODWIT_LOG_LEVEL": "debug", "GODWIT_TABEL": "x",
		"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ENDPOINT_URL_ROUTE_53": "http://127.0.0.1:2",
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128", "AWS_SESSION_TOKEN": "a=b",
	})
	if s, err = readSettings(environ(env)); err != nil {
		t.Fatal(err)
	}
	if s.mode != stream || s.changes != 0 || s.requests != 7 || s.route53 != 50 || s.level != slog.LevelDebug || s.sessionToken != "a=b" || s.memory != 128 ||
		s.endpointDynamoDB != "http://127.0.0.1:1" || s.endpointRoute53 != "http://127.0.0.1:2" ||
		!slices.Equal(s.zones, []zone{{dnsname.MustParse("dyn.example.com"), "Z1"}, {dnsname.MustParse("example.org"), "Z2"}}) ||
		!slices.Equal(s.warnings, []string{"the environment variable GODWIT_TABEL means nothing to godwit-lambda"}) {
		t.Errorf("got %+v", s)
	}
}

func TestSettingsRefused(t *testing.T) {
	for _, c := range []struct{ variable, value, want string }{
		{"GODWIT_TABLE", "", "GODWIT_TABLE: it is not set; set it as in GODWIT_TABLE=godwit-hosts"},
		{"GODWIT_ZONES", "", "GODWIT_ZONES: it names no zone"},
		{"GODWIT_ZONES", "dyn.example.com", `GODWIT_ZONES: "dyn.example.com" is not a zone and the ID of its hosted zone`},
		{"GODWIT_ZONES", "dyn.example.com=", "is not a zone and the ID"},
		{"GODWIT_ZONES", "dyn.example.com=Z1/../Z2", "is not a zone and the ID"},
		{"GODWIT_ZONES", "dyn..example.com=Z1", "GODWIT_ZONES: "},
		{"GODWIT_ZONES", "a.example=Z1,A.Example.=Z2", "for the second time"},
		{"GODWIT_ZONES", "a.example=Z1,b.example=Z1", "for the second time"},
		{"GODWIT_MODE", "both", `GODWIT_MODE: "both" is not direct or stream`},
		{"GODWIT_CHANGES_PER_HOUR", "-1", "is not a whole number"},
		{"GODWIT_REQUESTS_PER_SECOND", "many", "is not a whole number"},
		{"GODWIT_ROUTE53_REQUESTS_PER_SECOND", "0", `"0" is not a whole number from 1 to 1000000; set it as in GODWIT_ROUTE53_REQUESTS_PER_SECOND=8`},
		{"GODWIT_LOG_LEVEL", "loud", `GODWIT_LOG_LEVEL: "loud" is not`},
		{"AWS_REGION", "", "AWS_REGION: it is not set"},
		{"AWS_ACCESS_KEY_ID", "", "AWS_ACCESS_KEY_ID: it is not set"},
		{"AWS_SECRET_ACCESS_KEY", "", "AWS_SECRET_ACCESS_KEY: it is not set"},
	} {
		env := least()
		env[c.variable] = c.value
		if _, err := readSettings(environ(env)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s=%s: got %v, want %s", c.variable, c.value, err, c.want)
		}
	}
	// All that is wrong is said at once, and no secret with it.
	_, err := readSettings([]string{"AWS_SECRET_ACCESS_KEY=hidden", "GODWIT_MODE=x"})
	if err == nil || strings.Count(err.Error(), "\n") < 4 || strings.Contains(err.Error(), "hidden") {
		t.Errorf("got %v", err)
	}
}
