/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/base/limits.h"
#include "cluster/engine/decide.h"
#include "cluster/engine/token_seal.h"
#include "cluster/matching/matching.h"
#include "proto/token.pb-c.h"

static ProtobufCBinaryData binary(struct bytes view)
{
    /* The message is only packed, never written through. */
    return (ProtobufCBinaryData){view.len, (uint8_t *)(uintptr_t)view.data};
}

static struct bytes view_of(const ProtobufCBinaryData *data)
{
    return bytes_make(data->data, data->len);
}

struct bytes task_token_write(struct arena *arena, const struct task_token *token)
{
    Token__TaskToken message = TOKEN__TASK_TOKEN__INIT;
    message.namespace_id = binary(uuid_view(&token->namespace_id));
    message.workflow_id = binary(token->workflow_id);
    message.run_id = binary(uuid_view(&token->run_id));
    message.scheduled_event_id = token->scheduled_event_id;
    message.started_event_id = token->started_event_id;
    message.attempt = token->attempt;
    message.nonce = token->nonce;
    message.kind = token->kind;
    message.started_time = token->started_ns;
    message.history_bytes = token->history_bytes;
    message.identity = binary(token->identity);
    message.activity_id = binary(token->activity_id);
    return token_seal(arena, TOKEN_TASK, &message.base);
}

enum err task_token_read(struct arena *arena, struct bytes data, struct task_token *ret_token)
{
    const Token__TaskToken *message =
        token_open(arena, TOKEN_TASK, &token__task_token__descriptor, data);
    struct task_token token = {0};
    if (!message || !token_uuid(&message->namespace_id, &token.namespace_id) ||
        !token_uuid(&message->run_id, &token.run_id))
        return ERR_INVALID;
    if (message->workflow_id.len == 0 || message->workflow_id.len > ID_BYTES_MAX ||
        message->kind < TASK_WORKFLOW || message->kind > TASK_QUERY || message->attempt < 0 ||
        message->scheduled_event_id < 0 || message->started_event_id < 0)
        return ERR_INVALID;
    token.workflow_id = view_of(&message->workflow_id);
    token.scheduled_event_id = message->scheduled_event_id;
    token.started_event_id = message->started_event_id;
    token.attempt = message->attempt;
    token.nonce = message->nonce;
    token.kind = message->kind;
    token.started_ns = message->started_time;
    token.history_bytes = message->history_bytes;
    token.identity = view_of(&message->identity);
    token.activity_id = view_of(&message->activity_id);
    *ret_token = token;
    return OK;
}
