#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs cmocka test binaries in parallel and prints one summary.

A line per binary; the whole output of those that failed. The last line is
`N passed, N failed`. A test that began and did not end in "OK" counts as failed, so a crash, a
timeout and a sanitizer report all do.
"""

import argparse
import concurrent.futures
import os
import re
import subprocess
import sys
import time

TIMEOUT_S = 300
MARK = re.compile(r"\[ *(RUN|OK|SKIPPED) +\] (\S.*)")


def count_marks(output):
    """How many tests began, went well, were skipped. The summary at the end names the skipped ones
    again: only the mark that ends a test counts."""
    count = {"RUN": 0, "OK": 0, "SKIPPED": 0}
    running = None
    for mark, name in MARK.findall(output):
        if mark == "RUN":
            running = name
        elif running is None:
            continue
        else:
            running = None
        count[mark] += 1
    return count


def run(binary):
    env = dict(os.environ, CMOCKA_MESSAGE_OUTPUT="stdout")
    env.setdefault("ASAN_OPTIONS", "detect_stack_use_after_return=1")
    env.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
    suppressions = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tsan.txt")
    env.setdefault("TSAN_OPTIONS",
                   f"halt_on_error=1:second_deadlock_stack=1:suppressions={suppressions}")
    started = time.monotonic()
    try:
        done = subprocess.run([binary], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              stdin=subprocess.DEVNULL, timeout=TIMEOUT_S, env=env, check=False)
        output, status = done.stdout.decode(errors="replace"), done.returncode
    except subprocess.TimeoutExpired as timeout:
        output = (timeout.stdout or b"").decode(errors="replace")
        output += f"\nno end after {TIMEOUT_S} s\n"
        status = -1
    count = count_marks(output)
    failed = count["RUN"] - count["OK"] - count["SKIPPED"]
    if status != 0 and failed <= 0:
        failed = 1
    if status == 0 and count["RUN"] == 0:
        output += "\nthis binary ran no tests\n"
        failed = 1
    return {"name": os.path.basename(binary), "output": output, "status": status,
            "passed": count["OK"], "skipped": count["SKIPPED"], "failed": failed,
            "seconds": time.monotonic() - started}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--verbose", action="store_true", help="show the output of all")
    parser.add_argument("--serial", action="store_true", help="one after the other")
    parser.add_argument("binaries", nargs="*")
    args = parser.parse_args()
    if not args.binaries:
        print("no such unit test")
        return 2
    total = {"passed": 0, "skipped": 0, "failed": 0}
    workers = 1 if args.serial else os.cpu_count() or 2
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        for result in pool.map(run, args.binaries):
            bad = result["failed"] > 0
            if bad or args.verbose:
                print(result["output"].rstrip())
            note = f", {result['skipped']} skipped" if result["skipped"] else ""
            if bad:
                note += f", {result['failed']} failed (exit status {result['status']})"
            print(f"  {'FAIL' if bad else 'ok':7} {result['name']}: {result['passed']} passed"
                  f"{note} ({result['seconds']:.1f} s)", flush=True)
            for key in total:
                total[key] += result[key]
    if total["skipped"]:
        print(f"{total['skipped']} skipped")
    print(f"{total['passed']} passed, {total['failed']} failed")
    return 1 if total["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
