/* SPDX-License-Identifier: Apache-2.0
 *
 * Commits on PostgreSQL: BEGIN, fence, one statement per kind of change, COMMIT, all in one
 * pipeline (see store_postgres_sql.c for how the server stops it by itself).
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/base/check.h"
#include "cluster/store/store_postgres.h"

/* Changes that travel in one statement: (table, kind). */
#define GROUP_KINDS 5
#define GROUP_COUNT (TABLE_COUNT * GROUP_KINDS)

static size_t row_group(const struct commit_row *row)
{
    enum postgres_kind kind = POSTGRES_DELETE;
    switch (row->mode) {
    case COMMIT_INSERT:
        kind = POSTGRES_INSERT;
        break;
    case COMMIT_UPDATE:
        kind = POSTGRES_UPDATE;
        if (row->table == TABLE_RUN && row->index_changed)
            kind = POSTGRES_UPDATE_INDEX;
        break;
    case COMMIT_PUT:
        kind = POSTGRES_PUT;
        break;
    case COMMIT_DELETE:
        break;
    }
    static_assert(POSTGRES_DELETE == GROUP_KINDS - 1, "the kinds of row changes come first");
    return (size_t)row->table * GROUP_KINDS + (size_t)kind;
}

/* ---- fence ---- */

static int compare_sections(const void *a, const void *b)
{
    const struct commit_section *left = a;
    const struct commit_section *right = b;
    return (left->shard > right->shard) - (left->shard < right->shard);
}

static enum err send_fence(struct postgres_session *session, const struct commit *commit)
{
    size_t count = commit->section_count;
    if (count == 0)
        return OK;
    struct commit_section *sections =
        arena_copy(&session->arena, commit->sections, count * sizeof(*sections));
    qsort(sections, count, sizeof(*sections), compare_sections);
    struct postgres_params *params = &session->params;
    postgres_array(params, POSTGRES_OID_INT4, count);
    for (size_t i = 0; i < count; i++)
        postgres_element_i32(params, sections[i].shard);
    postgres_array(params, POSTGRES_OID_INT8, count);
    for (size_t i = 0; i < count; i++)
        postgres_element_i64(params, sections[i].range_id);
    postgres_array(params, POSTGRES_OID_INT8, count);
    for (size_t i = 0; i < count; i++)
        postgres_element_i64(params, sections[i].commit_no);
    postgres_param_i64(params, (int64_t)count);
    return postgres_send(session, POSTGRES_FENCE);
}

/* ---- rows ---- */

static void add_time(struct postgres_params *params, int64_t ns)
{
    if (ns == DUE_NONE)
        postgres_element_null(params);
    else
        postgres_element_i64(params, ns);
}

static enum err send_rows(struct postgres_session *session, const struct commit_row *rows,
    const uint32_t *order, size_t count, size_t group)
{
    enum table table = (enum table)(group / GROUP_KINDS);
    enum postgres_kind kind = (enum postgres_kind)(group % GROUP_KINDS);
    struct postgres_params *params = &session->params;
    bool update = kind == POSTGRES_UPDATE || kind == POSTGRES_UPDATE_INDEX;
    bool insert = kind == POSTGRES_INSERT || kind == POSTGRES_PUT;
    postgres_array(params, POSTGRES_OID_INT4, count);
    for (size_t i = 0; i < count; i++)
        postgres_element_i32(params, rows[order[i]].shard);
    postgres_array(params, POSTGRES_OID_BYTEA, count);
    for (size_t i = 0; i < count; i++)
        postgres_element_bytes(params, rows[order[i]].key);
    if (insert || update) {
        postgres_array(params, POSTGRES_OID_BYTEA, count);
        for (size_t i = 0; i < count; i++)
            postgres_element_bytes(params, rows[order[i]].value);
    }
    if (update)
        postgres_param_i64(params, (int64_t)count);
    if (table == TABLE_RUN && insert) {
        postgres_array(params, POSTGRES_OID_BYTEA, count);
        for (size_t i = 0; i < count; i++)
            postgres_element_bytes(params, uuid_view(&rows[order[i]].namespace_id));
    }
    if (table == TABLE_RUN && (insert || kind == POSTGRES_UPDATE_INDEX)) {
        postgres_array(params, POSTGRES_OID_INT8, count);
        for (size_t i = 0; i < count; i++)
            add_time(params, rows[order[i]].due_ns);
        postgres_array(params, POSTGRES_OID_INT8, count);
        for (size_t i = 0; i < count; i++)
            add_time(params, rows[order[i]].expire_ns);
    }
    return postgres_send(session, postgres_statement(kind, table));
}

/** Sorts row numbers by group, keeping their order within it, and sends each group. */
static enum err send_groups(struct postgres_session *session, const struct commit *commit)
{
    if (commit->row_count == 0)
        return OK;
    uint32_t ends[GROUP_COUNT] = {0};
    buffer_clear(&session->order);
    uint32_t *order =
        (uint32_t *)(void *)buffer_reserve(&session->order, commit->row_count * sizeof(*order));
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
        enum err err = send_rows(session, commit->rows, order + start, ends[group] - start, group);
        if (err)
            return err;
        start = ends[group];
    }
    return OK;
}

static enum err send_ranges(struct postgres_session *session, const struct commit *commit)
{
    struct postgres_params *params = &session->params;
    for (int table = 0; table < TABLE_COUNT; table++) {
        size_t count = 0;
        for (size_t i = 0; i < commit->range_count; i++)
            count += commit->ranges[i].table == (enum table)table;
        if (count == 0)
            continue;
        postgres_array(params, POSTGRES_OID_INT4, count);
        for (size_t i = 0; i < commit->range_count; i++) {
            if (commit->ranges[i].table == (enum table)table)
                postgres_element_i32(params, commit->ranges[i].shard);
        }
        postgres_array(params, POSTGRES_OID_BYTEA, count);
        for (size_t i = 0; i < commit->range_count; i++) {
            if (commit->ranges[i].table == (enum table)table)
                postgres_element_bytes(params, commit->ranges[i].from);
        }
        postgres_array(params, POSTGRES_OID_BYTEA, count);
        for (size_t i = 0; i < commit->range_count; i++) {
            if (commit->ranges[i].table == (enum table)table)
                postgres_element_bytes(params, commit->ranges[i].to);
        }
        enum err err =
            postgres_send(session, postgres_statement(POSTGRES_DELETE_RANGE, (enum table)table));
        if (err)
            return err;
    }
    return OK;
}

/* ---- visibility ---- */

/* X(field, array type, element function, value), in the order of SQL_VISIBILITY_COLUMNS. */
#define VISIBILITY_COLUMNS(X)                      \
    X(INT4, i32, row->shard)                       \
    X(BYTEA, bytes, uuid_view(&row->run_id))       \
    X(BYTEA, bytes, uuid_view(&row->namespace_id)) \
    X(BYTEA, bytes, row->workflow_id)              \
    X(BYTEA, bytes, row->workflow_type)            \
    X(BYTEA, bytes, row->task_queue)               \
    X(INT4, i32, row->status)                      \
    X(INT8, i64, row->start_ns)                    \
    X(INT8, i64, row->execution_ns)                \
    X(INT8, i64, row->close_ns)                    \
    X(INT8, i64, row->history_length)              \
    X(INT8, i64, row->history_size_bytes)          \
    X(INT8, i64, row->state_transitions)           \
    X(BYTEA, bytes, row->parent_workflow_id)       \
    X(BYTEA, bytes, row->parent_run_id)            \
    X(BYTEA, bytes, row->root_workflow_id)         \
    X(BYTEA, bytes, row->root_run_id)              \
    X(BYTEA, bytes, row->memo)                     \
    X(BYTEA, bytes, row->search_attributes)

static void add_column(struct postgres_params *params, const struct commit *commit,
    enum commit_mode mode, size_t count, int column)
{
    static const uint32_t types[] = {
#define COLUMN_TYPE(type, element, value) POSTGRES_OID_##type,
        VISIBILITY_COLUMNS(COLUMN_TYPE)
#undef COLUMN_TYPE
    };
    postgres_array(params, types[column], count);
    for (size_t i = 0; i < commit->visibility_count; i++) {
        if (commit->visibility[i].mode != mode)
            continue;
        const struct visibility_row *row = &commit->visibility[i].row;
        int at = 0;
#define COLUMN_ELEMENT(type, element, value) \
    if (at++ == column)                      \
        postgres_element_##element(params, value);
        VISIBILITY_COLUMNS(COLUMN_ELEMENT)
#undef COLUMN_ELEMENT
    }
}

static enum err send_visibility(
    struct postgres_session *session, const struct commit *commit, enum commit_mode mode)
{
    static const int statements[] = {
        [COMMIT_INSERT] = POSTGRES_VISIBILITY_INSERT,
        [COMMIT_UPDATE] = POSTGRES_VISIBILITY_UPDATE,
        [COMMIT_DELETE] = POSTGRES_VISIBILITY_DELETE,
    };
    size_t count = 0;
    for (size_t i = 0; i < commit->visibility_count; i++)
        count += commit->visibility[i].mode == mode;
    if (count == 0)
        return OK;
    int columns = mode == COMMIT_DELETE ? 2 : 19;
    for (int column = 0; column < columns; column++)
        add_column(&session->params, commit, mode, count, column);
    if (mode == COMMIT_UPDATE)
        postgres_param_i64(&session->params, (int64_t)count);
    return postgres_send(session, statements[mode]);
}

/* ---- the transaction ---- */

static enum err send_commit(struct postgres_session *session, const struct commit *commit)
{
    enum err err = postgres_send(session, POSTGRES_BEGIN);
    if (err == OK)
        err = send_fence(session, commit);
    if (err == OK)
        err = send_ranges(session, commit);
    if (err == OK)
        err = send_groups(session, commit);
    if (err == OK)
        err = send_visibility(session, commit, COMMIT_DELETE);
    if (err == OK)
        err = send_visibility(session, commit, COMMIT_INSERT);
    if (err == OK)
        err = send_visibility(session, commit, COMMIT_UPDATE);
    if (err == OK)
        err = postgres_send(session, POSTGRES_COMMIT);
    if (err == OK)
        err = postgres_sync(session);
    return err;
}

/** Reads all answers. The last one is COMMIT's, which must not say ROLLBACK. */
static enum err read_commit(struct postgres_session *session)
{
    while (session->step_next < session->step_count) {
        PGresult *result = NULL;
        enum err err = postgres_next(session, &result);
        if (err)
            return err;
        bool last = session->step_next == session->step_count;
        if (last && strcmp(PQcmdStatus(result), "COMMIT") != 0) {
            (void)snprintf(session->base.text, sizeof(session->base.text),
                "commit: the server answered %s", PQcmdStatus(result));
            err = ERR_INTERNAL;
        }
        PQclear(result);
        if (err)
            return err;
    }
    return OK;
}

enum err postgres_commit(struct store_session *base, const struct commit *commit)
{
    struct postgres_session *session = CONTAINER_OF(base, struct postgres_session, base);
    enum err err = postgres_ready(session);
    if (err)
        return err;
    err = send_commit(session, commit);
    if (err == OK)
        err = read_commit(session);
    arena_reset(&session->arena);
    return postgres_finish(session, err);
}

/* ---- ownership ---- */

static enum err send_take(struct postgres_session *session, const struct store_take_shard *take)
{
    struct postgres_params *params = &session->params;
    enum err err = postgres_send(session, POSTGRES_BEGIN);
    if (err)
        return err;
    postgres_param_i32(params, take->shard);
    err = postgres_send(session, POSTGRES_SHARD_CREATE);
    if (err)
        return err;
    postgres_param_i32(params, take->shard);
    postgres_param_bytes(params, take->owner);
    if (take->expected_range >= 0)
        postgres_param_i64(params, take->expected_range);
    err = postgres_send(
        session, take->expected_range >= 0 ? POSTGRES_SHARD_TAKE_EXPECTED : POSTGRES_SHARD_TAKE);
    if (err == OK)
        err = postgres_send(session, POSTGRES_COMMIT);
    if (err == OK)
        err = postgres_sync(session);
    return err;
}

static enum err read_take(struct postgres_session *session, struct store_take_shard *take)
{
    int64_t values[2] = {0};
    bool taken = false;
    while (session->step_next < session->step_count) {
        PGresult *result = NULL;
        enum err err = postgres_next(session, &result);
        if (err)
            return err;
        if (PQntuples(result) == 1 && PQnfields(result) == 2) {
            taken = true;
            values[0] = postgres_i64(result, 0, 0);
            values[1] = postgres_i64(result, 0, 1);
        }
        PQclear(result);
    }
    if (!taken) {
        (void)snprintf(session->base.text, sizeof(session->base.text),
            "shard %d is not at range %lld any more", take->shard, (long long)take->expected_range);
        return ERR_FENCED;
    }
    take->range_id = values[0];
    take->commit_no = values[1];
    return OK;
}

enum err postgres_take_shard(struct store_session *base, struct store_take_shard *take)
{
    struct postgres_session *session = CONTAINER_OF(base, struct postgres_session, base);
    enum err err = postgres_ready(session);
    if (err)
        return err;
    err = send_take(session, take);
    if (err == OK)
        err = read_take(session, take);
    return postgres_finish(session, err);
}
