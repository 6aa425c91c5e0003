/* SPDX-License-Identifier: Apache-2.0
 *
 * Deleting: what is gone is gone, and its workflow id is free again.
 */
#include "cluster/engine/tests/decide_fixture.h"

static void start_and_delete(struct decision *d, struct run *run, void *ctx)
{
    (void)ctx;
    assert_null(run);
    struct run *made = decision_create_run(d, uuid_new(d->env), true);
    decision_delete_run(d, made);
}

static void a_run_deleted_in_its_first_commit_leaves_no_pointer(void **state)
{
    (void)state;
    harness_look(start_and_delete, NULL);
    harness_start(0, NULL);
    assert_history("Started TaskScheduled");
    harness_restart();
    assert_history("Started TaskScheduled");
}

static void delete_run(struct decision *d, struct run *run, void *ctx)
{
    (void)ctx;
    decision_delete_run(d, run);
}

static void a_deleted_run_is_gone(void **state)
{
    (void)state;
    harness_start(0, NULL);
    harness_look(delete_run, NULL);
    assert_int_equal(harness_signal("one", "r1").code, GRPC_NOT_FOUND);
    harness_restart();
    assert_int_equal(harness_signal("one", "r1").code, GRPC_NOT_FOUND);
    harness_start(0, NULL);
    assert_history("Started TaskScheduled");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            a_run_deleted_in_its_first_commit_leaves_no_pointer, harness_setup, harness_teardown),
        cmocka_unit_test_setup_teardown(a_deleted_run_is_gone, harness_setup, harness_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
