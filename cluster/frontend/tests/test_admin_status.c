/* SPDX-License-Identifier: Apache-2.0
 *
 * The admin service: what is known of clusters, replication and this node.
 */
#include <string.h>

#include "cluster/frontend/tests/admin_fixture.h"

/* ---- status --------------------------------------------------------------------------------- */

static void clusters(void **state)
{
    (void)state;
    Admin__ListClustersRequest request;
    admin__list_clusters_request__init(&request);
    const Admin__ListClustersResponse *response =
        admin_ok("ListClusters", &request.base, &admin__list_clusters_response__descriptor);
    assert_int_equal(response->n_clusters, SITES);
    assert_true(response->clusters[US]->self);
    assert_string_equal(response->clusters[US]->server_version, "1.2.3");
    assert_string_equal(response->clusters[US]->database, "memory");
    assert_int_equal(response->clusters[US]->last_heard_ms_ago, 0);
    assert_false(response->clusters[EU]->connected);
    assert_int_equal(response->clusters[EU]->last_heard_ms_ago, 40);
    assert_int_equal(response->clusters[EU]->shards, 8);
    assert_string_equal(response->clusters[EU]->server_version, "9.9");
}

static void replication(void **state)
{
    (void)state;
    Admin__ReplicationStatusRequest request;
    admin__replication_status_request__init(&request);
    const Admin__ReplicationStatusResponse *response = admin_ok(
        "ReplicationStatus", &request.base, &admin__replication_status_response__descriptor);
    assert_int_equal(response->dead_letters, 7);
    assert_int_equal(response->n_lanes, 1);
    assert_string_equal(response->lanes[0]->state, "waiting");
    assert_int_equal(response->lanes[0]->lag_events, 3);
    request.namespace_ = arena_strdup(&world->arena, "ns");
    response = admin_ok(
        "ReplicationStatus", &request.base, &admin__replication_status_response__descriptor);
    assert_int_equal(response->dead_letters, 2);
    request.namespace_ = arena_strdup(&world->arena, "nothing");
    assert_refused(admin_run("ReplicationStatus", &request.base), GRPC_NOT_FOUND, "nothing");
}

static void dead_letters(void **state)
{
    (void)state;
    Admin__DeadLetterListRequest request;
    admin__dead_letter_list_request__init(&request);
    const Admin__DeadLetterListResponse *response =
        admin_ok("DeadLetterList", &request.base, &admin__dead_letter_list_response__descriptor);
    assert_int_equal(response->n_items, 1);
    assert_int_equal(response->items[0]->seq, 100); /* the default limit */
    assert_string_equal(response->items[0]->source, "eu");
    assert_string_equal(response->items[0]->run_id, "");
    request.limit = 13;
    assert_refused(admin_run("DeadLetterList", &request.base), GRPC_UNAVAILABLE, "cannot be read");
    request.limit = 1001;
    assert_refused(admin_run("DeadLetterList", &request.base), GRPC_INVALID_ARGUMENT, "limit");
}

static void verify(void **state)
{
    (void)state;
    Admin__VerifyRequest request;
    admin__verify_request__init(&request);
    request.namespace_ = arena_strdup(&world->arena, "ns");
    const Admin__VerifyResponse *response =
        admin_ok("Verify", &request.base, &admin__verify_response__descriptor);
    assert_string_equal(admin_verified, "1");
    assert_int_equal(response->runs_compared, 10);
    assert_int_equal(response->n_differences, 1);
    assert_string_equal(response->differences[0]->what, "different");
    assert_string_equal(response->differences[0]->cluster, "eu");
    request.cluster = arena_strdup(&world->arena, "us");
    assert_refused(
        admin_run("Verify", &request.base), GRPC_FAILED_PRECONDITION, "us is not another cluster");
    Admin__CreateNamespaceRequest create = admin_create_request("local");
    (void)admin_ok("CreateNamespace", &create.base, &admin__create_namespace_response__descriptor);
    admin__verify_request__init(&request);
    request.namespace_ = create.name;
    assert_refused(
        admin_run("Verify", &request.base), GRPC_FAILED_PRECONDITION, "no other cluster");
}

static void node(void **state)
{
    (void)state;
    world_advance_ms(500);
    Admin__NodeStatusRequest request;
    admin__node_status_request__init(&request);
    const Admin__NodeStatusResponse *response =
        admin_ok("NodeStatus", &request.base, &admin__node_status_response__descriptor);
    assert_string_equal(response->cluster, "us");
    assert_string_equal(response->node_id, "us-1");
    assert_int_equal(response->uptime_ms, 500);
    assert_true(response->ready);
    assert_int_equal(response->shards_owned, response->shards);
}

static void unknown_and_malformed(void **state)
{
    (void)state;
    assert_refused(admin_run_bytes("Frobnicate", (struct bytes){0}), GRPC_UNIMPLEMENTED,
        "no method Frobnicate");
    assert_refused(admin_run_bytes("DescribeNamespace", bytes_of("\xff")), GRPC_INVALID_ARGUMENT,
        "does not decode");
    struct call other = {.method = "/temporal.api.workflowservice.v1.WorkflowService/X"};
    assert_false(admin_handle(admin, &other));
}

#define ADMIN_TEST(name) cmocka_unit_test_setup_teardown(name, admin_setup, admin_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ADMIN_TEST(clusters),
        ADMIN_TEST(replication),
        ADMIN_TEST(dead_letters),
        ADMIN_TEST(verify),
        ADMIN_TEST(node),
        ADMIN_TEST(unknown_and_malformed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
