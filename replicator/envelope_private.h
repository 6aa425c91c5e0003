/* SPDX-License-Identifier: Apache-2.0
 *
 * What envelope.c and envelope_part.c share.
 */
#ifndef REPLICATOR_ENVELOPE_PRIVATE_H
#define REPLICATOR_ENVELOPE_PRIVATE_H

#include <stddef.h>
#include <stdint.h>

#define ENVELOPE_FRAME_MAGIC  0x31455253u /* "SRE1" */
#define ENVELOPE_HEADER_BYTES 24u
#define ENVELOPE_PART_MAGIC   0x31505253u /* "SRP1" */
#define ENVELOPE_PART_BYTES   32u         /* header of a part */

static inline void envelope_put(uint8_t *at, uint64_t value, size_t size)
{
    for (size_t i = 0; i < size; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

static inline uint64_t envelope_get(const uint8_t *at, size_t size)
{
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++)
        value |= (uint64_t)at[i] << (8 * i);
    return value;
}

#endif
