/* SPDX-License-Identifier: Apache-2.0
 *
 * The NATS driver: one connection, one I/O thread, everything else as commands to it.
 *
 *   callers ── commands (mailbox) ──►  I/O thread  ── poll, read, write ──► nats-server
 *   callers' mailboxes ◄── mail ─────  calls, subscriptions, consumers, timers
 *
 *   down ── open_connection() ok ──► up          failed: again after a jittered, doubling wait
 *   up ── broken or silent ──► down      break_off(): every call ends with ERR_UNAVAILABLE
 *
 * N1  No caller is ever blocked: it enqueues. What cannot work because there is no connection is
 *     answered by the caller's own thread at once.
 * N2  `connected` is false before the first call is failed, so no call slips in behind the break.
 * N3  Commands are taken only while little output is waiting, so a server that does not read slows
 *     the taking, not the memory: callers' operations are bounded by themselves, broadcasts by
 *     queued_bytes.
 * N4  A connection that said nothing for SILENCE_NS although pings went out is broken.
 */
#include <stdio.h>
#include <string.h>

#include "cluster/base/env.h"
#include "cluster/base/limits.h"
#include "cluster/base/log.h"
#include "cluster/base/mem.h"
#include "replicator/bus_nats.h"

#define SILENCE_NS     (7 * NS_PER_S)
#define BACKOFF_MIN_NS (50 * NS_PER_MS)
#define BACKOFF_MAX_NS (2 * NS_PER_S)
#define IDLE_NS        NS_PER_S
#define COMMANDS_CHUNK 16u
#define COMMANDS_MAX   4096u /* per round, so that input is not starved */
#define INBOUND_MAX    4096u
#define OUTPUT_BYTES   (1u * MIB)

void nats_bus_command(struct nats_bus *bus, struct mail *mail)
{
    mailbox_complete(bus->commands, mail);
    nats_link_wake(bus->link);
}

void nats_bus_ref(struct nats_bus *bus)
{
    atomic_fetch_add(&bus->refs, 1);
}

void nats_bus_unref(struct nats_bus *bus)
{
    if (atomic_fetch_sub(&bus->refs, 1) == 1)
        mem_free(bus);
}

void nats_timer_set(struct nats_bus *bus, struct nats_timer *timer, int64_t at_ns)
{
    heap_set(&bus->timers, &timer->node, at_ns);
}

void nats_timer_stop(struct nats_bus *bus, struct nats_timer *timer)
{
    heap_remove(&bus->timers, &timer->node);
}

static void run_timers(struct nats_bus *bus)
{
    struct heap_node *node;
    while ((node = heap_peek(&bus->timers)) != NULL && node->key <= bus->now_ns) {
        heap_remove(&bus->timers, node);
        struct nats_timer *timer = CONTAINER_OF(node, struct nats_timer, node);
        timer->fire(timer);
    }
}

/* ---- connection ---- */

static void open_connection(struct nats_bus *bus)
{
    enum err err = nats_link_connect(bus->link);
    bus->now_ns = env_monotonic_ns(env_system());
    if (err) {
        if (!bus->complained)
            log_warn("bus.unreachable", "reason=%s", log_quote(nats_link_errmsg(bus->link)));
        bus->complained = true;
        /* Half to the whole of the wait: clusters that lost one server do not return in step. */
        int64_t half_ns = bus->backoff_ns / 2;
        bus->connect_at_ns =
            bus->now_ns + half_ns + (int64_t)env_random_below(env_system(), (uint64_t)half_ns);
        int64_t next_ns = bus->backoff_ns * 2;
        bus->backoff_ns = next_ns < BACKOFF_MAX_NS ? next_ns : BACKOFF_MAX_NS;
        return;
    }
    char pattern[NATS_INBOX_SIZE + 2];
    (void)snprintf(pattern, sizeof(pattern), "%s.*", bus->inbox);
    bus->replies = nats_inbox_open(bus->link, pattern, NULL, false, nats_calls_inbound, bus);
    if (!bus->replies) {
        nats_link_disconnect(bus->link);
        bus->connect_at_ns = bus->now_ns + bus->backoff_ns;
        return;
    }
    int64_t payload_max = nats_link_payload_max(bus->link);
    atomic_store(&bus->payload_max, payload_max > 0 ? payload_max : BUS_PAYLOAD_DEFAULT);
    atomic_store(&bus->connected, true);
    bus->backoff_ns = BACKOFF_MIN_NS;
    nats_subscriptions_up(bus);
    log_info("bus.connected", "payload_max=%lld", (long long)payload_max);
    bus->complained = false;
}

static void break_off(struct nats_bus *bus, const char *why)
{
    atomic_store(&bus->connected, false);
    nats_subscriptions_down(bus);
    nats_inbox_close(bus->replies);
    bus->replies = NULL;
    nats_link_disconnect(bus->link);
    nats_calls_fail(bus);
    bus->connect_at_ns = bus->now_ns;
    if (why)
        log_warn(
            "bus.disconnected", "why=%s reason=%s", why, log_quote(nats_link_errmsg(bus->link)));
}

static void watch_connection(struct nats_bus *bus)
{
    if (!atomic_load(&bus->connected)) {
        if (bus->now_ns >= bus->connect_at_ns)
            open_connection(bus);
        return;
    }
    if (!nats_link_up(bus->link))
        break_off(bus, "closed");
    else if (bus->now_ns - nats_link_heard_ns(bus->link) > SILENCE_NS)
        break_off(bus, "silent");
}

/* ---- loop ---- */

static void take_commands(struct nats_bus *bus)
{
    for (size_t taken = 0; taken < COMMANDS_MAX; taken += COMMANDS_CHUNK) {
        if (nats_link_buffered(bus->link) > OUTPUT_BYTES ||
            mailbox_step(bus->commands, COMMANDS_CHUNK) == 0)
            return;
    }
}

static int64_t next_due_ns(struct nats_bus *bus)
{
    /* With output waiting, the socket becoming writable wakes, not the mailbox. */
    if (nats_link_buffered(bus->link) <= OUTPUT_BYTES && !mailbox_empty(bus->commands))
        return 0;
    int64_t due_ns = IDLE_NS;
    struct heap_node *node = heap_peek(&bus->timers);
    if (node && node->key - bus->now_ns < due_ns)
        due_ns = node->key - bus->now_ns;
    if (!atomic_load(&bus->connected) && bus->connect_at_ns - bus->now_ns < due_ns)
        due_ns = bus->connect_at_ns - bus->now_ns;
    return due_ns > 0 ? due_ns : 0;
}

static void io_loop(void *arg)
{
    struct nats_bus *bus = arg;
    while (!atomic_load(&bus->closed)) {
        bus->now_ns = env_monotonic_ns(env_system());
        watch_connection(bus);
        (void)nats_link_dispatch(bus->link, INBOUND_MAX);
        take_commands(bus);
        run_timers(bus);
        nats_link_prepare(bus->link);
        nats_link_wait(bus->link, next_due_ns(bus));
    }
    bus->now_ns = env_monotonic_ns(env_system());
    take_commands(bus); /* acknowledgements given before the close are still sent */
    break_off(bus, NULL);
    while (mailbox_step(bus->commands, SIZE_MAX) > 0)
        continue;
    /* Subscriptions that were not closed: their owners may drop messages later. */
    while (!list_empty(&bus->subscriptions)) {
        struct bus_subscription *subscription =
            CONTAINER_OF(bus->subscriptions.next, struct bus_subscription, link);
        subscription->stop.deliver(&subscription->stop, bus);
    }
}

/* ---- vtable ---- */

static bool nats_connected(struct bus *base)
{
    return atomic_load(&CONTAINER_OF(base, struct nats_bus, bus)->connected);
}

static int64_t nats_payload_max(struct bus *base)
{
    return atomic_load(&CONTAINER_OF(base, struct nats_bus, bus)->payload_max);
}

static void nats_close(struct bus *base)
{
    struct nats_bus *bus = CONTAINER_OF(base, struct nats_bus, bus);
    atomic_store(&bus->closed, true);
    nats_link_wake(bus->link);
    thread_join(bus->thread);
    nats_link_close(bus->link);
    CHECK(bus->calls.count == 0);
    CHECK(bus->timers.count == 0);
    mailbox_close(bus->commands, NULL);
    heap_release(&bus->timers);
    map_release(&bus->calls);
    nats_bus_unref(bus);
}

static const struct bus_ops nats_ops = {
    .close = nats_close,
    .connected = nats_connected,
    .payload_max = nats_payload_max,
    .ensure_stream = nats_ensure_stream,
    .publish = nats_publish,
    .consume = nats_consume,
    .ack = nats_ack,
    .nak = nats_nak,
    .in_progress = nats_in_progress,
    .send = nats_send,
    .subscribe = nats_subscribe,
    .unsubscribe = nats_unsubscribe,
    .request = nats_request,
    .respond = nats_respond,
    .msg_drop = nats_msg_drop,
};

enum err bus_nats_open(
    const struct bus_nats_options *options, struct bus **ret_bus, char ret_reason[256])
{
    struct nats_link *link;
    enum err err = nats_link_open(options, &link, ret_reason);
    if (err)
        return err;
    struct nats_bus *bus = mem_new(struct nats_bus);
    bus->bus.ops = &nats_ops;
    atomic_init(&bus->refs, 1);
    atomic_init(&bus->payload_max, BUS_PAYLOAD_DEFAULT);
    bus->link = link;
    bus->commands = mailbox_open(bus, NULL, 1);
    list_init(&bus->subscriptions);
    bus->backoff_ns = BACKOFF_MIN_NS;
    uint64_t random[2];
    env_random(env_system(), random, sizeof(random));
    (void)snprintf(bus->inbox, sizeof(bus->inbox), "_INBOX.%016llx%016llx",
        (unsigned long long)random[0], (unsigned long long)random[1]);
    bus->thread = thread_start("bus", io_loop, bus);
    *ret_bus = &bus->bus;
    return OK;
}
