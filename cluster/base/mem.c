/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/base/mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

void *mem_alloc(size_t size)
{
    void *ptr = malloc(size ? size : 1);
    CHECK(ptr != NULL);
    return ptr;
}

void *mem_zalloc(size_t count, size_t size)
{
    CHECK(size == 0 || count <= SIZE_MAX / size);
    void *ptr = calloc(count ? count : 1, size ? size : 1);
    CHECK(ptr != NULL);
    return ptr;
}

void *mem_realloc(void *old, size_t size)
{
    void *ptr = realloc(old, size ? size : 1);
    CHECK(ptr != NULL);
    return ptr;
}

char *mem_strdup(const char *text)
{
    if (!text)
        return NULL;
    size_t size = strlen(text) + 1;
    return memcpy(mem_alloc(size), text, size);
}

void mem_free(void *ptr)
{
    free(ptr);
}
