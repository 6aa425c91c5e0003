/* SPDX-License-Identifier: Apache-2.0
 *
 * A private nats-server with JetStream, as a child process: for `strait dev`, the demo and tests.
 */
#ifndef REPLICATOR_NATS_PROCESS_H
#define REPLICATOR_NATS_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

#include "cluster/base/err.h"

struct nats_process;

struct nats_process_options {
    const char *dir;    /* must exist; gets config, log, ports file and the streams */
    const char *binary; /* NULL: $STRAIT_NATS_SERVER, then PATH, then /usr/sbin/nats-server */
    uint16_t port;      /* 0: any free one */
    const char *extra;  /* more configuration text, or NULL */
};

/** Starts the server on 127.0.0.1 and returns when it accepts clients. It dies with the *thread*
 *  that called this (PR_SET_PDEATHSIG knows threads, not processes): call it from one that lives as
 *  long as the program. ERR_NOT_FOUND: no binary; ERR_IO, ERR_TIMEOUT: see ret_reason. */
NODISCARD enum err nats_process_start(const struct nats_process_options *options,
    struct nats_process **ret_process, char ret_reason[256]);
/** "nats://127.0.0.1:<port>" */
const char *nats_process_url(const struct nats_process *process);
uint16_t nats_process_port(const struct nats_process *process);
int nats_process_id(const struct nats_process *process);
/** False once it has ended by itself. */
bool nats_process_running(struct nats_process *process);
/** SIGTERM, after five seconds SIGKILL; waits for the end and frees. NULL is ignored. */
void nats_process_stop(struct nats_process *process);
/** SIGKILL: what a crash leaves behind. Waits and frees. */
void nats_process_kill(struct nats_process *process);

#endif
