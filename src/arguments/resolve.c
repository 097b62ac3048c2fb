// Resolution: which job, which types and widths, and the defaults that depend on them. A decision that the file does not
// state is either the documented default or a note.
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
    return bm_quant_type_is_weight_only(args->quant_type) ? BM_JOB_ROUNDING : BM_JOB_A8W8;
}

// use_fp8: letters of what is FP8.
static bm_status resolve_use_fp8(bm_arguments *args, bm_error *err)
{
    const char *letters = args->use_fp8;
    const bool contradicts = bm_arguments_is_given(args, "quant_type") && args->quant_type != BM_QUANT_A8W8 &&
                             args->quant_type != BM_QUANT_A8W8_FP8;
    if (!letters)
        return BM_OK;
    REJECT_IF(strspn(letters, "wWaAcC") != strlen(letters) || strlen(letters) > 3,
              "\"use_fp8\": expected letters of \"wac\", for example \"WA\"");
    REJECT_IF(strpbrk(letters, "cC"), "\"use_fp8\": \"%s\": an FP8 KV cache does not exist yet", letters);
    REJECT_IF(!strpbrk(letters, "wW") || !strpbrk(letters, "aA"), "\"use_fp8\": \"%s\": needs both w and a", letters);
    REJECT_IF(contradicts, "\"use_fp8\": \"%s\": contradicts \"quant_type\": \"%s\"", letters,
              bm_quant_type_name(args->quant_type));
    REJECT_IF(args->do_gptq || args->do_awq, "\"use_fp8\": \"%s\": cannot stand beside \"%s\": true", letters,
              args->do_gptq ? "do_gptq" : "do_awq");
    bm_notes_add(&args->notes, "\"use_fp8\": \"%s\": deprecated, taken as \"quant_type\": \"a8w8_fp8\"", letters);
    args->quant_type = BM_QUANT_A8W8_FP8;
    return BM_OK;
}

// The order of fp8_type is (activation, weight), or that of the letters of use_fp8.
static bm_status resolve_fp8_types(bm_arguments *args, bm_error *err)
{
    const bool is_fp8 = args->quant_type == BM_QUANT_A8W8_FP8 && args->do_ptq;
    const bool weight_first = args->use_fp8 && strcspn(args->use_fp8, "wW") < strcspn(args->use_fp8, "aA");
    bm_dtype types[2] = {BM_DTYPE_F8_E4M3, BM_DTYPE_F8_E4M3};
    bool is_good = args->fp8_type.count == 0 || args->fp8_type.count == 2;
    for (uint32_t i = 0; i < args->fp8_type.count && is_good; i++) {
        types[i] = bm_equal_ignore_case(args->fp8_type.names[i], "e5m2") ? BM_DTYPE_F8_E5M2 : BM_DTYPE_F8_E4M3;
        is_good = types[i] == BM_DTYPE_F8_E5M2 || bm_equal_ignore_case(args->fp8_type.names[i], "e4m3");
    }
    REJECT_IF(!is_good, "\"fp8_type\": expected a list of 2, each e4m3 or e5m2");
    args->fp8_activation = is_fp8 ? types[weight_first] : BM_DTYPE_NONE;
    args->fp8_weight = is_fp8 ? types[!weight_first] : BM_DTYPE_NONE;
    return BM_OK;
}

// GPTQ and AWQ are weight-only; both mean 4 bits unless the file says otherwise.
static bm_status resolve_weight_only(bm_arguments *args, bm_error *err)
{
    const char *key = args->do_gptq ? "do_gptq" : "do_awq";
    if (!args->do_gptq && !args->do_awq)
        return BM_OK;
    if (!bm_arguments_is_given(args, "quant_type")) {
        args->quant_type = BM_QUANT_WINT4;
        bm_notes_add_choice(&args->notes, "\"quant_type\": absent beside \"%s\": wint4", key);
    }
    REJECT_IF(!bm_quant_type_is_weight_only(args->quant_type),
              "\"quant_type\": \"%s\": cannot stand beside \"%s\": true, which takes WINT4 or WINT8",
              bm_quant_type_name(args->quant_type), key);
    if (args->do_gptq && args->quant_type == BM_QUANT_WINT8 && !bm_arguments_is_given(args, "bits"))
        bm_notes_add(&args->notes, "\"quant_type\": \"wint8\": GPTQ with 8 bits (PaddleNLP always takes 4)");
    return BM_OK;
}

static bm_status resolve_bits(bm_arguments *args, bm_error *err)
{
    const int64_t named = args->quant_type == BM_QUANT_WINT4 ? 4 : 8;
    const char *type = bm_quant_type_name(args->quant_type);
    args->weight_bits = (uint32_t)(args->bits ? args->bits : named);
    if (args->weight_bits == named)
        return BM_OK;
    REJECT_IF(!bm_quant_type_is_weight_only(args->quant_type),
              "\"bits\": %u: %s has 8 bits; for weights alone set \"quant_type\": \"wint4\"", args->weight_bits, type);
    if (bm_arguments_is_given(args, "quant_type") && args->bits >= 4) // no quant_type names less
        bm_notes_add(&args->notes, "\"bits\": %u: overrides the width of \"quant_type\": \"%s\"", args->weight_bits,
                     type);
    if (args->bits >= 4)
        args->quant_type = args->bits == 8 ? BM_QUANT_WINT8 : BM_QUANT_WINT4;
    return BM_OK;
}

bm_status arguments_resolve_type(bm_arguments *args, bm_error *err)
{
    bm_status status = BM_OK;
    REJECT_IF(args->quant_type == BM_QUANT_A8W4,
              "\"quant_type\": \"a8w4\": exists only in quantization-aware training; use WINT4 or A8W8");
    if (args->do_ptq || args->do_gptq) {
        BM_TRY(resolve_use_fp8(args, err));
        BM_TRY(resolve_weight_only(args, err));
        BM_TRY(resolve_bits(args, err));
    }
    BM_TRY(resolve_fp8_types(args, err));
    args->job = job_of(args);
done:
    return status;
}

// fp16, bf16 and fp16_opt_level against dtype: one storage type, or none where no key was given.
static bm_status resolve_storage(bm_arguments *args, bm_error *err)
{
    const bool has_level = bm_arguments_is_given(args, "fp16_opt_level");
    const bool is_o2 = has_level && args->fp16_opt_level == BM_OPT_O2;
    const bm_dtype half = args->fp16 ? BM_DTYPE_F16 : args->bf16 ? BM_DTYPE_BF16 : BM_DTYPE_NONE;
    const bool dtype_is_half = args->dtype == BM_DTYPE_F16 || args->dtype == BM_DTYPE_BF16;
    const char *half_key = args->fp16 ? "fp16" : "bf16", *dtype = key_enum_name("dtype", (int)args->dtype);
    REJECT_IF(args->fp16 && args->bf16, "\"fp16\" and \"bf16\": both true: choose one");
    REJECT_IF(half != BM_DTYPE_NONE && dtype_is_half && half != args->dtype,
              "\"dtype\": \"%s\": contradicts \"%s\": true", dtype, half_key);
    REJECT_IF(args->dtype != BM_DTYPE_NONE && has_level && is_o2 != dtype_is_half,
              "\"dtype\": \"%s\": contradicts \"fp16_opt_level\": \"%s\"", dtype,
              key_enum_name("fp16_opt_level", (int)args->fp16_opt_level));
    REJECT_IF(is_o2 && half == BM_DTYPE_NONE && !dtype_is_half,
              "\"fp16_opt_level\": \"O2\": needs \"fp16\" or \"bf16\": true");
    args->storage_dtype = args->dtype != BM_DTYPE_NONE         ? args->dtype
                          : is_o2                              ? half
                          : half != BM_DTYPE_NONE || has_level ? BM_DTYPE_F32
                                                               : BM_DTYPE_NONE;
    if (half != BM_DTYPE_NONE && args->storage_dtype == BM_DTYPE_F32 && args->dtype == BM_DTYPE_NONE)
        bm_notes_add(&args->notes, "\"%s\": true: the model is float32 without \"fp16_opt_level\": \"O2\"", half_key);
    return BM_OK;
}

// In a file gpu is auto and cpu is host: the reference's files say gpu wherever they came from, and mean that a GPU be
// used if there is one. Else lower case up to the colon; whether there is such a device is not known here.
static void resolve_device(bm_arguments *args)
{
    char *text = args->device;
    const char *meant = !text ? "auto" : bm_equal_ignore_case(text, "gpu") ? "auto" : NULL;
    if (text && meant)
        bm_notes_add(&args->notes, "\"device\": \"gpu\": taken as auto, a GPU if there is one; gpu:0 insists");
    if (text && bm_equal_ignore_case(text, "cpu"))
        meant = "host";
    if (meant) {
        bm_free(text);
        args->device = bm_string_copy(meant);
        args->notes.failed = args->notes.failed || !args->device;
        return;
    }
    for (; *text && *text != ':'; text++)
        if (*text >= 'A' && *text <= 'Z')
            *text = (char)(*text - 'A' + 'a');
}

// Old files give the room for the answer, late ones the sum. One of the command line replaces the file's other.
static bm_status resolve_lengths(bm_arguments *args, bm_error *err)
{
    const uint8_t old = args->origin[key_find("tgt_length") - key_table],
                  late = args->origin[key_find("max_length") - key_table];
    const int64_t sum = args->src_length + args->tgt_length;
    REJECT_IF(old != ORIGIN_DEFAULT && old == late && args->max_length != sum,
              "\"max_length\": %lld: contradicts src_length + tgt_length = %lld", (long long)args->max_length,
              (long long)sum);
    if (old > late)
        args->max_length = sum;
    if (args->max_length <= args->src_length && !bm_arguments_is_given(args, "src_length")) {
        args->src_length = (int64_t)bm_max_u64(2, (uint64_t)args->max_length / 2);
        if (!args->dataset_name_or_path || !bm_ends_with(args->dataset_name_or_path, ".txt")) // a text has no prompts
            bm_notes_add_choice(&args->notes, "\"src_length\": absent: %lld, half of max_length",
                                (long long)args->src_length);
    }
    REJECT_IF(args->max_length <= args->src_length, "\"max_length\": %lld: must be above src_length %lld",
              (long long)args->max_length, (long long)args->src_length);
    return BM_OK;
}

bm_status arguments_resolve_run(bm_arguments *args, bm_error *err)
{
    const bm_status status = resolve_storage(args, err);
    resolve_device(args);
    if (!args->tokenizer_name_or_path) {
        args->tokenizer_name_or_path = bm_string_copy(bm_arguments_model(args));
        args->notes.failed = args->notes.failed || !args->tokenizer_name_or_path;
    }
    return status == BM_OK ? resolve_lengths(args, err) : status;
}

// Given, it is what AWQ takes instead of smooth_step; absent, it tells how many those are.
static void resolve_awq_step(bm_arguments *args)
{
    const bool is_given = bm_arguments_is_given(args, "awq_step");
    if (is_given && bm_job_scales_by_awq(args)) {
        if (bm_arguments_is_given(args, "smooth_step") && args->smooth_step != args->awq_step)
            bm_notes_add(&args->notes, "\"awq_step\": %lld: used instead of \"smooth_step\": %lld",
                         (long long)args->awq_step, (long long)args->smooth_step);
        args->smooth_step = args->awq_step;
    }
    if (!is_given)
        args->awq_step = args->smooth_step;
}

static void resolve_scaling(bm_arguments *args)
{
    const char *type = bm_quant_type_name(args->quant_type);
    if (args->job == BM_JOB_AWQ && !args->smooth) {
        args->smooth = true;
        bm_notes_add(&args->notes, "\"do_awq\": true: implies the smooth phase; \"smooth\": true is missing");
    }
    if (args->job == BM_JOB_GPTQ && (args->smooth || args->do_awq)) {
        if (!bm_arguments_is_given(args, "scaling"))
            args->scaling = args->do_awq ? BM_SCALING_AWQ : BM_SCALING_SMOOTH;
        bm_notes_add(&args->notes, "\"%s\": true: the scaling is folded first, then GPTQ (PaddleNLP ignores it)",
                     args->do_awq ? "do_awq" : "smooth");
    }
    args->smooth = args->smooth || (args->job == BM_JOB_GPTQ && args->scaling != BM_SCALING_NONE);
    if (args->job == BM_JOB_ROUNDING && args->smooth)
        bm_notes_add(&args->notes, "\"smooth\": true: little benefit with weights alone (%s)", type);
    if (bm_quant_type_is_weight_only(args->quant_type) && args->shift)
        bm_notes_add(&args->notes, "\"shift\": true: no benefit with weights alone (%s)", type);
    // Scales of o_proj and down_proj fold into v_proj and up_proj. KL divergence with them is 0.47 of that without where outliers
    // are planted, and the same elsewhere.
    if (bm_job_scales_by_awq(args) && args->compat == BM_COMPAT_NONE &&
        !bm_arguments_is_given(args, "smooth_all_linears"))
        args->smooth_all_linears = true;
    resolve_awq_step(args);
}

// Clipping is a search for steps by the output error; which thresholds it tries is what the keys say.
static void resolve_clip(bm_arguments *args, bool is_given)
{
    const bool has_grid = bm_arguments_is_given(args, "clip_n_grid") || bm_arguments_is_given(args, "clip_max_shrink");
    if (!args->auto_clip)
        return;
    args->clips_by_thresholds = is_given ? args->scale_search == BM_SCALE_ABS_MAX : has_grid;
    args->scale_search = BM_SCALE_GRAM;
}

// The scale search that fits the job. Plain rounding weighs by data where there are some: it needs none, unless it clips.
static void resolve_scale_search(bm_arguments *args)
{
    static const bm_scale_search by_job[] = {[BM_JOB_ROUNDING] = BM_SCALE_GRAM,
                                             [BM_JOB_A8W8] = BM_SCALE_ABS_MAX,
                                             [BM_JOB_AWQ] = BM_SCALE_GRAM,
                                             [BM_JOB_GPTQ] = BM_SCALE_WEIGHTED_MSE};
    const bool is_given = bm_arguments_is_given(args, "scale_search");
    const bool has_data = args->dataset_name_or_path != NULL;
    if (!is_given)
        args->scale_search = by_job[args->job];
    resolve_clip(args, is_given);
    if (args->compat == BM_COMPAT_PADDLESLIM) // its steps are of the largest weight
        args->scale_search = BM_SCALE_ABS_MAX;
    if (args->job != BM_JOB_ROUNDING || args->compat == BM_COMPAT_PADDLESLIM || args->auto_clip)
        return;
    if (!is_given)
        bm_notes_add_choice(&args->notes, "\"scale_search\": absent: %s",
                            has_data ? "gram, which weighs by calibration data (mse needs none)"
                                     : "mse; with calibration data gram, which weighs by them");
    else if (arguments_weigh_by_data(args) && !has_data)
        bm_notes_add(&args->notes, "\"scale_search\": \"%s\": weighs by calibration data, of which there are none: mse",
                     bm_scale_search_name(args->scale_search));
    if (arguments_weigh_by_data(args) && !has_data)
        args->scale_search = BM_SCALE_MSE;
}

// What GPTQ's keys come to.
static void resolve_gptq(bm_arguments *args)
{
    const bool is_given = bm_arguments_is_given(args, "qep_alpha");
    const bool is_float = args->calibration_inputs == BM_INPUTS_FLOAT;
    if (args->job != BM_JOB_GPTQ)
        return;
    if (is_given && is_float && args->qep_alpha > 0)
        bm_notes_add(&args->notes,
                     "\"qep_alpha\": %.10g: no effect with \"calibration_inputs\": \"float\", which carry "
                     "no error",
                     args->qep_alpha);
    args->qep_alpha = is_float ? 0 : is_given ? args->qep_alpha : 0.5;
    if (args->block_size != 128)
        bm_notes_add(&args->notes, "\"block_size\": %lld: no effect on the result; the program takes blocks of its own",
                     (long long)args->block_size);
}

// What PaddleSlim does where the file says nothing.
static void resolve_compat(bm_arguments *args)
{
    if (args->compat != BM_COMPAT_PADDLESLIM)
        return;
    if (!bm_arguments_is_given(args, "act_quant_method"))
        args->act_quant_method = BM_ACT_AVG;
    if (!bm_arguments_is_given(args, "search_loss"))
        args->search_loss = BM_LOSS_MSE;
}

// What gguf_type says of bits, groups and signs.
static void resolve_gguf_type(bm_arguments *args)
{
    const bool symmetric = args->gguf_type == BM_MIXTURE_Q6_K;
    const uint32_t bits = bm_gguf_mixture_bits(args->gguf_type);
    if (bm_arguments_is_given(args, "quant_type") && args->weight_bits != bits)
        bm_notes_add(&args->notes, "\"gguf_type\": \"%s\": overrides the width of \"quant_type\": \"%s\"",
                     bm_gguf_mixture_name(args->gguf_type), bm_quant_type_name(args->quant_type));
    args->weight_bits = bits;
    args->symmetric = symmetric;
    args->group_size = symmetric ? 16 : 32;
    bm_notes_add_choice(&args->notes, "\"gguf_type\": \"%s\": %u bits, %s, groups of %d within 256 inputs",
                        bm_gguf_mixture_name(args->gguf_type), args->weight_bits,
                        symmetric ? "symmetric" : "asymmetric", (int)args->group_size);
}

// GGUF has a step for each 32 inputs in any case: groups of as many cost nothing.
static void resolve_blocks(bm_arguments *args)
{
    const bool has_method = bm_arguments_is_given(args, "weight_quant_method");
    if (args->format != BM_FORMAT_GGUF || !bm_quant_type_is_weight_only(args->quant_type))
        return;
    if (!has_method)
        args->weight_quant_method = BM_WEIGHT_GROUPWISE;
    if (args->gguf_type != BM_MIXTURE_AUTO) {
        resolve_gguf_type(args);
        return;
    }
    if (args->weight_quant_method != BM_WEIGHT_GROUPWISE || bm_arguments_is_given(args, "group_size"))
        return;
    args->group_size = 32;
    bm_notes_add_choice(&args->notes, "\"group_size\": absent: 32, the blocks of gguf");
}

static bool needs_calibration(const bm_arguments *args)
{
    const bool observes = args->job == BM_JOB_A8W8 && args->act_quant_method != BM_ACT_PER_TOKEN;
    return args->job == BM_JOB_AWQ || args->job == BM_JOB_GPTQ || observes || arguments_weigh_by_data(args) ||
           args->quant_type == BM_QUANT_A8W8C8 || args->shift || args->smooth || args->auto_clip ||
           args->bias_correction || args->method_choice == BM_CHOICE_BEST;
}

bool bm_arguments_reads_data(const bm_arguments *args)
{
    return args->needs_calibration || args->do_eval || args->do_predict;
}

static void resolve_weight_method(bm_arguments *args)
{
    if (!bm_arguments_is_given(args, "weight_quant_method") && args->format != BM_FORMAT_GGUF) {
        if (args->quant_type == BM_QUANT_A8W8_FP8) {
            args->weight_quant_method = BM_WEIGHT_ABS_MAX;
            bm_notes_add_choice(&args->notes, "\"weight_quant_method\": absent with a8w8_fp8: abs_max");
        }
        if (args->job == BM_JOB_AWQ)
            bm_notes_add_choice(&args->notes,
                                "\"weight_quant_method\": absent: abs_max_channel_wise; AWQ is designed for groupwise");
    }
    if (args->weight_quant_method == BM_WEIGHT_GROUPWISE && args->group_size == -1)
        args->weight_quant_method = BM_WEIGHT_CHANNEL_WISE;
    if (args->weight_quant_method != BM_WEIGHT_GROUPWISE)
        args->group_size = -1;
}

void arguments_resolve_method(bm_arguments *args)
{
    const bool quantizes = bm_job_quantizes(args->job);
    if (quantizes) {
        resolve_scaling(args);
        resolve_scale_search(args);
        resolve_gptq(args);
        resolve_compat(args);
        if (!bm_arguments_is_given(args, "symmetric") && args->format == BM_FORMAT_AWQ)
            args->symmetric = false;
        resolve_blocks(args);
        args->needs_calibration = needs_calibration(args);
    }
    arguments_note_unused(args); // before the group size is folded into the method
    if (!quantizes)
        return;
    resolve_weight_method(args);
    if (args->smooth_piecewise_search && args->smooth_k_piece > 16)
        bm_notes_add(&args->notes, "\"smooth_k_piece\": %lld: more than 16 pieces are slow",
                     (long long)args->smooth_k_piece);
}
