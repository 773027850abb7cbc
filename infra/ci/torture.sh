#!/usr/bin/env bash
# The long proofs. FUZZ is the time a fuzz target gets (default 10m), SEEDS how many seeds the random laws are run with.
set -euo pipefail
cd "$(dirname "$0")/../.."
fuzz=${FUZZ:-10m} seeds=${SEEDS:-200}
infra/ci/fuzz.sh "$fuzz"
for s in $(seq 1 "$seeds"); do
	go test -count=1 ./data ./data/tape ./data/journal ./data/kalshi ./data/polymarket ./data/stream ./sim -args -seed "$s" >/tmp/torture.$$ 2>&1 || { cat /tmp/torture.$$; echo "seed $s failed"; exit 1; }
	[ $((s % 10)) != 0 ] || echo "$s seeds passed"
done
rm -f /tmp/torture.$$
go test -count=1 ./cmd/arbiter -run ForeignParquet -args -damages 4000
go test -count=1 ./data/journal -args -kills 200
go test -count=1 -timeout 30m ./cmd/arbiter -run KilledAtRandomMoments -args -recorder-kills 200
go test -count=1 -timeout 30m ./cmd/arbiter -v -run LoadFromAnotherProcess -args -load-rate 50000 -load-seconds 120
go test -count=1 -timeout 30m ./cmd/arbiter -v -run LoadFromAnotherProcess -args -load-rate 50000 -load-seconds 8 -load-speed 4
