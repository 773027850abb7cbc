#!/usr/bin/env bash
# fuzz.sh TIME: every fuzz target for TIME, one after the other. Go's fuzzer can report "context deadline exceeded" when
# its time is up in the middle of an input (golang/go issue 56238): without a failing input that is no failure.
set -euo pipefail
cd "$(dirname "$0")/../.."
log=$(mktemp)
trap 'rm -f "$log"' EXIT
grep -rlE '^func Fuzz' --include='*_test.go' cmd data sim strategies live | sort | while read -r f; do
	for t in $(sed -n 's/^func \(Fuzz[A-Za-z_]*\).*/\1/p' "$f"); do
		echo "fuzz ./$(dirname "$f") $t for $1"
		if ! go test "./$(dirname "$f")" -run '^$' -fuzz "^$t\$" -fuzztime "$1" -fuzzminimizetime 1s >"$log" 2>&1; then
			if grep -q 'Failing input' "$log" || ! grep -q 'context deadline exceeded' "$log"; then
				cat "$log"
				exit 1
			fi
			echo "its time was up in the middle of an input"
		fi
		tail -2 "$log"
	done
done
