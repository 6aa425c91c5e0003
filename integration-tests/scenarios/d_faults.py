# SPDX-License-Identifier: Apache-2.0
"""The parts under a cluster fail while it works: NATS, its streams, the databases."""

import compare
from process import Failure
from registry import per_language
from sdk import Sdk, journal_length, summary

ORDERS = 5
DATABASES = {"python": ("postgres", "mariadb"), "go": ("mariadb", "postgres"),
             "typescript": ("postgres", "mariadb")}


def nats_restarted(world, us, eu):
    """The source's NATS server is killed and comes back with its streams."""
    us.nats.kill()
    yield
    us.nats.start()


def target_nats_restarted(world, us, eu):
    """The same on the other side."""
    eu.nats.kill()
    yield
    eu.nats.start()


def nats_wiped(world, us, eu):
    """It comes back with an empty disk."""
    us.nats.kill()
    us.nats.wipe()
    us.nats.start()
    yield


def stream_deleted(world, us, eu):
    """Somebody deletes the stream that carries the changes."""
    client = us.nats.client()
    names = [name for name in client.streams() if "us" in name and "eu" in name]
    if not names:
        raise Failure(f"no stream from us to eu among {client.streams()}")
    for name in names:
        if not client.jetstream(f"STREAM.DELETE.{name}").get("success"):
            raise Failure(f"stream {name} could not be deleted")
    client.close()
    yield


def source_database_restarted(world, us, eu):
    """kill -9 of the active cluster's database."""
    us.database.crash()
    yield
    us.database.restart()


def target_database_restarted(world, us, eu):
    """The same at the passive one."""
    eu.database.crash()
    yield
    eu.database.restart()


def connections_cut(world, us, eu):
    """Every connection to both databases breaks, perhaps in the middle of a COMMIT."""
    us.database.cut_connections()
    eu.database.cut_connections()
    yield


FAULTS = [nats_restarted, stream_deleted, source_database_restarted, nats_wiped,
          target_database_restarted, connections_cut, target_nats_restarted]


def under_load(world, us, eu, journals):
    """One fault after the other; between two, the load must go on and arrive."""
    def size():
        return min(journal_length(journal) for journal in journals)

    api = us.api("orders")
    for fault in FAULTS:
        before = size()
        world.wait(lambda: size() >= before + 5, 60, f"load goes on before {fault.__name__}")
        steps = fault(world, us, eu)
        next(steps)
        # Down for some while: a bit of it lies between any two commits.
        pause = world.random.uniform(0.3, 1.5)
        end = world.random.randrange(3, 8)
        before = size()
        try:
            world.wait(lambda: size() >= before + end, pause, "")
        except Failure:
            pass  # what is down may well stop everything
        for _ in steps:
            pass
        before = size()
        world.wait(lambda: size() >= before + 5, 60, f"load goes on after {fault.__name__}")
        world.wait(lambda: api.lag("us", "eu") == 0, 90,
                   lambda f=fault: f"eu follows after {f.__name__}: {api.lanes()}")
    api.wire.close()


@per_language("faults", deadline=300, default=("typescript",))
def faults(world, language):
    """(e) NATS, streams and databases fail under load: nothing lost, nothing doubled"""
    us, eu = world.pair(*DATABASES[language])
    world.expected.append(r"store\.|bus\.|commit\.|load\.failed|replication\.|shard\.take_failed")
    world.create_namespace("orders", [us, eu], active=us)
    sdk = Sdk(world, language, "orders")
    effects = sdk.path("effects")
    worker = sdk.worker(us, effects)
    sdk.ready(worker)
    sdk.client(us, "start", id_prefix="order", count=ORDERS, activity_ms=300, timer_ms=300)
    starts, signals = sdk.path("starts"), sdk.path("signals")
    load = sdk.begin(us, "load", id_prefix="short", rate=8, seed=1, journal=starts)
    signal = sdk.begin(us, "signal", id_prefix="order", count=ORDERS, rate=8, seed=2, journal=signals)
    for _ in range(max(1, round(world.scale))):
        under_load(world, us, eu, [starts, signals])
    sdk.halt(load)
    sdk.halt(signal)

    checked = summary(sdk.client(us, "verify", id_prefix="short", journal=starts, effects=effects,
                                 timeout=60))
    counted = summary(sdk.client(us, "finish", id_prefix="order", count=ORDERS, journal=signals,
                                 timeout=60))
    world.note(f"starts: {checked}")
    world.note(f"signals: {counted}")
    world.drained("orders", us, eu)
    compare.equal(world, "orders", us, eu)
    for cluster in (us, eu):
        api = cluster.api("orders")
        world.wait(lambda a=api: a.open_count() == 0, 30, f"no run is open on {cluster.name}")
        if api.dead_letters():
            raise Failure(f"{cluster.name} has dead letters: {api.dead_letters()[:2]}")
