#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The benchmark of the whole system: see docs/benchmarks.md, or run.sh --help. build/strait and
# build/tests/bench_* must exist ($STRAIT may name another binary, with its tests/ beside it).
set -euo pipefail
python=/usr/bin/python3
[ -x "$python" ] || python=python3
exec env PYTHONDONTWRITEBYTECODE=1 "$python" "$(dirname "${BASH_SOURCE[0]}")/bench.py" "$@"
