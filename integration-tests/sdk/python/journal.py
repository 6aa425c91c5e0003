# SPDX-License-Identifier: Apache-2.0
"""Journals: one JSON line per call, written only once its outcome is known."""

import asyncio
import json
import signal
from typing import Any

from temporalio.service import RPCError


class Journal:
    def __init__(self, path: str) -> None:
        self.file = open(path, "a", encoding="utf-8")

    def write(self, line: dict) -> None:
        self.file.write(json.dumps(line) + "\n")
        self.file.flush()


def read(paths: list[str]) -> list[dict]:
    """All lines; a last one that is cut off (its writer was killed) does not count."""
    lines = []
    for path in paths:
        with open(path, encoding="utf-8") as file:
            lines += [json.loads(line) for line in file if line.endswith("\n")]
    return lines


def error_class(err: BaseException) -> str:
    return err.status.name if isinstance(err, RPCError) else type(err).__name__


class Pace:
    """Ticks at the given rate until the time is over or SIGTERM comes."""

    def __init__(self, rate: float, seconds: float | None) -> None:
        self.rate = rate
        self.seconds = seconds
        self.stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop.set)

    async def ticks(self) -> Any:
        loop = asyncio.get_running_loop()
        begin = loop.time()
        end = begin + self.seconds if self.seconds is not None else float("inf")
        number = 0
        while not self.stop.is_set():
            due = begin + number / self.rate
            if due >= end:
                return
            try:
                await asyncio.wait_for(self.stop.wait(), max(0.0, due - loop.time()))
            except asyncio.TimeoutError:
                yield number
                number += 1
