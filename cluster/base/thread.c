/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/base/thread.h"

#include <stdio.h>
#include <time.h>

#include "cluster/base/limits.h"
#include "cluster/base/mem.h"

/* The kernel's limit for a thread name, with the NUL. */
#define NAME_SIZE 16

struct thread {
    pthread_t id;
    void (*fn)(void *arg);
    void *arg;
    char name[NAME_SIZE];
};

static void *thread_main(void *arg)
{
    struct thread *thread = arg;
    (void)pthread_setname_np(pthread_self(), thread->name); /* only a convenience for tools */
    thread->fn(thread->arg);
    return NULL;
}

struct thread *thread_start(const char *name, void (*fn)(void *arg), void *arg)
{
    struct thread *thread = mem_new(struct thread);
    thread->fn = fn;
    thread->arg = arg;
    (void)snprintf(thread->name, sizeof(thread->name), "%s", name); /* longer names are cut */
    int failed = pthread_create(&thread->id, NULL, thread_main, thread);
    CHECK(failed == 0);
    return thread;
}

void thread_join(struct thread *thread)
{
    int failed = pthread_join(thread->id, NULL);
    CHECK(failed == 0);
    mem_free(thread);
}

void cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    int failed = pthread_condattr_init(&attr);
    CHECK(failed == 0);
    failed = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    CHECK(failed == 0);
    failed = pthread_cond_init(cond, &attr);
    CHECK(failed == 0);
    (void)pthread_condattr_destroy(&attr); /* cannot fail */
}

void cond_wait_for(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t timeout_ns)
{
    if (timeout_ns <= 0)
        return;
    struct timespec until;
    int failed = clock_gettime(CLOCK_MONOTONIC, &until);
    CHECK(failed == 0);
    int64_t second_max = INT32_MAX; /* keeps "forever" within any time_t */
    int64_t seconds = timeout_ns / NS_PER_S;
    until.tv_sec += seconds < second_max ? seconds : second_max;
    until.tv_nsec += timeout_ns % NS_PER_S;
    if (until.tv_nsec >= NS_PER_S) {
        until.tv_sec++;
        until.tv_nsec -= NS_PER_S;
    }
    /* Timeout or not: the caller looks at its condition again. */
    (void)pthread_cond_timedwait(cond, mutex, &until);
}
