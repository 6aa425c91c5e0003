/* SPDX-License-Identifier: Apache-2.0
 *
 * The execution itself: how it began and ended, signals, cancellation, memo and search attributes.
 */
#include <string.h>

#include "cluster/base/limits.h"
#include "cluster/base/proto_arena.h"
#include "cluster/engine/event_build.h"
#include "cluster/engine/fold_private.h"

#define STATUS(name) API__WORKFLOW_EXECUTION_STATUS__WORKFLOW_EXECUTION_STATUS_##name

/* ---- memo and search attributes -------------------------------------------------------------- */

/* Both are maps from text to Payload with the same field numbers, hence one code for both. */
_Static_assert(sizeof(Api__Memo__FieldsEntry) == sizeof(Api__SearchAttributes__IndexedFieldsEntry),
    "entries of memo and search attributes differ");

static bool metadata_is(const Api__Payload *payload, const char *encoding)
{
    for (size_t i = 0; i < payload->n_metadata; i++) {
        const Api__Payload__MetadataEntry *entry = payload->metadata[i];
        if (strcmp(entry->key, "encoding") == 0)
            return bytes_equal(bytes_make(entry->value.data, entry->value.len), bytes_of(encoding));
    }
    return *encoding == '\0';
}

/* Null, and for search attributes the empty list, take a key away. */
static bool deletes_key(struct arena *arena, const ProtobufCBinaryData *value)
{
    if (value->len == 0)
        return true;
    const Api__Payload *payload =
        proto_unpack(arena, &api__payload__descriptor, bytes_make(value->data, value->len));
    if (!payload)
        return false;
    if (payload->data.len == 0)
        return metadata_is(payload, "binary/null") || metadata_is(payload, "");
    struct bytes data = bytes_make(payload->data.data, payload->data.len);
    return metadata_is(payload, "json/plain") && bytes_equal(data, bytes_of("[]"));
}

struct entries {
    Api__Memo__FieldsEntry **list;
    size_t count;
};

/* Keys keep the place of their first appearance, so equal operations give equal bytes. */
static void merge_entries(struct arena *arena, struct entries *into, struct entries changes)
{
    Api__Memo__FieldsEntry **list = arena_zalloc(arena, into->count + changes.count, sizeof(*list));
    if (into->count > 0)
        memcpy(list, into->list, into->count * sizeof(*list));
    size_t count = into->count;
    for (size_t i = 0; i < changes.count; i++) {
        Api__Memo__FieldsEntry *change = changes.list[i];
        size_t at = 0;
        while (at < count && strcmp(list[at]->key, change->key) != 0)
            at++;
        if (deletes_key(arena, &change->value)) {
            if (at < count) {
                memmove(list + at, list + at + 1, (count - at - 1) * sizeof(*list));
                count--;
            }
            continue;
        }
        list[at] = change;
        if (at == count)
            count++;
    }
    *into = (struct entries){list, count};
}

static struct entries memo_entries(const Api__Memo *memo)
{
    return (struct entries){memo ? memo->fields : NULL, memo ? memo->n_fields : 0};
}

/* Merges serialized Memo (or SearchAttributes: the same bytes) with changes. */
static enum err merge_into(struct blob **blob, const Api__Memo *changes)
{
    struct arena scratch CLEANUP(arena_release) = {0};
    struct entries entries = {0};
    if (*blob) {
        const Api__Memo *old = proto_unpack(&scratch, &api__memo__descriptor, blob_view(*blob));
        if (!old)
            return ERR_CORRUPT;
        entries = memo_entries(old);
    }
    merge_entries(&scratch, &entries, memo_entries(changes));
    blob_unref(*blob);
    *blob = NULL;
    if (entries.count == 0)
        return OK;
    Api__Memo merged = API__MEMO__INIT;
    merged.n_fields = entries.count;
    merged.fields = entries.list;
    *blob = blob_from(proto_pack(&scratch, &merged.base));
    return OK;
}

static enum err merge_attributes(struct blob **blob, const Api__SearchAttributes *changes)
{
    if (!changes)
        return OK;
    struct arena scratch CLEANUP(arena_release) = {0};
    const Api__Memo *same =
        proto_unpack(&scratch, &api__memo__descriptor, proto_pack(&scratch, &changes->base));
    return same ? merge_into(blob, same) : ERR_CORRUPT;
}

enum err fold_search_attributes(const struct fold_step *step)
{
    return merge_attributes(&step->run->search_attributes,
        step->event->upsert_workflow_search_attributes_event_attributes->search_attributes);
}

enum err fold_properties(const struct fold_step *step)
{
    const Api__Memo *memo =
        step->event->workflow_properties_modified_event_attributes->upserted_memo;
    return memo ? merge_into(&step->run->memo, memo) : OK;
}

/* ---- life ------------------------------------------------------------------------------------ */

static int64_t expiration_ns(const Api__Timestamp *timestamp)
{
    int64_t ns = timestamp_ns(timestamp);
    if (ns < 0)
        return 0;
    return ns < FOLD_TIME_MAX_NS ? ns : FOLD_TIME_MAX_NS;
}

enum err fold_started(const struct fold_step *step)
{
    const Api__WorkflowExecutionStartedEventAttributes *attributes =
        step->event->workflow_execution_started_event_attributes;
    struct run *run = step->run;
    struct arena *arena = &run->arena;
    if (!attributes->workflow_type || !attributes->task_queue)
        return ERR_CORRUPT;
    run->started = fold_pack(arena, &attributes->base);
    run->workflow_type = arena_strdup(arena, attributes->workflow_type->name);
    run->task_queue = arena_strdup(arena, attributes->task_queue->name);
    run->started_ns = step->time_ns;
    run->started_version = step->event->version;
    run->run_timeout_ms = fold_span_ms(attributes->workflow_run_timeout);
    run->execution_expires_ns = expiration_ns(attributes->workflow_execution_expiration_time);
    run->first_backoff_ns = fold_span_ms(attributes->first_workflow_task_backoff) * NS_PER_MS;
    run->default_task_timeout_ms = fold_span_ms(attributes->workflow_task_timeout);
    if (!run->default_task_timeout_ms)
        run->default_task_timeout_ms = WORKFLOW_TASK_TIMEOUT_DEFAULT_MS;
    run->attempt = attributes->attempt > 0 ? attributes->attempt : 1;
    run->first_execution_run_id = arena_strdup(arena, attributes->first_execution_run_id);
    run->original_execution_run_id = arena_strdup(arena, attributes->original_execution_run_id);
    enum err err = OK;
    if (attributes->memo)
        err = merge_into(&run->memo, attributes->memo);
    if (!err)
        err = merge_attributes(&run->search_attributes, attributes->search_attributes);
    return err;
}

static enum err closed(const struct fold_step *step, int32_t status, const char *new_run_id)
{
    struct run *run = step->run;
    run->status = status;
    run->close_ns = step->time_ns;
    run->close_event = blob_from(step->encoded);
    if (new_run_id && *new_run_id)
        run->new_execution_run_id = arena_strdup(&run->arena, new_run_id);
    fold_task_clear(run);
    run->task.attempt = 1;
    return OK;
}

enum err fold_completed(const struct fold_step *step)
{
    return closed(step, STATUS(COMPLETED),
        step->event->workflow_execution_completed_event_attributes->new_execution_run_id);
}

enum err fold_failed(const struct fold_step *step)
{
    return closed(step, STATUS(FAILED),
        step->event->workflow_execution_failed_event_attributes->new_execution_run_id);
}

enum err fold_timed_out(const struct fold_step *step)
{
    return closed(step, STATUS(TIMED_OUT),
        step->event->workflow_execution_timed_out_event_attributes->new_execution_run_id);
}

enum err fold_canceled(const struct fold_step *step)
{
    return closed(step, STATUS(CANCELED), NULL);
}

enum err fold_terminated(const struct fold_step *step)
{
    return closed(step, STATUS(TERMINATED), NULL);
}

enum err fold_continued_as_new(const struct fold_step *step)
{
    return closed(step, STATUS(CONTINUED_AS_NEW),
        step->event->workflow_execution_continued_as_new_event_attributes->new_execution_run_id);
}

/* ---- signals and cancellation ---------------------------------------------------------------- */

enum err fold_signaled(const struct fold_step *step)
{
    step->run->signal_count++;
    return OK;
}

enum err fold_cancel_requested(const struct fold_step *step)
{
    step->run->cancel_requested = true;
    return OK;
}
