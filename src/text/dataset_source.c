// Which files a data set is made of.
//
// Form A of a folder: train.json, dev.json, quant.json, test.json. Form B: folders of these names with .json files in
// them. A wins when both exist. The first three tell the form; where there is none of them, test does for prediction.
//
// Source    parameters.md 5.1.
#include "text/dataset_internal.h"

#include <string.h>

static bool exists(const char *folder, const char *name, const char *suffix, bm_path_kind kind)
{
    char *path = bm_format("%s/%s%s", folder, name, suffix);
    const bool found = path && bm_path_kind_of(path) == kind;
    bm_free(path);
    return found;
}

static bm_status add_path(dataset_files *files, char *path, bm_error *err)
{
    char **paths = path ? bm_resize(files->paths, (uint64_t)files->count + 1, sizeof *paths) : NULL;
    if (!paths) {
        bm_free(path);
        return bm_fail(err, BM_E_MEMORY, "out of memory for the names of data files");
    }
    files->paths = paths;
    files->paths[files->count++] = path;
    return BM_OK;
}

static bm_status add_folder(dataset_files *files, const char *folder, bm_error *err)
{
    bm_name_list names = {NULL, 0};
    bm_status status = BM_OK;
    BM_TRY(bm_folder_list(folder, &names, err)); // sorted, so the order does not depend on the file system
    for (uint32_t i = 0; i < names.count; i++)
        if (bm_ends_with(names.names[i], ".json"))
            BM_TRY(add_path(files, bm_path_join(folder, names.names[i]), err));
    BM_FAIL_IF(files->count == 0, err, BM_E_ARGUMENT, "%s: no .json files in this data folder", folder);
done:
    bm_name_list_free(&names);
    return status;
}

// The part of the folder that serves the purpose: "quant", "train", "dev" or "test"; NULL with words when there is
// none.
static const char *choose_part(const bm_dataset_params *params, bool is_form_a, const bm_log *log, bm_error *err)
{
    const char *folder = params->path;
    const char *suffix = is_form_a ? ".json" : "";
    const bm_path_kind kind = is_form_a ? BM_PATH_FILE : BM_PATH_FOLDER;
    if (params->purpose == BM_DATASET_CALIBRATION) {
        if (exists(folder, "quant", suffix, kind))
            return "quant";
        if (exists(folder, "train", suffix, kind)) {
            bm_log_write(log, BM_LOG_INFO, "note: %s: no quant%s, calibrating on train%s", folder, suffix, suffix);
            return "train";
        }
        bm_fail(err, BM_E_ARGUMENT, "%s: calibration needs quant%s or train%s", folder, suffix, suffix);
        return NULL;
    }
    const char *part = params->purpose == BM_DATASET_EVALUATION ? "dev" : "test";
    if (exists(folder, part, suffix, kind))
        return part;
    bm_fail(err, BM_E_ARGUMENT, "%s: %s needs %s%s", folder,
            params->purpose == BM_DATASET_EVALUATION ? "evaluation" : "prediction", part, suffix);
    return NULL;
}

static void look_for_part(const char *folder, const char *part, bool *is_form_a, bool *is_form_b)
{
    *is_form_a = *is_form_a || exists(folder, part, ".json", BM_PATH_FILE);
    *is_form_b = *is_form_b || exists(folder, part, "", BM_PATH_FOLDER);
}

static bm_status find_in_folder(dataset_files *out, const bm_dataset_params *params, const bm_log *log, bm_error *err)
{
    static const char *const parts[] = {"train", "dev", "quant"};
    bool is_form_a = false, is_form_b = false;
    bm_name_list names = {NULL, 0};
    const bm_status status = bm_folder_list(params->path, &names, err); // one that may not be looked into seems empty
    bm_name_list_free(&names);
    if (status != BM_OK)
        return status;
    for (uint32_t i = 0; i < BM_COUNT(parts); i++)
        look_for_part(params->path, parts[i], &is_form_a, &is_form_b);
    const bool predicts = params->purpose == BM_DATASET_PREDICTION;
    if (predicts && !is_form_a && !is_form_b)
        look_for_part(params->path, "test", &is_form_a, &is_form_b);
    if (!is_form_a && !is_form_b)
        return bm_fail(err, BM_E_ARGUMENT,
                       "%s: expected train.json, dev.json%s, or folders train, dev%s, in this data folder",
                       params->path, predicts ? ", quant.json or test.json" : " or quant.json",
                       predicts ? ", quant or test" : " or quant");
    const char *part = choose_part(params, is_form_a, log, err);
    if (!part)
        return BM_E_ARGUMENT;
    out->source = bm_format("%s/%s%s", params->path, part, is_form_a ? ".json" : "");
    if (!out->source)
        return bm_fail(err, BM_E_MEMORY, "out of memory for the names of data files");
    return is_form_a ? add_path(out, bm_string_copy(out->source), err) : add_folder(out, out->source, err);
}

bm_status dataset_files_find(dataset_files *out, const bm_dataset_params *params, const bm_log *log, bm_error *err)
{
    const bm_path_kind kind = bm_path_kind_of(params->path);
    if (kind == BM_PATH_FOLDER)
        return find_in_folder(out, params, log, err);
    if (kind == BM_PATH_ABSENT)
        return bm_fail(err, BM_E_IO, "%s: no such file or folder", params->path);
    if (kind == BM_PATH_FILE && !bm_ends_with(params->path, ".json") && !bm_ends_with(params->path, ".jsonl") &&
        !bm_ends_with(params->path, ".txt"))
        return bm_fail(err, BM_E_ARGUMENT, "%s: expected a folder or a file that ends in .json, .jsonl or .txt",
                       params->path);
    out->source = bm_string_copy(params->path);
    if (!out->source)
        return bm_fail(err, BM_E_MEMORY, "out of memory for the names of data files");
    return add_path(out, bm_string_copy(params->path), err);
}

void dataset_files_free(dataset_files *files)
{
    for (uint32_t i = 0; i < files->count; i++)
        bm_free(files->paths[i]);
    bm_free(files->paths);
    bm_free(files->source);
    *files = (dataset_files){0};
}
