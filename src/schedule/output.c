// Output folders: from the first folder that is made for one to its place.
#include "schedule/output.h"

#include "base/str.h"
#include "schedule/output_target.h"

#include <string.h>

static bool holds(const char *folder, const char *name)
{
    char *path = bm_path_join(folder, name);
    const bool found = path && bm_path_kind_of(path) == BM_PATH_FILE;
    bm_free(path);
    return found;
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
    const size_t parent = bm_output_parent_length(out->path, strlen(out->path));
    if (parent == 0)
        return BM_OK;
    for (size_t length = parent; length > 0 && bm_output_kind_of_beginning(out->path, length) == BM_PATH_ABSENT;
         length = bm_output_parent_length(out->path, length))
        out->first_made = length;
    char *folder = bm_format("%.*s", (int)parent, out->path);
    const bm_status status = folder ? bm_folder_create(folder, true, err) : bm_fail(err, BM_E_MEMORY, "out of memory");
    if (status == BM_E_IO)
        bm_error_prefix(err, "output folder \"%s\"", out->path);
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
    const bool is_unfinished = holds(partial, BM_OUTPUT_JOURNAL) || bm_output_is_empty_folder(partial);
    if (!is_unfinished && holds(partial, BM_OUTPUT_RECORD)) { // a result that was replaced
        const bm_status status = bm_output_check_strangers(partial, partial, err);
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
    BM_TRY(bm_output_find_target(path, &out->path, err));
    partial = bm_format("%s" BM_OUTPUT_PARTIAL_SUFFIX, out->path);
    BM_FAIL_IF(!partial, err, BM_E_MEMORY, "out of memory");
    BM_TRY(create_parents(out, err));
    BM_TRY(claim_partial(out, partial, err));
    // Again: another run may have ended just before the claim.
    BM_TRY(bm_output_check_target(path, out->path, overwrite, err));
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

// The folder that holds the result, and above it those that hold folders which were made for it.
static void sync_parents(const bm_output *output)
{
    size_t length = strlen(output->path);
    do {
        bm_error err = {0};
        length = bm_output_parent_length(output->path, length);
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
        bm_output_check_strangers(output->partial, output->partial, &err) != BM_OK ||
        mark(output->partial, &err) != BM_OK || remove_ours(output->partial, &err) != BM_OK)
        bm_log_write(output->log, BM_LOG_WARNING, "%s; %s is the replaced result: remove it", err.message,
                     output->partial);
}

// A whole result that cannot be put in its place: hours of work, which nobody removes. The next run would take it for one that was
// replaced, so it gets a name of its own, if that can be had.
static void keep_result(bm_output *output, bm_error *err)
{
    bm_error ignored;
    char *kept = bm_format("%s" BM_OUTPUT_KEPT_SUFFIX, output->path);
    const bool has_name =
        kept && bm_path_kind_of(kept) == BM_PATH_ABSENT && bm_path_rename(output->partial, kept, &ignored) == BM_OK;
    const bm_error why = *err;
    bm_fail(err, BM_E_IO, "%s; the result is whole and lies in %s: rename it", why.message,
            has_name ? kept : output->partial);
    output->first_made = 0;
    bm_free(kept);
    bm_free(output->partial);
    output->partial = NULL;
}

bm_status bm_output_commit(bm_output *output, bm_error *err)
{
    bm_status status = BM_OK;
    char *old = NULL;
    char *journal = bm_path_join(output->partial, BM_OUTPUT_JOURNAL);
    BM_FAIL_IF(!journal, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_folder_remove(journal, err)); // from here on bitmill.json tells that it is ours
    BM_TRY(bm_folder_sync(output->partial, err));
    output->replaces = output->replaces && bm_path_kind_of(output->path) == BM_PATH_FOLDER; // it may have gone since
    status = output->replaces ? bm_folder_swap(output->path, output->partial, &old, err)
                              : bm_path_rename(output->partial, output->path, err);
    if (status != BM_OK) {
        keep_result(output, err);
        goto done;
    }
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
    for (size_t length = output->path ? bm_output_parent_length(output->path, strlen(output->path)) : 0;
         output->first_made > 0 && length >= output->first_made;
         length = bm_output_parent_length(output->path, length)) {
        output->path[length] = '\0';
        if (!bm_folder_remove_empty(output->path))
            break;
    }
    bm_free(output->path);
    *output = (bm_output){0};
}
