/* SPDX-License-Identifier: Apache-2.0
 *
 * Clock and randomness behind a vtable, so that the simulator can supply both.
 */
#ifndef CLUSTER_BASE_ENV_H
#define CLUSTER_BASE_ENV_H

#include <stddef.h>
#include <stdint.h>

/** Where time and randomness come from. Callbacks may be called from any thread. */
struct env {
    void *ctx;
    int64_t (*wall_ns)(void *ctx);      /* nanoseconds since 1970-01-01T00:00:00Z; may jump */
    int64_t (*monotonic_ns)(void *ctx); /* never goes back; leases and deadlines use it */
    void (*random)(void *ctx, void *ret_data, size_t len);
};

/** The operating system's clock and getrandom(2). Static, thread-safe. */
const struct env *env_system(void);

static inline int64_t env_wall_ns(const struct env *env)
{
    return env->wall_ns(env->ctx);
}

static inline int64_t env_monotonic_ns(const struct env *env)
{
    return env->monotonic_ns(env->ctx);
}

static inline void env_random(const struct env *env, void *ret_data, size_t len)
{
    env->random(env->ctx, ret_data, len);
}

/** Uniform in [0, bound), bound > 0. */
uint64_t env_random_below(const struct env *env, uint64_t bound);

#endif
