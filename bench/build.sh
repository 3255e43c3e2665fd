#!/usr/bin/env bash
# build.sh PROGRAM...: builds godwit or the load client (updload) into $BENCH_DIR/bin. Needs Go.
. "$(dirname "$0")/lib.sh"
export GOWORK=off GOFLAGS="${GOFLAGS:-} -buildvcs=false"
need go
for p in "$@"; do
	say "building $p"
	case $p in
	godwit) (cd "$HERE/.." && go build -o "$BIN/godwit" ./cmd/godwit) ;;
	updload) (cd "$HERE/src/updload" && go build -o "$BIN/updload" .) ;;
	*) die "no program '$p': godwit or updload" ;;
	esac || die "building $p failed"
done
