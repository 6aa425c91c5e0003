/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads. Results are copied into the caller's arena row by row; nothing is buffered by SQLite, so a
 * byte limit ends a scan early at no cost.
 */
#include <string.h>

#include "cluster/store/sql_filter.h"
#include "cluster/store/store_rows.h"
#include "cluster/store/store_sqlite.h"

static void lock_read(struct sqlite_database *database)
{
    if (database->memory)
        (void)pthread_rwlock_rdlock(&database->lock); /* no recursion: cannot fail */
}

static void unlock_read(struct sqlite_database *database)
{
    if (database->memory)
        (void)pthread_rwlock_unlock(&database->lock);
}

static enum err last_error(struct sqlite_session *session, const char *what)
{
    return sqlite_error(session, sqlite3_extended_errcode(session->connection), what);
}

/** A view of a column; valid until the statement moves on. */
static struct bytes column_bytes(sqlite3_stmt *statement, int column)
{
    const void *data = sqlite3_column_blob(statement, column);
    return bytes_make(data, (size_t)sqlite3_column_bytes(statement, column));
}

static int64_t column_time(sqlite3_stmt *statement, int column)
{
    return sqlite3_column_type(statement, column) == SQLITE_NULL
               ? DUE_NONE
               : sqlite3_column_int64(statement, column);
}

static bool column_uuid(sqlite3_stmt *statement, int column, struct uuid *ret_uuid)
{
    struct bytes view = column_bytes(statement, column);
    if (view.len != sizeof(ret_uuid->bytes))
        return false;
    memcpy(ret_uuid->bytes, view.data, view.len);
    return true;
}

/** The further columns of a run. */
static bool fill_run(sqlite3_stmt *statement, struct store_row *row)
{
    row->due_ns = column_time(statement, 3);
    row->expire_ns = column_time(statement, 4);
    return column_uuid(statement, 2, &row->namespace_id);
}

static enum err get_one(struct sqlite_session *session, struct arena *arena, struct store_get *get)
{
    get->row = (struct store_row){
        .key = bytes_copy(arena, get->key),
        .due_ns = DUE_NONE,
        .expire_ns = DUE_NONE,
    };
    sqlite3_stmt *statement = sqlite_row_statement(session, get->table, ROW_GET);
    if (!statement)
        return last_error(session, table_name(get->table));
    (void)sqlite3_bind_int(statement, 1, get->shard); /* index and memory are certain */
    sqlite_bind_bytes(statement, 2, get->key);
    enum err err = OK;
    int code = sqlite3_step(statement);
    if (code == SQLITE_ROW) {
        get->row.found = true;
        get->row.value = bytes_copy(arena, column_bytes(statement, 1));
        if (get->table == TABLE_RUN && !fill_run(statement, &get->row))
            err = ERR_CORRUPT;
    } else if (code != SQLITE_DONE) {
        err = last_error(session, table_name(get->table));
    }
    (void)sqlite3_reset(statement);
    return err;
}

static enum err get_locked(
    struct sqlite_session *session, struct arena *arena, struct store_get *keys, size_t count)
{
    /* One snapshot, and its locks are taken once. */
    if (count > 1) {
        int code = sqlite_execute(session, STATEMENT_BEGIN_READ);
        if (code != SQLITE_DONE)
            return sqlite_error(session, code, "begin");
    }
    enum err err = OK;
    for (size_t i = 0; i < count && err == OK; i++)
        err = get_one(session, arena, &keys[i]);
    if (count > 1 && !sqlite3_get_autocommit(session->connection))
        (void)sqlite_execute(session, STATEMENT_ROLLBACK); /* nothing was written */
    return err;
}

enum err sqlite_get(
    struct store_session *session, struct arena *arena, struct store_get *keys, size_t count)
{
    struct sqlite_session *sqlite = sqlite_session_of(session);
    lock_read(sqlite->database);
    enum err err = get_locked(sqlite, arena, keys, count);
    unlock_read(sqlite->database);
    return err;
}

/** Steps a bound statement of rows until it ends or the limits are reached, and resets it. */
static enum err collect(struct sqlite_session *session, sqlite3_stmt *statement, enum table table,
    struct store_rows *rows, bool *ret_more)
{
    enum err err = OK;
    bool more = false;
    for (;;) {
        int code = sqlite3_step(statement);
        if (code != SQLITE_ROW) {
            if (code != SQLITE_DONE)
                err = last_error(session, table_name(table));
            break;
        }
        more = store_rows_full(rows);
        if (more)
            break;
        struct bytes key = column_bytes(statement, 0);
        struct store_row *row = store_rows_add(rows, key, column_bytes(statement, 1));
        if (table == TABLE_RUN && !fill_run(statement, row)) {
            err = ERR_CORRUPT;
            break;
        }
    }
    (void)sqlite3_reset(statement); /* repeats the code of step */
    *ret_more = more;
    return err;
}

static enum sqlite_row_statement scan_kind(const struct store_scan *scan)
{
    if (scan->to.len > 0)
        return scan->reverse ? ROW_SCAN_REVERSE : ROW_SCAN;
    return scan->reverse ? ROW_SCAN_OPEN_REVERSE : ROW_SCAN_OPEN;
}

enum err sqlite_scan(struct store_session *session, struct arena *arena, struct store_scan *scan)
{
    struct sqlite_session *sqlite = sqlite_session_of(session);
    sqlite3_stmt *statement = sqlite_row_statement(sqlite, scan->table, scan_kind(scan));
    if (!statement)
        return last_error(sqlite, table_name(scan->table));
    (void)sqlite3_bind_int(statement, 1, scan->shard);
    sqlite_bind_bytes(statement, 2, scan->from);
    if (scan->to.len > 0)
        sqlite_bind_bytes(statement, 3, scan->to);
    struct store_rows rows = {
        .arena = arena, .limit_rows = scan->limit_rows, .limit_bytes = scan->limit_bytes};
    lock_read(sqlite->database);
    enum err err = collect(sqlite, statement, scan->table, &rows, &scan->more);
    unlock_read(sqlite->database);
    scan->rows = rows.rows;
    scan->row_count = rows.count;
    return err;
}

enum err sqlite_due(struct store_session *session, struct arena *arena, struct store_due *due)
{
    struct sqlite_session *sqlite = sqlite_session_of(session);
    enum sqlite_statement kind = STATEMENT_DUE;
    if (due->expiry)
        kind = STATEMENT_EXPIRY;
    else if (uuid_is_zero(due->namespace_id))
        kind = STATEMENT_DUE_ALL;
    sqlite3_stmt *statement = sqlite_statement(sqlite, kind);
    if (!statement)
        return last_error(sqlite, "due");
    (void)sqlite3_bind_int(statement, 1, due->shard);
    (void)sqlite3_bind_int64(statement, 2, due->from_ns);
    (void)sqlite3_bind_int64(statement, 3, due->to_ns);
    if (kind == STATEMENT_DUE)
        sqlite_bind_bytes(statement, 4, uuid_view(&due->namespace_id));
    struct store_rows rows = {.arena = arena, .limit_rows = due->limit_rows};
    lock_read(sqlite->database);
    enum err err = collect(sqlite, statement, TABLE_RUN, &rows, &due->more);
    unlock_read(sqlite->database);
    due->rows = rows.rows;
    due->row_count = rows.count;
    return err;
}

/** A SELECT made for this call, with its values bound. NULL: see last_error(). */
static sqlite3_stmt *prepare_select(struct sqlite_session *session, const struct sql_text *sql)
{
    sqlite3_stmt *statement = NULL;
    int code =
        sqlite3_prepare_v2(session->connection, sql->text, (int)sql->len + 1, &statement, NULL);
    if (code != SQLITE_OK)
        return NULL;
    for (size_t i = 0; i < sql->value_count; i++) {
        const struct sql_value *value = &sql->values[i];
        if (value->is_bytes)
            sqlite_bind_bytes(statement, (int)i + 1, value->bytes);
        else
            (void)sqlite3_bind_int64(statement, (int)i + 1, value->number);
    }
    return statement;
}

static bool read_visibility(
    sqlite3_stmt *statement, struct arena *arena, struct visibility_row *ret_row)
{
    struct visibility_row row = {
        .shard = sqlite3_column_int(statement, 0),
        .workflow_id = bytes_copy(arena, column_bytes(statement, 3)),
        .workflow_type = bytes_copy(arena, column_bytes(statement, 4)),
        .task_queue = bytes_copy(arena, column_bytes(statement, 5)),
        .status = sqlite3_column_int(statement, 6),
        .start_ns = sqlite3_column_int64(statement, 7),
        .execution_ns = sqlite3_column_int64(statement, 8),
        .close_ns = sqlite3_column_int64(statement, 9),
        .history_length = sqlite3_column_int64(statement, 10),
        .history_size_bytes = sqlite3_column_int64(statement, 11),
        .state_transitions = sqlite3_column_int64(statement, 12),
        .parent_workflow_id = bytes_copy(arena, column_bytes(statement, 13)),
        .parent_run_id = bytes_copy(arena, column_bytes(statement, 14)),
        .root_workflow_id = bytes_copy(arena, column_bytes(statement, 15)),
        .root_run_id = bytes_copy(arena, column_bytes(statement, 16)),
        .memo = bytes_copy(arena, column_bytes(statement, 17)),
        .search_attributes = bytes_copy(arena, column_bytes(statement, 18)),
    };
    if (!column_uuid(statement, 1, &row.run_id) || !column_uuid(statement, 2, &row.namespace_id))
        return false;
    *ret_row = row;
    return true;
}

static enum err collect_list(struct sqlite_session *session, sqlite3_stmt *statement,
    struct arena *arena, struct store_list *list)
{
    size_t capacity = 0;
    list->rows = NULL;
    list->row_count = 0;
    list->more = false;
    for (;;) {
        int code = sqlite3_step(statement);
        if (code == SQLITE_DONE)
            return OK;
        if (code != SQLITE_ROW)
            return last_error(session, "list");
        list->more = list->row_count == list->limit_rows;
        if (list->more)
            return OK;
        if (list->row_count == capacity) {
            capacity = capacity > 0 ? capacity * 2 : 16;
            struct visibility_row *grown = arena_alloc(arena, capacity * sizeof(*grown));
            if (list->row_count > 0)
                memcpy(grown, list->rows, list->row_count * sizeof(*grown));
            list->rows = grown;
        }
        if (!read_visibility(statement, arena, &list->rows[list->row_count]))
            return ERR_CORRUPT;
        list->row_count++;
    }
}

enum err sqlite_list(struct store_session *session, struct arena *arena, struct store_list *list)
{
    struct sqlite_session *sqlite = sqlite_session_of(session);
    struct sql_text sql;
    sql_text_init(&sql, &sqlite->scratch, SQL_SQLITE);
    sql_list_select(&sql, list);
    lock_read(sqlite->database);
    sqlite3_stmt *statement = prepare_select(sqlite, &sql);
    enum err err =
        statement ? collect_list(sqlite, statement, arena, list) : last_error(sqlite, "list");
    (void)sqlite3_finalize(statement); /* repeats the code of step */
    unlock_read(sqlite->database);
    arena_reset(&sqlite->scratch);
    return err;
}

static enum err collect_count(
    struct sqlite_session *session, sqlite3_stmt *statement, struct store_count *count)
{
    int code;
    while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
        if (!count->by_status) {
            count->total = sqlite3_column_int64(statement, 0);
            continue;
        }
        int64_t status = sqlite3_column_int64(statement, 0);
        int64_t rows = sqlite3_column_int64(statement, 1);
        count->total += rows;
        if (status >= 0 && (size_t)status < ARRAY_LEN(count->status_counts))
            count->status_counts[status] = rows;
    }
    return code == SQLITE_DONE ? OK : last_error(session, "count");
}

enum err sqlite_count(struct store_session *session, struct arena *arena, struct store_count *count)
{
    (void)arena; /* the result has no memory of its own */
    struct sqlite_session *sqlite = sqlite_session_of(session);
    struct sql_text sql;
    sql_text_init(&sql, &sqlite->scratch, SQL_SQLITE);
    sql_count_select(&sql, count);
    count->total = 0;
    memset(count->status_counts, 0, sizeof(count->status_counts));
    lock_read(sqlite->database);
    sqlite3_stmt *statement = prepare_select(sqlite, &sql);
    enum err err =
        statement ? collect_count(sqlite, statement, count) : last_error(sqlite, "count");
    (void)sqlite3_finalize(statement); /* repeats the code of step */
    unlock_read(sqlite->database);
    arena_reset(&sqlite->scratch);
    return err;
}
