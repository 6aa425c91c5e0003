/* SPDX-License-Identifier: Apache-2.0
 *
 * The way of a call through its handler: namespace, then form, then route, then engine.
 */
#include <string.h>

#include "cluster/frontend/frontend_private.h"

static bool namespace_found(
    struct api_call *api, struct namespace_view *view, const char *shown_name)
{
    if (!view || view->deleted) {
        namespace_view_unref(view);
        fail_namespace_not_found(api->call, shown_name);
        return false;
    }
    api->ns = view;
    return true;
}

bool api_namespace(struct api_call *api, const char *name)
{
    CHECK(!api->ns);
    if (!*name) {
        fail_invalid(api->call, "Namespace not set on request.");
        return false;
    }
    if (!check_text(api, name, "Namespace"))
        return false;
    return namespace_found(api, registry_view(api->frontend->options.registry, name), name);
}

bool api_namespace_by_id(struct api_call *api, struct uuid id, const char *name)
{
    CHECK(!api->ns);
    char text[UUID_TEXT_LEN + 1];
    uuid_format(id, text);
    if (!namespace_found(api, registry_view_by_id(api->frontend->options.registry, id), text))
        return false;
    if (!*name || strcmp(api->ns->name, name) == 0)
        return true;
    fail_invalid(api->call, "Operation requested with a token from a different namespace.");
    return false;
}

bool api_stays(struct api_call *api)
{
    enum api_route route = api->kept->method->route;
    bool elsewhere = route == ROUTE_WRITE || route == ROUTE_QUERY || route == ROUTE_TASK;
    if (api->ns->active || !elsewhere)
        return true;
    if (frontend_forward(api->frontend, api->call, api->ns))
        return false;
    if (route == ROUTE_QUERY)
        return true;
    fail_not_active(api->call, api->ns, api->frontend->cluster);
    return false;
}

static void submit(struct api_call *api, struct request *request)
{
    enum api_route route = api->kept->method->route;
    if (!api_stays(api))
        return;
    request->call = api->call;
    request->namespace_id = api->ns->id;
    request->access = route == ROUTE_WRITE || route == ROUTE_TASK ? REQUEST_WRITE : REQUEST_READ;
    request->message = api->message;
    if (engine_submit(api->frontend->options.engine, request))
        fail_busy(api->call);
}

void api_submit(struct api_call *api, request_handler *handle, struct bytes workflow_id,
    const char *run_id, void *ctx)
{
    struct uuid id;
    if (*run_id && uuid_parse(bytes_of(run_id), &id)) {
        api_submit_run(api, handle, workflow_id, id, ctx);
        return;
    }
    struct request *request = arena_new(&api->call->arena, struct request);
    request->workflow_id = workflow_id;
    request->want = REQUEST_CURRENT;
    request->handle = handle;
    request->ctx = ctx;
    submit(api, request);
}

void api_submit_run(struct api_call *api, request_handler *handle, struct bytes workflow_id,
    struct uuid run_id, void *ctx)
{
    struct request *request = arena_new(&api->call->arena, struct request);
    request->workflow_id = workflow_id;
    request->want = REQUEST_RUN;
    request->run_id = run_id;
    request->handle = handle;
    request->ctx = ctx;
    submit(api, request);
}

void api_assign_request_id(struct api_call *api, char **request_id)
{
    if (**request_id)
        return;
    *request_id = arena_alloc(&api->call->arena, UUID_TEXT_LEN + 1);
    uuid_format(uuid_new(api->frontend->options.env), *request_id);
    api->kept->changed = true;
}

void api_reply(struct call *call, const ProtobufCMessage *response)
{
    call_reply(call, proto_pack(&call->arena, response));
}

void api_reply_empty(struct call *call)
{
    call_reply(call, (struct bytes){0});
}
