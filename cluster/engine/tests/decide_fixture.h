/* SPDX-License-Identifier: Apache-2.0
 *
 * Drives handlers against a real engine over the memory store, on a clock that only tests move.
 * Matching is absent: workers' polls are simulated by starting tasks directly.
 */
#ifndef CLUSTER_ENGINE_TESTS_DECIDE_FIXTURE_H
#define CLUSTER_ENGINE_TESTS_DECIDE_FIXTURE_H

#include "cluster/base/tests/support_cmocka.h"
#include "cluster/engine/decide.h"
#include "cluster/engine/event_build.h"
#include "proto/api_service_activity.pb-c.h"
#include "proto/api_service_task.pb-c.h"
#include "proto/api_service_workflow.pb-c.h"

#define HARNESS_START_NS (1700000000ll * NS_PER_S) /* base/limits.h */

/** How a call ended. In the arena of the test. */
struct outcome {
    bool done;
    enum grpc_code code;
    char *message;
    char *detail_type;
    struct bytes body;
};

/** The world of one test; group fixtures open and close it per test. */
struct harness;
struct store_fault;
extern struct harness *harness;

int harness_setup(void **state);
int harness_teardown(void **state);

int64_t harness_now(void);
/** Moves the clock and lets everything happen that becomes due. */
void harness_advance_ms(int64_t ms);
/** Crash: memory is gone, the database stays. */
void harness_restart(void);
/** The namespace fails over to another version (still active here). */
void harness_set_version(int64_t version);
struct arena *harness_arena(void);
/** Faults of the store under the engine; armed rules end with a restart. */
struct store_fault *harness_fault(void);

/** Runs one handler to its end. `run_id` NULL = the current run. The workflow id is "w". */
struct outcome harness_call(
    request_handler *handler, const void *message, void *ctx, const char *run_id);
/** A look at the run from within the executor; `run` may be NULL. */
typedef void harness_look_fn(struct decision *d, struct run *run, void *ctx);
void harness_look(harness_look_fn *look, void *ctx);

/** Starts workflow "w" with these timeouts (0 = none) and returns its run id. */
const char *harness_start(int64_t run_timeout_ms, const Api__RetryPolicy *retry);
struct outcome harness_signal(const char *name, const char *request_id);
/** A worker takes the pending workflow task; NULL when none can start. */
Api__PollWorkflowTaskQueueResponse *harness_take_task(void);
/** The same for an activity attempt; NULL when none waits. */
Api__PollActivityTaskQueueResponse *harness_take_activity(const char *activity_id);
/** Completes the task with these commands. */
struct outcome harness_complete(
    const Api__PollWorkflowTaskQueueResponse *task, Api__Command **commands, size_t count);
/** take + complete; asserts that it went well. */
void harness_run_task(Api__Command **commands, size_t count);

/** Commands, in the test's arena. */
Api__Command *command_activity(const char *id, int64_t start_to_close_ms, int32_t max_attempts);
Api__Command *command_cancel_activity(int64_t scheduled_event_id);
Api__Command *command_timer(const char *id, int64_t ms);
Api__Command *command_cancel_timer(const char *id);
Api__Command *command_complete(void);
Api__Command *command_fail(bool non_retryable);
Api__Command *command_continue(void);

/** The types of all events of the current run, "Started Scheduled …", shortened: the prefix
 *  WorkflowExecution is left out, WorkflowTask becomes Task, ActivityTask becomes Activity. */
const char *harness_history(void);
int64_t harness_event_count(void);
/** An event of the current run; id from 1, negative from the end. */
Api__HistoryEvent *harness_event(int64_t id);
#define assert_history(expected) assert_string_equal(harness_history(), expected)

/** An application failure, serialized. */
struct bytes application_failure(const char *type, bool non_retryable);
/** An opaque field with one element. */
ProtobufCBinaryData *one_binary(struct bytes value);
/** What an activity report addresses. */
struct activity_target *target_by_token(const Api__PollActivityTaskQueueResponse *task);
struct activity_target *target_by_id(const char *activity_id);

#endif
