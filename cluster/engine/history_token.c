/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/engine/batch.h"
#include "cluster/engine/decide_read.h"
#include "cluster/engine/token_seal.h"
#include "proto/token.pb-c.h"

struct bytes history_token_write(struct arena *arena, const struct history_token *token)
{
    Token__PageToken message = TOKEN__PAGE_TOKEN__INIT;
    struct uuid run_id = token->run_id;
    message.run_id = (ProtobufCBinaryData){sizeof(run_id.bytes), run_id.bytes};
    message.branch = token->branch;
    message.next = token->next;
    message.end = token->end;
    message.reverse = token->reverse;
    message.unwritten =
        (ProtobufCBinaryData){token->unwritten.len, (uint8_t *)(uintptr_t)token->unwritten.data};
    return token_seal(arena, TOKEN_PAGE, &message.base);
}

enum err history_token_read(struct arena *arena, struct bytes data, struct history_token *ret_token)
{
    const Token__PageToken *message =
        token_open(arena, TOKEN_PAGE, &token__page_token__descriptor, data);
    struct history_token token = {0};
    if (!message || !token_uuid(&message->run_id, &token.run_id) || message->next < 1 ||
        message->end < 0 || (message->end && message->next > message->end))
        return ERR_INVALID;
    token.branch = message->branch;
    token.next = message->next;
    token.end = message->end;
    token.reverse = message->reverse;
    token.unwritten = bytes_make(message->unwritten.data, message->unwritten.len);
    /* It is spliced into a response: it must be History. */
    size_t offset = 0;
    struct bytes event;
    struct bytes framed;
    while (batch_next_event(token.unwritten, &offset, &event, &framed))
        ;
    if (offset != token.unwritten.len)
        return ERR_INVALID;
    *ret_token = token;
    return OK;
}

enum err history_token_run(struct bytes token, struct uuid *ret_run_id)
{
    *ret_run_id = (struct uuid){0};
    if (token.len == 0)
        return OK;
    struct arena scratch CLEANUP(arena_release) = {0};
    struct history_token read;
    enum err err = history_token_read(&scratch, token, &read);
    if (!err)
        *ret_run_id = read.run_id;
    return err;
}
