/* SPDX-License-Identifier: Apache-2.0
 *
 * Several clusters in one process on embedded SQLite, with a NATS server of their own: what
 * `strait dev` and `strait demo` run.
 */
#ifndef CLUSTER_LOCAL_H
#define CLUSTER_LOCAL_H

#include <stdint.h>

#include "cluster/base/err.h"

#define LOCAL_CLUSTERS_MAX 8

struct local;

struct local_options {
    const char *clusters;  /* "us,eu": comma-separated names */
    const char *data;      /* folder for databases and streams; NULL = in memory, temporary */
    int port;              /* gRPC of the first cluster, the others follow; 0 = any free ports */
    int console_port;      /* likewise; -1 = none */
    const char *nats_url;  /* NULL = start one */
    const char *namespace; /* global namespace to make, active on the first cluster */
    const char *log_level; /* NULL = warn */
};

/** Starts all clusters and, if missing, the namespace. ERR_* with the reason. */
NODISCARD enum err local_open(
    const struct local_options *options, struct local **ret_local, char ret_reason[256]);
void local_close(struct local *local);
int local_count(const struct local *local);
const char *local_name(const struct local *local, int index);
int local_grpc_port(const struct local *local, int index);
int local_console_port(const struct local *local, int index);
const char *local_nats_url(const struct local *local);
/** Stops one cluster: its calls end, what it committed is shipped, then its bus falls silent. */
void local_stop(struct local *local, int index);
/** Starts it again on the same data. */
NODISCARD enum err local_restart(struct local *local, int index, char ret_reason[256]);
/** Removes a temporary folder that the caller made. */
void local_remove_folder(const char *path);

#endif
