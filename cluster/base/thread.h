/* SPDX-License-Identifier: Apache-2.0
 *
 * The one place that starts threads, and the mutex and condition used by the few that share state.
 */
#ifndef CLUSTER_BASE_THREAD_H
#define CLUSTER_BASE_THREAD_H

#include <pthread.h>
#include <stdint.h>

#include "cluster/base/check.h"

struct thread;

/** Starts `fn(arg)`; `name` (cut at 15 characters) shows in tools. Aborts when refused. */
struct thread *thread_start(const char *name, void (*fn)(void *arg), void *arg);
/** Waits for the end of the thread and frees the handle. */
void thread_join(struct thread *thread);

/** Waits on `cond` at most `timeout_ns` of monotonic time; `cond` made by cond_init(). */
void cond_init(pthread_cond_t *cond);
void cond_wait_for(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t timeout_ns);

/** Says to ThreadSanitizer that what was written before RELEASE is seen after ACQUIRE of the same
 *  address, where a library whose locks it cannot see carries memory from thread to thread. Nothing
 *  in other builds. */
#if defined(__SANITIZE_THREAD__)
#define HANDOVER_CHECKED 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HANDOVER_CHECKED 1
#endif
#endif

#ifdef HANDOVER_CHECKED
#include <sanitizer/tsan_interface.h>
#define HANDOVER_RELEASE(addr) __tsan_release(addr)
#define HANDOVER_ACQUIRE(addr) __tsan_acquire(addr)
#else
#define HANDOVER_RELEASE(addr) ((void)(addr))
#define HANDOVER_ACQUIRE(addr) ((void)(addr))
#endif

#endif
