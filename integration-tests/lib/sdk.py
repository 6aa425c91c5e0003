# SPDX-License-Identifier: Apache-2.0
"""Workers and clients of the official SDKs: the programs that ../sdk/README.md describes."""

import os
import re

from process import Failure, Process, SLOWER, run, tail
from world import ROOT

LANGUAGES = ["python", "go", "typescript"]
SKIPPED = 77
# Checks of `features` for what this release does not have. They are left out, and said to be.
NOT_YET = {
    "child_workflow": "child workflows come with a later release",
    "child_close_policy": "child workflows come with a later release",
    "signal_external": "signals from one workflow to another come with a later release",
}


def folder(language):
    return os.path.join(ROOT, "build", "sdk", language)


def set_up(language):
    """Makes the program. None when it is there, else the reason why this machine cannot have it."""
    script = os.path.join(ROOT, "integration-tests", "sdk", language, "setup.sh")
    done = run([script, folder(language)], timeout=900, check=False)
    if done.returncode == SKIPPED:
        return done.stdout.strip().split("\n")[-1].removeprefix("skip: ")
    if done.returncode != 0:
        raise Failure(f"{script}: {(done.stderr or done.stdout).strip()[-600:]}")
    return None


def program(language):
    return os.path.join(folder(language), "sdk")


class Sdk:
    """One language in one world, always in one namespace and on one task queue."""

    def __init__(self, world, language, namespace="default", queue="work"):
        self.world = world
        self.language = language
        self.common = ["--namespace", namespace, "--task-queue", queue]
        self.queue = queue
        self.count = 0

    def path(self, name):
        return os.path.join(self.world.folder, name)

    def name(self, role, cluster):
        self.count += 1
        return f"{role}-{self.language}-{cluster.name}-{self.count}"

    def worker(self, cluster, effects=None):
        """A running worker; see `ready`."""
        args = [program(self.language), "worker", "--address", cluster.address, *self.common]
        if effects:
            args += ["--effects", effects]
        return self.world.process(self.name("worker", cluster), args)

    def ready(self, *workers, timeout=60):
        for worker in workers:
            self.world.wait(lambda w=worker: "READY" in w.output(), timeout,
                            lambda w=worker: f"{w.name} is ready: {tail(w.log, 2)}")

    def client_args(self, cluster, case, options):
        args = [program(self.language), "client", case, "--address", cluster.address, *self.common]
        for key, value in options.items():
            for item in value if isinstance(value, list) else [value]:
                args += [f"--{key.replace('_', '-')}", str(item)]
        return args

    def client(self, cluster, case, limit=120, **options):
        """Runs a client to its end: what it printed. Fails when it does."""
        client = self.begin(cluster, case, **options)
        return self.end(client, limit)

    def begin(self, cluster, case, **options):
        """A client in the background, for `end`. Its keyword `for_` is the flag --for."""
        options = {key.rstrip("_"): value for key, value in options.items()}
        if "timeout" in options:
            options["timeout"] *= SLOWER
        args = self.client_args(cluster, case, options)
        return Process(self.world.folder, self.name(case, cluster), args).start()

    def end(self, client, limit=120, check=True):
        """Waits for a client: its output."""
        self.world.wait(lambda: not client.running(), limit, f"{client.name} ends")
        output = client.output()
        if check and client.child.returncode != 0:
            raise Failure(f"{client.name}: {complaint(output) or tail(client.log)}")
        return output

    def halt(self, client, limit=60):
        """Ends an endless client (SIGTERM): its output."""
        client.signal()
        return self.end(client, limit)


def complaint(output):
    """The first failures that a client printed, and how many there are."""
    bad = [line for line in output.split("\n") if line.startswith("FAIL ")]
    more = f" (and {len(bad) - 3} more)" if len(bad) > 3 else ""
    return "; ".join(line[:300] for line in bad[:3]) + more


def summary(output):
    """{name: number} of a last line such as `verify: acknowledged=3 good=3`."""
    last = output.strip().split("\n")[-1]
    return {name: int(value) for name, value in re.findall(r"(\w+)=(\d+)", last)}


def journal_length(path):
    """Acknowledged lines of a journal, so far."""
    try:
        with open(path, encoding="utf-8") as file:
            return sum(1 for line in file if line.endswith("\n") and '"unknown"' not in line)
    except OSError:
        return 0
