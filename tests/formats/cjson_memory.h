// Counts what cJSON holds while a test runs: its setup and teardown.
#ifndef BM_TESTS_FORMATS_CJSON_MEMORY_H
#define BM_TESTS_FORMATS_CJSON_MEMORY_H

#include <cjson/cJSON.h>

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static struct {
    size_t now, peak, calls;
} cjson_memory;

static inline void *count_allocation(size_t size)
{
    size_t *block = malloc(size + 16);
    if (!block)
        return NULL;
    block[0] = size + 16; // as much as an allocator adds
    cjson_memory.calls++;
    cjson_memory.now += block[0];
    if (cjson_memory.now > cjson_memory.peak)
        cjson_memory.peak = cjson_memory.now;
    return (char *)block + 16;
}

static inline void count_free(void *memory)
{
    if (!memory)
        return;
    size_t *block = (size_t *)(void *)((char *)memory - 16);
    cjson_memory.now -= block[0];
    free(block);
}

static inline int count_memory(void **state)
{
    cJSON_Hooks hooks = {count_allocation, count_free};
    (void)state;
    memset(&cjson_memory, 0, sizeof cjson_memory);
    cJSON_InitHooks(&hooks);
    return 0;
}

static inline int stop_counting(void **state)
{
    (void)state;
    cJSON_InitHooks(NULL);
    return 0;
}

#endif
