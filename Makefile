# Thin on purpose: what there is to do is done by cargo, by `cargo xtask` (crates/xtask) and by
# tests/run.sh.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help run build test check fleet chaos

NODE := target/release/syncchat

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 16

run: build ## build what is missing and run one node under ./data; ARGS="--listen …" for settings
	@exec $(NODE) serve $(ARGS)

build: ## the release binary, with the web client inside where Node.js is there
	@cargo xtask web
	@cargo build --release --locked --bin syncchat

test: ## install and start what the tests need, run them all, stop what was started
	@tests/run.sh

fleet: build ## a whole fleet on 127.0.0.1:8000: Redis, MongoDB, three gateways, HAProxy; Ctrl-C ends it
	@tests/services.sh
	@exec deploy/fleet/fleet.sh $(NODE)

chaos: build ## the fleet's fault tests at length; SYNCCHAT_CHAOS_SECONDS of random faults
	@tests/services.sh
	@tests/clients.sh
	@SYNCCHAT_CHAOS_SECONDS=$${SYNCCHAT_CHAOS_SECONDS:-600} npm --prefix tests run --silent chaos

check: ## formatting, lints, tidiness, licences
	@cargo fmt --all --check
	@cargo clippy --workspace --all-targets --locked -- -D warnings
	@cargo xtask tidy
	@cargo xtask web
	@if [ -d web/node_modules ]; then npm --prefix web run --silent lint; fi
	@tests/services.sh
	@PATH=$$PATH:/usr/sbin haproxy -c -q -f haproxy.cfg
	@if cargo deny --version >/dev/null 2>&1; then \
	  cargo deny --offline check --config .deny.toml bans licenses sources; fi
