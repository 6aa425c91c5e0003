# SPDX-License-Identifier: Apache-2.0
"""A node is killed again and again while clients and workers keep on, on each kind of database."""

import time

import compare
from process import Failure
from registry import scenario
from sdk import Sdk, journal_length, summary

KILLS = 20
ORDERS = 4


def kill_often(world, us, journals, kills):
    def size():
        return sum(journal_length(journal) for journal in journals)

    downtimes = []
    for number in range(kills):
        before = size()
        want = world.random.randrange(2, 20)
        world.wait(lambda: size() >= before + want, 60,
                   f"{want} acknowledgements after start {number + 1}")
        # Somewhere between two commits, or within one.
        time.sleep(world.random.uniform(0, 0.1))
        us.kill()
        begin = time.monotonic()
        us.start()
        downtimes.append(time.monotonic() - begin)
    world.note(f"{kills} kills; serving again after {sum(downtimes) / kills:.2f} s on average, "
               f"{max(downtimes):.2f} s at most")


def kills(world, language, kind, other):
    us, eu = world.pair(kind, other)
    world.create_namespace("orders", [us, eu], active=us)
    sdk = Sdk(world, language, "orders")
    effects, starts, signals = sdk.path("effects"), sdk.path("starts"), sdk.path("signals")
    sdk.ready(sdk.worker(us, effects))
    sdk.client(us, "start", id_prefix="order", count=ORDERS, activity_ms=300, timer_ms=300)
    load = sdk.begin(us, "load", id_prefix="short", rate=20, seed=1, journal=starts)
    signal = sdk.begin(us, "signal", id_prefix="order", count=ORDERS, rate=20, seed=2,
                       journal=signals)
    kill_often(world, us, [starts, signals], max(1, round(KILLS * world.scale)))
    sdk.halt(load)
    sdk.halt(signal)

    checked = summary(sdk.client(us, "verify", id_prefix="short", journal=starts, effects=effects,
                                 timeout=60))
    counted = summary(sdk.client(us, "finish", id_prefix="order", count=ORDERS, journal=signals,
                                 timeout=60))
    world.note(f"starts: {checked}")
    world.note(f"signals: {counted}")
    api = us.api("orders")
    # Also those whose start was never acknowledged: begun is begun.
    world.wait(lambda: api.open_count() == 0, 60, lambda: f"{api.open_count()} runs are stuck")
    api.wire.close()
    world.drained("orders", us, eu)
    compare.equal(world, "orders", us, eu)
    if eu.api("orders").dead_letters():
        raise Failure(f"eu has dead letters: {eu.api('orders').dead_letters()[:2]}")


@scenario("kills-sqlite", deadline=240, languages=["go"])
def kills_sqlite(world):
    """(f) 20 times SIGKILL under load on SQLite: no acknowledged write lost, nothing stuck"""
    kills(world, "go", "sqlite", "sqlite")


@scenario("kills-postgres", deadline=240, languages=["python"])
def kills_postgres(world):
    """(f) the same on PostgreSQL"""
    kills(world, "python", "postgres", "sqlite")


@scenario("kills-mariadb", deadline=240, languages=["typescript"])
def kills_mariadb(world):
    """(f) the same on MariaDB"""
    kills(world, "typescript", "mariadb", "sqlite")
