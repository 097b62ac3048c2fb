// Growable strings, strict numbers, UTF-8.
#include "base/str.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool reserve(bm_string *string, size_t more)
{
    if (string->failed)
        return false;
    if (more < string->capacity - string->length)
        return true;
    uint64_t need = 0;
    if (!bm_add_u64(string->length, (uint64_t)more + 1, &need)) {
        string->failed = true;
        return false;
    }
    const uint64_t capacity = bm_max_u64(bm_max_u64(need, 2 * (uint64_t)string->capacity), 64);
    char *data = bm_resize(string->data, capacity, 1);
    if (!data) {
        string->failed = true;
        return false;
    }
    string->data = data;
    string->capacity = (size_t)capacity;
    return true;
}

bool bm_string_append_bytes(bm_string *string, const void *bytes, size_t length)
{
    if (!reserve(string, length))
        return false;
    if (length > 0)
        memcpy(string->data + string->length, bytes, length);
    string->length += length;
    string->data[string->length] = '\0';
    return true;
}

bool bm_string_append(bm_string *string, const char *text)
{
    return bm_string_append_bytes(string, text, strlen(text));
}

static bool append_arguments(bm_string *string, const char *format, va_list arguments)
{
    va_list again;
    va_copy(again, arguments);
    const int length = vsnprintf(NULL, 0, format, arguments);
    const bool fits = length >= 0 && reserve(string, (size_t)length);
    if (fits) {
        vsnprintf(string->data + string->length, (size_t)length + 1, format, again);
        string->length += (size_t)length;
    } else {
        string->failed = true;
    }
    va_end(again);
    return fits;
}

bool bm_string_append_format(bm_string *string, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const bool fits = append_arguments(string, format, arguments);
    va_end(arguments);
    return fits;
}

void bm_string_clear(bm_string *string)
{
    string->length = 0;
    if (string->data)
        string->data[0] = '\0';
}

void bm_string_free(bm_string *string)
{
    bm_free(string->data);
    *string = (bm_string)BM_STRING_INIT;
}

const char *bm_string_text(const bm_string *string)
{
    return string->data ? string->data : "";
}

char *bm_format(const char *format, ...)
{
    bm_string string = BM_STRING_INIT;
    va_list arguments;
    va_start(arguments, format);
    const bool fits = append_arguments(&string, format, arguments);
    va_end(arguments);
    if (!fits)
        bm_string_free(&string);
    return string.data;
}

bool bm_starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool bm_ends_with(const char *text, const char *suffix)
{
    const size_t n = strlen(text), m = strlen(suffix);
    return n >= m && memcmp(text + n - m, suffix, m) == 0;
}

static int lower(char c)
{
    return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : (unsigned char)c;
}

bool bm_equal_ignore_case(const char *a, const char *b)
{
    while (*a && lower(*a) == lower(*b))
        a++, b++;
    return *a == '\0' && *b == '\0';
}

bool bm_parse_u64(const char *text, uint64_t *out)
{
    uint64_t value = 0;
    if (*text == '\0')
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9' || !bm_multiply_u64(value, 10, &value) ||
            !bm_add_u64(value, (uint64_t)(*text - '0'), &value))
            return false;
    }
    *out = value;
    return true;
}

bool bm_parse_i64(const char *text, int64_t *out)
{
    const bool negative = *text == '-';
    uint64_t magnitude = 0;
    if (!bm_parse_u64(text + (negative || *text == '+'), &magnitude) ||
        magnitude > (uint64_t)INT64_MAX + (negative ? 1 : 0))
        return false;
    *out = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    return true;
}

bool bm_parse_double(const char *text, double *out)
{
    // strtod reads the locale's decimal point: the text is checked to be plain, and its point replaced by the locale's.
    char buffer[128];
    const size_t length = strlen(text);
    if (length == 0 || length >= sizeof buffer || strspn(text, "+-.0123456789eE") != length)
        return false;
    memcpy(buffer, text, length + 1);
    char *point = strchr(buffer, '.');
    const char *local_point = localeconv()->decimal_point;
    if (point && local_point[0] != '\0' && local_point[1] == '\0')
        *point = local_point[0];
    char *end = NULL;
    errno = 0;
    const double value = strtod(buffer, &end);
    if (*end != '\0' || !isfinite(value))
        return false;
    *out = value;
    return true;
}

uint32_t bm_edit_distance(const char *a, const char *b)
{
    enum { MAX = 64 };
    const size_t n = strnlen(a, MAX), m = strnlen(b, MAX);
    uint32_t row[MAX + 1];
    for (size_t j = 0; j <= m; j++)
        row[j] = (uint32_t)j;
    for (size_t i = 1; i <= n; i++) {
        uint32_t diagonal = row[0];
        row[0] = (uint32_t)i;
        for (size_t j = 1; j <= m; j++) {
            const uint32_t substitute = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            const uint32_t insert = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            row[j] = substitute < insert ? substitute : insert;
        }
    }
    return row[m];
}

// Length of the valid UTF-8 sequence at b of at most n bytes; 0: invalid. Source: Unicode 15, table 3-7.
static size_t sequence_length(const uint8_t *b, size_t n)
{
    if (b[0] < 0x80)
        return 1;
    const size_t length = b[0] >= 0xc2 && b[0] <= 0xdf   ? 2
                          : (b[0] & 0xf0) == 0xe0        ? 3
                          : b[0] >= 0xf0 && b[0] <= 0xf4 ? 4
                                                         : 0;
    if (length == 0 || length > n)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((b[i] & 0xc0) != 0x80)
            return 0;
    const bool overlong = (b[0] == 0xe0 && b[1] < 0xa0) || (b[0] == 0xf0 && b[1] < 0x90);
    const bool beyond = (b[0] == 0xed && b[1] > 0x9f) || (b[0] == 0xf4 && b[1] > 0x8f);
    return overlong || beyond ? 0 : length;
}

bool bm_utf8_is_valid(const void *bytes, size_t length)
{
    const uint8_t *b = bytes;
    for (size_t i = 0; i < length;) {
        const size_t step = sequence_length(b + i, length - i);
        if (step == 0)
            return false;
        i += step;
    }
    return true;
}

size_t bm_control_length(const char *text, size_t length)
{
    const uint8_t *b = (const uint8_t *)text;
    if (length > 0 && (b[0] < 0x20 || b[0] == 0x7f))
        return 1;
    return length > 1 && b[0] == 0xc2 && b[1] >= 0x80 && b[1] <= 0x9f ? 2 : 0;
}

const char *bm_printable(const char *text, size_t length, char *out, size_t capacity)
{
    size_t used = 0;
    for (size_t i = 0; i < length;) {
        size_t step = sequence_length((const uint8_t *)text + i, length - i);
        const size_t control = bm_control_length(text + i, length - i);
        if (used + (step ? step : 1) + 4 > capacity) { // room for "..." and the zero stays
            if (capacity >= 4 && used + 4 <= capacity) {
                memcpy(out + used, "...", 3);
                used += 3;
            }
            break;
        }
        if (step == 0 || control > 0) {
            out[used++] = '?';
            step = control > 0 ? control : 1;
        } else {
            memcpy(out + used, text + i, step);
            used += step;
        }
        i += step;
    }
    if (capacity > 0)
        out[used] = '\0';
    return out;
}

void bm_make_printable(char *text)
{
    const size_t length = strlen(text);
    size_t used = 0;
    for (size_t i = 0; i < length;) { // what is written is never longer than what was read
        const size_t control = bm_control_length(text + i, length - i);
        const size_t step = sequence_length((const uint8_t *)text + i, length - i);
        if (step == 0 || control > 0) {
            text[used++] = strchr("\n\r\t", text[i]) ? ' ' : '?';
            i += control > 0 ? control : 1;
            continue;
        }
        memmove(text + used, text + i, step);
        used += step;
        i += step;
    }
    text[used] = '\0';
}

bool bm_parse_size(const char *text, uint64_t *out)
{
    static const struct {
        const char *name;
        double bytes;
    } units[] = {{"B", 1},           {"kB", 1e3},           {"MB", 1e6},
                 {"GB", 1e9},        {"TB", 1e12},          {"KiB", 1024.0},
                 {"MiB", 1048576.0}, {"GiB", 1073741824.0}, {"TiB", 1099511627776.0}};
    char number[32];
    double value;
    const size_t length = strspn(text, "0123456789.");
    const char *unit = text + length + strspn(text + length, " ");
    if (length == 0 || length >= sizeof number)
        return false;
    memcpy(number, text, length);
    number[length] = '\0';
    if (!bm_parse_double(number, &value))
        return false;
    for (size_t i = 0; i < BM_COUNT(units); i++)
        if (bm_equal_ignore_case(unit, units[i].name)) {
            *out = value * units[i].bytes < 1e18 ? (uint64_t)(value * units[i].bytes) : 0;
            return *out > 0;
        }
    return false;
}
