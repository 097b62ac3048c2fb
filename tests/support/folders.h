// folders: temporary folders for tests, small files in them, and the folder of test data.
#ifndef BM_TESTS_FOLDERS_H
#define BM_TESTS_FOLDERS_H

#include "base/base.h"

// Creates an empty folder of its own in $TMPDIR or /tmp. Aborts the program when that fails: a test cannot go on.
char *support_folder_create(void);
void support_folder_remove(char **folder); // with everything in it; frees the path

// Whether FOLDER/name is there, as whatever; and how many entries FOLDER has. A folder that cannot be listed aborts.
bool support_folder_has(const char *folder, const char *name);
uint32_t support_folder_count(const char *folder);

// FOLDER/name, written with length bytes. Returns the path (bm_free it); aborts when writing fails.
char *support_file_write(const char *folder, const char *name, const void *bytes, size_t length);
// The whole of FOLDER/name, zero-terminated, its size to *size; bm_free it. Aborts when reading fails.
char *support_file_read(const char *folder, const char *name, uint64_t *size);

// The path of an item of the test data: in $BITMILL_DATA when that is set, else in ../shared/data beside the sources.
// NULL when the item is absent. bm_free it.
char *support_data_find(const char *name);

#endif
