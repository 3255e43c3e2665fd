# Common to the scripts of this folder. Sourced, not run.
#
#   BENCH_DIR    programs, zones, databases, logs and results (default: a fresh directory; it is kept)
#   PORT_BASE    first port (default 15300); PORT_<name>=N moves one server
#   SERVER_CPU   core of the servers (default 0)       CLIENT_CPU  core of the load (default 1)
#   RT           real-time priority of both sides (default 10; 0 = ordinary scheduling)

set -u -o pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PATH=$PATH:/usr/sbin:/sbin
export LC_ALL=C

say() { echo "$*" >&2; }
die() { say "$(basename "$0"): $*"; exit 1; }
need() { local c; for c in "$@"; do command -v "$c" >/dev/null || die "'$c' is missing; README.md lists the packages"; done; }

if [ -z "${BENCH_DIR:-}" ]; then
	BENCH_DIR=$(mktemp -d) || exit 1
	say "BENCH_DIR=$BENCH_DIR (kept; export it to use its programs and zones again)"
fi
mkdir -p "$BENCH_DIR/bin" "$BENCH_DIR/run" || exit 1
BENCH_DIR=$(cd "$BENCH_DIR" && pwd)
export BENCH_DIR
BIN=$BENCH_DIR/bin RUN=$BENCH_DIR/run

: "${PORT_BASE:=15300}" "${SERVER_CPU:=0}" "${CLIENT_CPU:=1}" "${RT:=10}"
export SERVER_CPU CLIENT_CPU

# Pinning and priority, as far as this machine allows them.
SERVER_PRE=() CLIENT_PRE=()
need taskset chrt
if [ "$RT" != 0 ]; then
	if chrt -r "$RT" true 2>/dev/null; then SERVER_PRE=(chrt -r "$RT"); CLIENT_PRE=(chrt -r "$RT")
	else say "no right to real-time priority: figures will follow whatever else runs here (RT=0 hides this)"; fi
fi
if taskset -c "$SERVER_CPU" true 2>/dev/null && taskset -c "$CLIENT_CPU" true 2>/dev/null; then
	SERVER_PRE+=(taskset -c "$SERVER_CPU"); CLIENT_PRE+=(taskset -c "$CLIENT_CPU")
else say "cores $SERVER_CPU and $CLIENT_CPU are not both here: nothing is pinned"; fi

client() { "${CLIENT_PRE[@]}" "$@"; }

# A higher priority without real time, for what may use every core or starts up: hides niced neighbours.
HIGH=()
[ "$(nice -n -10 nice 2>/dev/null || echo 0)" -ge 0 ] || HIGH=(nice -n -10)

# run NAME CMD...: starts a server, notes its PID. Its output is in $RUN/NAME.log.
STARTED=()
run() {
	local n=$1; shift
	"${SERVER_PRE[@]}" "$@" >"$RUN/$n.log" 2>&1 </dev/null &
	echo $! >"$RUN/$n.pid"
	STARTED+=("$n")
}

pid() { cat "$RUN/$1.pid"; }

# tree PID: the process and all its descendants.
tree() { local c; echo "$1"; for c in $(cat /proc/"$1"/task/*/children 2>/dev/null); do tree "$c"; done; }

# stop NAME: asks, waits up to 5 s, insists. Touches only processes that run() started.
stop() {
	local p all i
	[ -f "$RUN/$1.pid" ] || return 0
	p=$(pid "$1"); rm -f "$RUN/$1.pid"
	all=$(tree "$p")
	kill "$p" 2>/dev/null
	for i in $(seq 50); do alive $all || break; sleep 0.1; done
	alive $all && kill -9 $all 2>/dev/null
	wait "$p" 2>/dev/null
	return 0
}
alive() { local p s; for p in "$@"; do s=$(sed 's/.*) //; s/ .*//' /proc/"$p"/stat 2>/dev/null) && [ "$s" != Z ] && [ -n "$s" ] && return 0; done; return 1; }
stop_all() { local n; for n in "${STARTED[@]}"; do stop "$n"; done; STARTED=(); }
trap stop_all EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# cpu_ns PID: nanoseconds on a CPU so far, all threads and children.
cpu_ns() { local p; for p in $(tree "$1"); do cat /proc/"$p"/task/*/schedstat 2>/dev/null; done | awk '{s += $1} END {printf "%.0f\n", s}'; }

# zones N: makes the zone of N hosts once; its directory is then in Z.
zones() {
	Z=$BENCH_DIR/z$1
	[ -f "$Z/done" ] && return
	say "making the zone of $1 hosts"
	python3 "$HERE/gen.py" "$1" "$Z" && touch "$Z/done" || die "gen.py failed"
}

# conf FILE NAME: the server's configuration with its directory, zone and port put in.
# Its directory is emptied; C is the resulting file and D the directory.
conf() {
	local p=PORT_$2
	D=$RUN/$2.d C=$RUN/$2.conf
	rm -rf "$D"; mkdir -p "$D"
	sed -e "s#@DIR@#$D#g; s#@ZONE@#$Z#g; s#@PORT@#${!p}#g" "$HERE/conf/$1" >"$C"
}

# addr NAME: where it answers.
addr() { local a=ADDR_$1 p=PORT_$1; echo "${!a:-127.0.0.1}:${!p}"; }

# ready NAME [HOST]: waits until the server answers for HOST.
ready() {
	python3 "$HERE/ask.py" "$(addr "$1")" "${2:-host000000.dyn.example.com}" 120 "$(pid "$1")" >/dev/null && alive "$(pid "$1")" ||
		{ tail -n 5 "$RUN/$1.log" >&2; die "$1 does not answer at $(addr "$1"); its log is $RUN/$1.log"; }
}
# ready_tcp PORT: waits until something accepts there.
ready_tcp() {
	local i
	for i in $(seq 300); do (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return; sleep 0.1; done
	die "nothing listens on port $1"
}

# durable_here: a sync must reach a disk, or the figure means nothing.
durable_here() {
	case $(stat -f -c %T "$BENCH_DIR") in
	tmpfs | ramfs) [ -n "${FORCE:-}" ] || die "BENCH_DIR is in memory: durable figures need a disk (BENCH_DIR=…, or FORCE=1)" ;;
	esac
}

built() { local p; for p in "$@"; do [ -x "$BIN/$p" ] || "$HERE/build.sh" "$p" || die "building $p failed"; done; }

. "$HERE/servers.sh"
