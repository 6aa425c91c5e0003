/* SPDX-License-Identifier: Apache-2.0
 *
 * Task queues: what is known of them, and workers that leave.
 */
#include "cluster/frontend/frontend_private.h"
#include "proto/api_service_task.pb-c.h"
#include "proto/api_service_taskqueue.pb-c.h"

#define POLLER_RATE 100000.0 /* shown: we do not limit */

/* One kind of task of the queue asked for. */
struct queue_part {
    struct queue_inquiry inquiry;
    struct description *description;
    Api__TaskQueueType type;
    Api__PollerInfo **pollers;
    size_t poller_count;
    Api__TaskQueueStats stats;
};

/* DescribeTaskQueue under way. In the call's arena; touched by matching's thread only, once the
 * inquiries are on their way. */
struct description {
    struct call *call;
    const Api__DescribeTaskQueueRequest *request;
    struct queue_part parts[2];
    size_t part_count;
    size_t missing;
};

/* ---- answers ------------------------------------------------------------------------------- */

static void answer_enhanced(struct description *description)
{
    const Api__DescribeTaskQueueRequest *req = description->request;
    Api__DescribeTaskQueueResponse response;
    api__describe_task_queue_response__init(&response);
    Api__TaskQueueVersionInfo__TypesInfoEntry entries[2];
    Api__TaskQueueVersionInfo__TypesInfoEntry *pointers[2];
    Api__TaskQueueTypeInfo infos[2];
    for (size_t i = 0; i < description->part_count; i++) {
        struct queue_part *part = &description->parts[i];
        api__task_queue_version_info__types_info_entry__init(&entries[i]);
        api__task_queue_type_info__init(&infos[i]);
        if (req->report_pollers) {
            infos[i].n_pollers = part->poller_count;
            infos[i].pollers = part->pollers;
        }
        if (req->report_stats)
            infos[i].stats = &part->stats;
        entries[i].key = (int32_t)part->type;
        entries[i].value = &infos[i];
        pointers[i] = &entries[i];
    }
    Api__TaskQueueVersionInfo unversioned;
    api__task_queue_version_info__init(&unversioned);
    unversioned.n_types_info = description->part_count;
    unversioned.types_info = pointers;
    Api__DescribeTaskQueueResponse__VersionsInfoEntry version;
    api__describe_task_queue_response__versions_info_entry__init(&version);
    version.value = &unversioned; /* key "": workers without a build id */
    Api__DescribeTaskQueueResponse__VersionsInfoEntry *only_version = &version;
    response.n_versions_info = 1;
    response.versions_info = &only_version;
    api_reply(description->call, &response.base);
}

static void answer_plain(struct description *description)
{
    const Api__DescribeTaskQueueRequest *req = description->request;
    struct queue_part *part = &description->parts[0];
    Api__DescribeTaskQueueResponse response;
    api__describe_task_queue_response__init(&response);
    response.n_pollers = part->poller_count;
    response.pollers = part->pollers;
    if (req->report_stats)
        response.stats = &part->stats;
    Api__TaskQueueStatus status;
    Api__TaskIdBlock block;
    api__task_queue_status__init(&status);
    api__task_id_block__init(&block);
    if (req->include_task_queue_status) {
        status.backlog_count_hint = part->stats.approximate_backlog_count;
        status.rate_per_second = POLLER_RATE;
        status.task_id_block = &block;
        response.task_queue_status = &status;
    }
    api_reply(description->call, &response.base);
}

static void part_done(struct queue_inquiry *inquiry, const struct poller_info *pollers,
    size_t count, size_t backlog, double add_rate, double dispatch_rate, int64_t backlog_age_ns)
{
    struct queue_part *part = CONTAINER_OF(inquiry, struct queue_part, inquiry);
    struct description *description = part->description;
    struct arena *arena = &description->call->arena;
    part->pollers = arena_zalloc(arena, count, sizeof(Api__PollerInfo *));
    part->poller_count = count;
    for (size_t i = 0; i < count; i++) {
        Api__PollerInfo *info = arena_new(arena, Api__PollerInfo);
        api__poller_info__init(info);
        info->identity = arena_strdup(arena, pollers[i].identity);
        info->last_access_time = timestamp_new(arena, pollers[i].last_access_wall_ns);
        info->rate_per_second = POLLER_RATE;
        if (*pollers[i].build_id) {
            info->worker_version_capabilities = arena_new(arena, Api__WorkerVersionCapabilities);
            api__worker_version_capabilities__init(info->worker_version_capabilities);
            info->worker_version_capabilities->build_id = arena_strdup(arena, pollers[i].build_id);
        }
        part->pollers[i] = info;
    }
    api__task_queue_stats__init(&part->stats);
    part->stats.approximate_backlog_count = (int64_t)backlog;
    part->stats.approximate_backlog_age = duration_new_ns(arena, backlog_age_ns);
    part->stats.tasks_add_rate = (float)add_rate;
    part->stats.tasks_dispatch_rate = (float)dispatch_rate;
    if (--description->missing > 0)
        return;
    if (description->request->api_mode ==
        API__DESCRIBE_TASK_QUEUE_MODE__DESCRIBE_TASK_QUEUE_MODE_ENHANCED)
        answer_enhanced(description);
    else
        answer_plain(description);
}

/* ---- DescribeTaskQueue --------------------------------------------------------------------- */

static void add_part(struct description *description, struct api_call *api, Api__TaskQueueType type)
{
    for (size_t i = 0; i < description->part_count; i++) {
        if (description->parts[i].type == type)
            return;
    }
    CHECK(description->part_count < ARRAY_LEN(description->parts));
    struct queue_part *part = &description->parts[description->part_count++];
    part->description = description;
    part->type = type;
    part->inquiry.namespace_id = api->ns->id;
    part->inquiry.kind =
        type == API__TASK_QUEUE_TYPE__TASK_QUEUE_TYPE_ACTIVITY ? TASK_ACTIVITY : TASK_WORKFLOW;
    part->inquiry.queue = description->request->task_queue->name;
    part->inquiry.done = part_done;
}

static void add_parts(struct description *description, struct api_call *api)
{
    const Api__DescribeTaskQueueRequest *req = description->request;
    if (req->api_mode != API__DESCRIBE_TASK_QUEUE_MODE__DESCRIBE_TASK_QUEUE_MODE_ENHANCED) {
        bool activity = req->task_queue_type == API__TASK_QUEUE_TYPE__TASK_QUEUE_TYPE_ACTIVITY;
        add_part(description, api,
            activity ? API__TASK_QUEUE_TYPE__TASK_QUEUE_TYPE_ACTIVITY
                     : API__TASK_QUEUE_TYPE__TASK_QUEUE_TYPE_WORKFLOW);
        return;
    }
    for (size_t i = 0; i < req->n_task_queue_types; i++) {
        Api__TaskQueueType type = req->task_queue_types[i];
        if (type == API__TASK_QUEUE_TYPE__TASK_QUEUE_TYPE_WORKFLOW ||
            type == API__TASK_QUEUE_TYPE__TASK_QUEUE_TYPE_ACTIVITY)
            add_part(description, api, type);
    }
    if (req->n_task_queue_types)
        return;
    add_part(description, api, API__TASK_QUEUE_TYPE__TASK_QUEUE_TYPE_WORKFLOW);
    add_part(description, api, API__TASK_QUEUE_TYPE__TASK_QUEUE_TYPE_ACTIVITY);
}

void api_describe_task_queue(struct api_call *api)
{
    const Api__DescribeTaskQueueRequest *req = api->message;
    if (!api_namespace(api, req->namespace_) || !check_task_queue(api, req->task_queue))
        return;
    struct description *description = arena_new(&api->call->arena, struct description);
    description->call = api->call;
    description->request = req;
    add_parts(description, api);
    size_t count = description->part_count;
    description->missing = count;
    if (count == 0) {
        answer_enhanced(description); /* only kinds that we do not have */
        return;
    }
    /* The last answer ends the call: nothing of it is read behind the last inquiry. */
    struct matching *matching = api->frontend->options.matching;
    for (size_t i = 0; i < count; i++)
        matching_inquire(matching, &description->parts[i].inquiry);
}

/* ---- the rest ------------------------------------------------------------------------------ */

void api_list_task_queue_partitions(struct api_call *api)
{
    const Api__ListTaskQueuePartitionsRequest *req = api->message;
    if (!api_namespace(api, req->namespace_) || !check_task_queue(api, req->task_queue))
        return;
    Api__TaskQueuePartitionMetadata partition;
    api__task_queue_partition_metadata__init(&partition);
    partition.key = req->task_queue->name;
    partition.owner_host_name = event_text(api->frontend->cluster);
    Api__TaskQueuePartitionMetadata *only = &partition;
    Api__ListTaskQueuePartitionsResponse response;
    api__list_task_queue_partitions_response__init(&response);
    response.n_activity_task_queue_partitions = 1;
    response.activity_task_queue_partitions = &only;
    response.n_workflow_task_queue_partitions = 1;
    response.workflow_task_queue_partitions = &only;
    api_reply(api->call, &response.base);
}

void api_shutdown_worker(struct api_call *api)
{
    const Api__ShutdownWorkerRequest *req = api->message;
    if (!api_namespace(api, req->namespace_))
        return;
    matching_worker_shutdown(api->frontend->options.matching, api->ns->id,
        bytes_of(req->sticky_task_queue), bytes_of(req->worker_instance_key));
    api_reply_empty(api->call);
}

void api_record_worker_heartbeat(struct api_call *api)
{
    const Api__RecordWorkerHeartbeatRequest *req = api->message;
    if (api_namespace(api, req->namespace_))
        api_reply_empty(api->call);
}
