// Post-processors: what TemplateProcessing puts around a single text.
//
// Only the form for one text matters here. Every TemplateProcessing of a Sequence wraps what the ones before it made;
// ByteLevel changes offsets alone.
#include "text/tokenizer_internal.h"

#include <string.h>

#define MAX_AROUND 64u // tokens that a template may add on one side

static bm_status append_special(bm_tokenizer *tokenizer, bm_token_list *list, const bm_json *table, const char *name,
                                const char *where, bm_error *err)
{
    char shown[64], found[BM_JSON_FOUND_SIZE];
    const bm_json *entry = table ? bm_json_find(table, name) : NULL;
    const bm_json *ids = entry ? bm_json_find(entry, "ids") : NULL;
    bm_printable(name, strlen(name), shown, sizeof shown);
    if (!ids || bm_json_kind_of(ids) != BM_JSON_ARRAY)
        return bm_fail(err, BM_E_FORMAT, "%s: key \"special_tokens\": expected an array of ids of \"%s\", found %s",
                       where, shown, bm_json_found(ids, found, sizeof found));
    // With one id at least, MAX_AROUND bounds the items of a template too, and each looks through the whole table.
    if (!bm_json_first(ids))
        return bm_fail(err, BM_E_FORMAT, "%s: special_tokens \"%s\": key \"ids\": expected at least one id, found []",
                       where, shown);
    for (const bm_json *item = bm_json_first(ids); item; item = bm_json_next(item)) {
        const bool is_integer = bm_json_kind_of(item) == BM_JSON_NUMBER && bm_json_is_integer(item);
        const double id = is_integer ? bm_json_number(item) : -1;
        if (id < 0 || id >= tokenizer->num_ids)
            return bm_fail(err, BM_E_FORMAT, "%s: special_tokens \"%s\": expected ids in 0..%u", where, shown,
                           tokenizer->num_ids - 1);
        const uint32_t value = (uint32_t)id;
        if (list->count >= MAX_AROUND)
            return bm_fail(err, BM_E_FORMAT, "%s: more than %u special tokens", where, MAX_AROUND);
        if (!bm_token_list_append(list, &value, 1))
            return bm_fail(err, BM_E_MEMORY, "%s: out of memory", where);
    }
    return BM_OK;
}

// One item of "single": {"SpecialToken": {"id": name}} or {"Sequence": {"id": "A"}}.
static bm_status load_item(bm_tokenizer *tokenizer, const bm_json *item, const bm_json *table, bm_token_list *front,
                           bm_token_list *behind, bool *has_text, const char *where, bm_error *err)
{
    const bm_json *special = bm_json_find(item, "SpecialToken"), *sequence = bm_json_find(item, "Sequence");
    const bm_json *id = special ? bm_json_find(special, "id") : sequence ? bm_json_find(sequence, "id") : NULL;
    if (!id || bm_json_kind_of(id) != BM_JSON_STRING)
        return bm_fail(err, BM_E_FORMAT, "%s: key \"single\": expected SpecialToken or Sequence with an \"id\"", where);
    if (special)
        return append_special(tokenizer, *has_text ? behind : front, table, bm_json_string(id), where, err);
    if (*has_text || strcmp(bm_json_string(id), "A") != 0)
        return bm_fail(err, BM_E_FORMAT, "%s: key \"single\": expected the Sequence A once", where);
    *has_text = true;
    return BM_OK;
}

static bm_status load_template(bm_tokenizer *tokenizer, const bm_json *json, const char *where, bm_error *err)
{
    bm_status status = BM_OK;
    bm_token_list front = BM_TOKEN_LIST_INIT, behind = BM_TOKEN_LIST_INIT;
    bool has_text = false;
    const bm_json *single = bm_json_find(json, "single");
    BM_FAIL_IF(!single || bm_json_kind_of(single) != BM_JSON_ARRAY, err, BM_E_FORMAT,
               "%s: TemplateProcessing: key \"single\": expected an array", where);
    for (const bm_json *item = bm_json_first(single); item; item = bm_json_next(item))
        BM_TRY(
            load_item(tokenizer, item, bm_json_find(json, "special_tokens"), &front, &behind, &has_text, where, err));
    BM_FAIL_IF(!has_text, err, BM_E_FORMAT, "%s: TemplateProcessing: key \"single\": expected the Sequence A", where);
    BM_FAIL_IF(!bm_token_list_append(&front, tokenizer->front.ids, tokenizer->front.count) ||
                   !bm_token_list_append(&tokenizer->behind, behind.ids, behind.count),
               err, BM_E_MEMORY, "%s: out of memory", where);
    bm_token_list_free(&tokenizer->front);
    tokenizer->front = front;
    front = (bm_token_list)BM_TOKEN_LIST_INIT;
    tokenizer->has_template = true;
done:
    bm_token_list_free(&front);
    bm_token_list_free(&behind);
    return status;
}

bm_status text_template_load(bm_tokenizer *tokenizer, const bm_json *json, bm_error *err)
{
    bm_status status = BM_OK;
    text_components components;
    char *where = bm_format("%s: post_processor", tokenizer->path);
    BM_FAIL_IF(!where, err, BM_E_MEMORY, "%s: out of memory", tokenizer->path);
    BM_TRY(text_components_flatten(&components, json, "processors", where, err));
    tokenizer->has_post_processor = json && bm_json_kind_of(json) != BM_JSON_NULL;
    for (uint32_t i = 0; i < components.count; i++) {
        const char *type = components.types[i];
        if (strcmp(type, "TemplateProcessing") == 0) {
            BM_TRY(load_template(tokenizer, components.items[i], where, err));
        } else if (strcmp(type, "ByteLevel") != 0) {
            char shown[64];
            BM_FAIL_IF(true, err, BM_E_UNSUPPORTED,
                       "%s: type \"%s\" is not supported, expected Sequence, TemplateProcessing or ByteLevel", where,
                       bm_printable(type, strlen(type), shown, sizeof shown));
        }
    }
done:
    bm_free(where);
    return status;
}
