/* SPDX-License-Identifier: Apache-2.0
 *
 * Retry policies of activities and workflows: defaults, validity, and what follows a failure. Pure.
 */
#ifndef CLUSTER_ENGINE_RETRY_POLICY_H
#define CLUSTER_ENGINE_RETRY_POLICY_H

#include <stdint.h>

#include "cluster/base/arena.h"
#include "proto/api_common.pb-c.h"

/** A copy with every default filled in; NULL gives the whole default policy (1 s, doubling, at most
 *  100 times the first interval, no limit of attempts). */
Api__RetryPolicy *retry_policy_effective(struct arena *arena, const Api__RetryPolicy *policy);
/** NULL when the policy is valid (NULL is), else what is wrong with it, in one sentence. */
const char *retry_policy_check(const Api__RetryPolicy *policy);

struct retry_decision {
    Api__RetryState state; /* IN_PROGRESS: retry */
    int64_t backoff_ns;    /* when IN_PROGRESS */
};

/** What follows the failure of `attempt` (from 1) at `now_ns`. `failure` may be NULL (retryable).
 *  `expires_ns`: no attempt may begin after it; 0 = none. */
struct retry_decision retry_next(const Api__RetryPolicy *policy, int32_t attempt,
    const Api__Failure *failure, int64_t now_ns, int64_t expires_ns);

#endif
