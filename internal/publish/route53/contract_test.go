package route53_test

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"godwit/internal/awscall"
	"godwit/internal/awstest"
	"godwit/internal/ddns"
	"godwit/internal/ddns/publishtest"
	"godwit/internal/dnsname"
	"godwit/internal/publish/route53"
)

// TestContract is the suite that every publisher passes, with each form in which
// Route 53 may refuse a batch.
func TestContract(t *testing.T) {
	for name, c := range map[string]awstest.Route53Config{
		"throttled for real": {Rates: awstest.Rates2026(), MaxSets: -1},
		"a root of its own":  {OwnRoot: true},
		"no messages":        {Silent: true},
	} {
		for _, demand := range publishtest.Cases() {
			// How a refusal is worded matters only where something is refused.
			if refuses := strings.Contains(demand.Name, "refused") || strings.Contains(demand.Name, "late"); c.MaxSets == 0 && !refuses {
				continue
			}
			t.Run(name+"/"+demand.Name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					if err := demand.Check(t.Context(), open(t, c).setup(false)); err != nil {
						t.Error(err)
					}
				})
			})
		}
	}
}

// TestInterleavings lets rapid choose the schedule of several writers, the last
// time with a publisher that cannot look either.
func TestInterleavings(t *testing.T) {
	for _, blind := range []bool{false, true} {
		t.Run(map[bool]string{false: "looks", true: "blind"}[blind], func(t *testing.T) {
			rapid.Check(t, func(r *rapid.T) {
				choices := rapid.SliceOfN(rapid.IntRange(0, 1<<16), 64, 64).Draw(r, "choices")
				at := 0
				choose := func(n int) int {
					at++
					return choices[at%len(choices)] % n
				}
				var err error
				synctest.Test(t, func(t *testing.T) {
					err = publishtest.Interleave(t.Context(), open(t, awstest.Route53Config{}).setup(blind), child(t, "nas"), choose)
				})
				if err != nil {
					r.Fatal(err)
				}
			})
		})
	}
}

// TestMoto is the suite on an emulator that we did not write. What it does not
// do as Route 53 is documented to is an exception by name; if it comes to do it,
// the exception fails.
func TestMoto(t *testing.T) {
	exceptions := map[string]string{
		"suspended shows nothing":               "a set that was there once cannot be made again while another stands after it",
		"late publishes leave the newest state": "a DELETE of outdated values is done, and a CREATE beside what is there",
	}
	server := awstest.StartMoto(t)
	plain := awscall.NewTransport()
	t.Cleanup(plain.CloseIdleConnections)
	t.Run("order of wildcards", func(t *testing.T) { testMotoOrder(t, server, plain) })
	for _, demand := range publishtest.Cases() {
		t.Run(demand.Name, func(t *testing.T) {
			s, _ := openMoto(t, server, plain)
			err := demand.Check(t.Context(), s)
			why, excepted := exceptions[demand.Name]
			switch {
			case err != nil && !excepted:
				t.Error(err)
			case err == nil && excepted:
				t.Errorf("moto does it right now: take the exception away (%s)", why)
			}
		})
	}
}

// testMotoOrder: moto sorts \052 as it is spelled. No wildcard is missed for that.
func testMotoOrder(t *testing.T, server string, plain http.RoundTripper) {
	_, p := openMoto(t, server, plain)
	h := host(t, "nas", 1)
	h.Wildcard = true
	below := make([]*ddns.Host, 200)
	for i := range below {
		below[i] = host(t, strconv.Itoa(i)+".nas", i)
	}
	h.Followers = []ddns.Follower{{Name: child(t, "99x.nas"), A: true}}
	must(t, p, append(below, h)...)
	shown, err := p.Look(t.Context(), h)
	if err != nil || len(shown) != 5 {
		t.Errorf("%v, %v", shown, err)
	}
}

// openMoto makes a zone of its own.
func openMoto(t *testing.T, server string, plain http.RoundTripper) (publishtest.Setup, *route53.Publisher) {
	through := &troubled{RoundTripper: plain, faults: map[*trouble]bool{}}
	c := client(t, server, through)
	resp, err := c.Do(t.Context(), awscall.Request{Method: "POST", Path: "/2013-04-01/hostedzone",
		Body: []byte(`<CreateHostedZoneRequest xmlns="https://route53.amazonaws.com/doc/2013-04-01/"><Name>` + apex.FQDN() + `</Name><CallerReference>` + t.Name() + `</CallerReference></CreateHostedZoneRequest>`)})
	var made struct {
		ID string `xml:"HostedZone>Id"`
	}
	if err = errors.Join(err, xml.Unmarshal(resp.Body, &made)); err != nil {
		t.Fatal(err)
	}
	inner, err := route53.New(route53.Config{Client: c, Zones: map[dnsname.Name]string{apex: made.ID}, Rate: 1e6, Budget: -1})
	if err != nil {
		t.Fatal(err)
	}
	p := &faulty{Inspector: inner, begin: through.begin}
	// Nobody else changes the zone, and moto takes its time: it is listed once
	// after each batch.
	var listed map[string]awstest.RecordSet
	var mu sync.Mutex // guards listed
	at := int64(-1)
	return publishtest.Setup{Publisher: p, Zone: apex, Fail: p.Fail, Shows: func(owner dnsname.Name, rrType ddns.Type) (ddns.RRset, bool) {
		mu.Lock()
		defer mu.Unlock()
		if n := through.batches.Load(); n != at {
			listed, at = listMoto(t, c, made.ID), n
		}
		s, ok := listed[owner.FQDN()+" "+rrType.String()]
		if !ok {
			return ddns.RRset{}, false
		}
		return rrset(s, owner, rrType)
	}}, inner
}

// listMoto is a whole zone, by name and type.
func listMoto(t *testing.T, c *awscall.Client, zone string) map[string]awstest.RecordSet {
	sets := map[string]awstest.RecordSet{}
	for query := ""; ; {
		resp, err := c.Do(t.Context(), awscall.Request{Method: "GET", Path: "/2013-04-01" + zone + "/rrset?maxitems=300" + query})
		var listed struct {
			Sets []struct {
				Name   string
				Type   string
				TTL    int64
				Values []string `xml:"ResourceRecords>ResourceRecord>Value"`
			} `xml:"ResourceRecordSets>ResourceRecordSet"`
			Truncated bool   `xml:"IsTruncated"`
			Name      string `xml:"NextRecordName"`
			Type      string `xml:"NextRecordType"`
		}
		if err = errors.Join(err, xml.Unmarshal(resp.Body, &listed)); err != nil {
			t.Fatal(err)
		}
		for _, s := range listed.Sets {
			sets[strings.ReplaceAll(s.Name, `\052`, "*")+" "+s.Type] = awstest.RecordSet{TTL: s.TTL, Values: s.Values}
		}
		if !listed.Truncated {
			return sets
		}
		query = "&name=" + url.QueryEscape(listed.Name) + "&type=" + listed.Type
	}
}

// trouble befalls batches that have one of these names in them.
type trouble struct {
	fault  publishtest.Fault
	owners []dnsname.Name
}

// troubled makes trouble on the way to a server that makes none.
type troubled struct {
	http.RoundTripper
	batches atomic.Int64 // that were sent on

	mu     sync.Mutex // guards faults
	faults map[*trouble]bool
}

func (tr *troubled) begin(f publishtest.Fault, owners []dnsname.Name) func() {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	made := &trouble{f, owners}
	tr.faults[made] = true
	return func() {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		delete(tr.faults, made)
	}
}

// befalls is what befalls a request with this body.
func (tr *troubled) befalls(body []byte) publishtest.Fault {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	for f := range tr.faults {
		for _, o := range f.owners {
			if bytes.Contains(body, []byte("<Name>"+strings.ReplaceAll(o.FQDN(), "*", `\052`)+"</Name>")) {
				return f.fault
			}
		}
	}
	return 0
}

func (tr *troubled) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body == nil {
		return tr.RoundTripper.RoundTrip(r)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r = r.Clone(context.WithoutCancel(r.Context()))
	r.Body = io.NopCloser(bytes.NewReader(body))
	defer tr.batches.Add(1)
	switch tr.befalls(body) {
	case publishtest.Refuse:
		const text = `<InvalidChangeBatch xmlns="https://route53.amazonaws.com/doc/2013-04-01/"><Messages><Message>no</Message></Messages></InvalidChangeBatch>`
		return &http.Response{StatusCode: 400, Header: http.Header{}, ContentLength: int64(len(text)), Body: io.NopCloser(strings.NewReader(text))}, nil
	case publishtest.LoseAnswer:
		resp, err := tr.RoundTripper.RoundTrip(r)
		if err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
		return nil, errors.Join(err, errors.New("the connection was cut"))
	}
	return tr.RoundTripper.RoundTrip(r)
}
