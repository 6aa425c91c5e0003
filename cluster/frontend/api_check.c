/* SPDX-License-Identifier: Apache-2.0
 *
 * Form of requests, with the texts that clients know. Text must be UTF-8, because a list that shows
 * one bad id could be read by no client.
 */
#include <string.h>

#include "cluster/frontend/frontend_private.h"

/* Length of the sequence that begins here, or 0: RFC 3629, no overlong forms, no surrogates. */
static size_t utf8_sequence(const unsigned char *at)
{
    unsigned char first = at[0];
    size_t len = 0;
    unsigned char low = 0x80;
    unsigned char high = 0xbf;
    if (first < 0x80)
        return 1;
    if (first >= 0xc2 && first <= 0xdf) {
        len = 2;
    } else if ((first & 0xf0) == 0xe0) {
        len = 3;
        low = first == 0xe0 ? 0xa0 : 0x80;
        high = first == 0xed ? 0x9f : 0xbf;
    } else if (first >= 0xf0 && first <= 0xf4) {
        len = 4;
        low = first == 0xf0 ? 0x90 : 0x80;
        high = first == 0xf4 ? 0x8f : 0xbf;
    } else {
        return 0;
    }
    if (at[1] < low || at[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    }
    return len;
}

bool text_is_utf8(const char *text)
{
    const unsigned char *at = (const unsigned char *)text;
    while (*at) {
        size_t len = utf8_sequence(at); /* stops at the NUL: that is no continuation */
        if (len == 0)
            return false;
        at += len;
    }
    return true;
}

bool check_text(struct api_call *api, const char *text, const char *name)
{
    if (strlen(text) > ID_BYTES_MAX) {
        fail_invalid(api->call, "%s length exceeds limit.", name);
        return false;
    }
    if (!text_is_utf8(text)) {
        fail_invalid(api->call, "%s is not valid UTF-8.", name);
        return false;
    }
    return true;
}

bool check_required(struct api_call *api, const char *text, const char *name)
{
    if (*text)
        return check_text(api, text, name);
    fail_invalid(api->call, "%s is not set on request.", name);
    return false;
}

bool check_run_id(struct api_call *api, const char *run_id)
{
    struct uuid id;
    if (!*run_id || uuid_parse(bytes_of(run_id), &id))
        return true;
    fail_invalid(api->call, "Invalid RunId.");
    return false;
}

bool check_execution(struct api_call *api, const Api__WorkflowExecution *execution)
{
    if (!execution) {
        fail_invalid(api->call, "Execution is not set on request.");
        return false;
    }
    return check_required(api, execution->workflow_id, "WorkflowId") &&
           check_run_id(api, execution->run_id);
}

bool check_task_queue(struct api_call *api, const Api__TaskQueue *queue)
{
    if (!queue || !*queue->name) {
        fail_invalid(api->call, "TaskQueue is not set on request.");
        return false;
    }
    return check_text(api, queue->name, "TaskQueue") &&
           check_text(api, queue->normal_name, "TaskQueue");
}

bool check_blob(struct api_call *api, size_t count, const ProtobufCBinaryData *field)
{
    if (opaque_size(count, field) <= BLOB_BYTES_MAX)
        return true;
    fail_invalid(api->call, "Blob data size exceeds limit.");
    return false;
}
