/* SPDX-License-Identifier: Apache-2.0
 *
 * Two clusters, "us" and "eu", each with frontend, matching, engine and memory store, on one clock
 * that tests move. They reach each other over a broker in memory; registry and failover are
 * replaced by hand: site_share() copies a namespace, site_activate() moves it.
 */
#ifndef CLUSTER_FRONTEND_TESTS_FRONTEND_FIXTURE_H
#define CLUSTER_FRONTEND_TESTS_FRONTEND_FIXTURE_H

#include "cluster/base/limits.h"
#include "cluster/base/proto_arena.h"
#include "cluster/base/tests/support_cmocka.h"
#include "cluster/engine/event_build.h"
#include "cluster/frontend/frontend_private.h"
#include "proto/api_errors.pb-c.h"
#include "proto/api_service_namespace.pb-c.h"
#include "proto/api_service_task.pb-c.h"
#include "proto/api_service_workflow.pb-c.h"

enum { US, EU, SITES };

struct site {
    struct env env;
    struct env engine_env; /* a clock that runs while the world settles: commits are paced */
    struct federation federation;
    struct memory_database *database;
    struct store *store;
    struct registry *registry;
    struct engine *engine;
    struct matching *matching;
    struct frontend *frontend;
    struct federation_cluster clusters[SITES]; /* with this site's connections */
    struct mailbox *peer_mailbox;
    struct bus_subscription *peer_subscription;
    char failover_target[64]; /* the last one asked for */
};

/** A call and how it ended. Lives until the end of the test. */
struct fake_call {
    struct call call;
    bool done;
    enum grpc_code code;
    char *message;
    char *detail_type;
    struct bytes body;
    struct bytes detail;
    bool cancelled;
    struct mailbox *mailbox;
    struct mail *watch;
};

struct world {
    int64_t wall_ns;
    int64_t mono_ns;
    int64_t engine_ns; /* how far the engines' clock is ahead */
    uint64_t random;
    struct metrics *metrics;
    struct arena arena; /* of the test */
    struct bus_memory_hub *hubs[SITES];
    struct site sites[SITES];
};

extern struct world *world;

/** With namespace "ns" in both clusters, active in us. */
int world_setup(void **state);
int world_teardown(void **state);
void world_settle(void);
void world_advance_ms(int64_t ms);
/** Copies the record of the namespace to the other cluster. */
void site_share(int from, const char *name);
/** Makes `active` the active cluster in the records of this site alone. */
void site_activate(int site, const char *name, int active);
void site_cut(int site, bool connected);

/** Begins a call with this deadline from now (0 = none); `method` without service is of
 *  WorkflowService. Does not settle. */
struct fake_call *call_begin(
    int site, const char *method, const ProtobufCMessage *request, int64_t timeout_ms);
struct fake_call *call_begin_bytes(
    int site, const char *method, struct bytes request, int64_t timeout_ms, bool no_forward);
/** At the end of the test: all calls have ended. */
void calls_release(void);
/** The client goes away. */
void call_cancel(struct fake_call *call);
/** Begins, settles, and expects the end. */
struct fake_call *call_run(int site, const char *method, const ProtobufCMessage *request);
/** The same, and expects OK. */
void *call_ok(int site, const char *method, const ProtobufCMessage *request,
    const ProtobufCMessageDescriptor *response);
void *call_unpack(const struct fake_call *call, const ProtobufCMessageDescriptor *response);
void assert_failed(const struct fake_call *call, enum grpc_code code, const char *text);
/** The short name of the error detail. */
void assert_detail(const struct fake_call *call, const char *name);

/** Requests with what is always there; fields may be changed before the call. */
Api__StartWorkflowExecutionRequest *start_request(const char *workflow_id);
Api__PollWorkflowTaskQueueRequest *poll_request(const char *queue);
/** Starts a workflow; returns its run id. */
const char *start_workflow(int site, const char *workflow_id);

#endif
