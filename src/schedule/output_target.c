// What may become an output folder, and what lies there already: looked at, never changed.
#include "schedule/output_target.h"

#include "base/str.h"
#include "formats/json.h"
#include "schedule/output.h"

#include <string.h>

#define MAX_RECORD_BYTES (UINT64_C(64) << 20)

bool bm_output_is_empty_folder(const char *folder)
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
    while (length > 1 && bm_path_is_separator(path[length - 1]))
        length--;
    return length;
}

// Whether the last word of path is the name of a folder: "a/b" and "a/b/" are, "", "/", "." and "a/.." are not.
static bool has_name(const char *path)
{
    const size_t length = trimmed_length(path);
    size_t start = length;
    while (start > 0 && !bm_path_is_separator(path[start - 1]))
        start--;
    const char *name = path + start;
    const size_t name_length = length - start;
    return name_length > 0 && strncmp(name, ".", name_length) != 0 && strncmp(name, "..", name_length) != 0;
}

static bool has_ending(const char *path, const char *ending)
{
    const size_t length = trimmed_length(path), size = strlen(ending);
    return length >= size && strncmp(path + length - size, ending, size) == 0;
}

size_t bm_output_parent_length(const char *path, size_t length)
{
    while (length > 0 && !bm_path_is_separator(path[length - 1]))
        length--;
    while (length > 0 && bm_path_is_separator(path[length - 1]))
        length--;
    return length;
}

bm_path_kind bm_output_kind_of_beginning(const char *path, size_t length)
{
    char *beginning = bm_format("%.*s", (int)length, path);
    const bm_path_kind kind = beginning ? bm_path_kind_of(beginning) : BM_PATH_ABSENT;
    bm_free(beginning);
    return kind;
}

// The real path of the longest beginning of path that exists; NULL: no memory.
static char *resolve_beginning(const char *path)
{
    char *resolved = NULL;
    for (size_t length = trimmed_length(path); length > 0 && !resolved;
         length = bm_output_parent_length(path, length)) {
        char *beginning = bm_format("%.*s", (int)length, path);
        resolved = beginning ? bm_path_resolve(beginning) : NULL;
        bm_free(beginning);
    }
    return resolved ? resolved : bm_path_resolve(bm_path_is_separator(path[0]) ? "/" : ".");
}

bm_status bm_output_check_work(const char *path, const char *source, bm_error *err)
{
    bm_status status = BM_OK;
    char *target = NULL, *partial = NULL, *work = NULL, *from = NULL;
    BM_TRY(bm_output_find_target(path, &target, err));
    partial = bm_format("%s" BM_OUTPUT_PARTIAL_SUFFIX, target);
    BM_FAIL_IF(!partial, err, BM_E_MEMORY, "out of memory");
    work = bm_path_kind_of(partial) == BM_PATH_ABSENT ? NULL : bm_path_resolve(partial);
    from = work ? bm_path_resolve(source) : NULL;
    BM_FAIL_IF(
        work && from && (strcmp(work, from) == 0 || bm_path_is_within(from, work)), err, BM_E_ARGUMENT,
        "output folder \"%s\": is made in \"%s\", where \"%s\" lies, which is read; choose another with --output "
        "DIR",
        path, partial, source);
done:
    bm_free(target);
    bm_free(partial);
    bm_free(work);
    bm_free(from);
    return status;
}

bm_status bm_output_check_apart(const char *path, const char *model, bm_error *err)
{
    bm_status status = BM_OK;
    char *output = resolve_beginning(path), *source = bm_path_resolve(model);
    const bool exists = bm_path_kind_of(path) == BM_PATH_FOLDER;
    BM_FAIL_IF(output && source && exists && strcmp(output, source) == 0, err, BM_E_ARGUMENT,
               "output folder \"%s\": is the model itself; choose another with --output DIR", path);
    BM_FAIL_IF(output && source && bm_path_is_within(output, source), err, BM_E_ARGUMENT,
               "output folder \"%s\": is inside the model \"%s\"; choose another with --output DIR", path, model);
    BM_FAIL_IF(output && source && exists && bm_path_is_within(source, output), err, BM_E_ARGUMENT,
               "output folder \"%s\": the model \"%s\" is inside it; choose another with --output DIR", path, model);
    BM_TRY(bm_output_check_work(path, model, err));
done:
    bm_free(output);
    bm_free(source);
    return status;
}

// Among the parents that exist there may be no file.
static bm_status check_parents(const char *path, bm_error *err)
{
    for (size_t length = bm_output_parent_length(path, trimmed_length(path)); length > 0;
         length = bm_output_parent_length(path, length)) {
        const bm_path_kind kind = bm_output_kind_of_beginning(path, length);
        if (kind == BM_PATH_FILE || kind == BM_PATH_OTHER)
            return bm_fail(err, BM_E_ARGUMENT,
                           "%s: cannot be created: %.*s is no folder; choose another with --output DIR", path,
                           (int)length, path);
        if (kind == BM_PATH_FOLDER)
            break;
    }
    return BM_OK;
}

bm_status bm_output_find_target(const char *path, char **target, bm_error *err)
{
    char *trimmed = bm_format("%.*s", (int)trimmed_length(path), path);
    if (!trimmed) {
        bm_fail(err, BM_E_MEMORY, "out of memory");
        return BM_E_MEMORY;
    }
    if (!bm_path_is_link(trimmed)) {
        *target = trimmed;
        return BM_OK;
    }
    *target = bm_path_resolve(trimmed);
    bm_free(trimmed);
    if (*target)
        return BM_OK;
    bm_fail(err, BM_E_ARGUMENT, "%s: is a link that leads nowhere, expected a folder; choose another with --output DIR",
            path);
    return BM_E_ARGUMENT; // in so many words for the static analyzer: no target, no BM_OK
}

bm_status bm_output_check_strangers(const char *path, const char *folder, bm_error *err)
{
    bm_name_list list = {0};
    bm_json *record = NULL;
    bm_status status = BM_OK;
    char *record_path = bm_path_join(folder, BM_OUTPUT_RECORD);
    BM_FAIL_IF(!record_path, err, BM_E_MEMORY, "out of memory");
    BM_FAIL_IF(bm_path_kind_of(record_path) != BM_PATH_FILE, err, BM_E_ARGUMENT,
               "%s: holds files and no %s, so it is no result of ours and is not replaced", path, BM_OUTPUT_RECORD);
    BM_TRY(bm_json_read_file(&record, record_path, MAX_RECORD_BYTES, err));
    BM_TRY(bm_folder_list(folder, &list, err));
    for (uint32_t i = 0; i < list.count; i++)
        BM_FAIL_IF(strcmp(list.names[i], BM_OUTPUT_RECORD) != 0 && strcmp(list.names[i], BM_OUTPUT_JOURNAL) != 0 &&
                       !bm_json_holds_string(bm_json_find(record, "files"), list.names[i]),
                   err, BM_E_ARGUMENT,
                   "%s: holds \"%s\", which its %s does not list, so it is neither replaced nor removed; move that, or "
                   "choose another with --output DIR",
                   path, list.names[i], BM_OUTPUT_RECORD);
done:
    bm_name_list_free(&list);
    bm_json_destroy(&record);
    bm_free(record_path);
    return status;
}

bm_status bm_output_check_target(const char *path, const char *target, bool overwrite, bm_error *err)
{
    const bm_path_kind kind = bm_path_kind_of(target);
    if (has_ending(target, BM_OUTPUT_PARTIAL_SUFFIX)) // it would be taken for what a broken run left
        return bm_fail(err, BM_E_ARGUMENT, "output folder \"%s\": names that end in %s are those of unfinished outputs",
                       path, BM_OUTPUT_PARTIAL_SUFFIX);
    if (kind == BM_PATH_ABSENT)
        return check_parents(target, err);
    if (kind == BM_PATH_OTHER) { // a device, or not to be looked at: the system says why
        bm_name_list list = {0};
        const bm_status status = bm_folder_list(target, &list, err);
        bm_name_list_free(&list);
        return status == BM_OK ? BM_E_IO : status;
    }
    if (kind != BM_PATH_FOLDER)
        return bm_fail(err, BM_E_ARGUMENT, "%s: exists and is no folder; choose another with --output DIR", path);
    if (!overwrite)
        return bm_fail(
            err, BM_E_ARGUMENT,
            "%s: exists; choose another with --output DIR or replace it with --set overwrite_output_dir=true", path);
    return bm_output_is_empty_folder(target) ? BM_OK : bm_output_check_strangers(path, target, err);
}

bm_status bm_output_check(const char *path, bool overwrite, bm_error *err)
{
    if (path[0] == '~' && (path[1] == '\0' || bm_path_is_separator(path[1])))
        return bm_fail(
            err, BM_E_ARGUMENT,
            "output folder \"%s\": no shell replaced the ~ (none does in quotes or behind =); expected the path in "
            "full, or ./~ for a folder of that name",
            path);
    if (!has_name(path))
        return bm_fail(err, BM_E_ARGUMENT, "output folder \"%s\": expected the name of a folder to create", path);
    // Programs of other makers take the name of the file here.
    if (has_ending(path, ".gguf"))
        return bm_fail(err, BM_E_ARGUMENT,
                       "output folder \"%s\": found the name of a gguf file, expected that of a folder, in which the "
                       "file is made",
                       path);
    char *target = NULL;
    bm_status status = bm_output_find_target(path, &target, err);
    if (status == BM_OK)
        status = bm_output_check_target(path, target, overwrite, err);
    bm_free(target);
    return status;
}
