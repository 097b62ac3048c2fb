// THE TABLE: one row a key of the parameter file, in the order of the files' description: jobs, methods, steps, shift,
// smooth, GPTQ, AWQ, run, model, data; behind it the keys that are accepted without effect or refused when set.
//
// The order of the rows is the order in which bitmill.json lists them.
#include "arguments/keys.h"

#include <stdio.h>
#include <string.h>

#define ROW(key, kind, read_by)                                                                                        \
    .name = #key, .type = (kind), .field = (uint32_t)offsetof(bm_arguments, key), .phases = (read_by)
#define BOOL_ROW(key, read_by) ROW(key, KEY_BOOL, read_by), .fallback = "false"
#define RANGE(lowest, highest) .low = (lowest), .high = (highest)
#define COUNT RANGE(1, 2147483647.0)
#define STEPS COUNT, .flags = KEY_ALL_IS_MINUS_ONE
#define NAMES(...)                                                                                                     \
    .names = (const char *const[])                                                                                     \
    {                                                                                                                  \
        __VA_ARGS__, NULL                                                                                              \
    }
#define ENUM_ROW(key, read_by, text, ...) ROW(key, KEY_ENUM, read_by), .fallback = (text), NAMES(__VA_ARGS__)

const key_row key_table[] = {
    // Which job
    {BOOL_ROW(do_ptq, PHASE_RUN)},
    {BOOL_ROW(do_gptq, PHASE_RUN)},
    {BOOL_ROW(do_foem, PHASE_GPTQ)},
    {BOOL_ROW(do_awq, PHASE_RUN)},
    {BOOL_ROW(load_quant_model, PHASE_RUN)},
    {BOOL_ROW(do_eval, PHASE_RUN)},
    {BOOL_ROW(do_predict, PHASE_RUN)},
    {ENUM_ROW(quant_type, PHASE_QUANTIZE, "a8w8", "a8w8", "a8w8c8", "a8w8_fp8", "wint8", "wint4", "a8w4")},
    // Weight, activation and KV-cache methods
    {ENUM_ROW(weight_quant_method, PHASE_QUANTIZE, "abs_max_channel_wise", "abs_max_channel_wise", "groupwise",
              "abs_max", "avg")},
    {ENUM_ROW(act_quant_method, PHASE_OBSERVE, "mse", "avg", "abs_max", "per_token", "mse", "percentile")},
    {ENUM_ROW(cachekv_quant_method, PHASE_KV, "avg_headwise", "avg_headwise", "abs_max_headwise", "abs_max")},
    {ROW(group_size, KEY_INT, PHASE_GROUP), .fallback = "128", NAMES("32", "64", "128", "256", "-1")},
    {ENUM_ROW(group_tail, PHASE_GROUP, "reject", "reject", "short")},
    {ROW(fp8_type, KEY_LIST, PHASE_FP8)},
    {ROW(use_fp8, KEY_STRING, PHASE_FP8)},
    {ROW(skip_list_names, KEY_LIST, PHASE_QUANTIZE)},
    {ROW(bits, KEY_INT, PHASE_INT), NAMES("2", "3", "4", "8")},
    {ROW(symmetric, KEY_BOOL, PHASE_INT), .fallback = "true"},
    {ENUM_ROW(scale_search, PHASE_QUANTIZE, "abs_max", "abs_max", "mse", "weighted_mse", "gram"),
     .flags = KEY_NOT_COMPAT},
    {ROW(signed_scales, KEY_BOOL, PHASE_SIGNED), .fallback = "true"},
    {BOOL_ROW(bias_correction, PHASE_QUANTIZE)},
    {ENUM_ROW(method_choice, PHASE_QUANTIZE, "as_given", "as_given", "best")},
    // Steps
    {ROW(ptq_step, KEY_INT, PHASE_OBSERVE | PHASE_WEIGH), .fallback = "32", STEPS},
    {ROW(shift_step, KEY_INT, PHASE_SHIFT), .fallback = "32", STEPS},
    {ROW(smooth_step, KEY_INT, PHASE_SMOOTH), .alias = "search_step", .fallback = "32", STEPS},
    {ROW(gptq_step, KEY_INT, PHASE_GPTQ), .fallback = "8", STEPS},
    {ROW(awq_step, KEY_INT, PHASE_AWQ), .fallback = "32", STEPS},
    {ROW(autoclip_step, KEY_INT, PHASE_CLIP), .fallback = "8", STEPS},
    // Shift
    {BOOL_ROW(shift, PHASE_RUN)},
    {BOOL_ROW(shift_all_linears, PHASE_SHIFT), .alias = "shift_all_linear"},
    {ENUM_ROW(shift_sampler, PHASE_SHIFT, "none", "none", "ema")},
    {ENUM_ROW(shift_statistic, PHASE_SHIFT, "average", "average", "midrange", "mean"), .flags = KEY_NOT_COMPAT},
    // Smooth and piecewise search
    {BOOL_ROW(smooth, PHASE_RUN)},
    {BOOL_ROW(smooth_all_linears, PHASE_SMOOTH), .alias = "smooth_all_linear"},
    {ENUM_ROW(smooth_sampler, PHASE_RANGES, "none", "none", "", "multi_step"), .flags = KEY_NOT_COMPAT},
    {ROW(smooth_alpha, KEY_DOUBLE, PHASE_PLAIN_SMOOTH), .fallback = "0.5", RANGE(0, 1)},
    {ENUM_ROW(smooth_weight_statistic, PHASE_RANGES, "rms", "rms", "abs_max"), .flags = KEY_NOT_COMPAT},
    {BOOL_ROW(smooth_pow2, PHASE_SMOOTH)},
    {BOOL_ROW(smooth_piecewise_search, PHASE_SMOOTH)},
    {ROW(smooth_k_piece, KEY_INT, PHASE_PIECEWISE), .fallback = "3", RANGE(1, 1024), .flags = KEY_TRUE_IS_ONE},
    {BOOL_ROW(smooth_search_piece, PHASE_PIECEWISE)},
    {ROW(search_alpha_min, KEY_DOUBLE, PHASE_PIECEWISE), .fallback = "0.2", RANGE(0, 1)},
    {ROW(search_alpha_max, KEY_DOUBLE, PHASE_PIECEWISE), .fallback = "0.8", RANGE(0, 1)},
    {ROW(search_alpha_step, KEY_DOUBLE, PHASE_PIECEWISE), .fallback = "0.01", RANGE(1e-4, 1), .flags = KEY_NOT_COMPAT},
    {ROW(search_scale_min, KEY_DOUBLE, PHASE_PIECEWISE), .fallback = "1.0", RANGE(1, 1e5), .flags = KEY_NULL_IS_ZERO},
    {ROW(search_scale_max, KEY_DOUBLE, PHASE_PIECEWISE), .fallback = "5.0", RANGE(1, 1e5), .flags = KEY_NULL_IS_ZERO},
    {ROW(search_scale_step, KEY_DOUBLE, PHASE_PIECEWISE), .fallback = "0.5", RANGE(1e-4, 1e5), .flags = KEY_NOT_COMPAT},
    {ROW(search_tokens, KEY_INT, PHASE_PIECEWISE | PHASE_OBSERVE | PHASE_SAMPLE), .fallback = "2048", COUNT,
     .flags = KEY_NOT_COMPAT_SEARCH},
    {ROW(search_rounds, KEY_INT, PHASE_PIECEWISE), .fallback = "2", COUNT, .flags = KEY_NOT_COMPAT},
    {ENUM_ROW(search_loss, PHASE_PIECEWISE | PHASE_OBSERVE, "residual", "residual", "mse", "nmse"),
     .flags = KEY_NOT_COMPAT},
    {ROW(search_crosswise, KEY_BOOL, PHASE_PIECEWISE), .fallback = "true", .flags = KEY_NOT_COMPAT},
    {ROW(search_margin, KEY_DOUBLE, PHASE_PIECEWISE), .fallback = "0.5", RANGE(0, 1), .flags = KEY_NOT_COMPAT},
    {ROW(search_prune, KEY_BOOL, PHASE_PIECEWISE), .fallback = "true", .flags = KEY_NOT_COMPAT},
    {ENUM_ROW(smooth_piece_order, PHASE_PIECEWISE, "rising", "rising", "falling"), .flags = KEY_NOT_COMPAT},
    {ENUM_ROW(piecewise_candidates, PHASE_PIECEWISE, "absolute", "absolute", "relative", "log"),
     .flags = KEY_NOT_COMPAT},
    {ENUM_ROW(fold_other_linears, PHASE_SCALED, "auto", "auto", "ops", "off")},
    // GPTQ
    {ROW(damp_percent, KEY_DOUBLE, PHASE_GPTQ), .fallback = "auto", RANGE(0, 1),
     .flags = KEY_AUTO_IS_ZERO | KEY_ABOVE_LOW},
    {ROW(block_size, KEY_INT, PHASE_GPTQ), .fallback = "128", COUNT},
    {ENUM_ROW(act_order, PHASE_GPTQ, "static", "none", "static", "dynamic", "group_aware")},
    {ROW(true_sequential, KEY_BOOL, PHASE_SEQUENTIAL), .fallback = "true"},
    {ENUM_ROW(calibration_inputs, PHASE_SEQUENTIAL, "quantized", "quantized", "float")},
    {ROW(calibration_tokens, KEY_INT, PHASE_CALIBRATE), COUNT},
    {ROW(scale_refit, KEY_BOOL, PHASE_GPTQ), .fallback = "true"},
    {ROW(code_sweeps, KEY_INT, PHASE_GPTQ), .fallback = "2", RANGE(0, 1000)},
    {ROW(qep_alpha, KEY_DOUBLE, PHASE_CALIBRATE), .fallback = "0", RANGE(0, 1)},
    {ENUM_ROW(scaling, PHASE_GPTQ | PHASE_SCALED, "none", "none", "smooth", "awq")},
    // AWQ and clipping
    {BOOL_ROW(auto_clip, PHASE_RUN)},
    {ROW(awq_n_grid, KEY_INT, PHASE_AWQ), .fallback = "20", RANGE(1, 1000)},
    {ROW(clip_n_grid, KEY_INT, PHASE_THRESHOLDS), .fallback = "20", RANGE(1, 172)},
    {ROW(clip_max_shrink, KEY_DOUBLE, PHASE_THRESHOLDS), .fallback = "0.5", RANGE(0, 1), .flags = KEY_ABOVE_LOW},
    {ENUM_ROW(awq_inspect, PHASE_AWQ, "linear", "linear", "block")},
    {ENUM_ROW(awq_candidates, PHASE_AWQ, "extended", "extended", "published")},
    {ROW(clip_skip, KEY_LIST, PHASE_CLIP)},
    // Run
    {ENUM_ROW(compat, PHASE_RUN, "none", "none", "paddleslim")},
    {ROW(seed, KEY_INT, PHASE_RUN), .fallback = "42", RANGE(0, 9007199254740992.0)},
    {ROW(device, KEY_STRING, PHASE_RUN), .fallback = "auto"},
    {ENUM_ROW(format, PHASE_QUANTIZE, "compressed-tensors", "compressed-tensors", "gptq", "awq", "gguf", "paddle")},
    {ENUM_ROW(gguf_type, PHASE_QUANTIZE, "auto", "auto", "q4_k", "q4_k_m", "q5_k", "q5_k_m", "q6_k")},
    {ENUM_ROW(gguf_embeddings, PHASE_QUANTIZE, "float", "float", "q8_0")},
    {ENUM_ROW(compute_dtype, PHASE_RUN, "auto", "auto", "float32", "float16", "bfloat16")},
    {ENUM_ROW(scale_dtype, PHASE_QUANTIZE, "auto", "auto", "float32", "float16", "bfloat16")},
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
    // Model
    {ROW(model_name_or_path, KEY_STRING, PHASE_RUN)},
    {ROW(tokenizer_name_or_path, KEY_STRING, PHASE_RUN)},
    {BOOL_ROW(fp16, PHASE_RUN)},
    {BOOL_ROW(bf16, PHASE_RUN)},
    {ENUM_ROW(fp16_opt_level, PHASE_RUN, "O1", "O0", "O1", "O2")},
    {ENUM_ROW(dtype, PHASE_RUN, NULL, "", "float32", "float16", "bfloat16")},
    {ROW(continue_training, KEY_BOOL, PHASE_RUN), .fallback = "true"},
    // Data
    {ROW(dataset_name_or_path, KEY_STRING, PHASE_RUN), .alias = "task_name_or_path"},
    {ROW(src_length, KEY_INT, PHASE_RUN), .alias = "max_source_length", .fallback = "1024", RANGE(2, 2147483647.0)},
    {ROW(max_length, KEY_INT, PHASE_RUN), .fallback = "2048", RANGE(3, 2147483647.0)},
    {ROW(tgt_length, KEY_INT, PHASE_RUN), .alias = "max_target_length", COUNT},
    {BOOL_ROW(zero_padding, PHASE_RUN), .alias = "intokens"},
    {BOOL_ROW(greedy_zero_padding, PHASE_PACK)},
    {ROW(chat_template, KEY_STRING, PHASE_RUN)},
};
const uint32_t key_table_count = BM_COUNT(key_table);
_Static_assert(BM_COUNT(key_table) <= BM_ARGUMENTS_MAX_KEYS, "bm_arguments.origin is too short");

// What the published files and the classes behind them name, and what does nothing here. The first group that knows a
// name has it.
const key_group key_groups[] = {
    {KEY_REFUSED, "bitmill does not train", "do_qat do_train"},
    {KEY_REFUSED, "bitmill bench measures kernels; remove the key", "benchmark autotuner_benchmark"},
    {KEY_REFUSED, "merge the adapter into the model first",
     "lora lora_path prefix_tuning prefix_path vera reft lokr lokr_path ir_qlora"},
    {KEY_REFUSED, "quantizing while loading is another feature; remove the key", "weight_quantize_algo"},
    {KEY_REFUSED, "bitmill reads and writes local folders only", "from_aistudio save_to_aistudio aistudio_*"},
    {KEY_REFUSED, "generation metrics are not built yet; evaluation gives loss, perplexity and accuracy",
     "eval_with_do_generation save_generation_output"},
    {KEY_REFUSED, "the positions of a model are as its config.json says", "use_long_sequence_strategies"},
    {KEY_ONE_DEVICE, "one device is used; results do not depend on it",
     "tensor_parallel_* pipeline_parallel_* sep_parallel_degree context_parallel_degree sequence_parallel "
     "data_parallel_* sharding* expert_parallel_degree hybrid_parallel_topo_order local_rank"},
    {KEY_NO_EFFECT, "speed only: no effect here",
     "use_flash_attention flash_mask use_fused_* use_fast_layer_norm use_sparse_mask recompute* no_recompute_layers "
     "skip_recompute_ops pp_recompute_interval virtual_pp_degree"},
    {KEY_NO_EFFECT, "the graph is taken from the weights", "fuse_attention_qkv fuse_attention_ffn"},
    {KEY_NO_EFFECT, "dropout is never active here", "hidden_dropout_prob attention_probs_dropout_prob"},
    {KEY_NO_EFFECT, "no effect: belongs to quantizing while loading", "weight_blocksize weight_double_quant* qlora_*"},
    {KEY_NO_EFFECT, "no effect: belongs to adapters",
     "lora_* rslora use_quick_lora pissa use_mora vera_rank lokr_* num_prefix_tokens"},
    {KEY_NO_EFFECT, "no effect: belongs to use_long_sequence_strategies",
     "rope_scaling_factor strategy_type strategy_name"},
    {KEY_NO_EFFECT, "no effect: noise belongs to training", "neftune*"},
    {KEY_NO_EFFECT, "no effect: padding never enters statistics", "pad_to_multiple_of pad_to_max_length"},
    {KEY_NO_EFFECT, "no effect: nothing is generated", "top_k top_p num_beams decode_strategy repetition_penalty"},
    {KEY_NO_EFFECT, "no effect: use --quiet", "disable_tqdm"},
    {KEY_NO_EFFECT, "no effect here",
     "do_quant_debug test_sample task_name lazy do_export dataloader_num_workers logging_steps logging_dir "
     "eval_accumulation_steps unified_checkpoint unified_checkpoint_config"},
    {KEY_NO_EFFECT, "C-Eval is not built: its keys have no effect here",
     "do_ceval ceval_data_path cot few_shot ntrain with_prompt constrained_decoding temperature n_times do_save_csv "
     "do_test"},
    {KEY_NO_EFFECT, "training keys have no effect here",
     "learning_rate min_learning_rate num_train_epochs max_steps gradient_accumulation_steps warmup_* "
     "lr_scheduler_type lr_end weight_decay adam_* optim max_grad_norm scale_loss amp_master_grad evaluation_strategy "
     "eval_steps save_strategy save_steps save_total_limit load_best_model_at_end metric_for_best_model "
     "greater_is_better decay_steps report_to run_name logging_strategy logging_first_step ignore_data_skip "
     "ignore_load_lr_and_optim ignore_save_lr_and_optim skip_memory_metrics label_names distributed_dataloader"},
};
const uint32_t key_groups_count = BM_COUNT(key_groups);

const key_row *key_find(const char *name)
{
    for (uint32_t i = 0; i < key_table_count; i++)
        if (strcmp(key_table[i].name, name) == 0 || (key_table[i].alias && strcmp(key_table[i].alias, name) == 0))
            return &key_table[i];
    return NULL;
}

// The end of the name that starts here, and the start of the next; "" behind the last.
static const char *next_name(const char *name, size_t *length)
{
    *length = strcspn(name, " ");
    return name + *length + strspn(name + *length, " ");
}

const key_group *key_find_group(const char *name)
{
    size_t length = 0;
    for (uint32_t i = 0; i < key_groups_count; i++)
        for (const char *at = key_groups[i].names, *next; *at; at = next) {
            next = next_name(at, &length);
            if (at[length - 1] == '*' ? strncmp(at, name, length - 1) == 0
                                      : strncmp(at, name, length) == 0 && name[length] == '\0')
                return &key_groups[i];
        }
    return NULL;
}

// Of two that are equally near, the one of the same length: two letters were exchanged.
static void keep_nearer(const char *candidate, const char *name, char *best, size_t capacity, uint32_t *best_distance)
{
    const uint32_t distance = bm_edit_distance(candidate, name);
    const bool is_tie = best[0] && distance == *best_distance && strlen(candidate) == strlen(name);
    if (distance < *best_distance || (is_tie && strlen(best) != strlen(name))) {
        snprintf(best, capacity, "%s", candidate);
        *best_distance = distance;
    }
}

// Near: at most a third of the letters differ, so that unrelated names are not offered.
bool key_nearest(const char *name, char *out, size_t capacity)
{
    // What checkpoints of others call a key: no letters of it lead here.
    static const char *const others[][2] = {{"desc_act", "act_order"}, {"sym", "symmetric"}};
    size_t length = 0;
    uint32_t distance = (uint32_t)(strlen(name) / 3) + 1;
    out[0] = '\0';
    for (size_t i = 0; i < BM_COUNT(others); i++)
        if (strcmp(others[i][0], name) == 0) {
            snprintf(out, capacity, "%s", others[i][1]);
            return true;
        }
    for (uint32_t i = 0; i < key_table_count; i++) {
        keep_nearer(key_table[i].name, name, out, capacity, &distance);
        if (key_table[i].alias)
            keep_nearer(key_table[i].alias, name, out, capacity, &distance);
    }
    for (uint32_t i = 0; i < key_groups_count; i++)
        for (const char *at = key_groups[i].names, *next; *at; at = next) {
            char one[KEY_SHOWN_SIZE];
            next = next_name(at, &length);
            snprintf(one, sizeof one, "%.*s", (int)length, at);
            if (!strchr(one, '*'))
                keep_nearer(one, name, out, capacity, &distance);
        }
    return out[0] != '\0';
}

const char *key_canonical(const char *text)
{
    static const char *const spellings[][2] = {
        {"w8a8", "a8w8"},         {"a8w8c16", "a8w8"},           {"w8a8c16", "a8w8"}, {"w8a8c8", "a8w8c8"},
        {"w8a8_fp8", "a8w8_fp8"}, {"weight_only_int8", "wint8"}, {"w8a16", "wint8"},  {"weight_only_int4", "wint4"},
        {"w4a16", "wint4"},       {"group_wise", "groupwise"}};
    for (size_t i = 0; i < BM_COUNT(spellings); i++)
        if (bm_equal_ignore_case(spellings[i][0], text))
            return spellings[i][1];
    return text;
}

const char *key_built(const bm_arguments_options *options, const char *key)
{
    for (const bm_key_words *one = options ? options->built : NULL; one && one->key; one++)
        if (strcmp(one->key, key) == 0)
            return one->words;
    return NULL;
}

const char *key_enum_name(const char *key, int value)
{
    return key_find(key)->names[value];
}

const char *bm_job_name(bm_job job)
{
    static const char *const names[] = {"evaluate", "rounding", "a8w8", "awq", "gptq", "load"};
    return names[job];
}
const char *bm_quant_type_name(bm_quant_type type)
{
    return key_enum_name("quant_type", (int)type);
}
const char *bm_weight_method_name(bm_weight_method method)
{
    return key_enum_name("weight_quant_method", (int)method);
}
const char *bm_scale_search_name(bm_scale_search search)
{
    return key_enum_name("scale_search", (int)search);
}
const char *bm_gguf_mixture_name(bm_gguf_mixture mixture)
{
    return key_enum_name("gguf_type", (int)mixture);
}

const char *bm_checkpoint_format_name(bm_checkpoint_format format)
{
    return key_enum_name("format", (int)format);
}
