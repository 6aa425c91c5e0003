/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/engine/retry_policy.h"

#include <stdbool.h>
#include <string.h>

#include "cluster/base/limits.h"
#include "cluster/engine/event_build.h"
#include "cluster/engine/failure_build.h"

#define INITIAL_INTERVAL_MS 1000
#define BACKOFF_COEFFICIENT 2.0
#define MAX_INTERVAL_FACTOR 100
/* Timeouts are matched against non-retryable types under this prefix. */
#define TIMEOUT_TYPE_PREFIX "TemporalTimeout:"

Api__RetryPolicy *retry_policy_effective(struct arena *arena, const Api__RetryPolicy *policy)
{
    Api__RetryPolicy *full = arena_new(arena, Api__RetryPolicy);
    api__retry_policy__init(full);
    if (policy)
        *full = *policy;
    if (duration_ns(full->initial_interval) == 0)
        full->initial_interval = duration_new(arena, INITIAL_INTERVAL_MS);
    if (full->backoff_coefficient == 0)
        full->backoff_coefficient = BACKOFF_COEFFICIENT;
    if (duration_ns(full->maximum_interval) == 0) {
        int64_t max_ns = 0;
        if (__builtin_mul_overflow(
                duration_ns(full->initial_interval), (int64_t)MAX_INTERVAL_FACTOR, &max_ns))
            max_ns = INT64_MAX;
        full->maximum_interval = duration_new_ns(arena, max_ns);
    }
    return full;
}

const char *retry_policy_check(const Api__RetryPolicy *policy)
{
    /* One attempt only: nothing else of the policy is ever used. */
    if (!policy || policy->maximum_attempts == 1)
        return NULL;
    int64_t initial = duration_ns(policy->initial_interval);
    int64_t maximum = duration_ns(policy->maximum_interval);
    if (initial < 0)
        return "InitialInterval cannot be negative on retry policy.";
    if (policy->backoff_coefficient != 0 && policy->backoff_coefficient < 1)
        return "BackoffCoefficient cannot be less than 1 on retry policy.";
    if (maximum < 0)
        return "MaximumInterval cannot be negative on retry policy.";
    if (maximum > 0 && maximum < initial)
        return "MaximumInterval cannot be less than InitialInterval on retry policy.";
    if (policy->maximum_attempts < 0)
        return "MaximumAttempts cannot be negative on retry policy.";
    return NULL;
}

static bool is_listed(const Api__RetryPolicy *policy, const char *type)
{
    for (size_t i = 0; i < policy->n_non_retryable_error_types; i++) {
        if (strcmp(policy->non_retryable_error_types[i], type) == 0)
            return true;
    }
    return false;
}

static bool is_timeout_listed(const Api__RetryPolicy *policy, Api__TimeoutType type)
{
    const size_t prefix = sizeof(TIMEOUT_TYPE_PREFIX) - 1;
    for (size_t i = 0; i < policy->n_non_retryable_error_types; i++) {
        const char *listed = policy->non_retryable_error_types[i];
        if (strncmp(listed, TIMEOUT_TYPE_PREFIX, prefix) == 0 &&
            strcmp(listed + prefix, timeout_name(type)) == 0)
            return true;
    }
    return false;
}

static bool is_retryable(const Api__RetryPolicy *policy, const Api__Failure *failure)
{
    if (!failure)
        return true;
    switch ((int)failure->failure_info_case) {
    case API__FAILURE__FAILURE_INFO_TERMINATED_FAILURE_INFO:
    case API__FAILURE__FAILURE_INFO_CANCELED_FAILURE_INFO:
        return false;
    case API__FAILURE__FAILURE_INFO_TIMEOUT_FAILURE_INFO: {
        Api__TimeoutType type = failure->timeout_failure_info->timeout_type;
        if (type != API__TIMEOUT_TYPE__TIMEOUT_TYPE_START_TO_CLOSE &&
            type != API__TIMEOUT_TYPE__TIMEOUT_TYPE_HEARTBEAT)
            return false;
        return !is_timeout_listed(policy, type);
    }
    case API__FAILURE__FAILURE_INFO_SERVER_FAILURE_INFO:
        return !failure->server_failure_info->non_retryable;
    case API__FAILURE__FAILURE_INFO_APPLICATION_FAILURE_INFO:
        return !failure->application_failure_info->non_retryable &&
               !is_listed(policy, failure->application_failure_info->type);
    default:
        return true;
    }
}

/* initial * coefficient ^ (attempt - 1), at most the maximum. */
static int64_t backoff_ns(const Api__RetryPolicy *policy, int32_t attempt)
{
    double initial = (double)duration_ns(policy->initial_interval);
    double maximum = (double)duration_ns(policy->maximum_interval);
    if (maximum <= 0)
        maximum = initial * MAX_INTERVAL_FACTOR;
    double interval = initial;
    for (int32_t i = 1; i < attempt && interval < maximum; i++) {
        if (policy->backoff_coefficient <= 1)
            break;
        interval *= policy->backoff_coefficient;
    }
    if (interval > maximum)
        interval = maximum;
    /* Larger values are not exact in a double; nobody waits that long. */
    const double limit = 9.0e18;
    return interval >= limit ? (int64_t)limit : (int64_t)interval;
}

struct retry_decision retry_next(const Api__RetryPolicy *policy, int32_t attempt,
    const Api__Failure *failure, int64_t now_ns, int64_t expires_ns)
{
    if (!policy)
        return (struct retry_decision){API__RETRY_STATE__RETRY_STATE_RETRY_POLICY_NOT_SET, 0};
    if (!is_retryable(policy, failure))
        return (struct retry_decision){API__RETRY_STATE__RETRY_STATE_NON_RETRYABLE_FAILURE, 0};
    if (policy->maximum_attempts > 0 && attempt >= policy->maximum_attempts)
        return (struct retry_decision){API__RETRY_STATE__RETRY_STATE_MAXIMUM_ATTEMPTS_REACHED, 0};
    int64_t backoff = backoff_ns(policy, attempt);
    if (failure &&
        failure->failure_info_case == API__FAILURE__FAILURE_INFO_APPLICATION_FAILURE_INFO &&
        failure->application_failure_info->next_retry_delay) {
        backoff = duration_ns(failure->application_failure_info->next_retry_delay);
        if (backoff < 0)
            backoff = 0;
    }
    int64_t next_ns = 0;
    if (__builtin_add_overflow(now_ns, backoff, &next_ns))
        return (struct retry_decision){API__RETRY_STATE__RETRY_STATE_TIMEOUT, 0};
    if (expires_ns && next_ns > expires_ns)
        return (struct retry_decision){API__RETRY_STATE__RETRY_STATE_TIMEOUT, 0};
    return (struct retry_decision){API__RETRY_STATE__RETRY_STATE_IN_PROGRESS, backoff};
}
