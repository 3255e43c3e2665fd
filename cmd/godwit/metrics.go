package main

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"godwit/internal/api"
	"godwit/internal/dnssec"
	"godwit/internal/dnsserver"
	"godwit/internal/histogram"
	"godwit/internal/secondary"
)

// metricsHandler answers /metrics in Prometheus' text form, or in OpenMetrics'
// for who asks for that. What is counted is counted elsewhere, always, and read
// when somebody asks. dns is nil if DNS is not answered here.
func (d *daemon) metricsHandler(dns *dnsserver.Server) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		&metrics{d, dns},
	)
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog:          slog.NewLogLogger(d.log.Handler(), slog.LevelWarn),
		ErrorHandling:     promhttp.ContinueOnError, // what can be told helps to find what cannot
		EnableOpenMetrics: true,
	})
}

// metrics reads what the parts of a daemon have counted.
//
// Labels have few values, whatever strangers send: no host, no client's address,
// and of types, rcodes, doors and outcomes those of a list. Zones and secondaries
// are those of the settings.
type metrics struct {
	d   *daemon
	dns *dnsserver.Server
}

// Describe describes nothing: which metrics there are depends on the settings.
func (m *metrics) Describe(chan<- *prometheus.Desc) {}

// Collect reads everything.
func (m *metrics) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	s := &scrape{to: to}
	b := buildInfo()
	s.gauge("build_info", "What is running; always 1.", 1, "version", b.Version, "revision", b.Revision, "goversion", b.Go)
	if m.dns != nil {
		s.dns(m.dns.Counts())
	}
	s.updates(m.d)
	s.store(ctx, m.d)
	for _, z := range m.d.zones() {
		s.gauge("zone_hosts", "Hosts that the zone has in DNS.", float64(z.Hosts), "zone", z.Apex)
		if z.Serial != 0 {
			s.gauge("zone_serial", "SOA serial of a zone that is answered here.", float64(z.Serial), "zone", z.Apex)
		}
		if z.DNSSEC != nil {
			s.keys(z.Apex, z.DNSSEC, time.Now())
		}
	}
	if m.d.secondaries != nil {
		s.secondaries(m.d.secondaries.States())
	}
	if m.d.keeper != nil {
		s.signatures(m.d.keeper.Counts())
	}
	if c := m.d.certificateState(); c != nil {
		s.gauge("tls_certificate_expiry_timestamp_seconds", "When the TLS certificate ends, in Unix time; 0: there is none yet.", unixOrNever(c.NotAfter))
		s.gauge("tls_certificate_problem", "1 if the last attempt to get or renew the TLS certificate failed.", truth(c.Problem != ""))
	}
}

// scrape hands on what is read.
type scrape struct{ to chan<- prometheus.Metric }

// dns is what the DNS server has answered.
func (s *scrape) dns(c dnsserver.Counts) {
	for _, t := range []struct {
		name string
		*dnsserver.Transport
	}{{"udp", &c.UDP}, {"tcp", &c.TCP}} {
		for name, n := range t.Types {
			s.counter("dns_queries_total", "DNS queries, but for messages that are none.", n, "transport", t.name, "type", name)
		}
		for name, n := range t.Rcodes {
			s.counter("dns_responses_total", "DNS responses to queries.", n, "transport", t.name, "rcode", name)
		}
		for name, n := range t.Updates {
			s.counter("dns_update_responses_total", "DNS responses to UPDATE messages.", n, "transport", t.name, "rcode", name)
		}
		s.histogram("dns_response_duration_seconds", "From when a batch of queries was read until its responses were sent, counted for each response.",
			t.Latency, "transport", t.name)
	}
	for reason, n := range map[string]uint64{"not_dns": c.Dropped, "rate_limited": c.Withheld, "queue_full": c.Overflowed, "unsent": c.Unsent} {
		s.counter("dns_drops_total", "DNS messages without a response: not_dns has no header or is a response; rate_limited is over --responses-per-second; "+
			"queue_full came faster than it was read; unsent was not taken by the kernel.", n, "reason", reason)
	}
	for name, n := range c.TSIG {
		s.counter("dns_tsig_errors_total", "UPDATE messages and signed queries whose TSIG record did not hold.", n, "error", name)
	}
	s.counter("dns_updates_overloaded_total", "UPDATE messages and queries with a host's key that were dropped by UDP, or SERVFAIL by TCP, because too many others were at work.", c.Crowded)
	s.counter("dns_truncated_responses_total", "DNS responses with TC.", c.Truncated)
	s.counter("dns_slips_total", "DNS responses over --responses-per-second that told the client to come by TCP or with a cookie.", c.Slipped)
	s.counter("dns_valid_cookies_total", "DNS queries whose cookie proved their address.", c.Cookies)
	s.gauge("dns_tcp_connections_open", "TCP connections for DNS that are open.", float64(c.Open))
	s.counter("dns_tcp_connections_total", "TCP connections for DNS that were accepted.", c.Conns)
	for reason, n := range map[string]uint64{"client_limit": c.Refused, "made_room": c.Evicted} {
		s.counter("dns_tcp_connections_closed_total", "TCP connections for DNS that were closed over a limit: client_limit at once, made_room for others.", n, "reason", reason)
	}
}

// secondaries is what is known of who follows the zones.
func (s *scrape) secondaries(states []secondary.State) {
	for _, one := range states {
		labels := []string{"secondary", one.Secondary.String(), "zone", one.Zone.String()}
		s.gauge("secondary_notify_problem", "1 if the secondary did not acknowledge the last NOTIFY, or has a later serial than the zone.", truth(one.Problem != ""), labels...)
		s.gauge("secondary_behind", "1 if the zone has another serial than the secondary got last.", truth(one.Behind), labels...)
		s.gauge("secondary_notified_timestamp_seconds", "When the secondary last acknowledged a NOTIFY, in Unix time; 0: not since the start.", unixOrNever(one.Acknowledged), labels...)
		s.gauge("secondary_transferred_timestamp_seconds", "When the secondary last got the zone, or heard that it has it, in Unix time; 0: not since the start.",
			unixOrNever(one.Transferred), labels...)
	}
}

// keys is what is known of a signed zone's keys.
func (s *scrape) keys(apex string, keys *api.ZoneKeys, now time.Time) {
	ages, atParent := map[string]float64{"published": 0, "signing": 0, "retired": 0}, false
	for _, k := range keys.Keys {
		ages[k.State] = max(0, now.Sub(k.Made).Seconds())
		atParent = atParent || k.AtParent
	}
	for state, age := range ages {
		s.gauge("dnssec_key_age_seconds", "How long ago the zone's key in this state was made; 0: there is none. A published key is to follow the signing one, and a retired one was before it.",
			age, "zone", apex, "state", state)
	}
	s.gauge("dnssec_at_parent", "1 if the parent zone is known to have the DS record of one of the zone's keys.", truth(atParent), "zone", apex)
}

// signatures are those of all signed zones.
func (s *scrape) signatures(c dnssec.Counts) {
	for kind, n := range map[string]dnssec.Signatures{"present": c.There, "made_up": c.MadeUp} {
		s.counter("dnssec_signatures_total", "Signatures that were made: of what is present in a zone, or for names that clients made up.", n.Made, "kind", kind)
		s.counter("dnssec_signatures_refused_total", "Signatures that were not made, because too many were in that second: the client was sent to TCP, or answered SERVFAIL there.", n.Refused, "kind", kind)
	}
}

// updates is what the core was asked for.
func (s *scrape) updates(d *daemon) {
	c := d.service.Counts()
	for name, door := range c.Doors {
		for outcome, n := range door.Outcomes {
			s.counter("updates_total", "Updates by door and outcome: changed, unchanged, or the code of a refusal.", n, "door", name, "outcome", outcome)
		}
		s.histogram("update_duration_seconds", "How long updates took, refused ones too.", door.Latency, "door", name)
	}
	s.counter("updates_unconfirmed_total", "Updates that were stored while DNS was not known to show them.", c.Unconfirmed)
	s.counter("updates_overloaded_total", "Updates refused as rate-limited because too many others were at work.", c.Overloaded)
	s.gauge("updates_waiting", "Updates that wait for a place at work.", float64(c.Places))
	s.gauge("proofs_waiting", "Proofs that wait for their turn to be checked.", float64(c.Proofs))
}

// store is what is stored, and what has yet to come where it belongs.
func (s *scrape) store(ctx context.Context, d *daemon) {
	a := d.store.Activity()
	s.histogram("store_commit_duration_seconds", "How long commits took until they were durable and shown.", a.Commits)
	s.counter("store_writes_total", "Writes that went with these commits; as many as came together go with one.", a.Writes)
	s.gauge("store_log_bytes", "Changes that are in the log and not in their rows yet.", float64(a.Log))
	s.gauge("store_last_sweep_timestamp_seconds", "When all of the log was last brought into the rows, in Unix time.", unixSeconds(a.Swept))
	s.gauge("store_refusing", "1 while no change can be stored, because the disk fails or is full.", truth(a.Refusing))
	if stats, err := d.store.Stats(ctx); err != nil {
		s.failed(err)
	} else {
		s.gauge("store_size_bytes", "What the store takes of the disk.", float64(stats.Bytes))
		s.gauge("store_hosts", "Hosts that are stored.", float64(stats.Hosts))
		s.gauge("store_credentials", "Credentials that are stored.", float64(stats.Credentials))
	}
	hosts, since, err := d.store.Lag(ctx)
	if err != nil {
		s.failed(err)
		return
	}
	age := 0.0
	if hosts > 0 {
		age = max(0, time.Since(since).Seconds())
	}
	s.gauge("unpublished_hosts", "Hosts that DNS is not known to show as they are stored.", float64(hosts))
	s.gauge("unpublished_oldest_age_seconds", "For how long the one of these that waits longest has done so; 0: there is none.", age)
}

func (s *scrape) counter(name, help string, n uint64, labels ...string) {
	s.put(prometheus.CounterValue, name, help, float64(n), labels)
}

func (s *scrape) gauge(name, help string, value float64, labels ...string) {
	s.put(prometheus.GaugeValue, name, help, value, labels)
}

func (s *scrape) put(kind prometheus.ValueType, name, help string, value float64, labels []string) {
	desc, values := describe(name, help, labels)
	s.to <- prometheus.MustNewConstMetric(desc, kind, value, values...)
}

func (s *scrape) histogram(name, help string, c histogram.Counts, labels ...string) {
	desc, values := describe(name, help, labels)
	s.to <- prometheus.MustNewConstHistogram(desc, c.N, c.Sum.Seconds(), c.Cumulative(), values...)
}

// failed has the log say what could not be read.
func (s *scrape) failed(err error) {
	s.to <- prometheus.NewInvalidMetric(prometheus.NewInvalidDesc(err), err)
}

// describe takes labels as pairs of name and value.
func describe(name, help string, labels []string) (desc *prometheus.Desc, values []string) {
	var names []string
	for i := 0; i < len(labels); i += 2 {
		names, values = append(names, labels[i]), append(values, labels[i+1])
	}
	return prometheus.NewDesc("godwit_"+name, help, names, nil), values
}

func unixSeconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// unixOrNever is unixSeconds, 0 for the zero time.
func unixOrNever(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return unixSeconds(t)
}

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
