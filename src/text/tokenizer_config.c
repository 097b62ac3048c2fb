// BOS and EOS: the files beside tokenizer.json.
//
// Which tokens exist: tokenizer_config.json (bos_token, eos_token), the ids of generation_config.json, those of
// config.json, and BOS at last from the template. All of them end a text that is generated, as transformers and vLLM
// have it; where one token is wanted, the first that the vocabulary has counts. Which are added: the post-processor of
// tokenizer.json when there is one, else the flags add_bos_token and add_eos_token (absent: false).
//
// Source    formats.md 9.1 row 8.7: transformers' classes differ here; this rule is ours, and describe() states it.
#include "text/tokenizer_internal.h"

#include "base/file.h"

#include <string.h>

#define MAX_CONFIG_BYTES (UINT64_C(16) << 20)

// Reads FOLDER/NAME if it exists; *root stays NULL otherwise. *path is set for errors; the caller frees both.
static bm_status read_beside(bm_json **root, char **path, const char *folder, const char *name, bm_error *err)
{
    *path = bm_path_join(folder, name);
    if (!*path)
        return bm_fail(err, BM_E_MEMORY, "%s: out of memory", folder);
    if (bm_path_kind_of(*path) != BM_PATH_FILE)
        return BM_OK;
    const bm_status status = bm_json_read_file(root, *path, MAX_CONFIG_BYTES, err);
    if (status == BM_OK && bm_json_kind_of(*root) != BM_JSON_OBJECT)
        return bm_fail(err, BM_E_FORMAT, "%s: expected an object", *path);
    return status;
}

// "bos_token": "<s>" or {"content": "<s>", ...}. A token that the vocabulary lacks is passed over.
static bm_status add_named(const bm_tokenizer *tokenizer, const bm_json *config, const char *key, bm_token_list *list,
                           const char *path, bm_error *err)
{
    char found[BM_JSON_FOUND_SIZE];
    uint32_t id = 0;
    const bm_json *value = bm_json_find(config, key);
    const bm_json *text = value && bm_json_kind_of(value) == BM_JSON_OBJECT ? bm_json_find(value, "content") : value;
    if (!value || bm_json_kind_of(value) == BM_JSON_NULL)
        return BM_OK;
    if (!text || bm_json_kind_of(text) != BM_JSON_STRING)
        return bm_fail(err, BM_E_FORMAT, "%s: key \"%s\": expected a string or an object with \"content\", found %s",
                       path, key, bm_json_found(text ? text : value, found, sizeof found));
    if (bm_tokenizer_find(tokenizer, bm_json_string(text), &id) && !bm_token_list_append(list, &id, 1))
        return bm_fail(err, BM_E_MEMORY, "%s: out of memory", path);
    return BM_OK;
}

// "eos_token_id": 2 or [2, 3].
static bm_status add_numbered(const bm_json *config, const char *key, bm_token_list *list, const char *path,
                              bm_error *err)
{
    char found[BM_JSON_FOUND_SIZE];
    const bm_json *value = bm_json_find(config, key);
    const bool is_list = value && bm_json_kind_of(value) == BM_JSON_ARRAY;
    if (!value || bm_json_kind_of(value) == BM_JSON_NULL)
        return BM_OK;
    for (const bm_json *item = is_list ? bm_json_first(value) : value; item;
         item = is_list ? bm_json_next(item) : NULL) {
        const double number = bm_json_is_integer(item) ? bm_json_number(item) : -1;
        if (number < 0 || number >= TEXT_NO_ID)
            return bm_fail(err, BM_E_FORMAT, "%s: key \"%s\": expected token ids in 0..%u, found %s", path, key,
                           TEXT_NO_ID - 1, bm_json_found(item, found, sizeof found));
        const uint32_t id = (uint32_t)number;
        if (!bm_token_list_append(list, &id, 1))
            return bm_fail(err, BM_E_MEMORY, "%s: out of memory", path);
    }
    return BM_OK;
}

// The first of the list that the vocabulary has.
static uint32_t first_known(const bm_tokenizer *tokenizer, const bm_token_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        if (bm_tokenizer_piece(tokenizer, list->ids[i], NULL))
            return list->ids[i];
    return TEXT_NO_ID;
}

static bm_status apply_flags(bm_tokenizer *tokenizer, const bm_json *config, const char *path, bm_error *err)
{
    bool add_bos = false, add_eos = false;
    bm_status status = bm_json_get_bool(config, "add_bos_token", false, &add_bos, path, err);
    if (status == BM_OK)
        status = bm_json_get_bool(config, "add_eos_token", false, &add_eos, path, err);
    if (status != BM_OK || tokenizer->has_post_processor)
        return status;
    if ((add_bos && tokenizer->bos == TEXT_NO_ID) || (add_eos && tokenizer->eos == TEXT_NO_ID))
        return bm_fail(err, BM_E_FORMAT, "%s: key \"add_%s_token\" is true, but the vocabulary has no such token", path,
                       add_bos && tokenizer->bos == TEXT_NO_ID ? "bos" : "eos");
    if ((add_bos && !bm_token_list_append(&tokenizer->front, &tokenizer->bos, 1)) ||
        (add_eos && !bm_token_list_append(&tokenizer->behind, &tokenizer->eos, 1)))
        return bm_fail(err, BM_E_MEMORY, "%s: out of memory", path);
    return BM_OK;
}

static bool describe(bm_tokenizer *tokenizer, bool has_config)
{
    bm_string text = BM_STRING_INIT;
    bm_string_append(&text, "special tokens by ");
    if (tokenizer->has_template)
        bm_string_append(&text, "the template of tokenizer.json");
    else if (tokenizer->has_post_processor)
        bm_string_append(&text, "the post-processor of tokenizer.json, which has no template");
    else if (has_config)
        bm_string_append(&text, "the flags of tokenizer_config.json");
    else
        bm_string_append(&text, "no rule (no post-processor, no tokenizer_config.json)");
    bm_string_append(&text, ": ");
    for (uint32_t side = 0; side < 2; side++) {
        const bm_token_list *list = side == 0 ? &tokenizer->front : &tokenizer->behind;
        for (size_t i = 0; i < list->count; i++) {
            const text_piece *piece = &tokenizer->pieces[list->ids[i]];
            char shown[64];
            bm_string_append_format(&text, "%s%s (%u)%s", side == 0 ? "" : " ",
                                    piece->data ? bm_printable(piece->data, piece->length, shown, sizeof shown) : "?",
                                    list->ids[i], side == 0 ? " " : "");
        }
        if (side == 0)
            bm_string_append(&text, "text");
    }
    tokenizer->description = text.data;
    return !text.failed;
}

bm_status text_config_apply(bm_tokenizer *tokenizer, bm_json *const roots[TEXT_NUM_CONFIGS],
                            char *const paths[TEXT_NUM_CONFIGS], bm_error *err)
{
    bm_status status = BM_OK;
    bm_token_list begins = BM_TOKEN_LIST_INIT;
    for (uint32_t i = 0; i < TEXT_NUM_CONFIGS; i++) {
        const bm_json *root = roots[i];
        if (root && i == TEXT_CONFIG_TOKENIZER) {
            BM_TRY(add_named(tokenizer, root, "bos_token", &begins, paths[i], err));
            BM_TRY(add_named(tokenizer, root, "eos_token", &tokenizer->ends, paths[i], err));
        } else if (root) {
            BM_TRY(add_numbered(root, "bos_token_id", &begins, paths[i], err));
            BM_TRY(add_numbered(root, "eos_token_id", &tokenizer->ends, paths[i], err));
        }
        tokenizer->bos = first_known(tokenizer, &begins);
        tokenizer->eos = first_known(tokenizer, &tokenizer->ends);
        if (root && i == TEXT_CONFIG_TOKENIZER)
            BM_TRY(apply_flags(tokenizer, root, paths[i], err));
    }
    if (tokenizer->bos == TEXT_NO_ID && tokenizer->front.count == 1)
        tokenizer->bos = tokenizer->front.ids[0];
    BM_FAIL_IF(!describe(tokenizer, roots[TEXT_CONFIG_TOKENIZER] != NULL), err, BM_E_MEMORY, "%s: out of memory",
               tokenizer->path);
done:
    bm_token_list_free(&begins);
    return status;
}

bm_status text_config_load(bm_tokenizer *tokenizer, const char *folder, bm_error *err)
{
    static const char *const names[TEXT_NUM_CONFIGS] = {"tokenizer_config.json", "generation_config.json",
                                                        "config.json"};
    bm_status status = BM_OK;
    bm_json *roots[TEXT_NUM_CONFIGS] = {0};
    char *paths[TEXT_NUM_CONFIGS] = {0};
    for (uint32_t i = 0; i < TEXT_NUM_CONFIGS; i++)
        BM_TRY(read_beside(&roots[i], &paths[i], folder, names[i], err));
    BM_TRY(text_config_apply(tokenizer, roots, paths, err));
done:
    for (uint32_t i = 0; i < TEXT_NUM_CONFIGS; i++) {
        bm_json_destroy(&roots[i]);
        bm_free(paths[i]);
    }
    return status;
}
