// JSON, read strictly with cJSON and written plainly.
//
// Reading refuses, with file, place and words, what is no JSON: invalid UTF-8, comments, nesting deeper than 64, a key
// given twice in one object, an escape \u without four digits, anything but white space behind the value; and a text
// whose values would take more than 16 bytes of memory for each of its own and 64 MiB. What is JSON (or what Python
// writes as such) and cannot be held here is of the kind BM_JSON_UNREADABLE: integers beyond 2^53, NaN, infinities,
// numbers of more than 63 characters; strings with a zero character or half of a surrogate pair. It matters only where
// it is asked for. Objects and arrays are walked by their lists; lookups are exact in case. A bm_json is read-only and
// owned by its root.
#ifndef BM_FORMATS_JSON_H
#define BM_FORMATS_JSON_H

#include "base/base.h"
#include "base/str.h"

typedef struct cJSON bm_json;

// Parses length bytes. name is the file name that errors start with; of a text of several lines they give the line,
// too. One UTF-8 byte order mark is skipped.
bm_status bm_json_parse(bm_json **out, const char *text, size_t length, const char *name, bm_error *err);
bm_status bm_json_read_file(bm_json **out, const char *path, uint64_t max_size, bm_error *err);
void bm_json_destroy(bm_json **root);

// Parses the members of the object, or the elements of the array, that text is, one after the other, and hands each to
// visit; it lives until visit returns. Beside the text, memory is that of one of them, which has at most 16 MiB. A key
// given twice at this level is not noticed. Ends with the first status that is not BM_OK.
typedef bm_status bm_json_visitor(void *user, const bm_json *member, uint64_t index, bm_error *err);
bm_status bm_json_visit(const char *text, size_t length, const char *name, bm_json_visitor *visit, void *user,
                        bm_error *err);

typedef enum bm_json_kind {
    BM_JSON_NULL,
    BM_JSON_BOOL,
    BM_JSON_NUMBER,
    BM_JSON_STRING,
    BM_JSON_ARRAY,
    BM_JSON_OBJECT,
    BM_JSON_UNREADABLE
} bm_json_kind;
bm_json_kind bm_json_kind_of(const bm_json *value);
// "null", "boolean", "number", "string", "array", "object", "value that cannot be read"
const char *bm_json_kind_name(bm_json_kind kind);
// The value in a few words for a message, "5", "an array", "none" for NULL. Returns out.
#define BM_JSON_FOUND_SIZE 112
const char *bm_json_found(const bm_json *value, char *out, size_t size);

const bm_json *bm_json_first(const bm_json *container);              // first child; NULL: none (or no container)
const bm_json *bm_json_next(const bm_json *child);                   // NULL: last
const char *bm_json_key(const bm_json *member);                      // key of an object's member; NULL elsewhere
uint32_t bm_json_count(const bm_json *container);                    // children; walks the list
const bm_json *bm_json_find(const bm_json *object, const char *key); // NULL: absent; linear
bool bm_json_holds_string(const bm_json *array, const char *text);   // a child is this string; false of NULL; linear

bool bm_json_bool(const bm_json *value);          // valid only for BM_JSON_BOOL
double bm_json_number(const bm_json *value);      // valid only for BM_JSON_NUMBER
const char *bm_json_string(const bm_json *value); // valid only for BM_JSON_STRING; contains no zero byte
bool bm_json_is_integer(const bm_json *value);    // a number written without fraction or exponent, |value| <= 2^53

// Typed members with words: absent or null gives *out = fallback; a wrong kind is BM_E_FORMAT:
// "FILE: key "KEY": expected an integer in LOW..HIGH, found ...".
bm_status bm_json_get_integer(const bm_json *object, const char *key, int64_t low, int64_t high, int64_t fallback,
                              int64_t *out, const char *name, bm_error *err);
bm_status bm_json_get_double(const bm_json *object, const char *key, double low, double high, double fallback,
                             double *out, const char *name, bm_error *err);
bm_status bm_json_get_bool(const bm_json *object, const char *key, bool fallback, bool *out, const char *name,
                           bm_error *err);
bm_status bm_json_get_string(const bm_json *object, const char *key, const char *fallback, const char **out,
                             const char *name, bm_error *err);

// Writing: appends to a string; commas, quoting and indentation (2 spaces; 0: compact, without any space) are the
// writer's business.
typedef struct bm_json_writer {
    bm_string *out;
    uint32_t indent;     // spaces a level; 0: one line
    uint32_t depth;      // open containers
    uint64_t has_member; // bit d: the container at depth d already holds a member
} bm_json_writer;
void bm_json_writer_init(bm_json_writer *writer, bm_string *out, uint32_t indent);
void bm_json_begin_object(bm_json_writer *writer, const char *key); // key NULL: in an array or at the top
void bm_json_end_object(bm_json_writer *writer);
void bm_json_begin_array(bm_json_writer *writer, const char *key);
void bm_json_end_array(bm_json_writer *writer);
void bm_json_put_string(bm_json_writer *writer, const char *key, const char *value);             // NULL value: null
void bm_json_put_text(bm_json_writer *writer, const char *key, const char *text, size_t length); // may hold zero bytes
void bm_json_put_integer(bm_json_writer *writer, const char *key, int64_t value);
void bm_json_put_double(bm_json_writer *writer, const char *key,
                        double value); // shortest text that reads back equal; not finite: null
void bm_json_put_float(bm_json_writer *writer, const char *key, float value); // the same, read back as float32
void bm_json_put_bool(bm_json_writer *writer, const char *key, bool value);
void bm_json_put_null(bm_json_writer *writer, const char *key);
// A copy of a read value; one that is unreadable is written as it was.
void bm_json_put_value(bm_json_writer *writer, const char *key, const bm_json *value);

#endif
