/* SPDX-License-Identifier: Apache-2.0
 *
 * Tasks: one allocation each, the strings behind the struct.
 */
#include <string.h>

#include "cluster/base/mem.h"
#include "cluster/matching/matching_private.h"

size_t task_bytes(const struct task *task)
{
    return sizeof(*task) + task->workflow_id_len + strlen(task->queue) +
           strlen(task->normal_queue) + 3;
}

struct task *task_new(enum task_kind kind, struct uuid namespace_id, struct bytes workflow_id,
    struct uuid run_id, int32_t shard, int64_t event_id, int32_t attempt, const char *queue,
    const char *normal_queue)
{
    size_t queue_len = strlen(queue);
    size_t normal_len = normal_queue ? strlen(normal_queue) : 0;
    struct task *task = mem_zalloc(1, sizeof(*task) + workflow_id.len + queue_len + normal_len + 3);
    char *text = (char *)(task + 1);
    if (workflow_id.len)
        memcpy(text, workflow_id.data, workflow_id.len);
    task->workflow_id = text;
    task->workflow_id_len = workflow_id.len;
    text += workflow_id.len + 1;
    memcpy(text, queue, queue_len);
    task->queue = text;
    text += queue_len + 1;
    if (normal_len)
        memcpy(text, normal_queue, normal_len);
    task->normal_queue = text;
    task->kind = kind;
    task->namespace_id = namespace_id;
    task->run_id = run_id;
    task->shard = shard;
    task->event_id = event_id;
    task->attempt = attempt;
    task->sticky = normal_queue != NULL;
    return task;
}

void task_free(struct task *task)
{
    mem_free(task);
}
