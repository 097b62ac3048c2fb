// Room on disks.
#include "schedule/disk.h"

#include "base/str.h"
#include "schedule/output.h"

static bool has_room(const char *folder, uint64_t need, uint64_t *room)
{
    return !bm_folder_free_bytes(folder, room) || *room >= need;
}

// Files in the result's folder, or where they take what the result needs.
static bm_status check_sum(const bm_disk_need *n, bool is_beside, uint64_t result, bm_error *err)
{
    const uint64_t need = result + n->scratch_bytes;
    uint64_t room = 0;
    if (has_room(n->output_folder, need, &room))
        return BM_OK;
    char *place = is_beside ? bm_string_copy("") : bm_format(" in \"%s\"", n->scratch_folder);
    bm_status status = bm_fail(
        err, BM_E_IO,
        "output folder \"%s\": the disk has room for %.2f MB, expected %.2f MB: %.2f MB for the result, %.2f MB for "
        "files "
        "of what memory does not hold%s, on the same file system; choose another with --output DIR or --cache-dir DIR, "
        "or raise --host-memory",
        n->output, (double)room / 1e6, (double)need / 1e6, (double)result / 1e6, (double)n->scratch_bytes / 1e6,
        place ? place : "");
    bm_free(place);
    return status;
}

bm_status bm_disk_check(const bm_disk_need *n, bm_error *err)
{
    const uint64_t result = n->result_bytes + BM_OUTPUT_WORDS_BYTES;
    const bool is_beside = !n->scratch_folder;
    uint64_t room = 0;
    if (n->scratch_bytes > 0 && (is_beside || bm_folder_shares_disk(n->output_folder, n->scratch_folder)))
        return check_sum(n, is_beside, result, err);
    if (!has_room(n->output_folder, result, &room))
        return bm_fail(
            err, BM_E_IO,
            "output folder \"%s\": the disk has room for %.2f MB, the result needs %.2f MB, with %.2f MB for its "
            "report and record; choose another with --output DIR",
            n->output, (double)room / 1e6, (double)result / 1e6, (double)BM_OUTPUT_WORDS_BYTES / 1e6);
    if (n->scratch_bytes > 0 && !has_room(n->scratch_folder, n->scratch_bytes, &room))
        return bm_fail(err, BM_E_IO,
                       "--cache-dir: \"%s\": the disk has room for %.2f MB, files of what memory does not hold need "
                       "%.2f MB; name another folder, or raise --host-memory",
                       n->scratch_folder, (double)room / 1e6, (double)n->scratch_bytes / 1e6);
    return BM_OK;
}
