#!/usr/bin/env bash
# Installs what the tests run and this machine lacks, through apt, and through
# pip into .cache/python of this folder; says what and why. Does nothing, and asks
# for no rights, when everything is there.
#
# Tests that lack a program skip and name it. With CI=true that is a failure, and
# so is a machine on which nothing can be installed.
set -euo pipefail

# command, Debian package, what needs it
needs='
gcc       gcc              go test -race links with it
as        binutils         go test -race links with it
git       git              the version of a build
dig       bind9-dnsutils   tests ask the DNS server with it
nsupdate  bind9-dnsutils   tests update hosts with it
knsupdate knot-dnsutils    tests update hosts with it
lego      lego             tests get certificates with it
certbot   python3-certbot-dns-rfc2136 a test gets certificates with it
named     bind9            tests compare our DNS answers with its
nsd       nsd              tests compare our DNS answers with its
knotd     knot             tests compare our DNS answers with its
tsig-keygen bind9          tests make keys for secondaries with it
pdns_server pdns-server    a test lets it follow our zones
delv      bind9-dnsutils   tests validate a signed zone with it
unbound   unbound          tests validate a signed zone with it
drill     ldnsutils        tests validate a signed zone with it
ldns-verify-zone ldnsutils tests validate a transferred signed zone with it
dnsviz    dnsviz           tests look for mistakes in a signed zone with it
zonemaster-cli zonemaster-cli a test lets it judge a zone and its servers
curl      curl             tests speak to the HTTP doors with it
shasum    perl             the shell client of the seed hashes with it
dash      dash             tests run the shell client in it
busybox   busybox          tests run the shell client in its shell and with its wget
wget      wget             tests run the shell client with it, and update hosts
ddclient  ddclient         tests update hosts with it
inadyn    inadyn           tests update hosts with it
nginx     nginx            tests put it in front as a reverse proxy
caddy     caddy            tests put it in front as a reverse proxy
haproxy   haproxy          tests put it in front as a reverse proxy
openssl   openssl          tests run the shell client with it, and sign requests
script    bsdutils         a test gives a command a terminal with it
shellcheck shellcheck      tests look for mistakes in the shell client with it
sqlite3   sqlite3          tests read the store with it, as an operator would
mkfs.ext4 e2fsprogs        power-cut tests make a file system with it
mkfs.xfs  xfsprogs         power-cut tests make a file system with it
mount     mount            power-cut tests attach an image with it
unshare   util-linux       those tests get mounts and a network of their own with it
ip        iproute2         tests of the agent change addresses and routes with it
miniupnpd miniupnpd        tests of the agent ask it, as a router, for its address
nft       nftables         that router maps ports with it
dpkg      dpkg             tests install the packages with it
systemd-analyze systemd    tests check the services of the packages with it
zip       zip              a release has archives for Windows
'

# command, Python package, what needs it
python_needs='
moto_server moto[server] tests keep hosts in a DynamoDB of its own with it
cfn-lint    cfn-lint     tests check the CloudFormation template with it
'
cd "$(dirname "$0")/.."
python=$PWD/.cache/python

PATH=$PATH:/usr/sbin:/sbin:$python/bin
packages=() missing=() python_packages=()
while read -r command package why; do
	[ -n "$command" ] || continue
	command -v "$command" >/dev/null && continue
	missing+=("$(printf '  %-10s (package %s): %s' "$command" "$package" "$why")")
	[[ " ${packages[*]-} " == *" $package "* ]] || packages+=("$package")
done <<<"$needs"
while read -r command package why; do
	[ -n "$command" ] || continue
	command -v "$command" >/dev/null && continue
	missing+=("$(printf '  %-10s (Python package %s): %s' "$command" "$package" "$why")")
	python_packages+=("$package")
done <<<"$python_needs"
if [ ${#python_packages[@]} -gt 0 ] && ! python3 -c 'import ensurepip, venv' 2>/dev/null; then packages+=(python3-venv); fi
# gcc alone lacks the C library's headers, which the race detector needs.
if [[ " ${packages[*]-} " == *" gcc "* ]]; then packages+=(libc6-dev); fi
# ddclient alone cannot speak TLS.
if [[ " ${packages[*]-} " == *" ddclient "* ]]; then packages+=(libio-socket-ssl-perl); fi
# PowerDNS alone has no place for zones.
if [[ " ${packages[*]-} " == *" pdns-server "* ]]; then packages+=(pdns-backend-sqlite3); fi

[ ${#missing[@]} -gt 0 ] || exit 0

echo "The tests run programs that are not here:"
printf '%s\n' "${missing[@]}"

give_up() {
	echo "$1" >&2
	[ -z "${CI-}" ] || exit 1
	echo "Going on: tests that lack a program skip and say so." >&2
	exit 0
}

with_apt() {
	if ! command -v apt-get >/dev/null; then
		give_up "There is no apt-get here. Install these programs with your system's package manager, then try again."
	fi
	as_root=()
	if [ "$(id -u)" != 0 ]; then
		if ! command -v sudo >/dev/null; then
			give_up "Installing needs root, and there is no sudo. As root: apt-get install ${packages[*]}"
		fi
		as_root=(sudo)
		if [ ! -t 0 ]; then as_root+=(-n); fi # nobody is there to type a password
	fi

	# These servers are for tests to start: installing them must start none, now
	# or with the machine.
	services=()
	for package in "${packages[@]}"; do
		case $package in
		bind9) services+=(named) ;;
		pdns-server) services+=(pdns) ;;
		nsd | knot | unbound | miniupnpd | ddclient | inadyn | nginx | caddy | haproxy) services+=("$package") ;;
		esac
	done
	policy=/usr/sbin/policy-rc.d
	if [ ${#services[@]} -gt 0 ] && [ ! -e $policy ]; then
		trap '"${as_root[@]}" rm -f $policy' EXIT
		printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee $policy >/dev/null
		"${as_root[@]}" chmod 755 $policy
	fi

	echo "Installing: ${packages[*]}"
	install() {
		"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends "${packages[@]}" >/dev/null
	}
	# A fresh machine has no package lists, one that is not fresh may have old ones.
	if ! install 2>/dev/null; then
		"${as_root[@]}" apt-get update -qq || give_up "apt-get update did not work; is there a network?"
		install || give_up "Could not install them. As root: apt-get install ${packages[*]}"
	fi
	if [ ${#services[@]} -gt 0 ] && command -v systemctl >/dev/null; then
		"${as_root[@]}" systemctl disable "${services[@]}" >/dev/null 2>&1 || true
	fi
}

# A virtual environment leaves the machine's own Python alone.
with_pip() {
	echo "Installing into .cache/python: ${python_packages[*]}"
	{ [ -x "$python/bin/pip" ] || python3 -m venv "$python"; } &&
		"$python/bin/pip" install --quiet --disable-pip-version-check "${python_packages[@]}" ||
		give_up "Could not install them. Try: pipx install moto[server]; pipx install cfn-lint"
}

if [ ${#packages[@]} -gt 0 ]; then with_apt; fi
if [ ${#python_packages[@]} -gt 0 ]; then with_pip; fi
