# SPDX-License-Identifier: Apache-2.0
"""The world of one scenario: clusters with their database and NATS server, workers, clients, and the
operator's command line. Everything lives in one folder and ends with the scenario.
"""

import http.client
import json
import os
import random
import re
import socket

import audit
import database
import nats
from api import Api
from process import Failure, Process, SLOWER, poll, run

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
INCREMENT = 100
VERSIONS = {"us": 1, "eu": 2, "ap": 3}
MEMORY_MAX_MB = int(os.environ.get("STRAIT_TEST_MEMORY_MB", "600"))


def strait():
    return os.path.abspath(os.environ.get("STRAIT") or os.path.join(ROOT, "build", "strait"))


def yaml(value, indent=0):
    """Nested dicts and lists of dicts as YAML."""
    out = []
    pad = "  " * indent
    for key, item in value.items():
        if isinstance(item, dict):
            out += [f"{pad}{key}:", yaml(item, indent + 1)]
        elif isinstance(item, list):
            out.append(f"{pad}{key}:")
            for entry in item:
                text = yaml(entry, indent + 2)
                out.append(f"{pad}  - " + text.lstrip())
        else:
            out.append(f"{pad}{key}: {item}")
    return "\n".join(out)


class Cluster:
    """One region: a node, its database, its NATS server."""

    def __init__(self, world, name, kind):
        self.world = world
        self.name = name
        self.grpc_port = world.free_port()
        self.console_port = world.free_port()
        self.address = f"127.0.0.1:{self.grpc_port}"
        self.database = database.open_database(world, name, kind)
        self.nats = nats.Nats(world, name) if world.replicated else None
        self.settings = {}
        self.config = os.path.join(world.folder, f"{name}.yaml")
        self.process = Process(world.folder, name, [strait(), "server", "--config", self.config],
                               merged=True)
        self.process.env.setdefault("ASAN_OPTIONS", "detect_leaks=1")
        self.memory_peak_mb = 0.0
        world.watched.append(self.process)

    def write_config(self):
        members = []
        for other in self.world.clusters.values():
            member = {"name": other.name, "initial_version": VERSIONS[other.name],
                      "grpc": other.address}
            if other.nats:
                member["nats"] = {"url": other.nats.url}
            members.append(member)
        config = {
            "cluster": {"name": self.name, "shards": 8, "executors": 1},
            "federation": {"increment": INCREMENT, "clusters": members},
            "database": self.database.config(),
            "listen": {"grpc": self.address, "console": f"127.0.0.1:{self.console_port}"},
            "log": {"level": "info"},
            **self.settings}
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(yaml(config) + "\n")

    def start(self, wait=True):
        self.process.start()
        if wait:
            self.wait_serving()
        return self

    def wait_serving(self, timeout=60):
        poll(self.ready, timeout, lambda: f"{self.name} serves: {self.last_words()}",
             self.watch_start)

    def watch_start(self):
        if not self.process.running():
            raise Failure(self.process.died())

    def last_words(self):
        return self.process.output().strip().split("\n")[-1][:300]

    def ready(self):
        return "node.serving" in self.process.output() and self.get("/readyz")[0] == 200

    def get(self, path):
        """HTTP status and text; status 0 when nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.console_port, timeout=5 * SLOWER)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")
        except OSError:
            return 0, ""
        finally:
            connection.close()

    def metrics(self):
        """{name with labels: value}"""
        status, text = self.get("/metrics")
        if status != 200:
            raise Failure(f"{self.name}: /metrics answers {status}")
        lines = [line.rsplit(" ", 1) for line in text.split("\n") if line and line[0] != "#"]
        return {name: float(value) for name, value in lines}

    def note_memory(self):
        if self.process.running():
            self.memory_peak_mb = max(self.memory_peak_mb, self.process.memory_peak_mb())

    def kill(self):
        """SIGKILL, as the kernel's own hand would."""
        self.note_memory()
        self.process.kill()

    def stop(self):
        """SIGTERM; it must end well."""
        self.note_memory()
        status = self.process.stop(40)
        if status != 0:
            raise Failure(f"{self.name} ended with status {status} on SIGTERM: {self.last_words()}")

    def api(self, namespace="default"):
        return Api(self.address, namespace)

    def log_lines(self, event):
        """The lines of an event, of every start."""
        with open(self.process.log, encoding="utf-8", errors="replace") as file:
            return [line.rstrip("\n") for line in file if re.search(rf"\b{re.escape(event)}\b", line)]


class World:
    def __init__(self, folder, seed, scale=1.0):
        self.folder = folder
        self.seed = seed
        self.scale = scale
        self.random = random.Random(seed)
        self.clusters = {}
        self.replicated = False
        self.watched = []     # processes that must live until told otherwise
        self.notes = []
        self.expected = []    # patterns of error lines that belong to what the scenario does
        self.ports = set()

    # ---- making it

    def free_port(self):
        for _ in range(200):
            port = random.SystemRandom().randrange(10000, 20000)
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    continue
            if port not in self.ports:
                self.ports.add(port)
                return port
        raise Failure("no free port")

    def single(self, kind="sqlite", **settings):
        """One cluster, us, that replicates to nobody."""
        self.clusters["us"] = Cluster(self, "us", kind)
        return self.up(settings)["us"]

    def pair(self, us, eu, **settings):
        """us and eu on the named kinds of database, each with a NATS server."""
        self.replicated = True
        self.clusters["us"] = Cluster(self, "us", us)
        self.clusters["eu"] = Cluster(self, "eu", eu)
        return tuple(self.up(settings).values())

    def up(self, settings):
        for cluster in self.clusters.values():
            cluster.settings = settings
            cluster.write_config()
            if cluster.nats:
                cluster.nats.start()
        for cluster in self.clusters.values():
            cluster.start(wait=False)
        for cluster in self.clusters.values():
            cluster.wait_serving()
        return self.clusters

    def process(self, name, args, env=None):
        """A process that must keep running until `forget`."""
        process = Process(self.folder, name, args, env)
        self.watched.append(process)
        return process.start()

    def forget(self, process):
        """This process may end now."""
        if process in self.watched:
            self.watched.remove(process)

    # ---- waiting

    def watch(self):
        """Raises when something has died that nobody killed."""
        for process in self.watched:
            child = process.child
            if child is not None and child.poll() is not None and child.returncode != -9:
                raise Failure(process.died())

    def wait(self, probe, timeout, what):
        return poll(probe, timeout, what, self.watch)

    def note(self, text):
        self.notes.append(text)

    # ---- the operator

    def strait(self, cluster, *args, check=True, timeout=60):
        """A command of the operator's, sent to a cluster."""
        return run([strait(), *args, "--address", cluster.address], timeout=timeout, check=check)

    def strait_json(self, cluster, *args, check=True):
        text = self.strait(cluster, *args, "--output", "json", check=check).stdout
        try:
            return json.loads(text)
        except ValueError:
            raise Failure(f"strait {' '.join(args)} --output json is not JSON: {text[:300]}") from None

    def create_namespace(self, name, clusters, active):
        """A global namespace, known on all its clusters."""
        names = ",".join(cluster.name for cluster in clusters)
        self.strait(active, "namespace", "create", name, "--clusters", names, "--active", active.name)
        for cluster in clusters:
            self.wait(cluster.api(name).namespace_known, 20, f"{cluster.name} knows {name}")

    def fail_over(self, via, namespace, target, *args, check=True):
        return self.strait(via, "failover", namespace, "--to", target.name, *args, check=check)

    def drained(self, namespace, source, target, timeout=60):
        """Everything that `source` has of the namespace is applied at `target`."""
        api = source.api(namespace)
        try:
            self.wait(lambda: self.caught_up(api, source, target), timeout,
                      lambda: f"{target.name} has all of {source.name}: {api.lanes()}")
        finally:
            api.wire.close()

    @staticmethod
    def caught_up(api, source, target):
        lag = api.lag(source.name, target.name)
        # A passive side shows its lane only while there is something in it.
        return lag == 0 or lag is None and api.active_cluster() != source.name

    # ---- the end

    def close(self):
        """Stops the clusters, each of which must end well, and reads every log."""
        for process in list(self.watched):
            if process not in [cluster.process for cluster in self.clusters.values()]:
                self.forget(process)
        for cluster in self.clusters.values():
            if cluster.process.running():
                cluster.stop()
        problems = audit.problems(self)
        if problems:
            raise Failure(problems[0] + (f" (and {len(problems) - 1} more)" if problems[1:] else ""))
        peaks = [f"{c.name} {c.memory_peak_mb:.0f}" for c in self.clusters.values()]
        if peaks:
            self.note(f"peak memory MB: {', '.join(peaks)}")
        if not audit.instrumented(self):
            for cluster in self.clusters.values():
                if cluster.memory_peak_mb > MEMORY_MAX_MB:
                    raise Failure(f"{cluster.name} used {cluster.memory_peak_mb:.0f} MB of memory")

    def abandon(self):
        """After a failure or a success: nothing stays."""
        for process in self.watched:
            process.kill()
        for cluster in self.clusters.values():
            cluster.process.kill()
            cluster.database.stop()
