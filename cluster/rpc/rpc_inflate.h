/* SPDX-License-Identifier: Apache-2.0
 *
 * Inflates gzip and zlib message bodies with a hard bound on what comes out.
 *
 * Why not the C core's own decompression: it inflates without a limit and checks the size
 * afterwards, so a few megabytes sent by a stranger become gigabytes of memory. Here inflating ends
 * with the first byte too many.
 */
#ifndef CLUSTER_RPC_RPC_INFLATE_H
#define CLUSTER_RPC_RPC_INFLATE_H

#include <stddef.h>

#include "cluster/base/arena.h"
#include "cluster/base/bytes.h"
#include "cluster/base/err.h"

struct inflater;

/** Reusable; one thread at a time. The object lives in `home`, zlib's tables on the heap. */
struct inflater *inflater_open(struct arena *home);
void inflater_close(struct inflater *inflater);
/** Starts a message of `compressed` bytes in all that may inflate to `max` bytes, into `arena`. */
void inflater_begin(struct inflater *inflater, struct arena *arena, size_t compressed, size_t max);
/** The next piece. ERR_TOO_LARGE beyond `max`, ERR_CORRUPT when the stream is ill-formed. */
NODISCARD enum err inflater_feed(struct inflater *inflater, struct bytes piece);
/** The whole message; ERR_CORRUPT when the stream did not end. */
NODISCARD enum err inflater_end(struct inflater *inflater, struct bytes *ret_message);

#endif
