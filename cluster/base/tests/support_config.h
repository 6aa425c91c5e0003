/* SPDX-License-Identifier: Apache-2.0
 *
 * Pieces of configuration files.
 */
#ifndef CLUSTER_BASE_TESTS_SUPPORT_CONFIG_H
#define CLUSTER_BASE_TESTS_SUPPORT_CONFIG_H

/* Lines 1 to 6 of most texts. */
#define HEAD           \
    "cluster:\n"       \
    "  name: us\n"     \
    "federation:\n"    \
    "  clusters:\n"    \
    "    - name: us\n" \
    "      initial_version: 1\n"
#define MEMORY    "database: {driver: memory}\n"
#define HEAD_NATS HEAD "      nats: {url: nats://a}\n"
#define SECOND         \
    "    - name: eu\n" \
    "      initial_version: 2\n"

#endif
