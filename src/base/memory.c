// Checked allocation, checked arithmetic, unaligned little-endian access.
#ifdef __linux__
#define _DEFAULT_SOURCE // madvise
#endif
#include "base/base.h"

#include <stdlib.h>
#include <string.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

bool bm_add_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    if (a > UINT64_MAX - b)
        return false;
    *out = a + b;
    return true;
}

bool bm_multiply_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    if (a != 0 && b > UINT64_MAX / a)
        return false;
    *out = a * b;
    return true;
}

// Bytes of count elements, at least 1; false when they do not fit the address space.
static bool total_bytes(uint64_t count, uint64_t size, size_t *out)
{
    uint64_t bytes = 0;
    if (!bm_multiply_u64(count, size, &bytes) || bytes > PTRDIFF_MAX)
        return false;
    *out = bytes > 0 ? (size_t)bytes : 1;
    return true;
}

// In pages of 2 MiB where the system has them: reading a tensor into new memory goes two to three times as fast then.
static void *alloc_large(size_t bytes)
{
#ifdef MADV_HUGEPAGE
    const size_t page = (size_t)2 << 20;
    void *memory = NULL;
    if (bytes >= 2 * page && posix_memalign(&memory, page, bytes) == 0) {
        (void)madvise(memory, bytes / page * page, MADV_HUGEPAGE);
        return memory;
    }
#endif
    return malloc(bytes);
}

void *bm_alloc(uint64_t count, uint64_t size)
{
    size_t bytes;
    return total_bytes(count, size, &bytes) ? alloc_large(bytes) : NULL;
}

void *bm_alloc_zero(uint64_t count, uint64_t size)
{
    size_t bytes;
    return total_bytes(count, size, &bytes) ? calloc(1, bytes) : NULL;
}

void *bm_resize(void *memory, uint64_t count, uint64_t size)
{
    size_t bytes;
    return total_bytes(count, size, &bytes) ? realloc(memory, bytes) : NULL;
}

void bm_free(void *memory)
{
    free(memory);
}

char *bm_string_copy(const char *text)
{
    if (!text)
        return NULL;
    const size_t size = strlen(text) + 1;
    char *copy = malloc(size);
    if (copy)
        memcpy(copy, text, size);
    return copy;
}
