/* SPDX-License-Identifier: Apache-2.0
 *
 * How calls fail: status, text and error detail together, so that clients of the public API see
 * what they know. Each function ends the call. Any thread.
 */
#ifndef CLUSTER_FRONTEND_FAILURE_H
#define CLUSTER_FRONTEND_FAILURE_H

#include "cluster/base/call.h"
#include "cluster/engine/namespace_view.h"

void fail_invalid(struct call *call, const char *fmt, ...) PRINTF_LIKE(2, 3);
/** NotFoundFailure. */
void fail_not_found(struct call *call, const char *text);
/** NamespaceNotFoundFailure. */
void fail_namespace_not_found(struct call *call, const char *name);
/** NamespaceAlreadyExistsFailure. */
void fail_namespace_exists(struct call *call, const char *name);
/** NamespaceNotActiveFailure. */
void fail_not_active(
    struct call *call, const struct namespace_view *view, const char *current_cluster);
/** A task whose mark died with the failover: NotFoundFailure that names both clusters. */
void fail_task_lost(
    struct call *call, const struct namespace_view *view, const char *current_cluster);
/** ResourceExhaustedFailure: a bounded queue is full. */
void fail_busy(struct call *call);
void fail_unavailable(struct call *call, const char *fmt, ...) PRINTF_LIKE(2, 3);
void fail_unimplemented(struct call *call, const char *fmt, ...) PRINTF_LIKE(2, 3);
/** FailedPrecondition without detail. */
void fail_precondition(struct call *call, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
