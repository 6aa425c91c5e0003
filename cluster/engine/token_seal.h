/* SPDX-License-Identifier: Apache-2.0
 *
 * Tokens that clients carry: a checksum, then a message. It catches truncation, mix-ups and other
 * servers' tokens; it is not a signature, so readers check what they use.
 */
#ifndef CLUSTER_ENGINE_TOKEN_SEAL_H
#define CLUSTER_ENGINE_TOKEN_SEAL_H

#include <protobuf-c/protobuf-c.h>

#include "cluster/base/bytes.h"
#include "cluster/base/uuid.h"

/* Seeds of the checksum: a token of one kind never passes for another. */
enum token_kind { TOKEN_TASK = 1, TOKEN_PAGE = 2 };

struct bytes token_seal(struct arena *arena, enum token_kind kind, const ProtobufCMessage *message);
/** The message inside, or NULL for anything we did not write. */
NODISCARD void *token_open(struct arena *arena, enum token_kind kind,
    const ProtobufCMessageDescriptor *descriptor, struct bytes token);
/** False unless it is 16 bytes long. */
NODISCARD bool token_uuid(const ProtobufCBinaryData *data, struct uuid *ret_uuid);

#endif
