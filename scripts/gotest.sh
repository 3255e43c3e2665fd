#!/usr/bin/env bash
# Runs go test and keeps the output readable: one line for a package that
# passes, the story of the tests that fail for one that does not, and which tests
# were skipped and why. With CI=true a skip is a failure, because a test that
# never runs holds nothing; one whose reason names GODWIT_LONG belongs to make long.
#
# usage: scripts/gotest.sh ARGUMENTS OF GO TEST
set -euo pipefail
cd "$(dirname "$0")/.."

skips=$(mktemp)
trap 'rm -f "$skips"' EXIT

# go test prints a package's output in one piece, its verdict last.
status=0
${GO:-go} test -v "$@" 2>&1 | awk -v skips="$skips" '
	/^=== (RUN|PAUSE|CONT|NAME)/ || /^ *--- PASS/ || /^PASS$/ { next }
	/no test files\]?$/ { next }
	/^ *--- SKIP/ {
		sub(/^ *--- SKIP: /, ""); sub(/ \([0-9.]+s\)$/, "")
		sub(/^ */, "", reason)
		if (reason !~ /GODWIT_LONG/) print $0 ": " reason > skips
		reason = ""; next
	}
	/^ok  \t/ { print; n = 0; reason = ""; fflush(); next }
	/^FAIL\t/ { for (i = 0; i < n; i++) print story[i]; print; n = 0; reason = ""; fflush(); next }
	{ story[n++] = $0; reason = $0 }
	END { for (i = 0; i < n; i++) print story[i] }
' || status=$?

if [ -s "$skips" ]; then
	echo
	echo "skipped:"
	sed 's/^/  /' "$skips"
	if [ -n "${CI-}" ] && [ "$status" = 0 ]; then
		echo "With CI set, a skipped test is a failure: install what it lacks (scripts/deps.sh), or give it the rights it asks for." >&2
		status=1
	fi
fi
exit "$status"
