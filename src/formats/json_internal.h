// What the files json_*.c share.
#ifndef BM_FORMATS_JSON_INTERNAL_H
#define BM_FORMATS_JSON_INTERNAL_H

#include "formats/json.h"

#define JSON_MAX_DEPTH 64

typedef struct json_source {
    const char *text;
    size_t length;
    const char *name;
    bm_error *err;
    uint64_t tree_bytes; // that the values take at most, of what was looked through
    bool is_odd;         // holds what cJSON does not take
} json_source;

// BM_E_FORMAT with "FILE: byte 5: " or, of a text of several lines, "FILE: line 3: byte 5: " in front of the words; bytes
// are counted from 1, in the line.
bm_status json_fail_at(const json_source *source, size_t at, const char *words);

// The place of the quote that ends the string whose first character is text[at]; length when there is none.
size_t json_string_end(const char *text, size_t length, size_t at);
bool json_is_space(char c);
// How many characters the number at text[at] has, 0: none begins there. Python writes NaN and infinities so.
size_t json_number_length(const char *text, size_t length, size_t at);
// A number written as an integer must be within 2^53, any other must be finite. *is_integer: how it was written.
bool json_number_is_readable(const char *number, size_t count, bool *is_integer);

// Checks depth, comments, control characters, the form of numbers and escapes, and how much memory the values would
// take; cJSON judges the rest of the grammar.
bm_status json_scan(json_source *source);
// The text with other words for what cJSON does not take, never longer and with the same lines; bm_free it. NULL: no
// memory.
char *json_rewrite(const json_source *source, size_t *length);

#endif
