// Dependencies between keys: what may stand together, in two halves. The first needs the keys alone, the second the
// resolved quant_type. What merely has no effect is a note (unused.c), not an error.
#include "arguments/keys.h"

#include <string.h>

// At most one job.
static bm_status check_one_job(const bm_arguments *args, bm_error *err)
{
    const struct {
        const char *name;
        bool value;
    } jobs[] = {{"do_ptq", args->do_ptq}, {"do_gptq", args->do_gptq}, {"load_quant_model", args->load_quant_model}};
    const char *first = NULL;
    for (size_t i = 0; i < BM_COUNT(jobs); i++) {
        if (!jobs[i].value)
            continue;
        if (first)
            return arguments_reject(
                args, err, "\"%s\" and \"%s\": true: only one of do_ptq, do_gptq, load_quant_model may be true", first,
                jobs[i].name);
        first = jobs[i].name;
    }
    return BM_OK;
}

static bm_status check_phases_have_job(const bm_arguments *args, bm_error *err)
{
    const bool is_load = args->load_quant_model;
    if (args->shift && !args->do_ptq && !is_load)
        return arguments_reject(args, err, "\"shift\": true: needs \"do_ptq\": true%s",
                                args->do_gptq ? "; it cannot stand beside do_gptq" : "");
    if (args->smooth && !args->do_ptq && !args->do_gptq && !is_load)
        return arguments_reject(args, err, "\"smooth\": true: needs \"do_ptq\" or \"do_gptq\": true");
    if (args->do_awq && !args->do_ptq && !args->do_gptq && !is_load)
        return arguments_reject(args, err, "\"do_awq\": true: needs \"do_ptq\" or \"do_gptq\": true");
    if (args->auto_clip && !args->do_ptq && !is_load)
        return arguments_reject(args, err, "\"auto_clip\": true: needs \"do_ptq\": true%s",
                                args->do_gptq ? "; it cannot stand beside do_gptq" : "");
    if (!args->do_ptq && !args->do_gptq && !is_load && !args->do_eval && !args->do_predict)
        return arguments_reject(args, err, "nothing to do: set \"do_ptq\", \"do_gptq\" or \"do_eval\" to true");
    return BM_OK;
}

static bm_status check_scaling(const bm_arguments *args, bm_error *err)
{
    if (args->smooth_piecewise_search && args->do_awq)
        return arguments_reject(args, err,
                                "\"smooth_piecewise_search\": true: cannot stand beside \"do_awq\": true "
                                "(one search or the other)");
    if (!args->do_gptq || !IS_GIVEN(args, scaling))
        return BM_OK;
    const char *scaling = enum_text(names_scaling, (int)args->scaling);
    if (args->do_awq && args->scaling != BM_SCALING_AWQ)
        return arguments_reject(args, err, "\"scaling\": \"%s\": contradicts \"do_awq\": true", scaling);
    if (args->smooth && !args->do_awq && args->scaling == BM_SCALING_NONE)
        return arguments_reject(args, err, "\"scaling\": \"%s\": contradicts \"smooth\": true", scaling);
    if (args->smooth_piecewise_search && args->scaling == BM_SCALING_AWQ)
        return arguments_reject(args, err,
                                "\"smooth_piecewise_search\": true: cannot stand beside \"scaling\": \"awq\"");
    return BM_OK;
}

static bm_status check_search_ranges(const bm_arguments *args, bm_error *err)
{
    if (args->search_alpha_min >= args->search_alpha_max)
        return arguments_reject(args, err, "\"search_alpha_min\": %.10g: must be below search_alpha_max %.10g",
                                args->search_alpha_min, args->search_alpha_max);
    const bool has_factors = args->search_scale_min != 0 && args->search_scale_max != 0;
    if (has_factors && args->search_scale_max < args->search_scale_min)
        return arguments_reject(args, err, "\"search_scale_max\": %.10g: must not be below search_scale_min %.10g",
                                args->search_scale_max, args->search_scale_min);
    return BM_OK;
}

static bm_status check_required(const bm_arguments *args, bm_error *err)
{
    const bool writes = args->do_ptq || args->do_gptq;
    if (!args->model_name_or_path)
        return arguments_reject(args, err, "\"model_name_or_path\": missing: the model's folder");
    if (!args->output_dir && (writes || args->load_quant_model))
        return arguments_reject(args, err, "\"output_dir\": missing: the folder of the result (--output DIR)");
    if (!args->dataset_name_or_path && (args->do_eval || args->do_predict))
        return arguments_reject(args, err, "\"dataset_name_or_path\": missing: \"%s\": true needs data",
                                args->do_eval ? "do_eval" : "do_predict");
    if (!args->continue_training)
        return arguments_reject(args, err, "\"continue_training\": false: would mean random weights");
    return BM_OK;
}

bm_status arguments_check_jobs(const bm_arguments *args, bm_error *err)
{
    bm_status status = BM_OK;
    BM_TRY(check_one_job(args, err));
    BM_TRY(check_phases_have_job(args, err));
    BM_TRY(check_scaling(args, err));
    BM_TRY(check_search_ranges(args, err));
    BM_TRY(check_required(args, err));
done:
    return status;
}

static bm_status check_weight_method(const bm_arguments *args, bm_error *err)
{
    const bool is_fp8 = args->quant_type == BM_QUANT_A8W8_FP8;
    const bool is_fp8_method =
        args->weight_quant_method == BM_WEIGHT_ABS_MAX || args->weight_quant_method == BM_WEIGHT_AVG;
    const char *method = bm_weight_method_name(args->weight_quant_method);
    if (!is_fp8 && is_fp8_method)
        return arguments_reject(args, err,
                                "\"weight_quant_method\": \"%s\": only for a8w8_fp8; %s takes abs_max_channel_wise or "
                                "groupwise",
                                method, bm_quant_type_name(args->quant_type));
    if (is_fp8 && !is_fp8_method && IS_GIVEN(args, weight_quant_method))
        return arguments_reject(args, err, "\"weight_quant_method\": \"%s\": a8w8_fp8 takes abs_max or avg", method);
    if (args->quant_type == BM_QUANT_A8W8C8 && args->cachekv_quant_method == BM_KV_ABS_MAX)
        return arguments_reject(args, err,
                                "\"cachekv_quant_method\": \"abs_max\": a8w8c8 takes avg_headwise or abs_max_headwise");
    if (args->auto_clip && !type_is_weight_only(args->quant_type))
        return arguments_reject(args, err, "\"auto_clip\": true: needs a weight-only quant_type (WINT8, WINT4), not %s",
                                bm_quant_type_name(args->quant_type));
    return BM_OK;
}

// What the checkpoint format can hold.
static bm_status check_format(const bm_arguments *args, bm_error *err)
{
    const char *format = bm_checkpoint_format_name(args->format);
    const bool holds_activations = args->format == BM_FORMAT_COMPRESSED_TENSORS || args->format == BM_FORMAT_PADDLE;
    if (!holds_activations && !type_is_weight_only(args->quant_type))
        return arguments_reject(args, err, "\"format\": \"%s\": cannot hold quantized activations (%s)", format,
                                bm_quant_type_name(args->quant_type));
    if (args->format == BM_FORMAT_AWQ && args->weight_bits != 4)
        return arguments_reject(args, err, "\"format\": \"awq\": holds 4 bits, not %u", (unsigned)args->weight_bits);
    const bool has_group_index = args->do_gptq && args->act_order == BM_ORDER_DYNAMIC;
    if (has_group_index && args->format != BM_FORMAT_GPTQ && args->format != BM_FORMAT_COMPRESSED_TENSORS)
        return arguments_reject(args, err, "\"act_order\": \"dynamic\": the format %s has no place for g_idx", format);
    return BM_OK;
}

bm_status arguments_check_methods(const bm_arguments *args, bm_error *err)
{
    if (!job_quantizes(args->job))
        return BM_OK;
    const bm_status status = check_weight_method(args, err);
    return status == BM_OK ? check_format(args, err) : status;
}
