# SPDX-License-Identifier: Apache-2.0
"""From the start of a process until it serves, and what a node costs that has nothing to do."""

import time

import measure
from process import Failure, Process
from world import Cluster, strait

PROBE_S = 0.001
HEARTBEATS_WITHIN_S = 20


def until(probe, process, timeout=30):
    """Milliseconds from now until `probe` is true, looked at every millisecond."""
    begin = time.monotonic()
    while not probe():
        if not process.running():
            raise Failure(process.died())
        if time.monotonic() - begin > timeout:
            raise Failure(f"{process.name} is not ready after {timeout} s")
        time.sleep(PROBE_S)
    return 1000 * (time.monotonic() - begin)


def start(world, plan):
    """strait server on an SQLite file: new, then as an earlier run left it."""
    times = []
    for number in range(plan.starts):
        cluster = Cluster(world, "us", "sqlite")
        if number > 0:
            cluster.database.file = world.clusters["us"].database.file
        world.clusters["us"] = cluster
        cluster.write_config()
        begin = time.monotonic()
        cluster.process.start()
        spawned = 1000 * (time.monotonic() - begin)
        times.append(spawned + until(lambda c=cluster: c.get("/readyz")[0] == 200, cluster.process))
        cluster.stop()
        world.forget(cluster.process)
    return {"new_ms": times[0], "existing_ms": measure.median(times[1:]), "times_ms": times}


def free_pair(world):
    """A port whose successor is free as well."""
    for _ in range(50):
        port = world.free_port()
        if port + 1 not in world.ports:
            world.ports.add(port + 1)
            return port
    raise Failure("no two free ports")


def dev(world, plan):
    """strait dev: two clusters and their NATS server, in one process."""
    times = []
    for number in range(plan.starts):
        process = Process(world.folder, f"dev-{number}", [
            strait(), "dev", "--port", free_pair(world), "--console-port", free_pair(world)])
        begin = time.monotonic()
        process.start()
        spawned = 1000 * (time.monotonic() - begin)
        try:
            times.append(spawned + until(lambda p=process: "\nready" in "\n" + p.output(), process))
        finally:
            process.stop()
    return {"ready_ms": measure.median(times), "times_ms": times}


def look(cluster):
    """CPU and messages for other clusters so far. The CPU last: asking for metrics costs some."""
    messages = cluster.metrics().get("strait_replication_published_total", 0.0)
    return measure.precise_cpu_ms(cluster.process.pid), messages


def beating(cluster):
    """True when the cluster sends heartbeats at its usual pace (each second)."""
    before = look(cluster)[1]
    time.sleep(1.3)
    return look(cluster)[1] > before


def idle(clusters, plan):
    """Memory and CPU of nodes that only tell each other that they live. After a start it takes them
    a while to hear each other; until then they are quieter."""
    end = time.monotonic() + HEARTBEATS_WITHIN_S
    while not all([beating(cluster) for cluster in clusters]) and time.monotonic() < end:
        time.sleep(0.5)
    before = {c.name: look(c) for c in clusters}
    begin = time.monotonic()
    time.sleep(plan.idle_s)
    spent_ms = 1000 * (time.monotonic() - begin)
    found = {}
    for cluster in clusters:
        cpu, messages = [now - then for now, then in zip(look(cluster), before[cluster.name])]
        found[cluster.name] = {
            "database": cluster.database.kind, "rss_mb": measure.rss_mb(cluster.process.pid),
            "cpu_percent": 100 * cpu / spent_ms, "messages_per_s": 1000 * messages / spent_ms}
    return {"seconds": spent_ms / 1000, "clusters": found}
