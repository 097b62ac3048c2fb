// What file.c needs of the system. file_posix.c and file_windows.c implement it, and those functions of file.h that are
// little more than a call of the system (open, read, write, rename, locks).
#ifndef BM_BASE_FILE_SYSTEM_H
#define BM_BASE_FILE_SYSTEM_H

#include "base/file.h"

bm_status bm_system_open_file(bm_file **out, const char *path, bm_error *err); // bm_file_open, whatever is in it
bm_status bm_system_make_folder(const char *path, bm_error *err);              // an existing folder is fine
bm_status bm_system_remove_file(const char *path, bm_error *err);
bm_status bm_system_remove_folder(const char *path, bm_error *err);            // empty
bm_status bm_system_list(const char *path, bm_name_list *list, bm_error *err); // any order; adds to list
bool bm_system_exchange(const char *a, const char *b); // false: the system cannot, nothing changed

#endif
