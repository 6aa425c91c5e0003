/* SPDX-License-Identifier: Apache-2.0
 *
 * Check answers from memory, on the gRPC thread. Watch would need a stream; clients that ask for it
 * fall back to Check when it is UNIMPLEMENTED, as the protocol prescribes.
 */
#include "cluster/rpc/rpc_health.h"

#include <stdio.h>
#include <string.h>

#include "cluster/rpc/rpc_wire.h"

#define HEALTH_PREFIX      "/grpc.health.v1.Health/"
#define REQUEST_SERVICE    1u
#define RESPONSE_STATUS    1u
#define STATUS_SERVING     1
#define STATUS_NOT_SERVING 2

static bool parse_request(struct bytes request, struct bytes *ret_service)
{
    struct wire_field field;
    struct bytes service = {0};
    while (wire_next(&request, &field))
        if (field.number == REQUEST_SERVICE && field.type == WIRE_BYTES)
            service = field.data;
    if (request.len > 0)
        return false;
    *ret_service = service;
    return true;
}

static bool is_known(struct bytes service, const char *const *services)
{
    if (!services || service.len == 0)
        return true;
    for (; *services; services++)
        if (bytes_equal(service, bytes_of(*services)))
            return true;
    return false;
}

bool rpc_health_handle(struct call *call, bool serving, const char *const *services)
{
    size_t prefix_len = strlen(HEALTH_PREFIX);
    if (strncmp(call->method, HEALTH_PREFIX, prefix_len) != 0)
        return false;
    const char *method = call->method + prefix_len;
    struct bytes service;
    struct bytes none = {0};
    if (strcmp(method, "Check") != 0) {
        char text[256];
        (void)snprintf(
            text, sizeof(text), "unknown method %.100s for service grpc.health.v1.Health", method);
        call_fail(call, GRPC_UNIMPLEMENTED, text, NULL, none);
    } else if (!parse_request(call->request, &service)) {
        call_fail(call, GRPC_INVALID_ARGUMENT, "ill-formed HealthCheckRequest", NULL, none);
    } else if (!is_known(service, services)) {
        call_fail(call, GRPC_NOT_FOUND, "unknown service", NULL, none);
    } else {
        const uint8_t response[] = {
            RESPONSE_STATUS << 3 | WIRE_VARINT, serving ? STATUS_SERVING : STATUS_NOT_SERVING};
        call_reply(call, bytes_make(response, sizeof(response)));
    }
    return true;
}
