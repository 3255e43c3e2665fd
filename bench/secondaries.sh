#!/usr/bin/env bash
# secondaries.sh [-n UPDATES] [-g GAP_MS] [-h HOSTS]
# From the acknowledgement of an update until each secondary answers with it: Knot, BIND, NSD and PowerDNS, set up as
# docs/secondaries.md says, in a network namespace of their own (needs root).
: "${RT:=0}" # several servers share a core here: real-time turns would be measured
[ -n "${GODWIT_BENCH_NET:-}" ] || exec unshare --net env GODWIT_BENCH_NET=1 RT="$RT" "$0" "$@"
. "$(dirname "$0")/lib.sh"
updates=300 gap=50 hosts=1000
while getopts n:g:h: f; do case $f in
	n) updates=$OPTARG ;; g) gap=$OPTARG ;; h) hosts=$OPTARG ;; *) exit 2 ;;
esac; done
need python3 ip knotd named nsd pdns_server pdnsutil sqlite3 tsig-keygen
built godwit
ip link set lo up
for i in 1 2 3 4 5; do ip addr add "192.0.2.$i/32" dev lo; done
D=$RUN/secondaries.d
rm -rf "$D"; mkdir -p "$D"
chmod 755 "$D"
(umask 077; tsig-keygen transfer >"$D/transfer.key")
python3 "$HERE/secondaries.py" prepare "$D" "$HERE/../docs/secondaries.md" "$hosts" || die "the configurations could not be written"
run godwit "$BIN/godwit" serve --config "$D/primary" --data "$D/data" --http 127.0.0.1:8053 \
	--changes-per-hour 0 --requests-per-second 0 --responses-per-second 0
for i in $(seq 100); do [ -S "$D/data/admin.sock" ] && break; sleep 0.1; done
"$BIN/godwit" host import "$D/hosts.json" --target "local:$D/data" >/dev/null || die "the hosts were not taken; see $RUN/godwit.log"
sed "s#pdnsutil #pdnsutil --config-dir=$D #" "$D/pdnsutil" | sh -e >"$RUN/pdnsutil.log" 2>&1 || die "PowerDNS could not be set up; see $RUN/pdnsutil.log"
run knot knotd -c "$D/knot.conf"
run bind named -g -n 1 -c "$D/named.conf"
run nsd nsd -d -c "$D/nsd.conf"
run pdns pdns_server --config-dir="$D" --socket-dir="$D" --daemon=no --guardian=no
out=$BENCH_DIR/secondaries-$(date +%Y%m%dT%H%M%S).txt
client python3 "$HERE/secondaries.py" measure "$D" "$updates" "$gap" | tee "$out"
