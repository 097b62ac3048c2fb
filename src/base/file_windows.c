// Files on Windows: UTF-8 paths become UTF-16 at the door. Empty elsewhere.
#ifdef _WIN32
#include "base/file_system.h"
#include "base/str.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

#define MAX_NAMES 100 // of scratch files that are tried: those that a loss of power left

static wchar_t *wide(const char *text)
{
    const int count = MultiByteToWideChar(CP_UTF8, 0, text, -1, NULL, 0);
    wchar_t *out = count > 0 ? bm_alloc((uint64_t)count, sizeof *out) : NULL;
    if (out)
        MultiByteToWideChar(CP_UTF8, 0, text, -1, out, count);
    return out;
}

static char *narrow(const wchar_t *text)
{
    const int count = WideCharToMultiByte(CP_UTF8, 0, text, -1, NULL, 0, NULL, NULL);
    char *out = count > 0 ? bm_alloc((uint64_t)count, 1) : NULL;
    if (out)
        WideCharToMultiByte(CP_UTF8, 0, text, -1, out, count, NULL, NULL);
    return out;
}

static bm_status io_error(const char *path, const char *what, bm_error *err)
{
    char words[256] = "";
    const DWORD code = GetLastError();
    FormatMessageA(FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS, NULL, code, 0, words, sizeof words,
                   NULL);
    for (size_t n = strlen(words); n > 0 && (words[n - 1] == '\n' || words[n - 1] == '\r' || words[n - 1] == '.'); n--)
        words[n - 1] = '\0';
    return bm_fail(err, BM_E_IO, "%s: cannot %s: %s", path, what, words);
}

struct bm_file {
    HANDLE handle;
    uint64_t size;
    char *path;
};

bm_status bm_system_open_file(bm_file **out, const char *path, bm_error *err)
{
    bm_status status = BM_OK;
    LARGE_INTEGER size;
    wchar_t *name = wide(path);
    bm_file *file = bm_alloc_zero(1, sizeof *file);
    BM_FAIL_IF(!file || !name, err, BM_E_MEMORY, "out of memory");
    file->handle = INVALID_HANDLE_VALUE;
    file->path = bm_string_copy(path);
    BM_FAIL_IF(!file->path, err, BM_E_MEMORY, "out of memory");
    BM_FAIL_IF(bm_path_kind_of(path) == BM_PATH_FOLDER, err, BM_E_IO, "%s: is a folder, expected a file", path);
    file->handle = CreateFileW(name, GENERIC_READ, FILE_SHARE_READ, NULL, OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, NULL);
    if (file->handle == INVALID_HANDLE_VALUE || !GetFileSizeEx(file->handle, &size)) {
        status = io_error(path, "open", err);
        goto done;
    }
    file->size = (uint64_t)size.QuadPart;
    *out = file;
    file = NULL;
done:
    bm_file_close(&file);
    bm_free(name);
    return status;
}

bm_status bm_file_read_at(bm_file *file, uint64_t offset, void *out, uint64_t size, bm_error *err)
{
    uint8_t *bytes = out;
    while (size > 0) {
        OVERLAPPED at = {.Offset = (DWORD)offset, .OffsetHigh = (DWORD)(offset >> 32)};
        DWORD got = 0;
        if (!ReadFile(file->handle, bytes, (DWORD)bm_min_u64(size, 1u << 30), &got, &at) &&
            GetLastError() != ERROR_HANDLE_EOF)
            return io_error(file->path, "read", err);
        if (got == 0)
            return bm_fail(err, BM_E_IO, "%s: ends at byte %llu, expected %llu more", file->path,
                           (unsigned long long)offset, (unsigned long long)size);
        bytes += got;
        offset += got;
        size -= got;
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
    if ((*file)->handle != INVALID_HANDLE_VALUE && (*file)->handle)
        CloseHandle((*file)->handle);
    bm_free((*file)->path);
    bm_free(*file);
    *file = NULL;
}

static bm_status put_at(HANDLE handle, const char *path, uint64_t offset, const uint8_t *bytes, uint64_t size,
                        bm_error *err)
{
    while (size > 0) {
        OVERLAPPED at = {.Offset = (DWORD)offset, .OffsetHigh = (DWORD)(offset >> 32)};
        DWORD put = 0;
        if (!WriteFile(handle, bytes, (DWORD)bm_min_u64(size, 1u << 30), &put, &at) || put == 0)
            return io_error(path, "write", err);
        bytes += put;
        offset += put;
        size -= put;
    }
    return BM_OK;
}

// The system deletes it when the handle is closed, whoever closes it; until then nobody else opens it.
bm_status bm_system_open_scratch(bm_file **out, const char *folder, bm_error *err)
{
    static atomic_uint count;
    bm_status status = BM_OK;
    wchar_t *name = NULL;
    bm_file *file = bm_alloc_zero(1, sizeof *file);
    BM_FAIL_IF(!file, err, BM_E_MEMORY, "out of memory");
    file->handle = INVALID_HANDLE_VALUE;
    for (uint32_t i = 0; i < MAX_NAMES && file->handle == INVALID_HANDLE_VALUE; i++) {
        bm_free(file->path);
        bm_free(name);
        file->path = bm_format("%s/scratch.%lu-%u.tmp", folder, (unsigned long)GetCurrentProcessId(),
                               atomic_fetch_add(&count, 1));
        name = file->path ? wide(file->path) : NULL;
        BM_FAIL_IF(!name, err, BM_E_MEMORY, "out of memory");
        file->handle = CreateFileW(name, GENERIC_READ | GENERIC_WRITE | DELETE, 0, NULL, CREATE_NEW,
                                   FILE_ATTRIBUTE_TEMPORARY | FILE_FLAG_DELETE_ON_CLOSE, NULL);
        if (file->handle == INVALID_HANDLE_VALUE && GetLastError() != ERROR_FILE_EXISTS)
            break;
    }
    if (file->handle == INVALID_HANDLE_VALUE) {
        status = io_error(file->path, "create", err);
        goto done;
    }
    *out = file;
    file = NULL;
done:
    bm_file_close(&file);
    bm_free(name);
    return status;
}

bm_status bm_system_write_at(bm_file *scratch, uint64_t offset, const void *bytes, uint64_t size, bm_error *err)
{
    return put_at(scratch->handle, scratch->path, offset, bytes, size, err);
}

// Writing takes room at once here.
bm_status bm_system_reserve(bm_file *scratch, uint64_t offset, uint64_t size, bm_error *err)
{
    (void)scratch, (void)offset, (void)size, (void)err;
    return BM_OK;
}

struct bm_writer {
    HANDLE handle;
    char *path;
    wchar_t *final_name, *temporary;
    uint64_t position; // of the next bm_writer_write
};

bm_status bm_writer_create(bm_writer **out, const char *path, bm_error *err)
{
    bm_status status = BM_OK;
    bm_writer *writer = bm_alloc_zero(1, sizeof *writer);
    static atomic_uint count; // with the process id: no two writers share a name
    char *temporary =
        bm_format("%s.%lu-%u.tmp", path, (unsigned long)GetCurrentProcessId(), atomic_fetch_add(&count, 1));
    BM_FAIL_IF(!writer || !temporary, err, BM_E_MEMORY, "out of memory");
    writer->handle = INVALID_HANDLE_VALUE;
    writer->path = bm_string_copy(path);
    writer->final_name = wide(path);
    writer->temporary = wide(temporary);
    BM_FAIL_IF(!writer->path || !writer->final_name || !writer->temporary, err, BM_E_MEMORY, "out of memory");
    writer->handle = CreateFileW(writer->temporary, GENERIC_WRITE, 0, NULL, CREATE_ALWAYS, FILE_ATTRIBUTE_NORMAL, NULL);
    if (writer->handle == INVALID_HANDLE_VALUE) {
        status = io_error(path, "create", err);
        goto done;
    }
    *out = writer;
    writer = NULL;
done:
    bm_writer_destroy(&writer);
    bm_free(temporary);
    return status;
}

bm_status bm_writer_write_at(bm_writer *writer, uint64_t offset, const void *bytes, uint64_t size, bm_error *err)
{
    return put_at(writer->handle, writer->path, offset, bytes, size, err);
}

void bm_writer_begin_flush(bm_writer *writer, uint64_t offset, uint64_t size)
{
    (void)writer, (void)offset, (void)size; // the system has no such hint
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
    if (!FlushFileBuffers(w->handle))
        status = io_error(w->path, "flush", err);
    CloseHandle(w->handle);
    w->handle = INVALID_HANDLE_VALUE;
    if (status == BM_OK &&
        !MoveFileExW(w->temporary, w->final_name, MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH))
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
    if (w->handle != INVALID_HANDLE_VALUE && w->handle)
        CloseHandle(w->handle);
    if (w->temporary)
        DeleteFileW(w->temporary);
    bm_free(w->temporary);
    bm_free(w->final_name);
    bm_free(w->path);
    bm_free(w);
    *writer = NULL;
}

static DWORD attributes_of(const char *path)
{
    wchar_t *name = wide(path);
    const DWORD attributes = name ? GetFileAttributesW(name) : INVALID_FILE_ATTRIBUTES;
    bm_free(name);
    return attributes;
}

bm_path_kind bm_path_kind_of(const char *path)
{
    const DWORD attributes = attributes_of(path);
    if (attributes == INVALID_FILE_ATTRIBUTES)
        return BM_PATH_ABSENT;
    if (attributes & FILE_ATTRIBUTE_DEVICE)
        return BM_PATH_OTHER;
    return attributes & FILE_ATTRIBUTE_DIRECTORY ? BM_PATH_FOLDER : BM_PATH_FILE;
}

// Runs one of the calls that take a name, with words when it fails.
static bm_status with_name(const char *path, const char *what, BOOL (*call)(const wchar_t *), bm_error *err)
{
    wchar_t *name = wide(path);
    bm_status status = BM_OK;
    if (!name)
        status = bm_fail(err, BM_E_MEMORY, "out of memory");
    else if (!call(name))
        status = io_error(path, what, err);
    bm_free(name);
    return status;
}

static BOOL make_folder(const wchar_t *name)
{
    if (CreateDirectoryW(name, NULL))
        return TRUE;
    const DWORD attributes = GetFileAttributesW(name);
    return attributes != INVALID_FILE_ATTRIBUTES && (attributes & FILE_ATTRIBUTE_DIRECTORY);
}
static BOOL remove_file(const wchar_t *name)
{
    return DeleteFileW(name) || GetLastError() == ERROR_FILE_NOT_FOUND;
}
static BOOL remove_folder(const wchar_t *name)
{
    return RemoveDirectoryW(name) || GetLastError() == ERROR_FILE_NOT_FOUND;
}

bm_status bm_system_make_folder(const char *path, bm_error *err)
{
    return with_name(path, "create the folder", make_folder, err);
}
bm_status bm_system_remove_file(const char *path, bm_error *err)
{
    return with_name(path, "remove", remove_file, err);
}
bm_status bm_system_remove_folder(const char *path, bm_error *err)
{
    return with_name(path, "remove", remove_folder, err);
}
bool bm_path_is_separator(char c)
{
    return c == '/' || c == '\\';
}

bool bm_path_is_real_folder(const char *path)
{
    const DWORD attributes = attributes_of(path);
    return attributes != INVALID_FILE_ATTRIBUTES && (attributes & FILE_ATTRIBUTE_DIRECTORY) &&
           !(attributes & FILE_ATTRIBUTE_REPARSE_POINT);
}

bool bm_path_is_link(const char *path)
{
    const DWORD attributes = attributes_of(path);
    return attributes != INVALID_FILE_ATTRIBUTES && (attributes & FILE_ATTRIBUTE_REPARSE_POINT);
}

char *bm_path_resolve(const char *path)
{
    wchar_t *name = wide(path), *real = NULL;
    char *out = NULL;
    // Nothing is asked but the name; folders open with backup semantics alone.
    HANDLE handle = name ? CreateFileW(name, 0, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, NULL,
                                       OPEN_EXISTING, FILE_FLAG_BACKUP_SEMANTICS, NULL)
                         : INVALID_HANDLE_VALUE;
    const DWORD size = handle != INVALID_HANDLE_VALUE ? GetFinalPathNameByHandleW(handle, NULL, 0, 0) : 0;
    real = size > 0 ? bm_alloc(size, sizeof *real) : NULL;
    if (real && GetFinalPathNameByHandleW(handle, real, size, 0) < size)
        out = narrow(real);
    if (handle != INVALID_HANDLE_VALUE)
        CloseHandle(handle);
    bm_free(real);
    bm_free(name);
    return out;
}

bm_status bm_system_list(const char *path, bm_name_list *list, bm_error *err)
{
    bm_status status = BM_OK;
    WIN32_FIND_DATAW entry;
    HANDLE find = INVALID_HANDLE_VALUE;
    char *pattern = bm_path_join(path, "*");
    wchar_t *name = pattern ? wide(pattern) : NULL;
    BM_FAIL_IF(!name, err, BM_E_MEMORY, "out of memory");
    find = FindFirstFileW(name, &entry);
    if (find == INVALID_HANDLE_VALUE) {
        status = io_error(path, "list", err);
        goto done;
    }
    do {
        char *child = narrow(entry.cFileName);
        const bool dots = child && (strcmp(child, ".") == 0 || strcmp(child, "..") == 0);
        const bool added = child && (dots || bm_name_list_add(list, child));
        bm_free(child);
        BM_FAIL_IF(!added, err, BM_E_MEMORY, "out of memory");
    } while (FindNextFileW(find, &entry));
done:
    if (find != INVALID_HANDLE_VALUE)
        FindClose(find);
    bm_free(name);
    bm_free(pattern);
    return status;
}

bm_status bm_path_rename(const char *from, const char *to, bm_error *err)
{
    wchar_t *source = wide(from), *target = wide(to);
    bm_status status = BM_OK;
    if (!source || !target)
        status = bm_fail(err, BM_E_MEMORY, "out of memory");
    else if (!MoveFileExW(source, target, MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH))
        status = io_error(to, "rename to", err);
    bm_free(source);
    bm_free(target);
    return status;
}

bm_status bm_folder_sync(const char *path, bm_error *err)
{
    (void)path, (void)err; // renames are written through
    return BM_OK;
}

bool bm_folder_free_bytes(const char *path, uint64_t *out)
{
    ULARGE_INTEGER available;
    wchar_t *name = wide(path);
    const bool known = name && GetDiskFreeSpaceExW(name, &available, NULL, NULL);
    if (known)
        *out = available.QuadPart;
    bm_free(name);
    return known;
}

// The name of a volume ("\\\\?\\Volume{...}\\"), whatever folder it is seen at.
static bool volume_of(const char *path, wchar_t volume[64])
{
    wchar_t root[MAX_PATH + 1];
    wchar_t *name = wide(path);
    const bool known =
        name && GetVolumePathNameW(name, root, MAX_PATH + 1) && GetVolumeNameForVolumeMountPointW(root, volume, 64);
    bm_free(name);
    return known;
}

bool bm_folder_shares_disk(const char *a, const char *b)
{
    wchar_t first[64], second[64];
    return volume_of(a, first) && volume_of(b, second) && wcscmp(first, second) == 0;
}

bool bm_system_exchange(const char *a, const char *b)
{
    (void)a, (void)b;
    return false;
}

char *bm_user_cache_folder(void)
{
    const wchar_t *local = _wgetenv(L"LOCALAPPDATA");
    char *folder = local ? narrow(local) : NULL;
    char *cache = folder ? bm_path_join(folder, "bitmill") : NULL;
    bm_free(folder);
    return cache;
}

struct bm_file_lock {
    HANDLE handle;
};

bm_status bm_file_lock_acquire(bm_file_lock **out, const char *path, bm_error *err)
{
    OVERLAPPED whole = {0};
    bm_status status = BM_OK;
    wchar_t *name = wide(path);
    bm_file_lock *lock = bm_alloc_zero(1, sizeof *lock);
    BM_FAIL_IF(!lock || !name, err, BM_E_MEMORY, "out of memory");
    lock->handle = CreateFileW(name, GENERIC_READ | GENERIC_WRITE, FILE_SHARE_READ | FILE_SHARE_WRITE, NULL,
                               OPEN_ALWAYS, FILE_ATTRIBUTE_NORMAL, NULL);
    if (lock->handle == INVALID_HANDLE_VALUE || !LockFileEx(lock->handle, LOCKFILE_EXCLUSIVE_LOCK, 0, 1, 0, &whole)) {
        status = io_error(path, "lock", err);
        goto done;
    }
    *out = lock;
    lock = NULL;
done:
    bm_file_lock_release(&lock);
    bm_free(name);
    return status;
}

void bm_file_lock_release(bm_file_lock **lock)
{
    if (!lock || !*lock)
        return;
    if ((*lock)->handle != INVALID_HANDLE_VALUE && (*lock)->handle)
        CloseHandle((*lock)->handle);
    bm_free(*lock);
    *lock = NULL;
}

struct bm_claim {
    HANDLE handle;
};

// Whether something is there that no claim left.
static bool is_in_the_way(const wchar_t *name)
{
    WIN32_FILE_ATTRIBUTE_DATA data;
    if (!GetFileAttributesExW(name, GetFileExInfoStandard, &data))
        return false;
    return data.dwFileAttributes & (FILE_ATTRIBUTE_DIRECTORY | FILE_ATTRIBUTE_REPARSE_POINT) ||
           data.nFileSizeHigh != 0 || data.nFileSizeLow != 0;
}

// The system's own means: nobody else may open the file, and it goes with its handle.
bm_status bm_claim_try(bm_claim **out, const char *path, bm_error *err)
{
    bm_status status = BM_OK;
    wchar_t *name = wide(path);
    bm_claim *claim = bm_alloc_zero(1, sizeof *claim);
    BM_FAIL_IF(!claim || !name, err, BM_E_MEMORY, "out of memory");
    BM_FAIL_IF(is_in_the_way(name), err, BM_E_IO, "%s: is in the way: expected no file, or an empty one; remove it",
               path);
    claim->handle = CreateFileW(name, GENERIC_READ | GENERIC_WRITE | DELETE, 0, NULL, OPEN_ALWAYS,
                                FILE_ATTRIBUTE_NORMAL | FILE_FLAG_DELETE_ON_CLOSE, NULL);
    if (claim->handle == INVALID_HANDLE_VALUE) {
        if (GetLastError() != ERROR_SHARING_VIOLATION)
            status = io_error(path, "lock", err);
        goto done;
    }
    *out = claim;
    claim = NULL;
done:
    bm_claim_release(&claim);
    bm_free(name);
    return status;
}

bool bm_claim_excludes(const bm_claim *claim)
{
    (void)claim;
    return true;
}

void bm_claim_release(bm_claim **claim)
{
    if (!claim || !*claim)
        return;
    if ((*claim)->handle != INVALID_HANDLE_VALUE && (*claim)->handle)
        CloseHandle((*claim)->handle);
    bm_free(*claim);
    *claim = NULL;
}
#else
typedef int bm_file_windows_is_empty; // ISO C wants a declaration
#endif
