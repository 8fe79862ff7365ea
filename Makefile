# Thin on purpose: what there is to do is done by cargo, by `cargo xtask` (crates/xtask) and by
# tests/run.mjs.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help run build test watch check check-rust check-page check-front fleet chaos proof load bench bench-peers

NODE := target/release/syncchat

# Cargo's profile for tests, lints and chores: one, so that nothing is compiled twice.
export PROFILE ?= dev
XTASK := cargo run --quiet --locked --profile $(PROFILE) --package xtask --

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 16

run: build ## build what is missing and run one node under ./data; ARGS="--listen …" for settings
	@exec $(NODE) serve $(ARGS)

build: ## the release binary, with the web client inside where Node.js is there
	@cargo xtask web
	@cargo build --release --locked --bin syncchat

test: ## fetch and build what the tests need and run them, side by side; ONLY=core,e2e,… for some
	@tests/run.mjs "$(ONLY)"

watch: ## the tests of one crate, again after each change; CRATE=gateway
	@tests/watch.mjs "$(CRATE)"

fleet: build ## a whole fleet on 127.0.0.1:8000: Redis, MongoDB, three gateways, HAProxy; Ctrl-C ends it
	@tests/services.sh fleet
	@exec deploy/fleet/fleet.sh $(NODE)

chaos: build ## the fleet's fault tests at length; SYNCCHAT_CHAOS_SECONDS of random faults
	@tests/services.sh fleet
	@tests/clients.sh
	@SYNCCHAT_BIN=$(abspath $(NODE)) SYNCCHAT_CHAOS_SECONDS=$${SYNCCHAT_CHAOS_SECONDS:-600} \
	  npm --prefix tests run --silent chaos

proof: build ## a million facts while everything breaks in turn, judged; docs/proof.md; FACTS= SECONDS= MINUTES= SEED= FAULT=
	@tests/services.sh fleet
	@tests/clients.sh
	@SYNCCHAT_BIN=$(abspath $(NODE)) PROFILE=release FACTS="$(FACTS)" SECONDS="$(SECONDS)" MINUTES="$(MINUTES)" \
	  SEED="$(SEED)" FAULT="$(FAULT)" tests/proof.mjs

load: ## half a minute of load on a running node or fleet; URL=http://127.0.0.1:8000 for a fleet
	@cargo build --release --locked -p syncchat-loadtest
	@mkdir -p target/loadtest
	@code=0; rm -f target/loadtest/report.html; \
	  target/release/syncchat-loadtest run loadtest/scenarios/$${SCENARIO:-short}.toml \
	  --url $${URL:-http://127.0.0.1:8080} --json target/loadtest/result.json \
	  --html target/loadtest/report.html $(ARGS) || code=$$?; \
	  if [[ $$code == 2 ]]; then echo "is a node running at $${URL:-http://127.0.0.1:8080}? see: make run" >&2; \
	  else echo "report: target/loadtest/report.html"; fi; exit $$code

bench: bench-peers ## single steps, then ratios against Node, socketioxide and a bare server; ROUNDS=5
	@cargo bench --locked -p syncchat-loadtest --bench steps
	@for what in fanout light persisted; do \
	  target/release/syncchat-loadtest compare loadtest/compare/$$what.toml --rounds $${ROUNDS:-5} \
	    --json target/loadtest/$$what.json | tee target/loadtest/$$what.md; done

# The server is built apart: with a store that costs nothing, for what is measured without one.
bench-peers:
	@tests/services.sh fleet
	@mkdir -p target/loadtest
	@cargo build --release --locked -p syncchat-loadtest
	@cargo build --release --locked --bin syncchat --features memory-store --target-dir target/bench
	@cd loadtest/peers/socketioxide && cargo build --release --locked
	@cd loadtest/peers/shared-write && cargo build --release --locked
	@npm --prefix loadtest/peers/node ci --no-audit --no-fund --loglevel=error

check: ## formatting, lints, tidiness, licences
	@cargo fmt --all --check
	@$(XTASK) tidy
	@$(MAKE) --no-print-directory --jobs=3 --output-sync=target check-rust check-page check-front

check-rust:
	@cargo clippy --workspace --all-targets --locked --profile $(PROFILE) -- -D warnings
	@if cargo deny --version >/dev/null 2>&1; then \
	  cargo deny --offline check --config .deny.toml bans licenses sources; fi

# Xtask is built by now: it does not wait for the other build.
check-page:
	@$(XTASK) web
	@if [ -d web/node_modules ]; then npm --prefix web run --silent lint; fi

check-front:
	@tests/services.sh fleet
	@PATH=$$PATH:/usr/sbin haproxy -c -q -f haproxy.cfg
