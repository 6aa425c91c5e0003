/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "cluster/base/tests/support_cmocka.h"
#include "cluster/engine/decide.h"
#include "cluster/engine/decide_read.h"
#include "cluster/matching/matching.h"

static const struct task_token SAMPLE = {.namespace_id = {.bytes = {1}},
    .run_id = {.bytes = {2}},
    .scheduled_event_id = 3,
    .started_event_id = 4,
    .attempt = 5,
    .nonce = UINT64_MAX,
    .kind = TASK_ACTIVITY,
    .started_ns = 6,
    .history_bytes = 7};

static struct bytes sample(struct arena *arena)
{
    struct task_token token = SAMPLE;
    token.workflow_id = bytes_of("workflow");
    token.identity = bytes_of("me");
    token.activity_id = bytes_of("activity");
    return task_token_write(arena, &token);
}

static void a_task_token_reads_back(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct task_token read;
    assert_int_equal(task_token_read(&arena, sample(&arena), &read), OK);
    assert_true(uuid_equal(read.namespace_id, SAMPLE.namespace_id));
    assert_true(uuid_equal(read.run_id, SAMPLE.run_id));
    assert_true(bytes_equal(read.workflow_id, bytes_of("workflow")));
    assert_true(bytes_equal(read.activity_id, bytes_of("activity")));
    assert_true(bytes_equal(read.identity, bytes_of("me")));
    assert_int_equal(read.scheduled_event_id, 3);
    assert_int_equal(read.started_event_id, 4);
    assert_int_equal(read.attempt, 5);
    assert_true(read.nonce == UINT64_MAX);
    assert_int_equal(read.kind, TASK_ACTIVITY);
    arena_release(&arena);
}

static void foreign_task_tokens_are_refused(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct task_token read;
    struct bytes token = sample(&arena);
    assert_int_equal(task_token_read(&arena, bytes_of(""), &read), ERR_INVALID);
    assert_int_equal(task_token_read(&arena, bytes_of("no token of ours"), &read), ERR_INVALID);
    for (size_t i = 0; i < token.len; i++) {
        uint8_t *copy = arena_copy(&arena, token.data, token.len);
        copy[i] ^= 4;
        assert_int_equal(task_token_read(&arena, bytes_make(copy, token.len), &read), ERR_INVALID);
        assert_int_equal(task_token_read(&arena, bytes_make(token.data, i), &read), ERR_INVALID);
    }
    struct history_token page = {.next = 1};
    assert_int_equal(
        task_token_read(&arena, history_token_write(&arena, &page), &read), ERR_INVALID);
    arena_release(&arena);
}

static void page_tokens_pin_their_run(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct history_token token = {.run_id = {.bytes = {8}},
        .branch = 2,
        .next = 7,
        .end = 9,
        .unwritten = bytes_of("\x0a\x02\x08\x09")};
    struct bytes encoded = history_token_write(&arena, &token);
    struct history_token read;
    assert_int_equal(history_token_read(&arena, encoded, &read), OK);
    assert_int_equal(read.branch, 2);
    assert_int_equal(read.next, 7);
    assert_int_equal(read.end, 9);
    assert_true(bytes_equal(read.unwritten, token.unwritten));
    struct uuid run_id;
    assert_int_equal(history_token_run(encoded, &run_id), OK);
    assert_true(uuid_equal(run_id, token.run_id));
    assert_int_equal(history_token_run(bytes_of(""), &run_id), OK);
    assert_true(uuid_is_zero(run_id));
    assert_int_equal(history_token_run(bytes_of("x"), &run_id), ERR_INVALID);
    arena_release(&arena);
}

static void nonsense_in_page_tokens_is_refused(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct history_token read;
    struct history_token cases[] = {
        {.next = 0}, {.next = 5, .end = 4}, {.next = 1, .end = -1}, {.next = 1, .end = 1}};
    cases[3].unwritten = bytes_of("not History");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(
            history_token_read(&arena, history_token_write(&arena, &cases[i]), &read), ERR_INVALID);
    arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_task_token_reads_back),
        cmocka_unit_test(foreign_task_tokens_are_refused),
        cmocka_unit_test(page_tokens_pin_their_run),
        cmocka_unit_test(nonsense_in_page_tokens_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
