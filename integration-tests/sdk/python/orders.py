# SPDX-License-Identifier: Apache-2.0
"""`start`, `signal` and `finish`: the long workflows that outlive what a scenario does to them."""

import asyncio
import collections
import json
from datetime import timedelta
from typing import Any

from temporalio.api.common.v1 import Payload, Payloads, WorkflowExecution
from temporalio.api.workflowservice.v1 import SignalWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

import journal
from connection import connect

CALL_TIMEOUT = timedelta(seconds=10)
AGAIN_SECONDS = 0.2
SEED_SPAN = 1_000_000  # values of one `signal` run: seed * SEED_SPAN + 0, 1, 2, ...


def ids(args) -> list[str]:
    return [f"{args.id_prefix}-{i}" for i in range(args.count)]


async def send(client: Client, id: str, name: str, request_id: str, values: list[Any]) -> None:
    """One signal; repeating it with the same request id is harmless."""
    data = [json.dumps(value).encode() for value in values]
    request = SignalWorkflowExecutionRequest(
        namespace=client.namespace,
        workflow_execution=WorkflowExecution(workflow_id=id),
        signal_name=name,
        input=Payloads(
            payloads=[Payload(metadata={"encoding": b"json/plain"}, data=d) for d in data]
        ),
        request_id=request_id,
        identity=client.identity,
    )
    # retry: the SDK's own, with the same request.
    await client.workflow_service.signal_workflow_execution(
        request, retry=True, timeout=CALL_TIMEOUT
    )


async def start(args) -> int:
    """Starts the orders; each start is repeated until it is acknowledged or time is up."""
    client = await connect(args, "client")
    arg = {
        "activityMs": args.activity_ms,
        "heartbeatMs": args.heartbeat_ms,
        "timerMs": args.timer_ms,
        "failures": args.failures,
        "backoffMs": args.backoff_ms,
        "approvals": args.approvals,
    }
    out = journal.Journal(args.journal[0]) if args.journal else None
    gate = asyncio.Semaphore(args.jobs)

    async def one(id: str) -> bool:
        while True:
            try:
                handle = await client.start_workflow(
                    "Order", arg, id=id, task_queue=args.task_queue, rpc_timeout=CALL_TIMEOUT
                )
                run = handle.result_run_id
                break
            except WorkflowAlreadyStartedError as err:
                run = err.run_id
                break
            except RPCError:
                await asyncio.sleep(AGAIN_SECONDS)
        print(f"started {id} {run}", flush=True)
        if out:
            out.write({"id": id, "run": run})
        return True

    async def gated(id: str) -> bool:
        async with gate:
            return await one(id)

    tasks = [asyncio.create_task(gated(id)) for id in ids(args)]
    done, late = await asyncio.wait(tasks, timeout=args.timeout)
    for task in late:
        task.cancel()
    failed = [task for task in done if task.exception()]
    for task in failed:
        print(f"FAIL start: {task.exception()}", flush=True)
    print(f"start: {len(done) - len(failed)} started, {len(late) + len(failed)} not", flush=True)
    return 1 if late or failed else 0


async def signal(args) -> int:
    """Sends unique values, one call at a time to each order, and journals every outcome."""
    client = await connect(args, "client")
    out = journal.Journal(args.journal[0])
    pace = journal.Pace(args.rate, args.seconds)
    counts = collections.Counter()
    busy: dict[str, asyncio.Task] = {}
    names = ids(args)

    async def one(id: str, value: int) -> None:
        try:
            await send(client, id, "add", f"{id}/{value}", [value])
        except Exception as err:
            error = journal.error_class(err)
            out.write({"id": id, "value": value, "unknown": True, "error": error})
            counts["unknown"] += 1
        else:
            out.write({"id": id, "value": value})
            counts["acknowledged"] += 1

    async for number in pace.ticks():
        free = [id for id in names[number % args.count :] + names[: number % args.count]
                if id not in busy or busy[id].done()]
        if free:  # else every order is waiting for an answer: this tick sends nothing
            value = args.seed * SEED_SPAN + counts["sent"]
            counts["sent"] += 1
            busy[free[0]] = asyncio.create_task(one(free[0], value))
    await asyncio.gather(*busy.values())
    acknowledged, unknown = counts["acknowledged"], counts["unknown"]
    print(f"signal: {acknowledged} acknowledged, {unknown} unknown", flush=True)
    return 0


def judge(id: str, result: dict, lines: list[dict], counts: collections.Counter) -> list[str]:
    """Compares the values of one order with what the journals say of it."""
    seen = collections.Counter(result["values"])
    acknowledged = [line["value"] for line in lines if not line.get("unknown")]
    unknown = {line["value"] for line in lines if line.get("unknown")}
    lost = [value for value in acknowledged if not seen[value]]
    doubled = [value for value, times in seen.items() if times > 1]
    known = set(acknowledged) | unknown
    # One call at a time per order and seed: its values ascend unless something reordered them.
    last: dict[int, int] = {}
    reordered = 0
    for value in result["values"]:
        reordered += value < last.get(value // SEED_SPAN, 0)
        last[value // SEED_SPAN] = value
    counts["acknowledged"] += len(acknowledged)
    counts["unknown"] += len(unknown)
    counts["unknown_applied"] += sum(1 for value in unknown if seen[value])
    counts["lost"] += len(lost)
    counts["doubled"] += len(doubled)
    counts["foreign"] += sum(1 for value in seen if value not in known)
    counts["reordered"] += reordered
    return [f"{id} lost {v}" for v in lost] + [f"{id} doubled {v}" for v in doubled]


COUNTED = ["acknowledged", "unknown", "unknown_applied", "lost", "doubled", "foreign", "reordered"]


async def finish(args) -> int:
    """Approves and finishes every order, then compares its result with the journals."""
    client = await connect(args, "client")
    lines: dict[str, list[dict]] = collections.defaultdict(list)
    for line in journal.read(args.journal):
        if "value" in line:
            lines[line["id"]].append(line)
    counts: collections.Counter = collections.Counter()
    gate = asyncio.Semaphore(args.jobs)

    async def tell(id: str, name: str, number: int) -> None:
        while True:
            try:
                return await send(client, id, name, f"{id}/{name}/{number}", [])
            except RPCError as err:
                if err.status == RPCStatusCode.NOT_FOUND:
                    return  # already closed; what it came to is judged below
                await asyncio.sleep(AGAIN_SECONDS)

    async def result(id: str) -> dict:
        while True:
            try:
                return await client.get_workflow_handle(id).result()
            except RPCError as err:
                if err.status == RPCStatusCode.NOT_FOUND:
                    raise
                await asyncio.sleep(AGAIN_SECONDS)

    async def one(id: str) -> list[str]:
        for number in range(args.approvals):
            await tell(id, "approve", number)
        await tell(id, "finish", 0)
        got = await result(id)
        problems = judge(id, got, lines[id], counts)
        if "slept" not in got["work"] or got["flaky"]["attempt"] <= 0:
            problems.append(f"{id} wrong result {got}")
        if got["approvals"] != args.approvals:
            problems.append(f"{id} has {got['approvals']} approvals, want {args.approvals}")
        return problems

    async def gated(id: str) -> list[str]:
        async with gate:
            try:
                return await asyncio.wait_for(one(id), args.timeout)
            except asyncio.TimeoutError:
                return [f"{id} not finished after {args.timeout:g} s"]
            except Exception as err:
                return [f"{id} {type(err).__name__}: {err}"]

    judged = await asyncio.gather(*(gated(id) for id in ids(args)))
    for problem in [p for problems in judged for p in problems]:
        print(f"FAIL finish: {problem}", flush=True)
    good = sum(1 for problems in judged if not problems)
    strangers = sorted(set(lines) - set(ids(args)))
    if strangers:
        print(f"FAIL finish: journal names {len(strangers)} orders beyond --count", flush=True)
    print(f"finish: orders={len(judged)} good={good} "
          + " ".join(f"{name}={counts[name]}" for name in COUNTED), flush=True)
    return 0 if good == len(judged) and not strangers else 1
