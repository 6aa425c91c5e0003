/* SPDX-License-Identifier: Apache-2.0
 *
 * The memory driver: the model that the SQL drivers are compared with, and the simulator's disk.
 *
 * A commit is checked as a whole before anything is applied, so there is nothing to roll back. What
 * a commit applied is "on disk"; a crash is closing the store and opening another on the same
 * database object. Stepped: all calls come from one thread.
 */
#include "cluster/store/store_memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/base/mem.h"
#include "cluster/store/memory_data.h"
#include "cluster/store/store.h"
#include "cluster/store/store_rows.h"

/** What open() returns: the data, and whether the store owns it. */
struct memory_handle {
    struct memory_database *database;
    bool owned;
};

struct memory_session {
    struct store_session base;
    struct memory_database *database;
};

struct memory_database *memory_database_new(void)
{
    struct memory_database *database = mem_new(struct memory_database);
    memory_data_init(database);
    return database;
}

void memory_database_free(struct memory_database *database)
{
    if (!database)
        return;
    memory_data_release(database);
    mem_free(database);
}

static enum err memory_open(
    const struct store_options *options, void **ret_database, char text[256])
{
    (void)text; /* nothing can go wrong */
    struct memory_handle *handle = mem_new(struct memory_handle);
    handle->owned = options->driver_ctx == NULL;
    handle->database = handle->owned ? memory_database_new() : options->driver_ctx;
    *ret_database = handle;
    return OK;
}

static void memory_close(void *database)
{
    struct memory_handle *handle = database;
    if (handle->owned)
        memory_database_free(handle->database);
    mem_free(handle);
}

static enum err memory_session_open(
    void *database, bool writer, struct store_session **ret_session, char text[256])
{
    (void)writer;
    (void)text;
    const struct memory_handle *handle = database;
    struct memory_session *session = mem_new(struct memory_session);
    session->base.driver = store_driver_memory();
    session->database = handle->database;
    *ret_session = &session->base;
    return OK;
}

static void memory_session_close(struct store_session *session)
{
    mem_free(CONTAINER_OF(session, struct memory_session, base));
}

static struct memory_database *database_of(struct store_session *session)
{
    return CONTAINER_OF(session, struct memory_session, base)->database;
}

static struct memory_shard *shard_of(struct memory_database *database, int32_t shard)
{
    CHECK(shard >= 0);
    CHECK(shard < SHARDS_MAX);
    return &database->shards[shard];
}

static bool deleted_by_range(const struct commit *commit, const struct commit_row *row)
{
    for (size_t i = 0; i < commit->range_count; i++) {
        const struct commit_range *range = &commit->ranges[i];
        if (range->table == row->table && range->shard == row->shard &&
            bytes_compare(row->key, range->from) >= 0 && bytes_compare(row->key, range->to) < 0)
            return true;
    }
    return false;
}

static enum err check_mode(
    struct store_session *session, enum commit_mode mode, bool exists, const char *table)
{
    if (mode == COMMIT_INSERT && exists) {
        (void)snprintf(session->text, sizeof(session->text), "duplicate key in %s", table);
        return ERR_DUPLICATE_KEY;
    }
    if (mode == COMMIT_UPDATE && !exists) {
        (void)snprintf(session->text, sizeof(session->text), "no row to update in %s", table);
        return ERR_CORRUPT;
    }
    return OK;
}

static enum err check_sections(struct store_session *session, const struct commit *commit)
{
    for (size_t i = 0; i < commit->section_count; i++) {
        const struct commit_section *section = &commit->sections[i];
        const struct memory_shard *shard = shard_of(database_of(session), section->shard);
        if (shard->range_id == section->range_id && shard->commit_no + 1 == section->commit_no &&
            shard->range_id > 0)
            continue;
        (void)snprintf(session->text, sizeof(session->text), "shard %d is fenced", section->shard);
        return ERR_FENCED;
    }
    return OK;
}

static enum err check_changes(struct store_session *session, const struct commit *commit)
{
    struct memory_database *database = database_of(session);
    for (size_t i = 0; i < commit->row_count; i++) {
        const struct commit_row *row = &commit->rows[i];
        bool exists = memory_row_get(database, row->table, row->shard, row->key) &&
                      !deleted_by_range(commit, row);
        enum err err = check_mode(session, row->mode, exists, table_name(row->table));
        if (err)
            return err;
    }
    for (size_t i = 0; i < commit->visibility_count; i++) {
        const struct commit_visibility *change = &commit->visibility[i];
        bool exists = memory_visibility_get(database, change->row.shard, change->row.run_id);
        enum err err = check_mode(session, change->mode, exists, "visibility");
        if (err)
            return err;
    }
    return OK;
}

static enum err memory_commit(struct store_session *session, const struct commit *commit)
{
    struct memory_database *database = database_of(session);
    enum err err = check_sections(session, commit);
    if (err)
        return err;
    err = check_changes(session, commit);
    if (err)
        return err;
    for (size_t i = 0; i < commit->section_count; i++)
        shard_of(database, commit->sections[i].shard)->commit_no = commit->sections[i].commit_no;
    for (size_t i = 0; i < commit->range_count; i++)
        memory_range_delete(database, &commit->ranges[i]);
    for (size_t i = 0; i < commit->row_count; i++)
        memory_row_apply(database, &commit->rows[i]);
    for (size_t i = 0; i < commit->visibility_count; i++)
        memory_visibility_apply(database, &commit->visibility[i]);
    return OK;
}

static void fill_columns(struct store_row *row, const struct memory_row *stored)
{
    row->namespace_id = stored->namespace_id;
    row->due_ns = stored->due_ns;
    row->expire_ns = stored->expire_ns;
}

static enum err memory_get(
    struct store_session *session, struct arena *arena, struct store_get *keys, size_t count)
{
    const struct memory_database *database = database_of(session);
    for (size_t i = 0; i < count; i++) {
        struct store_get *get = &keys[i];
        get->row = (struct store_row){
            .key = bytes_copy(arena, get->key),
            .due_ns = DUE_NONE,
            .expire_ns = DUE_NONE,
        };
        const struct memory_row *stored =
            memory_row_get(database, get->table, get->shard, get->key);
        if (!stored)
            continue;
        get->row.found = true;
        get->row.value = bytes_copy(arena, bytes_make(stored->value, stored->len));
        fill_columns(&get->row, stored);
    }
    return OK;
}

/** The row key inside a map key. */
static struct bytes key_tail(struct bytes full, size_t offset)
{
    return bytes_make(full.data + offset, full.len - offset);
}

static void add_row(struct store_rows *rows, const struct memory_row *stored, struct bytes key)
{
    struct store_row *row = store_rows_add(rows, key, bytes_make(stored->value, stored->len));
    fill_columns(row, stored);
}

static enum err memory_scan(
    struct store_session *session, struct arena *arena, struct store_scan *scan)
{
    const struct ordered_map *map = &database_of(session)->tables[scan->table];
    struct memory_key from = {.len = 0};
    struct memory_key to = {.len = 0};
    memory_key_shard(&from, scan->shard);
    memory_key_bytes(&from, scan->from, false);
    memory_key_shard(&to, scan->to.len > 0 ? scan->shard : scan->shard + 1);
    memory_key_bytes(&to, scan->to, false);
    struct store_rows rows = {
        .arena = arena, .limit_rows = scan->limit_rows, .limit_bytes = scan->limit_bytes};
    struct ordered_node *node = scan->reverse ? ordered_map_seek_before(map, memory_key_view(&to))
                                              : ordered_map_seek(map, memory_key_view(&from));
    scan->more = false;
    while (node) {
        struct bytes full = ordered_node_key(node);
        if (bytes_compare(full, memory_key_view(&from)) < 0 ||
            bytes_compare(full, memory_key_view(&to)) >= 0)
            break;
        scan->more = store_rows_full(&rows);
        if (scan->more)
            break;
        add_row(&rows, ordered_node_value(node), key_tail(full, MEMORY_ROW_KEY_OFFSET));
        node = scan->reverse ? ordered_node_prev(node) : ordered_node_next(node);
    }
    scan->rows = rows.rows;
    scan->row_count = rows.count;
    return OK;
}

/** Walks an index from (prefix, from_ns) to (prefix, to_ns). */
static void walk_index(const struct ordered_map *map, const struct memory_key *prefix,
    struct store_due *due, size_t key_offset, struct store_rows *rows)
{
    struct memory_key from = *prefix;
    struct memory_key last = *prefix;
    memory_key_time(&from, due->from_ns, false);
    memory_key_time(&last, due->to_ns, false);
    struct ordered_node *node = ordered_map_seek(map, memory_key_view(&from));
    for (; node; node = ordered_node_next(node)) {
        struct bytes full = ordered_node_key(node);
        if (bytes_compare(bytes_make(full.data, last.len), memory_key_view(&last)) > 0)
            return;
        due->more = store_rows_full(rows);
        if (due->more)
            return;
        add_row(rows, ordered_node_value(node), key_tail(full, key_offset));
    }
}

static int compare_due(const void *a, const void *b)
{
    const struct store_row *left = a;
    const struct store_row *right = b;
    if (left->due_ns != right->due_ns)
        return left->due_ns < right->due_ns ? -1 : 1;
    return bytes_compare(left->key, right->key);
}

/** The due runs of all namespaces: no index has their order. */
static void collect_due(
    const struct memory_database *database, struct store_due *due, struct store_rows *rows)
{
    struct memory_key shard = {.len = 0};
    memory_key_shard(&shard, due->shard);
    rows->limit_rows = SIZE_MAX;
    struct ordered_node *node = ordered_map_seek(&database->due, memory_key_view(&shard));
    for (; node; node = ordered_node_next(node)) {
        struct bytes full = ordered_node_key(node);
        const struct memory_row *stored = ordered_node_value(node);
        if (memcmp(full.data, shard.data, shard.len) != 0)
            break;
        if (stored->due_ns >= due->from_ns && stored->due_ns <= due->to_ns)
            add_row(rows, stored, key_tail(full, MEMORY_DUE_KEY_OFFSET));
    }
    if (rows->count > 0)
        qsort(rows->rows, rows->count, sizeof(*rows->rows), compare_due);
    due->more = rows->count > due->limit_rows;
    if (due->more)
        rows->count = due->limit_rows;
}

static enum err memory_due(
    struct store_session *session, struct arena *arena, struct store_due *due)
{
    const struct memory_database *database = database_of(session);
    struct store_rows rows = {.arena = arena, .limit_rows = due->limit_rows};
    struct memory_key prefix = {.len = 0};
    memory_key_shard(&prefix, due->shard);
    due->more = false;
    if (due->expiry) {
        walk_index(&database->expiry, &prefix, due, MEMORY_EXPIRY_KEY_OFFSET, &rows);
    } else if (uuid_is_zero(due->namespace_id)) {
        collect_due(database, due, &rows);
    } else {
        memory_key_bytes(&prefix, uuid_view(&due->namespace_id), false);
        walk_index(&database->due, &prefix, due, MEMORY_DUE_KEY_OFFSET, &rows);
    }
    due->rows = rows.rows;
    due->row_count = rows.count;
    return OK;
}

static struct visibility_row visibility_view(struct arena *arena, const struct visibility_row *row)
{
    struct visibility_row copy = *row;
    copy.workflow_id = bytes_copy(arena, row->workflow_id);
    copy.workflow_type = bytes_copy(arena, row->workflow_type);
    copy.task_queue = bytes_copy(arena, row->task_queue);
    copy.parent_workflow_id = bytes_copy(arena, row->parent_workflow_id);
    copy.parent_run_id = bytes_copy(arena, row->parent_run_id);
    copy.root_workflow_id = bytes_copy(arena, row->root_workflow_id);
    copy.root_run_id = bytes_copy(arena, row->root_run_id);
    copy.memo = bytes_copy(arena, row->memo);
    copy.search_attributes = bytes_copy(arena, row->search_attributes);
    return copy;
}

/** First entry of a namespace's list, or the first behind the page's position. */
static struct ordered_node *list_begin(
    const struct memory_database *database, const struct store_list *list)
{
    struct memory_key key = {.len = 0};
    memory_key_bytes(&key, uuid_view(&list->namespace_id), false);
    if (list->after_set) {
        memory_key_time(&key, list->after_close_ns, true);
        memory_key_time(&key, list->after_start_ns, true);
        memory_key_bytes(&key, uuid_view(&list->after_run_id), true);
        memory_key_shard(&key, -1); /* behind every shard */
    }
    return ordered_map_seek(&database->lists, memory_key_view(&key));
}

static enum err memory_list(
    struct store_session *session, struct arena *arena, struct store_list *list)
{
    struct ordered_node *node = list_begin(database_of(session), list);
    struct visibility_row *rows = NULL;
    size_t count = 0;
    size_t capacity = 0;
    list->more = false;
    for (; node; node = ordered_node_next(node)) {
        const struct memory_visibility *stored = ordered_node_value(node);
        if (!uuid_equal(stored->row.namespace_id, list->namespace_id))
            break;
        if (!filter_matches(list->filter, &stored->row))
            continue;
        list->more = count == list->limit_rows;
        if (list->more)
            break;
        if (count == capacity) {
            capacity = capacity > 0 ? capacity * 2 : 16;
            struct visibility_row *grown = arena_alloc(arena, capacity * sizeof(*grown));
            if (count > 0)
                memcpy(grown, rows, count * sizeof(*grown));
            rows = grown;
        }
        rows[count++] = visibility_view(arena, &stored->row);
    }
    list->rows = rows;
    list->row_count = count;
    return OK;
}

static enum err memory_count(
    struct store_session *session, struct arena *arena, struct store_count *count)
{
    (void)arena; /* the result has no memory of its own */
    const struct memory_database *database = database_of(session);
    struct store_list all = {.namespace_id = count->namespace_id};
    struct ordered_node *node = list_begin(database, &all);
    count->total = 0;
    memset(count->status_counts, 0, sizeof(count->status_counts));
    for (; node; node = ordered_node_next(node)) {
        const struct visibility_row *row =
            &((const struct memory_visibility *)ordered_node_value(node))->row;
        if (!uuid_equal(row->namespace_id, count->namespace_id))
            break;
        if (!filter_matches(count->filter, row))
            continue;
        count->total++;
        bool known = row->status >= 0 && (size_t)row->status < ARRAY_LEN(count->status_counts);
        if (count->by_status && known)
            count->status_counts[row->status]++;
    }
    return OK;
}

static enum err memory_take_shard(struct store_session *session, struct store_take_shard *take)
{
    struct memory_shard *shard = shard_of(database_of(session), take->shard);
    if (take->expected_range >= 0 && take->expected_range != shard->range_id) {
        (void)snprintf(session->text, sizeof(session->text), "shard %d is fenced", take->shard);
        return ERR_FENCED;
    }
    shard->range_id++;
    take->range_id = shard->range_id;
    take->commit_no = shard->commit_no;
    return OK;
}

const struct store_driver *store_driver_memory(void)
{
    static const struct store_driver driver = {
        .name = "memory",
        .open = memory_open,
        .close = memory_close,
        .session_open = memory_session_open,
        .session_close = memory_session_close,
        .commit = memory_commit,
        .get = memory_get,
        .scan = memory_scan,
        .due = memory_due,
        .list = memory_list,
        .count = memory_count,
        .take_shard = memory_take_shard,
        .writers_max = 1,
        .stepped = true,
    };
    return &driver;
}
