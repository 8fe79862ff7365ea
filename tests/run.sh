#!/usr/bin/env bash
# Everything that `make test` runs, from cheap to dear. Installs what it needs, stops what it starts.
#
# SYNCCHAT_TEST_STORES=sqlite narrows the end-to-end tests to one store.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\n== %s\n' "$*"; }

say "services and clients"
tests/services.sh
tests/clients.sh

say "unit, property, simulation and store tests"
cargo test --workspace --locked

say "the page"
cargo xtask web
npm --prefix web run --silent test

say "the binary, and the load harness"
cargo build --release --locked --bin syncchat
cargo build --locked -p syncchat-loadtest

cd tests
# A quarter of an hour in which two processes are nearly idle: the other parts run meanwhile.
churn=$(mktemp)
node churn/memory.test.mjs >"$churn" 2>&1 &
coming_and_going=$!
trap 'kill $coming_and_going 2>/dev/null || true; rm -f "$churn"' EXIT

say "end to end, with the official clients"
npm run --silent e2e
say "the page in a browser"
SYNCCHAT_BIN=$PWD/../target/release/syncchat npm --prefix ../web run --silent e2e:quick
say "the load harness"
npm run --silent load
say "hostile input"
npm run --silent hostile
say "faults"
npm run --silent faults
say "a fleet of gateways over Redis, behind HAProxy"
npm run --silent fleet

say "memory while people come and go, which began with the end-to-end tests"
wait $coming_and_going || { cat "$churn"; exit 1; }
grep "KiB a minute" "$churn"
