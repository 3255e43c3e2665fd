#!/usr/bin/env bash
# Builds the function for AWS Lambda and packs it, reproducibly: the same source
# and the same Go give the same octets, wherever and whenever they are built.
#
# usage: scripts/lambda-zip.sh [DIRECTORY [ARCHITECTURE…]]
#
# DIRECTORY is dist if not given, ARCHITECTURE arm64 and amd64. A release is
# built from internal/awsstack/function, which -tags lambdazip embeds.
set -euo pipefail
here=$PWD
cd "$(dirname "$0")/.."

go=${GO:-go}
out=${1:-dist}
case $out in /*) ;; *) [ $# = 0 ] || out=$here/$out ;; esac
shift || true
[ $# -gt 0 ] || set -- arm64 amd64

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"
for arch; do
	# No commit and no paths in it: they would make another file of the same source.
	CGO_ENABLED=0 GOOS=linux GOARCH=$arch GOAMD64=v1 GOARM64=v8.0 GOFLAGS= \
		"$go" build -trimpath -buildvcs=false -tags lambda.norpc -ldflags '-s -w -buildid=' -o "$work/bootstrap" ./cmd/godwit-lambda
	"$go" run internal/awsstack/makezip.go "$work/bootstrap" "$work/function.zip"
	# Whole or not there.
	mv "$work/function.zip" "$out/godwit-lambda-$arch.zip"
	echo "$out/godwit-lambda-$arch.zip"
done
