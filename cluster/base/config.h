/* SPDX-License-Identifier: Apache-2.0
 *
 * The configuration of one node: one YAML file. configs/reference.yaml names every key with its
 * default and reason; docs/configuration.md is made from it.
 *
 * Text settings may refer to environment variables as ${NAME}, so that secrets stay out of files;
 * $${ stands for a plain ${. A file is refused with one sentence: file, line, what is wrong, what
 * to write instead. Secrets are never part of it.
 */
#ifndef CLUSTER_BASE_CONFIG_H
#define CLUSTER_BASE_CONFIG_H

#include <stddef.h>
#include <stdint.h>

#include "cluster/base/arena.h"
#include "cluster/base/bytes.h"
#include "cluster/base/err.h"
#include "cluster/base/log.h"

enum config_driver {
    CONFIG_DRIVER_SQLITE,
    CONFIG_DRIVER_POSTGRES,
    CONFIG_DRIVER_MARIADB,
    CONFIG_DRIVER_MEMORY,
};

/** How a connection to a database server is protected; the names are libpq's. */
enum config_database_tls {
    CONFIG_TLS_PREFER,      /* TLS if the server offers it */
    CONFIG_TLS_DISABLE,     /* never */
    CONFIG_TLS_REQUIRE,     /* TLS, whoever the server is */
    CONFIG_TLS_VERIFY_FULL, /* TLS, certificate and host name checked */
};

/** Access to the NATS servers of one cluster. Unset text is NULL here and below. */
struct config_nats {
    const char *url; /* one or several, comma-separated */
    const char *user;
    const char *password;
    const char *token;
    const char *credentials_file;
    const char *nkey_seed_file;
    const char *tls_ca_file;
    const char *tls_cert_file;
    const char *tls_key_file;
};

/** One member of the federation. */
struct config_cluster {
    const char *name; /* ^[a-z0-9][a-z0-9-]{0,62}$: part of NATS subjects */
    int64_t initial_version;
    const char *grpc; /* public address for clients; informative */
    struct config_nats nats;
};

/** What this cluster is. */
struct config_self {
    const char *name;
    int64_t shards;
    int64_t executors;
};

/** All clusters that replicate to each other; the same on every one of them. */
struct config_federation {
    int64_t increment;
    struct config_cluster *clusters; /* as in the file; the own one is among them */
    unsigned clusters_count;
};

/** Where the state is kept. */
struct config_database {
    enum config_driver driver;
    const char *file; /* sqlite */
    const char *host; /* servers: host and port, or socket */
    int64_t port;
    const char *socket;
    const char *user;
    const char *password;
    const char *name;
    int64_t pool_readers;
    enum config_database_tls tls;
    const char *tls_ca_file;
};

/** Addresses this node serves. */
struct config_listen {
    const char *grpc;    /* host:port */
    const char *console; /* host:port; NULL = no console */
};

/** Certificates of the gRPC server. */
struct config_tls {
    const char *cert_file; /* NULL = plaintext */
    const char *key_file;
    const char *client_ca_file;
};

/** What is logged. */
struct config_log {
    enum log_level level;
};

/** How long closed runs are kept. */
struct config_retention {
    const char *default_text; /* as written, e.g. "3d" */
    int64_t default_ms;
};

/** Bounds that clients may meet; the defaults are those of the public API. */
struct config_limits {
    int64_t blob_bytes_max;
    int64_t memo_bytes_max;
    int64_t history_bytes_max;
    int64_t history_events_max;
    int64_t pending_per_kind_max;
    int64_t signals_per_run_max;
    int64_t buffered_events_max;
    int64_t mailbox_messages;
};

/** Shipping to other clusters. */
struct config_replication {
    int64_t heartbeat_ms;
    int64_t window_messages;
    int64_t stream_max_mb;
    int64_t stream_replicas;
};

/** Moving a namespace. */
struct config_failover {
    int64_t handover_ms;
};

struct config {
    struct config_self cluster;
    struct config_federation federation;
    struct config_database database;
    struct config_listen listen;
    struct config_tls tls;
    struct config_log log;
    struct config_retention retention;
    struct config_limits limits;
    struct config_replication replication;
    struct config_failover failover;
};

/** Every default; what has none (names, the list of clusters) is unset. */
void config_defaults(struct config *ret_config);
/** Reads and checks a file. ERR_CONFIG with the sentence in *ret_reason otherwise; text and reason
 *  live in the arena. */
NODISCARD enum err config_load(
    struct arena *arena, const char *file, struct config *ret_config, const char **ret_reason);
/** As config_load, for text already read; `file` only shows in reasons. */
NODISCARD enum err config_parse(struct arena *arena, const char *file, struct bytes text,
    struct config *ret_config, const char **ret_reason);
/** The checks that concern several settings, for a configuration that was made without a file. */
NODISCARD enum err config_check(
    struct arena *arena, const struct config *config, const char **ret_reason);
/** The node's own cluster in the list, by name. Checked configurations have it. */
const struct config_cluster *config_own(const struct config *config);
/** A span such as "90s", "15m", "12h", "3d" or "500ms" in milliseconds; -1 = malformed. */
int64_t config_parse_span_ms(const char *text);

#endif
