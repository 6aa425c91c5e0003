# SPDX-License-Identifier: Apache-2.0
"""The activities of the test workflows. Each takes one JSON value and returns one."""

import asyncio
import base64
import json
import os
import time
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError

BEAT_SECONDS = 0.1
effects_path: str | None = None  # where `effect` leaves its traces; set by the worker


@activity.defn(name="echo")
async def echo(value: Any) -> Any:
    return value


@activity.defn(name="fail")
async def fail(arg: dict) -> Any:
    """Always fails, as told."""
    raise ApplicationError(
        arg["message"],
        *arg.get("details", []),
        type=arg["type"],
        non_retryable=arg.get("nonRetryable", False),
    )


@activity.defn(name="failUntil")
async def fail_until(arg: dict) -> dict:
    """Fails every attempt before the given one."""
    attempt = activity.info().attempt
    if attempt < arg["attempt"]:
        raise ApplicationError(f"attempt {attempt} fails", type="Flaky")
    return {"attempt": attempt}


@activity.defn(name="resume")
async def resume(arg: dict) -> dict:
    """Attempt 1 heartbeats its progress and fails; attempt 2 continues from the details."""
    info = activity.info()
    if not info.heartbeat_details:
        for step in range(1, arg["steps"] + 1):
            activity.heartbeat({"step": step})
        raise ApplicationError("half way", type="Flaky")
    return {"resumed": info.heartbeat_details[0]["step"], "attempt": info.attempt}


@activity.defn(name="nap")
async def nap(arg: dict) -> dict:
    """Takes `ms`. `beats`: how many heartbeats to send on the way, -1 for all the time."""
    until = time.monotonic() + arg["ms"] / 1000
    beat = 0
    while (left := until - time.monotonic()) > 0:
        if arg.get("beats", 0) < 0 or beat < arg.get("beats", 0):
            beat += 1
            activity.heartbeat({"beat": beat})
            left = min(left, BEAT_SECONDS)
        await asyncio.sleep(left)
    return {"slept": arg["ms"]}


@activity.defn(name="later")
async def later(arg: Any) -> Any:
    """Completed by somebody else; the heartbeat carries the task token out to the test client."""
    info = activity.info()
    token = base64.b64encode(info.task_token).decode()
    activity.heartbeat({"token": token, "activityId": info.activity_id})
    activity.raise_complete_async()


@activity.defn(name="effect")
async def effect(arg: dict) -> int:
    """Leaves one line per execution, in one write, so that executions can be counted."""
    info = activity.info()
    line = {"id": info.workflow_id, "run": info.workflow_run_id, "attempt": info.attempt}
    line["n"] = arg["n"]
    if effects_path:
        fd = os.open(effects_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(fd, (json.dumps(line) + "\n").encode())
        finally:
            os.close(fd)
    return arg["n"] * arg["n"]


ALL = [echo, fail, fail_until, resume, nap, later, effect]
