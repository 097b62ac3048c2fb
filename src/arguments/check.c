// Dependencies between keys: what may not stand together, in two halves (the first needs the keys alone, the second the
// resolved quant_type), and what merely has no effect, which is a note.
#include "arguments/keys.h"

enum { MAX_CONSTANTS = 10000 }; // of a piecewise search, which takes no more
#define LEAST_GRID 1.001        // clip_n_grid clip_max_shrink that has a threshold below 1 (bm_grid_search)

// The key scaling says in one word what before rounding do_awq and smooth say.
static bm_status check_scaling(const bm_arguments *args, bm_error *err)
{
    const char *scaling = key_enum_name("scaling", (int)args->scaling);
    const bool is_unsmoothed = !args->smooth && bm_arguments_is_given(args, "smooth");
    REJECT_IF(args->smooth_piecewise_search && args->do_awq,
              "\"smooth_piecewise_search\": true: cannot stand beside \"do_awq\": true (one search or the other)");
    REJECT_IF(args->do_awq && is_unsmoothed,
              "\"smooth\": false: contradicts \"do_awq\": true, whose scales are those of the smooth phase");
    if (!(args->do_ptq || args->do_gptq) || !bm_arguments_is_given(args, "scaling"))
        return BM_OK;
    REJECT_IF(args->do_awq && args->scaling != BM_SCALING_AWQ, "\"scaling\": \"%s\": contradicts \"do_awq\": true",
              scaling);
    REJECT_IF(args->smooth && args->scaling == BM_SCALING_NONE, "\"scaling\": \"%s\": contradicts \"smooth\": true",
              scaling);
    REJECT_IF(is_unsmoothed && args->scaling != BM_SCALING_NONE, "\"smooth\": false: contradicts \"scaling\": \"%s\"",
              scaling);
    REJECT_IF(
        !args->do_gptq && !args->do_awq && args->scaling == BM_SCALING_AWQ,
        "\"scaling\": \"awq\": needs \"do_gptq\": true; before rounding AWQ is \"do_awq\": true, or --method awq");
    REJECT_IF(!args->do_gptq && !args->smooth && args->scaling == BM_SCALING_SMOOTH,
              "\"scaling\": \"smooth\": needs \"do_gptq\": true; before rounding it is \"smooth\": true");
    REJECT_IF(args->smooth_piecewise_search && args->scaling == BM_SCALING_AWQ,
              "\"smooth_piecewise_search\": true: cannot stand beside \"scaling\": \"awq\"");
    return BM_OK;
}

bm_status arguments_check_jobs(const bm_arguments *args, bm_error *err)
{
    const bool loads = args->load_quant_model, quantizes = args->do_ptq || args->do_gptq;
    const bool has_job = quantizes || loads, not_ptq = !args->do_ptq && !loads;
    const char *beside = args->do_gptq ? "; it cannot stand beside do_gptq" : "";
    REJECT_IF((int)args->do_ptq + (int)args->do_gptq + (int)loads > 1,
              "\"do_ptq\", \"do_gptq\", \"load_quant_model\": only one of them may be true");
    REJECT_IF(args->shift && not_ptq, "\"shift\": true: needs \"do_ptq\": true%s", beside);
    REJECT_IF(args->auto_clip && not_ptq, "\"auto_clip\": true: needs \"do_ptq\": true%s", beside);
    REJECT_IF(args->smooth && !has_job, "\"smooth\": true: needs \"do_ptq\" or \"do_gptq\": true");
    REJECT_IF(args->shift && args->do_awq,
              "\"shift\": true: cannot stand beside \"do_awq\": true, whose sums are of inputs as they are");
    REJECT_IF(args->do_awq && !has_job, "\"do_awq\": true: needs \"do_ptq\" or \"do_gptq\": true");
    REJECT_IF(loads && !args->do_eval && !args->do_predict,
              "\"load_quant_model\": true: nothing to do: set \"do_eval\" or \"do_predict\" to true");
    REJECT_IF(!has_job && !args->do_eval && !args->do_predict,
              "nothing to do: set \"do_ptq\", \"do_gptq\" or \"do_eval\" to true");
    REJECT_IF(args->search_alpha_min >= args->search_alpha_max,
              "\"search_alpha_min\": %.10g: must be below search_alpha_max %.10g", args->search_alpha_min,
              args->search_alpha_max);
    REJECT_IF(args->search_scale_max != 0 && args->search_scale_max < args->search_scale_min,
              "\"search_scale_max\": %.10g: must not be below search_scale_min %.10g", args->search_scale_max,
              args->search_scale_min);
    REJECT_IF(
        args->search_scale_min != 0 &&
            (args->search_scale_max - args->search_scale_min) / args->search_scale_step > MAX_CONSTANTS,
        "\"search_scale_step\": %.10g: expected %.10g or more: at most %d constants from search_scale_min %.10g to "
        "search_scale_max %.10g",
        args->search_scale_step, (args->search_scale_max - args->search_scale_min) / MAX_CONSTANTS, MAX_CONSTANTS,
        args->search_scale_min, args->search_scale_max);
    REJECT_IF(!args->model_name_or_path, "\"model_name_or_path\": missing: the model's folder");
    REJECT_IF(!args->output_dir && has_job, "\"output_dir\": missing: the folder of the result (--output DIR)");
    REJECT_IF(!args->continue_training, "\"continue_training\": false: would mean random weights");
    return check_scaling(args, err);
}

// gguf_type says bits, groups and signs; keys that say them too must agree.
static bm_status check_gguf_type(const bm_arguments *args, bm_error *err)
{
    const char *name = bm_gguf_mixture_name(args->gguf_type);
    const uint32_t bits = bm_gguf_mixture_bits(args->gguf_type);
    const bool symmetric = args->gguf_type == BM_MIXTURE_Q6_K;
    if (args->gguf_type == BM_MIXTURE_AUTO)
        return BM_OK;
    REJECT_IF(args->format != BM_FORMAT_GGUF, "\"gguf_type\": \"%s\": needs \"format\": \"gguf\", not %s", name,
              bm_checkpoint_format_name(args->format));
    REJECT_IF(bm_arguments_is_given(args, "bits") && args->bits != bits,
              "\"bits\": %lld: \"gguf_type\": \"%s\" has %u; leave \"bits\" out", (long long)args->bits, name, bits);
    REJECT_IF(bm_arguments_is_given(args, "symmetric") && args->symmetric != symmetric,
              "\"symmetric\": %s: \"gguf_type\": \"%s\" has %s", args->symmetric ? "true" : "false", name,
              symmetric ? "symmetric codes" : "a minimum for each group");
    REJECT_IF(bm_arguments_is_given(args, "weight_quant_method") && args->weight_quant_method != BM_WEIGHT_GROUPWISE,
              "\"weight_quant_method\": \"%s\": \"gguf_type\": \"%s\" has groups; expected groupwise",
              bm_weight_method_name(args->weight_quant_method), name);
    REJECT_IF(bm_arguments_is_given(args, "group_size") && (symmetric || args->group_size != 32),
              "\"group_size\": %lld: \"gguf_type\": \"%s\" has groups of %d of its own; leave it out, or null",
              (long long)args->group_size, name, symmetric ? 16 : 32);
    REJECT_IF(args->auto_clip, "\"auto_clip\": true: cannot stand beside \"gguf_type\": \"%s\", whose search clips",
              name);
    return BM_OK;
}

bm_status arguments_check_methods(const bm_arguments *args, bm_error *err)
{
    const bm_weight_method method = args->weight_quant_method;
    const bool is_fp8 = args->quant_type == BM_QUANT_A8W8_FP8;
    const bool is_fp8_method = method == BM_WEIGHT_ABS_MAX || method == BM_WEIGHT_AVG;
    const bool holds_activations = args->format == BM_FORMAT_COMPRESSED_TENSORS || args->format == BM_FORMAT_PADDLE;
    const bool holds_index = args->format == BM_FORMAT_COMPRESSED_TENSORS || args->format == BM_FORMAT_GPTQ;
    const bool weight_only = bm_quant_type_is_weight_only(args->quant_type);
    const char *type = bm_quant_type_name(args->quant_type), *format = bm_checkpoint_format_name(args->format);
    if (!bm_job_quantizes(args->job))
        return BM_OK;
    REJECT_IF(!is_fp8 && is_fp8_method,
              "\"weight_quant_method\": \"%s\": only for a8w8_fp8; %s takes abs_max_channel_wise or groupwise",
              bm_weight_method_name(method), type);
    REJECT_IF(is_fp8 && !is_fp8_method && bm_arguments_is_given(args, "weight_quant_method"),
              "\"weight_quant_method\": \"%s\": a8w8_fp8 takes abs_max or avg", bm_weight_method_name(method));
    REJECT_IF(args->quant_type == BM_QUANT_A8W8C8 && args->cachekv_quant_method == BM_KV_ABS_MAX,
              "\"cachekv_quant_method\": \"abs_max\": a8w8c8 takes avg_headwise or abs_max_headwise");
    REJECT_IF(
        args->compat == BM_COMPAT_PADDLESLIM && args->job == BM_JOB_A8W8 && args->act_quant_method == BM_ACT_MSE &&
            bm_arguments_is_given(args, "act_quant_method"),
        "\"act_quant_method\": \"mse\": cannot stand beside \"compat\": \"paddleslim\", which takes avg, abs_max or "
        "per_token");
    REJECT_IF(args->auto_clip && !weight_only,
              "\"auto_clip\": true: needs a weight-only quant_type (WINT8, WINT4), not %s", type);
    REJECT_IF(args->auto_clip && bm_arguments_is_given(args, "scale_search") &&
                  args->scale_search != BM_SCALE_ABS_MAX && args->scale_search != BM_SCALE_GRAM,
              "\"auto_clip\": true: cannot stand beside \"scale_search\": \"%s\"; expected gram or abs_max",
              bm_scale_search_name(args->scale_search));
    REJECT_IF(
        args->auto_clip && !(bm_arguments_is_given(args, "scale_search") && args->scale_search == BM_SCALE_GRAM) &&
            (double)args->clip_n_grid * args->clip_max_shrink <= LEAST_GRID,
        "\"clip_n_grid\": %lld: clips nothing: no threshold below 1 with \"clip_max_shrink\": %.10g; expected above "
        "%.4g, 1 / clip_max_shrink",
        (long long)args->clip_n_grid, args->clip_max_shrink, 1 / args->clip_max_shrink);
    REJECT_IF(args->fold_other_linears == BM_FOLD_OPS &&
                  (args->do_awq || (args->do_gptq && args->scaling == BM_SCALING_AWQ)),
              "\"fold_other_linears\": \"ops\": cannot stand beside AWQ, whose scales are folded into weights alone; "
              "expected auto or off");
    REJECT_IF(!holds_activations && !weight_only,
              "\"format\": \"%s\": cannot hold quantized activations (%s); compressed-tensors does", format, type);
    REJECT_IF(args->format == BM_FORMAT_AWQ && args->weight_bits != 4, "\"format\": \"awq\": holds 4 bits, not %u",
              (unsigned)args->weight_bits);
    REJECT_IF(args->format != BM_FORMAT_GGUF && args->gguf_embeddings != BM_EMBEDDINGS_FLOAT,
              "\"gguf_embeddings\": \"q8_0\": needs \"format\": \"gguf\", not %s", format);
    REJECT_IF(args->do_gptq && args->act_order == BM_ORDER_DYNAMIC && !holds_index,
              "\"act_order\": \"dynamic\": the format %s has no place for g_idx; compressed-tensors and gptq have",
              format);
    return check_gguf_type(args, err);
}

// Which phases the job has.
static uint32_t phases_of(const bm_arguments *args)
{
    const bool is_gptq = args->job == BM_JOB_GPTQ;
    const bool awq = bm_job_scales_by_awq(args), weighs = arguments_weigh_by_data(args);
    const bool smooth = args->smooth || awq || (is_gptq && args->scaling == BM_SCALING_SMOOTH);
    const bool piecewise = smooth && args->smooth_piecewise_search;
    const struct {
        bool is_there;
        uint32_t phases;
    } list[] = {
        {args->needs_calibration, PHASE_CALIBRATE},
        {args->weight_quant_method == BM_WEIGHT_GROUPWISE, PHASE_GROUP},
        {args->shift, PHASE_SHIFT | PHASE_SCALED},
        {smooth, PHASE_SMOOTH | PHASE_SCALED},
        {smooth && !awq && !piecewise, PHASE_PLAIN_SMOOTH},
        {smooth && !awq, PHASE_RANGES},
        {piecewise, PHASE_PIECEWISE},
        {awq, PHASE_AWQ},
        {awq && (!is_gptq || args->awq_inspect == BM_INSPECT_BLOCK), PHASE_SAMPLE},
        {args->auto_clip, PHASE_CLIP},
        {args->clips_by_thresholds, PHASE_THRESHOLDS},
        {args->job == BM_JOB_A8W8, PHASE_OBSERVE},
        {args->quant_type == BM_QUANT_A8W8C8, PHASE_KV},
        {args->quant_type == BM_QUANT_A8W8_FP8, PHASE_FP8},
        {args->quant_type != BM_QUANT_A8W8_FP8, PHASE_INT},
        {is_gptq, PHASE_GPTQ},
        {is_gptq || (weighs && !awq), PHASE_SEQUENTIAL},
        {weighs && !is_gptq && !args->auto_clip, PHASE_WEIGH},
        {args->symmetric && args->scale_search != BM_SCALE_ABS_MAX && !args->clips_by_thresholds &&
             args->job != BM_JOB_A8W8,
         PHASE_SIGNED},
    };
    uint32_t phases = PHASE_RUN | (args->zero_padding ? PHASE_PACK : 0);
    if (args->job == BM_JOB_LOAD) // the keys must agree with those of the earlier run
        return ~(uint32_t)0;
    if (!bm_job_quantizes(args->job))
        return phases;
    for (size_t i = 0; i < BM_COUNT(list); i++)
        phases |= list[i].is_there ? list[i].phases : 0;
    return phases | PHASE_QUANTIZE;
}

// What the first phase of a key needs.
static const char *needs_of(uint32_t phases)
{
    static const struct {
        uint32_t phase;
        const char *needs;
    } words[] = {
        {PHASE_QUANTIZE, "a quantization job"},
        {PHASE_CALIBRATE, "a method that reads calibration data"},
        {PHASE_GROUP, "\"weight_quant_method\": \"groupwise\""},
        {PHASE_SHIFT, "\"shift\": true"},
        {PHASE_SMOOTH, "\"smooth\": true"},
        {PHASE_PLAIN_SMOOTH, "\"smooth\": true without a search"},
        {PHASE_PIECEWISE, "\"smooth_piecewise_search\": true"},
        {PHASE_RANGES, "\"smooth\": true without AWQ"},
        {PHASE_AWQ, "\"do_awq\": true, or \"scaling\": \"awq\" beside GPTQ"},
        {PHASE_CLIP, "\"auto_clip\": true"},
        {PHASE_THRESHOLDS, "\"auto_clip\": true without \"scale_search\": \"gram\""},
        {PHASE_SEQUENTIAL, "GPTQ, or rounding that weighs by data without AWQ"},
        {PHASE_WEIGH, "static activations (A8W8), or rounding that weighs by data without clipping"},
        {PHASE_OBSERVE, "a quant_type with static activations (A8W8)"},
        {PHASE_KV, "\"quant_type\": \"a8w8c8\""},
        {PHASE_FP8, "\"quant_type\": \"a8w8_fp8\""},
        {PHASE_GPTQ, "\"do_gptq\": true"},
        {PHASE_PACK, "\"zero_padding\": true"},
        {PHASE_INT, "integer weights"},
        {PHASE_SIGNED, "symmetric weights and a scale_search other than abs_max, without thresholds of clipping"},
    };
    for (size_t i = 0; i < BM_COUNT(words); i++)
        if (phases & words[i].phase)
            return words[i].needs;
    return "shift or smooth";
}

// A switch that is off, an empty list, an empty text: nothing need be said of it.
static bool is_off(const bm_arguments *args, const key_row *row)
{
    const void *field = (const char *)args + row->field;
    switch (row->type) {
    case KEY_BOOL:
        return !*(const bool *)field;
    case KEY_LIST:
        return ((const bm_name_list *)field)->count == 0;
    case KEY_STRING:
        return *(char *const *)field == NULL;
    case KEY_INT:
    case KEY_DOUBLE:
    case KEY_ENUM:
        break;
    }
    return false;
}

// What compat puts a way of its own in place of. A result that is loaded is of an earlier run, whose keys are compared.
static bool compat_replaces(const bm_arguments *args, const key_row *row, uint32_t phases)
{
    if (args->compat != BM_COMPAT_PADDLESLIM || args->job == BM_JOB_LOAD)
        return false;
    return (row->flags & KEY_NOT_COMPAT) || ((row->flags & KEY_NOT_COMPAT_SEARCH) && (phases & PHASE_PIECEWISE));
}

void arguments_note_unused(bm_arguments *args)
{
    const uint32_t phases = phases_of(args);
    for (const key_row *row = key_table; row < key_table + key_table_count; row++) {
        if (!bm_arguments_is_given(args, row->name) || is_off(args, row))
            continue;
        if (!(row->phases & phases))
            bm_notes_add(&args->notes, "\"%s\": not used: needs %s", row->name, needs_of(row->phases));
        else if (compat_replaces(args, row, phases))
            bm_notes_add(&args->notes, "\"%s\": not used: with \"compat\": \"paddleslim\"", row->name);
    }
}
