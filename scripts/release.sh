#!/usr/bin/env bash
# Builds what a release consists of: programs for every platform in archives,
# Debian and OpenWrt packages, checksums. The same source and the same Go give
# the same octets, wherever and whenever it is built.
#
# usage: scripts/release.sh [DIRECTORY [PLATFORM…]]
#
# DIRECTORY is dist/release if not given, and is made anew; PLATFORM is as in
# linux/amd64, all of them if not given. VERSION and SOURCE_DATE_EPOCH come from
# git, unless they are set.
set -euo pipefail
here=$PWD
cd "$(dirname "$0")/.."

go=${GO:-go}
out=${1:-dist/release}
case $out in /*) ;; *) [ $# = 0 ] || out=$here/$out ;; esac
shift || true
[ $# -gt 0 ] || set -- linux/amd64 linux/arm64 linux/armv7 linux/mipsle linux/mips \
	darwin/amd64 darwin/arm64 windows/amd64 windows/arm64 freebsd/amd64

# v1.2.3 is 1.2.3; five commits later it is 1.2.3+5.g0123456.
if [ -z "${VERSION-}" ]; then
	VERSION=$(git describe --tags --match 'v[0-9]*' --dirty 2>/dev/null || echo "v0.0.0-$(git rev-list --count HEAD)-g$(git rev-parse --short HEAD)")
	VERSION=$(sed -e 's/^v//' -e 's/-\([0-9]*\)-g/+\1.g/' -e 's/-dirty$/.dirty/' <<<"$VERSION")
fi
# To a package manager 1.2.0~rc.1 comes before 1.2.0, and 1.2.0-rc.1 after it.
package_version=${VERSION%%-*}
[ "$package_version" = "$VERSION" ] || package_version+="~${VERSION#*-}"
export VERSION SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export TZ=UTC LC_ALL=C GOFLAGS='' CGO_ENABLED=0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rm -rf "$out"
mkdir -p "$out"

# programs says which there are for a platform: there is no SQLite for MIPS.
programs() {
	case $1 in
	linux/mips*) ;;
	*) echo godwit ;;
	esac
	echo godwit-agent
}

# godwit carries the function for AWS. To the compiler its zips are in the source
# tree, which stays as it is.
scripts/lambda-zip.sh "$work/zips" >/dev/null
printf '{"Replace":{"internal/awsstack/function/%s":"%s","internal/awsstack/function/%s":"%s"}}\n' \
	godwit-lambda-arm64.zip "$work/zips/godwit-lambda-arm64.zip" godwit-lambda-amd64.zip "$work/zips/godwit-lambda-amd64.zip" >"$work/overlay.json"

# The lowest of each architecture, so that a program runs on all of it.
export GOAMD64=v1 GOARM64=v8.0 GOARM=7 GOMIPS=softfloat
build() { # PLATFORM PROGRAM FILE
	local arch=${1#*/}
	GOOS=${1%/*} GOARCH=${arch%v7} "$go" build -trimpath -buildvcs=false -tags lambdazip -overlay "$work/overlay.json" \
		-ldflags "-s -w -buildid= -X main.version=$VERSION" -o "$3" "./cmd/$2"
}

# package makes a Debian or OpenWrt package of a staged program.
package() { # deb|ipk PROGRAM ARCHITECTURE
	mkdir -p "$stage/scripts"
	for script in postinst prerm postrm; do
		sed "s/PACKAGE/$2/g" packaging/debian/$script >"$stage/scripts/$script"
	done
	sed -e "s|@STAGE@|$stage|g" -e "s/@VERSION@/$package_version/" -e "s/@ARCH@/$3/" "packaging/$2.yaml" >"$work/nfpm.yaml"
	"$work/nfpm" package --config "$work/nfpm.yaml" --packager "$1" --target "$out/$2_${VERSION}_$3.$1" >"$work/nfpm.log" ||
		{ cat "$work/nfpm.log" >&2 && return 1; }
}
CGO_ENABLED=0 "$go" build -modfile=packaging/nfpm.mod -o "$work/nfpm" github.com/goreleaser/nfpm/v2/cmd/nfpm

for platform; do
	os=${platform%/*} arch=${platform#*/} suffix=
	[ "$os" != windows ] || suffix=.exe
	name=godwit_${VERSION}_${os}_$arch
	stage=$work/$name
	mkdir -p "$stage"
	for program in $(programs "$platform"); do
		build "$platform" "$program" "$stage/$program$suffix"
		printf '%-15s %-13s %9d\n' "$platform" "$program" "$(stat -c %s "$stage/$program$suffix")"
	done
	install -m 644 README.md LICENSE CHANGELOG.md packaging/examples/* "$stage"
	[ "$os" = windows ] || install -m 755 clients/godwit.sh "$stage"
	find "$stage" -exec touch -d "@$SOURCE_DATE_EPOCH" {} +
	if [ "$os" = windows ]; then
		(cd "$work" && find "$name" | sort | zip -q -9 -X "$out/$name.zip" -@)
	else
		tar --sort=name --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX --mtime="@$SOURCE_DATE_EPOCH" --format=ustar \
			-C "$work" -c "$name" | gzip -9n >"$out/$name.tar.gz"
	fi
	debian='' openwrt='' # the names of the architecture there
	case $platform in
	linux/amd64) debian=amd64 openwrt=x86_64 ;;
	linux/arm64) debian=arm64 openwrt=aarch64_generic ;;
	linux/armv7) debian=armhf openwrt=arm_cortex-a7_neon-vfpv4 ;;
	linux/mipsle) openwrt=mipsel_24kc ;;
	linux/mips) openwrt=mips_24kc ;;
	esac
	for program in $(programs "$platform"); do
		[ -z "$debian" ] || package deb "$program" "$debian"
		[ -z "$openwrt" ] || [ "$program" = godwit ] || package ipk "$program" "$openwrt"
	done
	rm -rf "$stage"
done

install -m 755 clients/godwit.sh "$out"
(cd "$out" && sha256sum -- * >"$work/SHA256SUMS")
install -m 644 "$work/SHA256SUMS" "$out"
