/* SPDX-License-Identifier: Apache-2.0
 *
 * Loops. A round steps every component once; the loop sleeps only when none wants to run again now.
 */
#include "cluster/loop.h"

#include <stdatomic.h>
#include <stdbool.h>

#include "cluster/base/limits.h"
#include "cluster/base/mem.h"
#include "cluster/base/thread.h"

#define SLEEP_MAX_NS (NS_PER_S) /* a bound on what a lost wake-up could cost */

struct loop {
    const struct env *env;
    const char *name;
    struct waker *waker;
    struct thread *thread;
    _Atomic(bool) stopping;
    int count;
    struct {
        loop_step_fn *fn;
        void *ctx;
    } steps[LOOP_STEPS_MAX];
};

struct loop *loop_open(const struct env *env, const char *name)
{
    struct loop *loop = mem_new(struct loop);
    loop->env = env;
    loop->name = name;
    loop->waker = waker_open();
    return loop;
}

struct waker *loop_waker(struct loop *loop)
{
    return loop->waker;
}

void loop_add(struct loop *loop, loop_step_fn *step, void *ctx)
{
    CHECK(!loop->thread && loop->count < LOOP_STEPS_MAX);
    loop->steps[loop->count].fn = step;
    loop->steps[loop->count].ctx = ctx;
    loop->count++;
}

static void loop_run(void *arg)
{
    struct loop *loop = arg;
    while (!atomic_load(&loop->stopping)) {
        int64_t now = env_monotonic_ns(loop->env);
        int64_t next = INT64_MAX;
        for (int i = 0; i < loop->count; i++) {
            int64_t wanted = loop->steps[i].fn(loop->steps[i].ctx, now);
            if (wanted < next)
                next = wanted;
        }
        now = env_monotonic_ns(loop->env);
        if (next <= now)
            continue;
        waker_wait(loop->waker, next - now < SLEEP_MAX_NS ? next - now : SLEEP_MAX_NS);
    }
}

void loop_start(struct loop *loop)
{
    loop->thread = thread_start(loop->name, loop_run, loop);
}

void loop_stop(struct loop *loop)
{
    if (!loop->thread)
        return;
    atomic_store(&loop->stopping, true);
    waker_wake(loop->waker);
    thread_join(loop->thread);
    loop->thread = NULL;
}

void loop_close(struct loop *loop)
{
    if (!loop)
        return;
    loop_stop(loop);
    waker_close(loop->waker);
    mem_free(loop);
}
