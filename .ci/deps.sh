#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs the Debian 12 packages that are missing; says nothing when none is.
#
# Usage: deps.sh [build|all]   build = compile and run the demo; all (default) = test and lint too
set -euo pipefail

build_packages=(
    gcc libc6-dev pkg-config python3
    libpq-dev libmariadb-dev libsqlite3-dev
    libnats-dev libgrpc-dev libprotobuf-c-dev protobuf-c-compiler
    libmicrohttpd-dev libjansson-dev libcyaml-dev libyaml-dev
    libzstd-dev libxxhash-dev libssl-dev zlib1g-dev
    nats-server
)
test_packages=(
    libcmocka-dev clang-format-14 cppcheck shellcheck binutils
    postgresql mariadb-server python3-venv
)

packages=("${build_packages[@]}")
if [ "${1:-all}" != build ]; then
    packages+=("${test_packages[@]}")
fi

if ! command -v dpkg-query >/dev/null; then
    echo "deps: not a Debian system, so nothing is installed; needed are: ${packages[*]}" >&2
    exit 0
fi

missing=()
for package in "${packages[@]}"; do
    status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "deps: neither root nor sudo: please install ${missing[*]}" >&2
        exit 1
    fi
    as_root=(sudo)
fi

echo "deps: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update --quiet=2
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes \
    --no-install-recommends "${missing[@]}" >/dev/null
