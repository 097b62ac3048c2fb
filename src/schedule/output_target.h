// Between the files of output folders (output.h) alone: what may become one, and what lies there already.
#ifndef BM_SCHEDULE_OUTPUT_TARGET_H
#define BM_SCHEDULE_OUTPUT_TARGET_H

#include "base/file.h"

#define BM_OUTPUT_RECORD "bitmill.json"
#define BM_OUTPUT_PARTIAL_SUFFIX ".partial"
#define BM_OUTPUT_KEPT_SUFFIX ".kept" // of a whole result that could not be put in its place

bool bm_output_is_empty_folder(const char *folder);
// The length of the parent's part of the first length characters of path, without separators at its end; 0: it has
// none, or that of the root alone.
size_t bm_output_parent_length(const char *path, size_t length);
// What the first length characters of path name.
bm_path_kind bm_output_kind_of_beginning(const char *path, size_t length);
// The folder that is created or replaced: path without separators at its end. A link is followed: renames would replace
// the link itself, and what it leads to would stay. *target is the caller's, freed with bm_free.
// Errors   BM_E_ARGUMENT for a link that leads nowhere; BM_E_MEMORY.
bm_status bm_output_find_target(const char *path, char **target, bm_error *err);
// Whether target may be created, or with overwrite replaced. path is for the words.
// Errors   those of bm_output_check.
bm_status bm_output_check_target(const char *path, const char *target, bool overwrite, bm_error *err);
// A result of ours may be removed; what else lies in its folder may not. path is for the words, folder what is looked at.
// Errors   BM_E_ARGUMENT where there is no bitmill.json, or a file that it does not list; those of reading it.
bm_status bm_output_check_strangers(const char *path, const char *folder, bm_error *err);

#endif
