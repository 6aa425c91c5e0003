/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands RecordMarker, UpsertWorkflowSearchAttributes and ModifyWorkflowProperties.
 */
#include <string.h>

#include "cluster/engine/decide_command.h"

#define BAD_MARKER     TASK_FAILED(BAD_RECORD_MARKER_ATTRIBUTES)
#define BAD_ATTRIBUTES TASK_FAILED(BAD_SEARCH_ATTRIBUTES)
#define BAD_PROPERTIES TASK_FAILED(BAD_MODIFY_WORKFLOW_PROPERTIES_ATTRIBUTES)

#define SEARCH_ATTRIBUTES_MAX             100
#define SEARCH_ATTRIBUTE_BYTES_MAX        (2u * KIB)
#define SEARCH_ATTRIBUTES_TOTAL_BYTES_MAX (40u * KIB)

void check_record_marker(struct command_check *check, const Api__Command *command)
{
    const Api__RecordMarkerCommandAttributes *record = command->record_marker_command_attributes;
    check->next_event_id++;
    if (!*record->marker_name) {
        command_fault(check, BAD_MARKER, "MarkerName is not set on RecordMarkerCommand.");
        return;
    }
    if (strlen(record->marker_name) > ID_BYTES_MAX) {
        command_fault(check, BAD_MARKER, "MarkerName on RecordMarkerCommand exceeds length limit.");
        return;
    }
    command_too_large(check, BAD_MARKER, "RecordMarkerCommandAttributes.Details",
        opaque_size(record->n_details, record->details));
}

void apply_record_marker(struct command_apply *apply, const Api__Command *command)
{
    const Api__RecordMarkerCommandAttributes *record = command->record_marker_command_attributes;
    Api__HistoryEvent *event =
        command_event(apply, command, API__EVENT_TYPE__EVENT_TYPE_MARKER_RECORDED);
    Api__MarkerRecordedEventAttributes *recorded = event->marker_recorded_event_attributes;
    recorded->marker_name = record->marker_name;
    recorded->n_details = record->n_details;
    recorded->details = record->details;
    recorded->workflow_task_completed_event_id = apply->completed_event_id;
    recorded->n_header = record->n_header;
    recorded->header = record->header;
    recorded->n_failure = record->n_failure;
    recorded->failure = record->failure;
    decision_append(apply->d, apply->run, event);
}

/* Names and types are the frontend's and visibility's to know; here only sizes are bounded. */
void check_upsert_search_attributes(struct command_check *check, const Api__Command *command)
{
    const Api__SearchAttributes *attributes =
        command->upsert_workflow_search_attributes_command_attributes->search_attributes;
    check->next_event_id++;
    if (!attributes || !attributes->n_indexed_fields) {
        command_fault(check, BAD_ATTRIBUTES,
            "SearchAttributes is not set on UpsertWorkflowSearchAttributesCommand.");
        return;
    }
    if (attributes->n_indexed_fields > SEARCH_ATTRIBUTES_MAX) {
        command_fault(check, BAD_ATTRIBUTES, "number of search attributes %zu exceeds limit %d",
            attributes->n_indexed_fields, SEARCH_ATTRIBUTES_MAX);
        return;
    }
    size_t total = 0;
    for (size_t i = 0; i < attributes->n_indexed_fields; i++) {
        const Api__SearchAttributes__IndexedFieldsEntry *field = attributes->indexed_fields[i];
        total += strlen(field->key) + field->value.len;
        if (field->value.len > SEARCH_ATTRIBUTE_BYTES_MAX) {
            command_fault(check, BAD_ATTRIBUTES,
                "search attribute %.100s value size %zu exceeds size limit %u", field->key,
                field->value.len, SEARCH_ATTRIBUTE_BYTES_MAX);
            return;
        }
    }
    if (total > SEARCH_ATTRIBUTES_TOTAL_BYTES_MAX)
        command_fault(check, BAD_ATTRIBUTES,
            "total size of search attributes %zu exceeds size limit %u", total,
            SEARCH_ATTRIBUTES_TOTAL_BYTES_MAX);
}

void apply_upsert_search_attributes(struct command_apply *apply, const Api__Command *command)
{
    Api__HistoryEvent *event = command_event(
        apply, command, API__EVENT_TYPE__EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES);
    Api__UpsertWorkflowSearchAttributesEventAttributes *upsert =
        event->upsert_workflow_search_attributes_event_attributes;
    upsert->search_attributes =
        command->upsert_workflow_search_attributes_command_attributes->search_attributes;
    upsert->workflow_task_completed_event_id = apply->completed_event_id;
    decision_append(apply->d, apply->run, event);
    apply->run->visibility_changed = true;
}

void check_modify_properties(struct command_check *check, const Api__Command *command)
{
    const Api__Memo *memo = command->modify_workflow_properties_command_attributes->upserted_memo;
    check->next_event_id++;
    if (!memo || !memo->n_fields) {
        command_fault(
            check, BAD_PROPERTIES, "UpsertedMemo is not set on ModifyWorkflowPropertiesCommand.");
        return;
    }
    size_t total = 0;
    for (size_t i = 0; i < memo->n_fields; i++)
        total += strlen(memo->fields[i]->key) + memo->fields[i]->value.len;
    if (total > MEMO_BYTES_MAX) {
        command_fault(check, BAD_PROPERTIES,
            "ModifyWorkflowPropertiesCommandAttributes.Memo exceeds size limit.");
        check->terminate = true;
    }
}

void apply_modify_properties(struct command_apply *apply, const Api__Command *command)
{
    Api__HistoryEvent *event =
        command_event(apply, command, API__EVENT_TYPE__EVENT_TYPE_WORKFLOW_PROPERTIES_MODIFIED);
    Api__WorkflowPropertiesModifiedEventAttributes *modified =
        event->workflow_properties_modified_event_attributes;
    modified->upserted_memo = command->modify_workflow_properties_command_attributes->upserted_memo;
    modified->workflow_task_completed_event_id = apply->completed_event_id;
    decision_append(apply->d, apply->run, event);
    apply->run->visibility_changed = true;
}
