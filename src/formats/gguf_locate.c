#include "formats/gguf_locate.h"

#include "base/file.h"
#include "base/str.h"

#include <string.h>

static bool begins_as_gguf(const char *path)
{
    bm_file *file = NULL;
    uint8_t mark[4] = {0};
    const bool is_read = bm_file_open(&file, path, NULL) == BM_OK && bm_file_read_at(file, 0, mark, 4, NULL) == BM_OK;
    bm_file_close(&file);
    return is_read && memcmp(mark, "GGUF", 4) == 0;
}

static bool has_file(const char *folder, const char *name)
{
    char *path = bm_path_join(folder, name);
    const bool has = path && bm_path_kind_of(path) != BM_PATH_ABSENT;
    bm_free(path);
    return has;
}

// "...-00002-of-00003.gguf" and further ones.
static bool is_later_split(const char *name)
{
    static const char pattern[] = "-00000-of-00000.gguf";
    const size_t length = strlen(name), size = sizeof pattern - 1;
    if (length < size)
        return false;
    const char *suffix = name + length - size;
    for (size_t i = 0; i < size; i++)
        if (pattern[i] == '0' ? suffix[i] < '0' || suffix[i] > '9' : suffix[i] != pattern[i])
            return false;
    return strncmp(suffix, "-00001-", 7) != 0;
}

static bm_status locate_in_folder(const char *folder, char **out, bm_error *err)
{
    bm_status status = BM_OK;
    bm_name_list list = {0};
    const char *found = NULL;
    if (has_file(folder, "model.safetensors") || has_file(folder, "model.safetensors.index.json") ||
        bm_folder_list(folder, &list, NULL) != BM_OK)
        return BM_OK;
    for (uint32_t i = 0; i < list.count; i++) {
        if (!bm_ends_with(list.names[i], ".gguf") || is_later_split(list.names[i]))
            continue;
        char shown[2][80];
        BM_FAIL_IF(found, err, BM_E_FORMAT, "%s: holds %s and %s, expected one gguf model; name one of them", folder,
                   bm_printable(found, strlen(found), shown[0], sizeof shown[0]),
                   bm_printable(list.names[i], strlen(list.names[i]), shown[1], sizeof shown[1]));
        found = list.names[i];
    }
    if (found) {
        *out = bm_path_join(folder, found);
        BM_FAIL_IF(!*out, err, BM_E_MEMORY, "out of memory");
    }
done:
    bm_name_list_free(&list);
    return status;
}

bm_status bm_gguf_locate(const char *path, char **out, bm_error *err)
{
    const bm_path_kind kind = bm_path_kind_of(path);
    *out = NULL;
    if (kind == BM_PATH_FOLDER)
        return locate_in_folder(path, out, err);
    if (kind != BM_PATH_FILE || (!bm_ends_with(path, ".gguf") && !begins_as_gguf(path)))
        return BM_OK;
    *out = bm_string_copy(path);
    return *out ? BM_OK : bm_fail(err, BM_E_MEMORY, "out of memory");
}
