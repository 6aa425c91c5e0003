/* SPDX-License-Identifier: Apache-2.0
 *
 * Offers and polls, first come first served on both sides.
 *
 * Invariants:
 *  M1  A queue never holds tasks and polls at once.
 *  M2  A parked poll is in its queue's list and in the deadline heap, and its call is watched. It
 *      leaves all three at once (poll_take). When its client went away in that moment, the notice
 *      is on its way: then the poll belongs to nobody until it arrives, and ends there
 *      (poll_watched).
 *  M3  backlog_bytes is the sum over waiting tasks. Queries do not count: a query that was dropped
 *      would only be missed at its deadline, and calls bound their number.
 *
 * When the bound is reached, queues that nobody serves give way first: their tasks are asked for
 * again when somebody polls them. Only when there are none is the new task dropped.
 */
#include <string.h>

#include "cluster/base/mem.h"
#include "cluster/matching/matching_private.h"

#define STEP_MAILS     1024
#define STEP_DEADLINES 1024
#define STEP_QUEUES    64

static int64_t now_mono_ns(const struct matching *matching)
{
    return env_monotonic_ns(matching->env);
}

static void open_metrics(struct matching *matching, struct metrics *metrics)
{
    matching->metrics.backlog_tasks = metrics_gauge(
        metrics, "strait_matching_backlog_tasks", NULL, "Tasks that wait for a worker.");
    matching->metrics.backlog_bytes = metrics_gauge(
        metrics, "strait_matching_backlog_bytes", NULL, "Memory held by tasks that wait.");
    matching->metrics.polls =
        metrics_gauge(metrics, "strait_matching_parked_polls", NULL, "Polls that wait for a task.");
    matching->metrics.matched =
        metrics_counter(metrics, "strait_matching_matched_total", NULL, "Tasks handed to a poll.");
    matching->metrics.dropped = metrics_counter(metrics, "strait_matching_dropped_total", NULL,
        "Tasks dropped because the backlog was full.");
    matching->metrics.fallbacks = metrics_counter(metrics, "strait_matching_sticky_fallbacks_total",
        NULL, "Sticky tasks sent to their normal queue.");
    matching->metrics.wait_seconds = metrics_histogram(metrics, "strait_matching_wait_seconds",
        NULL, "Time from the offer of a task to its poll.", 1);
}

enum err matching_open(const struct matching_options *options, struct matching **ret)
{
    if (options->backlog_bytes_max == 0)
        return ERR_CONFIG;
    struct matching *matching = mem_new(struct matching);
    matching->env = options->env;
    matching->sink = options->sink;
    matching->backlog_bytes_max = options->backlog_bytes_max;
    matching->mailbox = mailbox_open(matching, options->waker, MAILBOX_DEFAULT);
    queue_table_init(&matching->table);
    heap_init(&matching->deadlines);
    map_init(&matching->losses);
    list_init(&matching->loss_order);
    open_metrics(matching, options->metrics);
    *ret = matching;
    return OK;
}

struct mailbox *matching_mailbox(struct matching *matching)
{
    return matching->mailbox;
}

/* ---- tasks --------------------------------------------------------------------------------- */

static size_t counted_bytes(const struct task *task)
{
    return task->kind == TASK_QUERY ? 0 : task_bytes(task);
}

static void task_enqueue(struct matching *matching, struct task_queue *queue, struct task *task)
{
    queue_add_task(&matching->table, queue, task);
    matching->backlog_bytes += counted_bytes(task);
    gauge_add(matching->metrics.backlog_tasks, 1);
    queue_settle(&matching->table, queue, 0);
}

static void task_dequeue(struct matching *matching, struct task_queue *queue, struct task *task)
{
    queue_remove_task(queue, task);
    CHECK(matching->backlog_bytes >= counted_bytes(task));
    matching->backlog_bytes -= counted_bytes(task);
    gauge_add(matching->metrics.backlog_tasks, -1);
}

/* Makes room at the cost of queues that nobody serves; false when there is none to be had. */
static bool make_room(
    struct matching *matching, const struct task_queue *queue, size_t bytes, int64_t now_ns)
{
    while (matching->backlog_bytes + bytes > matching->backlog_bytes_max) {
        struct task_queue *victim = queue_unserved(&matching->table, now_ns);
        if (!victim || victim == queue)
            return false;
        struct task *task = CONTAINER_OF(victim->tasks.prev, struct task, link);
        task_dequeue(matching, victim, task);
        task_free(task);
        counter_add(matching->metrics.dropped, 1);
        victim->lost = true; /* so it is not forgotten either */
    }
    return true;
}

static void task_drop(
    struct matching *matching, struct task_queue *queue, struct task *task, int64_t now_ns)
{
    struct uuid namespace_id = task->namespace_id;
    task_free(task);
    counter_add(matching->metrics.dropped, 1);
    queue->lost = true;
    if (queue_is_deserted(queue, now_ns))
        return;
    queue->lost = false; /* served: the namespace's loss covers it */
    if (loss_note(matching, namespace_id, now_ns))
        matching->sink.overflow(matching->sink.ctx, namespace_id);
}

/* ---- polls --------------------------------------------------------------------------------- */

static void poll_unlink(struct matching *matching, struct poll *poll)
{
    CHECK(poll->parked != NULL);
    list_remove(&poll->link);
    heap_remove(&matching->deadlines, &poll->deadline);
    poll->parked->poll_count--;
    poll->parked = NULL;
    gauge_add(matching->metrics.polls, -1);
}

/* Takes a parked poll out. False: its client has gone, and the notice will end it (M2). */
static bool poll_take(struct matching *matching, struct poll *poll)
{
    struct task_queue *queue = poll->parked;
    poll_unlink(matching, poll);
    if (call_unwatch(poll->call)) {
        queue->polled_ns = now_mono_ns(matching);
        return true;
    }
    matching->leaving++;
    return false;
}

static void poll_end(struct matching *matching, struct poll *poll)
{
    matching->sink.poll_empty(matching->sink.ctx, poll);
}

/* The client went away. */
static void poll_watched(struct mail *mail, void *owner)
{
    struct matching *matching = owner;
    struct poll *poll = CONTAINER_OF(mail, struct poll, watch);
    struct task_queue *queue = poll->parked;
    if (queue) {
        poll_unlink(matching, poll);
        queue_settle(&matching->table, queue, now_mono_ns(matching));
    } else {
        CHECK(matching->leaving > 0);
        matching->leaving--;
    }
    poll_end(matching, poll);
}

static void poll_park(struct matching *matching, struct task_queue *queue, struct poll *poll)
{
    if (poll->front)
        list_push_front(&queue->polls, &poll->link);
    else
        list_push_back(&queue->polls, &poll->link);
    queue->poll_count++;
    poll->parked = queue;
    heap_set(&matching->deadlines, &poll->deadline, poll->deadline_mono_ns);
    gauge_add(matching->metrics.polls, 1);
    queue_settle(&matching->table, queue, 0);
    poll->watch.deliver = poll_watched;
    call_watch(poll->call, matching->mailbox, &poll->watch);
}

/* ---- meeting ------------------------------------------------------------------------------- */

static void hand_over(struct matching *matching, struct task_queue *queue, struct task *task,
    struct poll *poll, int64_t now_ns)
{
    rate_add(&queue->dispatched, now_ns);
    counter_add(matching->metrics.matched, 1);
    histogram_observe(
        matching->metrics.wait_seconds, (double)(now_ns - task->offered_ns) / (double)NS_PER_S);
    matching->sink.matched(matching->sink.ctx, task, poll);
}

/* The longest parked poll whose client is still there; NULL when there is none. */
static struct poll *take_poll(struct matching *matching, struct task_queue *queue)
{
    while (!list_empty(&queue->polls)) {
        struct poll *poll = CONTAINER_OF(queue->polls.next, struct poll, link);
        if (poll_take(matching, poll))
            return poll;
    }
    return NULL;
}

static struct task_queue *queue_for(struct matching *matching, struct task *task, int64_t now_ns)
{
    struct task_queue *queue =
        queue_find(&matching->table, task->kind, &task->namespace_id, bytes_of(task->queue));
    if (task->sticky && (!queue || queue_is_deserted(queue, now_ns))) {
        task->sticky = false;
        task->queue = task->normal_queue;
        counter_add(matching->metrics.fallbacks, 1);
        queue = NULL;
    }
    if (!queue)
        queue = queue_get(&matching->table, task->kind, &task->namespace_id, bytes_of(task->queue));
    return queue;
}

static void accept_task(struct matching *matching, struct task *task, int64_t now_ns)
{
    struct task_queue *queue = queue_for(matching, task, now_ns);
    rate_add(&queue->added, now_ns);
    struct poll *poll = take_poll(matching, queue);
    size_t bytes = counted_bytes(task);
    if (poll)
        hand_over(matching, queue, task, poll, now_ns);
    else if (bytes == 0 || make_room(matching, queue, bytes, now_ns))
        task_enqueue(matching, queue, task);
    else
        task_drop(matching, queue, task, now_ns);
    queue_settle(&matching->table, queue, now_ns);
}

static void deliver_task(struct mail *mail, void *owner)
{
    struct matching *matching = owner;
    accept_task(matching, CONTAINER_OF(mail, struct task, mail), now_mono_ns(matching));
}

void matching_offer(struct matching *matching, struct task *task)
{
    task->mail.deliver = deliver_task;
    task->offered_ns = now_mono_ns(matching);
    /* Not subject to the mailbox's capacity: an offer follows a commit of its run, which takes far
     * longer than what is done with the offer here. */
    mailbox_complete(matching->mailbox, &task->mail);
}

static void deliver_poll(struct mail *mail, void *owner)
{
    struct matching *matching = owner;
    struct poll *poll = CONTAINER_OF(mail, struct poll, mail);
    int64_t now_ns = now_mono_ns(matching);
    if (matching->draining || poll->deadline_mono_ns <= now_ns || call_is_cancelled(poll->call)) {
        poll_end(matching, poll);
        return;
    }
    struct task_queue *queue =
        queue_get(&matching->table, poll->kind, &poll->namespace_id, bytes_of(poll->queue));
    queue_saw_poll(&matching->table, queue, poll, now_ns, env_wall_ns(matching->env));
    if (queue->lost) {
        queue->lost = false;
        (void)loss_note(matching, poll->namespace_id, now_ns); /* it may be known already */
    }
    if (queue->task_count) {
        struct task *task = CONTAINER_OF(queue->tasks.next, struct task, link);
        task_dequeue(matching, queue, task);
        hand_over(matching, queue, task, poll, now_ns);
    } else {
        poll_park(matching, queue, poll);
    }
    queue_settle(&matching->table, queue, now_ns);
}

enum err matching_poll(struct matching *matching, struct poll *poll, bool front)
{
    CHECK(poll->kind != TASK_QUERY);
    poll->mail.deliver = deliver_poll;
    poll->front = front;
    return mailbox_post(matching->mailbox, &poll->mail);
}

/* ---- control ------------------------------------------------------------------------------- */

/* Something rare that somebody wants of matching. */
struct control {
    struct mail mail;
    struct uuid namespace_id;
    struct bytes queue; /* behind the struct */
    struct bytes key;   /* behind the struct */
};

static void control_post(struct matching *matching, mail_deliver_fn *deliver,
    struct uuid namespace_id, struct bytes queue, struct bytes key)
{
    struct control *control = mem_zalloc(1, sizeof(*control) + queue.len + key.len);
    uint8_t *copy = (uint8_t *)(control + 1);
    if (queue.len)
        memcpy(copy, queue.data, queue.len);
    control->queue = bytes_make(copy, queue.len);
    if (key.len)
        memcpy(copy + queue.len, key.data, key.len);
    control->key = bytes_make(copy + queue.len, key.len);
    control->namespace_id = namespace_id;
    control->mail.deliver = deliver;
    mailbox_complete(matching->mailbox, &control->mail); /* rare: no capacity needed */
}

static void end_polls_of_worker(
    struct matching *matching, struct task_queue *queue, struct bytes instance_key)
{
    struct list *node = queue->polls.next;
    while (node != &queue->polls) {
        struct poll *poll = CONTAINER_OF(node, struct poll, link);
        node = node->next;
        if (bytes_equal(bytes_of(poll->worker_instance_key), instance_key) &&
            poll_take(matching, poll))
            poll_end(matching, poll);
    }
}

static void deliver_worker_shutdown(struct mail *mail, void *owner)
{
    struct matching *matching = owner;
    struct control *control = CONTAINER_OF(mail, struct control, mail);
    struct task_queue *queue =
        queue_find(&matching->table, TASK_WORKFLOW, &control->namespace_id, control->queue);
    if (queue) {
        int64_t now_ns = now_mono_ns(matching);
        queue->gone = true;
        if (control->key.len)
            end_polls_of_worker(matching, queue, control->key);
        struct list waiting;
        list_init(&waiting);
        while (queue->task_count) {
            struct task *task = CONTAINER_OF(queue->tasks.next, struct task, link);
            task_dequeue(matching, queue, task);
            list_push_back(&waiting, &task->link);
        }
        while (!list_empty(&waiting))
            accept_task(
                matching, CONTAINER_OF(list_pop_front(&waiting), struct task, link), now_ns);
        queue_settle(&matching->table, queue, now_ns);
    }
    mem_free(control);
}

void matching_worker_shutdown(struct matching *matching, struct uuid namespace_id,
    struct bytes sticky_queue, struct bytes worker_instance_key)
{
    if (sticky_queue.len)
        control_post(
            matching, deliver_worker_shutdown, namespace_id, sticky_queue, worker_instance_key);
}

static void drop_tasks(struct matching *matching, struct task_queue *queue)
{
    struct list *node = queue->tasks.next;
    while (node != &queue->tasks) {
        struct task *task = CONTAINER_OF(node, struct task, link);
        node = node->next;
        if (task->kind == TASK_QUERY)
            continue; /* queries are served by passive clusters too */
        task_dequeue(matching, queue, task);
        task_free(task);
    }
}

static void deliver_drop_namespace(struct mail *mail, void *owner)
{
    struct matching *matching = owner;
    struct control *control = CONTAINER_OF(mail, struct control, mail);
    int64_t now_ns = now_mono_ns(matching);
    size_t cursor = 0;
    for (struct task_queue *queue = map_next(&matching->table.queues, &cursor); queue;
         queue = map_next(&matching->table.queues, &cursor)) {
        if (!queue_is_of(queue, &control->namespace_id))
            continue;
        drop_tasks(matching, queue);
        queue->lost = false;
        queue_settle(&matching->table, queue, now_ns);
    }
    loss_forget(matching, control->namespace_id);
    mem_free(control);
}

void matching_drop_namespace(struct matching *matching, struct uuid namespace_id)
{
    struct bytes none = {0};
    control_post(matching, deliver_drop_namespace, namespace_id, none, none);
}

static void deliver_lost(struct mail *mail, void *owner)
{
    struct matching *matching = owner;
    struct task *task = CONTAINER_OF(mail, struct task, mail);
    (void)loss_note(matching, task->namespace_id, now_mono_ns(matching)); /* or known already */
    task_free(task);
}

void matching_lose(struct matching *matching, struct task *task)
{
    task->mail.deliver = deliver_lost;
    mailbox_complete(matching->mailbox, &task->mail);
}

static void deliver_drain(struct mail *mail, void *owner)
{
    struct matching *matching = owner;
    struct control *control = CONTAINER_OF(mail, struct control, mail);
    matching->draining = true;
    struct heap_node *node;
    while ((node = heap_peek(&matching->deadlines)) != NULL) {
        struct poll *poll = CONTAINER_OF(node, struct poll, deadline);
        if (poll_take(matching, poll))
            poll_end(matching, poll);
    }
    mem_free(control);
}

void matching_drain(struct matching *matching)
{
    struct uuid no_namespace = {{0}};
    struct bytes none = {0};
    control_post(matching, deliver_drain, no_namespace, none, none);
}

/* ---- step ---------------------------------------------------------------------------------- */

/* Ends polls whose time is over; returns when the next one's is. */
static int64_t expire_polls(struct matching *matching, int64_t now_ns)
{
    for (size_t i = 0; i < STEP_DEADLINES; i++) {
        struct heap_node *node = heap_peek(&matching->deadlines);
        if (!node)
            return INT64_MAX;
        if (node->key > now_ns)
            return node->key;
        struct poll *poll = CONTAINER_OF(node, struct poll, deadline);
        struct task_queue *queue = poll->parked;
        if (poll_take(matching, poll))
            poll_end(matching, poll);
        queue_settle(&matching->table, queue, now_ns);
    }
    return now_ns;
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t matching_step(struct matching *matching, int64_t now_ns)
{
    size_t mails = mailbox_step(matching->mailbox, STEP_MAILS);
    int64_t next = expire_polls(matching, now_ns);
    next = earlier(next, loss_step(matching, now_ns));
    next = earlier(next, queue_table_step(&matching->table, now_ns, STEP_QUEUES));
    gauge_set(matching->metrics.backlog_bytes, (double)matching->backlog_bytes);
    return mails == STEP_MAILS ? now_ns : next;
}

void matching_close(struct matching *matching)
{
    if (!matching)
        return;
    while (mailbox_step(matching->mailbox, STEP_MAILS) > 0) {
    }
    CHECK(matching->deadlines.count == 0);
    CHECK(matching->leaving == 0);
    mailbox_close(matching->mailbox, NULL);
    size_t cursor = 0;
    for (struct task_queue *queue = map_next(&matching->table.queues, &cursor); queue;
         queue = map_next(&matching->table.queues, &cursor)) {
        while (queue->task_count) {
            struct task *task = CONTAINER_OF(queue->tasks.next, struct task, link);
            task_dequeue(matching, queue, task);
            task_free(task);
        }
    }
    queue_table_release(&matching->table);
    loss_release(matching);
    heap_release(&matching->deadlines);
    mem_free(matching);
}
