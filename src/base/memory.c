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

uint16_t bm_load_le16(const void *bytes)
{
    const uint8_t *b = bytes;
    return (uint16_t)(b[0] | (uint16_t)b[1] << 8);
}

uint32_t bm_load_le32(const void *bytes)
{
    const uint8_t *b = bytes;
    return b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

uint64_t bm_load_le64(const void *bytes)
{
    const uint8_t *b = bytes;
    return bm_load_le32(b) | (uint64_t)bm_load_le32(b + 4) << 32;
}

void bm_store_le16(void *bytes, uint16_t value)
{
    uint8_t *b = bytes;
    b[0] = (uint8_t)value;
    b[1] = (uint8_t)(value >> 8);
}

void bm_store_le32(void *bytes, uint32_t value)
{
    bm_store_le16(bytes, (uint16_t)value);
    bm_store_le16((uint8_t *)bytes + 2, (uint16_t)(value >> 16));
}

void bm_store_le64(void *bytes, uint64_t value)
{
    bm_store_le32(bytes, (uint32_t)value);
    bm_store_le32((uint8_t *)bytes + 4, (uint32_t)(value >> 32));
}
