#!/usr/bin/env bash
# build.sh PROGRAM...: builds godwit, its agent, its Lambda function or what loads them into $BENCH_DIR/bin. Needs Go, and a C compiler
# for t0exec.
. "$(dirname "$0")/lib.sh"
export GOWORK=off GOFLAGS="${GOFLAGS:-} -buildvcs=false"
need go
for p in "$@"; do
	say "building $p"
	case $p in
	godwit) (cd "$HERE/.." && go build -o "$BIN/godwit" ./cmd/godwit) ;;
	updload) (cd "$HERE/src/updload" && go build -o "$BIN/updload" .) ;;
	bootstrap) (cd "$HERE/.." && CGO_ENABLED=0 go build -trimpath -tags lambda.norpc -ldflags "-s -w" -o "$BIN/$p" ./cmd/godwit-lambda) ;;
	bootstrap-timed) (cd "$HERE/.." && CGO_ENABLED=0 go build -trimpath -tags timed -ldflags "-s -w" -o "$BIN/$p" ./cmd/godwit-lambda) ;;
	godwit-agent) (cd "$HERE/.." && CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o "$BIN/$p" ./cmd/godwit-agent) ;;
	awsstub | lamdrive | agentload) (cd "$HERE/.." && go build -o "$BIN/$p" "./bench/src/$p") ;;
	t0exec) need cc; cc -O2 -Wall -o "$BIN/$p" "$HERE/src/c/$p.c" ;;
	*) die "no program '$p': godwit, godwit-agent, updload, bootstrap, bootstrap-timed, awsstub, lamdrive, agentload or t0exec" ;;
	esac || die "building $p failed"
done
