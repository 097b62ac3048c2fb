// load_quant_model: is what lies in output_dir a quantized model, and the one that the keys describe?
#include "schedule/plan_loaded.h"

#include "base/file.h"
#include "model/gguf_model.h"

#define MAX_RECORD_BYTES (UINT64_C(256) << 20)

static bool is_quantized(const bm_model *model)
{
    const bm_gguf *gguf = bm_checkpoint_gguf(model->checkpoint);
    char types[BM_GGUF_TYPES_SIZE] = "";
    return model->is_quantized || (gguf && bm_gguf_describe_types(gguf, true, types)[0]);
}

bm_status bm_plan_check_loaded(bm_plan *plan, const bm_arguments *arguments, const bm_model *model, bm_error *err)
{
    bm_status status = BM_OK;
    bm_json *record = NULL;
    char *path = bm_path_join(arguments->output_dir, "bitmill.json");
    BM_FAIL_IF(!path, err, BM_E_MEMORY, "out of memory");
    if (!is_quantized(model)) {
        status =
            bm_arguments_reject(arguments, err,
                                "\"load_quant_model\": true: the model in \"output_dir\" is not quantized; a float "
                                "model is evaluated by \"do_eval\" without it, named by \"model_name_or_path\"");
        goto done;
    }
    if (bm_path_kind_of(path) != BM_PATH_FILE) {
        bm_notes_add(&plan->notes, "%s: no such file: whether the keys are those of the result is not known", path);
        goto done;
    }
    BM_TRY(bm_json_read_file(&record, path, MAX_RECORD_BYTES, err));
    BM_TRY(bm_arguments_check_earlier(arguments, record, path, err));
done:
    bm_json_destroy(&record);
    bm_free(path);
    return status;
}
