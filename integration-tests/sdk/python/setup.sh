#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# setup.sh DIR: puts the Python test program into DIR, a virtual environment, and makes DIR/sdk
# start it. Does nothing when DIR is already made from these very files. Exit status 77: skipped.
# PYTHON=... chooses the interpreter.
set -euo pipefail

if [ $# -ne 1 ]; then
	echo "usage: setup.sh DIR" >&2
	exit 2
fi
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)
python=${PYTHON:-/usr/bin/python3}
if [ ! -x "$(command -v "$python")" ]; then
	python=python3
fi

if ! "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
	echo "skip: the Python SDK needs python3 >= 3.10 with its venv module (Debian: python3-venv)"
	exit 77
fi

stamp=$( { "$python" --version && cat "$here/requirements.txt"; } | sha256sum | cut -d' ' -f1)
if [ "$(cat "$out/.stamp" 2>/dev/null)" != "$stamp" ]; then
	rm -f "$out/.stamp"
	"$python" -m venv --clear "$out"
	"$out/bin/python" -m pip install --quiet --only-binary :all: -r "$here/requirements.txt"
	echo "$stamp" >"$out/.stamp"
fi

# The sources stay where they are; bytecode goes to DIR.
cat >"$out/sdk.tmp" <<END
#!/bin/sh
PYTHONPYCACHEPREFIX='$out/pycache' exec '$out/bin/python' '$here/main.py' "\$@"
END
chmod +x "$out/sdk.tmp"
mv "$out/sdk.tmp" "$out/sdk"
echo "ready: $out/sdk"
