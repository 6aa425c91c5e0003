#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Scenarios with real processes: see README.md, or run.sh --help. build/strait must exist ($STRAIT
# may name another binary).
set -euo pipefail
python=/usr/bin/python3
[ -x "$python" ] || python=python3
exec env PYTHONDONTWRITEBYTECODE=1 "$python" "$(dirname "${BASH_SOURCE[0]}")/lib/runner.py" "$@"
