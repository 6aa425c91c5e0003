/* SPDX-License-Identifier: Apache-2.0
 *
 * Verify: compares a namespace with each other cluster, one after another, and adds up.
 */
#include <string.h>

#include "cluster/frontend/admin_private.h"
#include "replicator/replicator.h"

struct verification {
    struct admin_call *api;
    const Record__Namespace *record;
    struct uuid namespace_id;
    size_t next; /* in record->clusters */
    Admin__VerifyResponse response;
};

static void verify_next(struct verification *verification);

static bool chosen(const struct verification *verification, const char *cluster)
{
    const Admin__VerifyRequest *request = verification->api->message;
    const char *self = federation_self(verification->api->admin->options.federation);
    if (strcmp(cluster, self) == 0)
        return false;
    return !*request->cluster || strcmp(cluster, request->cluster) == 0;
}

static void add_differences(struct verification *verification, const struct verify_result *result)
{
    struct call *call = verification->api->call;
    Admin__VerifyResponse *response = &verification->response;
    const char *cluster = verification->record->clusters[verification->next - 1];
    for (size_t i = 0; i < result->listed && response->n_differences < VERIFY_DIFFERENCES_MAX;
         i++) {
        const struct verify_difference *from = &result->differences[i];
        Admin__Difference *difference = arena_new(&call->arena, Admin__Difference);
        admin__difference__init(difference);
        difference->cluster = admin_text(call, cluster);
        difference->workflow_id = admin_text(call, from->workflow_id);
        difference->run_id = admin_text(call, from->run_id);
        difference->what = admin_text(call, verify_kind_text(from->kind));
        difference->event_id_here = from->event_id_here;
        difference->event_id_there = from->event_id_there;
        response->differences[response->n_differences++] = difference;
    }
}

static void verified(void *ctx, const struct verify_result *result)
{
    struct verification *verification = ctx;
    if (result->err) {
        call_fail_err(verification->api->call, result->err, "comparing with cluster %s failed: %s",
            verification->record->clusters[verification->next - 1], result->text);
        return;
    }
    verification->response.runs_compared += result->runs_compared;
    verification->response.runs_equal += result->runs_equal;
    verification->response.difference_count += result->difference_count;
    add_differences(verification, result);
    verify_next(verification);
}

/* Answers when there is no further cluster. */
static void verify_next(struct verification *verification)
{
    const struct admin_options *options = &verification->api->admin->options;
    const Record__Namespace *record = verification->record;
    while (verification->next < record->n_clusters) {
        const char *name = record->clusters[verification->next++];
        int cluster = federation_find(options->federation, name);
        if (cluster < 0 || !chosen(verification, name))
            continue;
        replicator_verify(
            options->replicator, verification->namespace_id, cluster, verified, verification);
        return;
    }
    admin_reply(verification->api->call, &verification->response.base);
}

void admin_verify(struct admin_call *api)
{
    const Admin__VerifyRequest *request = api->message;
    const Record__Namespace *record = admin_record(api, request->namespace_);
    if (!record)
        return;
    struct verification *verification = arena_new(&api->call->arena, struct verification);
    verification->api = api;
    verification->record = record;
    memcpy(verification->namespace_id.bytes, record->id.data, 16);
    Admin__VerifyResponse *response = &verification->response;
    admin__verify_response__init(response);
    response->differences =
        arena_zalloc(&api->call->arena, VERIFY_DIFFERENCES_MAX, sizeof(*response->differences));
    bool any = false;
    for (size_t i = 0; i < record->n_clusters; i++)
        any |= chosen(verification, record->clusters[i]);
    if (any)
        verify_next(verification);
    else if (*request->cluster)
        fail_precondition(api->call, "%.255s is not another cluster of namespace %.255s",
            request->cluster, request->namespace_);
    else
        fail_precondition(api->call, "namespace %.255s has no other cluster to compare with",
            request->namespace_);
}
