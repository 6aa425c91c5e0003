/* SPDX-License-Identifier: Apache-2.0
 *
 * StartWorkflowExecution and SignalWithStartWorkflowExecution: a new run, or what the policies say
 * about the one that is there.
 */
#include <string.h>

#include "cluster/base/proto_arena.h"
#include "cluster/engine/decide_private.h"
#include "cluster/engine/fold.h"
#include "cluster/engine/retry_policy.h"
#include "proto/api_errors.pb-c.h"

/* ---- the run that is there -------------------------------------------------------------------- */

/* The request that started this run; the start is its first event. "" when unknown. */
static const char *start_request_id(struct arena *arena, const struct run *run)
{
    size_t cursor = 0;
    const struct fold_key *key = NULL;
    while ((key = map_next(&run->request_ids, &cursor))) {
        if (key->event_id == 1)
            return arena_copy(arena, key->data, key->len);
    }
    return "";
}

static bool was_started_by(const struct run *run, const char *request_id)
{
    if (!*request_id)
        return false;
    const struct fold_key *key = map_get(&run->request_ids, bytes_of(request_id));
    return key && key->event_id == 1;
}

static void answer_exists(struct decision *d, const struct run *run, struct request *request,
    const char *what)
{
    if (!request->call)
        return;
    Api__WorkflowExecutionAlreadyStartedFailure detail;
    api__workflow_execution_already_started_failure__init(&detail);
    detail.start_request_id = event_text(start_request_id(d->arena, run));
    detail.run_id = event_text(run->run_id_text);
    detail.first_execution_run_id = event_text(run->first_execution_run_id);
    decision_fail(d, run, request->call, GRPC_ALREADY_EXISTS,
        "temporal.api.errordetails.v1.WorkflowExecutionAlreadyStartedFailure", &detail.base, what,
        (int)run->workflow_id.len, (const char *)run->workflow_id.data, run->run_id_text);
}
