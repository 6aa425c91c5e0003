/* SPDX-License-Identifier: Apache-2.0
 *
 * Checks between settings. They run on the finished struct, so a configuration made by the program
 * itself gets the same ones; the tree only adds positions.
 */
#include "cluster/base/config_private.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/base/limits.h"

#define CLUSTER_NAME_BYTES_MAX 63u
#define RETENTION_MAX_MS       (10ll * 366 * 86400 * 1000)

struct checker {
    struct arena *arena;
    const struct config_tree *tree;
    const struct config *config;
    const char **ret_reason;
};

/** Says no about the setting at `path`, which stands in front of the sentence. */
PRINTF_LIKE(3, 4)
static enum err refuse(const struct checker *checker, const char *path, const char *fmt, ...)
{
    char sentence[800];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(sentence, sizeof(sentence), fmt, args); /* cut is fine */
    va_end(args);
    int line = config_tree_line(checker->tree, path);
    return config_refuse(
        checker->arena, checker->tree, line, checker->ret_reason, "%s %s", path, sentence);
}

/** The path of a setting of cluster `index`. */
static const char *cluster_path(const struct checker *checker, unsigned index, const char *name)
{
    return arena_printf(checker->arena, "federation.clusters[%u].%s", index, name);
}

static bool is_set(const char *text)
{
    return text && text[0] != '\0';
}

/** ^[a-z0-9][a-z0-9-]{0,62}$ */
static bool is_cluster_name(const char *name)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
    size_t len = strlen(name);
    return len > 0 && len <= CLUSTER_NAME_BYTES_MAX && name[0] != '-' &&
           strspn(name, allowed) == len;
}

/** host:port or [v6]:port; an empty host means every address. */
static bool is_address(const char *address, bool zero_port)
{
    const char *colon = strrchr(address, ':');
    if (!colon || strspn(colon + 1, "0123456789") != strlen(colon + 1))
        return false;
    long port = strtol(colon + 1, NULL, 10);
    if (strlen(colon + 1) == 0 || strlen(colon + 1) > 5 || port > 65535)
        return false;
    if (port == 0 && !zero_port)
        return false;
    const char *first = strchr(address, ':');
    bool bracketed = address[0] == '[' && colon > address && colon[-1] == ']';
    return (first == colon || bracketed) && !strpbrk(address, " \t/");
}

static enum err check_self(const struct checker *checker)
{
    const struct config_self *self = &checker->config->cluster;
    if (!self->name || !is_cluster_name(self->name))
        return refuse(checker, "cluster.name",
            "is not a cluster name; write 1 to 63 small letters, digits and dashes, no dash first");
    if (self->shards < 1 || self->shards > SHARDS_MAX)
        return refuse(checker, "cluster.shards", "is %lld; write a number from 1 to %d",
            (long long)self->shards, SHARDS_MAX);
    if (self->executors < 1 || self->executors > self->shards)
        return refuse(checker, "cluster.executors",
            "is %lld; write at most %lld, because every executor needs a shard",
            (long long)self->executors, (long long)self->shards);
    return OK;
}

static enum err check_identity(const struct checker *checker, unsigned index)
{
    const struct config_federation *federation = &checker->config->federation;
    const struct config_cluster *cluster = &federation->clusters[index];
    if (!cluster->name || !is_cluster_name(cluster->name))
        return refuse(checker, cluster_path(checker, index, "name"),
            "is not a cluster name; write 1 to 63 small letters, digits and dashes, no dash first");
    const char *version_path = cluster_path(checker, index, "initial_version");
    if (cluster->initial_version < 1 || cluster->initial_version >= federation->increment)
        return refuse(checker, version_path,
            "is %lld; write a number from 1 to %lld, below federation.increment",
            (long long)cluster->initial_version, (long long)federation->increment - 1);
    for (unsigned i = 0; i < index; i++) {
        const struct config_cluster *other = &federation->clusters[i];
        if (strcmp(other->name, cluster->name) == 0)
            return refuse(checker, cluster_path(checker, index, "name"),
                "is \"%s\" again; give every cluster a name of its own", cluster->name);
        if (other->initial_version == cluster->initial_version)
            return refuse(checker, version_path,
                "is %lld, like that of %s; give every cluster one of its own",
                (long long)cluster->initial_version, other->name);
    }
    if (cluster->grpc && !is_address(cluster->grpc, false))
        return refuse(checker, cluster_path(checker, index, "grpc"),
            "is no address; write host:port, such as strait.example.com:7233");
    return OK;
}

/** One or several servers, each nats://host:port or tls://host:port. */
static bool is_nats_url(const char *url)
{
    for (const char *at = url;;) {
        size_t scheme = strncmp(at, "nats://", 7) == 0 || strncmp(at, "tls://", 6) == 0
                            ? strcspn(at, ":") + 3
                            : 0;
        size_t len = strcspn(at, ",");
        if (scheme == 0 || len <= scheme || memchr(at, ' ', len))
            return false;
        if (at[len] == '\0')
            return true;
        at += len + 1;
    }
}

static enum err check_nats(const struct checker *checker, unsigned index)
{
    const struct config_federation *federation = &checker->config->federation;
    const struct config_nats *nats = &federation->clusters[index].nats;
    if (!nats->url && federation->clusters_count > 1)
        return refuse(checker, cluster_path(checker, index, "nats.url"),
            "is missing; several clusters need one each, such as nats://127.0.0.1:4222");
    /* The URL may hold a password: it is not repeated. */
    if (nats->url && !is_nats_url(nats->url))
        return refuse(checker, cluster_path(checker, index, "nats.url"),
            "is not usable; write nats://host:port or tls://host:port, several with commas");
    int ways = is_set(nats->user) + is_set(nats->token) + is_set(nats->credentials_file) +
               is_set(nats->nkey_seed_file);
    if (ways > 1)
        return refuse(checker, cluster_path(checker, index, "nats"),
            "has several ways to log in; keep one of user, token, credentials_file and "
            "nkey_seed_file");
    if (is_set(nats->password) && !is_set(nats->user))
        return refuse(checker, cluster_path(checker, index, "nats.password"),
            "has no user; add nats.user, or use nats.token");
    if (is_set(nats->tls_cert_file) != is_set(nats->tls_key_file))
        return refuse(checker, cluster_path(checker, index, "nats"),
            "has half a client certificate; set tls_cert_file and tls_key_file or neither");
    return OK;
}

static enum err check_federation(const struct checker *checker)
{
    const struct config *config = checker->config;
    unsigned count = config->federation.clusters_count;
    if (count == 0 || count > CLUSTERS_MAX)
        return refuse(checker, "federation.clusters", "has %u entries; write 1 to %d clusters",
            count, CLUSTERS_MAX);
    bool own = false;
    for (unsigned i = 0; i < count; i++) {
        enum err err = check_identity(checker, i);
        if (!err)
            err = check_nats(checker, i);
        if (err)
            return err;
        own = own || strcmp(config->federation.clusters[i].name, config->cluster.name) == 0;
    }
    if (!own)
        return refuse(checker, "cluster.name",
            "is \"%s\", which federation.clusters does not list; add it there",
            config->cluster.name);
    return OK;
}

/** The first setting that only database servers know, or NULL. */
static const char *server_setting(const struct config_database *database)
{
    const struct {
        const char *path;
        bool set;
    } settings[] = {
        {"database.host", database->host != NULL},
        {"database.port", database->port != 0},
        {"database.socket", database->socket != NULL},
        {"database.user", database->user != NULL},
        {"database.password", database->password != NULL},
        {"database.name", database->name != NULL},
        {"database.tls_ca_file", database->tls_ca_file != NULL},
        {"database.tls", database->tls != CONFIG_TLS_PREFER},
    };
    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        if (settings[i].set)
            return settings[i].path;
    }
    return NULL;
}

static enum err check_server(const struct checker *checker)
{
    const struct config_database *database = &checker->config->database;
    if (database->file)
        return refuse(checker, "database.file", "belongs to sqlite; remove it");
    if (!is_set(database->host) && !is_set(database->socket))
        return refuse(checker, "database.host", "is missing; set it, or database.socket");
    if (is_set(database->host) && is_set(database->socket))
        return refuse(checker, "database.socket",
            "is set, and so is database.host; keep the one to connect to");
    if (database->socket && database->port != 0 && database->driver == CONFIG_DRIVER_MARIADB)
        return refuse(checker, "database.port", "has no meaning with a socket; remove it");
    if (database->tls == CONFIG_TLS_VERIFY_FULL && !is_set(database->tls_ca_file))
        return refuse(checker, "database.tls_ca_file",
            "is missing; verify-full needs the certificates to trust");
    if (is_set(database->socket) && database->tls > CONFIG_TLS_DISABLE)
        return refuse(checker, "database.tls", "has no meaning with a socket; remove it");
    return OK;
}

static enum err check_database(const struct checker *checker)
{
    const struct config_database *database = &checker->config->database;
    if (database->driver == CONFIG_DRIVER_POSTGRES || database->driver == CONFIG_DRIVER_MARIADB)
        return check_server(checker);
    const char *foreign = server_setting(database);
    if (foreign)
        return refuse(checker, foreign, "belongs to postgres and mariadb; remove it");
    if (database->driver == CONFIG_DRIVER_SQLITE && !is_set(database->file))
        return refuse(checker, "database.file", "is missing; sqlite needs the file to keep");
    if (database->driver == CONFIG_DRIVER_MEMORY && database->file)
        return refuse(checker, "database.file", "belongs to sqlite; remove it");
    return OK;
}

static enum err check_listen(const struct checker *checker)
{
    const struct config_listen *listen = &checker->config->listen;
    if (!listen->grpc || !is_address(listen->grpc, true))
        return refuse(
            checker, "listen.grpc", "is no address; write host:port, such as 0.0.0.0:7233");
    if (listen->console && !is_address(listen->console, true))
        return refuse(checker, "listen.console",
            "is no address; write host:port, such as 127.0.0.1:8233, or off");
    const char *port = strrchr(listen->grpc, ':');
    if (listen->console && strcmp(listen->console, listen->grpc) == 0 && strcmp(port, ":0") != 0)
        return refuse(checker, "listen.console", "is also listen.grpc; give it another port");
    const struct config_tls *tls = &checker->config->tls;
    if (is_set(tls->cert_file) != is_set(tls->key_file))
        return refuse(
            checker, "tls", "has half a certificate; set cert_file and key_file or neither");
    if (is_set(tls->client_ca_file) && !is_set(tls->cert_file))
        return refuse(checker, "tls.client_ca_file",
            "needs cert_file and key_file: clients can only be asked for theirs over TLS");
    return OK;
}

static enum err check_retention(const struct checker *checker)
{
    int64_t ms = checker->config->retention.default_ms;
    if (ms < 0)
        return refuse(checker, "retention.default",
            "is no span of time; write a number with s, m, h or d, such as 3d");
    if (ms < RETENTION_MIN_MS || ms > RETENTION_MAX_MS)
        return refuse(checker, "retention.default", "is out of range; write 1h to 3660d");
    return OK;
}

enum err config_check_tree(struct arena *arena, const struct config_tree *tree,
    const struct config *config, const char **ret_reason)
{
    static enum err (*const checks[])(const struct checker *checker) = {
        check_self,
        check_federation,
        check_database,
        check_listen,
        check_retention,
    };
    const struct checker checker = {arena, tree, config, ret_reason};
    for (size_t i = 0; i < ARRAY_LEN(checks); i++) {
        enum err err = checks[i](&checker);
        if (err)
            return err;
    }
    return OK;
}

enum err config_check(struct arena *arena, const struct config *config, const char **ret_reason)
{
    return config_check_tree(arena, NULL, config, ret_reason);
}
