/* SPDX-License-Identifier: Apache-2.0
 *
 * Messages as JSON, by the descriptors that protobuf-c generates: no message needs code of its own.
 *
 * Messages nest, and so do the functions here; the types bound the depth, except for failures with
 * causes and for hostile answers, which DEPTH_MAX bounds.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cluster/base/limits.h"
#include "cluster/base/proto_arena.h"
#include "cluster/cli/cli_private.h"
#include "proto/api_common.pb-c.h"

#define DEPTH_MAX 40

static json_t *json_of(const ProtobufCMessage *message, int depth);

/* ---- opaque bytes --------------------------------------------------------------------------- */

static json_t *base64(const uint8_t *data, size_t len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    struct buffer text = {0};
    for (size_t i = 0; i < len; i += 3) {
        uint32_t group = (uint32_t)data[i] << 16;
        group |= i + 1 < len ? (uint32_t)data[i + 1] << 8 : 0;
        group |= i + 2 < len ? data[i + 2] : 0;
        char four[4] = {digits[group >> 18], digits[group >> 12 & 63],
            i + 1 < len ? digits[group >> 6 & 63] : '=', i + 2 < len ? digits[group & 63] : '='};
        buffer_append(&text, four, sizeof(four));
    }
    json_t *json = json_stringn((const char *)text.data, text.len);
    buffer_release(&text);
    return json;
}

/* JSON payloads as their value; others with their encoding. */
static json_t *json_of_payload(struct bytes packed)
{
    struct arena arena = {0};
    const Api__Payload *payload = proto_unpack(&arena, &api__payload__descriptor, packed);
    json_t *json = NULL;
    if (payload)
        json =
            json_loadb((const char *)payload->data.data, payload->data.len, JSON_DECODE_ANY, NULL);
    if (payload && !json) {
        json = json_object();
        for (size_t i = 0; i < payload->n_metadata; i++) {
            const Api__Payload__MetadataEntry *entry = payload->metadata[i];
            if (strcmp(entry->key, "encoding") == 0)
                json_object_set_new(json, "encoding",
                    json_stringn((const char *)entry->value.data, entry->value.len));
        }
        json_object_set_new(json, "data", base64(payload->data.data, payload->data.len));
    }
    arena_release(&arena);
    return json ? json : base64(packed.data, packed.len);
}

json_t *cli_json_payloads(size_t count, const ProtobufCBinaryData *field)
{
    json_t *array = json_array();
    struct arena arena = {0};
    for (size_t i = 0; i < count; i++) {
        const Api__Payloads *payloads = proto_unpack(
            &arena, &api__payloads__descriptor, bytes_make(field[i].data, field[i].len));
        for (size_t k = 0; payloads && k < payloads->n_payloads; k++)
            json_array_append_new(array,
                json_of_payload(bytes_make(payloads->payloads[k].data, payloads->payloads[k].len)));
    }
    arena_release(&arena);
    return array;
}

static bool one_of(const char *name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(name, names[i]) == 0)
            return true;
    }
    return false;
}

/* An opaque field: what it holds is known by its name; NULL = unknown. */
static json_t *json_of_opaque(
    const char *name, size_t count, const ProtobufCBinaryData *field, int depth)
{
    static const char *const payloads[] = {"input", "result", "details", "last_completion_result",
        "heartbeat_details", "last_heartbeat_details", "query_result", "query_args", "answer"};
    static const char *const failures[] = {"failure", "continued_failure", "last_failure", "cause"};
    if (one_of(name, payloads, ARRAY_LEN(payloads)))
        return cli_json_payloads(count, field);
    if (count != 1 || !one_of(name, failures, ARRAY_LEN(failures)))
        return NULL;
    struct arena arena = {0};
    const Api__Failure *failure =
        proto_unpack(&arena, &api__failure__descriptor, bytes_make(field[0].data, field[0].len));
    json_t *json = failure ? json_of(&failure->base, depth + 1) : NULL;
    arena_release(&arena);
    return json;
}

/* ---- fields --------------------------------------------------------------------------------- */

static json_t *json_of_timestamp(const Api__Timestamp *timestamp)
{
    time_t seconds = (time_t)timestamp->seconds;
    struct tm tm;
    char text[64];
    if (!gmtime_r(&seconds, &tm))
        return json_integer(timestamp->seconds);
    size_t len = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + len, sizeof(text) - len, ".%09dZ", timestamp->nanos);
    return json_string(text);
}

static json_t *json_of_duration(const Api__Duration *duration)
{
    char text[64];
    snprintf(text, sizeof(text), "%lld.%09ds", (long long)duration->seconds, duration->nanos);
    if (duration->nanos == 0)
        snprintf(text, sizeof(text), "%llds", (long long)duration->seconds);
    return json_string(text);
}

static json_t *json_of_enum(const ProtobufCFieldDescriptor *field, int value)
{
    const ProtobufCEnumValue *known =
        protobuf_c_enum_descriptor_get_value(field->descriptor, value);
    return known ? json_string(known->name) : json_integer(value);
}

static json_t *json_of_text(const char *text)
{
    json_t *json = text ? json_string(text) : json_string("");
    return json ? json : base64((const uint8_t *)text, strlen(text)); /* not UTF-8 */
}

/* One value at this address. */
static json_t *json_of_value(const ProtobufCFieldDescriptor *field, const void *at, int depth)
{
    const ProtobufCBinaryData *binary = at;
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        return json_integer(*(const int32_t *)at);
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        return json_integer(*(const uint32_t *)at);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return json_integer(*(const int64_t *)at);
    case PROTOBUF_C_TYPE_FLOAT:
        return json_real((double)*(const float *)at);
    case PROTOBUF_C_TYPE_DOUBLE:
        return json_real(*(const double *)at);
    case PROTOBUF_C_TYPE_BOOL:
        return json_boolean(*(const protobuf_c_boolean *)at);
    case PROTOBUF_C_TYPE_ENUM:
        return json_of_enum(field, *(const int *)at);
    case PROTOBUF_C_TYPE_STRING:
        return json_of_text(*(char *const *)at);
    case PROTOBUF_C_TYPE_BYTES:
        return base64(binary->data, binary->len);
    case PROTOBUF_C_TYPE_MESSAGE:
        return json_of(*(const ProtobufCMessage *const *)at, depth + 1);
    }
    return json_null();
}

static size_t value_size(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        return 4;
    case PROTOBUF_C_TYPE_ENUM:
        return sizeof(int);
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return 8;
    }
    return 8;
}

static json_t *json_of_repeated(
    const ProtobufCFieldDescriptor *field, size_t count, const uint8_t *values, int depth)
{
    if (field->type == PROTOBUF_C_TYPE_BYTES) {
        json_t *known = json_of_opaque(
            field->name, count, (const ProtobufCBinaryData *)(const void *)values, depth);
        if (known)
            return known;
    }
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(
            array, json_of_value(field, values + i * value_size(field->type), depth));
    return array;
}

/* Absent messages, empty lists and the other cases of a oneof are left out. */
static json_t *json_of_field(
    const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field, int depth)
{
    const uint8_t *base = (const uint8_t *)message;
    const uint8_t *at = base + field->offset;
    uint32_t quantifier;
    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        size_t count;
        const uint8_t *values;
        memcpy(&count, base + field->quantifier_offset, sizeof(count));
        memcpy(&values, at, sizeof(values));
        return count ? json_of_repeated(field, count, values, depth) : NULL;
    }
    if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
        memcpy(&quantifier, base + field->quantifier_offset, sizeof(quantifier));
        if (quantifier != field->id)
            return NULL;
    }
    if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
        const void *inner;
        memcpy(&inner, at, sizeof(inner));
        if (!inner)
            return NULL;
    }
    return json_of_value(field, at, depth);
}

static json_t *json_of(const ProtobufCMessage *message, int depth)
{
    if (depth > DEPTH_MAX)
        return json_string("...");
    if (message->descriptor == &api__timestamp__descriptor)
        return json_of_timestamp((const Api__Timestamp *)(const void *)message);
    if (message->descriptor == &api__duration__descriptor)
        return json_of_duration((const Api__Duration *)(const void *)message);
    if (message->descriptor == &api__payload__descriptor) {
        struct buffer packed = {0};
        proto_pack_into(&packed, message);
        json_t *json = json_of_payload(buffer_view(&packed));
        buffer_release(&packed);
        return json;
    }
    json_t *object = json_object();
    for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
        json_t *value = json_of_field(message, field, depth);
        if (value)
            json_object_set_new(object, field->name, value);
    }
    return object;
}

json_t *cli_json_message(const ProtobufCMessage *message)
{
    return json_of(message, 0);
}

/* ---- printing and reading ------------------------------------------------------------------- */

void cli_json_print(json_t *value)
{
    json_dumpf(value, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY | JSON_PRESERVE_ORDER);
    putchar('\n');
    json_decref(value);
}

int cli_json_message_print(const ProtobufCMessage *message)
{
    cli_json_print(cli_json_message(message));
    return CLI_OK;
}

static struct bytes pack_payload(struct arena *arena, const char *text)
{
    Api__Payload__MetadataEntry encoding;
    api__payload__metadata_entry__init(&encoding);
    encoding.key = arena_strdup(arena, "encoding");
    encoding.value.data = arena_copy(arena, "json/plain", 10);
    encoding.value.len = 10;
    Api__Payload__MetadataEntry *entries[1] = {&encoding};
    Api__Payload payload;
    api__payload__init(&payload);
    payload.n_metadata = 1;
    payload.metadata = entries;
    payload.data.len = strlen(text);
    payload.data.data = arena_copy(arena, text, payload.data.len);
    return proto_pack(arena, &payload.base);
}

int cli_input(struct cli *cli, size_t *ret_count, ProtobufCBinaryData **ret_field)
{
    struct arena *arena = &cli->arena;
    Api__Payloads payloads;
    api__payloads__init(&payloads);
    payloads.payloads = arena_zalloc(arena, CLI_SETTINGS_MAX, sizeof(*payloads.payloads));
    int cursor = 0;
    for (const char *text = cli_each(cli, "input", &cursor); text;
         text = cli_each(cli, "input", &cursor)) {
        json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);
        if (!value)
            return cli_usage(cli,
                "--input %s: is not JSON (text needs its own quotes: --input '\"text\"')", text);
        json_decref(value);
        struct bytes packed = pack_payload(arena, text);
        ProtobufCBinaryData *payload = &payloads.payloads[payloads.n_payloads++];
        payload->len = packed.len;
        payload->data = arena_copy(arena, packed.data, packed.len);
    }
    *ret_count = payloads.n_payloads ? 1 : 0;
    *ret_field = arena_new(arena, ProtobufCBinaryData);
    struct bytes packed = proto_pack(arena, &payloads.base);
    (*ret_field)->len = packed.len;
    (*ret_field)->data = arena_copy(arena, packed.data, packed.len);
    return CLI_OK;
}
