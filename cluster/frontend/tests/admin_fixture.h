/* SPDX-License-Identifier: Apache-2.0
 *
 * The admin service in cluster "us", over registry, engine and failover as they are. Stand-ins: the
 * peers of the failover, and the few functions of the replicator that the service asks: every
 * cluster is heard, one lane waits, there are dead letters, and one run differs.
 */
#ifndef CLUSTER_FRONTEND_TESTS_ADMIN_FIXTURE_H
#define CLUSTER_FRONTEND_TESTS_ADMIN_FIXTURE_H

#include "cluster/frontend/admin.h"
#include "cluster/frontend/tests/frontend_fixture.h"
#include "proto/admin.pb-c.h"

/** How a call ended; in the world's arena. */
struct answer {
    struct call call;
    bool done;
    enum grpc_code code;
    char *message;
    char *detail_type;
    struct bytes body; /* or the detail */
};

extern struct admin *admin;
/** The clusters compared so far: "1" or "0,1". */
extern char admin_verified[64];

int admin_setup(void **state);
int admin_teardown(void **state);
/** Calls a method of the service and expects the end. */
struct answer *admin_run(const char *method, const ProtobufCMessage *request);
struct answer *admin_run_bytes(const char *method, struct bytes request);
/** The same, and expects OK. */
void *admin_ok(const char *method, const ProtobufCMessage *request,
    const ProtobufCMessageDescriptor *response);
/** UpdateNamespace of "ns" with this active cluster. */
struct answer *admin_run_failover_call(const char *target);
void assert_refused(const struct answer *answer, enum grpc_code code, const char *text);
/** A request with nothing but the name. */
Admin__CreateNamespaceRequest admin_create_request(const char *name);

#endif
