# SPDX-License-Identifier: Apache-2.0
"""One cluster alone on one kind of database: rates, latencies, and what an operation costs."""

import time

import measure
from api import ok
from measure import Window, load
from pb import message
from process import poll

# Operations under way in the closed loop: enough that the server is never idle, few enough that the
# start latency is not just the length of a queue that we made ourselves. A timer workflow sleeps.
CONCURRENCY = {"noop": 128, "activity": 128, "timer": 512, "signal": 256}
POLLERS = 32
TIMER_MS = 100
NAMESPACE = "default"


def register(cluster, name=NAMESPACE):
    """A namespace of this cluster alone, through the public API."""
    api = cluster.api(name)
    ok(api.public("RegisterNamespace", (1, name), (4, message((1, 3 * 86400)))), "register namespace")
    poll(api.namespace_known, 10, f"{name} is known")
    api.wire.close()


def per_operation(spent, result):
    """Costs of one operation, from what a cluster spent for all."""
    count = max(1, result["operations"])
    seconds = max(0.01, result["seconds"])

    def each(name, scale=1.0):
        return None if spent[name] is None else spent[name] / count / scale

    return {"server_cpu_ms": each("server_ms"), "database_cpu_ms": each("db_ms"),
            "client_cpu_ms": result["client_ms"] / count, "commits": each("commits"),
            "database_commits": each("db_commits"), "log_kb": each("log_bytes", 1000.0),
            "rows": each("rows"), "rows_per_s": spent["rows"] / seconds,
            "commit_ms": 1000 * spent["store_s"] / max(1.0, spent["commits"]),
            "cores": (spent["server_ms"] + (spent["db_ms"] or 0) + result["client_ms"]) / seconds / 1000}


def one_scenario(cluster, scenario, plan):
    options = {"pollers": POLLERS, "timer": TIMER_MS if scenario == "timer" else None}
    concurrency = plan.concurrency or CONCURRENCY[scenario]
    load(cluster.address, scenario, plan.warm_s, concurrency=concurrency, **options)
    window = Window(cluster).begin()
    peak = load(cluster.address, scenario, plan.run_s, concurrency=concurrency, **options)
    costs = per_operation(window.end(), peak)
    rate = max(1, int(peak["per_second"] / 2))
    half = load(cluster.address, scenario, plan.half_s, rate=rate, **options)
    return {"per_second": peak["per_second"], "concurrency": concurrency,
            "start_ms": peak["start_ms"], "whole_ms": peak.get("whole_ms"), **costs,
            "half": {"rate": rate, "per_second": half["per_second"], "late": half["late"],
                     "start_ms": half["start_ms"], "whole_ms": half.get("whole_ms")}}


def database(world, kind, plan):
    """The result of one kind of database: {"scenarios": ..., "floor": ...}"""
    floor = measure.store_floor(kind, rows=100, depth=2, seconds=plan.floor_s)
    cluster = world.single(kind)
    register(cluster)
    found = {}
    for scenario in plan.scenarios:
        found[scenario] = one_scenario(cluster, scenario, plan)
        found[scenario]["of_floor"] = found[scenario]["rows_per_s"] / floor["rows_per_s"]
        found[scenario]["rss_mb"] = measure.rss_mb(cluster.process.pid)
        world.watch()
        time.sleep(0.2)
    return {"durability": measure.DatabaseMeter(cluster.database).durability(), "floor": floor,
            "scenarios": found, "memory_peak_mb": cluster.process.memory_peak_mb()}
