/* SPDX-License-Identifier: Apache-2.0
 *
 * Status texts and google.rpc.Status, the message behind the trailer `grpc-status-details-bin`.
 *
 * Pure functions: no gRPC, no I/O. Two messages with five fields are written by hand here, so that
 * the RPC layer needs no generated code:
 *
 *   google.rpc.Status   { int32 code = 1; string message = 2; repeated Any details = 3; }
 *   google.protobuf.Any { string type_url = 1; bytes value = 2; }
 */
#ifndef CLUSTER_RPC_RPC_STATUS_H
#define CLUSTER_RPC_RPC_STATUS_H

#include <stdbool.h>

#include "cluster/base/arena.h"
#include "cluster/base/bytes.h"
#include "cluster/base/err.h"

/** `text` (NULL = "") cut to ERROR_TEXT_BYTES_MAX at a character boundary, with every byte that is
 *  not well-formed UTF-8 replaced by '?': clients refuse a status with an ill-formed string. The
 *  result is a view of `text` where nothing had to be replaced, else it lives in the arena. */
struct bytes rpc_status_text(struct arena *arena, const char *text);
/** Serialized google.rpc.Status. `detail_type` is the full message name, without the
 *  "type.googleapis.com/" prefix; NULL = no details. */
struct bytes rpc_status_encode(struct arena *arena, enum grpc_code code, struct bytes message,
    const char *detail_type, struct bytes detail);
/** The first detail of a serialized google.rpc.Status, for passing a peer's failure on: the message
 *  name in the arena, the value a view of `status`. False when there is none or it is garbled. */
bool rpc_status_detail(
    struct arena *arena, struct bytes status, const char **ret_type, struct bytes *ret_detail);

#endif
