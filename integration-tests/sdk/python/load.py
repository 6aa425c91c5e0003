# SPDX-License-Identifier: Apache-2.0
"""`load` and `verify`: many short workflows, started open loop, and what became of them."""

import asyncio
import collections
import json
import random
from datetime import timedelta

from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

import journal
from connection import connect

CALL_TIMEOUT = timedelta(seconds=10)
AGAIN_SECONDS = 0.2
TIMER_MS_MAX = 2000


async def load(args) -> int:
    """Starts at the rate whatever the answers; the journal holds what was acknowledged."""
    client = await connect(args, "client")
    out = journal.Journal(args.journal[0])
    pace = journal.Pace(args.rate, args.seconds)
    rng = random.Random(args.seed)
    counts: collections.Counter = collections.Counter()
    flying: set[asyncio.Task] = set()

    async def one(number: int, timer: int) -> None:
        line = {"id": f"{args.id_prefix}-{number}", "n": number, "timerMs": timer}
        try:
            handle = await client.start_workflow(
                "Short",
                {"n": number, "timerMs": timer},
                id=line["id"],
                task_queue=args.task_queue,
                rpc_timeout=CALL_TIMEOUT,
            )
        except (RPCError, WorkflowAlreadyStartedError) as err:
            out.write({**line, "unknown": True, "error": journal.error_class(err)})
            counts["unknown"] += 1
        else:
            out.write({**line, "run": handle.result_run_id})
            counts["acknowledged"] += 1

    async for number in pace.ticks():
        task = asyncio.create_task(one(number, rng.randint(1, TIMER_MS_MAX)))
        flying.add(task)
        task.add_done_callback(flying.discard)
    while flying:
        await asyncio.wait(flying)
    print(f"load: {counts['acknowledged']} acknowledged, {counts['unknown']} unknown", flush=True)
    return 0


def count_effects(path: str, wanted: set[str]) -> tuple[dict[str, int], list[str]]:
    """Executions per workflow id, and those that no server may cause: one attempt twice."""
    executions: dict[str, int] = collections.Counter()
    attempts: dict[tuple, int] = collections.Counter()
    with open(path, encoding="utf-8") as file:
        for line in file:
            effect = json.loads(line)
            if effect["id"] in wanted:
                executions[effect["id"]] += 1
                attempts[(effect["id"], effect["run"], effect["attempt"])] += 1
    twice = [f"{id} attempt {n} ran {times} times" for (id, _, n), times in attempts.items()
             if times > 1]
    return executions, twice


async def verify(args) -> int:
    """Every acknowledged start has completed, in the run that was acknowledged, as it should."""
    client = await connect(args, "client")
    lines = [line for line in journal.read(args.journal) if "n" in line]
    acknowledged = [line for line in lines if not line.get("unknown")]
    gate = asyncio.Semaphore(args.jobs)

    async def result(line: dict) -> dict:
        while True:
            try:
                at = client.get_workflow_handle(line["id"], run_id=line["run"])
                return await at.result(follow_runs=False)
            except RPCError as err:
                if err.status == RPCStatusCode.NOT_FOUND:
                    raise
                await asyncio.sleep(AGAIN_SECONDS)

    async def one(line: dict) -> str:
        got = await result(line)
        want = {"n": line["n"], "square": line["n"] ** 2, "timerMs": line["timerMs"]}
        if got != want:
            return f"{line['id']} returned {got}, want {want}"
        current = await client.get_workflow_handle(line["id"]).describe()
        if current.run_id != line["run"]:
            return f"{line['id']} has another run, {current.run_id}"
        return ""

    async def gated(line: dict) -> str:
        async with gate:
            try:
                return await asyncio.wait_for(one(line), args.timeout)
            except asyncio.TimeoutError:
                return f"{line['id']} not completed after {args.timeout:g} s"
            except Exception as err:
                return f"{line['id']} {type(err).__name__}: {err}"

    problems = [p for p in await asyncio.gather(*(gated(line) for line in acknowledged)) if p]
    good = len(acknowledged) - len(problems)
    tail = ""
    if args.effects:
        executions, twice = count_effects(args.effects, {line["id"] for line in acknowledged})
        never = [line["id"] for line in acknowledged if not executions[line["id"]]]
        problems += [f"{id} left no effect" for id in never] + twice
        more = sum(1 for times in executions.values() if times > 1)
        tail = f" executions={sum(executions.values())} repeated={more}"
    for problem in problems:
        print(f"FAIL verify: {problem}", flush=True)
    print(f"verify: acknowledged={len(acknowledged)} good={good} "
          f"unknown={len(lines) - len(acknowledged)}{tail}", flush=True)
    return 1 if problems else 0
