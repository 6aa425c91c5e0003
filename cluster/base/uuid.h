/* SPDX-License-Identifier: Apache-2.0
 *
 * UUIDs as 16 raw bytes; the API shows them as 36 characters.
 */
#ifndef CLUSTER_BASE_UUID_H
#define CLUSTER_BASE_UUID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cluster/base/bytes.h"
#include "cluster/base/env.h"

#define UUID_TEXT_LEN 36

struct uuid {
    uint8_t bytes[16];
};

/** RFC 9562 version 7: wall-clock milliseconds, then 74 random bits; new run IDs sort by time, so
 *  that index pages stay warm. */
struct uuid uuid_new(const struct env *env);
/** Parses the 36-character form, either case. False when malformed. */
bool uuid_parse(struct bytes text, struct uuid *ret_uuid);
/** Writes 36 characters and a NUL. */
void uuid_format(struct uuid uuid, char ret_text[UUID_TEXT_LEN + 1]);
bool uuid_equal(struct uuid a, struct uuid b);
bool uuid_is_zero(struct uuid uuid);
struct bytes uuid_view(const struct uuid *uuid);

#endif
