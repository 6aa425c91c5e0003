/* SPDX-License-Identifier: Apache-2.0
 *
 * YAML events become a flat list of nodes, in the order of the file. Our files are maps of maps of
 * plain values with one list in them, so a small stack of open collections is all there is to it.
 */
#include "cluster/base/config_private.h"

#include <string.h>
#include <yaml.h>

#define DEPTH_MAX 8
#define NODES_MAX 10000

/** A mapping or list that is not closed yet. */
struct level {
    enum config_kind kind;
    const char *path;
    const char *rule;
    const char *key; /* mapping: the key whose value comes next; NULL = a key comes next */
    int key_line;
    size_t entries; /* list: how many there were */
};

struct builder {
    struct arena *arena;
    struct config_tree *tree;
    struct level levels[DEPTH_MAX];
    size_t depth;
    const char **ret_reason;
};

static int line_of(const yaml_event_t *event)
{
    return (int)event->start_mark.line + 1;
}

static struct config_node *add_node(struct builder *builder)
{
    struct config_tree *tree = builder->tree;
    if (tree->count == tree->capacity) {
        size_t capacity = tree->capacity ? tree->capacity * 2 : 64;
        struct config_node *nodes = arena_zalloc(builder->arena, capacity, sizeof(*nodes));
        if (tree->count > 0)
            memcpy(nodes, tree->nodes, tree->count * sizeof(*nodes));
        tree->nodes = nodes;
        tree->capacity = capacity;
    }
    return &tree->nodes[tree->count++];
}

/** Makes the node of a value that starts here, with its path. */
static struct config_node *begin_value(
    struct builder *builder, const yaml_event_t *event, enum config_kind kind)
{
    struct config_node *node = add_node(builder);
    node->kind = kind;
    node->line = line_of(event);
    node->path = "";
    node->rule = "";
    if (builder->depth == 0)
        return node;
    struct level *level = &builder->levels[builder->depth - 1];
    if (level->kind == CONFIG_LIST) {
        node->path = arena_printf(builder->arena, "%s[%zu]", level->path, level->entries++);
        node->rule = arena_printf(builder->arena, "%s[]", level->rule);
        return node;
    }
    const char *dot = level->path[0] ? "." : "";
    node->path = arena_printf(builder->arena, "%s%s%s", level->path, dot, level->key);
    node->rule = arena_printf(builder->arena, "%s%s%s", level->rule, dot, level->key);
    /* A mapping's own first line is that of its first key; the line to point at is its name's. */
    node->line = level->key_line;
    level->key = NULL;
    return node;
}

static enum err open_collection(
    struct builder *builder, const yaml_event_t *event, enum config_kind kind)
{
    struct level *above = builder->depth > 0 ? &builder->levels[builder->depth - 1] : NULL;
    if (above && above->kind == CONFIG_MAPPING && !above->key)
        return config_refuse(builder->arena, builder->tree, line_of(event), builder->ret_reason,
            "a key is a collection; write a plain name before the colon");
    struct config_node *node = begin_value(builder, event, kind);
    if (builder->depth == DEPTH_MAX)
        return config_refuse(builder->arena, builder->tree, line_of(event), builder->ret_reason,
            "%s is nested too deep; compare with configs/reference.yaml", node->path);
    builder->levels[builder->depth++] =
        (struct level){.kind = kind, .path = node->path, .rule = node->rule};
    return OK;
}

static enum err add_key(struct builder *builder, const yaml_event_t *event, const char *key)
{
    struct level *level = &builder->levels[builder->depth - 1];
    const char *path =
        arena_printf(builder->arena, "%s%s%s", level->path, level->path[0] ? "." : "", key);
    const struct config_node *before = config_tree_find(builder->tree, path);
    if (before)
        return config_refuse(builder->arena, builder->tree, line_of(event), builder->ret_reason,
            "%s is set twice; it is in line %d already, remove one", path, before->line);
    level->key = key;
    level->key_line = line_of(event);
    return OK;
}

/** YAML's ways to write nothing. */
static bool is_empty(const yaml_event_t *event, const char *value)
{
    return event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (value[0] == '\0' || strcmp(value, "~") == 0 || strcmp(value, "null") == 0);
}

static enum err add_scalar(struct builder *builder, const yaml_event_t *event)
{
    size_t len = event->data.scalar.length;
    const char *value = arena_copy(builder->arena, event->data.scalar.value, len);
    if (strlen(value) != len)
        return config_refuse(builder->arena, builder->tree, line_of(event), builder->ret_reason,
            "a value contains a NUL character; remove it");
    if (builder->depth > 0) {
        const struct level *level = &builder->levels[builder->depth - 1];
        if (level->kind == CONFIG_MAPPING && !level->key)
            return add_key(builder, event, value);
    }
    struct config_node *node = begin_value(builder, event, CONFIG_TEXT);
    node->value = value;
    node->empty = is_empty(event, value);
    return OK;
}

static enum err add_event(struct builder *builder, const yaml_event_t *event)
{
    if (builder->tree->count > NODES_MAX)
        return config_refuse(builder->arena, builder->tree, line_of(event), builder->ret_reason,
            "the file has more than %d values; it is hardly a configuration", NODES_MAX);
    switch ((int)event->type) {
    case YAML_MAPPING_START_EVENT:
        return open_collection(builder, event, CONFIG_MAPPING);
    case YAML_SEQUENCE_START_EVENT:
        return open_collection(builder, event, CONFIG_LIST);
    case YAML_MAPPING_END_EVENT:
    case YAML_SEQUENCE_END_EVENT:
        builder->depth--;
        return OK;
    case YAML_SCALAR_EVENT:
        return add_scalar(builder, event);
    case YAML_ALIAS_EVENT:
        return config_refuse(builder->arena, builder->tree, line_of(event), builder->ret_reason,
            "aliases (*name) are not supported; write the value out");
    case YAML_DOCUMENT_START_EVENT:
        if (builder->tree->count > 0)
            return config_refuse(builder->arena, builder->tree, line_of(event), builder->ret_reason,
                "a second document starts here; use one file per cluster");
        return OK;
    default:
        return OK;
    }
}

static enum err refuse_syntax(struct builder *builder, const yaml_parser_t *parser)
{
    int line = (int)parser->problem_mark.line + 1;
    const char *problem = parser->problem ? parser->problem : "unreadable";
    const char *remedy = "compare with configs/reference.yaml";
    if (strstr(problem, "cannot start any token"))
        remedy = "indent with spaces, not tabs, and quote values that start with @ or `";
    else if (strstr(problem, "mapping values are not allowed"))
        remedy = "check the indentation, and quote values that contain a colon and a space";
    return config_refuse(builder->arena, builder->tree, line, builder->ret_reason,
        "not valid YAML: %s; %s", problem, remedy);
}

enum err config_tree_parse(struct arena *arena, const char *file, struct bytes text,
    struct config_tree *ret_tree, const char **ret_reason)
{
    struct config_tree tree = {.file = file};
    struct builder builder = {.arena = arena, .tree = &tree, .ret_reason = ret_reason};
    yaml_parser_t parser;
    int initialized = yaml_parser_initialize(&parser);
    CHECK(initialized == 1);
    yaml_parser_set_input_string(&parser, text.len > 0 ? text.data : (const uint8_t *)"", text.len);
    enum err err = OK;
    bool ended = false;
    while (!err && !ended) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event)) {
            err = refuse_syntax(&builder, &parser);
            break;
        }
        ended = event.type == YAML_STREAM_END_EVENT;
        err = add_event(&builder, &event);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    if (!err)
        *ret_tree = tree;
    return err;
}

const struct config_node *config_tree_find(const struct config_tree *tree, const char *path)
{
    for (size_t i = 0; i < tree->count; i++) {
        if (strcmp(tree->nodes[i].path, path) == 0)
            return &tree->nodes[i];
    }
    return NULL;
}

int config_tree_line(const struct config_tree *tree, const char *path)
{
    if (!tree || !tree->file)
        return 0;
    int line = 1;
    size_t longest = 0;
    for (size_t i = 0; i < tree->count; i++) {
        const struct config_node *node = &tree->nodes[i];
        size_t len = strlen(node->path);
        if (len < longest || strncmp(node->path, path, len) != 0)
            continue;
        if (len > 0 && path[len] != '\0' && path[len] != '.' && path[len] != '[')
            continue;
        longest = len;
        line = node->line;
    }
    return line;
}
