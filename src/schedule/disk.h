// Whether disks have room for what a run writes: its result, and files that it keeps meanwhile.
#ifndef BM_SCHEDULE_DISK_H
#define BM_SCHEDULE_DISK_H

#include "base/file.h"

typedef struct bm_disk_need {
    const char *output;         // the folder that was asked for, for the words
    const char *output_folder;  // one that exists, where the result is to lie
    uint64_t result_bytes;      // of the result, without its words (BM_OUTPUT_WORDS_BYTES)
    const char *scratch_folder; // one that exists, for files that memory does not hold; NULL: beside the result
    uint64_t scratch_bytes;     // of them, at a time
} bm_disk_need;

// BM_E_IO, with the folder, the bytes found and needed, where a disk has less room left than its part, or than both parts where
// they lie on one file system. Not where the system does not say.
bm_status bm_disk_check(const bm_disk_need *need, bm_error *err);

#endif
