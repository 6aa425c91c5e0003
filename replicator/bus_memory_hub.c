/* SPDX-License-Identifier: Apache-2.0
 *
 * The memory broker's network: everything sent is a parcel that arrives in a later step, in the
 * order of (due time, number). Nothing here depends on addresses, clocks or threads, so equal
 * calls give equal runs.
 *
 * H1  A parcel is judged once, when it is sent.
 * H2  A broken connection loses what was on its way to the client. What was on its way to the
 *     server still arrives, but is not answered: the worst case for a caller that tries again.
 */
#include <string.h>

#include "cluster/base/limits.h"
#include "cluster/base/mem.h"
#include "replicator/bus_memory_hub.h"

static void put_big_endian(uint8_t *to, uint64_t value)
{
    for (int i = 7; i >= 0; i--) {
        to[i] = (uint8_t)value;
        value >>= 8;
    }
}

static int64_t parcel_due_ns(const struct memory_parcel *parcel)
{
    uint64_t due = 0;
    for (size_t i = 0; i < 8; i++)
        due = due << 8 | parcel->key[i];
    return (int64_t)due;
}

uint64_t memory_next_id(struct bus_memory_hub *hub)
{
    return ++hub->id_last;
}

struct memory_parcel *memory_parcel_make(enum bus_memory_kind kind, struct memory_bus *connection,
    const char *subject, struct blob *data)
{
    struct memory_parcel *parcel = mem_new(struct memory_parcel);
    parcel->kind = kind;
    parcel->connection = connection->id;
    parcel->generation = connection->generation;
    parcel->subject = mem_strdup(subject);
    parcel->data = data ? blob_retain(data) : NULL;
    return parcel;
}

static void parcel_free(struct memory_parcel *parcel)
{
    blob_unref(parcel->data);
    mem_free(parcel->subject);
    mem_free((void *)(uintptr_t)parcel->stream.name);
    mem_free((void *)(uintptr_t)parcel->stream.subjects);
    mem_free(parcel);
}

static struct memory_parcel *parcel_copy(const struct memory_parcel *parcel)
{
    struct memory_parcel *copy = mem_new(struct memory_parcel);
    *copy = *parcel;
    copy->subject = mem_strdup(parcel->subject);
    copy->data = parcel->data ? blob_retain(parcel->data) : NULL;
    copy->stream.name = mem_strdup(parcel->stream.name);
    copy->stream.subjects = mem_strdup(parcel->stream.subjects);
    return copy;
}

/** Puts the parcel on its way. */
static void post(struct bus_memory_hub *hub, struct memory_parcel *parcel, int64_t delay_ns)
{
    CHECK(delay_ns >= 0);
    put_big_endian(parcel->key, (uint64_t)(hub->now_ns + delay_ns));
    put_big_endian(parcel->key + 8, memory_next_id(hub));
    void *replaced =
        ordered_map_put(&hub->transit, bytes_make(parcel->key, sizeof(parcel->key)), parcel);
    CHECK(replaced == NULL);
}

void memory_transmit(struct bus_memory_hub *hub, struct memory_parcel *parcel)
{
    struct bus_memory_fate fate = {.copies = 1};
    struct memory_bus *bus = memory_connection(hub, parcel->connection);
    struct bus_memory_transmission transmission = {
        .kind = parcel->kind,
        .bus = bus ? &bus->bus : NULL,
        .subject = parcel->subject,
        .len = parcel->data ? parcel->data->len : 0,
    };
    if (hub->judge && bus)
        fate = hub->judge(hub->judge_ctx, &transmission);
    CHECK(fate.copies <= BUS_MEMORY_COPIES_MAX);
    for (uint32_t i = 0; i < fate.copies; i++)
        post(hub, parcel_copy(parcel), fate.delay_ns[i]);
    parcel_free(parcel);
}

struct memory_bus *memory_connection(struct bus_memory_hub *hub, uint64_t id)
{
    for (struct list *at = hub->connections.next; at != &hub->connections; at = at->next) {
        struct memory_bus *bus = CONTAINER_OF(at, struct memory_bus, link);
        if (bus->id == id)
            return bus;
    }
    return NULL;
}

void memory_call_end(struct memory_call *call, enum err err)
{
    struct bus_op *op = call->op;
    list_remove(&call->link);
    heap_remove(&call->bus->hub->deadlines, &call->deadline);
    mem_free(call);
    bus_op_end(op, err);
}

static void arrive(struct bus_memory_hub *hub, struct memory_parcel *parcel)
{
    if (parcel->kind != BUS_MEMORY_DELIVER && parcel->kind != BUS_MEMORY_ANSWER) {
        memory_server_receive(hub, parcel);
        return;
    }
    struct memory_bus *bus = memory_connection(hub, parcel->connection);
    if (bus && bus->connected && bus->generation == parcel->generation)
        memory_client_receive(bus, parcel);
}

static struct memory_parcel *first_parcel(struct bus_memory_hub *hub)
{
    struct ordered_node *node = ordered_map_first(&hub->transit);
    return node ? ordered_node_value(node) : NULL;
}

static size_t move_parcels(struct bus_memory_hub *hub)
{
    size_t moved = 0;
    for (;;) {
        if (hub->dirty) {
            hub->dirty = false;
            memory_server_deliver(hub);
        }
        struct memory_parcel *parcel = first_parcel(hub);
        if (!parcel || parcel_due_ns(parcel) > hub->now_ns)
            return moved;
        (void)ordered_map_remove(&hub->transit, bytes_make(parcel->key, sizeof(parcel->key)));
        arrive(hub, parcel);
        parcel_free(parcel);
        moved++;
    }
}

size_t bus_memory_step(struct bus_memory_hub *hub, int64_t now_ns)
{
    if (now_ns > hub->now_ns)
        hub->now_ns = now_ns;
    hub->dirty = true; /* time alone may make redeliveries due */
    size_t moved = move_parcels(hub);
    for (struct list *at = hub->connections.next; at != &hub->connections; at = at->next)
        moved += memory_client_offer(CONTAINER_OF(at, struct memory_bus, link));
    struct heap_node *node;
    while ((node = heap_peek(&hub->deadlines)) != NULL && node->key <= hub->now_ns) {
        memory_call_end(CONTAINER_OF(node, struct memory_call, deadline), ERR_TIMEOUT);
        moved++;
    }
    return moved;
}

int64_t bus_memory_due_ns(struct bus_memory_hub *hub)
{
    int64_t due_ns = memory_server_due_ns(hub);
    struct memory_parcel *parcel = first_parcel(hub);
    if (parcel && parcel_due_ns(parcel) < due_ns)
        due_ns = parcel_due_ns(parcel);
    struct heap_node *node = heap_peek(&hub->deadlines);
    if (node && node->key < due_ns)
        due_ns = node->key;
    return hub->dirty && due_ns > hub->now_ns ? hub->now_ns : due_ns;
}

void bus_memory_set_judge(struct bus_memory_hub *hub, bus_memory_judge_fn *judge, void *ctx)
{
    hub->judge = judge;
    hub->judge_ctx = ctx;
}

void bus_memory_set_payload_max(struct bus_memory_hub *hub, int64_t bytes_max)
{
    CHECK(bytes_max > 0);
    hub->payload_max = bytes_max;
}

struct bus_memory_hub *bus_memory_hub_open(void)
{
    struct bus_memory_hub *hub = mem_new(struct bus_memory_hub);
    hub->payload_max = BUS_PAYLOAD_DEFAULT;
    list_init(&hub->connections);
    list_init(&hub->streams);
    ordered_map_init(&hub->transit);
    return hub;
}

void bus_memory_hub_close(struct bus_memory_hub *hub)
{
    if (!hub)
        return;
    CHECK(list_empty(&hub->connections));
    CHECK(hub->deadlines.count == 0);
    struct list *at;
    while ((at = list_pop_front(&hub->streams)) != NULL)
        memory_stream_free(CONTAINER_OF(at, struct memory_stream, link));
    for (struct ordered_node *node = ordered_map_first(&hub->transit); node;
         node = ordered_node_next(node))
        parcel_free(ordered_node_value(node));
    ordered_map_release(&hub->transit);
    heap_release(&hub->deadlines);
    mem_free(hub);
}
