/* SPDX-License-Identifier: Apache-2.0
 *
 * What the bus drivers share; nobody else includes it.
 */
#ifndef REPLICATOR_BUS_DRIVER_H
#define REPLICATOR_BUS_DRIVER_H

#include "replicator/bus.h"

/* How long a publish or stream change may wait for the server's answer. */
#define BUS_ACK_TIMEOUT_NS (5 * 1000000000ll)
/* Assumed until a server has told its own. */
#define BUS_PAYLOAD_DEFAULT (1024 * 1024)
#define BUS_SUBJECT_MAX     512u

/** Ends the operation: mails it to its owner, who may reuse the memory at once. */
void bus_op_end(struct bus_op *op, enum err err);

#endif
