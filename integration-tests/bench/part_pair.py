# SPDX-License-Identifier: Apache-2.0
"""Two clusters, us on PostgreSQL and eu on MariaDB, which share one NATS server: how far eu is behind,
what applying costs there, whether the outbox stays short under load, and how long a failover holds
writes back."""

import multiprocessing
import re
import time

import measure
import nats
from api import PUBLIC, execution, ok
from measure import Window, load, load_args, mean, quantile, read_load
from pb import Message, message
from process import Failure, Process, tail
from wire import Wire
from world import Cluster
from writer import write_for

NAMESPACE = "bench"
FORK = multiprocessing.get_context("fork")
LAG_RATE = 100
TARGETS = 256
WRITER_RATE = 200


def open_pair(world):
    """World.pair(), but with one NATS server for both."""
    us, eu = Cluster(world, "us", "postgres"), Cluster(world, "eu", "mariadb")
    world.clusters.update(us=us, eu=eu)
    us.nats = eu.nats = nats.Nats(world, "both")
    us.nats.start()
    for cluster in (us, eu):
        cluster.write_config()
        cluster.start(wait=False)
    for cluster in (us, eu):
        cluster.wait_serving()
    world.create_namespace(NAMESPACE, [us, eu], active=us)
    return us, eu


def start_workflow(cluster, workflow_id):
    """A workflow that nobody works on: it only takes signals."""
    api = cluster.api(NAMESPACE)
    ok(api.start(workflow_id, "Nothing", "nobody"), f"start {workflow_id}")
    api.wire.close()


# ---- lag --------------------------------------------------------------------------------------


def watch_history(address, workflow_id, last_event, pipe):
    """Reads a history by long polls until an event; sends when each event was first seen."""
    wire = Wire(address)
    seen, token = {}, b""
    pipe.send("ready")
    try:
        while last_event not in seen:
            body = ok(wire.call(PUBLIC + "GetWorkflowExecutionHistory", message(
                (1, NAMESPACE), (2, execution(workflow_id)), (3, 500), (4, token or None), (5, True)),
                timeout=30), f"history of {workflow_id}")
            now = time.monotonic()
            answer = Message(body)
            for event in Message(answer.data(1)).each(1):
                seen.setdefault(event.number(1), now)
            token = answer.data(3)
        pipe.send(seen)
    except Exception as error:  # told to the parent
        pipe.send(f"{type(error).__name__}: {error}")


class Watcher:
    """watch_history() in a process of its own."""

    def __init__(self, cluster, workflow_id, last_event):
        self.pipe, far_end = FORK.Pipe()
        self.child = FORK.Process(target=watch_history, daemon=True,
                                  args=(cluster.address, workflow_id, last_event, far_end))
        self.child.start()
        self.pipe.recv()

    def result(self, timeout):
        if not self.pipe.poll(timeout):
            self.child.kill()
            raise Failure("the last signal was not readable in time")
        seen = self.pipe.recv()
        self.child.join()
        if isinstance(seen, str):
            raise Failure(seen)
        return seen


def paced_signals(cluster, workflow_id, count, rate):
    """The moment of each acknowledgement, one signal after the other by the clock."""
    api = cluster.api(NAMESPACE)
    acks = []
    begin = time.monotonic()
    for number in range(count):
        pause = begin + number / rate - time.monotonic()
        if pause > 0:
            time.sleep(pause)
        ok(api.signal(workflow_id, "add", number), "signal")
        acks.append(time.monotonic())
    api.wire.close()
    return acks


def spread(values):
    return {"p50_ms": 1000 * quantile(values, 0.5), "p99_ms": 1000 * quantile(values, 0.99)}


def replication(world, us, eu, plan):
    """Signals at a steady rate: acknowledged on us until readable on eu, less the floor."""
    floor = {"hop": measure.hop_floor(),
             "commit": measure.store_floor("mariadb", rows=4, depth=1, seconds=plan.floor_s)}
    start_workflow(us, "lag")
    api = eu.api(NAMESPACE)
    world.wait(lambda: api.public("DescribeWorkflowExecution", (1, NAMESPACE),
                                  (2, execution("lag"))).code == "OK", 20, "eu has the workflow")
    before = len(api.history("lag"))
    api.wire.close()
    paced_signals(us, "lag", LAG_RATE // 2, LAG_RATE)  # warm
    world.drained(NAMESPACE, us, eu)
    before += LAG_RATE // 2
    count = int(plan.lag_s * LAG_RATE)
    watchers = [Watcher(cluster, "lag", before + count) for cluster in (us, eu)]
    begin = time.monotonic()
    acks = paced_signals(us, "lag", count, LAG_RATE)
    seconds = time.monotonic() - begin
    here, there = [watcher.result(20) for watcher in watchers]
    lag = spread([there[before + 1 + i] - ack for i, ack in enumerate(acks)])
    own = spread([here[before + 1 + i] - ack for i, ack in enumerate(acks)])
    floors = {name: floor["hop"][name] + floor["commit"][name] for name in ("p50_ms", "p99_ms")}
    return {"signals": count, "per_second": count / seconds, "lag": lag, "readable_on_us": own,
            "floor": floors, "floor_parts": floor,
            "over_floor": {name: lag[name] - floors[name] for name in lag}}


# ---- load -------------------------------------------------------------------------------------


def peak_of(us, plan, found):
    """Signals per second in a closed loop, replication included; measured once."""
    if "peak" not in found:
        options = {"namespace": NAMESPACE, "no_worker": True, "targets": TARGETS, "concurrency": 256}
        load(us.address, "signal", plan.warm_s, **options)
        found["peak"] = load(us.address, "signal", plan.run_s, **options)["per_second"]
    return found["peak"]


def apply_cost(world, us, eu, plan, found):
    """CPU of applying on eu against CPU of accepting on us, of the same signals at half the peak."""
    rate = max(1, int(peak_of(us, plan, found) / 2))
    world.drained(NAMESPACE, us, eu)
    windows = [Window(cluster).begin() for cluster in (us, eu)]
    done = load(us.address, "signal", plan.run_s, namespace=NAMESPACE, no_worker=True,
                targets=TARGETS, rate=rate)
    world.drained(NAMESPACE, us, eu)
    spent = [window.end() for window in windows]
    count = max(1, done["operations"])
    costs = {cluster.name: {
        "server_cpu_ms": used["server_ms"] / count, "database_cpu_ms": used["db_ms"] / count,
        "commits": used["commits"] / count} for cluster, used in zip((us, eu), spent)}
    return {"rate": done["per_second"], "clusters": costs,
            "ratio": costs["eu"]["server_cpu_ms"] / max(1e-9, costs["us"]["server_cpu_ms"]),
            "database_ratio": costs["eu"]["database_cpu_ms"] /
            max(1e-9, costs["us"]["database_cpu_ms"])}


def lanes_now(api, source, target):
    lanes = [lane for lane in api.lanes() if (lane["source"], lane["target"]) == (source, target)]
    return {name: sum(lane[name] for lane in lanes) for name in ("lag_events", "outbox_rows")}


def sustained(world, us, eu, plan, found):
    """The outbox of us during signals at four fifths of the peak."""
    rate = max(1, int(peak_of(us, plan, found) * 0.8))
    world.drained(NAMESPACE, us, eu)
    api = us.api(NAMESPACE)
    before = lanes_now(api, "us", "eu")
    process = Process(world.folder, "sustained", load_args(
        us.address, NAMESPACE, "signal", plan.sustained_s, no_worker=True, targets=TARGETS, rate=rate))
    process.start()
    samples = []
    try:
        while process.running():
            samples.append(lanes_now(api, "us", "eu"))
            world.watch()
            time.sleep(0.1)
    finally:
        process.kill()
    if process.join(1) != 0:
        raise Failure(f"strait load: {tail(process.log)}")
    after = lanes_now(api, "us", "eu")
    begin = time.monotonic()
    world.drained(NAMESPACE, us, eu)
    drain_s = time.monotonic() - begin
    api.wire.close()
    done = read_load(process.output())
    third = max(1, len(samples) // 3)

    def course(name):
        values = [sample[name] for sample in samples]
        return {"before": before[name], "first_third": mean(values[:third]),
                "last_third": mean(values[-third:]), "highest": max(values, default=0),
                "after": after[name]}

    outbox = course("outbox_rows")
    # From the middle of the first third to that of the last are two thirds of the time.
    grown = (outbox["last_third"] - outbox["first_third"]) / max(1.0, done["operations"] * 2 / 3)
    return {"peak": found["peak"], "rate": rate, "per_second": done["per_second"],
            "late": done["late"], "seconds": done["seconds"], "lag_events": course("lag_events"),
            "outbox_rows": outbox, "growth_percent": 100 * grown, "drain_s": drain_s}


# ---- failover ---------------------------------------------------------------------------------


def longest_gap(acks, begin, end):
    """The longest time between two accepted writes that touches [begin, end]."""
    return max((b - a for a, b in zip(acks, acks[1:]) if b >= begin and a <= end), default=0.0)


def move(world, source, target):
    """One graceful failover: when it began and ended."""
    begin = time.monotonic()
    world.fail_over(source, NAMESPACE, target)
    end = time.monotonic()
    for cluster in (source, target):
        api = cluster.api(NAMESPACE)
        world.wait(lambda a=api: a.active_cluster() == target.name, 10,
                   f"{cluster.name} knows that {target.name} is active")
        api.wire.close()
    return begin, end


def signals_in(cluster, workflows):
    """Signals in the histories of workflows that got nothing else (2 events begin each)."""
    api = cluster.api(NAMESPACE)
    count = sum(len(api.history(workflow_id)) - 2 for workflow_id in workflows)
    api.wire.close()
    return count


def pauses(world):
    """How long the servers themselves say that they held writes back."""
    lines = [line for cluster in world.clusters.values()
             for line in cluster.log_lines("failover.acknowledged")]
    return [int(found[1]) for found in (re.search(r"pause_ms=(\d+)", line) for line in sorted(lines))
            if found]


def failover(world, us, eu, plan, found):
    """Graceful failovers to and fro, under load, as seen by a client that writes steadily and goes to
    the other cluster when it is refused."""
    workflows = [f"writer-{i}" for i in range(8)]
    for workflow_id in workflows:
        start_workflow(us, workflow_id)
    world.drained(NAMESPACE, us, eu)
    rate = int(min(2000, peak_of(us, plan, found) / 4))
    seconds = 3 + plan.failovers * 3.0
    background = Process(world.folder, "background", load_args(
        us.address, NAMESPACE, "signal", seconds, no_worker=True, targets=TARGETS, rate=rate)).start()
    stop = FORK.Event()
    pipe, far_end = FORK.Pipe()
    addresses = {cluster.name: cluster.address for cluster in (us, eu)}
    child = FORK.Process(target=write_for, daemon=True, args=(
        addresses, NAMESPACE, workflows, WRITER_RATE, stop, far_end))
    child.start()
    moves = []
    try:
        time.sleep(2)
        for number in range(plan.failovers):
            source, target = (us, eu) if number % 2 == 0 else (eu, us)
            moves.append(move(world, source, target))
            time.sleep(1.5)
    except Exception:
        background.kill()
        raise
    finally:
        stop.set()
        acks, notes = pipe.recv() if pipe.poll(20) else ([], {})
        child.join(5)
    status = background.join(seconds + 60)
    if len(moves) % 2 == 1:
        move(world, eu, us)
    world.drained(NAMESPACE, us, eu)
    moments = [at for at, _ in acks]
    if len(moments) < WRITER_RATE:
        raise Failure(f"hardly a write was accepted: {len(moments)}, {notes}")
    found_at = {cluster.name: signals_in(cluster, workflows) for cluster in (us, eu)}
    if min(found_at.values()) < len(moments):
        raise Failure(f"{len(moments)} writes were acknowledged, the histories have {found_at}")
    gaps = [1000 * longest_gap(moments, begin, end + 1) for begin, end in moves]
    quiet = 1000 * longest_gap(moments, moments[0], moves[0][0] - 0.1)
    return {"background_rate": rate, "background_status": status, **notes, "writes": len(moments),
            "writes_per_second": len(moments) / (moments[-1] - moments[0]), "found": found_at,
            "gaps_ms": gaps, "gap_ms": max(gaps), "gap_before_ms": quiet, "pause_ms": pauses(world),
            "command_ms": [1000 * (end - begin) for begin, end in moves]}
