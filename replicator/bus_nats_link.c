/* SPDX-License-Identifier: Apache-2.0
 *
 * How the client library (3.4.1 is what Debian ships) is used:
 *
 *   I/O thread ── poll ── ProcessReadEvent ─► library's delivery thread ── on_message() ─┐
 *       ▲                                                                                │
 *       └───────── nats_link_dispatch() ◄──────── inbound mailbox ◄──────────────────────┘
 *
 * L1  The library runs with an external event loop, which is our poll(2): writes only append to a
 *     buffer and never block, and no flusher thread sits on them for a millisecond. Reads and
 *     writes happen on one thread, as OpenSSL wants it and the library alone does not do it.
 * L2  The library never reconnects. It would give up for good after two refused logins or any error
 *     text it does not know, hold back publishes in a buffer of its own and report the break late,
 *     from another thread. A link that broke is destroyed, and the bus opens a new connection.
 *     So nothing but the I/O thread ever closes a connection.
 * L3  The library's timer sends pings but never judges them (its close would race with our reads):
 *     the bus looks at nats_link_heard_ns().
 * L4  Subscriptions are asynchronous although a synchronous one could be polled from the I/O
 *     thread: natsSubscription_NextMsg() swallows "no responders" together with the subject that
 *     says which request it answers. The callback only enqueues.
 * L5  An inbox is referenced by its owner, by the library until its completion callback, and by
 *     every message under way; a link by its owner and by every inbox.
 */
#include "replicator/bus_nats_link.h"

#include <limits.h>
#include <nats/nats.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "cluster/base/env.h"
#include "cluster/base/limits.h"
#include "cluster/base/mailbox.h"
#include "cluster/base/mem.h"
#include "replicator/bus_nats_key.h"

#define CONNECT_TIMEOUT_MS 2000
#define PING_INTERVAL_MS   2000
#define IO_BUFFER_BYTES    (256 * 1024)
#define SERVERS_MAX        16
/* How long nats_link_close() waits for the delivery thread. */
#define CLOSE_ROUNDS   200
#define CLOSE_ROUND_NS (5 * NS_PER_MS)

struct nats_link {
    _Atomic(uint32_t) refs;
    natsOptions *options;
    natsConnection *connection; /* NULL while not connected */
    struct mailbox *inbound;    /* from the delivery thread */
    int wake_fd;
    int socket;               /* -1 when the library does not want it polled */
    _Atomic(bool) want_write; /* the ping timer sets it too */
    _Atomic(bool) asleep;     /* the I/O thread is about to poll or polls */
    int64_t heard_ns;
    char errmsg[256];
};

struct nats_inbox {
    _Atomic(uint32_t) refs;
    struct nats_link *link;
    natsSubscription *subscription;
    nats_inbound_fn *fn;
    void *ctx;
    bool closed; /* I/O thread's */
};

/* A received message on its way from the delivery thread to the I/O thread. */
struct parcel {
    struct mail mail;
    struct nats_inbox *inbox;
    natsMsg *msg;
};

static void link_unref(struct nats_link *link)
{
    if (atomic_fetch_sub(&link->refs, 1) != 1)
        return;
    natsOptions_Destroy(link->options);
    if (link->inbound)
        mailbox_close(link->inbound, NULL);
    if (link->wake_fd >= 0)
        close(link->wake_fd);
    mem_free(link);
}

static void inbox_unref(struct nats_inbox *inbox)
{
    if (atomic_fetch_sub(&inbox->refs, 1) != 1)
        return;
    link_unref(inbox->link);
    mem_free(inbox);
}

void nats_link_wake(struct nats_link *link)
{
    if (!atomic_exchange(&link->asleep, false))
        return;
    uint64_t one = 1;
    ssize_t written = write(link->wake_fd, &one, sizeof(one));
    (void)written; /* a counter at its limit wakes as well */
}

/* ---- event loop callbacks: L1; attach, read and detach come from the I/O thread only: L2 ---- */

static natsStatus on_attach(
    void **user_data, void *loop, natsConnection *connection, natsSock descriptor)
{
    (void)connection;
    struct nats_link *link = loop;
    *user_data = loop;
    link->socket = descriptor;
    return NATS_OK;
}

static natsStatus on_read(void *user_data, bool add)
{
    struct nats_link *link = user_data;
    if (!add)
        link->socket = -1;
    return NATS_OK;
}

static natsStatus on_write(void *user_data, bool add)
{
    struct nats_link *link = user_data;
    atomic_store(&link->want_write, add);
    if (add)
        nats_link_wake(link);
    return NATS_OK;
}

static natsStatus on_detach(void *user_data)
{
    struct nats_link *link = user_data;
    link->socket = -1;
    return NATS_OK;
}

/* The default handler prints to stderr. */
static void on_error(
    natsConnection *connection, natsSubscription *subscription, natsStatus status, void *closure)
{
    (void)connection;
    (void)subscription;
    (void)status;
    (void)closure;
}

/* ---- options ---- */

static natsStatus set_servers(natsOptions *options, const char *urls)
{
    char *copy = mem_strdup(urls);
    const char *servers[SERVERS_MAX];
    int count = 0;
    char *rest = NULL;
    for (char *url = strtok_r(copy, ", ", &rest); url && count < SERVERS_MAX;
         url = strtok_r(NULL, ", ", &rest))
        servers[count++] = url;
    natsStatus status =
        count > 0 ? natsOptions_SetServers(options, servers, count) : NATS_INVALID_ARG;
    mem_free(copy);
    return status;
}

static natsStatus set_tls(natsOptions *to, const struct bus_nats_options *from)
{
    natsStatus status = NATS_OK;
    if (from->tls_ca_file)
        status = natsOptions_LoadCATrustedCertificates(to, from->tls_ca_file);
    if (status == NATS_OK && from->tls_cert_file)
        status = natsOptions_LoadCertificatesChain(to, from->tls_cert_file, from->tls_key_file);
    if (status == NATS_OK && (from->tls_ca_file || from->tls_cert_file))
        status = natsOptions_SetSecure(to, true);
    return status;
}

static natsStatus set_login(
    natsOptions *to, const struct bus_nats_options *from, const char **ret_what)
{
    natsStatus status = NATS_OK;
    *ret_what = "user";
    if (from->user)
        status = natsOptions_SetUserInfo(to, from->user, from->password ? from->password : "");
    if (status == NATS_OK && from->token) {
        *ret_what = "token";
        status = natsOptions_SetToken(to, from->token);
    }
    if (status == NATS_OK && from->credentials_file) {
        *ret_what = "credentials file";
        status = access(from->credentials_file, R_OK) == 0
                     ? natsOptions_SetUserCredentialsFromFiles(to, from->credentials_file, NULL)
                     : NATS_NOT_FOUND;
    }
    if (status == NATS_OK && from->nkey_seed_file) {
        char key[NATS_KEY_SIZE];
        *ret_what = "nkey seed file";
        status = nats_key_public(from->nkey_seed_file, key) == OK
                     ? natsOptions_SetNKeyFromSeed(to, key, from->nkey_seed_file)
                     : NATS_INVALID_ARG;
    }
    return status;
}

static natsStatus set_behaviour(natsOptions *options, struct nats_link *link, const char *name)
{
    natsStatus status = natsOptions_SetName(options, name ? name : "strait");
    if (status == NATS_OK)
        status = natsOptions_SetTimeout(options, CONNECT_TIMEOUT_MS);
    if (status == NATS_OK)
        status = natsOptions_SetAllowReconnect(options, false);
    if (status == NATS_OK)
        status = natsOptions_SetPingInterval(options, PING_INTERVAL_MS);
    if (status == NATS_OK)
        status = natsOptions_SetMaxPingsOut(options, INT_MAX);
    if (status == NATS_OK)
        status = natsOptions_SetSendAsap(options, true);
    if (status == NATS_OK)
        status = natsOptions_SetIOBufSize(options, IO_BUFFER_BYTES);
    if (status == NATS_OK)
        status = natsOptions_SetErrorHandler(options, on_error, NULL);
    if (status == NATS_OK)
        status = natsOptions_UseGlobalMessageDelivery(options, true);
    if (status == NATS_OK)
        status = natsOptions_SetEventLoop(options, link, on_attach, on_read, on_write, on_detach);
    return status;
}

enum err nats_link_open(
    const struct bus_nats_options *options, struct nats_link **ret_link, char ret_reason[256])
{
    struct nats_link *link = mem_new(struct nats_link);
    atomic_init(&link->refs, 1);
    link->socket = -1;
    link->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    CHECK(link->wake_fd >= 0);
    link->inbound = mailbox_open(link, NULL, 1);
    const char *what = "library";
    natsStatus status = natsOptions_Create(&link->options);
    if (status == NATS_OK) {
        what = "behaviour";
        status = set_behaviour(link->options, link, options->name);
    }
    if (status == NATS_OK) {
        what = "url";
        status = set_servers(link->options, options->url ? options->url : NATS_DEFAULT_URL);
    }
    if (status == NATS_OK) {
        what = "tls files";
        status = set_tls(link->options, options);
    }
    if (status == NATS_OK)
        status = set_login(link->options, options, &what);
    if (status != NATS_OK) {
        const char *detail = nats_GetLastError(NULL);
        (void)snprintf(ret_reason, 256, "nats %s: %s%s%s", what, natsStatus_GetText(status),
            detail ? ": " : "", detail ? detail : "");
        link_unref(link);
        return ERR_CONFIG;
    }
    *ret_link = link;
    return OK;
}

void nats_link_close(struct nats_link *link)
{
    CHECK(!link->connection);
    /* The delivery thread may still hold closed inboxes, and what it hands over must be freed. */
    for (int i = 0; i < CLOSE_ROUNDS; i++) {
        while (nats_link_dispatch(link, SIZE_MAX) > 0)
            continue;
        if (atomic_load(&link->refs) == 1)
            break;
        nats_link_prepare(link);
        nats_link_wait(link, CLOSE_ROUND_NS);
    }
    link_unref(link);
}

/* ---- connection ---- */

enum err nats_link_connect(struct nats_link *link)
{
    CHECK(!link->connection);
    atomic_store(&link->want_write, false);
    natsStatus status = natsConnection_Connect(&link->connection, link->options);
    if (status != NATS_OK) {
        const char *detail = nats_GetLastError(NULL);
        (void)snprintf(link->errmsg, sizeof(link->errmsg), "%s%s%s", natsStatus_GetText(status),
            detail ? ": " : "", detail ? detail : "");
        link->connection = NULL;
        link->socket = -1;
        return ERR_UNAVAILABLE;
    }
    link->errmsg[0] = '\0';
    link->heard_ns = env_monotonic_ns(env_system());
    return OK;
}

void nats_link_disconnect(struct nats_link *link)
{
    if (!link->connection)
        return;
    const char *text = NULL;
    (void)natsConnection_GetLastError(link->connection, &text);
    (void)snprintf(link->errmsg, sizeof(link->errmsg), "%s", text ? text : "");
    /* With output left the library would wait half a second for a PONG that only we could read. */
    if (atomic_load(&link->want_write))
        natsConnection_ProcessWriteEvent(link->connection);
    natsConnection_Destroy(link->connection);
    nats_ReleaseThreadMemory();
    link->connection = NULL;
    link->socket = -1;
}

bool nats_link_up(struct nats_link *link)
{
    return link->connection &&
           natsConnection_Status(link->connection) == NATS_CONN_STATUS_CONNECTED;
}

const char *nats_link_errmsg(struct nats_link *link)
{
    return link->errmsg;
}

int64_t nats_link_payload_max(struct nats_link *link)
{
    return natsConnection_GetMaxPayload(link->connection);
}

int64_t nats_link_heard_ns(struct nats_link *link)
{
    return link->heard_ns;
}

static int poll_timeout_ms(int64_t timeout_ns)
{
    int64_t ms = (timeout_ns + NS_PER_MS - 1) / NS_PER_MS;
    return ms > 60000 ? 60000 : (int)ms;
}

void nats_link_prepare(struct nats_link *link)
{
    if (link->connection && atomic_load(&link->want_write))
        natsConnection_ProcessWriteEvent(link->connection);
    atomic_store(&link->asleep, true);
}

void nats_link_wait(struct nats_link *link, int64_t timeout_ns)
{
    struct pollfd fds[2] = {
        {.fd = link->wake_fd, .events = POLLIN},
        {.fd = link->socket, .events = POLLIN},
    };
    if (!mailbox_empty(link->inbound))
        timeout_ns = 0;
    /* Read after `asleep` was set: a ping buffered before is seen here, a later one wakes. */
    if (atomic_load(&link->want_write))
        fds[1].events |= POLLOUT;
    int ready = poll(fds, 2, poll_timeout_ms(timeout_ns));
    atomic_store(&link->asleep, false);
    if (ready <= 0)
        return;
    if (fds[0].revents) {
        uint64_t count;
        ssize_t got = read(link->wake_fd, &count, sizeof(count));
        (void)got; /* only resets the counter */
    }
    if (fds[1].revents & (POLLIN | POLLHUP | POLLERR | POLLNVAL)) {
        link->heard_ns = env_monotonic_ns(env_system());
        natsConnection_ProcessReadEvent(link->connection);
    }
}

void nats_link_publish(
    struct nats_link *link, const char *subject, const char *reply, struct bytes data)
{
    if (!link->connection || data.len > INT_MAX)
        return;
    const char *bytes = (const char *)data.data;
    if (reply)
        (void)natsConnection_PublishRequest(link->connection, subject, reply, bytes, (int)data.len);
    else
        (void)natsConnection_Publish(link->connection, subject, bytes, (int)data.len);
}

size_t nats_link_buffered(struct nats_link *link)
{
    int buffered = link->connection ? natsConnection_Buffered(link->connection) : 0;
    return buffered > 0 ? (size_t)buffered : 0;
}

/* ---- inboxes ---- */

static void deliver_parcel(struct mail *mail, void *owner)
{
    (void)owner;
    struct parcel *parcel = CONTAINER_OF(mail, struct parcel, mail);
    struct nats_inbox *inbox = parcel->inbox;
    if (!inbox->closed) {
        struct nats_inbound inbound = {
            .subject = natsMsg_GetSubject(parcel->msg),
            .reply = natsMsg_GetReply(parcel->msg),
            .data = bytes_make(
                natsMsg_GetData(parcel->msg), (size_t)natsMsg_GetDataLength(parcel->msg)),
            .pending = -1,
        };
        const char *text = NULL;
        if (inbound.data.len == 0 && natsMsgHeader_Get(parcel->msg, "Status", &text) == NATS_OK)
            inbound.status = atoi(text);
        if (inbound.status != 0) {
            if (natsMsgHeader_Get(parcel->msg, "Description", &text) == NATS_OK)
                inbound.description = text;
            if (natsMsgHeader_Get(parcel->msg, "Nats-Pending-Messages", &text) == NATS_OK)
                inbound.pending = atoll(text);
        }
        inbox->fn(inbox->ctx, &inbound);
    }
    natsMsg_Destroy(parcel->msg);
    mem_free(parcel);
    inbox_unref(inbox);
}

/** On the library's delivery thread. */
static void on_message(
    natsConnection *connection, natsSubscription *subscription, natsMsg *msg, void *closure)
{
    (void)connection;
    (void)subscription;
    struct nats_inbox *inbox = closure;
    struct parcel *parcel = mem_new(struct parcel);
    atomic_fetch_add(&inbox->refs, 1);
    parcel->mail.deliver = deliver_parcel;
    parcel->inbox = inbox;
    parcel->msg = msg;
    struct nats_link *link = inbox->link;
    mailbox_complete(link->inbound, &parcel->mail);
    nats_link_wake(link);
}

static void on_complete(void *closure)
{
    inbox_unref(closure);
}

size_t nats_link_dispatch(struct nats_link *link, size_t max)
{
    return mailbox_step(link->inbound, max);
}

struct nats_inbox *nats_inbox_open(struct nats_link *link, const char *subject, const char *queue,
    bool bounded, nats_inbound_fn *fn, void *ctx)
{
    if (!link->connection)
        return NULL;
    struct nats_inbox *inbox = mem_new(struct nats_inbox);
    atomic_init(&inbox->refs, 2);
    atomic_fetch_add(&link->refs, 1);
    inbox->link = link;
    inbox->fn = fn;
    inbox->ctx = ctx;
    natsStatus status = queue ? natsConnection_QueueSubscribe(&inbox->subscription,
                                    link->connection, subject, queue, on_message, inbox)
                              : natsConnection_Subscribe(&inbox->subscription, link->connection,
                                    subject, on_message, inbox);
    if (status != NATS_OK) {
        inbox_unref(inbox);
        inbox_unref(inbox);
        return NULL;
    }
    status = natsSubscription_SetOnCompleteCB(inbox->subscription, on_complete, inbox);
    CHECK(status == NATS_OK);
    if (!bounded)
        (void)natsSubscription_SetPendingLimits(inbox->subscription, -1, -1);
    return inbox;
}

void nats_inbox_close(struct nats_inbox *inbox)
{
    if (!inbox)
        return;
    inbox->closed = true;
    natsSubscription_Destroy(inbox->subscription);
    inbox->subscription = NULL;
    inbox_unref(inbox);
}
