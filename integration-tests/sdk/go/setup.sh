#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# setup.sh DIR: builds the Go test program as DIR/sdk. Go's own build cache makes a second run
# short. Exit status 77: skipped.
set -euo pipefail

if [ $# -ne 1 ]; then
	echo "usage: setup.sh DIR" >&2
	exit 2
fi
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)

version=$(GOTOOLCHAIN=local go env GOVERSION 2>/dev/null || true) # go1.24.3
if [[ ! $version =~ ^go([0-9]+)\.([0-9]+) ]] ||
	((BASH_REMATCH[1] == 1 && BASH_REMATCH[2] < 24)); then
	echo "skip: the Go SDK needs go >= 1.24; found: ${version:-none}"
	exit 77
fi

cd "$here"
GOTOOLCHAIN=local GOFLAGS=-mod=readonly go build -trimpath -buildvcs=false -o "$out/sdk" .
echo "ready: $out/sdk"
