/* SPDX-License-Identifier: Apache-2.0
 *
 * Life of the frontend, and the entrance of every call.
 */
#include <stdio.h>
#include <string.h>

#include "cluster/base/mem.h"
#include "cluster/frontend/frontend_private.h"

#define STEP_MAILS 512

/* ---- delays -------------------------------------------------------------------------------- */

void delay_set(struct frontend *frontend, struct delay *delay, int64_t mono_ns)
{
    heap_set(&frontend->delays, &delay->node, frontend->stopping ? 0 : mono_ns);
}

void delay_clear(struct frontend *frontend, struct delay *delay)
{
    heap_remove(&frontend->delays, &delay->node);
}

static int64_t delays_step(struct frontend *frontend, int64_t now_ns)
{
    for (size_t i = 0; i < STEP_MAILS; i++) {
        struct heap_node *node = heap_peek(&frontend->delays);
        if (!node)
            return INT64_MAX;
        if (node->key > now_ns && !frontend->stopping)
            return node->key;
        heap_remove(&frontend->delays, node);
        struct delay *delay = CONTAINER_OF(node, struct delay, node);
        delay->expire(frontend, delay);
    }
    return now_ns;
}

/* ---- life ---------------------------------------------------------------------------------- */

static void open_metrics(struct frontend *frontend)
{
    struct metrics *metrics = frontend->options.metrics;
    size_t count;
    const struct api_method *methods = api_methods(&count);
    frontend->requests = mem_zalloc(count, sizeof(struct counter *));
    for (size_t i = 0; i < count; i++) {
        char labels[128];
        (void)snprintf(labels, sizeof(labels), "method=\"%s\"", strrchr(methods[i].path, '/') + 1);
        frontend->requests[i] = metrics_counter(
            metrics, "strait_frontend_requests_total", labels, "Calls received, by method.");
    }
    frontend->forwards = metrics_counter(metrics, "strait_frontend_forwarded_total", NULL,
        "Calls sent to the cluster where their namespace is active.");
    frontend->forward_failures = metrics_counter(metrics, "strait_frontend_forward_failures_total",
        NULL, "Forwarded calls without an answer.");
    frontend->forwarded_in = metrics_counter(
        metrics, "strait_frontend_forwarded_in_total", NULL, "Calls executed for other clusters.");
}

enum err frontend_open(
    const struct frontend_options *options, struct frontend **ret_frontend, char ret_reason[256])
{
    if (!options->failover.start || !options->server_version) {
        (void)snprintf(ret_reason, 256, "frontend: an option is missing");
        return ERR_CONFIG;
    }
    struct frontend *frontend = mem_new(struct frontend);
    frontend->options = *options;
    frontend->cluster = federation_self(options->federation);
    frontend->mailbox = mailbox_open(frontend, options->waker, MAILBOX_DEFAULT);
    heap_init(&frontend->delays);
    open_metrics(frontend);
    *ret_frontend = frontend;
    return OK;
}

void frontend_close(struct frontend *frontend)
{
    if (!frontend)
        return;
    while (mailbox_step(frontend->mailbox, STEP_MAILS) > 0) {
    }
    CHECK(frontend->delays.count == 0);
    mailbox_close(frontend->mailbox, NULL);
    heap_release(&frontend->delays);
    mem_free(frontend->requests);
    mem_free(frontend);
}

static void deliver_stop(struct mail *mail, void *owner)
{
    struct frontend *frontend = owner;
    frontend->stopping = true; /* the step that delivers this ends all delays */
    mem_free(mail);
}

void frontend_stop(struct frontend *frontend)
{
    matching_drain(frontend->options.matching);
    struct mail *mail = mem_new(struct mail);
    mail->deliver = deliver_stop;
    mailbox_complete(frontend->mailbox, mail);
}

int64_t frontend_step(struct frontend *frontend, int64_t now_ns)
{
    size_t mails = mailbox_step(frontend->mailbox, STEP_MAILS);
    int64_t next = delays_step(frontend, now_ns);
    return mails == STEP_MAILS ? now_ns : next;
}

/* ---- calls --------------------------------------------------------------------------------- */

static bool is_our_service(const char *path, size_t len)
{
    static const char *const services[] = {"/temporal.api.workflowservice.v1.WorkflowService",
        "/temporal.api.operatorservice.v1.OperatorService"};
    for (size_t i = 0; i < ARRAY_LEN(services); i++) {
        if (strlen(services[i]) == len && memcmp(services[i], path, len) == 0)
            return true;
    }
    return false;
}

/* The texts are those that clients know as "the server is too old for this". */
static void fail_unknown(struct call *call)
{
    const char *path = call->method;
    const char *method = strrchr(path, '/');
    if (!method || method == path) {
        fail_unimplemented(call, "malformed method name: \"%.200s\"", path);
        return;
    }
    size_t len = (size_t)(method - path);
    const char *service = arena_copy(&call->arena, path + 1, len - 1);
    if (is_our_service(path, len))
        fail_unimplemented(call, "unknown method %.200s for service %s", method + 1, service);
    else
        fail_unimplemented(call, "unknown service %.200s", service);
}

void frontend_handle(void *ctx, struct call *call)
{
    struct frontend *frontend = ctx;
    const struct api_method *method = api_method_find(call->method);
    if (!method) {
        fail_unknown(call);
        return;
    }
    counter_add(frontend->requests[method - api_methods(NULL)], 1);
    struct api_kept *kept = arena_new(&call->arena, struct api_kept);
    kept->method = method;
    kept->message = proto_unpack(&call->arena, method->descriptor, call->request);
    if (!kept->message) {
        fail_invalid(call, "request of %s is not a valid %s", strrchr(method->path, '/') + 1,
            method->descriptor->short_name);
        return;
    }
    call->user = kept;
    struct api_call api = {
        .frontend = frontend, .call = call, .kept = kept, .message = kept->message};
    method->handle(&api);
    namespace_view_unref(api.ns);
}
