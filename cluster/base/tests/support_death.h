/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests that a call aborts, in a child process.
 */
#ifndef CLUSTER_BASE_TESTS_SUPPORT_DEATH_H
#define CLUSTER_BASE_TESTS_SUPPORT_DEATH_H

#include <stdbool.h>

/** True when `fn(arg)` ends in abort() after printing `message` somewhere on stderr. */
bool dies(void (*fn)(void *arg), void *arg, const char *message);

#endif
