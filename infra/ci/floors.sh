#!/usr/bin/env bash
# Dependencies that must not go below the first version without a known flaw (advisories of 2026), where they are linked.
set -euo pipefail
cd "$(dirname "$0")/../.."
linked=$(go list -deps -f '{{with .Module}}{{.Path}} {{.Version}}{{end}}' ./... | sort -u)
while read -r module floor; do
	have=$(awk -v m="$module" '$1 == m { print $2 }' <<<"$linked")
	[ -n "$have" ] || continue
	low=$(printf '%s\n%s\n' "$have" "$floor" | sort -V | head -1)
	[ "$low" = "$floor" ] || { echo "$module is $have, must be at least $floor"; exit 1; }
done <<'F'
github.com/apache/thrift v0.25.0
google.golang.org/grpc v1.85.0
github.com/klauspost/compress v1.20.1
golang.org/x/image v0.45.0
F
