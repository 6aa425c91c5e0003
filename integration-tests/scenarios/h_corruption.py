# SPDX-License-Identifier: Apache-2.0
"""A damaged row in the database: its workflow is answered with an error that says so, and nothing
else suffers."""

from api import execution, must
from process import Failure
from registry import scenario

# What a damaged workflow may be answered. UNAVAILABLE would make clients try again for ever.
DAMAGED = "DATA_LOSS|INTERNAL"
# Four bytes in the middle of the value become something else, in each dialect.
SPOIL = {
    "sqlite": "UPDATE {table} SET value = CAST(substr(value, 1, 9) || X'DEADBEEF' || "
              "substr(value, 14) AS BLOB) WHERE instr(key, X'{run}') > 0",
    "postgres": "UPDATE {table} SET value = overlay(value PLACING '\\xdeadbeef'::bytea FROM 10) "
                "WHERE position('\\x{run}'::bytea IN key) > 0",
    "mariadb": "UPDATE {table} SET value = INSERT(value, 10, 4, X'DEADBEEF') "
               "WHERE LOCATE(X'{run}', key) > 0",
}
COUNT = {
    "sqlite": "SELECT count(*) FROM {table} WHERE instr(key, X'{run}') > 0",
    "postgres": "SELECT count(*) FROM {table} WHERE position('\\x{run}'::bytea IN key) > 0",
    "mariadb": "SELECT count(*) FROM {table} WHERE LOCATE(X'{run}', `key`) > 0",
}


def spoil(cluster, table, run_id):
    """Damages the rows of a run in a table."""
    database = cluster.database
    words = {"table": table, "run": run_id.replace("-", "")}
    count = database.sql(COUNT[database.kind].format(**words))
    count = int(count.strip()) if isinstance(count, str) else count[0][0]
    if count < 1:
        raise Failure(f"run {run_id} has no row in {table}")
    statement = SPOIL[database.kind].format(**words)
    if database.kind == "mariadb":
        statement = statement.replace(", key)", ", `key`)")
    database.sql(statement)


def run_of(api, workflow_id):
    return api.describe(workflow_id).one(2).one(1).text(2)


def corruption(world, kind):
    us = world.single(kind)
    world.strait(us, "namespace", "create", "default")
    api = us.api("default")
    damaged = {"bad-history": "history", "bad-run": "run"}
    for workflow_id in [*damaged, "good"]:
        must(api.start(workflow_id, "Nothing", "nobody", {"a": 1}), "OK", "start")
        must(api.signal(workflow_id, "note", "x" * 200), "OK", "signal")
    runs = {workflow_id: run_of(api, workflow_id) for workflow_id in damaged}
    us.stop()
    for workflow_id, table in damaged.items():
        spoil(us, table, runs[workflow_id])
    # Only the lines that name what we have damaged.
    world.expected.append("corrupt")
    us.start()
    for workflow_id in damaged:
        must(api.signal(workflow_id, "note", 2), DAMAGED, f"signal to {workflow_id}")
        must(api.public("GetWorkflowExecutionHistory", (1, "default"), (2, execution(workflow_id))),
             DAMAGED, f"history of {workflow_id}")
        must(api.public("DescribeWorkflowExecution", (1, "default"), (2, execution(workflow_id))),
             DAMAGED + "|OK", f"describe {workflow_id}")
    must(api.signal("good", "note", 2), "OK", "signal to the good one")
    if len(api.history("good")) < 3:
        raise Failure("the good one has lost events")
    listed = sorted(info.one(1).text(1) for info in api.executions())
    if listed != sorted([*damaged, "good"]):
        raise Failure(f"the list shows {listed}")
    if not us.log_lines("run.corrupt"):
        raise Failure("no line of the log says run.corrupt")
    if us.get("/readyz")[0] != 200:
        raise Failure("one damaged row makes the node unready")



@scenario("corrupt-sqlite", deadline=90)
def corrupt_sqlite(world):
    """bad input: damaged rows in SQLite"""
    corruption(world, "sqlite")


@scenario("corrupt-postgres", deadline=90)
def corrupt_postgres(world):
    """bad input: damaged rows in PostgreSQL"""
    corruption(world, "postgres")


@scenario("corrupt-mariadb", deadline=90)
def corrupt_mariadb(world):
    """bad input: damaged rows in MariaDB"""
    corruption(world, "mariadb")
