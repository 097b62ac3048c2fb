// THE TABLE: one row a key of the parameter file, in the order of the files' description: jobs, methods, steps, shift,
// smooth, GPTQ, AWQ, run, model, data, and at the end keys that are accepted without effect or rejected when set.
//
// The order of the honoured rows is the order in which bitmill.json lists them.
#include "arguments/keys.h"

#include <assert.h>
#include <string.h>

#define ROW(key, kind, read_by)                                                                                        \
    .name = #key, .type = (kind), .field = (uint32_t)offsetof(bm_arguments, key), .phases = (read_by)
#define BOOL_ROW(key, read_by) ROW(key, KEY_BOOL, read_by), .fallback = "false"
#define RANGE(lowest, highest) .low = (lowest), .high = (highest)
#define COUNT RANGE(1, 2147483647.0)
#define STEPS COUNT, .flags = KEY_ALL_IS_MINUS_ONE
#define ENUM_ROW(key, read_by, list, text) ROW(key, KEY_ENUM, read_by), .names = (list), .fallback = (text)
#define NOTE_ROW(key, text) .name = (key), .class_of = KEY_NOTE, .field = NO_FIELD, .words = (text)
#define REJECT_ROW(key, text) .name = (key), .class_of = KEY_REJECT, .field = NO_FIELD, .words = (text)
#define PARALLEL_ROW(key) .name = (key), .class_of = KEY_PARALLEL, .field = NO_FIELD, .words = one_device
#define TRAINING_ROW(key) .name = (key), .class_of = KEY_TRAINING, .field = NO_FIELD

static const int64_t allowed_group_sizes[] = {32, 64, 128, 256, -1, 0};
static const int64_t allowed_bits[] = {2, 3, 4, 8, 0};

static const char one_device[] = "one device is used; results do not depend on it";
static const char speed_only[] = "speed only: no effect here";
static const char from_weights[] = "the graph is taken from the weights";
static const char no_dropout[] = "dropout is never active here";
static const char merge_adapter[] = "merge the adapter into the model first";
static const char load_quantized[] = "quantizing while loading is another feature; remove the key";
static const char load_settings[] = "no effect: belongs to quantizing while loading";
static const char no_cloud[] = "bitmill reads and writes local folders only";
static const char no_padding[] = "no effect: padding never enters statistics";
static const char no_training[] = "bitmill does not train";
static const char no_generation[] =
    "generation metrics are not built yet; evaluation gives loss, perplexity and accuracy";
static const char is_safetensors[] = "no effect: the output is safetensors either way";
static const char no_effect[] = "no effect here";

const key_row key_table[] = {
    // 2.1 Which job
    {BOOL_ROW(do_ptq, PHASE_RUN)},
    {BOOL_ROW(do_gptq, PHASE_RUN)},
    {BOOL_ROW(do_awq, PHASE_RUN)},
    {BOOL_ROW(load_quant_model, PHASE_RUN)},
    {BOOL_ROW(do_eval, PHASE_RUN)},
    {BOOL_ROW(do_predict, PHASE_RUN)},
    {ENUM_ROW(quant_type, PHASE_QUANTIZE, names_quant_type, "a8w8"), .words = "built: WINT8, WINT4"},
    // 2.3 Weight, activation and KV-cache methods
    {ENUM_ROW(weight_quant_method, PHASE_ROUND, names_weight_method, "abs_max_channel_wise")},
    {ENUM_ROW(act_quant_method, PHASE_OBSERVE, names_act_method, "avg")},
    {ENUM_ROW(cachekv_quant_method, PHASE_KV, names_kv_method, "avg_headwise")},
    {ROW(group_size, KEY_INT, PHASE_GROUP), .fallback = "128", .choices = allowed_group_sizes,
     .words = "built: 32, 64, 128, -1"},
    {ENUM_ROW(group_tail, PHASE_GROUP, names_group_tail, "reject")},
    {ROW(fp8_type, KEY_LIST, PHASE_FP8)},
    {ROW(use_fp8, KEY_STRING, PHASE_FP8)},
    {ROW(skip_list_names, KEY_LIST, PHASE_QUANTIZE)},
    {ROW(bits, KEY_INT, PHASE_INT), .choices = allowed_bits, .words = "built: 4, 8"},
    {ROW(symmetric, KEY_BOOL, PHASE_INT), .fallback = "true"},
    {ENUM_ROW(scale_search, PHASE_ROUND, names_scale_search, "abs_max")},
    {BOOL_ROW(bias_correction, PHASE_QUANTIZE)},
    {ENUM_ROW(method_choice, PHASE_QUANTIZE, names_method_choice, "as_given")},
    // 2.4 Steps
    {ROW(ptq_step, KEY_INT, PHASE_OBSERVE), .fallback = "32", STEPS},
    {ROW(shift_step, KEY_INT, PHASE_SHIFT), .fallback = "32", STEPS},
    {ROW(smooth_step, KEY_INT, PHASE_SMOOTH), .aliases = {"search_step"}, .fallback = "32", STEPS},
    {ROW(gptq_step, KEY_INT, PHASE_GPTQ), .fallback = "8", STEPS},
    {ROW(awq_step, KEY_INT, PHASE_AWQ), .fallback = "8", STEPS},
    {ROW(autoclip_step, KEY_INT, PHASE_CLIP), .fallback = "8", STEPS},
    // 2.5 Shift
    {BOOL_ROW(shift, PHASE_RUN)},
    {BOOL_ROW(shift_all_linears, PHASE_SHIFT), .aliases = {"shift_all_linear"}},
    {ENUM_ROW(shift_sampler, PHASE_SHIFT, names_shift_sampler, "none")},
    {ENUM_ROW(shift_statistic, PHASE_SHIFT, names_shift_statistic, "midrange")},
    // 2.6 Smooth and piecewise search
    {BOOL_ROW(smooth, PHASE_RUN)},
    {BOOL_ROW(smooth_all_linears, PHASE_SMOOTH), .aliases = {"smooth_all_linear"}},
    {ENUM_ROW(smooth_sampler, PHASE_SMOOTH, names_smooth_sampler, "none")},
    {ROW(smooth_alpha, KEY_DOUBLE, PHASE_PLAIN_SMOOTH), .fallback = "0.5", RANGE(0, 1)},
    {BOOL_ROW(smooth_pow2, PHASE_SMOOTH)},
    {BOOL_ROW(smooth_piecewise_search, PHASE_SMOOTH)},
    {ROW(smooth_k_piece, KEY_INT, PHASE_PIECEWISE), .fallback = "3", COUNT, .flags = KEY_TRUE_IS_ONE},
    {BOOL_ROW(smooth_search_piece, PHASE_PIECEWISE)},
    {ROW(search_alpha_min, KEY_DOUBLE, PHASE_PIECEWISE), .fallback = "0.2", RANGE(0, 1)},
    {ROW(search_alpha_max, KEY_DOUBLE, PHASE_PIECEWISE), .fallback = "0.8", RANGE(0, 1)},
    {ROW(search_alpha_step, KEY_DOUBLE, PHASE_PIECEWISE), .fallback = "0.01", RANGE(0, 1), .flags = KEY_ABOVE_LOW},
    {ROW(search_scale_min, KEY_DOUBLE, PHASE_PIECEWISE), .fallback = "1.0", RANGE(1, 1e6), .flags = KEY_NULL_IS_ZERO},
    {ROW(search_scale_max, KEY_DOUBLE, PHASE_PIECEWISE), .fallback = "5.0", RANGE(1, 1e6), .flags = KEY_NULL_IS_ZERO},
    {ROW(search_scale_step, KEY_DOUBLE, PHASE_PIECEWISE), .fallback = "0.5", RANGE(0, 1e6), .flags = KEY_ABOVE_LOW},
    {ROW(search_tokens, KEY_INT, PHASE_PIECEWISE | PHASE_AWQ), .fallback = "2048", COUNT},
    {ROW(search_rounds, KEY_INT, PHASE_PIECEWISE), .fallback = "2", COUNT},
    {ENUM_ROW(search_loss, PHASE_PIECEWISE | PHASE_AWQ, names_search_loss, "mse")},
    {ROW(search_prune, KEY_BOOL, PHASE_PIECEWISE), .fallback = "true"},
    {ENUM_ROW(smooth_piece_order, PHASE_PIECEWISE, names_piece_order, "rising")},
    {ENUM_ROW(piecewise_candidates, PHASE_PIECEWISE, names_piece_candidates, "absolute")},
    {ENUM_ROW(fold_other_linears, PHASE_SCALED, names_fold_other, "auto")},
    // 2.7, 2.10 GPTQ
    {ROW(damp_percent, KEY_DOUBLE, PHASE_GPTQ), .fallback = "auto", RANGE(0, 1),
     .flags = KEY_AUTO_IS_ZERO | KEY_ABOVE_LOW},
    {ROW(block_size, KEY_INT, PHASE_GPTQ), .fallback = "128", COUNT},
    {ENUM_ROW(act_order, PHASE_GPTQ, names_act_order, "static")},
    {ROW(true_sequential, KEY_BOOL, PHASE_CALIBRATE), .fallback = "true"},
    {ENUM_ROW(calibration_inputs, PHASE_CALIBRATE, names_calibration_inputs, "quantized")},
    {ROW(calibration_tokens, KEY_INT, PHASE_CALIBRATE), COUNT},
    {ROW(scale_refit, KEY_BOOL, PHASE_GPTQ), .fallback = "true"},
    {ROW(code_sweeps, KEY_INT, PHASE_GPTQ), .fallback = "2", RANGE(0, 1000)},
    {ROW(qep_alpha, KEY_DOUBLE, PHASE_CALIBRATE), .fallback = "0", RANGE(0, 1)},
    {ENUM_ROW(scaling, PHASE_GPTQ, names_scaling, "none")},
    // 2.8 AWQ and clipping
    {BOOL_ROW(auto_clip, PHASE_RUN)},
    {ROW(awq_n_grid, KEY_INT, PHASE_AWQ), .fallback = "20", COUNT},
    {ROW(clip_n_grid, KEY_INT, PHASE_CLIP), .fallback = "20", COUNT},
    {ROW(clip_max_shrink, KEY_DOUBLE, PHASE_CLIP), .fallback = "0.5", RANGE(0, 1), .flags = KEY_ABOVE_LOW},
    {ENUM_ROW(awq_inspect, PHASE_AWQ, names_awq_inspect, "linear")},
    {ENUM_ROW(awq_candidates, PHASE_AWQ, names_awq_candidates, "extended")},
    {ROW(clip_skip, KEY_LIST, PHASE_CLIP)},
    // 2.9, 2.10, 4.3 Run
    {ENUM_ROW(compat, PHASE_RUN, names_compat, "none")},
    {ROW(seed, KEY_INT, PHASE_RUN), .fallback = "42", RANGE(0, 9007199254740992.0)},
    {ROW(device, KEY_STRING, PHASE_RUN), .fallback = "auto"},
    {ENUM_ROW(format, PHASE_QUANTIZE, names_format, "compressed-tensors")},
    {ENUM_ROW(compute_dtype, PHASE_RUN, names_auto_dtype, "auto")},
    {ENUM_ROW(scale_dtype, PHASE_QUANTIZE, names_auto_dtype, "auto")},
    {BOOL_ROW(skip_bad_sequences, PHASE_CALIBRATE)},
    {BOOL_ROW(strict, PHASE_RUN)},
    {BOOL_ROW(keep_order, PHASE_CALIBRATE)},
    {BOOL_ROW(allow_unknown, PHASE_RUN)},
    // Data keys that come with every file are read by any phase that could read them: no note when none does.
    {ROW(per_device_train_batch_size, KEY_INT, PHASE_RUN), .fallback = "8", COUNT},
    {ROW(per_device_eval_batch_size, KEY_INT, PHASE_RUN), .fallback = "8", COUNT},
    {ROW(output_dir, KEY_STRING, PHASE_RUN)},
    {BOOL_ROW(overwrite_output_dir, PHASE_RUN)},
    {BOOL_ROW(dataloader_drop_last, PHASE_RUN)},
    {ROW(resume_from_checkpoint, KEY_STRING, PHASE_RUN)},
    // 4.1 Model
    {ROW(model_name_or_path, KEY_STRING, PHASE_RUN)},
    {ROW(tokenizer_name_or_path, KEY_STRING, PHASE_RUN)},
    {BOOL_ROW(fp16, PHASE_RUN)},
    {BOOL_ROW(bf16, PHASE_RUN)},
    {ENUM_ROW(fp16_opt_level, PHASE_RUN, names_opt_level, "O1")},
    {ROW(dtype, KEY_ENUM, PHASE_RUN), .names = names_float_dtype},
    {ROW(continue_training, KEY_BOOL, PHASE_RUN), .fallback = "true"},
    // 4.2 Data
    {ROW(dataset_name_or_path, KEY_STRING, PHASE_RUN), .aliases = {"task_name_or_path"}},
    {ROW(src_length, KEY_INT, PHASE_RUN), .aliases = {"max_source_length"}, .fallback = "1024", RANGE(2, 2147483647.0)},
    {ROW(max_length, KEY_INT, PHASE_RUN), .fallback = "2048", RANGE(3, 2147483647.0)},
    {ROW(tgt_length, KEY_INT, PHASE_RUN), .aliases = {"max_target_length"}, COUNT},
    {BOOL_ROW(zero_padding, PHASE_RUN), .aliases = {"intokens"}},
    {BOOL_ROW(greedy_zero_padding, PHASE_PACK)},
    {ROW(chat_template, KEY_STRING, PHASE_RUN)},

    // Rejected unless off
    {REJECT_ROW("do_qat", no_training)},
    {REJECT_ROW("do_train", no_training)},
    {REJECT_ROW("benchmark", "bitmill bench measures kernels; remove the key")},
    {REJECT_ROW("autotuner_benchmark", "bitmill bench measures kernels; remove the key")},
    {REJECT_ROW("lora", merge_adapter)},
    {REJECT_ROW("lora_path", merge_adapter)},
    {REJECT_ROW("prefix_tuning", merge_adapter)},
    {REJECT_ROW("vera", merge_adapter)},
    {REJECT_ROW("reft", merge_adapter)},
    {REJECT_ROW("weight_quantize_algo", load_quantized)},
    {REJECT_ROW("from_aistudio", no_cloud)},
    {REJECT_ROW("save_to_aistudio", no_cloud)},
    {REJECT_ROW("aistudio_*", no_cloud)},
    {REJECT_ROW("eval_with_do_generation", no_generation)},
    {REJECT_ROW("save_generation_output", no_generation)},
    // Several devices
    {PARALLEL_ROW("tensor_parallel_degree")},
    {PARALLEL_ROW("pipeline_parallel_degree")},
    {PARALLEL_ROW("sep_parallel_degree")},
    {PARALLEL_ROW("sequence_parallel")},
    {PARALLEL_ROW("sharding*")},
    // Accepted with a note
    {NOTE_ROW("do_quant_debug", no_effect)},
    {NOTE_ROW("test_sample", no_effect)},
    {NOTE_ROW("use_flash_attention", speed_only)},
    {NOTE_ROW("flash_mask", speed_only)},
    {NOTE_ROW("use_fused_*", speed_only)},
    {NOTE_ROW("use_fast_layer_norm", speed_only)},
    {NOTE_ROW("recompute*", speed_only)},
    {NOTE_ROW("no_recompute_layers", speed_only)},
    {NOTE_ROW("skip_recompute_ops", speed_only)},
    {NOTE_ROW("pp_recompute_interval", speed_only)},
    {NOTE_ROW("virtual_pp_degree", speed_only)},
    {NOTE_ROW("fuse_attention_qkv", from_weights)},
    {NOTE_ROW("fuse_attention_ffn", from_weights)},
    {NOTE_ROW("hidden_dropout_prob", no_dropout)},
    {NOTE_ROW("attention_probs_dropout_prob", no_dropout)},
    {NOTE_ROW("weight_blocksize", load_settings)},
    {NOTE_ROW("weight_double_quant*", load_settings)},
    {NOTE_ROW("qlora_*", load_settings)},
    {NOTE_ROW("neftune*", "no effect: noise belongs to training")},
    {NOTE_ROW("task_name", no_effect)},
    {NOTE_ROW("pad_to_multiple_of", no_padding)},
    {NOTE_ROW("pad_to_max_length", no_padding)},
    {NOTE_ROW("lazy", no_effect)},
    {NOTE_ROW("top_k", "no effect: nothing is generated")},
    {NOTE_ROW("top_p", "no effect: nothing is generated")},
    {NOTE_ROW("eval_accumulation_steps", "no effect: sums are kept, not outputs")},
    {NOTE_ROW("do_export", no_effect)},
    {NOTE_ROW("unified_checkpoint", is_safetensors)},
    {NOTE_ROW("unified_checkpoint_config", is_safetensors)},
    {NOTE_ROW("dataloader_num_workers", no_effect)},
    {NOTE_ROW("logging_steps", no_effect)},
    {NOTE_ROW("disable_tqdm", "no effect: use --quiet")},
    // Training
    {TRAINING_ROW("learning_rate")},
    {TRAINING_ROW("num_train_epochs")},
    {TRAINING_ROW("max_steps")},
    {TRAINING_ROW("gradient_accumulation_steps")},
    {TRAINING_ROW("warmup_*")},
    {TRAINING_ROW("lr_scheduler_type")},
    {TRAINING_ROW("weight_decay")},
    {TRAINING_ROW("evaluation_strategy")},
    {TRAINING_ROW("save_strategy")},
    {TRAINING_ROW("save_steps")},
    {TRAINING_ROW("eval_steps")},
    {TRAINING_ROW("save_total_limit")},
    {TRAINING_ROW("load_best_model_at_end")},
    {TRAINING_ROW("metric_for_best_model")},
    {TRAINING_ROW("greater_is_better")},
    {TRAINING_ROW("decay_steps")},
    {TRAINING_ROW("report_to")},
};
const uint32_t key_table_count = BM_COUNT(key_table);
_Static_assert(BM_COUNT(key_table) <= BM_ARGUMENTS_MAX_KEYS, "bm_arguments.origin is too short");

static bool name_matches(const char *pattern, const char *name)
{
    const size_t length = strlen(pattern);
    if (pattern[length - 1] == '*')
        return strncmp(pattern, name, length - 1) == 0;
    return strcmp(pattern, name) == 0;
}

int32_t key_find(const char *name, bool *is_alias)
{
    for (uint32_t i = 0; i < key_table_count; i++) {
        const key_row *row = &key_table[i];
        bool found_alias = false;
        for (uint32_t a = 0; a < BM_COUNT(row->aliases); a++)
            found_alias = found_alias || (row->aliases[a] && strcmp(row->aliases[a], name) == 0);
        if (found_alias || name_matches(row->name, name)) {
            if (is_alias)
                *is_alias = found_alias;
            return (int32_t)i;
        }
    }
    return -1;
}

// Of two that are equally near, the one of the same length: two letters were exchanged.
static void keep_nearer(const char *candidate, const char *name, const char **best, uint32_t *best_distance)
{
    const uint32_t distance = bm_edit_distance(candidate, name);
    const bool is_tie = *best && distance == *best_distance && strlen(candidate) == strlen(name);
    if (distance < *best_distance || (is_tie && strlen(*best) != strlen(name))) {
        *best = candidate;
        *best_distance = distance;
    }
}

// Near: at most a third of the letters differ, so that unrelated names are not offered.
const char *key_nearest(const char *name)
{
    const char *best = NULL;
    uint32_t best_distance = (uint32_t)(strlen(name) / 3) + 1;
    for (uint32_t i = 0; i < key_table_count; i++) {
        const key_row *row = &key_table[i];
        if (!strchr(row->name, '*'))
            keep_nearer(row->name, name, &best, &best_distance);
        for (uint32_t a = 0; a < BM_COUNT(row->aliases); a++)
            if (row->aliases[a])
                keep_nearer(row->aliases[a], name, &best, &best_distance);
    }
    return best;
}

uint32_t key_of_field(size_t offset)
{
    for (uint32_t i = 0; i < key_table_count; i++)
        if (key_table[i].field == offset)
            return i;
    assert(!"a field without a row");
    return 0;
}

bool key_is_given(const bm_arguments *args, uint32_t row)
{
    return args->origin[row] == ORIGIN_FILE || args->origin[row] == ORIGIN_OVERRIDE;
}
