// Output folders.
#include "schedule/output.h"

#include "base/file.h"
#include "base/str.h"

#include <string.h>

// Marks a .partial folder as ours, so that a stranger's folder of that name is never removed.
#define JOURNAL_NAME "bitmill.journal"

static bool holds(const char *folder, const char *name)
{
    char *path = bm_path_join(folder, name);
    const bool found = path && bm_path_kind_of(path) == BM_PATH_FILE;
    bm_free(path);
    return found;
}

static bool is_empty_folder(const char *folder)
{
    bm_name_list list = {0};
    const bool empty = bm_folder_list(folder, &list, NULL) == BM_OK && list.count == 0;
    bm_name_list_free(&list);
    return empty;
}

// Length without the separators at the end; a lone "/" stays.
static size_t trimmed_length(const char *path)
{
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/')
        length--;
    return length;
}

// Whether the last word of path is the name of a folder: "a/b" and "a/b/" are, "", "/", "." and "a/.." are not.
static bool has_name(const char *path)
{
    const size_t length = trimmed_length(path);
    size_t start = length;
    while (start > 0 && path[start - 1] != '/' && path[start - 1] != '\\')
        start--;
    const char *name = path + start;
    const size_t name_length = length - start;
    return name_length > 0 && strncmp(name, ".", name_length) != 0 && strncmp(name, "..", name_length) != 0;
}

bm_status bm_output_check_apart(const char *path, const char *model, bm_error *err)
{
    const size_t length = trimmed_length(model);
    if (strncmp(path, model, length) == 0 && path[length] == '/')
        return bm_fail(err, BM_E_ARGUMENT,
                       "output folder \"%s\": is inside the model \"%s\"; choose another with --output DIR", path,
                       model);
    return BM_OK;
}

bm_status bm_output_check(const char *path, bool overwrite, bm_error *err)
{
    const bm_path_kind kind = bm_path_kind_of(path);
    if (!has_name(path))
        return bm_fail(err, BM_E_ARGUMENT, "output folder \"%s\": expected the name of a folder to create", path);
    if (kind == BM_PATH_ABSENT)
        return BM_OK;
    if (kind != BM_PATH_FOLDER)
        return bm_fail(err, BM_E_ARGUMENT, "%s: exists and is no folder; choose another with --output DIR", path);
    if (!overwrite)
        return bm_fail(
            err, BM_E_ARGUMENT,
            "%s: exists; choose another with --output DIR or replace it with --set overwrite_output_dir=true", path);
    if (!is_empty_folder(path) && !holds(path, "bitmill.json"))
        return bm_fail(err, BM_E_ARGUMENT,
                       "%s: holds files and no bitmill.json, so it is no result of ours and is not replaced", path);
    return BM_OK;
}

bm_status bm_output_begin(bm_output *out, const char *path, bool overwrite, bm_error *err)
{
    bm_status status = BM_OK;
    char *journal = NULL;
    *out = (bm_output){0};
    BM_TRY(bm_output_check(path, overwrite, err));
    out->path = bm_string_copy(path);
    BM_FAIL_IF(!out->path, err, BM_E_MEMORY, "out of memory");
    out->path[trimmed_length(path)] = '\0';
    out->replaces = bm_path_kind_of(path) == BM_PATH_FOLDER;
    char *partial = bm_format("%s.partial", out->path);
    BM_FAIL_IF(!partial, err, BM_E_MEMORY, "out of memory");
    if (bm_path_kind_of(partial) != BM_PATH_ABSENT) {
        const bool ours = holds(partial, JOURNAL_NAME) || is_empty_folder(partial);
        status = ours ? bm_folder_remove(partial, err)
                      : bm_fail(err, BM_E_ARGUMENT, "%s: is in the way and not ours; remove it", partial);
    }
    if (status == BM_OK)
        status = bm_folder_create(partial, true, err);
    if (status != BM_OK) {
        bm_free(partial);
        goto done;
    }
    out->partial = partial;
    journal = bm_path_join(partial, JOURNAL_NAME);
    BM_FAIL_IF(!journal, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_file_write_all(journal, "begun\n", 6, err));
done:
    bm_free(journal);
    if (status != BM_OK)
        bm_output_abort(out);
    return status;
}

bm_status bm_output_commit(bm_output *output, bm_error *err)
{
    bm_status status = BM_OK;
    char *journal = bm_path_join(output->partial, JOURNAL_NAME);
    BM_FAIL_IF(!journal, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_folder_sync(output->partial, err));
    if (output->replaces) {
        BM_TRY(bm_folder_swap(output->path, output->partial, err));
        // The old result now bears the partial name: remove it, its journal-less self included.
        BM_TRY(bm_folder_remove(output->partial, err));
        char *left = bm_path_join(output->path, JOURNAL_NAME);
        status = left ? bm_folder_remove(left, err) : bm_fail(err, BM_E_MEMORY, "out of memory");
        bm_free(left);
        BM_TRY(status);
    } else {
        BM_TRY(bm_folder_remove(journal, err));
        BM_TRY(bm_path_rename(output->partial, output->path, err));
    }
    bm_free(output->partial);
    output->partial = NULL;
done:
    bm_free(journal);
    bm_output_abort(output);
    return status;
}

void bm_output_abort(bm_output *output)
{
    if (output->partial)
        (void)bm_folder_remove(output->partial, NULL);
    bm_free(output->partial);
    bm_free(output->path);
    *output = (bm_output){0};
}
