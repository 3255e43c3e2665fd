#!/usr/bin/env bash
# agent.sh [rest] [moves] [updates] [crowd]: the agent and the signed door; without arguments all four, up to 3 minutes each.
#
#   rest     memory and wake-ups of godwit-agent over 120 s between two polls; a second one is watched by strace
#   moves    from the end of `ip addr` on a device until the server's DNS shows the address; 30 devices, each family once
#   updates  CPU time of the server per update: 64 keys over connections that stay open, one and 64 in flight
#   crowd    1,000 agents that start at once, again with the same address, and so on; the server's limits are its defaults
#
# rest and moves need root: each device is a network namespace with an agent of its own. rest needs strace.
: "${RT:=0}" # threads that share a core in real-time turns burn some of them waiting for one another, and CPU time is the figure here
. "$(dirname "$0")/lib.sh"
SERVER_PRE=("${HIGH[@]}" "${SERVER_PRE[@]}")
[ $# -gt 0 ] || set -- rest moves updates crowd
: "${PORT_agent_http:=$((PORT_BASE + 80))}" "${PORT_agent_dns:=$((PORT_BASE + 81))}"
built godwit godwit-agent agentload

# server HOSTS URL FLAGS...: starts a server with so many hosts, whose keys are in $D.
server() {
	local n=$1 url=$2 i; shift 2
	D=$RUN/agent.d
	rm -rf "$D"; mkdir -p "$D"
	"$BIN/agentload" hosts -hosts "$n" -dir "$D" -url "$url" >"$D/import.json" || die "the keys could not be made"
	run agent-server "$BIN/godwit" serve --zone dyn.example.com --data "$D/data" --dns "127.0.0.1:$PORT_agent_dns" "$@"
	for i in $(seq 100); do [ -S "$D/data/admin.sock" ] && break; sleep 0.1; done
	"$BIN/godwit" host import "$D/import.json" --target "local:$D/data" >/dev/null || die "the import failed; see $RUN/agent-server.log"
	sleep 12 # the import changed the hosts, and a signature has to be ten seconds newer than that
}

# devices N: this namespace becomes a network with a server and N devices, each a namespace that a process device<i> holds. The
# agents' URL is http://ddns.test:$PORT_agent_http.
devices() {
	local i
	need ip nsenter unshare mount
	printf '127.0.0.1 localhost\n198.51.100.1 ddns.test\n2001:db8:7::1 ddns.test\n' >"$RUN/hosts"
	mount --bind "$RUN/hosts" /etc/hosts || die "no right to mount"
	ip -batch - <<-END || die "the network could not be made"
		link set lo up
		link add s0 type bridge
		link set s0 up
		addr add 198.51.100.1/24 dev s0
		addr add 2001:db8:7::1/64 dev s0 nodad
	END
	server "$1" "http://ddns.test:$PORT_agent_http" --http "198.51.100.1:$PORT_agent_http" --http "[2001:db8:7::1]:$PORT_agent_http"
	: >"$D/agent.toml"
	SERVER_PRE=() # agents are not what is loaded
	for i in $(seq 0 $(($1 - 1))); do
		run "device$i" unshare --net sleep 600
		until [ "$(readlink "/proc/$(pid "device$i")/ns/net")" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.01; done
		ip -batch - <<-END || die "device $i could not be connected"
			link add s$i.0 type veth peer name h0 netns $(pid "device$i")
			link set s$i.0 master s0 up
		END
		on "$i" ip -batch - <<-END || die "device $i has no address"
			link set lo up
			link set h0 up
			addr add 198.51.100.$((10 + i))/24 dev h0
			addr add 2001:db8:7::$((10 + i))/64 dev h0 nodad
		END
		run "agent$i" nsenter "--net=/proc/$(pid "device$i")/ns/net" "$BIN/godwit-agent" run --config "$D/agent.toml" --host "host$i.dyn.example.com" \
			--url "http://ddns.test:$PORT_agent_http" --key-file "$D/$i.key" --state-dir "$D/state$i"
	done
	for i in $(seq 0 $(($1 - 1))); do
		until [ "$(grep -c '"state": "right"' "$D/state$i/status.json" 2>/dev/null)" = 2 ]; do
			alive "$(pid "agent$i")" || die "agent $i ended; its log is $RUN/agent$i.log"
			[ $SECONDS -lt 60 ] || die "agent $i is not right; its log is $RUN/agent$i.log"
			sleep 0.1
		done
	done
}
on() { local i=$1; shift; nsenter "--net=/proc/$(pid "device$i")/ns/net" "$@"; }

in_rest() {
	need strace
	devices 5
	sleep 5 # from here on nothing has to happen for four minutes
	local i seconds=120 before=() after strace
	for i in 1 2 3 4; do before[i]="$(switches "$i") $(cpu_ns "$(pid "agent$i")")"; done
	strace -f -ttt -p "$(pid agent0)" -o "$RUN/agent.strace" 2>/dev/null & strace=$!
	sleep "$seconds"
	for i in 1 2 3 4; do
		after="$(switches "$i") $(cpu_ns "$(pid "agent$i")")"
		awk -v b="${before[i]}" -v a="$after" -v s="$seconds" '
			/^(VmRSS|VmHWM|Threads):/ { v[$1] = $2 }
			END { split(b, x); split(a, y); printf "rest rss_mib=%.2f peak_mib=%.2f threads=%d seconds=%d switches=%d cpu_us=%.0f\n",
				v["VmRSS:"] / 1024, v["VmHWM:"] / 1024, v["Threads:"], s, y[1] - x[1], (y[2] - x[2]) / 1000 }' "/proc/$(pid "agent$i")/status"
	done
	kill -INT "$strace"; wait "$strace"
	# Calls that returned, but for those that strace itself interrupted. epoll_pwait is where the runtime waits for our timers and
	# connections, a futex of 60 s its own look around.
	awk 'NR == 1 { began = $2 } $2 < began + 1 { next } { sub(/^[0-9]+ +[0-9.]+ /, ""); sub(/^<\.\.\. /, "") } / = / { sub(/[ (].*/, ""); n[$0]++ }
		END { printf "watched epoll_pwait=%d read=%d", n["epoll_pwait"], n["read"]; delete n["epoll_pwait"]; delete n["read"]
			for (k in n) printf " %s=%d", k, n[k]; print "" }' "$RUN/agent.strace"
}
switches() { cat /proc/"$(pid "agent$1")"/task/*/status | awk '/ctxt_switches/ { s += $2 } END { print s + 0 }'; }

in_moves() {
	local n=30 i devices=()
	devices "$n"
	sleep 31 # what an agent leaves between two tries of one family
	for i in $(seq 0 $((n - 1))); do devices+=("$(pid "device$i")"); done
	"$BIN/agentload" moves -dns "127.0.0.1:$PORT_agent_dns" "${devices[@]}" || die "a device was not seen to move; logs are in $RUN"
	# An agent's first request and its move are one change each for both families.
	for i in $(seq 0 $((n - 1))); do
		"$BIN/godwit" host show "host$i.dyn.example.com" --target "local:$D/data" --json
		"$BIN/godwit" host history "host$i.dyn.example.com" --target "local:$D/data" --json
	done | awk -v n="$n" '
		/"outcome":/ { outcome = $2 } /"door": "signed"/ { outcome ~ /"changed"/ ? changes++ : others++ } /"refusals":/ { others += $2 }
		END { printf "history hosts=%d changes_per_host=%.2f other_requests=%d\n", n, changes / n, others }'
}

in_updates() {
	durable_here
	server 192 "http://127.0.0.1:$PORT_agent_http" --http "127.0.0.1:$PORT_agent_http" --changes-per-hour 0 --requests-per-second 0
	client "$BIN/agentload" updates -hosts 64 -dir "$D" -url "http://127.0.0.1:$PORT_agent_http" -pid "$(pid agent-server)" -rounds 5
}

in_crowd() {
	server 1000 "http://127.0.0.1:$PORT_agent_http" --http "127.0.0.1:$PORT_agent_http"
	# Each device has a disk of its own: a thousand that wait for one would not speak when they mean to.
	local states status
	states=$(mktemp -d -p /dev/shm) || die "no file system in memory at /dev/shm"
	client "$BIN/agentload" crowd -hosts 1000 -dir "$D" -states "$states" -url "http://127.0.0.1:$PORT_agent_http" -pid "$(pid agent-server)" -rounds 4
	status=$?
	rm -rf "$states"
	return "$status"
}

for part in "$@"; do
	declare -F "in_$part" >/dev/null || die "no part '$part': rest, moves, updates or crowd"
	if [[ $part = rest || $part = moves ]] && [ -z "${IN_NAMESPACE:-}" ]; then
		unshare --net --mount --propagation private env IN_NAMESPACE=1 "$0" "$part" || exit 1
		continue
	fi
	out=$BENCH_DIR/agent-$part-$(date +%Y%m%dT%H%M%S).txt
	"in_$part" >"$out" || exit 1
	stop_all
	cat "$out"
	echo
	python3 "$HERE/median.py" "$out"
done
