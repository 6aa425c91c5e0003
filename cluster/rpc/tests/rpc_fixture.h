/* SPDX-License-Identifier: Apache-2.0
 *
 * For the tests of the RPC layer: a server whose methods do what their names say, and a client that
 * can do what ours cannot (gzip, headers per call, cancelling).
 */
#ifndef CLUSTER_RPC_TESTS_RPC_FIXTURE_H
#define CLUSTER_RPC_TESTS_RPC_FIXTURE_H

#include <pthread.h>
#include <stdint.h>

#include "cluster/base/call.h"
#include "cluster/base/list.h"
#include "cluster/base/mailbox.h"
#include "cluster/base/metrics.h"
#include "cluster/rpc/rpc_client.h"
#include "cluster/rpc/rpc_server.h"

#define PARKED_MAX 6000

/* Methods of the fixture's server:
 *   /test.Test/Echo     the request
 *   /test.Test/Method   the method's own name
 *   /test.Test/Flags    "<forwarded><no_forward>" as digits
 *   /test.Test/Deadline the remaining time in ms as text, "none" without one
 *   /test.Test/Fail     NOT_FOUND "gone: <request>" with details test.v1.GoneFailure = request
 *   /test.Test/Plain    ABORTED "plain", no details
 *   /test.Test/Park     parked until fixture_release_parked
 *   others              UNIMPLEMENTED "unknown: <method>" */
struct fixture {
    struct rpc_server *server;
    struct rpc_client *client;
    struct metrics *metrics;
    char address[64];
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    struct call *parked[PARKED_MAX]; /* guarded by mutex */
    int parked_count;
};

/** `threads` of the server; TLS files or NULL come with `tls`. Fails the test on errors. */
void fixture_open(struct fixture *fixture, int threads, const struct rpc_server_options *tls);
/** Drains with no grace and closes both ends. Nothing may be parked. */
void fixture_close(struct fixture *fixture);
/** The fixture's handler. */
void fixture_handle(void *ctx, struct call *call);
/** Waits until `count` calls are parked. */
void fixture_wait_parked(struct fixture *fixture, int count);
/** Answers every parked call with its request; forgets them. */
void fixture_release_parked(struct fixture *fixture);

int64_t test_now_ns(void);
void test_pause_ms(int ms);
/** From the environment's TEST_SEED or the clock; printed. */
uint64_t test_seed(void);
uint64_t test_random(uint64_t *state);

/** One call through the C core's own client, step by step. */
struct raw;
struct raw_channel;
struct raw_header {
    const char *name;
    const char *value;
};
struct raw_channel *raw_channel_open(const char *address, int gzip);
void raw_channel_close(struct raw_channel *channel);
struct raw *raw_start(struct raw_channel *channel, const char *method, struct bytes body,
    int64_t timeout_ns, const struct raw_header *header);
void raw_cancel(struct raw *raw);
/** Waits for `count` calls of the channel to end. */
void raw_wait(struct raw_channel *channel, int count);
int raw_status(const struct raw *raw);
/** The status text; lives as long as the call. */
const char *raw_text(const struct raw *raw);
size_t raw_response_len(const struct raw *raw);
void raw_free(struct raw *raw);

#endif
