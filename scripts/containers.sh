#!/usr/bin/env bash
# Builds every image that runs without a GPU, pushes, pins and runs them: tests/containers on a real engine.
# On a bare Debian machine, as root, it brings all that it needs: the engine, a registry, and where no registry
# can be reached, a base image. Where no engine can start it says so, and is no failure. A command that is
# given runs there in place of the tests.
set -euo pipefail
cd "$(dirname "$0")/.."

base=python:3.11-slim-bookworm
work=$(mktemp -d /var/tmp/kfp-lifecycle-containers.XXXXXX)
started=()

finish() {
  for pid in "${started[@]}"; do kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null || true; done
  # What containers and layers have mounted goes first.
  awk -v at="$work" 'index($2, at) == 1 {print $2}' /proc/mounts | sort -r | xargs -r umount --lazy || true
  rm -rf "$work"
}
trap finish EXIT

skip() {
  echo "skipped: no container engine ($1)"
  exit 0
}

install() {
  command -v apt-get >/dev/null && [[ $EUID == 0 ]] || skip "nobody but root can install one"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

start_engine() {
  [[ $EUID == 0 ]] || skip "nobody but root can start one"
  [[ -x /usr/sbin/dockerd ]] || install docker.io
  # Debian's client knows BuildKit; another on the PATH may be too old, or none at all.
  export DOCKER_HOST="unix://$work/docker.sock" PATH="/usr/bin:$PATH"
  /usr/sbin/dockerd --data-root "$work/data" --exec-root "$work/exec" --pidfile "$work/docker.pid" \
    --host "$DOCKER_HOST" >"$work/dockerd.log" 2>&1 &
  started+=($!)
  for _ in $(seq 60); do
    docker info >/dev/null 2>&1 && return
    kill -0 "${started[-1]}" 2>/dev/null || break
    sleep 0.5
  done
  skip "dockerd does not start: $(tail -n 1 "$work/dockerd.log" | cut -c 1-300)"
}

docker info >/dev/null 2>&1 || start_engine

if ! docker image inspect "$base" >/dev/null 2>&1 && ! timeout 120 docker pull --quiet "$base" 2>/dev/null; then
  # The same Debian and the same Python, by Debian's own packages.
  command -v mmdebstrap >/dev/null || install mmdebstrap
  echo "No registry gives $base: making one of Debian's packages"
  mmdebstrap --quiet --variant=minbase --include=python3,python3-pip,python3-venv,ca-certificates bookworm - |
    docker import - python:from-debian >/dev/null
  printf 'FROM python:from-debian\nRUN rm -f /usr/lib/python3*/EXTERNALLY-MANAGED && ln -s python3 /usr/bin/python\n' |
    DOCKER_BUILDKIT=1 docker build --quiet --tag "$base" - >/dev/null
fi

command -v docker-registry >/dev/null || install docker-registry
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >"$work/registry.yml" <<EOF
version: 0.1
storage: {filesystem: {rootdirectory: $work/registry}, delete: {enabled: true}}
http: {addr: 127.0.0.1:$port}
EOF
docker-registry serve "$work/registry.yml" >"$work/registry.log" 2>&1 &
started+=($!)

export KFP_LIFECYCLE_TEST_REGISTRY="127.0.0.1:$port/team"
# Containers see host folders under their own paths: not pytest's, which only root may enter.
export TMPDIR="$work/tmp"
mkdir -m 1777 "$TMPDIR"
chmod 755 "$work"
if (($#)); then "$@"; else .venv/bin/python -m pytest -q tests/containers; fi
