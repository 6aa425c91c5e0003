/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/base/call.h"

#include <stdarg.h>
#include <stdio.h>

#include "cluster/base/limits.h"

void call_reply(struct call *call, struct bytes body)
{
    call->ops->reply(call, body);
}

void call_fail(struct call *call, enum grpc_code code, const char *message, const char *detail_type,
    struct bytes detail)
{
    CHECK(code != GRPC_OK);
    CHECK(detail_type || detail.len == 0);
    call->ops->fail(call, code, message, detail_type, detail);
}

/** Ends a cut text before the character that the cut may have gone through: messages are UTF-8. */
static void cut_at_character(char *text, size_t len)
{
    size_t start = len;
    while (start > 0 && len - start < 4 && ((unsigned char)text[start - 1] & 0xc0) == 0x80)
        start--;
    if (start == 0 || (unsigned char)text[start - 1] < 0xc0)
        return;
    unsigned char lead = (unsigned char)text[start - 1];
    size_t want = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (len - (start - 1) < want)
        text[start - 1] = '\0';
}

void call_fail_err(struct call *call, enum err err, const char *fmt, ...)
{
    CHECK(err != OK);
    char message[ERROR_TEXT_BYTES_MAX + 1];
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(message, sizeof(message), fmt, args);
    va_end(args);
    CHECK(len >= 0);
    if ((size_t)len >= sizeof(message))
        cut_at_character(message, sizeof(message) - 1);
    call_fail(call, err_grpc(err), message, NULL, (struct bytes){0});
}

bool call_is_cancelled(struct call *call)
{
    return call->ops->is_cancelled(call);
}

void call_watch(struct call *call, struct mailbox *mailbox, struct mail *watch)
{
    CHECK(watch->deliver != NULL);
    call->ops->watch(call, mailbox, watch);
}

bool call_unwatch(struct call *call)
{
    return call->ops->unwatch(call);
}
