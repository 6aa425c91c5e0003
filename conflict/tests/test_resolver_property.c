/* SPDX-License-Identifier: Apache-2.0
 *
 * Any order of delivery, with repetitions and losses, ends with the history that was written; and
 * what was delivered twice changes nothing. The source keeps everything: what is asked for comes.
 *
 * TEST_SEED=n repeats a run.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cluster/base/tests/support_cmocka.h"
#include "conflict/resolver.h"

#define ROUNDS      2000
#define BATCHES_MAX 24
#define RUNS_MAX    3

static uint64_t seed;

static uint64_t random_below(uint64_t bound)
{
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    return (seed >> 33) % bound;
}

struct batch {
    int64_t first;
    int64_t next;
    int64_t version;
};

/* One run as its writers wrote it. */
struct line {
    struct version_item items[BATCHES_MAX];
    size_t item_count;
    struct batch batches[BATCHES_MAX];
    size_t batch_count;
};

/* The same run at the receiver. */
struct copy {
    bool exists;
    bool zombie;
    struct version_item items[BATCHES_MAX];
    size_t item_count;
    int64_t next;
};

struct receiver {
    struct arena arena;
    const struct line *lines;
    size_t line_count;
    struct copy copies[RUNS_MAX];
    size_t current; /* index + 1; 0 = none */
};

/* ---- writing --------------------------------------------------------------------------------- */

static void write_line(struct line *line, int64_t *version)
{
    *line = (struct line){0};
    line->batch_count = 1 + random_below(BATCHES_MAX);
    int64_t next = 1;
    for (size_t i = 0; i < line->batch_count; i++) {
        if (i > 0 && random_below(4) == 0)
            *version += 1 + (int64_t)random_below(20);
        struct batch *batch = &line->batches[i];
        *batch = (struct batch){next, next + 1 + (int64_t)random_below(5), *version};
        next = batch->next;
        if (!line->item_count || line->items[line->item_count - 1].version != *version)
            line->items[line->item_count++].version = *version;
        line->items[line->item_count - 1].event_id = next - 1;
    }
}

/* ---- receiving ------------------------------------------------------------------------------- */

static struct version_item last_of(const struct copy *copy)
{
    return version_history_last((struct version_history){copy->items, copy->item_count});
}

static void extend(struct copy *copy, const struct batch *batch)
{
    assert_int_equal(batch->first, copy->next);
    if (!copy->item_count || copy->items[copy->item_count - 1].version != batch->version)
        copy->items[copy->item_count++].version = batch->version;
    copy->items[copy->item_count - 1].event_id = batch->next - 1;
    copy->next = batch->next;
}

static struct conflict_input describe(const struct receiver *receiver, size_t run,
    const struct batch *batch, bool whole_line, struct conflict_branch *ret_branch)
{
    const struct line *line = &receiver->lines[run];
    const struct copy *copy = &receiver->copies[run];
    struct conflict_input input = {.incoming = {.history = {line->items, line->item_count},
                                       .first_event_id = batch->first,
                                       .next_event_id = batch->next,
                                       .version = batch->version,
                                       .starts_run = batch->first == 1,
                                       .source_epoch = 1,
                                       .source_commit_no = (int64_t)run + 1}};
    for (size_t i = 0; !whole_line && i < line->item_count; i++) {
        if (line->items[i].event_id >= batch->next - 1)
            input.incoming.history.count = i + 1;
        if (line->items[i].event_id >= batch->next - 1)
            break;
    }
    if (copy->exists) {
        *ret_branch = (struct conflict_branch){0, {copy->items, copy->item_count}, copy->next};
        input.run = (struct conflict_run){
            .exists = true, .open = true, .branches = ret_branch, .branch_count = 1};
    }
    if (receiver->current && receiver->current != run + 1) {
        const struct copy *current = &receiver->copies[receiver->current - 1];
        input.current = (struct conflict_current){.exists = true,
            .open = true,
            .version = last_of(current).version,
            .source_epoch = 1,
            .source_commit_no = (int64_t)receiver->current};
    }
    return input;
}

static void deliver(struct receiver *receiver, size_t run, size_t number);

static void fetch(struct receiver *receiver, size_t run, int64_t from, int64_t to)
{
    const struct line *line = &receiver->lines[run];
    for (size_t i = 0; i < line->batch_count; i++) {
        if (line->batches[i].first >= from && line->batches[i].first < to)
            deliver(receiver, run, i);
    }
}

static void deliver(struct receiver *receiver, size_t run, size_t number)
{
    struct copy *copy = &receiver->copies[run];
    const struct batch *batch = &receiver->lines[run].batches[number];
    struct conflict_branch branch;
    struct conflict_input input = describe(receiver, run, batch, random_below(2) == 0, &branch);
    struct conflict_plan plan;
    arena_reset(&receiver->arena);
    assert_int_equal(conflict_step(&receiver->arena, &input, &plan), OK);
    struct conflict_effect effect = plan.effects[plan.count - 1];
    if (plan.count == 2) {
        assert_int_equal(plan.effects[0].kind, CONFLICT_SUPPRESS_CURRENT);
        receiver->copies[receiver->current - 1].zombie = true;
    }
    switch (effect.kind) {
    case CONFLICT_DROP_DUPLICATE:
        assert_true(copy->exists && copy->next >= batch->next);
        return;
    case CONFLICT_APPEND:
        assert_int_equal(effect.from_event_id, batch->first);
        extend(copy, batch);
        return;
    case CONFLICT_CREATE_RUN:
        *copy = (struct copy){.exists = true, .zombie = effect.zombie, .next = 1};
        extend(copy, batch);
        if (!effect.zombie)
            receiver->current = run + 1;
        return;
    case CONFLICT_NEED_EVENTS:
        assert_int_equal(effect.from_event_id, copy->exists ? copy->next : 1);
        assert_int_equal(effect.to_event_id, batch->first);
        fetch(receiver, run, effect.from_event_id, effect.to_event_id);
        deliver(receiver, run, number);
        return;
    case CONFLICT_SUPPRESS_CURRENT:
    case CONFLICT_FORK:
    case CONFLICT_SWITCH_CURRENT:
    case CONFLICT_REAPPLY:
    case CONFLICT_FLUSH_BUFFERED:
    case CONFLICT_REJECT:
        fail_msg("effect %d of linear histories: %s", (int)effect.kind,
            effect.reason ? effect.reason : "");
    }
}

static void is_complete(const struct receiver *receiver, size_t run)
{
    const struct line *line = &receiver->lines[run];
    const struct copy *copy = &receiver->copies[run];
    assert_true(copy->exists);
    assert_int_equal(copy->item_count, line->item_count);
    assert_memory_equal(copy->items, line->items, line->item_count * sizeof(struct version_item));
}

/* ---- properties ------------------------------------------------------------------------------ */

/* Each batch is delivered up to three times; some only by being fetched. The last always comes. */
static void linear_histories_arrive(void **state)
{
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        struct line line;
        int64_t version = 1 + (int64_t)random_below(30);
        write_line(&line, &version);
        struct receiver receiver = {.lines = &line, .line_count = 1};
        for (size_t i = 0; i < 3 * line.batch_count; i++)
            deliver(&receiver, 0, random_below(line.batch_count));
        deliver(&receiver, 0, line.batch_count - 1);
        is_complete(&receiver, 0);
        struct copy before = receiver.copies[0];
        for (size_t i = 0; i < line.batch_count; i++)
            deliver(&receiver, 0, i);
        assert_memory_equal(&before, &receiver.copies[0], sizeof(before));
        arena_release(&receiver.arena);
    }
}

/* Runs of one workflow id whose versions grow, begun in any order: the newest becomes current. */
static void the_newest_run_wins(void **state)
{
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        struct line lines[RUNS_MAX];
        int64_t version = 1 + (int64_t)random_below(30);
        for (size_t i = 0; i < RUNS_MAX; i++) {
            write_line(&lines[i], &version);
            version += (int64_t)random_below(2);
        }
        struct receiver receiver = {.lines = lines, .line_count = RUNS_MAX};
        size_t order[RUNS_MAX] = {0, 1, 2};
        for (size_t i = RUNS_MAX; i > 1; i--) {
            size_t k = random_below(i);
            size_t swap = order[i - 1];
            order[i - 1] = order[k];
            order[k] = swap;
        }
        for (size_t i = 0; i < RUNS_MAX; i++) {
            deliver(&receiver, order[i], lines[order[i]].batch_count - 1);
            is_complete(&receiver, order[i]);
        }
        assert_int_equal(receiver.current, RUNS_MAX);
        for (size_t i = 0; i + 1 < RUNS_MAX; i++)
            assert_true(receiver.copies[i].zombie);
        arena_release(&receiver.arena);
    }
}

/* Anything at all: never a crash, and a plan or ERR_INVALID. */
static void nonsense_is_survived(void **state)
{
    (void)state;
    struct arena arena = {0};
    for (int round = 0; round < 20 * ROUNDS; round++) {
        struct version_item items[4][3];
        for (size_t i = 0; i < 4; i++) {
            for (size_t k = 0; k < 3; k++)
                items[i][k] = (struct version_item){
                    (int64_t)random_below(8) - 1, (int64_t)random_below(6) - 1};
        }
        struct conflict_branch branches[3];
        for (size_t i = 0; i < 3; i++)
            branches[i] = (struct conflict_branch){
                (uint32_t)i, {items[i], random_below(4)}, (int64_t)random_below(9)};
        struct conflict_input input = {.incoming = {.history = {items[3], random_below(4)},
                                           .first_event_id = (int64_t)random_below(9) - 1,
                                           .next_event_id = (int64_t)random_below(9),
                                           .version = (int64_t)random_below(6),
                                           .starts_run = random_below(2) == 0},
            .run = {.exists = random_below(3) > 0,
                .branches = branches,
                .branch_count = random_below(4),
                .current = random_below(3)},
            .current = {.exists = random_below(2) == 0,
                .open = random_below(2) == 0,
                .version = (int64_t)random_below(6)}};
        struct conflict_plan plan = {NULL, 0};
        enum err err = conflict_step(&arena, &input, &plan);
        assert_true(err == OK ? plan.count > 0 : err == ERR_INVALID);
        arena_reset(&arena);
    }
    arena_release(&arena);
}

int main(void)
{
    const char *text = getenv("TEST_SEED");
    seed = text ? strtoull(text, NULL, 10) : (uint64_t)time(NULL);
    printf("# replay: TEST_SEED=%llu\n", (unsigned long long)seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear_histories_arrive),
        cmocka_unit_test(the_newest_run_wins),
        cmocka_unit_test(nonsense_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
