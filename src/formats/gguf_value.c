// Metadata of a GGUF file, by key and type.
#include "formats/gguf_internal.h"

#include "base/str.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define FOUND_SIZE 96

const char *gguf_kind_name(bm_gguf_kind kind)
{
    static const char *const names[] = {"UINT8", "INT8",   "UINT16", "INT16",  "UINT32", "INT32",  "FLOAT32",
                                        "BOOL",  "STRING", "ARRAY",  "UINT64", "INT64",  "FLOAT64"};
    return (uint32_t)kind < BM_COUNT(names) ? names[kind] : "an unknown kind";
}

bm_gguf_string bm_gguf_key(const bm_gguf_value *value)
{
    return (bm_gguf_string){(const char *)value->header->bytes + value->key_at, value->key_length};
}

bm_gguf_string bm_gguf_stored(const bm_gguf_value *value)
{
    const uint64_t begin = value->key_at - 8; // its length
    return (bm_gguf_string){(const char *)value->header->bytes + begin, value->end - begin};
}

bm_gguf_kind bm_gguf_kind_of(const bm_gguf_value *value)
{
    return value->kind;
}
bm_gguf_kind bm_gguf_element_kind_of(const bm_gguf_value *value)
{
    return value->element_kind;
}
uint64_t bm_gguf_count(const bm_gguf_value *value)
{
    return value->count;
}

bool bm_gguf_has_integers(const bm_gguf_value *value)
{
    switch ((int)value->element_kind) {
    case BM_GGUF_UINT8:
    case BM_GGUF_INT8:
    case BM_GGUF_UINT16:
    case BM_GGUF_INT16:
    case BM_GGUF_UINT32:
    case BM_GGUF_INT32:
    case BM_GGUF_UINT64:
    case BM_GGUF_INT64:
        return true;
    default:
        return false;
    }
}

bool bm_gguf_has_numbers(const bm_gguf_value *value)
{
    return bm_gguf_has_integers(value) || value->element_kind == BM_GGUF_FLOAT32 ||
           value->element_kind == BM_GGUF_FLOAT64;
}

static const uint8_t *element(const bm_gguf_value *v, uint64_t index)
{
    return v->header->bytes + v->at + index * gguf_kind_size(v->element_kind);
}

bm_gguf_string bm_gguf_string_at(const bm_gguf_value *v, uint64_t index)
{
    if (v->element_kind != BM_GGUF_STRING || index >= v->count)
        return (bm_gguf_string){NULL, 0};
    const uint8_t *bytes = v->header->bytes + (v->places ? v->places[index] : v->at);
    return (bm_gguf_string){(const char *)bytes + 8, bm_load_le64(bytes)};
}

int64_t bm_gguf_integer_at(const bm_gguf_value *v, uint64_t index)
{
    if (!bm_gguf_has_integers(v) || index >= v->count)
        return 0;
    const uint8_t *bytes = element(v, index);
    switch ((int)v->element_kind) {
    case BM_GGUF_UINT8:
        return bytes[0];
    case BM_GGUF_INT8:
        return (int8_t)bytes[0];
    case BM_GGUF_UINT16:
        return bm_load_le16(bytes);
    case BM_GGUF_INT16:
        return (int16_t)bm_load_le16(bytes);
    case BM_GGUF_UINT32:
        return bm_load_le32(bytes);
    case BM_GGUF_INT32:
        return (int32_t)bm_load_le32(bytes);
    case BM_GGUF_UINT64:
        return (int64_t)bm_min_u64(bm_load_le64(bytes), INT64_MAX);
    default:
        return (int64_t)bm_load_le64(bytes);
    }
}

double bm_gguf_number_at(const bm_gguf_value *v, uint64_t index)
{
    if (!bm_gguf_has_numbers(v) || index >= v->count)
        return 0;
    if (v->element_kind == BM_GGUF_FLOAT32) {
        const uint32_t bits = bm_load_le32(element(v, index));
        float value;
        memcpy(&value, &bits, sizeof value);
        return (double)value;
    }
    if (v->element_kind == BM_GGUF_FLOAT64) {
        const uint64_t bits = bm_load_le64(element(v, index));
        double value;
        memcpy(&value, &bits, sizeof value);
        return value;
    }
    return (double)bm_gguf_integer_at(v, index);
}

bool bm_gguf_string_is(bm_gguf_string string, const char *text)
{
    return string.bytes && string.length == strlen(text) && memcmp(string.bytes, text, string.length) == 0;
}

// "STRING \"llama\"", "UINT32 4096", "an array of 12 INT32".
static const char *describe(const bm_gguf_value *v, char out[FOUND_SIZE])
{
    const char *kind = gguf_kind_name(v->element_kind);
    const bm_gguf_string text = bm_gguf_string_at(v, 0);
    char shown[64];
    if (v->kind == BM_GGUF_ARRAY)
        snprintf(out, FOUND_SIZE, "an array of %" PRIu64 " %s", v->count, kind);
    else if (text.bytes)
        snprintf(out, FOUND_SIZE, "%s \"%s\"", kind, bm_printable(text.bytes, text.length, shown, sizeof shown));
    else if (bm_gguf_has_integers(v))
        snprintf(out, FOUND_SIZE, "%s %" PRId64, kind, bm_gguf_integer_at(v, 0));
    else if (bm_gguf_has_numbers(v))
        snprintf(out, FOUND_SIZE, "%s %g", kind, bm_gguf_number_at(v, 0));
    else
        snprintf(out, FOUND_SIZE, "%s %s", kind, element(v, 0)[0] ? "true" : "false");
    return out;
}

static bm_status fail(const gguf_part *part, const bm_gguf_value *v, const char *expected, bm_error *err)
{
    char key[160], found[FOUND_SIZE];
    const bm_gguf_string name = bm_gguf_key(v);
    return bm_fail(err, BM_E_FORMAT, "%s: key \"%s\": found %s, expected %s", part->path,
                   bm_printable(name.bytes, name.length, key, sizeof key), describe(v, found), expected);
}

bm_status gguf_part_get_integer(const gguf_part *part, const char *key, int64_t low, int64_t high, int64_t fallback,
                                int64_t *out, bm_error *err)
{
    const bm_gguf_value *v = gguf_part_find(part, key);
    char expected[80];
    *out = fallback;
    if (!v)
        return BM_OK;
    const int64_t value = bm_gguf_integer_at(v, 0);
    if (v->kind == BM_GGUF_ARRAY || !bm_gguf_has_integers(v) || value < low || value > high) {
        snprintf(expected, sizeof expected, "an integer from %" PRId64 " to %" PRId64, low, high);
        return fail(part, v, expected, err);
    }
    *out = value;
    return BM_OK;
}

bm_status bm_gguf_get_integer(const bm_gguf *gguf, const char *key, int64_t low, int64_t high, int64_t fallback,
                              int64_t *out, bm_error *err)
{
    return gguf_part_get_integer(gguf->parts[0], key, low, high, fallback, out, err);
}

bm_status bm_gguf_get_number(const bm_gguf *gguf, const char *key, double low, double high, double fallback,
                             double *out, bm_error *err)
{
    const bm_gguf_value *v = bm_gguf_find(gguf, key);
    char expected[80];
    *out = fallback;
    if (!v)
        return BM_OK;
    const double value = bm_gguf_number_at(v, 0);
    if (v->kind == BM_GGUF_ARRAY || !bm_gguf_has_numbers(v) || !(value >= low && value <= high)) {
        snprintf(expected, sizeof expected, "a number from %g to %g", low, high);
        return fail(gguf->parts[0], v, expected, err);
    }
    *out = value;
    return BM_OK;
}

bm_status bm_gguf_get_bool(const bm_gguf *gguf, const char *key, bool fallback, bool *out, bm_error *err)
{
    const bm_gguf_value *v = bm_gguf_find(gguf, key);
    *out = fallback;
    if (v && v->kind != BM_GGUF_BOOL)
        return fail(gguf->parts[0], v, "BOOL", err);
    if (v)
        *out = element(v, 0)[0] != 0;
    return BM_OK;
}

bm_status bm_gguf_get_string(const bm_gguf *gguf, const char *key, bm_gguf_string *out, bm_error *err)
{
    const bm_gguf_value *v = bm_gguf_find(gguf, key);
    *out = (bm_gguf_string){NULL, 0};
    if (v && v->kind != BM_GGUF_STRING)
        return fail(gguf->parts[0], v, "STRING", err);
    if (v)
        *out = bm_gguf_string_at(v, 0);
    return BM_OK;
}

// An empty array has no elements of a wrong kind.
static bm_status get_array(const bm_gguf *gguf, const char *key, bool (*is_right)(const bm_gguf_value *),
                           const char *expected, const bm_gguf_value **out, bm_error *err)
{
    const bm_gguf_value *v = bm_gguf_find(gguf, key);
    *out = NULL;
    if (v && (v->kind != BM_GGUF_ARRAY || (v->count > 0 && !is_right(v))))
        return fail(gguf->parts[0], v, expected, err);
    *out = v;
    return BM_OK;
}

static bool has_strings(const bm_gguf_value *value)
{
    return value->element_kind == BM_GGUF_STRING;
}

bm_status bm_gguf_get_strings(const bm_gguf *gguf, const char *key, const bm_gguf_value **out, bm_error *err)
{
    return get_array(gguf, key, has_strings, "an array of STRING", out, err);
}

bm_status bm_gguf_get_integers(const bm_gguf *gguf, const char *key, const bm_gguf_value **out, bm_error *err)
{
    return get_array(gguf, key, bm_gguf_has_integers, "an array of integers", out, err);
}

bm_status bm_gguf_get_numbers(const bm_gguf *gguf, const char *key, const bm_gguf_value **out, bm_error *err)
{
    return get_array(gguf, key, bm_gguf_has_numbers, "an array of numbers", out, err);
}
