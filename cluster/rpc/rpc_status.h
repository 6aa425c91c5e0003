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
#include <stddef.h>

#include "cluster/base/arena.h"
#include "cluster/base/bytes.h"
#include "cluster/base/err.h"

/** Many clients accept no more than 8 KiB of trailers, and see a failure of the transport instead
 *  of ours beyond. The text travels twice beside the details, so it is what must give way. */
#define STATUS_WIRE_BYTES_MAX 7800u
#define STATUS_TEXT_BYTES_MIN 256u /* this much is always kept */

/** `text` (NULL = "") cut at a character boundary to ERROR_TEXT_BYTES_MAX, or to less where it and
 *  `detail_len` bytes of details would exceed STATUS_WIRE_BYTES_MAX; every byte that is not
 *  well-formed UTF-8 is replaced by '?': clients refuse a status with an ill-formed string. The
 *  result is a view of `text` where nothing had to be replaced, else it lives in the arena. */
struct bytes rpc_status_text(struct arena *arena, const char *text, size_t detail_len);
/** Serialized google.rpc.Status. `detail_type` is the full message name, without the
 *  "type.googleapis.com/" prefix; NULL = no details. */
struct bytes rpc_status_encode(struct arena *arena, enum grpc_code code, struct bytes message,
    const char *detail_type, struct bytes detail);
/** The first detail of a serialized google.rpc.Status, for passing a peer's failure on: the message
 *  name in the arena, the value a view of `status`. False when there is none or it is garbled. */
bool rpc_status_detail(
    struct arena *arena, struct bytes status, const char **ret_type, struct bytes *ret_detail);

#endif
