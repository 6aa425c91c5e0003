/* SPDX-License-Identifier: Apache-2.0
 *
 * Failovers that another cluster must run, and those that other clusters ask us for.
 */
#include <string.h>

#include "cluster/base/mem.h"
#include "cluster/base/proto_arena.h"
#include "cluster/failover/failover_private.h"

#define RELAY_MARGIN_NS (6 * NS_PER_S) /* beyond the deadline: checks, revert, acknowledgement */

/* ---- asking --------------------------------------------------------------------------------- */

/* The result is the other cluster's. */
static void take_result(struct operation *operation, struct bytes packed)
{
    const Replication__FailoverResult *result =
        proto_unpack(&operation->arena, &replication__failover_result__descriptor, packed);
    if (!result)
        return;
    operation->kind = result->kind;
    operation->version = result->version;
    operation->pause_ms = result->pause_ms;
    operation->losses = result->losses;
    operation->loss_count = result->n_losses;
    int source = federation_find(operation->failover->federation, result->from);
    if (source >= 0)
        operation->source = source;
}

static void tell_silence(struct operation *operation, const char *why)
{
    const struct federation *federation = operation->failover->federation;
    const char *source = federation->clusters[operation->source].name;
    const char *target = operation->request.target;
    const char *name = operation->request.namespace_name;
    if (operation->request.force) {
        operation_tell(operation, GRPC_UNAVAILABLE,
            "cluster %s, which would take namespace %s over, does not answer (%s): run the same "
            "command with --address of %s",
            target, name, why, target);
        return;
    }
    const char *losses = "";
    if (operation->target == federation->self) {
        loss_collect(operation);
        losses = loss_text(operation);
    }
    operation_tell(operation, GRPC_UNAVAILABLE,
        "cluster %s, where namespace %s is active, does not answer (%s). If it is only slow, see "
        "strait namespace describe %s before trying again. If it is gone, %s can take over without "
        "it: strait failover %s --to %s --force, at the cost of what %s accepted and did not "
        "ship%s%s",
        source, name, why, name, target, name, target, source, *losses ? ": " : "", losses);
}

static void relayed(struct operation *operation, struct completion *completion)
{
    const Replication__PeerResponse *reply = completion->reply;
    if (completion->err) {
        tell_silence(operation, completion->text);
    } else if (reply->grpc_code == GRPC_OK) {
        take_result(operation, bytes_make(reply->body.data, reply->body.len));
        operation_tell(operation, GRPC_OK, NULL);
    } else {
        take_result(operation, bytes_make(reply->detail.data, reply->detail.len));
        operation_tell(operation, (enum grpc_code)reply->grpc_code, "%s", reply->message);
    }
    operation_end(operation);
}

void relay_start(struct operation *operation, int cluster)
{
    struct failover_request *asked = &operation->request;
    Replication__FailoverCommand command;
    replication__failover_command__init(&command);
    command.namespace_ = arena_strdup(&operation->arena, asked->namespace_name);
    command.target = arena_strdup(&operation->arena, asked->target);
    command.deadline_ms = asked->deadline_ms;
    command.reason = arena_strdup(&operation->arena, asked->reason);
    command.identity = arena_strdup(&operation->arena, asked->identity);
    command.force = asked->force;
    command.accept_loss = asked->accept_loss;
    Replication__PeerRequest request;
    replication__peer_request__init(&request);
    request.body_case = REPLICATION__PEER_REQUEST__BODY_FAILOVER_COMMAND;
    request.failover_command = &command;
    operation->kind = asked->force ? "forced" : "graceful";
    operation->stage = FAILOVER_RELAY;
    operation_call(
        operation, cluster, &request, asked->deadline_ms * NS_PER_MS + RELAY_MARGIN_NS, relayed);
}

/* ---- being asked ---------------------------------------------------------------------------- */

struct peer_answer {
    struct arena arena;
    failover_respond_fn *respond;
    void *responder;
};

static struct peer_answer *answer_new(failover_respond_fn *respond, void *responder)
{
    struct peer_answer *answer = mem_new(struct peer_answer);
    answer->respond = respond;
    answer->responder = responder;
    return answer;
}

static void answer_send(struct peer_answer *answer, Replication__PeerResponse *response)
{
    response->format = 1;
    answer->respond(answer->responder, response);
    arena_release(&answer->arena);
    mem_free(answer);
}

static void command_done(void *ctx, const struct failover_result *result)
{
    struct peer_answer *answer = ctx;
    struct bytes packed = proto_pack(&answer->arena, &result->detail->base);
    ProtobufCBinaryData data = {packed.len, (uint8_t *)(uintptr_t)packed.data};
    Replication__PeerResponse response;
    replication__peer_response__init(&response);
    response.grpc_code = (uint32_t)result->code;
    response.message = arena_strdup(&answer->arena, result->message);
    if (result->code == GRPC_OK)
        response.body = data;
    else
        response.detail = data;
    answer_send(answer, &response);
}

void failover_peer_command(void *ctx, const Replication__FailoverCommand *command,
    failover_respond_fn *respond, void *responder)
{
    struct failover_request request = {.namespace_name = command->namespace_,
        .target = command->target,
        .force = command->force,
        .accept_loss = command->accept_loss,
        .deadline_ms = command->deadline_ms,
        .reason = command->reason,
        .identity = command->identity};
    failover_begin(ctx, &request, true, command_done, answer_new(respond, responder));
}

static void answer_err(struct peer_answer *answer, enum err err, const char *text)
{
    Replication__PeerResponse response;
    replication__peer_response__init(&response);
    response.grpc_code = (uint32_t)err_grpc(err);
    response.message = arena_strdup(&answer->arena, text);
    answer_send(answer, &response);
}

static void grant_merged(void *ctx, enum err err, const char *text)
{
    answer_err(ctx, err, err ? text : "");
}

void failover_peer_grant(void *ctx, const Replication__HandoverGrant *grant,
    failover_respond_fn *respond, void *responder)
{
    const struct failover *failover = ctx;
    struct peer_answer *answer = answer_new(respond, responder);
    const Record__Namespace *record = grant->namespace_;
    if (!record || record->failover_version != grant->version ||
        strcmp(record->active_cluster, federation_self(failover->federation)) != 0) {
        answer_err(answer, ERR_INVALID, "the grant is not for this cluster");
        return;
    }
    registry_merge(failover->options.registry, record, grant_merged, answer);
}
