/* SPDX-License-Identifier: Apache-2.0
 *
 * strait namespace: create, update, describe, list, delete.
 */
#include <stdio.h>
#include <string.h>

#include "cluster/cli/cli_private.h"
#include "proto/admin.pb-c.h"

/* ---- printing ------------------------------------------------------------------------------- */

static void print_namespace(struct cli *cli, const Admin__Namespace *shown)
{
    struct arena *arena = &cli->arena;
    printf("name              %s\n", shown->name);
    printf("id                %s\n", shown->id);
    printf("state             %s\n", shown->state);
    if (*shown->description)
        printf("description       %s\n", shown->description);
    if (*shown->owner_email)
        printf("owner             %s\n", shown->owner_email);
    printf("clusters          %s\n", cli_join(arena, shown->clusters, shown->n_clusters));
    printf("active cluster    %s\n", shown->active_cluster);
    printf("failover version  %lld\n", (long long)shown->failover_version);
    printf("config version    %lld\n", (long long)shown->config_version);
    printf("retention         %s\n", cli_duration(arena, shown->retention_ms));
    printf("ack               %s\n", shown->ack);
    printf("created           %s\n", cli_time(arena, shown->created_time));
    if (shown->n_failovers == 0)
        return;
    const Admin__Failover *last = shown->failovers[shown->n_failovers - 1];
    printf("last failover     %s: %s -> %s, %s\n", cli_time(arena, last->time), last->from,
        last->to, last->kind);
}

static void print_notes(char *const *notes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        fprintf(stderr, "note: %s\n", notes[i]);
}

/* ---- create --------------------------------------------------------------------------------- */

static int create(struct cli *cli)
{
    Admin__CreateNamespaceRequest request;
    admin__create_namespace_request__init(&request);
    request.name = cli->args[0];
    if (cli_list(cli, "clusters", &request.clusters, &request.n_clusters) ||
        cli_span_ms(cli, "retention", &request.retention_ms))
        return CLI_USAGE;
    request.active_cluster = arena_strdup(&cli->arena, cli_value_or(cli, "active", ""));
    request.ack = arena_strdup(&cli->arena, cli_value_or(cli, "ack", ""));
    request.description = arena_strdup(&cli->arena, cli_value_or(cli, "description", ""));
    request.owner_email = arena_strdup(&cli->arena, cli_value_or(cli, "owner", ""));
    Admin__CreateNamespaceResponse *response;
    int status = cli_call(cli, CLI_ADMIN, "CreateNamespace", &request.base,
        &admin__create_namespace_response__descriptor, &response);
    if (status)
        return status;
    if (!response->namespace_)
        return cli_fail(cli, "the server's answer holds no namespace");
    if (cli->json)
        return cli_json_message_print(&response->namespace_->base);
    print_namespace(cli, response->namespace_);
    return CLI_OK;
}

/* ---- update --------------------------------------------------------------------------------- */

static int update(struct cli *cli)
{
    Admin__UpdateNamespaceRequest request;
    admin__update_namespace_request__init(&request);
    request.name = cli->args[0];
    static const char *const settings[] = {"clusters", "retention", "ack", "description", "owner"};
    bool any = false;
    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        any |= cli_flag(cli, settings[i]);
    if (!any)
        return cli_usage(cli, "nothing is to be changed: give --clusters, --retention, --ack, "
                              "--description or --owner");
    if (cli_list(cli, "clusters", &request.clusters, &request.n_clusters) ||
        cli_span_ms(cli, "retention", &request.retention_ms))
        return CLI_USAGE;
    request.ack = arena_strdup(&cli->arena, cli_value_or(cli, "ack", ""));
    request.description = arena_strdup(&cli->arena, cli_value_or(cli, "description", ""));
    request.owner_email = arena_strdup(&cli->arena, cli_value_or(cli, "owner", ""));
    Admin__UpdateNamespaceResponse *response;
    int status = cli_call(cli, CLI_ADMIN, "UpdateNamespace", &request.base,
        &admin__update_namespace_response__descriptor, &response);
    if (status)
        return status;
    if (!response->namespace_)
        return cli_fail(cli, "the server's answer holds no namespace");
    print_notes(response->notes, response->n_notes);
    if (cli->json)
        return cli_json_message_print(&response->namespace_->base);
    print_namespace(cli, response->namespace_);
    return CLI_OK;
}

/* ---- describe, list ------------------------------------------------------------------------- */

static int describe(struct cli *cli)
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
    if (cli->json)
        return cli_json_message_print(&response->namespace_->base);
    print_namespace(cli, response->namespace_);
    return CLI_OK;
}

static int list(struct cli *cli)
{
    Admin__ListNamespacesRequest request;
    admin__list_namespaces_request__init(&request);
    Admin__ListNamespacesResponse *response;
    int status = cli_call(cli, CLI_ADMIN, "ListNamespaces", &request.base,
        &admin__list_namespaces_response__descriptor, &response);
    if (status)
        return status;
    if (cli->json)
        return cli_json_message_print(&response->base);
    static const char *const titles[] = {
        "NAME", "STATE", "CLUSTERS", "ACTIVE", "VERSION", "RETENTION"};
    struct cli_table table;
    cli_table_begin(&table, &cli->arena, ARRAY_LEN(titles), titles);
    for (size_t i = 0; i < response->n_namespaces; i++) {
        const Admin__Namespace *shown = response->namespaces[i];
        const char *cells[] = {shown->name, shown->state,
            cli_join(&cli->arena, shown->clusters, shown->n_clusters), shown->active_cluster,
            arena_printf(&cli->arena, "%lld", (long long)shown->failover_version),
            cli_duration(&cli->arena, shown->retention_ms)};
        cli_table_row(&table, cells);
    }
    cli_table_print(&table);
    return CLI_OK;
}

/* ---- delete --------------------------------------------------------------------------------- */

static int delete (struct cli *cli)
{
    if (!cli_flag(cli, "yes"))
        return cli_usage(
            cli, "this ends namespace %s in all its clusters: say so with --yes", cli->args[0]);
    Admin__DeleteNamespaceRequest request;
    admin__delete_namespace_request__init(&request);
    request.name = cli->args[0];
    Admin__DeleteNamespaceResponse *response;
    int status = cli_call(cli, CLI_ADMIN, "DeleteNamespace", &request.base,
        &admin__delete_namespace_response__descriptor, &response);
    if (status)
        return status;
    if (cli->json)
        return cli_json_message_print(&response->base);
    printf("deleted %s\n", cli->args[0]);
    return CLI_OK;
}

/* ---- table ---------------------------------------------------------------------------------- */

static const struct cli_option create_options[] = {
    {"clusters", 0, "A,B,C", "clusters that hold it (default: the one asked)"},
    {"active", 0, "CLUSTER", "where it is active at first (default: the one asked)"},
    {"retention", 0, "SPAN", "how long closed workflows are kept, e.g. 3d (default: the server's)"},
    {"ack", 0, "LEVEL", "when a write is acknowledged: local (the only one in this release)"},
    {"description", 0, "TEXT", "what it is for"},
    {"owner", 0, "EMAIL", "whom to ask"},
};

static const struct cli_option update_options[] = {
    {"clusters", 0, "A,B,C", "clusters that hold it from now on"},
    {"retention", 0, "SPAN", "how long closed workflows are kept, e.g. 3d"},
    {"ack", 0, "LEVEL", "when a write is acknowledged: local (the only one in this release)"},
    {"description", 0, "TEXT", "what it is for"},
    {"owner", 0, "EMAIL", "whom to ask"},
};

static const struct cli_option delete_options[] = {
    {"yes", 0, NULL, "really"},
};

const struct cli_command cli_namespace_commands[] = {
    {"namespace", "create", "NAME", "Create a namespace in one or several clusters", NULL,
        create_options, ARRAY_LEN(create_options), 1, 1, create},
    {"namespace", "update", "NAME", "Change a namespace",
        "Ask the cluster where it is active. An added cluster gets what happens from then on;\n"
        "workflows that exist already are not copied to it by this release. The active cluster\n"
        "is changed by strait failover.",
        update_options, ARRAY_LEN(update_options), 1, 1, update},
    {"namespace", "describe", "NAME", "Show a namespace", NULL, NULL, 0, 1, 1, describe},
    {"namespace", "list", "", "List the namespaces that this cluster knows", NULL, NULL, 0, 0, 0,
        list},
    {"namespace", "delete", "NAME", "Delete a namespace in all its clusters",
        "Ask the cluster where it is active.", delete_options, ARRAY_LEN(delete_options), 1, 1,
        delete},
};
const size_t cli_namespace_command_count = ARRAY_LEN(cli_namespace_commands);
