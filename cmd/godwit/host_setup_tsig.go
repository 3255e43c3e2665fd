package main

import (
	"strings"

	"godwit/internal/api"
)

// printTSIG shows a new TSIG key as the programs want it that use one.
func (a *app) printTSIG(c api.Created) {
	k := c.TSIG
	fields(a.stdout, "  Name", k.Name, "  Algorithm", k.Algorithm, "  Secret", k.Secret)
	key := k.Algorithm + ":" + k.Name + ":" + k.Secret
	a.print(`
  nsupdate -v -y %s
  knsupdate -v -y %[1]s

A key file, for -k in place of -y, which shows the secret to all users of the machine:

  key "%s" { algorithm %s; secret "%s"; };

OpenWrt: username '%[3]s:%[2]s', password '%[4]s', force_dnstcp '1'
certbot: dns_rfc2136_name = %[2]s, dns_rfc2136_secret = %[4]s, dns_rfc2136_algorithm = %[5]s
lego:    RFC2136_TSIG_KEY=%[2]s RFC2136_TSIG_SECRET=%[4]s RFC2136_TSIG_ALGORITHM=%[3]s.`,
		key, k.Name, k.Algorithm, k.Secret, strings.ToUpper(k.Algorithm))
}

// tsigClients are clients that send DNS UPDATE messages.
func tsigClients() []setupClient {
	const (
		addresses = "Addresses go over TCP (-v), because a UDP sender may be forged; under --source match the address is the one that the message comes from."
		keyFile   = "key \"{KEY}\" {\n\talgorithm {ALGORITHM};\n\tsecret \"{SECRET}\";\n};\n"
	)
	return []setupClient{
		{
			name: "nsupdate", title: "nsupdate (BIND)", proof: byTSIG,
			steps:    []string{"Put the key into the file; nobody else may read it", "Run this whenever the address has changed, with the address in place of ADDRESS"},
			file:     [2]string{"/etc/godwit.key", keyFile},
			commands: []string{"chmod 600 /etc/godwit.key", `printf 'server {DNS} {PORT}\nzone {ZONE}\nupdate delete {HOST} A\nupdate add {HOST} {TTL} A ADDRESS\nsend\n' | nsupdate -v -k /etc/godwit.key`},
			notes:    []string{addresses},
		},
		{
			name: "knsupdate", title: "knsupdate (Knot DNS)", proof: byTSIG,
			steps:    []string{"Put the key into the file; nobody else may read it", "Run this whenever the address has changed, with the address in place of ADDRESS"},
			file:     [2]string{"/etc/godwit.key", "{ALGORITHM}:{KEY}:{SECRET}\n"},
			commands: []string{"chmod 600 /etc/godwit.key", `printf 'server {DNS} {PORT}\nzone {ZONE}\ndel {HOST} A\nadd {HOST} {TTL} A ADDRESS\nsend\n' | knsupdate -v -k /etc/godwit.key`},
			notes:    []string{addresses},
		},
		{
			name: "openwrt-nsupdate", title: "OpenWrt (ddns-scripts-nsupdate)", proof: byTSIG,
			steps: []string{"Install: opkg install ddns-scripts-nsupdate (from 25.12 on: apk add ddns-scripts-nsupdate)", "Put this into the file; for IPv6 a second section with use_ipv6 '1' and the interface wan6", "Start it"},
			file: [2]string{"/etc/config/ddns", `config service 'godwit4'
	option enabled '1'
	option use_ipv6 '0'
	option service_name 'bind-nsupdate'
	option lookup_host '{HOST}'
	option domain '{HOST}'
	option dns_server '{DNS}'
	option username '{ALGORITHM}:{KEY}'
	option password '{SECRET}'
	option force_dnstcp '1'
	option interface 'wan'
	option ip_source 'network'
	option ip_network 'wan'
`},
			commands: []string{"chmod 600 /etc/config/ddns", "/etc/init.d/ddns enable", "/etc/init.d/ddns restart"},
			notes:    []string{"It asks for port 53. The TTL that it sends is ignored: it is the host's."},
		},
		{
			name: "certbot", title: "certbot with its dns-rfc2136 plugin", proof: byTSIG, types: []string{"TXT"},
			steps: []string{"Install: apt install certbot python3-certbot-dns-rfc2136", "Put this into the file; nobody else may read it", "Get the certificate, which certbot then renews by itself"},
			file: [2]string{"/etc/letsencrypt/godwit.ini", `dns_rfc2136_server = {DNS}
dns_rfc2136_port = {PORT}
dns_rfc2136_name = {KEY}
dns_rfc2136_secret = {SECRET}
dns_rfc2136_algorithm = {ALGORITHM_UPPER}
`},
			commands: []string{"chmod 600 /etc/letsencrypt/godwit.ini", "certbot certonly --dns-rfc2136 --dns-rfc2136-credentials /etc/letsencrypt/godwit.ini --dns-rfc2136-propagation-seconds 5 -d {HOST} -d '*.{HOST}'"},
			notes:    []string{"certbot wants an IP address as the server. The key may set challenge values and nothing else."},
		},
		{
			name: "lego-rfc2136", title: "lego, and what is built on it (Traefik, Caddy's module ...), by RFC 2136", proof: byTSIG, types: []string{"TXT"},
			steps:    []string{"Put this into the file; nobody else may read it", "Get the certificate"},
			file:     [2]string{"/etc/godwit.lego", "RFC2136_NAMESERVER={DNS}:{PORT}\nRFC2136_TSIG_KEY={KEY}\nRFC2136_TSIG_SECRET={SECRET}\nRFC2136_TSIG_ALGORITHM={ALGORITHM}.\nRFC2136_SEQUENCE_INTERVAL=1\n"},
			commands: []string{"chmod 600 /etc/godwit.lego", "(set -a; . /etc/godwit.lego; lego --email YOU@EXAMPLE.COM --dns rfc2136 -d {HOST} -d '*.{HOST}' run)"},
			notes:    []string{"The key may set challenge values and nothing else. Without the last line lego waits a minute between the name and its wildcard."},
		},
		{
			name: "ddclient-nsupdate", title: "ddclient, by nsupdate", proof: byTSIG,
			steps: []string{"Put the key into /etc/godwit.key, nobody else may read it:  key \"{KEY}\" { algorithm {ALGORITHM}; secret \"{SECRET}\"; };", "Put this into the file, and start it"},
			file: [2]string{"/etc/ddclient.conf", `daemon=300
use=web, web={URL}/nic/checkip
protocol=nsupdate
server={DNS}
password=/etc/godwit.key
zone={ZONE}
ttl={TTL}
tcp=yes
{HOST}
`},
			commands: []string{"chmod 600 /etc/ddclient.conf /etc/godwit.key", "ddclient -daemon=0 -noquiet -verbose -file /etc/ddclient.conf", "systemctl restart ddclient"},
			notes:    []string{"It needs nsupdate (bind9-dnsutils), and asks for port 53."},
		},
	}
}
