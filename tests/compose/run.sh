#!/bin/sh
# Builds docker-compose.yml and plays the story on it. Where no Docker engine runs and none can
# be started, it says why and ends with success: the rest of the tests do not need one.
#
# What it installs or starts, it names; the engine it starts keeps its data in a directory of its
# own and ends with this script.
set -eu
cd "$(dirname "$0")/../.."

work=$(mktemp -d)
engine_pid=""
project="tollway-test-$$"
compose=""

finish() {
  status=$?
  trap - EXIT INT TERM
  if [ -n "$compose" ]; then
    if [ "$status" -ne 0 ]; then $compose -p "$project" logs --no-color --tail 40 || :; fi
    $compose -p "$project" --profile story down --volumes --timeout 30 >/dev/null 2>&1 || :
  fi
  if [ -n "$engine_pid" ]; then
    kill "$engine_pid" 2>/dev/null || :
    wait "$engine_pid" 2>/dev/null || :
  fi
  rm -rf "$work"
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

skip() {
  echo "test-compose: not run: $*"
  exit 0
}

step() { echo "test-compose: $*"; }

am_root() { [ "$(id -u)" = 0 ]; }

# --- an engine -------------------------------------------------------------------------------

install() {
  am_root && command -v apt-get >/dev/null || return 1
  step "installing $*"
  apt-get install -y --no-install-recommends "$@" >"$work/apt.log" 2>&1 \
    || { apt-get update >>"$work/apt.log" 2>&1 \
      && apt-get install -y --no-install-recommends "$@" >>"$work/apt.log" 2>&1; }
}

start_engine() {
  command -v dockerd >/dev/null || install docker.io docker-compose || return 1
  # Containers must not send larger packets than this machine's way out takes.
  device=$(ip -o route show default 2>/dev/null | awk '{print $5; exit}')
  mtu=$(cat "/sys/class/net/${device:-lo}/mtu" 2>/dev/null || echo 1500)
  [ "$mtu" -le 1500 ] || mtu=1500
  DOCKER_HOST="unix://$work/docker.sock"
  export DOCKER_HOST
  dockerd --data-root "$work/data" --exec-root "$work/exec" --pidfile "$work/dockerd.pid" \
    --host "$DOCKER_HOST" --mtu "$mtu" >"$work/dockerd.log" 2>&1 &
  engine_pid=$!
  while kill -0 "$engine_pid" 2>/dev/null; do
    if docker info >/dev/null 2>&1; then return 0; fi
    sleep 0.2
  done
  engine_pid=""
  return 1
}

if docker info >/dev/null 2>&1; then
  step "using the Docker engine that runs here"
elif ! am_root; then
  skip "no Docker engine answers, and only root could start one"
elif start_engine; then
  step "started a Docker engine: $(docker version --format '{{.Server.Version}}')"
elif [ -s "$work/dockerd.log" ]; then
  skip "dockerd does not start: $(grep -v level=info "$work/dockerd.log" | tail -3)"
else
  skip "dockerd is not installed and could not be: $(tail -1 "$work/apt.log" 2>/dev/null)"
fi

if docker compose version >/dev/null 2>&1; then
  compose="docker compose"
elif command -v docker-compose >/dev/null || install docker-compose; then
  compose="docker-compose"
else
  skip "neither 'docker compose' nor docker-compose is installed"
fi
step "using $($compose version --short 2>/dev/null)"

# --- base images -----------------------------------------------------------------------------
# Pulled where a registry is reachable. Elsewhere stand-ins are made of what this machine has:
# Debian by debootstrap, Rust from rustup, Envoy from `make setup`. Never part of the product.

have() { docker image inspect "$1" >/dev/null 2>&1 || docker pull --quiet "$1" >/dev/null 2>&1; }

stand_in() {
  step "$1 cannot be pulled; building a stand-in"
  image=$1
  shift
  "$@" || skip "no stand-in for $image can be built here: $(tail -1 "$work/build.log" 2>/dev/null)"
}

debian_stand_in() {
  command -v debootstrap >/dev/null || install debootstrap || return 1
  mirror=$(awk '/^URIs:/ {print $2; exit}' /etc/apt/sources.list.d/*.sources 2>/dev/null)
  debootstrap --variant=minbase bookworm "$work/debian" ${mirror:+"$mirror"} \
    >"$work/debootstrap.log" 2>&1 || return 1
  tar -C "$work/debian" -c . | docker import -c 'CMD ["bash"]' - "$image" >/dev/null
  rm -rf "$work/debian"
}

rust_stand_in() {
  toolchain=$(rustc --print sysroot) || return 1
  context="$work/rust"
  mkdir -p "$context/rust/lib/rustlib"
  cp -a "$toolchain/bin" "$context/rust/"
  cp -a "$toolchain"/lib/*.so* "$context/rust/lib/"
  for target in "$toolchain"/lib/rustlib/*-linux-gnu "$toolchain/lib/rustlib/wasm32-wasip1"; do
    cp -a "$target" "$context/rust/lib/rustlib/"
  done
  # This machine's certificate authorities, for a registry behind a private one.
  cp -L /etc/ssl/certs/ca-certificates.crt "$context/ca.crt"
  # The packages come from the same mirror as this machine's.
  docker build -q -t "$image" -f - "$context" >"$work/build.log" 2>&1 <<'DOCKERFILE'
FROM debian:bookworm-slim
RUN apt-get update -q && apt-get install -y --no-install-recommends gcc libc6-dev make pkg-config
COPY ca.crt /etc/ssl/certs/ca-certificates.crt
COPY rust /usr/local/
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
    CARGO_HTTP_CAINFO=/etc/ssl/certs/ca-certificates.crt
DOCKERFILE
  built=$?
  rm -rf "$context"
  return "$built"
}

envoy_stand_in() {
  make -s .tools/stamps/python || return 1
  context="$work/envoy"
  mkdir -p "$context"
  cp .tools/venv/lib/python*/site-packages/envoy/_bin/envoy "$context/" || return 1
  docker build -q -t "$image" -f - "$context" >"$work/build.log" 2>&1 <<'DOCKERFILE'
FROM debian:bookworm-slim
COPY envoy /usr/local/bin/envoy
DOCKERFILE
}

have debian:bookworm-slim || stand_in debian:bookworm-slim debian_stand_in
have rust:1.95-bookworm || stand_in rust:1.95-bookworm rust_stand_in
have envoyproxy/envoy:v1.40.0 || stand_in envoyproxy/envoy:v1.40.0 envoy_stand_in

# --- the stack -------------------------------------------------------------------------------

# Other ports than the demo's, so that a running stack is in nobody's way.
export TOLLWAY_GATEWAY_PORT="${TOLLWAY_TEST_GATEWAY_PORT:-18402}"
export TOLLWAY_ADMIN_PORT="${TOLLWAY_TEST_ADMIN_PORT:-18404}"

step "building the images"
$compose -p "$project" --profile story build >"$work/build.log" 2>&1 \
  || { tail -40 "$work/build.log"; exit 1; }
step "starting the stack"
$compose -p "$project" up -d
step "playing the story"
$compose -p "$project" --profile story run --rm story
# Debian's base image has no curl: this machine's own asks through the published port.
if command -v curl >/dev/null; then
  code=$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$TOLLWAY_GATEWAY_PORT/api/joke")
  [ "$code" = 402 ] || { echo "expected 402 on the published port, but found $code"; exit 1; }
fi
step "the story passed in containers"
