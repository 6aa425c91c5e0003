#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Every static check; all of them run even when one fails.
#
# Usage: lint.sh [LIBCONFLICT_ARCHIVE]   check
#        lint.sh --format                rewrite the C sources in house style
set -euo pipefail
cd "$(dirname "$0")/.."

mapfile -t sources < <(.ci/tidy.py --list)
style=--style=file:.ci/clang-format
jobs=$(nproc)

if [ "${1:-}" = --format ]; then
    printf '%s\n' "${sources[@]}" | xargs -r -P "$jobs" -n 16 clang-format-14 "$style" -i
    .ci/config_doc.py
    exit 0
fi

failed=()
check() {
    local name=$1
    shift
    printf '  %-7s %s\n' LINT "$name"
    "$@" || failed+=("$name")
}

check_format() {
    printf '%s\n' "${sources[@]}" |
        xargs -r -P "$jobs" -n 16 clang-format-14 "$style" --dry-run --Werror 2>&1 |
        grep -E ': error:' | sed 's/ \[-Wclang-format-violations\]//' | head -40
    # grep finds nothing in a clean tree
    [ "${PIPESTATUS[1]}" -eq 0 ]
}

check_cppcheck() {
    local cache=build/cppcheck c_sources=()
    mkdir -p "$cache"
    for file in "${sources[@]}"; do
        [[ $file != *.c ]] || c_sources+=("$file")
    done
    [ ${#c_sources[@]} -gt 0 ] || return 0
    cppcheck --quiet --error-exitcode=1 --std=c11 --platform=unix64 -j "$jobs" \
        --enable=warning,performance,portability --inline-suppr \
        --suppressions-list=.ci/cppcheck.txt --cppcheck-build-dir="$cache" \
        --template='{file}:{line}: {severity}: {message} [{id}]' \
        -D__has_feature\(x\)=0 -I. "${c_sources[@]}"
}

check_shell() {
    local scripts=()
    mapfile -t scripts < <(find . -name node_modules -prune -o -path './build*' -prune -o \
        -name '*.sh' -print)
    shellcheck .ci/run "${scripts[@]}"
}

check_python() {
    find . -name node_modules -prune -o -path './build*' -prune -o -name '*.py' -print0 |
        PYTHONDONTWRITEBYTECODE=1 xargs -0 -r python3 -c '
import ast, sys
for path in sys.argv[1:]:
    ast.parse(open(path, encoding="utf-8").read(), path)'
}

check tidy .ci/tidy.py ${1:+--pure "$1"}
check format check_format
check documentation .ci/config_doc.py --check
check shellcheck check_shell
check python check_python
check cppcheck check_cppcheck

if [ ${#failed[@]} -gt 0 ]; then
    echo "lint: failed: ${failed[*]}" >&2
    exit 1
fi
