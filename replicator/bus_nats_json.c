/* SPDX-License-Identifier: Apache-2.0
 *
 * Publish acknowledgements come by the ten thousand, so the shape that every server sends,
 *
 *   {"stream":"NAME","seq":42}   or   {"stream":"NAME", "seq":42}
 *
 * is first tried by hand; whatever differs goes through the JSON parser.
 */
#include "replicator/bus_nats_json.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Errors that mean "full, come back later". */
#define INSUFFICIENT_RESOURCES  10023
#define MEMORY_EXCEEDED         10028
#define STORAGE_EXCEEDED        10047
#define STREAM_STORE_FAILED     10077
#define MESSAGE_EXCEEDS_MAXIMUM 10054

/** Skips `text` and blanks before it; false when something else is there. */
static bool skip(struct bytes *rest, const char *text)
{
    while (rest->len > 0 && rest->data[0] == ' ') {
        rest->data++;
        rest->len--;
    }
    size_t len = strlen(text);
    if (rest->len < len || memcmp(rest->data, text, len) != 0)
        return false;
    rest->data += len;
    rest->len -= len;
    return true;
}

static bool parse_fast(struct bytes data, uint64_t *ret_seq)
{
    struct bytes rest = data;
    if (!skip(&rest, "{") || !skip(&rest, "\"stream\"") || !skip(&rest, ":") || !skip(&rest, "\""))
        return false;
    while (rest.len > 0 && rest.data[0] > ' ' && rest.data[0] < 0x7f && rest.data[0] != '"' &&
           rest.data[0] != '\\') {
        rest.data++;
        rest.len--;
    }
    if (!skip(&rest, "\"") || !skip(&rest, ",") || !skip(&rest, "\"seq\"") || !skip(&rest, ":") ||
        !skip(&rest, ""))
        return false;
    uint64_t seq = 0;
    size_t digits = 0;
    for (; digits < rest.len && digits < 19; digits++) {
        unsigned char c = rest.data[digits];
        if (c < '0' || c > '9')
            break;
        seq = seq * 10 + (uint64_t)(c - '0');
    }
    rest.data += digits;
    rest.len -= digits;
    if (digits == 0 || !skip(&rest, "}") || rest.len > 0)
        return false;
    *ret_seq = seq;
    return true;
}

enum err nats_json_answer(struct bytes data, struct nats_answer *ret_answer)
{
    struct nats_answer answer = {0};
    if (parse_fast(data, &answer.seq)) {
        *ret_answer = answer;
        return OK;
    }
    json_t *root = json_loadb((const char *)data.data, data.len, 0, NULL);
    if (!json_is_object(root)) {
        json_decref(root);
        return ERR_CORRUPT;
    }
    json_t *error = json_object_get(root, "error");
    if (json_is_object(error)) {
        json_int_t code = json_integer_value(json_object_get(error, "code"));
        json_int_t err_code = json_integer_value(json_object_get(error, "err_code"));
        answer.code = code > 0 && code < 1000 ? (int)code : 500;
        answer.err_code = err_code > 0 && err_code < INT32_MAX ? (int)err_code : 0;
        const char *text = json_string_value(json_object_get(error, "description"));
        (void)snprintf(answer.text, sizeof(answer.text), "%s", text ? text : "");
    } else {
        json_int_t seq = json_integer_value(json_object_get(root, "seq"));
        answer.seq = seq > 0 ? (uint64_t)seq : 0;
        /* A publish acknowledgement or an API answer names itself; anything else is not for us. */
        if (!json_object_get(root, "stream") && !json_object_get(root, "type")) {
            json_decref(root);
            return ERR_CORRUPT;
        }
    }
    json_decref(root);
    *ret_answer = answer;
    return OK;
}

enum err nats_json_err(const struct nats_answer *answer)
{
    if (answer->code == 0)
        return OK;
    switch (answer->err_code) {
    case STREAM_STORE_FAILED:
    case STORAGE_EXCEEDED:
    case MEMORY_EXCEEDED:
    case INSUFFICIENT_RESOURCES:
        return ERR_BUSY;
    case MESSAGE_EXCEEDS_MAXIMUM:
        return ERR_TOO_LARGE;
    default:
        break;
    }
    if (strstr(answer->text, "maximum bytes exceeded") != NULL)
        return ERR_BUSY;
    if (answer->code == 404)
        return ERR_NOT_FOUND;
    if (answer->code == 408 || answer->code == 429 || answer->code == 503)
        return ERR_UNAVAILABLE;
    return ERR_INVALID;
}

/** Consumes `root`. */
static struct blob *dump(json_t *root)
{
    CHECK(root != NULL);
    char *text = json_dumps(root, JSON_COMPACT);
    CHECK(text != NULL);
    struct blob *blob = blob_from(bytes_of(text));
    free(text);
    json_decref(root);
    return blob;
}

struct blob *nats_json_stream(const struct bus_stream *stream)
{
    return dump(json_pack("{s:s, s:[s], s:s, s:s, s:s, s:I, s:i}", "name", stream->name, "subjects",
        stream->subjects, "retention", stream->work_queue ? "workqueue" : "limits", "storage",
        "file", "discard", "new", "max_bytes", (json_int_t)stream->bytes_max, "num_replicas",
        (int)stream->replicas));
}

struct blob *nats_json_consumer(
    const char *stream, const char *durable, uint32_t window, int64_t ack_wait_ns)
{
    return dump(json_pack("{s:s, s:{s:s, s:s, s:s, s:s, s:I, s:I}}", "stream_name", stream,
        "config", "durable_name", durable, "deliver_policy", "all", "ack_policy", "explicit",
        "replay_policy", "instant", "max_ack_pending", (json_int_t)window, "ack_wait",
        (json_int_t)ack_wait_ns));
}
