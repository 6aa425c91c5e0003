/* SPDX-License-Identifier: Apache-2.0
 *
 * HTTP by libmicrohttpd: one internal thread, GET and HEAD only, small bounded connections.
 */
#include "cluster/console/console.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "cluster/base/mem.h"

#define CONNECTIONS_MAX 64u

struct console {
    struct console_options options;
    struct MHD_Daemon *daemon;
    int port;
};

static enum MHD_Result answer(
    struct MHD_Connection *connection, unsigned status, const char *type, const struct buffer *body)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(body->len, body->data, MHD_RESPMEM_MUST_COPY);
    if (!response)
        return MHD_NO;
    (void)!MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    enum MHD_Result result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result handle(void *ctx, struct MHD_Connection *connection, const char *url,
    const char *method, const char *version, const char *upload, size_t *upload_len,
    void **connection_ctx)
{
    (void)version;
    (void)upload;
    (void)upload_len;
    (void)connection_ctx;
    const struct console *console = ctx;
    struct buffer body = {0};
    unsigned status = MHD_HTTP_OK;
    const char *type = "text/plain; charset=utf-8";
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
        status = MHD_HTTP_METHOD_NOT_ALLOWED;
        buffer_printf(&body, "only GET and HEAD\n");
    } else if (strcmp(url, "/metrics") == 0) {
        type = "text/plain; version=0.0.4; charset=utf-8";
        if (console->options.collect)
            console->options.collect(console->options.ctx);
        metrics_write(console->options.metrics, &body);
    } else if (strcmp(url, "/healthz") == 0) {
        buffer_printf(&body, "ok\n");
    } else if (strcmp(url, "/readyz") == 0) {
        bool ready = console->options.ready(console->options.ctx);
        status = ready ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE;
        buffer_printf(&body, ready ? "ready\n" : "not ready\n");
    } else {
        status = MHD_HTTP_NOT_FOUND;
        buffer_printf(&body, "not found: try /metrics, /healthz, /readyz\n");
    }
    enum MHD_Result result = answer(connection, status, type, &body);
    buffer_release(&body);
    return result;
}

static enum err resolve(const char *listen, struct sockaddr_storage *ret_address, char reason[256])
{
    char host[256];
    const char *colon = strrchr(listen, ':');
    if (!colon || (size_t)(colon - listen) >= sizeof(host)) {
        snprintf(reason, 256, "console address %.200s: write host:port", listen);
        return ERR_CONFIG;
    }
    size_t len = (size_t)(colon - listen);
    const char *begin = listen;
    if (len >= 2 && begin[0] == '[' && begin[len - 1] == ']') {
        begin++;
        len -= 2;
    }
    memcpy(host, begin, len);
    host[len] = 0;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    int error = getaddrinfo(len ? host : NULL, colon + 1, &hints, &found);
    if (error) {
        snprintf(reason, 256, "console address %.150s: %s", listen, gai_strerror(error));
        return ERR_CONFIG;
    }
    memcpy(ret_address, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    return OK;
}

enum err console_open(
    const struct console_options *options, struct console **ret_console, char reason[256])
{
    struct sockaddr_storage address = {0};
    enum err err = resolve(options->listen, &address, reason);
    if (err)
        return err;
    struct console *console = mem_new(struct console);
    console->options = *options;
    unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_EPOLL;
    if (address.ss_family == AF_INET6)
        flags |= MHD_USE_IPv6;
    console->daemon = MHD_start_daemon(flags, 0, NULL, NULL, handle, console, MHD_OPTION_SOCK_ADDR,
        (struct sockaddr *)&address, MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX,
        MHD_OPTION_CONNECTION_TIMEOUT, 30u, MHD_OPTION_END);
    if (!console->daemon) {
        snprintf(
            reason, 256, "console address %.150s cannot be bound: is it in use?", options->listen);
        mem_free(console);
        return ERR_IO;
    }
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(console->daemon, MHD_DAEMON_INFO_BIND_PORT);
    console->port = info ? info->port : 0;
    *ret_console = console;
    return OK;
}

int console_port(const struct console *console)
{
    return console->port;
}

void console_close(struct console *console)
{
    if (!console)
        return;
    MHD_stop_daemon(console->daemon);
    mem_free(console);
}
