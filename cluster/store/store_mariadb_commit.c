/* SPDX-License-Identifier: Apache-2.0
 *
 * Commits on MariaDB: fence, one statement per kind of change, COMMIT. Each answer is read before
 * the next request, so a missed fence or row stops the commit on this side, before COMMIT is sent.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/base/check.h"
#include "cluster/store/store_mariadb.h"

/* Changes that travel in one statement: (table, kind). */
#define GROUP_KINDS 5
#define GROUP_COUNT (TABLE_COUNT * GROUP_KINDS)

static size_t row_group(const struct commit_row *row)
{
    enum mariadb_kind kind = MARIADB_DELETE;
    switch (row->mode) {
    case COMMIT_INSERT:
        kind = MARIADB_INSERT;
        break;
    case COMMIT_UPDATE:
        kind = MARIADB_UPDATE;
        if (row->table == TABLE_RUN && row->index_changed)
            kind = MARIADB_UPDATE_INDEX;
        break;
    case COMMIT_PUT:
        kind = MARIADB_PUT;
        break;
    case COMMIT_DELETE:
        break;
    }
    static_assert(MARIADB_DELETE == GROUP_KINDS - 1, "the kinds of row changes come first");
    return (size_t)row->table * GROUP_KINDS + (size_t)kind;
}

/** An update must find all its rows. */
static enum err check_found(
    struct mariadb_session *session, int statement, size_t wanted, uint64_t found)
{
    if (found == wanted)
        return OK;
    char title[48];
    mariadb_statement_title(statement, title, sizeof(title));
    (void)snprintf(session->base.text, sizeof(session->base.text), "%s: found %llu rows of %zu",
        title, (unsigned long long)found, wanted);
    return statement == MARIADB_FENCE ? ERR_FENCED : ERR_CORRUPT;
}

/* ---- fence ---- */

static int compare_sections(const void *a, const void *b)
{
    const struct commit_section *left = a;
    const struct commit_section *right = b;
    return (left->shard > right->shard) - (left->shard < right->shard);
}

/** Rows are locked in the order of their shards: no two commits deadlock here. */
static enum err change_fence(struct mariadb_session *session, const struct commit *commit)
{
    size_t count = commit->section_count;
    if (count == 0)
        return OK;
    struct commit_section *sections =
        arena_copy(&session->arena, commit->sections, count * sizeof(*sections));
    qsort(sections, count, sizeof(*sections), compare_sections);
    struct mariadb_batch batch;
    mariadb_batch_init(&batch, &session->arena, count);
    int shard = mariadb_batch_numbers(&batch);
    int range = mariadb_batch_numbers(&batch);
    int number = mariadb_batch_numbers(&batch);
    for (size_t i = 0; i < count; i++) {
        mariadb_batch_set_number(&batch, shard, i, sections[i].shard);
        mariadb_batch_set_number(&batch, range, i, sections[i].range_id);
        mariadb_batch_set_number(&batch, number, i, sections[i].commit_no - 1);
    }
    uint64_t found = 0;
    enum err err = mariadb_change(session, MARIADB_FENCE, &batch, &found);
    return err ? err : check_found(session, MARIADB_FENCE, count, found);
}

/* ---- rows ---- */

static void set_time(struct mariadb_batch *batch, int column, size_t row, int64_t ns)
{
    if (ns == DUE_NONE)
        mariadb_batch_set_null(batch, column, row);
    else
        mariadb_batch_set_number(batch, column, row, ns);
}

static void add_shards_and_keys(
    struct mariadb_batch *batch, const struct commit_row *rows, const uint32_t *order)
{
    int shard = mariadb_batch_numbers(batch);
    int key = mariadb_batch_bytes(batch);
    for (size_t i = 0; i < batch->rows; i++) {
        mariadb_batch_set_number(batch, shard, i, rows[order[i]].shard);
        mariadb_batch_set_bytes(batch, key, i, rows[order[i]].key);
    }
}

static void add_values(
    struct mariadb_batch *batch, const struct commit_row *rows, const uint32_t *order)
{
    int value = mariadb_batch_bytes(batch);
    for (size_t i = 0; i < batch->rows; i++)
        mariadb_batch_set_bytes(batch, value, i, rows[order[i]].value);
}

static void add_times(
    struct mariadb_batch *batch, const struct commit_row *rows, const uint32_t *order)
{
    int due = mariadb_batch_numbers(batch);
    int expire = mariadb_batch_numbers(batch);
    for (size_t i = 0; i < batch->rows; i++) {
        set_time(batch, due, i, rows[order[i]].due_ns);
        set_time(batch, expire, i, rows[order[i]].expire_ns);
    }
}

static enum err change_group(struct mariadb_session *session, const struct commit_row *rows,
    const uint32_t *order, size_t count, size_t group)
{
    enum table table = (enum table)(group / GROUP_KINDS);
    enum mariadb_kind kind = (enum mariadb_kind)(group % GROUP_KINDS);
    bool update = kind == MARIADB_UPDATE || kind == MARIADB_UPDATE_INDEX;
    struct mariadb_batch batch;
    mariadb_batch_init(&batch, &session->arena, count);
    if (update) {
        add_values(&batch, rows, order);
        if (kind == MARIADB_UPDATE_INDEX)
            add_times(&batch, rows, order);
    }
    add_shards_and_keys(&batch, rows, order);
    if (kind == MARIADB_INSERT || kind == MARIADB_PUT) {
        add_values(&batch, rows, order);
        if (table == TABLE_RUN) {
            int namespace_id = mariadb_batch_bytes(&batch);
            for (size_t i = 0; i < count; i++)
                mariadb_batch_set_bytes(
                    &batch, namespace_id, i, uuid_view(&rows[order[i]].namespace_id));
            add_times(&batch, rows, order);
        }
    }
    int statement = mariadb_statement(kind, table);
    uint64_t found = 0;
    enum err err = mariadb_change(session, statement, &batch, &found);
    return err || !update ? err : check_found(session, statement, count, found);
}

/** Sorts row numbers by group, keeping their order within it, and sends each group. */
static enum err change_rows(struct mariadb_session *session, const struct commit *commit)
{
    if (commit->row_count == 0)
        return OK;
    uint32_t ends[GROUP_COUNT] = {0};
    uint32_t *order = arena_alloc(&session->arena, commit->row_count * sizeof(*order));
    for (size_t i = 0; i < commit->row_count; i++)
        ends[row_group(&commit->rows[i])]++;
    uint32_t start = 0;
    for (size_t group = 0; group < GROUP_COUNT; group++) {
        uint32_t count = ends[group];
        ends[group] = start;
        start += count;
    }
    for (size_t i = 0; i < commit->row_count; i++)
        order[ends[row_group(&commit->rows[i])]++] = (uint32_t)i;
    start = 0;
    for (size_t group = 0; group < GROUP_COUNT; group++) {
        if (ends[group] == start)
            continue;
        enum err err =
            change_group(session, commit->rows, order + start, ends[group] - start, group);
        if (err)
            return err;
        start = ends[group];
    }
    return OK;
}

static enum err change_ranges(struct mariadb_session *session, const struct commit *commit)
{
    for (int table = 0; table < TABLE_COUNT; table++) {
        size_t count = 0;
        for (size_t i = 0; i < commit->range_count; i++)
            count += commit->ranges[i].table == (enum table)table;
        if (count == 0)
            continue;
        struct mariadb_batch batch;
        mariadb_batch_init(&batch, &session->arena, count);
        int shard = mariadb_batch_numbers(&batch);
        int from = mariadb_batch_bytes(&batch);
        int to = mariadb_batch_bytes(&batch);
        size_t at = 0;
        for (size_t i = 0; i < commit->range_count; i++) {
            const struct commit_range *range = &commit->ranges[i];
            if (range->table != (enum table)table)
                continue;
            mariadb_batch_set_number(&batch, shard, at, range->shard);
            mariadb_batch_set_bytes(&batch, from, at, range->from);
            mariadb_batch_set_bytes(&batch, to, at++, range->to);
        }
        uint64_t found = 0;
        enum err err = mariadb_change(
            session, mariadb_statement(MARIADB_DELETE_RANGE, (enum table)table), &batch, &found);
        if (err)
            return err;
    }
    return OK;
}

/* ---- visibility ---- */

/* X(add function, set function, value), in the order of SQL_VISIBILITY_COLUMNS. */
#define VISIBILITY_KEY(X)          \
    X(numbers, number, row->shard) \
    X(bytes, bytes, uuid_view(&row->run_id))
#define VISIBILITY_REST(X)                         \
    X(bytes, bytes, uuid_view(&row->namespace_id)) \
    X(bytes, bytes, row->workflow_id)              \
    X(bytes, bytes, row->workflow_type)            \
    X(bytes, bytes, row->task_queue)               \
    X(numbers, number, row->status)                \
    X(numbers, number, row->start_ns)              \
    X(numbers, number, row->execution_ns)          \
    X(numbers, number, row->close_ns)              \
    X(numbers, number, row->history_length)        \
    X(numbers, number, row->history_size_bytes)    \
    X(numbers, number, row->state_transitions)     \
    X(bytes, bytes, row->parent_workflow_id)       \
    X(bytes, bytes, row->parent_run_id)            \
    X(bytes, bytes, row->root_workflow_id)         \
    X(bytes, bytes, row->root_run_id)              \
    X(bytes, bytes, row->memo)                     \
    X(bytes, bytes, row->search_attributes)

#define COLUMN_ADD(add, set, value) (void)mariadb_batch_##add(batch); /* numbered in this order */
#define COLUMN_SET(add, set, value) mariadb_batch_set_##set(batch, column++, at, value);

static void add_visibility_columns(struct mariadb_batch *batch, enum commit_mode mode)
{
    if (mode != COMMIT_UPDATE) {
        VISIBILITY_KEY(COLUMN_ADD)
    }
    if (mode != COMMIT_DELETE) {
        VISIBILITY_REST(COLUMN_ADD)
    }
    if (mode == COMMIT_UPDATE) {
        VISIBILITY_KEY(COLUMN_ADD)
    }
}

static void set_visibility_row(
    struct mariadb_batch *batch, enum commit_mode mode, size_t at, const struct visibility_row *row)
{
    int column = 0;
    if (mode != COMMIT_UPDATE) {
        VISIBILITY_KEY(COLUMN_SET)
    }
    if (mode != COMMIT_DELETE) {
        VISIBILITY_REST(COLUMN_SET)
    }
    if (mode == COMMIT_UPDATE) {
        VISIBILITY_KEY(COLUMN_SET)
    }
}

static enum err change_visibility(
    struct mariadb_session *session, const struct commit *commit, enum commit_mode mode)
{
    static const int statements[] = {
        [COMMIT_INSERT] = MARIADB_VISIBILITY_INSERT,
        [COMMIT_UPDATE] = MARIADB_VISIBILITY_UPDATE,
        [COMMIT_DELETE] = MARIADB_VISIBILITY_DELETE,
    };
    size_t count = 0;
    for (size_t i = 0; i < commit->visibility_count; i++)
        count += commit->visibility[i].mode == mode;
    if (count == 0)
        return OK;
    struct mariadb_batch batch;
    mariadb_batch_init(&batch, &session->arena, count);
    add_visibility_columns(&batch, mode);
    size_t at = 0;
    for (size_t i = 0; i < commit->visibility_count; i++) {
        if (commit->visibility[i].mode == mode)
            set_visibility_row(&batch, mode, at++, &commit->visibility[i].row);
    }
    uint64_t found = 0;
    enum err err = mariadb_change(session, statements[mode], &batch, &found);
    if (err || mode != COMMIT_UPDATE)
        return err;
    return check_found(session, statements[mode], count, found);
}

/* ---- the transaction ---- */

enum err mariadb_commit(struct store_session *base, const struct commit *commit)
{
    struct mariadb_session *session = CONTAINER_OF(base, struct mariadb_session, base);
    CHECK(session->writer);
    enum err err = mariadb_ready(session);
    if (err)
        return err;
    err = change_fence(session, commit);
    if (err == OK)
        err = change_ranges(session, commit);
    if (err == OK)
        err = change_rows(session, commit);
    if (err == OK)
        err = change_visibility(session, commit, COMMIT_DELETE);
    if (err == OK)
        err = change_visibility(session, commit, COMMIT_INSERT);
    if (err == OK)
        err = change_visibility(session, commit, COMMIT_UPDATE);
    if (err == OK)
        err = mariadb_commit_transaction(session);
    return mariadb_finish(session, err);
}

/* ---- ownership ---- */

static enum err take(
    struct mariadb_session *session, const struct store_take_shard *take, uint64_t *ret_found)
{
    struct mariadb_batch batch;
    mariadb_batch_init(&batch, &session->arena, 1);
    mariadb_batch_set_bytes(&batch, mariadb_batch_bytes(&batch), 0, take->owner);
    mariadb_batch_set_number(&batch, mariadb_batch_numbers(&batch), 0, take->shard);
    if (take->expected_range >= 0)
        mariadb_batch_set_number(&batch, mariadb_batch_numbers(&batch), 0, take->expected_range);
    return mariadb_change(session,
        take->expected_range >= 0 ? MARIADB_SHARD_TAKE_EXPECTED : MARIADB_SHARD_TAKE, &batch,
        ret_found);
}

static enum err read_shard(struct mariadb_session *session, const struct mariadb_batch *shard,
    int64_t *ret_range_id, int64_t *ret_commit_no)
{
    struct mariadb_result result;
    enum err err =
        mariadb_query(session, MARIADB_SHARD_READ, MARIADB_WIDTH_1, shard, 0, "nn", &result);
    if (err)
        return err;
    bool found = false;
    err = mariadb_fetch(session, &result, &found);
    if (err)
        return err;
    *ret_range_id = result.numbers[0];
    *ret_commit_no = result.numbers[1];
    mariadb_result_close(session, &result);
    return found ? OK : ERR_CORRUPT;
}

/** Updates first, because inserting an existing row locks it in shared mode, and two sessions that
 *  do so deadlock when they go on to update. */
static enum err take_and_read(struct mariadb_session *session, struct store_take_shard *op)
{
    struct mariadb_batch shard;
    mariadb_batch_init(&shard, &session->arena, 1);
    mariadb_batch_set_number(&shard, mariadb_batch_numbers(&shard), 0, op->shard);
    uint64_t found = 0;
    uint64_t created = 0;
    enum err err = take(session, op, &found);
    if (err == OK && found == 0) {
        err = mariadb_change(session, MARIADB_SHARD_CREATE, &shard, &created);
        if (err == OK)
            err = take(session, op, &found);
    }
    if (err)
        return err;
    if (found == 0) {
        (void)snprintf(session->base.text, sizeof(session->base.text),
            "shard %d is not at range %lld any more", op->shard, (long long)op->expected_range);
        return ERR_FENCED;
    }
    int64_t range_id = 0;
    int64_t commit_no = 0;
    err = read_shard(session, &shard, &range_id, &commit_no);
    if (err == OK)
        err = mariadb_commit_transaction(session);
    if (err)
        return err;
    op->range_id = range_id;
    op->commit_no = commit_no;
    return OK;
}

enum err mariadb_take_shard(struct store_session *base, struct store_take_shard *op)
{
    struct mariadb_session *session = CONTAINER_OF(base, struct mariadb_session, base);
    CHECK(session->writer);
    enum err err = mariadb_ready(session);
    if (err)
        return err;
    return mariadb_finish(session, take_and_read(session, op));
}
