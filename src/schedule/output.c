// Output folders.
#include "schedule/output.h"

#include "base/str.h"
#include "formats/json.h"

#include <string.h>

#define RECORD_NAME "bitmill.json"
#define MAX_RECORD_BYTES (UINT64_C(64) << 20)
#define PARTIAL_SUFFIX ".partial"

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

// A result of such a name would be taken for what a broken run left.
static bool is_partial_name(const char *path)
{
    const size_t length = trimmed_length(path), suffix = strlen(PARTIAL_SUFFIX);
    return length >= suffix && strncmp(path + length - suffix, PARTIAL_SUFFIX, suffix) == 0;
}

// The length of the parent's part of the first length characters of path, without separators at its end; 0: it has
// none, or that of the root alone.
static size_t parent_length(const char *path, size_t length)
{
    while (length > 0 && !bm_path_is_separator(path[length - 1]))
        length--;
    while (length > 0 && bm_path_is_separator(path[length - 1]))
        length--;
    return length;
}

static bm_path_kind kind_of_beginning(const char *path, size_t length)
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
    for (size_t length = trimmed_length(path); length > 0 && !resolved; length = parent_length(path, length)) {
        char *beginning = bm_format("%.*s", (int)length, path);
        resolved = beginning ? bm_path_resolve(beginning) : NULL;
        bm_free(beginning);
    }
    return resolved ? resolved : bm_path_resolve(bm_path_is_separator(path[0]) ? "/" : ".");
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
done:
    bm_free(output);
    bm_free(source);
    return status;
}

// Among the parents that exist there may be no file.
static bm_status check_parents(const char *path, bm_error *err)
{
    for (size_t length = parent_length(path, trimmed_length(path)); length > 0; length = parent_length(path, length)) {
        const bm_path_kind kind = kind_of_beginning(path, length);
        if (kind == BM_PATH_FILE || kind == BM_PATH_OTHER)
            return bm_fail(err, BM_E_ARGUMENT,
                           "%s: cannot be created: %.*s is no folder; choose another with --output DIR", path,
                           (int)length, path);
        if (kind == BM_PATH_FOLDER)
            break;
    }
    return BM_OK;
}

// The folder that is created or replaced: path without separators at its end. A link is followed: renames would replace
// the link itself, and what it leads to would stay.
static bm_status find_target(const char *path, char **target, bm_error *err)
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

// A result of ours may be removed; what else lies in its folder may not. path is for the words, folder what is looked at.
static bm_status check_strangers(const char *path, const char *folder, bm_error *err)
{
    bm_name_list list = {0};
    bm_json *record = NULL;
    bm_status status = BM_OK;
    char *record_path = bm_path_join(folder, RECORD_NAME);
    BM_FAIL_IF(!record_path, err, BM_E_MEMORY, "out of memory");
    BM_FAIL_IF(bm_path_kind_of(record_path) != BM_PATH_FILE, err, BM_E_ARGUMENT,
               "%s: holds files and no %s, so it is no result of ours and is not replaced", path, RECORD_NAME);
    BM_TRY(bm_json_read_file(&record, record_path, MAX_RECORD_BYTES, err));
    BM_TRY(bm_folder_list(folder, &list, err));
    for (uint32_t i = 0; i < list.count; i++)
        BM_FAIL_IF(strcmp(list.names[i], RECORD_NAME) != 0 && strcmp(list.names[i], BM_OUTPUT_JOURNAL) != 0 &&
                       !bm_json_holds_string(bm_json_find(record, "files"), list.names[i]),
                   err, BM_E_ARGUMENT,
                   "%s: holds \"%s\", which its %s does not list, so it is neither replaced nor removed; move that, or "
                   "choose another with --output DIR",
                   path, list.names[i], RECORD_NAME);
done:
    bm_name_list_free(&list);
    bm_json_destroy(&record);
    bm_free(record_path);
    return status;
}

// path is for the words, target what is looked at.
static bm_status check_target(const char *path, const char *target, bool overwrite, bm_error *err)
{
    const bm_path_kind kind = bm_path_kind_of(target);
    if (is_partial_name(target))
        return bm_fail(err, BM_E_ARGUMENT, "output folder \"%s\": names that end in %s are those of unfinished outputs",
                       path, PARTIAL_SUFFIX);
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
    return is_empty_folder(target) ? BM_OK : check_strangers(path, target, err);
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
    char *target = NULL;
    bm_status status = find_target(path, &target, err);
    if (status == BM_OK)
        status = check_target(path, target, overwrite, err);
    bm_free(target);
    return status;
}

// Somebody may have put a link in the place of a folder of ours: what it leads to is neither marked nor emptied.
static bm_status expect_real_folder(const char *folder, bm_error *err)
{
    return bm_path_is_real_folder(folder) ? BM_OK
                                          : bm_fail(err, BM_E_IO, "%s: is a link or no folder, left as it is", folder);
}

// Removes a folder of ours, the mark last: broken off anywhere, it leaves a folder that is still known as ours.
static bm_status remove_ours(const char *folder, bm_error *err)
{
    bm_name_list list = {0};
    bm_status status = BM_OK;
    BM_TRY(expect_real_folder(folder, err));
    BM_TRY(bm_folder_list(folder, &list, err));
    for (uint32_t i = 0; i < list.count; i++) {
        if (strcmp(list.names[i], BM_OUTPUT_JOURNAL) == 0)
            continue;
        char *path = bm_path_join(folder, list.names[i]);
        status = path ? bm_folder_remove(path, err) : bm_fail(err, BM_E_MEMORY, "out of memory");
        bm_free(path);
        BM_TRY(status);
    }
    status = bm_folder_remove(folder, err);
done:
    bm_name_list_free(&list);
    return status;
}

static bm_status mark(const char *folder, bm_error *err)
{
    bm_status status = BM_OK;
    char *journal = bm_path_join(folder, BM_OUTPUT_JOURNAL);
    BM_FAIL_IF(!journal, err, BM_E_MEMORY, "out of memory");
    BM_TRY(expect_real_folder(folder, err));
    BM_TRY(bm_file_write_all(journal, "begun\n", 6, err));
done:
    bm_free(journal);
    return status;
}

static bm_status create_parents(bm_output *out, bm_error *err)
{
    const size_t parent = parent_length(out->path, strlen(out->path));
    if (parent == 0)
        return BM_OK;
    for (size_t length = parent; length > 0 && kind_of_beginning(out->path, length) == BM_PATH_ABSENT;
         length = parent_length(out->path, length))
        out->first_made = length;
    char *folder = bm_format("%.*s", (int)parent, out->path);
    const bm_status status = folder ? bm_folder_create(folder, true, err) : bm_fail(err, BM_E_MEMORY, "out of memory");
    bm_free(folder);
    return status;
}

// Sees to it that this run alone writes partial.
static bm_status claim_partial(bm_output *out, const char *partial, bm_error *err)
{
    char *lock = bm_format("%s.lock", partial);
    bm_status status = BM_OK;
    BM_FAIL_IF(!lock, err, BM_E_MEMORY, "out of memory");
    status = bm_claim_try(&out->claim, lock, err);
    if (status != BM_OK) {
        bm_error_prefix(err, "output folder \"%s\"", out->path);
        goto done;
    }
    BM_FAIL_IF(!out->claim, err, BM_E_IO, "%s: another run is writing it", partial);
    if (!bm_claim_excludes(out->claim))
        bm_log_write(out->log, BM_LOG_WARNING, "%s: the file system has no locks: another run must not write it",
                     partial);
done:
    bm_free(lock);
    return status;
}

static bm_status clear_partial(const char *partial, bm_error *err)
{
    if (bm_path_kind_of(partial) == BM_PATH_ABSENT)
        return BM_OK;
    const bool is_unfinished = holds(partial, BM_OUTPUT_JOURNAL) || is_empty_folder(partial);
    if (!is_unfinished && holds(partial, RECORD_NAME)) { // a result that was replaced
        const bm_status status = check_strangers(partial, partial, err);
        if (status != BM_OK)
            return status;
    } else if (!is_unfinished || !bm_path_is_real_folder(partial)) {
        return bm_fail(err, BM_E_ARGUMENT, "%s: is in the way and not ours; remove it", partial);
    }
    return remove_ours(partial, err);
}

bm_status bm_output_begin(bm_output *out, const char *path, bool overwrite, const bm_log *log, bm_error *err)
{
    bm_status status = BM_OK;
    char *partial = NULL;
    *out = (bm_output){.log = log};
    BM_TRY(bm_output_check(path, overwrite, err));
    BM_TRY(find_target(path, &out->path, err));
    partial = bm_format("%s" PARTIAL_SUFFIX, out->path);
    BM_FAIL_IF(!partial, err, BM_E_MEMORY, "out of memory");
    BM_TRY(create_parents(out, err));
    BM_TRY(claim_partial(out, partial, err));
    // Again: another run may have ended just before the claim.
    BM_TRY(check_target(path, out->path, overwrite, err));
    out->replaces = bm_path_kind_of(out->path) == BM_PATH_FOLDER;
    BM_TRY(clear_partial(partial, err));
    BM_TRY(bm_folder_create(partial, false, err));
    out->partial = partial;
    partial = NULL;
    BM_TRY(mark(out->partial, err));
done:
    bm_free(partial);
    if (status != BM_OK)
        bm_output_abort(out);
    return status;
}

bm_status bm_output_check_room(const bm_output *output, uint64_t bytes, bm_error *err)
{
    uint64_t room = 0;
    const uint64_t need = bytes + BM_OUTPUT_WORDS_BYTES;
    if (!bm_folder_free_bytes(output->partial, &room) || room >= need)
        return BM_OK;
    return bm_fail(
        err, BM_E_IO,
        "output folder \"%s\": the disk has room for %.2f MB, the result needs %.2f MB, with %.2f MB for its "
        "report and record; choose another with --output DIR",
        output->path, (double)room / 1e6, (double)need / 1e6, (double)BM_OUTPUT_WORDS_BYTES / 1e6);
}

// The folder that holds the result, and above it those that hold folders which were made for it.
static void sync_parents(const bm_output *output)
{
    size_t length = strlen(output->path);
    do {
        bm_error err = {0};
        length = parent_length(output->path, length);
        char *parent = length > 0 ? bm_format("%.*s", (int)length, output->path)
                                  : bm_string_copy(bm_path_is_separator(output->path[0]) ? "/" : ".");
        if (parent && bm_folder_sync(parent, &err) != BM_OK)
            bm_log_write(output->log, BM_LOG_WARNING, "%s", err.message);
        bm_free(parent);
    } while (output->first_made > 0 && length >= output->first_made);
}

// The old result, which now bears the partial name.
static void remove_replaced(const bm_output *output)
{
    bm_error err = {0};
    if (bm_folder_remove_empty(output->partial)) // a folder that was given empty
        return;
    if (expect_real_folder(output->partial, &err) != BM_OK ||
        check_strangers(output->partial, output->partial, &err) != BM_OK || mark(output->partial, &err) != BM_OK ||
        remove_ours(output->partial, &err) != BM_OK)
        bm_log_write(output->log, BM_LOG_WARNING, "%s; %s is the replaced result: remove it", err.message,
                     output->partial);
}

bm_status bm_output_commit(bm_output *output, bm_error *err)
{
    bm_status status = BM_OK;
    char *old = NULL;
    char *journal = bm_path_join(output->partial, BM_OUTPUT_JOURNAL);
    BM_FAIL_IF(!journal, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_folder_remove(journal, err)); // from here on bitmill.json tells that it is ours
    BM_TRY(bm_folder_sync(output->partial, err));
    if (output->replaces)
        BM_TRY(bm_folder_swap(output->path, output->partial, &old, err));
    else
        BM_TRY(bm_path_rename(output->partial, output->path, err));
    sync_parents(output);
    output->first_made = 0;
    if (old)
        bm_log_write(output->log, BM_LOG_WARNING, "%s: is the replaced result: remove it", old);
    else if (output->replaces)
        remove_replaced(output);
    bm_free(output->partial);
    output->partial = NULL;
done:
    bm_free(old);
    bm_free(journal);
    bm_output_abort(output);
    return status;
}

void bm_output_abort(bm_output *output)
{
    bm_error err = {0};
    if (output->partial && remove_ours(output->partial, &err) != BM_OK)
        bm_log_write(output->log, BM_LOG_WARNING, "%s; %s is unfinished: remove it", err.message, output->partial);
    bm_free(output->partial);
    bm_claim_release(&output->claim);
    for (size_t length = output->path ? parent_length(output->path, strlen(output->path)) : 0;
         output->first_made > 0 && length >= output->first_made; length = parent_length(output->path, length)) {
        output->path[length] = '\0';
        if (!bm_folder_remove_empty(output->path))
            break;
    }
    bm_free(output->path);
    *output = (bm_output){0};
}
