# SPDX-License-Identifier: Apache-2.0
"""`worker`: serves the task queue, and `<queue>-nocache` with the sticky cache switched off.

It outlives its server: connecting, and workers that gave up, are tried again until SIGTERM.
"""

import asyncio
import logging
import signal
import time
from datetime import timedelta

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

import activities
import workflows
from connection import connect

AGAIN_SECONDS = 0.5
READY_SECONDS = 10  # a server that cannot tell its pollers does not hold READY up longer

log = logging.getLogger("worker")


def make_worker(client: Client, queue: str, cached: int) -> Worker:
    return Worker(
        client,
        task_queue=queue,
        workflows=workflows.ALL,
        activities=activities.ALL,
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_cached_workflows=cached,
        max_concurrent_activities=1000,
        max_concurrent_local_activities=100,
        # Every heartbeat goes out soon, so that scenarios can rely on the details.
        default_heartbeat_throttle_interval=timedelta(milliseconds=100),
        max_heartbeat_throttle_interval=timedelta(milliseconds=100),
        graceful_shutdown_timeout=timedelta(seconds=1),
    )


async def has_poller(client: Client, queue: str, kind: TaskQueueType.ValueType) -> bool:
    answer = await client.workflow_service.describe_task_queue(
        DescribeTaskQueueRequest(
            namespace=client.namespace,
            task_queue=TaskQueue(name=queue),
            task_queue_type=kind,
        ),
        timeout=timedelta(seconds=2),
    )
    return any(p.identity == client.identity for p in answer.pollers)


async def announce(client: Client, queues: list[str]) -> None:
    """READY once the server names us as a poller of every queue, or cannot tell."""
    kinds = [
        TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
        TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
    ]
    left = [(queue, kind) for queue in queues for kind in kinds]
    end = time.monotonic() + READY_SECONDS
    while left and time.monotonic() < end:
        try:
            left = [at for at in left if not await has_poller(client, *at)]
        except RPCError as err:
            log.warning("pollers are not known yet: %s", err)
            if err.status == RPCStatusCode.UNIMPLEMENTED:
                break
        if left:
            await asyncio.sleep(0.05)
    print("READY", flush=True)


async def until(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except asyncio.TimeoutError:
        pass


async def first_connection(args, stop: asyncio.Event) -> Client | None:
    while not stop.is_set():
        try:
            return await connect(args, "worker")
        except Exception as err:
            log.warning("cannot connect, trying again: %s", err)
            await until(stop, AGAIN_SECONDS)
    return None


async def serve(client: Client, queue: str, cached: int, stop: asyncio.Event) -> None:
    """One worker until `stop`, made anew whenever it fails."""
    while not stop.is_set():
        worker = make_worker(client, queue, cached)
        running = asyncio.create_task(worker.run())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait([running, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not running.done():
            await worker.shutdown()
        try:
            await running
        except Exception as err:
            log.error("worker of %s ended, starting anew: %s", queue, err)
            await until(stop, AGAIN_SECONDS)


async def main(args) -> int:
    logging.getLogger("temporalio.activity").setLevel(logging.ERROR)
    logging.getLogger("temporalio.workflow").setLevel(logging.ERROR)
    activities.effects_path = args.effects
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    client = await first_connection(args, stop)
    if client is None:
        return 0
    queues = {args.task_queue: 1000, args.task_queue + "-nocache": 0}
    serving = [
        asyncio.create_task(serve(client, queue, cached, stop))
        for queue, cached in queues.items()
    ]
    announcing = asyncio.create_task(announce(client, list(queues)))
    await asyncio.gather(*serving)
    announcing.cancel()
    return 0
