# make demo: build and backtest the bundled synthetic tape. make test: everything once, with -race. make check: format,
# vet, staticcheck, dependency floors, and the digest on arm64. make torture: the long proofs.
COMMIT := $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)$(shell test -z "$$(git status --porcelain 2>/dev/null)" || echo -dirty)
LDFLAGS := -s -w -X main.commit=$(COMMIT)
export CGO_ENABLED ?= 0

.PHONY: build demo test check torture bench

build:
	@mkdir -p bin
	go build -trimpath -ldflags '$(LDFLAGS)' -o bin/arbiter ./cmd/arbiter

demo: build
	bin/arbiter backtest --tape testdata/tapes/demo --pairs testdata/tapes/demo.pairs.yaml --name demo --perturb

test:
	@infra/ci/test.sh

check:
	@infra/ci/check.sh

torture:
	@infra/ci/torture.sh

bench:
	go test -run '^$$' -bench . -benchmem ./data/... ./strategies/... ./sim/...
