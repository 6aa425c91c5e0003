#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""House rules that no compiler checks: layers, vendor headers, sizes, bans, purity.

Usage: tidy.py [--pure ARCHIVE] [--list]
  --pure ARCHIVE   also check by nm that the conflict archive calls nothing impure
  --list           print the C files that the other lint tools should look at

Prints `file:line: message`; exit status 1 when there are errors. Warnings do not fail.
"""

import argparse
import os
import re
import subprocess
import sys

# ---- what belongs to what -------------------------------------------------------------------

# Includes may only point to a lower rank. `bus` is the transport contract in replicator/bus*,
# low enough for everybody but the pure core; `node` is what lies directly in cluster/.
RANK = {"base": 0, "conflict": 1, "bus": 1, "store": 2, "matching": 3, "visibility": 3,
        "engine": 4, "namespace": 5, "replicator": 6, "failover": 7, "frontend": 8, "rpc": 9,
        "console": 9, "cli": 10, "node": 11, "main": 12}
# Stricter than rank.
ONLY = {"conflict": {"base"}, "bus": {"base"}, "cli": {"base", "rpc"}}

# Each vendor header has one home.
VENDORS = [
    (r"libpq|postgres|pg_config", r"cluster/store/(tests/\w+|store_postgres\w*)\.[ch]"),
    (r"mysql|mariadb", r"cluster/store/(tests/\w+|store_mariadb\w*)\.[ch]"),
    (r"sqlite3", r"cluster/store/(tests/\w+|store_sqlite\w*)\.[ch]"),
    (r"nats", r"replicator/(tests/\w+|bus_nats\w*)\.[ch]"),
    (r"grpc", r"cluster/rpc/(tests/\w+|rpc_\w+)\.[ch]"),
    (r"microhttpd", r"cluster/console/\w+\.[ch]"),
    (r"cyaml|yaml", r"cluster/base/config\w*\.c"),
    # JetStream's own API speaks JSON.
    (r"jansson", r"cluster/(cli|console)/(tests/)?\w+\.[ch]|replicator/bus_nats\w*\.c"),
    (r"xxhash|xxh3", r"cluster/base/hash\.c"),
    (r"cmocka", r".*/tests/\w+\.[ch]"),
]

# (pattern of a call, where it is allowed, why not)
TESTS = r".*/tests/.*|integration-tests/.*"
DRIVERS = (r"cluster/store/store_(postgres|mariadb|sqlite)\w*\.c|replicator/bus_nats\w*\.c|"
           r"cluster/rpc/rpc_\w+\.c")
BANS = [
    (r"strcpy|strcat|sprintf|vsprintf|gets", None, "unbounded: use snprintf, buffer_printf or memcpy"),
    (r"alloca", None, "unbounded stack: use an arena"),
    (r"strtok", None, "keeps hidden state: use strchr or memchr"),
    (r"rand|srand|rand_r|drand48", None, "not repeatable: use env_random"),
    (r"sleep|usleep|nanosleep", TESTS + r"|cluster/cli/.*",
     "steps never sleep: use waker_wait or cond_wait_for"),
    (r"malloc|calloc|realloc|free|strdup|strndup|asprintf|vasprintf|aligned_alloc",
     TESTS + "|cluster/base/.*|" + DRIVERS, "use an arena, or cluster/base/mem.h"),
    (r"pthread_create", r"cluster/base/thread\.c", "use thread_start"),
]

# ---- sizes ----------------------------------------------------------------------------------

C_LINES_WARN, C_LINES_MAX = 500, 1000
H_LINES_MAX = 350
FUNCTION_LINES_WARN, FUNCTION_LINES_MAX = 70, 100
COLUMNS_MAX = {".c": 100, ".h": 100, ".py": 120, ".sh": 120}

# ---- files ----------------------------------------------------------------------------------

SKIPPED = re.compile(r"\.git|build.*|node_modules|__pycache__|\.venv|vendor")
SOURCES = (".c", ".h", ".py", ".sh", ".proto", ".sql", ".go", ".js", ".ts", ".mjs", ".css",
           ".html", ".yaml", ".yml")
# Spelled in pieces, so that this file passes its own check.
FOREIGN = re.compile("|".join(["\\.\\./" + "shared\\b", "/" + "work/", "/tmp/" + "ref\\b"]))
UNOWNED = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|X" + r"XX)\b(?!.*#\d)(?!.*\bissue \d)")


class Report:
    def __init__(self):
        self.errors = 0
        self.warnings = 0

    def error(self, path, line, message):
        self.errors += 1
        print(f"{path}:{line}: {message}")

    def warn(self, path, line, message):
        self.warnings += 1
        print(f"{path}:{line}: warning: {message}")


def files():
    found = []
    for folder, folders, names in os.walk("."):
        folders[:] = sorted(f for f in folders if not SKIPPED.fullmatch(f))
        found += [os.path.relpath(os.path.join(folder, name)) for name in sorted(names)]
    return found


def read(path):
    """The text, or None for what is not text."""
    if os.path.islink(path) or not os.path.isfile(path):
        return None
    with open(path, "rb") as file:
        data = file.read()
    if b"\0" in data:
        return None
    return data.decode("utf-8", errors="replace")


def without_comments(text):
    """C code with comments and literals blanked out, line numbers kept."""
    pattern = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
    return pattern.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)


# ---- checks ---------------------------------------------------------------------------------


def layer_of(path):
    """The layer of a source or of an included header; None when outside the product."""
    if path.startswith("conflict/"):
        return "conflict"
    if path.startswith("replicator/"):
        return "bus" if re.match(r"replicator/bus", path) else "replicator"
    match = re.match(r"cluster/(\w+)/", path)
    if match and match[1] != "tests":
        return match[1]
    if path.startswith("cluster/"):
        return "main" if path == "cluster/main.c" else "node"
    return None


def check_include(report, path, number, target):
    name = re.sub(r".*/", "", target) if "/" in target and target.startswith("cluster") else target
    for vendor, home in VENDORS:
        if re.match(r"(" + vendor + r")[\w./-]*\.h$", name) and not os.path.exists(target):
            if not re.fullmatch(home, path):
                report.error(path, number, f"<{target}> has its home in {home}")
    here, there = layer_of(path), layer_of(target)
    if target.startswith("proto/") and here in ("conflict", "base") and "/tests/" not in path:
        report.error(path, number, f"{here} does not know messages: {target}")
    if target == "schema.h" and here != "store":
        report.error(path, number, "the embedded schema is the store's business")
    if here is None or there is None or here == there or "/tests/" in target:
        return
    for layer in (here, there):
        if layer not in RANK:
            report.error(path, number, f"tidy.py knows no layer named {layer}")
            return
    # Tests may also use the neighbours on their own level.
    higher = RANK[there] > RANK[here] if "/tests/" in path else RANK[there] >= RANK[here]
    strict = ONLY.get(here) if "/tests/" not in path else None
    if higher or (strict is not None and there not in strict):
        report.error(path, number, f"{here} must not include {there}: {target}")


def check_c(report, path, text):
    code = without_comments(text)
    lines = code.split("\n")
    for number, (line, raw) in enumerate(zip(lines, text.split("\n")), 1):
        include = re.match(r'\s*#\s*include\s*[<"]([^>"]+)[>"]', raw)
        if include:
            check_include(report, path, number, include[1])
        for pattern, allowed, why in BANS:
            if re.search(r"(?<![\w.>])(" + pattern + r")\s*\(", line):
                if allowed is None or not re.fullmatch(allowed, path):
                    report.error(path, number, f"banned: {line.strip()}: {why}")
    count = text.count("\n")
    if path.endswith(".h"):
        guard = re.sub(r"[^A-Za-z0-9]", "_", path).upper()
        if not re.search(rf"^#ifndef {guard}\n#define {guard}$", text, re.M):
            report.error(path, 1, f"include guard is not {guard}")
        if count > H_LINES_MAX:
            report.error(path, count, f"{count} lines: a header has at most {H_LINES_MAX}")
    elif count > C_LINES_MAX:
        report.error(path, count, f"{count} lines: a source has at most {C_LINES_MAX}")
    elif count > C_LINES_WARN:
        report.warn(path, count, f"{count} lines: better below {C_LINES_WARN}")
    check_functions(report, path, lines)


def check_functions(report, path, lines):
    start = 0
    for number, line in enumerate(lines, 1):
        if line.rstrip() == "{":
            start = number
        elif line.startswith("}") and start:
            length = number - start + 1
            if length > FUNCTION_LINES_MAX:
                report.error(path, start, f"function of {length} lines: hard limit "
                             f"{FUNCTION_LINES_MAX}")
            elif length > FUNCTION_LINES_WARN:
                report.warn(path, start, f"function of {length} lines: better below "
                            f"{FUNCTION_LINES_WARN}")
            start = 0


def check_text(report, path, text):
    lines = text.split("\n")
    source = path.endswith(SOURCES) or os.path.basename(path) == "Makefile" or text[:2] == "#!"
    if source and not any("SPDX-License-Identifier: Apache-2.0" in line for line in lines[:2]):
        report.error(path, 1, "no SPDX line at the top")
    columns_max = COLUMNS_MAX.get(os.path.splitext(path)[1], sys.maxsize)
    for number, line in enumerate(lines, 1):
        if len(line) > columns_max:
            report.error(path, number, f"{len(line)} columns: at most {columns_max}")
        if FOREIGN.search(line):
            report.error(path, number, "names a folder outside the repository")
        if source and UNOWNED.search(line):
            report.error(path, number, "a to-do names its issue: (#12)")
        if source and line != line.rstrip():
            report.error(path, number, "white space at the end of the line")
    if source and text and not text.endswith("\n"):
        report.error(path, len(lines), "no newline at the end")


def check_readmes(report):
    for name in sorted(os.listdir(".")):
        if os.path.isdir(name) and name[0] != "." and not SKIPPED.fullmatch(name):
            if not os.path.isfile(os.path.join(name, "README.md")):
                report.error(name, 1, "no README.md")


PURE = re.compile(r"mem(cpy|move|set|cmp|chr)(_chk)?|__mem(cpy|move|set)_chk|arena_\w+|bytes_\w+|"
                  r"check_fail|__stack_chk_fail|_GLOBAL_OFFSET_TABLE_|bcmp")
# What sanitizer and coverage builds add.
INSTRUMENTED = re.compile(r"__(a|ub|t)san_\w+|__gcov_\w+|__sanitizer_\w+")


def check_purity(report, archive):
    # An archive member may use what another member defines.
    undefined, defined = {}, set()
    listing = subprocess.run(["nm", archive], check=True, capture_output=True, text=True).stdout
    member = archive
    for line in listing.splitlines():
        if line.endswith(":"):
            member = line[:-1]
        fields = line.split()
        if len(fields) == 2 and fields[0] in "Uwv":
            undefined.setdefault(fields[1], member)
        elif len(fields) == 3:
            defined.add(fields[2])
            if fields[1] in "bBdDC" and not re.match(r"\.|__", fields[2]):
                report.error(member, 1, f"writable global in the pure core: {fields[2]}")
    for symbol, user in sorted(undefined.items()):
        if symbol not in defined and not PURE.fullmatch(symbol) and \
                not INSTRUMENTED.fullmatch(symbol):
            report.error(user, 1, f"the pure core calls {symbol}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pure", metavar="ARCHIVE")
    parser.add_argument("--list", action="store_true")
    args = parser.parse_args()
    paths = files()
    if args.list:
        print("\n".join(p for p in paths if p.endswith((".c", ".h"))))
        return 0
    report = Report()
    for path in paths:
        text = read(path)
        if text is None:
            continue
        check_text(report, path, text)
        if path.endswith((".c", ".h")):
            check_c(report, path, text)
    check_readmes(report)
    if args.pure:
        check_purity(report, args.pure)
    if report.errors or report.warnings:
        print(f"tidy: {report.errors} errors, {report.warnings} warnings")
    return 1 if report.errors else 0


if __name__ == "__main__":
    sys.exit(main())
