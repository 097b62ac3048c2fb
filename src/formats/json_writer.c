// Writing JSON: text is appended, commas and indentation follow from the state.
#include "formats/json.h"

#include <cjson/cJSON.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void bm_json_writer_init(bm_json_writer *writer, bm_string *out, uint32_t indent)
{
    *writer = (bm_json_writer){.out = out, .indent = indent};
}

static void new_line(bm_json_writer *w)
{
    if (w->indent == 0)
        return;
    (void)bm_string_append(w->out, "\n");
    for (uint32_t i = 0; i < w->depth * w->indent; i++)
        (void)bm_string_append(w->out, " ");
}

// What bm_json_parse keeps of a zero character, C0 80, and of half a surrogate pair, ED A0..BF 80..BF: UTF-8 has neither.
// Returns its length, and the character in *code; 0: it is none.
static size_t escape_length(const char *text, size_t length, unsigned *code)
{
    const uint8_t *b = (const uint8_t *)text;
    if (length >= 2 && b[0] == 0xC0 && b[1] == 0x80) {
        *code = 0;
        return 2;
    }
    if (length < 3 || b[0] != 0xED || b[1] < 0xA0 || b[2] < 0x80)
        return 0;
    *code = 0xD000u | (b[1] & 0x3Fu) << 6 | (b[2] & 0x3Fu);
    return 3;
}

// Of control characters JSON wants those below U+0020 escaped; the others could drive a terminal as well.
static void quote(bm_json_writer *w, const char *text, size_t length)
{
    (void)bm_string_append(w->out, "\"");
    for (size_t i = 0; i < length;) {
        unsigned code = 0;
        const size_t escape = escape_length(text + i, length - i, &code);
        const size_t control = bm_control_length(text + i, length - i);
        if (text[i] == '"' || text[i] == '\\')
            (void)bm_string_append_format(w->out, "\\%c", text[i]);
        else if (text[i] == '\n')
            (void)bm_string_append(w->out, "\\n");
        else if (escape > 0)
            (void)bm_string_append_format(w->out, "\\u%04x", code);
        else if (control > 0) // of two bytes the second is the code point: U+0080 to U+009F
            (void)bm_string_append_format(w->out, "\\u%04x", (unsigned)(unsigned char)text[i + control - 1]);
        else
            (void)bm_string_append_bytes(w->out, text + i, 1);
        i += escape > 0 ? escape : control > 0 ? control : 1;
    }
    (void)bm_string_append(w->out, "\"");
}

// What stands before any value: a comma, a new line, the key.
static void begin_value(bm_json_writer *w, const char *key)
{
    const uint64_t bit = UINT64_C(1) << (w->depth & 63);
    if (w->depth > 0) {
        if (w->has_member & bit)
            (void)bm_string_append(w->out, ",");
        w->has_member |= bit;
        new_line(w);
    }
    if (key) {
        quote(w, key, strlen(key));
        (void)bm_string_append(w->out, w->indent ? ": " : ":");
    }
}

static void begin_container(bm_json_writer *w, const char *key, const char *bracket)
{
    begin_value(w, key);
    (void)bm_string_append(w->out, bracket);
    w->depth++;
    w->has_member &= ~(UINT64_C(1) << (w->depth & 63));
}

static void end_container(bm_json_writer *w, const char *bracket)
{
    const bool had_member = (w->has_member >> (w->depth & 63)) & 1;
    w->depth--;
    if (had_member)
        new_line(w);
    (void)bm_string_append(w->out, bracket);
}

void bm_json_begin_object(bm_json_writer *writer, const char *key)
{
    begin_container(writer, key, "{");
}
void bm_json_end_object(bm_json_writer *writer)
{
    end_container(writer, "}");
}
void bm_json_begin_array(bm_json_writer *writer, const char *key)
{
    begin_container(writer, key, "[");
}
void bm_json_end_array(bm_json_writer *writer)
{
    end_container(writer, "]");
}

void bm_json_put_string(bm_json_writer *writer, const char *key, const char *value)
{
    if (value)
        bm_json_put_text(writer, key, value, strlen(value));
    else
        bm_json_put_null(writer, key);
}

void bm_json_put_text(bm_json_writer *writer, const char *key, const char *text, size_t length)
{
    begin_value(writer, key);
    quote(writer, text, length);
}

void bm_json_put_integer(bm_json_writer *writer, const char *key, int64_t value)
{
    begin_value(writer, key);
    (void)bm_string_append_format(writer->out, "%lld", (long long)value);
}

// The shortest text that reads back equal, as a double or, with is_float, as a float32.
static void put_real(bm_json_writer *writer, const char *key, double value, bool is_float)
{
    char text[40];
    begin_value(writer, key);
    if (!isfinite(value)) {
        (void)bm_string_append(writer->out, "null");
        return;
    }
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        const double back = strtod(text, NULL);
        if (back == value || (is_float && (float)back == (float)value))
            break;
    }
    char *const point = strchr(text, localeconv()->decimal_point[0]); // a program around us may have set a locale
    if (point)
        *point = '.';
    (void)bm_string_append(writer->out, text);
    if (strspn(text, "-0123456789") == strlen(text))
        (void)bm_string_append(writer->out, ".0"); // stays a number with a fraction for strict readers
}

void bm_json_put_double(bm_json_writer *writer, const char *key, double value)
{
    put_real(writer, key, value, false);
}

void bm_json_put_float(bm_json_writer *writer, const char *key, float value)
{
    put_real(writer, key, (double)value, true);
}

void bm_json_put_bool(bm_json_writer *writer, const char *key, bool value)
{
    begin_value(writer, key);
    (void)bm_string_append(writer->out, value ? "true" : "false");
}

void bm_json_put_null(bm_json_writer *writer, const char *key)
{
    begin_value(writer, key);
    (void)bm_string_append(writer->out, "null");
}

static void put_number(bm_json_writer *w, const char *key, const bm_json *value)
{
    if (bm_json_is_integer(value))
        bm_json_put_integer(w, key, (int64_t)bm_json_number(value));
    else
        bm_json_put_double(w, key, bm_json_number(value));
}

static void put_unreadable(bm_json_writer *w, const char *key, const bm_json *value)
{
    if (cJSON_IsString(value)) {
        bm_json_put_string(w, key, value->valuestring);
        return;
    }
    begin_value(w, key);
    (void)bm_string_append(w->out, value->valuestring);
}

// Depth is bounded by the reader (64), so recursion is bounded too.
void bm_json_put_value(bm_json_writer *writer, const char *key, const bm_json *value)
{
    switch (bm_json_kind_of(value)) {
    case BM_JSON_NULL:
        bm_json_put_null(writer, key);
        return;
    case BM_JSON_BOOL:
        bm_json_put_bool(writer, key, bm_json_bool(value));
        return;
    case BM_JSON_NUMBER:
        put_number(writer, key, value);
        return;
    case BM_JSON_STRING:
        bm_json_put_string(writer, key, bm_json_string(value));
        return;
    case BM_JSON_UNREADABLE:
        put_unreadable(writer, key, value);
        return;
    case BM_JSON_ARRAY:
        bm_json_begin_array(writer, key);
        break;
    case BM_JSON_OBJECT:
        bm_json_begin_object(writer, key);
        break;
    }
    for (const bm_json *child = bm_json_first(value); child; child = bm_json_next(child))
        bm_json_put_value(writer, bm_json_key(child), child);
    if (bm_json_kind_of(value) == BM_JSON_ARRAY)
        bm_json_end_array(writer);
    else
        bm_json_end_object(writer);
}
