#!/usr/bin/env bash
# Runs every fuzz target of the module, one after the other, for an equal share
# of the time. Stops at the first that fails and says how to see it again.
#
# usage: scripts/fuzz.sh TOTAL_SECONDS
set -euo pipefail
cd "$(dirname "$0")/.."

total=${1:-}
if ! [[ $total =~ ^[1-9][0-9]*$ ]]; then
	echo "usage: scripts/fuzz.sh TOTAL_SECONDS" >&2
	exit 2
fi
go=${GO:-go}

# Only packages that mention a target are built.
files='{{$p := .ImportPath}}{{range .TestGoFiles}}{{$p}} {{$.Dir}}/{{.}}
{{end}}{{range .XTestGoFiles}}{{$p}} {{$.Dir}}/{{.}}
{{end}}'
listing=$($go list -f "$files" ./...)
mapfile -t packages < <(while read -r package file; do
	if [ -n "$package" ] && grep -q '^func Fuzz' "$file"; then echo "$package"; fi
done <<<"$listing" | sort -u)
module=$($go list -m)
targets=()
for package in ${packages[@]+"${packages[@]}"}; do
	folder=./${package#"$module/"}
	listing=$($go test -list '^Fuzz' "$folder") || { echo "$listing"; exit 1; }
	while read -r name; do
		[[ $name == Fuzz* ]] && targets+=("$folder $name")
	done <<<"$listing"
done
if [ ${#targets[@]} = 0 ]; then
	echo "There is no fuzz target."
	exit 0
fi
share=$((total / ${#targets[@]}))
[ "$share" -ge 1 ] || share=1
echo "${#targets[@]} targets, $share s each"

log=$(mktemp)
trap 'rm -f "$log"' EXIT
for target in "${targets[@]}"; do
	read -r folder name <<<"$target"
	ok=yes
	# Making an interesting input smaller may take a second, not the minute that
	# is go test's default and would eat the share.
	$go test -run='^$' -fuzz="^$name\$" -fuzztime="${share}s" -fuzzminimizetime=1s "$folder" >"$log" 2>&1 || ok=no
	# Before Go 1.27, go test now and then reports its own deadline as a failure of
	# the target (golang/go issue 75804): nothing but that line, no input kept.
	if [ $ok = no ] && ! grep -q 'Failing input written to' "$log" &&
		[ "$(grep -A1 -- "^--- FAIL: $name " "$log" | tail -n 1 | tr -d ' ')" = 'contextdeadlineexceeded' ]; then
		ok=yes
	fi
	execs=$(sed -n 's/.*execs: \([0-9]*\).*/\1/p' "$log" | tail -n 1)
	if [ $ok = yes ]; then
		printf 'ok    %-30s %-30s %10s inputs\n' "${folder#./}" "$name" "${execs:-0}"
		continue
	fi
	printf 'FAIL  %-30s %s\n\n' "${folder#./}" "$name"
	grep -v '^fuzz: elapsed' "$log" || true
	input=$(sed -n "s|.*Failing input written to testdata/fuzz/$name/||p" "$log" | head -n 1)
	if [ -n "$input" ]; then
		cat <<-EOF

			The input is kept in ${folder#./}/testdata/fuzz/$name/$input. To see it fail again:

			    go test -run '^$name\$/^$input\$' $folder

			Mend the cause, and commit the file: from then on it is a case of go test.
		EOF
	else
		printf '\nTo see it again:\n\n    go test -run %s -fuzz %s %s\n' "'^\$'" "'^$name\$'" "$folder"
	fi
	exit 1
done
