/* SPDX-License-Identifier: Apache-2.0
 *
 * What only the memory driver has: faults on demand, and equal runs from equal calls.
 */
#include "replicator/bus_memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/base/hash.h"
#include "cluster/base/limits.h"
#include "cluster/base/mem.h"
#include "cluster/base/tests/support_cmocka.h"
#include "replicator/tests/bus_fixture.h"

static int open_memory(void **state)
{
    *state = world_open(true, NULL);
    return 0;
}

static int close_world(void **state)
{
    world_close(*state);
    return 0;
}

/* What happens to transmissions of one kind; the others arrive once, at once. */
struct judge {
    enum bus_memory_kind kind;
    struct bus_memory_fate fate;
    unsigned judged;
};

static struct bus_memory_fate judge(void *ctx, const struct bus_memory_transmission *transmission)
{
    struct judge *judge = ctx;
    if (transmission->kind != judge->kind)
        return (struct bus_memory_fate){.copies = 1};
    judge->judged++;
    return judge->fate;
}

static void a_lost_publish_and_a_lost_answer_time_out(void **state)
{
    struct world *world = *state;
    const char *stream = make_stream(world, MIB, true);
    char subject[64];
    (void)snprintf(subject, sizeof(subject), "%s.a", stream);
    struct judge lost = {.kind = BUS_MEMORY_PUBLISH};
    bus_memory_set_judge(world->hub, judge, &lost);
    int64_t start_ns = world->now_ns;
    assert_int_equal(publish_text(world, subject, "1"), ERR_TIMEOUT);
    assert_int_equal(world->now_ns - start_ns, 5 * NS_PER_S);
    lost.kind = BUS_MEMORY_ANSWER;
    assert_int_equal(publish_text(world, subject, "2"), ERR_TIMEOUT);
    assert_int_equal(lost.judged, 2);
    bus_memory_set_judge(world->hub, NULL, NULL);
    /* Only the second was stored. */
    struct receiver *receiver = receiver_make();
    receiver->ack = true;
    consume(world, world->bus, stream, "d", 10, NS_PER_S, receiver);
    receiver_await(world, receiver, 1);
    assert_string_equal(receiver->text[0], "2");
    world_quiet(world);
    assert_int_equal(receiver->count, 1);
    world_disconnect_all(world);
    receiver_free(receiver);
}

static void copies_arrive_each_after_its_delay(void **state)
{
    struct world *world = *state;
    const char *stream = make_stream(world, MIB, true);
    char subject[64];
    (void)snprintf(subject, sizeof(subject), "%s.a", stream);
    struct judge twice = {
        .kind = BUS_MEMORY_PUBLISH,
        .fate = {.copies = 2, .delay_ns = {7 * NS_PER_MS, 3 * NS_PER_MS}},
    };
    bus_memory_set_judge(world->hub, judge, &twice);
    int64_t start_ns = world->now_ns;
    assert_int_equal(publish_text(world, subject, "1"), OK);
    assert_int_equal(world->now_ns - start_ns, 3 * NS_PER_MS);
    struct receiver *receiver = receiver_make();
    receiver->ack = true;
    consume(world, world->bus, stream, "d", 10, NS_PER_S, receiver);
    receiver_await(world, receiver, 2);
    assert_int_equal(world->now_ns - start_ns, 7 * NS_PER_MS);
    world_disconnect_all(world);
    receiver_free(receiver);
}

static void a_truncated_stream_uses_its_numbers_again(void **state)
{
    struct world *world = *state;
    const char *stream = make_stream(world, MIB, false);
    char subject[64];
    (void)snprintf(subject, sizeof(subject), "%s.a", stream);
    struct receiver *receiver = receiver_make();
    receiver->ack = true;
    consume(world, world->bus, stream, "d", 10, NS_PER_S, receiver);
    for (int i = 0; i < 5; i++)
        assert_int_equal(publish_text(world, subject, "old"), OK);
    receiver_await(world, receiver, 5);
    bus_memory_truncate(world->hub, stream, 2);
    assert_int_equal(publish_text(world, subject, "new"), OK);
    receiver_await(world, receiver, 6);
    assert_string_equal(receiver->text[5], "new");
    assert_int_equal(receiver->seqs[5], 4);
    bus_memory_truncate(world->hub, stream, 100);
    assert_int_equal(publish_text(world, subject, "first"), OK);
    receiver_await(world, receiver, 7);
    assert_int_equal(receiver->seqs[6], 1);
    world_disconnect_all(world);
    receiver_free(receiver);
}

static void what_was_on_its_way_is_lost_with_the_connection(void **state)
{
    struct world *world = *state;
    const char *stream = make_stream(world, MIB, true);
    char subject[64];
    (void)snprintf(subject, sizeof(subject), "%s.a", stream);
    struct receiver *receiver = receiver_make();
    receiver->ack = true;
    consume(world, world->bus, stream, "d", 10, NS_PER_S, receiver);
    struct judge slow = {
        .kind = BUS_MEMORY_DELIVER, .fate = {.copies = 1, .delay_ns = {10 * NS_PER_MS}}};
    bus_memory_set_judge(world->hub, judge, &slow);
    assert_int_equal(publish_text(world, subject, "1"), OK);
    world_crash(world);
    world_restart(world);
    receiver_await(world, receiver, 1);
    assert_int_equal(receiver->deliveries[0], 2);
    world_disconnect_all(world);
    receiver_free(receiver);
}

/* A fate from a seed: loss, delay, duplication. */
static struct bus_memory_fate dice(void *ctx, const struct bus_memory_transmission *transmission)
{
    uint64_t *seed = ctx;
    *seed = hash64(bytes_of(transmission->subject), *seed + (uint64_t)transmission->kind);
    struct bus_memory_fate fate = {.copies = *seed % 10 == 0 ? 0 : 1 + (*seed % 7 == 0)};
    for (size_t i = 0; i < fate.copies; i++)
        fate.delay_ns[i] = (int64_t)(*seed >> (8 * (i + 1)) & 0xfffff);
    return fate;
}

static bool got_all(void *ctx)
{
    const struct receiver *receiver = ctx;
    bool seen[200] = {false};
    size_t distinct = 0;
    for (size_t i = 0; i < receiver->count; i++) {
        size_t number = strtoull(receiver->text[i], NULL, 10);
        if (number < ARRAY_LEN(seen) && !seen[number]) {
            seen[number] = true;
            distinct++;
        }
    }
    return distinct == ARRAY_LEN(seen);
}

/** Publishes until everything arrived; returns a digest of what the receiver saw. */
static uint64_t run_with_faults(uint64_t seed)
{
    struct world *world = world_open(true, NULL);
    char subject[64];
    (void)snprintf(subject, sizeof(subject), "%s.a", make_stream(world, MIB, true));
    struct receiver *receiver = receiver_make();
    receiver->ack = true;
    consume(world, world->bus, "S1", "d", 16, NS_PER_S, receiver);
    bus_memory_set_judge(world->hub, dice, &seed);
    for (int i = 0; i < 200; i++) {
        char text[16];
        (void)snprintf(text, sizeof(text), "%d", i);
        while (publish_text(world, subject, text) != OK)
            continue;
    }
    world_until(world, got_all, receiver);
    uint64_t digest = (uint64_t)world->now_ns;
    for (size_t i = 0; i < receiver->count; i++)
        digest = hash64(bytes_of(receiver->text[i]), digest);
    world_disconnect_all(world);
    receiver_free(receiver);
    world_close(world);
    return digest;
}

static void equal_seeds_give_equal_runs(void **state)
{
    (void)state;
    uint64_t first = run_with_faults(1);
    assert_int_equal(run_with_faults(1), first);
    assert_int_not_equal(run_with_faults(2), first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            a_lost_publish_and_a_lost_answer_time_out, open_memory, close_world),
        cmocka_unit_test_setup_teardown(
            copies_arrive_each_after_its_delay, open_memory, close_world),
        cmocka_unit_test_setup_teardown(
            a_truncated_stream_uses_its_numbers_again, open_memory, close_world),
        cmocka_unit_test_setup_teardown(
            what_was_on_its_way_is_lost_with_the_connection, open_memory, close_world),
        cmocka_unit_test(equal_seeds_give_equal_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
