package main

// registerAccount makes an acme-dns account with the token, which is in no argument.
const registerAccount = `curl -fsS -X POST -K - '{URL}/acme-dns/register' <<'END'
user = "{HOST}:{TOKEN}"
END`

const (
	wildcardToo = "*.{HOST} is proved at the same name, by a second value; leave it out if one name is enough."
	twoStay     = "Of an account the two newest values stay, for a day. To end one: godwit host token list {HOST}{TARGET}, then token revoke."
)

// certificateClients get certificates for the host, and set nothing of it but
// challenge values.
func certificateClients() []setupClient {
	return []setupClient{
		{
			name: "lego", title: "certificates with lego", types: []string{"TXT"},
			steps: []string{"Put the token into the file; nobody else may read it", "Run the command; for a renewal the same with renew in place of run"},
			file:  [2]string{"/etc/godwit.token", "{TOKEN}\n"},
			commands: []string{"chmod 600 /etc/godwit.token", `HTTPREQ_ENDPOINT='{URL}/httpreq' HTTPREQ_USERNAME='{HOST}' HTTPREQ_PASSWORD_FILE=/etc/godwit.token \
  lego --accept-tos --email YOU@example.com --dns httpreq --domains '{HOST}' --domains '*.{HOST}' run`},
			notes: []string{wildcardToo},
		},
		{
			name: "traefik", title: "certificates in Traefik", types: []string{"TXT"},
			steps: []string{"Put this into Traefik's own configuration, and name the resolver godwit at the routers that are to have certificates",
				"Give Traefik the values as environment variables; the password may be a file that HTTPREQ_PASSWORD_FILE names"},
			values: [][2]string{{"HTTPREQ_ENDPOINT", "{URL}/httpreq"}, {"HTTPREQ_USERNAME", "{HOST}"}, {"HTTPREQ_PASSWORD", "{TOKEN}"}},
			file: [2]string{"traefik.yml", `certificatesResolvers:
  godwit:
    acme:
      email: YOU@example.com
      storage: acme.json
      dnsChallenge:
        provider: httpreq
`},
			notes: []string{wildcardToo},
		},
		{
			name: "certbot-hooks", title: "certificates with certbot, by hooks over HTTPS", types: []string{"TXT"},
			steps: []string{"Put this into the file; nobody else may read it", "Run the commands; certbot keeps them for its renewals"},
			file: [2]string{"/etc/letsencrypt/godwit.sh", `#!/bin/sh
exec curl -fsS -K - "{URL}/httpreq/$1" <<END
user = "{HOST}:{TOKEN}"
data = "{\"fqdn\":\"_acme-challenge.$CERTBOT_DOMAIN.\",\"value\":\"$CERTBOT_VALIDATION\"}"
END
`},
			commands: []string{"chmod 700 /etc/letsencrypt/godwit.sh", `certbot certonly --manual --preferred-challenges dns --manual-auth-hook '/etc/letsencrypt/godwit.sh present' \
  --manual-cleanup-hook '/etc/letsencrypt/godwit.sh cleanup' -d '{HOST}' -d '*.{HOST}'`},
			notes: []string{wildcardToo},
		},
		{
			name: "acme-dns", title: "certificates with any client of acme-dns (cert-manager, simple-acme …)", types: []string{"TXT"},
			steps:    []string{"Make an account: the command prints it once", "Fill in what the client asks for, with username, password, subdomain and fulldomain of the account"},
			commands: []string{registerAccount},
			values: [][2]string{{"Server", "{URL}/acme-dns"}, {"Domain", "{HOST}"},
				{"Server, for a client that registers by itself", "{SCHEME}://{HOST}:{TOKEN}@{SERVER}/acme-dns"}},
			notes: []string{"There is no CNAME to make: the name of the host is written to. Another name may have one: _acme-challenge of it to _acme-challenge.{HOST}.", twoStay},
		},
		{
			name: "acme.sh", title: "certificates with acme.sh", types: []string{"TXT"},
			steps: []string{"Make an account: the first command prints it once", "Put username, password and subdomain of it into the second command; acme.sh keeps them"},
			commands: []string{registerAccount, `ACMEDNS_BASE_URL='{URL}/acme-dns' ACMEDNS_USERNAME=USERNAME ACMEDNS_PASSWORD=PASSWORD ACMEDNS_SUBDOMAIN=SUBDOMAIN \
  acme.sh --issue --dns dns_acmedns -d '{HOST}' -d '*.{HOST}'`},
			notes: []string{wildcardToo, twoStay},
		},
		{
			name: "caddy", title: "certificates in Caddy", types: []string{"TXT"},
			steps: []string{"Add the module: caddy add-package github.com/caddy-dns/acmedns", "Make an account: the command prints it once",
				"Put this into the file, with username, password and subdomain of the account"},
			commands: []string{registerAccount},
			file: [2]string{"Caddyfile", `{HOST}, *.{HOST} {
	tls {
		dns acmedns {
			username USERNAME
			password PASSWORD
			subdomain SUBDOMAIN
			server_url {URL}/acme-dns
		}
	}
}
`},
			notes: []string{wildcardToo, twoStay},
		},
	}
}
