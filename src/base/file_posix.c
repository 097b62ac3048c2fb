// Files on POSIX systems. Empty on Windows.
#ifdef __linux__
#define _GNU_SOURCE // renameat2, flock, sync_file_range, fallocate
#elif defined(__APPLE__)
#define _DARWIN_C_SOURCE // flock
#endif
#ifndef _WIN32
#include "base/file_system.h"
#include "base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/syscall.h>
#endif

#define FLUSHED_BYTES (UINT64_C(1) << 20) // a piece of so many
#define MAX_NAMES 100 // of files without one that are tried: those of runs that were killed between two calls

struct bm_file {
    int descriptor;
    uint64_t size;
    char *path;
};

static bm_status io_error(const char *path, const char *what, bm_error *err)
{
    char words[128] = "";
    const int code = errno;
#if defined(__linux__) && defined(_GNU_SOURCE)
    snprintf(words, sizeof words, "%s", strerror_r(code, words, sizeof words));
#else
    if (strerror_r(code, words, sizeof words) != 0)
        snprintf(words, sizeof words, "error %d", code);
#endif
    return bm_fail(err, BM_E_IO, "%s: cannot %s: %s", path, what, words);
}

bm_status bm_system_open_file(bm_file **out, const char *path, bm_error *err)
{
    struct stat info;
    bm_status status = BM_OK;
    bm_file *file = bm_alloc_zero(1, sizeof *file);
    BM_FAIL_IF(!file, err, BM_E_MEMORY, "out of memory");
    file->path = bm_string_copy(path);
    // O_NONBLOCK: opening a FIFO must not hang; it does nothing for regular files.
    file->descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file->descriptor < 0 || fstat(file->descriptor, &info) != 0) {
        status = io_error(path, "open", err);
        goto done;
    }
    BM_FAIL_IF(!S_ISREG(info.st_mode), err, BM_E_IO, "%s: is %s, expected a file", path,
               S_ISDIR(info.st_mode) ? "a folder" : "no regular file");
    BM_FAIL_IF(!file->path, err, BM_E_MEMORY, "out of memory");
    file->size = (uint64_t)info.st_size;
    *out = file;
    file = NULL;
done:
    bm_file_close(&file);
    return status;
}

bm_status bm_file_read_at(bm_file *file, uint64_t offset, void *out, uint64_t size, bm_error *err)
{
    uint8_t *bytes = out;
    if (offset > INT64_MAX || size > (uint64_t)INT64_MAX - offset)
        return bm_fail(err, BM_E_IO, "%s: offset %llu is beyond any file", file->path, (unsigned long long)offset);
    while (size > 0) {
        const size_t piece = (size_t)bm_min_u64(size, 1u << 30);
        const ssize_t got = pread(file->descriptor, bytes, piece, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return io_error(file->path, "read", err);
        if (got == 0)
            return bm_fail(err, BM_E_IO, "%s: ends at byte %llu, expected %llu more", file->path,
                           (unsigned long long)offset, (unsigned long long)size);
        bytes += got;
        offset += (uint64_t)got;
        size -= (uint64_t)got;
    }
    return BM_OK;
}

uint64_t bm_file_size(const bm_file *file)
{
    return file->size;
}
const char *bm_file_path(const bm_file *file)
{
    return file->path;
}

void bm_file_close(bm_file **file)
{
    if (!file || !*file)
        return;
    if ((*file)->descriptor >= 0)
        close((*file)->descriptor);
    bm_free((*file)->path);
    bm_free(*file);
    *file = NULL;
}

static bm_status put_at(int descriptor, const char *path, uint64_t offset, const uint8_t *bytes, uint64_t size,
                        bm_error *err)
{
    while (size > 0) {
        const ssize_t put = pwrite(descriptor, bytes, (size_t)bm_min_u64(size, 1u << 30), (off_t)offset);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return io_error(path, "write", err);
        bytes += put;
        offset += (uint64_t)put;
        size -= (uint64_t)put;
    }
    return BM_OK;
}

// Whoever finds the name before it goes cannot open the file, and a name that is there already, a link among them, is another's.
bm_status bm_system_open_scratch(bm_file **out, const char *folder, bm_error *err)
{
    static atomic_uint count;
    bm_status status = BM_OK;
    bm_file *file = bm_alloc_zero(1, sizeof *file);
    BM_FAIL_IF(!file, err, BM_E_MEMORY, "out of memory");
    file->descriptor = -1;
    for (uint32_t tries = 0; file->descriptor < 0; tries++) {
        bm_free(file->path);
        file->path = bm_format("%s/scratch.%ld-%u.tmp", folder, (long)getpid(), atomic_fetch_add(&count, 1));
        BM_FAIL_IF(!file->path, err, BM_E_MEMORY, "out of memory");
        file->descriptor = open(file->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (file->descriptor < 0 && (errno != EEXIST || tries == MAX_NAMES)) {
            status = io_error(file->path, "create", err);
            goto done;
        }
    }
    if (unlink(file->path) != 0) {
        status = io_error(file->path, "remove", err);
        goto done;
    }
    *out = file;
    file = NULL;
done:
    bm_file_close(&file);
    return status;
}

bm_status bm_system_write_at(bm_file *scratch, uint64_t offset, const void *bytes, uint64_t size, bm_error *err)
{
    return put_at(scratch->descriptor, scratch->path, offset, bytes, size, err);
}

// Not posix_fallocate: where the file system cannot, the C library writes into each block instead, as slow as what follows.
bm_status bm_system_reserve(bm_file *scratch, uint64_t offset, uint64_t size, bm_error *err)
{
#ifdef __linux__
    int result;
    do
        result = fallocate(scratch->descriptor, 0, (off_t)offset, (off_t)size);
    while (result != 0 && errno == EINTR);
    if (result != 0 && (errno == ENOSPC || errno == EDQUOT || errno == EFBIG || errno == EIO))
        return io_error(scratch->path, "write", err);
#else
    (void)scratch, (void)offset, (void)size, (void)err;
#endif
    return BM_OK;
}

struct bm_writer {
    int descriptor;
    char *path, *temporary;
    uint64_t position; // of the next bm_writer_write
};

bm_status bm_writer_create(bm_writer **out, const char *path, bm_error *err)
{
    bm_status status = BM_OK;
    bm_writer *writer = bm_alloc_zero(1, sizeof *writer);
    BM_FAIL_IF(!writer, err, BM_E_MEMORY, "out of memory");
    writer->descriptor = -1;
    writer->path = bm_string_copy(path);
    // The process id keeps two processes that write the same file apart, the count two threads; the last rename wins.
    static atomic_uint count;
    writer->temporary = bm_format("%s.%ld-%u.tmp", path, (long)getpid(), atomic_fetch_add(&count, 1));
    BM_FAIL_IF(!writer->path || !writer->temporary, err, BM_E_MEMORY, "out of memory");
    writer->descriptor = open(writer->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (writer->descriptor < 0) {
        status = io_error(path, "create", err);
        goto done;
    }
    *out = writer;
    writer = NULL;
done:
    bm_writer_destroy(&writer);
    return status;
}

bm_status bm_writer_write_at(bm_writer *writer, uint64_t offset, const void *bytes, uint64_t size, bm_error *err)
{
    return put_at(writer->descriptor, writer->path, offset, bytes, size, err);
}

// What fails here shows when the file is flushed.
void bm_writer_begin_flush(bm_writer *writer, uint64_t offset, uint64_t size)
{
#ifdef SYNC_FILE_RANGE_WRITE
    if (size >= FLUSHED_BYTES)
        (void)sync_file_range(writer->descriptor, (off_t)offset, (off_t)size, SYNC_FILE_RANGE_WRITE);
#else
    (void)writer, (void)offset, (void)size;
#endif
}

bm_status bm_writer_write(bm_writer *writer, const void *bytes, uint64_t size, bm_error *err)
{
    const bm_status status = bm_writer_write_at(writer, writer->position, bytes, size, err);
    if (status == BM_OK)
        writer->position += size;
    return status;
}

bm_status bm_writer_commit(bm_writer **writer, bm_error *err)
{
    bm_writer *w = *writer;
    bm_status status = BM_OK;
    if (fsync(w->descriptor) != 0 && errno != EINVAL)
        status = io_error(w->path, "flush", err);
    if (close(w->descriptor) != 0 && status == BM_OK)
        status = io_error(w->path, "close", err);
    w->descriptor = -1;
    if (status == BM_OK && rename(w->temporary, w->path) != 0)
        status = io_error(w->path, "rename to", err);
    if (status == BM_OK) {
        bm_free(w->temporary); // nothing is left to remove
        w->temporary = NULL;
    }
    bm_writer_destroy(writer);
    return status;
}

void bm_writer_destroy(bm_writer **writer)
{
    if (!writer || !*writer)
        return;
    bm_writer *w = *writer;
    if (w->descriptor >= 0)
        close(w->descriptor);
    if (w->temporary)
        unlink(w->temporary);
    bm_free(w->temporary);
    bm_free(w->path);
    bm_free(w);
    *writer = NULL;
}

bm_path_kind bm_path_kind_of(const char *path)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return errno == ENOENT || errno == ENOTDIR ? BM_PATH_ABSENT : BM_PATH_OTHER;
    return S_ISREG(info.st_mode) ? BM_PATH_FILE : S_ISDIR(info.st_mode) ? BM_PATH_FOLDER : BM_PATH_OTHER;
}

bm_status bm_system_make_folder(const char *path, bm_error *err)
{
    if (mkdir(path, 0777) == 0 || (errno == EEXIST && bm_path_kind_of(path) == BM_PATH_FOLDER))
        return BM_OK;
    return io_error(path, "create the folder", err);
}

bool bm_path_is_separator(char c)
{
    return c == '/';
}

bool bm_path_is_real_folder(const char *path)
{
    struct stat info;
    return lstat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

bool bm_path_is_link(const char *path)
{
    struct stat info;
    return lstat(path, &info) == 0 && S_ISLNK(info.st_mode);
}

char *bm_path_resolve(const char *path)
{
    char *real = realpath(path, NULL), *copy = real ? bm_string_copy(real) : NULL;
    free(real); // the system's, not bm_alloc's
    return copy;
}

bm_status bm_system_remove_file(const char *path, bm_error *err)
{
    return unlink(path) == 0 || errno == ENOENT ? BM_OK : io_error(path, "remove", err);
}

bm_status bm_system_remove_folder(const char *path, bm_error *err)
{
    return rmdir(path) == 0 || errno == ENOENT ? BM_OK : io_error(path, "remove", err);
}

bm_status bm_system_list(const char *path, bm_name_list *list, bm_error *err)
{
    bm_status status = BM_OK;
    DIR *folder = opendir(path);
    if (!folder)
        return io_error(path, "list", err);
    for (const struct dirent *entry; (entry = readdir(folder));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            BM_FAIL_IF(!bm_name_list_add(list, entry->d_name), err, BM_E_MEMORY, "out of memory");
done:
    closedir(folder);
    return status;
}

bm_status bm_path_rename(const char *from, const char *to, bm_error *err)
{
    return rename(from, to) == 0 ? BM_OK : io_error(to, "rename to", err);
}

bm_status bm_folder_sync(const char *path, bm_error *err)
{
    const int descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0)
        return io_error(path, "open", err);
    // Some file systems cannot flush a folder; that is no failure of ours.
    const bool failed = fsync(descriptor) != 0 && errno != EINVAL && errno != ENOTSUP;
    const bm_status status = failed ? io_error(path, "flush", err) : BM_OK;
    close(descriptor);
    return status;
}

bool bm_folder_free_bytes(const char *path, uint64_t *out)
{
    struct statvfs info;
    if (statvfs(path, &info) != 0 || info.f_blocks == 0) // some file systems without a disk count no blocks
        return false;
    if (!bm_multiply_u64(info.f_bavail, info.f_frsize, out))
        *out = UINT64_MAX;
    return true;
}

bool bm_folder_shares_disk(const char *a, const char *b)
{
    struct stat first, second;
    return stat(a, &first) == 0 && stat(b, &second) == 0 && first.st_dev == second.st_dev;
}

bool bm_system_exchange(const char *a, const char *b)
{
#if defined(__linux__) && defined(SYS_renameat2)
    const unsigned exchange = 2; // RENAME_EXCHANGE
    return syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, exchange) == 0;
#else
    (void)a, (void)b;
    return false;
#endif
}

char *bm_user_cache_folder(void)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (cache && cache[0] == '/')
        return bm_path_join(cache, "bitmill");
    if (!home || home[0] != '/')
        return NULL;
#ifdef __APPLE__
    return bm_path_join(home, "Library/Caches/bitmill");
#else
    return bm_path_join(home, ".cache/bitmill");
#endif
}

struct bm_file_lock {
    int descriptor;
};

// flock, since its locks belong to an open file: they keep threads of one process apart too. Those of fcntl belong to
// the process, and the first close of the file by any thread would end them.
bm_status bm_file_lock_acquire(bm_file_lock **out, const char *path, bm_error *err)
{
    bm_file_lock *lock = bm_alloc_zero(1, sizeof *lock);
    if (!lock)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    lock->descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    int locked = -1;
    while (lock->descriptor >= 0 && (locked = flock(lock->descriptor, LOCK_EX)) != 0 && errno == EINTR)
        continue;
    if (locked != 0) {
        const bm_status status = io_error(path, "lock", err);
        bm_file_lock_release(&lock);
        return status;
    }
    *out = lock;
    return BM_OK;
}

void bm_file_lock_release(bm_file_lock **lock)
{
    if (!lock || !*lock)
        return;
    if ((*lock)->descriptor >= 0) {
        (void)flock((*lock)->descriptor, LOCK_UN); // a child that was forked meanwhile has the open file too
        close((*lock)->descriptor);
    }
    bm_free(*lock);
    *lock = NULL;
}

struct bm_claim {
    int descriptor;
    char *path;
    bool excludes;
};

typedef enum lock_result { LOCK_HELD, LOCK_TAKEN, LOCK_UNKNOWN, LOCK_FAILED } lock_result;

static lock_result try_lock(int descriptor)
{
    int locked;
    while ((locked = flock(descriptor, LOCK_EX | LOCK_NB)) != 0 && errno == EINTR)
        continue;
    if (locked == 0)
        return LOCK_HELD;
    if (errno == EWOULDBLOCK)
        return LOCK_TAKEN;
        // Network file systems and some of FUSE have no locks, or none just now.
#if ENOTSUP != EOPNOTSUPP // Linux has one number for both
    if (errno == ENOTSUP)
        return LOCK_UNKNOWN;
#endif
    return errno == ENOSYS || errno == EOPNOTSUPP || errno == ENOLCK ? LOCK_UNKNOWN : LOCK_FAILED;
}

static bool is_empty_file(int descriptor)
{
    struct stat info;
    return fstat(descriptor, &info) == 0 && S_ISREG(info.st_mode) && info.st_size == 0;
}

// Whether the open file is still what path names: its former holder may have removed it since it was opened.
static bool is_current(int descriptor, const char *path)
{
    struct stat held, named;
    return fstat(descriptor, &held) == 0 && lstat(path, &named) == 0 && held.st_dev == named.st_dev &&
           held.st_ino == named.st_ino;
}

bm_status bm_claim_try(bm_claim **out, const char *path, bm_error *err)
{
    bm_status status = BM_OK;
    bm_claim *claim = bm_alloc_zero(1, sizeof *claim);
    BM_FAIL_IF(!claim, err, BM_E_MEMORY, "out of memory");
    claim->descriptor = -1;
    claim->path = bm_string_copy(path);
    BM_FAIL_IF(!claim->path, err, BM_E_MEMORY, "out of memory");
    while (true) {
        const int descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
        if (descriptor < 0) {
            status = io_error(path, "lock", err);
            break;
        }
        if (!is_empty_file(descriptor)) {
            close(descriptor);
            status = bm_fail(err, BM_E_IO, "%s: is in the way: expected no file, or an empty one; remove it", path);
            break;
        }
        const lock_result result = try_lock(descriptor);
        if (result == LOCK_UNKNOWN || (result == LOCK_HELD && is_current(descriptor, path))) {
            claim->descriptor = descriptor;
            claim->excludes = result == LOCK_HELD;
            *out = claim;
            return BM_OK;
        }
        if (result == LOCK_FAILED)
            status = io_error(path, "lock", err);
        close(descriptor);
        if (result != LOCK_HELD)
            break;
    }
done:
    bm_claim_release(&claim);
    return status;
}

bool bm_claim_excludes(const bm_claim *claim)
{
    return claim->excludes;
}

void bm_claim_release(bm_claim **claim)
{
    if (!claim || !*claim)
        return;
    // Removed while it is still held: whoever opened it meanwhile sees that it is no longer what the path names.
    if ((*claim)->descriptor >= 0) {
        unlink((*claim)->path);
        close((*claim)->descriptor);
    }
    bm_free((*claim)->path);
    bm_free(*claim);
    *claim = NULL;
}
#else
typedef int bm_file_posix_is_empty; // ISO C wants a declaration
#endif
