#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Line coverage per source and in total, from the counters of a COVERAGE=1 build.

Usage: coverage.py OBJECT_DIR
"""

import glob
import json
import os
import subprocess
import sys


def main():
    counters = glob.glob(os.path.join(sys.argv[1], "**", "*.gcda"), recursive=True)
    lines = {}
    for start in range(0, len(counters), 50):
        gcov = subprocess.run(["gcov", "--json-format", "--stdout", *counters[start:start + 50]],
                              check=True, capture_output=True, text=True)
        for report in gcov.stdout.splitlines():
            if not report.startswith("{"):
                continue
            for source in json.loads(report)["files"]:
                path = source["file"]
                if path.startswith(("/", "build")) or "/tests/" in path:
                    continue
                seen = lines.setdefault(os.path.normpath(path), {})
                for line in source["lines"]:
                    number = line["line_number"]
                    seen[number] = max(seen.get(number, 0), line["count"])
    total = covered = 0
    for path, seen in sorted(lines.items()):
        hit = sum(1 for count in seen.values() if count)
        total += len(seen)
        covered += hit
        print(f"  {100 * hit / max(len(seen), 1):5.1f} %  {path} ({hit} of {len(seen)})")
    print(f"{100 * covered / max(total, 1):.1f} % of {total} lines")
    return 0 if total else 1


if __name__ == "__main__":
    sys.exit(main())
