#!/bin/sh
# Gives a host the address that this machine has on the internet, in the seed's
# protocol: docs/clients.md says how to use it, and `godwit.sh -h` in short.
#
# It runs in any POSIX shell whose printf is built in (dash, BusyBox ash, bash),
# with curl, GNU wget, BusyBox wget (1.34 or newer) or uclient-fetch, and with
# sha256sum, shasum or openssl. The secret goes to the hash tool's standard input
# and nowhere else: not into an argument, not into a file, not into the
# environment of another program.

set +x # "sh -x" would print the secret
set -fu
export LC_ALL=C # what others say is read below
# A variable that came in the environment would go on to children.
unset secret
secret=${GODWIT_SECRET-}
unset GODWIT_SECRET

# How long one request may take, in seconds, and how much may come back, in the
# shell's blocks (512 octets, in bash 1024).
patience=20 most=16
# The shortest time between two tries, the pause after a refusal that a person
# must mend, and how long a confirmed address is believed, in seconds.
shortest=30 rarely=3600 day=86400

usage() {
	cat <<'END'
usage: godwit.sh [-46q] [-i SECONDS] -u URL -n HOST [-s FILE]

  -u URL      of the server, or of the function in AWS; else $GODWIT_URL
  -n HOST     the host's name, in ASCII; else $GODWIT_HOST
  -s FILE     has the host's secret or token, and nobody else may read it (0600);
              else $GODWIT_SECRET_FILE, else the secret itself is in $GODWIT_SECRET
  -4, -6      go over IPv4, over IPv6; with both, first one, then the other
  -i SECONDS  stay, and look every so many seconds (30 or more); else run once
  -q          say nothing but what is wrong

exit: 0 the host has this address, 1 not now (try again), 2 wrong usage,
      3 refused, and trying again will not help
END
}

die() {
	printf 'godwit.sh: %s\n' "$1" >&2
	exit 2
}

# said holds what has been said: a loop says the same thing once a day.
said=''
complain() {
	case $said in *"|$1|"*) return ;; esac
	said="$said|$1|"
	printf 'godwit.sh: %s\n' "$1" >&2
}

have() { command -v "$1" >/dev/null 2>&1; }

# sha256 prints the hash of its input, in hex.
if have sha256sum; then
	sha256() { sha256sum; }
elif have shasum; then
	sha256() { shasum -a 256; }
elif have openssl; then
	sha256() { openssl dgst -sha256 -r; }
else
	die 'there is no sha256sum, shasum or openssl here; install one of them'
fi
hash_of() {
	sum=$(printf '%s' "$1" | sha256)
	printf '%s' "${sum%% *}"
}
[ "$(command -v printf)" = printf ] || die 'printf is not built into this shell, so the secret would be an argument that others can read; run it with dash, ash or bash'

# What is called wget may be any of three.
if have curl; then
	fetcher=curl
elif have wget; then
	case $(wget --help 2>&1) in
	*'GNU Wget'*) fetcher=wget ;;
	*BusyBox*) fetcher=busybox ;;
	*) fetcher=uclient uclient=wget ;;
	esac
elif have uclient-fetch; then
	fetcher=uclient uclient=uclient-fetch
else
	die 'there is no curl, wget or uclient-fetch here; install one of them'
fi

# bounded runs a program with its output in $work/answer and what it complains
# about in $work/log, for no longer and no more than the limits above.
bounded() {
	# A signal that comes before a subshell has dropped our traps runs them there.
	inner=yes
	(
		ulimit -f "$most"
		exec "$@" >"$work/answer" 2>"$work/log" </dev/null
	) &
	child=$!
	(
		nap=''
		trap 'kill $nap; exit' TERM
		sleep "$patience" &
		nap=$!
		wait "$nap" && kill -9 "$child"
	) >/dev/null 2>&1 &
	guard=$! inner=''
	{
		wait "$child"
		kill "$guard"
		wait "$guard"
	} 2>/dev/null
	child='' guard=''
}

# ask posts $1 over the family $2 (4, 6 or nothing). It sets status to the HTTP
# status if the program tells it, text to the server's message if the answer is
# a success, and refusal to the message if it is not; no more than one of them.
json='Content-Type: application/json'
ask() {
	status='' text='' refusal=''
	printf '%s' "$1" >"$work/request"
	: >"$work/head"
	case $fetcher in
	curl) bounded curl -q -sS -g ${2:+"-$2"} -D "$work/head" -H "$json" --data-binary "@$work/request" "$url" ;;
	wget) bounded wget --no-config ${2:+"-$2"} -nv -S -O - --tries=1 --max-redirect=0 --content-on-error --header="$json" --post-file="$work/request" "$url" ;;
	busybox) bounded wget -S -q -O - --header "$json" --post-file "$work/request" "$url" ;;
	uclient) bounded "$uclient" ${2:+"-$2"} -O - --post-file="$work/request" "$url" ;;
	esac
	# shellcheck disable=SC2013 # each is one word
	for status in $(cat "$work/head" "$work/log" | sed -n \
		-e 's/.*HTTP[^ ]* \(error \)*\([1-5][0-9][0-9]\).*/\2/p' -e 's/^Redirected to .*/302/p'); do
		# To follow would be to trust whoever sent us there.
		case $status in 3??) return ;; esac
	done
	# BusyBox checks certificates if it finds openssl, and says so if it does not.
	# The answer to a get may then be anybody's, who would like a hash over an
	# address of his own.
	if grep -q 'certificate validation not implemented' "$work/log"; then
		die "BusyBox wget cannot check the server's certificate; install curl, GNU wget or openssl"
	fi
	answer=$(tr -d '\r\n' <"$work/answer")
	for order in 's/^ *{ *"return_status" *: *"\([a-z]*\)" *, *"return_message" *: *"\([^"\\]*\)" *} *$/\1 \2/p' \
		's/^ *{ *"return_message" *: *"\([^"\\]*\)" *, *"return_status" *: *"\([a-z]*\)" *} *$/\2 \1/p'; do
		said_so=$(printf '%s' "$answer" | sed -n "$order" | tr -cd ' -~')
		case $said_so in
		'success '*) case ${status:-200} in 2??) text=${said_so#* } ;; esac ;;
		'fail '*) refusal=${said_so#* } ;;
		esac
	done
}

# trouble says why an answer was none, and returns the exit code.
trouble() {
	case $status in
	3??) complain "$url redirects to somewhere else; give the URL of the server itself" ;;
	429 | 5??) complain "$url: not now (HTTP $status)${refusal:+: $refusal}" ;;
	4??)
		# A captive portal refuses too, in words of its own; two of the programs
		# keep the words from us.
		if [ -n "$refusal" ] || { [ ! -s "$work/answer" ] && [ "$1" = set ]; }; then
			complain "$url refuses (HTTP $status): ${refusal:-no reason is given.} Check the host's name and secret, and its settings there"
			return 3
		fi
		complain "$url: HTTP $status, and not as a godwit server says it"
		;;
	*)
		if [ -s "$work/answer" ]; then
			complain "$url did not answer as a godwit server does; check the URL"
		else
			# shellcheck disable=SC2016 # the last line that is not empty
			complain "$url did not answer: $(sed -n '/./h;${g;p;}' "$work/log" | tr -cd ' -~')"
		fi
		;;
	esac
	return 1
}

# is_address tells whether $1 is one IP address and nothing else.
is_address() {
	case $1 in
	*[!0-9A-Fa-f:]*:* | *:*[!0-9A-Fa-f:]* | *:::* | *::*::*) return 1 ;;
	*:*:*) # groups of at most four digits
		case $1 in *[0-9A-Fa-f][0-9A-Fa-f][0-9A-Fa-f][0-9A-Fa-f][0-9A-Fa-f]*) return 1 ;; esac
		colons=$(printf '%s' "$1" | tr -cd :)
		case $1 in
		*::*) [ ${#colons} -le 8 ] ;;
		:* | *:) return 1 ;;
		*) [ ${#colons} = 7 ] ;;
		esac
		;;
	*[!0-9.]* | '' | .* | *.) return 1 ;;
	*)
		# shellcheck disable=SC2086 # it is to be split
		(IFS=. && set -- $1 && [ $# = 4 ] && for part; do
			case $part in '' | ????* | 0?*) exit 1 ;; esac
			[ "$part" -le 255 ] || exit 1
		done)
		;;
	esac
}

# update makes sure, over the family $1, that the host has the address that the
# server sees.
known4='' known6=''
update() {
	ask '{"execution_mode":"get"}' "$1"
	address=$text
	if ! is_address "$address"; then
		trouble get
		return
	fi
	case $address in
	*:*) family=6 known=$known6 ;;
	*) family=4 known=$known4 ;;
	esac
	if [ "${1:-$family}" != "$family" ]; then
		complain "$fetcher went over IPv$family, not IPv$1; use curl or GNU wget, or a URL that has an IPv$1 address only"
		return 1
	fi
	[ "$address" != "$known" ] || return 0
	# What is hashed is the address as seen: the second request goes the same way.
	ask '{"execution_mode":"set","ddns_hostname":"'"$host"'","validation_hash":"'"$(hash_of "$address$host$secret")"'"}' "$family"
	# uclient-fetch takes 201 for a mistake.
	if [ -z "$text" ] && [ "$status" = 201 ] && [ ! -s "$work/answer" ]; then
		text="$host has been set to $address"
	fi
	if [ -z "$text" ]; then
		trouble set
		return
	fi
	case $family in
	6) known6=$address ;;
	4) known4=$address ;;
	esac
	[ -n "$quiet" ] || printf '%s\n' "$text"
}

# once goes over each family that is asked for; the worst outcome counts.
once() {
	worst=0
	for way in ${families:-any}; do
		update "${way#any}" || { code=$? && [ "$code" -le "$worst" ] || worst=$code; }
	done
	return "$worst"
}

families='' interval='' quiet=''
url=${GODWIT_URL-} host=${GODWIT_HOST-} file=${GODWIT_SECRET_FILE-}
while getopts 46hi:n:qs:u: option; do
	case $option in
	4 | 6) families="$families $option" ;;
	i) interval=$OPTARG ;;
	n) host=$OPTARG ;;
	q) quiet=yes ;;
	s) file=$OPTARG ;;
	u) url=$OPTARG ;;
	h) usage && exit ;;
	*) usage >&2 && exit 2 ;;
	esac
done
[ $# -lt "$OPTIND" ] || die "it takes no argument that is not an option; -h says which there are"
case $url in
*[!!-~]* | *[\"\\\'@]*) die "the URL has a character that does not belong there; write it as in -u https://ddns.example.com" ;;
http://?* | https://?*) ;;
*) die 'the URL of the server is needed; write it as in -u https://ddns.example.com' ;;
esac
case $host in
'') die 'the name of the host is needed; write it as in -n nas.dyn.example.com' ;;
*[!A-Za-z0-9._*-]*) die "the host's name is not in ASCII letters, digits, dots and hyphens; write a name beyond ASCII as xn--..." ;;
esac
case $interval in *[!0-9]* | ???????*) die 'the interval is a number of seconds; write it as in -i 300' ;; esac
[ -z "$interval" ] || [ "$interval" -ge "$shortest" ] || die "the interval is $shortest seconds or more; write it as in -i 300"
if [ -n "$file" ]; then
	[ -r "$file" ] || die "$file cannot be read; write the secret into it, for this user alone"
	# shellcheck disable=SC2012 # the name is the last of its columns
	case $(ls -ldL -- "$file") in
	-???------*) ;;
	*) die "$file is not a file for one user alone; run: chmod 600 $file" ;;
	esac
	IFS= read -r secret <"$file" || [ -n "$secret" ] || die "$file is empty; write the secret into it"
	secret=${secret%"$(printf '\r')"}
fi
[ -n "$secret" ] || die "the host's secret is needed; name its file with -s, or set GODWIT_SECRET"

umask 077
work=$(mktemp -d "${TMPDIR:-/tmp}/godwit.XXXXXX") || exit 1
child='' guard='' nap='' inner=''
# shellcheck disable=SC2086,SC2154 # those that run, if any
trap 'kill $child $guard $nap 2>/dev/null; [ -n "$inner" ] || rm -rf "$work"' EXIT
trap 'exit 143' HUP INT TERM

if [ -z "$interval" ]; then
	once
	exit
fi
believed=0 pause=$shortest
while :; do
	code=0
	once || code=$?
	case $code in
	0) sleeps=$interval pause=$shortest ;;
	3) sleeps=$((interval > rarely ? interval : rarely)) ;;
	*) # twice as long each time, but no longer than when all is well
		sleeps=$pause
		pause=$((pause * 2 < interval ? pause * 2 : interval))
		;;
	esac
	# Many machines that start at once do not stay together.
	chance=$(hash_of "$host $$ $believed $(date)")
	sleeps=$((sleeps + 0x${chance%"${chance#????}"} % (sleeps / 10 + 1)))
	believed=$((believed + sleeps))
	if [ "$believed" -ge "$day" ]; then
		believed=0 known4='' known6='' said=''
	fi
	sleep "$sleeps" &
	nap=$!
	wait "$nap"
	nap=''
done
