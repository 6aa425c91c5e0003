/* SPDX-License-Identifier: Apache-2.0
 *
 * Failures that the server makes itself, serialized, and what it must know of those of workers.
 */
#ifndef CLUSTER_ENGINE_FAILURE_BUILD_H
#define CLUSTER_ENGINE_FAILURE_BUILD_H

#include <stdbool.h>

#include "cluster/base/arena.h"
#include "cluster/base/bytes.h"
#include "proto/api_common.pb-c.h"

/** A timeout. `heartbeat_details` (Payloads) and `cause` (Failure) are absent when data == NULL. */
struct bytes failure_timeout(struct arena *arena, const char *message, Api__TimeoutType type,
    struct bytes heartbeat_details, struct bytes cause);
/** The server refuses or gives up something. */
struct bytes failure_server(struct arena *arena, const char *message, bool non_retryable);
/** The failure with its texts cut and its opaque parts dropped until it is at most `bytes_max`
 *  long; itself when it is short enough. Bytes that do not parse become a server failure. */
struct bytes failure_truncate(struct arena *arena, struct bytes failure, size_t bytes_max);
/** One level of a failure; NULL when absent or malformed. */
Api__Failure *failure_read(struct arena *arena, struct bytes failure);

/** Short name of a timeout as failures and retry policies spell it, e.g. "StartToClose". */
const char *timeout_name(Api__TimeoutType type);

#endif
