/* SPDX-License-Identifier: Apache-2.0
 *
 * Single decisions, then whole deliveries: random linear histories in random order, with duplicates,
 * end in the same state. STRAIT_TEST_SEED repeats a failure.
 */
#include "cluster/base/tests/support_cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "conflict/resolver.h"

#define ITEMS_MAX 16

/** A line of a run: who wrote what. */
struct line {
    struct version_item items[ITEMS_MAX];
    size_t count;
};

static struct version_history history_of(const struct line *line)
{
    return (struct version_history){line->items, line->count};
}

static struct arena arena;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

/* The batch [first, next) at the end of the line. */
static struct conflict_input input_of(const struct line *line, int64_t first)
{
    struct version_item last = version_history_last(history_of(line));
    return (struct conflict_input){.incoming = {.history = history_of(line),
                                       .first_event_id = first,
                                       .next_event_id = last.event_id + 1,
                                       .version = last.version,
                                       .starts_run = first == 1}};
}

static void have(struct conflict_input *input, struct conflict_branch *branch,
    const struct line *line, bool open)
{
    branch->history = history_of(line);
    branch->next_event_id = version_history_last(branch->history).event_id + 1;
    input->run = (struct conflict_run){
        .exists = true, .open = open, .branches = branch, .branch_count = 1};
}

static struct conflict_plan step(const struct conflict_input *input)
{
    struct conflict_plan plan;
    assert_int_equal(conflict_step(&arena, input, &plan), OK);
    return plan;
}

static const struct conflict_effect *only(const struct conflict_input *input)
{
    struct conflict_plan plan = step(input);
    assert_int_equal(plan.count, 1);
    return &plan.effects[0];
}

static const struct line line_5 = {{{5, 1}}, 1};
static const struct line line_8 = {{{5, 1}, {8, 12}}, 2};
static const struct line line_9 = {{{5, 1}, {8, 12}, {9, 21}}, 3};

/* ---- a run that is not here ------------------------------------------------------------------ */

static void test_create(void **state)
{
    (void)state;
    struct conflict_input input = input_of(&line_5, 1);
    struct conflict_plan plan = step(&input);
    assert_int_equal(plan.count, 2);
    assert_int_equal(plan.effects[0].kind, CONFLICT_CREATE_RUN);
    assert_false(plan.effects[0].zombie);
    assert_int_equal(plan.effects[1].kind, CONFLICT_APPEND);
    assert_int_equal(plan.effects[1].from_event_id, 1);
    assert_int_equal(plan.effects[1].to_event_id, 6);
}

static void test_gap_at_start(void **state)
{
    (void)state;
    struct conflict_input input = input_of(&line_8, 6);
    const struct conflict_effect *effect = only(&input);
    assert_int_equal(effect->kind, CONFLICT_NEED_EVENTS);
    assert_int_equal(effect->from_event_id, 1);
    assert_int_equal(effect->to_event_id, 6);
}

static void test_create_beside_closed(void **state)
{
    (void)state;
    struct conflict_input input = input_of(&line_5, 1);
    input.current = (struct conflict_current){.exists = true, .version = 1};
    assert_false(step(&input).effects[0].zombie);
    input.current.version = 2;
    assert_true(step(&input).effects[0].zombie);
    input.current.continued_as_incoming = true;
    assert_false(step(&input).effects[0].zombie);
}

static void test_create_beside_open(void **state)
{
    (void)state;
    struct conflict_input input = input_of(&line_5, 1);
    input.current = (struct conflict_current){.exists = true, .open = true, .version = 2};
    struct conflict_plan plan = step(&input);
    assert_int_equal(plan.effects[0].kind, CONFLICT_CREATE_RUN);
    assert_true(plan.effects[0].zombie);
    struct line newer = {{{5, 11}}, 1};
    input.incoming.history = history_of(&newer);
    input.incoming.version = 11;
    plan = step(&input);
    assert_int_equal(plan.count, 3);
    assert_int_equal(plan.effects[0].kind, CONFLICT_SUPPRESS_CURRENT);
    assert_int_equal(plan.effects[1].kind, CONFLICT_CREATE_RUN);
    assert_false(plan.effects[1].zombie);
}

static void test_tie_breakers(void **state)
{
    (void)state;
    struct conflict_input input = input_of(&line_5, 1);
    input.current = (struct conflict_current){
        .exists = true, .version = 1, .source_epoch = 1, .source_commit_no = 9};
    input.incoming.source_epoch = 1;
    input.incoming.source_commit_no = 8;
    assert_true(step(&input).effects[0].zombie);
    input.incoming.source_commit_no = 10;
    assert_false(step(&input).effects[0].zombie);
    input.incoming.source_epoch = 2;
    input.incoming.source_commit_no = 1;
    assert_false(step(&input).effects[0].zombie);
}

/* ---- a run that is here ---------------------------------------------------------------------- */

static void test_append(void **state)
{
    (void)state;
    struct conflict_branch branch = {.id = 7};
    struct conflict_input input = input_of(&line_8, 6);
    have(&input, &branch, &line_5, true);
    const struct conflict_effect *effect = only(&input);
    assert_int_equal(effect->kind, CONFLICT_APPEND);
    assert_int_equal(effect->branch, 7);
    assert_int_equal(effect->from_event_id, 6);
}

static void test_append_partly_known(void **state)
{
    (void)state;
    struct conflict_branch branch = {0};
    struct line known = {{{5, 1}, {6, 12}}, 2};
    struct conflict_input input = input_of(&line_8, 6);
    have(&input, &branch, &known, true);
    const struct conflict_effect *effect = only(&input);
    assert_int_equal(effect->kind, CONFLICT_APPEND);
    assert_int_equal(effect->from_event_id, 7);
    assert_int_equal(effect->to_event_id, 9);
}

static void test_gap(void **state)
{
    (void)state;
    struct conflict_branch branch = {0};
    struct conflict_input input = input_of(&line_9, 9);
    have(&input, &branch, &line_5, true);
    const struct conflict_effect *effect = only(&input);
    assert_int_equal(effect->kind, CONFLICT_NEED_EVENTS);
    assert_int_equal(effect->from_event_id, 6);
    assert_int_equal(effect->to_event_id, 9);
}

static void test_duplicate(void **state)
{
    (void)state;
    struct conflict_branch branch = {0};
    struct conflict_input input = input_of(&line_8, 6);
    have(&input, &branch, &line_8, true);
    assert_int_equal(only(&input)->kind, CONFLICT_DROP_DUPLICATE);
    have(&input, &branch, &line_9, false); /* longer, and closed */
    assert_int_equal(only(&input)->kind, CONFLICT_DROP_DUPLICATE);
}

static void test_diverged(void **state)
{
    (void)state;
    struct conflict_branch branch = {0};
    struct line other = {{{5, 1}, {7, 2}}, 2};
    struct conflict_input input = input_of(&line_8, 6);
    have(&input, &branch, &other, true);
    const struct conflict_effect *effect = only(&input);
    assert_int_equal(effect->kind, CONFLICT_REJECT);
    assert_int_equal(effect->event_id, 5);
    assert_non_null(strstr(effect->reason, "diverged"));
}

static void test_reject_equal_version(void **state)
{
    (void)state;
    struct conflict_branch branch = {0};
    struct line other = {{{4, 1}, {7, 12}}, 2};
    struct conflict_input input = input_of(&line_8, 6);
    have(&input, &branch, &other, true);
    /* The ancestor by versions is {7,12}: append. Different lengths at version 1 show no more. */
    assert_int_equal(only(&input)->kind, CONFLICT_APPEND);
    struct line forked = {{{5, 1}, {6, 2}, {7, 12}}, 3};
    have(&input, &branch, &forked, true);
    assert_int_equal(only(&input)->kind, CONFLICT_APPEND);
    struct line beside = {{{3, 1}, {4, 3}, {9, 12}}, 3};
    struct line incoming = {{{3, 1}, {6, 5}, {10, 12}}, 3};
    input = input_of(&incoming, 7);
    have(&input, &branch, &beside, true);
    assert_int_equal(only(&input)->kind, CONFLICT_APPEND);
}

static void test_reject_nothing_common(void **state)
{
    (void)state;
    struct conflict_branch branch = {0};
    struct line other = {{{5, 2}}, 1};
    struct conflict_input input = input_of(&line_8, 6);
    have(&input, &branch, &other, true);
    assert_int_equal(only(&input)->kind, CONFLICT_REJECT);
}

static void test_reject_behind_close(void **state)
{
    (void)state;
    struct conflict_branch branch = {0};
    struct conflict_input input = input_of(&line_8, 6);
    have(&input, &branch, &line_5, false);
    assert_int_equal(only(&input)->kind, CONFLICT_REJECT);
}

static void test_invalid(void **state)
{
    (void)state;
    struct conflict_plan plan;
    struct conflict_input input = input_of(&line_8, 6);
    input.incoming.version = 1;
    assert_int_equal(conflict_step(&arena, &input, &plan), ERR_INVALID);
    input = input_of(&line_8, 5); /* two versions in one batch */
    assert_int_equal(conflict_step(&arena, &input, &plan), ERR_INVALID);
    input = input_of(&line_8, 6);
    input.incoming.next_event_id = 10;
    assert_int_equal(conflict_step(&arena, &input, &plan), ERR_INVALID);
    input = input_of(&line_8, 6);
    input.incoming.starts_run = true;
    assert_int_equal(conflict_step(&arena, &input, &plan), ERR_INVALID);
    input = input_of(&line_8, 6);
    input.incoming.first_event_id = 9;
    assert_int_equal(conflict_step(&arena, &input, &plan), ERR_INVALID);
    input.incoming.history.count = 0;
    assert_int_equal(conflict_step(&arena, &input, &plan), ERR_INVALID);
}

/* ---- any order converges --------------------------------------------------------------------- */

#define BATCHES_MAX 40

struct delivery {
    uint64_t random;
    struct line lines[BATCHES_MAX]; /* the line up to and with batch i */
    int64_t first[BATCHES_MAX];
    size_t count;
    struct line here;
    bool exists;
    size_t appended;
};

static uint64_t random_below(struct delivery *delivery, uint64_t bound)
{
    delivery->random = delivery->random * 6364136223846793005ull + 1442695040888963407ull;
    return (delivery->random >> 33) % bound;
}

static void make_history(struct delivery *delivery)
{
    struct line line = {{{0, 0}}, 0};
    int64_t next = 1;
    int64_t version = 1;
    delivery->count = 1 + random_below(delivery, BATCHES_MAX - 1);
    for (size_t i = 0; i < delivery->count; i++) {
        delivery->first[i] = next;
        if (i > 0 && line.count < ITEMS_MAX && random_below(delivery, 4) == 0)
            version += 1 + (int64_t)random_below(delivery, 20);
        if (line.count == 0 || line.items[line.count - 1].version != version)
            line.items[line.count++].version = version;
        next += 1 + (int64_t)random_below(delivery, 5);
        line.items[line.count - 1].event_id = next - 1;
        delivery->lines[i] = line;
    }
}

/* Carries the plan out: events here are the prefix that `here` names. False: events are missing. */
static bool deliver(struct delivery *delivery, size_t i, int64_t *ret_from, int64_t *ret_to)
{
    arena_reset(&arena);
    struct conflict_branch branch = {0};
    struct conflict_input input = input_of(&delivery->lines[i], delivery->first[i]);
    if (delivery->exists)
        have(&input, &branch, &delivery->here, true);
    struct conflict_plan plan = step(&input);
    const struct conflict_effect *last = &plan.effects[plan.count - 1];
    if (last->kind == CONFLICT_NEED_EVENTS) {
        assert_true(last->from_event_id < last->to_event_id);
        *ret_from = last->from_event_id;
        *ret_to = last->to_event_id;
        return false;
    }
    if (last->kind == CONFLICT_DROP_DUPLICATE)
        return true;
    assert_int_equal(last->kind, CONFLICT_APPEND);
    int64_t next =
        delivery->exists ? version_history_last(history_of(&delivery->here)).event_id + 1 : 1;
    assert_int_equal(last->from_event_id, next); /* I2 */
    delivery->here = delivery->lines[i];
    delivery->exists = true;
    delivery->appended++;
    return true;
}

/* As a receiver does: what is missing is fetched, batch by batch, then the batch is tried again. */
static void deliver_and_fetch(struct delivery *delivery, size_t i)
{
    int64_t from = 0;
    int64_t to = 0;
    while (!deliver(delivery, i, &from, &to)) {
        size_t fetched = 0;
        for (size_t k = 0; k < i; k++) {
            int64_t ignored;
            if (delivery->first[k] >= from && delivery->first[k] < to) {
                assert_true(deliver(delivery, k, &ignored, &ignored));
                fetched++;
            }
        }
        assert_true(fetched > 0);
    }
}

static void converge(uint64_t seed)
{
    struct delivery delivery = {.random = seed};
    make_history(&delivery);
    bool seen[BATCHES_MAX] = {false};
    size_t left = delivery.count;
    while (left > 0) {
        size_t i = random_below(&delivery, delivery.count); /* any order, any number of times */
        deliver_and_fetch(&delivery, i);
        left -= !seen[i];
        seen[i] = true;
    }
    const struct line *whole = &delivery.lines[delivery.count - 1];
    assert_int_equal(delivery.here.count, whole->count);
    assert_memory_equal(delivery.here.items, whole->items, whole->count * sizeof(*whole->items));
    assert_int_equal(delivery.appended, delivery.count); /* each exactly once */
}

static void test_any_order(void **state)
{
    (void)state;
    const char *given = getenv("STRAIT_TEST_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    print_message("seed: STRAIT_TEST_SEED=%llu\n", (unsigned long long)seed);
    for (uint64_t i = 0; i < 2000; i++)
        converge(seed + i * 7919);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_create),
        TEST(test_gap_at_start),
        TEST(test_create_beside_closed),
        TEST(test_create_beside_open),
        TEST(test_tie_breakers),
        TEST(test_append),
        TEST(test_append_partly_known),
        TEST(test_gap),
        TEST(test_duplicate),
        TEST(test_diverged),
        TEST(test_reject_equal_version),
        TEST(test_reject_nothing_common),
        TEST(test_reject_behind_close),
        TEST(test_invalid),
        TEST(test_any_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
