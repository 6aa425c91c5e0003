# SPDX-License-Identifier: Apache-2.0
"""The `temporal` CLI of others works against the server, unchanged."""

import json
import os

import tools
from process import Failure, run
from registry import scenario
from sdk import Sdk

QUEUE = "work"


class Temporal:
    """The CLI, without any settings of the user's."""

    def __init__(self, folder, address, namespace):
        self.program = tools.temporal()
        home = os.path.join(folder, "home")
        os.makedirs(home, exist_ok=True)
        self.env = {"HOME": home, "XDG_CONFIG_HOME": home, "NO_COLOR": "1"}
        self.address = address
        self.namespace = namespace
        self.common = ["--address", address, "--namespace", namespace]

    def run(self, *args, timeout=30, check=True):
        return run([self.program, *args, *self.common], timeout=timeout, env=self.env, check=check)

    def json(self, *args, timeout=30):
        text = self.run(*args, "--output", "json", timeout=timeout).stdout
        try:
            return json.loads(text)
        except ValueError:
            raise Failure(f"temporal {' '.join(args)}: no JSON: {text[:300]}") from None

    def refused(self, word, *args):
        done = self.run(*args, check=False)
        if done.returncode == 0 or word not in (done.stderr + done.stdout).lower():
            raise Failure(f"temporal {' '.join(args)}: status {done.returncode}, no word of {word}: "
                          f"{done.stderr[-300:]} {done.stdout[-300:]}")


def same(what, got, want):
    if got != want:
        raise Failure(f"{what}: got {got!r}, want {want!r}")


def status_of(temporal, workflow_id):
    info = temporal.json("workflow", "describe", "-w", workflow_id)["workflowExecutionInfo"]
    return info["status"]


def runs(world, temporal):
    """start, execute, show, result, list, count"""
    short = json.dumps({"n": 7, "timerMs": 50})
    start = ["--type", "Short", "--task-queue", QUEUE, "--input", short]
    # Long enough to be running still when it is started again.
    slow = [*start[:-1], json.dumps({"n": 7, "timerMs": 2500})]
    begun = temporal.json("workflow", "start", "-w", "one", *slow)
    same("workflow id", begun["workflowId"], "one")
    temporal.refused("already", "workflow", "start", "-w", "one", "--fail-existing",
                     *slow)
    result = temporal.json("workflow", "result", "-w", "one")
    same("result", result["result"]["square"], 49)
    done = temporal.json("workflow", "execute", "-w", "two", *start)
    same("status of execute", done["status"], "COMPLETED")
    events = temporal.json("workflow", "show", "-w", "two")["events"]
    same("first event", events[0]["eventType"], "EVENT_TYPE_WORKFLOW_EXECUTION_STARTED")
    same("last event", events[-1]["eventType"], "EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED")
    described = temporal.json("workflow", "describe", "-w", "two")["workflowExecutionInfo"]
    same("history length", int(described["historyLength"]), len(events))
    query = "WorkflowType = 'Short' AND ExecutionStatus = 'Completed'"
    listed = temporal.json("workflow", "list", "--query", query)
    same("list", sorted(item["execution"]["workflowId"] for item in listed), ["one", "two"])
    same("count", int(temporal.json("workflow", "count", "--query", query).get("count", 0)), 2)
    temporal.run("workflow", "list")  # the table, too
    temporal.run("workflow", "show", "-w", "one")
    temporal.run("workflow", "describe", "-w", "one")


def messages(world, temporal):
    """signal, query, cancel, terminate"""
    order = json.dumps({"activityMs": 50, "heartbeatMs": 5000, "timerMs": 50, "failures": 0,
                        "backoffMs": 50, "approvals": 1})
    temporal.run("workflow", "start", "-w", "order", "--type", "Order", "--task-queue", QUEUE,
                 "--input", order)
    for value in (11, 12):
        temporal.run("workflow", "signal", "-w", "order", "--name", "add", "--input", str(value))

    def state():
        return temporal.json("workflow", "query", "-w", "order", "--name", "state")["queryResult"][0]

    world.wait(lambda: state()["phase"] == "approval", 20, lambda: f"approval is asked: {state()}")
    same("values", state()["values"], [11, 12])
    temporal.refused("nothing", "workflow", "query", "-w", "order", "--name", "nothing")
    temporal.run("workflow", "signal", "-w", "order", "--name", "approve")
    temporal.run("workflow", "signal", "-w", "order", "--name", "finish")
    same("values in the end", temporal.json("workflow", "result", "-w", "order")["result"]["values"],
         [11, 12])
    waiting = json.dumps({"steps": [{"op": "timer", "ms": 600000}]})
    for workflow_id, verb in (("stopped", "cancel"), ("ended", "terminate")):
        temporal.run("workflow", "start", "-w", workflow_id, "--type", "Script", "--task-queue", QUEUE,
                     "--input", waiting)
        temporal.run("workflow", verb, "-w", workflow_id)
    world.wait(lambda: status_of(temporal, "stopped") == "WORKFLOW_EXECUTION_STATUS_CANCELED", 20,
               "the canceled one is canceled")
    same("terminated", status_of(temporal, "ended"), "WORKFLOW_EXECUTION_STATUS_TERMINATED")
    temporal.refused("not found", "workflow", "describe", "-w", "nobody")
    temporal.refused("not found", "workflow", "signal", "-w", "nobody", "--name", "add")


def operator(world, temporal):
    """operator namespace describe, update, list; operator cluster health, describe"""
    name = temporal.namespace
    temporal.run("operator", "cluster", "health")
    temporal.run("operator", "cluster", "system")
    temporal.run("operator", "cluster", "describe")
    described = temporal.json("operator", "namespace", "describe")
    same("namespace", described["namespaceInfo"]["name"], name)
    temporal.run("operator", "namespace", "update", "--description", "changed", "--retention",
                 "48h")
    described = temporal.json("operator", "namespace", "describe")
    same("description", described["namespaceInfo"]["description"], "changed")
    same("retention", described["config"]["workflowExecutionRetentionTtl"], "172800s")
    names = [item["namespaceInfo"]["name"] for item in temporal.json("operator", "namespace", "list")]
    if name not in names:
        raise Failure(f"{name} is not among {names}")
    nowhere = Temporal(world.folder, temporal.address, "nowhere")
    nowhere.refused("not found", "operator", "namespace", "describe")
    nowhere.refused("not found", "workflow", "list")


def everything(world, temporal):
    operator(world, temporal)
    runs(world, temporal)
    messages(world, temporal)


@scenario("temporal-cli", deadline=180, languages=["python"], tools=["temporal"])
def temporal_cli(world):
    """the temporal CLI: workflow and operator commands, and a failover by namespace update"""
    us, eu = world.pair("sqlite", "sqlite")
    world.create_namespace("orders", [us, eu], active=us)
    sdk = Sdk(world, "python", "orders", QUEUE)
    sdk.ready(sdk.worker(us), sdk.worker(eu))
    everything(world, Temporal(world.folder, us.address, "orders"))
    # The public API moves a namespace as well.
    temporal = Temporal(world.folder, us.address, "orders")
    temporal.run("operator", "namespace", "update", "--active-cluster", "eu")
    for cluster in (us, eu):
        api = cluster.api("orders")
        world.wait(lambda a=api: a.active_cluster() == "eu", 20, f"eu is active, says {cluster.name}")
    there = Temporal(world.folder, eu.address, "orders")
    done = there.json("workflow", "execute", "-w", "three", "--type", "Short", "--task-queue", QUEUE,
                      "--input", json.dumps({"n": 3, "timerMs": 10}))
    same("status on eu", done["status"], "COMPLETED")
    # What is asked of the wrong side is carried out all the same.
    temporal.run("workflow", "start", "-w", "four", "--type", "Short", "--task-queue", QUEUE,
                 "--input", json.dumps({"n": 4, "timerMs": 10}))
    same("result, told by us", temporal.json("workflow", "result", "-w", "four")["result"]["square"], 16)
