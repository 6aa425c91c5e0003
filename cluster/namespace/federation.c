/* SPDX-License-Identifier: Apache-2.0
 *
 * Failover version arithmetic.
 */
#include "cluster/namespace/federation.h"

#include <string.h>

int64_t federation_next_version(const struct federation *federation, int target, int64_t current)
{
    int64_t increment = federation->increment;
    int64_t next = current / increment * increment + federation->clusters[target].initial_version;
    return next < current ? next + increment : next;
}

int federation_owner(const struct federation *federation, int64_t version)
{
    if (version <= 0)
        return -1;
    int64_t remainder = version % federation->increment;
    for (int i = 0; i < federation->count; i++) {
        if (federation->clusters[i].initial_version == remainder)
            return i;
    }
    return -1;
}

int federation_find(const struct federation *federation, const char *name)
{
    for (int i = 0; i < federation->count; i++) {
        if (strcmp(federation->clusters[i].name, name) == 0)
            return i;
    }
    return -1;
}
