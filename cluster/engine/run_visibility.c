/* SPDX-License-Identifier: Apache-2.0
 *
 * Run → visibility row.
 */
#include "cluster/engine/run_visibility.h"

#include <string.h>

void run_visibility_row(const struct run *run, struct arena *arena, struct visibility_row *ret_row)
{
    const struct branch_state *branch = run_branch(run);
    *ret_row = (struct visibility_row){.shard = run->shard,
        .run_id = run->run_id,
        .namespace_id = run->namespace_id,
        .workflow_id = run->workflow_id,
        .workflow_type = bytes_of(run->workflow_type),
        .task_queue = bytes_of(run->task_queue),
        .status = run->status,
        .start_ns = run->started_ns,
        .execution_ns = run->started_ns + run->first_backoff_ns,
        .close_ns = run_is_open(run) ? DUE_NONE : run->close_ns,
        .history_length = branch->next_event_id - 1,
        .history_size_bytes = branch->history_bytes,
        .state_transitions = run->state_transitions,
        .root_workflow_id = run->workflow_id,
        .root_run_id = bytes_of(arena_strdup(arena, run->run_id_text))};
    if (run->memo)
        ret_row->memo = blob_view(run->memo);
    if (run->search_attributes)
        ret_row->search_attributes = blob_view(run->search_attributes);
}
