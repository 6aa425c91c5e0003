/* SPDX-License-Identifier: Apache-2.0
 *
 * The memory broker's server: streams with durable consumers, and subjects with their subscribers.
 *
 * S1  A stream refuses what would make it larger than bytes_max; it never drops by itself.
 * S2  Sequence numbers grow by one, but a truncated stream uses those of the lost messages again,
 *     as a server does that lost the end of its file.
 * S3  A consumer has at most `window` pending messages; those due again go first.
 */
#include <string.h>

#include "cluster/base/limits.h"
#include "cluster/base/mem.h"
#include "replicator/bus_memory_hub.h"

/* What a stored message costs besides its data. */
#define MESSAGE_OVERHEAD 32

struct seq_key {
    uint8_t bytes[8];
};

static struct seq_key seq_key(uint64_t seq)
{
    struct seq_key key;
    for (int i = 7; i >= 0; i--) {
        key.bytes[i] = (uint8_t)seq;
        seq >>= 8;
    }
    return key;
}

static struct bytes key_view(const struct seq_key *key)
{
    return bytes_make(key->bytes, sizeof(key->bytes));
}

static bool subject_matches(const char *pattern, const char *subject)
{
    for (;;) {
        if (strcmp(pattern, ">") == 0)
            return *subject != '\0';
        size_t pattern_len = strcspn(pattern, ".");
        size_t subject_len = strcspn(subject, ".");
        bool any = pattern_len == 1 && *pattern == '*' && subject_len > 0;
        if (!any && (pattern_len != subject_len || memcmp(pattern, subject, pattern_len) != 0))
            return false;
        pattern += pattern_len;
        subject += subject_len;
        if (!*pattern || !*subject)
            return !*pattern && !*subject;
        pattern++;
        subject++;
    }
}

/* ---- streams ---- */

static int64_t message_cost(const struct memory_message *message)
{
    return (int64_t)message->data->len + (int64_t)strlen(message->subject) + MESSAGE_OVERHEAD;
}

static void message_remove(struct memory_stream *stream, uint64_t seq)
{
    struct seq_key key = seq_key(seq);
    struct memory_message *message = ordered_map_remove(&stream->messages, key_view(&key));
    if (!message)
        return;
    stream->bytes -= message_cost(message);
    blob_unref(message->data);
    mem_free(message->subject);
    mem_free(message);
}

static void pending_remove(struct memory_consumer *consumer, struct memory_pending *pending)
{
    list_remove(&pending->link);
    consumer->pending_count--;
    mem_free(pending);
}

static void consumer_free(struct memory_consumer *consumer)
{
    while (!list_empty(&consumer->pending))
        pending_remove(consumer, CONTAINER_OF(consumer->pending.next, struct memory_pending, link));
    mem_free(consumer->durable);
    mem_free(consumer);
}

void memory_stream_free(struct memory_stream *stream)
{
    struct list *at;
    while ((at = list_pop_front(&stream->consumers)) != NULL)
        consumer_free(CONTAINER_OF(at, struct memory_consumer, link));
    struct ordered_node *node;
    while ((node = ordered_map_first(&stream->messages)) != NULL) {
        struct memory_message *message = ordered_node_value(node);
        message_remove(stream, message->seq);
    }
    ordered_map_release(&stream->messages);
    mem_free(stream->name);
    mem_free(stream->pattern);
    mem_free(stream);
}

static struct memory_stream *stream_named(struct bus_memory_hub *hub, const char *name)
{
    for (struct list *at = hub->streams.next; at != &hub->streams; at = at->next) {
        struct memory_stream *stream = CONTAINER_OF(at, struct memory_stream, link);
        if (strcmp(stream->name, name) == 0)
            return stream;
    }
    return NULL;
}

static struct memory_stream *stream_of_subject(struct bus_memory_hub *hub, const char *subject)
{
    for (struct list *at = hub->streams.next; at != &hub->streams; at = at->next) {
        struct memory_stream *stream = CONTAINER_OF(at, struct memory_stream, link);
        if (subject_matches(stream->pattern, subject))
            return stream;
    }
    return NULL;
}

static enum err stream_store(struct memory_stream *stream, const struct memory_parcel *parcel)
{
    struct memory_message *message = mem_new(struct memory_message);
    message->data = blob_retain(parcel->data);
    message->subject = mem_strdup(parcel->subject);
    if (stream->bytes + message_cost(message) > stream->bytes_max) { /* S1 */
        blob_unref(message->data);
        mem_free(message->subject);
        mem_free(message);
        return ERR_BUSY;
    }
    message->seq = ++stream->last_seq;
    stream->bytes += message_cost(message);
    struct seq_key key = seq_key(message->seq);
    void *replaced = ordered_map_put(&stream->messages, key_view(&key), message);
    CHECK(replaced == NULL);
    return OK;
}

static enum err ensure(struct bus_memory_hub *hub, const struct bus_stream *shape)
{
    struct memory_stream *stream = stream_named(hub, shape->name);
    if (stream && stream->work_queue != shape->work_queue)
        return ERR_INVALID;
    if (!stream) {
        stream = mem_new(struct memory_stream);
        stream->name = mem_strdup(shape->name);
        stream->work_queue = shape->work_queue;
        ordered_map_init(&stream->messages);
        list_init(&stream->consumers);
        list_push_back(&hub->streams, &stream->link);
    }
    mem_free(stream->pattern);
    stream->pattern = mem_strdup(shape->subjects);
    stream->bytes_max = shape->bytes_max;
    hub->dirty = true;
    return OK;
}

void bus_memory_delete_stream(struct bus_memory_hub *hub, const char *name)
{
    struct memory_stream *stream = stream_named(hub, name);
    if (!stream)
        return;
    list_remove(&stream->link);
    memory_stream_free(stream);
}

void bus_memory_truncate(struct bus_memory_hub *hub, const char *name, uint64_t count)
{
    struct memory_stream *stream = stream_named(hub, name);
    if (!stream)
        return;
    for (; count > 0 && stream->last_seq > 0; count--)
        message_remove(stream, stream->last_seq--);
    for (struct list *at = stream->consumers.next; at != &stream->consumers; at = at->next) {
        struct memory_consumer *consumer = CONTAINER_OF(at, struct memory_consumer, link);
        if (consumer->next_seq > stream->last_seq + 1)
            consumer->next_seq = stream->last_seq + 1;
        struct list *next;
        for (struct list *p = consumer->pending.next; p != &consumer->pending; p = next) {
            next = p->next;
            struct memory_pending *pending = CONTAINER_OF(p, struct memory_pending, link);
            if (pending->seq > stream->last_seq)
                pending_remove(consumer, pending);
        }
    }
    hub->dirty = true;
}

/* ---- consumers ---- */

static struct memory_consumer *consumer_named(
    struct bus_memory_hub *hub, struct memory_stream *stream, const char *durable)
{
    for (struct list *at = stream->consumers.next; at != &stream->consumers; at = at->next) {
        struct memory_consumer *consumer = CONTAINER_OF(at, struct memory_consumer, link);
        if (strcmp(consumer->durable, durable) == 0)
            return consumer;
    }
    struct memory_consumer *consumer = mem_new(struct memory_consumer);
    consumer->id = memory_next_id(hub);
    consumer->durable = mem_strdup(durable);
    consumer->next_seq = 1;
    consumer->due_ns_min = INT64_MAX;
    list_init(&consumer->pending);
    list_push_back(&stream->consumers, &consumer->link);
    return consumer;
}

static void due_at(struct memory_consumer *consumer, int64_t at_ns)
{
    if (at_ns < consumer->due_ns_min)
        consumer->due_ns_min = at_ns;
}

/** What is to be delivered next, entered as pending; NULL when nothing is. */
static struct memory_pending *next_pending(struct bus_memory_hub *hub, struct memory_stream *stream,
    struct memory_consumer *consumer, uint32_t window)
{
    if (consumer->due_ns_min <= hub->now_ns) {
        consumer->due_ns_min = INT64_MAX;
        for (struct list *at = consumer->pending.next; at != &consumer->pending; at = at->next) {
            struct memory_pending *pending = CONTAINER_OF(at, struct memory_pending, link);
            if (pending->due_ns <= hub->now_ns) {
                consumer->due_ns_min = hub->now_ns; /* there may be more */
                return pending;
            }
            due_at(consumer, pending->due_ns);
        }
    }
    if (consumer->pending_count >= window)
        return NULL;
    struct seq_key key = seq_key(consumer->next_seq);
    struct ordered_node *node = ordered_map_seek(&stream->messages, key_view(&key));
    if (!node)
        return NULL;
    struct memory_message *message = ordered_node_value(node);
    struct memory_pending *pending = mem_new(struct memory_pending);
    pending->seq = message->seq;
    consumer->next_seq = message->seq + 1;
    consumer->pending_count++;
    list_push_back(&consumer->pending, &pending->link);
    return pending;
}

/** Sends one message to the subscription; false when there is none for it. */
static bool deliver_one(
    struct bus_memory_hub *hub, struct memory_stream *stream, struct bus_subscription *subscription)
{
    struct memory_consumer *consumer = consumer_named(hub, stream, subscription->durable);
    struct memory_pending *pending = next_pending(hub, stream, consumer, subscription->window);
    if (!pending)
        return false;
    struct seq_key key = seq_key(pending->seq);
    struct memory_message *message = ordered_map_get(&stream->messages, key_view(&key));
    if (!message) {
        /* Removed by another consumer's acknowledgement. */
        pending_remove(consumer, pending);
        return true;
    }
    pending->deliveries++;
    pending->due_ns = hub->now_ns + subscription->ack_wait_ns;
    list_remove(&pending->link);
    list_push_back(&consumer->pending, &pending->link);
    due_at(consumer, pending->due_ns);
    struct memory_parcel *parcel =
        memory_parcel_make(BUS_MEMORY_DELIVER, subscription->bus, message->subject, message->data);
    parcel->subscription = subscription->id;
    parcel->consumer = consumer->id;
    parcel->seq = pending->seq;
    parcel->deliveries = pending->deliveries;
    memory_transmit(hub, parcel);
    return true;
}

void memory_server_deliver(struct bus_memory_hub *hub)
{
    for (struct list *at = hub->connections.next; at != &hub->connections; at = at->next) {
        struct memory_bus *bus = CONTAINER_OF(at, struct memory_bus, link);
        if (!bus->connected)
            continue;
        for (struct list *s = bus->subscriptions.next; s != &bus->subscriptions; s = s->next) {
            struct bus_subscription *subscription = CONTAINER_OF(s, struct bus_subscription, link);
            struct memory_stream *stream =
                subscription->stream ? stream_named(hub, subscription->stream) : NULL;
            while (stream && subscription->outstanding < subscription->window &&
                   deliver_one(hub, stream, subscription))
                continue;
        }
    }
}

static void settle(struct memory_stream *stream, struct memory_consumer *consumer,
    const struct memory_parcel *parcel, int64_t now_ns)
{
    for (struct list *at = consumer->pending.next; at != &consumer->pending; at = at->next) {
        struct memory_pending *pending = CONTAINER_OF(at, struct memory_pending, link);
        if (pending->seq != parcel->seq)
            continue;
        switch (parcel->verdict) {
        case VERDICT_ACK:
            pending_remove(consumer, pending);
            if (stream->work_queue)
                message_remove(stream, parcel->seq);
            return;
        case VERDICT_NAK:
        case VERDICT_IN_PROGRESS:
            pending->due_ns = now_ns + parcel->delay_ns;
            due_at(consumer, pending->due_ns);
            return;
        }
    }
}

static void settle_anywhere(struct bus_memory_hub *hub, const struct memory_parcel *parcel)
{
    for (struct list *at = hub->streams.next; at != &hub->streams; at = at->next) {
        struct memory_stream *stream = CONTAINER_OF(at, struct memory_stream, link);
        for (struct list *c = stream->consumers.next; c != &stream->consumers; c = c->next) {
            struct memory_consumer *consumer = CONTAINER_OF(c, struct memory_consumer, link);
            if (consumer->id == parcel->consumer)
                settle(stream, consumer, parcel, hub->now_ns);
        }
    }
    hub->dirty = true;
}

int64_t memory_server_due_ns(struct bus_memory_hub *hub)
{
    int64_t due_ns = INT64_MAX;
    for (struct list *at = hub->streams.next; at != &hub->streams; at = at->next) {
        struct memory_stream *stream = CONTAINER_OF(at, struct memory_stream, link);
        for (struct list *c = stream->consumers.next; c != &stream->consumers; c = c->next) {
            struct memory_consumer *consumer = CONTAINER_OF(c, struct memory_consumer, link);
            for (struct list *p = consumer->pending.next; p != &consumer->pending; p = p->next) {
                int64_t at_ns = CONTAINER_OF(p, struct memory_pending, link)->due_ns;
                if (at_ns > hub->now_ns && at_ns < due_ns)
                    due_ns = at_ns;
            }
        }
    }
    return due_ns;
}

/* ---- subjects ---- */

static void deliver_plain(struct bus_memory_hub *hub, const struct memory_parcel *parcel,
    const struct bus_subscription *subscription)
{
    struct memory_parcel *copy =
        memory_parcel_make(BUS_MEMORY_DELIVER, subscription->bus, parcel->subject, parcel->data);
    copy->subscription = subscription->id;
    if (parcel->kind == BUS_MEMORY_REQUEST) {
        copy->requester = parcel->connection;
        copy->token = parcel->token;
    }
    memory_transmit(hub, copy);
}

/** Sends to every subscription that matches; of each queue group to one, in turn. Returns how many
 *  match. */
static size_t route(struct bus_memory_hub *hub, const struct memory_parcel *parcel)
{
    struct bus_subscription *matches[1024];
    size_t count = 0;
    for (struct list *at = hub->connections.next; at != &hub->connections; at = at->next) {
        struct memory_bus *bus = CONTAINER_OF(at, struct memory_bus, link);
        for (struct list *s = bus->subscriptions.next; s != &bus->subscriptions; s = s->next) {
            struct bus_subscription *subscription = CONTAINER_OF(s, struct bus_subscription, link);
            if (!bus->connected || subscription->stream ||
                !subject_matches(subscription->subject, parcel->subject))
                continue;
            CHECK(count < ARRAY_LEN(matches));
            matches[count++] = subscription;
        }
    }
    hub->rotation++;
    for (size_t i = 0; i < count; i++) {
        if (!matches[i])
            continue;
        if (!matches[i]->queue) {
            deliver_plain(hub, parcel, matches[i]);
            continue;
        }
        struct bus_subscription *group[ARRAY_LEN(matches)];
        size_t members = 0;
        const char *queue = matches[i]->queue;
        for (size_t j = i; j < count; j++) {
            if (!matches[j] || !matches[j]->queue || strcmp(matches[j]->queue, queue) != 0)
                continue;
            group[members++] = matches[j];
            matches[j] = NULL;
        }
        deliver_plain(hub, parcel, group[hub->rotation % members]);
    }
    return count;
}

/* ---- what arrives ---- */

static void answer(struct bus_memory_hub *hub, uint64_t connection, uint64_t token, enum err err,
    uint64_t seq, struct blob *data)
{
    struct memory_bus *bus = memory_connection(hub, connection);
    if (!bus)
        return;
    struct memory_parcel *parcel = memory_parcel_make(BUS_MEMORY_ANSWER, bus, "", data);
    parcel->token = token;
    parcel->err = err;
    parcel->seq = seq;
    memory_transmit(hub, parcel);
}

static void receive_publish(struct bus_memory_hub *hub, const struct memory_parcel *parcel)
{
    struct memory_stream *stream = stream_of_subject(hub, parcel->subject);
    enum err err = stream ? stream_store(stream, parcel) : ERR_NOT_FOUND;
    (void)route(hub, parcel); /* plain subscribers see published messages too */
    if (parcel->token != 0)
        answer(hub, parcel->connection, parcel->token, err, stream && !err ? stream->last_seq : 0,
            NULL);
    hub->dirty = true;
}

void memory_server_receive(struct bus_memory_hub *hub, struct memory_parcel *parcel)
{
    switch (parcel->kind) {
    case BUS_MEMORY_PUBLISH:
    case BUS_MEMORY_SEND:
        receive_publish(hub, parcel);
        return;
    case BUS_MEMORY_REQUEST:
        if (route(hub, parcel) == 0)
            answer(hub, parcel->connection, parcel->token, ERR_NOT_FOUND, 0, NULL);
        return;
    case BUS_MEMORY_RESPOND:
        answer(hub, parcel->requester, parcel->token, OK, 0, parcel->data);
        return;
    case BUS_MEMORY_SETTLE:
        settle_anywhere(hub, parcel);
        return;
    case BUS_MEMORY_ENSURE:
        answer(hub, parcel->connection, parcel->token, ensure(hub, &parcel->stream), 0, NULL);
        return;
    case BUS_MEMORY_DELIVER:
    case BUS_MEMORY_ANSWER:
        break;
    }
    CHECK(parcel->kind < BUS_MEMORY_DELIVER);
}
