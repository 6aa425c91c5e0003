# SPDX-License-Identifier: Apache-2.0
"""Checks of starting: id policies, and request ids that make a repeated call harmless."""

import json
import uuid
from typing import Any

from temporalio.api.common.v1 import Payload, Payloads, WorkflowExecution, WorkflowType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    SignalWorkflowExecutionRequest,
    StartWorkflowExecutionRequest,
)
from temporalio.client import WorkflowExecutionStatus as Status
from temporalio.common import WorkflowIDConflictPolicy as Conflict
from temporalio.common import WorkflowIDReusePolicy as Reuse
from temporalio.exceptions import WorkflowAlreadyStartedError

from features import Ctx, check, equal, kinds, raised, true

WAIT = {"op": "wait", "n": 1}


def payloads(value: Any) -> Payloads:
    data = json.dumps(value).encode()
    return Payloads(payloads=[Payload(metadata={"encoding": b"json/plain"}, data=data)])


@check
async def id_conflict_fail(ctx: Ctx) -> None:
    first = await ctx.start([WAIT])
    for policy in (Conflict.UNSPECIFIED, Conflict.FAIL):
        call = ctx.start([WAIT], id_conflict_policy=policy)
        err = await raised(WorkflowAlreadyStartedError, call)
        equal("run in the error", err.run_id, first.result_run_id)
        equal("id in the error", err.workflow_id, first.id)
    await first.signal("note", "still there")
    equal("notes", (await first.result())["notes"], ["still there"])


@check
async def id_conflict_use_existing(ctx: Ctx) -> None:
    first = await ctx.start([WAIT])
    second = await ctx.start([WAIT], id_conflict_policy=Conflict.USE_EXISTING)
    equal("run", second.result_run_id, first.result_run_id)
    await second.signal("note", 1)
    equal("notes", (await first.result())["notes"], [1])


@check
async def id_conflict_terminate_existing(ctx: Ctx) -> None:
    first = await ctx.start([WAIT])
    second = await ctx.start([WAIT], id_conflict_policy=Conflict.TERMINATE_EXISTING)
    true("another run", second.result_run_id != first.result_run_id)
    equal("kind", (await ctx.failure(first))["kind"], "terminated")
    await second.signal("note", 2)
    equal("notes", (await second.result())["notes"], [2])


@check
async def id_reuse_allow(ctx: Ctx) -> None:
    first = await ctx.start([])
    await first.result()
    second = await ctx.start([])
    await second.result()
    true("another run", second.result_run_id != first.result_run_id)
    old = await ctx.handle(run_id=first.result_run_id).describe()
    equal("the first is still there", old.status, Status.COMPLETED)


@check
async def id_reuse_reject(ctx: Ctx) -> None:
    first = await ctx.start([])
    await first.result()
    call = ctx.start([], id_reuse_policy=Reuse.REJECT_DUPLICATE)
    err = await raised(WorkflowAlreadyStartedError, call)
    equal("run in the error", err.run_id, first.result_run_id)


@check
async def id_reuse_failed_only(ctx: Ctx) -> None:
    policy = Reuse.ALLOW_DUPLICATE_FAILED_ONLY
    first = await ctx.start([{"op": "fail", "type": "X", "message": "x"}])
    await ctx.failure(first)
    second = await ctx.start([], id_reuse_policy=policy)
    await second.result()
    true("another run after a failure", second.result_run_id != first.result_run_id)
    err = await raised(WorkflowAlreadyStartedError, ctx.start([], id_reuse_policy=policy))
    equal("run in the error", err.run_id, second.result_run_id)


@check
async def start_request_id(ctx: Ctx) -> None:
    """A start that is repeated with its request id answers with the run it made."""
    request = StartWorkflowExecutionRequest(
        namespace=ctx.client.namespace,
        workflow_id=ctx.prefix,
        workflow_type=WorkflowType(name="Script"),
        task_queue=TaskQueue(name=ctx.queue),
        input=payloads({"steps": [WAIT]}),
        request_id=str(uuid.uuid4()),
        identity="repeater",
    )
    service = ctx.client.workflow_service
    first = await service.start_workflow_execution(request)
    again = await service.start_workflow_execution(request)
    equal("run", again.run_id, first.run_id)
    await ctx.handle().signal("note", 0)
    await ctx.handle().result()


@check
async def signal_request_id(ctx: Ctx) -> None:
    """A signal that is repeated with its request id arrives once."""
    handle = await ctx.start([{"op": "wait", "n": 2}])
    request = SignalWorkflowExecutionRequest(
        namespace=ctx.client.namespace,
        workflow_execution=WorkflowExecution(workflow_id=ctx.prefix),
        signal_name="note",
        input=payloads("once"),
        request_id=str(uuid.uuid4()),
        identity="repeater",
    )
    for _ in range(3):
        await ctx.client.workflow_service.signal_workflow_execution(request)
    await handle.signal("note", "end")
    equal("notes", (await handle.result())["notes"], ["once", "end"])
    count = kinds(await ctx.events(handle)).count("WorkflowExecutionSignaled")
    equal("signals in history", count, 2)
