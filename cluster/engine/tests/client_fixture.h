/* SPDX-License-Identifier: Apache-2.0
 *
 * Clients and workers whose calls stay open: polls through a real matching, queries, long polls.
 * Sits on the harness of decide_fixture.h.
 */
#ifndef CLUSTER_ENGINE_TESTS_CLIENT_FIXTURE_H
#define CLUSTER_ENGINE_TESTS_CLIENT_FIXTURE_H

#include "cluster/engine/tests/decide_fixture.h"
#include "cluster/matching/matching.h"

/** An open call. Freed by the fixture at the end of the test; its arena goes with the answer, as in
 *  a real transport. */
struct client {
    struct call call;
    struct list link;
    struct outcome outcome;
    bool cancelled;
    int looks_until_gone; /* call_is_cancelled says yes from this look on; 0 = never */
    struct mailbox *watch_mailbox;
    struct mail *watch; /* NULL = not watched */
};

int clients_setup(void **state);
int clients_teardown(void **state);

/** Lets everything happen that can happen now. */
void clients_settle(void);
/** Sends a request and settles; it may still be open then. `run_id` NULL = the current run;
 *  `timeout_ms` 0 = no deadline. `message` must outlive the call. */
struct client *client_send(
    request_handler *handler, const void *message, const char *run_id, int64_t timeout_ms);
/** Polls a queue; `normal_queue` NULL unless `queue` is sticky. */
struct client *client_poll(enum task_kind kind, const char *queue, const char *normal_queue);
/** A poll whose client goes away unnoticed until the server looks for the n-th time. */
struct client *client_poll_and_vanish(const char *queue, int looks);
/** The client goes away. */
void client_cancel(struct client *client);

/** The answer, which must have come with status OK, unpacked into the harness's arena. */
Api__PollWorkflowTaskQueueResponse *client_task(struct client *client);
Api__PollActivityTaskQueueResponse *client_activity(struct client *client);
/** Ids and types of serialized History, e.g. "1:Started 2:TaskScheduled". */
const char *history_types(size_t n_history, const ProtobufCBinaryData *history);

#endif
