/* SPDX-License-Identifier: Apache-2.0
 *
 * The service grpc.health.v1.Health, answered by the server itself.
 *
 *   HealthCheckRequest  { string service = 1; }
 *   HealthCheckResponse { ServingStatus status = 1; }   UNKNOWN, SERVING, NOT_SERVING
 */
#ifndef CLUSTER_RPC_RPC_HEALTH_H
#define CLUSTER_RPC_RPC_HEALTH_H

#include <stdbool.h>

#include "cluster/base/call.h"

/** Answers and consumes the call when it is for the health service. `services` is a NULL-terminated
 *  list of known names, or NULL when every name is known. */
bool rpc_health_handle(struct call *call, bool serving, const char *const *services);

#endif
