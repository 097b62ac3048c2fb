// The plan of a run: what will be done to each linear, decided before any work, and said in words.
#ifndef BM_SCHEDULE_PLAN_H
#define BM_SCHEDULE_PLAN_H

#include "formats/gguf_writer.h"
#include "model/fold.h"
#include "model/model.h"
#include "quant/method.h"
#include "arguments/arguments.h"
#include "schedule/calibration_data.h"

typedef struct bm_plan_linear {
    uint32_t block;
    bm_linear_id linear;
    uint32_t out_features, in_features;
    bool quantized;   // false: an entry of skip_list_names matches its name
    bool keeps_range; // its name has an entry of clip_skip: steps are those of the abs-max, so its grid has no search
    bool per_channel; // one scale an output channel: the grid's group is all of in_features
    bm_grid_params grid; // where its codes lie
} bm_plan_linear;

// The tokenizer that goes along with the output.
typedef enum bm_plan_tokenizer {
    BM_PLAN_TOKENIZER_READ,
    BM_PLAN_TOKENIZER_NOT_BUILT, // of a kind that bitmill does not read; others may
    BM_PLAN_TOKENIZER_ABSENT,
} bm_plan_tokenizer;

typedef struct bm_plan {
    const bm_family *family;
    const bm_method *method;       // NULL: nothing is quantized or written, the model is evaluated as it is
    bm_method_params params;       // of the method, the same for all linears but for the grid: bm_plan_method_params
    const bm_store_format *format; // of the output; NULL where nothing is written
    uint32_t version;              // of the format, as in bm_store_linear
    bool has_no_vocabulary;        // of a GGUF file: what llama.cpp reads of it takes token ids alone
    bm_dtype storage_dtype;        // of float tensors in the output; BM_DTYPE_NONE: each keeps its own
    bm_plan_linear *linears;       // those of the checkpoint, block by block, in the order of computation
    uint32_t linears_per_block;
    uint32_t num_linears, num_quantized;
    bool has_head;                       // of a conversion: lm_head has codes, and linears[num_linears] is it
    bm_fold_wanted folds[BM_NUM_STAGES]; // of stages that have quantized linears: bm_plan_block_folds
    bm_input_kind input;                 // what becomes of the inputs of quantized linears
    bool awq;                            // do_awq without GPTQ
    bool equalizes;        // inputs are looked at before linears are solved: for shifts, scales or their own steps
    bool needs_bitmill;    // the output has tensors that other runtimes would overlook
    uint64_t output_bytes; // of all tensors
    bm_plan_tokenizer tokenizer;
    bool makes_tokenizer;                      // its files, from a GGUF file: tokenizer_files.h
    bool is_runnable;                          // by bitmill: bm_block_check_runnable
    bm_gguf_metadata gguf;                     // in front of the tensors of a GGUF file
    char *gguf_file;                           // its name; NULL: the format is another
    const struct bm_gguf_mixture_row *mixture; // of its linears; NULL: they have one type, that of the first
    bool packs_embeddings;                     // embedding and head lie in it as Q8_0
    uint32_t companions;                       // files that go along, a bit each (companions.c)
    uint64_t companion_bytes;                  // of all of them, and of what a GGUF file has beside tensors
    uint32_t src_length, max_length; // tokens of a prompt, and of a sequence: as asked, or what the model addresses
    uint32_t batch_tokens;           // of a batch of those data, at most; 0: as many as the device takes well
    bm_calibration_data calibration; // of bm_plan_load_data; empty where the method watches nothing
    bm_notes notes;                  // on what was decided
} bm_plan;

// Notes on what of the model the output will not have, and on what bitmill will not run: it is `done` ("quantized") all the same.
void bm_plan_note_limits(bm_plan *plan, const bm_model *model, const char *done);

// Decides, once. Errors: BM_E_ARGUMENT naming the layer whose inputs group_size does not divide, or under `strict` the
// first note that is no choice; BM_E_UNSUPPORTED for a model that is quantized already; those of bm_tokenizer_open for a
// tokenizer.json that is broken, and of bm_companions_choose.
bm_status bm_plan_create(const bm_arguments *arguments, const bm_model *model, bm_plan **out, bm_error *err);
void bm_plan_destroy(bm_plan **plan);
// Sets tokenizer and makes_tokenizer by what lies in folder, which may be a GGUF file, with a note where the output has none that
// bitmill reads: unless the run needs it, the weights are worth having all the same. Errors: those of bm_tokenizer_open.
bm_status bm_plan_look_at_tokenizer(bm_plan *plan, const char *folder, bool is_needed, bm_error *err);
// Reads the calibration data where the plan's method watches inputs: the other half of planning, which may take seconds.
// Errors: those of bm_calibration_data_load; under `strict` its notes, and fewer than two tokens a channel for GPTQ.
bm_status bm_plan_load_data(bm_plan *plan, const bm_arguments *arguments, const bm_model *model, const bm_log *log,
                            bm_error *err);
// The first linear that is quantized: there is one where the plan has a method. Whether it has one scale a channel, and the type of
// its scales, hold for all of the plan; its grid need not.
const bm_plan_linear *bm_plan_first(const bm_plan *plan);
// Whether linear i is quantized, and none before it is on its grid; with one scale a channel it may be wider.
bool bm_plan_begins_grid(const bm_plan *plan, uint32_t i);
// The number of blocks that quantize some members of a stage and not all, and the first of them in *first.
uint32_t bm_plan_count_split_blocks(const bm_plan *plan, bm_stage stage, uint32_t *first);
// Whether a linear that is q, k and v in one is quantized, which vLLM does not load.
bool bm_plan_quantizes_fusion(const bm_plan *plan);
// Inputs that share a scale; -1: one scale an output channel.
static inline int32_t bm_plan_group_size(const bm_plan_linear *linear)
{
    return linear->per_channel ? -1 : (int32_t)linear->grid.group_size;
}
// How the plan's method treats a linear: one that is quantized.
// Whether a Hessian may lie in a file while its factor is where it was (bm_method_params.folder): what needs both at once is GPTQ
// with errors of blocks before, sweeps, refits, groups in the order of columns, or scales tried by the Hessian.
bool bm_plan_may_spill(const bm_plan *plan);
// Whether it may with other values of GPTQ's keys: not behind AWQ, nor of nested steps, nor of inputs that are no multiple of 8.
bool bm_plan_could_spill(const bm_plan *plan);
static inline bm_method_params bm_plan_method_params(const bm_plan *plan, const bm_plan_linear *linear)
{
    bm_method_params params = plan->params;
    params.grid = linear->grid;
    return params;
}
// Whether the method watches the inputs of the linears that it solves.
bool bm_plan_method_watches(const bm_plan *plan);
// Whether linears are rounded behind AWQ's scales by the inputs of the float model, which one pass looks at for both.
bool bm_plan_solves_by_float(const bm_plan *plan);
// Segments of the steps by whose inputs linears are solved: gptq_step of GPTQ, autoclip_step where weights are clipped, else
// ptq_step. More may be loaded for what is found before.
uint32_t bm_plan_solving_segments(const bm_plan *plan, const bm_arguments *arguments);
// The key that bounds the tokens of those segments; NULL: they are all that the data have.
const char *bm_plan_key_of_tokens(const bm_plan *plan, const bm_arguments *arguments);
// Whether the run watches calibration data: for the method, or to equalize.
bool bm_plan_watches(const bm_plan *plan);
// What is folded into one block: nothing into a stage none of whose linears is quantized there. Returns whether there is
// anything.
bool bm_plan_block_folds(const bm_plan *plan, uint32_t block, bm_fold_wanted out[BM_NUM_STAGES]);
// Linears of blocks, and the head where it is one.
static inline uint32_t bm_plan_num_modules(const bm_plan *plan)
{
    return plan->num_linears + plan->has_head;
}
// The module of a linear of the plan, in out.
const char *bm_plan_linear_name(const bm_plan *plan, const bm_plan_linear *linear, char out[BM_TENSOR_NAME_SIZE]);
// Whether it reads data at all, for calibration or evaluation.
static inline bool bm_plan_reads_data(const bm_plan *plan, const bm_arguments *arguments)
{
    return arguments->do_eval || arguments->do_predict || bm_plan_watches(plan);
}
// What is said of the whole output, but for the linears that stay float.
bm_store_description bm_plan_description(const bm_plan *plan);
// The first lines of a run, one idea a line: method, bits, groups, format, size, which runtimes load it.
void bm_plan_describe(const bm_plan *plan, const bm_arguments *arguments, const bm_model *model, bm_string *out);
// Of those the lines on the output alone.
void bm_plan_describe_output(const bm_plan *plan, const char *output_dir, const bm_model *model, bm_string *out);
// One log line a line of them.
void bm_plan_say_lines(const bm_log *log, bm_string *words);
// Writes what the arguments came to as member "resolved", and the notes of both as "notes", into the open object of
// bitmill.json.
void bm_plan_write_json(const bm_plan *plan, const bm_arguments *arguments, bm_json_writer *writer);

#endif
