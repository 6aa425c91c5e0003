/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/engine/failure_build.h"

#include <string.h>

#include "cluster/base/proto_arena.h"
#include "cluster/engine/event_build.h"

static Api__Failure *server_made(struct arena *arena, const char *message)
{
    Api__Failure *failure = arena_new(arena, Api__Failure);
    api__failure__init(failure);
    failure->message = event_text(message);
    failure->source = event_text("Server");
    return failure;
}

struct bytes failure_timeout(struct arena *arena, const char *message, Api__TimeoutType type,
    struct bytes heartbeat_details, struct bytes cause)
{
    Api__Failure *failure = server_made(arena, message);
    Api__TimeoutFailureInfo *info = arena_new(arena, Api__TimeoutFailureInfo);
    api__timeout_failure_info__init(info);
    info->timeout_type = type;
    opaque_set(
        arena, &info->n_last_heartbeat_details, &info->last_heartbeat_details, heartbeat_details);
    failure->failure_info_case = API__FAILURE__FAILURE_INFO_TIMEOUT_FAILURE_INFO;
    failure->timeout_failure_info = info;
    opaque_set(arena, &failure->n_cause, &failure->cause, cause);
    return proto_pack(arena, &failure->base);
}

struct bytes failure_server(struct arena *arena, const char *message, bool non_retryable)
{
    Api__Failure *failure = server_made(arena, message);
    Api__ServerFailureInfo *info = arena_new(arena, Api__ServerFailureInfo);
    api__server_failure_info__init(info);
    info->non_retryable = non_retryable;
    failure->failure_info_case = API__FAILURE__FAILURE_INFO_SERVER_FAILURE_INFO;
    failure->server_failure_info = info;
    return proto_pack(arena, &failure->base);
}

/* A copy of at most `len` bytes that does not end inside a UTF-8 sequence. */
static char *cut_text(struct arena *arena, const char *text, size_t len)
{
    size_t all = strlen(text);
    if (all <= len)
        return event_text(text);
    while (len && ((uint8_t)text[len] & 0xc0) == 0x80)
        len--;
    return arena_copy(arena, text, len);
}

/* What decides about retries stays; payloads go. */
static void drop_opaque(Api__Failure *failure)
{
    failure->n_encoded_attributes = 0;
    failure->n_cause = 0;
    failure->base.n_unknown_fields = 0;
    if (failure->failure_info_case == API__FAILURE__FAILURE_INFO_APPLICATION_FAILURE_INFO)
        failure->application_failure_info->n_details = 0;
    else if (failure->failure_info_case == API__FAILURE__FAILURE_INFO_TIMEOUT_FAILURE_INFO)
        failure->timeout_failure_info->n_last_heartbeat_details = 0;
    else if (failure->failure_info_case == API__FAILURE__FAILURE_INFO_CANCELED_FAILURE_INFO)
        failure->canceled_failure_info->n_details = 0;
}

struct bytes failure_truncate(struct arena *arena, struct bytes encoded, size_t bytes_max)
{
    if (encoded.len <= bytes_max)
        return encoded;
    Api__Failure *failure = failure_read(arena, encoded);
    if (!failure)
        return failure_server(arena, "failure too large", false);
    drop_opaque(failure);
    failure->message = cut_text(arena, failure->message, bytes_max / 2);
    failure->source = cut_text(arena, failure->source, bytes_max / 16);
    /* What is left of the room goes to the stack trace. */
    const char *stack = failure->stack_trace;
    failure->stack_trace = event_text("");
    size_t used = protobuf_c_message_get_packed_size(&failure->base);
    if (used > bytes_max)
        return failure_server(arena, failure->message, false);
    const size_t framing = 8;
    if (used + framing < bytes_max)
        failure->stack_trace = cut_text(arena, stack, bytes_max - used - framing);
    return proto_pack(arena, &failure->base);
}

Api__Failure *failure_read(struct arena *arena, struct bytes failure)
{
    if (!failure.data)
        return NULL;
    return proto_unpack(arena, &api__failure__descriptor, failure);
}

const char *timeout_name(Api__TimeoutType type)
{
    switch (type) {
    case API__TIMEOUT_TYPE__TIMEOUT_TYPE_START_TO_CLOSE:
        return "StartToClose";
    case API__TIMEOUT_TYPE__TIMEOUT_TYPE_SCHEDULE_TO_START:
        return "ScheduleToStart";
    case API__TIMEOUT_TYPE__TIMEOUT_TYPE_SCHEDULE_TO_CLOSE:
        return "ScheduleToClose";
    case API__TIMEOUT_TYPE__TIMEOUT_TYPE_HEARTBEAT:
        return "Heartbeat";
    case API__TIMEOUT_TYPE__TIMEOUT_TYPE_UNSPECIFIED:
    case _API__TIMEOUT_TYPE_IS_INT_SIZE:
        break;
    }
    return "Unspecified";
}
