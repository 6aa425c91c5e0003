# SPDX-License-Identifier: Apache-2.0
"""What an SDK's users do, on two clusters, so that all of it must also arrive on the other side."""

import compare
from process import Failure
from registry import per_language
from sdk import NOT_YET, Sdk

DATABASES = {"python": ("postgres", "sqlite"), "go": ("mariadb", "sqlite"),
             "typescript": ("sqlite", "postgres")}


@per_language("features", deadline=240)
def features(world, language):
    """(a) activities, retries, heartbeats, timers, signals, queries, visibility, by an SDK"""
    us, eu = world.pair(*DATABASES[language])
    world.create_namespace("orders", [us, eu], active=us)
    sdk = Sdk(world, language, "orders")
    sdk.ready(sdk.worker(us))
    output = sdk.client(us, "features", limit=180, skip=",".join(NOT_YET))
    world.note(output.strip().split("\n")[-1])
    world.drained("orders", us, eu)
    runs = compare.equal(world, "orders", us, eu)
    # eu has it all by itself, and does not just pass on what us says.
    us.stop()
    api = eu.api("orders")
    histories = [api.history(*key) for key in compare.runs_of(api)]
    if len(histories) != runs or not all(histories):
        raise Failure(f"alone, eu shows {len(histories)} of {runs} histories")
