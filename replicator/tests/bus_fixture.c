/* SPDX-License-Identifier: Apache-2.0
 *
 * $NATS_SERVER names the server binary to test with; default: what nats_process finds.
 */
#include "replicator/tests/bus_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/base/env.h"
#include "cluster/base/limits.h"
#include "cluster/base/mem.h"
#include "cluster/base/tests/support_cmocka.h"
#include "replicator/bus_memory.h"

#define PATIENCE_NS (60 * NS_PER_S)
#define QUIET_NS    (200 * NS_PER_MS)

static int64_t real_now_ns(void)
{
    return env_monotonic_ns(env_system());
}

size_t world_move(struct world *world, size_t max)
{
    size_t moved = world->memory ? bus_memory_step(world->hub, world->now_ns) : 0;
    return moved + mailbox_step(world->mailbox, max);
}

void world_until(struct world *world, bool (*done)(void *ctx), void *ctx)
{
    int64_t give_up_ns = real_now_ns() + PATIENCE_NS;
    while (!done(ctx)) {
        if (real_now_ns() > give_up_ns)
            fail_msg("the wait took too long");
        if (world_move(world, SIZE_MAX) > 0)
            continue;
        if (!world->memory) {
            waker_wait(world->waker, 20 * NS_PER_MS);
            continue;
        }
        int64_t due_ns = bus_memory_due_ns(world->hub);
        if (due_ns == INT64_MAX)
            fail_msg("nothing will ever happen");
        world->now_ns = due_ns > world->now_ns ? due_ns : world->now_ns + 1;
    }
}

static bool past(void *ctx)
{
    return real_now_ns() >= *(int64_t *)ctx;
}

void world_quiet(struct world *world)
{
    if (world->memory) {
        while (world_move(world, SIZE_MAX) > 0)
            continue;
        return;
    }
    int64_t until_ns = real_now_ns() + QUIET_NS;
    world_until(world, past, &until_ns);
}

/* ---- broker ---- */

static void start_server(struct world *world, uint16_t port)
{
    const struct nats_process_options options = {
        .dir = world->dir,
        .binary = getenv("NATS_SERVER"),
        .port = port,
        .extra = world->extra,
    };
    char reason[256];
    if (nats_process_start(&options, &world->server, reason) != OK)
        fail_msg("%s", reason);
}

struct world *world_open(bool memory, const char *extra)
{
    struct world *world = mem_new(struct world);
    world->memory = memory;
    world->extra = extra;
    world->waker = waker_open();
    world->mailbox = mailbox_open(world, world->waker, RECEIVED_MAX);
    world->now_ns = NS_PER_S;
    if (memory) {
        world->hub = bus_memory_hub_open();
    } else {
        (void)snprintf(world->dir, sizeof(world->dir), "%s/strait-bus-XXXXXX", P_tmpdir);
        assert_non_null(mkdtemp(world->dir));
        start_server(world, 0);
    }
    world->bus = world_connect(world);
    return world;
}

static void drop_mail(struct mail *mail)
{
    bus_msg_drop(CONTAINER_OF(mail, struct bus_msg, mail));
}

static void remove_dir(const char *dir)
{
    char command[128];
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    assert_int_equal(system(command), 0);
}

void world_disconnect_all(struct world *world)
{
    while (world->connection_count > 0)
        bus_close(world->connections[--world->connection_count]);
}

void world_close(struct world *world)
{
    world_disconnect_all(world);
    mailbox_close(world->mailbox, drop_mail);
    waker_close(world->waker);
    if (world->memory) {
        bus_memory_hub_close(world->hub);
    } else {
        nats_process_stop(world->server);
        remove_dir(world->dir);
    }
    mem_free(world);
}

static bool all_connected(void *ctx)
{
    struct world *world = ctx;
    for (size_t i = 0; i < world->connection_count; i++) {
        if (!bus_connected(world->connections[i]))
            return false;
    }
    return true;
}

struct bus *world_connect(struct world *world)
{
    assert_in_range(world->connection_count, 0, CONNECTIONS_MAX - 1);
    struct bus *bus;
    if (world->memory) {
        bus = bus_memory_open(world->hub);
    } else {
        const struct bus_nats_options options = {.url = nats_process_url(world->server)};
        char reason[256];
        assert_int_equal(bus_nats_open(&options, &bus, reason), OK);
    }
    world->connections[world->connection_count++] = bus;
    world_until(world, all_connected, world);
    return bus;
}

static bool none_connected(void *ctx)
{
    struct world *world = ctx;
    for (size_t i = 0; i < world->connection_count; i++) {
        if (bus_connected(world->connections[i]))
            return false;
    }
    return true;
}

void world_crash(struct world *world)
{
    if (world->memory) {
        for (size_t i = 0; i < world->connection_count; i++)
            bus_memory_set_connected(world->connections[i], false);
        return;
    }
    uint16_t port = nats_process_port(world->server);
    nats_process_kill(world->server);
    world->server = NULL;
    world->now_ns = port; /* unused otherwise with a real server */
    world_until(world, none_connected, world);
}

void world_restart(struct world *world)
{
    if (world->memory) {
        for (size_t i = 0; i < world->connection_count; i++)
            bus_memory_set_connected(world->connections[i], true);
        return;
    }
    start_server(world, (uint16_t)world->now_ns);
    world_until(world, all_connected, world);
}

void world_delete_stream(struct world *world, const char *name)
{
    if (world->memory) {
        bus_memory_delete_stream(world->hub, name);
        return;
    }
    char subject[128];
    (void)snprintf(subject, sizeof(subject), "$JS.API.STREAM.DELETE.%s", name);
    struct test_op op;
    test_op_init(world, &op);
    struct blob *body = blob_from(bytes_of(""));
    bus_request(world->bus, subject, body, 5 * NS_PER_S, &op.op);
    blob_unref(body);
    assert_int_equal(test_op_await(world, &op), OK);
    assert_non_null(memmem(op.op.reply->data, op.op.reply->len, "\"success\":true", 14));
    blob_unref(op.op.reply);
}

/* ---- operations ---- */

static void op_ended(struct mail *mail, void *owner)
{
    (void)owner;
    struct bus_op *op = CONTAINER_OF(mail, struct bus_op, mail);
    CONTAINER_OF(op, struct test_op, op)->ends++;
}

void test_op_init(struct world *world, struct test_op *op)
{
    *op = (struct test_op){.op.mail.deliver = op_ended, .op.reply_to = world->mailbox};
}

static bool op_done(void *ctx)
{
    return ((struct test_op *)ctx)->ends > 0;
}

enum err test_op_await(struct world *world, struct test_op *op)
{
    world_until(world, op_done, op);
    assert_int_equal(op->ends, 1);
    return op->op.err;
}

enum err publish_text(struct world *world, const char *subject, const char *text)
{
    struct test_op op;
    test_op_init(world, &op);
    struct blob *data = blob_from(bytes_of(text));
    bus_publish(world->bus, subject, data, &op.op);
    blob_unref(data);
    return test_op_await(world, &op);
}

void make_stream_again(struct world *world, const char *name, int64_t bytes_max, bool work_queue)
{
    char subjects[64];
    (void)snprintf(subjects, sizeof(subjects), "%s.>", name);
    const struct bus_stream stream = {
        .name = name,
        .subjects = subjects,
        .bytes_max = bytes_max,
        .replicas = 1,
        .work_queue = work_queue,
    };
    struct test_op op;
    test_op_init(world, &op);
    bus_ensure_stream(world->bus, &stream, &op.op);
    assert_int_equal(test_op_await(world, &op), OK);
}

const char *make_stream(struct world *world, int64_t bytes_max, bool work_queue)
{
    static char name[32];
    (void)snprintf(name, sizeof(name), "S%u", ++world->names);
    make_stream_again(world, name, bytes_max, work_queue);
    return name;
}

/* ---- receiving ---- */

struct receiver *receiver_make(void)
{
    struct receiver *receiver = mem_new(struct receiver);
    receiver->number_max = -1;
    return receiver;
}

void receiver_free(struct receiver *receiver)
{
    for (size_t i = 0; i < receiver->count; i++)
        bus_msg_drop(receiver->kept[i]);
    mem_free(receiver);
}

void receiver_deliver(struct mail *mail, void *owner)
{
    (void)owner;
    struct bus_msg *msg = CONTAINER_OF(mail, struct bus_msg, mail);
    struct receiver *receiver = msg->ctx;
    assert_in_range(receiver->count, 0, RECEIVED_MAX - 1);
    size_t at = receiver->count++;
    size_t len = msg->data.len < 15 ? msg->data.len : 15;
    if (len > 0)
        memcpy(receiver->text[at], msg->data.data, len);
    receiver->deliveries[at] = msg->deliveries;
    receiver->seqs[at] = msg->stream_seq;
    int64_t number = atoll(receiver->text[at]);
    if (number > receiver->number_max)
        receiver->number_max = number;
    if (receiver->answer && msg->wants_reply)
        bus_respond(msg, bytes_of(receiver->answer));
    else if (receiver->ack)
        bus_ack(msg);
    else
        receiver->kept[at] = msg;
}

bool receiver_has(void *ctx)
{
    const struct receiver *receiver = ctx;
    return receiver->count >= receiver->wanted;
}

void receiver_await(struct world *world, struct receiver *receiver, size_t count)
{
    receiver->wanted = count;
    world_until(world, receiver_has, receiver);
}

struct bus_subscription *consume(struct world *world, struct bus *bus, const char *stream,
    const char *durable, uint32_t window, int64_t ack_wait_ns, struct receiver *receiver)
{
    const struct bus_consumer_options options = {
        .stream = stream,
        .durable = durable,
        .window_messages = window,
        .ack_wait_ns = ack_wait_ns,
        .mailbox = world->mailbox,
        .deliver = receiver_deliver,
        .ctx = receiver,
    };
    struct bus_subscription *subscription;
    assert_int_equal(bus_consume(bus, &options, &subscription), OK);
    return subscription;
}

struct bus_subscription *subscribe(struct world *world, struct bus *bus, const char *subject,
    const char *queue, struct receiver *receiver)
{
    struct bus_subscription *subscription;
    assert_int_equal(bus_subscribe(bus, subject, queue, world->mailbox, receiver_deliver, receiver,
                         &subscription),
        OK);
    return subscription;
}
