/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs as rows: head and facts (the only home of what history does not tell) and the snapshot (a
 * shortcut for the fold). What is read here is hostile.
 */
#include <string.h>

#include "cluster/base/mem.h"
#include "cluster/base/proto_arena.h"
#include "cluster/engine/fold_private.h"

#define FORMAT       1u
#define BRANCHES_MAX 4096u

static enum err check_format(uint32_t format)
{
    if (format > FORMAT)
        return ERR_VERSION;
    return format == FORMAT ? OK : ERR_CORRUPT;
}

static ProtobufCBinaryData binary(struct bytes view)
{
    /* Messages are only packed, never written through. */
    return (ProtobufCBinaryData){view.len, (uint8_t *)(uintptr_t)view.data};
}

static struct bytes view_of(const ProtobufCBinaryData *data)
{
    return bytes_make(data->data, data->len);
}

static char *text_of(struct arena *arena, const char *text)
{
    return arena_strdup(arena, text ? text : "");
}

/* NULL for the empty text. */
static char *text_or_null(const char *text)
{
    return text && *text ? mem_strdup(text) : NULL;
}

/* ---- branches -------------------------------------------------------------------------------- */

Record__Branch *run_write_branch(struct arena *arena, const struct branch_state *branch)
{
    Record__Branch *record = arena_new(arena, Record__Branch);
    record__branch__init(record);
    record->id = branch->id;
    record->parent = branch->parent;
    record->fork_event_id = branch->fork_event_id;
    record->n_items = branch->item_count;
    record->items = arena_zalloc(arena, branch->item_count, sizeof(*record->items));
    for (size_t i = 0; i < branch->item_count; i++) {
        record->items[i] = arena_new(arena, Record__VersionItem);
        record__version_item__init(record->items[i]);
        record->items[i]->event_id = branch->items[i].event_id;
        record->items[i]->version = branch->items[i].version;
    }
    record->next_event_id = branch->next_event_id;
    record->history_bytes = branch->history_bytes;
    record->digest = branch->digest;
    record->last_event_time = branch->last_event_time_ns;
    return record;
}

/* Items rise in both fields and end with the last event. */
static bool items_are_valid(const Record__Branch *record)
{
    int64_t event_id = 0;
    int64_t version = -1;
    for (size_t i = 0; i < record->n_items; i++) {
        if (record->items[i]->event_id <= event_id || record->items[i]->version <= version)
            return false;
        event_id = record->items[i]->event_id;
        version = record->items[i]->version;
    }
    return record->next_event_id >= 1 && event_id == record->next_event_id - 1;
}

enum err run_read_branch(const Record__Branch *record, struct branch_state *ret_branch)
{
    if (!items_are_valid(record) || record->history_bytes < 0 || record->last_event_time < 0 ||
        record->last_event_time > FOLD_TIME_MAX_NS || record->fork_event_id < 0 ||
        record->fork_event_id >= record->next_event_id)
        return ERR_CORRUPT;
    *ret_branch = (struct branch_state){.id = record->id,
        .parent = record->parent,
        .fork_event_id = record->fork_event_id,
        .item_count = record->n_items,
        .next_event_id = record->next_event_id,
        .history_bytes = record->history_bytes,
        .digest = record->digest,
        .last_event_time_ns = record->last_event_time};
    ret_branch->items = mem_zalloc(record->n_items, sizeof(*ret_branch->items));
    for (size_t i = 0; i < record->n_items; i++) {
        ret_branch->items[i].event_id = record->items[i]->event_id;
        ret_branch->items[i].version = record->items[i]->version;
    }
    return OK;
}

static void free_branches(struct run *run)
{
    for (size_t i = 0; i < run->branch_count; i++)
        mem_free(run->branches[i].items);
    mem_free(run->branches);
    run->branches = NULL;
    run->branch_count = 0;
    run->current_branch = 0;
}

/* ---- head ------------------------------------------------------------------------------------ */

static Record__WorkflowTask *write_task(struct arena *arena, const struct workflow_task *task)
{
    Record__WorkflowTask *record = arena_new(arena, Record__WorkflowTask);
    record__workflow_task__init(record);
    record->scheduled_event_id = task->scheduled_event_id;
    record->scheduled_time = task->scheduled_ns;
    record->original_scheduled_time = task->original_scheduled_ns;
    record->attempt = task->attempt;
    record->not_before = task->not_before_ns;
    record->transient = task->transient;
    return record;
}

void run_write_head(const struct run *run, Record__RunHead *ret_head, struct arena *arena)
{
    record__run_head__init(ret_head);
    ret_head->format = FORMAT;
    ret_head->namespace_id = binary(bytes_copy(arena, uuid_view(&run->namespace_id)));
    ret_head->workflow_id = bytes_string(arena, run->workflow_id);
    ret_head->status = run->status;
    ret_head->zombie = run->zombie;
    ret_head->n_branches = run->branch_count;
    ret_head->branches = arena_zalloc(arena, run->branch_count, sizeof(*ret_head->branches));
    for (size_t i = 0; i < run->branch_count; i++)
        ret_head->branches[i] = run_write_branch(arena, &run->branches[i]);
    ret_head->current_branch = (uint32_t)run->current_branch;
    ret_head->workflow_task = write_task(arena, &run->task);
    if (run->sticky_queue) {
        ret_head->sticky = arena_new(arena, Record__Sticky);
        record__sticky__init(ret_head->sticky);
        ret_head->sticky->task_queue = text_of(arena, run->sticky_queue);
        ret_head->sticky->schedule_to_start_ms = run->sticky_timeout_ms;
    }
    ret_head->close_time = run->close_ns;
    ret_head->snapshot_event_id = run->snapshot_event_id;
    ret_head->next_buffered_id = run->next_buffered_id;
    ret_head->state_transitions = run->state_transitions;
    ret_head->start_time = run->started_ns;
}

static bool time_is_valid(int64_t ns)
{
    return ns >= 0 && ns <= FOLD_TIME_MAX_NS;
}

static enum err read_task(struct run *run, const Record__WorkflowTask *record)
{
    struct workflow_task *task = &run->task;
    if (record->attempt < 1 || record->scheduled_event_id < 0 ||
        !time_is_valid(record->scheduled_time) || !time_is_valid(record->original_scheduled_time) ||
        !time_is_valid(record->not_before))
        return ERR_CORRUPT;
    /* Only the fold knows the timeout of a task whose Scheduled event is in history. */
    if (record->scheduled_event_id && !record->transient &&
        record->scheduled_event_id != task->scheduled_event_id)
        return ERR_CORRUPT;
    task->scheduled_event_id = record->scheduled_event_id;
    task->scheduled_ns = record->scheduled_time;
    task->original_scheduled_ns = record->original_scheduled_time;
    task->attempt = record->attempt;
    task->not_before_ns = record->not_before;
    task->transient = record->transient;
    if (task->transient)
        task->timeout_ms = run->default_task_timeout_ms;
    return OK;
}

static enum err read_branches(struct run *run, const Record__RunHead *head)
{
    if (head->n_branches < 1 || head->n_branches > BRANCHES_MAX ||
        head->current_branch >= head->n_branches)
        return ERR_CORRUPT;
    free_branches(run);
    run->branches = mem_zalloc(head->n_branches, sizeof(*run->branches));
    run->branch_count = head->n_branches;
    run->current_branch = head->current_branch;
    for (size_t i = 0; i < head->n_branches; i++) {
        enum err err = run_read_branch(head->branches[i], &run->branches[i]);
        if (err)
            return err;
    }
    return OK;
}

enum err run_read_head(struct run *run, struct bytes value)
{
    struct arena scratch CLEANUP(arena_release) = {0};
    const Record__RunHead *head = proto_unpack(&scratch, &record__run_head__descriptor, value);
    if (!head)
        return ERR_CORRUPT;
    enum err err = check_format(head->format);
    if (err)
        return err;
    if (!bytes_equal(view_of(&head->namespace_id), uuid_view(&run->namespace_id)) ||
        !bytes_equal(bytes_of(head->workflow_id), run->workflow_id) || !head->workflow_task ||
        head->next_buffered_id < 1 || head->snapshot_event_id < 0 || head->state_transitions < 0)
        return ERR_CORRUPT;
    err = read_branches(run, head);
    if (!err)
        err = read_task(run, head->workflow_task);
    if (err)
        return err;
    run->zombie = head->zombie;
    mem_free(run->sticky_queue);
    run->sticky_queue = head->sticky ? text_or_null(head->sticky->task_queue) : NULL;
    run->sticky_timeout_ms = head->sticky ? head->sticky->schedule_to_start_ms : 0;
    if (run->sticky_timeout_ms < 0 || run->sticky_timeout_ms > FOLD_SPAN_MAX_MS)
        return ERR_CORRUPT;
    run->snapshot_event_id = head->snapshot_event_id;
    run->next_buffered_id = head->next_buffered_id;
    run->state_transitions = head->state_transitions;
    return OK;
}

/* ---- facts ----------------------------------------------------------------------------------- */

struct blob *run_write_activity_fact(const struct activity *activity)
{
    struct arena scratch CLEANUP(arena_release) = {0};
    Record__ActivityFact fact = RECORD__ACTIVITY_FACT__INIT;
    fact.format = FORMAT;
    fact.scheduled_event_id = activity->scheduled_event_id;
    fact.version = activity->fact_version;
    fact.attempt = activity->attempt;
    fact.started = activity->started;
    fact.attempt_scheduled_time = activity->attempt_scheduled_ns;
    fact.not_before = activity->not_before_ns;
    fact.started_time = activity->started_ns;
    fact.started_identity = text_of(&scratch, activity->started_identity);
    fact.nonce = activity->nonce;
    fact.heartbeat_time = activity->heartbeat_ns;
    fact.heartbeat_details_set = activity->heartbeat_details != NULL;
    if (activity->heartbeat_details)
        fact.heartbeat_details = binary(blob_view(activity->heartbeat_details));
    if (activity->last_failure)
        fact.last_failure = binary(blob_view(activity->last_failure));
    fact.last_identity = text_of(&scratch, activity->last_identity);
    fact.last_attempt_complete_time = activity->last_attempt_complete_ns;
    fact.stamp = activity->stamp;
    return blob_from(proto_pack(&scratch, &fact.base));
}

static bool fact_is_valid(const Record__ActivityFact *fact)
{
    return fact->attempt >= 1 && fact->stamp >= 0 && time_is_valid(fact->attempt_scheduled_time) &&
           time_is_valid(fact->not_before) && time_is_valid(fact->started_time) &&
           time_is_valid(fact->heartbeat_time) && time_is_valid(fact->last_attempt_complete_time);
}

static enum err read_activity_fact(struct run *run, struct bytes value)
{
    struct arena scratch CLEANUP(arena_release) = {0};
    const Record__ActivityFact *fact =
        proto_unpack(&scratch, &record__activity_fact__descriptor, value);
    if (!fact)
        return ERR_CORRUPT;
    enum err err = check_format(fact->format);
    if (err)
        return err;
    if (!fact_is_valid(fact))
        return ERR_CORRUPT;
    struct activity *activity = run_activity(run, fact->scheduled_event_id);
    if (!activity)
        return OK; /* of a branch that lost, or of a closed run: nobody asks for it */
    activity->fact_stored = true;
    activity->fact_version = fact->version;
    activity->attempt = fact->attempt;
    activity->started = fact->started;
    activity->attempt_scheduled_ns = fact->attempt_scheduled_time;
    activity->not_before_ns = fact->not_before;
    activity->started_ns = fact->started_time;
    activity->nonce = fact->nonce;
    activity->heartbeat_ns = fact->heartbeat_time;
    activity->last_attempt_complete_ns = fact->last_attempt_complete_time;
    activity->stamp = fact->stamp;
    mem_free(activity->started_identity);
    mem_free(activity->last_identity);
    activity->started_identity = text_or_null(fact->started_identity);
    activity->last_identity = text_or_null(fact->last_identity);
    blob_unref(activity->heartbeat_details);
    blob_unref(activity->last_failure);
    activity->heartbeat_details =
        fact->heartbeat_details_set ? blob_from(view_of(&fact->heartbeat_details)) : NULL;
    activity->last_failure =
        fact->last_failure.len ? blob_from(view_of(&fact->last_failure)) : NULL;
    return OK;
}

static enum err read_buffered_fact(struct run *run, struct bytes value)
{
    struct arena scratch CLEANUP(arena_release) = {0};
    const Record__BufferedFact *fact =
        proto_unpack(&scratch, &record__buffered_fact__descriptor, value);
    if (!fact)
        return ERR_CORRUPT;
    enum err err = check_format(fact->format);
    if (err)
        return err;
    int64_t last = 0;
    if (!list_empty(&run->buffered))
        last = CONTAINER_OF(run->buffered.prev, struct buffered_event, link)->id;
    /* Flushing relies on it: the event inside must parse. */
    if (fact->id <= last || fact->id == INT64_MAX ||
        !proto_unpack(&scratch, &api__history_event__descriptor, view_of(&fact->event)))
        return ERR_CORRUPT;
    struct buffered_event *event = mem_new(struct buffered_event);
    event->id = fact->id;
    event->record = blob_from(value);
    event->bytes = value.len;
    list_push_back(&run->buffered, &event->link);
    run->buffered_count++;
    run->buffered_bytes += event->bytes;
    if (run->next_buffered_id <= fact->id)
        run->next_buffered_id = fact->id + 1;
    if (*fact->request_id)
        fold_add_key(&run->request_ids, bytes_of(fact->request_id), 0);
    return OK;
}

enum err run_read_fact(struct run *run, enum fact_kind kind, struct bytes value)
{
    switch (kind) {
    case FACT_ACTIVITY:
        return read_activity_fact(run, value);
    case FACT_BUFFERED:
        return read_buffered_fact(run, value);
    }
    return ERR_VERSION;
}
