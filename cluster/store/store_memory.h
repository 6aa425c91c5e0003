/* SPDX-License-Identifier: Apache-2.0
 *
 * The memory driver's database as an object of its own: it outlives the stores opened on it, so a
 * simulated node can crash and come back, and several simulated nodes can share one database.
 */
#ifndef CLUSTER_STORE_STORE_MEMORY_H
#define CLUSTER_STORE_STORE_MEMORY_H

struct memory_database;

/** An empty database. Hand it to store_open() as driver_ctx; all its stores run on one thread. */
struct memory_database *memory_database_new(void);
/** After the last store on it was closed. NULL is ignored. */
void memory_database_free(struct memory_database *database);

#endif
