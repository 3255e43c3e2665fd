#!/usr/bin/env bash
# dnssec.sh [OPTIONS OF dns.sh]
# CPU time per query whose client asks for signatures (DO): godwit with --dnssec and Knot with its online-signing module, in turn;
# then a flood of distinct missing names, signed and unsigned, on godwit alone. The answers to hit are remembered signatures after
# the warm-up here, and made anew by Knot each time; each is how the server works.
. "$(dirname "$0")/lib.sh"
hosts=100000
args=("$@")
while [ $# -gt 0 ]; do
	[ "$1" = -n ] && hosts=$2
	shift
done
need dnsperf python3
zones "$hosts"
python3 - "$Z/missing.txt" <<'P'
import random, sys
random.seed(7)
with open(sys.argv[1], "w") as f:
    for i in range(1_000_000):
        f.write("nobody%010x.dyn.example.com A\n" % random.getrandbits(40))
P
echo "signed answers (ratio to Knot):"
REF=knot_signed "$HERE/dns.sh" "${args[@]}" -m hit -x "-D" knot_signed godwit_signed || exit 1
echo "missing names, unsigned, then signed (each to its own server; the figures to compare are µs per query):"
REF=godwit "$HERE/dns.sh" "${args[@]}" -m missing -x "" godwit || exit 1
REF=godwit_signed "$HERE/dns.sh" "${args[@]}" -m missing -x "-D" godwit_signed
