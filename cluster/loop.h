/* SPDX-License-Identifier: Apache-2.0
 *
 * A loop: one thread that steps a few components and sleeps until mail or a deadline.
 */
#ifndef CLUSTER_LOOP_H
#define CLUSTER_LOOP_H

#include <stdint.h>

#include "cluster/base/env.h"
#include "cluster/base/mailbox.h"

#define LOOP_STEPS_MAX 8

struct loop;

/** One bounded step; returns when it wants to run again at the latest (monotonic ns). */
typedef int64_t loop_step_fn(void *ctx, int64_t monotonic_now_ns);

/** A loop that does not run yet. */
struct loop *loop_open(const struct env *env, const char *name);
struct waker *loop_waker(struct loop *loop);
/** Before loop_start. */
void loop_add(struct loop *loop, loop_step_fn *step, void *ctx);
void loop_start(struct loop *loop);
/** Ends the thread after its present round; the waker stays valid until loop_close. */
void loop_stop(struct loop *loop);
void loop_close(struct loop *loop);

#endif
