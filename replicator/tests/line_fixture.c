/* SPDX-License-Identifier: Apache-2.0
 *
 * Histories as a source would write them.
 */
#include <stdio.h>

#include "cluster/base/mem.h"
#include "replicator/tests/apply_fixture.h"

struct line *line_new(const char *workflow_id, int64_t version)
{
    struct line *line = mem_new(struct line);
    snprintf(line->workflow_id, sizeof(line->workflow_id), "%s", workflow_id);
    line->run_id = uuid_new(&place->env);
    line->version = version;
    line->next = 1;
    list_push_back(&place->lines, &line->link);
    return line;
}

void line_free(struct line *line)
{
    for (size_t i = 0; i < line->batch_count; i++)
        blob_unref(line->batches[i]);
    batch_abandon(&line->builder);
    buffer_release(&line->meta);
    mem_free(line);
}

Api__HistoryEvent *line_event(Api__EventType type)
{
    return event_new(&place->arena, type, place->now_ns);
}

int64_t line_add(struct line *line, Api__HistoryEvent *event)
{
    event->event_id = line->next++;
    event->version = line->version;
    if (!line->builder.blob)
        batch_begin(&line->builder, event->event_id, line->version);
    batch_add(&line->builder, &event->base, place->now_ns);
    return event->event_id;
}

size_t line_end(struct line *line)
{
    size_t number = line->batch_count++;
    assert_true(number < LINE_BATCHES_MAX);
    line->firsts[number] = line->builder.first_event_id;
    if (!line->item_count || line->items[line->item_count - 1].version != line->version)
        line->items[line->item_count++].version = line->version;
    line->items[line->item_count - 1].event_id = line->next - 1;
    line->batches[number] =
        batch_finish(&line->builder, buffer_view(&line->meta), line->digest, &line->digest);
    buffer_clear(&line->meta);
    return number;
}

static void add_scheduled(struct line *line)
{
    Api__HistoryEvent *event = line_event(EVENT(WORKFLOW_TASK_SCHEDULED));
    event->workflow_task_scheduled_event_attributes->task_queue =
        task_queue_new(&place->arena, "queue");
    event->workflow_task_scheduled_event_attributes->start_to_close_timeout =
        duration_new(&place->arena, 10000);
    event->workflow_task_scheduled_event_attributes->attempt = 1;
    line->task_scheduled = line_add(line, event);
}

static void add_task_done(struct line *line)
{
    Api__HistoryEvent *event = line_event(EVENT(WORKFLOW_TASK_STARTED));
    event->workflow_task_started_event_attributes->scheduled_event_id = line->task_scheduled;
    int64_t started = line_add(line, event);
    event = line_event(EVENT(WORKFLOW_TASK_COMPLETED));
    event->workflow_task_completed_event_attributes->scheduled_event_id = line->task_scheduled;
    event->workflow_task_completed_event_attributes->started_event_id = started;
    line_add(line, event);
    line->task_scheduled = 0;
}

static void task_if_none(struct line *line)
{
    if (!line->task_scheduled)
        add_scheduled(line);
}

size_t line_start(struct line *line)
{
    struct arena *arena = &place->arena;
    Api__HistoryEvent *event = line_event(EVENT(WORKFLOW_EXECUTION_STARTED));
    Api__WorkflowExecutionStartedEventAttributes *started =
        event->workflow_execution_started_event_attributes;
    started->workflow_type = arena_new(arena, Api__WorkflowType);
    api__workflow_type__init(started->workflow_type);
    started->workflow_type->name = arena_strdup(arena, "type");
    started->task_queue = task_queue_new(arena, "queue");
    started->attempt = 1;
    line_add(line, event);
    add_scheduled(line);
    return line_end(line);
}

size_t line_signal(struct line *line, const char *name)
{
    Api__HistoryEvent *event = line_event(EVENT(WORKFLOW_EXECUTION_SIGNALED));
    event->workflow_execution_signaled_event_attributes->signal_name =
        arena_strdup(&place->arena, name);
    line_add(line, event);
    return line_end(line);
}

size_t line_complete(struct line *line)
{
    task_if_none(line);
    add_task_done(line);
    line_add(line, line_event(EVENT(WORKFLOW_EXECUTION_COMPLETED)));
    return line_end(line);
}

size_t line_continue(struct line *line, struct line *successor)
{
    task_if_none(line);
    add_task_done(line);
    Api__HistoryEvent *event = line_event(EVENT(WORKFLOW_EXECUTION_CONTINUED_AS_NEW));
    char text[UUID_TEXT_LEN + 1];
    uuid_format(successor->run_id, text);
    event->workflow_execution_continued_as_new_event_attributes->new_execution_run_id =
        arena_strdup(&place->arena, text);
    line_add(line, event);
    return line_end(line);
}

int64_t line_activity(struct line *line, const char *activity_id)
{
    task_if_none(line);
    add_task_done(line);
    Api__HistoryEvent *event = line_event(EVENT(ACTIVITY_TASK_SCHEDULED));
    Api__ActivityTaskScheduledEventAttributes *attributes =
        event->activity_task_scheduled_event_attributes;
    attributes->activity_id = arena_strdup(&place->arena, activity_id);
    attributes->task_queue = task_queue_new(&place->arena, "queue");
    attributes->start_to_close_timeout = duration_new(&place->arena, 60000);
    int64_t id = line_add(line, event);
    line_end(line);
    return id;
}

size_t line_end_activity(struct line *line, int64_t scheduled_event_id)
{
    Api__HistoryEvent *event = line_event(EVENT(ACTIVITY_TASK_STARTED));
    event->activity_task_started_event_attributes->scheduled_event_id = scheduled_event_id;
    int64_t started = line_add(line, event);
    event = line_event(EVENT(ACTIVITY_TASK_COMPLETED));
    event->activity_task_completed_event_attributes->scheduled_event_id = scheduled_event_id;
    event->activity_task_completed_event_attributes->started_event_id = started;
    line_add(line, event);
    return line_end(line);
}
