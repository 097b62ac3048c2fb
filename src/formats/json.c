// Reading JSON strictly: the text is scanned for what cJSON would let pass, then parsed by cJSON, then its objects are
// checked for keys given twice.
#include "formats/json.h"

#include "base/file.h"
#include "base/hash.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>

#define MAX_DEPTH 64
#define MAX_INTEGER (UINT64_C(1) << 53) // what a double holds exactly

// The place of a byte, for messages.
static uint32_t line_of(const char *text, size_t at)
{
    uint32_t line = 1;
    for (size_t i = 0; i < at; i++)
        line += text[i] == '\n';
    return line;
}

// The end of the string that starts behind the quote at `at`; length when it has none.
static size_t skip_string(const char *text, size_t length, size_t at)
{
    for (; at < length && text[at] != '"'; at++)
        if (text[at] == '\\')
            at++;
    return at < length ? at : length;
}

static bool is_number_char(char c)
{
    return (c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E';
}

// The grammar of a number: digits without a leading zero, then maybe a point and digits, then maybe an exponent. cJSON
// leaves it to strtod, which takes "1." and "-.5".
static bool number_is_well_formed(const char *digits)
{
    static const char any[] = "0123456789";
    const size_t whole = strspn(digits, any);
    if (whole == 0 || (whole > 1 && digits[0] == '0'))
        return false;
    digits += whole;
    if (*digits == '.') {
        const size_t fraction = strspn(++digits, any);
        if (fraction == 0)
            return false;
        digits += fraction;
    }
    if (*digits == 'e' || *digits == 'E') {
        digits += digits[1] == '+' || digits[1] == '-' ? 2 : 1;
        const size_t exponent = strspn(digits, any);
        if (exponent == 0)
            return false;
        digits += exponent;
    }
    return *digits == '\0';
}

// A number written as an integer must be within 2^53, any other must be finite.
static bool number_fits(const char *text, size_t count)
{
    char copy[128];
    double value;
    uint64_t magnitude;
    if (count >= sizeof copy)
        return false;
    memcpy(copy, text, count);
    copy[count] = '\0';
    const char *digits = copy + (copy[0] == '-');
    if (!number_is_well_formed(digits))
        return false;
    if (strspn(digits, "0123456789") == strlen(digits))
        return bm_parse_u64(digits, &magnitude) && magnitude <= MAX_INTEGER;
    return bm_parse_double(copy, &value);
}

// Depth, comments, numbers. Strings are skipped; cJSON judges the grammar. integers gets a 'i' for each number that is
// written without fraction and exponent and a 'f' for the others, in the order of the text: cJSON forgets the
// difference.
static bm_status scan(const char *text, size_t length, const char *name, bm_string *integers, bm_error *err)
{
    uint32_t depth = 0;
    for (size_t i = 0; i < length; i++) {
        const char c = text[i];
        if (c == '"') {
            const size_t end = skip_string(text, length, i + 1);
            for (size_t k = i + 1; k < end; k++) {
                if ((unsigned char)text[k] < 0x20)
                    return bm_fail(err, BM_E_FORMAT, "%s: line %u: a control character in a string", name,
                                   line_of(text, k));
                if (text[k] != '\\')
                    continue;
                if (k + 6 <= end && memcmp(text + k, "\\u0000", 6) == 0)
                    return bm_fail(err, BM_E_FORMAT, "%s: line %u: a zero character in a string", name,
                                   line_of(text, k));
                k++; // what is escaped: a backslash, for one, starts no escape of its own
            }
            i = end;
        } else if (c == '{' || c == '[') {
            if (++depth > MAX_DEPTH)
                return bm_fail(err, BM_E_FORMAT, "%s: line %u: nested deeper than %d", name, line_of(text, i),
                               MAX_DEPTH);
        } else if (c == '}' || c == ']') {
            depth -= depth > 0;
        } else if (c == '/' || c == '#') {
            return bm_fail(err, BM_E_FORMAT, "%s: line %u: a comment; JSON has none", name, line_of(text, i));
        } else if ((unsigned char)c < 0x20 && c != '\t' && c != '\n' && c != '\r') {
            return bm_fail(err, BM_E_FORMAT, "%s: line %u: a control character", name, line_of(text, i));
        } else if (c == '-' || (c >= '0' && c <= '9')) {
            size_t end = i;
            while (end < length && is_number_char(text[end]))
                end++;
            if (!number_fits(text + i, end - i))
                return bm_fail(err, BM_E_FORMAT,
                               "%s: line %u: number %.*s, expected an integer within 2^53 or a finite number", name,
                               line_of(text, i), (int)(end - i > 40 ? 40 : end - i), text + i);
            bool has_fraction = false;
            for (; i < end; i++)
                has_fraction = has_fraction || strchr(".eE", text[i]) != NULL;
            i = end - 1;
            if (!bm_string_append(integers, has_fraction ? "f" : "i"))
                return bm_fail(err, BM_E_MEMORY, "%s: out of memory", name);
        }
    }
    return BM_OK;
}

// Small objects, the usual case, are compared pair by pair; large ones by a table.
static bm_status check_keys(const cJSON *object, const char *name, bm_error *err)
{
    enum { SMALL = 16 };
    const uint32_t count = bm_json_count(object);
    bm_status status = BM_OK;
    bm_map *map = count > SMALL ? bm_map_create(count) : NULL;
    BM_FAIL_IF(count > SMALL && !map, err, BM_E_MEMORY, "out of memory");
    for (const cJSON *member = object->child; member; member = member->next) {
        bool again = false;
        if (map)
            BM_FAIL_IF(!bm_map_insert(map, member->string, strlen(member->string), 0, &again), err, BM_E_MEMORY,
                       "out of memory");
        for (const cJSON *other = object->child; !map && other != member; other = other->next)
            again = again || strcmp(other->string, member->string) == 0;
        char shown[80];
        BM_FAIL_IF(again, err, BM_E_FORMAT, "%s: key \"%s\" is given twice", name,
                   bm_printable(member->string, strlen(member->string), shown, sizeof shown));
    }
done:
    bm_map_destroy(&map);
    return status;
}

// Walks the tree without recursion: cJSON keeps no parent, so the way back is kept here. Marks in valueint, which
// nobody reads otherwise, whether a number was written as an integer.
static bm_status check_tree(cJSON *root, const bm_string *integers, const char *name, bm_error *err)
{
    cJSON *path[MAX_DEPTH + 1];
    uint32_t depth = 0;
    size_t number = 0;
    cJSON *at = root;
    for (;;) {
        if (cJSON_IsNumber(at) && number < integers->length)
            at->valueint = integers->data[number++] == 'i';
        if (cJSON_IsObject(at)) {
            const bm_status status = check_keys(at, name, err);
            if (status != BM_OK)
                return status;
        }
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
    if (length >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        text += 3;
        length -= 3;
    }
    if (!bm_utf8_is_valid(text, length))
        return bm_fail(err, BM_E_FORMAT, "%s: is not valid UTF-8", name);
    bm_status status = BM_OK;
    bm_string integers = BM_STRING_INIT;
    cJSON *root = NULL;
    const char *end = NULL;
    BM_TRY(scan(text, length, name, &integers, err));
    root = cJSON_ParseWithLengthOpts(text, length, &end, 0);
    BM_FAIL_IF(!root, err, BM_E_FORMAT, "%s: line %u: is not valid JSON", name,
               line_of(text, end ? (size_t)(end - text) : 0));
    for (; end < text + length; end++)
        BM_FAIL_IF(!strchr(" \t\r\n", *end), err, BM_E_FORMAT, "%s: line %u: something follows the JSON value", name,
                   line_of(text, (size_t)(end - text)));
    BM_TRY(check_tree(root, &integers, name, err));
    *out = root;
    root = NULL;
done:
    cJSON_Delete(root);
    bm_string_free(&integers);
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

bm_json_kind bm_json_kind_of(const bm_json *value)
{
    if (cJSON_IsObject(value))
        return BM_JSON_OBJECT;
    if (cJSON_IsArray(value))
        return BM_JSON_ARRAY;
    if (cJSON_IsString(value))
        return BM_JSON_STRING;
    if (cJSON_IsNumber(value))
        return BM_JSON_NUMBER;
    return cJSON_IsBool(value) ? BM_JSON_BOOL : BM_JSON_NULL;
}

const char *bm_json_kind_name(bm_json_kind kind)
{
    static const char *const names[] = {"null", "boolean", "number", "string", "array", "object"};
    return (size_t)kind < BM_COUNT(names) ? names[kind] : "?";
}

const bm_json *bm_json_first(const bm_json *container)
{
    return cJSON_IsObject(container) || cJSON_IsArray(container) ? container->child : NULL;
}

const bm_json *bm_json_next(const bm_json *child)
{
    return child->next;
}
const char *bm_json_key(const bm_json *member)
{
    return member->string;
}

uint32_t bm_json_count(const bm_json *container)
{
    uint32_t count = 0;
    for (const bm_json *child = bm_json_first(container); child; child = child->next)
        count++;
    return count;
}

const bm_json *bm_json_find(const bm_json *object, const char *key)
{
    if (!cJSON_IsObject(object))
        return NULL;
    for (const bm_json *member = object->child; member; member = member->next)
        if (strcmp(member->string, key) == 0)
            return member;
    return NULL;
}

bool bm_json_bool(const bm_json *value)
{
    return cJSON_IsTrue(value);
}
double bm_json_number(const bm_json *value)
{
    return value->valuedouble;
}
const char *bm_json_string(const bm_json *value)
{
    return value->valuestring;
}

bool bm_json_is_integer(const bm_json *value)
{
    return cJSON_IsNumber(value) && value->valueint != 0; // as check_tree marked it
}

// What was found, for messages: a short text of the value or its kind.
static const char *found_text(const bm_json *value, char *out, size_t size)
{
    char shown[48];
    switch (bm_json_kind_of(value)) {
    case BM_JSON_STRING:
        snprintf(out, size, "\"%s\"",
                 bm_printable(value->valuestring, strlen(value->valuestring), shown, sizeof shown));
        break;
    case BM_JSON_NUMBER:
        snprintf(out, size, "%.17g", value->valuedouble);
        break;
    case BM_JSON_BOOL:
        snprintf(out, size, "%s", cJSON_IsTrue(value) ? "true" : "false");
        break;
    case BM_JSON_NULL:
    case BM_JSON_ARRAY:
    case BM_JSON_OBJECT:
        snprintf(out, size, "an %s", bm_json_kind_name(bm_json_kind_of(value)));
        break;
    }
    return out;
}

// The member key of object unless it is absent or null.
static const bm_json *present(const bm_json *object, const char *key)
{
    const bm_json *value = bm_json_find(object, key);
    return value && !cJSON_IsNull(value) ? value : NULL;
}

bm_status bm_json_get_integer(const bm_json *object, const char *key, int64_t low, int64_t high, int64_t fallback,
                              int64_t *out, const char *name, bm_error *err)
{
    char found[64];
    const bm_json *value = present(object, key);
    if (value && (!bm_json_is_integer(value) || value->valuedouble < (double)low || value->valuedouble > (double)high))
        return bm_fail(err, BM_E_FORMAT, "%s: key \"%s\": expected an integer in %lld..%lld, found %s", name, key,
                       (long long)low, (long long)high, found_text(value, found, sizeof found));
    *out = value ? (int64_t)value->valuedouble : fallback;
    return BM_OK;
}

bm_status bm_json_get_double(const bm_json *object, const char *key, double low, double high, double fallback,
                             double *out, const char *name, bm_error *err)
{
    char found[64];
    const bm_json *value = present(object, key);
    if (value && !(cJSON_IsNumber(value) && value->valuedouble >= low && value->valuedouble <= high))
        return bm_fail(err, BM_E_FORMAT, "%s: key \"%s\": expected a number in %g..%g, found %s", name, key, low, high,
                       found_text(value, found, sizeof found));
    *out = value ? value->valuedouble : fallback;
    return BM_OK;
}

bm_status bm_json_get_bool(const bm_json *object, const char *key, bool fallback, bool *out, const char *name,
                           bm_error *err)
{
    char found[64];
    const bm_json *value = present(object, key);
    if (value && !cJSON_IsBool(value))
        return bm_fail(err, BM_E_FORMAT, "%s: key \"%s\": expected true or false, found %s", name, key,
                       found_text(value, found, sizeof found));
    *out = value ? cJSON_IsTrue(value) : fallback;
    return BM_OK;
}

bm_status bm_json_get_string(const bm_json *object, const char *key, const char *fallback, const char **out,
                             const char *name, bm_error *err)
{
    char found[64];
    const bm_json *value = present(object, key);
    if (value && !cJSON_IsString(value))
        return bm_fail(err, BM_E_FORMAT, "%s: key \"%s\": expected a string, found %s", name, key,
                       found_text(value, found, sizeof found));
    *out = value ? value->valuestring : fallback;
    return BM_OK;
}
