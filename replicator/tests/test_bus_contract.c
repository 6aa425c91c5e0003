/* SPDX-License-Identifier: Apache-2.0
 *
 * One suite, both drivers: what bus.h promises.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/base/limits.h"
#include "cluster/base/log.h"
#include "cluster/base/mem.h"
#include "cluster/base/tests/support_cmocka.h"
#include "replicator/tests/bus_fixture.h"

#define LONG_NS (30 * NS_PER_S)

static int open_memory(void **state)
{
    *state = world_open(true, NULL);
    return 0;
}

static int open_nats(void **state)
{
    *state = world_open(false, NULL);
    return 0;
}

static int close_world(void **state)
{
    world_close(*state);
    return 0;
}

static struct blob *text_blob(const char *text)
{
    return blob_from(bytes_of(text));
}

static const char *subject_of(const char *stream)
{
    static char subject[64];
    (void)snprintf(subject, sizeof(subject), "%s.a.b", stream);
    return subject;
}

/** Starts `count` publishes of the numbers from `first`. */
static struct test_op *publish_numbers(
    struct world *world, const char *stream, unsigned first, unsigned count)
{
    struct test_op *ops = mem_zalloc(count, sizeof(*ops));
    for (unsigned i = 0; i < count; i++) {
        char text[16];
        (void)snprintf(text, sizeof(text), "%u", first + i);
        test_op_init(world, &ops[i]);
        struct blob *data = text_blob(text);
        bus_publish(world->bus, subject_of(stream), data, &ops[i].op);
        blob_unref(data);
    }
    return ops;
}

static void publish_all(struct world *world, const char *stream, unsigned first, unsigned count)
{
    struct test_op *ops = publish_numbers(world, stream, first, count);
    uint64_t seq = 0;
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(test_op_await(world, &ops[i]), OK);
        assert_true(ops[i].op.stream_seq > seq);
        seq = ops[i].op.stream_seq;
    }
    mem_free(ops);
}

static void published_messages_arrive_in_order(void **state)
{
    struct world *world = *state;
    const char *stream = make_stream(world, 64ll * MIB, false);
    struct receiver *receiver = receiver_make();
    receiver->ack = true;
    consume(world, world->bus, stream, "d", 100, LONG_NS, receiver);
    publish_all(world, stream, 0, 2000);
    receiver_await(world, receiver, 2000);
    for (unsigned i = 0; i < 2000; i++) {
        assert_int_equal(atoi(receiver->text[i]), i);
        assert_int_equal(receiver->seqs[i], i + 1);
        assert_int_equal(receiver->deliveries[i], 1);
    }
    world_quiet(world);
    assert_int_equal(receiver->count, 2000);
    world_disconnect_all(world);
    receiver_free(receiver);
}

static void a_nak_redelivers(void **state)
{
    struct world *world = *state;
    const char *stream = make_stream(world, MIB, true);
    struct receiver *receiver = receiver_make();
    /* The naks must be what brings the message back: the wait is longer than the test's patience
     * with them. */
    struct bus_subscription *subscription =
        consume(world, world->bus, stream, "d", 10, 100 * NS_PER_S, receiver);
    assert_int_equal(publish_text(world, subject_of(stream), "1"), OK);
    receiver_await(world, receiver, 1);
    bus_nak(receiver->kept[0], 0);
    receiver->kept[0] = NULL;
    receiver_await(world, receiver, 2);
    assert_int_equal(receiver->deliveries[1], 2);
    bus_nak(receiver->kept[1], 50 * NS_PER_MS);
    receiver->kept[1] = NULL;
    receiver_await(world, receiver, 3);
    assert_int_equal(receiver->deliveries[2], 3);
    assert_int_equal(receiver->seqs[2], 1);
    bus_nak(receiver->kept[2], 0);
    receiver->kept[2] = NULL;
    receiver_await(world, receiver, 4);
    bus_ack(receiver->kept[3]);
    receiver->kept[3] = NULL;
    bus_unsubscribe(world->bus, subscription);
    world_disconnect_all(world);
    receiver_free(receiver);
}

static void silence_redelivers(void **state)
{
    struct world *world = *state;
    const char *stream = make_stream(world, MIB, true);
    struct receiver *receiver = receiver_make();
    consume(world, world->bus, stream, "d", 10, NS_PER_S / 2, receiver);
    assert_int_equal(publish_text(world, subject_of(stream), "1"), OK);
    receiver_await(world, receiver, 1);
    bus_in_progress(receiver->kept[0]);
    bus_msg_drop(receiver->kept[0]);
    receiver->kept[0] = NULL;
    receiver_await(world, receiver, 2);
    assert_int_equal(receiver->deliveries[1], 2);
    assert_string_equal(receiver->text[1], "1");
    assert_int_equal(receiver->seqs[1], 1);
    bus_ack(receiver->kept[1]);
    receiver->kept[1] = NULL;
    world_quiet(world);
    assert_int_equal(receiver->count, 2);
    world_disconnect_all(world);
    receiver_free(receiver);
}

static void the_window_bounds_what_is_outstanding(void **state)
{
    struct world *world = *state;
    const char *stream = make_stream(world, MIB, true);
    struct receiver *receiver = receiver_make();
    consume(world, world->bus, stream, "d", 5, LONG_NS, receiver);
    publish_all(world, stream, 0, 20);
    receiver_await(world, receiver, 5);
    world_quiet(world);
    assert_int_equal(receiver->count, 5);
    for (size_t i = 0; i < 20; i++) {
        receiver_await(world, receiver, i + 1);
        bus_ack(receiver->kept[i]);
        receiver->kept[i] = NULL;
        assert_in_range(receiver->count, i, i + 5);
    }
    for (int i = 0; i < 20; i++)
        assert_int_equal(atoi(receiver->text[i]), i);
    world_disconnect_all(world);
    receiver_free(receiver);
}

static void a_full_mailbox_holds_messages_back(void **state)
{
    struct world *world = *state;
    const char *stream = make_stream(world, MIB, true);
    struct receiver *receiver = receiver_make();
    receiver->ack = true;
    struct mailbox *small = mailbox_open(NULL, world->waker, 3);
    const struct bus_consumer_options options = {
        .stream = stream,
        .durable = "d",
        .window_messages = 16,
        .ack_wait_ns = LONG_NS,
        .mailbox = small,
        .deliver = receiver_deliver,
        .ctx = receiver,
    };
    struct bus_subscription *subscription;
    assert_int_equal(bus_consume(world->bus, &options, &subscription), OK);
    publish_all(world, stream, 0, 100);
    while (receiver->count < 100) {
        receiver->wanted = receiver->count; /* nothing new comes without this mailbox */
        world_until(world, receiver_has, receiver);
        (void)world_move(world, 10);
        if (mailbox_step(small, 2) == 0)
            waker_wait(world->waker, world->memory ? 0 : NS_PER_MS);
    }
    for (int i = 0; i < 100; i++) {
        assert_int_equal(atoi(receiver->text[i]), i);
        assert_int_equal(receiver->deliveries[i], 1);
    }
    bus_unsubscribe(world->bus, subscription);
    world_disconnect_all(world);
    mailbox_close(small, NULL);
    receiver_free(receiver);
}

static bool reached(void *ctx)
{
    const struct receiver *receiver = ctx;
    return receiver->number_max >= (int64_t)receiver->wanted;
}

static void a_consumer_resumes_after_a_crash(void **state)
{
    struct world *world = *state;
    const char *stream = make_stream(world, 64ll * MIB, true);
    struct receiver *receiver = receiver_make();
    receiver->ack = true;
    consume(world, world->bus, stream, "d", 50, 2 * NS_PER_S, receiver);
    publish_all(world, stream, 0, 500);
    struct test_op *ops = publish_numbers(world, stream, 500, 500);
    world_crash(world);
    for (unsigned i = 0; i < 500; i++) {
        enum err err = test_op_await(world, &ops[i]);
        assert_true(err == OK || err == ERR_UNAVAILABLE);
    }
    assert_int_equal(publish_text(world, subject_of(stream), "0"), ERR_UNAVAILABLE);
    assert_int_equal(bus_send(world->bus, "x", bytes_of("y")), ERR_UNAVAILABLE);
    world_restart(world);
    publish_all(world, stream, 1000, 500);
    receiver->wanted = 1499;
    world_until(world, reached, receiver);
    world_quiet(world);
    for (unsigned i = 0; i < 500; i++)
        assert_int_equal(ops[i].ends, 1);
    mem_free(ops);
    /* Everything acknowledged to the publisher was received at least once. */
    bool *seen = mem_zalloc(1500, sizeof(*seen));
    for (size_t i = 0; i < receiver->count; i++)
        seen[atoi(receiver->text[i])] = true;
    for (unsigned i = 0; i < 500; i++)
        assert_true(seen[i]);
    for (unsigned i = 1000; i < 1500; i++)
        assert_true(seen[i]);
    mem_free(seen);
    world_disconnect_all(world);
    receiver_free(receiver);
}

static void a_deleted_stream_comes_back(void **state)
{
    struct world *world = *state;
    const char *stream = make_stream(world, MIB, true);
    struct receiver *receiver = receiver_make();
    receiver->ack = true;
    consume(world, world->bus, stream, "d", 10, LONG_NS, receiver);
    publish_all(world, stream, 0, 30);
    receiver_await(world, receiver, 30);
    for (unsigned round = 1; round <= 2; round++) {
        world_delete_stream(world, stream);
        assert_int_equal(publish_text(world, subject_of(stream), "x"), ERR_NOT_FOUND);
        make_stream_again(world, stream, MIB, true);
        publish_all(world, stream, 100 * round, 30);
        receiver->wanted = 100 * round + 29;
        world_until(world, reached, receiver);
    }
    world_disconnect_all(world);
    receiver_free(receiver);
}

static void a_full_stream_refuses_until_acknowledged(void **state)
{
    struct world *world = *state;
    const char *stream = make_stream(world, 64ll * KIB, true);
    char text[4096];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    enum err err = OK;
    size_t stored = 0;
    while ((err = publish_text(world, subject_of(stream), text)) == OK)
        stored++;
    assert_int_equal(err, ERR_BUSY);
    assert_in_range(stored, 8, 16);
    assert_int_equal(publish_text(world, subject_of(stream), text), ERR_BUSY);
    struct receiver *receiver = receiver_make();
    receiver->ack = true;
    consume(world, world->bus, stream, "d", 3, LONG_NS, receiver);
    receiver_await(world, receiver, stored);
    world_quiet(world);
    assert_int_equal(publish_text(world, subject_of(stream), text), OK);
    receiver_await(world, receiver, stored + 1);
    world_disconnect_all(world);
    receiver_free(receiver);
}

static enum err request_text(
    struct world *world, const char *subject, int64_t timeout_ns, char ret_answer[64])
{
    struct test_op op;
    test_op_init(world, &op);
    struct blob *data = text_blob("question");
    bus_request(world->bus, subject, data, timeout_ns, &op.op);
    blob_unref(data);
    enum err err = test_op_await(world, &op);
    if (!err)
        (void)snprintf(
            ret_answer, 64, "%.*s", (int)op.op.reply->len, (const char *)op.op.reply->data);
    blob_unref(op.op.reply);
    return err;
}

static void requests_are_answered_or_end(void **state)
{
    struct world *world = *state;
    struct bus *other = world_connect(world);
    struct receiver *service = receiver_make();
    service->answer = "answer";
    char text[64];
    assert_int_equal(request_text(world, "svc.echo", LONG_NS, text), ERR_NOT_FOUND);
    struct bus_subscription *subscription = subscribe(world, other, "svc.*", NULL, service);
    world_quiet(world);
    assert_int_equal(request_text(world, "svc.echo", LONG_NS, text), OK);
    assert_string_equal(text, "answer");
    assert_string_equal(service->text[0], "question");
    /* Nobody answers in time; a late answer changes nothing. */
    service->answer = NULL;
    assert_int_equal(request_text(world, "svc.slow", 50 * NS_PER_MS, text), ERR_TIMEOUT);
    assert_int_equal(service->count, 2);
    assert_true(service->kept[1]->wants_reply);
    bus_respond(service->kept[1], bytes_of("late"));
    service->kept[1] = NULL;
    world_quiet(world);
    bus_unsubscribe(other, subscription);
    world_quiet(world);
    assert_int_equal(request_text(world, "svc.echo", LONG_NS, text), ERR_NOT_FOUND);
    receiver_free(service);
}

static void broadcasts_and_groups(void **state)
{
    struct world *world = *state;
    struct bus *other = world_connect(world);
    struct receiver *all[2] = {receiver_make(), receiver_make()};
    struct receiver *group[2] = {receiver_make(), receiver_make()};
    subscribe(world, world->bus, "news.>", NULL, all[0]);
    struct bus_subscription *second = subscribe(world, other, "news.sport", NULL, all[1]);
    subscribe(world, world->bus, "news.*", "readers", group[0]);
    subscribe(world, other, "news.*", "readers", group[1]);
    world_quiet(world);
    for (int i = 0; i < 50; i++)
        assert_int_equal(bus_send(world->bus, "news.sport", bytes_of("goal")), OK);
    receiver_await(world, all[0], 50);
    receiver_await(world, all[1], 50);
    world_quiet(world);
    assert_int_equal(group[0]->count + group[1]->count, 50);
    assert_true(group[0]->count > 0);
    assert_true(group[1]->count > 0);
    assert_false(all[0]->kept[0]->wants_reply);
    assert_int_equal(all[0]->kept[0]->stream_seq, 0);
    assert_string_equal(all[0]->kept[0]->subject, "news.sport");
    bus_unsubscribe(other, second);
    assert_int_equal(bus_send(world->bus, "news.sport", bytes_of("")), OK);
    receiver_await(world, all[0], 51);
    world_quiet(world);
    assert_int_equal(all[1]->count, 50);
    for (int i = 0; i < 2; i++) {
        receiver_free(all[i]);
        receiver_free(group[i]);
    }
}

static void what_is_too_large_is_refused(void **state)
{
    struct world *world = *state;
    const char *stream = make_stream(world, 64ll * MIB, true);
    int64_t max = bus_payload_max(world->bus);
    assert_int_equal(max, MIB);
    struct blob *largest = blob_alloc((size_t)max);
    memset(largest->data, '7', largest->len);
    struct blob *larger = blob_alloc((size_t)max + 1);
    memset(larger->data, '8', larger->len);
    struct receiver *receiver = receiver_make();
    receiver->ack = true;
    consume(world, world->bus, stream, "d", 4, LONG_NS, receiver);
    struct test_op op;
    test_op_init(world, &op);
    bus_publish(world->bus, subject_of(stream), larger, &op.op);
    assert_int_equal(test_op_await(world, &op), ERR_TOO_LARGE);
    test_op_init(world, &op);
    bus_request(world->bus, "svc.x", larger, LONG_NS, &op.op);
    assert_int_equal(test_op_await(world, &op), ERR_TOO_LARGE);
    assert_int_equal(bus_send(world->bus, "x", blob_view(larger)), ERR_TOO_LARGE);
    test_op_init(world, &op);
    bus_publish(world->bus, subject_of(stream), largest, &op.op);
    assert_int_equal(test_op_await(world, &op), OK);
    receiver_await(world, receiver, 1);
    assert_string_equal(receiver->text[0], "777777777777777");
    blob_unref(largest);
    blob_unref(larger);
    world_disconnect_all(world);
    receiver_free(receiver);
}

static void a_consumer_may_come_before_its_stream(void **state)
{
    struct world *world = *state;
    struct receiver *receiver = receiver_make();
    receiver->ack = true;
    char name[32];
    (void)snprintf(name, sizeof(name), "S%u", world->names + 1);
    consume(world, world->bus, name, "d", 10, LONG_NS, receiver);
    world_quiet(world);
    const char *stream = make_stream(world, MIB, true);
    assert_string_equal(stream, name);
    publish_all(world, stream, 0, 10);
    receiver_await(world, receiver, 10);
    world_disconnect_all(world);
    receiver_free(receiver);
}

static void messages_and_operations_outlive_the_connection(void **state)
{
    struct world *world = *state;
    const char *stream = make_stream(world, MIB, true);
    struct receiver *receiver = receiver_make();
    consume(world, world->bus, stream, "d", 10, LONG_NS, receiver);
    publish_all(world, stream, 0, 5);
    receiver_await(world, receiver, 3);
    struct test_op *ops = publish_numbers(world, stream, 5, 100);
    world_disconnect_all(world);
    for (unsigned i = 0; i < 100; i++) {
        enum err err = test_op_await(world, &ops[i]);
        assert_true(err == OK || err == ERR_UNAVAILABLE);
    }
    mem_free(ops);
    bus_ack(receiver->kept[0]);
    bus_nak(receiver->kept[1], 0);
    receiver->kept[0] = NULL;
    receiver->kept[1] = NULL;
    receiver_free(receiver);
}

static void a_stream_keeps_its_messages_when_ensured_again(void **state)
{
    struct world *world = *state;
    const char *stream = make_stream(world, MIB, true);
    publish_all(world, stream, 0, 5);
    make_stream_again(world, stream, MIB, true);
    make_stream_again(world, stream, 2ll * MIB, true);
    struct receiver *receiver = receiver_make();
    receiver->ack = true;
    consume(world, world->bus, stream, "d", 10, LONG_NS, receiver);
    receiver_await(world, receiver, 5);
    /* What cannot be changed is refused, not forced. */
    char subjects[64];
    (void)snprintf(subjects, sizeof(subjects), "%s.>", stream);
    const struct bus_stream other = {
        .name = stream, .subjects = subjects, .bytes_max = MIB, .replicas = 1};
    struct test_op op;
    test_op_init(world, &op);
    bus_ensure_stream(world->bus, &other, &op.op);
    assert_int_equal(test_op_await(world, &op), ERR_INVALID);
    world_disconnect_all(world);
    receiver_free(receiver);
}

#define BOTH(test)                                            \
    {"memory: " #test, test, open_memory, close_world, NULL}, \
    {                                                         \
        "nats: " #test, test, open_nats, close_world, NULL    \
    }

int main(void)
{
    log_set_level(LOG_OFF);
    const struct CMUnitTest tests[] = {
        BOTH(published_messages_arrive_in_order),
        BOTH(a_nak_redelivers),
        BOTH(silence_redelivers),
        BOTH(the_window_bounds_what_is_outstanding),
        BOTH(a_full_mailbox_holds_messages_back),
        BOTH(a_consumer_resumes_after_a_crash),
        BOTH(a_deleted_stream_comes_back),
        BOTH(a_full_stream_refuses_until_acknowledged),
        BOTH(requests_are_answered_or_end),
        BOTH(broadcasts_and_groups),
        BOTH(what_is_too_large_is_refused),
        BOTH(a_consumer_may_come_before_its_stream),
        BOTH(messages_and_operations_outlive_the_connection),
        BOTH(a_stream_keeps_its_messages_when_ensured_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
