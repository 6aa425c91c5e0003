/* SPDX-License-Identifier: Apache-2.0
 *
 * What replication costs: the same signals at one cluster, once while the other is cut off, once
 * while it keeps up. One thread does everything, stores and buses are memory, so the difference is
 * the processor time of shipping and applying.
 */
#include "replicator/tests/sites_fixture.h"

#include <stdio.h>
#include <time.h>

#include "cluster/base/mem.h"
#include "cluster/engine/decide.h"
#include "cluster/engine/event_build.h"
#include "proto/api_service_workflow.pb-c.h"

#define WORKFLOWS 256
#define SIGNALS   40960

static size_t answered;

static void on_reply(struct call *call, struct bytes body)
{
    (void)body;
    answered++;
    arena_release(&call->arena);
}

static void on_fail(struct call *call, enum grpc_code code, const char *message,
    const char *detail_type, struct bytes detail)
{
    (void)code;
    (void)detail_type;
    (void)detail;
    print_message("signal failed: %s\n", message);
    on_reply(call, (struct bytes){0});
}

static bool is_cancelled(struct call *call)
{
    (void)call;
    return false;
}

static const struct call_ops call_ops = {
    .reply = on_reply, .fail = on_fail, .is_cancelled = is_cancelled};

struct signal_call {
    struct call call;
    struct request request;
    char workflow_id[16];
};

static double cpu_seconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static bool all_answered(void *ctx)
{
    (void)ctx;
    return answered == SIGNALS;
}

/* Processor seconds per signal, until all is where it belongs. */
static double signal_all(struct signal_call *calls, bool drain)
{
    Api__SignalWorkflowExecutionRequest signal = API__SIGNAL_WORKFLOW_EXECUTION_REQUEST__INIT;
    signal.signal_name = event_text("signal");
    answered = 0;
    double begin = cpu_seconds();
    for (size_t i = 0; i < SIGNALS; i++) {
        struct signal_call *call = &calls[i];
        *call = (struct signal_call){
            .call = {.ops = &call_ops, .method = "bench", .deadline_mono_ns = INT64_MAX}};
        snprintf(call->workflow_id, sizeof(call->workflow_id), "w%zu", i % WORKFLOWS);
        call->request = (struct request){.call = &call->call,
            .namespace_id = sites->namespace_id,
            .workflow_id = bytes_of(call->workflow_id),
            .want = REQUEST_CURRENT,
            .access = REQUEST_WRITE,
            .handle = decide_signal,
            .message = &signal};
        assert_int_equal(engine_submit(sites->site[US].engine, &call->request), OK);
        if (i % 512 == 511)
            sites_run(4);
    }
    sites_until(all_answered, NULL);
    if (drain)
        sites_drain();
    return (cpu_seconds() - begin) / SIGNALS;
}

static void bench(void **state)
{
    (void)state;
    sites_namespace(US);
    char name[16];
    for (int i = 0; i < WORKFLOWS; i++) {
        snprintf(name, sizeof(name), "w%d", i);
        assert_int_equal(site_start_workflow(US, name), GRPC_OK);
    }
    sites_drain();
    struct signal_call *calls = mem_zalloc(SIGNALS, sizeof(*calls));
    double both = signal_all(calls, true);
    sites_connect(US, US, false);
    double alone = signal_all(calls, false);
    mem_free(calls);
    print_message("signals alone            %8.0f per second of processor\n", 1 / alone);
    print_message("signals, shipped+applied %8.0f per second of processor\n", 1 / both);
    print_message("replication costs        %8.2f times the signal itself\n", both / alone - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(bench, sites_setup, sites_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
