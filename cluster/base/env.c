/* SPDX-License-Identifier: Apache-2.0
 *
 * Random bytes come from a pool per thread, filled by getrandom(2): one system call serves some
 * thirty UUIDs. Bytes are erased as they are handed out, so none can be given twice.
 */
#include "cluster/base/env.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "cluster/base/check.h"
#include "cluster/base/limits.h"

/* getrandom(2) promises to be neither cut short nor interrupted up to this length. */
#define POOL_SIZE 256u

struct pool {
    size_t left; /* unused bytes, at the end of data */
    uint8_t data[POOL_SIZE];
};

static _Thread_local struct pool pool;

static int64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    int failed = clock_gettime(clock, &now);
    CHECK(failed == 0);
    return (int64_t)now.tv_sec * NS_PER_S + now.tv_nsec;
}

static int64_t system_wall_ns(void *ctx)
{
    (void)ctx;
    return clock_ns(CLOCK_REALTIME);
}

static int64_t system_monotonic_ns(void *ctx)
{
    (void)ctx;
    return clock_ns(CLOCK_MONOTONIC);
}

static void fill(uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t got = getrandom(data, len, 0);
        if (got < 0) {
            CHECK(errno == EINTR);
            continue;
        }
        data += got;
        len -= (size_t)got;
    }
}

static void system_random(void *ctx, void *ret_data, size_t len)
{
    (void)ctx;
    if (len > POOL_SIZE / 4) {
        fill(ret_data, len);
        return;
    }
    if (len > pool.left) {
        fill(pool.data, POOL_SIZE);
        pool.left = POOL_SIZE;
    }
    uint8_t *from = pool.data + POOL_SIZE - pool.left;
    memcpy(ret_data, from, len);
    memset(from, 0, len);
    pool.left -= len;
}

const struct env *env_system(void)
{
    static const struct env env = {
        .wall_ns = system_wall_ns,
        .monotonic_ns = system_monotonic_ns,
        .random = system_random,
    };
    return &env;
}

uint64_t env_random_below(const struct env *env, uint64_t bound)
{
    CHECK(bound > 0);
    /* The first 2^64 mod bound values would make small results likelier: draw again. */
    uint64_t biased = (0 - bound) % bound;
    uint64_t value;
    do {
        env_random(env, &value, sizeof(value));
    } while (value < biased);
    return value % bound;
}
