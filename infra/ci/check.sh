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
[ "$got" = "$want" ] || { echo "digest $got, golden $want: if decisions were meant to change, update testdata/golden and explain the difference"; exit 1; }
stage "replay digest on arm64 (qemu-user)"
infra/ci/need.sh qemu-aarch64 qemu-user
GOARCH=arm64 go build -o bin/check-arm64 ./cmd/arbiter
got=$(qemu-aarch64 bin/check-arm64 $run | digest)
[ "$got" = "$want" ] || { echo "on arm64 the digest is $got, golden $want: a float or a map order is in a decision"; exit 1; }
stage "a live session, replayed here and on arm64"
session=$(mktemp -d)
bin/check serve --listen 127.0.0.1:0 --speed 8 --pairs 8 --rate 6 --fault drop=0.003 --fault disconnect=0.0005 --pairs-file "$session/pairs.yaml" >/dev/null 2>"$session/serve.log" &
server=$!
trap 'kill $server 2>/dev/null; rm -rf "$session" bin/check bin/check-arm64' EXIT
host=""
for _ in $(seq 100); do
	host=$(sed -n 's/.*markets on \([0-9.]*:[0-9]*\);.*/\1/p' "$session/serve.log")
	[ -z "$host" ] || break
	sleep 0.2
done
env -u ARBITER_KALSHI_KEY_ID -u ARBITER_KALSHI_PRIVATE_KEY bin/check live --venues-at "$host" --pairs "$session/pairs.yaml" --journal "$session/journal" --tapes "" --disk-min 0 \
	--for 12s --set record.poll_every=200ms --quiet >/dev/null 2>"$session/live.log" || { cat "$session/live.log"; exit 1; }
here=$(bin/check replay "$session/journal" --json)
there=$(qemu-aarch64 bin/check-arm64 replay "$session/journal" --json)
echo "$here" | grep -q '"commands": [1-9]' || { echo "nothing was decided: $here"; exit 1; }
[ "$here" = "$there" ] || { echo "here $here, on arm64 $there"; exit 1; }
echo "check passed: digest $want on $(go env GOARCH) and arm64"
