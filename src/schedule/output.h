// An output folder that is either whole or not there: everything is written into DIR.partial, made durable and renamed.
//
// DIR.partial belongs to one run at a time: a claim on DIR.partial.lock, beside it, is held from begin to commit or
// abort. What a broken run left in DIR.partial is removed by the next one; it is known by its journal, or, where the
// run was broken while it removed the result that it had replaced, by that result's bitmill.json.
#ifndef BM_SCHEDULE_OUTPUT_H
#define BM_SCHEDULE_OUTPUT_H

#include "base/file.h"

// Marks a .partial folder as ours, so that a stranger's folder of that name is never removed.
#define BM_OUTPUT_JOURNAL "bitmill.journal"
// config.json, bitmill.json and report.html, which stand beside weights, take less than this with a thousand linears.
#define BM_OUTPUT_WORDS_BYTES (UINT64_C(2) << 20)

typedef struct bm_output {
    char *path;    // the folder that the user asked for; where it leads, if that is a link
    char *partial; // where files are written; exists while the output is open
    bool replaces; // an existing folder is exchanged at commit
    bm_claim *claim;
    uint64_t first_made; // length of the first parent in path that begin created; 0: all were there
    const bm_log *log;   // for warnings; NULL: silent
} bm_output;

// Checks whether path may become an output: absent (its parents are created), or existing with overwrite and either
// empty or a result of ours: a folder with a bitmill.json that lists (`files`) all that is in it. A link to a folder
// stands for that folder. Nothing is changed. Errors: BM_E_ARGUMENT with what to do, BM_E_FORMAT, BM_E_IO, BM_E_MEMORY.
bm_status bm_output_check(const char *path, bool overwrite, bm_error *err);
// Refuses an output inside the model's folder, where its files would be taken for the model's, and a model inside the
// output that is to be replaced. Links are resolved, as far as the path exists. Errors: BM_E_ARGUMENT.
bm_status bm_output_check_apart(const char *path, const char *model, bm_error *err);
// The folder beside it in which the result is made is emptied first: what a run reads may not lie there. Part of check_apart.
bm_status bm_output_check_work(const char *path, const char *source, bm_error *err);
// Creates path.partial, removing what an earlier, broken run of ours left there. Errors: those of bm_output_check, and
// BM_E_IO where another run is writing it.
bm_status bm_output_begin(bm_output *out, const char *path, bool overwrite, const bm_log *log, bm_error *err);
// Makes path.partial durable and puts it in the place of path. The output is closed, whether it succeeds or not. Once
// the result is in its place nothing fails any more: a replaced result that cannot be removed or moved out of the way
// is a warning.
bm_status bm_output_commit(bm_output *output, bm_error *err);
// Removes path.partial and the parents that begin created, if they are empty. An output that was never begun or is
// closed is fine.
void bm_output_abort(bm_output *output);

#endif
