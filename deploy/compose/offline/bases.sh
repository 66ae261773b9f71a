#!/usr/bin/env bash
# Build the base images of the compose file on a host that cannot reach an image registry, then run:
#   docker compose --env-file deploy/compose/offline.env -f docker-compose.yml -f deploy/compose/offline.yml up --build
#
# This needs root, docker, debootstrap, a Debian mirror, and for OpenSearch Maven and `make setup`.
# DEBIAN_MIRROR names another mirror than debootstrap's default. Images that are there already are not built again.
# The overlay leaves Grafana out, since no Debian, Maven, npm or Go package contains its server.
set -euo pipefail
cd "$(dirname "$0")"

have() { docker image inspect "$1" >/dev/null 2>&1; }

scratch=$(mktemp -d)
trap 'umount "$scratch"/root/proc "$scratch"/root/sys 2>/dev/null || true; rm -rf --one-file-system "$scratch"' EXIT

if ! have slimrank-offline/debian:bookworm; then
  debootstrap --variant=minbase --include=ca-certificates bookworm "$scratch/root" ${DEBIAN_MIRROR:+"$DEBIAN_MIRROR"} >"$scratch/log" \
    || { tail -5 "$scratch/log" >&2; exit 1; }
  rm -rf "$scratch"/root/var/cache/apt/* "$scratch"/root/var/lib/apt/lists/*
  tar -C "$scratch/root" -c . | docker import - slimrank-offline/debian:bookworm
fi

for name in python redis prometheus; do
  have "slimrank-offline/$name" || docker build --quiet --target "$name" -t "slimrank-offline/$name" - <bases.Dockerfile
done

if ! have slimrank-offline/opensearch; then
  # The node that the tests use: their launcher makes its folder and finds a Java for it.
  (cd ../../.. && .venv/bin/python -m tests.stack.engine "$scratch/context")
  cp opensearch.yml log4j2.properties "$scratch/context"
  docker build --quiet --target opensearch -t slimrank-offline/opensearch -f bases.Dockerfile "$scratch/context"
fi
docker image ls 'slimrank-offline/*'
