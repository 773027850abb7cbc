#!/usr/bin/env bash
# Every test once, with the race detector. Prints go test's package lines, the skips with their reasons, and the
# failures in full. With ARBITER_CAPTURES set a skipped test is a failure.
set -uo pipefail
cd "$(dirname "$0")/../.."
infra/ci/need.sh gcc gcc || exit 1 # the race detector needs cgo
log=$(mktemp)
trap 'rm -f "$log"' EXIT
CGO_ENABLED=1 go test -race -count=1 -v ./... >"$log" 2>&1
status=$?
grep -E '^(ok|FAIL|\?|panic:|---? FAIL)' "$log" | grep -v '^FAIL$'
skips=$(grep -c -E '^\s*--- SKIP' "$log")
if [ "$skips" != 0 ]; then
	echo "$skips skipped:"
	grep -A1 -E '^\s*--- SKIP' "$log" | sed 's/^/  /'
fi
if [ $status != 0 ]; then
	echo "---- output of what failed"
	awk '/^=== RUN +[^\/]+$/ { held = "" } { held = held $0 "\n" } /^--- FAIL/ { print held; held = "" } /^--- (PASS|SKIP)/ { held = "" } /^(panic:|FAIL|WARNING: DATA RACE)/ { print held; held = "" }' "$log" |
		grep -v -E '^ *(=== (RUN|PAUSE|CONT|NAME)|--- PASS)' | head -400
	exit $status
fi
if [ "$skips" != 0 ] && [ -n "${ARBITER_CAPTURES:-}" ]; then
	echo "ARBITER_CAPTURES is set: a skip is a failure"
	exit 1
fi
echo "$(grep -c -E '^--- PASS' "$log") tests passed, $skips skipped"
