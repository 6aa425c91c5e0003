# SPDX-License-Identifier: Apache-2.0
"""A client that writes steadily, whatever happens: a write that one cluster does not accept is tried
at the other one, with the same request id, until one of them has it."""

import threading
import time

from api import PUBLIC, execution, payloads
from pb import message
from wire import Wire

WRITERS = 8
CALL_S = 2.0
PAUSE_S = 0.002


class Writer:
    """Every WRITERS-th write of the schedule, on connections of its own."""

    def __init__(self, addresses, namespace, workflow_id, number):
        self.wires = {name: Wire(address) for name, address in addresses.items()}
        self.names = list(addresses)
        self.namespace = namespace
        self.workflow_id = workflow_id
        self.number = number
        self.acks = []
        self.refused = {}

    def body(self, count):
        return message((1, self.namespace), (2, execution(self.workflow_id)), (3, "add"),
                       (4, payloads(count)), (5, "bench"), (6, f"write-{self.number}-{count}"))

    def write(self, count, stop):
        body = self.body(count)
        while True:
            name = self.names[0]
            result = self.wires[name].call(PUBLIC + "SignalWorkflowExecution", body, CALL_S)
            if result.code == "OK":
                self.acks.append((time.monotonic(), name))
                return
            self.refused[result.code] = self.refused.get(result.code, 0) + 1
            if stop.is_set():
                return
            self.names.reverse()
            time.sleep(PAUSE_S)

    def run(self, begin, interval, stop):
        count = 0
        while not stop.is_set():
            pause = begin + (count * WRITERS + self.number) * interval - time.monotonic()
            if pause > 0:
                time.sleep(pause)
            self.write(count, stop)
            count += 1


def write_for(addresses, namespace, workflows, rate, stop, pipe):
    """Writes until `stop`; sends the accepted writes, as (moment, cluster), and what was refused."""
    writers = [Writer(addresses, namespace, workflows[i % len(workflows)], i) for i in range(WRITERS)]
    begin = time.monotonic() + 0.05
    threads = [threading.Thread(target=writer.run, args=(begin, 1 / rate, stop)) for writer in writers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused = {}
    for writer in writers:
        for code, count in writer.refused.items():
            refused[code] = refused.get(code, 0) + count
    acks = sorted(ack for writer in writers for ack in writer.acks)
    where = {name: sum(1 for _, at in acks if at == name) for name in addresses}
    pipe.send((acks, {"refused": refused, "accepted_at": where}))
