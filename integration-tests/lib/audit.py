# SPDX-License-Identifier: Apache-2.0
"""Every scenario ends with a look into the logs of its nodes: no broken invariant, no report of a
sanitizer, no error line that the scenario did not provoke, and no line that is not a log line."""

import re

LINE = re.compile(r"^\d{4}-\d\d-\d\dT[\d:.]+Z (debug|info|warn|error) ([a-z0-9_.-]+)(?: |$)")
ALARMS = re.compile(r"check failed:|Assertion|Sanitizer|runtime error:|SUMMARY:|Segmentation|stack smashing|"
                    r"double free|corrupted (size|unsorted|double)|free\(\): |malloc\(\): ")
# Chatter of libraries that means nothing to us.
NOISE = [re.compile(r"^[IE]\d{4} .*(chttp2|tcp_|ev_epoll|socket|server|handshak|frame_|parsing|hpack)"),
         re.compile(r"^\s*$")]


def lines_of(cluster):
    with open(cluster.process.log, encoding="utf-8", errors="replace") as file:
        return [line.rstrip("\n") for line in file]


def problems(world):
    """One sentence per bad line."""
    found = []
    for cluster in world.clusters.values():
        for number, line in enumerate(lines_of(cluster), 1):
            reason = judge(line, world.expected)
            if reason:
                found.append(f"{cluster.name}.log:{number}: {reason}: {line[:400]}")
    return found


def judge(line, expected):
    if ALARMS.search(line):
        return "alarm"
    if any(re.search(pattern, line) for pattern in expected):
        return None
    match = LINE.match(line)
    if not match:
        return None if any(pattern.search(line) for pattern in NOISE) else "not a log line"
    return "error" if match[1] == "error" else None


def instrumented(world):
    """True for builds whose memory says nothing, because a sanitizer multiplies it."""
    for cluster in world.clusters.values():
        with open(cluster.process.args[0], "rb") as file:
            if b"__asan_init" in file.read() or b"__tsan_init" in file.read():
                return True
    return False
