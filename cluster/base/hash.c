/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/base/hash.h"

/* Inlining the library saves a call and lets the compiler see the lengths of short keys. */
#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t hash64(struct bytes data, uint64_t seed)
{
    return XXH3_64bits_withSeed(data.data, data.len, seed);
}
