// Files: what does not depend on the system. The system's part is in file_posix.c and file_windows.c behind
// file_system.h.
#include "base/file_system.h"

#include "base/str.h"

#include <stdlib.h>
#include <string.h>

// Git LFS keeps large files elsewhere and, until it is asked for them, a text of three lines in their place, shorter than
// 1024 bytes by its specification.
static bm_status refuse_lfs_pointer(bm_file *file, bm_error *err)
{
    static const char mark[] = "version https://git-lfs.github.com/spec/";
    char start[sizeof mark - 1];
    if (bm_file_size(file) < sizeof start || bm_file_size(file) >= 1024)
        return BM_OK;
    const bm_status status = bm_file_read_at(file, 0, start, sizeof start, err);
    if (status != BM_OK || memcmp(start, mark, sizeof start) != 0)
        return status;
    return bm_fail(err, BM_E_FORMAT,
                   "%s: is a Git LFS pointer, not the file that it stands for; fetch that with \"git lfs pull\"",
                   bm_file_path(file));
}

bm_status bm_file_open(bm_file **out, const char *path, bm_error *err)
{
    bm_file *file = NULL;
    bm_status status = bm_system_open_file(&file, path, err);
    if (status == BM_OK)
        status = refuse_lfs_pointer(file, err);
    if (status == BM_OK)
        *out = file;
    else
        bm_file_close(&file);
    return status;
}

bm_status bm_file_read_all(const char *path, uint64_t max_size, char **out, uint64_t *size, bm_error *err)
{
    bm_status status = BM_OK;
    bm_file *file = NULL;
    char *text = NULL;
    BM_TRY(bm_file_open(&file, path, err));
    const uint64_t length = bm_file_size(file);
    BM_FAIL_IF(length > max_size, err, BM_E_FORMAT, "%s: %llu bytes, expected at most %llu", path,
               (unsigned long long)length, (unsigned long long)max_size);
    text = bm_alloc(length + 1, 1);
    BM_FAIL_IF(!text, err, BM_E_MEMORY, "%s: no memory for %llu bytes", path, (unsigned long long)length);
    BM_TRY(bm_file_read_at(file, 0, text, length, err));
    text[length] = '\0';
    *out = text;
    *size = length;
    text = NULL;
done:
    bm_free(text);
    bm_file_close(&file);
    return status;
}

bm_status bm_file_write_all(const char *path, const void *bytes, uint64_t size, bm_error *err)
{
    bm_writer *writer = NULL;
    bm_status status = bm_writer_create(&writer, path, err);
    if (status != BM_OK)
        return status;
    status = bm_writer_write(writer, bytes, size, err);
    if (status == BM_OK)
        return bm_writer_commit(&writer, err);
    bm_writer_destroy(&writer);
    return status;
}

bm_status bm_file_copy(const char *from, const char *to, bm_error *err)
{
    enum { PIECE = 1 << 20 };
    bm_status status = BM_OK;
    bm_file *file = NULL;
    bm_writer *writer = NULL;
    char *piece = bm_alloc(PIECE, 1);
    BM_FAIL_IF(!piece, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_file_open(&file, from, err));
    BM_TRY(bm_writer_create(&writer, to, err));
    for (uint64_t at = 0; at < bm_file_size(file); at += PIECE) {
        const uint64_t count = bm_min_u64(PIECE, bm_file_size(file) - at);
        BM_TRY(bm_file_read_at(file, at, piece, count, err));
        BM_TRY(bm_writer_write(writer, piece, count, err));
    }
    status = bm_writer_commit(&writer, err);
done:
    bm_writer_destroy(&writer);
    bm_file_close(&file);
    bm_free(piece);
    return status;
}

bm_status bm_folder_create(const char *path, bool with_parents, bm_error *err)
{
    if (!with_parents)
        return bm_system_make_folder(path, err);
    char *partial = bm_string_copy(path);
    if (!partial)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    bm_status status = BM_OK;
    for (char *c = partial + 1; *partial && *c && status == BM_OK; c++) {
        if (!bm_path_is_separator(*c) || bm_path_is_separator(c[-1]) || c[-1] == ':')
            continue;
        const char separator = *c;
        *c = '\0';
        if (bm_path_kind_of(partial) != BM_PATH_FOLDER)
            status = bm_system_make_folder(partial, err);
        *c = separator;
    }
    bm_free(partial);
    return status == BM_OK ? bm_system_make_folder(path, err) : status;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

bool bm_name_list_add(bm_name_list *list, const char *name)
{
    char **names = bm_resize(list->names, (uint64_t)list->count + 1, sizeof *names);
    if (!names)
        return false;
    list->names = names;
    names[list->count] = bm_string_copy(name);
    if (!names[list->count])
        return false;
    list->count++;
    return true;
}

bm_status bm_folder_list(const char *path, bm_name_list *out, bm_error *err)
{
    bm_name_list list = {0};
    const bm_status status = bm_system_list(path, &list, err);
    if (status != BM_OK) {
        bm_name_list_free(&list);
        return status;
    }
    if (list.count > 1)
        qsort(list.names, list.count, sizeof *list.names, compare_names);
    *out = list;
    return BM_OK;
}

void bm_name_list_free(bm_name_list *list)
{
    for (uint32_t i = 0; i < list->count; i++)
        bm_free(list->names[i]);
    bm_free(list->names);
    *list = (bm_name_list){0};
}

// Folders of ours are a few levels deep; the bound keeps a hostile tree from exhausting the stack.
static bm_status remove_tree(const char *path, uint32_t depth, bm_error *err)
{
    if (!bm_path_is_real_folder(path))
        return bm_system_remove_file(path, err);
    if (depth == 0)
        return bm_fail(err, BM_E_IO, "%s: folders nested too deep to remove", path);
    bm_name_list list = {0};
    bm_status status = bm_folder_list(path, &list, err);
    for (uint32_t i = 0; i < list.count && status == BM_OK; i++) {
        char *child = bm_path_join(path, list.names[i]);
        status = child ? remove_tree(child, depth - 1, err) : bm_fail(err, BM_E_MEMORY, "out of memory");
        bm_free(child);
    }
    bm_name_list_free(&list);
    return status == BM_OK ? bm_system_remove_folder(path, err) : status;
}

bm_status bm_folder_remove(const char *path, bm_error *err)
{
    return remove_tree(path, 32, err);
}

bool bm_folder_remove_empty(const char *path)
{
    return bm_path_is_real_folder(path) && bm_system_remove_folder(path, NULL) == BM_OK;
}

bm_status bm_folder_swap(const char *a, const char *b, char **left, bm_error *err)
{
    *left = NULL;
    if (bm_system_exchange(a, b))
        return BM_OK;
    bm_status status = BM_OK;
    char *old = bm_format("%s.old", a);
    BM_FAIL_IF(!old, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_path_rename(a, old, err));
    status = bm_path_rename(b, a, err);
    if (status != BM_OK) {
        (void)bm_path_rename(old, a, NULL); // back to where we were
        goto done;
    }
    if (bm_path_rename(old, b, NULL) != BM_OK) {
        *left = old;
        old = NULL;
    }
done:
    bm_free(old);
    return status;
}

bool bm_path_is_within(const char *path, const char *folder)
{
    size_t length = strlen(folder);
    while (length > 1 && bm_path_is_separator(folder[length - 1]))
        length--;
    return strncmp(path, folder, length) == 0 && (path[length] == '\0' || bm_path_is_separator(path[length]) ||
                                                  (length > 0 && bm_path_is_separator(folder[length - 1])));
}

char *bm_path_join(const char *folder, const char *name)
{
    const size_t length = strlen(folder);
    const bool ends = length > 0 && bm_path_is_separator(folder[length - 1]);
    return length == 0 ? bm_string_copy(name) : bm_format("%s%s%s", folder, ends ? "" : "/", name);
}

const char *bm_path_base_name(const char *path)
{
    const char *base = path;
    for (const char *c = path; *c; c++)
        if (bm_path_is_separator(*c))
            base = c + 1;
    return base;
}
