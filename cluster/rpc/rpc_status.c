/* SPDX-License-Identifier: Apache-2.0
 *
 * Encoding of statuses. Sizes are computed first, then one allocation is filled front to back; a
 * CHECK at the end pairs the two.
 */
#include "cluster/rpc/rpc_status.h"

#include <stdint.h>
#include <string.h>

#include "cluster/base/limits.h"
#include "cluster/rpc/rpc_wire.h"

#define TYPE_URL_PREFIX "type.googleapis.com/"

#define STATUS_CODE    1u
#define STATUS_MESSAGE 2u
#define STATUS_DETAILS 3u
#define ANY_TYPE_URL   1u
#define ANY_VALUE      2u

/* Bytes of the well-formed UTF-8 sequence at `text`, 0 when it is ill-formed or longer than `len`.
 * Table 3-7 of the Unicode standard. */
static size_t sequence_len(const uint8_t *text, size_t len)
{
    uint8_t first = text[0];
    if (first < 0x80)
        return 1;
    size_t need = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || need > len)
        return 0;
    uint8_t low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    uint8_t high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (text[1] < low || text[1] > high)
        return 0;
    for (size_t i = 2; i < need; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    return need;
}

/* What `len` bytes of text cost as grpc-message, which is percent-encoded. */
static size_t percent_size(const uint8_t *text, size_t len)
{
    size_t size = 0;
    for (size_t i = 0; i < len; i++)
        size += text[i] >= 0x20 && text[i] <= 0x7e && text[i] != '%' ? 1 : 3;
    return size;
}

static size_t base64_size(size_t len)
{
    return (len + 2) / 3 * 4;
}

struct bytes rpc_status_text(struct arena *arena, const char *text, size_t detail_len)
{
    if (!text)
        return bytes_make("", 0);
    const uint8_t *data = (const uint8_t *)text;
    size_t len = strlen(text);
    size_t end = 0;
    size_t message_size = 0;
    uint8_t *copy = NULL;
    while (end < len) {
        size_t found = sequence_len(data + end, len - end);
        size_t step = found ? found : 1;
        message_size += found ? percent_size(data + end, step) : 1;
        size_t repeated = detail_len > 0 ? detail_len + end + step : 0;
        if (end + step > ERROR_TEXT_BYTES_MAX)
            break;
        if (end + step > STATUS_TEXT_BYTES_MIN &&
            message_size + base64_size(repeated) > STATUS_WIRE_BYTES_MAX)
            break;
        if (!found) {
            if (!copy)
                copy = arena_copy(
                    arena, data, len < ERROR_TEXT_BYTES_MAX ? len : ERROR_TEXT_BYTES_MAX);
            copy[end] = '?';
        }
        end += step;
    }
    return bytes_make(copy ? copy : data, end);
}

struct bytes rpc_status_encode(struct arena *arena, enum grpc_code code, struct bytes message,
    const char *detail_type, struct bytes detail)
{
    size_t prefix_len = strlen(TYPE_URL_PREFIX);
    size_t type_len = detail_type ? strlen(detail_type) : 0;
    size_t any_len = wire_bytes_size(prefix_len + type_len) + wire_bytes_size(detail.len);
    size_t size = 1 + wire_varint_size((uint64_t)code) + wire_bytes_size(message.len);
    if (detail_type)
        size += wire_bytes_size(any_len);

    uint8_t *data = arena_alloc(arena, size);
    uint8_t *at = data;
    *at++ = (uint8_t)(STATUS_CODE << 3 | WIRE_VARINT);
    at = wire_put_varint(at, (uint64_t)code);
    at = wire_put_bytes(at, STATUS_MESSAGE, message);
    if (detail_type) {
        at = wire_put_head(at, STATUS_DETAILS, any_len);
        at = wire_put_head(at, ANY_TYPE_URL, prefix_len + type_len);
        memcpy(at, TYPE_URL_PREFIX, prefix_len);
        at += prefix_len;
        memcpy(at, detail_type, type_len);
        at += type_len;
        at = wire_put_bytes(at, ANY_VALUE, detail);
    }
    CHECK((size_t)(at - data) == size);
    return bytes_make(data, size);
}

/* The part of a type URL behind its last slash. */
static struct bytes type_name(struct bytes url)
{
    size_t start = url.len;
    while (start > 0 && url.data[start - 1] != '/')
        start--;
    return bytes_make(url.data + start, url.len - start);
}

bool rpc_status_detail(
    struct arena *arena, struct bytes status, const char **ret_type, struct bytes *ret_detail)
{
    struct wire_field field;
    bool found = false;
    while (!found && wire_next(&status, &field))
        found = field.number == STATUS_DETAILS && field.type == WIRE_BYTES;
    if (!found)
        return false;

    struct bytes any = field.data;
    struct bytes name = {0};
    struct bytes value = {0};
    while (wire_next(&any, &field)) {
        if (field.number == ANY_TYPE_URL && field.type == WIRE_BYTES)
            name = type_name(field.data);
        if (field.number == ANY_VALUE && field.type == WIRE_BYTES)
            value = field.data;
    }
    if (any.len > 0 || name.len == 0 || memchr(name.data, 0, name.len))
        return false;
    *ret_type = bytes_string(arena, name);
    *ret_detail = value;
    return true;
}
