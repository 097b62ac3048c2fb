// Reading tokenizer.json, in the order in which the parts need each other, and the simple questions about a tokenizer.
#include "formats/gguf_locate.h"
#include "text/tokenizer_gguf.h"
#include "text/tokenizer_internal.h"

#include "base/file.h"

#include <string.h>

// The byte-level alphabet: printable bytes stand for themselves, the other 68 for U+0100 and on (formats.md 8.4).
static void fill_alphabet(bm_tokenizer *tokenizer)
{
    uint16_t next = 0x100;
    for (uint32_t i = 0; i < BM_COUNT(tokenizer->byte_of); i++)
        tokenizer->byte_of[i] = -1;
    for (uint32_t byte = 0; byte < 256; byte++) {
        const bool is_printable =
            (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
        tokenizer->code_point_of[byte] = is_printable ? (uint16_t)byte : next++;
        tokenizer->byte_of[tokenizer->code_point_of[byte]] = (int16_t)byte;
    }
}

static bm_status check_top(bm_tokenizer *tokenizer, const bm_json *root, const bm_json **model, bm_error *err)
{
    const char *version = NULL, *type = NULL;
    const char *path = tokenizer->path;
    if (bm_json_kind_of(root) != BM_JSON_OBJECT)
        return bm_fail(err, BM_E_FORMAT, "%s: expected an object, found %s", path,
                       bm_json_kind_name(bm_json_kind_of(root)));
    bm_status status = bm_json_get_string(root, "version", "1.0", &version, path, err);
    if (status != BM_OK)
        return status;
    char shown[64], found[BM_JSON_FOUND_SIZE];
    if (strcmp(version, "1.0") != 0)
        return bm_fail(err, BM_E_UNSUPPORTED, "%s: key \"version\": expected \"1.0\", found \"%s\"", path,
                       bm_printable(version, strlen(version), shown, sizeof shown));
    *model = bm_json_find(root, "model");
    if (!*model || bm_json_kind_of(*model) != BM_JSON_OBJECT)
        return bm_fail(err, BM_E_FORMAT, "%s: key \"model\": expected an object, found %s", path,
                       bm_json_found(*model, found, sizeof found));
    // Old files leave the type out; their only model with merges is BPE.
    status = bm_json_get_string(*model, "type", bm_json_find(*model, "merges") ? "BPE" : "none", &type, path, err);
    if (status != BM_OK)
        return status;
    if (strcmp(type, "BPE") != 0)
        return bm_fail(err, BM_E_UNSUPPORTED, "%s: key \"model.type\": \"%s\" is not supported, expected BPE", path,
                       bm_printable(type, strlen(type), shown, sizeof shown));
    return BM_OK;
}

static bm_status load(bm_tokenizer *tokenizer, const bm_json *root, bm_error *err)
{
    bm_status status = BM_OK;
    const bm_json *model = NULL;
    fill_alphabet(tokenizer);
    BM_TRY(check_top(tokenizer, root, &model, err));
    BM_TRY(text_vocabulary_load(tokenizer, model, err));
    BM_TRY(text_bpe_load(tokenizer, model, err));
    BM_TRY(text_normalizers_load(tokenizer, bm_json_find(root, "normalizer"), err));
    BM_TRY(text_added_load(tokenizer, bm_json_find(root, "added_tokens"), err)); // searched for in normalized form
    BM_TRY(text_stages_load(tokenizer, bm_json_find(root, "pre_tokenizer"), err));
    BM_TRY(text_template_load(tokenizer, bm_json_find(root, "post_processor"), err));
    BM_TRY(text_decoders_load(tokenizer, bm_json_find(root, "decoder"), err));
done:
    return status;
}

// The folder that a path lies in; bm_free it.
static char *folder_of(const char *path)
{
    const size_t length = (size_t)(bm_path_base_name(path) - path);
    if (length == 0)
        return bm_string_copy(".");
    char *folder = bm_string_copy(path);
    if (folder)
        folder[length > 1 ? length - 1 : 1] = '\0';
    return folder;
}

bm_status text_tokenizer_make(bm_tokenizer **out, const bm_json *root, const char *path, bm_error *err)
{
    bm_status status = BM_OK;
    bm_tokenizer *tokenizer = bm_alloc_zero(1, sizeof *tokenizer);
    BM_FAIL_IF(!tokenizer, err, BM_E_MEMORY, "%s: out of memory", path);
    tokenizer->bos = tokenizer->eos = TEXT_NO_ID;
    tokenizer->path = bm_string_copy(path);
    BM_FAIL_IF(!tokenizer->path, err, BM_E_MEMORY, "%s: out of memory", path);
    BM_TRY(load(tokenizer, root, err));
    *out = tokenizer;
    tokenizer = NULL;
done:
    bm_tokenizer_close(&tokenizer);
    return status;
}

static bm_status open_gguf(bm_tokenizer **out, const char *path, bm_error *err)
{
    bm_gguf *gguf = NULL;
    bm_status status = bm_gguf_open(&gguf, path, err);
    if (status == BM_OK)
        status = bm_tokenizer_from_gguf(out, gguf, err);
    bm_gguf_close(&gguf);
    return status;
}

bm_status bm_tokenizer_open(bm_tokenizer **out, const char *folder_or_file, bm_error *err)
{
    bm_status status = BM_OK;
    bm_json *root = NULL;
    bm_tokenizer *tokenizer = NULL;
    const bool is_folder = bm_path_kind_of(folder_or_file) == BM_PATH_FOLDER;
    char *gguf_path = NULL;
    char *path = is_folder ? bm_path_join(folder_or_file, "tokenizer.json") : bm_string_copy(folder_or_file);
    char *folder = is_folder ? bm_string_copy(folder_or_file) : folder_of(folder_or_file);
    BM_FAIL_IF(!path || !folder, err, BM_E_MEMORY, "%s: out of memory", folder_or_file);
    if (!is_folder || bm_path_kind_of(path) == BM_PATH_ABSENT)
        BM_TRY(bm_gguf_locate(folder_or_file, &gguf_path, err));
    if (gguf_path) {
        BM_TRY(open_gguf(out, gguf_path, err));
        goto done;
    }
    BM_FAIL_IF(is_folder && bm_path_kind_of(path) == BM_PATH_ABSENT, err, BM_E_IO,
               "%s: no such file; a model folder needs a tokenizer.json (a tokenizer.model alone is not read)", path);
    BM_TRY(bm_json_read_file(&root, path, TEXT_MAX_JSON_BYTES, err));
    BM_TRY(text_tokenizer_make(&tokenizer, root, path, err));
    BM_TRY(text_config_load(tokenizer, folder, err));
    *out = tokenizer;
    tokenizer = NULL;
done:
    bm_tokenizer_close(&tokenizer);
    bm_json_destroy(&root);
    bm_free(folder);
    bm_free(path);
    bm_free(gguf_path);
    return status;
}

void bm_tokenizer_close(bm_tokenizer **address)
{
    bm_tokenizer *tokenizer = *address;
    if (!tokenizer)
        return;
    text_normalizers_clear(tokenizer);
    text_stages_clear(tokenizer);
    text_decoders_clear(tokenizer);
    text_added_set_clear(&tokenizer->added_raw);
    text_added_set_clear(&tokenizer->added_normalized);
    text_bpe_clear(&tokenizer->bpe);
    bm_map_destroy(&tokenizer->ids);
    bm_map_destroy(&tokenizer->added_ids);
    for (uint32_t i = 0; i < tokenizer->num_added_storage; i++)
        bm_free(tokenizer->added_storage[i]);
    bm_free(tokenizer->added_storage);
    bm_free(tokenizer->pieces);
    bm_free(tokenizer->storage);
    bm_token_list_free(&tokenizer->front);
    bm_token_list_free(&tokenizer->behind);
    bm_token_list_free(&tokenizer->ends);
    bm_free(tokenizer->description);
    bm_free(tokenizer->path);
    bm_free(tokenizer);
    *address = NULL;
}

uint32_t bm_tokenizer_vocabulary_size(const bm_tokenizer *tokenizer)
{
    return tokenizer->num_ids;
}

bool bm_tokenizer_find(const bm_tokenizer *tokenizer, const char *piece, uint32_t *id)
{
    return bm_map_find(tokenizer->added_ids, piece, strlen(piece), id) ||
           bm_map_find(tokenizer->ids, piece, strlen(piece), id);
}

const char *bm_tokenizer_piece(const bm_tokenizer *tokenizer, uint32_t id, size_t *length)
{
    if (id >= tokenizer->num_ids || !tokenizer->pieces[id].data)
        return NULL;
    if (length)
        *length = tokenizer->pieces[id].length;
    return tokenizer->pieces[id].data;
}

bool bm_tokenizer_is_special(const bm_tokenizer *tokenizer, uint32_t id)
{
    return id < tokenizer->num_ids && tokenizer->pieces[id].special;
}

bool bm_tokenizer_bos(const bm_tokenizer *tokenizer, uint32_t *id)
{
    if (tokenizer->bos == TEXT_NO_ID)
        return false;
    *id = tokenizer->bos;
    return true;
}

bool bm_tokenizer_eos(const bm_tokenizer *tokenizer, uint32_t *id)
{
    if (tokenizer->eos == TEXT_NO_ID)
        return false;
    *id = tokenizer->eos;
    return true;
}

const bm_token_list *bm_tokenizer_ends(const bm_tokenizer *tokenizer)
{
    return &tokenizer->ends;
}

uint32_t bm_tokenizer_num_front(const bm_tokenizer *tokenizer)
{
    return (uint32_t)tokenizer->front.count;
}

const char *bm_tokenizer_describe(const bm_tokenizer *tokenizer)
{
    return tokenizer->description;
}
