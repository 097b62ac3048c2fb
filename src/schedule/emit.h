// Writing the quantized checkpoint: which tensors it has, and how each comes about.
#ifndef BM_SCHEDULE_EMIT_H
#define BM_SCHEDULE_EMIT_H

#include "base/progress.h"
#include "base/worker.h"
#include "formats/checkpoint_writer.h"
#include "model/block.h"
#include "schedule/plan.h"
#include "schedule/verify.h"
#include "store/scale_files.h"

#define BM_EMIT_THREADS 8 // that write: checksums and packing cost more than one gives beside a fast device

typedef struct bm_emit_context {
    const bm_model *model;
    bm_device *device;
    const bm_plan *plan;
    const bm_arguments *arguments;
    bm_checkpoint_writer *writer; // of the writing threads, from the first piece to bm_worker_finish
    bm_worker *writing;           // NULL: a trial, what would be written is dropped
    uint64_t
        writing_bytes; // host memory that what waits to be written may take: pieces are cut to a thread's share. 0: any
    bm_scale_files *scale_files;   // told of every linear that is solved; NULL: there are none
    bm_verification *verification; // told, on the writing threads, of every piece that is written; NULL: nobody looks
    bool skips_verification;       // of claims: nothing will be read back
    bm_phase *phase; // told between rows of a linear, pieces of float tensors (their bytes are done) and files
} bm_emit_context;

// The output's writer, by the plan's format, with every tensor declared.
bm_status bm_emit_writer_create(const bm_model *model, const bm_plan *plan, const char *folder,
                                bm_checkpoint_writer **out, bm_error *err);
// What it will declare, added up into the plan's output_bytes; no file is made.
bm_status bm_emit_count_bytes(const bm_model *model, bm_plan *plan, bm_error *err);
// Declares every tensor of safetensors files, in the order in which it is best written: those that stay float as they are, then
// those of quantized linears by the format's names. What the model does not read is left out.
bm_status bm_emit_declare(const bm_model *model, const bm_plan *plan, bm_checkpoint_writer *writer, bm_error *err);
// Hands what is to be written to the writing threads: rows of a linear as its format takes them, bytes of a tensor from
// first on. Memory that rows and bytes own changes hands, also where this fails. Errors: of an earlier piece too.
bm_status bm_emit_put_rows(const bm_emit_context *emit, const bm_store_linear *linear, uint64_t first,
                           bm_store_rows *rows, bm_error *err);
bm_status bm_emit_put_bytes(const bm_emit_context *emit, const char *name, uint64_t first, uint8_t **bytes,
                            uint64_t size, bm_error *err);
// How many of so many rows go to a writing thread at a time: its share of the memory for that, BM_STORE_ROWS at least.
uint64_t bm_emit_rows_of_share(const bm_emit_context *emit, const bm_store_linear *linear, uint64_t count);
// Host memory for what waits to be written, and for the piece that is to follow it.
uint64_t bm_emit_waiting_bytes(const bm_plan *plan, uint64_t writing_bytes);
// A linear as checkpoint formats are told of it; module is the memory of its name.
bm_store_linear bm_emit_store_linear(const bm_plan *plan, const bm_plan_linear *p, char module[BM_TENSOR_NAME_SIZE]);
// A linear that is solved, alone or with others that read the same inputs.
typedef struct bm_emit_member {
    const bm_plan_linear *linear;
    bm_linear_rows rows;  // get the values of the codes; no parts: not wanted
    float *steps;         // [out_features, groups]: of its codes; written. NULL: not wanted
    bm_row_errors errors; // of all its rows; written
    uint64_t max_rows;    // of a trial: the first of them alone; 0: all
} bm_emit_member;

// Room for the steps of a member's codes, where the run has scale files.
// Owned: member->steps, bm_free. Errors: BM_E_MEMORY.
bm_status bm_emit_member_keep_steps(const bm_emit_context *emit, bm_emit_member *member, bm_error *err);
// Behind bm_emit_linears: tells the scale files of the member, where the run has them.
bm_status bm_emit_tell_scales(const bm_emit_context *emit, const bm_emit_member *member, const bm_input_grid *input,
                              bm_error *err);

// How linears are solved.
typedef struct bm_emit_solving {
    bm_multiplier *multiplier;
    void *state;             // of the method; NULL: it watches nothing
    uint32_t *group_index;   // [in_features] of the group's codes; NULL: neighbours
    const bm_block *masters; // where rows are read, before their place gets other ones; NULL: from the checkpoint
    bm_input_grid input;     // how the inputs of these linears are quantized
} bm_emit_solving;

// How the plan's method solves a linear on its grid.
bm_method_params bm_emit_method_params(const bm_plan *plan, const bm_plan_linear *linear);
// Reads the linears' rows as float32, solves them by the plan's method and writes codes, scales and zero points. Members
// share in_features; rows of neighbours on one grid lie one below the other, so that a small linear goes along with a large
// one.
bm_status bm_emit_linears(const bm_emit_context *emit, bm_emit_member *members, uint32_t num_members,
                          const bm_emit_solving *solving, bm_error *err);
// Of a plan that equalizes: the tensors of a block that stay float, from its masters (bm_emit_float_tensors leaves them
// out): norms, biases, linears that are not quantized, and what folds add. Errors: BM_E_NUMERIC for a number that its type
// does not hold.
bm_status bm_emit_block(const bm_emit_context *emit, const bm_block *masters, bm_error *err);
// The number of such tensors, or each of them in turn.
typedef struct bm_emit_tensor {
    char name[BM_TENSOR_NAME_SIZE];
    bm_dtype dtype;
    uint64_t shape[2];
    uint32_t num_dims;
} bm_emit_tensor;
#define BM_EMIT_MAX_BLOCK_TENSORS (2 * BM_NUM_NORMS + 2 * BM_NUM_LINEARS + BM_FOLD_MAX_ADDED)
uint32_t bm_emit_block_tensors(const bm_model *model, const bm_plan *plan, uint32_t block,
                               bm_emit_tensor out[BM_EMIT_MAX_BLOCK_TENSORS]);
// The type of one of them; of one that is not there, that of what folds add.
bm_dtype bm_emit_dtype_of(const bm_emit_tensor *tensors, uint32_t count, const char *module, const char *suffix);
// Whether a tensor of the checkpoint is one of a block's.
bool bm_emit_is_of_block(const bm_model *model, const char *name);
// The type in which a float tensor of the checkpoint is written.
bm_dtype bm_emit_stored_dtype(const bm_plan *plan, const bm_tensor_info *info);
// Whether it is written in blocks of codes instead: embedding and head, where the plan says so.
bool bm_emit_is_packed(const bm_model *model, const bm_plan *plan, const char *name);
// Device memory that this needs at most, for linears of methods that watch.
uint64_t bm_emit_solving_bytes(const bm_device *device);
uint64_t bm_emit_solving_row_bytes(uint32_t in_features); // of it, a row
// Rows at once: many for methods that watch, whose products want them, else what one read takes.
uint64_t bm_emit_rows_at_once(const bm_device *device, bool watches, uint32_t in_features);
// Copies the tensors that stay float, converted to the plan's storage type if there is one. Errors: BM_E_FORMAT for NaN
// and infinity, BM_E_NUMERIC for a number that the storage type does not hold.
bm_status bm_emit_float_tensors(const bm_emit_context *emit, bm_error *err);
// For a trial: the largest tensor that it copies (NULL: there is none), and a part of it, whole rows from first on, about so many
// elements. *bytes: what became of them in the output. first moves on, back to 0 at the end.
const bm_tensor_info *bm_emit_largest_float(const bm_model *model, const bm_plan *plan);
bm_status bm_emit_float_part(const bm_emit_context *emit, const bm_tensor_info *info, uint64_t *first,
                             uint64_t elements, uint64_t *bytes, bm_error *err);
// The bytes that bm_emit_float_tensors writes.
uint64_t bm_emit_float_bytes(const bm_model *model, const bm_plan *plan);
// config.json: the model's own keys and quantization_config; and the format's own file, where it has one. Not where the
// format says by itself what it holds.
bm_status bm_emit_config(const bm_model *model, const bm_plan *plan, const char *folder, bm_error *err);

#endif
