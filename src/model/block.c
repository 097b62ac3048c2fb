// Running a block stage by stage.
// Source of the order of operations: Touvron et al., LLaMA, 2023, section 2.2; grouped queries: Ainslie et al., 2023.
#include "model/block.h"

#include "model/inputs.h"
#include "ops/alibi.h"
#include "ops/attention.h"
#include "ops/elementwise.h"

#include <assert.h>
#include <math.h>

bm_status bm_block_check_runnable(const bm_model *model, bm_error *err)
{
    const bm_hf_config *c = &model->config;
    if (c->not_built[0])
        return bm_fail(err, BM_E_UNSUPPORTED, "%s: %s", model->config_path, c->not_built);
    if (c->head_dim % 8 != 0 || c->head_dim > BM_ATTENTION_MAX_HEAD_DIM)
        return bm_fail(err, BM_E_UNSUPPORTED,
                       "%s: key \"head_dim\": found %u, expected a multiple of 8 up to %u to run the model",
                       model->config_path, c->head_dim, BM_ATTENTION_MAX_HEAD_DIM);
    return BM_OK;
}

// Of all linears.
static uint32_t widest_input(const bm_hf_config *c)
{
    const uint32_t query = c->num_attention_heads * c->head_dim;
    const uint32_t narrow = query > c->hidden_size ? query : c->hidden_size;
    return c->intermediate_size > narrow ? c->intermediate_size : narrow;
}

uint64_t bm_workspace_bytes_per_token(const bm_model *model, bm_dtype dtype)
{
    const bm_hf_config *c = &model->config;
    const uint64_t query = (uint64_t)c->num_attention_heads * c->head_dim;
    const uint64_t key_value = (uint64_t)c->num_key_value_heads * c->head_dim;
    const uint64_t wide = bm_family_has_up(model->family) ? 2 : 1;
    const uint64_t codes = model->quantizes_inputs ? widest_input(c) + 4 * sizeof(float) : 0;
    return codes +
           ((uint64_t)c->hidden_size + 2 * query + 2 * key_value + wide * c->intermediate_size) * bm_dtype_size(dtype);
}

bm_status bm_workspace_create(const bm_model *model, bm_device *device, uint32_t max_tokens, uint32_t max_positions,
                              bm_dtype dtype, bm_workspace *out, bm_error *err)
{
    const bm_hf_config *c = &model->config;
    const uint32_t query = c->num_attention_heads * c->head_dim, key_value = c->num_key_value_heads * c->head_dim;
    bm_status status = BM_OK;
    bm_workspace w = {.max_tokens = max_tokens};
    BM_TRY(bm_tensor_create(device, dtype, max_tokens, c->hidden_size, "normed", &w.normed, err));
    BM_TRY(bm_tensor_create(device, dtype, max_tokens, query, "query", &w.query, err));
    BM_TRY(bm_tensor_create(device, dtype, max_tokens, key_value, "key", &w.key, err));
    BM_TRY(bm_tensor_create(device, dtype, max_tokens, key_value, "value", &w.value, err));
    BM_TRY(bm_tensor_create(device, dtype, max_tokens, query, "attended", &w.attended, err));
    BM_TRY(bm_tensor_create(device, dtype, max_tokens, c->intermediate_size, "gate", &w.gate, err));
    if (bm_family_has_up(model->family))
        BM_TRY(bm_tensor_create(device, dtype, max_tokens, c->intermediate_size, "up", &w.up, err));
    if (model->quantizes_inputs)
        BM_TRY(bm_int8_rows_create(device, max_tokens, widest_input(c), &w.codes, err));
    if (model->family->has_alibi)
        BM_TRY(bm_alibi_slopes_create(device, c->num_attention_heads, &w.slopes, err));
    else
        BM_TRY(bm_rope_tables_create(device, &c->rope, c->head_dim, max_positions, &w.rope, err));
    if (c->has_local_rope)
        BM_TRY(bm_rope_tables_create(device, &c->local_rope, c->head_dim, max_positions, &w.local_rope, err));
    *out = w;
done:
    if (status != BM_OK)
        bm_workspace_destroy(&w);
    return status;
}

void bm_workspace_destroy(bm_workspace *w)
{
    bm_tensor *const tensors[] = {&w->normed, &w->query, &w->key, &w->value, &w->attended, &w->gate, &w->up};
    for (size_t i = 0; i < BM_COUNT(tensors); i++)
        bm_tensor_destroy(tensors[i]);
    bm_int8_rows_destroy(&w->codes);
    for (size_t i = 0; i < BM_COUNT(w->dense); i++)
        bm_weights_destroy(&w->dense[i]);
    bm_rope_tables_destroy(&w->rope);
    bm_rope_tables_destroy(&w->local_rope);
    bm_buffer_destroy(&w->slopes);
    *w = (bm_workspace){0};
}

static const bm_tensor *bias_of(const bm_block *block, bm_linear_id linear)
{
    return block->biases[linear].view.buffer ? &block->biases[linear] : NULL;
}

static const char *const input_names[] = {"inputs of q, k and v", "inputs of o", "inputs of gate and up",
                                          "inputs of down"};

// What is added is computed in the place of the stage's norm, which o and down do not read.
static bm_status run_in_integers(bm_device *device, const bm_block *block, const bm_workspace *w, bm_linear_id first,
                                 uint32_t count, const bm_tensor *x, bool adds, const bm_tensor *y, bm_error *err)
{
    const bm_stage stage = bm_linear_stage(first);
    const bm_int8_rows codes = {bm_tensor_reshape(&w->codes.codes, x->rows, x->cols),
                                bm_tensor_rows(&w->codes.rows, 0, x->rows)};
    const bm_tensor added = adds ? bm_tensor_reshape(&w->normed, x->rows, w->normed.cols) : (bm_tensor){0};
    bm_status status = BM_OK;
    BM_TRY(bm_quantize_inputs(device, &block->inputs[stage], input_names[stage], x, &codes, err));
    for (uint32_t i = 0; i < count; i++) {
        BM_TRY(bm_gemm_int8(device, &codes, block->int8_linears[first + i], bias_of(block, first + i),
                            adds ? &added : &y[i], err));
        if (adds)
            BM_TRY(bm_add(device, &y[i], &added, &y[i], err));
    }
done:
    return status;
}

// Whether linears of a stage of floats read its inputs both before and behind their rounding.
static bool is_mixed(const bm_block *block, bm_stage stage)
{
    bool any = false;
    for (bm_linear_id linear = 0; linear < BM_NUM_LINEARS; linear++)
        any = any || (bm_linear_stage(linear) == stage && block->takes_floats[linear]);
    return any;
}

// The weights of codes, in memory that all linears of their shape share.
static bm_status make_dense(bm_device *device, bm_workspace *w, const bm_code_weights *codes, bm_weights **out,
                            bm_error *err)
{
    size_t i = 0;
    while (w->dense[i] &&
           (w->dense[i]->out_features != codes->out_features || w->dense[i]->in_features != codes->in_features))
        i++; // there are as many places as linears
    bm_status status = BM_OK;
    if (!w->dense[i])
        status = bm_weights_create(device, codes->out_features, codes->in_features, w->normed.dtype, codes->name, NULL,
                                   &w->dense[i], err);
    *out = w->dense[i];
    return status == BM_OK ? bm_code_weights_dequantize(device, codes, *out, err) : status;
}

static bm_status run_codes(bm_device *device, bm_workspace *w, const bm_code_weights *codes, bm_gemm_job *job,
                           bm_error *err)
{
    bm_status status = BM_OK;
    bm_weights *dense = NULL;
    if (job->x->rows <= BM_CODES_MAX_ROWS)
        return bm_gemm_codes(device, job->x, codes, job->bias, job->adds, job->y, err);
    BM_TRY(make_dense(device, w, codes, &dense, err));
    job->weights = dense;
    BM_TRY(bm_gemm_run(device, job, err));
done:
    return status;
}

// The products of those linears that read x before its rounding, or behind it; all of them where the stage is not mixed.
static bm_status multiply(bm_device *device, const bm_block *block, bm_workspace *w, bm_linear_id first, uint32_t count,
                          const bm_tensor *x, bool is_mixed_stage, bool rounded, bool adds, const bm_tensor *y,
                          bm_error *err)
{
    bm_gemm_job jobs[3];
    uint32_t num_jobs = 0;
    bm_status status = BM_OK;
    assert(count <= BM_COUNT(jobs));
    for (uint32_t i = 0; i < count; i++) {
        if (is_mixed_stage && block->takes_floats[first + i] != !rounded)
            continue;
        bm_gemm_job job = {.x = x,
                           .weights = block->linears[first + i],
                           .count = y[i].cols,
                           .bias = bias_of(block, first + i),
                           .y = &y[i],
                           .adds = adds,
                           .factor = 1.0f};
        if (block->code_linears[first + i])
            BM_TRY(run_codes(device, w, block->code_linears[first + i], &job, err));
        else
            jobs[num_jobs++] = job;
    }
    if (num_jobs > 0)
        BM_TRY(bm_gemm_run_all(device, jobs, num_jobs, err));
done:
    return status;
}

// Whether a product is one dispatch, without memory that others share: neither its weights nor its time cut it.
static bool is_one_dispatch(const bm_device *device, const bm_weights *weights, const bm_tensor *x)
{
    uint64_t rows = 0, cols = 0;
    if (weights->choice.form == BM_GEMM_PANELS || weights->num_parts > 1)
        return false;
    bm_gemm_piece(device, weights, x->dtype, x->rows, weights->out_features, &rows, &cols);
    return rows >= x->rows && cols >= weights->out_features;
}

// Products of few rows that are one dispatch each: one alone does not fill a large GPU.
static bool run_side_by_side(const bm_device *device, const bm_block *block, bm_linear_id first, uint32_t count,
                             const bm_tensor *x)
{
    bool may = count > 1 && x->rows <= BM_THIN_ROWS;
    for (uint32_t i = 0; i < count; i++)
        may = may && (block->code_linears[first + i] || is_one_dispatch(device, block->linears[first + i], x));
    return may;
}

// y[i] = linear first + i of x, or with adds y[i] += that: linears that read the same inputs. x of a mixed stage is overwritten.
static bm_status run_linears(bm_device *device, const bm_block *block, bm_workspace *w, bm_linear_id first,
                             uint32_t count, const bm_tensor *x, bool adds, const bm_tensor *y, bm_error *err)
{
    const bm_stage stage = bm_linear_stage(first);
    const bool mixed = is_mixed(block, stage);
    bm_status status = BM_OK;
    if (block->in_integers[stage])
        return run_in_integers(device, block, w, first, count, x, adds, y, err);
    const bool side_by_side = run_side_by_side(device, block, first, count, x);
    for (uint32_t rounded = 0; rounded < (mixed ? 2 : 1); rounded++) {
        if (rounded)
            BM_TRY(bm_round_inputs(device, &block->inputs[stage], input_names[stage], x, err));
        if (side_by_side)
            BM_TRY(bm_batch_parallel_begin(device, err));
        status = multiply(device, block, w, first, count, x, mixed, rounded != 0, adds, y, err);
        if (side_by_side) {
            const bm_status end = bm_batch_parallel_end(device, status == BM_OK ? err : NULL);
            status = status == BM_OK ? end : status;
        }
        BM_TRY(status);
    }
done:
    return status;
}

// RMSNorm of every head of x [tokens, heads * head_dim], in place.
static bm_status norm_heads(bm_device *device, const bm_tensor *x, uint32_t head_dim, const bm_norm *norm,
                            bm_error *err)
{
    // head_dim is a multiple of 8 and rows are dense then, so that each head is a row of a matrix of its own.
    bm_tensor heads = *x;
    heads.rows = x->rows * (x->cols / head_dim);
    heads.cols = head_dim;
    heads.stride = head_dim;
    return bm_norm_apply(device, norm, &heads, &heads, err);
}

// q, k, v from their projections to the attention's output.
static bm_status attend(bm_device *device, const bm_block *block, const bm_batch *batch, bm_workspace *w,
                        bm_key_value_cache *cache, const bm_tensor *query, const bm_tensor *key, const bm_tensor *value,
                        bm_error *err)
{
    const bm_hf_config *c = &block->model->config;
    bm_status status = BM_OK;
    if (bm_family_has_norm(block->model->family, BM_NORM_Q)) {
        BM_TRY(norm_heads(device, query, c->head_dim, &block->norms[BM_NORM_Q], err));
        BM_TRY(norm_heads(device, key, c->head_dim, &block->norms[BM_NORM_K], err));
    }
    bm_rope_tables *rope = block->windowed && w->local_rope ? w->local_rope : w->rope;
    if (rope) {
        BM_TRY(bm_rope_tables_fit(device, rope, batch->first_position, batch->max_position, err));
        BM_TRY(bm_rope_apply(device, rope, query, c->head_dim, batch->positions, false, err));
        BM_TRY(bm_rope_apply(device, rope, key, c->head_dim, batch->positions, false, err));
    }
    const bm_tensor attended = bm_tensor_reshape(&w->attended, batch->num_tokens, w->attended.cols);
    const uint32_t num_keys = cache ? cache->num_cached + batch->num_tokens : batch->num_tokens;
    const bm_tensor keys = cache ? bm_tensor_rows(&cache->key, 0, num_keys) : *key;
    const bm_tensor values = cache ? bm_tensor_rows(&cache->value, 0, num_keys) : *value;
    const bm_attention_params params = {
        .num_heads = c->num_attention_heads,
        .num_key_value_heads = c->num_key_value_heads,
        .head_dim = c->head_dim,
        .scale = (float)(1.0 / sqrt(c->query_scalar)),
        .first_key = block->windowed ? batch->first_key_windowed : batch->first_key,
        .last_key = batch->last_key,
        .cap = c->attention_cap,
        .slopes = w->slopes ? bm_buffer_view(w->slopes) : (bm_view){0},
    };
    BM_TRY(bm_attention(device, query, &keys, &values, &params, &attended, err));
done:
    return status;
}

static bm_status qkv_output(bm_device *device, const bm_block *block, const bm_batch *batch, bm_workspace *w,
                            bm_key_value_cache *cache, const bm_tensor *input, bm_error *err)
{
    const uint32_t tokens = batch->num_tokens;
    const bm_tensor projected[] = {bm_tensor_reshape(&w->query, tokens, w->query.cols),
                                   cache ? bm_tensor_rows(&cache->key, cache->num_cached, tokens)
                                         : bm_tensor_reshape(&w->key, tokens, w->key.cols),
                                   cache ? bm_tensor_rows(&cache->value, cache->num_cached, tokens)
                                         : bm_tensor_reshape(&w->value, tokens, w->value.cols)};
    bm_status status = BM_OK;
    BM_TRY(run_linears(device, block, w, BM_LINEAR_Q, 3, input, false, projected, err));
    BM_TRY(attend(device, block, batch, w, cache, &projected[0], &projected[1], &projected[2], err));
done:
    return status;
}

static bool has_up(const bm_block *block)
{
    return bm_family_has_up(block->model->family);
}

// Empty where the family has no such linear.
static bm_tensor up_of(const bm_block *block, const bm_workspace *w, uint32_t tokens)
{
    return has_up(block) ? bm_tensor_reshape(&w->up, tokens, w->up.cols) : (bm_tensor){0};
}

static bm_status change_input(bm_device *device, const bm_input_change *change, const bm_tensor *input, bm_error *err)
{
    const bm_tensor *shift = change->shift.view.buffer ? &change->shift : NULL;
    const bm_tensor *factor = change->factor.view.buffer ? &change->factor : NULL;
    return shift || factor ? bm_shift_scale(device, input, shift, factor, input, err) : BM_OK;
}

static bm_status compute_input(bm_device *device, const bm_block *block, bm_stage stage, const bm_batch *batch,
                               bm_workspace *w, const bm_tensor *hidden, bm_tensor *input, bm_error *err)
{
    const bm_hf_config *c = &block->model->config;
    const uint32_t tokens = batch->num_tokens;
    const bm_tensor gate = bm_tensor_reshape(&w->gate, tokens, w->gate.cols);
    const bm_tensor up = up_of(block, w, tokens);
    bm_status status = BM_OK;
    switch (stage) {
    case BM_STAGE_QKV:
        *input = bm_tensor_reshape(&w->normed, tokens, w->normed.cols);
        return bm_norm_apply(device, &block->norms[BM_NORM_INPUT], hidden, input, err);
    case BM_STAGE_O:
        *input = bm_tensor_reshape(&w->attended, tokens, w->attended.cols);
        return change_input(device, &block->changes[stage], input, err);
    case BM_STAGE_GATE_UP:
        *input = bm_tensor_reshape(&w->normed, tokens, w->normed.cols);
        return bm_norm_apply(device, &block->norms[BM_NORM_POST_ATTENTION], hidden, input, err);
    case BM_STAGE_DOWN:
        *input = gate;
        status = bm_gate(device, c->hidden_act, &gate, has_up(block) ? &up : NULL, &gate, err);
        return status == BM_OK ? change_input(device, &block->changes[stage], input, err) : status;
    case BM_NUM_STAGES:
        break;
    }
    return bm_fail(err, BM_E_INTERNAL, "no stage %d", (int)stage);
}

bm_status bm_block_stage_input(bm_device *device, const bm_block *block, bm_stage stage, const bm_batch *batch,
                               bm_workspace *w, const bm_tensor *hidden, bm_tensor *input, bm_error *err)
{
    const bm_status status = compute_input(device, block, stage, batch, w, hidden, input, err);
    return status == BM_OK && !block->in_integers[stage] && !is_mixed(block, stage)
               ? bm_round_inputs(device, &block->inputs[stage], input_names[stage], input, err)
               : status;
}

// hidden += what o or down makes of input, or a norm of that where the family has one: it lies where the stage's own norm would,
// which these do not read.
static bm_status add_output(bm_device *device, const bm_block *block, bm_workspace *w, bm_linear_id linear,
                            bm_norm_id norm, const bm_tensor *input, const bm_tensor *hidden, bm_error *err)
{
    const bm_tensor added = bm_tensor_reshape(&w->normed, input->rows, w->normed.cols);
    bm_status status = BM_OK;
    if (!bm_family_has_norm(block->model->family, norm))
        return run_linears(device, block, w, linear, 1, input, true, hidden, err);
    BM_TRY(run_linears(device, block, w, linear, 1, input, false, &added, err));
    BM_TRY(bm_norm_apply(device, &block->norms[norm], &added, &added, err));
    BM_TRY(bm_add(device, hidden, &added, hidden, err));
done:
    return status;
}

bm_status bm_block_stage_output(bm_device *device, const bm_block *block, bm_stage stage, const bm_batch *batch,
                                bm_workspace *w, bm_key_value_cache *cache, const bm_tensor *input,
                                const bm_tensor *hidden, bm_error *err)
{
    const bm_tensor gate_up[] = {bm_tensor_reshape(&w->gate, batch->num_tokens, w->gate.cols),
                                 up_of(block, w, batch->num_tokens)};
    switch (stage) {
    case BM_STAGE_QKV:
        return qkv_output(device, block, batch, w, cache, input, err);
    case BM_STAGE_O:
        return add_output(device, block, w, BM_LINEAR_O, BM_NORM_O_OUTPUT, input, hidden, err);
    case BM_STAGE_GATE_UP:
        return run_linears(device, block, w, BM_LINEAR_GATE, has_up(block) ? 2 : 1, input, false, gate_up, err);
    case BM_STAGE_DOWN:
        return add_output(device, block, w, BM_LINEAR_DOWN, BM_NORM_DOWN_OUTPUT, input, hidden, err);
    case BM_NUM_STAGES:
        break;
    }
    return bm_fail(err, BM_E_INTERNAL, "no stage %d", (int)stage);
}

bm_status bm_block_forward(bm_device *device, const bm_block *block, const bm_batch *batch, bm_workspace *workspace,
                           bm_key_value_cache *cache, const bm_tensor *hidden, bm_error *err)
{
    bm_status status = BM_OK;
    for (bm_stage stage = 0; stage < BM_NUM_STAGES; stage++) {
        bm_tensor input;
        BM_TRY(bm_block_stage_input(device, block, stage, batch, workspace, hidden, &input, err));
        BM_TRY(bm_block_stage_output(device, block, stage, batch, workspace, cache, &input, hidden, err));
    }
done:
    return status;
}
