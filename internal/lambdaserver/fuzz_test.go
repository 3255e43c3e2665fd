package lambdaserver_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"godwit/internal/awstest"
	"godwit/internal/ddns"
	"godwit/internal/ddns/publishtest"
	"godwit/internal/dnsname"
	"godwit/internal/httpserver"
	"godwit/internal/lambdaserver"
)

// oneZone is ddns.Zones with one zone.
type oneZone struct{}

func (oneZone) Zone(n dnsname.Name) (dnsname.Name, bool) {
	apex := dnsname.MustParse("dyn.example.com")
	return apex, n.Under(apex)
}
func (oneZone) Clash(dnsname.Name) error { return nil }

// publicDoors are the doors that the function has, on a store in memory.
func publicDoors(t testing.TB) http.Handler {
	t.Helper()
	store := new(publishtest.Store)
	service, err := ddns.NewService(ddns.Config{Store: store, Sealer: store, Zones: oneZone{}, Publisher: new(publishtest.DNS)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := service.Add(t.Context(), dnsname.MustParse("host1.dyn.example.com"), ddns.Settings{}, ddns.NewSecret("shared_secret_1")); err != nil {
		t.Fatal(err)
	}
	doors, err := httpserver.New(httpserver.Config{Service: service, SeedEverywhere: true})
	if err != nil {
		t.Fatal(err)
	}
	return doors.Public()
}

// Whatever the event, Invoke does not panic. A request through the URL gets an
// answer whose status is one of a fixed set, and never 500 or above, unless the
// event is not in the documented form, which the platform makes; the handler sees a request that net/http could have made, and no source but sourceIp. A
// batch's answer names records of the batch only. Anything else is an error.
func FuzzEvent(f *testing.F) {
	const set = `{"execution_mode":"set","ddns_hostname":"host1.dyn.example.com","validation_hash":"a1771addefd8130757f890aa56b06da8eef1e51f445f92a65cabe7be3cf48a62"}`
	for _, q := range []awstest.URLRequest{
		{Source: "176.32.100.36", Body: set}, {Source: "176.32.100.36", Body: set, Encoded: true}, {Source: "::ffff:b020:6424", Body: `{"execution_mode":"get"}`},
		{Method: "GET", Path: "/ip", Source: "2001:DB8::1"}, {Method: "GET", Path: "//nic/update/", Query: "hostname=a&myip=", Source: "fe80::1%eth0"},
		{Method: "OPTIONS", Source: "192.0.2.1"}, {Method: "HEAD", Path: "/healthz", Source: ""}, {Path: "/%2e%2e/%00", Source: "1.2.3", Body: "{"}, {Body: strings.Repeat("x", 5000)},
		{Source: "192.0.2.1", Cookies: []string{"a=1", "b=\x00"}, Header: map[string]string{"X-Forwarded-For": "203.0.113.9", "Host": "a\nb"}},
	} {
		f.Add(q.Event())
	}
	f.Add(awstest.StreamEvent(7, "a", "b", "a"))
	f.Add(awstest.ScheduleEvent())
	f.Add([]byte(`{"requestContext":{"http":{"method":"PRI","protocol":"HTTP/2.0"}},"rawPath":"*","isBase64Encoded":true,"body":"====","headers":{"":"","a b":"c"}}`))
	f.Add([]byte(`{"Records":[null,{"dynamodb":{"SequenceNumber":7}}]}`))
	f.Add([]byte(`[`))

	doors := publicDoors(f)
	var request *http.Request
	server, err := lambdaserver.New(lambdaserver.Config{
		HTTP: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			request = r
			doors.ServeHTTP(w, r)
		}),
		Publish: func(_ context.Context, keys []string) []error {
			errs := make([]error, len(keys))
			for i, key := range keys {
				if len(key)%2 == 0 {
					errs[i] = errors.New("down")
				}
			}
			return errs
		},
		Tick: func(context.Context) error { return nil },
	})
	if err != nil {
		f.Fatal(err)
	}
	statuses := []int{200, 201, 204, 400, 401, 403, 404, 405, 413, 429}

	f.Fuzz(func(t *testing.T, event []byte) {
		request = nil
		out, err := server.Invoke(context.Background(), event)
		var shape struct {
			RequestContext struct {
				HTTP *struct{ SourceIP string }
			}
			Records []struct {
				DynamoDB struct{ SequenceNumber string }
			}
		}
		shapeErr := json.Unmarshal(event, &shape)
		isURL := shapeErr == nil && shape.RequestContext.HTTP != nil
		switch {
		case err != nil && isURL && !strings.HasPrefix(err.Error(), "the event is not understood: "):
			t.Fatalf("a request got no answer: %v", err)
		case err != nil:
			return
		case !isURL && shape.Records != nil:
			for _, id := range failures(t, out) {
				if id == "" || !slices.ContainsFunc(shape.Records, func(r struct {
					DynamoDB struct{ SequenceNumber string }
				}) bool {
					return r.DynamoDB.SequenceNumber == id
				}) {
					t.Fatalf("record %q of no batch failed", id)
				}
			}
		case isURL:
			var a awstest.URLAnswer
			if err := json.Unmarshal(out, &a); err != nil || !slices.Contains(statuses, a.StatusCode) {
				t.Fatalf("got %s: %v", out, err)
			}
			if a.IsBase64Encoded {
				if _, err := base64.StdEncoding.DecodeString(a.Body); err != nil {
					t.Fatalf("got %s: %v", out, err)
				}
			}
			if request != nil {
				plausible(t, request, shape.RequestContext.HTTP.SourceIP)
			}
		}
	})
}

// plausible holds a request to what net/http's server promises a handler.
func plausible(t *testing.T, r *http.Request, source string) {
	t.Helper()
	if r.RemoteAddr != "" {
		got, err := netip.ParseAddrPort(r.RemoteAddr)
		want, _ := netip.ParseAddr(strings.Trim(source, "[]"))
		if err != nil || got.Addr() != want {
			t.Errorf("sourceIp %q became %q", source, r.RemoteAddr)
		}
	}
	if r.URL.Path == "" || r.URL.Path[0] != '/' || r.Method == "" || r.Body == nil || r.ContentLength < 0 {
		t.Errorf("%q %q, length %d", r.Method, r.URL.Path, r.ContentLength)
	}
}
