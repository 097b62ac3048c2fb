// JSON, read strictly with cJSON and written plainly.
//
// Reading refuses, with file, place and words: invalid UTF-8, comments, nesting deeper than 64, a key given twice in
// one object, integers beyond 2^53, numbers that are not finite, anything but white space behind the value.
// Objects and arrays are walked by their lists; lookups are exact in case. A bm_json is read-only and owned by its
// root.
#ifndef BM_FORMATS_JSON_H
#define BM_FORMATS_JSON_H

#include "base/base.h"
#include "base/str.h"

typedef struct cJSON bm_json;

// Parses length bytes. name is the file name that errors start with. A UTF-8 byte order mark is skipped.
bm_status bm_json_parse(bm_json **out, const char *text, size_t length, const char *name, bm_error *err);
bm_status bm_json_read_file(bm_json **out, const char *path, uint64_t max_size, bm_error *err);
void bm_json_destroy(bm_json **root);

typedef enum bm_json_kind {
    BM_JSON_NULL,
    BM_JSON_BOOL,
    BM_JSON_NUMBER,
    BM_JSON_STRING,
    BM_JSON_ARRAY,
    BM_JSON_OBJECT
} bm_json_kind;
bm_json_kind bm_json_kind_of(const bm_json *value);
const char *bm_json_kind_name(bm_json_kind kind); // "null", "boolean", "number", "string", "array", "object"

const bm_json *bm_json_first(const bm_json *container);              // first child; NULL: none (or no container)
const bm_json *bm_json_next(const bm_json *child);                   // NULL: last
const char *bm_json_key(const bm_json *member);                      // key of an object's member; NULL elsewhere
uint32_t bm_json_count(const bm_json *container);                    // children; walks the list
const bm_json *bm_json_find(const bm_json *object, const char *key); // NULL: absent; linear

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
void bm_json_put_bool(bm_json_writer *writer, const char *key, bool value);
void bm_json_put_null(bm_json_writer *writer, const char *key);
void bm_json_put_value(bm_json_writer *writer, const char *key, const bm_json *value); // a copy of a read value

#endif
