/* SPDX-License-Identifier: Apache-2.0
 *
 * What the dispatching files share: answering a poll with a task.
 */
#ifndef CLUSTER_ENGINE_DISPATCH_PRIVATE_H
#define CLUSTER_ENGINE_DISPATCH_PRIVATE_H

#include "cluster/engine/decide.h"
#include "cluster/engine/decide_read.h"
#include "proto/api_service_task.pb-c.h"

/** A workflow task or query on its way to a poll; in the call's arena. */
struct sending {
    struct history_read read;
    struct executor *executor;
    struct call *call;
    Api__PollWorkflowTaskQueueResponse response;
    struct history_token token; /* of the next page, should there be one */
    int64_t end;
    /* to undo it */
    struct uuid namespace_id;
    struct bytes workflow_id;
    int64_t query;  /* number; 0 = a workflow task */
    uint64_t nonce; /* of the mark */
};

/** Fills in the history (from `from` to the end of what is written, then `unwritten`) and answers
 *  the poll after the commits that it shows. */
void sending_start(
    struct decision *d, struct sending *sending, int64_t from, struct bytes unwritten);
/** Adds a page of history, the next page's token or else what is unwritten; releases the page. */
void response_set_history(struct arena *arena, Api__PollWorkflowTaskQueueResponse *response,
    struct history_page *page, int64_t end, struct history_token *token);
/** Fields that workflow tasks and queries share. */
void response_set_run(
    struct arena *arena, const struct run *run, Api__PollWorkflowTaskQueueResponse *response);

/** The handlers per kind: true = the poll was answered or is on its way; false = the task is stale,
 *  the poll goes back. */
bool dispatch_activity_task(struct decision *d, struct match *match);
bool dispatch_query_task(struct decision *d, struct match *match);
bool dispatch_workflow_task_to(struct decision *d, struct match *match);

#endif
