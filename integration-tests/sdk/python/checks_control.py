# SPDX-License-Identifier: Apache-2.0
"""Checks of ending a workflow from outside, and of describing one."""

import json

from temporalio.client import WorkflowExecutionStatus as Status
from temporalio.service import RPCError, RPCStatusCode

from features import Ctx, check, equal, eventually, kinds, only, raised, true

WAIT = {"op": "wait", "n": 1}


@check
async def workflow_cancel(ctx: Ctx) -> None:
    """The workflow sees the request, cleans up with an activity, and ends as cancelled."""
    handle = await ctx.start([{"op": "untilCancel"}])
    await handle.query("state")
    await handle.cancel()
    equal("kind", (await ctx.failure(handle))["kind"], "canceled")
    equal("status", (await handle.describe()).status, Status.CANCELED)
    events = await ctx.events(handle)
    names = kinds(events)
    only(events, "WorkflowExecutionCancelRequested")
    only(events, "ActivityTaskCompleted")
    equal("last event", names[-1], "WorkflowExecutionCanceled")
    equal("after the end", (await handle.query("state"))["results"], ["cleaned up"])


@check
async def workflow_cancel_caught(ctx: Ctx) -> None:
    """A workflow may take note of the request and complete nevertheless."""
    handle = await ctx.start([{"op": "timer", "ms": 600_000, "catch": True}])
    await handle.query("state")
    await handle.cancel()
    [got] = (await handle.result())["results"]
    equal("kind", got["kind"], "canceled")
    events = await ctx.events(handle)
    only(events, "TimerCanceled")
    only(events, "WorkflowExecutionCompleted")


@check
async def cancel_closed(ctx: Ctx) -> None:
    handle = await ctx.start([])
    await handle.result()
    await handle.cancel()
    equal("still", (await handle.describe()).status, Status.COMPLETED)
    err = await raised(RPCError, ctx.handle("-missing").cancel())
    equal("status of a missing one", err.status, RPCStatusCode.NOT_FOUND)


@check
async def terminate(ctx: Ctx) -> None:
    handle = await ctx.start([WAIT])
    await handle.terminate({"why": "test"}, reason="enough")
    got = await ctx.failure(handle)
    equal("failure", got["kind"], "terminated")
    equal("status", (await handle.describe()).status, Status.TERMINATED)
    event = only(await ctx.events(handle), "WorkflowExecutionTerminated")
    equal("reason", event.reason, "enough")
    equal("details", json.loads(event.details.payloads[0].data), {"why": "test"})
    err = await raised(RPCError, handle.terminate())
    equal("status of a second", err.status, RPCStatusCode.NOT_FOUND)


@check
async def describe_workflow(ctx: Ctx) -> None:
    handle = await ctx.start([WAIT])
    now = await handle.describe()
    equal("status", now.status, Status.RUNNING)
    equal("type", now.workflow_type, "Script")
    equal("task queue", now.task_queue, ctx.queue)
    equal("run", now.run_id, handle.result_run_id)
    true("no close time", now.close_time is None)
    await handle.signal("note", 0)
    await handle.result()
    now = await handle.describe()
    equal("status", now.status, Status.COMPLETED)
    equal("history length", now.history_length, len(await ctx.events(handle)))
    true("closed after it started", now.close_time and now.close_time >= now.start_time)
    err = await raised(RPCError, ctx.handle("-missing").describe())
    equal("status of a missing one", err.status, RPCStatusCode.NOT_FOUND)


@check
async def result_long_poll(ctx: Ctx) -> None:
    """Somebody waiting for the result gets it when it is there, across runs of a chain."""
    import asyncio

    chain = [{"op": "wait", "n": 1}, {"op": "continue", "steps": [{"op": "wait", "n": 1}]}]
    handle = await ctx.start(chain)
    waiting = asyncio.create_task(handle.result())
    first = handle.first_execution_run_id
    await handle.signal("note", "go on")

    async def renewed() -> bool:
        return (await ctx.handle().describe()).run_id != first

    await eventually(renewed)
    true("still waiting", not waiting.done())
    await handle.signal("note", "done")
    equal("notes", (await waiting)["notes"], ["done"])
