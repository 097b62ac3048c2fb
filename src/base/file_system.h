// What file.c and scratch.c, and trials of writers, need of the system. file_posix.c and file_windows.c implement it, and those
// functions of file.h that are little more than a call of the system (open, read, write, rename, locks).
#ifndef BM_BASE_FILE_SYSTEM_H
#define BM_BASE_FILE_SYSTEM_H

#include "base/file.h"

bm_status bm_system_open_file(bm_file **out, const char *path, bm_error *err); // bm_file_open, whatever is in it
bm_status bm_system_make_folder(const char *path, bm_error *err);              // an existing folder is fine
bm_status bm_system_remove_file(const char *path, bm_error *err);
bm_status bm_system_remove_folder(const char *path, bm_error *err);            // empty
bm_status bm_system_list(const char *path, bm_name_list *list, bm_error *err); // any order; adds to list
bool bm_system_exchange(const char *a, const char *b); // false: the system cannot, nothing changed

// A scratch file (scratch.h) is opened to be written and read (bm_file_read_at).
bm_status bm_system_open_scratch(bm_file **out, const char *folder, bm_error *err);
bm_status bm_system_write_at(bm_file *scratch, uint64_t offset, const void *bytes, uint64_t size, bm_error *err);
// Takes room on the disk for bytes that are to be written, so that a full one is an error now. A system that cannot takes none.
bm_status bm_system_reserve(bm_file *scratch, uint64_t offset, uint64_t size, bm_error *err);

#endif
