/* SPDX-License-Identifier: Apache-2.0
 *
 * Commits that fail, and commits whose answer is lost: what a client was told must be what the
 * database holds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/engine/tests/decide_fixture.h"
#include "cluster/store/store_fault.h"

static void arm(enum store_fault_action action, enum err err)
{
    store_fault_arm(harness_fault(),
        &(struct store_fault_rule){
            .calls = STORE_FAULT_COMMIT, .action = action, .number = 1, .err = err});
}

static int count_signals(const char *name)
{
    int found = 0;
    int64_t count = harness_event_count();
    for (int64_t id = 1; id <= count; id++) {
        const Api__HistoryEvent *event = harness_event(id);
        if (event->attributes_case ==
                API__HISTORY_EVENT__ATTRIBUTES_WORKFLOW_EXECUTION_SIGNALED_EVENT_ATTRIBUTES &&
            strcmp(event->workflow_execution_signaled_event_attributes->signal_name, name) == 0)
            found++;
    }
    return found;
}

static void a_failed_commit_leaves_nothing(void **state)
{
    (void)state;
    harness_start(0, NULL);
    arm(STORE_FAULT_FAIL, ERR_UNAVAILABLE);
    assert_int_equal(harness_signal("one", "r1").code, GRPC_UNAVAILABLE);
    assert_int_equal(count_signals("one"), 0);
    assert_int_equal(harness_signal("one", "r1").code, GRPC_OK);
    assert_int_equal(count_signals("one"), 1);
    harness_restart();
    assert_int_equal(count_signals("one"), 1);
}

static void a_failed_start_leaves_nothing(void **state)
{
    (void)state;
    arm(STORE_FAULT_FAIL, ERR_CONFLICT);
    Api__StartWorkflowExecutionRequest request;
    api__start_workflow_execution_request__init(&request);
    Api__WorkflowType type = API__WORKFLOW_TYPE__INIT;
    type.name = event_text("type");
    request.workflow_type = &type;
    request.task_queue = task_queue_new(harness_arena(), "queue");
    request.request_id = event_text("start-1");
    request.identity = event_text("client");
    store_fault_disarm(harness_fault());
    store_fault_arm(harness_fault(), &(struct store_fault_rule){.calls = STORE_FAULT_COMMIT,
                                         .action = STORE_FAULT_FAIL,
                                         .number = 1,
                                         .repeat = 100,
                                         .err = ERR_UNAVAILABLE});
    assert_int_equal(harness_call(decide_start, &request, NULL, NULL).code, GRPC_UNAVAILABLE);
    store_fault_disarm(harness_fault());
    harness_start(0, NULL);
    assert_history("Started TaskScheduled");
}

static void a_lost_answer_is_looked_up(void **state)
{
    (void)state;
    harness_start(0, NULL);
    arm(STORE_FAULT_LOSE_ANSWER, OK);
    assert_int_equal(harness_signal("one", "r1").code, GRPC_OK);
    assert_int_equal(count_signals("one"), 1);
    assert_int_equal(harness_signal("two", "r2").code, GRPC_OK);
    harness_restart();
    assert_int_equal(count_signals("one"), 1);
    assert_int_equal(count_signals("two"), 1);
}

static void a_lost_call_is_looked_up(void **state)
{
    (void)state;
    harness_start(0, NULL);
    arm(STORE_FAULT_LOSE_CALL, OK);
    assert_int_equal(harness_signal("one", "r1").code, GRPC_UNAVAILABLE);
    assert_int_equal(count_signals("one"), 0);
    assert_int_equal(harness_signal("two", "r2").code, GRPC_OK);
    harness_restart();
    assert_int_equal(count_signals("one"), 0);
    assert_int_equal(count_signals("two"), 1);
}

/* Whatever fails, the answer tells the truth. */
static void answers_are_true(void **state)
{
    (void)state;
    const char *text = getenv("SEED");
    unsigned seed = text ? (unsigned)strtoul(text, NULL, 10) : 7;
    srandom(seed);
    harness_start(0, NULL);
    int acknowledged = 0;
    for (int i = 0; i < 60; i++) {
        char name[32];
        char id[32];
        snprintf(name, sizeof(name), "s%d", i);
        snprintf(id, sizeof(id), "r%d", i);
        if (random() % 10 == 0)
            harness_restart();
        if (random() % 3 == 0) {
            static const enum store_fault_action actions[] = {
                STORE_FAULT_FAIL, STORE_FAULT_LOSE_ANSWER, STORE_FAULT_LOSE_CALL};
            arm(actions[random() % 3], ERR_UNAVAILABLE);
        }
        bool ok = harness_signal(name, id).code == GRPC_OK;
        acknowledged += ok;
        store_fault_disarm(harness_fault());
        if (count_signals(name) != ok)
            print_message("signal %d: acknowledged %d, in history %d; replay with SEED=%u\n", i, ok,
                count_signals(name), seed);
        assert_int_equal(count_signals(name), ok);
    }
    harness_restart();
    int stored = 0;
    for (int i = 0; i < 60; i++) {
        char name[32];
        snprintf(name, sizeof(name), "s%d", i);
        stored += count_signals(name);
    }
    assert_int_equal(stored, acknowledged);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            a_failed_commit_leaves_nothing, harness_setup, harness_teardown),
        cmocka_unit_test_setup_teardown(
            a_failed_start_leaves_nothing, harness_setup, harness_teardown),
        cmocka_unit_test_setup_teardown(
            a_lost_answer_is_looked_up, harness_setup, harness_teardown),
        cmocka_unit_test_setup_teardown(a_lost_call_is_looked_up, harness_setup, harness_teardown),
        cmocka_unit_test_setup_teardown(answers_are_true, harness_setup, harness_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
