# SPDX-License-Identifier: Apache-2.0
"""The test workflows.

`Script` runs the list of steps it is given and is what the feature checks use; `Order` is the long
one that scenarios hold in a phase; `Short` is the unit of load. Inputs, results, signals and queries
are the same in all three languages (README.md).
"""

import asyncio
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError, FailureError
from temporalio.workflow import ActivityCancellationType, ParentClosePolicy

from failures import describe

BACKOFF_MS = 100


def ms(value: int | None) -> timedelta | None:
    return None if value is None else timedelta(milliseconds=value)


def retry_policy(opts: dict) -> RetryPolicy:
    return RetryPolicy(
        initial_interval=timedelta(milliseconds=opts.get("backoff", BACKOFF_MS)),
        backoff_coefficient=opts.get("coefficient", 1.0),
        maximum_attempts=opts.get("max", 0),
        non_retryable_error_types=opts.get("nonRetryable", []),
    )


def start_activity(step: dict) -> workflow.ActivityHandle:
    opts = step.get("opts", {})
    s2c = ms(opts.get("s2c"))
    stc = ms(opts.get("stc", None if s2c else 30_000))
    if step.get("local"):
        return workflow.start_local_activity(
            step["name"],
            step.get("arg"),
            schedule_to_close_timeout=s2c,
            start_to_close_timeout=stc,
            retry_policy=retry_policy(opts),
        )
    return workflow.start_activity(
        step["name"],
        step.get("arg"),
        task_queue=opts.get("queue"),
        schedule_to_close_timeout=s2c,
        start_to_close_timeout=stc,
        schedule_to_start_timeout=ms(opts.get("sts")),
        heartbeat_timeout=ms(opts.get("hb")),
        retry_policy=retry_policy(opts),
        cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    )


@workflow.defn(name="Script")
class Script:
    def __init__(self) -> None:
        self.notes: list[Any] = []
        self.results: list[Any] = []

    @workflow.signal
    def note(self, value: Any) -> None:
        self.notes.append(value)

    @workflow.query
    def state(self) -> dict:
        return {"notes": self.notes, "results": self.results}

    @workflow.query
    def pick(self, index: int) -> Any:
        return self.results[index]

    @workflow.query
    def explode(self) -> Any:
        raise ApplicationError("query exploded")

    @workflow.run
    async def run(self, arg: dict) -> Any:
        for step in arg["steps"]:
            try:
                result = await getattr(self, "op_" + step["op"])(step)
            except (FailureError, asyncio.CancelledError) as err:
                if not step.get("catch"):
                    raise
                result = describe(err)
            self.results.append(result)
        return {"results": self.results, "notes": self.notes}

    async def op_act(self, step: dict) -> Any:
        return await start_activity(step)

    async def op_actCancel(self, step: dict) -> Any:
        """Starts an activity, cancels it at the first note, and waits for what becomes of it."""
        handle = start_activity(step)
        await workflow.wait_condition(lambda: bool(self.notes))
        handle.cancel()
        return await handle

    async def op_timer(self, step: dict) -> Any:
        await workflow.sleep(step["ms"] / 1000)
        return {"fired": step["ms"]}

    async def op_timerCancel(self, step: dict) -> Any:
        timer = asyncio.create_task(workflow.sleep(step["ms"] / 1000))
        await workflow.wait_condition(lambda: bool(self.notes))
        timer.cancel()
        try:
            await timer
        except asyncio.CancelledError as err:
            return describe(err)
        return {"fired": step["ms"]}

    async def op_wait(self, step: dict) -> Any:
        await workflow.wait_condition(lambda: len(self.notes) >= step["n"])
        return len(self.notes)

    async def op_untilCancel(self, step: dict) -> Any:
        """Waits to be cancelled, cleans up with an activity, then ends as cancelled."""
        try:
            await workflow.wait_condition(lambda: False)
        except asyncio.CancelledError:
            self.results.append(await start_activity({"name": "echo", "arg": "cleaned up"}))
            raise

    async def op_fail(self, step: dict) -> Any:
        raise ApplicationError(
            step["message"],
            *step.get("details", []),
            type=step["type"],
            non_retryable=step.get("nonRetryable", False),
        )

    async def op_failUntil(self, step: dict) -> Any:
        attempt = workflow.info().attempt
        if attempt < step["attempt"]:
            raise ApplicationError(f"attempt {attempt} fails", type="Flaky")
        return {"attempt": attempt}

    async def op_continue(self, step: dict) -> Any:
        workflow.continue_as_new({"steps": step["steps"]})

    async def op_child(self, step: dict) -> Any:
        child = await workflow.start_child_workflow(
            "Script",
            {"steps": step["steps"]},
            id=step["id"],
            parent_close_policy=ParentClosePolicy[step.get("close", "TERMINATE")],
        )
        return {"started": child.id} if step.get("detach") else await child

    async def op_tell(self, step: dict) -> Any:
        await workflow.get_external_workflow_handle(step["id"]).signal("note", step["value"])
        return "told"

    async def op_patch(self, step: dict) -> Any:
        return 1 if workflow.patched(step["id"]) else 0

    async def op_side(self, step: dict) -> Any:
        return str(workflow.uuid4())


@workflow.defn(name="Order")
class Order:
    def __init__(self) -> None:
        self.phase = "activity"
        self.approvals = 0
        self.values: list[int] = []
        self.told = False

    @workflow.signal
    def add(self, value: int) -> None:
        self.values.append(value)

    @workflow.signal
    def approve(self) -> None:
        self.approvals += 1

    @workflow.signal
    def finish(self) -> None:
        self.told = True

    @workflow.query
    def state(self) -> dict:
        return {"phase": self.phase, "approvals": self.approvals, "values": self.values}

    @workflow.run
    async def run(self, arg: dict) -> dict:
        work = await workflow.execute_activity(
            "nap",
            {"ms": arg["activityMs"], "beats": -1},
            start_to_close_timeout=timedelta(milliseconds=arg["activityMs"] + 60_000),
            heartbeat_timeout=timedelta(milliseconds=arg["heartbeatMs"]),
            retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=200)),
        )
        self.phase = "timer"
        await workflow.sleep(arg["timerMs"] / 1000)
        self.phase = "retry"
        flaky = await workflow.execute_activity(
            "failUntil",
            {"attempt": arg["failures"] + 1},
            start_to_close_timeout=timedelta(seconds=30),
            retry_policy=RetryPolicy(
                initial_interval=timedelta(milliseconds=arg["backoffMs"]), backoff_coefficient=1.0
            ),
        )
        self.phase = "approval"
        await workflow.wait_condition(lambda: self.approvals >= arg["approvals"])
        self.phase = "open"
        await workflow.wait_condition(lambda: self.told)
        self.phase = "done"
        return {
            "values": self.values,
            "approvals": self.approvals,
            "work": work,
            "flaky": flaky,
        }


@workflow.defn(name="Short")
class Short:
    @workflow.run
    async def run(self, arg: dict) -> dict:
        square = await workflow.execute_activity(
            "effect",
            {"n": arg["n"]},
            start_to_close_timeout=timedelta(seconds=10),
            retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=200)),
        )
        await workflow.sleep(arg["timerMs"] / 1000)
        return {"n": arg["n"], "square": square, "timerMs": arg["timerMs"]}


ALL = [Script, Order, Short]
