# SPDX-License-Identifier: Apache-2.0
"""What can be read off a process, a database, a load run and a machine."""

import json
import os
import platform
import re
import resource
import shutil
import subprocess
import threading
import time

from nats import find_server
from process import Failure, die_with_parent, run
from world import ROOT, strait

TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")


def quantile(values, q):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else 0.0


def median(values):
    return quantile(values, 0.5)


def mean(values):
    return sum(values) / len(values) if values else 0.0


# ---- processes --------------------------------------------------------------------------------


def stat_of(pid):
    """(parent, own ticks, ticks of reaped children); None when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            words = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return int(words[1]), int(words[11]) + int(words[12]), int(words[13]) + int(words[14])


def cpu_ms(pid):
    """CPU time of one process, all its threads."""
    stat = stat_of(pid)
    return stat[1] * TICK_MS if stat else 0.0


def precise_cpu_ms(pid):
    """As cpu_ms(), in nanoseconds instead of ticks, for a process whose threads stay."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as file:
            total += int(file.read().split()[0])
    return total / 1e6


def family_cpu_ms(pid):
    """CPU time of a process and its children, ended ones included."""
    own = stat_of(pid)
    if not own:
        return 0.0
    total = own[1] + own[2]
    for name in os.listdir("/proc"):
        stat = stat_of(name) if name.isdigit() else None
        if stat and stat[0] == pid:
            total += stat[1] + stat[2]
    return total * TICK_MS


def rss_mb(pid):
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        return int(re.search(r"VmRSS:\s+(\d+)", file.read())[1]) / 1024


# ---- databases --------------------------------------------------------------------------------

POSTGRES = ("SELECT xact_commit, pg_current_wal_lsn() - '0/0'::pg_lsn FROM pg_stat_database "
            "WHERE datname = current_database()")
MARIADB = ("SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME IN "
           "('COM_COMMIT', 'INNODB_OS_LOG_WRITTEN') ORDER BY VARIABLE_NAME")
DURABILITY = {
    "postgres": ("SELECT name || '=' || setting FROM pg_settings "
                 "WHERE name IN ('fsync', 'synchronous_commit') ORDER BY name"),
    "mariadb": ("SELECT concat(lower(VARIABLE_NAME), '=', VARIABLE_VALUE) "
                "FROM information_schema.GLOBAL_VARIABLES "
                "WHERE VARIABLE_NAME = 'INNODB_FLUSH_LOG_AT_TRX_COMMIT'")}


class DatabaseMeter:
    """The counters of a cluster's database server. SQLite lives in the node: there are none."""

    def __init__(self, database):
        self.database = database
        self.pid = None
        if database.kind != "sqlite":
            with open(os.path.join(database.dir, "server.pid"), encoding="ascii") as file:
                self.pid = int(file.read())

    def commits_and_log(self):
        """Transactions committed, bytes of the write-ahead log."""
        if self.pid is None:
            return None, None
        text = self.database.sql(POSTGRES if self.database.kind == "postgres" else MARIADB)
        numbers = [int(word) for word in re.split(r"[|\s]+", text.strip())]
        return tuple(numbers[:2])

    def cpu_ms(self):
        return family_cpu_ms(self.pid) if self.pid else None

    def durability(self):
        if self.pid is None:
            return "journal_mode=WAL synchronous=FULL"
        return " ".join(self.database.sql(DURABILITY[self.database.kind]).split())


class Window:
    """What a cluster spent between begin() and end(). Asking a server costs it something, so CPU is
    read innermost."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.meter = DatabaseMeter(cluster.database)
        self.before = None

    def read(self):
        commits, log = self.meter.commits_and_log()
        metrics = self.cluster.metrics()
        return {"db_commits": commits, "log_bytes": log,
                "commits": metrics.get("strait_commits_total", 0.0),
                "rows": metrics.get("strait_store_commit_rows_sum", 0.0),
                "store_s": metrics.get("strait_store_commit_seconds_sum", 0.0)}

    def cpu(self):
        return {"server_ms": cpu_ms(self.cluster.process.pid), "db_ms": self.meter.cpu_ms()}

    def begin(self):
        before = self.read()
        self.before = {**before, **self.cpu()}
        return self

    def end(self):
        """{name: difference}; None for what this database does not count."""
        cpu = self.cpu()
        if self.cluster.database.kind == "postgres":
            time.sleep(1.2)  # its sessions report their statistics once a second
        after = {**self.read(), **cpu}
        return {name: None if after[name] is None else after[name] - before
                for name, before in self.before.items()}


# ---- load -------------------------------------------------------------------------------------


def load_args(address, namespace, scenario, seconds, **options):
    args = [strait(), "load", "--address", address, "--namespace", namespace, "--scenario", scenario,
            "--seconds", seconds, "--output", "json"]
    for name, value in options.items():
        if value is True:
            args.append("--" + name.replace("_", "-"))
        elif value is not None:
            args += ["--" + name.replace("_", "-"), value]
    return args


def read_load(text):
    lines = [line for line in text.split("\n") if line.startswith("{")]
    if not lines:
        raise Failure(f"strait load printed no result: {text.strip()[-300:]}")
    return json.loads(lines[-1])


def load(address, scenario, seconds, namespace="default", **options):
    """One run of strait load: its result, with the client's own CPU as client_ms."""
    args = load_args(address, namespace, scenario, seconds, **options)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    child = subprocess.Popen([str(arg) for arg in args], stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                             preexec_fn=die_with_parent)
    guard = threading.Timer(seconds + 90, child.kill)
    guard.start()
    try:
        text = child.stdout.readline()
        result = read_load(text)
        # What follows is only the slow goodbye of polls under way; after an error, its reason.
        if result["errors"] or result["wrong"] or result["mismatches"]:
            raise Failure(f"strait load --scenario {scenario}: {text.strip()}")
    except Failure as failure:
        raise Failure(f"{failure} {child.stderr.read().strip()[-300:]}") from None
    finally:
        guard.cancel()
        child.kill()
        child.communicate()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    result["client_ms"] = 1000 * (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    return result


# ---- floors -----------------------------------------------------------------------------------


def micro(name):
    """The path of a micro benchmark: beside the binary under test, or of the plain build."""
    for folder in (os.path.dirname(os.path.abspath(strait())), os.path.join(ROOT, "build")):
        path = os.path.join(folder, "tests", name)
        if os.access(path, os.X_OK):
            return path
    raise Failure(f"{name} is not built: make build/tests/{name}")


def store_floor(kind, rows, depth, seconds):
    """Bare commits of `rows` rows to a fresh database: rows and commits per second, latency."""
    text = run([micro("bench_store"), "--driver", kind, "--rows", rows, "--writers", 1, "--depth",
                depth, "--seconds", seconds], timeout=seconds + 60).stdout
    found = re.search(r"([\d.]+) rows/s\s+([\d.]+) commits/s\s+p50 ([\d.]+) ms\s+p99 ([\d.]+) ms", text)
    if not found:
        raise Failure(f"bench_store: {text.strip()[-300:]}")
    names = ("rows_per_s", "commits_per_s", "p50_ms", "p99_ms")
    return dict(zip(names, map(float, found.groups())), rows=rows, depth=depth)


def hop_floor(messages=5000, size=512):
    """One message through JetStream, from publishing until delivery."""
    text = run([micro("bench_bus"), messages, size], timeout=90,
               env={"NATS_SERVER": find_server() or "nats-server"}).stdout
    found = re.search(r"publish to delivery\s+p50\s+([\d.]+) us.*?p99\s+([\d.]+) us", text)
    if not found:
        raise Failure(f"bench_bus: {text.strip()[-300:]}")
    return {"p50_ms": float(found[1]) / 1000, "p99_ms": float(found[2]) / 1000}


# ---- the machine ------------------------------------------------------------------------------


def version(args):
    """The first thing that looks like a version in what a program says."""
    try:
        done = run(args, timeout=10, check=False)
    except (Failure, OSError):
        return "not found"
    found = re.search(r"\d+(\.\d+)+(-MariaDB)?", done.stdout + done.stderr)
    return found[0] if found else "unknown"


def postgres_program():
    base = "/usr/lib/postgresql"
    found = sorted((int(name), os.path.join(base, name, "bin", "postgres"))
                   for name in (os.listdir(base) if os.path.isdir(base) else []) if name.isdigit())
    return found[-1][1] if found else "postgres"


def sync_ms(folder, count=40):
    """The median time to make 4 KiB durable in a folder."""
    path = os.path.join(folder, "sync-probe")
    times = []
    with open(path, "wb", buffering=0) as file:
        for _ in range(count):
            begin = time.monotonic()
            file.write(b"x" * 4096)
            os.fdatasync(file.fileno())
            times.append(1000 * (time.monotonic() - begin))
    os.remove(path)
    return median(times)


def sqlite_version():
    """Of the library that the binary under test uses, as far as its file name tells."""
    listed = run(["ldd", strait()], check=False).stdout
    found = re.search(r"libsqlite3\S* => (\S+)", listed)
    name = os.path.realpath(found[1]) if found else ""
    shell = shutil.which("sqlite3")
    return version([shell, "--version"]) if shell else os.path.basename(name) or "unknown"


def machine(folder):
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        model = re.search(r"model name\s*: (.*)", file.read())
    with open("/proc/meminfo", encoding="ascii") as file:
        memory = int(re.search(r"MemTotal:\s+(\d+)", file.read())[1])
    with open("/proc/loadavg", encoding="ascii") as file:
        busy = float(file.read().split()[0])
    return {"cpu": model[1] if model else platform.machine(), "cores": len(os.sched_getaffinity(0)),
            "memory_gb": round(memory / 1024 / 1024, 1), "kernel": platform.release(),
            "sync_4k_ms": round(sync_ms(folder), 3), "load_average_before": busy,
            "strait": version([strait(), "version"]), "postgres": version([postgres_program(), "--version"]),
            "mariadb": version(["mariadbd", "--version"]), "sqlite": sqlite_version(),
            "nats_server": version([find_server() or "nats-server", "--version"])}
