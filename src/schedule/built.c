// What this version can do. A method that is checked and not built is refused here, by name and before any work: lines
// leave this file as methods arrive.
#include "arguments/keys.h"

#define BUILT "built: plain rounding (WINT8, WINT4)"

// One thing that may be asked for. value is how it stands in the file; what is its name in words.
typedef struct unbuilt {
    bool is_asked;
    const char *key, *value, *what;
} unbuilt;

static bm_status refuse_first(const bm_arguments *args, const unbuilt *list, size_t count, bm_error *err)
{
    for (size_t i = 0; i < count; i++)
        if (list[i].is_asked)
            return bm_fail(err, BM_E_UNSUPPORTED, "%s: \"%s\": %s: %s not built yet in this version; " BUILT,
                           args->source_name, list[i].key, list[i].value, list[i].what);
    return BM_OK;
}

// In the order in which a run meets them.
static bm_status check_methods_built(const bm_arguments *args, bm_error *err)
{
    const bool quantizes = job_quantizes(args->job);
    const bool scaled = args->job == BM_JOB_GPTQ && args->scaling != BM_SCALING_NONE;
    const char *given = IS_GIVEN(args, quant_type) ? "" : " (the default)";
    const unbuilt list[] = {
        {args->load_quant_model, "load_quant_model", "true", "evaluating an earlier result this way is"},
        {args->do_gptq, "do_gptq", "true", "GPTQ is"},
        {args->do_awq, "do_awq", "true", "AWQ is"},
        {args->shift, "shift", "true", "shift is"},
        {args->smooth || scaled, "smooth", "true", "smooth is"},
        {args->smooth_piecewise_search && args->smooth, "smooth_piecewise_search", "true", "the piecewise search is"},
        {args->auto_clip, "auto_clip", "true", "clipping is"},
    };
    bm_status status = refuse_first(args, list, BM_COUNT(list), err);
    if (status != BM_OK || !quantizes)
        return status;
    if (!type_is_weight_only(args->quant_type))
        return bm_fail(err, BM_E_UNSUPPORTED,
                       "%s: \"quant_type\": \"%s\"%s: quantized activations are not built yet in this version; " BUILT,
                       args->source_name, bm_quant_type_name(args->quant_type), given);
    if (args->scale_search == BM_SCALE_GRAM || args->scale_search == BM_SCALE_WEIGHTED_MSE)
        return bm_fail(err, BM_E_UNSUPPORTED,
                       "%s: \"scale_search\": \"%s\": not built yet in this version; built: abs_max, mse",
                       args->source_name, bm_scale_search_name(args->scale_search));
    return BM_OK;
}

static bm_status check_result_built(const bm_arguments *args, bm_error *err)
{
    if (!job_quantizes(args->job))
        return BM_OK;
    if (args->format != BM_FORMAT_COMPRESSED_TENSORS)
        return bm_fail(err, BM_E_UNSUPPORTED,
                       "%s: \"format\": \"%s\": not built yet in this version; built: compressed-tensors",
                       args->source_name, bm_checkpoint_format_name(args->format));
    if (args->weight_bits != 4 && args->weight_bits != 8)
        return bm_fail(err, BM_E_UNSUPPORTED, "%s: \"bits\": %u: not built yet in this version; built: 4 and 8",
                       args->source_name, (unsigned)args->weight_bits);
    if (args->group_size == 256)
        return bm_fail(err, BM_E_UNSUPPORTED,
                       "%s: \"group_size\": 256: not built yet in this version; built: 32, 64, 128, -1",
                       args->source_name);
    const bool tail = args->group_tail == BM_TAIL_SHORT && args->weight_quant_method == BM_WEIGHT_GROUPWISE;
    const unbuilt list[] = {
        {tail, "group_tail", "\"short\"", "a shorter last group is"},
        {args->method_choice == BM_CHOICE_BEST, "method_choice", "\"best\"", "the choice by held-out error is"},
        {args->bias_correction, "bias_correction", "true", "bias correction is"},
        {args->compat == BM_COMPAT_PADDLESLIM, "compat", "\"paddleslim\"", "this mode is"},
    };
    return refuse_first(args, list, BM_COUNT(list), err);
}

bm_status bm_arguments_check_built(const bm_arguments *args, bm_error *err)
{
    bm_status status = BM_OK;
    const bool resumes = args->resume_from_checkpoint && !bm_equal_ignore_case(args->resume_from_checkpoint, "false");
    const unbuilt run[] = {
        {resumes, "resume_from_checkpoint", "set", "a resumable run is"},
        {args->chat_template != NULL, "chat_template", "set", "chat templates are"},
        {args->do_predict, "do_predict", "true", "prediction on test data is"},
    };
    BM_TRY(check_methods_built(args, err));
    BM_TRY(check_result_built(args, err));
    BM_TRY(refuse_first(args, run, BM_COUNT(run), err));
done:
    return status;
}
