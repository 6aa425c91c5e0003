/* SPDX-License-Identifier: Apache-2.0
 *
 * The C core's client, bare.
 */
#include <grpc/byte_buffer.h>
#include <grpc/compression.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/slice.h>
#include <grpc/support/alloc.h>
#include <grpc/support/time.h>
#include <string.h>

#include "cluster/base/mem.h"
#include "cluster/rpc/tests/rpc_fixture.h"

struct raw_channel {
    grpc_channel *channel;
    grpc_completion_queue *cq;
};

struct raw {
    grpc_call *call;
    grpc_byte_buffer *request;
    grpc_byte_buffer *response;
    grpc_metadata_array initial;
    grpc_metadata_array trailing;
    grpc_metadata header;
    grpc_status_code status;
    grpc_slice text;
    char *text_copy;
};

struct raw_channel *raw_channel_open(const char *address, int gzip)
{
    grpc_init();
    struct raw_channel *channel = mem_new(struct raw_channel);
    grpc_arg args[] = {
        {.type = GRPC_ARG_INTEGER,
            .key = (char *)(uintptr_t)GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL,
            .value.integer = 1},
        {.type = GRPC_ARG_INTEGER,
            .key = (char *)(uintptr_t)GRPC_ARG_MAX_SEND_MESSAGE_LENGTH,
            .value.integer = -1},
        {.type = GRPC_ARG_INTEGER,
            .key = (char *)(uintptr_t)GRPC_COMPRESSION_CHANNEL_DEFAULT_ALGORITHM,
            .value.integer = GRPC_COMPRESS_GZIP},
    };
    grpc_channel_args channel_args = {.num_args = gzip ? 3 : 2, .args = args};
    grpc_channel_credentials *credentials = grpc_insecure_credentials_create();
    channel->channel = grpc_channel_create(address, credentials, &channel_args);
    grpc_channel_credentials_release(credentials);
    channel->cq = grpc_completion_queue_create_for_next(NULL);
    return channel;
}

void raw_channel_close(struct raw_channel *channel)
{
    grpc_channel_destroy(channel->channel);
    grpc_completion_queue_shutdown(channel->cq);
    while (
        grpc_completion_queue_next(channel->cq, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL).type !=
        GRPC_QUEUE_SHUTDOWN)
        ;
    grpc_completion_queue_destroy(channel->cq);
    mem_free(channel);
    grpc_shutdown();
}

struct raw *raw_start(struct raw_channel *channel, const char *method, struct bytes body,
    int64_t timeout_ns, const struct raw_header *header)
{
    struct raw *raw = mem_new(struct raw);
    grpc_slice path = grpc_slice_from_copied_string(method);
    gpr_timespec deadline = gpr_inf_future(GPR_CLOCK_MONOTONIC);
    if (timeout_ns != INT64_MAX)
        deadline = gpr_time_add(
            gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_nanos(timeout_ns, GPR_TIMESPAN));
    raw->call = grpc_channel_create_call(
        channel->channel, NULL, GRPC_PROPAGATE_DEFAULTS, channel->cq, path, NULL, deadline, NULL);
    grpc_slice_unref(path);
    grpc_slice slice = grpc_empty_slice();
    if (body.len > 0)
        slice = grpc_slice_from_copied_buffer((const char *)body.data, body.len);
    raw->request = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    grpc_metadata_array_init(&raw->initial);
    grpc_metadata_array_init(&raw->trailing);
    raw->text = grpc_empty_slice();
    grpc_op ops[6] = {{.op = GRPC_OP_SEND_INITIAL_METADATA}, {.op = GRPC_OP_SEND_MESSAGE},
        {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT}, {.op = GRPC_OP_RECV_INITIAL_METADATA},
        {.op = GRPC_OP_RECV_MESSAGE}, {.op = GRPC_OP_RECV_STATUS_ON_CLIENT}};
    if (header) {
        raw->header.key = grpc_slice_from_static_string(header->name);
        raw->header.value = grpc_slice_from_static_string(header->value);
        ops[0].data.send_initial_metadata.metadata = &raw->header;
        ops[0].data.send_initial_metadata.count = 1;
    }
    ops[1].data.send_message.send_message = raw->request;
    ops[3].data.recv_initial_metadata.recv_initial_metadata = &raw->initial;
    ops[4].data.recv_message.recv_message = &raw->response;
    ops[5].data.recv_status_on_client.trailing_metadata = &raw->trailing;
    ops[5].data.recv_status_on_client.status = &raw->status;
    ops[5].data.recv_status_on_client.status_details = &raw->text;
    grpc_call_error error = grpc_call_start_batch(raw->call, ops, ARRAY_LEN(ops), raw, NULL);
    CHECK(error == GRPC_CALL_OK);
    return raw;
}

void raw_cancel(struct raw *raw)
{
    grpc_call_error error = grpc_call_cancel(raw->call, NULL);
    CHECK(error == GRPC_CALL_OK);
}

void raw_wait(struct raw_channel *channel, int count)
{
    for (int i = 0; i < count; i++) {
        grpc_event event =
            grpc_completion_queue_next(channel->cq, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        CHECK(event.type == GRPC_OP_COMPLETE);
        struct raw *raw = event.tag;
        raw->text_copy = grpc_slice_to_c_string(raw->text);
    }
}

int raw_status(const struct raw *raw)
{
    return (int)raw->status;
}

const char *raw_text(const struct raw *raw)
{
    return raw->text_copy;
}

size_t raw_response_len(const struct raw *raw)
{
    return raw->response ? grpc_byte_buffer_length(raw->response) : 0;
}

void raw_free(struct raw *raw)
{
    grpc_byte_buffer_destroy(raw->request);
    if (raw->response)
        grpc_byte_buffer_destroy(raw->response);
    grpc_metadata_array_destroy(&raw->initial);
    grpc_metadata_array_destroy(&raw->trailing);
    grpc_slice_unref(raw->text);
    gpr_free(raw->text_copy);
    grpc_call_unref(raw->call);
    mem_free(raw);
}
