/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/base/config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cluster/base/config_private.h"
#include "cluster/base/limits.h"

/* A configuration is a few kilobytes; whatever is larger is another file. */
#define FILE_BYTES_MAX (4u * MIB)

#define POSTGRES_PORT 5432
#define MARIADB_PORT  3306

enum err config_refuse(struct arena *arena, const struct config_tree *tree, int line,
    const char **ret_reason, const char *fmt, ...)
{
    struct buffer text = {0};
    if (tree && tree->file)
        buffer_printf(&text, "%s:", tree->file);
    if (tree && tree->file && line > 0)
        buffer_printf(&text, "%d:", line);
    if (text.len > 0)
        buffer_append(&text, " ", 1);
    char sentence[1000];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(sentence, sizeof(sentence), fmt, args); /* cut is fine */
    va_end(args);
    buffer_append(&text, sentence, strlen(sentence));
    *ret_reason = bytes_string(arena, buffer_view(&text));
    buffer_release(&text);
    return ERR_CONFIG;
}

static bool is_server(const struct config_database *database)
{
    return database->driver == CONFIG_DRIVER_POSTGRES || database->driver == CONFIG_DRIVER_MARIADB;
}

/** Defaults that depend on another setting. */
static void dependent_defaults(struct config *config)
{
    struct config_database *database = &config->database;
    if (is_server(database)) {
        if (database->host && database->port == 0)
            database->port =
                database->driver == CONFIG_DRIVER_POSTGRES ? POSTGRES_PORT : MARIADB_PORT;
        if (!database->user)
            database->user = "strait";
        if (!database->name)
            database->name = "strait";
    }
    if (config->listen.console && strcmp(config->listen.console, "off") == 0)
        config->listen.console = NULL;
    config->retention.default_ms = config_parse_span_ms(config->retention.default_text);
}

void config_defaults(struct config *ret_config)
{
    *ret_config = (struct config){.log.level = LOG_INFO};
    config_rules_default(ret_config);
    dependent_defaults(ret_config);
}

int64_t config_parse_span_ms(const char *text)
{
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = {
        {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}, {"w", 604800000}};
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 9)
        return -1;
    int64_t number = 0;
    for (size_t i = 0; i < digits; i++)
        number = number * 10 + (text[i] - '0');
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (strcmp(text + digits, units[i].unit) == 0)
            return number * units[i].ms;
    }
    return -1;
}

const struct config_cluster *config_own(const struct config *config)
{
    for (unsigned i = 0; i < config->federation.clusters_count; i++) {
        const struct config_cluster *cluster = &config->federation.clusters[i];
        if (strcmp(cluster->name, config->cluster.name) == 0)
            return cluster;
    }
    check_fail(__FILE__, __LINE__, "a checked configuration lists its own cluster");
}

enum err config_parse(struct arena *arena, const char *file, struct bytes text,
    struct config *ret_config, const char **ret_reason)
{
    struct config_tree tree;
    enum err err = config_tree_parse(arena, file, text, &tree, ret_reason);
    if (err)
        return err;
    err = config_rules_check(arena, &tree, ret_reason);
    if (err)
        return err;
    struct config config;
    err = config_schema_load(arena, &tree, text, &config, ret_reason);
    if (err)
        return err;
    if (!config_tree_find(&tree, "log.level"))
        config.log.level = LOG_INFO; /* the first choice is debug */
    err = config_rules_expand(arena, &tree, &config, ret_reason);
    if (err)
        return err;
    config_rules_default(&config);
    dependent_defaults(&config);
    err = config_check_tree(arena, &tree, &config, ret_reason);
    if (err)
        return err;
    *ret_config = config;
    return OK;
}

enum err config_load(
    struct arena *arena, const char *file, struct config *ret_config, const char **ret_reason)
{
    struct config_tree nowhere = {.file = file};
    FILE *stream = fopen(file, "re");
    if (!stream)
        return config_refuse(arena, &nowhere, 0, ret_reason,
            "cannot be read: %s; give a file with --config", strerror(errno));
    struct buffer text = {0};
    size_t got;
    do {
        got = fread(buffer_reserve(&text, 4096), 1, 4096, stream);
        text.len += got;
    } while (got > 0 && text.len <= FILE_BYTES_MAX);
    enum err err = OK;
    if (ferror(stream))
        err = config_refuse(arena, &nowhere, 0, ret_reason,
            "cannot be read: %s; give a file with --config", strerror(errno));
    else if (text.len > FILE_BYTES_MAX)
        err = config_refuse(arena, &nowhere, 0, ret_reason,
            "is larger than %u bytes; give a configuration file", FILE_BYTES_MAX);
    (void)fclose(stream); /* only read */
    if (!err)
        err = config_parse(arena, file, buffer_view(&text), ret_config, ret_reason);
    buffer_release(&text);
    return err;
}
