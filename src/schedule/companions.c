// Companions: which there are, and where they come from.
#include "schedule/companions.h"

#include "base/file.h"
#include "base/str.h"
#include "schedule/tokenizer_files.h"

#include <string.h>

static const struct {
    const char *name;
    bool is_of_tokenizer; // lies in the tokenizer's folder, else in the model's
} companions[] = {
    {"generation_config.json", false},
    {"tokenizer.json", true},
    {"tokenizer_config.json", true},
    {"tokenizer.model", true},
    {"special_tokens_map.json", true},
    {"added_tokens.json", true},
    {"vocab.json", true},
    {"merges.txt", true},
    {"chat_template.jinja", true},
    {"chat_template.json", true},
};

static const char *folder_of(size_t index, const char *tokenizer_folder, const bm_model *model)
{
    return companions[index].is_of_tokenizer ? tokenizer_folder : model->folder;
}

// Whether file lies in the blobs of the cache that folder is a snapshot of: CACHE/snapshots/REVISION and CACHE/blobs.
// Both are resolved paths.
static bool is_blob_of(const char *file, const char *folder)
{
    static const char snapshots[] = "snapshots";
    const size_t length = sizeof snapshots - 1;
    for (const char *at = strstr(folder, snapshots); at; at = strstr(at + 1, snapshots)) {
        if (at == folder || !bm_path_is_separator(at[-1]) || !bm_path_is_separator(at[length]))
            continue;
        char *blobs = bm_format("%.*sblobs", (int)(at - folder), folder);
        const bool found = blobs && bm_path_is_within(file, blobs);
        bm_free(blobs);
        if (found)
            return true;
    }
    return false;
}

static bool leads_out(const char *path, const char *folder)
{
    char *file = bm_path_resolve(path), *home = bm_path_resolve(folder);
    const bool leads_out = file && home && !bm_path_is_within(file, home) && !is_blob_of(file, home);
    bm_free(file);
    bm_free(home);
    return leads_out;
}

static bm_status measure(const char *path, uint64_t *bytes, bm_error *err)
{
    bm_file *file = NULL;
    bm_status status = BM_OK;
    BM_TRY(bm_file_open(&file, path, err));
    BM_FAIL_IF(bm_file_size(file) > BM_MAX_COMPANION_BYTES, err, BM_E_FORMAT,
               "%s: %llu bytes, expected at most %llu of a file that goes along with the weights", path,
               (unsigned long long)bm_file_size(file), (unsigned long long)BM_MAX_COMPANION_BYTES);
    *bytes += bm_file_size(file);
done:
    bm_file_close(&file);
    return status;
}

bm_status bm_companions_choose(bm_plan *plan, const char *tokenizer_folder, const bm_model *model, bm_error *err)
{
    bm_status status = BM_OK;
    bm_string links = BM_STRING_INIT;
    for (size_t i = 0; i < BM_COUNT(companions); i++) {
        const char *folder = folder_of(i, tokenizer_folder, model);
        char *path = bm_path_join(folder, companions[i].name);
        BM_FAIL_IF(!path, err, BM_E_MEMORY, "out of memory");
        if (bm_path_kind_of(path) == BM_PATH_FILE) {
            plan->companions |= 1u << i;
            status = measure(path, &plan->companion_bytes, err);
            if (status == BM_OK && leads_out(path, folder))
                (void)bm_string_append_format(&links, "%s%s", links.length > 0 ? ", " : "", companions[i].name);
        }
        bm_free(path);
        BM_TRY(status);
    }
    BM_TRY(bm_tokenizer_files_measure(plan, tokenizer_folder, &plan->companion_bytes, err));
    BM_FAIL_IF(links.failed, err, BM_E_MEMORY, "out of memory");
    if (links.length > 0)
        bm_notes_add(&plan->notes, "links out of the model's folder, whose content is copied: %s",
                     bm_string_text(&links));
done:
    bm_string_free(&links);
    return status;
}

bm_status bm_companions_copy(const bm_emit_context *emit, const char *tokenizer_folder, const char *folder,
                             bm_error *err)
{
    bm_status status = BM_OK;
    for (size_t i = 0; i < BM_COUNT(companions) && status == BM_OK; i++) {
        if (!(emit->plan->companions & 1u << i))
            continue;
        char *from = bm_path_join(folder_of(i, tokenizer_folder, emit->model), companions[i].name);
        char *to = bm_path_join(folder, companions[i].name);
        status = bm_phase_step(emit->phase, 0, err);
        if (status == BM_OK)
            status = from && to ? bm_file_copy(from, to, err) : bm_fail(err, BM_E_MEMORY, "out of memory");
        bm_free(from);
        bm_free(to);
    }
    return status == BM_OK ? bm_tokenizer_files_write(emit->plan, tokenizer_folder, folder, err) : status;
}
