/* SPDX-License-Identifier: Apache-2.0
 *
 * One case per edge of the decision tree in resolver.c.
 */
#include "cluster/base/tests/support_cmocka.h"
#include "conflict/resolver.h"

#define HISTORY(...)                                                      \
    ((struct version_history){(const struct version_item[]){__VA_ARGS__}, \
        sizeof((const struct version_item[]){__VA_ARGS__}) / sizeof(struct version_item)})

static struct arena arena;

/* Events [first, next) at `version`. */
static struct conflict_incoming incoming(
    struct version_history history, int64_t first, int64_t next, int64_t version)
{
    return (struct conflict_incoming){.history = history,
        .first_event_id = first,
        .next_event_id = next,
        .version = version,
        .starts_run = first == 1};
}

static struct conflict_branch branch(uint32_t id, struct version_history history)
{
    return (struct conflict_branch){id, history, version_history_last(history).event_id + 1};
}

static struct conflict_run run_of(const struct conflict_branch *branches, size_t count)
{
    return (struct conflict_run){
        .exists = true, .open = true, .branches = branches, .branch_count = count};
}

static struct conflict_plan plan_of(const struct conflict_input *input)
{
    struct conflict_plan plan = {NULL, 0};
    assert_int_equal(conflict_step(&arena, input, &plan), OK);
    assert_true(plan.count > 0);
    return plan;
}

static struct conflict_effect only_effect(const struct conflict_input *input)
{
    struct conflict_plan plan = plan_of(input);
    assert_int_equal(plan.count, 1);
    return plan.effects[0];
}

static int teardown(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

/* ---- the run is here ------------------------------------------------------------------------- */

static void appends_what_follows(void **state)
{
    (void)state;
    struct conflict_branch here[] = {branch(7, HISTORY({4, 1}))};
    struct conflict_input input = {
        .incoming = incoming(HISTORY({6, 1}), 5, 7, 1), .run = run_of(here, 1)};
    struct conflict_effect effect = only_effect(&input);
    assert_int_equal(effect.kind, CONFLICT_APPEND);
    assert_int_equal(effect.branch, 7);
    assert_int_equal(effect.from_event_id, 5);
    assert_int_equal(effect.to_event_id, 7);
    /* A later writer continues. */
    input.incoming = incoming(HISTORY({4, 1}, {6, 12}), 5, 7, 12);
    assert_int_equal(only_effect(&input).kind, CONFLICT_APPEND);
}

static void drops_what_is_known(void **state)
{
    (void)state;
    struct conflict_branch here[] = {branch(0, HISTORY({4, 1}, {9, 12}))};
    struct conflict_input input = {.run = run_of(here, 1)};
    const struct conflict_incoming known[] = {
        incoming(HISTORY({4, 1}), 1, 5, 1), incoming(HISTORY({3, 1}), 2, 4, 1),
        incoming(HISTORY({4, 1}, {9, 12}), 5, 10, 12), incoming(HISTORY({4, 1}, {9, 12}), 6, 8, 12),
        incoming(HISTORY({4, 1}, {7, 12}), 6, 8, 12),
        incoming(HISTORY({4, 1}, {9, 12}), 2, 4, 1), /* a history longer than its batch */
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        input.incoming = known[i];
        assert_int_equal(only_effect(&input).kind, CONFLICT_DROP_DUPLICATE);
    }
}

static void skips_a_known_beginning(void **state)
{
    (void)state;
    struct conflict_branch here[] = {branch(0, HISTORY({4, 1}))};
    struct conflict_input input = {
        .incoming = incoming(HISTORY({8, 1}), 3, 9, 1), .run = run_of(here, 1)};
    struct conflict_effect effect = only_effect(&input);
    assert_int_equal(effect.kind, CONFLICT_APPEND);
    assert_int_equal(effect.from_event_id, 5);
}

static void asks_for_a_gap(void **state)
{
    (void)state;
    struct conflict_branch here[] = {branch(0, HISTORY({4, 1}))};
    struct conflict_input input = {
        .incoming = incoming(HISTORY({6, 1}, {9, 12}), 8, 10, 12), .run = run_of(here, 1)};
    struct conflict_effect effect = only_effect(&input);
    assert_int_equal(effect.kind, CONFLICT_NEED_EVENTS);
    assert_int_equal(effect.from_event_id, 5);
    assert_int_equal(effect.to_event_id, 8);
}

static void a_line_longer_than_the_batch(void **state)
{
    (void)state;
    /* Two batches of one commit carry the line as it is behind the second. */
    struct conflict_branch here[] = {branch(0, HISTORY({4, 1}))};
    struct conflict_input input = {
        .incoming = incoming(HISTORY({6, 1}, {9, 12}), 5, 7, 1), .run = run_of(here, 1)};
    struct conflict_effect effect = only_effect(&input);
    assert_int_equal(effect.kind, CONFLICT_APPEND);
    assert_int_equal(effect.to_event_id, 7);
}

static void chooses_the_nearest_branch(void **state)
{
    (void)state;
    struct conflict_branch here[] = {branch(3, HISTORY({4, 1}, {9, 11})),
        branch(5, HISTORY({4, 1}, {6, 2})), branch(9, HISTORY({4, 1}))};
    struct conflict_input input = {
        .incoming = incoming(HISTORY({4, 1}, {8, 2}), 7, 9, 2), .run = run_of(here, 3)};
    input.run.current = 1;
    struct conflict_effect effect = only_effect(&input);
    assert_int_equal(effect.kind, CONFLICT_APPEND);
    assert_int_equal(effect.branch, 5);
    /* All three share event 4; only the shortest can be appended to. */
    input.incoming = incoming(HISTORY({4, 1}, {6, 21}), 5, 7, 21);
    input.run.current = 2;
    effect = only_effect(&input);
    assert_int_equal(effect.kind, CONFLICT_APPEND);
    assert_int_equal(effect.branch, 9);
    /* The right place, but not on the current branch. */
    input.run.current = 0;
    assert_int_equal(only_effect(&input).kind, CONFLICT_REJECT);
}

static void rejects_divergence(void **state)
{
    (void)state;
    struct conflict_branch here[] = {branch(0, HISTORY({4, 1}, {9, 12}))};
    struct conflict_input input = {
        .incoming = incoming(HISTORY({4, 1}, {6, 3}), 5, 7, 3), .run = run_of(here, 1)};
    struct conflict_effect effect = only_effect(&input);
    assert_int_equal(effect.kind, CONFLICT_REJECT);
    assert_string_equal(effect.reason, "branches diverged: not resolved by this release");
    /* The same, with a tail of ours that the others never got. */
    input.incoming = incoming(HISTORY({3, 1}, {6, 12}), 4, 7, 12);
    effect = only_effect(&input);
    assert_int_equal(effect.kind, CONFLICT_REJECT);
    assert_string_equal(effect.reason, "two writers with one version");
    /* Nothing in common. */
    input.incoming = incoming(HISTORY({3, 2}), 1, 4, 2);
    assert_int_equal(only_effect(&input).kind, CONFLICT_REJECT);
}

static void rejects_what_follows_the_end(void **state)
{
    (void)state;
    struct conflict_branch here[] = {branch(0, HISTORY({4, 1}))};
    struct conflict_input input = {
        .incoming = incoming(HISTORY({6, 1}), 5, 7, 1), .run = run_of(here, 1)};
    input.run.open = false;
    struct conflict_effect effect = only_effect(&input);
    assert_int_equal(effect.kind, CONFLICT_REJECT);
    assert_int_equal(effect.event_id, 5);
}

/* ---- the run is not here --------------------------------------------------------------------- */

static void creates_the_first_run(void **state)
{
    (void)state;
    struct conflict_input input = {.incoming = incoming(HISTORY({3, 1}), 1, 4, 1)};
    struct conflict_effect effect = only_effect(&input);
    assert_int_equal(effect.kind, CONFLICT_CREATE_RUN);
    assert_false(effect.zombie);
}

static void asks_for_the_beginning(void **state)
{
    (void)state;
    struct conflict_input input = {.incoming = incoming(HISTORY({9, 1}), 4, 10, 1)};
    struct conflict_effect effect = only_effect(&input);
    assert_int_equal(effect.kind, CONFLICT_NEED_EVENTS);
    assert_int_equal(effect.from_event_id, 1);
    assert_int_equal(effect.to_event_id, 4);
}

/* What becomes of a run at version 5 beside a current run. */
struct arbitration {
    struct conflict_current current;
    int64_t commit_no; /* of the incoming run, epoch 2 */
    bool zombie;
    bool suppress;
};

static void arbitrates(void **state)
{
    (void)state;
    const struct arbitration cases[] = {
        {{.exists = true, .open = false, .version = 5}, 0, false, false},
        {{.exists = true, .open = false, .version = 4}, 0, false, false},
        {{.exists = true, .open = false, .version = 6}, 0, true, false},
        {{.exists = true, .open = true, .version = 4}, 0, false, true},
        {{.exists = true, .open = true, .version = 6}, 0, true, false},
        {{.exists = true, .open = true, .version = 5}, 0, true, false},
        /* The source's order decides between runs at one version, when it is known of both. */
        {{.exists = true, .open = true, .version = 5, .source_epoch = 2, .source_commit_no = 7}, 8,
            false, true},
        {{.exists = true, .open = true, .version = 5, .source_epoch = 2, .source_commit_no = 9}, 8,
            true, false},
        {{.exists = true, .open = true, .version = 5, .source_epoch = 1, .source_commit_no = 9}, 8,
            false, true},
        {{.exists = true, .open = true, .version = 5, .source_epoch = 3, .source_commit_no = 1}, 8,
            true, false},
        {{.exists = true, .open = true, .version = 5, .source_epoch = 2, .source_commit_no = 8}, 8,
            true, false},
        {{.exists = true, .open = false, .version = 5, .source_epoch = 2, .source_commit_no = 9}, 8,
            true, false},
        {{.exists = true, .open = false, .version = 5, .source_epoch = 2, .source_commit_no = 9}, 0,
            false, false},
        {{.exists = true, .open = false, .version = 5, .continued_as_incoming = true}, 0, false,
            false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct conflict_input input = {
            .incoming = incoming(HISTORY({3, 5}), 1, 4, 5), .current = cases[i].current};
        input.incoming.source_epoch = 2;
        input.incoming.source_commit_no = cases[i].commit_no;
        struct conflict_plan plan = plan_of(&input);
        assert_int_equal(plan.count, cases[i].suppress ? 2 : 1);
        if (cases[i].suppress)
            assert_int_equal(plan.effects[0].kind, CONFLICT_SUPPRESS_CURRENT);
        const struct conflict_effect *create = &plan.effects[plan.count - 1];
        assert_int_equal(create->kind, CONFLICT_CREATE_RUN);
        assert_int_equal(create->zombie, cases[i].zombie);
    }
}

/* ---- hostile input --------------------------------------------------------------------------- */

static void refuses_bad_input(void **state)
{
    (void)state;
    struct conflict_incoming good = incoming(HISTORY({4, 1}, {9, 12}), 5, 10, 12);
    struct conflict_incoming bad[12];
    for (size_t i = 0; i < 12; i++)
        bad[i] = good;
    bad[0].history = (struct version_history){NULL, 0};
    bad[1].history = HISTORY({4, 12}, {9, 1});
    bad[2].first_event_id = 0;
    bad[3].next_event_id = 5;
    bad[4].next_event_id = 11; /* behind the line */
    bad[5].version = 1;
    bad[6].version = 0;
    bad[7].first_event_id = 4; /* two versions in one batch */
    bad[8].starts_run = true;
    bad[9].first_event_id = INT64_MIN;
    bad[10].next_event_id = INT64_MAX;
    bad[11].first_event_id = 1;
    struct conflict_plan plan = {NULL, 0};
    for (size_t i = 0; i < 12; i++) {
        struct conflict_input input = {.incoming = bad[i]};
        assert_int_equal(conflict_step(&arena, &input, &plan), ERR_INVALID);
    }
    struct conflict_branch here[] = {branch(0, HISTORY({4, 1}))};
    struct conflict_run runs[] = {{.exists = true}, run_of(here, 1), run_of(here, 1)};
    runs[1].current = 1;
    runs[2].exists = false;
    for (size_t i = 0; i < 3; i++) {
        struct conflict_input input = {.incoming = good, .run = runs[i]};
        assert_int_equal(conflict_step(&arena, &input, &plan), ERR_INVALID);
    }
    here[0].next_event_id = 9;
    struct conflict_input input = {.incoming = good, .run = run_of(here, 1)};
    assert_int_equal(conflict_step(&arena, &input, &plan), ERR_INVALID);
    assert_null(plan.effects);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends_what_follows),
        cmocka_unit_test(drops_what_is_known),
        cmocka_unit_test(skips_a_known_beginning),
        cmocka_unit_test(asks_for_a_gap),
        cmocka_unit_test(a_line_longer_than_the_batch),
        cmocka_unit_test(chooses_the_nearest_branch),
        cmocka_unit_test(rejects_divergence),
        cmocka_unit_test(rejects_what_follows_the_end),
        cmocka_unit_test(creates_the_first_run),
        cmocka_unit_test(asks_for_the_beginning),
        cmocka_unit_test(arbitrates),
        cmocka_unit_test(refuses_bad_input),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
