// Reading JSON strictly: the text is looked through for what cJSON would let pass and for what it does not know, parsed by
// cJSON, and then its objects are checked for keys given twice.
//
// A value that C cannot hold is no error here: most files have keys that nobody reads. What cJSON would stop at is written
// otherwise in a copy: numbers as 0, and of strings half a surrogate pair or a zero character in the bytes that UTF-8 does
// not allow for them. Then such a number gets its text (valuestring), such a string is marked (valueint); bm_json_kind_of
// tells them from the others.
#include "formats/json_internal.h"

#include "base/file.h"
#include "base/hash.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>

#define MAX_DEPTH 64
#define MAX_INTEGER (UINT64_C(1) << 53) // what a double holds exactly
#define MAX_NUMBER 63u                  // characters that cJSON takes
#define BAD_ESCAPE UINT32_MAX

// What the tree of a text may take. The costs are those of a 64-bit allocator, rounded up: of a cJSON item, of a string
// beside its characters, and of a key in the table that looks for keys given twice.
#define VALUE_BYTES (sizeof(cJSON) + 16)
#define STRING_BYTES 24u
#define KEY_BYTES 96u
#define TREE_BYTES_PER_BYTE 16u // published tokenizers without white space need 7 to 15
#define TREE_BASE_BYTES (UINT64_C(64) << 20)

typedef struct json_source {
    const char *text;
    size_t length;
    const char *name;
    bm_error *err;
    uint64_t tree_bytes; // at most, of what was looked through
    bool is_odd;         // holds what cJSON does not take
} json_source;

// "FILE: " or, of a text of several lines, "FILE: line 3: " in front of the words.
static bm_status fail_at(const json_source *source, size_t at, const char *words)
{
    uint32_t line = 1;
    if (!memchr(source->text, '\n', source->length))
        return bm_fail(source->err, BM_E_FORMAT, "%s: %s", source->name, words);
    for (size_t i = 0; i < at; i++)
        line += source->text[i] == '\n';
    return bm_fail(source->err, BM_E_FORMAT, "%s: line %u: %s", source->name, line, words);
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

// How many characters the number at text[at] has, 0: none begins there. Python writes NaN and infinities so.
static size_t number_length(const char *text, size_t length, size_t at)
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

// Digits without a leading zero, then maybe a point and digits, then maybe an exponent. cJSON leaves it to strtod, which
// takes "1." and "-.5".
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

// A number written as an integer must be within 2^53, any other must be finite. *is_integer: how it was written.
static bool is_readable(const char *number, size_t count, bool *is_integer)
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

// The escape \u at text[at] in a string that ends at end: *length is that of a pair where there is one. 0 and the halves of
// pairs are what cannot be read.
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
            return fail_at(source, at, "a control character in a string");
        if (text[at] != '\\')
            continue;
        if (at + 1 < end && text[at + 1] == 'u') {
            size_t length = 0;
            const uint32_t c = read_escape(text, end, at, &length);
            if (c == BAD_ESCAPE)
                return fail_at(source, at, "\"\\u\" in a string, expected four hexadecimal digits behind it");
            source->is_odd = source->is_odd || !is_readable_character(c);
            at += length - 2;
        }
        at++; // what is escaped: a backslash, for one, starts no escape of its own
    }
    return BM_OK;
}

// Depth, comments, control characters, the form of numbers and escapes; cJSON judges the rest of the grammar. Values are
// counted by what stands in front of them: a bracket, or a comma.
static bm_status scan(json_source *source)
{
    const char *text = source->text;
    uint32_t depth = 0;
    source->tree_bytes = VALUE_BYTES;
    for (size_t i = 0; i < source->length; i++) {
        const char c = text[i];
        const size_t count = number_length(text, source->length, i);
        if (c == '"') {
            const size_t end = json_string_end(text, source->length, i + 1);
            const bm_status status = scan_string(source, i + 1, end);
            if (status != BM_OK)
                return status;
            i = end;
        } else if (count > 0) {
            source->is_odd = source->is_odd || count > MAX_NUMBER || is_word(text + i, count);
            if (!is_word(text + i, count) && !is_well_formed(text + i, count)) {
                char words[80];
                snprintf(words, sizeof words, "%.*s is no number of JSON", (int)bm_min_u64(count, 40), text + i);
                return fail_at(source, i, words);
            }
            i += count - 1;
        } else if (c == '{' || c == '[') {
            source->tree_bytes += VALUE_BYTES;
            if (++depth > MAX_DEPTH)
                return fail_at(source, i, "nested deeper than 64");
        } else if (c == '}' || c == ']') {
            depth -= depth > 0;
        } else if (c == ',') {
            source->tree_bytes += VALUE_BYTES;
        } else if (c == ':') {
            source->tree_bytes += KEY_BYTES;
        } else if (c == '/' || c == '#') {
            return fail_at(source, i, "a comment; JSON has none");
        } else if ((unsigned char)c < 0x20 && !json_is_space(c)) {
            return fail_at(source, i, "a control character");
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

// Copies a string without its quotes. Half of a surrogate pair becomes the three bytes that UTF-8 has not for it, a zero
// character the two. Returns the end of what was written.
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

// The text with other words for what cJSON does not take, never longer and with the same lines; bm_free it. NULL: no memory.
static char *rewrite(const json_source *source, size_t *length)
{
    const char *text = source->text;
    char *copy = bm_alloc(source->length, 1), *out = copy;
    for (size_t i = 0; copy && i < source->length;) {
        const size_t count = number_length(text, source->length, i);
        if (text[i] == '"') {
            const size_t end = json_string_end(text, source->length, i + 1);
            *out++ = '"';
            out = copy_string(out, text, i + 1, end);
            i = end;
            if (i < source->length)
                *out++ = text[i++];
        } else if (count > MAX_NUMBER || (count > 0 && is_word(text + i, count))) {
            memcpy(out, " 0 ", 3); // blanks: it must not join what stands beside it
            out += 3;
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

// ---- the tree ----

// Small objects, the usual case, are compared pair by pair; large ones by a table.
static bm_status check_keys(const cJSON *object, const json_source *source)
{
    enum { SMALL = 16 };
    bm_error *err = source->err;
    const uint32_t count = bm_json_count(object);
    bm_status status = BM_OK;
    bm_map *map = count > SMALL ? bm_map_create(count) : NULL;
    BM_FAIL_IF(count > SMALL && !map, err, BM_E_MEMORY, "out of memory");
    for (const cJSON *member = object->child; member; member = member->next) {
        bool again = false;
        const size_t length = strlen(member->string);
        char shown[80];
        BM_FAIL_IF(source->is_odd && !bm_utf8_is_valid(member->string, length), err, BM_E_FORMAT,
                   "%s: key \"%s\" holds a zero character or half of a surrogate pair", source->name,
                   bm_printable(member->string, length, shown, sizeof shown));
        if (map)
            BM_FAIL_IF(!bm_map_insert(map, member->string, length, 0, &again), err, BM_E_MEMORY, "out of memory");
        for (const cJSON *other = object->child; !map && other != member; other = other->next)
            again = again || strcmp(other->string, member->string) == 0;
        BM_FAIL_IF(again, err, BM_E_FORMAT, "%s: key \"%s\" is given twice", source->name,
                   bm_printable(member->string, length, shown, sizeof shown));
    }
done:
    bm_map_destroy(&map);
    return status;
}

// Marks how a number was written, which cJSON forgets: valueint is 1 for an integer; one that cannot be read keeps its
// text. *at is the place in the text behind the last number.
static bm_status mark_number(cJSON *value, const json_source *source, size_t *at)
{
    const char *text = source->text;
    bool is_integer = false;
    size_t count = 0;
    while (*at < source->length && (count = number_length(text, source->length, *at)) == 0)
        *at = text[*at] == '"' ? json_string_end(text, source->length, *at + 1) + 1 : *at + 1;
    if (!is_readable(text + *at, count, &is_integer)) {
        value->valuestring = cJSON_malloc(count + 1); // by cJSON's own allocator: it frees the tree
        if (!value->valuestring)
            return bm_fail(source->err, BM_E_MEMORY, "%s: out of memory", source->name);
        memcpy(value->valuestring, text + *at, count);
        value->valuestring[count] = '\0';
    }
    value->valueint = is_integer && !value->valuestring;
    *at += count;
    return BM_OK;
}

// Walks the tree without recursion: cJSON keeps no parent, so the way back is kept here.
static bm_status check_tree(cJSON *root, const json_source *source)
{
    cJSON *path[MAX_DEPTH + 1];
    uint32_t depth = 0;
    size_t number_at = 0;
    cJSON *at = root;
    for (;;) {
        bm_status status = BM_OK;
        if (cJSON_IsNumber(at))
            status = mark_number(at, source, &number_at);
        else if (cJSON_IsString(at))
            at->valueint = source->is_odd && !bm_utf8_is_valid(at->valuestring, strlen(at->valuestring));
        else if (cJSON_IsObject(at))
            status = check_keys(at, source);
        if (status != BM_OK)
            return status;
        if (at->child && depth < MAX_DEPTH) {
            path[depth++] = at;
            at = at->child;
            continue;
        }
        while (depth > 0 && !at->next)
            at = path[--depth];
        if (depth == 0)
            return BM_OK;
        at = at->next;
    }
}

bm_status bm_json_parse(bm_json **out, const char *text, size_t length, const char *name, bm_error *err)
{
    static const char mark[] = "\xef\xbb\xbf";
    const size_t skipped = length >= 3 && memcmp(text, mark, 3) == 0 ? 3 : 0;
    json_source source = {.text = text + skipped, .length = length - skipped, .name = name, .err = err};
    bm_status status = BM_OK;
    char *copy = NULL;
    cJSON *root = NULL;
    const char *end = NULL;
    BM_FAIL_IF(!bm_utf8_is_valid(text, length), err, BM_E_FORMAT, "%s: is not valid UTF-8", name);
    BM_FAIL_IF(source.length >= 3 && memcmp(source.text, mark, 3) == 0, err, BM_E_FORMAT,
               "%s: begins with a byte order mark twice", name); // cJSON would pass over the second
    BM_TRY(scan(&source));
    const char *parsed = source.text;
    size_t parsed_length = source.length;
    if (source.is_odd) {
        parsed = copy = rewrite(&source, &parsed_length);
        BM_FAIL_IF(!copy, err, BM_E_MEMORY, "%s: out of memory", name);
    }
    root = cJSON_ParseWithLengthOpts(parsed, parsed_length, &end, 0);
    const json_source place = {.text = parsed, .length = parsed_length, .name = name, .err = err};
    if (!root) {
        status = fail_at(&place, end ? (size_t)(end - parsed) : 0, "is not valid JSON");
        goto done;
    }
    while (end < parsed + parsed_length && json_is_space(*end))
        end++;
    if (end < parsed + parsed_length) {
        status = fail_at(&place, (size_t)(end - parsed), "something follows the JSON value");
        goto done;
    }
    BM_TRY(check_tree(root, &source));
    *out = root;
    root = NULL;
done:
    cJSON_Delete(root);
    bm_free(copy);
    return status;
}

bm_status bm_json_read_file(bm_json **out, const char *path, uint64_t max_size, bm_error *err)
{
    char *text = NULL;
    uint64_t size = 0;
    bm_status status = bm_file_read_all(path, max_size, &text, &size, err);
    if (status == BM_OK)
        status = bm_json_parse(out, text, (size_t)size, path, err);
    bm_free(text);
    return status;
}

void bm_json_destroy(bm_json **root)
{
    if (root && *root)
        cJSON_Delete(*root);
    if (root)
        *root = NULL;
}
