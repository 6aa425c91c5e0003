/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads from PostgreSQL. Each is one statement per table, all in one round trip, each statement on
 * a snapshot of its own (READ COMMITTED).
 */
#include <endian.h>
#include <string.h>

#include "cluster/base/check.h"
#include "cluster/store/sql_filter.h"
#include "cluster/store/store_postgres.h"

/* ---- values ---- */

int64_t postgres_i64(const PGresult *result, int row, int column)
{
    const char *data = PQgetvalue(result, row, column);
    uint64_t wide = 0;
    uint32_t narrow = 0;
    if (PQgetlength(result, row, column) == (int)sizeof(wide)) {
        memcpy(&wide, data, sizeof(wide));
        return (int64_t)be64toh(wide);
    }
    if (PQgetlength(result, row, column) == (int)sizeof(narrow)) {
        memcpy(&narrow, data, sizeof(narrow));
        return (int32_t)be32toh(narrow);
    }
    return 0; /* no other integer types are selected */
}

static int64_t value_time(const PGresult *result, int row, int column)
{
    return PQgetisnull(result, row, column) ? DUE_NONE : postgres_i64(result, row, column);
}

static struct bytes value_bytes(struct arena *arena, const PGresult *result, int row, int column)
{
    return bytes_copy(arena,
        bytes_make(PQgetvalue(result, row, column), (size_t)PQgetlength(result, row, column)));
}

static struct uuid value_uuid(const PGresult *result, int row, int column)
{
    struct uuid uuid = {{0}};
    if (PQgetlength(result, row, column) == (int)sizeof(uuid.bytes))
        memcpy(uuid.bytes, PQgetvalue(result, row, column), sizeof(uuid.bytes));
    return uuid;
}

/** namespace_id, due_ns, expire_ns from `column` on, for the run table. */
static void read_run_columns(
    struct store_row *row, enum table table, const PGresult *result, int at, int column)
{
    row->due_ns = DUE_NONE;
    row->expire_ns = DUE_NONE;
    if (table != TABLE_RUN)
        return;
    row->namespace_id = value_uuid(result, at, column);
    row->due_ns = value_time(result, at, column + 1);
    row->expire_ns = value_time(result, at, column + 2);
}

static struct postgres_session *begin(struct store_session *base, enum err *ret_err)
{
    struct postgres_session *session = CONTAINER_OF(base, struct postgres_session, base);
    *ret_err = postgres_ready(session);
    return session;
}

/* ---- get ---- */

static enum err send_gets(struct postgres_session *session, const struct store_get *keys,
    const uint32_t *members, size_t count, enum table table)
{
    struct postgres_params *params = &session->params;
    postgres_array(params, POSTGRES_OID_INT4, count);
    for (size_t i = 0; i < count; i++)
        postgres_element_i32(params, keys[members[i]].shard);
    postgres_array(params, POSTGRES_OID_BYTEA, count);
    for (size_t i = 0; i < count; i++)
        postgres_element_bytes(params, keys[members[i]].key);
    return postgres_send(session, postgres_statement(POSTGRES_GET, table));
}

static enum err read_gets(struct postgres_session *session, struct arena *arena,
    struct store_get *keys, const uint32_t *members, size_t count, enum table table)
{
    PGresult *result = NULL;
    enum err err = postgres_next(session, &result);
    if (err)
        return err;
    for (int i = 0; i < PQntuples(result); i++) {
        int64_t position = postgres_i64(result, i, 0); /* from 1 */
        CHECK(position >= 1);
        CHECK((size_t)position <= count);
        struct store_row *row = &keys[members[position - 1]].row;
        row->found = true;
        row->value = value_bytes(arena, result, i, 1);
        read_run_columns(row, table, result, i, 2);
    }
    PQclear(result);
    return OK;
}

enum err postgres_get(
    struct store_session *base, struct arena *arena, struct store_get *keys, size_t count)
{
    enum err err = OK;
    struct postgres_session *session = begin(base, &err);
    if (err)
        return err;
    /* members[starts[t]..starts[t + 1]) are the keys of table t. */
    size_t starts[TABLE_COUNT + 1] = {0};
    uint32_t *members = arena_alloc(&session->arena, (count + 1) * sizeof(*members));
    size_t filled = 0;
    for (int table = 0; table < TABLE_COUNT; table++) {
        starts[table] = filled;
        for (size_t i = 0; i < count; i++) {
            if (keys[i].table == (enum table)table)
                members[filled++] = (uint32_t)i;
        }
        if (filled > starts[table] && err == OK)
            err = send_gets(
                session, keys, members + starts[table], filled - starts[table], (enum table)table);
    }
    starts[TABLE_COUNT] = filled;
    CHECK(filled == count);
    for (size_t i = 0; i < count; i++)
        keys[i].row = (struct store_row){
            .key = bytes_copy(arena, keys[i].key), .due_ns = DUE_NONE, .expire_ns = DUE_NONE};
    if (err == OK)
        err = postgres_sync(session);
    for (int table = 0; table < TABLE_COUNT && err == OK; table++) {
        if (starts[table + 1] > starts[table])
            err = read_gets(session, arena, keys, members + starts[table],
                starts[table + 1] - starts[table], (enum table)table);
    }
    arena_reset(&session->arena);
    return postgres_finish(session, err);
}

/* ---- scan, due ---- */

/** Sends what is collected, reads the one result. */
static enum err one_result(
    struct postgres_session *session, int statement, const char *sql, PGresult **ret_result)
{
    enum err err = statement == POSTGRES_TEXT ? postgres_send_text(session, sql)
                                              : postgres_send(session, statement);
    if (err == OK)
        err = postgres_sync(session);
    if (err == OK)
        err = postgres_next(session, ret_result);
    return err;
}

enum err postgres_scan(struct store_session *base, struct arena *arena, struct store_scan *scan)
{
    enum err err = OK;
    struct postgres_session *session = begin(base, &err);
    if (err)
        return err;
    unsigned flags = scan->reverse ? POSTGRES_SCAN_REVERSE : 0;
    postgres_param_i32(&session->params, scan->shard);
    postgres_param_bytes(&session->params, scan->from);
    postgres_param_i64(&session->params, (int64_t)scan->limit_rows + 1);
    if (scan->to.len > 0)
        postgres_param_bytes(&session->params, scan->to);
    else
        flags |= POSTGRES_SCAN_OPEN;
    if (scan->limit_bytes > 0) {
        flags |= POSTGRES_SCAN_BYTES;
        postgres_param_i64(&session->params, (int64_t)scan->limit_bytes);
    }
    PGresult *result = NULL;
    int statement = (int)(POSTGRES_SCAN + flags) * TABLE_COUNT + (int)scan->table;
    err = one_result(session, statement, NULL, &result);
    if (err)
        return postgres_finish(session, err);
    size_t found = (size_t)PQntuples(result);
    size_t count = found < scan->limit_rows ? found : scan->limit_rows;
    struct store_row *rows = arena_zalloc(arena, count + 1, sizeof(*rows));
    for (size_t i = 0; i < count; i++) {
        if (PQgetisnull(result, (int)i, 1)) { /* behind the bound in bytes */
            count = i;
            break;
        }
        rows[i].found = true;
        rows[i].key = value_bytes(arena, result, (int)i, 0);
        rows[i].value = value_bytes(arena, result, (int)i, 1);
        read_run_columns(&rows[i], scan->table, result, (int)i, 2);
    }
    PQclear(result);
    scan->rows = rows;
    scan->row_count = count;
    scan->more = found > count;
    return postgres_finish(session, OK);
}

enum err postgres_due(struct store_session *base, struct arena *arena, struct store_due *due)
{
    enum err err = OK;
    struct postgres_session *session = begin(base, &err);
    if (err)
        return err;
    bool all = due->expiry || uuid_is_zero(due->namespace_id);
    postgres_param_i32(&session->params, due->shard);
    postgres_param_i64(&session->params, due->from_ns);
    postgres_param_i64(&session->params, due->to_ns);
    postgres_param_i64(&session->params, (int64_t)due->limit_rows + 1);
    if (!all)
        postgres_param_bytes(&session->params, uuid_view(&due->namespace_id));
    int statement = all ? POSTGRES_DUE_ALL : POSTGRES_DUE;
    PGresult *result = NULL;
    err = one_result(session, due->expiry ? POSTGRES_EXPIRE : statement, NULL, &result);
    if (err)
        return postgres_finish(session, err);
    size_t found = (size_t)PQntuples(result);
    size_t count = found < due->limit_rows ? found : due->limit_rows;
    struct store_row *rows = arena_zalloc(arena, count + 1, sizeof(*rows));
    for (size_t i = 0; i < count; i++) {
        rows[i].found = true;
        rows[i].key = value_bytes(arena, result, (int)i, 0);
        rows[i].value = value_bytes(arena, result, (int)i, 1);
        read_run_columns(&rows[i], TABLE_RUN, result, (int)i, 2);
    }
    PQclear(result);
    due->rows = rows;
    due->row_count = count;
    due->more = found > count;
    return postgres_finish(session, OK);
}

/* ---- visibility ---- */

static void add_values(struct postgres_params *params, const struct sql_text *sql)
{
    for (size_t i = 0; i < sql->value_count; i++) {
        if (sql->values[i].is_bytes)
            postgres_param_bytes(params, sql->values[i].bytes);
        else
            postgres_param_i64(params, sql->values[i].number);
    }
}

/** A filter of very many values; the query language's own bounds are lower. */
static enum err check_values(struct postgres_session *session, const struct sql_text *sql)
{
    if (sql->value_count <= POSTGRES_PARAMS_MAX)
        return OK;
    postgres_reason(session->base.text, "query", "too many values");
    return ERR_TOO_LARGE;
}

static void read_visibility(
    struct arena *arena, const PGresult *result, int at, struct visibility_row *row)
{
    row->shard = (int32_t)postgres_i64(result, at, 0);
    row->run_id = value_uuid(result, at, 1);
    row->namespace_id = value_uuid(result, at, 2);
    row->workflow_id = value_bytes(arena, result, at, 3);
    row->workflow_type = value_bytes(arena, result, at, 4);
    row->task_queue = value_bytes(arena, result, at, 5);
    row->status = (int32_t)postgres_i64(result, at, 6);
    row->start_ns = postgres_i64(result, at, 7);
    row->execution_ns = postgres_i64(result, at, 8);
    row->close_ns = postgres_i64(result, at, 9);
    row->history_length = postgres_i64(result, at, 10);
    row->history_size_bytes = postgres_i64(result, at, 11);
    row->state_transitions = postgres_i64(result, at, 12);
    row->parent_workflow_id = value_bytes(arena, result, at, 13);
    row->parent_run_id = value_bytes(arena, result, at, 14);
    row->root_workflow_id = value_bytes(arena, result, at, 15);
    row->root_run_id = value_bytes(arena, result, at, 16);
    row->memo = value_bytes(arena, result, at, 17);
    row->search_attributes = value_bytes(arena, result, at, 18);
}

enum err postgres_list(struct store_session *base, struct arena *arena, struct store_list *list)
{
    enum err err = OK;
    struct postgres_session *session = begin(base, &err);
    if (err)
        return err;
    struct sql_text sql;
    sql_text_init(&sql, &session->arena, SQL_POSTGRES);
    sql_list_select(&sql, list);
    err = check_values(session, &sql);
    if (err) {
        arena_reset(&session->arena);
        return err;
    }
    add_values(&session->params, &sql);
    PGresult *result = NULL;
    err = one_result(session, POSTGRES_TEXT, sql.text, &result);
    arena_reset(&session->arena);
    if (err)
        return postgres_finish(session, err);
    size_t found = (size_t)PQntuples(result);
    size_t count = found < list->limit_rows ? found : list->limit_rows;
    list->rows = arena_zalloc(arena, count + 1, sizeof(*list->rows));
    for (size_t i = 0; i < count; i++)
        read_visibility(arena, result, (int)i, &list->rows[i]);
    PQclear(result);
    list->row_count = count;
    list->more = found > count;
    return postgres_finish(session, OK);
}

static void read_counts(const PGresult *result, struct store_count *count)
{
    count->total = 0;
    memset(count->status_counts, 0, sizeof(count->status_counts));
    int last = PQnfields(result) - 1;
    for (int i = 0; i < PQntuples(result); i++) {
        int64_t rows = postgres_i64(result, i, last);
        int64_t status = last > 0 ? postgres_i64(result, i, 0) : -1;
        count->total += rows;
        if (status >= 0 && status < (int64_t)ARRAY_LEN(count->status_counts))
            count->status_counts[status] = rows;
    }
}

enum err postgres_count(struct store_session *base, struct arena *arena, struct store_count *count)
{
    (void)arena; /* the result is all numbers */
    enum err err = OK;
    struct postgres_session *session = begin(base, &err);
    if (err)
        return err;
    struct sql_text sql;
    sql_text_init(&sql, &session->arena, SQL_POSTGRES);
    sql_count_select(&sql, count);
    err = check_values(session, &sql);
    if (err) {
        arena_reset(&session->arena);
        return err;
    }
    /* Counting may be better off with a plan that reads the table; for this transaction only, which
     * is the one that the sync ends. */
    err = postgres_send(session, POSTGRES_COUNT_SETTINGS);
    if (err == OK) {
        add_values(&session->params, &sql);
        err = postgres_send_text(session, sql.text);
    }
    arena_reset(&session->arena);
    if (err == OK)
        err = postgres_sync(session);
    PGresult *result = NULL;
    if (err == OK)
        err = postgres_next(session, &result);
    if (err == OK) {
        PQclear(result);
        err = postgres_next(session, &result);
    }
    if (err == OK) {
        read_counts(result, count);
        PQclear(result);
    }
    return postgres_finish(session, err);
}
