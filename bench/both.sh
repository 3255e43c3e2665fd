#!/usr/bin/env bash
# both.sh [-r ROUNDS] [-s SECONDS] [-n HOSTS] [-m MIX]
# Questions while updates pour in. Each round asks godwit the same four times: 20,000 questions a second, alone and with 1,000 updates a
# second beside them; and as many as it answers, alone and with 64 clients that update as fast as they can.
: "${RT:=0}" # real-time threads that fill a core are stopped for 50 ms of each second
. "$(dirname "$0")/lib.sh"
SERVER_PRE=("${HIGH[@]}" "${SERVER_PRE[@]}")
rounds=5 secs=4 hosts=100000 mix=mix
while getopts r:s:n:m: f; do case $f in
	r) rounds=$OPTARG ;; s) secs=$OPTARG ;; n) hosts=$OPTARG ;; m) mix=$OPTARG ;; *) exit 2 ;;
esac; done
need dnsperf python3
durable_here
built godwit updload
zones "$hosts"
start_godwit
ready godwit

# questions LABEL OPTIONS...: one run of dnsperf, and the time on a CPU of the server meanwhile.
questions() {
	local label=$1 before after; shift
	before=$(cpu_ns "$(pid godwit)")
	client dnsperf -v -t 1 -s 127.0.0.1 -p "$PORT_godwit" -d "$Z/$mix.txt" -c 4 -T 1 -l "$secs" "$@" >"$RUN/dnsperf.txt" || die "dnsperf failed; see $RUN/dnsperf.txt"
	after=$(cpu_ns "$(pid godwit)")
	python3 - "$label" "$((after - before))" "$RUN/dnsperf.txt" <<-'END'
	import re, sys
	text = open(sys.argv[3], errors="replace").read()
	times = sorted(float(t) for t in re.findall(r"^> \S+ \S+ \S+ ([\d.]+)$", text, re.M))
	lost = int(re.search(r"Queries lost:\s+(\d+)", text)[1])
	rate = float(re.search(r"Queries per second:\s+([\d.]+)", text)[1])
	print("%s rate=%.0f lost=%d p50_us=%.0f p99_us=%.0f cpu_us=%.2f" % (sys.argv[1], rate, lost,
	    1e6 * times[len(times) // 2], 1e6 * times[len(times) * 99 // 100], int(sys.argv[2]) / 1e3 / len(times)))
	END
}
# beside UPDATES QUESTIONS...: questions while updload runs with these options; its own line is there too.
beside() {
	local label=$1 options=$2 load; shift 2
	# shellcheck disable=SC2046,SC2086
	client "$BIN/updload" $(args_godwit) $options -d "$((secs + 2))s" >"$RUN/updload.txt" & load=$!
	sleep 1
	questions "$label" "$@"
	wait "$load" || die "updload failed; see $RUN/updload.txt"
	echo "$label/updates $(tail -n 1 "$RUN/updload.txt")"
}

out=$BENCH_DIR/both-$(date +%Y%m%dT%H%M%S).txt
for r in $(seq "$rounds"); do
	sleep 3
	questions steady -Q 20000
	beside steady+updates "-c 64 -rate 1000" -Q 20000
	sleep 3
	questions full -q 200
	beside full+updates "-c 64" -q 200
done | tee "$out"
echo
python3 "$HERE/median.py" "$out"
