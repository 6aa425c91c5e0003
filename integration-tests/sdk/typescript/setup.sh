#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# setup.sh DIR: copies the TypeScript test program into DIR, installs its packages, compiles it,
# bundles the workflows, and makes DIR/sdk start it. Does nothing when DIR is already made from
# these very files. Exit status 77: skipped.
set -euo pipefail

if [ $# -ne 1 ]; then
	echo "usage: setup.sh DIR" >&2
	exit 2
fi
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)

version=$(node --version 2>/dev/null || true) # v20.20.2
if [[ ! $version =~ ^v([0-9]+)\. ]] || ((BASH_REMATCH[1] < 20)); then
	echo "skip: the TypeScript SDK needs node >= 20; found: ${version:-none}"
	exit 77
fi
if ! command -v npm >/dev/null; then
	echo "skip: the TypeScript SDK needs npm"
	exit 77
fi

packages=$( { echo "$version" && cat "$here/package.json" "$here/package-lock.json"; } |
	sha256sum | cut -d' ' -f1)
sources=$( { echo "$packages" && cat "$here/tsconfig.json" "$here"/src/*.ts; } |
	sha256sum | cut -d' ' -f1)

if [ "$(cat "$out/.packages" 2>/dev/null)" != "$packages" ]; then
	rm -f "$out/.packages" "$out/.sources"
	cp "$here/package.json" "$here/package-lock.json" "$out/"
	(cd "$out" && npm ci --no-audit --no-fund --ignore-scripts --loglevel=error)
	echo "$packages" >"$out/.packages"
fi
if [ "$(cat "$out/.sources" 2>/dev/null)" != "$sources" ]; then
	rm -rf "${out:?}/.sources" "${out:?}/src" "${out:?}/lib"
	cp "$here/tsconfig.json" "$out/"
	cp -r "$here/src" "$out/src"
	(cd "$out" && node_modules/.bin/tsc && node lib/bundle.js)
	echo "$sources" >"$out/.sources"
fi

cat >"$out/sdk.tmp" <<END
#!/bin/sh
exec node '$out/lib/main.js' "\$@"
END
chmod +x "$out/sdk.tmp"
mv "$out/sdk.tmp" "$out/sdk"
echo "ready: $out/sdk"
