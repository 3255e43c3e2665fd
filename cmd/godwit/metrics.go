package main

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"godwit/internal/dnsserver"
	"godwit/internal/histogram"
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
// Labels have few values, whatever strangers send: no host, no address, and of
// types, rcodes, doors and outcomes those of a list.
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
	}
	if c := m.d.certificateState(); c != nil {
		expiry := 0.0
		if !c.NotAfter.IsZero() {
			expiry = unixSeconds(c.NotAfter)
		}
		s.gauge("tls_certificate_expiry_timestamp_seconds", "When the TLS certificate ends, in Unix time; 0: there is none yet.", expiry)
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
			s.counter("dns_responses_total", "DNS responses.", n, "transport", t.name, "rcode", name)
		}
		s.histogram("dns_response_duration_seconds", "From when a batch of queries was read until its responses were sent, counted for each response.",
			t.Latency, "transport", t.name)
	}
	for reason, n := range map[string]uint64{"not_dns": c.Dropped, "rate_limited": c.Withheld, "queue_full": c.Overflowed, "unsent": c.Unsent} {
		s.counter("dns_drops_total", "DNS messages without a response: not_dns has no header or is a response; rate_limited is over --responses-per-second; "+
			"queue_full came faster than it was read; unsent was not taken by the kernel.", n, "reason", reason)
	}
	s.counter("dns_truncated_responses_total", "DNS responses with TC.", c.Truncated)
	s.counter("dns_slips_total", "DNS responses over --responses-per-second that told the client to come by TCP or with a cookie.", c.Slipped)
	s.counter("dns_valid_cookies_total", "DNS queries whose cookie proved their address.", c.Cookies)
	s.gauge("dns_tcp_connections_open", "TCP connections for DNS that are open.", float64(c.Open))
	s.counter("dns_tcp_connections_total", "TCP connections for DNS that were accepted.", c.Conns)
	for reason, n := range map[string]uint64{"client_limit": c.Refused, "made_room": c.Evicted} {
		s.counter("dns_tcp_connections_closed_total", "TCP connections for DNS that were closed over a limit: client_limit at once, made_room for others.", n, "reason", reason)
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

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
