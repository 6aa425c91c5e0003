/* SPDX-License-Identifier: Apache-2.0
 *
 * Calls to the server, and what is said when they fail.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cluster/base/limits.h"
#include "cluster/base/proto_arena.h"
#include "cluster/cli/cli_private.h"
#include "cluster/rpc/rpc_client.h"

static void print_command(const struct cli *cli)
{
    fprintf(stderr, "strait %s%s%s: ", cli->command->group, *cli->command->name ? " " : "",
        cli->command->name);
}

int cli_fail(const struct cli *cli, const char *fmt, ...)
{
    print_command(cli);
    va_list args;
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
    return CLI_FAILED;
}

static bool is_connection_failure(const char *message)
{
    static const char *const signs[] = {
        "failed to connect", "Connection refused", "connections to all backends", "DNS", "Socket"};
    for (size_t i = 0; i < ARRAY_LEN(signs); i++) {
        if (strstr(message, signs[i]))
            return true;
    }
    return false;
}

int cli_report(const struct cli *cli, const struct rpc_result *result)
{
    switch (result->code) {
    case GRPC_UNAVAILABLE:
        if (is_connection_failure(result->message))
            return cli_fail(cli,
                "no server answers at %s (%s): is it running, and is this its gRPC address "
                "(--address, STRAIT_ADDRESS)?",
                cli->address, result->message);
        return cli_fail(cli, "%s", result->message);
    case GRPC_DEADLINE_EXCEEDED:
        return cli_fail(cli,
            "no answer from %s within %lld ms: the command may still take effect; wait longer with "
            "--timeout",
            cli->address, (long long)cli->timeout_ms);
    case GRPC_UNIMPLEMENTED:
        return cli_fail(cli,
            "the server at %s does not know this command (%s): is it a strait of "
            "this version?",
            cli->address, result->message);
    case GRPC_OK:
    case GRPC_CANCELLED:
    case GRPC_UNKNOWN:
    case GRPC_INVALID_ARGUMENT:
    case GRPC_NOT_FOUND:
    case GRPC_ALREADY_EXISTS:
    case GRPC_PERMISSION_DENIED:
    case GRPC_RESOURCE_EXHAUSTED:
    case GRPC_FAILED_PRECONDITION:
    case GRPC_ABORTED:
    case GRPC_OUT_OF_RANGE:
    case GRPC_INTERNAL:
    case GRPC_DATA_LOSS:
    case GRPC_UNAUTHENTICATED:
        break;
    }
    return cli_fail(cli, "%s", *result->message ? result->message : "the server gave no reason");
}

static struct rpc_result failed_here(struct cli *cli, const char *reason)
{
    return (struct rpc_result){
        .code = GRPC_INVALID_ARGUMENT, .message = arena_strdup(&cli->arena, reason)};
}

struct rpc_result cli_try(
    struct cli *cli, const char *service, const char *method, const ProtobufCMessage *request)
{
    if (!cli->client) {
        struct rpc_client_options options = {.address = cli->address,
            .tls = cli_flag(cli, "tls"),
            .tls_ca_file = cli_value(cli, "tls-ca-file"),
            .tls_cert_file = cli_value(cli, "tls-cert-file"),
            .tls_key_file = cli_value(cli, "tls-key-file"),
            .tls_server_name = cli_value(cli, "tls-server-name")};
        char reason[256];
        if (rpc_client_open(&options, &cli->client, reason))
            return failed_here(cli, reason);
    }
    return rpc_client_call(cli->client, arena_printf(&cli->arena, "%s%s", service, method),
        proto_pack(&cli->arena, request), cli->timeout_ms * NS_PER_MS, &cli->arena);
}

int cli_call(struct cli *cli, const char *service, const char *method,
    const ProtobufCMessage *request, const ProtobufCMessageDescriptor *response, void *ret_response)
{
    struct rpc_result result = cli_try(cli, service, method, request);
    if (result.code != GRPC_OK)
        return cli_report(cli, &result);
    void *message = proto_unpack(&cli->arena, response, result.body);
    if (!message)
        return cli_fail(cli, "the server's answer does not decode: is %s a strait?", cli->address);
    memcpy(ret_response, &message, sizeof(message)); /* to a pointer of any message type */
    return CLI_OK;
}

char *cli_identity(struct cli *cli)
{
    char host[128] = "";
    (void)gethostname(host, sizeof(host) - 1); /* an unknown host is no reason to fail */
    const char *user = getenv("USER");
    return arena_printf(&cli->arena, "%s@%s", user && *user ? user : "strait", host);
}
