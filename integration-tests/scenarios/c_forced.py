# SPDX-License-Identifier: Apache-2.0
"""A region dies: node, workers, NATS server and database of `us` go at once, under load. The other one
takes over by force, and `us` follows when it comes back.

What `us` had acknowledged but not shipped when it died, and `eu` then wrote differently, makes two
branches of one run. This release does not join branches: it parks what does not fit as a dead letter,
and such runs may differ until then. BRANCHES_JOIN says so; with True, everything here is strict.
"""

import compare
from process import Failure
from registry import per_language
from sdk import Sdk, complaint, journal_length, summary

BRANCHES_JOIN = False
ORDERS = 6
DATABASES = {"python": ("postgres", "mariadb"), "go": ("mariadb", "postgres"),
             "typescript": ("sqlite", "postgres")}


class Region:
    """What dies together."""

    def __init__(self, cluster, workers):
        self.cluster = cluster
        self.workers = workers

    def die(self, world):
        for worker in self.workers:
            world.forget(worker)
        self.cluster.kill()
        self.cluster.nats.kill()
        for worker in self.workers:
            worker.kill()
        if self.cluster.database.kind != "sqlite":
            self.cluster.database.crash()

    def come_back(self):
        if self.cluster.database.kind != "sqlite":
            self.cluster.database.restart()
        self.cluster.nats.start()
        self.cluster.start()


class Load:
    """Signals to the orders and starts of short workflows, together."""

    def __init__(self, sdk, cluster, number, seconds, rate=8.0):
        self.sdk = sdk
        self.signals = sdk.path(f"signals-{number}")
        self.starts = sdk.path(f"starts-{number}")
        timed = {"for_": seconds} if seconds else {}
        self.clients = [
            sdk.begin(cluster, "signal", id_prefix="order", count=ORDERS, rate=rate, seed=number,
                      journal=self.signals, **timed),
            sdk.begin(cluster, "load", id_prefix=f"short{number}", rate=rate, seed=number,
                      journal=self.starts, **timed)]

    def size(self):
        return min(journal_length(self.signals), journal_length(self.starts))

    def end(self):
        for client in self.clients:
            client.signal()
        for client in self.clients:
            self.sdk.end(client, 60)


def refusals(world, us, eu):
    """What must not happen by mistake does not, and says why."""
    done = world.fail_over(eu, "orders", eu, "--deadline", "3s", check=False)
    if done.returncode != 1 or "force" not in done.stderr:
        raise Failure(f"a graceful failover away from a dead region: {done.returncode} {done.stderr}")
    done = world.fail_over(eu, "orders", eu, "--force", check=False)
    if done.returncode != 1 or "accept-loss" not in done.stderr:
        raise Failure(f"--force without --accept-loss: {done.returncode} {done.stderr} {done.stdout}")
    if eu.api("orders").active_cluster() != us.name:
        raise Failure("a refused failover moved the namespace")


def parked(*clusters):
    """Workflow ids with a dead letter, each of which must say why."""
    found = set()
    for cluster in clusters:
        for letter in cluster.api("orders").dead_letters():
            if not letter["workflow_id"] or not letter["reason"]:
                raise Failure(f"a dead letter of {cluster.name} says too little: {letter}")
            found.add(letter["workflow_id"])
    return found


def orders_end_well(sdk, eu, replicated, maybe):
    """Every order finishes on eu; the signals of `replicated` must be there, those of `maybe` may."""
    journals = [*replicated, *maybe] if BRANCHES_JOIN else replicated
    output = sdk.client(eu, "finish", limit=120, id_prefix="order", count=ORDERS, journal=journals,
                        timeout=90)
    return summary(output)


def late_starts(world, sdk, eu, journal, excused):
    """What us acknowledged just before it died reaches eu with its return, and is carried out."""
    client = sdk.begin(eu, "verify", id_prefix="short2", journal=journal, timeout=40)
    output = sdk.end(client, 90, check=False)
    bad = [line for line in output.split("\n") if line.startswith("FAIL ") and
           not any(workflow_id in line.split() for workflow_id in excused)]
    if bad:
        raise Failure(f"acknowledged by us, and not parked either: {complaint(chr(10).join(bad))}")
    world.note("before the end of us: " + output.strip().split("\n")[-1])


@per_language("forced", deadline=240, default=("python", "go"))
def forced(world, language):
    """(d) us dies under load; forced failover; nothing replicated is lost; us comes back and follows"""
    us, eu = world.pair(*DATABASES[language])
    world.expected.append(r"store\.|bus\.|commit\.|load\.failed|replication\.")
    if not BRANCHES_JOIN:
        world.expected.append(r"dead_letter\.")
    world.create_namespace("orders", [us, eu], active=us)
    sdk = Sdk(world, language, "orders")
    region = Region(us, [sdk.worker(us)])
    worker = sdk.worker(eu)
    sdk.ready(worker, *region.workers)
    sdk.client(us, "start", id_prefix="order", count=ORDERS, activity_ms=20000, heartbeat_ms=1500,
               timer_ms=2000)

    replicated = Load(sdk, us, 1, seconds=4 * world.scale)
    maybe = Load(sdk, us, 2, seconds=None)
    for client in replicated.clients:
        sdk.end(client, 60)
    world.drained("orders", us, eu)  # under the load of the other one
    # From here on nothing leaves us, which goes on acknowledging: that is what is at stake.
    us.nats.kill()
    before = maybe.size()
    world.wait(lambda: maybe.size() >= before + 10, 60, "the load goes on without NATS")
    region.die(world)
    maybe.end()
    world.note(f"acknowledged before the end of us: {replicated.size()} replicated, "
               f"{maybe.size()} perhaps")
    refusals(world, us, eu)
    world.fail_over(eu, "orders", eu, "--force", "--accept-loss", "--reason", "drill")

    after = Load(sdk, eu, 3, seconds=4 * world.scale)
    for client in after.clients:
        sdk.end(client, 60)
    for number, load in ((1, replicated), (3, after)):
        sdk.client(eu, "verify", id_prefix=f"short{number}", journal=load.starts, timeout=60)
    counts = orders_end_well(sdk, eu, [replicated.signals, after.signals], [maybe.signals])
    world.note(f"signals: {counts['acknowledged']} acknowledged and there, and {counts['foreign']} of "
               "the others")

    region.come_back()
    world.drained("orders", eu, us)
    world.drained("orders", us, eu)
    excused = parked(us, eu)
    if BRANCHES_JOIN and excused:
        raise Failure(f"{len(excused)} workflows are parked, such as {sorted(excused)[0]}")
    world.note(f"parked as dead letters: {len(excused)} workflows")
    late_starts(world, sdk, eu, maybe.starts, excused)
    world.drained("orders", eu, us)
    compare.equal(world, "orders", eu, us, excused=lambda: parked(us, eu))
    api = eu.api("orders")
    world.wait(lambda: api.open_count() == 0, 30, lambda: f"{api.open_count()} runs are open on eu")
