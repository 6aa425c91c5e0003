/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands StartTimer and CancelTimer.
 */
#include <string.h>

#include "cluster/engine/decide_command.h"

#define BAD_START    TASK_FAILED(BAD_START_TIMER_ATTRIBUTES)
#define BAD_CANCEL   TASK_FAILED(BAD_CANCEL_TIMER_ATTRIBUTES)
#define DUPLICATE_ID TASK_FAILED(START_TIMER_DUPLICATE_ID)

/* Pending at this point of the commands. */
static bool is_pending(const struct command_check *check, struct bytes id)
{
    if (map_get(&check->timers_added, id))
        return true;
    return run_timer(check->run, id) && !map_get(&check->timers_removed, id);
}

void check_start_timer(struct command_check *check, const Api__Command *command)
{
    const Api__StartTimerCommandAttributes *start = command->start_timer_command_attributes;
    struct bytes id = bytes_of(start->timer_id);
    check->next_event_id++;
    if (!id.len) {
        command_fault(check, BAD_START, "TimerId is not set on StartTimerCommand.");
        return;
    }
    if (id.len > ID_BYTES_MAX) {
        command_fault(check, BAD_START, "TimerId on StartTimerCommand exceeds length limit.");
        return;
    }
    if (duration_ns(start->start_to_fire_timeout) < 0) {
        command_fault(check, BAD_START,
            "Invalid StartToFireTimeout on StartTimerCommand: it is negative. TimerId=%.100s",
            start->timer_id);
        return;
    }
    if (is_pending(check, id)) {
        command_fault(check, DUPLICATE_ID, "timer id %s is in use already", start->timer_id);
        return;
    }
    CHECK(!map_put(&check->timers_added, id, check));
}

void apply_start_timer(struct command_apply *apply, const Api__Command *command)
{
    const Api__StartTimerCommandAttributes *start = command->start_timer_command_attributes;
    Api__HistoryEvent *event =
        command_event(apply, command, API__EVENT_TYPE__EVENT_TYPE_TIMER_STARTED);
    Api__TimerStartedEventAttributes *started = event->timer_started_event_attributes;
    started->timer_id = start->timer_id;
    started->start_to_fire_timeout = start->start_to_fire_timeout
                                         ? start->start_to_fire_timeout
                                         : duration_new(apply->d->arena, 0);
    started->workflow_task_completed_event_id = apply->completed_event_id;
    decision_append(apply->d, apply->run, event);
}

void check_cancel_timer(struct command_check *check, const Api__Command *command)
{
    const Api__CancelTimerCommandAttributes *cancel = command->cancel_timer_command_attributes;
    struct bytes id = bytes_of(cancel->timer_id);
    check->next_event_id++;
    if (!id.len) {
        command_fault(check, BAD_CANCEL, "TimerId is not set on CancelTimerCommand.");
        return;
    }
    if (!is_pending(check, id)) {
        command_fault(check, BAD_CANCEL, "timer id %.1000s is not pending", cancel->timer_id);
        return;
    }
    if (!map_remove(&check->timers_added, id))
        (void)map_put(&check->timers_removed, id, check); /* nothing is replaced: it was pending */
}

void apply_cancel_timer(struct command_apply *apply, const Api__Command *command)
{
    const Api__CancelTimerCommandAttributes *cancel = command->cancel_timer_command_attributes;
    const struct timer *timer = run_timer(apply->run, bytes_of(cancel->timer_id));
    CHECK(timer);
    Api__HistoryEvent *event =
        command_event(apply, command, API__EVENT_TYPE__EVENT_TYPE_TIMER_CANCELED);
    Api__TimerCanceledEventAttributes *canceled = event->timer_canceled_event_attributes;
    canceled->timer_id = cancel->timer_id;
    canceled->started_event_id = timer->started_event_id;
    canceled->workflow_task_completed_event_id = apply->completed_event_id;
    canceled->identity = event_text(apply->identity);
    decision_append(apply->d, apply->run, event);
}
