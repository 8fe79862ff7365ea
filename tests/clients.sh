#!/usr/bin/env bash
# Brings the clients that the tests talk with: npm packages by the lock file, and python-socketio in
# an environment of its own under target/services. Running it again does nothing.
set -euo pipefail
cd "$(dirname "$0")"
target=$(cd .. && pwd)/target/services
mkdir -p "$target"

python=$target/python
bring_python() {
  if ! "$python/bin/python" -c 'import socketio, websocket, requests' 2>/dev/null; then
    python3 -m venv "$python"
    "$python/bin/pip" install -q --disable-pip-version-check -r requirements.txt
  fi
}

bring_python &
bringing=$!

stamp=$target/npm-tests.stamp
if [ ! -d node_modules ] || [ package-lock.json -nt "$stamp" ] || [ ! -e "$stamp" ]; then
  npm ci --no-audit --no-fund --loglevel=error
  touch "$stamp"
fi

wait "$bringing"
