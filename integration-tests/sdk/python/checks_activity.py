# SPDX-License-Identifier: Apache-2.0
"""Checks of activities, local activities and asynchronous completion."""

import base64
import json
from datetime import timedelta
from typing import Any

from temporalio.exceptions import ApplicationError

from features import Ctx, check, equal, eventually, kinds, only, true

PAYLOAD = {
    "text": "zażółć 漢字 \U0001f642 \"quoted\" \\ \n\t",
    "int": 2**40,
    "negative": -1,
    "float": 1.5,
    "yes": True,
    "nothing": None,
    "list": [1, [2, {"x": "y"}]],
    "empty": {},
}


def act(name: str, arg: Any = None, catch: bool = False, local: bool = False, **opts: Any) -> dict:
    return {"op": "act", "name": name, "arg": arg, "catch": catch, "local": local, "opts": opts}


async def pending(ctx: Ctx) -> Any:
    """The one pending activity of the check's workflow, or None."""
    found = (await ctx.handle().describe()).raw_description.pending_activities
    return found[0] if found else None


def beat(activity: Any) -> Any:
    details = activity.heartbeat_details.payloads
    return json.loads(details[0].data) if details else None


@check
async def activity_payload(ctx: Ctx) -> None:
    handle = await ctx.start([act("echo", PAYLOAD)])
    equal("result", (await handle.result())["results"], [PAYLOAD])
    events = await ctx.events(handle)
    scheduled = only(events, "ActivityTaskScheduled")
    equal("activity type", scheduled.activity_type.name, "echo")
    payload = scheduled.input.payloads[0]
    equal("encoding", payload.metadata["encoding"], b"json/plain")
    equal("input in history", json.loads(payload.data), PAYLOAD)
    done = only(events, "ActivityTaskCompleted")
    equal("result in history", json.loads(done.result.payloads[0].data), PAYLOAD)
    equal("scheduled event", kinds(events)[done.scheduled_event_id - 1], "ActivityTaskScheduled")
    equal("started event", kinds(events)[done.started_event_id - 1], "ActivityTaskStarted")


@check
async def activity_retry(ctx: Ctx) -> None:
    handle = await ctx.start([act("failUntil", {"attempt": 3})])
    equal("result", (await handle.result())["results"], [{"attempt": 3}])
    started = only(await ctx.events(handle), "ActivityTaskStarted")
    equal("attempt", started.attempt, 3)
    equal("last failure", started.last_failure.message, "attempt 2 fails")


@check
async def activity_retries_exhausted(ctx: Ctx) -> None:
    [got] = await ctx.run(act("failUntil", {"attempt": 99}, catch=True, max=2))
    equal("kind", (got["kind"], got["retry"]), ("activity", "MaximumAttemptsReached"))
    cause = got["cause"]
    equal("cause", (cause["kind"], cause["type"]), ("application", "Flaky"))
    equal("message", cause["message"], "attempt 2 fails")


@check
async def activity_nonretryable(ctx: Ctx) -> None:
    failing = {"type": "Fatal", "message": "never", "details": [1, "two"], "nonRetryable": True}
    [got] = await ctx.run(act("fail", failing, catch=True))
    equal("kind", (got["kind"], got["retry"]), ("activity", "NonRetryableFailure"))
    equal("activity", got["activity"], "fail")
    equal("cause", got["cause"], {"kind": "application", **failing})


@check
async def activity_nonretryable_type(ctx: Ctx) -> None:
    failing = {"type": "Typed", "message": "by type", "details": []}
    handle = await ctx.start([act("fail", failing, catch=True, nonRetryable=["Typed"])])
    [got] = (await handle.result())["results"]
    equal("kind", (got["kind"], got["retry"]), ("activity", "NonRetryableFailure"))
    equal("cause", (got["cause"]["type"], got["cause"]["message"]), ("Typed", "by type"))
    equal("attempt", only(await ctx.events(handle), "ActivityTaskStarted").attempt, 1)


@check
async def activity_heartbeat_resume(ctx: Ctx) -> None:
    [got] = await ctx.run(act("resume", {"steps": 3}, hb=5000))
    equal("result", got, {"resumed": 3, "attempt": 2})


async def timed_out(ctx: Ctx, step: dict) -> dict:
    [got] = await ctx.run({**step, "catch": True})
    equal("kind", (got["kind"], got["cause"]["kind"]), ("activity", "timeout"))
    return got


@check
async def activity_timeout_start_to_close(ctx: Ctx) -> None:
    got = await timed_out(ctx, act("nap", {"ms": 3000}, stc=300, max=1))
    equal("timeout", got["cause"]["timeout"], "StartToClose")
    equal("retry", got["retry"], "MaximumAttemptsReached")


@check
async def activity_timeout_heartbeat(ctx: Ctx) -> None:
    got = await timed_out(ctx, act("nap", {"ms": 3000, "beats": 1}, hb=500, max=1))
    equal("timeout", got["cause"]["timeout"], "Heartbeat")
    equal("details", got["cause"]["details"], [{"beat": 1}])


@check
async def activity_timeout_schedule_to_start(ctx: Ctx) -> None:
    got = await timed_out(ctx, act("echo", 1, sts=300, queue=ctx.nobody))
    equal("timeout", got["cause"]["timeout"], "ScheduleToStart")


@check
async def activity_timeout_schedule_to_close(ctx: Ctx) -> None:
    """No retry that would begin after the deadline: it ends at once, with the last failure."""
    failing = act("failUntil", {"attempt": 9}, catch=True, s2c=2000, backoff=60_000)
    [got] = await ctx.run(failing)
    equal("kind", (got["kind"], got["retry"]), ("activity", "Timeout"))
    equal("cause", got["cause"]["message"], "attempt 1 fails")
    got = await timed_out_tail(ctx)
    equal("timeout", got["cause"]["timeout"], "ScheduleToClose")


async def timed_out_tail(ctx: Ctx) -> dict:
    [got] = await ctx.run(act("nap", {"ms": 3000}, catch=True, s2c=300), tail="-nap")
    equal("kind", (got["kind"], got["cause"]["kind"]), ("activity", "timeout"))
    return got


@check
async def activity_cancel(ctx: Ctx) -> None:
    step = {**act("nap", {"ms": 60_000, "beats": -1}, stc=90_000, hb=5000), "op": "actCancel"}
    handle = await ctx.start([{**step, "catch": True}])

    async def beating() -> bool:
        activity = await pending(ctx)
        return activity is not None and beat(activity) is not None

    await eventually(beating)
    await handle.signal("note", "go")
    [got] = (await handle.result())["results"]
    equal("kind", (got["kind"], got["cause"]["kind"]), ("activity", "canceled"))
    events = await ctx.events(handle)
    asked = only(events, "ActivityTaskCancelRequested")
    ended = only(events, "ActivityTaskCanceled")
    equal("scheduled event", asked.scheduled_event_id, ended.scheduled_event_id)
    true("the activity had started", "ActivityTaskStarted" in kinds(events))


@check
async def activity_cancel_unstarted(ctx: Ctx) -> None:
    step = {**act("echo", 1, queue=ctx.nobody), "op": "actCancel", "catch": True}
    handle = await ctx.start([step])
    await eventually(lambda: pending(ctx))
    await handle.signal("note", "go")
    [got] = (await handle.result())["results"]
    equal("kind", (got["kind"], got["cause"]["kind"]), ("activity", "canceled"))
    events = await ctx.events(handle)
    only(events, "ActivityTaskCanceled")
    true("the activity never started", "ActivityTaskStarted" not in kinds(events))


async def waiting_token(ctx: Ctx) -> dict:
    """What the `later` activity told about itself, once the server knows it."""

    async def probe() -> Any:
        activity = await pending(ctx)
        return activity and beat(activity)

    return await eventually(probe)


@check
async def async_complete_token(ctx: Ctx) -> None:
    handle = await ctx.start([act("later", hb=30_000)])
    token = base64.b64decode((await waiting_token(ctx))["token"])
    remote = ctx.client.get_async_activity_handle(task_token=token)
    await remote.heartbeat({"from": "outside"})
    equal("details", beat(await pending(ctx)), {"from": "outside"})
    await remote.complete({"by": "token"})
    equal("result", (await handle.result())["results"], [{"by": "token"}])


@check
async def async_complete_id(ctx: Ctx) -> None:
    handle = await ctx.start([act("later", hb=30_000)])
    told = await waiting_token(ctx)
    remote = ctx.client.get_async_activity_handle(
        workflow_id=handle.id, run_id=None, activity_id=told["activityId"]
    )
    await remote.heartbeat({"from": "id"})
    equal("details", beat(await pending(ctx)), {"from": "id"})
    await remote.complete({"by": "id"})
    equal("result", (await handle.result())["results"], [{"by": "id"}])


@check
async def async_fail_id(ctx: Ctx) -> None:
    handle = await ctx.start([act("later", catch=True)])
    told = await waiting_token(ctx)
    remote = ctx.client.get_async_activity_handle(
        workflow_id=handle.id, run_id=handle.result_run_id, activity_id=told["activityId"]
    )
    await remote.fail(ApplicationError("from outside", type="Remote", non_retryable=True))
    [got] = (await handle.result())["results"]
    equal("kind", (got["kind"], got["retry"]), ("activity", "NonRetryableFailure"))
    equal("cause", (got["cause"]["type"], got["cause"]["message"]), ("Remote", "from outside"))


@check
async def local_activity(ctx: Ctx) -> None:
    handle = await ctx.start([act("echo", PAYLOAD, local=True)])
    equal("result", (await handle.result())["results"], [PAYLOAD])
    events = await ctx.events(handle)
    only(events, "MarkerRecorded")
    true("nothing was scheduled", "ActivityTaskScheduled" not in kinds(events))


@check
async def local_activity_retry(ctx: Ctx) -> None:
    handle = await ctx.start([act("failUntil", {"attempt": 3}, local=True)])
    equal("result", (await handle.result())["results"], [{"attempt": 3}])
    only(await ctx.events(handle), "MarkerRecorded")


@check
async def local_activity_long(ctx: Ctx) -> None:
    """Longer than the workflow task's timeout: the worker keeps the task alive."""
    step = act("nap", {"ms": 5000}, local=True)
    handle = await ctx.start([step], task_timeout=timedelta(seconds=2))
    equal("result", (await handle.result())["results"], [{"slept": 5000}])
    names = kinds(await ctx.events(handle))
    true("no workflow task timed out", "WorkflowTaskTimedOut" not in names)
    true("several workflow tasks", names.count("WorkflowTaskCompleted") >= 2)


@check
async def large_payload(ctx: Ctx) -> None:
    text = "".join(chr(ord("a") + i * 7 % 26) for i in range(1_000_000))
    handle = await ctx.start([act("echo", text)])
    [got] = (await handle.result())["results"]
    true("1 MB comes back unchanged", got == text)


@check
async def describe_pending_activity(ctx: Ctx) -> None:
    from temporalio.api.enums.v1 import PendingActivityState as State

    step = act("failUntil", {"attempt": 9}, backoff=60_000, max=7)
    handle = await ctx.start([step])

    async def failed() -> Any:
        activity = await pending(ctx)
        return activity if activity and activity.attempt == 2 else None

    got = await eventually(failed)
    equal("state", got.state, State.PENDING_ACTIVITY_STATE_SCHEDULED)
    equal("type", got.activity_type.name, "failUntil")
    equal("maximum attempts", got.maximum_attempts, 7)
    equal("last failure", got.last_failure.message, "attempt 1 fails")
    wait = got.next_attempt_schedule_time.ToDatetime() - got.last_attempt_complete_time.ToDatetime()
    true(f"next attempt in a minute, not {wait}", 59 < wait.total_seconds() < 61)
    await handle.terminate("checked")

    step = act("nap", {"ms": 60_000, "beats": -1}, stc=90_000, hb=5000)
    handle = await ctx.start([step], id_reuse_policy=1)

    async def beating() -> Any:
        activity = await pending(ctx)
        return activity if activity and beat(activity) else None

    got = await eventually(beating)
    equal("state", got.state, State.PENDING_ACTIVITY_STATE_STARTED)
    equal("attempt", got.attempt, 1)
    true("heartbeat details", beat(got)["beat"] >= 1)
    true("heartbeat time", got.last_heartbeat_time.seconds > 0)
    await handle.terminate("checked")
