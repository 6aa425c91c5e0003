/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/matching/tests/matching_fixture.h"

#include <stdio.h>
#include <string.h>

#include "cluster/base/mem.h"

/* ---- order ---------------------------------------------------------------------------------- */

static void tasks_wait_in_order(void **state)
{
    (void)state;
    offer("a", TASK_WORKFLOW, "q", NULL);
    offer("b", TASK_WORKFLOW, "q", NULL);
    offer("c", TASK_WORKFLOW, "q", NULL);
    client_poll("1", TASK_WORKFLOW, "q");
    client_poll("2", TASK_WORKFLOW, "q");
    assert_trace("a=1 b=2");
}

static void polls_wait_in_order(void **state)
{
    (void)state;
    client_poll("1", TASK_WORKFLOW, "q");
    client_poll("2", TASK_WORKFLOW, "q");
    offer("a", TASK_WORKFLOW, "q", NULL);
    offer("b", TASK_WORKFLOW, "q", NULL);
    assert_trace("a=1 b=2");
}

static void queues_do_not_mix(void **state)
{
    (void)state;
    client_poll("w", TASK_WORKFLOW, "q");
    client_poll("a", TASK_ACTIVITY, "q");
    client_poll("x", TASK_WORKFLOW, "other");
    offer_in(2, "foreign", "q");
    offer("act", TASK_ACTIVITY, "q", NULL);
    assert_trace("act=a");
    offer("flow", TASK_WORKFLOW, "q", NULL);
    assert_trace("flow=w");
}

static void workflow_pollers_serve_queries(void **state)
{
    (void)state;
    client_poll("w", TASK_WORKFLOW, "q");
    offer("query", TASK_QUERY, "q", NULL);
    assert_trace("query=w");
}

static void a_poll_given_back_is_first_in_line(void **state)
{
    (void)state;
    struct client *first = client_poll("1", TASK_WORKFLOW, "q");
    client_poll("2", TASK_WORKFLOW, "q");
    offer("stale", TASK_WORKFLOW, "q", NULL);
    assert_trace("stale=1");
    client_give_back(first);
    offer("a", TASK_WORKFLOW, "q", NULL);
    assert_trace("a=1");
}

/* ---- ends of polls -------------------------------------------------------------------------- */

static void a_poll_ends_at_its_deadline(void **state)
{
    (void)state;
    struct client *client = client_poll("1", TASK_WORKFLOW, "q");
    world_advance_ms(59999);
    assert_trace("");
    world_advance_ms(1);
    assert_trace("-1");
    assert_true(client->ended);
    offer("a", TASK_WORKFLOW, "q", NULL);
    assert_trace("");
}

static void the_step_says_when_it_is_needed(void **state)
{
    (void)state;
    client_poll("1", TASK_WORKFLOW, "q");
    world_advance_ms(10000);
    assert_int_equal(matching_step(world->matching, world->now_ns), world->now_ns + 50 * NS_PER_S);
}

static void a_client_that_leaves_frees_its_place(void **state)
{
    (void)state;
    struct client *client = client_poll("1", TASK_WORKFLOW, "q");
    client_leave(client);
    assert_trace("-1");
    offer("a", TASK_WORKFLOW, "q", NULL);
    assert_trace("");
    client_poll("2", TASK_WORKFLOW, "q");
    assert_trace("a=2");
}

/* The task comes between the client's departure and its notice. */
static void a_leaving_client_gets_no_task(void **state)
{
    (void)state;
    struct client *client = client_poll("1", TASK_WORKFLOW, "q");
    client_poll("2", TASK_WORKFLOW, "q");
    client_leave_quietly(client);
    offer("a", TASK_WORKFLOW, "q", NULL);
    assert_trace("a=2");
    assert_false(client->ended);
    client_deliver_notice(client);
    assert_trace("-1");
}

static void the_deadline_does_not_end_a_leaving_client_twice(void **state)
{
    (void)state;
    struct client *client = client_poll("1", TASK_WORKFLOW, "q");
    client_leave_quietly(client);
    world_advance_ms(60000);
    assert_false(client->ended);
    client_deliver_notice(client);
    assert_true(client->ended);
    assert_trace("-1");
}

static void a_client_gone_before_it_parks(void **state)
{
    (void)state;
    offer("a", TASK_WORKFLOW, "q", NULL);
    struct client *client = client_poll("1", TASK_WORKFLOW, "q");
    assert_trace("a=1");
    client->gone = true;
    client_give_back(client);
    assert_trace("-1");
}

static void draining_ends_all_polls(void **state)
{
    (void)state;
    client_poll("1", TASK_WORKFLOW, "q");
    client_poll("2", TASK_ACTIVITY, "q");
    struct client *leaving = client_poll("3", TASK_ACTIVITY, "r");
    client_leave_quietly(leaving);
    matching_drain(world->matching);
    world_step();
    client_deliver_notice(leaving);
    const char *trace = world_trace();
    assert_non_null(strstr(trace, "-1"));
    assert_non_null(strstr(trace, "-2"));
    assert_non_null(strstr(trace, "-3"));
    client_poll("late", TASK_WORKFLOW, "q");
    assert_trace("-late");
}

/* ---- sticky --------------------------------------------------------------------------------- */

static void a_sticky_task_goes_to_its_worker(void **state)
{
    (void)state;
    client_poll("normal", TASK_WORKFLOW, "normal");
    client_poll_sticky("sticky", "worker-1", "");
    offer("a", TASK_WORKFLOW, "worker-1", "normal");
    assert_trace("a=sticky");
    /* The worker is at it; its poll was seen a moment ago. */
    offer("b", TASK_WORKFLOW, "worker-1", "normal");
    assert_trace("");
    client_poll_sticky("sticky", "worker-1", "");
    assert_trace("b=sticky");
}

static void a_sticky_queue_without_polls_is_given_up(void **state)
{
    (void)state;
    client_poll("normal", TASK_WORKFLOW, "normal");
    offer("never", TASK_WORKFLOW, "worker-1", "normal");
    assert_trace("never=normal");
    client_poll_sticky("sticky", "worker-1", "");
    offer("a", TASK_WORKFLOW, "worker-1", "normal");
    world_advance_ms(10000);
    client_poll("normal2", TASK_WORKFLOW, "normal");
    offer("b", TASK_WORKFLOW, "worker-1", "normal");
    assert_trace("a=sticky b=normal2");
    assert_false(world->held[2]->sticky);
    assert_string_equal(world->held[2]->queue, "normal");
}

static void a_long_parked_sticky_poll_counts_as_seen(void **state)
{
    (void)state;
    client_poll_sticky("sticky", "worker-1", "");
    world_advance_ms(50000);
    offer("a", TASK_WORKFLOW, "worker-1", "normal");
    assert_trace("a=sticky");
}

static void a_worker_says_goodbye(void **state)
{
    (void)state;
    client_poll("normal", TASK_WORKFLOW, "normal");
    client_poll_sticky("mine", "worker-1", "key");
    client_poll_sticky("other", "worker-1", "");
    offer("first", TASK_WORKFLOW, "worker-1", "normal");
    offer("second", TASK_WORKFLOW, "worker-1", "normal");
    offer("waits", TASK_WORKFLOW, "worker-1", "normal");
    assert_trace("first=mine second=other");
    matching_worker_shutdown(
        world->matching, namespace_of(1), bytes_of("worker-1"), bytes_of("key"));
    world_step();
    assert_trace("waits=normal");
    offer("next", TASK_WORKFLOW, "worker-1", "normal");
    client_poll("normal2", TASK_WORKFLOW, "normal");
    assert_trace("next=normal2");
}

static void goodbye_ends_the_polls_of_that_worker(void **state)
{
    (void)state;
    client_poll_sticky("mine", "worker-1", "key");
    client_poll_sticky("other", "worker-1", "else");
    matching_worker_shutdown(
        world->matching, namespace_of(1), bytes_of("worker-1"), bytes_of("key"));
    world_step();
    assert_trace("-mine");
}

/* ---- bounds --------------------------------------------------------------------------------- */

/* Enough to fill the bound of the fixture; returns how many. */
static int fill(const char *queue)
{
    int count = 0;
    for (; count < 2000; count++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "task-%d", count);
        offer(name, TASK_WORKFLOW, queue, NULL);
    }
    return count;
}

/* Takes up to `count` tasks of the queue. */
static void take(const char *queue, int count)
{
    for (int i = 0; i < count; i++) {
        buffer_clear(&world->trace);
        struct client *client = client_poll("taker", TASK_WORKFLOW, queue);
        if (world->trace.len == 0) {
            client_leave(client);
            break;
        }
    }
    buffer_clear(&world->trace);
}

static void beyond_the_bound_tasks_are_dropped_and_asked_for_again(void **state)
{
    (void)state;
    client_leave(client_poll("p", TASK_WORKFLOW, "q"));
    (void)fill("q");
    assert_int_equal(world->overflows, 1);
    world_advance_ms(5000);
    assert_int_equal(world->rooms, 0);
    take("q", 1000);
    world_advance_ms(1000);
    assert_int_equal(world->rooms, 1);
    world_advance_ms(5000);
    assert_int_equal(world->rooms, 1);
}

static void room_is_reported_at_most_once_a_second(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++) {
        matching_lose(world->matching, task_new(TASK_WORKFLOW, namespace_of(1), bytes_of("w"),
                                           namespace_of(9), 0, 5, 1, "q", NULL));
        world_advance_ms(300);
    }
    assert_in_range(world->rooms, 2, 3);
}

static void a_backlog_nobody_serves_gives_way(void **state)
{
    (void)state;
    (void)fill("dead");
    assert_int_equal(world->overflows, 0);
    client_leave(client_poll("p", TASK_WORKFLOW, "alive"));
    buffer_clear(&world->trace);
    offer("wanted", TASK_WORKFLOW, "alive", NULL);
    client_poll("p", TASK_WORKFLOW, "alive");
    assert_trace("wanted=p");
    assert_int_equal(world->overflows, 0);
    /* What was dropped is asked for again once somebody comes for it. */
    assert_int_equal(world->rooms, 0);
    take("dead", 2000);
    world_advance_ms(1000);
    assert_int_equal(world->rooms, 1);
}

static void queries_do_not_count(void **state)
{
    (void)state;
    client_leave(client_poll("p", TASK_WORKFLOW, "q"));
    (void)fill("q");
    offer("query", TASK_QUERY, "r", NULL);
    buffer_clear(&world->trace);
    client_poll("p", TASK_WORKFLOW, "r");
    assert_trace("query=p");
}

static void a_passive_namespace_keeps_its_polls_and_queries(void **state)
{
    (void)state;
    client_poll("w", TASK_ACTIVITY, "q");
    offer("a", TASK_WORKFLOW, "q", NULL);
    offer("query", TASK_QUERY, "q", NULL);
    offer_in(2, "foreign", "q");
    matching_drop_namespace(world->matching, namespace_of(1));
    world_step();
    client_poll("1", TASK_WORKFLOW, "q");
    client_poll("2", TASK_WORKFLOW, "q");
    assert_trace("query=1");
    offer("act", TASK_ACTIVITY, "q", NULL);
    assert_trace("act=w");
}

/* ---- looking -------------------------------------------------------------------------------- */

struct look {
    struct queue_inquiry inquiry;
    size_t pollers;
    size_t backlog;
    double added;
    double dispatched;
    int64_t age_ns;
    char first[32];
    int64_t first_ns;
};

static void looked(struct queue_inquiry *inquiry, const struct poller_info *pollers, size_t count,
    size_t backlog, double add_rate, double dispatch_rate, int64_t backlog_age_ns)
{
    struct look *look = CONTAINER_OF(inquiry, struct look, inquiry);
    look->pollers = count;
    look->backlog = backlog;
    look->added = add_rate;
    look->dispatched = dispatch_rate;
    look->age_ns = backlog_age_ns;
    if (count) {
        (void)snprintf(look->first, sizeof(look->first), "%s", pollers[0].identity);
        look->first_ns = pollers[0].last_access_wall_ns;
    }
}

static struct look look_at(const char *queue)
{
    struct look look = {.inquiry = {.namespace_id = namespace_of(1),
                            .kind = TASK_WORKFLOW,
                            .queue = queue,
                            .done = looked}};
    matching_inquire(world->matching, &look.inquiry);
    world_step();
    return look;
}

static void a_queue_shows_pollers_and_backlog(void **state)
{
    (void)state;
    struct look look = look_at("q");
    assert_int_equal(look.pollers, 0);
    client_poll("one", TASK_WORKFLOW, "q");
    world_advance_ms(1000);
    client_poll("two", TASK_WORKFLOW, "q");
    for (int i = 0; i < 4; i++)
        offer("a", TASK_WORKFLOW, "q", NULL);
    world_advance_ms(2000);
    look = look_at("q");
    assert_int_equal(look.pollers, 2);
    assert_string_equal(look.first, "two");
    assert_int_equal(look.first_ns, world->now_ns - 2 * NS_PER_S);
    assert_int_equal(look.backlog, 2);
    assert_int_equal(look.age_ns, 2 * NS_PER_S);
    assert_true(look.added > 0.1 && look.added < 0.2);
    assert_true(look.dispatched > 0.05 && look.dispatched < 0.1);
    world_advance_ms(60000);
    look = look_at("q");
    assert_true(look.added < 0.001);
}

static void pollers_are_forgotten_and_bounded(void **state)
{
    (void)state;
    for (int i = 0; i < 300; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "worker-%d", i);
        client_poll(name, TASK_WORKFLOW, "q");
    }
    assert_int_equal(look_at("q").pollers, 256);
    world_advance_ms(400000);
    world_advance_ms(1);
    assert_int_equal(look_at("q").pollers, 0);
}

static void forgotten_queues_work_again(void **state)
{
    (void)state;
    client_poll("1", TASK_WORKFLOW, "q");
    world_advance_ms(60000);
    world_advance_ms(301000);
    assert_int_equal(matching_step(world->matching, world->now_ns), INT64_MAX);
    buffer_clear(&world->trace);
    offer("a", TASK_WORKFLOW, "q", NULL);
    client_poll("2", TASK_WORKFLOW, "q");
    assert_trace("a=2");
}

/* ---- anything ------------------------------------------------------------------------------- */

static uint64_t random_next(uint64_t *random)
{
    *random = *random * 6364136223846793005ull + 1442695040888963407ull;
    return *random >> 33;
}

/* Every poll ends exactly once, whatever happens (the fixture checks it). */
static void polls_end_once_whatever_happens(void **state)
{
    (void)state;
    static const char *const queues[] = {"q", "r", "worker-1"};
    uint64_t random = 20240917;
    struct client *open[64] = {0};
    print_message("seed %llu\n", (unsigned long long)random);
    for (int i = 0; i < 3000; i++) {
        size_t at = random_next(&random) % ARRAY_LEN(open);
        const char *queue = queues[random_next(&random) % ARRAY_LEN(queues)];
        struct client *client = open[at];
        uint64_t what = random_next(&random) % 10;
        if (client && client->ended)
            client = open[at] = NULL;
        if (!client && what < 5)
            open[at] = client_poll("p", TASK_WORKFLOW, queue);
        else if (client && what < 3 && client->watch && !client->gone)
            client_leave_quietly(client);
        else if (client && what < 6 && client->notice_held)
            client_deliver_notice(client);
        else if (client && what == 6 && !client->watch && !client->gone)
            client_give_back(client);
        else if (what == 9)
            world_advance_ms((int64_t)(random_next(&random) % 5000));
        else
            offer("t", TASK_WORKFLOW, queue, queue[0] == 'w' ? "q" : NULL);
        buffer_clear(&world->trace);
    }
    matching_drain(world->matching);
    world_step();
    for (size_t i = 0; i < ARRAY_LEN(open); i++) {
        if (open[i] && open[i]->notice_held)
            client_deliver_notice(open[i]);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(tasks_wait_in_order),
        TEST(polls_wait_in_order),
        TEST(queues_do_not_mix),
        TEST(workflow_pollers_serve_queries),
        TEST(a_poll_given_back_is_first_in_line),
        TEST(a_poll_ends_at_its_deadline),
        TEST(the_step_says_when_it_is_needed),
        TEST(a_client_that_leaves_frees_its_place),
        TEST(a_leaving_client_gets_no_task),
        TEST(the_deadline_does_not_end_a_leaving_client_twice),
        TEST(a_client_gone_before_it_parks),
        TEST(draining_ends_all_polls),
        TEST(a_sticky_task_goes_to_its_worker),
        TEST(a_sticky_queue_without_polls_is_given_up),
        TEST(a_long_parked_sticky_poll_counts_as_seen),
        TEST(a_worker_says_goodbye),
        TEST(goodbye_ends_the_polls_of_that_worker),
        TEST(beyond_the_bound_tasks_are_dropped_and_asked_for_again),
        TEST(room_is_reported_at_most_once_a_second),
        TEST(a_backlog_nobody_serves_gives_way),
        TEST(queries_do_not_count),
        TEST(a_passive_namespace_keeps_its_polls_and_queries),
        TEST(a_queue_shows_pollers_and_backlog),
        TEST(pollers_are_forgotten_and_bounded),
        TEST(forgotten_queues_work_again),
        TEST(polls_end_once_whatever_happens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
