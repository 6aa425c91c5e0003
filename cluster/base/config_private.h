/* SPDX-License-Identifier: Apache-2.0
 *
 * The stages of reading a configuration:
 *
 *   text --config_tree_parse--> nodes with paths and lines --config_rules_check--> known to be well
 *   formed --config_schema_load (libcyaml)--> struct config --expand, default, check--> done
 *
 * libcyaml fills the struct, but takes 1.5 or 010 for whole numbers and knows lines only while it
 * reads. Hence the tree, which remembers the line of every setting, and the rules.
 */
#ifndef CLUSTER_BASE_CONFIG_PRIVATE_H
#define CLUSTER_BASE_CONFIG_PRIVATE_H

#include <stdbool.h>

#include "cluster/base/config.h"

enum config_kind { CONFIG_MAPPING, CONFIG_LIST, CONFIG_TEXT, CONFIG_NUMBER, CONFIG_CHOICE };

/** One place in the file. */
struct config_node {
    const char *path; /* "federation.clusters[1].name"; "" = the whole file */
    const char *rule; /* the same with every index left out: "federation.clusters[].name" */
    const char *value;
    int line;              /* from 1 */
    enum config_kind kind; /* CONFIG_MAPPING, CONFIG_LIST or CONFIG_TEXT */
    bool empty;            /* a plain scalar that YAML takes for "nothing" */
};

struct config_tree {
    const char *file; /* NULL: made without a file */
    struct config_node *nodes;
    size_t count;
    size_t capacity;
};

/** What a setting may be. */
struct config_rule {
    const char *path;
    enum config_kind kind;
    bool required;
    bool in_cluster;          /* offset counts from struct config_cluster, not struct config */
    size_t offset;            /* of texts and numbers */
    const char *text_default; /* texts */
    int64_t number_default;   /* numbers */
    int64_t min;
    int64_t max;
    const char *choices; /* "a, b or c" */
};

extern const struct config_rule config_rules[];
extern const size_t config_rules_count;

/** Says no: ERR_CONFIG, "file:line: what; remedy" in *ret_reason. `tree` or its file may be NULL,
 *  and line 0: then there is no position. */
enum err config_refuse(struct arena *arena, const struct config_tree *tree, int line,
    const char **ret_reason, const char *fmt, ...) PRINTF_LIKE(5, 6);

NODISCARD enum err config_tree_parse(struct arena *arena, const char *file, struct bytes text,
    struct config_tree *ret_tree, const char **ret_reason);
/** The node at that path, or NULL. */
const struct config_node *config_tree_find(const struct config_tree *tree, const char *path);
/** The line of that path or else of the nearest place around it; 0 without a file. */
int config_tree_line(const struct config_tree *tree, const char *path);

NODISCARD enum err config_rules_check(
    struct arena *arena, const struct config_tree *tree, const char **ret_reason);
/** Replaces ${NAME} in every text. */
NODISCARD enum err config_rules_expand(struct arena *arena, const struct config_tree *tree,
    struct config *config, const char **ret_reason);
/** Gives every unset setting its default. */
void config_rules_default(struct config *config);

/** libcyaml. Unset: NULL, 0, the first choice. */
NODISCARD enum err config_schema_load(struct arena *arena, const struct config_tree *tree,
    struct bytes text, struct config *ret_config, const char **ret_reason);

/** config_check with positions. */
NODISCARD enum err config_check_tree(struct arena *arena, const struct config_tree *tree,
    const struct config *config, const char **ret_reason);

#endif
