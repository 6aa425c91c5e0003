#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the table of docs/metrics.md from the calls that make metrics.

Usage: metrics_doc.py [--check]   --check: only say whether the table is up to date (status 1: no)
"""

import pathlib
import re
import sys

DOC = pathlib.Path("docs/metrics.md")
BEGIN, END = "<!-- table: made by .ci/metrics_doc.py -->\n", "<!-- end of table -->\n"
CALL = re.compile(r'metrics_(counter|gauge|histogram)\(\s*[^"();]*?"(strait_\w+)",\s*([^,]+),\s*'
                  r'((?:"(?:[^"\\]|\\.)*"\s*)+)')
FORMAT = re.compile(r'"(?:\w+=\\"[^"]*\\",?)+"')
LABEL = re.compile(r'(\w+)=\\"')


def metrics():
    found = {}
    for path in sorted([*pathlib.Path("cluster").rglob("*.c"), *pathlib.Path("replicator").rglob("*.c")]):
        if "tests" in path.parts:
            continue
        text = path.read_text(encoding="utf-8")
        for call in CALL.finditer(text):
            kind, name, labels, help_text = call.groups()
            # Labels are formatted right before the call.
            formats = FORMAT.findall(text[:call.start()]) if labels != "NULL" else []
            names = LABEL.findall(formats[-1]) if formats else []
            words = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', help_text))
            found[name] = (kind, ", ".join(f"`{n}`" for n in dict.fromkeys(names)), words, str(path))
    return found


def table():
    lines = ["| metric | kind | labels | what | made in |", "|---|---|---|---|---|"]
    for name, (kind, labels, words, path) in sorted(metrics().items()):
        lines.append(f"| `{name}` | {kind} | {labels} | {words} | `{path}` |")
    return "\n".join(lines) + "\n"


def main():
    text = DOC.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN, 1)
    tail = rest.split(END, 1)[1]
    wanted = head + BEGIN + table() + END + tail
    if wanted == text:
        return 0
    if sys.argv[1:] == ["--check"]:
        print(f"{DOC}: not up to date: run .ci/metrics_doc.py")
        return 1
    DOC.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
