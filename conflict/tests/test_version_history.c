/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/base/tests/support_cmocka.h"
#include "conflict/version_history.h"

#define HISTORY(...)                                                      \
    ((struct version_history){(const struct version_item[]){__VA_ARGS__}, \
        sizeof((const struct version_item[]){__VA_ARGS__}) / sizeof(struct version_item)})

static const struct version_history EMPTY = {NULL, 0};

static void validity(void **state)
{
    (void)state;
    assert_false(version_history_valid(EMPTY));
    assert_true(version_history_valid(HISTORY({1, 1})));
    assert_true(version_history_valid(HISTORY({3, 1}, {4, 12}, {90, 21})));
    assert_false(version_history_valid(HISTORY({0, 1})));
    assert_false(version_history_valid(HISTORY({3, 0})));
    assert_false(version_history_valid(HISTORY({-1, 1})));
    assert_false(version_history_valid(HISTORY({3, -2})));
    assert_false(version_history_valid(HISTORY({3, 1}, {3, 2})));
    assert_false(version_history_valid(HISTORY({3, 1}, {4, 1})));
    assert_false(version_history_valid(HISTORY({3, 1}, {2, 2})));
    assert_false(version_history_valid(HISTORY({3, 2}, {4, 1})));
}

static void last_and_version_of(void **state)
{
    (void)state;
    struct version_history history = HISTORY({3, 1}, {7, 12});
    assert_int_equal(version_history_last(EMPTY).event_id, 0);
    assert_int_equal(version_history_last(history).event_id, 7);
    assert_int_equal(version_history_last(history).version, 12);
    const int64_t versions[] = {0, 1, 1, 1, 12, 12, 12, 12, 0};
    for (int64_t id = 0; id <= 8; id++)
        assert_int_equal(version_history_version_of(history, id), versions[id]);
    assert_int_equal(version_history_version_of(history, INT64_MAX), 0);
    assert_int_equal(version_history_version_of(history, INT64_MIN), 0);
}

static void contains(void **state)
{
    (void)state;
    struct version_history history = HISTORY({3, 1}, {7, 12});
    assert_true(version_history_contains(history, (struct version_item){3, 1}));
    assert_true(version_history_contains(history, (struct version_item){2, 1}));
    assert_false(version_history_contains(history, (struct version_item){4, 1}));
    assert_false(version_history_contains(history, (struct version_item){8, 12}));
    assert_false(version_history_contains(history, (struct version_item){8, 0}));
    assert_false(version_history_contains(history, (struct version_item){0, 0}));
}

static void common_is(
    struct version_history a, struct version_history b, int64_t event_id, int64_t version)
{
    struct version_item common = {-1, -1};
    assert_true(version_history_common(a, b, &common));
    assert_int_equal(common.event_id, event_id);
    assert_int_equal(common.version, version);
    assert_true(version_history_common(b, a, &common));
    assert_int_equal(common.event_id, event_id);
    assert_int_equal(common.version, version);
}

static void common(void **state)
{
    (void)state;
    common_is(HISTORY({5, 1}), HISTORY({5, 1}), 5, 1);
    common_is(HISTORY({5, 1}), HISTORY({9, 1}), 5, 1);
    common_is(HISTORY({5, 1}), HISTORY({5, 1}, {9, 2}), 5, 1);
    common_is(HISTORY({5, 1}), HISTORY({3, 1}, {9, 2}), 3, 1);
    common_is(HISTORY({5, 1}, {8, 3}), HISTORY({5, 1}, {9, 2}), 5, 1);
    common_is(HISTORY({5, 1}, {8, 3}), HISTORY({4, 1}, {9, 2}), 4, 1);
    common_is(HISTORY({5, 1}, {8, 3}, {10, 11}), HISTORY({5, 1}, {9, 3}), 8, 3);
    struct version_item untouched = {42, 42};
    assert_false(version_history_common(HISTORY({5, 1}), HISTORY({5, 2}), &untouched));
    assert_false(version_history_common(HISTORY({5, 1}), EMPTY, &untouched));
    assert_int_equal(untouched.event_id, 42);
}

/* Equal versions far back make no common event when what is before them differs. */
static void same_version_behind_a_difference(void **state)
{
    (void)state;
    common_is(HISTORY({5, 1}, {8, 2}), HISTORY({6, 1}, {9, 2}), 5, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(validity),
        cmocka_unit_test(last_and_version_of),
        cmocka_unit_test(contains),
        cmocka_unit_test(common),
        cmocka_unit_test(same_version_behind_a_difference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
