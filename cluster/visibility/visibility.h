/* SPDX-License-Identifier: Apache-2.0
 *
 * The text of a visibility query becomes a struct filter.
 *
 *   WorkflowType = 'Order' AND (ExecutionStatus IN ('Running', 2) OR CloseTime >
 *   '2026-01-02T03:04:05Z')
 *
 * Operators: = != < <= > >= [NOT] IN, [NOT] BETWEEN, [NOT] STARTS_WITH, IS [NOT] NULL, AND, OR,
 * NOT, parentheses. Strings in ' or ", a quote doubled or behind a backslash; names may be
 * backticked.
 */
#ifndef CLUSTER_VISIBILITY_VISIBILITY_H
#define CLUSTER_VISIBILITY_VISIBILITY_H

#include <stdbool.h>
#include <stddef.h>

#include "cluster/base/arena.h"
#include "cluster/base/err.h"
#include "cluster/store/filter.h"
#include "proto/api_enums.pb-c.h"

#define VISIBILITY_QUERY_BYTES_MAX (64u * 1024u)
#define VISIBILITY_VALUES_MAX      2000 /* compared with, all together */

struct visibility_query {
    const struct filter *filter; /* NULL = all; in the arena, text as well */
    bool by_status;              /* GROUP BY ExecutionStatus */
};

/** ERR_INVALID with "invalid query: …" in ret_text. `grouping`: GROUP BY ExecutionStatus is
 *  allowed. `text` may die afterwards. */
NODISCARD enum err visibility_parse(struct arena *arena, const char *text, bool grouping,
    struct visibility_query *ret_query, char ret_text[256]);

/** "Running"; NULL for what is no status. */
const char *visibility_status_name(int status);

/** A search attribute that every namespace has. */
struct visibility_attribute {
    const char *name;
    Api__IndexedValueType type;
};
/** The attributes of every run. */
const struct visibility_attribute *visibility_system_attributes(size_t *ret_count);
/** Names with a meaning that servers or SDKs set. */
const struct visibility_attribute *visibility_predefined_attributes(size_t *ret_count);

#endif
