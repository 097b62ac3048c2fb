// Resolution of the method: which job, which types and widths, and the defaults that depend on them. Every decision
// that the file does not state is either the documented default or a note.
#include "arguments/keys.h"

#include <string.h>

static bm_job job_of(const bm_arguments *args)
{
    if (args->load_quant_model)
        return BM_JOB_LOAD;
    if (args->do_gptq)
        return BM_JOB_GPTQ;
    if (!args->do_ptq)
        return BM_JOB_EVALUATE;
    if (args->do_awq)
        return BM_JOB_AWQ;
    return type_is_weight_only(args->quant_type) ? BM_JOB_ROUNDING : BM_JOB_A8W8;
}

static bool fp8_dtype_of(const char *text, bm_dtype *out)
{
    const bool is_e4m3 = bm_equal_ignore_case(text, "e4m3");
    *out = is_e4m3 ? BM_DTYPE_F8_E4M3 : BM_DTYPE_F8_E5M2;
    return is_e4m3 || bm_equal_ignore_case(text, "e5m2");
}

// use_fp8: letters of what is FP8. The order of the letters is the order of fp8_type.
static bm_status resolve_use_fp8(bm_arguments *args, bool *weight_first, bm_error *err)
{
    const char *letters = args->use_fp8;
    if (!letters)
        return BM_OK;
    const size_t w = strcspn(letters, "wW"), a = strcspn(letters, "aA"), length = strlen(letters);
    if (strspn(letters, "wWaAcC") != length || length > 3)
        return arguments_reject(args, err, "\"use_fp8\": expected letters of \"wac\", for example \"WA\"");
    if (strcspn(letters, "cC") != length)
        return arguments_reject(args, err, "\"use_fp8\": \"%s\": an FP8 KV cache does not exist yet", letters);
    if (w == length || a == length)
        return arguments_reject(args, err, "\"use_fp8\": \"%s\": needs both w and a", letters);
    if (IS_GIVEN(args, quant_type) && args->quant_type != BM_QUANT_A8W8 && args->quant_type != BM_QUANT_A8W8_FP8)
        return arguments_reject(args, err, "\"use_fp8\": \"%s\": contradicts \"quant_type\": \"%s\"", letters,
                                bm_quant_type_name(args->quant_type));
    if (args->do_gptq || args->do_awq)
        return arguments_reject(args, err, "\"use_fp8\": \"%s\": cannot stand beside \"%s\": true", letters,
                                args->do_gptq ? "do_gptq" : "do_awq");
    note_add(args, "\"use_fp8\": \"%s\": deprecated, taken as \"quant_type\": \"a8w8_fp8\"", letters);
    args->quant_type = BM_QUANT_A8W8_FP8;
    *weight_first = w < a;
    return BM_OK;
}

static bm_status resolve_fp8_types(bm_arguments *args, bool weight_first, bm_error *err)
{
    bm_dtype types[2] = {BM_DTYPE_F8_E4M3, BM_DTYPE_F8_E4M3};
    if (args->fp8_type.count != 0) {
        if (args->fp8_type.count != 2 || !fp8_dtype_of(args->fp8_type.names[0], &types[0]) ||
            !fp8_dtype_of(args->fp8_type.names[1], &types[1]))
            return arguments_reject(args, err, "\"fp8_type\": expected a list of 2, each e4m3 or e5m2");
    }
    if (args->quant_type != BM_QUANT_A8W8_FP8 || !args->do_ptq)
        return BM_OK;
    args->fp8_activation = types[weight_first ? 1 : 0];
    args->fp8_weight = types[weight_first ? 0 : 1];
    return BM_OK;
}

// GPTQ and AWQ are weight-only; both mean 4 bits unless the file says otherwise.
static bm_status resolve_weight_only(bm_arguments *args, bm_error *err)
{
    const char *key = args->do_gptq ? "do_gptq" : "do_awq";
    if (!args->do_gptq && !args->do_awq)
        return BM_OK;
    if (!IS_GIVEN(args, quant_type)) {
        args->quant_type = BM_QUANT_WINT4;
        note_choice(args, "\"quant_type\": absent beside \"%s\": wint4", key);
    } else if (!type_is_weight_only(args->quant_type)) {
        return arguments_reject(args, err,
                                "\"quant_type\": \"%s\": cannot stand beside \"%s\": true, which takes "
                                "WINT4 or WINT8",
                                bm_quant_type_name(args->quant_type), key);
    } else if (args->do_gptq && args->quant_type == BM_QUANT_WINT8) {
        note_add(args, "\"quant_type\": \"wint8\": GPTQ with 8 bits (the reference always takes 4)");
    }
    return BM_OK;
}

static bm_status resolve_bits(bm_arguments *args, bm_error *err)
{
    const int64_t named = args->quant_type == BM_QUANT_WINT4 ? 4 : 8;
    const char *type = bm_quant_type_name(args->quant_type);
    args->weight_bits = (uint32_t)named;
    if (!IS_GIVEN(args, bits) || args->bits == named)
        return BM_OK;
    if (!type_is_weight_only(args->quant_type))
        return arguments_reject(args, err,
                                "\"bits\": %lld: %s has 8 bits; for weights alone set \"quant_type\": \"wint4\"",
                                (long long)args->bits, type);
    if (IS_GIVEN(args, quant_type) && args->bits != 2 && args->bits != 3)
        note_add(args, "\"bits\": %lld: overrides the width of \"quant_type\": \"%s\"", (long long)args->bits, type);
    args->weight_bits = (uint32_t)args->bits;
    if (args->bits == 8)
        args->quant_type = BM_QUANT_WINT8;
    if (args->bits == 4)
        args->quant_type = BM_QUANT_WINT4;
    return BM_OK;
}

bm_status arguments_resolve_type(bm_arguments *args, bm_error *err)
{
    bm_status status = BM_OK;
    bool weight_first = false;
    if (args->quant_type == BM_QUANT_A8W4)
        return arguments_reject(
            args, err, "\"quant_type\": \"a8w4\": exists only in quantization-aware training; use WINT4 or A8W8");
    if (args->do_ptq || args->do_gptq) {
        BM_TRY(resolve_use_fp8(args, &weight_first, err));
        BM_TRY(resolve_weight_only(args, err));
        BM_TRY(resolve_bits(args, err));
    }
    BM_TRY(resolve_fp8_types(args, weight_first, err));
    args->job = job_of(args);
done:
    return status;
}

static void resolve_scaling(bm_arguments *args)
{
    if (args->job == BM_JOB_AWQ && !args->smooth) {
        args->smooth = true;
        note_add(args, "\"do_awq\": true: implies the smooth phase; \"smooth\": true is missing");
    }
    if (args->job == BM_JOB_GPTQ && (args->smooth || args->do_awq)) {
        args->scaling = args->do_awq ? BM_SCALING_AWQ : BM_SCALING_SMOOTH;
        note_add(args, "\"%s\": true: the scaling is folded first, then GPTQ (the reference ignores it)",
                 args->do_awq ? "do_awq" : "smooth");
    }
    if (args->job == BM_JOB_ROUNDING && args->smooth)
        note_add(args, "\"smooth\": true: little benefit with weights alone (%s)",
                 bm_quant_type_name(args->quant_type));
    if (type_is_weight_only(args->quant_type) && args->shift)
        note_add(args, "\"shift\": true: no benefit with weights alone (%s)", bm_quant_type_name(args->quant_type));
    if (IS_GIVEN(args, awq_step) && (args->do_awq || args->scaling == BM_SCALING_AWQ)) {
        args->smooth_step = args->awq_step;
        note_add(args, "\"awq_step\": %lld: used instead of smooth_step", (long long)args->awq_step);
    }
}

// The scale search that fits the job. Searches that weigh by data come with GPTQ; plain rounding goes by the weights.
static void resolve_scale_search(bm_arguments *args)
{
    static const bm_scale_search by_job[] = {
        [BM_JOB_EVALUATE] = BM_SCALE_ABS_MAX, [BM_JOB_ROUNDING] = BM_SCALE_MSE,      [BM_JOB_A8W8] = BM_SCALE_ABS_MAX,
        [BM_JOB_AWQ] = BM_SCALE_GRAM,         [BM_JOB_GPTQ] = BM_SCALE_WEIGHTED_MSE, [BM_JOB_LOAD] = BM_SCALE_ABS_MAX};
    if (IS_GIVEN(args, scale_search))
        return;
    args->scale_search = by_job[args->job];
    if (args->job == BM_JOB_ROUNDING)
        note_choice(args, "\"scale_search\": absent: mse (gram, which weighs by data, is not built yet)");
}

static void resolve_weight_method(bm_arguments *args)
{
    const bool is_given = IS_GIVEN(args, weight_quant_method);
    if (args->quant_type == BM_QUANT_A8W8_FP8 && !is_given) {
        args->weight_quant_method = BM_WEIGHT_ABS_MAX;
        note_choice(args, "\"weight_quant_method\": absent with a8w8_fp8: abs_max");
    }
    if (args->job == BM_JOB_AWQ && !is_given)
        note_choice(args, "\"weight_quant_method\": absent: abs_max_channel_wise; AWQ is designed for groupwise");
    if (args->weight_quant_method == BM_WEIGHT_GROUPWISE && args->group_size == -1)
        args->weight_quant_method = BM_WEIGHT_CHANNEL_WISE;
    if (args->weight_quant_method != BM_WEIGHT_GROUPWISE)
        args->group_size = -1;
}

static bool needs_calibration(const bm_arguments *args)
{
    const bool reads_activations = args->job == BM_JOB_A8W8 && args->act_quant_method != BM_ACT_PER_TOKEN;
    const bool keeps_cache = args->quant_type == BM_QUANT_A8W8C8;
    const bool weighs = args->scale_search == BM_SCALE_GRAM || args->scale_search == BM_SCALE_WEIGHTED_MSE;
    return args->job == BM_JOB_AWQ || args->job == BM_JOB_GPTQ || reads_activations || keeps_cache || weighs ||
           args->shift || args->smooth || args->auto_clip || args->bias_correction ||
           args->method_choice == BM_CHOICE_BEST;
}

void arguments_resolve_method(bm_arguments *args)
{
    if (job_quantizes(args->job)) {
        resolve_scaling(args);
        resolve_scale_search(args);
        args->needs_calibration = needs_calibration(args);
    }
    arguments_note_unused(args); // before the group size is folded into the method
    if (!job_quantizes(args->job))
        return;
    resolve_weight_method(args);
    if (!IS_GIVEN(args, symmetric) && args->format == BM_FORMAT_AWQ)
        args->symmetric = false;
    if (!IS_GIVEN(args, qep_alpha) && args->job == BM_JOB_GPTQ)
        args->qep_alpha = 0.5;
    if (args->smooth_piecewise_search && args->smooth_k_piece > 16)
        note_add(args, "\"smooth_k_piece\": %lld: more than 16 pieces are slow", (long long)args->smooth_k_piece);
}
