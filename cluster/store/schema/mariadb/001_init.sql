-- SPDX-License-Identifier: Apache-2.0
--
-- MariaDB and MySQL. DDL commits by itself here, so every statement can be repeated: a migration that
-- was cut short is run again from its start.
--
--  * Ids and keys are VARBINARY: a collation would merge `Order` and `order`.
--  * Every primary key is led by the shard, and nothing else is unique: a table may be distributed.
--  * Secondary indexes end in the primary key by themselves, so run_due also orders by key.

CREATE TABLE IF NOT EXISTS shard (
    shard INT NOT NULL PRIMARY KEY,
    range_id BIGINT NOT NULL,
    commit_no BIGINT NOT NULL,
    owner VARBINARY(1000) NOT NULL
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC;

CREATE TABLE IF NOT EXISTS run (
    shard INT NOT NULL,
    `key` VARBINARY(1100) NOT NULL,
    value LONGBLOB NOT NULL,
    namespace_id VARBINARY(16) NOT NULL,
    due_ns BIGINT NULL,
    expire_ns BIGINT NULL,
    PRIMARY KEY (shard, `key`),
    KEY run_due (shard, namespace_id, due_ns),
    KEY run_expire (shard, expire_ns)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC;

CREATE TABLE IF NOT EXISTS current_run (
    shard INT NOT NULL,
    `key` VARBINARY(1100) NOT NULL,
    value LONGBLOB NOT NULL,
    PRIMARY KEY (shard, `key`)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC;

CREATE TABLE IF NOT EXISTS history (
    shard INT NOT NULL,
    `key` VARBINARY(1100) NOT NULL,
    value LONGBLOB NOT NULL,
    PRIMARY KEY (shard, `key`)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC;

CREATE TABLE IF NOT EXISTS fact (
    shard INT NOT NULL,
    `key` VARBINARY(1100) NOT NULL,
    value LONGBLOB NOT NULL,
    PRIMARY KEY (shard, `key`)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC;

CREATE TABLE IF NOT EXISTS snapshot (
    shard INT NOT NULL,
    `key` VARBINARY(1100) NOT NULL,
    value LONGBLOB NOT NULL,
    PRIMARY KEY (shard, `key`)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC;

CREATE TABLE IF NOT EXISTS outbox (
    shard INT NOT NULL,
    `key` VARBINARY(1100) NOT NULL,
    value LONGBLOB NOT NULL,
    PRIMARY KEY (shard, `key`)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC;

CREATE TABLE IF NOT EXISTS progress (
    shard INT NOT NULL,
    `key` VARBINARY(1100) NOT NULL,
    value LONGBLOB NOT NULL,
    PRIMARY KEY (shard, `key`)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC;

CREATE TABLE IF NOT EXISTS dead_letter (
    shard INT NOT NULL,
    `key` VARBINARY(1100) NOT NULL,
    value LONGBLOB NOT NULL,
    PRIMARY KEY (shard, `key`)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC;

CREATE TABLE IF NOT EXISTS tombstone (
    shard INT NOT NULL,
    `key` VARBINARY(1100) NOT NULL,
    value LONGBLOB NOT NULL,
    PRIMARY KEY (shard, `key`)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC;

CREATE TABLE IF NOT EXISTS conflict_report (
    shard INT NOT NULL,
    `key` VARBINARY(1100) NOT NULL,
    value LONGBLOB NOT NULL,
    PRIMARY KEY (shard, `key`)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC;

CREATE TABLE IF NOT EXISTS namespace (
    shard INT NOT NULL,
    `key` VARBINARY(1100) NOT NULL,
    value LONGBLOB NOT NULL,
    PRIMARY KEY (shard, `key`)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC;

CREATE TABLE IF NOT EXISTS failover (
    shard INT NOT NULL,
    `key` VARBINARY(1100) NOT NULL,
    value LONGBLOB NOT NULL,
    PRIMARY KEY (shard, `key`)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC;

CREATE TABLE IF NOT EXISTS cluster (
    shard INT NOT NULL,
    `key` VARBINARY(1100) NOT NULL,
    value LONGBLOB NOT NULL,
    PRIMARY KEY (shard, `key`)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC;

CREATE TABLE IF NOT EXISTS node (
    shard INT NOT NULL,
    `key` VARBINARY(1100) NOT NULL,
    value LONGBLOB NOT NULL,
    PRIMARY KEY (shard, `key`)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC;

-- An open run has the greatest close_ns, so that one index serves every list.
CREATE TABLE IF NOT EXISTS visibility (
    shard INT NOT NULL,
    run_id VARBINARY(16) NOT NULL,
    namespace_id VARBINARY(16) NOT NULL,
    workflow_id VARBINARY(1000) NOT NULL,
    workflow_type VARBINARY(1000) NOT NULL,
    task_queue VARBINARY(1000) NOT NULL,
    status INT NOT NULL,
    start_ns BIGINT NOT NULL,
    execution_ns BIGINT NOT NULL,
    close_ns BIGINT NOT NULL,
    history_length BIGINT NOT NULL,
    history_size_bytes BIGINT NOT NULL,
    state_transitions BIGINT NOT NULL,
    parent_workflow_id VARBINARY(1000) NOT NULL,
    parent_run_id VARBINARY(1000) NOT NULL,
    root_workflow_id VARBINARY(1000) NOT NULL,
    root_run_id VARBINARY(1000) NOT NULL,
    memo LONGBLOB NOT NULL,
    search_attributes LONGBLOB NOT NULL,
    PRIMARY KEY (shard, run_id),
    KEY visibility_list (namespace_id, close_ns DESC, start_ns DESC, run_id DESC)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC;
