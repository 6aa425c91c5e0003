/* SPDX-License-Identifier: Apache-2.0
 *
 * TLS credentials of server and client from PEM files. Internal to cluster/rpc.
 */
#ifndef CLUSTER_RPC_RPC_TLS_H
#define CLUSTER_RPC_RPC_TLS_H

#include "cluster/base/arena.h"
#include "cluster/base/err.h"

struct grpc_channel_credentials;
struct grpc_server_credentials;

#define RPC_REASON_BYTES 256

/** Server credentials that notice when a file changes: the next handshake uses the new content; if
 *  it is unusable, the old. `home` must outlive the server. ERR_CONFIG with a reason when the files
 *  cannot be read now. */
NODISCARD enum err rpc_tls_server(struct arena *home, const char *cert_file, const char *key_file,
    const char *client_ca_file, struct grpc_server_credentials **ret_credentials,
    char ret_reason[RPC_REASON_BYTES]);
/** Client credentials, read once; any file may be NULL. */
NODISCARD enum err rpc_tls_client(const char *ca_file, const char *cert_file, const char *key_file,
    struct grpc_channel_credentials **ret_credentials, char ret_reason[RPC_REASON_BYTES]);

#endif
