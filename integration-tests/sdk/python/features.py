# SPDX-License-Identifier: Apache-2.0
"""`features`: runs the checks, several at a time, each with a time limit of its own."""

import asyncio
import sys
from typing import Any, Awaitable, Callable

from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle

from connection import connect
from failures import describe

Check = Callable[["Ctx"], Awaitable[None]]
CHECKS: dict[str, Check] = {}


def check(fn: Check) -> Check:
    CHECKS[fn.__name__] = fn
    return fn


class Mismatch(Exception):
    pass


def equal(what: str, got: Any, want: Any) -> None:
    if got != want or type(got) is not type(want):
        raise Mismatch(f"{what}: got {short(got)}, want {short(want)}")


def true(what: str, holds: Any) -> None:
    if not holds:
        raise Mismatch(f"not so: {what}")


def short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 600 else text[:600] + "..."


async def raised(kind: type, call: Awaitable[Any]) -> Any:
    """The error of the given type that `call` must end with."""
    try:
        value = await call
    except kind as err:
        return err
    raise Mismatch(f"got {short(value)}, want {kind.__name__}")


class Ctx:
    """What a check has at hand. Workflow ids are the prefix, the check's name and a tail."""

    def __init__(self, client: Client, args, name: str) -> None:
        self.client = client
        self.queue = args.task_queue
        self.nobody = args.task_queue + "-nobody"
        self.nocache = args.task_queue + "-nocache"
        self.prefix = f"{args.id_prefix}-{name}"

    async def start(self, steps: list[dict], tail: str = "", **options: Any) -> WorkflowHandle:
        options.setdefault("task_queue", self.queue)
        options.setdefault("id", self.prefix + tail)
        return await self.client.start_workflow("Script", {"steps": steps}, **options)

    async def run(self, *steps: dict, **options: Any) -> list[Any]:
        """Runs the steps and returns their results."""
        return (await (await self.start(list(steps), **options)).result())["results"]

    async def failure(self, handle: WorkflowHandle) -> dict:
        """The failure a workflow must end with, in the plain form."""
        err = await raised(WorkflowFailureError, handle.result())
        return describe(err.cause)

    async def events(self, handle: WorkflowHandle, run_id: str | None = None) -> list[Any]:
        at = self.client.get_workflow_handle(handle.id, run_id=run_id or handle.result_run_id)
        return [event async for event in at.fetch_history_events()]

    def handle(self, tail: str = "", run_id: str | None = None) -> WorkflowHandle:
        return self.client.get_workflow_handle(self.prefix + tail, run_id=run_id)


def kinds(events: list[Any]) -> list[str]:
    """Event types as in the API's JSON, without prefix: ActivityTaskScheduled, ..."""
    names = [EventType.Name(event.event_type) for event in events]
    return ["".join(p.capitalize() for p in name.split("_")[2:]) for name in names]


def only(events: list[Any], kind: str) -> Any:
    """The one event of that kind."""
    found = [event for event, name in zip(events, kinds(events)) if name == kind]
    equal(f"number of {kind} events", len(found), 1)
    return getattr(found[0], found[0].WhichOneof("attributes"))


async def eventually(probe: Callable[[], Awaitable[Any]]) -> Any:
    """The first true answer of `probe`; the check's time limit bounds it."""
    while not (got := await probe()):
        await asyncio.sleep(0.05)
    return got


async def run_one(ctx: Ctx, name: str, limit: float) -> bool:
    try:
        await asyncio.wait_for(CHECKS[name](ctx), limit)
    except asyncio.TimeoutError:
        reason = f"not done after {limit:g} s"
    except Exception as err:
        detail = "" if isinstance(err, Mismatch) else type(err).__name__ + ": "
        reason = (detail + str(err)).replace("\n", " ")
    else:
        print(f"ok {name}", flush=True)
        return True
    print(f"FAIL {name}: {reason}", flush=True)
    return False


async def main(args) -> int:
    import checks_activity, checks_control, checks_query, checks_start, checks_workflow  # noqa

    picked = [name for name in args.only.split(",") if name] or sorted(CHECKS)
    skipped = {name for name in args.skip.split(",") if name}
    unknown = sorted((set(picked) | skipped) - set(CHECKS))
    if unknown:
        print(f"sdk: no such check: {', '.join(unknown)}", file=sys.stderr)
        return 2
    picked = [name for name in picked if name not in skipped]
    if args.list:
        print("\n".join(picked))
        return 0

    client = await connect(args, "client")
    gate = asyncio.Semaphore(args.jobs)

    async def gated(name: str) -> bool:
        async with gate:
            return await run_one(Ctx(client, args, name), name, args.timeout)

    done = await asyncio.gather(*(gated(name) for name in picked))
    print(f"features: {sum(done)} ok, {len(done) - sum(done)} failed", flush=True)
    return 0 if all(done) else 1
