/* SPDX-License-Identifier: Apache-2.0
 *
 * libcyaml's picture of struct config. Everything is optional here: what is required, and every
 * other rule, has been checked before with better words.
 */
#include "cluster/base/config_private.h"

#include <cyaml/cyaml.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cluster/base/limits.h"

#define TEXT(type, member) TEXT_AT(#member, type, member)
#define TEXT_AT(key, type, member) \
    CYAML_FIELD_STRING_PTR(        \
        key, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, type, member, 0, CYAML_UNLIMITED)
#define NUMBER(type, member) CYAML_FIELD_INT(#member, CYAML_FLAG_OPTIONAL, type, member)
#define CHOICE(type, member, choices)                                                         \
    CYAML_FIELD_ENUM(#member, CYAML_FLAG_OPTIONAL | CYAML_FLAG_STRICT, type, member, choices, \
        ARRAY_LEN(choices))
#define GROUP(type, member, fields) \
    CYAML_FIELD_MAPPING(#member, CYAML_FLAG_OPTIONAL, type, member, fields)

static const cyaml_strval_t drivers[] = {
    {"sqlite", CONFIG_DRIVER_SQLITE},
    {"postgres", CONFIG_DRIVER_POSTGRES},
    {"mariadb", CONFIG_DRIVER_MARIADB},
    {"memory", CONFIG_DRIVER_MEMORY},
};

static const cyaml_strval_t tls_modes[] = {
    {"prefer", CONFIG_TLS_PREFER},
    {"disable", CONFIG_TLS_DISABLE},
    {"require", CONFIG_TLS_REQUIRE},
    {"verify-full", CONFIG_TLS_VERIFY_FULL},
};

static const cyaml_strval_t levels[] = {
    {"debug", LOG_DEBUG},
    {"info", LOG_INFO},
    {"warn", LOG_WARN},
    {"error", LOG_ERROR},
    {"off", LOG_OFF},
};

static const cyaml_schema_field_t self_fields[] = {
    TEXT(struct config_self, name),
    NUMBER(struct config_self, shards),
    NUMBER(struct config_self, executors),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t nats_fields[] = {
    TEXT(struct config_nats, url),
    TEXT(struct config_nats, user),
    TEXT(struct config_nats, password),
    TEXT(struct config_nats, token),
    TEXT(struct config_nats, credentials_file),
    TEXT(struct config_nats, nkey_seed_file),
    TEXT(struct config_nats, tls_ca_file),
    TEXT(struct config_nats, tls_cert_file),
    TEXT(struct config_nats, tls_key_file),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t cluster_fields[] = {
    TEXT(struct config_cluster, name),
    NUMBER(struct config_cluster, initial_version),
    TEXT(struct config_cluster, grpc),
    GROUP(struct config_cluster, nats, nats_fields),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t cluster_value = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct config_cluster, cluster_fields),
};

static const cyaml_schema_field_t federation_fields[] = {
    NUMBER(struct config_federation, increment),
    CYAML_FIELD_SEQUENCE("clusters", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,
        struct config_federation, clusters, &cluster_value, 0, CYAML_UNLIMITED),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t database_fields[] = {
    CHOICE(struct config_database, driver, drivers),
    TEXT(struct config_database, file),
    TEXT(struct config_database, host),
    NUMBER(struct config_database, port),
    TEXT(struct config_database, socket),
    TEXT(struct config_database, user),
    TEXT(struct config_database, password),
    TEXT(struct config_database, name),
    NUMBER(struct config_database, pool_readers),
    CHOICE(struct config_database, tls, tls_modes),
    TEXT(struct config_database, tls_ca_file),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t listen_fields[] = {
    TEXT(struct config_listen, grpc),
    TEXT(struct config_listen, console),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t tls_fields[] = {
    TEXT(struct config_tls, cert_file),
    TEXT(struct config_tls, key_file),
    TEXT(struct config_tls, client_ca_file),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t log_fields[] = {
    CHOICE(struct config_log, level, levels),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t retention_fields[] = {
    TEXT_AT("default", struct config_retention, default_text),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t limits_fields[] = {
    NUMBER(struct config_limits, blob_bytes_max),
    NUMBER(struct config_limits, memo_bytes_max),
    NUMBER(struct config_limits, history_bytes_max),
    NUMBER(struct config_limits, history_events_max),
    NUMBER(struct config_limits, pending_per_kind_max),
    NUMBER(struct config_limits, signals_per_run_max),
    NUMBER(struct config_limits, buffered_events_max),
    NUMBER(struct config_limits, mailbox_messages),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t replication_fields[] = {
    NUMBER(struct config_replication, heartbeat_ms),
    NUMBER(struct config_replication, window_messages),
    NUMBER(struct config_replication, stream_max_mb),
    NUMBER(struct config_replication, stream_replicas),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t failover_fields[] = {
    NUMBER(struct config_failover, handover_ms),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t fields[] = {
    GROUP(struct config, cluster, self_fields),
    GROUP(struct config, federation, federation_fields),
    GROUP(struct config, database, database_fields),
    GROUP(struct config, listen, listen_fields),
    GROUP(struct config, tls, tls_fields),
    GROUP(struct config, log, log_fields),
    GROUP(struct config, retention, retention_fields),
    GROUP(struct config, limits, limits_fields),
    GROUP(struct config, replication, replication_fields),
    GROUP(struct config, failover, failover_fields),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct config, fields),
};

/** What libcyaml said: the first line, and the line number of its innermost place. */
struct complaint {
    char text[200];
    int line;
};

PRINTF_LIKE(3, 0)
static void take_log(cyaml_log_t level, void *ctx, const char *fmt, va_list args)
{
    struct complaint *complaint = ctx;
    char text[sizeof(complaint->text)];
    if (level < CYAML_LOG_ERROR)
        return;
    (void)vsnprintf(text, sizeof(text), fmt, args); /* cut is fine */
    text[strcspn(text, "\n")] = '\0';
    const char *said = strncmp(text, "Load: ", 6) == 0 ? text + 6 : text;
    if (!complaint->text[0])
        memcpy(complaint->text, said, strlen(said) + 1);
    const char *line = strstr(text, "(line: ");
    if (line && complaint->line == 0)
        (void)sscanf(line, "(line: %d", &complaint->line); /* 0 stays 0 */
}

/** realloc over an arena: each block remembers its size in front of it. */
static void *take_memory(void *ctx, void *old, size_t size)
{
    enum { HEAD = 16 };
    if (size == 0)
        return NULL; /* a free */
    uint8_t *block = arena_alloc(ctx, HEAD + size);
    memcpy(block, &size, sizeof(size));
    if (old) {
        size_t old_size;
        memcpy(&old_size, (uint8_t *)old - HEAD, sizeof(old_size));
        memcpy(block + HEAD, old, old_size < size ? old_size : size);
    }
    return block + HEAD;
}

enum err config_schema_load(struct arena *arena, const struct config_tree *tree, struct bytes text,
    struct config *ret_config, const char **ret_reason)
{
    struct complaint complaint = {.line = 0};
    cyaml_config_t options = {
        .log_fn = take_log,
        .log_ctx = &complaint,
        .mem_fn = take_memory,
        .mem_ctx = arena,
        .log_level = CYAML_LOG_ERROR,
        .flags = CYAML_CFG_NO_ALIAS,
    };
    void *loaded = NULL;
    cyaml_err_t failed = cyaml_load_data(text.data, text.len, &options, &schema, &loaded, NULL);
    if (failed)
        return config_refuse(arena, tree, complaint.line, ret_reason,
            "libcyaml: %s (%s); compare with configs/reference.yaml", complaint.text,
            cyaml_strerror(failed));
    CHECK(loaded != NULL);
    memcpy(ret_config, loaded, sizeof(*ret_config));
    return OK;
}
