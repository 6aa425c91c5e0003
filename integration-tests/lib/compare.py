# SPDX-License-Identifier: Apache-2.0
"""Are two clusters equal? Asked twice: of the product itself (`strait replication verify`), and by
fetching every history from both and comparing the bytes."""

from process import Failure, poll

RUN_FIELDS = {"type": 2, "start": 3, "close": 4, "status": 5, "length": 6, "task queue": 13}


def runs_of(api):
    """{(workflow id, run id): {field: bytes or number}}"""
    found = {}
    for info in api.executions():
        execution = info.one(1)
        fields = {name: info.fields.get(number, [None])[-1] for name, number in RUN_FIELDS.items()}
        found[execution.text(1), execution.text(2)] = fields
    return found


def differences(here, there, limit=1000):
    """What is different between two Api objects, as {(workflow id, run id): sentence}, and the number
    of runs and events compared."""
    ours, theirs = runs_of(here), runs_of(there)
    found = {}
    events = 0
    for key in sorted(set(ours) | set(theirs)):
        if len(found) >= limit:
            break
        if key not in ours or key not in theirs:
            found[key] = "missing " + ("here" if key in theirs else "there")
            continue
        one, two = here.history(*key), there.history(*key)
        events += len(one)
        for number, (left, right) in enumerate(zip(one, two), 1):
            if left != right:
                found[key] = f"event {number} differs: {left[:60].hex()} / {right[:60].hex()}"
                break
        else:
            if len(one) != len(two):
                found[key] = f"{len(one)} events here, {len(two)} there"
        bad = [name for name in RUN_FIELDS if ours[key][name] != theirs[key][name]]
        if bad and key not in found:
            found[key] = f"listed with another {', '.join(bad)}"
    return found, len(set(ours) | set(theirs)), events


def product_verdict(world, cluster, namespace):
    """What `strait replication verify` says; its exit status tells whether all is equal."""
    return world.strait_json(cluster, "replication", "verify", namespace, check=False)


def equal(world, namespace, here, there, excused=frozenset, timeout=60):
    """Fails unless both clusters hold the same; workflow ids that `excused` returns may differ. Both
    must be drained, or about to be. Notes what was compared."""
    apis = here.api(namespace), there.api(namespace)

    def strangers(found):
        allowed = excused()
        return {key: text for key, text in found.items() if key[0] not in allowed}

    last = {}

    def same():
        last["found"], last["runs"], last["events"] = differences(*apis, limit=1000)
        return not strangers(last["found"])

    def complain():
        (workflow_id, run_id), text = sorted(strangers(last["found"]).items())[0]
        return (f"{here.name} and {there.name} are equal: {len(strangers(last['found']))} of "
                f"{last['runs']} runs differ, such as {workflow_id} {run_id}: {text}")

    poll(same, timeout, complain, world.watch)
    for api in apis:
        api.wire.close()
    verdict = product_verdict(world, here, namespace)
    found = verdict.get("differences") or []
    allowed = excused()
    bad = [item for item in found if item.get("workflow_id") not in allowed]
    if bad:
        raise Failure(f"histories are equal, but `replication verify` says: {bad[:3]}")
    compared = int(verdict.get("runs_compared", -1))
    if compared < last["runs"] - len(allowed):
        raise Failure(f"`replication verify` compared {compared} of {last['runs']} runs")
    world.note(f"{last['runs']} runs, {last['events']} events equal on both")
    return last["runs"]
