/* SPDX-License-Identifier: Apache-2.0
 *
 * What the frontend's files share.
 */
#ifndef CLUSTER_FRONTEND_FRONTEND_PRIVATE_H
#define CLUSTER_FRONTEND_FRONTEND_PRIVATE_H

#include "cluster/base/heap.h"
#include "cluster/base/limits.h"
#include "cluster/base/proto_arena.h"
#include "cluster/engine/event_build.h"
#include "cluster/frontend/failure.h"
#include "cluster/frontend/frontend.h"

/* What a method needs of the namespace's active cluster. */
enum api_route {
    ROUTE_LOCAL, /* nothing: answered by any cluster */
    ROUTE_READ,  /* answered here, from what was replicated */
    ROUTE_WRITE, /* runs at the active cluster: forwarded there */
    ROUTE_QUERY, /* better at the active cluster; here when it cannot be forwarded */
    ROUTE_POLL,  /* waits here */
    ROUTE_TASK,  /* outcome of a task given out here: not forwarded, void after a failover */
};

struct api_call;
typedef void api_handler(struct api_call *api);

/** One method of the API. Static. */
struct api_method {
    const char *path; /* "/package.Service/Method" */
    const ProtobufCMessageDescriptor *descriptor;
    api_handler *handle;
    enum api_route route;
};

/** By exact path; NULL = we have no such method. */
const struct api_method *api_method_find(const char *path);
/** All of them, sorted by path. */
const struct api_method *api_methods(size_t *ret_count);

/** What is known of a call after its handler returned: call->user. In the call's arena. */
struct api_kept {
    const struct api_method *method;
    ProtobufCMessage *message; /* the unpacked request */
    bool changed;              /* `message` is not what call->request says any more */
};

/** A call while its handler runs. Handlers end or hand on the call; then only `ns` is left. */
struct api_call {
    struct frontend *frontend;
    struct call *call;
    struct api_kept *kept;
    void *message;             /* kept->message, to be cast by the handler */
    struct namespace_view *ns; /* set by api_namespace(); released after the handler */
};

/** A poll that waits for tasks that never come, or a call that waits to be forwarded again. */
struct delay {
    struct heap_node node;
    void (*expire)(struct frontend *frontend, struct delay *delay); /* removed before */
};

struct frontend {
    struct frontend_options options;
    const char *cluster; /* our name */
    struct mailbox *mailbox;
    struct heap delays; /* struct delay */
    bool stopping;
    struct counter **requests; /* by method */
    struct counter *forwards;
    struct counter *forward_failures;
    struct counter *forwarded_in;
};

void delay_set(struct frontend *frontend, struct delay *delay, int64_t mono_ns);
void delay_clear(struct frontend *frontend, struct delay *delay);

/* ---- api_call.c: what handlers do ---------------------------------------------------------- */

/** Finds the namespace; otherwise ends the call and returns false. */
bool api_namespace(struct api_call *api, const char *name);
/** As above by id, for task tokens; `name` (may be "") must be the same namespace's. */
bool api_namespace_by_id(struct api_call *api, struct uuid id, const char *name);
/** True: the call is to be executed here. Else it was forwarded or ended. After api_namespace(). */
bool api_stays(struct api_call *api);
/** Routes and submits to the engine. `run_id` is checked text or "" (the current run). */
void api_submit(struct api_call *api, request_handler *handle, struct bytes workflow_id,
    const char *run_id, void *ctx);
/** The same for a run that is known. */
void api_submit_run(struct api_call *api, request_handler *handle, struct bytes workflow_id,
    struct uuid run_id, void *ctx);
/** Fills in what the client left out, so that a call whose answer is lost does its work only once.
 *  */
void api_assign_request_id(struct api_call *api, char **request_id);
void api_reply(struct call *call, const ProtobufCMessage *response);
/** OK with the empty message. */
void api_reply_empty(struct call *call);

/* ---- api_check.c: validation; false = the call was ended ----------------------------------- */

/** Required text: not empty, at most ID_BYTES_MAX, UTF-8. `name` as in "WorkflowId". */
bool check_required(struct api_call *api, const char *text, const char *name);
/** Optional text. */
bool check_text(struct api_call *api, const char *text, const char *name);
/** "" or a UUID. */
bool check_run_id(struct api_call *api, const char *run_id);
/** Present, with a workflow id, and a run id that is "" or a UUID. */
bool check_execution(struct api_call *api, const Api__WorkflowExecution *execution);
bool check_task_queue(struct api_call *api, const Api__TaskQueue *queue);
bool check_blob(struct api_call *api, size_t count, const ProtobufCBinaryData *field);
bool text_is_utf8(const char *text);

/* ---- handlers, by file --------------------------------------------------------------------- */

/* api_start.c */
api_handler api_start;
api_handler api_signal_with_start;
/* api_workflow.c */
api_handler api_signal;
api_handler api_request_cancel;
api_handler api_terminate;
api_handler api_delete;
api_handler api_describe;
api_handler api_query;
api_handler api_history;
api_handler api_history_reverse;
api_handler api_reset_sticky;
/* api_poll.c */
api_handler api_poll_workflow_task;
api_handler api_poll_activity_task;
api_handler api_poll_nexus_task;
/* api_respond.c */
api_handler api_respond_workflow_task_completed;
api_handler api_respond_workflow_task_failed;
api_handler api_respond_query_task_completed;
/* api_activity.c */
api_handler api_respond_activity_completed;
api_handler api_respond_activity_completed_by_id;
api_handler api_respond_activity_failed;
api_handler api_respond_activity_failed_by_id;
api_handler api_respond_activity_canceled;
api_handler api_respond_activity_canceled_by_id;
api_handler api_record_heartbeat;
api_handler api_record_heartbeat_by_id;
/* api_queue.c */
api_handler api_describe_task_queue;
api_handler api_list_task_queue_partitions;
api_handler api_shutdown_worker;
api_handler api_record_worker_heartbeat;
/* api_list.c */
api_handler api_list;
api_handler api_scan;
api_handler api_list_open;
api_handler api_list_closed;
api_handler api_count;
/* api_namespace.c */
api_handler api_register_namespace;
api_handler api_update_namespace;
/* api_namespace_show.c */
api_handler api_describe_namespace;
api_handler api_list_namespaces;
/* api_system.c */
api_handler api_get_system_info;
api_handler api_get_cluster_info;
api_handler api_get_search_attributes;
api_handler api_list_search_attributes;
api_handler api_list_clusters;

#endif
