/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/store/store_memory.h"
#include "cluster/store/tests/store_fixture.h"

#define DATABASES_MAX 8

static struct memory_database *databases[DATABASES_MAX];

static bool create(struct store_options *ret, char *reason)
{
    (void)reason;
    for (size_t i = 0; i < DATABASES_MAX; i++) {
        if (databases[i])
            continue;
        databases[i] = memory_database_new();
        *ret = (struct store_options){
            .driver = store_driver_memory(),
            .driver_ctx = databases[i],
        };
        return true;
    }
    return false;
}

int main(void)
{
    const struct conformance_driver driver = {
        .name = "memory",
        .create = create,
        .shareable = true,
    };
    int failed = conformance_main(&driver);
    for (size_t i = 0; i < DATABASES_MAX; i++)
        memory_database_free(databases[i]);
    return failed;
}
