/* SPDX-License-Identifier: Apache-2.0
 *
 * The admin service: namespaces and failovers.
 */
#include <string.h>

#include "cluster/frontend/tests/admin_fixture.h"

static char **names(const char *first, const char *second)
{
    char **list = arena_zalloc(&world->arena, 2, sizeof(*list));
    list[0] = arena_strdup(&world->arena, first);
    list[1] = arena_strdup(&world->arena, second);
    return list;
}

static const Admin__Namespace *described(const char *name)
{
    Admin__DescribeNamespaceRequest request;
    admin__describe_namespace_request__init(&request);
    request.name = arena_strdup(&world->arena, name);
    const Admin__DescribeNamespaceResponse *response = admin_ok(
        "DescribeNamespace", &request.base, &admin__describe_namespace_response__descriptor);
    return response->namespace_;
}

/* ---- namespaces ----------------------------------------------------------------------------- */

static void create_and_describe(void **state)
{
    (void)state;
    Admin__CreateNamespaceRequest request = admin_create_request("orders");
    request.clusters = names("us", "eu");
    request.n_clusters = 2;
    request.active_cluster = request.clusters[1];
    request.description = arena_strdup(&world->arena, "what is bought");
    const Admin__CreateNamespaceResponse *response =
        admin_ok("CreateNamespace", &request.base, &admin__create_namespace_response__descriptor);
    assert_string_equal(response->namespace_->active_cluster, "eu");
    const Admin__Namespace *shown = described("orders");
    assert_string_equal(shown->id, response->namespace_->id);
    assert_string_equal(shown->state, "normal");
    assert_string_equal(shown->description, "what is bought");
    assert_int_equal(shown->n_clusters, 2);
    assert_int_equal(shown->failover_version, 2);
    assert_int_equal(shown->config_version, 1);
    assert_int_equal(shown->retention_ms, 72 * 3600 * 1000);
    assert_string_equal(shown->ack, "local");
    assert_true(shown->global);
    assert_refused(
        admin_run("CreateNamespace", &request.base), GRPC_ALREADY_EXISTS, "orders exists already");
    Admin__ListNamespacesRequest list;
    admin__list_namespaces_request__init(&list);
    const Admin__ListNamespacesResponse *all =
        admin_ok("ListNamespaces", &list.base, &admin__list_namespaces_response__descriptor);
    assert_int_equal(all->n_namespaces, 2);
    assert_string_equal(all->namespaces[1]->name, "orders");
}

static void create_here_alone(void **state)
{
    (void)state;
    Admin__CreateNamespaceRequest request = admin_create_request("local");
    const Admin__CreateNamespaceResponse *response =
        admin_ok("CreateNamespace", &request.base, &admin__create_namespace_response__descriptor);
    assert_int_equal(response->namespace_->n_clusters, 1);
    assert_string_equal(response->namespace_->clusters[0], "us");
    assert_string_equal(response->namespace_->active_cluster, "us");
    assert_false(response->namespace_->global);
}

static void create_refuses(void **state)
{
    (void)state;
    Admin__CreateNamespaceRequest request = admin_create_request("");
    assert_refused(admin_run("CreateNamespace", &request.base), GRPC_INVALID_ARGUMENT, "1 to 255");
    request = admin_create_request("a b");
    assert_refused(admin_run("CreateNamespace", &request.base), GRPC_INVALID_ARGUMENT, "blanks");
    request = admin_create_request("orders");
    request.n_clusters = 2;
    request.clusters = names("us", "mars");
    assert_refused(admin_run("CreateNamespace", &request.base), GRPC_INVALID_ARGUMENT,
        "mars is not a cluster");
    request.clusters = names("us", "us");
    assert_refused(
        admin_run("CreateNamespace", &request.base), GRPC_INVALID_ARGUMENT, "listed twice");
    request.clusters = names("eu", "");
    request.n_clusters = 1;
    assert_refused(
        admin_run("CreateNamespace", &request.base), GRPC_INVALID_ARGUMENT, "do not contain us");
    request.n_clusters = 0;
    request.active_cluster = arena_strdup(&world->arena, "eu");
    assert_refused(admin_run("CreateNamespace", &request.base), GRPC_INVALID_ARGUMENT,
        "not among the clusters");
    request = admin_create_request("orders");
    request.retention_ms = 1000;
    assert_refused(admin_run("CreateNamespace", &request.base), GRPC_INVALID_ARGUMENT, "retention");
    request = admin_create_request("orders");
    request.ack = arena_strdup(&world->arena, "applied");
    assert_refused(admin_run("CreateNamespace", &request.base), GRPC_INVALID_ARGUMENT, "ack level");
    request = admin_create_request("orders");
    request.description = arena_strdup(&world->arena, "\xff");
    assert_refused(admin_run("CreateNamespace", &request.base), GRPC_INVALID_ARGUMENT, "UTF-8");
}

static void update(void **state)
{
    (void)state;
    Admin__CreateNamespaceRequest create = admin_create_request("orders");
    (void)admin_ok("CreateNamespace", &create.base, &admin__create_namespace_response__descriptor);
    Admin__UpdateNamespaceRequest request;
    admin__update_namespace_request__init(&request);
    request.name = create.name;
    request.retention_ms = 5 * 3600 * 1000;
    const Admin__UpdateNamespaceResponse *response =
        admin_ok("UpdateNamespace", &request.base, &admin__update_namespace_response__descriptor);
    assert_int_equal(response->namespace_->retention_ms, 5 * 3600 * 1000);
    assert_int_equal(response->namespace_->config_version, 2);
    assert_int_equal(response->n_notes, 0);
    request.retention_ms = 0;
    request.clusters = names("us", "eu");
    request.n_clusters = 2;
    response =
        admin_ok("UpdateNamespace", &request.base, &admin__update_namespace_response__descriptor);
    assert_int_equal(response->n_notes, 1);
    assert_non_null(strstr(response->notes[0], "runs that exist already are not copied"));
    assert_true(response->namespace_->global);
    assert_int_equal(described("orders")->retention_ms, 5 * 3600 * 1000);
    request.clusters = names("eu", "");
    request.n_clusters = 1;
    assert_refused(admin_run("UpdateNamespace", &request.base), GRPC_FAILED_PRECONDITION,
        "us is the active cluster and cannot be removed");
    request.name = arena_strdup(&world->arena, "nothing");
    assert_refused(admin_run("UpdateNamespace", &request.base), GRPC_NOT_FOUND, "does not exist");
    assert_int_equal(described("orders")->config_version, 3);
}

static void passive_here_is_changed_elsewhere(void **state)
{
    (void)state;
    site_activate(US, "ns", EU);
    Admin__UpdateNamespaceRequest request;
    admin__update_namespace_request__init(&request);
    request.name = arena_strdup(&world->arena, "ns");
    request.retention_ms = 5 * 3600 * 1000;
    assert_refused(admin_run("UpdateNamespace", &request.base), GRPC_FAILED_PRECONDITION,
        "active in eu: send the request there");
    Admin__DeleteNamespaceRequest delete;
    admin__delete_namespace_request__init(&delete);
    delete.name = request.name;
    assert_refused(
        admin_run("DeleteNamespace", &delete.base), GRPC_FAILED_PRECONDITION, "active in eu");
}

static void delete_hides(void **state)
{
    (void)state;
    Admin__DeleteNamespaceRequest request;
    admin__delete_namespace_request__init(&request);
    request.name = arena_strdup(&world->arena, "ns");
    (void)admin_ok("DeleteNamespace", &request.base, &admin__delete_namespace_response__descriptor);
    assert_refused(admin_run("DeleteNamespace", &request.base), GRPC_NOT_FOUND, "does not exist");
    Admin__ListNamespacesRequest list;
    admin__list_namespaces_request__init(&list);
    const Admin__ListNamespacesResponse *all =
        admin_ok("ListNamespaces", &list.base, &admin__list_namespaces_response__descriptor);
    assert_int_equal(all->n_namespaces, 0);
    Admin__CreateNamespaceRequest again = admin_create_request("ns");
    assert_refused(admin_run("CreateNamespace", &again.base), GRPC_ALREADY_EXISTS, "was deleted");
}

/* ---- failover ------------------------------------------------------------------------------- */

static void failover_moves(void **state)
{
    (void)state;
    Admin__FailoverRequest request;
    admin__failover_request__init(&request);
    request.namespace_ = arena_strdup(&world->arena, "ns");
    request.target = arena_strdup(&world->arena, "eu");
    request.reason = arena_strdup(&world->arena, "why not");
    const Admin__FailoverResponse *response =
        admin_ok("Failover", &request.base, &admin__failover_response__descriptor);
    assert_string_equal(response->kind, "graceful");
    assert_string_equal(response->from, "us");
    assert_int_equal(response->version, 2);
    const Admin__Namespace *shown = described("ns");
    assert_string_equal(shown->active_cluster, "eu");
    assert_int_equal(shown->n_failovers, 1);
    assert_string_equal(shown->failovers[0]->reason, "why not");
    request.target = arena_strdup(&world->arena, "us");
    request.force = true;
    const struct answer *answer = admin_run("Failover", &request.base);
    assert_refused(answer, GRPC_FAILED_PRECONDITION, "nothing was changed");
    assert_string_equal(answer->detail_type, "strait.admin.v1.FailoverResponse");
    response = proto_unpack(&world->arena, &admin__failover_response__descriptor, answer->body);
    assert_non_null(response);
    assert_int_equal(response->n_losses, 100);
    assert_int_equal(response->losses[0]->shard, 299); /* what misses most, first */
    assert_int_equal(response->losses[0]->known_seq, 5);
    assert_int_equal(response->losses[1]->shard, 0);
    assert_true(answer->body.len < 6000);
    request.target = arena_strdup(&world->arena, "");
    assert_refused(admin_run("Failover", &request.base), GRPC_INVALID_ARGUMENT, "target cluster");
}

static void failover_by_update_namespace(void **state)
{
    (void)state;
    assert_refused(admin_run_failover_call("mars"), GRPC_INVALID_ARGUMENT, "mars is not a cluster");
    const struct answer *answer = admin_run_failover_call("eu");
    assert_int_equal(answer->code, GRPC_OK);
    const Api__UpdateNamespaceResponse *response =
        proto_unpack(&world->arena, &api__update_namespace_response__descriptor, answer->body);
    assert_non_null(response);
    assert_string_equal(response->replication_config->active_cluster_name, "eu");
    assert_int_equal(response->failover_version, 2);
}

#define ADMIN_TEST(name) cmocka_unit_test_setup_teardown(name, admin_setup, admin_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ADMIN_TEST(create_and_describe),
        ADMIN_TEST(create_here_alone),
        ADMIN_TEST(create_refuses),
        ADMIN_TEST(update),
        ADMIN_TEST(passive_here_is_changed_elsewhere),
        ADMIN_TEST(delete_hides),
        ADMIN_TEST(failover_moves),
        ADMIN_TEST(failover_by_update_namespace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
