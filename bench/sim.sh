#!/usr/bin/env bash
# sim.sh: plays all scenarios of bench/sim (an AWS account in virtual time) and prints a table. Needs Go and nothing else; some
# ten minutes of CPU. FILE=… keeps the table. What the columns mean is in docs/scale.md.
set -eu -o pipefail
cd "$(dirname "$0")/.."
table=${FILE:-$(mktemp)}
table=$(realpath "$table")
[ -n "${FILE:-}" ] || trap 'rm -f "$table"' EXIT
status=0
GODWIT_SIM=$table go test -count=1 -timeout 2h -v -run '^TestSimulation$' ./bench/sim >"$table.log" 2>&1 || status=$?
grep -E '^ +sim_test.go|^--- FAIL|^    --- FAIL|panic' "$table.log" >&2 || true
rm -f "$table.log"
cat "$table"
exit "$status"
