/* SPDX-License-Identifier: Apache-2.0
 *
 * Local clusters. The configuration is made, not read; it passes the same checks as a file.
 */
#include "cluster/local.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cluster/base/config.h"
#include "cluster/base/limits.h"
#include "cluster/base/log.h"
#include "cluster/base/mem.h"
#include "cluster/base/proto_arena.h"
#include "cluster/node.h"
#include "cluster/rpc/rpc_client.h"
#include "proto/admin.pb-c.h"
#include "replicator/nats_process.h"

#define LOCAL_SHARDS  4
#define STOP_GRACE_NS (2 * NS_PER_S)

struct local_cluster {
    char *name;
    struct config config;
    struct node *node;
    int port;
    int console_port;
};

struct local {
    struct arena arena;
    struct nats_process *nats;
    char *url;
    char *data;
    bool temporary;
    int count;
    struct local_cluster clusters[LOCAL_CLUSTERS_MAX];
    struct config_cluster federation[LOCAL_CLUSTERS_MAX];
};

static enum err make_folder(const char *path, char reason[256])
{
    if (mkdir(path, 0700) == 0 || errno == EEXIST)
        return OK;
    snprintf(reason, 256, "folder %.150s cannot be made: %s", path, strerror(errno));
    return ERR_IO;
}

static enum err parse_names(struct local *local, const char *names, char reason[256])
{
    char *copy = arena_strdup(&local->arena, names);
    for (char *at = copy; at;) {
        char *comma = strchr(at, ',');
        if (comma)
            *comma = 0;
        if (local->count == LOCAL_CLUSTERS_MAX) {
            snprintf(reason, 256, "at most %d clusters", LOCAL_CLUSTERS_MAX);
            return ERR_CONFIG;
        }
        local->clusters[local->count++].name = at;
        at = comma ? comma + 1 : NULL;
    }
    return OK;
}

static enum err start_nats(
    struct local *local, const struct local_options *options, char reason[256])
{
    if (options->nats_url) {
        local->url = arena_strdup(&local->arena, options->nats_url);
        return OK;
    }
    char *dir = arena_printf(&local->arena, "%s/nats", local->data);
    enum err err = make_folder(dir, reason);
    if (err)
        return err;
    struct nats_process_options nats = {.dir = dir};
    err = nats_process_start(&nats, &local->nats, reason);
    if (!err)
        local->url = arena_strdup(&local->arena, nats_process_url(local->nats));
    return err;
}

static void make_config(struct local *local, const struct local_options *options, int index)
{
    struct local_cluster *cluster = &local->clusters[index];
    struct config *config = &cluster->config;
    config_defaults(config);
    config->cluster.name = cluster->name;
    config->cluster.shards = LOCAL_SHARDS;
    config->federation.clusters = local->federation;
    config->federation.clusters_count = (unsigned)local->count;
    config->database.driver = options->data ? CONFIG_DRIVER_SQLITE : CONFIG_DRIVER_MEMORY;
    config->database.file =
        options->data ? arena_printf(&local->arena, "%s/%s.db", local->data, cluster->name) : NULL;
    int port = cluster->port ? cluster->port : options->port ? options->port + index : 0;
    config->listen.grpc = arena_printf(&local->arena, "127.0.0.1:%d", port);
    config->listen.console = NULL;
    if (options->console_port >= 0)
        config->listen.console = arena_printf(&local->arena, "127.0.0.1:%d",
            options->console_port ? options->console_port + index : 0);
    enum log_level level = LOG_WARN;
    if (options->log_level)
        (void)!log_parse_level(options->log_level, &level);
    log_set_level(level);
    config->log.level = level;
}

static enum err start_cluster(struct local *local, int index, char reason[256])
{
    struct local_cluster *cluster = &local->clusters[index];
    struct node_options options = {&cluster->config, env_system()};
    char why[256] = "";
    enum err err = node_open(&options, &cluster->node, why);
    if (err) {
        snprintf(reason, 256, "cluster %.60s: %.180s", cluster->name, why);
        return err;
    }
    cluster->port = node_grpc_port(cluster->node);
    cluster->console_port = node_console_port(cluster->node);
    cluster->config.listen.grpc = arena_printf(&local->arena, "127.0.0.1:%d", cluster->port);
    return OK;
}

/* The namespace is made through the front door: the same call an operator makes. */
static enum err make_namespace(struct local *local, const char *name, char reason[256])
{
    struct arena arena = {0};
    char *address = arena_printf(&arena, "127.0.0.1:%d", local->clusters[0].port);
    struct rpc_client_options options = {.address = address};
    struct rpc_client *client = NULL;
    enum err err = rpc_client_open(&options, &client, reason);
    if (err)
        return err;
    Admin__CreateNamespaceRequest request;
    admin__create_namespace_request__init(&request);
    request.name = arena_strdup(&arena, name);
    request.active_cluster = local->clusters[0].name;
    char *clusters[LOCAL_CLUSTERS_MAX];
    for (int i = 0; i < local->count; i++)
        clusters[i] = local->clusters[i].name;
    request.n_clusters = (size_t)local->count;
    request.clusters = clusters;
    struct rpc_result result =
        rpc_client_call(client, "/strait.admin.v1.AdminService/CreateNamespace",
            proto_pack(&arena, &request.base), 10 * NS_PER_S, &arena);
    if (result.code != GRPC_OK && result.code != GRPC_ALREADY_EXISTS) {
        snprintf(reason, 256, "namespace %.60s: %.180s", name, result.message);
        err = ERR_INTERNAL;
    }
    rpc_client_close(client);
    arena_release(&arena);
    return err;
}

static enum err open_all(struct local *local, const struct local_options *options, char reason[256])
{
    enum err err = parse_names(local, options->clusters, reason);
    if (err)
        return err;
    local->temporary = !options->data;
    if (options->data) {
        local->data = arena_strdup(&local->arena, options->data);
        err = make_folder(local->data, reason);
    } else {
        const char *tmp = getenv("TMPDIR");
        local->data = arena_printf(&local->arena, "%s/strait-XXXXXX", tmp ? tmp : "/tmp");
        if (!mkdtemp(local->data)) {
            snprintf(reason, 256, "no temporary folder: %s", strerror(errno));
            err = ERR_IO;
        }
    }
    if (!err)
        err = start_nats(local, options, reason);
    for (int i = 0; !err && i < local->count; i++) {
        local->federation[i].name = local->clusters[i].name;
        local->federation[i].initial_version = i + 1;
        local->federation[i].nats.url = local->url;
    }
    for (int i = 0; !err && i < local->count; i++) {
        make_config(local, options, i);
        const char *why = "";
        err = config_check(&local->arena, &local->clusters[i].config, &why);
        if (err)
            snprintf(reason, 256, "%.250s", why);
        else
            err = start_cluster(local, i, reason);
    }
    if (!err && options->namespace)
        err = make_namespace(local, options->namespace, reason);
    return err;
}

enum err local_open(
    const struct local_options *options, struct local **ret_local, char ret_reason[256])
{
    struct local *local = mem_new(struct local);
    enum err err = open_all(local, options, ret_reason);
    if (err) {
        local_close(local);
        return err;
    }
    *ret_local = local;
    return OK;
}

void local_remove_folder(const char *path)
{
    /* Only what we made ourselves, by a name from mkdtemp(). */
    char command[512];
    int len = snprintf(command, sizeof(command), "rm -rf -- '%s'", path);
    if (len > 0 && (size_t)len < sizeof(command) && !strchr(path, '\''))
        (void)!system(command);
}

void local_close(struct local *local)
{
    if (!local)
        return;
    for (int i = 0; i < local->count; i++)
        node_close(local->clusters[i].node, STOP_GRACE_NS);
    nats_process_stop(local->nats);
    if (local->temporary && local->data)
        local_remove_folder(local->data);
    arena_release(&local->arena);
    mem_free(local);
}

int local_count(const struct local *local)
{
    return local->count;
}

const char *local_name(const struct local *local, int index)
{
    return local->clusters[index].name;
}

int local_grpc_port(const struct local *local, int index)
{
    return local->clusters[index].port;
}

int local_console_port(const struct local *local, int index)
{
    return local->clusters[index].console_port;
}

const char *local_nats_url(const struct local *local)
{
    return local->url;
}

void local_stop(struct local *local, int index)
{
    node_close(local->clusters[index].node, STOP_GRACE_NS);
    local->clusters[index].node = NULL;
}

enum err local_restart(struct local *local, int index, char ret_reason[256])
{
    return start_cluster(local, index, ret_reason);
}
