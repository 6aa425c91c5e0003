/* SPDX-License-Identifier: Apache-2.0
 *
 * Failovers asked for by operators, through the admin service or the public UpdateNamespace.
 */
#include <stdlib.h>

#include "cluster/failover/failover.h"
#include "cluster/frontend/admin_private.h"
#include "cluster/frontend/frontend.h"

static Admin__FailoverResponse *show(struct arena *arena, const Replication__FailoverResult *result)
{
    Admin__FailoverResponse *response = arena_new(arena, Admin__FailoverResponse);
    admin__failover_response__init(response);
    response->from = result->from;
    response->to = result->to;
    response->version = result->version;
    response->pause_ms = result->pause_ms;
    response->kind = result->kind;
    response->n_losses = result->n_losses;
    response->losses = arena_zalloc(arena, result->n_losses + 1, sizeof(*response->losses));
    for (size_t i = 0; i < result->n_losses; i++) {
        const Replication__ShardLoss *from = result->losses[i];
        Admin__ShardLoss *loss = arena_new(arena, Admin__ShardLoss);
        admin__shard_loss__init(loss);
        loss->shard = from->shard;
        loss->applied_seq = from->applied_seq;
        loss->applied_time = from->applied_time;
        loss->known_seq = from->known_seq;
        loss->known_time = from->known_time;
        response->losses[i] = loss;
    }
    return response;
}

#define LOSSES_MAX 100 /* in a refusal: error details must fit into a trailer */

static int64_t missing(const Admin__ShardLoss *loss)
{
    return loss->known_seq - loss->applied_seq;
}

static int by_missing(const void *a, const void *b)
{
    const Admin__ShardLoss *const *x = a;
    const Admin__ShardLoss *const *y = b;
    if (missing(*x) != missing(*y))
        return missing(*x) > missing(*y) ? -1 : 1;
    return (*x)->shard < (*y)->shard ? -1 : 1;
}

/* The shards that miss most. The message counts them all. */
static void cut_losses(Admin__FailoverResponse *response)
{
    if (response->n_losses <= LOSSES_MAX)
        return;
    qsort(response->losses, response->n_losses, sizeof(*response->losses), by_missing);
    response->n_losses = LOSSES_MAX;
}

static void failover_done(void *ctx, const struct failover_result *result)
{
    const struct admin_call *api = ctx;
    struct call *call = api->call;
    Admin__FailoverResponse *response = show(&call->arena, result->detail);
    if (result->code == GRPC_OK) {
        admin_reply(call, &response->base);
        return;
    }
    cut_losses(response);
    struct bytes detail = proto_pack(&call->arena, &response->base);
    call_fail(call, result->code, admin_text(call, result->message),
        "strait.admin.v1.FailoverResponse", detail);
}

void admin_failover(struct admin_call *api)
{
    const Admin__FailoverRequest *asked = api->message;
    if (!*asked->namespace_ || !*asked->target) {
        fail_invalid(api->call, "a failover needs a namespace and a target cluster");
        return;
    }
    struct failover_request request = {.namespace_name = asked->namespace_,
        .target = asked->target,
        .force = asked->force,
        .accept_loss = asked->accept_loss,
        .deadline_ms = asked->deadline_ms,
        .reason = asked->reason,
        .identity = asked->identity};
    failover_start(api->admin->options.failover, &request, failover_done, api);
}

/* ---- the public UpdateNamespace ------------------------------------------------------------- */

struct update_call {
    struct admin *admin;
    struct call *call;
    const char *name;
};

static void update_done(void *ctx, const struct failover_result *result)
{
    const struct update_call *update = ctx;
    struct call *call = update->call;
    struct frontend *frontend = update->admin->options.frontend;
    if (result->code == GRPC_OK && frontend)
        frontend_reply_namespace(frontend, call, update->name);
    else if (result->code == GRPC_OK)
        call_reply(call, (struct bytes){0});
    else
        call_fail(call, result->code, admin_text(call, result->message), NULL, (struct bytes){0});
}

void admin_failover_call(
    void *ctx, struct call *call, const char *namespace_name, const char *target)
{
    struct admin *admin = ctx;
    struct update_call *update = arena_new(&call->arena, struct update_call);
    update->admin = admin;
    update->call = call;
    update->name = admin_text(call, namespace_name);
    struct failover_request request = {.namespace_name = namespace_name,
        .target = target,
        .reason = "UpdateNamespace",
        .identity = ""};
    failover_start(admin->options.failover, &request, update_done, update);
}
