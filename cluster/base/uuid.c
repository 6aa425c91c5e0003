/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/base/uuid.h"

#include <string.h>

#include "cluster/base/limits.h"

struct uuid uuid_new(const struct env *env)
{
    struct uuid uuid;
    env_random(env, uuid.bytes + 6, sizeof(uuid.bytes) - 6);
    uint64_t wall_ms = (uint64_t)(env_wall_ns(env) / NS_PER_MS);
    for (size_t i = 0; i < 6; i++)
        uuid.bytes[i] = (uint8_t)(wall_ms >> (40 - 8 * i));
    uuid.bytes[6] = (uint8_t)(0x70 | (uuid.bytes[6] & 0x0f));
    uuid.bytes[8] = (uint8_t)(0x80 | (uuid.bytes[8] & 0x3f));
    return uuid;
}

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static bool is_dash_position(size_t at)
{
    return at == 8 || at == 13 || at == 18 || at == 23;
}

bool uuid_parse(struct bytes text, struct uuid *ret_uuid)
{
    if (text.len != UUID_TEXT_LEN)
        return false;
    struct uuid uuid = {0};
    size_t digits = 0;
    for (size_t at = 0; at < UUID_TEXT_LEN; at++) {
        if (is_dash_position(at)) {
            if (text.data[at] != '-')
                return false;
            continue;
        }
        int value = hex_value(text.data[at]);
        if (value < 0)
            return false;
        uuid.bytes[digits / 2] = (uint8_t)((uuid.bytes[digits / 2] << 4) | value);
        digits++;
    }
    *ret_uuid = uuid;
    return true;
}

void uuid_format(struct uuid uuid, char ret_text[UUID_TEXT_LEN + 1])
{
    static const char hex[] = "0123456789abcdef";
    size_t at = 0;
    for (size_t i = 0; i < sizeof(uuid.bytes); i++) {
        if (is_dash_position(at))
            ret_text[at++] = '-';
        ret_text[at++] = hex[uuid.bytes[i] >> 4];
        ret_text[at++] = hex[uuid.bytes[i] & 0x0f];
    }
    CHECK(at == UUID_TEXT_LEN);
    ret_text[at] = '\0';
}

bool uuid_equal(struct uuid a, struct uuid b)
{
    return memcmp(a.bytes, b.bytes, sizeof(a.bytes)) == 0;
}

bool uuid_is_zero(struct uuid uuid)
{
    return uuid_equal(uuid, (struct uuid){0});
}

struct bytes uuid_view(const struct uuid *uuid)
{
    return bytes_make(uuid->bytes, sizeof(uuid->bytes));
}
