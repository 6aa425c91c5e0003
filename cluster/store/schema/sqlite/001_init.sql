-- SPDX-License-Identifier: Apache-2.0
--
-- SQLite. Tables whose values may be large (up to megabytes) are rowid tables with a unique index:
-- in a WITHOUT ROWID table a value sits inside the index tree and ruins its fan-out. Tables of small
-- values are WITHOUT ROWID: one tree to change instead of two.

-- The fence: see commit.h.
CREATE TABLE shard (
    shard INTEGER PRIMARY KEY,
    range_id INTEGER NOT NULL,
    commit_no INTEGER NOT NULL,
    owner BLOB NOT NULL
);

-- due_ns and expire_ns are NULL when there is nothing to index.
CREATE TABLE run (
    shard INTEGER NOT NULL,
    key BLOB NOT NULL,
    value BLOB NOT NULL,
    namespace_id BLOB NOT NULL,
    due_ns INTEGER,
    expire_ns INTEGER,
    PRIMARY KEY (shard, key)
);
CREATE INDEX run_due ON run (shard, namespace_id, due_ns, key) WHERE due_ns IS NOT NULL;
CREATE INDEX run_expiry ON run (shard, expire_ns, key) WHERE expire_ns IS NOT NULL;

CREATE TABLE history (
    shard INTEGER NOT NULL,
    key BLOB NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (shard, key)
);
CREATE TABLE fact (
    shard INTEGER NOT NULL,
    key BLOB NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (shard, key)
);
CREATE TABLE snapshot (
    shard INTEGER NOT NULL,
    key BLOB NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (shard, key)
);
CREATE TABLE dead_letter (
    shard INTEGER NOT NULL,
    key BLOB NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (shard, key)
);
CREATE TABLE conflict_report (
    shard INTEGER NOT NULL,
    key BLOB NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (shard, key)
);
CREATE TABLE namespace (
    shard INTEGER NOT NULL,
    key BLOB NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (shard, key)
);
CREATE TABLE failover (
    shard INTEGER NOT NULL,
    key BLOB NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (shard, key)
);
CREATE TABLE cluster (
    shard INTEGER NOT NULL,
    key BLOB NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (shard, key)
);
CREATE TABLE node (
    shard INTEGER NOT NULL,
    key BLOB NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (shard, key)
);

CREATE TABLE current_run (
    shard INTEGER NOT NULL,
    key BLOB NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (shard, key)
) WITHOUT ROWID;
CREATE TABLE outbox (
    shard INTEGER NOT NULL,
    key BLOB NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (shard, key)
) WITHOUT ROWID;
CREATE TABLE progress (
    shard INTEGER NOT NULL,
    key BLOB NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (shard, key)
) WITHOUT ROWID;
CREATE TABLE tombstone (
    shard INTEGER NOT NULL,
    key BLOB NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (shard, key)
) WITHOUT ROWID;

-- Lists read the second index backwards. close_ns of an open run is the largest integer.
CREATE TABLE visibility (
    shard INTEGER NOT NULL,
    run_id BLOB NOT NULL,
    namespace_id BLOB NOT NULL,
    workflow_id BLOB NOT NULL,
    workflow_type BLOB NOT NULL,
    task_queue BLOB NOT NULL,
    status INTEGER NOT NULL,
    start_ns INTEGER NOT NULL,
    execution_ns INTEGER NOT NULL,
    close_ns INTEGER NOT NULL,
    history_length INTEGER NOT NULL,
    history_size_bytes INTEGER NOT NULL,
    state_transitions INTEGER NOT NULL,
    parent_workflow_id BLOB NOT NULL,
    parent_run_id BLOB NOT NULL,
    root_workflow_id BLOB NOT NULL,
    root_run_id BLOB NOT NULL,
    memo BLOB NOT NULL,
    search_attributes BLOB NOT NULL,
    PRIMARY KEY (shard, run_id)
);
CREATE INDEX visibility_list ON visibility (namespace_id, close_ns, start_ns, run_id);
CREATE INDEX visibility_workflow ON visibility (namespace_id, workflow_id);
