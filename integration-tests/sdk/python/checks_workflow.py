# SPDX-License-Identifier: Apache-2.0
"""Checks of what a workflow can do: timers, children, chains, versions, long histories."""

import json
from datetime import timedelta
from typing import Any

from temporalio.api.enums.v1 import RetryState
from temporalio.client import WorkflowExecutionStatus as Status
from temporalio.common import RetryPolicy

from checks_activity import act
from features import Ctx, check, equal, eventually, kinds, only, true

RETRY = RetryPolicy(
    initial_interval=timedelta(milliseconds=100), backoff_coefficient=1.0, maximum_attempts=3
)


async def status(ctx: Ctx, tail: str = "", run_id: str | None = None) -> str:
    return (await ctx.handle(tail, run_id).describe()).status.name


def at(events: list[Any], kind: str) -> float:
    [event] = [event for event, name in zip(events, kinds(events)) if name == kind]
    return event.event_time.ToNanoseconds() / 1e9


@check
async def timer(ctx: Ctx) -> None:
    handle = await ctx.start([{"op": "timer", "ms": 700}])
    equal("result", (await handle.result())["results"], [{"fired": 700}])
    events = await ctx.events(handle)
    started = only(events, "TimerStarted")
    equal("duration", started.start_to_fire_timeout.ToMilliseconds(), 700)
    equal("timer", only(events, "TimerFired").timer_id, started.timer_id)
    took = at(events, "TimerFired") - at(events, "TimerStarted")
    true(f"fires after its time, took {took}", 0.7 <= took < 10)


@check
async def timer_cancel(ctx: Ctx) -> None:
    handle = await ctx.start([{"op": "timerCancel", "ms": 600_000}])
    await eventually(lambda: started_timer(ctx))
    await handle.signal("note", "go")
    equal("result", (await handle.result())["results"], [{"kind": "canceled", "details": []}])
    events = await ctx.events(handle)
    canceled = only(events, "TimerCanceled")
    equal("timer", canceled.timer_id, only(events, "TimerStarted").timer_id)
    true("never fired", "TimerFired" not in kinds(events))


async def started_timer(ctx: Ctx) -> bool:
    events = [event async for event in ctx.handle().fetch_history_events()]
    return "TimerStarted" in kinds(events)


@check
async def workflow_failure(ctx: Ctx) -> None:
    failing = {"type": "Broken", "message": "as told", "details": [{"a": 1}], "nonRetryable": True}
    handle = await ctx.start([{"op": "fail", **failing}])
    equal("failure", await ctx.failure(handle), {"kind": "application", **failing})
    equal("status", await status(ctx), Status.FAILED.name)


@check
async def workflow_retry(ctx: Ctx) -> None:
    handle = await ctx.start([{"op": "failUntil", "attempt": 3}], retry_policy=RETRY)
    equal("result", (await handle.result())["results"], [{"attempt": 3}])
    first = handle.first_execution_run_id
    equal("status of the first run", await status(ctx, run_id=first), Status.FAILED.name)
    failed = only(await ctx.events(handle, first), "WorkflowExecutionFailed")
    equal("retry state", failed.retry_state, RetryState.RETRY_STATE_IN_PROGRESS)
    second = await ctx.events(handle, failed.new_execution_run_id)
    started = only(second, "WorkflowExecutionStarted")
    equal("attempt", started.attempt, 2)
    equal("continued from", started.continued_execution_run_id, first)
    equal("first run", started.first_execution_run_id, first)
    equal("failure before", started.continued_failure.message, "attempt 1 fails")


@check
async def workflow_retries_exhausted(ctx: Ctx) -> None:
    handle = await ctx.start([{"op": "failUntil", "attempt": 9}], retry_policy=RETRY)
    equal("message", (await ctx.failure(handle))["message"], "attempt 3 fails")
    last = (await ctx.handle().describe()).run_id
    failed = only(await ctx.events(handle, last), "WorkflowExecutionFailed")
    equal("state", failed.retry_state, RetryState.RETRY_STATE_MAXIMUM_ATTEMPTS_REACHED)


@check
async def continue_as_new(ctx: Ctx) -> None:
    last = [{"op": "timer", "ms": 1}]
    middle = [{"op": "continue", "steps": last}]
    handle = await ctx.start([{"op": "continue", "steps": middle}], memo={"kept": [1, 2]})
    equal("result", (await handle.result())["results"], [{"fired": 1}])
    run = first = handle.first_execution_run_id
    chain = [first]
    for _ in range(2):
        equal("status", await status(ctx, run_id=run), Status.CONTINUED_AS_NEW.name)
        closed = only(await ctx.events(handle, run), "WorkflowExecutionContinuedAsNew")
        chain.append(closed.new_execution_run_id)
        started = only(await ctx.events(handle, chain[-1]), "WorkflowExecutionStarted")
        equal("continued from", started.continued_execution_run_id, run)
        equal("first run", started.first_execution_run_id, first)
        run = chain[-1]
    equal("runs of the chain", len(set(chain)), 3)
    now = await ctx.handle().describe()
    equal("current run", (now.run_id, now.status.name), (run, Status.COMPLETED.name))
    equal("memo", dict(await now.memo()), {"kept": [1, 2]})


@check
async def run_timeout(ctx: Ctx) -> None:
    limit = timedelta(milliseconds=700)
    handle = await ctx.start([{"op": "wait", "n": 1}], run_timeout=limit)
    got = await ctx.failure(handle)
    equal("failure", (got["kind"], got["timeout"]), ("timeout", "StartToClose"))
    equal("status", await status(ctx), Status.TIMED_OUT.name)
    only(await ctx.events(handle), "WorkflowExecutionTimedOut")


@check
async def execution_timeout(ctx: Ctx) -> None:
    """Ends a chain of runs, none of which lasts as long as the limit."""
    steps: list[dict] = [{"op": "wait", "n": 1}]
    for _ in range(3):
        steps = [{"op": "timer", "ms": 300}, {"op": "continue", "steps": steps}]
    handle = await ctx.start(steps, execution_timeout=timedelta(milliseconds=1500))
    got = await ctx.failure(handle)
    equal("failure", (got["kind"], got["timeout"]), ("timeout", "StartToClose"))
    now = await ctx.handle().describe()
    equal("status", now.status.name, Status.TIMED_OUT.name)
    true("it was a later run", now.run_id != handle.first_execution_run_id)


@check
async def child_workflow(ctx: Ctx) -> None:
    steps = [act("echo", {"from": "child"})]
    fails = [{"op": "fail", "type": "Broken", "message": "child fails", "nonRetryable": True}]
    handle = await ctx.start(
        [
            {"op": "child", "id": ctx.prefix + "-good", "steps": steps},
            {"op": "child", "id": ctx.prefix + "-bad", "steps": fails, "catch": True},
        ]
    )
    good, bad = (await handle.result())["results"]
    equal("child's result", good["results"], [{"from": "child"}])
    equal("kind", (bad["kind"], bad["workflow"]), ("child", "Script"))
    equal("cause", (bad["cause"]["type"], bad["cause"]["message"]), ("Broken", "child fails"))
    events = await ctx.events(handle)
    only(events, "ChildWorkflowExecutionFailed")
    done = only(events, "ChildWorkflowExecutionCompleted")
    child = await ctx.events(ctx.handle("-good"), done.workflow_execution.run_id)
    started = only(child, "WorkflowExecutionStarted")
    equal("parent", started.parent_workflow_execution.workflow_id, handle.id)
    equal("parent's run", started.parent_workflow_execution.run_id, handle.result_run_id)


@check
async def child_close_policy(ctx: Ctx) -> None:
    waits = [{"op": "wait", "n": 1}]
    step = {"op": "child", "steps": waits, "detach": True}
    handle = await ctx.start(
        [
            {**step, "id": ctx.prefix + "-terminate", "close": "TERMINATE"},
            {**step, "id": ctx.prefix + "-abandon", "close": "ABANDON"},
            {**step, "id": ctx.prefix + "-cancel", "close": "REQUEST_CANCEL"},
        ]
    )
    await handle.result()
    equal("kind", (await ctx.failure(ctx.handle("-terminate")))["kind"], "terminated")
    equal("kind", (await ctx.failure(ctx.handle("-cancel")))["kind"], "canceled")
    await ctx.handle("-abandon").signal("note", "bye")
    equal("notes", (await ctx.handle("-abandon").result())["notes"], ["bye"])


@check
async def signal_external(ctx: Ctx) -> None:
    listener = await ctx.start([{"op": "wait", "n": 1}], tail="-listener")
    tell = {"op": "tell", "value": {"hello": 1}, "catch": True}
    handle = await ctx.start(
        [{**tell, "id": listener.id}, {**tell, "id": ctx.prefix + "-missing"}]
    )
    told, missed = (await handle.result())["results"]
    equal("told", told, "told")
    true(f"a failure, not {missed}", missed != "told" and missed["kind"])
    equal("notes", (await listener.result())["notes"], [{"hello": 1}])
    events = await ctx.events(handle)
    only(events, "ExternalWorkflowExecutionSignaled")
    only(events, "SignalExternalWorkflowExecutionFailed")


@check
async def version_marker(ctx: Ctx) -> None:
    """A version chosen once stays chosen in the replay for a query."""
    steps = [{"op": "patch", "id": "better"}, act("echo", "x"), {"op": "patch", "id": "better"}]
    handle = await ctx.start(steps, task_queue=ctx.nocache)
    equal("result", (await handle.result())["results"], [1, "x", 1])
    only(await ctx.events(handle), "MarkerRecorded")
    equal("replayed", (await handle.query("state"))["results"], [1, "x", 1])


@check
async def side_effect(ctx: Ctx) -> None:
    """A random value stays what it was in the replay for a query."""
    steps = [{"op": "side"}, act("echo", "x"), {"op": "side"}]
    handle = await ctx.start(steps, task_queue=ctx.nocache)
    got = (await handle.result())["results"]
    true("two different values", got[0] != got[2] and len(got[0]) == len(got[2]) == 36)
    equal("replayed", (await handle.query("state"))["results"], got)


@check
async def long_history(ctx: Ctx) -> None:
    """Over 300 events without a cache: every workflow task replays everything, page by page."""
    steps = [act("echo", {"i": i, "pad": "x" * 500}) for i in range(55)]
    want = [step["arg"] for step in steps]
    handle = await ctx.start(steps, task_queue=ctx.nocache)
    equal("result", (await handle.result())["results"], want)
    events = await ctx.events(handle)
    true(f"over 300 events, not {len(events)}", len(events) > 300)
    equal("event ids", [event.event_id for event in events], list(range(1, len(events) + 1)))
    true("no workflow task failed", "WorkflowTaskFailed" not in kinds(events))
    paged = [e async for e in handle.fetch_history_events(page_size=50)]
    equal("events read in pages of 50", len(paged), len(events))
    equal("replayed", (await handle.query("state"))["results"], want)
    scheduled = [getattr(e, "activity_task_scheduled_event_attributes") for e in events]
    inputs = [json.loads(s.input.payloads[0].data) for s in scheduled if s.activity_id]
    equal("inputs", inputs, want)
