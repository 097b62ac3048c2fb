// One block of a model on a device, and its computation in stages.
//
// A stage is run in two steps, so that a quantization method can watch or replace its linears in between:
//   bm_block_stage_input   computes what the linears of the stage read (norm, attention output, gated product)
//   bm_block_stage_output  runs the linears and adds or keeps what the next stage needs
// bm_block_forward does all stages in order.
#ifndef BM_MODEL_BLOCK_H
#define BM_MODEL_BLOCK_H

#include "formats/read_ahead.h"
#include "model/batch.h"
#include "model/model.h"
#include "model/norms.h"
#include "ops/rope.h"

// What is done to the inputs of o or down before the linear, where a fold could not be hidden in the tensors before it
// (fold.h): they become (input + shift) factor.
typedef struct bm_input_change {
    bm_tensor shift, factor; // [1, in_features]; either may be empty
} bm_input_change;

typedef struct bm_block {
    const bm_model *model;
    uint32_t index;
    bool windowed;                                 // this layer's attention has the sliding window
    bm_norm norms[BM_NUM_NORMS];                   // empty where the family has none
    bm_weights *linears[BM_NUM_LINEARS];           // those that it computes with: q, k and v, never their fusion
    bm_int8_weights *int8_linears[BM_NUM_LINEARS]; // instead of them, in stages of integers
    bm_code_weights *code_linears[BM_NUM_LINEARS]; // instead of them, where codes stay codes (bm_block_load_codes)
    bool in_integers[BM_NUM_STAGES];               // bm_model_stage_in_integers, chosen when the block is loaded
    bool takes_floats[BM_NUM_LINEARS];      // of stages whose inputs are quantized: linears that read them before
    bm_tensor biases[BM_NUM_LINEARS];       // [1, out_features]; empty where there is none
    bm_input_change changes[BM_NUM_STAGES]; // of BM_STAGE_O and BM_STAGE_DOWN
    bm_input_grid inputs[BM_NUM_STAGES];    // what becomes of the inputs of each stage's linears
} bm_block;

// Where the rows of a linear of the checkpoint lie in a block.
bm_linear_rows bm_block_linear_rows(const bm_block *block, bm_linear_id linear);

// Loads block index; weights are stored as dtype, those of stages of integers as codes. Errors name the tensor.
bm_status bm_block_load(const bm_model *model, bm_device *device, uint32_t index, bm_dtype dtype, bm_block *out,
                        bm_error *err);
// The same with weights of that choice (gemm.h) instead of the device's own, in floats in every stage. NULL: bm_block_load.
bm_status bm_block_load_with(const bm_model *model, bm_device *device, uint32_t index, bm_dtype dtype,
                             const bm_gemm_choice *choice, bm_block *out, bm_error *err);
// The same as bm_block_load, but linears that the checkpoint has as codes keep those, where ops/gemm_codes.h takes them and they pay: less memory,
// and faster for few tokens; for many, codes become weights each time.
bm_status bm_block_load_codes(const bm_model *model, bm_device *device, uint32_t index, bm_dtype dtype, bm_block *out,
                              bm_error *err);
void bm_block_destroy(bm_block *block);
// The tensors of block index are to be read ahead (read_ahead.h); of a model that has no such block, and with a NULL reader,
// nothing. bm_read_ahead_drop when the block is not needed any more.
void bm_block_read_ahead(bm_read_ahead *reader, const bm_model *model, uint32_t index);
// Device memory of the weights of block index, as bm_block_load stores them.
uint64_t bm_block_bytes(const bm_model *model, bm_device *device, uint32_t index, bm_dtype dtype);
// The same of bm_block_load_codes, at most: linears whose columns name their groups count as weights.
uint64_t bm_block_code_bytes(const bm_model *model, bm_device *device, uint32_t index, bm_dtype dtype);

// Whether blocks of this model can be run, which quantizing alone does not need: asked before weights are loaded.
// Errors: BM_E_UNSUPPORTED with file and key.
bm_status bm_block_check_runnable(const bm_model *model, bm_error *err);

// Memory for the activations of one batch, reused by every block. The residual stream is kept in float32, the rest in
// dtype.
typedef struct bm_workspace {
    uint32_t max_tokens;
    bm_tensor normed;            // [max_tokens, hidden]: input of q,k,v and of gate,up
    bm_tensor query, key, value; // [max_tokens, heads * head_dim]
    bm_tensor attended;          // [max_tokens, heads * head_dim]: input of o
    bm_tensor gate, up;   // [max_tokens, intermediate]; gate is overwritten by the input of down; up may be empty
    bm_int8_rows codes;   // [max_tokens, widest input] of a stage of integers; empty where inputs are not quantized
    bm_rope_tables *rope; // NULL where the family has ALiBi
    bm_rope_tables *local_rope; // of layers with the window; NULL: as of the others
    bm_buffer *slopes;          // [heads] float32, of ALiBi; else NULL
    bm_weights
        *dense[BM_NUM_LINEARS]; // one of each shape: what codes become for many tokens. Made when they are needed
} bm_workspace;

// For batches of up to max_tokens tokens at positions below max_positions. Errors: BM_E_MEMORY; BM_E_DEVICE no device
// memory; BM_E_ARGUMENT a rotary embedding that rope.h refuses. Destroy with bm_workspace_destroy.
bm_status bm_workspace_create(const bm_model *model, bm_device *device, uint32_t max_tokens, uint32_t max_positions,
                              bm_dtype dtype, bm_workspace *out, bm_error *err);
void bm_workspace_destroy(bm_workspace *workspace);
// Device memory of a workspace, without the tables of positions, by token.
uint64_t bm_workspace_bytes_per_token(const bm_model *model, bm_dtype dtype);

// Keys and values of all earlier tokens of one block, for generation: [max_positions, kv_heads * head_dim] each.
typedef struct bm_key_value_cache {
    bm_tensor key, value;
    uint32_t num_cached; // rows that hold keys already; a forward writes its own behind them
} bm_key_value_cache;

// hidden [num_tokens, hidden_size] float32 is the residual stream: read and updated in place.
// cache may be NULL: keys and values are those of the batch itself. Errors, of the two below as well: those of the
// operations (gemm.h, attention.h, rope.h). Values that overflow are not looked for.
bm_status bm_block_forward(bm_device *device, const bm_block *block, const bm_batch *batch, bm_workspace *workspace,
                           bm_key_value_cache *cache, const bm_tensor *hidden, bm_error *err);
// The two steps of a stage. *input is the matrix that the stage's linears read, in the workspace. Where the checkpoint says
// that inputs are quantized: in a stage of floats the values of their codes; in one of integers what the second step makes
// codes of, once for all linears.
bm_status bm_block_stage_input(bm_device *device, const bm_block *block, bm_stage stage, const bm_batch *batch,
                               bm_workspace *workspace, const bm_tensor *hidden, bm_tensor *input, bm_error *err);
bm_status bm_block_stage_output(bm_device *device, const bm_block *block, bm_stage stage, const bm_batch *batch,
                                bm_workspace *workspace, bm_key_value_cache *cache, const bm_tensor *input,
                                const bm_tensor *hidden, bm_error *err);

#endif
