// base: what every other room builds on. Status and error text, memory, strings, numbers, files, time, threads, and the
// few lines that differ between Linux, Windows and macOS. It knows nothing of models or GPUs and includes nothing from
// other rooms.
//
// This header holds what nearly every file needs: error macros and memory.
#ifndef BM_BASE_BASE_H
#define BM_BASE_BASE_H

#include <bitmill/error.h>
#include <bitmill/log.h>
#include <bitmill/tensor.h>

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__MINGW32__)
#define BM_PRINTF(format_index, first_index) __attribute__((format(gnu_printf, format_index, first_index)))
#elif defined(__GNUC__)
#define BM_PRINTF(format_index, first_index) __attribute__((format(printf, format_index, first_index)))
#else
#define BM_PRINTF(format_index, first_index)
#endif

#define BM_COUNT(array) (sizeof(array) / sizeof((array)[0]))

// Fills err (which may be NULL) with status and a formatted message; returns status, so that a function may end with
// return bm_fail(err, BM_E_FORMAT, "%s: ...", path).
bm_status bm_fail(bm_error *err, bm_status status, const char *format, ...) BM_PRINTF(3, 4);

// Puts formatted text and ": " in front of the message in err: what the caller knows and the callee could not.
void bm_error_prefix(bm_error *err, const char *format, ...) BM_PRINTF(2, 3);

// Evaluates a call that returns bm_status; on failure stores it in the local variable status and goes to done.
#define BM_TRY(call)                                                                                                   \
    do {                                                                                                               \
        status = (call);                                                                                               \
        if (status != BM_OK)                                                                                           \
            goto done;                                                                                                 \
    } while (0)

// When condition is true: fills err with code and a formatted message, and goes to done.
#define BM_FAIL_IF(condition, err, code, ...)                                                                          \
    do {                                                                                                               \
        if (condition) {                                                                                               \
            (void)bm_fail((err), (code), __VA_ARGS__);                                                                 \
            status = (code);                                                                                           \
            goto done;                                                                                                 \
        }                                                                                                              \
    } while (0)

// Memory. count * size is checked for overflow; sizes of 0 give a valid pointer. NULL means out of memory (or
// overflow).
void *bm_alloc(uint64_t count, uint64_t size);                // uninitialised
void *bm_alloc_zero(uint64_t count, uint64_t size);           // zeros
void *bm_resize(void *memory, uint64_t count, uint64_t size); // like realloc; the old block stays valid on failure
void bm_free(void *memory);                                   // NULL is allowed
char *bm_string_copy(const char *text);                       // bm_free it; NULL text gives NULL

// Checked arithmetic on sizes from files: false when the result does not fit, *out then untouched.
bool bm_add_u64(uint64_t a, uint64_t b, uint64_t *out);
bool bm_multiply_u64(uint64_t a, uint64_t b, uint64_t *out);

static inline uint64_t bm_min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}
static inline uint64_t bm_max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}
static inline uint64_t bm_divide_up(uint64_t a, uint64_t b)
{
    return a / b + (a % b != 0);
}
static inline uint64_t bm_round_up(uint64_t a, uint64_t multiple)
{
    return bm_divide_up(a, multiple) * multiple;
}

// Unaligned little-endian loads and stores: here, so that loops over them become vector instructions.
static inline uint16_t bm_load_le16(const void *bytes)
{
    const uint8_t *b = bytes;
    return (uint16_t)(b[0] | (uint16_t)b[1] << 8);
}
static inline uint32_t bm_load_le32(const void *bytes)
{
    const uint8_t *b = bytes;
    return b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}
static inline uint64_t bm_load_le64(const void *bytes)
{
    const uint8_t *b = bytes;
    return bm_load_le32(b) | (uint64_t)bm_load_le32(b + 4) << 32;
}
static inline void bm_store_le16(void *bytes, uint16_t value)
{
    uint8_t *b = bytes;
    b[0] = (uint8_t)value;
    b[1] = (uint8_t)(value >> 8);
}
static inline void bm_store_le32(void *bytes, uint32_t value)
{
    bm_store_le16(bytes, (uint16_t)value);
    bm_store_le16((uint8_t *)bytes + 2, (uint16_t)(value >> 16));
}
static inline void bm_store_le64(void *bytes, uint64_t value)
{
    bm_store_le32(bytes, (uint32_t)value);
    bm_store_le32((uint8_t *)bytes + 4, (uint32_t)(value >> 32));
}

// Writes one formatted line to log, if log is not NULL and level is enabled.
void bm_log_write(const bm_log *log, bm_log_level level, const char *format, ...) BM_PRINTF(3, 4);

#endif
