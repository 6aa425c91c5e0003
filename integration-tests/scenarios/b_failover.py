# SPDX-License-Identifier: Apache-2.0
"""A graceful failover in the middle of an activity, a timer and a retry's backoff, and back again."""

import compare
from process import Failure
from registry import per_language
from sdk import Sdk, summary

DATABASES = {"python": ("postgres", "mariadb"), "go": ("sqlite", "postgres"),
             "typescript": ("mariadb", "sqlite")}
COUNT = 3
LONG_MS = 7000
# What keeps the orders of each group in their phase while the namespace moves.
GROUPS = {
    "activity": {"activity_ms": LONG_MS, "timer_ms": 50, "backoff_ms": 50},
    "timer": {"activity_ms": 50, "timer_ms": LONG_MS, "backoff_ms": 50},
    "retry": {"activity_ms": 50, "timer_ms": 50, "backoff_ms": LONG_MS, "failures": 1},
}


class Round:
    """Orders that are in the middle of something when the namespace moves from here to there."""

    def __init__(self, world, sdk, number, here, there):
        self.world = world
        self.sdk = sdk
        self.number = number
        self.here = here
        self.there = there

    def prefix(self, group):
        return f"{group}{self.number}"

    def ids(self, group):
        return [f"{self.prefix(group)}-{i}" for i in range(COUNT)]

    def journal(self, group):
        return self.sdk.path(f"journal-{self.prefix(group)}")

    def run(self, kill):
        here, there, sdk = self.here, self.there, self.sdk
        starts = [sdk.begin(here, "start", id_prefix=self.prefix(group), count=COUNT,
                            heartbeat_ms=2000, **options) for group, options in GROUPS.items()]
        for start in starts:
            sdk.end(start, 30)
        signals = [sdk.begin(here, "signal", id_prefix=self.prefix(group), count=COUNT, rate=5,
                             for_=6, seed=10 * self.number + place, journal=self.journal(group))
                   for place, group in enumerate(GROUPS, 1)]
        self.in_the_middle(here)
        self.world.fail_over(here, "orders", there)
        self.moved()
        self.in_the_middle(there)
        if kill:
            self.world.forget(kill)
            kill.kill()
        for signal in signals:
            sdk.end(signal, 40)
        self.finish()
        self.world.drained("orders", there, here)
        compare.equal(self.world, "orders", here, there)

    def in_the_middle(self, cluster):
        """Every order is where its group should be."""
        api = cluster.api("orders")

        def there(group):
            for workflow_id in self.ids(group):
                if api.query(workflow_id, "state")["phase"] != group:
                    return False
                if group == "retry" and api.pending_attempts(workflow_id) != [2]:
                    return False
            return True

        self.world.wait(lambda: all(there(group) for group in GROUPS), 15,
                        lambda: "orders are in their phases on " + cluster.name + ": " + str(
                            {i: api.query(i, "state")["phase"] for g in GROUPS for i in self.ids(g)}))
        api.wire.close()

    def moved(self):
        """Both clusters say so."""
        for cluster in (self.here, self.there):
            api = cluster.api("orders")
            self.world.wait(lambda a=api: a.active_cluster() == self.there.name, 10,
                            f"{cluster.name} knows that orders is active on {self.there.name}")
            api.wire.close()

    def finish(self):
        """Every order ends well, with every acknowledged signal exactly once."""
        finishes = [self.sdk.begin(self.there, "finish", id_prefix=self.prefix(group), count=COUNT,
                                   journal=self.journal(group), timeout=60) for group in GROUPS]
        total = {}
        for finish in finishes:
            for name, value in summary(self.sdk.end(finish, 90)).items():
                total[name] = total.get(name, 0) + value
        if total["acknowledged"] < 10:
            raise Failure(f"hardly a signal was acknowledged: {total}")
        self.world.note(f"{self.here.name} -> {self.there.name}: {total['orders']} orders, "
                        f"{total['acknowledged']} signals acknowledged, {total['unknown']} unknown")


@per_language("failover", deadline=240)
def failover(world, language):
    """(b, c) failover mid-activity, mid-timer, mid-backoff; fail back; histories equal"""
    us, eu = world.pair(*DATABASES[language])
    world.create_namespace("orders", [us, eu], active=us)
    sdk = Sdk(world, language, "orders")
    workers = [sdk.worker(us), sdk.worker(eu)]
    sdk.ready(*workers)
    # The workers of us die with the failover: eu's must take over what they had begun.
    Round(world, sdk, 1, us, eu).run(kill=workers[0])
    sdk.ready(sdk.worker(us))
    # Back again, this time with everybody alive: what eu's workers have begun, they report to eu.
    Round(world, sdk, 2, eu, us).run(kill=None)
