package main

import "slices"

// setupClient is a client of others, or one of ours, and how it is told of a host.
//
// In the texts {HOST} is the host, {URL} the server's URL, {SERVER} that without
// scheme, {TOKEN} the host's token, {CODE} a join code, {TARGET} the flag that
// names the installation; {DNS} and {PORT} the DNS server, {ZONE} and {TTL} the host's,
// {KEY}, {SECRET}, {ALGORITHM} and {ALGORITHM_UPPER} a TSIG key; what else stands between brackets, percent signs and the
// like is for the client itself to fill in.
type setupClient struct {
	name, title string
	proof       setupProof
	types       []string // of records that its token or key may set; nil: A and AAAA
	prefix      bool     // it can send the delegated prefix
	free        bool     // one connection brings both families, so the host must take addresses that are not the request's
	steps       []string
	values      [][2]string // what goes into which field
	file        [2]string   // name and text of a file that it reads; or none
	commands    []string    // to be run in a shell, in order
	// sends is the URL that it asks for, as it stands before the client fills it
	// in, and whether name and token go with it as user and password. "": it speaks
	// another protocol.
	sends string
	notes []string
	aws   string // what to know where the server is a function in AWS
}

// setupProof is how a client shows who sends.
type setupProof int

const (
	byPassword  setupProof = iota // the token is the password, the host the user
	byURL                         // the token stands in the URL, which it must have the right to
	byJoin                        // a key of the device
	bySeedProof                   // a hash over the host's own secret
	byTSIG                        // a TSIG key
)

const (
	everyFive = "Let it look every five minutes or seldomer; nothing is written where nothing has changed."
	http10    = "It speaks HTTP/1.0, which has not been tried with a function's URL."
)

// setupClients are in the order in which they are listed. The menus are as the
// devices are known to have them, and differ a little between versions;
// docs/protocols.md says what each sends.
func setupClients() []setupClient {
	return slices.Concat(httpClients(), tsigClients(), certificateClients())
}

func httpClients() []setupClient {
	return []setupClient{
		{
			name: "agent", title: "godwit's own agent (Linux, macOS, Windows, routers)", proof: byJoin,
			steps:    []string{"Install godwit-agent, or godwit, on the device (docs/install.md)", "Join, which makes a key that never leaves the device", "Let it run as a service"},
			commands: []string{"godwit agent join {URL} {CODE}", "godwit agent install"},
		},
		{
			name: "fritzbox", title: "AVM FRITZ!Box", prefix: true, free: true,
			steps: []string{"Internet > Permit Access > DynDNS: tick \"Use DynDNS\", and choose the provider \"User-defined\"", "Fill in the fields, then Apply"},
			values: [][2]string{
				{"Update URL", "{URL}/nic/update?hostname=<domain>&myip=<ipaddr>,<ip6addr>&ip6lanprefix=<ip6lanprefix>"},
				{"Domain name", "{HOST}"}, {"User name", "{HOST}"}, {"Password", "{TOKEN}"},
			},
			sends: "{URL}/nic/update?hostname=<domain>&myip=<ipaddr>,<ip6addr>&ip6lanprefix=<ip6lanprefix>",
			notes: []string{"Copy the URL with its <words>: the box fills them in. It takes some minutes, and asks DNS afterwards whether the name is right.",
				"Devices behind the box follow its prefix: godwit host set {HOST} --add-follower NAME=::ID{TARGET}"},
		},
		{
			name: "unifi", title: "UniFi gateways",
			steps:  []string{"Settings > Internet > (your WAN) > Dynamic DNS > Create New", "Fill in the fields, then Save"},
			values: [][2]string{{"Service", "custom"}, {"Hostname", "{HOST}"}, {"Username", "{HOST}"}, {"Password", "{TOKEN}"}, {"Server", "{SERVER}/nic/update?hostname=%h&myip=%i"}},
			sends:  "{URL}/nic/update?hostname=%h&myip=%i",
			notes:  []string{"The server field has no https:// in front, and must have the path.", "It sends an address only when the WAN address has changed; a new entry is sent at once."},
			aws:    http10,
		},
		{
			name: "opnsense", title: "OPNsense (os-ddclient, backend native)",
			steps: []string{"System > Firmware > Plugins: install os-ddclient", "Services > Dynamic DNS > Settings > General settings: enable, backend native",
				"Accounts: add one for each family, with the fields below, then Apply"},
			values: [][2]string{{"Service", "Custom"}, {"Protocol", "DynDNS2"}, {"Server", "{SERVER}"}, {"Username", "{HOST}"}, {"Password", "{TOKEN}"},
				{"Hostname(s)", "{HOST}"}, {"Check ip method", "Interface [IPv4], or Interface [IPv6]"}, {"Force SSL", "on"}},
			sends: "{URL}/nic/update?hostname={HOST}&myip=<address>&system=dyndns&wildcard=NOCHG",
		},
		{
			name: "pfsense", title: "pfSense",
			steps: []string{"Services > Dynamic DNS > Dynamic DNS Clients > Add", "Fill in the fields, then Save; for IPv6 a second one of type Custom (v6)"},
			values: [][2]string{{"Service Type", "Custom"}, {"Interface to monitor", "WAN"}, {"Verify SSL/TLS Certificate Trust", "on"}, {"Username", "{HOST}"}, {"Password", "{TOKEN}"},
				{"Update URL", "{URL}/nic/update?hostname={HOST}&myip=%IP%"}, {"Result Match", "good %IP%|nochg %IP%"}},
			sends: "{URL}/nic/update?hostname={HOST}&myip=%IP%",
			notes: []string{"For IPv6 the Result Match is the same."},
		},
		{
			name: "openwrt", title: "OpenWrt (ddns-scripts)",
			steps: []string{"Install: opkg install ddns-scripts curl ca-bundle (from 25.12 on: apk add ddns-scripts curl ca-bundle)", "Put this into the file, with one section for each family", "Start it"},
			file: [2]string{"/etc/config/ddns", `config service 'godwit4'
	option enabled '1'
	option use_ipv6 '0'
	option lookup_host '{HOST}'
	option domain '{HOST}'
	option username '{HOST}'
	option password '{TOKEN}'
	option update_url '{SCHEME}://[USERNAME]:[PASSWORD]@{SERVER}/nic/update?hostname=[DOMAIN]&myip=[IP]'
	option use_https '{HTTPS}'
	option cacert '/etc/ssl/certs/ca-certificates.crt'
	option interface 'wan'
	option ip_source 'network'
	option ip_network 'wan'

config service 'godwit6'
	option enabled '1'
	option use_ipv6 '1'
	option lookup_host '{HOST}'
	option domain '{HOST}'
	option username '{HOST}'
	option password '{TOKEN}'
	option update_url '{SCHEME}://[USERNAME]:[PASSWORD]@{SERVER}/nic/update?hostname=[DOMAIN]&myip=[IP]'
	option use_https '{HTTPS}'
	option cacert '/etc/ssl/certs/ca-certificates.crt'
	option interface 'wan6'
	option ip_source 'network'
	option ip_network 'wan6'
`},
			commands: []string{"chmod 600 /etc/config/ddns", "/etc/init.d/ddns enable", "/etc/init.d/ddns restart"},
			sends:    "{URL}/nic/update?hostname=[DOMAIN]&myip=[IP]",
			notes:    []string{"Take out the section of a family that the router does not have. It asks DNS afterwards and repeats until the name is right."},
		},
		{
			name: "mikrotik", title: "MikroTik RouterOS",
			steps: []string{"Let the router know the authorities that sign certificates: /certificate settings set builtin-trust-anchors=trusted (from 7.19 on; before, import the authority's certificate)", "Paste both lines into a terminal of the router"},
			commands: []string{`/system script add name=godwit source={/tool fetch url="{URL}/nic/update" user="{HOST}" password="{TOKEN}" check-certificate=yes output=none}`,
				`/system scheduler add name=godwit interval=5m on-event=godwit`},
			sends: "{URL}/nic/update",
			notes: []string{"The host is the user name and the address is the one that the router is seen at, so there is no question mark, which the terminal would take for a call for help.",
				"/tool dns-update and the cloud name are something else."},
		},
		{
			name: "synology", title: "Synology DSM", proof: byURL,
			steps: []string{"Control Panel > External Access > DDNS > Customize Provider: name it godwit, with the Query URL below", "Then Add: choose godwit, fill in the fields, Test Connection"},
			values: [][2]string{{"Query URL", "{URL}/nic/update?hostname=__HOSTNAME__&myip=__MYIP__&username=__USERNAME__&password=__PASSWORD__"},
				{"Hostname", "{HOST}"}, {"Username/Email", "{HOST}"}, {"Password/Key", "{TOKEN}"}},
			sends: "{URL}/nic/update?hostname=__HOSTNAME__&myip=__MYIP__&username=__USERNAME__&password=__PASSWORD__",
		},
		{
			name: "asus", title: "ASUS routers with Asuswrt-Merlin",
			steps: []string{"Administration > System: Enable JFFS custom scripts and configs", "Put this into the file, and make it executable", "WAN > DDNS: Enable the DDNS Client, Server Custom, Host Name {HOST}, then Apply"},
			file: [2]string{"/jffs/scripts/ddns-start", `#!/bin/sh
# The router calls this with its WAN address.
if curl -fsS -K - "{URL}/nic/update?hostname={HOST}&myip=$1" <<'END'
user = "{HOST}:{TOKEN}"
END
then /sbin/ddns_custom_updated 1
else /sbin/ddns_custom_updated 0
fi
`},
			commands: []string{"chmod 700 /jffs/scripts/ddns-start"},
			sends:    "{URL}/nic/update?hostname={HOST}&myip=$1",
			notes:    []string{"ASUS's own firmware has no server of your own; there, let another device at home update the name, for example with --for agent."},
		},
		{
			name: "omada", title: "TP-Link Omada gateways",
			steps:  []string{"Settings > Services > Dynamic DNS > Create New DDNS Entry", "Fill in the fields, then Save"},
			values: [][2]string{{"Service Provider", "Custom"}, {"Update URL", "{SCHEME}://[USERNAME]:[PASSWORD]@{SERVER}/nic/update?hostname=[DOMAIN]&myip=[IP]"}, {"Username", "{HOST}"}, {"Password", "{TOKEN}"}, {"Domain Name", "{HOST}"}},
			sends:  "{URL}/nic/update?hostname=[DOMAIN]&myip=[IP]",
		},
		{
			name: "draytek", title: "DrayTek Vigor",
			steps: []string{"Applications > Dynamic DNS: choose a profile, Enable it", "Fill in the fields, then OK"},
			values: [][2]string{{"Service Provider", "User-Defined"}, {"Provider Host", "{SERVER}"}, {"Service API", "/nic/update?hostname={HOST}&myip=###IP###"},
				{"Auth Type", "basic"}, {"Connection Type", "Https"}, {"Login Name", "{HOST}"}, {"Password", "{TOKEN}"}, {"Server Response", "good"}},
			sends: "{URL}/nic/update?hostname={HOST}&myip=###IP###",
		},
		{
			name: "edgerouter", title: "EdgeRouter (EdgeOS)",
			steps: []string{"In a terminal of the router, with your WAN interface in place of eth0"},
			commands: []string{"configure", "set service dns dynamic interface eth0 service custom-godwit protocol dyndns2", "set service dns dynamic interface eth0 service custom-godwit server {SERVER}",
				"set service dns dynamic interface eth0 service custom-godwit host-name {HOST}", "set service dns dynamic interface eth0 service custom-godwit login {HOST}",
				"set service dns dynamic interface eth0 service custom-godwit password {TOKEN}", "commit; save; exit"},
			sends: "{URL}/nic/update?system=dyndns&hostname={HOST}&myip=<address>",
		},
		{
			name: "vyos", title: "VyOS (1.4 and later)",
			steps: []string{"In a terminal of the router, with your WAN interface in place of eth0"},
			commands: []string{"configure", "set service dns dynamic name godwit address interface eth0", "set service dns dynamic name godwit protocol dyndns2", "set service dns dynamic name godwit server {SERVER}",
				"set service dns dynamic name godwit host-name {HOST}", "set service dns dynamic name godwit username {HOST}", "set service dns dynamic name godwit password {TOKEN}", "commit; save; exit"},
			sends: "{URL}/nic/update?system=dyndns&hostname={HOST}&myip=<address>",
		},
		{
			name: "ddclient", title: "ddclient",
			steps: []string{"Put this into the file; nobody else may read it", "Try it, then let the service do it"},
			file: [2]string{"/etc/ddclient.conf", `daemon=300
ssl={YES}
use=web, web={URL}/nic/checkip
protocol=dyndns2
server={SERVER}
login={HOST}
password='{TOKEN}'
{HOST}
`},
			commands: []string{"chmod 600 /etc/ddclient.conf", "ddclient -daemon=0 -noquiet -verbose -file /etc/ddclient.conf", "systemctl restart ddclient"},
			sends:    "{URL}/nic/update?system=dyndns&hostname={HOST}&myip=<address>",
			notes:    []string{"For IPv6 too, from version 3.11 on, in place of use=: usev4=webv4, webv4={URL}/nic/checkip and usev6=webv6, webv6={URL}/nic/checkip"},
		},
		{
			name: "inadyn", title: "inadyn 2",
			steps: []string{"Put this into the file; nobody else may read it", "Try it, then let the service do it"},
			file: [2]string{"/etc/inadyn.conf", `period = 300
custom godwit {
    hostname       = {HOST}
    username       = {HOST}
    password       = {TOKEN}
    ssl            = {BOOL}
    ddns-server    = {SERVER}
    ddns-path      = "/nic/update?hostname=%h&myip=%i"
    checkip-ssl    = {BOOL}
    checkip-server = {SERVER}
    checkip-path   = "/nic/checkip"
}
`},
			commands: []string{"chmod 600 /etc/inadyn.conf", "inadyn --once --force --foreground -f /etc/inadyn.conf", "systemctl restart inadyn"},
			sends:    "{URL}/nic/update?hostname=%h&myip=%i",
			notes:    []string{"Start it with -C, so that it goes on after an error; without it a wrong password ends it for good."},
			aws:      http10,
		},
		{
			name: "curl", title: "curl and cron",
			steps:    []string{"Put this into the file; nobody else may read it", "Let cron run the command, at minutes of your own"},
			file:     [2]string{"/etc/godwit.curl", "user = \"{HOST}:{TOKEN}\"\n"},
			commands: []string{"chmod 600 /etc/godwit.curl", "curl -fsS -K /etc/godwit.curl '{URL}/nic/update?hostname={HOST}'"},
			sends:    "{URL}/nic/update?hostname={HOST}",
			notes:    []string{"The address is the one that it comes from: -4 and -6, one after the other, set both families.", everyFive},
		},
		{
			name: "wget", title: "GNU wget and cron",
			steps:    []string{"Put this into the file; nobody else may read it", "Let cron run the command, at minutes of your own"},
			file:     [2]string{"/etc/godwit.wget", "http_user = {HOST}\nhttp_password = {TOKEN}\nauth_no_challenge = on\n"},
			commands: []string{"chmod 600 /etc/godwit.wget", "wget --config=/etc/godwit.wget -q -t 1 -O - '{URL}/nic/update?hostname={HOST}'"},
			sends:    "{URL}/nic/update?hostname={HOST}",
			notes:    []string{"The address is the one that it comes from: -4 and -6, one after the other, set both families.", everyFive},
		},
		{
			name: "shell", title: "godwit.sh, one POSIX shell script (clients/godwit.sh)", proof: bySeedProof,
			steps:    []string{"Copy clients/godwit.sh to /usr/local/bin", "Put the host's token into the file; nobody else may read it", "Let cron run the command, at minutes of your own"},
			file:     [2]string{"/etc/godwit.secret", "{TOKEN}\n"},
			commands: []string{"chmod 600 /etc/godwit.secret", "godwit.sh -u {URL} -n {HOST} -s /etc/godwit.secret"},
			notes:    []string{"The token is not sent: it makes a hash over the address that the server sees. It works over plain HTTP too, where the line is yours."},
		},
		{
			name: "windows", title: "Windows, with PowerShell and no program of ours",
			steps: []string{"Put this into the file; take the rights to it from everybody but the task's user", "Let the Task Scheduler run the command every ten minutes"},
			file: [2]string{`C:\godwit\godwit.ps1`, `$pair = [Text.Encoding]::ASCII.GetBytes('{HOST}:{TOKEN}')
Invoke-RestMethod '{URL}/nic/update?hostname={HOST}' -MaximumRedirection 0 -Headers @{Authorization = 'Basic ' + [Convert]::ToBase64String($pair)}
`},
			commands: []string{`icacls C:\godwit\godwit.ps1 /inheritance:r /grant:r "%USERNAME%:R"`, `powershell -NoProfile -ExecutionPolicy Bypass -File C:\godwit\godwit.ps1`},
			sends:    "{URL}/nic/update?hostname={HOST}",
		},
		{
			name: "duckdns", title: "anything for DuckDNS whose server can be changed", proof: byURL,
			steps:  []string{"Put these in place of DuckDNS's"},
			values: [][2]string{{"URL", "{URL}/update?domains={HOST}&token={TOKEN}&ip="}, {"Server", "{SERVER}"}, {"Domain", "{HOST}"}, {"Token", "{TOKEN}"}},
			sends:  "{URL}/update?domains={HOST}&token={TOKEN}&ip=",
			notes:  []string{"The domain is the full name. An empty ip= is the address that the request comes from."},
		},
		{
			name: "dynv6", title: "anything for dynv6 whose server can be changed", proof: byURL, prefix: true,
			steps:  []string{"Put these in place of dynv6's"},
			values: [][2]string{{"URL", "{URL}/api/update?hostname={HOST}&token={TOKEN}&ipv4=auto&ipv6=auto"}, {"Server", "{SERVER}"}, {"Zone", "{HOST}"}, {"Token", "{TOKEN}"}},
			sends:  "{URL}/api/update?hostname={HOST}&token={TOKEN}&ipv4=auto&ipv6=auto",
			notes:  []string{"auto is the address that the request comes from, if it is of that family. ipv6prefix=PREFIX/LENGTH moves the names behind the router."},
		},
		{
			name: "noip", title: "anything for No-IP whose server can be changed",
			steps:  []string{"Put these in place of No-IP's"},
			values: [][2]string{{"Server", "{SERVER}"}, {"URL", "{URL}/nic/update?hostname={HOST}&myip="}, {"User name", "{HOST}"}, {"Password", "{TOKEN}"}, {"Host name", "{HOST}"}},
			sends:  "{URL}/nic/update?hostname={HOST}&myip=",
			notes:  []string{"No-IP's own program (DUC) has its server built in."},
		},
		{
			name: "freedns", title: "anything that can only fetch a URL", proof: byURL,
			steps:  []string{"Let it fetch this URL whenever the address may have changed"},
			values: [][2]string{{"URL", "{URL}/u/{TOKEN}/"}},
			sends:  "{URL}/u/{TOKEN}/",
			notes:  []string{"The URL is the password: whoever reads it, in a log or over a shoulder, can move the name."},
		},
		{
			name: "dyndns2", title: "anything else that speaks dyndns2",
			steps: []string{"Choose DynDNS, dyndns2 or Custom as the service, and fill in what it asks for"},
			values: [][2]string{{"Server", "{SERVER}"}, {"Path", "/nic/update"}, {"URL", "{URL}/nic/update?hostname={HOST}&myip=ADDRESS"}, {"User name", "{HOST}"}, {"Password", "{TOKEN}"}, {"Host name", "{HOST}"},
				{"Address check", "{URL}/nic/checkip"}},
			sends: "{URL}/nic/update?hostname={HOST}&myip=ADDRESS",
			notes: []string{"myip= may be left out or empty: then it is the address that the request comes from."},
		},
	}
}
