// Read JSON values: the walk over them, lookups, and typed members with words.
#include "formats/json.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>

bm_json_kind bm_json_kind_of(const bm_json *value)
{
    if (cJSON_IsObject(value))
        return BM_JSON_OBJECT;
    if (cJSON_IsArray(value))
        return BM_JSON_ARRAY;
    if (cJSON_IsString(value)) // marked by bm_json_parse, as numbers are
        return value->valueint ? BM_JSON_UNREADABLE : BM_JSON_STRING;
    if (cJSON_IsNumber(value))
        return value->valuestring ? BM_JSON_UNREADABLE : BM_JSON_NUMBER;
    return cJSON_IsBool(value) ? BM_JSON_BOOL : BM_JSON_NULL;
}

const char *bm_json_kind_name(bm_json_kind kind)
{
    static const char *const names[] = {
        "null", "boolean", "number", "string", "array", "object", "value that cannot be read"};
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

bool bm_json_holds_string(const bm_json *array, const char *text)
{
    for (const bm_json *item = array ? bm_json_first(array) : NULL; item; item = item->next)
        if (bm_json_kind_of(item) == BM_JSON_STRING && strcmp(item->valuestring, text) == 0)
            return true;
    return false;
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
    return cJSON_IsNumber(value) && value->valueint != 0; // as bm_json_parse marked it
}

const char *bm_json_found(const bm_json *value, char *out, size_t size)
{
    char shown[48];
    if (!value) {
        snprintf(out, size, "none");
        return out;
    }
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
        snprintf(out, size, "null");
        break;
    case BM_JSON_ARRAY:
    case BM_JSON_OBJECT:
        snprintf(out, size, "an %s", bm_json_kind_name(bm_json_kind_of(value)));
        break;
    case BM_JSON_UNREADABLE:
        if (cJSON_IsNumber(value))
            snprintf(out, size, "%.40s, which is no integer within 2^53 and no finite number", value->valuestring);
        else
            snprintf(out, size, "a string with %s",
                     strstr(value->valuestring, "\xC0\x80") ? "a zero character" : "half of a surrogate pair");
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
    char found[BM_JSON_FOUND_SIZE];
    const bm_json *value = present(object, key);
    if (value && (!bm_json_is_integer(value) || value->valuedouble < (double)low || value->valuedouble > (double)high))
        return bm_fail(err, BM_E_FORMAT, "%s: key \"%s\": expected an integer in %lld..%lld, found %s", name, key,
                       (long long)low, (long long)high, bm_json_found(value, found, sizeof found));
    *out = value ? (int64_t)value->valuedouble : fallback;
    return BM_OK;
}

bm_status bm_json_get_double(const bm_json *object, const char *key, double low, double high, double fallback,
                             double *out, const char *name, bm_error *err)
{
    char found[BM_JSON_FOUND_SIZE];
    const bm_json *value = present(object, key);
    if (value && !(bm_json_kind_of(value) == BM_JSON_NUMBER && value->valuedouble >= low && value->valuedouble <= high))
        return bm_fail(err, BM_E_FORMAT, "%s: key \"%s\": expected a number in %g..%g, found %s", name, key, low, high,
                       bm_json_found(value, found, sizeof found));
    *out = value ? value->valuedouble : fallback;
    return BM_OK;
}

bm_status bm_json_get_bool(const bm_json *object, const char *key, bool fallback, bool *out, const char *name,
                           bm_error *err)
{
    char found[BM_JSON_FOUND_SIZE];
    const bm_json *value = present(object, key);
    if (value && !cJSON_IsBool(value))
        return bm_fail(err, BM_E_FORMAT, "%s: key \"%s\": expected true or false, found %s", name, key,
                       bm_json_found(value, found, sizeof found));
    *out = value ? cJSON_IsTrue(value) : fallback;
    return BM_OK;
}

bm_status bm_json_get_string(const bm_json *object, const char *key, const char *fallback, const char **out,
                             const char *name, bm_error *err)
{
    char found[BM_JSON_FOUND_SIZE];
    const bm_json *value = present(object, key);
    if (value && bm_json_kind_of(value) != BM_JSON_STRING)
        return bm_fail(err, BM_E_FORMAT, "%s: key \"%s\": expected a string, found %s", name, key,
                       bm_json_found(value, found, sizeof found));
    *out = value ? value->valuestring : fallback;
    return BM_OK;
}
