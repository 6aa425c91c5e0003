/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/base/check.h"
#include "cluster/visibility/visibility.h"

#define TYPE(name) API__INDEXED_VALUE_TYPE__INDEXED_VALUE_TYPE_##name

static const struct visibility_attribute system_attributes[] = {
    {"CloseTime", TYPE(DATETIME)},
    {"ExecutionDuration", TYPE(INT)},
    {"ExecutionStatus", TYPE(KEYWORD)},
    {"ExecutionTime", TYPE(DATETIME)},
    {"HistoryLength", TYPE(INT)},
    {"HistorySizeBytes", TYPE(INT)},
    {"ParentRunId", TYPE(KEYWORD)},
    {"ParentWorkflowId", TYPE(KEYWORD)},
    {"RootRunId", TYPE(KEYWORD)},
    {"RootWorkflowId", TYPE(KEYWORD)},
    {"RunId", TYPE(KEYWORD)},
    {"StartTime", TYPE(DATETIME)},
    {"StateTransitionCount", TYPE(INT)},
    {"TaskQueue", TYPE(KEYWORD)},
    {"WorkflowId", TYPE(KEYWORD)},
    {"WorkflowType", TYPE(KEYWORD)},
};

static const struct visibility_attribute predefined_attributes[] = {
    {"BatcherNamespace", TYPE(KEYWORD)},
    {"BatcherUser", TYPE(KEYWORD)},
    {"BinaryChecksums", TYPE(KEYWORD_LIST)},
    {"BuildIds", TYPE(KEYWORD_LIST)},
    {"TemporalChangeVersion", TYPE(KEYWORD_LIST)},
    {"TemporalNamespaceDivision", TYPE(KEYWORD)},
    {"TemporalPauseInfo", TYPE(KEYWORD_LIST)},
    {"TemporalReportedProblems", TYPE(KEYWORD_LIST)},
    {"TemporalSchedulePaused", TYPE(BOOL)},
    {"TemporalScheduledById", TYPE(KEYWORD)},
    {"TemporalScheduledStartTime", TYPE(DATETIME)},
    {"TemporalUsedWorkerDeploymentVersions", TYPE(KEYWORD_LIST)},
    {"TemporalWorkerDeployment", TYPE(KEYWORD)},
    {"TemporalWorkerDeploymentVersion", TYPE(KEYWORD)},
    {"TemporalWorkflowVersioningBehavior", TYPE(KEYWORD)},
};

const struct visibility_attribute *visibility_system_attributes(size_t *ret_count)
{
    *ret_count = ARRAY_LEN(system_attributes);
    return system_attributes;
}

const struct visibility_attribute *visibility_predefined_attributes(size_t *ret_count)
{
    *ret_count = ARRAY_LEN(predefined_attributes);
    return predefined_attributes;
}
