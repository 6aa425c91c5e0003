/* SPDX-License-Identifier: Apache-2.0
 *
 * Wires between the parts of a node that must not know each other.
 */
#include <string.h>

#include "cluster/base/mem.h"
#include "cluster/console/console.h"
#include "cluster/engine/executor.h"
#include "cluster/failover/failover.h"
#include "cluster/frontend/admin.h"
#include "cluster/frontend/frontend.h"
#include "cluster/node_private.h"
#include "replicator/replicator.h"

/* ---- calls of clients that another cluster forwarded ----------------------------------------- */

struct forwarded {
    peer_respond_fn *respond;
    void *responder;
};

static void forwarded_done(const struct forward_answer *answer, void *ctx)
{
    struct forwarded *forwarded = ctx;
    Replication__PeerResponse response;
    replication__peer_response__init(&response);
    response.format = 1;
    response.grpc_code = (uint32_t)answer->code;
    response.message = (char *)(uintptr_t)(answer->message ? answer->message : "");
    response.detail_type = (char *)(uintptr_t)(answer->detail_type ? answer->detail_type : "");
    response.detail.data = (uint8_t *)(uintptr_t)answer->detail.data;
    response.detail.len = answer->detail.len;
    response.body.data = (uint8_t *)(uintptr_t)answer->body.data;
    response.body.len = answer->body.len;
    forwarded->respond(forwarded->responder, &response);
    mem_free(forwarded);
}

static void peer_forward(
    void *ctx, const Replication__Forward *forward, peer_respond_fn *respond, void *responder)
{
    struct node *node = ctx;
    struct forwarded *forwarded = mem_new(struct forwarded);
    forwarded->respond = respond;
    forwarded->responder = responder;
    frontend_handle_forward(node->frontend, forward->method,
        bytes_make(forward->body.data, forward->body.len), forward->timeout_ms, forwarded_done,
        forwarded);
}

void node_wire_peers(struct node *node)
{
    struct peer_handlers handlers = {.forward_ctx = node,
        .forward = peer_forward,
        .failover_ctx = node->failover,
        .handover_grant = failover_peer_grant,
        .failover_command = failover_peer_command};
    replicator_set_handlers(node->replicator, &handlers);
}

void node_failover_call(
    void *ctx, struct call *call, const char *namespace_name, const char *target)
{
    struct node *node = ctx;
    admin_failover_call(node->admin, call, namespace_name, target);
}

/* ---- console --------------------------------------------------------------------------------- */

static bool ready(void *ctx)
{
    struct node *node = ctx;
    return engine_is_ready(node->engine);
}

enum err node_console_open(struct node *node, char reason[256])
{
    if (!node->config->listen.console)
        return OK;
    struct console_options options = {.listen = node->config->listen.console,
        .metrics = node->metrics,
        .ready = ready,
        .ctx = node};
    return console_open(&options, &node->console, reason);
}

void node_console_close(struct node *node)
{
    console_close(node->console);
    node->console = NULL;
}

int node_console_port(const struct node *node)
{
    return node->console ? console_port(node->console) : 0;
}
