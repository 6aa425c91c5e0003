-- SPDX-License-Identifier: Apache-2.0
--
-- What rests on these choices:
--  * Every primary key is led by the shard, and nothing else is unique: a table may be distributed.
--  * `run` is rewritten by every commit that touches the run. Its two indexes are partial and on
--    columns that most updates leave alone, and pages keep room, so that those updates are HOT.
--  * Values above 2 kB are compressed with lz4, which sessions of the driver set as their default:
--    on payloads that are compressed or encrypted already it costs next to nothing, unlike pglz.
--  * The autovacuum settings keep queues short (outbox, fact) and never pause the worker there.

CREATE TABLE shard (
    shard integer PRIMARY KEY,
    range_id bigint NOT NULL,
    commit_no bigint NOT NULL,
    owner bytea NOT NULL
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

CREATE TABLE run (
    shard integer NOT NULL,
    key bytea NOT NULL,
    value bytea NOT NULL,
    namespace_id bytea NOT NULL,
    due_ns bigint,
    expire_ns bigint,
    PRIMARY KEY (shard, key)
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 10000,
    autovacuum_vacuum_cost_delay = 1);

CREATE INDEX run_due ON run (shard, namespace_id, due_ns) WHERE due_ns IS NOT NULL;
CREATE INDEX run_expire ON run (shard, expire_ns) WHERE expire_ns IS NOT NULL;

CREATE TABLE current_run (
    shard integer NOT NULL,
    key bytea NOT NULL,
    value bytea NOT NULL,
    PRIMARY KEY (shard, key)
) WITH (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 10000);

-- Append only but for retention and lost branches, so vacuum is for deletes and freezing.
CREATE TABLE history (
    shard integer NOT NULL,
    key bytea NOT NULL,
    value bytea NOT NULL,
    PRIMARY KEY (shard, key)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 50000);

CREATE TABLE fact (
    shard integer NOT NULL,
    key bytea NOT NULL,
    value bytea NOT NULL,
    PRIMARY KEY (shard, key)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 10000,
    autovacuum_vacuum_cost_delay = 0);

CREATE TABLE snapshot (
    shard integer NOT NULL,
    key bytea NOT NULL,
    value bytea NOT NULL,
    PRIMARY KEY (shard, key)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 5000);

-- A queue: inserted at the end, trimmed by range at the front.
CREATE TABLE outbox (
    shard integer NOT NULL,
    key bytea NOT NULL,
    value bytea NOT NULL,
    PRIMARY KEY (shard, key)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000,
    autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0,
    autovacuum_analyze_threshold = 100000);

CREATE TABLE progress (
    shard integer NOT NULL,
    key bytea NOT NULL,
    value bytea NOT NULL,
    PRIMARY KEY (shard, key)
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

CREATE TABLE dead_letter (
    shard integer NOT NULL,
    key bytea NOT NULL,
    value bytea NOT NULL,
    PRIMARY KEY (shard, key)
);

CREATE TABLE tombstone (
    shard integer NOT NULL,
    key bytea NOT NULL,
    value bytea NOT NULL,
    PRIMARY KEY (shard, key)
);

CREATE TABLE conflict_report (
    shard integer NOT NULL,
    key bytea NOT NULL,
    value bytea NOT NULL,
    PRIMARY KEY (shard, key)
);

CREATE TABLE namespace (
    shard integer NOT NULL,
    key bytea NOT NULL,
    value bytea NOT NULL,
    PRIMARY KEY (shard, key)
);

CREATE TABLE failover (
    shard integer NOT NULL,
    key bytea NOT NULL,
    value bytea NOT NULL,
    PRIMARY KEY (shard, key)
);

CREATE TABLE cluster (
    shard integer NOT NULL,
    key bytea NOT NULL,
    value bytea NOT NULL,
    PRIMARY KEY (shard, key)
);

CREATE TABLE node (
    shard integer NOT NULL,
    key bytea NOT NULL,
    value bytea NOT NULL,
    PRIMARY KEY (shard, key)
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

-- An open run has the greatest close_ns, so that one index serves every list.
CREATE TABLE visibility (
    shard integer NOT NULL,
    run_id bytea NOT NULL,
    namespace_id bytea NOT NULL,
    workflow_id bytea NOT NULL,
    workflow_type bytea NOT NULL,
    task_queue bytea NOT NULL,
    status integer NOT NULL,
    start_ns bigint NOT NULL,
    execution_ns bigint NOT NULL,
    close_ns bigint NOT NULL,
    history_length bigint NOT NULL,
    history_size_bytes bigint NOT NULL,
    state_transitions bigint NOT NULL,
    parent_workflow_id bytea NOT NULL,
    parent_run_id bytea NOT NULL,
    root_workflow_id bytea NOT NULL,
    root_run_id bytea NOT NULL,
    memo bytea NOT NULL,
    search_attributes bytea NOT NULL,
    PRIMARY KEY (shard, run_id)
) WITH (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 10000);

CREATE INDEX visibility_list
    ON visibility (namespace_id, close_ns DESC, start_ns DESC, run_id DESC);
