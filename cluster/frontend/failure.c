/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/frontend/failure.h"

#include <stdarg.h>
#include <stdio.h>

#include "cluster/base/limits.h"
#include "cluster/base/proto_arena.h"
#include "cluster/engine/event_build.h"
#include "proto/api_errors.pb-c.h"

#define DETAIL "temporal.api.errordetails.v1."

static const struct bytes no_detail = {0};

/* Formats into the call's arena: it must live until the transport has taken it. */
static void fail_text(struct call *call, enum grpc_code code, const char *fmt, va_list args)
{
    char text[ERROR_TEXT_BYTES_MAX];
    vsnprintf(text, sizeof(text), fmt, args);
    call_fail(call, code, text, NULL, no_detail);
}

void fail_invalid(struct call *call, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fail_text(call, GRPC_INVALID_ARGUMENT, fmt, args);
    va_end(args);
}

void fail_unavailable(struct call *call, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fail_text(call, GRPC_UNAVAILABLE, fmt, args);
    va_end(args);
}

void fail_unimplemented(struct call *call, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fail_text(call, GRPC_UNIMPLEMENTED, fmt, args);
    va_end(args);
}

void fail_precondition(struct call *call, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fail_text(call, GRPC_FAILED_PRECONDITION, fmt, args);
    va_end(args);
}

void fail_not_found(struct call *call, const char *text)
{
    Api__NotFoundFailure detail;
    api__not_found_failure__init(&detail);
    call_fail(call, GRPC_NOT_FOUND, text, DETAIL "NotFoundFailure",
        proto_pack(&call->arena, &detail.base));
}

void fail_namespace_not_found(struct call *call, const char *name)
{
    Api__NamespaceNotFoundFailure detail;
    api__namespace_not_found_failure__init(&detail);
    detail.namespace_ = event_text(name);
    call_fail(call, GRPC_NOT_FOUND, arena_printf(&call->arena, "Namespace %s is not found.", name),
        DETAIL "NamespaceNotFoundFailure", proto_pack(&call->arena, &detail.base));
}

void fail_namespace_exists(struct call *call, const char *name)
{
    Api__NamespaceAlreadyExistsFailure detail;
    api__namespace_already_exists_failure__init(&detail);
    call_fail(call, GRPC_ALREADY_EXISTS,
        arena_printf(&call->arena, "Namespace %s already exists.", name),
        DETAIL "NamespaceAlreadyExistsFailure", proto_pack(&call->arena, &detail.base));
}

void fail_not_active(
    struct call *call, const struct namespace_view *view, const char *current_cluster)
{
    Api__NamespaceNotActiveFailure detail;
    api__namespace_not_active_failure__init(&detail);
    detail.namespace_ = event_text(view->name);
    detail.current_cluster = event_text(current_cluster);
    detail.active_cluster = event_text(view->active_cluster);
    const char *text = arena_printf(&call->arena,
        "Namespace: %s is active in cluster: %s, while current cluster %s is a standby cluster.",
        view->name, view->active_cluster, current_cluster);
    call_fail(call, GRPC_FAILED_PRECONDITION, text, DETAIL "NamespaceNotActiveFailure",
        proto_pack(&call->arena, &detail.base));
}

void fail_task_lost(
    struct call *call, const struct namespace_view *view, const char *current_cluster)
{
    Api__NotFoundFailure detail;
    api__not_found_failure__init(&detail);
    detail.current_cluster = event_text(current_cluster);
    detail.active_cluster = event_text(view->active_cluster);
    call_fail(call, GRPC_NOT_FOUND, "Workflow task not found.", DETAIL "NotFoundFailure",
        proto_pack(&call->arena, &detail.base));
}

void fail_busy(struct call *call)
{
    Api__ResourceExhaustedFailure detail;
    api__resource_exhausted_failure__init(&detail);
    detail.cause = API__RESOURCE_EXHAUSTED_CAUSE__RESOURCE_EXHAUSTED_CAUSE_SYSTEM_OVERLOADED;
    detail.scope = API__RESOURCE_EXHAUSTED_SCOPE__RESOURCE_EXHAUSTED_SCOPE_SYSTEM;
    call_fail(call, GRPC_RESOURCE_EXHAUSTED, "server is busy: try again later",
        DETAIL "ResourceExhaustedFailure", proto_pack(&call->arena, &detail.base));
}
