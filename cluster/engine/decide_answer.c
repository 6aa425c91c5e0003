/* SPDX-License-Identifier: Apache-2.0
 *
 * Answers that many handlers give, with the texts that clients of the public API know.
 */
#include <stdarg.h>
#include <stdio.h>

#include "cluster/engine/decide_private.h"
#include "proto/api_errors.pb-c.h"

void answer(struct decision *d, const struct run *run, struct request *request,
    const ProtobufCMessage *response)
{
    if (request->call)
        decision_reply(d, run, request->call, response);
}

void answer_invalid(
    struct decision *d, const struct run *run, struct request *request, const char *fmt, ...)
{
    char text[ERROR_TEXT_BYTES_MAX];
    if (!request->call)
        return;
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    decision_fail(d, run, request->call, GRPC_INVALID_ARGUMENT, NULL, NULL, "%s", text);
}

void answer_not_found(
    struct decision *d, const struct run *run, struct request *request, const char *fmt, ...)
{
    char text[ERROR_TEXT_BYTES_MAX];
    if (!request->call)
        return;
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    Api__NotFoundFailure detail;
    api__not_found_failure__init(&detail);
    decision_fail(d, run, request->call, GRPC_NOT_FOUND,
        "temporal.api.errordetails.v1.NotFoundFailure", &detail.base, "%s", text);
}

struct run *asked_run(struct decision *d, struct request *request)
{
    const char *id = bytes_string(d->arena, request->workflow_id);
    if (d->run)
        return d->run;
    /* A passive cluster may not have heard of it yet: its clients still read their own writes. */
    if (request->access == REQUEST_READ && decision_forward(d, request))
        return NULL;
    if (request->want == REQUEST_RUN) {
        char run_id[UUID_TEXT_LEN + 1];
        uuid_format(request->run_id, run_id);
        answer_not_found(d, d->current, request,
            "workflow execution not found for workflow ID \"%s\" and run ID \"%s\"", id, run_id);
    } else {
        answer_not_found(d, d->current, request, "workflow not found for ID: %s", id);
    }
    return NULL;
}

struct run *asked_open_run(struct decision *d, struct request *request)
{
    struct run *run = asked_run(d, request);
    if (!run || run_is_open(run))
        return run;
    answer_not_found(d, run, request, "workflow execution already completed");
    return NULL;
}
