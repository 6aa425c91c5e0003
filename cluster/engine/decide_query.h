/* SPDX-License-Identifier: Apache-2.0
 *
 * Queries: memory only. A query either waits for the next workflow task and travels with it, or is
 * a task of its own (direct) when no workflow task is pending.
 *
 *   WAITING ──task dispatched──► ATTACHED ──answer in the completion──► done
 *      ▲  └──no task pending──► DIRECT ──RespondQueryTaskCompleted──► done
 *      └────────task failed────────┘ (ATTACHED only)
 *
 * Every query ends exactly once: answered, rejected, or failed at its deadline.
 */
#ifndef CLUSTER_ENGINE_DECIDE_QUERY_H
#define CLUSTER_ENGINE_DECIDE_QUERY_H

#include <stdbool.h>
#include <stdint.h>

#include "cluster/engine/decide_read.h"
#include "cluster/engine/executor.h"
#include "proto/api_service_task.pb-c.h"
#include "proto/api_service_workflow.pb-c.h"

enum query_state { QUERY_WAITING, QUERY_ATTACHED, QUERY_DIRECT };

/** One query. Heap: it may outlive its call until the cancellation notice came in. */
struct query {
    struct list link; /* run->queries; ATTACHED: run->task.mark.queries */
    struct run *run;
    struct call *call; /* NULL = ended */
    struct mail watch;
    struct waiter expiry;   /* answers before the client gives up */
    struct waiter fallback; /* DIRECT on the sticky queue: offered to the normal one then */
    enum query_state state;
    int64_t number; /* event_id of its task */
    int32_t offer;  /* attempt of its task: which offer is valid */
    bool on_sticky;
    char id[UUID_TEXT_LEN + 1];      /* key in the `queries` map */
    const Api__WorkflowQuery *query; /* in the call's arena */
};

/* For decide_task.c and decide_close.c. */

/** A workflow task was completed (its events are folded, its mark may still be set): answers the
 *  attached queries from req->query_results. Those without an answer, and those that waited
 *  meanwhile, go with the follow-up task if there is one (`follow_up`), else are dispatched
 *  directly. */
void queries_answered(struct decision *d, struct run *run,
    const Api__RespondWorkflowTaskCompletedRequest *req, bool follow_up);
/** The task in flight failed or timed out: its queries wait for the next one. Call it before the
 *  mark is cleared. */
void queries_requeue(struct decision *d, struct run *run);
/** The run closed: all its waiting queries are dispatched directly, or refused when no workflow
 *  task was ever completed. */
void queries_closed(struct decision *d, struct run *run);

/* For the executor. */

/** The run leaves memory: its queries fail as unavailable. */
void queries_abandon(struct executor *executor, struct run *run);

/* For decide_dispatch.c. */

/** Attaches what waits to the task that is being dispatched and adds it to the response. */
void queries_attach(
    struct run *run, struct arena *arena, Api__PollWorkflowTaskQueueResponse *response);
/** The direct query that this task stands for; NULL = no longer wanted. */
struct query *queries_find(struct run *run, int64_t number);
/** Offers a direct query (again). `sticky` is a wish. */
void query_offer(struct executor *executor, struct query *query, bool sticky);

#endif
