/* SPDX-License-Identifier: Apache-2.0
 *
 * strait failover: moving a namespace, and what was moved so far.
 */
#include <stdio.h>
#include <string.h>

#include "cluster/base/proto_arena.h"
#include "cluster/cli/cli_private.h"
#include "cluster/rpc/rpc_client.h"
#include "cluster/rpc/rpc_status.h"
#include "proto/admin.pb-c.h"

#define DEADLINE_MS_MAX 600000
#define DEADLINE_MS     10000 /* the servers' default */
#define ANSWER_MS       20000 /* beyond the deadline: checks, relay, acknowledgement */

static void print_losses(struct cli *cli, const Admin__FailoverResponse *response)
{
    if (response->n_losses == 0)
        return;
    static const char *const titles[] = {
        "SHARD", "APPLIED", "APPLIED AT", "KNOWN", "KNOWN AT", "MISSING"};
    struct arena *arena = &cli->arena;
    struct cli_table table;
    cli_table_begin(&table, arena, ARRAY_LEN(titles), titles);
    for (size_t i = 0; i < response->n_losses; i++) {
        const Admin__ShardLoss *loss = response->losses[i];
        int64_t missing = loss->known_seq - loss->applied_seq;
        const char *cells[] = {arena_printf(arena, "%d", loss->shard),
            arena_printf(arena, "%lld", (long long)loss->applied_seq),
            cli_time(arena, loss->applied_time),
            arena_printf(arena, "%lld", (long long)loss->known_seq),
            cli_time(arena, loss->known_time),
            arena_printf(arena, "%lld", (long long)(missing > 0 ? missing : 0))};
        cli_table_row(&table, cells);
    }
    cli_table_print(&table);
    printf("\"missing\" is as far as known: the old active cluster may have accepted more\n");
}

/* A refused forced failover says what may be lost. */
static int refused(struct cli *cli, const struct rpc_result *result)
{
    const char *type;
    struct bytes detail;
    const Admin__FailoverResponse *response = NULL;
    if (rpc_status_detail(&cli->arena, result->details, &type, &detail) &&
        strcmp(type, "strait.admin.v1.FailoverResponse") == 0)
        response = proto_unpack(&cli->arena, &admin__failover_response__descriptor, detail);
    if (response && cli->json)
        cli_json_print(json_pack(
            "{s:s, s:o}", "error", result->message, "failover", cli_json_message(&response->base)));
    else if (response)
        print_losses(cli, response);
    return cli_report(cli, result);
}

static int failover(struct cli *cli)
{
    if (!cli_flag(cli, "to"))
        return cli_usage(cli, "--to CLUSTER is missing");
    if (cli_flag(cli, "accept-loss") && !cli_flag(cli, "force"))
        return cli_usage(cli, "--accept-loss belongs to --force");
    if (cli_flag(cli, "force") && cli_flag(cli, "deadline"))
        return cli_usage(cli, "--deadline is for a graceful failover, without --force");
    Admin__FailoverRequest request;
    admin__failover_request__init(&request);
    request.namespace_ = cli->args[0];
    request.target = arena_strdup(&cli->arena, cli_value(cli, "to"));
    request.force = cli_flag(cli, "force");
    request.accept_loss = cli_flag(cli, "accept-loss");
    request.reason = arena_strdup(&cli->arena, cli_value_or(cli, "reason", ""));
    request.identity = cli_identity(cli);
    if (cli_span_ms(cli, "deadline", &request.deadline_ms))
        return CLI_USAGE;
    if (request.deadline_ms > DEADLINE_MS_MAX)
        return cli_usage(cli, "--deadline may be at most 10m");
    if (!cli_flag(cli, "timeout"))
        cli->timeout_ms = (request.deadline_ms ? request.deadline_ms : DEADLINE_MS) + ANSWER_MS;
    struct rpc_result result = cli_try(cli, CLI_ADMIN, "Failover", &request.base);
    if (result.code != GRPC_OK)
        return refused(cli, &result);
    const Admin__FailoverResponse *response =
        proto_unpack(&cli->arena, &admin__failover_response__descriptor, result.body);
    if (!response)
        return cli_fail(cli, "the server's answer does not decode: is %s a strait?", cli->address);
    if (cli->json)
        return cli_json_message_print(&response->base);
    if (!*response->kind) {
        printf("%s is active in %s already, at version %lld\n", cli->args[0], response->to,
            (long long)response->version);
        return CLI_OK;
    }
    printf("%s: %s -> %s, %s, version %lld", cli->args[0], response->from, response->to,
        response->kind, (long long)response->version);
    if (strcmp(response->kind, "graceful") == 0)
        printf(", writes waited %lld ms", (long long)response->pause_ms);
    putchar('\n');
    print_losses(cli, response);
    return CLI_OK;
}

static int list(struct cli *cli)
{
    Admin__DescribeNamespaceRequest request;
    admin__describe_namespace_request__init(&request);
    request.name = cli->args[0];
    Admin__DescribeNamespaceResponse *response;
    int status = cli_call(cli, CLI_ADMIN, "DescribeNamespace", &request.base,
        &admin__describe_namespace_response__descriptor, &response);
    if (status)
        return status;
    if (!response->namespace_)
        return cli_fail(cli, "the server's answer holds no namespace");
    const Admin__Namespace *shown = response->namespace_;
    if (cli->json) {
        json_t *array = json_array();
        for (size_t i = 0; i < shown->n_failovers; i++)
            json_array_append_new(array, cli_json_message(&shown->failovers[i]->base));
        cli_json_print(array);
        return CLI_OK;
    }
    static const char *const titles[] = {
        "TIME", "FROM", "TO", "VERSION", "KIND", "PAUSE", "LAG", "BY", "REASON"};
    struct arena *arena = &cli->arena;
    struct cli_table table;
    cli_table_begin(&table, arena, ARRAY_LEN(titles), titles);
    for (size_t i = 0; i < shown->n_failovers; i++) {
        const Admin__Failover *entry = shown->failovers[i];
        const char *cells[] = {cli_time(arena, entry->time), entry->from, entry->to,
            arena_printf(arena, "%lld", (long long)entry->to_version), entry->kind,
            cli_duration(arena, entry->pause_ms),
            arena_printf(arena, "%lld", (long long)entry->lag_events), entry->identity,
            entry->reason};
        cli_table_row(&table, cells);
    }
    cli_table_print(&table);
    return CLI_OK;
}

static const struct cli_option failover_options[] = {
    {"to", 0, "CLUSTER", "where it is to be active"},
    {"force", 0, NULL, "take over without the active cluster; says what may be lost"},
    {"accept-loss", 0, NULL, "with --force: really"},
    {"deadline", 0, "SPAN", "graceful: how long writes may wait (default: the server's, 10s)"},
    {"reason", 0, "TEXT", "kept in the history"},
};

const struct cli_command cli_failover_commands[] = {
    {"failover", "", "NAMESPACE", "Move a namespace to another cluster",
        "Graceful, without --force: loses nothing; writes wait for some milliseconds, and if the\n"
        "target does not catch up within --deadline, everything stays as it was. Any cluster may\n"
        "be asked; the active one does it.\n\n"
        "With --force the target takes over alone, for when the active cluster is gone. Without\n"
        "--accept-loss it only prints what is known to be missing and changes nothing.",
        failover_options, ARRAY_LEN(failover_options), 1, 1, failover},
    {"failover", "list", "NAMESPACE", "Show the failovers of a namespace, oldest first", NULL, NULL,
        0, 1, 1, list},
};
const size_t cli_failover_command_count = ARRAY_LEN(cli_failover_commands);
