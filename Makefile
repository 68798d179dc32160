# make run    the gateway with two simulated testers; other ports with
#             LABGATE_LISTEN and LABGATE_ADMIN_LISTEN
# make cluster  three gateways that are one, through Redis; other ports with
#             PORTS
# make check  vet and the quick tests, in a minute: for the inner loop
# make test   everything that must hold, with the set-up it needs
# make lint   golangci-lint and go vet
# make bench  which goals the gateway reaches on this machine (half an hour)
# make bench-tuning  what options of labgate serve change
# make bench-compare OLD=binary  what changed from an older labgate to this one
# make bench-peers  the same work through other brokers
# make fuzz   every parser that the network reaches, for five minutes
# make soak   everything at once for ten minutes, with the books balanced
# make cross  the command for every processor that is promised
# make ci     what must pass before a change lands: test, lint, cross, some seconds of fuzz
# make build  bin/labgate, static, of at most 15 MB

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
# nethttpomithttp2: net/http without HTTP/2, which has no Upgrade and is never served.
TAGS    := nethttpomithttp2
LDFLAGS := -s -w -X main.version=$(VERSION)
BINARY  ?= bin/labgate
LINT    := .tools/golangci-lint
LINT_VERSION := v2.15.0
FUZZTIME ?=
SOAK_TIME ?= 10m
APT     := $(if $(filter 0,$(shell id -u)),,sudo )DEBIAN_FRONTEND=noninteractive apt-get

.PHONY: run cluster build setup check test lint ci vet bench bench-tuning bench-compare bench-peers fuzz soak cross clean

# Without cgo: with it the binary is linked against this machine's C library.
build:
	CGO_ENABLED=0 $(GO) build -trimpath -tags $(TAGS) -ldflags '$(LDFLAGS)' -o $(BINARY) ./cmd/labgate

run: build
	@BINARY=$(BINARY) scripts/demo

# Three nodes and their Redis, and a command from one to another.
cluster: build
	@BINARY=$(BINARY) scripts/cluster

# Tests of other processes, real Redis servers and browsers are left to make
# test; -short tests the server in its default mode alone. The server's tests
# take longest and so begin first.
check: vet
	$(GO) test -short ./server $$($(GO) list ./... | grep -vE '/(server|web|cluster|bench(/.*)?|internal/(acceptance|clusteracceptance|gatewaytest|redistest|soak))$$')

# What the tests need beside Go: a Python and a Node client, the tools of the Web
# of Things, a browser, nginx,
# OpenSSL, Redis, curl, ip and tc, and a C compiler for the race detector.
setup:
	@scripts/setup

test: setup vet
	$(GO) test -race -timeout 15m ./...
	cd bench/peers && $(GO) vet ./... && $(GO) test -timeout 10m ./...
	cd bench/plot && $(GO) vet ./... && $(GO) test ./...

lint: vet $(LINT)
	$(LINT) run ./...
	cd bench/peers && $(CURDIR)/$(LINT) run ./...
	cd bench/plot && $(CURDIR)/$(LINT) run ./...

# Each make runs a target once: `make test ci` is `make ci` with the tests first.
ci: test lint cross
	FUZZTIME=5s scripts/fuzz

vet:
	$(GO) vet ./...

$(LINT):
	GOBIN=$(CURDIR)/.tools $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)

bench: build
	@GO=$(GO) scripts/bench $(ARGS)

bench-tuning: build
	@GO=$(GO) scripts/bench tuning $(ARGS)

# OLD is a binary of labgate to compare with, NEW another one than this tree's.
bench-compare: build
	@test -n "$(OLD)" || { echo "make bench-compare OLD=path/of/an/older/labgate" >&2; exit 2; }
	@GO=$(GO) scripts/bench-compare "$(OLD)" "$(or $(NEW),bin/labgate)" $(ARGS)

# The same work through what a lab would install instead.
bench-peers: build
	@GO=$(GO) scripts/bench-peers $(ARGS)

# Everything at once against the built command, and then the books.
soak:
	SOAK_TIME=$(SOAK_TIME) $(GO) test -v -count 1 -timeout 0 -run TestSoak ./internal/soak

# Every fuzz target: five minutes in all, or FUZZTIME each.
fuzz:
	@FUZZTIME=$(FUZZTIME) scripts/fuzz

# Without cgo, as in a build for another processor.
cross:
	for arch in amd64 arm64 arm; do \
		CGO_ENABLED=0 GOOS=linux GOARCH=$$arch $(GO) build -trimpath -tags $(TAGS) -o /dev/null ./cmd/labgate || exit 1; \
	done

clean:
	rm -rf bin
