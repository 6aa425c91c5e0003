# SPDX-License-Identifier: Apache-2.0
"""The calls that scenarios make themselves: the public API and the administration service."""

import json

from pb import Message, message
from process import Failure
from wire import Wire, ok

PUBLIC = "/temporal.api.workflowservice.v1.WorkflowService/"
ADMIN = "/strait.admin.v1.AdminService/"
RUNNING = 1


def execution(workflow_id, run_id=""):
    return message((1, workflow_id), (2, run_id or None))


def payloads(*values):
    """Payloads of JSON values."""
    return message((1, [message((1, message((1, "encoding"), (2, b"json/plain"))),
                                (2, json.dumps(value).encode())) for value in values]))


def first_value(encoded):
    """The first of some Payloads, read as JSON."""
    return json.loads(Message(encoded).one(1).data(2))


def queue(name):
    return message((1, name))


class Api:
    """One cluster, one namespace."""

    def __init__(self, address, namespace="default"):
        self.wire = Wire(address)
        self.namespace = namespace

    def public(self, method, *fields, timeout=None, headers=()):
        return self.wire.call(PUBLIC + method, message(*fields), timeout, headers)

    def admin(self, method, *fields, timeout=None):
        return self.wire.call(ADMIN + method, message(*fields), timeout)

    def start(self, workflow_id, kind, task_queue, *args, request_id=None):
        return self.public("StartWorkflowExecution", (1, self.namespace), (2, workflow_id),
                           (3, message((1, kind))), (4, queue(task_queue)), (5, payloads(*args)),
                           (9, "scenario"), (10, request_id or f"start-{workflow_id}"))

    def signal(self, workflow_id, name, *args):
        return self.public("SignalWorkflowExecution", (1, self.namespace),
                           (2, execution(workflow_id)), (3, name), (4, payloads(*args)))

    def executions(self, query=""):
        """All of a list: the WorkflowExecutionInfo messages."""
        found, token = [], b""
        while True:
            answer = Message(ok(self.public(
                "ListWorkflowExecutions", (1, self.namespace), (2, 500), (3, token), (4, query)),
                f"list {query!r}"))
            found += answer.each(1)
            token = answer.data(2)
            if not token:
                return found

    def count(self, query=""):
        answer = ok(self.public("CountWorkflowExecutions", (1, self.namespace), (2, query)),
                    f"count {query!r}")
        return Message(answer).number(1)

    def open_count(self):
        return self.count('ExecutionStatus = "Running"')

    def history(self, workflow_id, run_id=""):
        """The encoded events of a run."""
        events, token = [], b""
        while True:
            body = ok(self.public(
                "GetWorkflowExecutionHistory", (1, self.namespace),
                (2, execution(workflow_id, run_id)), (3, 500), (4, token)),
                f"history of {workflow_id}")
            answer = Message(body)
            events += Message(answer.data(1)).fields.get(1, [])
            token = answer.data(3)
            if not token:
                return events

    def query(self, workflow_id, name, timeout=10):
        body = ok(self.public("QueryWorkflow", (1, self.namespace), (2, execution(workflow_id)),
                              (3, message((1, name))), timeout=timeout), f"query {workflow_id}")
        return first_value(Message(body).data(1))

    def describe(self, workflow_id):
        return Message(ok(self.public("DescribeWorkflowExecution", (1, self.namespace),
                                      (2, execution(workflow_id))), f"describe {workflow_id}"))

    def pending_attempts(self, workflow_id):
        """The attempt of each pending activity."""
        return [activity.number(7) for activity in self.describe(workflow_id).each(3)]

    def namespace_known(self):
        return self.public("DescribeNamespace", (1, self.namespace)).code == "OK"

    def active_cluster(self):
        body = ok(self.public("DescribeNamespace", (1, self.namespace)), "describe namespace")
        return Message(body).one(3).text(1)

    # ---- administration

    def lanes(self):
        """Replication of the namespace as this cluster sees it: a dict per direction."""
        answer = Message(ok(self.admin("ReplicationStatus", (1, self.namespace)), "status"))
        return [{"source": lane.text(2), "target": lane.text(3), "lag_events": lane.number(4),
                 "lag_ms": lane.number(5), "outbox_rows": lane.number(6),
                 "applied_seq": lane.number(7), "newest_seq": lane.number(8),
                 "state": lane.text(9)} for lane in answer.each(1)]

    def lag(self, source, target=None):
        """Events of `source` that are not applied yet; None when this cluster has no such lane."""
        lanes = [lane for lane in self.lanes()
                 if lane["source"] == source and target in (None, lane["target"])]
        return sum(lane["lag_events"] for lane in lanes) if lanes else None

    def dead_letters(self):
        answer = Message(ok(self.admin("DeadLetterList", (1, 1000)), "dead letters"))
        return [{"source": item.text(1), "shard": item.number(2), "seq": item.number(3),
                 "namespace": item.text(5), "workflow_id": item.text(6), "run_id": item.text(7),
                 "reason": item.text(8), "detail": item.text(9)} for item in answer.each(1)]


def must(result, codes, what):
    """An answer that must be one of some errors and say something."""
    codes = codes.split("|")
    if result.code not in codes:
        raise Failure(f"{what}: got {result!r}, want {' or '.join(codes)}")
    if result.code != "OK" and not result.message:
        raise Failure(f"{what}: {result.code} without a word")
    return result
