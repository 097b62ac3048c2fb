// The disk: do the folders that the file names exist, and may the output folder be written? Looked at after the file is
// known to be right, and before any work.
#include "schedule/check.h"

#include "formats/checkpoint.h"
#include "formats/gguf_locate.h"
#include "schedule/output.h"

#include <string.h>

static bm_path_kind kind_in_folder(const char *folder, const char *name)
{
    char *path = bm_path_join(folder, name);
    const bm_path_kind kind = path ? bm_path_kind_of(path) : BM_PATH_ABSENT;
    bm_free(path);
    return kind;
}

// Paths go into messages as far as they are printable.
#define SHOWN_PATH_SIZE 400
static const char *show(const char *path, char shown[SHOWN_PATH_SIZE])
{
    return bm_printable(path, strlen(path), shown, SHOWN_PATH_SIZE);
}

// What stands in a path's place and is no folder. What the system does not let us look at may be one: whoever reads it says
// why not.
static bool is_no_folder(const char *path)
{
    const bm_path_kind kind = bm_path_kind_of(path);
    return kind == BM_PATH_ABSENT || kind == BM_PATH_FILE;
}

// Opens config.json for the system's words alone: "absent" would be wrong of a file that may not be read.
static bm_status check_config_opens(const bm_arguments *args, const char *key, bm_error *err)
{
    bm_file *file = NULL;
    char *path = bm_path_join(bm_arguments_model(args), "config.json");
    const bm_status status = path ? bm_file_open(&file, path, err) : bm_fail(err, BM_E_MEMORY, "out of memory");
    bm_file_close(&file);
    bm_free(path);
    if (status != BM_OK)
        bm_error_prefix(err, "%s: \"%s\"", bm_arguments_source_of(args, key), key);
    return status;
}

// Whether a path means a GGUF file.
static bm_status look_for_gguf(const bm_arguments *args, const char *key, const char *path, bool *found, bm_error *err)
{
    bm_error words = {0};
    char *gguf_path = NULL;
    const bm_status status = bm_gguf_locate(path, &gguf_path, &words);
    *found = gguf_path != NULL;
    bm_free(gguf_path);
    return status == BM_OK ? BM_OK : bm_arguments_reject(args, err, "\"%s\": %s", key, words.message);
}

static bm_status check_tokenizer(const bm_arguments *args, bm_error *err)
{
    char shown[SHOWN_PATH_SIZE];
    const char *tokenizer = args->tokenizer_name_or_path;
    bool is_gguf = false;
    bm_status status = BM_OK;
    if (is_no_folder(tokenizer))
        status = look_for_gguf(args, "tokenizer_name_or_path", tokenizer, &is_gguf, err);
    if (status == BM_OK && is_no_folder(tokenizer) && !is_gguf)
        status = bm_arguments_reject(args, err, "\"tokenizer_name_or_path\": \"%s\": no such folder",
                                     show(tokenizer, shown));
    return status;
}

static bm_status check_model(const bm_arguments *args, bm_error *err)
{
    char shown[SHOWN_PATH_SIZE];
    const char *model = bm_arguments_model(args);
    const char *key = args->job == BM_JOB_LOAD ? "output_dir" : "model_name_or_path";
    char others[BM_CHECKPOINT_OTHERS_SIZE];
    bool is_gguf = false;
    bm_status status = look_for_gguf(args, key, model, &is_gguf, err);
    if (status != BM_OK || is_gguf)
        return status == BM_OK ? check_tokenizer(args, err) : status;
    if (is_no_folder(model))
        return bm_arguments_reject(
            args, err, "\"%s\": \"%s\": no such folder; give a local folder or a gguf file, for example --set %s=DIR",
            key, show(model, shown), key);
    if (kind_in_folder(model, "config.json") == BM_PATH_ABSENT)
        return bm_arguments_reject(args, err,
                                   "\"%s\": \"%s\": has no config.json, expected a Hugging Face model folder%s", key,
                                   show(model, shown), bm_checkpoint_describe_others(model, others, sizeof others));
    status = check_config_opens(args, key, err);
    return status == BM_OK ? check_tokenizer(args, err) : status;
}

// Form A, files NAME.json, wins over form B, folders NAME/.
static bool data_has(const char *folder, const char *name)
{
    static const char *const uses[] = {"train", "dev", "quant"};
    bool has_files = false, file_exists = false;
    char *file = bm_format("%s.json", name);
    for (size_t i = 0; i < BM_COUNT(uses); i++) {
        char *other = bm_format("%s.json", uses[i]);
        has_files = has_files || (other && kind_in_folder(folder, other) == BM_PATH_FILE);
        bm_free(other);
    }
    file_exists = file && kind_in_folder(folder, file) == BM_PATH_FILE;
    bm_free(file);
    return file_exists || (!has_files && kind_in_folder(folder, name) == BM_PATH_FOLDER);
}

bool bm_has_calibration_data(const bm_arguments *args)
{
    const char *data = args->dataset_name_or_path;
    const bm_path_kind kind = data ? bm_path_kind_of(data) : BM_PATH_ABSENT;
    return kind == BM_PATH_FILE || (kind == BM_PATH_FOLDER && (data_has(data, "quant") || data_has(data, "train")));
}

bool bm_calibration_is_optional(const bm_arguments *args)
{
    return args->job == BM_JOB_ROUNDING && !args->shift && !args->smooth && !args->auto_clip &&
           !bm_arguments_is_given(args, "scale_search");
}

static bm_status check_data_folder(const bm_arguments *args, const char *data, bm_error *err)
{
    char shown[SHOWN_PATH_SIZE];
    bm_name_list names = {NULL, 0};
    const bm_status status = bm_folder_list(data, &names, err); // one that may not be looked into seems empty
    bm_name_list_free(&names);
    if (status != BM_OK) {
        bm_error_prefix(err, "%s: \"dataset_name_or_path\"", bm_arguments_source_of(args, "dataset_name_or_path"));
        return status;
    }
    if (args->do_eval && !data_has(data, "dev"))
        return bm_arguments_reject(args, err, "\"do_eval\": true: \"%s\" has no dev.json", show(data, shown));
    if (args->do_predict && !data_has(data, "test"))
        return bm_arguments_reject(args, err, "\"do_predict\": true: \"%s\" has no test.json", show(data, shown));
    if (args->needs_calibration && !bm_calibration_is_optional(args) && !bm_has_calibration_data(args))
        return bm_arguments_reject(args, err, "\"dataset_name_or_path\": \"%s\": has neither quant.json nor train.json",
                                   show(data, shown));
    return BM_OK;
}

static bm_status check_data(const bm_arguments *args, bm_error *err)
{
    char shown[SHOWN_PATH_SIZE];
    const char *data = args->dataset_name_or_path;
    if (!data && args->needs_calibration)
        return bm_arguments_reject(
            args, err, "\"dataset_name_or_path\": missing: the method needs calibration data (--data FILE)");
    if (!data && (args->do_eval || args->do_predict))
        return bm_arguments_reject(args, err, "\"dataset_name_or_path\": missing: \"%s\": true needs data",
                                   args->do_eval ? "do_eval" : "do_predict");
    if (!data)
        return BM_OK;
    const bm_path_kind kind = bm_path_kind_of(data);
    if (kind == BM_PATH_FOLDER)
        return check_data_folder(args, data, err);
    if (kind != BM_PATH_FILE)
        return bm_arguments_reject(args, err,
                                   "\"dataset_name_or_path\": \"%s\": %s; give a local folder with "
                                   "quant.json and dev.json, or one .json, .jsonl or .txt file",
                                   show(data, shown),
                                   kind == BM_PATH_ABSENT ? "no such folder or file" : "is no regular file");
    if (!bm_ends_with(data, ".json") && !bm_ends_with(data, ".jsonl") && !bm_ends_with(data, ".txt"))
        return bm_arguments_reject(args, err, "\"dataset_name_or_path\": \"%s\": expected a .json, .jsonl or .txt file",
                                   show(data, shown));
    return BM_OK;
}

static bm_status check_output(const bm_arguments *args, bm_error *err)
{
    if (!bm_job_quantizes(args->job))
        return BM_OK;
    bm_status status = bm_output_check_apart(args->output_dir, args->model_name_or_path, err);
    if (status == BM_OK && args->tokenizer_name_or_path)
        status = bm_output_check_work(args->output_dir, args->tokenizer_name_or_path, err);
    if (status == BM_OK && args->dataset_name_or_path)
        status = bm_output_check_work(args->output_dir, args->dataset_name_or_path, err);
    if (status == BM_OK)
        status = bm_output_check(args->output_dir, args->overwrite_output_dir, err);
    if (status != BM_OK)
        bm_error_prefix(err, "%s: \"output_dir\"", bm_arguments_source_of(args, "output_dir"));
    return status;
}

bm_status bm_check_paths(const bm_arguments *args, bm_error *err)
{
    bm_status status = BM_OK;
    BM_TRY(check_model(args, err));
    BM_TRY(check_data(args, err));
    BM_TRY(check_output(args, err));
done:
    return status;
}
