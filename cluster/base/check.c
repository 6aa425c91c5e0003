/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/base/check.h"

#include <stdio.h>
#include <stdlib.h>

void check_fail(const char *file, int line, const char *condition)
{
    /* One call, so that lines of several threads do not mix. */
    (void)fprintf(stderr, "%s:%d: check failed: %s\n", file, line, condition);
    abort();
}
