# godwit: `make` lists what there is.

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GO ?= go

# Tests make file systems; their programs are not in everybody's path. Python
# programs that were not there are where scripts/deps.sh has put them.
export PATH := $(PATH):/usr/sbin:/sbin:$(CURDIR)/.cache/python/bin

# Fuzzing time in seconds, shared by all fuzz targets.
FUZZ_SECONDS ?= $(if $(CI),150,60)
LONG_SECONDS ?= 14400

# Benchmarks: which, and how often (benchstat wants ten).
BENCH ?= .
COUNT ?= 1

# Go stamps version and commit from git into the program. Where git cannot say
# (a tarball, a checkout of another user) it is built without.
STAMP = $(if $(shell git status --porcelain >/dev/null 2>&1 && echo yes),-buildvcs=true,-buildvcs=false)

say = @printf '\n\033[1m== %s\033[0m\n' $(1)

.PHONY: help build lambda-zip release demo check lint test long bench bench-peers fuzz deps tools clean

help: ## list the targets (this)
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

build: ## build the program to bin/godwit
	CGO_ENABLED=0 $(GO) build -trimpath $(STAMP) -o bin/godwit ./cmd/godwit

lambda-zip: ## pack the function for AWS into dist/, for arm64 and x86-64, reproducibly
	scripts/lambda-zip.sh

release: ## build a release into dist/release/: programs for all platforms, packages, checksums, reproducibly
	scripts/release.sh

demo: build ## build, then run the whole loop on loopback: server, host, client, change of address, DNS answer, refusals; Ctrl-C ends it
	bin/godwit demo

check: lint ## before every commit: gofmt, vet, staticcheck, short tests with the race detector
	$(call say,"short tests with the race detector")
	$(GO) test -race -short ./...

lint: ## gofmt, vet and staticcheck alone
	$(call say,"gofmt")
	@files=$$("$$($(GO) env GOROOT)/bin/gofmt" -l .); if [ -n "$$files" ]; then printf 'not formatted; run gofmt -w on:\n%s\n' "$$files"; exit 1; fi
	$(call say,"go vet")
	$(GO) vet ./...
	$(call say,"staticcheck")
	$(GO) tool staticcheck ./...

# Packages are tested side by side, in this order: what takes longest comes first,
# lest a processor be idle while the last one is tested.
longest = ./e2e ./internal/store/sqlite ./internal/store/dynamodb

# Properties are held to the same made-up inputs in every run here; make long
# makes up new ones, and many more.
test: export RAPID_SEED = 1
test: deps lint ## all that CI runs: what the tests need, lint, every test with the race detector, fuzzing for FUZZ_SECONDS
	$(call say,"tests with the race detector")
	@scripts/gotest.sh -race -count=1 -timeout 15m $(longest) ./...
	$(call say,"fuzzing")
	@scripts/fuzz.sh $(FUZZ_SECONDS)

long: export GODWIT_LONG = 1
long: export CI = true
long: export RAPID_CHECKS = 2000
long: deps lint ## before a release, for hours: the long variants of the crash and load tests, and LONG_SECONDS of fuzzing
	$(call say,"long tests")
	@scripts/gotest.sh -race -count=1 -timeout 0 ./...
	$(call say,"fuzzing")
	@scripts/fuzz.sh $(LONG_SECONDS)

fuzz: ## every fuzz target, sharing FUZZ_SECONDS
	@scripts/fuzz.sh $(FUZZ_SECONDS)

bench: ## benchmarks with allocations; BENCH=regexp chooses, COUNT=10 is for benchstat
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) ./...

bench-peers: ## side by side with BIND, Knot and NSD (bench/README.md has what it needs); some 20 minutes
	bench/dns.sh knot nsd godwit
	bench/dns.sh -x "-Q 20000" knot nsd godwit
	bench/updates.sh ubind uknot godwit
	bench/million.sh knot nsd godwit

deps: ## install the programs that the tests run (apt, pip), if any is missing
	@scripts/deps.sh

tools: ## fetch the modules and build the tools of go.mod, so that the rest works offline
	$(GO) mod download
	$(GO) build -o /dev/null tool
	$(GO) build -modfile=packaging/nfpm.mod -o /dev/null tool
	$(GO) build -modfile=e2e/pebble.mod -o /dev/null tool ./e2e/testdata/goacmedns

clean: ## remove what was built
	rm -rf bin dist .cache
