// The parameter file: what a user asks for, checked and resolved before any work.
//
// One flat JSON object in the words of PaddleNLP's quantization files plus keys of ours. Each key is one row of the
// table in keys.c. The road of a value: defaults of the table -> the file -> overrides (`--set key=value`, which win)
// -> dependencies (check.c) and resolution (resolve.c). A bm_arguments that was handed out is consistent and changes no
// more. This room knows keys and rules, nothing that runs: what it asks for may be unbuilt, its folders and its device
// absent, its group size wrong for the model. schedule/ finds out (check.h, plan.h).
//
// Threads   read-only once read.
// Errors    BM_E_ARGUMENT for a wrong key or value: `FILE: "KEY": VALUE: reason` (or `--set: ...`); BM_E_FORMAT for malformed JSON.
#ifndef BM_ARGUMENTS_ARGUMENTS_H
#define BM_ARGUMENTS_ARGUMENTS_H

#include "base/base.h"
#include "base/file.h"
#include "formats/json.h"

// Enumerators stand in the order of their names in keys.c.

// What a run does.
typedef enum bm_job {
    BM_JOB_EVALUATE = 0, // no quantization: evaluates the model as it is (do_eval or do_predict)
    BM_JOB_ROUNDING,     // weights rounded to a grid; with smooth, shift or auto_clip before it
    BM_JOB_A8W8,         // weights and activations (and the KV cache with a8w8c8), INT8 or FP8
    BM_JOB_AWQ,          // activation-aware scaling, then rounding
    BM_JOB_GPTQ,         // second-order rounding; `scaling` is folded first
    BM_JOB_LOAD,         // load_quant_model: evaluates an earlier result in output_dir
} bm_job;

typedef enum bm_quant_type {
    BM_QUANT_A8W8 = 0, // INT8 weights, static INT8 activations
    BM_QUANT_A8W8C8,   // and an INT8 KV cache
    BM_QUANT_A8W8_FP8, // FP8 weights and activations
    BM_QUANT_WINT8,
    BM_QUANT_WINT4,
    BM_QUANT_A8W4, // known by name, always rejected
} bm_quant_type;

typedef enum bm_weight_method {
    BM_WEIGHT_CHANNEL_WISE = 0, // one scale an output channel
    BM_WEIGHT_GROUPWISE,        // one scale for group_size inputs of an output channel
    BM_WEIGHT_ABS_MAX,          // FP8 only: one scale a tensor
    BM_WEIGHT_AVG,              // FP8 only
} bm_weight_method;

typedef enum bm_act_method {
    BM_ACT_AVG = 0,
    BM_ACT_ABS_MAX,
    BM_ACT_PER_TOKEN,
    BM_ACT_MSE,
    BM_ACT_PERCENTILE,
} bm_act_method;

typedef enum bm_kv_method { BM_KV_AVG_HEADWISE = 0, BM_KV_ABS_MAX_HEADWISE, BM_KV_ABS_MAX } bm_kv_method;
typedef enum bm_sampler { BM_SAMPLER_NONE = 0, BM_SAMPLER_EMA, BM_SAMPLER_MULTI_STEP } bm_sampler;
typedef enum bm_scale_search {
    BM_SCALE_ABS_MAX = 0,
    BM_SCALE_MSE,
    BM_SCALE_WEIGHTED_MSE,
    BM_SCALE_GRAM,
} bm_scale_search;
typedef enum bm_checkpoint_format {
    BM_FORMAT_COMPRESSED_TENSORS = 0,
    BM_FORMAT_GPTQ,
    BM_FORMAT_AWQ,
    BM_FORMAT_GGUF,
    BM_FORMAT_PADDLE,
} bm_checkpoint_format;
typedef enum bm_act_order {
    BM_ORDER_NONE = 0,
    BM_ORDER_STATIC,
    BM_ORDER_DYNAMIC,
    BM_ORDER_GROUP_AWARE,
} bm_act_order;
typedef enum bm_scaling { BM_SCALING_NONE = 0, BM_SCALING_SMOOTH, BM_SCALING_AWQ } bm_scaling;
typedef enum bm_group_tail { BM_TAIL_REJECT = 0, BM_TAIL_SHORT } bm_group_tail;
typedef enum bm_opt_level { BM_OPT_O0 = 0, BM_OPT_O1, BM_OPT_O2 } bm_opt_level;
typedef enum bm_calibration_inputs { BM_INPUTS_QUANTIZED = 0, BM_INPUTS_FLOAT } bm_calibration_inputs;
typedef enum bm_method_choice { BM_CHOICE_AS_GIVEN = 0, BM_CHOICE_BEST } bm_method_choice;
typedef enum bm_shift_statistic { BM_SHIFT_AVERAGE = 0, BM_SHIFT_MIDRANGE, BM_SHIFT_MEAN } bm_shift_statistic;
typedef enum bm_fold_other { BM_FOLD_AUTO = 0, BM_FOLD_OPS, BM_FOLD_OFF } bm_fold_other;
typedef enum bm_smooth_weights { BM_SMOOTH_BY_RMS = 0, BM_SMOOTH_BY_ABS_MAX } bm_smooth_weights;
typedef enum bm_search_loss_kind { BM_LOSS_RESIDUAL = 0, BM_LOSS_MSE, BM_LOSS_NMSE } bm_search_loss_kind;
typedef enum bm_piece_order { BM_PIECES_RISING = 0, BM_PIECES_FALLING } bm_piece_order;
typedef enum bm_piece_candidates { BM_PIECES_ABSOLUTE = 0, BM_PIECES_RELATIVE, BM_PIECES_LOG } bm_piece_candidates;
typedef enum bm_awq_inspect { BM_INSPECT_LINEAR = 0, BM_INSPECT_BLOCK } bm_awq_inspect;
typedef enum bm_awq_candidates { BM_AWQ_EXTENDED = 0, BM_AWQ_PUBLISHED } bm_awq_candidates;
// What linears of a GGUF file become; with _M, of each some with more bits, as llama.cpp's mixtures of that name.
typedef enum bm_gguf_mixture {
    BM_MIXTURE_AUTO = 0, // Q4_0, Q4_1 or Q8_0 by bits and symmetric
    BM_MIXTURE_Q4_K,
    BM_MIXTURE_Q4_K_M,
    BM_MIXTURE_Q5_K,
    BM_MIXTURE_Q5_K_M,
    BM_MIXTURE_Q6_K,
} bm_gguf_mixture;
static inline uint32_t bm_gguf_mixture_bits(bm_gguf_mixture mixture) // of most linears
{
    return mixture == BM_MIXTURE_Q6_K ? 6 : mixture >= BM_MIXTURE_Q5_K ? 5 : 4;
}
typedef enum bm_gguf_embeddings { BM_EMBEDDINGS_FLOAT = 0, BM_EMBEDDINGS_Q8_0 } bm_gguf_embeddings;
typedef enum bm_compat { BM_COMPAT_NONE = 0, BM_COMPAT_PADDLESLIM } bm_compat;

// Something accepted that the user should know of: of the file, or later of the plan.
typedef struct bm_note {
    char *text;     // one line; owned
    bool is_choice; // a default that the program chose and states; never an error under `strict`
} bm_note;
typedef struct bm_notes {
    bm_note *items;
    uint32_t count;
    bool failed; // one was lost for want of memory
} bm_notes;
void bm_notes_add(bm_notes *notes, const char *format, ...) BM_PRINTF(2, 3);
void bm_notes_add_choice(bm_notes *notes, const char *format, ...) BM_PRINTF(2, 3);
void bm_notes_free(bm_notes *notes);

// More than the rows of the table; checked when the table is built.
#define BM_ARGUMENTS_MAX_KEYS 192

// Values as used: given ones, else defaults, then resolved. Integers are int64_t so that one converter fills them all;
// their ranges stand in the table. Strings are owned, NULL where unset.
typedef struct bm_arguments {
    // Which job (parameters 2.1); prefer `job` below.
    bool do_ptq, do_gptq, do_foem, do_awq, load_quant_model;
    bool do_eval, do_predict;
    bm_quant_type quant_type; // canonical and resolved

    // Weights, activations, KV cache (2.3)
    bm_weight_method weight_quant_method; // resolved: never groupwise with group_size -1
    bm_act_method act_quant_method;
    bm_kv_method cachekv_quant_method;
    int64_t group_size; // 32, 64, 128, 256; -1: one group a channel. Resolved: -1 unless groupwise
    bm_group_tail group_tail;
    bm_name_list fp8_type; // as given; prefer fp8_activation, fp8_weight
    char *use_fp8;
    bm_name_list skip_list_names; // substrings of linear names that stay float
    int64_t bits;                 // as given, 0: unset; prefer weight_bits
    bool symmetric;
    bm_scale_search scale_search; // resolved
    bool signed_scales;           // as given or default; the plan knows where it counts
    bool bias_correction;
    bm_method_choice method_choice;

    // Steps (2.4), in batches; -1: the whole data set
    int64_t ptq_step, shift_step, smooth_step, gptq_step, awq_step, autoclip_step;

    // Shift (2.5)
    bool shift, shift_all_linears;
    bm_sampler shift_sampler;
    bm_shift_statistic shift_statistic;

    // Smooth and its searches (2.6); smooth is resolved: true also when AWQ implies it
    bool smooth, smooth_all_linears, smooth_piecewise_search, smooth_search_piece, smooth_pow2;
    bm_sampler smooth_sampler;
    bm_smooth_weights smooth_weight_statistic;
    double smooth_alpha;
    int64_t smooth_k_piece;
    double search_alpha_min, search_alpha_max, search_alpha_step;
    double search_scale_min, search_scale_max, search_scale_step; // 0: no constant factors (null in the file)
    int64_t search_tokens, search_rounds;
    bm_search_loss_kind search_loss;
    bool search_crosswise;
    double search_margin;
    bool search_prune;
    bm_piece_order smooth_piece_order;
    bm_piece_candidates piecewise_candidates;
    bm_fold_other fold_other_linears;

    // GPTQ (2.7, 2.10)
    double damp_percent; // (0, 1]; 0: "auto"
    int64_t block_size;  // no effect
    bm_act_order act_order;
    bool true_sequential;
    bm_calibration_inputs calibration_inputs;
    int64_t calibration_tokens; // 0: steps alone bound it
    bool scale_refit;
    int64_t code_sweeps;
    double qep_alpha; // resolved: 0 where there is nothing to make good
    bm_scaling scaling;

    // AWQ and clipping (2.8)
    bool auto_clip;
    int64_t awq_n_grid, clip_n_grid;
    double clip_max_shrink;
    bm_awq_inspect awq_inspect;
    bm_awq_candidates awq_candidates;
    bm_name_list clip_skip;

    // Run (2.9, 2.10, 4.3)
    bm_compat compat;
    int64_t seed;
    char *device; // "auto", "host", "vulkan[:WHICH]", "opencl[:WHICH]", "gpu:N"; of the command line: as given
    bm_checkpoint_format format;
    bm_gguf_mixture gguf_type;
    bm_gguf_embeddings gguf_embeddings;
    bm_dtype compute_dtype; // BM_DTYPE_NONE: auto
    bm_dtype scale_dtype;   // BM_DTYPE_NONE: by format
    bool skip_bad_sequences, strict, keep_order, allow_unknown;
    int64_t per_device_train_batch_size; // sequences a calibration step
    int64_t per_device_eval_batch_size;
    char *output_dir; // NULL only where nothing is written
    bool overwrite_output_dir;
    bool dataloader_drop_last;
    char *resume_from_checkpoint; // NULL: unset

    // Model (4.1)
    char *model_name_or_path;
    char *tokenizer_name_or_path; // resolved: the model's folder when unset
    bool fp16, bf16;              // as given; prefer storage_dtype
    bm_opt_level fp16_opt_level;
    bm_dtype dtype;
    bool continue_training;

    // Data (4.2)
    char *dataset_name_or_path; // a folder or one file; NULL: none
    int64_t src_length;         // most tokens of a prompt
    int64_t max_length;         // most tokens of prompt and answer, and of a pack
    int64_t tgt_length;         // as given, 0: unset; folded into max_length
    bool zero_padding, greedy_zero_padding;
    char *chat_template; // NULL: unset

    // Resolved
    bm_job job;
    uint32_t weight_bits;                // 2, 3, 4, 8, by gguf_type 5, 6; 0 for jobs that do not quantize
    bm_dtype storage_dtype;              // of float tensors; BM_DTYPE_NONE: each keeps its own
    bm_dtype fp8_activation, fp8_weight; // BM_DTYPE_NONE unless quant_type is FP8
    bool needs_calibration;              // some phase reads calibration data
    bool clips_by_thresholds;            // auto_clip: its own grid, not the finer one of scale_search gram
    bool may_choose_group_size;          // short form: the plan takes the one that fits the model

    char *source_name;                     // what errors start with: the file's path, or the command line's words
    bm_notes notes;                        // on what was read
    uint8_t origin[BM_ARGUMENTS_MAX_KEYS]; // by row of the table: where the value came from (keys.h)
} bm_arguments;

static inline bool bm_job_quantizes(bm_job job)
{
    return job != BM_JOB_EVALUATE && job != BM_JOB_LOAD;
}
// The model that the job reads.
static inline const char *bm_arguments_model(const bm_arguments *arguments)
{
    return arguments->job == BM_JOB_LOAD ? arguments->output_dir : arguments->model_name_or_path;
}
// Whether scales are AWQ's, in front of rounding or of GPTQ. smooth is true then.
static inline bool bm_job_scales_by_awq(const bm_arguments *arguments)
{
    return arguments->job == BM_JOB_AWQ || (arguments->job == BM_JOB_GPTQ && arguments->scaling == BM_SCALING_AWQ);
}
static inline bool bm_quant_type_is_weight_only(bm_quant_type type)
{
    return type == BM_QUANT_WINT8 || type == BM_QUANT_WINT4;
}

// Words on a key.
typedef struct bm_key_words {
    const char *key, *words;
} bm_key_words;

// What goes with a file. All may be NULL or 0.
typedef struct bm_arguments_options {
    const char *const *overrides; // "key=value" texts of the command line, the later one winning
    uint32_t num_overrides;
    const char *device;        // of the command line: taken at its word, instead of the key's
    const char *output;        // of the command line: instead of the key output_dir
    const bm_key_words *built; // of keys, the values that the program can do, for errors; ended by a NULL key
} bm_arguments_options;

// Reads and checks a parameter file. options may be NULL.
// Owns      *out is the caller's: bm_arguments_destroy.
bm_status bm_arguments_read_file(bm_arguments **out, const char *path, const bm_arguments_options *options,
                                 bm_error *err);
// The same from memory; name is what errors start with.
bm_status bm_arguments_read_text(bm_arguments **out, const char *text, size_t length, const char *name,
                                 const bm_arguments_options *options, bm_error *err);

// The short form: `bitmill quantize MODEL --method NAME [--bits N] [--data FILE] [--output DIR]`. The words become keys
// (groupwise for weight-only methods, with the group size left to the plan; 16 steps, which are 128 sequences).
typedef struct bm_arguments_short_form {
    const char *model;  // required
    const char *method; // "rtn", "gptq", "awq" or "a8w8", in any case; NULL: rtn
    int64_t bits;       // 0: 4, or 8 for a8w8
    const char *data;   // NULL: none
    const char *output; // NULL only if an override names output_dir
} bm_arguments_short_form;
bm_status bm_arguments_from_short_form(bm_arguments **out, const bm_arguments_short_form *form,
                                       const bm_arguments_options *options, bm_error *err);

void bm_arguments_destroy(bm_arguments **args);

// True when some phase of the job reads data: calibration or evaluation.
bool bm_arguments_reads_data(const bm_arguments *args);

// True where the file or the command line gave a value for the key, which must be one of the table.
bool bm_arguments_is_given(const bm_arguments *args, const char *key);

// Where the value of a key comes from, for words: the file (or what the short form is called), "--set", or an option's name.
const char *bm_arguments_source_of(const bm_arguments *args, const char *key);

// Fails with BM_E_ARGUMENT: `FILE: WORDS`; with "--set" in the place of FILE where the keys that WORDS have in quotes come from
// the command line alone, and `FILE with --set KEY: WORDS` where some of them do.
bm_status bm_arguments_reject(const bm_arguments *args, bm_error *err, const char *format, ...) BM_PRINTF(3, 4);

// BM_E_ARGUMENT under `strict` for the first note that is no choice; BM_E_MEMORY where one was lost.
bm_status bm_arguments_check_notes(const bm_arguments *args, const bm_notes *notes, bm_error *err);

// Writes the members "arguments" (every key of the table with its value) and "given" (keys that the user set) into the
// open object of bitmill.json.
void bm_arguments_write_json(const bm_arguments *args, bm_json_writer *writer);

// Compares keys that are given and tell what a result is with the bitmill.json of an earlier one; path is that file's, for
// words. What the file does not have is not compared. Errors: BM_E_ARGUMENT for one that disagrees; BM_E_MEMORY.
bm_status bm_arguments_check_earlier(const bm_arguments *args, const bm_json *record, const char *path, bm_error *err);

// Names as they stand in files and reports; never NULL.
const char *bm_job_name(bm_job job);
const char *bm_quant_type_name(bm_quant_type type);
const char *bm_weight_method_name(bm_weight_method method);
const char *bm_scale_search_name(bm_scale_search search);
const char *bm_checkpoint_format_name(bm_checkpoint_format format);
const char *bm_gguf_mixture_name(bm_gguf_mixture mixture); // "q4_k_m"

#endif
