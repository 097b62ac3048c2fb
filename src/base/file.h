// Files and folders: bounded positional reads, atomic writes, the few folder operations that bitmill needs.
// Paths are UTF-8 on every platform. Errors name the path and give the system's message.
#ifndef BM_BASE_FILE_H
#define BM_BASE_FILE_H

#include "base/base.h"

typedef struct bm_file bm_file;

// Opens a regular file for reading. A folder, a device or a missing file is BM_E_IO with words; a Git LFS pointer, which
// only stands for a file, is BM_E_FORMAT.
bm_status bm_file_open(bm_file **out, const char *path, bm_error *err);
// Reads exactly size bytes at offset; a file that is shorter (cut while we read) is BM_E_IO. Thread-safe.
bm_status bm_file_read_at(bm_file *file, uint64_t offset, void *out, uint64_t size, bm_error *err);
uint64_t bm_file_size(const bm_file *file); // at the time of opening
const char *bm_file_path(const bm_file *file);
void bm_file_close(bm_file **file);

// Reads a whole file, at most max_size bytes (more: BM_E_FORMAT), into memory that the caller frees with bm_free.
// A zero byte is added behind the end and not counted.
bm_status bm_file_read_all(const char *path, uint64_t max_size, char **out, uint64_t *size, bm_error *err);

// Writing. A bm_writer writes a file of a name of its own (PATH.PROCESS-COUNT.tmp) beside PATH and renames it over PATH
// at commit, after flushing it to the disk; destroyed without a commit, it leaves nothing.
typedef struct bm_writer bm_writer;
bm_status bm_writer_create(bm_writer **out, const char *path, bm_error *err);
bm_status bm_writer_write(bm_writer *writer, const void *bytes, uint64_t size, bm_error *err);
bm_status bm_writer_write_at(bm_writer *writer, uint64_t offset, const void *bytes, uint64_t size, bm_error *err);
// Bytes that were written and will be flushed go to the disk from now on, instead of all at once in the end: a hint.
void bm_writer_begin_flush(bm_writer *writer, uint64_t offset, uint64_t size);
bm_status bm_writer_commit(bm_writer **writer, bm_error *err); // also destroys it, whether it succeeds or not
void bm_writer_destroy(bm_writer **writer);
bm_status bm_file_write_all(const char *path, const void *bytes, uint64_t size, bm_error *err); // atomic

typedef enum bm_path_kind { BM_PATH_ABSENT, BM_PATH_FILE, BM_PATH_FOLDER, BM_PATH_OTHER } bm_path_kind;
bm_path_kind bm_path_kind_of(const char *path);                                 // follows links
bm_status bm_folder_create(const char *path, bool with_parents, bm_error *err); // an existing folder is fine
// Sorted names (bytewise) of the entries of a folder, without "." and ".."; free each and the list with
// bm_name_list_free.
typedef struct bm_name_list {
    char **names;
    uint32_t count;
} bm_name_list;
bm_status bm_folder_list(const char *path, bm_name_list *out, bm_error *err);
bool bm_name_list_add(bm_name_list *list, const char *name); // copies name; false: no memory
void bm_name_list_free(bm_name_list *list);
bm_status bm_folder_remove(const char *path, bm_error *err); // with everything in it; links are not followed
bool bm_folder_remove_empty(const char *path);               // false: it is not empty, or may not be removed
bm_status bm_path_rename(const char *from, const char *to, bm_error *err); // atomic within a file system
bm_status bm_file_copy(const char *from, const char *to, bm_error *err);
bm_status bm_folder_sync(const char *path, bm_error *err); // makes renames in it durable where the system can
// Bytes that files in a folder may still take. False: the system does not say; *out is untouched then.
bool bm_folder_free_bytes(const char *path, uint64_t *out);
// Whether what one folder's files take is gone for the other's: both lie on one file system. False: the system does not say.
bool bm_folder_shares_disk(const char *a, const char *b);
// Exchanges two folders atomically where the system can (Linux renameat2), else by three renames. BM_OK once b's folder
// is in the place of a: where the last rename fails, *left is the path at which a's folder stays (bm_free it), else
// NULL.
bm_status bm_folder_swap(const char *a, const char *b, char **left, bm_error *err);

bool bm_path_is_separator(char c);
bool bm_path_is_real_folder(const char *path); // not through a link
bool bm_path_is_link(const char *path);        // wherever it leads; not with a separator at its end
char *bm_path_resolve(const char *path);       // absolute, links followed; NULL: leads nowhere, or no memory
bool bm_path_is_within(const char *path, const char *folder); // of resolved paths: path is folder, or lies in it
char *bm_path_join(const char *folder, const char *name);     // bm_free it; NULL: no memory
const char *bm_path_base_name(const char *path);              // what follows the last separator

// The user's cache folder for bitmill: $XDG_CACHE_HOME/bitmill, $HOME/.cache/bitmill, %LOCALAPPDATA%\bitmill, ...
// Called by main, which passes the path down (the library itself never reads the environment). NULL: none known.
char *bm_user_cache_folder(void);

// An exclusive lock, between processes and between threads, on a file that is created when absent. Blocks until it is
// free.
typedef struct bm_file_lock bm_file_lock;
bm_status bm_file_lock_acquire(bm_file_lock **out, const char *path, bm_error *err);
void bm_file_lock_release(bm_file_lock **lock);

// An exclusive claim on a path, held by a lock on a file there. Unlike bm_file_lock_acquire it never waits, and
// releasing it removes the file. After a holder was killed the file remains, and the next claim takes it over. *out
// stays NULL, with BM_OK, when somebody else holds the claim. Anything at the path other than an empty file is left
// alone: BM_E_IO.
typedef struct bm_claim bm_claim;
bm_status bm_claim_try(bm_claim **out, const char *path, bm_error *err);
bool bm_claim_excludes(const bm_claim *claim); // false: the file system has no locks, so others may hold the claim too
void bm_claim_release(bm_claim **claim);

#endif
