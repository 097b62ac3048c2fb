#include "schedule/tokenizer_files.h"

#include "base/file.h"
#include "formats/gguf_locate.h"
#include "text/tokenizer_gguf.h"

enum { NUM_FILES = 3 };
static const char *const names[NUM_FILES] = {"tokenizer.json", "tokenizer_config.json", "generation_config.json"};

bm_status bm_tokenizer_files_source(const char *tokenizer_folder, char **out, bm_error *err)
{
    char *json = bm_path_join(tokenizer_folder, names[0]);
    bm_status status = json ? BM_OK : bm_fail(err, BM_E_MEMORY, "out of memory");
    *out = NULL;
    if (status == BM_OK && bm_path_kind_of(json) == BM_PATH_ABSENT)
        status = bm_gguf_locate(tokenizer_folder, out, err);
    bm_free(json);
    return status;
}

static bm_status make_texts(const char *tokenizer_folder, bm_string texts[NUM_FILES], bm_error *err)
{
    bm_status status = BM_OK;
    bm_gguf *gguf = NULL;
    char *path = NULL;
    BM_TRY(bm_tokenizer_files_source(tokenizer_folder, &path, err));
    BM_FAIL_IF(!path, err, BM_E_IO, "%s: has gone", tokenizer_folder);
    BM_TRY(bm_gguf_open(&gguf, path, err));
    BM_TRY(bm_gguf_tokenizer_files(gguf, &texts[0], &texts[1], &texts[2], err));
done:
    bm_gguf_close(&gguf);
    bm_free(path);
    return status;
}

bm_status bm_tokenizer_files_measure(const bm_plan *plan, const char *tokenizer_folder, uint64_t *bytes, bm_error *err)
{
    bm_string texts[NUM_FILES] = {BM_STRING_INIT, BM_STRING_INIT, BM_STRING_INIT};
    if (!plan->makes_tokenizer)
        return BM_OK;
    const bm_status status = make_texts(tokenizer_folder, texts, err);
    for (int i = 0; i < NUM_FILES; i++) {
        *bytes += texts[i].length;
        bm_string_free(&texts[i]);
    }
    return status;
}

static bm_status write_text(const char *folder, const char *name, const bm_string *text, bm_error *err)
{
    char *path = bm_path_join(folder, name);
    bm_status status = path ? BM_OK : bm_fail(err, BM_E_MEMORY, "out of memory");
    if (status == BM_OK && text->length > 0 && bm_path_kind_of(path) == BM_PATH_ABSENT)
        status = bm_file_write_all(path, text->data, text->length, err);
    bm_free(path);
    return status;
}

bm_status bm_tokenizer_files_write(const bm_plan *plan, const char *tokenizer_folder, const char *folder, bm_error *err)
{
    bm_string texts[NUM_FILES] = {BM_STRING_INIT, BM_STRING_INIT, BM_STRING_INIT};
    if (!plan->makes_tokenizer)
        return BM_OK;
    bm_status status = make_texts(tokenizer_folder, texts, err);
    for (int i = 0; i < NUM_FILES; i++) {
        if (status == BM_OK)
            status = write_text(folder, names[i], &texts[i], err);
        bm_string_free(&texts[i]);
    }
    return status;
}
