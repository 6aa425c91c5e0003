# SPDX-License-Identifier: Apache-2.0
"""What no client should send, on the gRPC port, the console's port and the NATS subjects: each is
answered or parked with its clear error, and the work goes on."""

import os
import re
import socket
import time

import compare
from api import ADMIN, PUBLIC, Api, execution, must, queue
from pb import message
from process import Failure
from registry import scenario
from sdk import Sdk
from wire import Wire
from world import ROOT

OPERATOR = "/temporal.api.operatorservice.v1.OperatorService/"
HEALTH = "/grpc.health.v1.Health/Check"
# What may be answered to bytes that are no message of the method: never silence, never a guess.
REFUSED = "INVALID_ARGUMENT|INTERNAL"
MIB = 1 << 20


def methods():
    """Every method of the services, as the server's own table names them."""
    with open(os.path.join(ROOT, "cluster/frontend/method.c"), encoding="utf-8") as file:
        found = re.findall(r"^\s+(OPERATOR|WORKFLOW)\((\w+),", file.read(), re.M)
    with open(os.path.join(ROOT, "proto/admin.proto"), encoding="utf-8") as file:
        admin = re.findall(r"^message (\w+)Request\b", file.read(), re.M)
    if len(found) < 30 or len(admin) < 10:
        raise Failure("the method tables are not where they were")
    prefix = {"OPERATOR": OPERATOR, "WORKFLOW": PUBLIC}
    return [prefix[kind] + name for kind, name in found] + [ADMIN + name for name in admin]


def garbage(random):
    """Bytes of several kinds of wrong."""
    kinds = [
        lambda: bytes(random.randrange(256) for _ in range(random.randrange(1, 300))),
        lambda: b"\x0a\xff\xff\xff\xff\x0f" + b"x" * 10,      # a field longer than the message
        lambda: b"\x0a\x05ord",                               # cut off
        lambda: b"\xff" * 20,                                 # a varint without end
        lambda: b"\x0b" * 100,                                # groups within groups
        lambda: b"\x08" * 31,                                 # a number where text belongs
        lambda: b"\x12\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
        lambda: message((1, "default"), (2, b"\xff\xfe\xfd"), (3, b"\xff")),
        lambda: message(*[(number, b"\xc3\x28") for number in range(1, 30)]),
    ]
    return random.choice(kinds)()


def malformed(world, us):
    """Every method takes garbage and empty requests."""
    wire = Wire(us.address)
    unframed = [b"", b"\0", b"\0\0\0\0\x09abc", b"\0\xff\xff\xff\xff", b"\1\0\0\0\3abc",
                b"\x07\0\0\0\0", b"\0\0\0\0\0" * 3]
    for path in methods():
        if path == ADMIN + "DeleteNamespace":
            continue  # some of the garbage names a namespace
        for _ in range(max(3, round(6 * world.scale))):
            result = wire.call(path, garbage(world.random), timeout=10)
            if result.code in ("SILENCE", "LOST", "RESET", "UNKNOWN"):
                raise Failure(f"garbage for {path}: {result!r}")
            if result.code != "OK" and not result.message:
                raise Failure(f"garbage for {path}: {result.code} without a word")
        result = wire.call(path, b"", timeout=10)
        if result.code in ("SILENCE", "LOST", "RESET", "UNKNOWN", "INTERNAL"):
            raise Failure(f"an empty request for {path}: {result!r}")
    start = PUBLIC + "StartWorkflowExecution"
    must(wire.call(start, b"\x0a\x05ord"), REFUSED, "a cut request")
    for data in unframed:
        result = wire.call(start, framed=data, timeout=10)
        if result.code in ("OK", "SILENCE"):
            raise Failure(f"broken frame {data!r}: {result!r}")
    wire.close()


def names(api, us):
    """Namespaces, ids, types, queues."""
    nowhere = Api(us.address, "nowhere")
    result = must(nowhere.start("a", "Short", "work", {}), "NOT_FOUND", "unknown namespace")
    if "nowhere" not in result.message:
        raise Failure(f"unknown namespace is not named: {result.message}")
    must(nowhere.signal("a", "add", 1), "NOT_FOUND", "unknown namespace, signal")
    must(nowhere.public("PollWorkflowTaskQueue", (1, "nowhere"), (2, queue("work")), timeout=10),
         "NOT_FOUND", "unknown namespace, poll")
    must(Api(us.address, "").start("a", "Short", "work", {}), "INVALID_ARGUMENT", "no namespace")
    must(api.start("", "Short", "work", {}), "INVALID_ARGUMENT", "empty workflow id")
    must(api.start("a", "", "work", {}), "INVALID_ARGUMENT", "empty workflow type")
    must(api.start("a", "Short", "", {}), "INVALID_ARGUMENT", "empty task queue")
    must(api.start("x" * 1001, "Short", "work", {}), "INVALID_ARGUMENT", "long workflow id")
    must(api.start("a", "Short", "work", {}, request_id="r" * 1001), "INVALID_ARGUMENT",
         "long request id")
    must(api.start(b"\xff\xfe", "Short", "work", {}), REFUSED, "an id that is not UTF-8")
    must(api.signal("", "add", 1), "INVALID_ARGUMENT", "signal to an empty id")
    must(api.signal("nobody", "add", 1), "NOT_FOUND", "signal to nobody")
    must(api.signal("nobody", "", 1), "INVALID_ARGUMENT|NOT_FOUND", "a signal without name")
    bad_run = api.public("DescribeWorkflowExecution", (1, "default"),
                         (2, execution("open", "not-a-uuid")))
    must(bad_run, "INVALID_ARGUMENT", "a run id that is none")
    must(api.public("QueryWorkflow", (1, "default"), (2, execution("nobody")),
                    (3, message((1, "state")))), "NOT_FOUND", "query of nobody")
    must(api.public("ListWorkflowExecutions", (1, "default"), (4, "Nonsense = = 3")),
         "INVALID_ARGUMENT", "a list query that is none")
    must(api.public("PollWorkflowTaskQueue", (1, "default"), timeout=10), "INVALID_ARGUMENT",
         "a poll without task queue")
    must(api.wire.call("/nobody.knows.This/Method"), "UNIMPLEMENTED", "unknown service")
    must(api.public("NoSuchMethod"), "UNIMPLEMENTED", "unknown method")
    must(api.admin("NoSuchMethod"), "UNIMPLEMENTED", "unknown method of administration")
    must(api.admin("CreateNamespace", (1, "bad"), (3, ["us", "mars"]), (4, "us")),
         "INVALID_ARGUMENT|NOT_FOUND|FAILED_PRECONDITION", "a namespace on an unknown cluster")
    must(api.admin("Failover", (1, "default"), (2, "mars")),
         "INVALID_ARGUMENT|NOT_FOUND|FAILED_PRECONDITION", "failover to an unknown cluster")
    must(api.admin("DescribeNamespace", (1, "nowhere")), "NOT_FOUND", "unknown namespace, admin")


def sizes(api):
    """Blobs, messages."""
    must(api.start("big", "Short", "work", "x" * (2 * MIB + 100)), "INVALID_ARGUMENT", "a large input")
    must(api.signal("open", "add", "x" * (2 * MIB + 100)), "INVALID_ARGUMENT", "a large signal")
    must(api.start("huge", "Short", "work", "x" * (6 * MIB)), "RESOURCE_EXHAUSTED",
         "a message beyond 4 MiB")
    memo = message((1, message((1, "k"), (2, message((2, b"m" * (2 * MIB + 100)))))))
    must(api.public("StartWorkflowExecution", (1, "default"), (2, "memo"), (3, message((1, "Short"))),
                    (4, queue("work")), (10, "r"), (14, memo)), "INVALID_ARGUMENT", "a large memo")
    must(api.start("nearly", "Nothing", "nowhere", "x" * (2 * MIB - 1000)), "OK", "a blob that fits")


def tokens(api):
    """Task tokens and page tokens that nobody gave out."""
    for token in (b"\0", b"garbage", b"\x08\x01\x12\x04abcd", b"\xff" * 200):
        for method, fields in (
                ("RespondWorkflowTaskCompleted", ((1, token), (9, "default"))),
                ("RespondWorkflowTaskFailed", ((1, token), (5, "default"))),
                ("RespondActivityTaskCompleted", ((1, token), (4, "default"))),
                ("RespondActivityTaskFailed", ((1, token), (4, "default"))),
                ("RespondActivityTaskCanceled", ((1, token), (4, "default"))),
                ("RecordActivityTaskHeartbeat", ((1, token), (4, "default"))),
                ("RespondQueryTaskCompleted", ((1, token), (6, "default")))):
            must(api.public(method, *fields), "INVALID_ARGUMENT|NOT_FOUND", f"{method}, wrong token")
        must(api.public("GetWorkflowExecutionHistory", (1, "default"), (2, execution("open")),
                        (4, token)), "INVALID_ARGUMENT", "history, wrong page token")
        must(api.public("ListWorkflowExecutions", (1, "default"), (3, token)), "INVALID_ARGUMENT",
             "list, wrong page token")
    must(api.public("RespondActivityTaskCompletedById", (1, "default"), (2, "open"), (4, "7")),
         "NOT_FOUND|INVALID_ARGUMENT", "an activity that is none")


def deadlines(api):
    """Calls whose time is over, or is soon."""
    for unit in ("1n", "1u"):
        result = api.public("DescribeNamespace", (1, "default"), headers=[("grpc-timeout", unit)])
        must(result, "DEADLINE_EXCEEDED|OK|CANCELLED", f"a deadline of {unit}")
    poll = [(1, "default"), (2, queue("nobody"))]
    must(api.public("PollWorkflowTaskQueue", *poll, headers=[("grpc-timeout", "3S")], timeout=20),
         "OK|DEADLINE_EXCEEDED", "a poll of 3 s")
    must(api.public("PollWorkflowTaskQueue", *poll, headers=[("grpc-timeout", "100m")], timeout=20),
         "INVALID_ARGUMENT|DEADLINE_EXCEEDED|OK", "a poll of 100 ms")
    for word in ("abc", "-1S", "99999999999999S", ""):
        result = api.public("GetSystemInfo", headers=[("grpc-timeout", word)], timeout=10)
        if result.code == "SILENCE":
            raise Failure(f"grpc-timeout {word!r} is answered by silence")


def raw_bytes(world, us):
    """Bytes that are not even HTTP, and connections that say nothing."""
    idle = []
    for port in (us.grpc_port, us.console_port):
        for _ in range(20):
            data = bytes(world.random.randrange(256) for _ in range(world.random.randrange(1, 400)))
            for prefix in (b"", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"):
                with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
                    try:
                        connection.sendall(prefix + data)
                    except OSError:
                        pass  # refused already: good
        idle += [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(20)]
    for path in ("/nothing", "/../../etc/passwd", "/" + "a" * 3000, "/metrics?x=1"):
        us.get(path)
    if us.get("/nothing")[0] != 404:
        raise Failure("the console answers what it does not have")
    for connection in idle:
        connection.close()


def still_works(world, sdk, us):
    """Healthy, and a few workflows go through."""
    world.watch()
    for path in ("/healthz", "/readyz"):
        if us.get(path)[0] != 200:
            raise Failure(f"{path} answers {us.get(path)}")
    result = Wire(us.address).call(HEALTH)
    if result.code != "OK" or result.body != b"\x08\x01":
        raise Failure(f"health: {result!r} {result.body!r}")
    prefix = f"after{time.monotonic_ns()}"
    journal = sdk.path(prefix)
    sdk.client(us, "load", id_prefix=prefix, rate=10, for_=1, journal=journal)
    sdk.client(us, "verify", id_prefix=prefix, journal=journal, timeout=30)


@scenario("bad-requests", deadline=180, languages=["python"])
def bad_requests(world):
    """bad input: malformed messages, names, sizes, tokens, deadlines, bytes that are no HTTP"""
    us = world.single("sqlite")
    world.expected.append(r"rpc\.")
    us.world.strait(us, "namespace", "create", "default")
    sdk = Sdk(world, "python", "default")
    sdk.ready(sdk.worker(us))
    api = us.api("default")
    must(api.start("open", "Nothing", "nowhere", {}), "OK", "start")
    names(api, us)
    sizes(api)
    tokens(api)
    deadlines(api)
    malformed(world, us)
    raw_bytes(world, us)
    still_works(world, sdk, us)
    must(api.start("open", "Nothing", "nowhere", {}, request_id="another"), "ALREADY_EXISTS",
         "the open workflow is still there")


@scenario("bad-messages", deadline=180, languages=["python"])
def bad_messages(world):
    """bad input: garbage on the NATS subjects of replication"""
    us, eu = world.pair("sqlite", "sqlite")
    world.expected.append(r"envelope|peer\.|receiver\.|metadata\.|progress\.|bus\.|dead_letter")
    world.create_namespace("orders", [us, eu], active=us)
    sdk = Sdk(world, "python", "orders")
    sdk.ready(sdk.worker(us))
    still_works(world, sdk, us)
    world.drained("orders", us, eu)
    for cluster in (us, eu):
        client = cluster.nats.client()
        subjects = ["strait.meta.us", "strait.meta.eu", "strait.progress.us", "strait.progress.eu",
                    "strait.peer.us", "strait.peer.eu", "strait.repl.us.eu.999999",
                    "strait.repl.us.eu.-1", "strait.repl.us.eu.x", "strait.repl.us.nobody.0",
                    *(f"strait.repl.us.eu.{shard}" for shard in range(8)),
                    *(f"strait.repl.eu.us.{shard}" for shard in range(8))]
        for subject in subjects:
            for _ in range(5):
                client.publish(subject, garbage(world.random))
            client.publish(subject, b"")
            client.publish(subject, b"x" * 300000)
        client.flush()
        for name in ("us", "eu"):
            client.publish(f"strait.peer.{name}", garbage(world.random), reply=client.inbox)
        client.flush()
        client.close()
    still_works(world, sdk, us)
    world.drained("orders", us, eu)
    compare.equal(world, "orders", us, eu)
    world.fail_over(us, "orders", eu)
    world.wait(lambda: us.api("orders").active_cluster() == "eu", 20, "orders has moved")
