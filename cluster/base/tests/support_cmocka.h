/* SPDX-License-Identifier: Apache-2.0
 *
 * cmocka with the headers that it forgets to include.
 */
#ifndef CLUSTER_BASE_TESTS_SUPPORT_CMOCKA_H
#define CLUSTER_BASE_TESTS_SUPPORT_CMOCKA_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
