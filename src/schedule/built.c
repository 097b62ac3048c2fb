// What this version can do. What is checked and not built is refused here, by name and before any work: lines leave this
// file as methods arrive.
#include "schedule/check.h"
#include "store/store.h"

#include <stdio.h>
#include <string.h>

const bm_key_words bm_built_values[] = {{"quant_type", "A8W8, WINT8, WINT4"},
                                        {"weight_quant_method", "abs_max_channel_wise, groupwise"},
                                        {"act_quant_method", "avg, abs_max, per_token, mse"},
                                        {"group_tail", "reject"},
                                        {"method_choice", "as_given"},
                                        {"act_order", "none, static, dynamic"},
                                        {"format", "compressed-tensors, gptq, awq, gguf"},
                                        {NULL, NULL}};

static const char methods[] = "rounding (A8W8, WINT8, WINT4) with shift, smooth and AWQ, GPTQ";

// One thing that may be asked for: the key, its value as it stands in a file, the name in words ("" where the value
// says it) and what may be asked for instead (NULL: what bm_built_values says of the key).
typedef struct unbuilt {
    bool is_asked;
    const char *key, *value, *what, *built;
} unbuilt;

static const char *built_words(const unbuilt *one)
{
    const bm_key_words *of_key = bm_built_values;
    while (!one->built && strcmp(of_key->key, one->key) != 0)
        of_key++;
    return one->built ? one->built : of_key->words;
}

static bm_status refuse_first(const bm_arguments *args, const unbuilt *list, size_t count, bm_error *err)
{
    for (const unbuilt *one = list; one < list + count; one++)
        if (one->is_asked)
            return bm_fail(err, BM_E_UNSUPPORTED, "%s: \"%s\": %s: %s%snot built yet in this version; built: %s",
                           args->source_name, one->key, one->value, one->what, one->what[0] ? " " : "",
                           built_words(one));
    return BM_OK;
}

// What a job that quantizes may ask for, in the order in which it meets them.
static bm_status check_quantization(const bm_arguments *args, bm_error *err)
{
    char type[64], format[32], alpha[32];
    snprintf(type, sizeof type, "\"%s\"%s", bm_quant_type_name(args->quant_type),
             bm_arguments_is_given(args, "quant_type") ? "" : " (the default)");
    snprintf(format, sizeof format, "\"%s\"", bm_checkpoint_format_name(args->format));
    snprintf(alpha, sizeof alpha, "%.10g", args->qep_alpha);
    const bool is_gptq = args->job == BM_JOB_GPTQ, corrects = args->needs_calibration && args->qep_alpha > 0;
    const bool is_a8w8 = args->job == BM_JOB_A8W8;
    const bool is_groupwise = args->weight_quant_method == BM_WEIGHT_GROUPWISE;
    const unbuilt list[] = {
        {args->quant_type == BM_QUANT_A8W8C8 || args->quant_type == BM_QUANT_A8W8_FP8, "quant_type", type, "", methods},
        {is_a8w8 && args->act_quant_method == BM_ACT_PERCENTILE, "act_quant_method", "\"percentile\"", "", NULL},
        {!bm_store_find(bm_checkpoint_format_name(args->format)), "format", format, "", NULL},
        {is_gptq && args->act_order == BM_ORDER_GROUP_AWARE, "act_order", "\"group_aware\"", "", NULL},
        {!is_gptq && corrects, "qep_alpha", alpha, "the correction by rounding is", "0"},
        {is_groupwise && args->group_tail == BM_TAIL_SHORT, "group_tail", "\"short\"", "", NULL},
        {args->method_choice == BM_CHOICE_BEST, "method_choice", "\"best\"", "", NULL},
        {args->bias_correction, "bias_correction", "true", "", "false"},
        {args->compat == BM_COMPAT_PADDLESLIM && (is_gptq || is_groupwise || args->do_awq || args->auto_clip), "compat",
         "\"paddleslim\"",
         is_gptq           ? "beside it GPTQ is"
         : args->do_awq    ? "beside it AWQ is"
         : args->auto_clip ? "beside it clipping is"
                           : "beside it groups are",
         "A8W8 and rounding, with one scale an output channel; expected none for the others"},
    };
    return bm_job_quantizes(args->job) ? refuse_first(args, list, BM_COUNT(list), err) : BM_OK;
}

bm_status bm_check_built(const bm_arguments *args, bm_error *err)
{
    const bool is_gptq = args->job == BM_JOB_GPTQ;
    const bool resumes = args->resume_from_checkpoint && !bm_equal_ignore_case(args->resume_from_checkpoint, "false");
    const unbuilt phases[] = {
        {is_gptq && args->do_foem, "do_foem", "true", "FOEM is", methods},
    };
    const unbuilt run[] = {
        {resumes, "resume_from_checkpoint", "set", "a resumable run is", "false"},
    };
    bm_status status = BM_OK;
    BM_TRY(refuse_first(args, phases, BM_COUNT(phases), err));
    BM_TRY(check_quantization(args, err));
    BM_TRY(refuse_first(args, run, BM_COUNT(run), err));
done:
    return status;
}
