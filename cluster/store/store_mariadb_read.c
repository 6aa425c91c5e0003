/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads from MariaDB. Each statement has a snapshot of its own (READ COMMITTED); a scan bounded in
 * bytes is made of several, so a commit may become visible in its middle, as between two scans.
 */
#include <string.h>

#include "cluster/base/check.h"
#include "cluster/base/limits.h"
#include "cluster/store/store_mariadb.h"
#include "cluster/store/store_rows.h"

#define GENERIC_COLUMNS "nbb"
#define RUN_COLUMNS     "nbbbnn"

/* Rows of the first request of a scan bounded in bytes: how much may be read in vain. */
#define SCAN_CHUNK_MIN 16u
#define SCAN_CHUNK_MAX 1024u

static struct mariadb_session *begin(struct store_session *base, enum err *ret_err)
{
    struct mariadb_session *session = CONTAINER_OF(base, struct mariadb_session, base);
    *ret_err = mariadb_ready(session);
    return session;
}

static const char *columns_of(enum table table)
{
    return table == TABLE_RUN ? RUN_COLUMNS : GENERIC_COLUMNS;
}

static int64_t time_of(const struct mariadb_result *result, int column)
{
    return result->nulls[column] ? DUE_NONE : result->numbers[column];
}

/** namespace_id, due_ns, expire_ns behind shard, key and value, for the run table. */
static void read_run_columns(struct store_row *row, enum table table, struct mariadb_result *result)
{
    row->due_ns = DUE_NONE;
    row->expire_ns = DUE_NONE;
    if (table != TABLE_RUN)
        return;
    row->namespace_id = mariadb_uuid(result, 3);
    row->due_ns = time_of(result, 4);
    row->expire_ns = time_of(result, 5);
}

/* ---- get ---- */

/** Gives a row to all keys that asked for it. */
static void distribute(struct mariadb_session *session, struct arena *arena, struct store_get *keys,
    const uint32_t *members, size_t count, struct mariadb_result *result)
{
    int64_t shard = result->numbers[0];
    struct bytes key = mariadb_bytes(&session->arena, result, 1);
    for (size_t i = 0; i < count; i++) {
        struct store_get *get = &keys[members[i]];
        if (get->shard != shard || !bytes_equal(get->key, key))
            continue;
        get->row.found = true;
        get->row.value = mariadb_bytes(arena, result, 2);
        read_run_columns(&get->row, get->table, result);
    }
}

/** Up to 64 keys of one table; the text's spare places repeat the last key. */
static enum err get_some(struct mariadb_session *session, struct arena *arena,
    struct store_get *keys, const uint32_t *members, size_t count, enum table table)
{
    enum mariadb_width width = MARIADB_WIDTH_1;
    while (mariadb_width_rows(width) < count)
        width++;
    struct mariadb_batch batch;
    mariadb_batch_init(&batch, &session->arena, mariadb_width_rows(width));
    int shard = mariadb_batch_numbers(&batch);
    int key = mariadb_batch_bytes(&batch);
    for (size_t i = 0; i < batch.rows; i++) {
        const struct store_get *get = &keys[members[i < count ? i : count - 1]];
        mariadb_batch_set_number(&batch, shard, i, get->shard);
        mariadb_batch_set_bytes(&batch, key, i, get->key);
    }
    struct mariadb_result result;
    enum err err = mariadb_query(session, mariadb_statement(MARIADB_GET, table), width, &batch, 0,
        columns_of(table), &result);
    bool row = true;
    while (err == OK && row) {
        err = mariadb_fetch(session, &result, &row);
        if (err == OK && row)
            distribute(session, arena, keys, members, count, &result);
    }
    if (err == OK)
        mariadb_result_close(session, &result);
    return err;
}

enum err mariadb_get(
    struct store_session *base, struct arena *arena, struct store_get *keys, size_t count)
{
    enum err err = OK;
    struct mariadb_session *session = begin(base, &err);
    if (err)
        return err;
    for (size_t i = 0; i < count; i++)
        keys[i].row = (struct store_row){
            .key = bytes_copy(arena, keys[i].key), .due_ns = DUE_NONE, .expire_ns = DUE_NONE};
    size_t width = mariadb_width_rows(MARIADB_WIDTH_64);
    uint32_t *members = arena_alloc(&session->arena, width * sizeof(*members));
    for (int table = 0; table < TABLE_COUNT && err == OK; table++) {
        size_t filled = 0;
        for (size_t i = 0; i < count && err == OK; i++) {
            if (keys[i].table != (enum table)table)
                continue;
            members[filled++] = (uint32_t)i;
            if (filled < width)
                continue;
            err = get_some(session, arena, keys, members, filled, (enum table)table);
            filled = 0;
        }
        if (filled > 0 && err == OK)
            err = get_some(session, arena, keys, members, filled, (enum table)table);
    }
    return mariadb_finish(session, err);
}

/* ---- scan ---- */

/** Where a scan goes on: keys in [from, to), `open` without an end. */
struct position {
    struct bytes from;
    struct bytes to;
    bool open;
    bool more;
};

static enum err scan_some(struct mariadb_session *session, const struct store_scan *scan,
    const struct position *position, uint64_t limit, struct mariadb_result *ret_result)
{
    struct mariadb_batch batch;
    mariadb_batch_init(&batch, &session->arena, 1);
    mariadb_batch_set_number(&batch, mariadb_batch_numbers(&batch), 0, scan->shard);
    mariadb_batch_set_bytes(&batch, mariadb_batch_bytes(&batch), 0, position->from);
    if (!position->open)
        mariadb_batch_set_bytes(&batch, mariadb_batch_bytes(&batch), 0, position->to);
    mariadb_batch_set_number(&batch, mariadb_batch_numbers(&batch), 0, (int64_t)limit);
    unsigned flags =
        (scan->reverse ? MARIADB_SCAN_REVERSE : 0u) | (position->open ? MARIADB_SCAN_OPEN : 0u);
    int statement = (int)(MARIADB_SCAN + flags) * TABLE_COUNT + (int)scan->table;
    return mariadb_query(
        session, statement, MARIADB_WIDTH_1, &batch, 0, columns_of(scan->table), ret_result);
}

/** Moves the position behind the last row. */
static void advance(struct mariadb_session *session, const struct store_scan *scan,
    const struct store_rows *rows, struct position *position)
{
    struct bytes last = rows->rows[rows->count - 1].key;
    if (scan->reverse) {
        position->to = last;
        position->open = false;
        return;
    }
    uint8_t *next = arena_zalloc(&session->arena, last.len + 1, 1); /* the least key above it */
    if (last.len > 0)
        memcpy(next, last.data, last.len);
    position->from = bytes_make(next, last.len + 1);
}

/** One request of at most `limit` rows. *ret_end: the range has no further rows. */
static enum err scan_step(struct mariadb_session *session, const struct store_scan *scan,
    struct store_rows *rows, struct position *position, uint64_t limit, bool *ret_end)
{
    struct mariadb_result result;
    enum err err = scan_some(session, scan, position, limit, &result);
    uint64_t seen = 0;
    while (err == OK) {
        bool found = false;
        err = mariadb_fetch(session, &result, &found);
        if (err)
            return err;
        if (!found)
            break;
        seen++;
        position->more = store_rows_full(rows);
        if (position->more)
            break;
        struct store_row *row = store_rows_add_empty(rows);
        row->key = mariadb_bytes(rows->arena, &result, 1);
        row->value = mariadb_bytes(rows->arena, &result, 2);
        rows->bytes += row->key.len + row->value.len;
        read_run_columns(row, scan->table, &result);
    }
    if (err)
        return err;
    mariadb_result_close(session, &result);
    *ret_end = position->more || seen < limit;
    if (!*ret_end)
        advance(session, scan, rows, position);
    return OK;
}

/** How many rows to ask for next: what is missing at the sizes seen so far. */
static uint64_t next_limit(const struct store_rows *rows)
{
    uint64_t left = (uint64_t)rows->limit_rows - rows->count + 1;
    if (rows->limit_bytes == 0)
        return left;
    uint64_t guess = SCAN_CHUNK_MIN;
    if (rows->count > 0 && !store_rows_full(rows))
        guess = (rows->limit_bytes - rows->bytes) / (rows->bytes / rows->count + 1) + 2;
    if (guess < SCAN_CHUNK_MIN)
        guess = SCAN_CHUNK_MIN;
    if (store_rows_full(rows))
        guess = 1; /* is there another one? */
    if (guess > SCAN_CHUNK_MAX)
        guess = SCAN_CHUNK_MAX;
    return guess < left ? guess : left;
}

enum err mariadb_scan(struct store_session *base, struct arena *arena, struct store_scan *scan)
{
    enum err err = OK;
    struct mariadb_session *session = begin(base, &err);
    if (err)
        return err;
    struct store_rows rows = {
        .arena = arena, .limit_rows = scan->limit_rows, .limit_bytes = scan->limit_bytes};
    struct position position = {
        .from = scan->from, .to = scan->to, .open = scan->to.len == 0, .more = false};
    bool end = false;
    while (err == OK && !end)
        err = scan_step(session, scan, &rows, &position, next_limit(&rows), &end);
    if (err == OK) {
        scan->rows = rows.rows;
        scan->row_count = rows.count;
        scan->more = position.more;
    }
    return mariadb_finish(session, err);
}

/* ---- due ---- */

enum err mariadb_due(struct store_session *base, struct arena *arena, struct store_due *due)
{
    enum err err = OK;
    struct mariadb_session *session = begin(base, &err);
    if (err)
        return err;
    bool all = due->expiry || uuid_is_zero(due->namespace_id);
    struct mariadb_batch batch;
    mariadb_batch_init(&batch, &session->arena, 1);
    mariadb_batch_set_number(&batch, mariadb_batch_numbers(&batch), 0, due->shard);
    if (!all)
        mariadb_batch_set_bytes(
            &batch, mariadb_batch_bytes(&batch), 0, uuid_view(&due->namespace_id));
    mariadb_batch_set_number(&batch, mariadb_batch_numbers(&batch), 0, due->from_ns);
    mariadb_batch_set_number(&batch, mariadb_batch_numbers(&batch), 0, due->to_ns);
    mariadb_batch_set_number(
        &batch, mariadb_batch_numbers(&batch), 0, (int64_t)due->limit_rows + 1);
    int statement = all ? MARIADB_DUE_ALL : MARIADB_DUE;
    struct mariadb_result result;
    err = mariadb_query(session, due->expiry ? MARIADB_EXPIRE : statement, MARIADB_WIDTH_1, &batch,
        0, RUN_COLUMNS, &result);
    struct store_rows rows = {.arena = arena, .limit_rows = due->limit_rows};
    bool found = true;
    bool more = false;
    while (err == OK && found && !more) {
        err = mariadb_fetch(session, &result, &found);
        if (err || !found)
            break;
        more = store_rows_full(&rows);
        if (more)
            break;
        struct store_row *row = store_rows_add_empty(&rows);
        row->key = mariadb_bytes(arena, &result, 1);
        row->value = mariadb_bytes(arena, &result, 2);
        read_run_columns(row, TABLE_RUN, &result);
    }
    if (err == OK) {
        mariadb_result_close(session, &result);
        due->rows = rows.rows;
        due->row_count = rows.count;
        due->more = more;
    }
    return mariadb_finish(session, err);
}

/* ---- visibility ---- */

static void read_visibility(
    struct arena *arena, struct mariadb_result *result, struct visibility_row *row)
{
    row->shard = (int32_t)result->numbers[0];
    row->run_id = mariadb_uuid(result, 1);
    row->namespace_id = mariadb_uuid(result, 2);
    row->workflow_id = mariadb_bytes(arena, result, 3);
    row->workflow_type = mariadb_bytes(arena, result, 4);
    row->task_queue = mariadb_bytes(arena, result, 5);
    row->status = (int32_t)result->numbers[6];
    row->start_ns = result->numbers[7];
    row->execution_ns = result->numbers[8];
    row->close_ns = result->numbers[9];
    row->history_length = result->numbers[10];
    row->history_size_bytes = result->numbers[11];
    row->state_transitions = result->numbers[12];
    row->parent_workflow_id = mariadb_bytes(arena, result, 13);
    row->parent_run_id = mariadb_bytes(arena, result, 14);
    row->root_workflow_id = mariadb_bytes(arena, result, 15);
    row->root_run_id = mariadb_bytes(arena, result, 16);
    row->memo = mariadb_bytes(arena, result, 17);
    row->search_attributes = mariadb_bytes(arena, result, 18);
}

enum err mariadb_list(struct store_session *base, struct arena *arena, struct store_list *list)
{
    enum err err = OK;
    struct mariadb_session *session = begin(base, &err);
    if (err)
        return err;
    struct sql_text sql;
    sql_text_init(&sql, &session->arena, SQL_MARIADB);
    sql_list_select(&sql, list);
    struct mariadb_result result;
    err = mariadb_query_text(session, &sql, "nbbbbbnnnnnnnbbbbbb", &result);
    struct visibility_row *rows = arena_zalloc(arena, (size_t)list->limit_rows + 1, sizeof(*rows));
    size_t count = 0;
    bool found = true;
    while (err == OK && count <= list->limit_rows) {
        err = mariadb_fetch(session, &result, &found);
        if (err || !found)
            break;
        if (count < list->limit_rows)
            read_visibility(arena, &result, &rows[count]);
        count++;
    }
    if (err == OK) {
        mariadb_result_close(session, &result);
        list->more = count > list->limit_rows;
        list->rows = rows;
        list->row_count = list->more ? list->limit_rows : count;
    }
    return mariadb_finish(session, err);
}

enum err mariadb_count(struct store_session *base, struct arena *arena, struct store_count *count)
{
    (void)arena; /* the result is all numbers */
    enum err err = OK;
    struct mariadb_session *session = begin(base, &err);
    if (err)
        return err;
    struct sql_text sql;
    sql_text_init(&sql, &session->arena, SQL_MARIADB);
    sql_count_select(&sql, count);
    struct mariadb_result result;
    err = mariadb_query_text(session, &sql, count->by_status ? "nn" : "n", &result);
    if (err == OK) {
        count->total = 0;
        memset(count->status_counts, 0, sizeof(count->status_counts));
    }
    bool found = true;
    while (err == OK) {
        err = mariadb_fetch(session, &result, &found);
        if (err || !found)
            break;
        int64_t rows = result.numbers[count->by_status ? 1 : 0];
        int64_t status = count->by_status ? result.numbers[0] : -1;
        count->total += rows;
        if (status >= 0 && status < (int64_t)ARRAY_LEN(count->status_counts))
            count->status_counts[status] = rows;
    }
    if (err == OK)
        mariadb_result_close(session, &result);
    return mariadb_finish(session, err);
}
