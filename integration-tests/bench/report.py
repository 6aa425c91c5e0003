# SPDX-License-Identifier: Apache-2.0
"""The figures as people read them: tables, ratios to a reference, and how far the targets are."""

# Measured before on a machine of this kind: Temporal 1.x, 4 shards, PostgreSQL 15.
REFERENCE = {
    "per_second": {"noop": 87.0, "activity": 44.0, "timer": 46.0, "signal": 480.0},
    "activity": {"commits": 57.0, "log_kb": 105.0, "server_cpu_ms": 39.0},
    "start_ms": {"p50": 75.0, "p99": 300.0},
    "idle": {"rss_mb": 138.0, "cpu_percent": 3.0}}

COLUMNS = ["scenario", "rate/s", "x ref", "start p50", "p99", "at half: p50", "p99", "server", "database",
           "client", "cores", "commits", "db commits", "commit ms", "log kB", "of floor", "MB after"]


def number(value, digits=2):
    """Few digits for large numbers, more for small ones."""
    if value is None:
        return "-"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.{digits}f}"


def table(rows):
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in
                                             zip(row[1:], widths[1:])]
        print("  " + "  ".join(cells).rstrip())


def machine(facts):
    print(f"{facts['cpu']}, {facts['cores']} cores, {facts['memory_gb']} GB, Linux {facts['kernel']}")
    print(f"load average before {facts['load_average_before']}, "
          f"4 KiB made durable in {facts['sync_4k_ms']} ms")
    print(f"strait {facts['strait']}, PostgreSQL {facts['postgres']}, MariaDB {facts['mariadb']}, "
          f"SQLite {facts['sqlite']}, nats-server {facts['nats_server']}")


def database(name, figures):
    floor = figures["floor"]
    print(f"\n{name}: {figures['durability']}; latencies in ms, CPU in ms per operation; "
          f"memory peak {number(figures['memory_peak_mb'])} MB")
    rows = [COLUMNS]
    for scenario, got in figures["scenarios"].items():
        half = got["half"]["start_ms"]
        rows.append([
            scenario, number(got["per_second"]),
            number(got["per_second"] / REFERENCE["per_second"][scenario]),
            number(got["start_ms"]["p50"]), number(got["start_ms"]["p99"]), number(half["p50"]),
            number(half["p99"]), number(got["server_cpu_ms"], 3), number(got["database_cpu_ms"], 3),
            number(got["client_cpu_ms"], 3), number(got["cores"]), number(got["commits"], 3),
            number(got["database_commits"], 3), number(got["commit_ms"]), number(got["log_kb"]),
            f"{100 * got['of_floor']:.0f} %", number(got["rss_mb"])])
    table(rows)
    late = [f"{scenario} {got['half']['late']}" for scenario, got in figures["scenarios"].items()
            if got["half"]["late"]]
    if late:
        print(f"  at half the peak, begun more than 10 ms late: {', '.join(late)}")
    print(f"  floor: {number(floor['rows_per_s'])} rows/s in bare commits of {floor['rows']} rows, "
          f"{floor['depth']} under way; commit p50 {number(floor['p50_ms'])} ms, "
          f"p99 {number(floor['p99_ms'])} ms")
    activity = figures["scenarios"].get("activity")
    if activity:
        parts = [f"{label} 1/{number(REFERENCE['activity'][key] / max(1e-9, activity[key]))}"
                 for key, label in (("commits", "commits"), ("log_kb", "log"),
                                    ("server_cpu_ms", "server CPU")) if activity[key] is not None]
        print(f"  an activity workflow against the reference: {', '.join(parts)}")


def start(figures):
    print(f"\nstart to serving, SQLite: new file {number(figures['new_ms'])} ms, existing file "
          f"{number(figures['existing_ms'])} ms")


def dev(figures):
    print(f"\nstrait dev, two clusters: ready after {number(figures['ready_ms'])} ms")


def idle(figures):
    print(f"\nidle, two clusters and their heartbeats, {number(figures['seconds'])} s")
    for name, got in figures["clusters"].items():
        print(f"  {name} ({got['database']}): {number(got['rss_mb'])} MB, "
              f"{number(got['cpu_percent'])} % of a core, {number(got['messages_per_s'])} messages/s; "
              f"against the reference "
              f"{number(got['rss_mb'] / REFERENCE['idle']['rss_mb'])} and "
              f"{number(got['cpu_percent'] / REFERENCE['idle']['cpu_percent'])}")


def replication(figures):
    print(f"\nreplication: {figures['signals']} signals at {number(figures['per_second'])}/s, "
          f"acknowledged on us until readable on eu")
    rows = [["", "p50 ms", "p99 ms"]]
    parts = figures["floor_parts"]
    for label, got in (
            ("readable on eu", figures["lag"]),
            ("readable on us: what the method costs", figures["readable_on_us"]),
            ("floor: JetStream hop", parts["hop"]), ("floor: one commit on MariaDB", parts["commit"]),
            ("over the floor", figures["over_floor"])):
        rows.append([label, number(got["p50_ms"]), number(got["p99_ms"])])
    table(rows)


def apply(figures):
    print(f"\napplying: signals at {number(figures['rate'])}/s, CPU ms per signal")
    table([["", "server", "database", "commits"]] + [
        [name, number(got["server_cpu_ms"], 3), number(got["database_cpu_ms"], 3),
         number(got["commits"], 3)] for name, got in figures["clusters"].items()])
    print(f"  applying on eu / accepting on us: {number(figures['ratio'])} "
          f"(databases {number(figures['database_ratio'])})")


def sustained(figures):
    print(f"\nsustained: signals at {number(figures['per_second'])}/s of {number(figures['rate'])}/s "
          f"wanted (peak {number(figures['peak'])}/s) for {number(figures['seconds'])} s, "
          f"{figures['late']} late")
    names = ["before", "first_third", "last_third", "highest", "after"]
    rows = [["us to eu", *[name.replace("_", " ") for name in names]]]
    for key in ("lag_events", "outbox_rows"):
        rows.append([key.replace("_", " "), *[number(figures[key][name], 0) for name in names]])
    table(rows)
    print(f"  growth {number(figures['growth_percent'])} % of the signals sent; drained "
          f"{number(figures['drain_s'])} s after the last one")


def failover(figures):
    print(f"\nfailover: {len(figures['gaps_ms'])} graceful ones under {figures['background_rate']} "
          f"signals/s, seen by a client of {number(figures['writes_per_second'])} writes/s")
    gaps = ", ".join(number(gap) for gap in figures["gaps_ms"])
    print(f"  longest gap in accepted writes: {number(figures['gap_ms'])} ms ({gaps}); without "
          f"failover {number(figures['gap_before_ms'])} ms")
    commands = ", ".join(number(ms) for ms in figures["command_ms"])
    print(f"  held back by the server {figures['pause_ms']} ms; strait failover took {commands} ms")
    print(f"  sent to and accepted by {figures['accepted_at']}, refused {figures['refused']}; "
          f"{figures['writes']} acknowledged, in the histories {figures['found']}")


PRINTERS = {"start": start, "dev": dev, "idle": idle, "replication": replication, "apply": apply,
            "sustained": sustained, "failover": failover}


def part(name, figures):
    if name in PRINTERS:
        PRINTERS[name](figures)
    else:
        database(name, figures)


# ---- targets ----------------------------------------------------------------------------------


def dig(value, *path):
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


# (what, where in the parts, bound, True when it is a lower bound)
TARGETS = [
    ("activity/s, PostgreSQL", ("postgres", "scenarios", "activity", "per_second"), 900, True),
    ("activity/s, PostgreSQL, aim", ("postgres", "scenarios", "activity", "per_second"), 2200, True),
    ("noop/s, PostgreSQL", ("postgres", "scenarios", "noop", "per_second"), 1800, True),
    ("signal/s, PostgreSQL", ("postgres", "scenarios", "signal", "per_second"), 10000, True),
    ("server CPU ms per activity workflow",
     ("postgres", "scenarios", "activity", "server_cpu_ms"), 2, False),
    ("commits per activity workflow", ("postgres", "scenarios", "activity", "commits"), 0.2, False),
    ("WAL kB per activity workflow", ("postgres", "scenarios", "activity", "log_kb"), 8, False),
    ("start p99 ms at half the peak, activity",
     ("postgres", "scenarios", "activity", "half", "start_ms", "p99"), 30, False),
    ("start p99 ms at half the peak, noop",
     ("postgres", "scenarios", "noop", "half", "start_ms", "p99"), 30, False),
    ("lag over the floor, p50 ms", ("replication", "over_floor", "p50_ms"), 3, False),
    ("lag over the floor, p99 ms", ("replication", "over_floor", "p99_ms"), 15, False),
    ("gap of a failover, ms", ("failover", "gap_ms"), 250, False),
    ("idle MB, us", ("idle", "clusters", "us", "rss_mb"), 60, False),
    ("idle MB, eu", ("idle", "clusters", "eu", "rss_mb"), 60, False),
    ("idle % of a core, us", ("idle", "clusters", "us", "cpu_percent"), 1, False),
    ("idle % of a core, eu", ("idle", "clusters", "eu", "cpu_percent"), 1, False),
    ("start to serving ms, SQLite", ("start", "new_ms"), 300, False),
    ("strait dev ready, ms", ("dev", "ready_ms"), 1000, False),
]


def targets(parts):
    """Each target that was measured: what, value, bound, met."""
    found = []

    def add(what, value, bound, lower):
        if value is not None:
            found.append({"what": what, "value": value, "bound": f"{'>=' if lower else '<'} {bound:g}",
                          "met": value >= bound if lower else value < bound})

    for what, path, bound, lower in TARGETS:
        add(what, dig(parts, *path), bound, lower)
    for name in ("mariadb", "sqlite"):
        for scenario, got in (dig(parts, "postgres", "scenarios") or {}).items():
            rate = dig(parts, name, "scenarios", scenario, "per_second")
            if rate is not None:
                add(f"{scenario}/s, {name} / PostgreSQL", rate / got["per_second"], 0.5, True)
    add("outbox growth at 4/5 of the peak, % of the signals",
        dig(parts, "sustained", "growth_percent"), 1, False)
    return found


def summary(result):
    if result["targets"]:
        print("\ntargets")
        table([["", "measured", "target", ""]] + [
            [target["what"], number(target["value"]), target["bound"],
             "met" if target["met"] else "MISSED"] for target in result["targets"]])
    for name, reason in result["failed"].items():
        print(f"\nnot measured: {name}: {reason}")
