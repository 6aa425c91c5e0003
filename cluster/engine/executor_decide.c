/* SPDX-License-Identifier: Apache-2.0
 *
 * What handlers may do: append events, buffer them, change facts, make and delete runs, defer
 * effects. Every change passes here, so nothing can be decided and forgotten.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cluster/base/mem.h"
#include "cluster/base/proto_arena.h"
#include "cluster/engine/executor_private.h"
#include "cluster/engine/fold.h"

static Api__Timestamp *timestamp(struct arena *arena, int64_t ns)
{
    Api__Timestamp *time = arena_new(arena, Api__Timestamp);
    api__timestamp__init(time);
    time->seconds = ns / NS_PER_S;
    time->nanos = (int32_t)(ns % NS_PER_S);
    return time;
}

/* The bytes of the event that batch_add() just wrote, without their framing. */
static struct bytes last_event(const struct run *run, size_t added)
{
    const struct batch_builder *builder = &run->builder;
    const uint8_t *end = builder->blob->data + BATCH_HEADER_BYTES + builder->events_len;
    size_t offset = 0;
    struct bytes event = {0};
    struct bytes framed;
    CHECK(batch_next_event(bytes_make(end - added, added), &offset, &event, &framed));
    return event;
}

int64_t decision_append(struct decision *d, struct run *run, Api__HistoryEvent *event)
{
    CHECK(run_is_open(run));
    int64_t version = d->ns->failover_version;
    CHECK(run_last_version(run) <= version);
    if (run->builder.blob && run->builder.version != version)
        run_seal_batch(run);
    int64_t event_id = run_next_event_id(run);
    if (!run->builder.blob)
        batch_begin(&run->builder, event_id, version);
    int64_t time_ns = event->event_time
                          ? event->event_time->seconds * NS_PER_S + event->event_time->nanos
                          : d->now_ns;
    if (time_ns < run_branch(run)->last_event_time_ns)
        time_ns = run_branch(run)->last_event_time_ns; /* event times never go back */
    event->event_id = event_id;
    event->version = version;
    event->event_time = timestamp(d->arena, time_ns);
    size_t added = batch_add(&run->builder, &event->base, time_ns);
    d->executor->open_bytes += added;
    enum err err = fold_event(run, event, last_event(run, added));
    CHECK(err == OK);
    CHECK(run_next_event_id(run) == event_id + 1);
    executor_mark_dirty(d->executor, run);
    return event_id;
}

void decision_note_request_id(struct decision *d, struct run *run, const char *request_id)
{
    if (!request_id || !*request_id)
        return;
    Record__BatchMeta meta;
    record__batch_meta__init(&meta);
    char *ids[1] = {arena_strdup(d->arena, request_id)};
    meta.n_request_ids = 1;
    meta.request_ids = ids;
    /* Pieces of a message concatenate to the merged message. */
    struct bytes piece = proto_pack(d->arena, &meta.base);
    buffer_append(&run->builder_meta, piece.data, piece.len);
    enum err err = fold_meta(run, piece, run_next_event_id(run) - 1);
    CHECK(err == OK);
    executor_mark_dirty(d->executor, run);
}

/* ---- buffered events ------------------------------------------------------------------------- */

void run_add_fact_change(
    struct run *run, enum fact_kind kind, enum commit_mode mode, int64_t id, struct blob *value)
{
    struct fact_change *change = mem_new(struct fact_change);
    change->kind = kind;
    change->mode = mode;
    change->id = id;
    change->value = value;
    list_push_back(&run->fact_changes, &change->link);
}

static void buffer_event(
    struct decision *d, struct run *run, Api__HistoryEvent *event, const char *request_id)
{
    event->event_id = 0;
    event->version = d->ns->failover_version;
    event->event_time = timestamp(d->arena, d->now_ns);
    struct bytes encoded = proto_pack(d->arena, &event->base);
    struct uuid accept = uuid_new(d->env);
    Record__BufferedFact fact;
    record__buffered_fact__init(&fact);
    fact.format = 1;
    fact.event.data = (uint8_t *)(uintptr_t)encoded.data;
    fact.event.len = encoded.len;
    if (request_id)
        fact.request_id = arena_strdup(d->arena, request_id);
    fact.accept_id.data = accept.bytes;
    fact.accept_id.len = sizeof(accept.bytes);
    fact.version = event->version;
    int64_t id = run->next_buffered_id;
    fact.id = id;
    struct bytes packed = proto_pack(d->arena, &fact.base);
    enum err err = run_read_fact(run, FACT_BUFFERED, packed);
    CHECK(err == OK);
    run->next_buffered_id = id + 1;
    run_add_fact_change(run, FACT_BUFFERED, COMMIT_INSERT, id, blob_from(packed));
    d->executor->open_bytes += packed.len;
    run->head_changed = true;
    executor_mark_dirty(d->executor, run);
}

int64_t decision_append_or_buffer(
    struct decision *d, struct run *run, Api__HistoryEvent *event, const char *request_id)
{
    if (run->task.mark.set) {
        buffer_event(d, run, event, request_id);
        return 0;
    }
    int64_t id = decision_append(d, run, event);
    decision_note_request_id(d, run, request_id);
    return id;
}

/* Outcomes of activities (later: of children and operations) come last and learn the id that their
 * Started event got. NULL: the event is no outcome. */
static int64_t *outcome_started_id(const Api__HistoryEvent *event, int64_t *ret_scheduled)
{
#define OUTCOME(upper, lower)                                                                  \
    if (event->attributes_case == API__HISTORY_EVENT__ATTRIBUTES_##upper##_EVENT_ATTRIBUTES) { \
        *ret_scheduled = event->lower##_event_attributes->scheduled_event_id;                  \
        return &event->lower##_event_attributes->started_event_id;                             \
    }
    OUTCOME(ACTIVITY_TASK_COMPLETED, activity_task_completed)
    OUTCOME(ACTIVITY_TASK_FAILED, activity_task_failed)
    OUTCOME(ACTIVITY_TASK_TIMED_OUT, activity_task_timed_out)
    OUTCOME(ACTIVITY_TASK_CANCELED, activity_task_canceled)
#undef OUTCOME
    return NULL;
}

struct flushed {
    Api__HistoryEvent *event;
    Record__BufferedFact *fact;
    int64_t started_id;
};

static void flush_one(struct decision *d, struct run *run, struct flushed *flushed)
{
    Record__BatchMeta meta;
    record__batch_meta__init(&meta);
    ProtobufCBinaryData accept = flushed->fact->accept_id;
    if (accept.len) {
        meta.n_accept_ids = 1;
        meta.accept_ids = &accept;
    }
    int64_t id = decision_append(d, run, flushed->event);
    if (flushed->event->activity_task_started_event_attributes &&
        flushed->event->attributes_case ==
            API__HISTORY_EVENT__ATTRIBUTES_ACTIVITY_TASK_STARTED_EVENT_ATTRIBUTES)
        flushed->started_id = id;
    struct bytes piece = proto_pack(d->arena, &meta.base);
    buffer_append(&run->builder_meta, piece.data, piece.len);
    enum err err = fold_meta(run, piece, id);
    CHECK(err == OK);
    decision_note_request_id(d, run, flushed->fact->request_id);
}

void decision_flush_buffered(struct decision *d, struct run *run)
{
    size_t count = run->buffered_count;
    if (!count)
        return;
    struct flushed *all = arena_zalloc(d->arena, count, sizeof(*all));
    for (size_t i = 0; i < count; i++) {
        struct list *node = run->buffered.next;
        struct buffered_event *buffered = CONTAINER_OF(node, struct buffered_event, link);
        list_remove(node);
        all[i].fact =
            proto_unpack(d->arena, &record__buffered_fact__descriptor, blob_view(buffered->record));
        CHECK(all[i].fact);
        all[i].event = proto_unpack(d->arena, &api__history_event__descriptor,
            bytes_make(all[i].fact->event.data, all[i].fact->event.len));
        CHECK(all[i].event);
        run_add_fact_change(run, FACT_BUFFERED, COMMIT_DELETE, buffered->id, NULL);
        blob_unref(buffered->record);
        mem_free(buffered);
    }
    run->buffered_count = 0;
    run->buffered_bytes = 0;
    executor_mark_dirty(d->executor, run);
    for (size_t i = 0; i < count; i++) {
        int64_t scheduled;
        if (!outcome_started_id(all[i].event, &scheduled))
            flush_one(d, run, &all[i]);
    }
    for (size_t i = 0; i < count; i++) {
        int64_t scheduled = 0;
        int64_t *started_id = outcome_started_id(all[i].event, &scheduled);
        if (!started_id)
            continue;
        for (size_t k = 0; k < count; k++) {
            if (all[k].started_id &&
                all[k].event->activity_task_started_event_attributes->scheduled_event_id ==
                    scheduled)
                *started_id = all[k].started_id;
        }
        flush_one(d, run, &all[i]);
    }
}

/* ---- runs and facts -------------------------------------------------------------------------- */

struct run *decision_create_run(struct decision *d, struct uuid run_id, bool current)
{
    struct workflow *workflow = d->workflow;
    struct run *run =
        run_new(workflow->shard, workflow->namespace_id, workflow->workflow_id, run_id);
    run->workflow = workflow;
    run->is_new = true;
    run->visibility_changed = true;
    run->stored_due_ns = DUE_NONE;
    run->stored_expire_ns = DUE_NONE;
    run->recovered_version = d->ns->active ? d->ns->failover_version : 0;
    list_push_back(&workflow->runs, &run->link);
    if (current) {
        run->becomes_current = true;
        workflow->current_run_id = run_id;
        d->current = run;
    }
    executor_mark_dirty(d->executor, run);
    d->executor->cache_bytes += run_memory(run);
    return run;
}

void decision_touch(struct decision *d, struct run *run)
{
    run->head_changed = true;
    executor_mark_dirty(d->executor, run);
}

void decision_touch_activity(
    struct decision *d, struct run *run, struct activity *activity, bool remove)
{
    executor_mark_dirty(d->executor, run);
    int64_t id = activity->scheduled_event_id;
    if (remove) {
        if (activity->fact_stored)
            run_add_fact_change(run, FACT_ACTIVITY, COMMIT_DELETE, id, NULL);
        activity->fact_stored = false;
        return;
    }
    activity->fact_version = d->ns->failover_version;
    activity->stamp++;
    run_add_fact_change(run, FACT_ACTIVITY, activity->fact_stored ? COMMIT_UPDATE : COMMIT_INSERT,
        id, run_write_activity_fact(activity));
    activity->fact_stored = true;
}

enum err decision_apply_batch(struct decision *d, struct run *run, struct blob *value)
{
    struct batch batch;
    enum err err = batch_decode(blob_view(value), &batch);
    if (!err)
        err = fold_batch(run, blob_view(value));
    if (err)
        return err;
    run_take_batch(run, value, &batch);
    d->executor->open_bytes += value->len;
    executor_mark_dirty(d->executor, run);
    return OK;
}

enum err decision_apply_fact(
    struct decision *d, struct run *run, enum fact_kind kind, int64_t id, struct bytes value)
{
    bool stored = false;
    if (kind == FACT_ACTIVITY) {
        const struct activity *activity = run_activity(run, id);
        stored = activity && activity->fact_stored;
    }
    enum err err = run_read_fact(run, kind, value);
    if (err)
        return err;
    run_add_fact_change(run, kind, stored ? COMMIT_UPDATE : COMMIT_INSERT, id, blob_from(value));
    CONTAINER_OF(run->fact_changes.prev, struct fact_change, link)->replicated = true;
    d->executor->open_bytes += value.len;
    executor_mark_dirty(d->executor, run);
    return OK;
}

void decision_forget(struct decision *d, struct run *run)
{
    struct workflow *workflow = d->workflow;
    if (run->is_new && uuid_equal(workflow->current_run_id, run->run_id))
        workflow->current_known = false;
    if (d->run == run)
        d->run = NULL;
    if (d->current == run)
        d->current = NULL;
    executor_forget_run(d->executor, run);
    workflow_discard_run(d->executor, run);
}

void decision_delete_run(struct decision *d, struct run *run)
{
    run->deleted = true;
    executor_mark_dirty(d->executor, run);
}

struct run *decision_loaded_run(struct decision *d, struct uuid run_id)
{
    return workflow_run(d->workflow, run_id);
}

bool run_tail_from(struct run *run, int64_t from_event_id, struct list **ret_first)
{
    if (run->builder.blob)
        run_seal_batch(run);
    for (struct list *node = run->tail.next; node != &run->tail; node = node->next) {
        const struct run_batch *batch = CONTAINER_OF(node, struct run_batch, link);
        if (batch->first_event_id > from_event_id)
            return false;
        if (batch->next_event_id > from_event_id) {
            *ret_first = node;
            return true;
        }
    }
    return false;
}

/* ---- effects --------------------------------------------------------------------------------- */

void decision_defer(struct decision *d, const struct run *run, struct effect *effect)
{
    struct executor *executor = d->executor;
    int64_t no = run ? run->changed_commit : executor->open->no;
    if (!run && list_empty(&executor->dirty) && !executor->work_pending)
        no = executor->open->no - 1;
    if (no <= executor->committed_no) {
        effect->link = (struct list){0};
        effect->fire(effect, OK);
        return;
    }
    effect->commit_no = no;
    struct list *at = executor->effects.prev;
    while (at != &executor->effects && CONTAINER_OF(at, struct effect, link)->commit_no > no)
        at = at->prev;
    list_insert_before(at->next, &effect->link);
}

struct answer {
    struct effect effect;
    struct call *call;
    enum grpc_code code;
    struct bytes body;
    const char *message;
    const char *detail_type;
    struct bytes detail;
};

static void answer_fire(struct effect *effect, enum err err)
{
    struct answer *answer = CONTAINER_OF(effect, struct answer, effect);
    struct call *call = answer->call;
    if (err)
        call_fail_err(call, ERR_UNAVAILABLE, "the change was not stored: %s", err_text(err));
    else if (answer->code == GRPC_OK)
        call_reply(call, answer->body);
    else
        call_fail(call, answer->code, answer->message, answer->detail_type, answer->detail);
}

void decision_reply_bytes(
    struct decision *d, const struct run *run, struct call *call, struct bytes body)
{
    struct answer *answer = arena_new(&call->arena, struct answer);
    answer->effect.fire = answer_fire;
    answer->call = call;
    answer->code = GRPC_OK;
    answer->body = body;
    decision_defer(d, run, &answer->effect);
}

void decision_reply(
    struct decision *d, const struct run *run, struct call *call, const ProtobufCMessage *response)
{
    decision_reply_bytes(d, run, call, proto_pack(&call->arena, response));
}

void decision_fail(struct decision *d, const struct run *run, struct call *call,
    enum grpc_code code, const char *detail_type, const ProtobufCMessage *detail, const char *fmt,
    ...)
{
    struct arena *arena = &call->arena;
    struct answer *answer = arena_new(arena, struct answer);
    char text[ERROR_TEXT_BYTES_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    answer->effect.fire = answer_fire;
    answer->call = call;
    answer->code = code;
    answer->message = arena_strdup(arena, text);
    answer->detail_type = detail_type;
    if (detail)
        answer->detail = proto_pack(arena, detail);
    decision_defer(d, run, &answer->effect);
}
