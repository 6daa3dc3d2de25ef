# The one door. `make help` lists what it opens.

TARGET   := $(or $(CARGO_TARGET_DIR),target)
VENV     := .tools/venv
STAMPS   := .tools/stamps
STACK    := $(TARGET)/debug/tollway-stack
PEERS    := .tools/peers
LIGHTNING := .tools/lightning
CARGO    := cargo
SUDO_APT := apt-get install -y --no-install-recommends

.DEFAULT_GOAL := help
.PHONY: help setup build wasm demo up down test sim crash bench bench-build bench-stream bench-ledger accuracy
.PHONY: test-clients test-lightning test-compose lint clean

help: ## Lists the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMPS)/system $(STAMPS)/rust $(STAMPS)/python $(STAMPS)/node ## Installs what is missing: Rust target, Envoy, test clients.

build: $(STAMPS)/system $(STAMPS)/rust wasm ## Builds tollwayd, the tollway command, the demo's programs and the filter.
	$(CARGO) build --locked --workspace --bins

wasm: $(STAMPS)/system $(STAMPS)/rust ## Builds the filter for Envoy: wasm32-wasip1/filter/tollway.wasm in the target directory.
	$(CARGO) build --locked --profile filter --target wasm32-wasip1 -p tollway-filter --lib

demo: $(STAMPS)/python build ## Starts everything, pays for a joke, tells the story, stops everything.
	@$(STACK) demo

up: $(STAMPS)/python build ## Starts the demo's stack in the background and keeps it running.
	@$(STACK) up

down: ## Stops what `make up` started.
	@if [ -x $(STACK) ]; then $(STACK) down; else echo "No stack runs."; fi

test: setup build ## Runs every test: unit, property, vectors, API, and end to end on the real Envoy.
	$(CARGO) test --locked --workspace --no-fail-fast
	$(VENV)/bin/python tests/differential/pymacaroons_test.py
	$(VENV)/bin/python tests/differential/legacy_tokens_test.py

sim: $(STAMPS)/system $(STAMPS)/rust ## Plays 1000 new seeds of the simulation (TOLLWAY_SIM_SEEDS=n), or one (TOLLWAY_SIM_SEED=n).
	TOLLWAY_SIM_SEEDS=$(or $(TOLLWAY_SIM_SEEDS),1000) \
	  $(CARGO) test --locked --test simulation -- --nocapture no_seed_breaks_the_books

crash: $(STAMPS)/python build ## Kills tollwayd and PostgreSQL under load, 60 times and more, and compares what clients counted with the ledger.
	$(CARGO) test --locked --test crash

bench: $(STAMPS)/wrk $(STAMPS)/peers bench-build ## Measures a paid request beside Envoy's own filters and the peers, with bars, into bench/. Needs a quiet machine.
	$(TARGET)/release/tollway-bench fast-path

bench-stream: bench-build ## Measures a metered stream of events with the filter and without: time to the first byte, memory.
	$(TARGET)/release/tollway-bench stream

accuracy: bench-build ## Lets 64 clients at full speed count their answers, with and without kills, against the ledger's charges.
	$(TARGET)/release/tollway-bench accuracy

bench-build: $(STAMPS)/python wasm
	$(CARGO) build --locked --release -p tollwayd -p tollway-bench --bins
	$(CARGO) build --locked --profile filter --target wasm32-wasip1 -p tollway-bench-noop -p tollway-bench-calls --lib

bench-ledger: $(STAMPS)/system $(STAMPS)/rust ## Measures the ledger: holds per second and per fsync, HTTP, memory. Short bars end with 1.
	$(CARGO) bench --locked -p tollwayd --bench ledger

test-lightning: $(STAMPS)/lightning $(STAMPS)/lnbits $(STAMPS)/nwc $(STAMPS)/btcpay build ## Runs tollwayd and the filter on real Lightning: two lnd nodes from their Go modules, an LNbits, a wallet on a Nostr relay.
	TOLLWAY_TEST_LIGHTNING=required $(CARGO) test --locked --test lightning -- --nocapture
	TOLLWAY_TEST_LIGHTNING=required $(CARGO) test --locked -p tollwayd --lib -- lightning::real lightning::greenfield

test-clients: $(STAMPS)/python $(STAMPS)/clients $(STAMPS)/go-clients build ## Lets published clients pay through the real Envoy, and writes docs/clients.md.
	TOLLWAY_TEST_CLIENTS=required $(CARGO) test --locked --test clients -- --nocapture

test-compose: ## Builds docker-compose.yml and plays the story on it, where Docker runs or can be started.
	@sh tests/compose/run.sh

lint: $(STAMPS)/system $(STAMPS)/rust ## Checks format, lints on the host and for wasm32-wasip1, and shell scripts.
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) clippy --locked --profile filter --target wasm32-wasip1 -p tollway-filter --lib -- -D warnings
	@if command -v shellcheck >/dev/null; then \
	  shellcheck .ci/run envoy/*.sh tests/compose/*.sh && echo "shellcheck: ok"; \
	else echo "shellcheck: not installed, skipped"; fi

clean: ## Removes what was built and what `make setup` put into .tools.
	$(CARGO) clean
	rm -rf .tools tests/clients/node_modules tests/clients/matrix/node_modules tests/clients/matrix/mpp/node_modules tests/clients/matrix/x402/node_modules tests/lightning/nwc/node_modules

# A C compiler for SQLite and TLS, Python's venv, and PostgreSQL for the tests of its store. Only
# root can install Debian packages.
$(STAMPS)/system: Makefile
	@mkdir -p $(STAMPS)
	@missing=""; \
	command -v cc >/dev/null || missing="$$missing gcc libc6-dev"; \
	command -v python3 >/dev/null || missing="$$missing python3"; \
	python3 -c 'import ensurepip, venv' 2>/dev/null || missing="$$missing python3-venv"; \
	ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$$missing postgresql"; \
	if [ -n "$$missing" ]; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -q && $(SUDO_APT) $$missing; \
	  else \
	    echo "Missing packages:$$missing"; \
	    echo "On Debian or Ubuntu: sudo $(SUDO_APT)$$missing"; exit 1; \
	  fi; \
	fi
	@touch $@

# rust-toolchain.toml names the toolchain; rustup fetches it when cargo first runs here.
$(STAMPS)/rust: rust-toolchain.toml
	@mkdir -p $(STAMPS)
	@command -v rustup >/dev/null || { \
	  echo "Rust is missing: install rustup as https://rustup.rs says, then run make again."; exit 1; }
	@cargo --version >/dev/null || rustup toolchain install
	@rustup target list --installed | grep -qx wasm32-wasip1 || rustup target add wasm32-wasip1
	@touch $@

$(STAMPS)/python: tests/requirements.txt $(STAMPS)/system
	@mkdir -p $(STAMPS)
	@[ -x $(VENV)/bin/python ] || python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	@touch $@

# The clients of `make test-clients`. Their packages run no scripts while they are installed.
MATRIX := tests/clients/matrix
$(STAMPS)/clients: $(MATRIX)/requirements.txt $(wildcard $(MATRIX)/package*.json $(MATRIX)/*/package*.json) | $(STAMPS)/system $(STAMPS)/node
	@command -v npm >/dev/null || { echo "npm is missing: the JavaScript clients come from it."; exit 1; }
	@[ -x .tools/clients/bin/python ] || python3 -m venv .tools/clients
	.tools/clients/bin/python -m pip install --quiet --disable-pip-version-check -r $(MATRIX)/requirements.txt
	npm ci --prefix $(MATRIX) --ignore-scripts --no-audit --no-fund --loglevel=error
	npm ci --prefix $(MATRIX)/mpp --ignore-scripts --no-audit --no-fund --loglevel=error
	npm ci --prefix $(MATRIX)/x402 --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

# The Go clients of `make test-clients`, and the nodes that they pay with. Without Go, or where a
# module cannot be had, their rows are left out, and the run says why. lnget's checksums are asked
# of Go's database: not everywhere is its module served, so none could be kept here.
GO_CLIENTS := .tools/go-clients
$(STAMPS)/go-clients: $(wildcard $(MATRIX)/aperture/* $(MATRIX)/lnget/*) | $(STAMPS)/system
	@mkdir -p $(GO_CLIENTS)
	@if ! command -v go >/dev/null; then \
	  echo "Go is missing: aperture's client is built with Go 1.26 or newer (https://go.dev/dl)."; \
	elif ! (cd $(MATRIX)/aperture && CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' \
	    -o $(CURDIR)/$(GO_CLIENTS)/aperture .); then \
	  echo "aperture's client cannot be built here; the Go module proxy may not be reachable."; \
	else $(MAKE) $(STAMPS)/lightning && touch $@; fi
	@cp $(MATRIX)/lnget/go.mod $(GO_CLIENTS)/lnget.mod
	@if command -v go >/dev/null && ! (cd $(MATRIX)/lnget && CGO_ENABLED=0 go build -trimpath \
	    -ldflags='-s -w' -mod=mod -modfile=$(CURDIR)/$(GO_CLIENTS)/lnget.mod \
	    -o $(CURDIR)/$(GO_CLIENTS)/lnget github.com/lightninglabs/lnget/cmd/lnget) \
	    2>$(GO_CLIENTS)/lnget.why; then \
	  echo "lnget cannot be built here: $$(cat $(GO_CLIENTS)/lnget.why)"; fi

# Real nodes for the Lightning tests, from the published Go modules.
$(STAMPS)/lightning: $(wildcard tests/lightning/go/*/go.*) | $(STAMPS)/system
	@command -v go >/dev/null || { \
	  echo "Go is missing: real Lightning nodes are built with Go 1.25 or newer (https://go.dev/dl)."; exit 1; }
	@mkdir -p $(LIGHTNING)
	cd tests/lightning/go/btcd && CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' \
	  -o $(CURDIR)/$(LIGHTNING)/ github.com/btcsuite/btcd
	cd tests/lightning/go/lnd && CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' \
	  -tags 'chainrpc invoicesrpc signrpc walletrpc lowscrypt' -o $(CURDIR)/$(LIGHTNING)/ github.com/lightningnetwork/lnd/cmd/lnd
	@touch $@

# LNbits wants Python 3.10 to 3.12.
$(STAMPS)/lnbits: tests/lightning/requirements.txt | $(STAMPS)/system
	@mkdir -p $(STAMPS)
	@python3 -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' || { \
	  echo "LNbits needs Python 3.10, 3.11 or 3.12 as python3."; exit 1; }
	@[ -x .tools/lnbits/bin/python ] || python3 -m venv .tools/lnbits
	.tools/lnbits/bin/pip install --quiet --disable-pip-version-check -r tests/lightning/requirements.txt
	@touch $@

$(STAMPS)/nwc: tests/lightning/nwc/package.json tests/lightning/nwc/package-lock.json | $(STAMPS)/node
	@command -v npm >/dev/null || { echo "npm is missing: the wallet service comes from it."; exit 1; }
	npm ci --prefix tests/lightning/nwc --no-audit --no-fund --loglevel=error
	@touch $@

$(STAMPS)/btcpay: tests/lightning/btcpay/requirements.txt | $(STAMPS)/system
	@mkdir -p $(STAMPS)
	@[ -x .tools/btcpay/bin/python ] || python3 -m venv .tools/btcpay
	.tools/btcpay/bin/pip install --quiet --disable-pip-version-check -r tests/lightning/btcpay/requirements.txt
	@touch $@

# The load of `make bench`; nothing else needs it.
$(STAMPS)/wrk: | $(STAMPS)/system
	@command -v wrk >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -q && $(SUDO_APT) wrk; \
	  else echo "wrk is missing. On Debian or Ubuntu: sudo $(SUDO_APT) wrk"; exit 1; fi; }
	@touch $@

# The peers of `make bench`, with packages of their own. A peer that cannot be installed says why
# here, and its bar is short.
$(STAMPS)/peers: $(wildcard bench/peers/*/*) $(wildcard bench/peers/*/src/*) | $(STAMPS)/rust
	@ok=yes; \
	$(CARGO) build --locked --release --manifest-path bench/peers/toll-booth/Cargo.toml \
	  --bin toll-booth-bench --target-dir $(TARGET)/peers || ok=no; \
	{ [ -x $(PEERS)/lightning-toll/bin/python ] || python3 -m venv $(PEERS)/lightning-toll; } \
	  && $(PEERS)/lightning-toll/bin/pip install --quiet --disable-pip-version-check \
	    -r bench/peers/lightning-toll/requirements.txt || ok=no; \
	if [ $$ok = yes ]; then touch $@; else echo "The run goes on without a peer."; fi

# Without Node the test of the JavaScript client is skipped, and says so.
$(STAMPS)/node: tests/clients/package.json tests/clients/package-lock.json
	@mkdir -p $(STAMPS)
	@if ! command -v npm >/dev/null && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -q && $(SUDO_APT) nodejs npm; \
	fi
	@if command -v npm >/dev/null; then npm ci --prefix tests/clients --no-audit --no-fund --loglevel=error; \
	else echo "npm is missing: the JavaScript client's test will be skipped."; fi
	@touch $@
