# SPDX-License-Identifier: Apache-2.0
"""The operator's own command line, and what a visitor tries first."""

import json
import os

from process import Failure, run
from registry import scenario
from sdk import Sdk
from world import strait


def same(what, got, want):
    if got != want:
        raise Failure(f"{what}: got {got!r}, want {want!r}")


def usage_errors(us):
    """Wrong usage is status 2 and a line on stderr; what is wrong with the server is status 1."""
    for args in (["nonsense"], ["namespace"], ["namespace", "create"], ["failover", "orders"],
                 ["server"], ["workflow", "start", "--nonsense"], []):
        done = run([strait(), *args], check=False)
        if done.returncode != 2 or not done.stderr.strip():
            raise Failure(f"strait {' '.join(args)}: status {done.returncode}, {done.stderr!r}")
    for args in (["help"], ["version"], ["server", "--help"], ["failover", "--help"],
                 ["namespace", "--help"], ["replication", "--help"], ["workflow", "--help"],
                 ["load", "--help"]):
        done = run([strait(), *args])
        if not done.stdout.strip():
            raise Failure(f"strait {' '.join(args)} prints nothing")
    for args, word in ((["namespace", "describe", "nowhere"], "nowhere"),
                       (["failover", "nowhere", "--to", "us"], "nowhere"),
                       (["failover", "orders", "--to", "mars"], "mars"),
                       (["namespace", "create", "orders"], "orders")):
        done = run([strait(), *args, "--address", us.address], check=False)
        if done.returncode != 1 or word not in done.stderr:
            raise Failure(f"strait {' '.join(args)}: status {done.returncode}, {done.stderr!r}")
    done = run([strait(), "cluster", "list", "--address", "127.0.0.1:1"], check=False)
    if done.returncode != 1 or "127.0.0.1:1" not in done.stderr:
        raise Failure(f"nobody listens: status {done.returncode}, {done.stderr!r}")


def configuration(world, us):
    """A configuration is checked, and refused with file, line and remedy."""
    same("check", run([strait(), "server", "--config", us.config, "--check"]).returncode, 0)
    with open(us.config, encoding="utf-8") as file:
        text = file.read()
    bad = os.path.join(world.folder, "bad.yaml")
    with open(bad, "w", encoding="utf-8") as file:
        file.write(text.replace("  shards: 8", "  shards: many\n  sherds: 8"))
    for check in ([], ["--check"]):
        done = run([strait(), "server", "--config", bad, *check], check=False)
        if done.returncode != 1 or "bad.yaml" not in done.stderr:
            raise Failure(f"a bad configuration: status {done.returncode}, {done.stderr!r}")


def namespaces(world, us, eu):
    described = world.strait_json(us, "namespace", "describe", "orders")
    same("clusters", described["clusters"], ["us", "eu"])
    same("active", described["active_cluster"], "us")
    world.strait(us, "namespace", "update", "orders", "--retention", "48h")
    world.wait(lambda: int(world.strait_json(eu, "namespace", "describe", "orders")["retention_ms"])
               == 48 * 3600 * 1000, 20, "eu knows the new retention")
    world.strait(us, "namespace", "list")
    listed = world.strait_json(eu, "namespace", "list")
    listed = listed.get("namespaces", listed) if isinstance(listed, dict) else listed
    if "orders" not in [item["name"] for item in listed]:
        raise Failure(f"namespace list on eu: {listed}")
    for args in (["cluster", "list"], ["cluster", "status"], ["replication", "status"],
                 ["replication", "status", "orders"], ["replication", "dlq", "list"],
                 ["failover", "list", "orders"], ["namespace", "describe", "orders"]):
        if not world.strait(us, *args).stdout.strip():
            raise Failure(f"strait {' '.join(args)} prints nothing")
        world.strait_json(us, *args)


def workflows(world, us):
    """strait workflow ..."""
    def workflow(verb, *args):
        return world.strait(us, "workflow", verb, *args, "--namespace", "orders")

    order = {"activityMs": 50, "heartbeatMs": 5000, "timerMs": 50, "failures": 0, "backoffMs": 50,
             "approvals": 1}
    workflow("start", "order", "--type", "Order", "--task-queue", "work", "--input",
             json.dumps(order))
    workflow("signal", "order", "--name", "add", "--input", "5")
    world.wait(lambda: "approval" in workflow("query", "order", "--type", "state").stdout, 20,
               "the order asks for approval")
    workflow("signal", "order", "--name", "approve")
    workflow("signal", "order", "--name", "finish")
    world.wait(lambda: "Completed" in workflow("describe", "order").stdout.title(), 20,
               "the order is completed")
    for text, args in (("order", ["list"]), ("WORKFLOW_EXECUTION_COMPLETED", ["history", "order"])):
        if text not in workflow(*args).stdout:
            raise Failure(f"strait workflow {' '.join(args)} does not show {text}")
    for name, verb in (("stopped", "cancel"), ("ended", "terminate")):
        workflow("start", name, "--type", "Nothing", "--task-queue", "nobody")
        workflow(verb, name)


@scenario("strait-cli", deadline=120, languages=["python"])
def strait_cli(world):
    """strait namespace, cluster, replication, failover, workflow, load; wrong usage; configuration"""
    us, eu = world.pair("sqlite", "sqlite")
    world.create_namespace("orders", [us, eu], active=us)
    usage_errors(us)
    configuration(world, us)
    namespaces(world, us, eu)
    sdk = Sdk(world, "python", "orders")
    sdk.ready(sdk.worker(us))
    workflows(world, us)
    load = world.strait(us, "load", "--namespace", "orders", "--seconds", "3", "--concurrency", "8")
    world.note(load.stdout.strip().split("\n")[-1][:200])
    world.fail_over(us, "orders", eu)
    history = world.strait_json(eu, "failover", "list", "orders")
    if "graceful" not in json.dumps(history):
        raise Failure(f"the failover is not in its list: {history}")
    for cluster in (us, eu):
        metrics = cluster.metrics()
        if not any(name.startswith("strait_") for name in metrics):
            raise Failure(f"{cluster.name} has no metrics of its own")


@scenario("demo", deadline=120)
def demo(world):
    """strait demo: what `make run` shows, to its end"""
    done = run([strait(), "demo", "--exit"], timeout=110, check=False)
    with open(os.path.join(world.folder, "demo.log"), "w", encoding="utf-8") as file:
        file.write(done.stdout + done.stderr)
    if done.returncode != 0 or "nothing was lost" not in done.stdout:
        raise Failure(f"status {done.returncode}: {(done.stdout + done.stderr).strip()[-500:]}")
    world.note(" ".join(line.strip() for line in done.stdout.split("\n") if "pause" in line))


@scenario("dev", deadline=90, languages=["go"])
def dev(world):
    """strait dev: an SDK works against it, on both ports"""
    port, console = world.free_port(), world.free_port()
    while world.free_port() == port + 1:
        pass
    process = world.process("dev", [strait(), "dev", "--port", port, "--console-port", console])
    world.wait(lambda: "\nready" in "\n" + process.output(), 30, "strait dev is ready")

    class There:
        """As much of a cluster as a client needs."""
        def __init__(self, name, number):
            self.name = name
            self.address = f"127.0.0.1:{number}"

    sdk = Sdk(world, "go", "default")
    us, eu = There("us", port), There("eu", port + 1)
    sdk.ready(sdk.worker(us))
    for cluster in (us, eu):
        journal = sdk.path(f"starts-{cluster.name}")
        sdk.client(cluster, "load", id_prefix=cluster.name, rate=5, for_=1, journal=journal)
        sdk.client(cluster, "verify", id_prefix=cluster.name, journal=journal, timeout=30)
    world.forget(process)
    if process.stop() != 0:
        raise Failure("strait dev does not end well on SIGTERM")
