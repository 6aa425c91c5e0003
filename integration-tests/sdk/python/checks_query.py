# SPDX-License-Identifier: Apache-2.0
"""Checks of signals, queries and visibility."""

import json
from typing import Any

from temporalio.client import WorkflowExecutionStatus as Status
from temporalio.client import WorkflowQueryFailedError, WorkflowQueryRejectedError
from temporalio.common import QueryRejectCondition
from temporalio.service import RPCError, RPCStatusCode

from checks_activity import act
from features import Ctx, check, equal, eventually, kinds, only, raised, true

WAIT = {"op": "wait", "n": 1}


@check
async def signals(ctx: Ctx) -> None:
    values: list[Any] = [*range(19), {"last": "ü"}]
    handle = await ctx.start([{"op": "wait", "n": len(values)}])
    for value in values:
        await handle.signal("note", value)
    equal("notes", (await handle.result())["notes"], values)
    events = await ctx.events(handle)
    signaled = [
        event.workflow_execution_signaled_event_attributes
        for event, kind in zip(events, kinds(events))
        if kind == "WorkflowExecutionSignaled"
    ]
    equal("in history", [json.loads(s.input.payloads[0].data) for s in signaled], values)
    equal("names", {s.signal_name for s in signaled}, {"note"})


@check
async def signal_buffered(ctx: Ctx) -> None:
    """Signals that arrive while a workflow task is in progress are kept, in order."""
    handle = await ctx.start([WAIT, act("nap", {"ms": 1500}, local=True), {"op": "wait", "n": 11}])
    for value in range(11):
        await handle.signal("note", value)
    equal("notes", (await handle.result())["notes"], list(range(11)))


@check
async def signal_with_start(ctx: Ctx) -> None:
    steps = [{"op": "wait", "n": 2}]
    first = await ctx.start(steps, start_signal="note", start_signal_args=["one"])
    second = await ctx.start(steps, start_signal="note", start_signal_args=["two"])
    equal("run", second.result_run_id, first.result_run_id)
    equal("notes", (await first.result())["notes"], ["one", "two"])
    names = kinds(await ctx.events(first))
    equal("start of history", names[:2], ["WorkflowExecutionStarted", "WorkflowExecutionSignaled"])
    third = await ctx.start([WAIT], start_signal="note", start_signal_args=["three"])
    true("a closed run makes way for a new one", third.result_run_id != first.result_run_id)
    equal("notes", (await third.result())["notes"], ["three"])


@check
async def signal_closed(ctx: Ctx) -> None:
    handle = await ctx.start([])
    await handle.result()
    err = await raised(RPCError, handle.signal("note", 1))
    equal("status of a closed one", err.status, RPCStatusCode.NOT_FOUND)
    err = await raised(RPCError, ctx.handle("-missing").signal("note", 1))
    equal("status of a missing one", err.status, RPCStatusCode.NOT_FOUND)


@check
async def query_running(ctx: Ctx) -> None:
    handle = await ctx.start([act("echo", {"a": 1}), {"op": "wait", "n": 2}])
    await handle.signal("note", "x")

    async def arrived() -> bool:
        return (await handle.query("state")) == {"notes": ["x"], "results": [{"a": 1}]}

    await eventually(arrived)
    equal("query with an argument", await handle.query("pick", 0), {"a": 1})
    before = len(await ctx.events(handle))
    await handle.query("state")
    equal("number of events", len(await ctx.events(handle)), before)
    await handle.signal("note", "y")
    await handle.result()


@check
async def query_during_task(ctx: Ctx) -> None:
    """A query sees what was acknowledged before it, also when a workflow task is in progress."""
    handle = await ctx.start([WAIT, act("nap", {"ms": 1500}, local=True), {"op": "wait", "n": 3}])
    await handle.signal("note", 1)
    equal("first", (await handle.query("state"))["notes"], [1])
    await handle.signal("note", 2)
    equal("second", (await handle.query("state"))["notes"], [1, 2])
    await handle.signal("note", 3)
    equal("notes", (await handle.result())["notes"], [1, 2, 3])
    equal("afterwards", (await handle.query("state"))["notes"], [1, 2, 3])


@check
async def query_closed(ctx: Ctx) -> None:
    handle = await ctx.start([act("echo", 7)])
    await handle.result()
    equal("cached", await handle.query("state"), {"notes": [], "results": [7]})
    other = await ctx.start([act("echo", 8)], tail="-replay", task_queue=ctx.nocache)
    await other.result()
    equal("replayed", await other.query("state"), {"notes": [], "results": [8]})
    equal("result", await other.query("pick", 0), 8)


@check
async def query_failing(ctx: Ctx) -> None:
    handle = await ctx.start([WAIT])
    err = await raised(WorkflowQueryFailedError, handle.query("explode"))
    true(f"the handler's message, not {err}", "query exploded" in str(err))
    err = await raised(WorkflowQueryFailedError, handle.query("nothing-like-that"))
    true(f"names the query type: {err}", "nothing-like-that" in str(err))
    err = await raised(RPCError, ctx.handle("-missing").query("state"))
    equal("status of a missing one", err.status, RPCStatusCode.NOT_FOUND)
    await handle.signal("note", "unharmed")
    equal("notes", (await handle.result())["notes"], ["unharmed"])


@check
async def query_rejected(ctx: Ctx) -> None:
    handle = await ctx.start([])
    await handle.result()
    condition = QueryRejectCondition.NOT_OPEN
    call = handle.query("state", reject_condition=condition)
    err = await raised(WorkflowQueryRejectedError, call)
    equal("status", err.status, Status.COMPLETED)
    failed = await ctx.start([{"op": "fail", "type": "X", "message": "x"}], tail="-failed")
    await ctx.failure(failed)
    condition = QueryRejectCondition.NOT_COMPLETED_CLEANLY
    call = failed.query("state", reject_condition=condition)
    equal("status", (await raised(WorkflowQueryRejectedError, call)).status, Status.FAILED)
    equal("clean", (await handle.query("state", reject_condition=condition))["notes"], [])


async def listed(ctx: Ctx, query: str, want: int) -> list[Any]:
    """The list once it is as long as wanted: visibility may be late."""

    async def probe() -> Any:
        found = [w async for w in ctx.client.list_workflows(query, page_size=2)]
        return (found,) if len(found) == want else None

    return (await eventually(probe))[0]


async def counted(ctx: Ctx, query: str, want: int) -> None:
    async def probe() -> bool:
        return (await ctx.client.count_workflows(query)).count == want

    await eventually(probe)


@check
async def list_count(ctx: Ctx) -> None:
    mine = f"WorkflowId STARTS_WITH '{ctx.prefix}-'"
    open_ones = [await ctx.start([WAIT], tail=f"-open{i}") for i in range(3)]
    for i in range(2):
        await (await ctx.start([], tail=f"-done{i}")).result()
    found = await listed(ctx, mine, 5)
    tails = ["done0", "done1", "open0", "open1", "open2"]
    equal("ids", sorted(w.id for w in found), [f"{ctx.prefix}-{tail}" for tail in tails])
    found = await listed(ctx, f"{mine} AND ExecutionStatus='Running'", 3)
    equal("runs", {w.run_id for w in found}, {h.result_run_id for h in open_ones})
    true("open ones have no close time", all(w.close_time is None for w in found))
    await counted(ctx, f"{mine} AND ExecutionStatus='Completed'", 2)
    await counted(ctx, f"{mine} AND ExecutionStatus='Failed'", 0)
    await counted(ctx, f"WorkflowId='{ctx.prefix}-open1'", 1)
    for handle in open_ones:
        await handle.signal("note", 0)
        await handle.result()
    await counted(ctx, f"{mine} AND ExecutionStatus='Running'", 0)
    await counted(ctx, f"{mine} AND ExecutionStatus='Completed'", 5)


@check
async def search_type_status(ctx: Ctx) -> None:
    for i in range(2):
        handle = await ctx.client.start_workflow(
            "Short", {"n": i, "timerMs": 1}, id=f"{ctx.prefix}-{i}", task_queue=ctx.queue
        )
        equal("result", await handle.result(), {"n": i, "square": i * i, "timerMs": 1})
    await (await ctx.start([], tail="-other-type")).result()
    query = "WorkflowType='Short' AND ExecutionStatus='Completed'"

    async def mine() -> Any:
        found = [w async for w in ctx.client.list_workflows(query)]
        for w in found:
            equal("type and status", (w.workflow_type, w.status), ("Short", Status.COMPLETED))
        found = [w for w in found if w.id.startswith(ctx.prefix)]
        return found if len(found) == 2 else None

    for w in await eventually(mine):
        true("close time after start time", w.close_time and w.close_time >= w.start_time)
        equal("task queue", w.task_queue, ctx.queue)
        true("history length", w.history_length and w.history_length >= 10)


@check
async def search_bad_query(ctx: Ctx) -> None:
    err = await raised(RPCError, ctx.client.count_workflows("Nonsense ==== 'x"))
    equal("status", err.status, RPCStatusCode.INVALID_ARGUMENT)


@check
async def memo(ctx: Ctx) -> None:
    want = {"text": "ä", "nested": {"list": [1, None]}, "number": 5}
    handle = await ctx.start([WAIT], memo=want)
    equal("described", dict(await (await handle.describe()).memo()), want)
    [found] = await listed(ctx, f"WorkflowId='{handle.id}'", 1)
    equal("listed", dict(await found.memo()), want)
    started = only(await ctx.events(handle), "WorkflowExecutionStarted")
    equal("in history", sorted(started.memo.fields), sorted(want))
    await handle.signal("note", 0)
    await handle.result()
