#!/usr/bin/env bash
# Format, vet, staticcheck, dependency floors, and the demo's digest here and on arm64. Purity and imports are tests
# (strategies/purity_test.go) and run with the others.
set -euo pipefail
cd "$(dirname "$0")/../.."
stage() { echo "== $1"; }
stage gofmt
bad=$(gofmt -l cmd data sim live strategies testdata)
if [ -n "$bad" ]; then echo "not formatted: $bad"; exit 1; fi
stage "go vet"
go vet ./...
stage "go mod"
go mod verify >/dev/null
go mod tidy -diff
infra/ci/floors.sh
stage staticcheck
go tool staticcheck ./...
stage "replay digest"
want=$(cat testdata/golden/demo.digest)
digest() { grep -m1 '"digest"' | sed 's/.*: "//; s/".*//'; }
run="backtest --tape testdata/tapes/demo --pairs testdata/tapes/demo.pairs.yaml --no-save --json --quiet"
go build -o bin/check ./cmd/arbiter
got=$(bin/check $run | digest)
rm -f bin/check
[ "$got" = "$want" ] || { echo "digest $got, golden $want: if decisions were meant to change, update testdata/golden and explain the difference"; exit 1; }
stage "replay digest on arm64 (qemu-user)"
infra/ci/need.sh qemu-aarch64 qemu-user
GOARCH=arm64 go build -o bin/check-arm64 ./cmd/arbiter
got=$(qemu-aarch64 bin/check-arm64 $run | digest)
rm -f bin/check-arm64
[ "$got" = "$want" ] || { echo "on arm64 the digest is $got, golden $want: a float or a map order is in a decision"; exit 1; }
echo "check passed: digest $want on $(go env GOARCH) and arm64"
