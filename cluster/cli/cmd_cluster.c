/* SPDX-License-Identifier: Apache-2.0
 *
 * strait cluster and strait replication: what a cluster knows of itself and of the others.
 */
#include <stdio.h>
#include <string.h>

#include "cluster/cli/cli_private.h"
#include "proto/admin.pb-c.h"

#define VERIFY_TIMEOUT_MS 600000

static const char *yes_no(bool value)
{
    return value ? "yes" : "no";
}

static char *number(struct cli *cli, int64_t value)
{
    return arena_printf(&cli->arena, "%lld", (long long)value);
}

/* ---- cluster -------------------------------------------------------------------------------- */

static int cluster_list(struct cli *cli)
{
    Admin__ListClustersRequest request;
    admin__list_clusters_request__init(&request);
    Admin__ListClustersResponse *response;
    int status = cli_call(cli, CLI_ADMIN, "ListClusters", &request.base,
        &admin__list_clusters_response__descriptor, &response);
    if (status)
        return status;
    if (cli->json)
        return cli_json_message_print(&response->base);
    static const char *const titles[] = {
        "NAME", "SELF", "CONNECTED", "HEARD", "SHARDS", "VERSION", "RELEASE", "ADDRESS"};
    struct cli_table table;
    cli_table_begin(&table, &cli->arena, ARRAY_LEN(titles), titles);
    for (size_t i = 0; i < response->n_clusters; i++) {
        const Admin__Cluster *cluster = response->clusters[i];
        const char *cells[] = {cluster->name, yes_no(cluster->self), yes_no(cluster->connected),
            cluster->self ? "-" : cli_duration(&cli->arena, cluster->last_heard_ms_ago),
            number(cli, cluster->shards), number(cli, cluster->initial_version),
            cluster->server_version, cluster->address};
        cli_table_row(&table, cells);
    }
    cli_table_print(&table);
    return CLI_OK;
}

static int cluster_status(struct cli *cli)
{
    Admin__NodeStatusRequest request;
    admin__node_status_request__init(&request);
    Admin__NodeStatusResponse *response;
    int status = cli_call(cli, CLI_ADMIN, "NodeStatus", &request.base,
        &admin__node_status_response__descriptor, &response);
    if (status)
        return status;
    if (cli->json)
        return cli_json_message_print(&response->base);
    printf("cluster   %s\n", response->cluster);
    printf("node      %s\n", response->node_id);
    printf("release   %s\n", response->server_version);
    printf("database  %s\n", response->database);
    printf("uptime    %s\n", cli_duration(&cli->arena, response->uptime_ms));
    printf("ready     %s\n", yes_no(response->ready));
    printf("shards    %d of %d\n", response->shards_owned, response->shards);
    return CLI_OK;
}

/* ---- replication ---------------------------------------------------------------------------- */

static int replication_status(struct cli *cli)
{
    Admin__ReplicationStatusRequest request;
    admin__replication_status_request__init(&request);
    if (cli->arg_count)
        request.namespace_ = cli->args[0];
    Admin__ReplicationStatusResponse *response;
    int status = cli_call(cli, CLI_ADMIN, "ReplicationStatus", &request.base,
        &admin__replication_status_response__descriptor, &response);
    if (status)
        return status;
    if (cli->json)
        return cli_json_message_print(&response->base);
    static const char *const titles[] = {"NAMESPACE", "FROM", "TO", "STATE", "LAG EVENTS",
        "LAG TIME", "OUTBOX ROWS", "APPLIED", "NEWEST"};
    struct cli_table table;
    cli_table_begin(&table, &cli->arena, ARRAY_LEN(titles), titles);
    for (size_t i = 0; i < response->n_lanes; i++) {
        const Admin__Lane *lane = response->lanes[i];
        const char *cells[] = {lane->namespace_, lane->source, lane->target, lane->state,
            number(cli, lane->lag_events), cli_duration(&cli->arena, lane->lag_ms),
            number(cli, lane->outbox_rows), number(cli, lane->applied_seq),
            number(cli, lane->newest_seq)};
        cli_table_row(&table, cells);
    }
    cli_table_print(&table);
    printf("dead letters here: %lld\n", (long long)response->dead_letters);
    return CLI_OK;
}

static int replication_verify(struct cli *cli)
{
    Admin__VerifyRequest request;
    admin__verify_request__init(&request);
    request.namespace_ = cli->args[0];
    request.cluster = arena_strdup(&cli->arena, cli_value_or(cli, "cluster", ""));
    if (!cli_flag(cli, "timeout"))
        cli->timeout_ms = VERIFY_TIMEOUT_MS;
    Admin__VerifyResponse *response;
    int status = cli_call(
        cli, CLI_ADMIN, "Verify", &request.base, &admin__verify_response__descriptor, &response);
    if (status)
        return status;
    int outcome = response->difference_count ? CLI_FAILED : CLI_OK;
    if (cli->json) {
        (void)cli_json_message_print(&response->base); /* always CLI_OK */
        return outcome;
    }
    if (response->n_differences) {
        static const char *const titles[] = {
            "CLUSTER", "WORKFLOW", "RUN", "DIFFERENCE", "LAST EVENT HERE", "THERE"};
        struct cli_table table;
        cli_table_begin(&table, &cli->arena, ARRAY_LEN(titles), titles);
        for (size_t i = 0; i < response->n_differences; i++) {
            const Admin__Difference *difference = response->differences[i];
            const char *cells[] = {difference->cluster, difference->workflow_id, difference->run_id,
                difference->what, number(cli, difference->event_id_here),
                number(cli, difference->event_id_there)};
            cli_table_row(&table, cells);
        }
        cli_table_print(&table);
    }
    printf("%lld runs compared, %lld equal, %lld different\n", (long long)response->runs_compared,
        (long long)response->runs_equal, (long long)response->difference_count);
    return outcome;
}

static int dlq_list(struct cli *cli)
{
    Admin__DeadLetterListRequest request;
    admin__dead_letter_list_request__init(&request);
    int64_t limit = 0;
    if (cli_number(cli, "limit", 1, 1000, &limit))
        return CLI_USAGE;
    request.limit = (int32_t)limit;
    Admin__DeadLetterListResponse *response;
    int status = cli_call(cli, CLI_ADMIN, "DeadLetterList", &request.base,
        &admin__dead_letter_list_response__descriptor, &response);
    if (status)
        return status;
    if (cli->json)
        return cli_json_message_print(&response->base);
    static const char *const titles[] = {
        "TIME", "FROM", "SHARD", "SEQ", "ITEM", "NAMESPACE", "WORKFLOW", "RUN", "REASON", "DETAIL"};
    struct cli_table table;
    cli_table_begin(&table, &cli->arena, ARRAY_LEN(titles), titles);
    for (size_t i = 0; i < response->n_items; i++) {
        const Admin__DeadLetter *item = response->items[i];
        const char *cells[] = {cli_time(&cli->arena, item->time), item->source,
            number(cli, item->shard), number(cli, item->seq), number(cli, item->index),
            item->namespace_, item->workflow_id, item->run_id, item->reason, item->detail};
        cli_table_row(&table, cells);
    }
    cli_table_print(&table);
    return CLI_OK;
}

/* ---- table ---------------------------------------------------------------------------------- */

static const struct cli_option verify_options[] = {
    {"cluster", 0, "CLUSTER", "compare with this one (default: with every other of the namespace)"},
};

static const struct cli_option dlq_options[] = {
    {"limit", 0, "N", "at most so many (default 100)"},
};

const struct cli_command cli_cluster_commands[] = {
    {"cluster", "list", "", "List the clusters of the federation", NULL, NULL, 0, 0, 0,
        cluster_list},
    {"cluster", "status", "", "Show the node that answers", NULL, NULL, 0, 0, 0, cluster_status},
    {"replication", "status", "[NAMESPACE]", "Show how far behind each direction is", NULL, NULL, 0,
        0, 1, replication_status},
    {"replication", "verify", "NAMESPACE", "Compare the workflows of a namespace between clusters",
        "Every run is compared by its last event and a digest over all of its events. What is\n"
        "still on its way shows as behind: repeat the command. Exit status 1 when anything\n"
        "differs.",
        verify_options, ARRAY_LEN(verify_options), 1, 1, replication_verify},
    {"replication", "dlq list", "", "List what could not be applied here", NULL, dlq_options,
        ARRAY_LEN(dlq_options), 0, 0, dlq_list},
};
const size_t cli_cluster_command_count = ARRAY_LEN(cli_cluster_commands);
