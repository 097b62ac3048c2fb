// Looking through JSON text for what cJSON would let pass, and writing otherwise what it does not take.
#include "formats/json_internal.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>

#define MAX_INTEGER (UINT64_C(1) << 53) // what a double holds exactly
#define MAX_NUMBER 63u                  // characters that cJSON takes
#define BAD_ESCAPE UINT32_MAX

// What the tree of a text may take. The costs are those of a 64-bit allocator, rounded up: of a cJSON item, of a
// string beside its characters, and of a key in the table that looks for keys given twice. Tokenizers of the usual
// form take 7 to 9 bytes for each of theirs; without white space it may be 19, which the base allows for up to 20 MB.
#define VALUE_BYTES (sizeof(cJSON) + 16)
#define STRING_BYTES 24u
#define KEY_BYTES 96u
#define TREE_BYTES_PER_BYTE 16u
#define TREE_BASE_BYTES (UINT64_C(64) << 20)

bm_status json_fail_at(const json_source *source, size_t at, const char *words)
{
    char line[32] = "", byte[32] = "";
    size_t num_lines = 1, begin = 0;
    for (size_t i = 0; i < at; i++)
        if (source->text[i] == '\n') {
            num_lines++;
            begin = i + 1;
        }
    if (memchr(source->text, '\n', source->length))
        snprintf(line, sizeof line, "line %zu: ", num_lines);
    if (!source->is_odd) // else it may be a copy, whose lines alone are where they were
        snprintf(byte, sizeof byte, "byte %zu: ", at - begin + 1);
    return bm_fail(source->err, BM_E_FORMAT, "%s: %s%s%s", source->name, line, byte, words);
}

size_t json_string_end(const char *text, size_t length, size_t at)
{
    for (; at < length && text[at] != '"'; at++)
        if (text[at] == '\\')
            at++;
    return at < length ? at : length;
}

bool json_is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

// ---- numbers ----

static size_t digits_end(const char *text, size_t at, size_t end)
{
    while (at < end && text[at] >= '0' && text[at] <= '9')
        at++;
    return at;
}

size_t json_number_length(const char *text, size_t length, size_t at)
{
    static const char *const words[] = {"NaN", "Infinity", "-Infinity"};
    size_t end = at;
    if (text[at] == '\0' || !strchr("-0123456789NI", text[at]))
        return 0;
    for (size_t i = 0; i < BM_COUNT(words); i++) {
        const size_t count = strlen(words[i]);
        if (length - at >= count && memcmp(text + at, words[i], count) == 0)
            return count;
    }
    while (end < length && text[end] != '\0' && strchr("-0123456789+.eE", text[end]))
        end++;
    return end - at;
}

static bool is_word(const char *number, size_t count)
{
    return number[count - 1] == 'N' || number[count - 1] == 'y';
}

// Digits without a leading zero, then maybe a point and digits, then maybe an exponent. cJSON leaves it to strtod,
// which takes "1." and "-.5".
static bool is_well_formed(const char *number, size_t count)
{
    const size_t begin = number[0] == '-';
    size_t at = digits_end(number, begin, count);
    if (at == begin || (at - begin > 1 && number[begin] == '0'))
        return false;
    if (at < count && number[at] == '.') {
        const size_t fraction = at + 1;
        at = digits_end(number, fraction, count);
        if (at == fraction)
            return false;
    }
    if (at < count && (number[at] == 'e' || number[at] == 'E')) {
        const size_t exponent = at + 1 + (at + 1 < count && (number[at + 1] == '+' || number[at + 1] == '-'));
        at = digits_end(number, exponent, count);
        if (at == exponent)
            return false;
    }
    return at == count;
}

bool json_number_is_readable(const char *number, size_t count, bool *is_integer)
{
    char copy[MAX_NUMBER + 1];
    uint64_t magnitude = 0;
    double value = 0;
    *is_integer = false;
    if (count == 0 || count > MAX_NUMBER || is_word(number, count))
        return false;
    memcpy(copy, number, count);
    copy[count] = '\0';
    const char *digits = copy + (copy[0] == '-');
    *is_integer = digits[strspn(digits, "0123456789")] == '\0';
    return *is_integer ? bm_parse_u64(digits, &magnitude) && magnitude <= MAX_INTEGER : bm_parse_double(copy, &value);
}

// ---- escapes ----

// The code unit of the escape \uNNNN at text[at]; BAD_ESCAPE: no such escape.
static uint32_t code_unit(const char *text, size_t end, size_t at)
{
    static const char digits[] = "0123456789abcdef";
    uint32_t unit = 0;
    if (end - at < 6 || text[at] != '\\' || text[at + 1] != 'u')
        return BAD_ESCAPE;
    for (size_t i = at + 2; i < at + 6; i++) {
        const char c = text[i];
        const char *digit = strchr(digits, c >= 'A' && c <= 'F' ? c - 'A' + 'a' : c);
        if (c == '\0' || !digit)
            return BAD_ESCAPE;
        unit = unit * 16 + (uint32_t)(digit - digits);
    }
    return unit;
}

// The escape \u at text[at] in a string that ends at end: *length is that of a pair where there is one. 0 and the
// halves of pairs are what cannot be read.
static uint32_t read_escape(const char *text, size_t end, size_t at, size_t *length)
{
    const uint32_t unit = code_unit(text, end, at);
    *length = 6;
    if (unit < 0xD800 || unit > 0xDBFF)
        return unit;
    const uint32_t low = code_unit(text, end, at + 6);
    if (low < 0xDC00 || low > 0xDFFF)
        return unit;
    *length = 12;
    return 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
}

static bool is_readable_character(uint32_t c)
{
    return c != 0 && (c < 0xD800 || c > 0xDFFF);
}

// ---- looking through ----

static bm_status scan_string(json_source *source, size_t begin, size_t end)
{
    const char *text = source->text;
    source->tree_bytes += bm_round_up(end - begin + STRING_BYTES, 16);
    for (size_t at = begin; at < end; at++) {
        if ((unsigned char)text[at] < 0x20)
            return json_fail_at(source, at, "a control character in a string, expected an escape such as \\t");
        if (text[at] != '\\')
            continue;
        if (at + 1 < end && text[at + 1] == 'u') {
            size_t length = 0;
            const uint32_t c = read_escape(text, end, at, &length);
            if (c == BAD_ESCAPE)
                return json_fail_at(source, at, "\"\\u\" in a string, expected four hexadecimal digits behind it");
            source->is_odd = source->is_odd || !is_readable_character(c);
            at += length - 2;
        }
        at++; // what is escaped: a backslash, for one, starts no escape of its own
    }
    return BM_OK;
}

// Values are counted by what stands in front of them: a bracket, or a comma.
bm_status json_scan(json_source *source)
{
    const char *text = source->text;
    uint32_t depth = 0;
    source->tree_bytes = VALUE_BYTES;
    for (size_t i = 0; i < source->length; i++) {
        const char c = text[i];
        const size_t count = json_number_length(text, source->length, i);
        if (c == '"') {
            const size_t end = json_string_end(text, source->length, i + 1);
            const bm_status status = scan_string(source, i + 1, end);
            if (status != BM_OK)
                return status;
            i = end;
        } else if (count > 0) {
            bool is_integer = false;
            source->is_odd = source->is_odd || count > MAX_NUMBER || is_word(text + i, count);
            if (!json_number_is_readable(text + i, count, &is_integer)) // keeps its text
                source->tree_bytes += bm_round_up(count + STRING_BYTES, 16);
            if (!is_word(text + i, count) && !is_well_formed(text + i, count)) {
                char words[80];
                snprintf(words, sizeof words, "%.*s is no number of JSON", (int)bm_min_u64(count, 40), text + i);
                return json_fail_at(source, i, words);
            }
            i += count - 1;
        } else if (c == '{' || c == '[') {
            source->tree_bytes += VALUE_BYTES;
            if (++depth > JSON_MAX_DEPTH)
                return json_fail_at(source, i, "nested deeper than 64");
        } else if (c == '}' || c == ']') {
            depth -= depth > 0;
        } else if (c == ',') {
            source->tree_bytes += VALUE_BYTES;
        } else if (c == ':') {
            source->tree_bytes += KEY_BYTES;
        } else if (c == '/' || c == '#') {
            return json_fail_at(source, i, "a comment; JSON has none");
        } else if ((unsigned char)c < 0x20 && !json_is_space(c)) {
            return json_fail_at(source, i, "a control character");
        }
    }
    const uint64_t bound = source->length * TREE_BYTES_PER_BYTE + TREE_BASE_BYTES;
    if (source->tree_bytes > bound)
        return bm_fail(source->err, BM_E_FORMAT,
                       "%s: its values would take %llu MB of memory, expected at most %llu for %llu bytes of JSON",
                       source->name, (unsigned long long)(source->tree_bytes / 1000000),
                       (unsigned long long)(bound / 1000000), (unsigned long long)source->length);
    return BM_OK;
}

// ---- what cJSON does not take ----

// Copies a string without its quotes. Half of a surrogate pair becomes the three bytes that UTF-8 has not for it, a
// zero character the two. Returns the end of what was written.
static char *copy_string(char *out, const char *text, size_t begin, size_t end)
{
    for (size_t at = begin; at < end;) {
        size_t length = 1;
        if (text[at] == '\\' && at + 1 < end) {
            length = 2;
            const uint32_t c = text[at + 1] == 'u' ? read_escape(text, end, at, &length) : 1;
            if (!is_readable_character(c)) {
                *out++ = (char)(c == 0 ? 0xC0 : 0xED);
                if (c != 0)
                    *out++ = (char)(0x80 | (c >> 6 & 0x3F));
                *out++ = (char)(0x80 | (c & 0x3F));
                at += length;
                continue;
            }
        }
        memcpy(out, text + at, length);
        out += length;
        at += length;
    }
    return out;
}

char *json_rewrite(const json_source *source, size_t *length)
{
    const char *text = source->text;
    char *copy = bm_alloc(source->length, 1), *out = copy;
    for (size_t i = 0; copy && i < source->length;) {
        const size_t count = json_number_length(text, source->length, i);
        if (text[i] == '"') {
            const size_t end = json_string_end(text, source->length, i + 1);
            *out++ = '"';
            out = copy_string(out, text, i + 1, end);
            i = end;
            if (i < source->length)
                *out++ = text[i++];
        } else if (count > MAX_NUMBER || (count > 0 && is_word(text + i, count))) {
            *out++ = ' '; // blanks around it: it must not join what stands beside it
            *out++ = '0';
            *out++ = ' ';
            i += count;
        } else {
            const size_t step = count > 0 ? count : 1;
            memcpy(out, text + i, step);
            out += step;
            i += step;
        }
    }
    *length = (size_t)(out - copy);
    return copy;
}
