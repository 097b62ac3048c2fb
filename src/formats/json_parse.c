// Reading JSON strictly: the text is looked through for what cJSON would let pass and for what it does not know,
// parsed by cJSON, and then its objects are checked for keys given twice.
//
// A value that C cannot hold is no error here: most files have keys that nobody reads. What cJSON would stop at is
// written otherwise in a copy: numbers as 0, and of strings half a surrogate pair or a zero character in the bytes
// that UTF-8 does not allow for them. Then such a number gets its text (valuestring), such a string is marked
// (valueint); bm_json_kind_of tells them from the others.
#include "formats/json_internal.h"

#include "base/file.h"
#include "base/hash.h"

#include <cjson/cJSON.h>
#include <string.h>

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
    while (*at < source->length && (count = json_number_length(text, source->length, *at)) == 0)
        *at = text[*at] == '"' ? json_string_end(text, source->length, *at + 1) + 1 : *at + 1;
    if (!json_number_is_readable(text + *at, count, &is_integer)) {
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
    cJSON *path[JSON_MAX_DEPTH + 1];
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
        if (at->child && depth < JSON_MAX_DEPTH) {
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

static bool is_blank(const char *text, size_t length)
{
    while (length > 0 && json_is_space(text[length - 1]))
        length--;
    return length == 0;
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
    BM_FAIL_IF(is_blank(source.text, source.length), err, BM_E_FORMAT, "%s: is empty, expected JSON", name);
    BM_TRY(json_scan(&source));
    const char *parsed = source.text;
    size_t parsed_length = source.length;
    if (source.is_odd) {
        parsed = copy = json_rewrite(&source, &parsed_length);
        BM_FAIL_IF(!copy, err, BM_E_MEMORY, "%s: out of memory", name);
    }
    root = cJSON_ParseWithLengthOpts(parsed, parsed_length, &end, 0);
    const json_source place = {
        .text = parsed, .length = parsed_length, .name = name, .err = err, .is_odd = source.is_odd};
    if (!root) {
        status = json_fail_at(&place, end ? (size_t)(end - parsed) : 0, "is not valid JSON");
        goto done;
    }
    while (end < parsed + parsed_length && json_is_space(*end))
        end++;
    if (end < parsed + parsed_length) {
        status = json_fail_at(&place, (size_t)(end - parsed), "something follows the JSON value");
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
