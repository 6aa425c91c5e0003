/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/engine/retry_policy.h"

#include "cluster/base/limits.h"
#include "cluster/base/tests/support_cmocka.h"
#include "cluster/engine/event_build.h"

static struct arena arena;

static int release(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

static Api__RetryPolicy policy_of(int64_t initial_ms, double coefficient, int64_t maximum_ms)
{
    Api__RetryPolicy policy = API__RETRY_POLICY__INIT;
    policy.initial_interval = duration_new(&arena, initial_ms);
    policy.backoff_coefficient = coefficient;
    policy.maximum_interval = duration_new(&arena, maximum_ms);
    return policy;
}

static Api__Failure application(Api__ApplicationFailureInfo *info, const char *type)
{
    Api__Failure failure = API__FAILURE__INIT;
    api__application_failure_info__init(info);
    info->type = event_text(type);
    failure.failure_info_case = API__FAILURE__FAILURE_INFO_APPLICATION_FAILURE_INFO;
    failure.application_failure_info = info;
    return failure;
}

static Api__Failure timeout(Api__TimeoutFailureInfo *info, Api__TimeoutType type)
{
    Api__Failure failure = API__FAILURE__INIT;
    api__timeout_failure_info__init(info);
    info->timeout_type = type;
    failure.failure_info_case = API__FAILURE__FAILURE_INFO_TIMEOUT_FAILURE_INFO;
    failure.timeout_failure_info = info;
    return failure;
}

static void defaults_are_filled_in(void **state)
{
    (void)state;
    const Api__RetryPolicy *full = retry_policy_effective(&arena, NULL);
    assert_int_equal(duration_ms(full->initial_interval), 1000);
    assert_true(full->backoff_coefficient == 2.0);
    assert_int_equal(duration_ms(full->maximum_interval), 100000);
    assert_int_equal(full->maximum_attempts, 0);
    Api__RetryPolicy given = policy_of(500, 3, 0);
    full = retry_policy_effective(&arena, &given);
    assert_int_equal(duration_ms(full->initial_interval), 500);
    assert_true(full->backoff_coefficient == 3.0);
    assert_int_equal(duration_ms(full->maximum_interval), 50000);
}

static void the_interval_grows_to_its_maximum(void **state)
{
    (void)state;
    Api__RetryPolicy policy = policy_of(1000, 2, 10000);
    static const int64_t seconds[] = {1, 2, 4, 8, 10, 10};
    for (int32_t i = 0; i < 6; i++) {
        struct retry_decision next = retry_next(&policy, i + 1, NULL, 0, 0);
        assert_int_equal(next.state, API__RETRY_STATE__RETRY_STATE_IN_PROGRESS);
        assert_int_equal(next.backoff_ns, seconds[i] * NS_PER_S);
    }
    struct retry_decision late = retry_next(&policy, INT32_MAX, NULL, 0, 0);
    assert_int_equal(late.backoff_ns, 10 * NS_PER_S);
}

static void attempts_are_limited(void **state)
{
    (void)state;
    Api__RetryPolicy policy = policy_of(1000, 2, 10000);
    policy.maximum_attempts = 3;
    assert_int_equal(
        retry_next(&policy, 2, NULL, 0, 0).state, API__RETRY_STATE__RETRY_STATE_IN_PROGRESS);
    assert_int_equal(retry_next(&policy, 3, NULL, 0, 0).state,
        API__RETRY_STATE__RETRY_STATE_MAXIMUM_ATTEMPTS_REACHED);
}

static void no_attempt_begins_after_the_expiry(void **state)
{
    (void)state;
    Api__RetryPolicy policy = policy_of(1000, 2, 10000);
    assert_int_equal(retry_next(&policy, 1, NULL, 500, 500 + NS_PER_S).state,
        API__RETRY_STATE__RETRY_STATE_IN_PROGRESS);
    assert_int_equal(retry_next(&policy, 1, NULL, 501, 500 + NS_PER_S).state,
        API__RETRY_STATE__RETRY_STATE_TIMEOUT);
}

static void some_failures_are_final(void **state)
{
    (void)state;
    Api__RetryPolicy policy = policy_of(1000, 2, 10000);
    char *types[] = {event_text("Fatal"), event_text("TemporalTimeout:Heartbeat")};
    policy.non_retryable_error_types = types;
    policy.n_non_retryable_error_types = 2;
    Api__ApplicationFailureInfo info;
    Api__Failure fatal = application(&info, "Fatal");
    assert_int_equal(retry_next(&policy, 1, &fatal, 0, 0).state,
        API__RETRY_STATE__RETRY_STATE_NON_RETRYABLE_FAILURE);
    Api__Failure other = application(&info, "Other");
    assert_int_equal(
        retry_next(&policy, 1, &other, 0, 0).state, API__RETRY_STATE__RETRY_STATE_IN_PROGRESS);
    info.non_retryable = true;
    assert_int_equal(retry_next(&policy, 1, &other, 0, 0).state,
        API__RETRY_STATE__RETRY_STATE_NON_RETRYABLE_FAILURE);
}

static void timeouts_are_retried_by_kind(void **state)
{
    (void)state;
    Api__RetryPolicy policy = policy_of(1000, 2, 10000);
    char *types[] = {event_text("TemporalTimeout:Heartbeat")};
    Api__TimeoutFailureInfo info;
    Api__Failure start_to_close = timeout(&info, API__TIMEOUT_TYPE__TIMEOUT_TYPE_START_TO_CLOSE);
    assert_int_equal(retry_next(&policy, 1, &start_to_close, 0, 0).state,
        API__RETRY_STATE__RETRY_STATE_IN_PROGRESS);
    Api__Failure heartbeat = timeout(&info, API__TIMEOUT_TYPE__TIMEOUT_TYPE_HEARTBEAT);
    assert_int_equal(
        retry_next(&policy, 1, &heartbeat, 0, 0).state, API__RETRY_STATE__RETRY_STATE_IN_PROGRESS);
    policy.non_retryable_error_types = types;
    policy.n_non_retryable_error_types = 1;
    assert_int_equal(retry_next(&policy, 1, &heartbeat, 0, 0).state,
        API__RETRY_STATE__RETRY_STATE_NON_RETRYABLE_FAILURE);
    Api__Failure start = timeout(&info, API__TIMEOUT_TYPE__TIMEOUT_TYPE_SCHEDULE_TO_START);
    assert_int_equal(retry_next(&policy, 1, &start, 0, 0).state,
        API__RETRY_STATE__RETRY_STATE_NON_RETRYABLE_FAILURE);
}

static void the_failure_may_name_the_delay(void **state)
{
    (void)state;
    Api__RetryPolicy policy = policy_of(1000, 2, 10000);
    Api__ApplicationFailureInfo info;
    Api__Failure failure = application(&info, "Later");
    info.next_retry_delay = duration_new(&arena, 77000);
    assert_int_equal(retry_next(&policy, 1, &failure, 0, 0).backoff_ns, 77 * NS_PER_S);
}

static void bad_policies_are_refused(void **state)
{
    (void)state;
    Api__RetryPolicy good = policy_of(1000, 2, 10000);
    Api__RetryPolicy small = policy_of(1000, 0.5, 10000);
    Api__RetryPolicy shorter = policy_of(1000, 2, 999);
    Api__RetryPolicy negative = policy_of(-1, 2, 0);
    Api__RetryPolicy once = policy_of(-1, 0.5, 0);
    once.maximum_attempts = 1;
    assert_null(retry_policy_check(NULL));
    assert_null(retry_policy_check(&good));
    assert_null(retry_policy_check(&once));
    assert_non_null(retry_policy_check(&small));
    assert_non_null(retry_policy_check(&shorter));
    assert_non_null(retry_policy_check(&negative));
    good.maximum_attempts = -1;
    assert_non_null(retry_policy_check(&good));
}

static void without_a_policy_nothing_is_retried(void **state)
{
    (void)state;
    assert_int_equal(
        retry_next(NULL, 1, NULL, 0, 0).state, API__RETRY_STATE__RETRY_STATE_RETRY_POLICY_NOT_SET);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(defaults_are_filled_in, release),
        cmocka_unit_test_teardown(the_interval_grows_to_its_maximum, release),
        cmocka_unit_test_teardown(attempts_are_limited, release),
        cmocka_unit_test_teardown(no_attempt_begins_after_the_expiry, release),
        cmocka_unit_test_teardown(some_failures_are_final, release),
        cmocka_unit_test_teardown(timeouts_are_retried_by_kind, release),
        cmocka_unit_test_teardown(the_failure_may_name_the_delay, release),
        cmocka_unit_test_teardown(bad_policies_are_refused, release),
        cmocka_unit_test_teardown(without_a_policy_nothing_is_retried, release),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
