#!/usr/bin/env bash
# A whole fleet on this machine: Redis, MongoDB as a replica set of three, three gateways, HAProxy.
#
#   deploy/fleet/fleet.sh [BINARY]      BINARY is target/release/syncchat unless named
#
# Ctrl-C ends it all, in order, and removes its data; a second one does so at once. What dies by
# itself (or by your hand: try it) is started again, as an orchestrator would. The gateways take their
# settings from the environment (SYNCCHAT_…), HAProxy too (FRONT_…, see haproxy.cfg).
set -euo pipefail
cd "$(dirname "$0")/../.."

readonly binary=$(realpath "${1:-target/release/syncchat}")
readonly mongod=$PWD/target/services/bin/mongod
readonly redis_port=6390
readonly mongo_ports=(27101 27102 27103)
readonly gateway_ports=(8081 8082 8083)
readonly admin_ports=(9091 9092 9093)
# What ends within so many seconds of its start, so many times in all, is not started again.
readonly early_s=3 early_ends_max=3

PATH=$PATH:/usr/sbin
# HAProxy takes two files a connection, a gateway one.
ulimit -n "$(ulimit -Hn)"
export FRONT_LISTEN=${FRONT_LISTEN:-127.0.0.1:8000} FRONT_STATS=${FRONT_STATS:-127.0.0.1:8404}
# Everybody comes from one address here, so limits by address would hold back the machine's owner.
export FRONT_ADDRESS_CONNECTIONS=${FRONT_ADDRESS_CONNECTIONS:-100000}
export FRONT_ADDRESS_REQUESTS=${FRONT_ADDRESS_REQUESTS:-1000000}
export SYNCCHAT_RATE_HANDSHAKES=${SYNCCHAT_RATE_HANDSHAKES:-off}
export SYNCCHAT_RATE_REGISTRATIONS=${SYNCCHAT_RATE_REGISTRATIONS:-off}
export SYNCCHAT_DRAIN=${SYNCCHAT_DRAIN:-2s}

# Names in the order of their start, and of each its command line, process and luck.
order=()
declare -A commands pids started early_ends

fail() {
  echo "fleet: $*" >&2
  exit 1
}

# Whether something listens on a port of this host.
listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Whether GET PATH on a port of this host is answered 200.
answers() {
  (
    exec 3<>"/dev/tcp/127.0.0.1/$1"
    printf 'GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n' "$2" >&3
    read -r -t 5 _ status _ <&3 && [[ $status == 200 ]]
  ) 2>/dev/null
}

# until_true WHAT COMMAND…: tries for 30 s.
until_true() {
  local what=$1
  shift
  for _ in {1..300}; do
    if "$@"; then return; fi
    sleep 0.1
  done
  tail -n 5 "$data"/*.log >&2
  fail "waited 30 s for $what"
}

# run NAME COMMAND…: starts it, and again when it ends.
run() {
  local name=$1
  shift
  commands[$name]=$(printf '%q ' "$@")
  order+=("$name")
  launch "$name"
}

# In a session of its own the terminal's Ctrl-C does not reach it, so that it can be ended in order;
# and the kernel ends it when this script is gone, however that came.
launch() {
  eval "exec setsid setpriv --pdeathsig KILL -- ${commands[$1]}" >>"$data/$1.log" 2>&1 </dev/null &
  pids[$1]=$!
  started[$1]=$SECONDS
}

# end SECONDS NAME…: asks them to end, all at once; whoever takes longer is killed.
end() {
  local deadline=$((SECONDS + $1)) name
  shift
  for name; do kill "${pids[$name]}" 2>/dev/null || true; done
  for name; do
    while ((SECONDS < deadline)) && kill -0 "${pids[$name]}" 2>/dev/null; do sleep 0.05; done
    kill -KILL "${pids[$name]}" 2>/dev/null || true
    wait "${pids[$name]}" 2>/dev/null || true
  done
}

finish() {
  trap - EXIT
  trap 'end 0 "${order[@]}"; rm -rf "$data"; exit 1' INT TERM HUP
  echo "fleet: ending" >&2
  local gateways=() others=() name
  for name in "${order[@]}"; do
    if [[ $name == gateway-* ]]; then gateways+=("$name"); else others+=("$name"); fi
  done
  # Gateways first: what they accepted they still persist and publish.
  end 30 "${gateways[@]}"
  end 5 "${others[@]}"
  rm -rf "$data"
}

# Waits for the next one to end, and starts it again; gives up on what cannot stay up.
tend() {
  local pid code=0 name
  wait -n -p pid "${pids[@]}" 2>/dev/null || code=$?
  [[ -n ${pid:-} ]] || return 0
  for name in "${order[@]}"; do
    if [[ ${pids[$name]} == "$pid" ]]; then break; fi
  done
  if ((SECONDS - started[$name] < early_s)); then
    early_ends[$name]=$((${early_ends[$name]:-0} + 1))
    if ((early_ends[$name] >= early_ends_max)); then
      tail -n 20 "$data/$name.log" >&2
      fail "$name cannot stay up"
    fi
  fi
  echo "fleet: $name ended with $code and is started again" >&2
  sleep 1
  launch "$name"
}

[[ -x $binary ]] || fail "no program at $binary: run \"make build\""
[[ -x $mongod ]] || fail "no mongod at $mongod: run tests/services.sh"
for port in "$redis_port" "${mongo_ports[@]}" "${gateway_ports[@]}" "${admin_ports[@]}" \
  "${FRONT_LISTEN##*:}" "${FRONT_STATS##*:}"; do
  if listens "$port"; then fail "port $port is taken"; fi
done

readonly data=$(mktemp -d "${TMPDIR:-/tmp}/syncchat-fleet.XXXXXX")
trap finish EXIT
trap 'exit 0' INT TERM HUP
export FRONT_SOCKET=$data/haproxy.sock
(umask 077 && head -c 48 /dev/urandom | base64 >"$data/jwt-secret")

run redis redis-server --port "$redis_port" --bind 127.0.0.1 --dir "$data" --save '' --appendonly no
for i in 0 1 2; do
  mkdir "$data/mongo-$((i + 1))"
  run "mongo-$((i + 1))" "$mongod" --dbpath "$data/mongo-$((i + 1))" --port "${mongo_ports[i]}" \
    --bind_ip 127.0.0.1 --replSet rs --nounixsocket --wiredTigerCacheSizeGB 0.25 \
    --setParameter shutdownTimeoutMillisForSignaledShutdown=100
done
python3 deploy/fleet/replica_set.py "${mongo_ports[@]}"
until_true redis listens "$redis_port"

mongo_hosts=$(printf ',127.0.0.1:%s' "${mongo_ports[@]}")
readonly store="mongodb://${mongo_hosts#,}/syncchat?replicaSet=rs"
for i in 0 1 2; do
  mkdir "$data/gateway-$((i + 1))"
  run "gateway-$((i + 1))" env --chdir "$data/gateway-$((i + 1))" "$binary" serve \
    --node-id "n$((i + 1))" --listen "127.0.0.1:${gateway_ports[i]}" \
    --admin-listen "127.0.0.1:${admin_ports[i]}" --store "$store" \
    --files "file:$data/files" \
    --backplane "redis://127.0.0.1:$redis_port" --trusted-proxies 127.0.0.0/8 \
    --jwt-secret-file "$data/jwt-secret" --log-format json
  export "GATEWAY_$((i + 1))=127.0.0.1:${gateway_ports[i]}" "GATEWAY_$((i + 1))_ADMIN_PORT=${admin_ports[i]}"
done
for port in "${admin_ports[@]}"; do until_true "a gateway to be ready" answers "$port" /readyz; done
run haproxy haproxy -db -f haproxy.cfg
until_true "HAProxy to serve" answers "${FRONT_LISTEN##*:}" /api/openapi.json

cat <<TEXT
SyncChat's fleet is ready: http://$FRONT_LISTEN
  statistics  http://$FRONT_STATS (metrics: /metrics)
  gateways    ${gateway_ports[@]/#/http://127.0.0.1:}
  their admin ${admin_ports[@]/#/http://127.0.0.1:}
  redis       redis://127.0.0.1:$redis_port
  mongodb     $store
  secret      $data/jwt-secret (for "syncchat token --jwt-secret-file")
  logs        $data/*.log
Ctrl-C ends it all.
TEXT
while true; do tend; done
