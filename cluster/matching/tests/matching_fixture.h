/* SPDX-License-Identifier: Apache-2.0
 *
 * Matching with a clock that tests move, calls that note how they end, and a sink that notes what
 * met what, as text: "task=poll task=poll -poll".
 */
#ifndef CLUSTER_MATCHING_TESTS_MATCHING_FIXTURE_H
#define CLUSTER_MATCHING_TESTS_MATCHING_FIXTURE_H

#include "cluster/base/limits.h"
#include "cluster/base/tests/support_cmocka.h"
#include "cluster/matching/matching.h"

/** A parked poll and its call. */
struct client {
    struct call call;
    struct poll poll;
    char name[32];
    bool ended;
    bool gone;        /* the client went away */
    bool notice_held; /* its notice is on its way: client_deliver_notice() */
    struct mailbox *mailbox;
    struct mail *watch; /* NULL = not watched */
};

struct world {
    int64_t now_ns;
    struct env env;
    struct metrics *metrics;
    struct matching *matching;
    struct buffer trace;   /* what happened since the last look */
    struct task *held[64]; /* tasks that met a poll, oldest first */
    size_t held_count;
    int overflows;
    int rooms;
};

extern struct world *world;

int world_setup(void **state);
int world_teardown(void **state);
/** Everything that was posted is done. */
void world_step(void);
void world_advance_ms(int64_t ms);
/** The trace since the last look, in static memory. */
const char *world_trace(void);
#define assert_trace(expected) assert_string_equal(world_trace(), expected)

/** Namespace `n` of the test. */
struct uuid namespace_of(int n);
/** Offers a task whose workflow id is `name`. `normal` NULL = not sticky. */
void offer(const char *name, enum task_kind kind, const char *queue, const char *normal);
void offer_in(int n, const char *name, const char *queue);

/** A poll with a deadline of 60 s; lives until the end of the test. */
struct client *client_poll(const char *name, enum task_kind kind, const char *queue);
struct client *client_poll_sticky(const char *name, const char *queue, const char *key);
/** The client goes away and its notice is posted. */
void client_leave(struct client *client);
/** The client goes away; its notice comes with client_deliver_notice(). */
void client_leave_quietly(struct client *client);
void client_deliver_notice(struct client *client);
/** The engine found the task stale: the poll waits on, first in line. */
void client_give_back(struct client *client);

#endif
