/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of all settings, and what follows from a single row of it: unknown keys, wrong types,
 * numbers out of range, choices, what must not be missing, references to the environment, defaults.
 */
#include "cluster/base/config_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/base/limits.h"

#define AT(member)      .offset = offsetof(struct config, member)
#define AT_ITEM(member) .in_cluster = true, .offset = offsetof(struct config_cluster, member)

/* Texts of environment variables are not bounded by the file's size. */
#define TEXT_BYTES_MAX (64u * KIB)

#define MAPPING(path_)                        \
    {                                         \
        .path = path_, .kind = CONFIG_MAPPING \
    }
#define TEXT(path_, ...)                                \
    {                                                   \
        .path = path_, .kind = CONFIG_TEXT, __VA_ARGS__ \
    }
#define NUMBER(path_, default_, min_, max_, ...)                                       \
    {                                                                                  \
        .path = path_, .kind = CONFIG_NUMBER, .number_default = default_, .min = min_, \
        .max = max_, __VA_ARGS__                                                       \
    }
#define CHOICE(path_, choices_, required_)                                               \
    {                                                                                    \
        .path = path_, .kind = CONFIG_CHOICE, .choices = choices_, .required = required_ \
    }

#define CLUSTER "federation.clusters[]"

/* The order is that of configs/reference.yaml. Minima are above 0: 0 means unset until the defaults
 * are in. */
const struct config_rule config_rules[] = {
    {.path = "cluster", .kind = CONFIG_MAPPING, .required = true},
    TEXT("cluster.name", AT(cluster.name), .required = true),
    NUMBER("cluster.shards", 16, 1, SHARDS_MAX, AT(cluster.shards)),
    NUMBER("cluster.executors", 1, 1, 256, AT(cluster.executors)),
    {.path = "federation", .kind = CONFIG_MAPPING, .required = true},
    NUMBER("federation.increment", 100, 2, 1000000, AT(federation.increment)),
    {.path = "federation.clusters", .kind = CONFIG_LIST, .required = true},
    MAPPING(CLUSTER),
    TEXT(CLUSTER ".name", AT_ITEM(name), .required = true),
    NUMBER(CLUSTER ".initial_version", 0, 1, 999999, AT_ITEM(initial_version), .required = true),
    TEXT(CLUSTER ".grpc", AT_ITEM(grpc)),
    MAPPING(CLUSTER ".nats"),
    TEXT(CLUSTER ".nats.url", AT_ITEM(nats.url)),
    TEXT(CLUSTER ".nats.user", AT_ITEM(nats.user)),
    TEXT(CLUSTER ".nats.password", AT_ITEM(nats.password)),
    TEXT(CLUSTER ".nats.token", AT_ITEM(nats.token)),
    TEXT(CLUSTER ".nats.credentials_file", AT_ITEM(nats.credentials_file)),
    TEXT(CLUSTER ".nats.nkey_seed_file", AT_ITEM(nats.nkey_seed_file)),
    TEXT(CLUSTER ".nats.tls_ca_file", AT_ITEM(nats.tls_ca_file)),
    TEXT(CLUSTER ".nats.tls_cert_file", AT_ITEM(nats.tls_cert_file)),
    TEXT(CLUSTER ".nats.tls_key_file", AT_ITEM(nats.tls_key_file)),
    {.path = "database", .kind = CONFIG_MAPPING, .required = true},
    CHOICE("database.driver", "sqlite, postgres, mariadb or memory", true),
    TEXT("database.file", AT(database.file)),
    TEXT("database.host", AT(database.host)),
    NUMBER("database.port", 0, 1, 65535, AT(database.port)),
    TEXT("database.socket", AT(database.socket)),
    TEXT("database.user", AT(database.user)),
    TEXT("database.password", AT(database.password)),
    TEXT("database.name", AT(database.name)),
    NUMBER("database.pool_readers", 2, 1, 64, AT(database.pool_readers)),
    CHOICE("database.tls", "prefer, disable, require or verify-full", false),
    TEXT("database.tls_ca_file", AT(database.tls_ca_file)),
    MAPPING("listen"),
    TEXT("listen.grpc", AT(listen.grpc), .text_default = "127.0.0.1:7233"),
    TEXT("listen.console", AT(listen.console), .text_default = "127.0.0.1:8233"),
    MAPPING("tls"),
    TEXT("tls.cert_file", AT(tls.cert_file)),
    TEXT("tls.key_file", AT(tls.key_file)),
    TEXT("tls.client_ca_file", AT(tls.client_ca_file)),
    MAPPING("log"),
    CHOICE("log.level", "debug, info, warn, error or off", false),
    MAPPING("retention"),
    TEXT("retention.default", AT(retention.default_text), .text_default = "3d"),
    MAPPING("limits"),
    NUMBER("limits.blob_bytes_max", BLOB_BYTES_MAX, KIB, GRPC_MESSAGE_BYTES_MAX,
        AT(limits.blob_bytes_max)),
    NUMBER("limits.memo_bytes_max", MEMO_BYTES_MAX, KIB, GRPC_MESSAGE_BYTES_MAX,
        AT(limits.memo_bytes_max)),
    NUMBER("limits.history_bytes_max", HISTORY_BYTES_MAX, MIB, 1024ll * MIB,
        AT(limits.history_bytes_max)),
    NUMBER("limits.history_events_max", HISTORY_EVENTS_MAX, 100, 1000000,
        AT(limits.history_events_max)),
    NUMBER("limits.pending_per_kind_max", PENDING_PER_KIND_MAX, 1, 100000,
        AT(limits.pending_per_kind_max)),
    NUMBER("limits.signals_per_run_max", SIGNALS_PER_RUN_MAX, 1, 1000000,
        AT(limits.signals_per_run_max)),
    NUMBER("limits.buffered_events_max", BUFFERED_EVENTS_MAX, 1, 10000,
        AT(limits.buffered_events_max)),
    NUMBER("limits.mailbox_messages", MAILBOX_DEFAULT, 64, 16 * MIB, AT(limits.mailbox_messages)),
    MAPPING("replication"),
    NUMBER("replication.heartbeat_ms", 1000, 50, 60000, AT(replication.heartbeat_ms)),
    NUMBER("replication.window_messages", 256, 1, 65536, AT(replication.window_messages)),
    NUMBER("replication.stream_max_mb", 1024, 16, 1048576, AT(replication.stream_max_mb)),
    NUMBER("replication.stream_replicas", 1, 1, 5, AT(replication.stream_replicas)),
    MAPPING("failover"),
    NUMBER("failover.handover_ms", 10000, 100, 600000, AT(failover.handover_ms)),
};
const size_t config_rules_count = ARRAY_LEN(config_rules);

static const char *const kind_names[] = {
    [CONFIG_MAPPING] = "a group of settings",
    [CONFIG_LIST] = "a list",
    [CONFIG_TEXT] = "a single value",
    [CONFIG_NUMBER] = "a single value",
    [CONFIG_CHOICE] = "a single value",
};

static const struct config_rule *rule_of(const char *path)
{
    for (size_t i = 0; i < config_rules_count; i++) {
        if (strcmp(config_rules[i].path, path) == 0)
            return &config_rules[i];
    }
    return NULL;
}

/** True when `path` is a setting directly inside `group`; *ret_name is then its last part. */
static bool is_inside(const char *path, struct bytes group, const char **ret_name)
{
    const char *dot = strrchr(path, '.');
    const char *name = dot ? dot + 1 : path;
    struct bytes parent = bytes_make(path, dot ? (size_t)(dot - path) : 0);
    if (!bytes_equal(parent, group) || path[strlen(path) - 1] == ']')
        return false;
    *ret_name = name;
    return true;
}

/** Edits (insert, delete, replace) that turn one name into the other; names are short. */
static size_t edits(const char *a, const char *b)
{
    enum { NAME_MAX_LEN = 40 };
    size_t row[NAME_MAX_LEN + 1];
    size_t len_b = strlen(b);
    if (len_b > NAME_MAX_LEN || strlen(a) > NAME_MAX_LEN)
        return SIZE_MAX;
    for (size_t j = 0; j <= len_b; j++)
        row[j] = j;
    for (size_t i = 1; i <= strlen(a); i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= len_b; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[len_b];
}

static enum err refuse_unknown(struct arena *arena, const struct config_tree *tree,
    const struct config_node *node, const char **ret_reason)
{
    const char *dot = strrchr(node->rule, '.');
    const char *name = dot ? dot + 1 : node->rule;
    struct bytes group = bytes_make(node->rule, dot ? (size_t)(dot - node->rule) : 0);
    const char *near = NULL;
    size_t near_edits = 3;
    struct buffer list = {0};
    for (size_t i = 0; i < config_rules_count; i++) {
        const char *candidate;
        if (!is_inside(config_rules[i].path, group, &candidate))
            continue;
        buffer_printf(&list, "%s%s", list.len > 0 ? ", " : "", candidate);
        if (edits(name, candidate) < near_edits) {
            near = candidate;
            near_edits = edits(name, candidate);
        }
    }
    char *known = bytes_string(arena, buffer_view(&list));
    buffer_release(&list);
    if (near)
        return config_refuse(arena, tree, node->line, ret_reason,
            "%s is not a setting; did you mean %s?", node->path, near);
    return config_refuse(arena, tree, node->line, ret_reason,
        "%s is not a setting; known here are: %s", node->path, known);
}

static bool parse_number(const char *text, int64_t *ret_number)
{
    const char *digits = text[0] == '-' ? text + 1 : text;
    if (digits[0] == '\0' || digits[strspn(digits, "0123456789")] != '\0')
        return false;
    if (digits[0] == '0' && digits[1] != '\0')
        return false; /* octal to some, decimal to others */
    errno = 0;
    *ret_number = strtoll(text, NULL, 10);
    return errno == 0;
}

static enum err check_number(struct arena *arena, const struct config_tree *tree,
    const struct config_node *node, const struct config_rule *rule, const char **ret_reason)
{
    int64_t number;
    if (!parse_number(node->value, &number))
        return config_refuse(arena, tree, node->line, ret_reason,
            "%s is \"%.40s\"; write a whole number from %lld to %lld%s", node->path, node->value,
            (long long)rule->min, (long long)rule->max,
            strstr(node->value, "${") ? " (only text may refer to the environment)" : "");
    if (number < rule->min || number > rule->max)
        return config_refuse(arena, tree, node->line, ret_reason,
            "%s is %lld; write a number from %lld to %lld", node->path, (long long)number,
            (long long)rule->min, (long long)rule->max);
    return OK;
}

/** `choices` reads "a, b or c". */
static bool is_choice(const char *value, const char *choices)
{
    size_t len = strlen(value);
    for (const char *at = choices; *at;) {
        size_t word = strcspn(at, ", ");
        if (word == len && strncmp(at, value, len) == 0 && strcmp(value, "or") != 0)
            return true;
        at += word;
        at += strspn(at, ", ");
    }
    return false;
}

static enum err check_node(struct arena *arena, const struct config_tree *tree,
    const struct config_node *node, const char **ret_reason)
{
    const struct config_rule *rule = rule_of(node->rule);
    if (!rule)
        return refuse_unknown(arena, tree, node, ret_reason);
    if (node->empty)
        return config_refuse(arena, tree, node->line, ret_reason,
            "%s has no value; write one or remove the line", node->path);
    bool scalar = rule->kind != CONFIG_MAPPING && rule->kind != CONFIG_LIST;
    if (node->kind != (scalar ? CONFIG_TEXT : rule->kind))
        return config_refuse(arena, tree, node->line, ret_reason,
            "%s is %s; write %s, as in configs/reference.yaml", node->path, kind_names[node->kind],
            kind_names[rule->kind]);
    if (rule->kind == CONFIG_NUMBER)
        return check_number(arena, tree, node, rule, ret_reason);
    if (rule->kind == CONFIG_CHOICE && !is_choice(node->value, rule->choices))
        return config_refuse(arena, tree, node->line, ret_reason, "%s is \"%.40s\"; write %s",
            node->path, node->value, rule->choices);
    return OK;
}

/** What a required rule wants below the node `group`, or OK. */
static enum err check_required(struct arena *arena, const struct config_tree *tree,
    const struct config_node *group, const char **ret_reason)
{
    for (size_t i = 0; i < config_rules_count; i++) {
        const struct config_rule *rule = &config_rules[i];
        const char *name;
        if (!rule->required || !is_inside(rule->path, bytes_of(group->rule), &name))
            continue;
        const char *path =
            arena_printf(arena, "%s%s%s", group->path, group->path[0] ? "." : "", name);
        if (!config_tree_find(tree, path))
            return config_refuse(arena, tree, group->line, ret_reason,
                "%s is missing; add it, as in configs/reference.yaml", path);
    }
    return OK;
}

enum err config_rules_check(
    struct arena *arena, const struct config_tree *tree, const char **ret_reason)
{
    const struct config_node *root = config_tree_find(tree, "");
    if (!root || root->kind != CONFIG_MAPPING)
        return config_refuse(arena, tree, 1, ret_reason,
            "no settings here; start from a copy of configs/reference.yaml");
    for (size_t i = 0; i < tree->count; i++) {
        const struct config_node *node = &tree->nodes[i];
        enum err err = node == root ? OK : check_node(arena, tree, node, ret_reason);
        if (err)
            return err;
    }
    for (size_t i = 0; i < tree->count; i++) {
        const struct config_node *node = &tree->nodes[i];
        if (node->kind != CONFIG_MAPPING)
            continue;
        enum err err = check_required(arena, tree, node, ret_reason);
        if (err)
            return err;
    }
    return OK;
}

static bool is_name_char(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

/** The length of a reference `${NAME}` at `text`, or 0 when it is malformed. */
static size_t reference_len(const char *text)
{
    size_t len = 2;
    while (is_name_char(text[len]))
        len++;
    return len > 2 && text[len] == '}' ? len + 1 : 0;
}

static enum err expand_text(struct arena *arena, const struct config_tree *tree, const char *path,
    const char **text, const char **ret_reason)
{
    if (!*text || !strstr(*text, "${"))
        return OK;
    int line = config_tree_line(tree, path);
    enum err err = OK;
    struct buffer out = {0};
    for (const char *at = *text; *at && !err;) {
        if (strncmp(at, "$${", 3) == 0) {
            buffer_append(&out, "${", 2);
            at += 3;
            continue;
        }
        if (strncmp(at, "${", 2) != 0) {
            buffer_append(&out, at++, 1);
            continue;
        }
        size_t len = reference_len(at);
        if (len == 0) {
            err = config_refuse(arena, tree, line, ret_reason,
                "%s has a ${ that is no reference; write ${NAME}, or $${ for a plain ${", path);
            break;
        }
        const char *name = bytes_string(arena, bytes_make(at + 2, len - 3));
        const char *value = getenv(name);
        if (!value)
            err = config_refuse(arena, tree, line, ret_reason,
                "%s refers to the environment variable %s, which is not set; export it", path,
                name);
        else if (strlen(value) > TEXT_BYTES_MAX)
            err = config_refuse(arena, tree, line, ret_reason,
                "%s refers to the environment variable %s, which is longer than %u bytes", path,
                name, TEXT_BYTES_MAX);
        else
            buffer_append(&out, value, strlen(value));
        at += len;
    }
    if (!err)
        *text = bytes_string(arena, buffer_view(&out));
    buffer_release(&out);
    return err;
}

/** "federation.clusters[].x" and 1 make "federation.clusters[1].x". */
static const char *indexed(struct arena *arena, const char *path, size_t index)
{
    const char *bracket = strchr(path, ']');
    CHECK(bracket != NULL);
    return arena_printf(arena, "%.*s%zu%s", (int)(bracket - path), path, index, bracket);
}

static const char **text_at(void *base, const struct config_rule *rule)
{
    return (const char **)(void *)((char *)base + rule->offset);
}

enum err config_rules_expand(struct arena *arena, const struct config_tree *tree,
    struct config *config, const char **ret_reason)
{
    for (size_t i = 0; i < config_rules_count; i++) {
        const struct config_rule *rule = &config_rules[i];
        if (rule->kind != CONFIG_TEXT)
            continue;
        size_t count = rule->in_cluster ? config->federation.clusters_count : 1;
        for (size_t k = 0; k < count; k++) {
            void *base = rule->in_cluster ? (void *)&config->federation.clusters[k] : config;
            const char *path = rule->in_cluster ? indexed(arena, rule->path, k) : rule->path;
            enum err err = expand_text(arena, tree, path, text_at(base, rule), ret_reason);
            if (err)
                return err;
        }
    }
    return OK;
}

void config_rules_default(struct config *config)
{
    for (size_t i = 0; i < config_rules_count; i++) {
        const struct config_rule *rule = &config_rules[i];
        if (rule->in_cluster)
            continue;
        if (rule->kind == CONFIG_TEXT && !*text_at(config, rule))
            *text_at(config, rule) = rule->text_default;
        if (rule->kind != CONFIG_NUMBER)
            continue;
        int64_t *number = (int64_t *)(void *)((char *)config + rule->offset);
        if (*number == 0)
            *number = rule->number_default;
    }
}
