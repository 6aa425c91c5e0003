/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/base/tests/support_cmocka.h"

#include "cluster/base/check.h"
#include "conflict/version_history.h"

#define HISTORY(...)                                       \
    ((struct version_history){                             \
        (const struct version_item[]){__VA_ARGS__},        \
        sizeof((const struct version_item[]){__VA_ARGS__}) / sizeof(struct version_item)})

static void test_valid(void **state)
{
    (void)state;
    assert_true(version_history_valid(HISTORY({5, 1})));
    assert_true(version_history_valid(HISTORY({5, 1}, {6, 2}, {9, 11})));
    assert_false(version_history_valid((struct version_history){NULL, 0}));
    assert_false(version_history_valid(HISTORY({0, 1})));
    assert_false(version_history_valid(HISTORY({5, 0})));
    assert_false(version_history_valid(HISTORY({5, 1}, {5, 2})));
    assert_false(version_history_valid(HISTORY({5, 1}, {4, 2})));
    assert_false(version_history_valid(HISTORY({5, 2}, {6, 2})));
    assert_false(version_history_valid(HISTORY({5, 2}, {6, 1})));
}

static void test_last(void **state)
{
    (void)state;
    assert_int_equal(version_history_last(HISTORY({5, 1}, {8, 12})).event_id, 8);
    assert_int_equal(version_history_last(HISTORY({5, 1}, {8, 12})).version, 12);
    assert_int_equal(version_history_last((struct version_history){NULL, 0}).event_id, 0);
}

static void test_version_of(void **state)
{
    (void)state;
    struct version_history history = HISTORY({5, 1}, {8, 12});
    assert_int_equal(version_history_version_of(history, 0), 0);
    assert_int_equal(version_history_version_of(history, 1), 1);
    assert_int_equal(version_history_version_of(history, 5), 1);
    assert_int_equal(version_history_version_of(history, 6), 12);
    assert_int_equal(version_history_version_of(history, 8), 12);
    assert_int_equal(version_history_version_of(history, 9), 0);
    assert_true(version_history_contains(history, (struct version_item){7, 12}));
    assert_false(version_history_contains(history, (struct version_item){7, 1}));
    assert_false(version_history_contains(history, (struct version_item){9, 12}));
}

static void assert_common(
    struct version_history a, struct version_history b, int64_t event_id, int64_t version)
{
    struct version_item common;
    assert_true(version_history_common(a, b, &common));
    assert_int_equal(common.event_id, event_id);
    assert_int_equal(common.version, version);
    assert_true(version_history_common(b, a, &common));
    assert_int_equal(common.event_id, event_id);
    assert_int_equal(common.version, version);
}

static void test_common(void **state)
{
    (void)state;
    assert_common(HISTORY({5, 1}), HISTORY({5, 1}), 5, 1);
    assert_common(HISTORY({5, 1}), HISTORY({3, 1}), 3, 1);
    assert_common(HISTORY({5, 1}, {8, 12}), HISTORY({5, 1}, {7, 12}), 7, 12);
    assert_common(HISTORY({5, 1}, {8, 12}), HISTORY({6, 1}), 5, 1);
    assert_common(HISTORY({5, 1}, {8, 12}), HISTORY({5, 1}, {9, 2}), 5, 1);
    assert_common(HISTORY({5, 1}, {8, 12}, {9, 21}), HISTORY({4, 1}, {20, 32}), 4, 1);
    struct version_item common;
    assert_false(version_history_common(HISTORY({5, 1}), HISTORY({5, 2}), &common));
    assert_false(version_history_common(
        HISTORY({5, 1}), (struct version_history){NULL, 0}, &common));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_valid),
        cmocka_unit_test(test_last),
        cmocka_unit_test(test_version_of),
        cmocka_unit_test(test_common),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
