// A large object or array read member by member: each is cut out of the text and parsed by itself, so that its tree is
// all that is in memory beside the text.
#include "formats/json_internal.h"

#include <string.h>

#define MAX_MEMBER_BYTES (16u << 20)

typedef struct member_walk {
    const char *text;
    size_t length, at;
    const char *name;
    bm_json_visitor *visit;
    void *user;
    bm_error *err;
} member_walk;

static void skip_space(member_walk *walk)
{
    while (walk->at < walk->length && json_is_space(walk->text[walk->at]))
        walk->at++;
}

// Moves to the comma or bracket that ends the member.
static void skip_member(member_walk *walk)
{
    uint32_t depth = 0;
    for (; walk->at < walk->length; walk->at++) {
        const char c = walk->text[walk->at];
        if (c == '"')
            walk->at = json_string_end(walk->text, walk->length, walk->at + 1);
        else if (c == '{' || c == '[')
            depth++;
        else if (depth == 0 && (c == ',' || c == '}' || c == ']'))
            return;
        else if (c == '}' || c == ']')
            depth--;
    }
    walk->at = walk->length;
}

// Parses text[begin] .. text[walk->at - 1] in brackets of its own.
static bm_status visit_member(member_walk *walk, size_t begin, bool is_object, uint64_t index, bm_string *scratch)
{
    bm_status status = BM_OK;
    bm_json *root = NULL;
    const char *unit = is_object ? "member" : "element";
    char *name = NULL;
    BM_FAIL_IF(walk->at - begin > MAX_MEMBER_BYTES, walk->err, BM_E_FORMAT,
               "%s: %s %llu has %zu bytes, expected at most %u", walk->name, unit, (unsigned long long)index + 1,
               walk->at - begin, MAX_MEMBER_BYTES);
    name = bm_format("%s: %s %llu", walk->name, unit, (unsigned long long)index + 1);
    bm_string_clear(scratch);
    bm_string_append(scratch, is_object ? "{" : "[");
    bm_string_append_bytes(scratch, walk->text + begin, walk->at - begin);
    bm_string_append(scratch, is_object ? "}" : "]");
    BM_FAIL_IF(!name || scratch->failed, walk->err, BM_E_MEMORY, "%s: out of memory", walk->name);
    BM_TRY(bm_json_parse(&root, bm_string_text(scratch), scratch->length, name, walk->err));
    const bm_json *member = bm_json_first(root);
    BM_FAIL_IF(!member, walk->err, BM_E_FORMAT, "%s: is not valid JSON", name);
    BM_TRY(walk->visit(walk->user, member, index, walk->err));
done:
    bm_json_destroy(&root);
    bm_free(name);
    return status;
}

bm_status bm_json_visit(const char *text, size_t length, const char *name, bm_json_visitor *visit, void *user,
                        bm_error *err)
{
    member_walk walk = {.text = text, .length = length, .name = name, .visit = visit, .user = user, .err = err};
    bm_string scratch = BM_STRING_INIT;
    bm_status status = BM_OK;
    walk.at = length >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    skip_space(&walk);
    BM_FAIL_IF(walk.at == length || !strchr("{[", text[walk.at]), err, BM_E_FORMAT,
               "%s: expected one JSON object or array", name);
    const bool is_object = text[walk.at++] == '{';
    skip_space(&walk);
    const bool is_empty = walk.at < length && text[walk.at] == (is_object ? '}' : ']');
    for (uint64_t index = 0; !is_empty; index++) {
        const size_t begin = walk.at;
        skip_member(&walk);
        BM_TRY(visit_member(&walk, begin, is_object, index, &scratch));
        if (walk.at == length || text[walk.at] != ',')
            break;
        walk.at++;
    }
    BM_FAIL_IF(walk.at == length || text[walk.at] != (is_object ? '}' : ']'), err, BM_E_FORMAT,
               "%s: is not valid JSON: it has no end", name);
    walk.at++;
    skip_space(&walk);
    BM_FAIL_IF(walk.at < length, err, BM_E_FORMAT, "%s: something follows the JSON value", name);
done:
    bm_string_free(&scratch);
    return status;
}
