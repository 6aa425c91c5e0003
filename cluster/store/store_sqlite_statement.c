/* SPDX-License-Identifier: Apache-2.0
 *
 * Statement texts, the cache of prepared statements and the translation of result codes.
 */
#include <stdio.h>

#include "cluster/store/sql_filter.h"
#include "cluster/store/store_sqlite.h"

/* Around the table's name. Parameters: ?1 shard, ?2 key (or from), ?3 value (or to). */
static const struct {
    const char *head;
    const char *tail;
} row_texts[ROW_STATEMENT_COUNT] = {
    [ROW_INSERT] = {"INSERT INTO ", " (shard, key, value) VALUES (?1, ?2, ?3)"},
    [ROW_UPDATE] = {"UPDATE ", " SET value = ?3 WHERE shard = ?1 AND key = ?2"},
    [ROW_PUT] = {"INSERT INTO ", " (shard, key, value) VALUES (?1, ?2, ?3)"
                                 " ON CONFLICT (shard, key) DO UPDATE SET value = excluded.value"},
    [ROW_DELETE] = {"DELETE FROM ", " WHERE shard = ?1 AND key = ?2"},
    [ROW_DELETE_RANGE] = {"DELETE FROM ", " WHERE shard = ?1 AND key >= ?2 AND key < ?3"},
    [ROW_GET] = {"SELECT key, value FROM ", " WHERE shard = ?1 AND key = ?2"},
    [ROW_SCAN] = {"SELECT key, value FROM ",
        " WHERE shard = ?1 AND key >= ?2 AND key < ?3 ORDER BY key"},
    [ROW_SCAN_REVERSE] = {"SELECT key, value FROM ",
        " WHERE shard = ?1 AND key >= ?2 AND key < ?3 ORDER BY key DESC"},
    [ROW_SCAN_OPEN] = {"SELECT key, value FROM ", " WHERE shard = ?1 AND key >= ?2 ORDER BY key"},
    [ROW_SCAN_OPEN_REVERSE] = {"SELECT key, value FROM ",
        " WHERE shard = ?1 AND key >= ?2 ORDER BY key DESC"},
};

#define RUN_COLUMNS "key, value, namespace_id, due_ns, expire_ns"

/* ?4 namespace, ?5 due, ?6 expiry. What is missing here is as for any table. */
static const char *const run_texts[ROW_STATEMENT_COUNT] = {
    [ROW_INSERT] = "INSERT INTO run (shard, key, value, namespace_id, due_ns, expire_ns)"
                   " VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    [ROW_UPDATE_INDEX] = "UPDATE run SET value = ?3, due_ns = ?5, expire_ns = ?6"
                         " WHERE shard = ?1 AND key = ?2",
    [ROW_PUT] = "INSERT INTO run (shard, key, value, namespace_id, due_ns, expire_ns)"
                " VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (shard, key) DO UPDATE SET"
                " value = excluded.value, namespace_id = excluded.namespace_id,"
                " due_ns = excluded.due_ns, expire_ns = excluded.expire_ns",
    [ROW_GET] = "SELECT " RUN_COLUMNS " FROM run WHERE shard = ?1 AND key = ?2",
    [ROW_SCAN] = "SELECT " RUN_COLUMNS " FROM run"
                 " WHERE shard = ?1 AND key >= ?2 AND key < ?3 ORDER BY key",
    [ROW_SCAN_REVERSE] = "SELECT " RUN_COLUMNS " FROM run"
                         " WHERE shard = ?1 AND key >= ?2 AND key < ?3 ORDER BY key DESC",
    [ROW_SCAN_OPEN] = "SELECT " RUN_COLUMNS " FROM run"
                      " WHERE shard = ?1 AND key >= ?2 ORDER BY key",
    [ROW_SCAN_OPEN_REVERSE] = "SELECT " RUN_COLUMNS " FROM run"
                              " WHERE shard = ?1 AND key >= ?2 ORDER BY key DESC",
};

static const char *const texts[STATEMENT_COUNT] = {
    [STATEMENT_BEGIN_WRITE] = "BEGIN IMMEDIATE",
    [STATEMENT_BEGIN_READ] = "BEGIN",
    [STATEMENT_COMMIT] = "COMMIT",
    [STATEMENT_ROLLBACK] = "ROLLBACK",
    [STATEMENT_SAVEPOINT] = "SAVEPOINT one",
    [STATEMENT_RELEASE] = "RELEASE one",
    [STATEMENT_ROLLBACK_TO] = "ROLLBACK TO one",
    [STATEMENT_FENCE] = "UPDATE shard SET commit_no = ?3"
                        " WHERE shard = ?1 AND range_id = ?2 AND commit_no = ?3 - 1",
    [STATEMENT_SHARD_GET] = "SELECT range_id, commit_no FROM shard WHERE shard = ?1",
    [STATEMENT_SHARD_PUT] = "INSERT INTO shard (shard, range_id, commit_no, owner)"
                            " VALUES (?1, ?2, 0, ?3) ON CONFLICT (shard) DO UPDATE SET"
                            " range_id = excluded.range_id, owner = excluded.owner",
    [STATEMENT_VISIBILITY_INSERT] =
        "INSERT INTO visibility (" SQL_VISIBILITY_COLUMNS ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7,"
        " ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)",
    [STATEMENT_VISIBILITY_UPDATE] =
        "UPDATE visibility SET namespace_id = ?3, workflow_id = ?4, workflow_type = ?5,"
        " task_queue = ?6, status = ?7, start_ns = ?8, execution_ns = ?9, close_ns = ?10,"
        " history_length = ?11, history_size_bytes = ?12, state_transitions = ?13,"
        " parent_workflow_id = ?14, parent_run_id = ?15, root_workflow_id = ?16,"
        " root_run_id = ?17, memo = ?18, search_attributes = ?19"
        " WHERE shard = ?1 AND run_id = ?2",
    [STATEMENT_VISIBILITY_DELETE] = "DELETE FROM visibility WHERE shard = ?1 AND run_id = ?2",
    [STATEMENT_DUE] = "SELECT " RUN_COLUMNS " FROM run WHERE shard = ?1 AND namespace_id = ?4"
                      " AND due_ns >= ?2 AND due_ns <= ?3 ORDER BY due_ns, key",
    [STATEMENT_DUE_ALL] = "SELECT " RUN_COLUMNS " FROM run WHERE shard = ?1"
                          " AND due_ns >= ?2 AND due_ns <= ?3 ORDER BY due_ns, key",
    [STATEMENT_EXPIRY] = "SELECT " RUN_COLUMNS " FROM run WHERE shard = ?1"
                         " AND expire_ns >= ?2 AND expire_ns <= ?3 ORDER BY expire_ns, key",
};

struct sqlite_session *sqlite_session_of(struct store_session *session)
{
    return CONTAINER_OF(session, struct sqlite_session, base);
}

enum err sqlite_error(struct sqlite_session *session, int code, const char *what)
{
    (void)snprintf(session->base.text, sizeof(session->base.text), "sqlite: %s: %s (%d)", what,
        sqlite3_errmsg(session->connection), code);
    switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return OK;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return ERR_CONFLICT;
    case SQLITE_CONSTRAINT:
        if (code == SQLITE_CONSTRAINT_PRIMARYKEY || code == SQLITE_CONSTRAINT_UNIQUE)
            return ERR_DUPLICATE_KEY;
        return ERR_INTERNAL;
    case SQLITE_TOOBIG:
        return ERR_TOO_LARGE;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return ERR_CORRUPT;
    case SQLITE_FULL: /* transient for the caller: an operator makes room */
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_NOMEM:
    case SQLITE_READONLY:
        return ERR_UNAVAILABLE;
    default:
        return ERR_INTERNAL;
    }
}

static sqlite3_stmt *prepare(struct sqlite_session *session, const char *text)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v3(
        session->connection, text, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL);
    return code == SQLITE_OK ? statement : NULL;
}

static sqlite3_stmt *prepare_row(
    struct sqlite_session *session, enum table table, enum sqlite_row_statement kind)
{
    if (table == TABLE_RUN && run_texts[kind])
        return prepare(session, run_texts[kind]);
    char text[256];
    CHECK(row_texts[kind].head != NULL);
    int len = snprintf(text, sizeof(text), "%s%s%s", row_texts[kind].head, table_name(table),
        row_texts[kind].tail);
    CHECK(len > 0);
    CHECK((size_t)len < sizeof(text));
    return prepare(session, text);
}

sqlite3_stmt *sqlite_row_statement(
    struct sqlite_session *session, enum table table, enum sqlite_row_statement kind)
{
    sqlite3_stmt **cached = &session->rows[table][kind];
    if (*cached == NULL)
        *cached = prepare_row(session, table, kind);
    return *cached;
}

sqlite3_stmt *sqlite_statement(struct sqlite_session *session, enum sqlite_statement kind)
{
    if (!session->statements[kind])
        session->statements[kind] = prepare(session, texts[kind]);
    return session->statements[kind];
}

int sqlite_execute(struct sqlite_session *session, enum sqlite_statement kind)
{
    sqlite3_stmt *statement = sqlite_statement(session, kind);
    if (!statement)
        return sqlite3_extended_errcode(session->connection);
    int code = sqlite3_step(statement);
    (void)sqlite3_reset(statement); /* repeats the code of step */
    return code;
}

void sqlite_bind_bytes(sqlite3_stmt *statement, int index, struct bytes bytes)
{
    int code = bytes.len > 0
                   ? sqlite3_bind_blob64(statement, index, bytes.data, bytes.len, SQLITE_STATIC)
                   : sqlite3_bind_zeroblob(statement, index, 0);
    CHECK(code == SQLITE_OK);
}

void sqlite_bind_time(sqlite3_stmt *statement, int index, int64_t ns)
{
    int code = ns == DUE_NONE ? sqlite3_bind_null(statement, index)
                              : sqlite3_bind_int64(statement, index, ns);
    CHECK(code == SQLITE_OK);
}
