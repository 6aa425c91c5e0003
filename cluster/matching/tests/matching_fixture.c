/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/matching/tests/matching_fixture.h"

#include <stdio.h>
#include <string.h>

#include "cluster/base/mem.h"

#define CLIENTS_MAX 4096
#define BACKLOG_MAX (64u * 1024u)

struct world *world;
static struct client *clients[CLIENTS_MAX];
static size_t client_count;

/* ---- calls ---------------------------------------------------------------------------------- */

static struct client *client_of(struct call *call)
{
    return CONTAINER_OF(call, struct client, call);
}

static void end(struct call *call)
{
    struct client *client = client_of(call);
    assert_false(client->ended);
    assert_null(client->watch);
    assert_false(client->notice_held); /* its memory would be gone */
    client->ended = true;
}

static void reply(struct call *call, struct bytes body)
{
    assert_int_equal(body.len, 0);
    end(call);
}

static void end_failed(struct call *call, enum grpc_code code, const char *message,
    const char *detail_type, struct bytes detail)
{
    (void)code;
    (void)message;
    (void)detail_type;
    (void)detail;
    end(call);
}

static bool is_cancelled(struct call *call)
{
    return client_of(call)->gone;
}

static void watch(struct call *call, struct mailbox *mailbox, struct mail *mail)
{
    struct client *client = client_of(call);
    assert_null(client->watch);
    if (client->gone) {
        mailbox_complete(mailbox, mail);
        return;
    }
    client->mailbox = mailbox;
    client->watch = mail;
}

static bool unwatch(struct call *call)
{
    struct client *client = client_of(call);
    if (client->gone)
        return false;
    client->watch = NULL;
    return true;
}

static const struct call_ops ops = {reply, end_failed, is_cancelled, watch, unwatch};

/* ---- sink ----------------------------------------------------------------------------------- */

static void matched(void *ctx, struct task *task, struct poll *poll)
{
    struct world *w = ctx;
    struct client *client = CONTAINER_OF(poll, struct client, poll);
    buffer_printf(&w->trace, "%s%.*s=%s", w->trace.len ? " " : "", (int)task->workflow_id_len,
        task->workflow_id, client->name);
    assert_false(client->ended);
    if (w->held_count < ARRAY_LEN(w->held))
        w->held[w->held_count++] = task;
    else
        task_free(task);
}

static void poll_empty(void *ctx, struct poll *poll)
{
    struct world *w = ctx;
    struct client *client = CONTAINER_OF(poll, struct client, poll);
    buffer_printf(&w->trace, "%s-%s", w->trace.len ? " " : "", client->name);
    call_reply(poll->call, (struct bytes){0});
}

static void overflow(void *ctx, struct uuid namespace_id)
{
    (void)namespace_id;
    ((struct world *)ctx)->overflows++;
}

static void room(void *ctx, struct uuid namespace_id)
{
    (void)namespace_id;
    ((struct world *)ctx)->rooms++;
}

/* ---- world ---------------------------------------------------------------------------------- */

static int64_t now(void *ctx)
{
    return ((struct world *)ctx)->now_ns;
}

int world_setup(void **state)
{
    (void)state;
    world = mem_new(struct world);
    world->now_ns = 1000 * NS_PER_S;
    world->env = (struct env){world, now, now, NULL};
    world->metrics = metrics_open();
    struct matching_options options = {.env = &world->env,
        .metrics = world->metrics,
        .sink = {world, matched, poll_empty, overflow, room},
        .backlog_bytes_max = BACKLOG_MAX};
    assert_int_equal(matching_open(&options, &world->matching), OK);
    return 0;
}

int world_teardown(void **state)
{
    (void)state;
    matching_drain(world->matching);
    world_step();
    matching_close(world->matching);
    for (size_t i = 0; i < world->held_count; i++)
        task_free(world->held[i]);
    for (size_t i = 0; i < client_count; i++) {
        arena_release(&clients[i]->call.arena);
        mem_free(clients[i]);
    }
    client_count = 0;
    buffer_release(&world->trace);
    metrics_close(world->metrics);
    mem_free(world);
    return 0;
}

void world_step(void)
{
    do
        (void)matching_step(world->matching, world->now_ns);
    while (!mailbox_empty(matching_mailbox(world->matching)));
}

void world_advance_ms(int64_t ms)
{
    world->now_ns += ms * NS_PER_MS;
    world_step();
}

const char *world_trace(void)
{
    static char text[4096];
    assert_true(world->trace.len < sizeof(text));
    if (world->trace.len)
        memcpy(text, world->trace.data, world->trace.len);
    text[world->trace.len] = 0;
    buffer_clear(&world->trace);
    return text;
}

struct uuid namespace_of(int n)
{
    struct uuid id = {{0}};
    id.bytes[0] = (uint8_t)n;
    return id;
}

void offer(const char *name, enum task_kind kind, const char *queue, const char *normal)
{
    matching_offer(world->matching,
        task_new(kind, namespace_of(1), bytes_of(name), namespace_of(9), 0, 5, 1, queue, normal));
    world_step();
}

void offer_in(int n, const char *name, const char *queue)
{
    matching_offer(world->matching, task_new(TASK_WORKFLOW, namespace_of(n), bytes_of(name),
                                        namespace_of(9), 0, 5, 1, queue, NULL));
    world_step();
}

/* ---- clients -------------------------------------------------------------------------------- */

static struct client *client_new(const char *name, enum task_kind kind, const char *queue)
{
    assert_true(client_count < CLIENTS_MAX);
    struct client *client = mem_new(struct client);
    clients[client_count++] = client;
    (void)snprintf(client->name, sizeof(client->name), "%s", name);
    client->call.ops = &ops;
    client->call.deadline_mono_ns = INT64_MAX;
    client->poll = (struct poll){.call = &client->call,
        .kind = kind,
        .namespace_id = namespace_of(1),
        .queue = queue,
        .normal_queue = "",
        .identity = client->name,
        .worker_instance_key = "",
        .build_id = "",
        .deadline_mono_ns = world->now_ns + 60 * NS_PER_S};
    return client;
}

struct client *client_poll(const char *name, enum task_kind kind, const char *queue)
{
    struct client *client = client_new(name, kind, queue);
    assert_int_equal(matching_poll(world->matching, &client->poll, false), OK);
    world_step();
    return client;
}

struct client *client_poll_sticky(const char *name, const char *queue, const char *key)
{
    struct client *client = client_new(name, TASK_WORKFLOW, queue);
    client->poll.sticky = true;
    client->poll.normal_queue = "normal";
    client->poll.worker_instance_key = key;
    assert_int_equal(matching_poll(world->matching, &client->poll, false), OK);
    world_step();
    return client;
}

void client_leave_quietly(struct client *client)
{
    client->gone = true;
    client->notice_held = client->watch != NULL;
}

void client_deliver_notice(struct client *client)
{
    assert_true(client->notice_held);
    struct mail *mail = client->watch;
    client->watch = NULL;
    client->notice_held = false;
    mailbox_complete(client->mailbox, mail);
    world_step();
}

void client_leave(struct client *client)
{
    client_leave_quietly(client);
    client_deliver_notice(client);
}

void client_give_back(struct client *client)
{
    assert_int_equal(matching_poll(world->matching, &client->poll, true), OK);
    world_step();
}
