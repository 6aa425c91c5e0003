/* SPDX-License-Identifier: Apache-2.0
 *
 * Calls that another cluster forwarded: the transport of such a call is a function.
 */
#include <stdatomic.h>

#include "cluster/base/mem.h"
#include "cluster/frontend/frontend_private.h"

struct served_call {
    struct call call;
    const struct env *env;
    forward_respond_fn *respond;
    void *ctx;
};

static struct served_call *served(struct call *call)
{
    return CONTAINER_OF(call, struct served_call, call);
}

static void served_end(struct call *call, const struct forward_answer *answer)
{
    struct served_call *self = served(call);
    self->respond(answer, self->ctx);
    arena_release(&call->arena);
    mem_free(self);
}

static void served_reply(struct call *call, struct bytes body)
{
    struct forward_answer answer = {.code = GRPC_OK, .message = "", .body = body};
    served_end(call, &answer);
}

static void served_fail(struct call *call, enum grpc_code code, const char *message,
    const char *detail_type, struct bytes detail)
{
    struct forward_answer answer = {
        .code = code, .message = message, .detail_type = detail_type, .detail = detail};
    served_end(call, &answer);
}

static bool served_is_cancelled(struct call *call)
{
    return call->deadline_mono_ns <= env_monotonic_ns(served(call)->env);
}

/* Nobody tells us when the client of the other cluster goes away: only the deadline counts, and who
 * holds a call watches that himself. */
static void served_watch(struct call *call, struct mailbox *mailbox, struct mail *watch)
{
    (void)call;
    (void)mailbox;
    (void)watch;
}

static bool served_unwatch(struct call *call)
{
    (void)call;
    return true;
}

static const struct call_ops served_ops = {
    .reply = served_reply,
    .fail = served_fail,
    .is_cancelled = served_is_cancelled,
    .watch = served_watch,
    .unwatch = served_unwatch,
};

void frontend_handle_forward(struct frontend *frontend, const char *method, struct bytes body,
    int64_t timeout_ms, forward_respond_fn *respond, void *ctx)
{
    const struct env *env = frontend->options.env;
    struct served_call *self = mem_new(struct served_call);
    struct call *call = &self->call;
    self->env = env;
    self->respond = respond;
    self->ctx = ctx;
    call->ops = &served_ops;
    call->method = arena_strdup(&call->arena, method);
    call->request = bytes_copy(&call->arena, body);
    call->received_mono_ns = env_monotonic_ns(env);
    if (timeout_ms < 0 || timeout_ms > LONG_POLL_TASK_MAX_MS * 2)
        timeout_ms = LONG_POLL_TASK_MAX_MS * 2;
    call->deadline_mono_ns = call->received_mono_ns + timeout_ms * NS_PER_MS;
    call->forwarded = true;
    counter_add(frontend->forwarded_in, 1);
    const struct api_method *known = api_method_find(method);
    if (known && known->route != ROUTE_WRITE && known->route != ROUTE_QUERY &&
        known->route != ROUTE_READ)
        fail_precondition(call, "method %.200s is not executed for other clusters", method);
    else
        frontend_handle(frontend, call);
}
