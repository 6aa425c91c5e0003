/* SPDX-License-Identifier: Apache-2.0
 *
 * Commits and the taking of shards.
 *
 * SQLite has one writer, so what is queued behind it shares a transaction and one fsync. Each
 * commit has a savepoint of its own and fails alone. With BEGIN IMMEDIATE the write lock is ours
 * from the start: nobody can take a shard in between, and nothing can deadlock.
 *
 *   BEGIN IMMEDIATE ─► [SAVEPOINT ─► fences ─► ranges ─► rows ─► visibility ─► RELEASE]* ─► COMMIT
 *                            └───────── failed: ROLLBACK TO ─────────┘
 */
#include <stdio.h>

#include "cluster/store/store_sqlite.h"

/** The database's lock for the time of a write transaction; memdb only. */
static void lock_write(struct sqlite_database *database)
{
    if (database->memory)
        (void)pthread_rwlock_wrlock(&database->lock); /* no recursion: cannot fail */
}

static void unlock_write(struct sqlite_database *database)
{
    if (database->memory)
        (void)pthread_rwlock_unlock(&database->lock);
}

static enum err last_error(struct sqlite_session *session, const char *what)
{
    return sqlite_error(session, sqlite3_extended_errcode(session->connection), what);
}

/** Runs a bound statement that returns no rows and gives back its bindings' memory. */
static enum err run_statement(
    struct sqlite_session *session, sqlite3_stmt *statement, const char *what)
{
    int code = sqlite3_step(statement);
    enum err err = OK;
    if (code != SQLITE_DONE)
        err = last_error(session, what);
    (void)sqlite3_reset(statement); /* repeats the code of step */
    return err;
}

static enum err apply_section(struct sqlite_session *session, const struct commit_section *section)
{
    sqlite3_stmt *statement = sqlite_statement(session, STATEMENT_FENCE);
    if (!statement)
        return last_error(session, "fence");
    (void)sqlite3_bind_int(statement, 1, section->shard); /* index and memory are certain */
    (void)sqlite3_bind_int64(statement, 2, section->range_id);
    (void)sqlite3_bind_int64(statement, 3, section->commit_no);
    enum err err = run_statement(session, statement, "fence");
    if (err || sqlite3_changes(session->connection) == 1)
        return err;
    (void)snprintf(session->base.text, sizeof(session->base.text),
        "shard %d is not at range %lld, commit %lld", section->shard, (long long)section->range_id,
        (long long)section->commit_no - 1);
    return ERR_FENCED;
}

static enum err apply_range(struct sqlite_session *session, const struct commit_range *range)
{
    sqlite3_stmt *statement = sqlite_row_statement(session, range->table, ROW_DELETE_RANGE);
    if (!statement)
        return last_error(session, table_name(range->table));
    (void)sqlite3_bind_int(statement, 1, range->shard);
    sqlite_bind_bytes(statement, 2, range->from);
    sqlite_bind_bytes(statement, 3, range->to);
    return run_statement(session, statement, table_name(range->table));
}

static enum sqlite_row_statement row_kind(const struct commit_row *row)
{
    switch (row->mode) {
    case COMMIT_INSERT:
        return ROW_INSERT;
    case COMMIT_UPDATE:
        return row->table == TABLE_RUN && row->index_changed ? ROW_UPDATE_INDEX : ROW_UPDATE;
    case COMMIT_PUT:
        return ROW_PUT;
    case COMMIT_DELETE:
        break;
    }
    return ROW_DELETE;
}

static enum err missing_row(struct sqlite_session *session, const char *table)
{
    (void)snprintf(session->base.text, sizeof(session->base.text), "no row to update in %s", table);
    return ERR_CORRUPT;
}

static enum err apply_row(struct sqlite_session *session, const struct commit_row *row)
{
    enum sqlite_row_statement kind = row_kind(row);
    const char *table = table_name(row->table);
    sqlite3_stmt *statement = sqlite_row_statement(session, row->table, kind);
    if (!statement)
        return last_error(session, table);
    (void)sqlite3_bind_int(statement, 1, row->shard);
    sqlite_bind_bytes(statement, 2, row->key);
    if (kind != ROW_DELETE)
        sqlite_bind_bytes(statement, 3, row->value);
    bool times = kind == ROW_INSERT || kind == ROW_PUT || kind == ROW_UPDATE_INDEX;
    if (row->table == TABLE_RUN && times) {
        if (kind != ROW_UPDATE_INDEX)
            sqlite_bind_bytes(statement, 4, uuid_view(&row->namespace_id));
        sqlite_bind_time(statement, 5, row->due_ns);
        sqlite_bind_time(statement, 6, row->expire_ns);
    }
    enum err err = run_statement(session, statement, table);
    if (err || row->mode != COMMIT_UPDATE || sqlite3_changes(session->connection) == 1)
        return err;
    return missing_row(session, table);
}

static void bind_visibility(sqlite3_stmt *statement, const struct visibility_row *row)
{
    sqlite_bind_bytes(statement, 3, uuid_view(&row->namespace_id));
    sqlite_bind_bytes(statement, 4, row->workflow_id);
    sqlite_bind_bytes(statement, 5, row->workflow_type);
    sqlite_bind_bytes(statement, 6, row->task_queue);
    (void)sqlite3_bind_int(statement, 7, row->status);
    (void)sqlite3_bind_int64(statement, 8, row->start_ns);
    (void)sqlite3_bind_int64(statement, 9, row->execution_ns);
    (void)sqlite3_bind_int64(statement, 10, row->close_ns);
    (void)sqlite3_bind_int64(statement, 11, row->history_length);
    (void)sqlite3_bind_int64(statement, 12, row->history_size_bytes);
    (void)sqlite3_bind_int64(statement, 13, row->state_transitions);
    sqlite_bind_bytes(statement, 14, row->parent_workflow_id);
    sqlite_bind_bytes(statement, 15, row->parent_run_id);
    sqlite_bind_bytes(statement, 16, row->root_workflow_id);
    sqlite_bind_bytes(statement, 17, row->root_run_id);
    sqlite_bind_bytes(statement, 18, row->memo);
    sqlite_bind_bytes(statement, 19, row->search_attributes);
}

static enum err apply_visibility(
    struct sqlite_session *session, const struct commit_visibility *change)
{
    enum sqlite_statement kind = STATEMENT_VISIBILITY_DELETE;
    if (change->mode == COMMIT_INSERT)
        kind = STATEMENT_VISIBILITY_INSERT;
    else if (change->mode == COMMIT_UPDATE)
        kind = STATEMENT_VISIBILITY_UPDATE;
    sqlite3_stmt *statement = sqlite_statement(session, kind);
    if (!statement)
        return last_error(session, "visibility");
    (void)sqlite3_bind_int(statement, 1, change->row.shard);
    sqlite_bind_bytes(statement, 2, uuid_view(&change->row.run_id));
    if (kind != STATEMENT_VISIBILITY_DELETE)
        bind_visibility(statement, &change->row);
    enum err err = run_statement(session, statement, "visibility");
    if (err || change->mode != COMMIT_UPDATE || sqlite3_changes(session->connection) == 1)
        return err;
    return missing_row(session, "visibility");
}

/** All changes of a commit, inside a transaction or savepoint. */
static enum err apply_commit(struct sqlite_session *session, const struct commit *commit)
{
    enum err err = OK;
    for (size_t i = 0; i < commit->section_count && err == OK; i++)
        err = apply_section(session, &commit->sections[i]);
    for (size_t i = 0; i < commit->range_count && err == OK; i++)
        err = apply_range(session, &commit->ranges[i]);
    for (size_t i = 0; i < commit->row_count && err == OK; i++)
        err = apply_row(session, &commit->rows[i]);
    for (size_t i = 0; i < commit->visibility_count && err == OK; i++)
        err = apply_visibility(session, &commit->visibility[i]);
    return err;
}

static enum err begin(struct sqlite_session *session)
{
    int code = sqlite_execute(session, STATEMENT_BEGIN_WRITE);
    return code == SQLITE_DONE ? OK : sqlite_error(session, code, "begin");
}

/** Ends the transaction without effect; keeps the reason that is in text. */
static void rollback(struct sqlite_session *session)
{
    /* Some errors have rolled back already. */
    if (!sqlite3_get_autocommit(session->connection))
        (void)sqlite_execute(session, STATEMENT_ROLLBACK);
}

/** COMMIT. When it fails for any reason but a lock, only the next reader of the log will know
 *  whether the transaction is in it. */
static enum err end(struct sqlite_session *session)
{
    int code = sqlite_execute(session, STATEMENT_COMMIT);
    if (code == SQLITE_DONE)
        return OK;
    enum err err = sqlite_error(session, code, "commit");
    rollback(session);
    return err == ERR_CONFLICT ? err : ERR_UNKNOWN_COMMIT;
}

static enum err commit_locked(struct sqlite_session *session, const struct commit *commit)
{
    enum err err = begin(session);
    if (err)
        return err;
    err = apply_commit(session, commit);
    if (err) {
        rollback(session);
        return err;
    }
    return end(session);
}

enum err sqlite_commit(struct store_session *session, const struct commit *commit)
{
    struct sqlite_session *sqlite = sqlite_session_of(session);
    lock_write(sqlite->database);
    enum err err = commit_locked(sqlite, commit);
    unlock_write(sqlite->database);
    return err;
}

/** One of several commits. A result other than OK leaves no trace of it in the transaction, or no
 *  transaction: see sqlite3_get_autocommit(). */
static enum err apply_savepoint(struct sqlite_session *session, const struct commit *commit)
{
    int code = sqlite_execute(session, STATEMENT_SAVEPOINT);
    if (code != SQLITE_DONE)
        return sqlite_error(session, code, "savepoint");
    enum err err = apply_commit(session, commit);
    if (err && sqlite3_get_autocommit(session->connection))
        return err;
    if (err)
        (void)sqlite_execute(
            session, STATEMENT_ROLLBACK_TO); /* cannot fail with an open savepoint */
    code = sqlite_execute(session, STATEMENT_RELEASE);
    if (code != SQLITE_DONE && err == OK)
        return sqlite_error(session, code, "release");
    return err;
}

static void commit_many_locked(struct sqlite_session *session, const struct commit *const *commits,
    size_t count, enum err *ret_errs)
{
    enum err err = begin(session);
    size_t done = 0;
    bool lost = false;
    while (err == OK && !lost && done < count) {
        ret_errs[done] = apply_savepoint(session, commits[done]);
        lost = sqlite3_get_autocommit(session->connection);
        done++;
    }
    if (lost)
        err = ret_errs[done - 1] ? ret_errs[done - 1] : ERR_INTERNAL;
    else if (err == OK)
        err = end(session);
    for (size_t i = 0; i < count && err; i++) {
        bool refused =
            i < done && (err_class(ret_errs[i]) == ERR_CLASS_REJECT || ret_errs[i] == ERR_FENCED);
        if (!refused)
            ret_errs[i] = err;
    }
}

void sqlite_commit_many(struct store_session *session, const struct commit *const *commits,
    size_t count, enum err *ret_errs)
{
    struct sqlite_session *sqlite = sqlite_session_of(session);
    lock_write(sqlite->database);
    commit_many_locked(sqlite, commits, count, ret_errs);
    unlock_write(sqlite->database);
}

static enum err shard_read(struct sqlite_session *session, struct store_take_shard *take)
{
    sqlite3_stmt *statement = sqlite_statement(session, STATEMENT_SHARD_GET);
    if (!statement)
        return last_error(session, "shard");
    (void)sqlite3_bind_int(statement, 1, take->shard);
    enum err err = OK;
    int code = sqlite3_step(statement);
    take->range_id = 0;
    take->commit_no = 0;
    if (code == SQLITE_ROW) {
        take->range_id = sqlite3_column_int64(statement, 0);
        take->commit_no = sqlite3_column_int64(statement, 1);
    } else if (code != SQLITE_DONE) {
        err = last_error(session, "shard");
    }
    (void)sqlite3_reset(statement);
    return err;
}

static enum err take_locked(struct sqlite_session *session, struct store_take_shard *take)
{
    struct store_take_shard found = *take;
    enum err err = shard_read(session, &found);
    if (err)
        return err;
    if (take->expected_range >= 0 && take->expected_range != found.range_id) {
        (void)snprintf(session->base.text, sizeof(session->base.text), "shard %d is at range %lld",
            take->shard, (long long)found.range_id);
        return ERR_FENCED;
    }
    found.range_id++;
    sqlite3_stmt *statement = sqlite_statement(session, STATEMENT_SHARD_PUT);
    if (!statement)
        return last_error(session, "shard");
    (void)sqlite3_bind_int(statement, 1, take->shard);
    (void)sqlite3_bind_int64(statement, 2, found.range_id);
    sqlite_bind_bytes(statement, 3, take->owner);
    err = run_statement(session, statement, "shard");
    if (err == OK)
        *take = found;
    return err;
}

enum err sqlite_take_shard(struct store_session *session, struct store_take_shard *take)
{
    struct sqlite_session *sqlite = sqlite_session_of(session);
    lock_write(sqlite->database);
    enum err err = begin(sqlite);
    if (err == OK) {
        err = take_locked(sqlite, take);
        if (err == OK)
            err = end(sqlite);
        else
            rollback(sqlite);
    }
    unlock_write(sqlite->database);
    return err;
}
