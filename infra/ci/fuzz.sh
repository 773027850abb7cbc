#!/usr/bin/env bash
# fuzz.sh TIME: every fuzz target for TIME, one after the other.
set -euo pipefail
cd "$(dirname "$0")/../.."
grep -rlE '^func Fuzz' --include='*_test.go' cmd data sim strategies | sort | while read -r f; do
	for t in $(sed -n 's/^func \(Fuzz[A-Za-z_]*\).*/\1/p' "$f"); do
		echo "fuzz ./$(dirname "$f") $t for $1"
		go test "./$(dirname "$f")" -run '^$' -fuzz "^$t\$" -fuzztime "$1" -fuzzminimizetime 1s | tail -2
	done
done
