//go:build linux

package e2e

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"godwit/internal/api"
	"godwit/internal/awstest"
	"godwit/internal/signature"
)

// TestAWSSigned: a device joins the function with a code that the operator made
// in the table, and signs what it sends through the Function URL.
func TestAWSSigned(t *testing.T) {
	s := deploy(t, awstest.StartMoto(t), nil)
	const host = "pi." + zone
	var made api.Created
	s.must(&made, "", "host", "add", host, "--join")
	if made.JoinCode == "" || made.Token != "" {
		t.Fatalf("made %+v", made)
	}

	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	body := `{"code":"` + made.JoinCode + `","public_key":"` + base64.StdEncoding.EncodeToString(key.Public().(ed25519.PublicKey)) + `"}`
	var joined api.Joined
	for _, status := range []int{201, 200} {
		a := ask(t, s.function, awstest.URLRequest{Path: api.JoinPath, Source: home1, Body: body})
		if json.Unmarshal([]byte(a.Body), &joined) != nil || a.StatusCode != status || joined.Host != host || joined.Credential != made.Credential {
			t.Fatalf("join: %d %s", a.StatusCode, a.Body)
		}
	}

	signer, err := signature.NewSigner(joined.Credential, key)
	if err != nil {
		t.Fatal(err)
	}
	// The URL that the platform gives the function's stand-in.
	const authority = "abcdefghijklmnopqrstuvwxyz012345.lambda-url.us-east-1.on.aws"
	signed := func(method, path, source, body, authority string) awstest.URLRequest {
		t.Helper()
		r, err := http.NewRequest(method, "https://"+authority+path, nil)
		if err == nil {
			err = signer.Sign(r, []byte(body), time.Now())
		}
		if err != nil {
			t.Fatal(err)
		}
		q := awstest.URLRequest{Method: method, Path: path, Source: source, Body: body, Header: map[string]string{}}
		for name := range r.Header {
			q.Header[strings.ToLower(name)] = r.Header.Get(name)
		}
		return q
	}
	want := func(q awstest.URLRequest, status int, part string) {
		t.Helper()
		if a := ask(t, s.function, q); a.StatusCode != status || !strings.Contains(a.Body, part) {
			t.Errorf("%s %s: %d %s; want %d, %s", q.Method, q.Path, a.StatusCode, a.Body, status, part)
		}
	}
	const path = api.HostPath + host
	first := signed("PUT", path+api.AddressesPath, home1, "{}", authority)
	want(first, 200, `"outcome":"changed","a":["`+home1+`"],"aaaa":[]`)
	s.wantShown(host, "60 "+home1, "")
	want(first, 409, `"code":"replayed"`)
	want(signed("PUT", path+api.AddressesPath, home6, "{}", authority), 200, `"outcome":"changed","a":["`+home1+`"],"aaaa":["`+home6+`"]`)
	s.wantShown(host, "60 "+home1, "60 "+home6)
	want(signed("PUT", path+api.AddressesPath, home1, `{"a":["`+home1+`"]}`, authority), 200, `"outcome":"unchanged"`)
	want(signed("GET", path, home1, "", authority), 200, `"source":"`+home1+`"`)
	want(signed("PUT", path+api.AddressesPath, home2, "{}", "ddns.example.com"), 401, `"code":"bad-proof"`)
	s.wantShown(host, "60 "+home1, "60 "+home6)

	_, next, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	want(signed("POST", path+api.KeyPath, home1, `{"public_key":"`+base64.StdEncoding.EncodeToString(next.Public().(ed25519.PublicKey))+`"}`, authority), 201, `"host":"`+host+`"`)
	var shown api.HostState
	s.must(&shown, "", "host", "show", host)
	if len(shown.Credentials) != 2 || shown.Credentials[0].Kind != "ed25519" || shown.Seed {
		t.Errorf("shown %+v", shown)
	}
	s.must(nil, "", "host", "token", "revoke", host, joined.Credential)
	want(signed("PUT", path+api.AddressesPath, home2, "{}", authority), 401, `"code":"bad-proof"`)
	s.wantShown(host, "60 "+home1, "60 "+home6)
}

// TestAWSSharedToken: one token for two hosts in the table, by the door that
// routers know, through its whole life.
func TestAWSSharedToken(t *testing.T) {
	s := deploy(t, awstest.StartMoto(t), nil)
	const cam, tv = "cam." + zone, "tv." + zone
	for _, name := range []string{nas, cam, tv} {
		s.must(nil, "", "host", "add", name)
	}
	var made api.Created
	s.must(&made, "", "host", "token", "add", nas, "--host", cam, "--label", "router")
	if len(made.Hosts) != 2 {
		t.Fatalf("made %+v", made)
	}
	update := func(token, source string, status int, body string) {
		t.Helper()
		a := ask(t, s.function, awstest.URLRequest{Method: "GET", Path: "/nic/update", Query: "hostname=" + nas + "," + cam + "," + tv, Source: source,
			Header: map[string]string{"authorization": "Basic " + base64.StdEncoding.EncodeToString([]byte(nas+":"+token))}})
		if a.StatusCode != status || a.Body != body {
			t.Errorf("%d %q, want %d %q", a.StatusCode, a.Body, status, body)
		}
	}
	update(made.Token, home1, 200, "good "+home1+"\ngood "+home1+"\nnohost not-yours\n")
	s.wantShown(nas, "60 "+home1, "")
	s.wantShown(cam, "60 "+home1, "")
	var hosts api.TokenHosts
	if s.must(&hosts, "", "host", "token", "set", cam, made.Credential, "--add-host", tv, "--remove-host", nas); len(hosts.Hosts) != 2 {
		t.Errorf("it serves %v", hosts)
	}
	update(made.Token, home2, 200, "nohost not-yours\ngood "+home2+"\ngood "+home2+"\n")
	var next api.Created
	s.must(&next, "", "host", "token", "rotate", tv, made.Credential, "--overlap", "1h")
	update(made.Token, home1, 200, "nohost not-yours\ngood "+home1+"\ngood "+home1+"\n")
	update(next.Token, home1, 200, "nohost not-yours\nnochg "+home1+"\nnochg "+home1+"\n")
	var shown api.HostState
	if s.must(&shown, "", "host", "show", cam); len(shown.Credentials) != 3 || len(shown.Credentials[2].Hosts) != 2 {
		t.Errorf("shown %+v", shown.Credentials)
	}
	for _, id := range []string{made.Credential, next.Credential} {
		s.must(nil, "", "host", "token", "revoke", cam, id)
	}
	update(next.Token, home2, 401, "badauth\n")
	s.wantShown(tv, "60 "+home1, "")
}
