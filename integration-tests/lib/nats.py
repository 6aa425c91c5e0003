# SPDX-License-Identifier: Apache-2.0
"""A NATS server of a scenario, with JetStream on disk, and a small client that may misbehave."""

import json
import os
import shutil
import socket
import time

from process import Failure, Process, SLOWER, poll

CONFIG = """host: "127.0.0.1"
port: {port}
server_name: "{name}"
ping_interval: "3s"
ping_max: 2
jetstream {{ store_dir: "{folder}/data", max_memory_store: 64MB, max_file_store: 4GB }}
"""


def find_server():
    wanted = os.environ.get("STRAIT_NATS_SERVER")
    if wanted:
        return wanted
    return shutil.which("nats-server") or shutil.which("nats-server", path="/usr/sbin:/usr/local/sbin")


class Nats:
    def __init__(self, world, name):
        self.folder = os.path.join(world.folder, f"nats-{name}")
        os.makedirs(self.folder)
        self.port = world.free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        config = os.path.join(self.folder, "nats.conf")
        with open(config, "w", encoding="utf-8") as file:
            file.write(CONFIG.format(port=self.port, name=f"nats-{name}", folder=self.folder))
        server = find_server()
        if not server:
            raise Failure("no nats-server found: install the Debian package nats-server")
        self.process = Process(world.folder, f"nats-{name}", [server, "-c", config], merged=True)
        world.watched.append(self.process)

    def start(self):
        self.process.start()
        poll(lambda: "Server is ready" in self.process.output(), 20, f"{self.process.name} is ready",
             lambda: self.process.running() or self.fail())
        return self

    def fail(self):
        raise Failure(self.process.died())

    def kill(self):
        self.process.kill()

    def wipe(self):
        """Forgets every stream, as a lost disk would. The server must be down."""
        shutil.rmtree(os.path.join(self.folder, "data"))

    def client(self):
        return NatsClient(self.port)


class NatsClient:
    """Publishes and asks; no subscriptions but the one for replies."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10 * SLOWER)
        self.file = self.socket.makefile("rb")
        self.file.readline()  # INFO
        self.inbox = f"_INBOX.strait-test.{os.getpid()}.{time.monotonic_ns()}"
        self.write(b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true}\r\n')
        self.write(f"SUB {self.inbox} 1\r\n".encode())
        self.flush()

    def close(self):
        self.file.close()
        self.socket.close()

    def write(self, data):
        self.socket.sendall(data)

    def publish(self, subject, data, reply=""):
        head = f"PUB {subject} {reply + ' ' if reply else ''}{len(data)}\r\n"
        self.write(head.encode() + data + b"\r\n")

    def flush(self):
        """Returns when the server has taken everything."""
        self.write(b"PING\r\n")
        while self.line() != b"PONG":
            pass

    def line(self):
        line = self.file.readline()
        if not line:
            raise Failure("NATS closed the connection")
        line = line.rstrip(b"\r\n")
        if line == b"PING":
            self.write(b"PONG\r\n")
        elif line.startswith(b"-ERR"):
            raise Failure(f"NATS refused: {line.decode()}")
        return line

    def request(self, subject, data=b""):
        """The reply; None when nobody listens there."""
        self.publish(subject, data, self.inbox)
        while True:
            words = self.line().split(b" ")
            if words[0] == b"MSG":
                return self.file.read(int(words[-1]) + 2)[:-2]
            if words[0] == b"HMSG":  # headers alone: no responders
                self.file.read(int(words[-1]) + 2)
                return None

    def jetstream(self, verb, body=None):
        """A call of JetStream's own API, such as STREAM.NAMES."""
        answer = self.request(f"$JS.API.{verb}", json.dumps(body).encode() if body else b"")
        if answer is None:
            raise Failure("JetStream does not answer")
        return json.loads(answer)

    def streams(self):
        return self.jetstream("STREAM.NAMES").get("streams") or []
