// Growable byte strings.
//
// A bm_string starts as BM_STRING_INIT and is always zero-terminated once anything was appended. Append functions
// return false when memory is used up (the string then keeps what it had and sets failed, so that one check at the end
// is enough).
#ifndef BM_BASE_STR_H
#define BM_BASE_STR_H

#include "base/base.h"

typedef struct bm_string {
    char *data;      // NULL while empty; owned
    size_t length;   // bytes without the terminating zero
    size_t capacity; // bytes allocated
    bool failed;     // an append ran out of memory
} bm_string;

#define BM_STRING_INIT                                                                                                 \
    {                                                                                                                  \
        NULL, 0, 0, false                                                                                              \
    }

bool bm_string_append(bm_string *string, const char *text);
bool bm_string_append_bytes(bm_string *string, const void *bytes, size_t length);
bool bm_string_append_format(bm_string *string, const char *format, ...) BM_PRINTF(2, 3);
void bm_string_clear(bm_string *string);             // length 0, memory kept
void bm_string_free(bm_string *string);              // back to BM_STRING_INIT
const char *bm_string_text(const bm_string *string); // "" when empty

// Prints into a new string that the caller frees with bm_free; NULL when memory is used up.
char *bm_format(const char *format, ...) BM_PRINTF(1, 2);

bool bm_starts_with(const char *text, const char *prefix);
bool bm_ends_with(const char *text, const char *suffix);
bool bm_equal_ignore_case(const char *a, const char *b); // ASCII letters only

// Strict numbers: the whole text must be consumed; false otherwise, or when the value does not fit or is not finite.
bool bm_parse_i64(const char *text, int64_t *out);
bool bm_parse_u64(const char *text, uint64_t *out);
bool bm_parse_size(const char *text, uint64_t *out); // bytes: "6GB", "5.5GiB", "800 MB", "1000B"; above 0
bool bm_parse_double(const char *text, double *out); // independent of the locale

// What a plural has more than one: "s", or "" of one.
static inline const char *bm_plural(uint64_t count)
{
    return count == 1 ? "" : "s";
}

// Edit distance of two short names (at most 64 bytes each count), for "did you mean".
uint32_t bm_edit_distance(const char *a, const char *b);

// True when bytes are valid UTF-8 (no surrogates, no overlong forms).
bool bm_utf8_is_valid(const void *bytes, size_t length);

// Bytes of the control character that text begins with (below U+0020, or U+007F to U+009F: what a terminal may obey); 0:
// it begins with another character, or with no valid UTF-8.
size_t bm_control_length(const char *text, size_t length);

// Copies text for display: control characters and invalid UTF-8 become '?', at most capacity - 1 bytes, "..." when cut.
// Names and keys from files pass through this before they enter an error message. Returns out.
const char *bm_printable(const char *text, size_t length, char *out, size_t capacity);

// The same in place, for a whole line of words: line breaks and tabs become blanks, so that it stays one line.
void bm_make_printable(char *text);

#endif
