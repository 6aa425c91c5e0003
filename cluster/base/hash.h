/* SPDX-License-Identifier: Apache-2.0
 *
 * xxh3: hash tables, shard choice, checksums and digests. Not cryptographic.
 */
#ifndef CLUSTER_BASE_HASH_H
#define CLUSTER_BASE_HASH_H

#include <stdint.h>

#include "cluster/base/bytes.h"

/** 64-bit xxh3 with a seed. Stable across releases and machines: stored on disk and on the wire. */
uint64_t hash64(struct bytes data, uint64_t seed);

#endif
