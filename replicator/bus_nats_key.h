/* SPDX-License-Identifier: Apache-2.0
 *
 * NKeys: the public key that belongs to a user's seed file. The client library signs with a seed,
 * but wants to be told the public key.
 */
#ifndef REPLICATOR_BUS_NATS_KEY_H
#define REPLICATOR_BUS_NATS_KEY_H

#include "cluster/base/err.h"

#define NATS_KEY_SIZE 57 /* 56 characters and a NUL */

/** Reads the first line that looks like a user seed ("SU…"). ERR_INVALID when there is none. */
NODISCARD enum err nats_key_public(const char *seed_file, char ret_key[NATS_KEY_SIZE]);

#endif
