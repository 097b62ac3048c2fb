// An output folder that is either whole or not there: everything is written into DIR.partial, made durable and renamed.
#ifndef BM_SCHEDULE_OUTPUT_H
#define BM_SCHEDULE_OUTPUT_H

#include "base/base.h"

typedef struct bm_output {
    char *path;    // the folder that the user asked for
    char *partial; // where files are written; exists while the output is open
    bool replaces; // an existing folder is exchanged at commit
} bm_output;

// Checks whether path may become an output: absent (its parent is created), or existing with overwrite and either empty or
// holding a bitmill.json. Nothing is changed. Errors: BM_E_ARGUMENT with what to do, BM_E_IO.
bm_status bm_output_check(const char *path, bool overwrite, bm_error *err);
// Refuses a path that is written as one inside the model's folder, where its files would be taken for the model's (a look
// at the words alone: links and ".." are not resolved). Errors: BM_E_ARGUMENT.
bm_status bm_output_check_apart(const char *path, const char *model, bm_error *err);
// Creates path.partial, removing what an earlier, broken run of ours left there.
bm_status bm_output_begin(bm_output *out, const char *path, bool overwrite, bm_error *err);
// Makes path.partial durable and puts it in the place of path. The output is closed, whether it succeeds or not.
bm_status bm_output_commit(bm_output *output, bm_error *err);
// Removes path.partial. An output that was never begun or is closed is fine.
void bm_output_abort(bm_output *output);

#endif
