// A search's loss as it is made once: inputs, wanted outputs, weightings, and room for what a candidate makes.
//
// Tokens lie in another order than the sample's: every BM_SMOOTH_PRUNE_SHARE-th first, so that a share of them is the rows in
// front.
#include "quant/search_work.h"

#include "ops/elementwise.h"
#include "ops/embedding.h"

#define MAX_SUM_BYTES (UINT64_C(8) << 20)   // of sums that are fetched at once, where those of one candidate are fewer
#define SUM_BYTES (4 * sizeof(float))       // of a token's sum, as operations give it
#define PIECE_ELEMENTS (UINT64_C(16) << 20) // of weights, or of outputs, that are made at once

// ---- sizes ----

static bool runs_in_integers(const bm_grid_params *grids, uint32_t num_grids, bm_input_kind input, uint64_t channels)
{
    bool all = input != BM_INPUT_FLOAT && channels <= BM_INT8_MAX_FEATURES;
    for (uint32_t i = 0; i < num_grids; i++)
        all = all && grids[i].bits == 8 && grids[i].symmetric && !grids[i].search && grids[i].group_size >= channels;
    return all;
}

// Tokens of a slab whose widest matrix has so many columns.
static uint64_t slab_tokens(const bm_device *device, uint64_t tokens, uint64_t widest)
{
    const uint64_t limit = bm_device_get_info(device)->limits.max_allocation_bytes;
    const uint64_t fit = limit / (sizeof(float) * bm_tensor_stride(BM_DTYPE_F32, widest)) / 64 * 64;
    return bm_min_u64(tokens, bm_max_u64(64, fit));
}

static uint64_t piece_rows(uint64_t slab, uint64_t channels)
{
    return bm_max_u64(BM_GEMM_SLICE_ROWS,
                      PIECE_ELEMENTS / bm_max_u64(slab, channels) / BM_GEMM_SLICE_ROWS * BM_GEMM_SLICE_ROWS);
}

uint64_t bm_search_loss_bytes(bm_device *device, uint64_t tokens, uint64_t channels, uint64_t rows,
                              const bm_grid_params *grids, uint32_t num_grids, bm_input_kind input)
{
    const uint64_t slab = slab_tokens(device, tokens, bm_max_u64(channels, rows));
    const uint64_t piece = bm_min_u64(rows, piece_rows(slab, channels));
    const uint64_t wide = bm_tensor_stride(BM_DTYPE_F32, channels), groups = bm_most_groups(channels, grids, num_grids);
    const uint64_t sample = 4 * tokens * (wide + rows + 4), factors = 8 * BM_SEARCH_AT_ONCE * wide;
    const uint64_t once = bm_multiplier_bytes(device, piece, channels);
    const uint64_t codes = bm_tensor_stride(BM_DTYPE_I8, channels) + 16;
    const uint64_t fixed = sample + factors + bm_max_u64(MAX_SUM_BYTES, 16 * tokens * (rows / piece + 1));
    if (runs_in_integers(grids, num_grids, input, channels)) {
        const bool panels = bm_gemm_int8_choose(device).form == BM_GEMM_PANELS;
        const uint64_t weights = (rows + 64) * (panels ? 4 * channels + 16 : codes);
        return fixed + once + weights + slab * codes + piece * codes;
    }
    const uint64_t steps = 16 * bm_tensor_stride(BM_DTYPE_F32, groups);
    return fixed + once + slab * (4 * wide + codes + 16) + piece * (4 * wide + steps) + 4 * slab * (piece + 4);
}

// ---- what is made once ----

static bm_status check(const bm_search_loss_params *p, bm_error *err)
{
    const uint64_t channels = p->inputs->cols;
    bm_status status = BM_OK;
    BM_FAIL_IF(p->num_linears == 0, err, BM_E_ARGUMENT, "piecewise search: expected linears, found none");
    for (uint32_t l = 0; l < p->num_linears; l++) {
        const bm_weights *w = p->linears[l];
        BM_FAIL_IF(w->choice.form != BM_GEMM_ROWS || w->dtype != BM_DTYPE_F32, err, BM_E_ARGUMENT,
                   "%s: weights for piecewise search are of %s, expected F32 in plain rows", w->name,
                   bm_dtype_name(w->dtype));
        BM_FAIL_IF(w->in_features != channels, err, BM_E_ARGUMENT, "%s: %llu input features, the sample has %llu",
                   w->name, (unsigned long long)w->in_features, (unsigned long long)channels);
    }
done:
    return status;
}

// Pieces of at most so many rows to out, if there is one; returns their number.
static uint32_t cut_pieces(const bm_search_loss *l, uint64_t at_once, bm_search_piece *out)
{
    uint32_t count = 0, product = 0;
    uint64_t first = 0;
    for (uint32_t i = 0; i < l->params.num_linears; i++) {
        const bm_weights *w = l->params.linears[i];
        if (first == l->products[product].rows)
            product++, first = 0;
        for (uint32_t p = 0; p < w->num_parts; p++)
            for (uint64_t r = 0; r < w->parts[p].rows; r += at_once, count++) {
                const uint64_t rows = bm_min_u64(at_once, w->parts[p].rows - r);
                if (out)
                    out[count] =
                        (bm_search_piece){bm_tensor_rows(&w->parts[p], r, rows), l->params.grids[i], product, first};
                first += rows;
            }
    }
    return count;
}

// A linear joins those before it where nothing tells them apart. Columns of wanted outputs begin at 16 bytes.
static void join_linears(bm_search_loss *l)
{
    for (uint32_t i = 0; i < l->params.num_linears; i++) {
        const uint64_t rows = l->params.linears[i]->out_features;
        if (i == 0 || !l->is_integer || l->params.nmse || l->products[l->num_products - 1].rows % 4 != 0)
            l->products[l->num_products++] = (bm_search_product){.weighting = 1};
        l->products[l->num_products - 1].rows += rows;
        l->rows += rows;
    }
}

static bm_status create_slabs(bm_search_loss *l, uint64_t at_once, bm_error *err)
{
    bm_status status = BM_OK;
    l->slabs = bm_alloc_zero(bm_divide_up(l->tokens, at_once), sizeof *l->slabs);
    BM_FAIL_IF(!l->slabs, err, BM_E_MEMORY, "out of memory");
    for (uint64_t first = 0; first < l->tokens; first += at_once) {
        bm_search_slab *slab = &l->slabs[l->num_slabs++];
        const uint64_t tokens = bm_min_u64(at_once, l->tokens - first);
        slab->first = first;
        slab->wants = bm_alloc_zero(l->num_products, sizeof *slab->wants);
        BM_FAIL_IF(!slab->wants, err, BM_E_MEMORY, "out of memory");
        BM_TRY(
            bm_tensor_create(l->device, BM_DTYPE_F32, tokens, l->channels, "inputs of the search", &slab->inputs, err));
        for (uint32_t p = 0; p < l->num_products; p++)
            BM_TRY(bm_tensor_create(l->device, BM_DTYPE_F32, tokens, l->products[p].rows, "wanted outputs",
                                    &slab->wants[p], err));
    }
done:
    return status;
}

static bm_status create_integers(bm_search_loss *l, uint64_t slab, uint64_t piece, bm_error *err)
{
    bm_status status = BM_OK;
    for (uint32_t p = 0; p < l->num_products; p++)
        BM_TRY(bm_int8_weights_create(l->device, l->products[p].rows, l->channels, l->params.linears[0]->name, NULL,
                                      &l->products[p].weights, err));
    BM_TRY(bm_int8_rows_create(l->device, slab, l->channels, &l->input_codes, err));
    BM_TRY(bm_int8_rows_create(l->device, piece, l->channels, &l->piece_codes, err));
done:
    return status;
}

static bm_status create_floats(bm_search_loss *l, uint64_t slab, uint64_t piece, bm_error *err)
{
    bm_device *device = l->device;
    const uint32_t most = bm_most_groups(l->channels, l->params.grids, l->params.num_linears);
    const uint64_t room = bm_tensor_stride(BM_DTYPE_F32, most);
    bm_status status = BM_OK;
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, slab, l->channels, "scaled inputs", &l->scaled_inputs, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, piece, l->channels, "scaled weights", &l->scaled, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, piece, room, "steps", &l->step, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_I32, piece, room, "zero points", &l->zero_point, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, slab, piece, "outputs", &l->outputs, err));
    if (l->params.input != BM_INPUT_FLOAT) {
        BM_TRY(bm_int8_rows_create(device, slab, l->channels, &l->input_codes, err));
        BM_TRY(bm_tensor_create(device, BM_DTYPE_I32, slab, 1, "zero points of inputs", &l->zeros, err));
        BM_TRY(bm_fill(device, l->zeros.view, 0, err));
    }
done:
    return status;
}

static bm_status create_all(bm_search_loss *l, bm_error *err)
{
    bm_status status = BM_OK;
    uint64_t widest = l->channels;
    l->products = bm_alloc_zero(l->params.num_linears, sizeof *l->products);
    BM_FAIL_IF(!l->products, err, BM_E_MEMORY, "out of memory");
    join_linears(l);
    for (uint32_t p = 0; p < l->num_products; p++)
        widest = bm_max_u64(widest, l->products[p].rows);
    const uint64_t slab = slab_tokens(l->device, l->tokens, widest);
    const uint64_t piece = bm_min_u64(l->rows, piece_rows(slab, l->channels));
    l->num_pieces = cut_pieces(l, piece, NULL);
    l->pieces = bm_alloc(l->num_pieces, sizeof *l->pieces);
    BM_FAIL_IF(!l->pieces, err, BM_E_MEMORY, "out of memory");
    cut_pieces(l, piece, l->pieces);
    l->num_sums = l->is_integer ? l->num_products : l->num_pieces;
    const uint64_t sums = bm_max_u64(l->num_sums * l->tokens, MAX_SUM_BYTES / SUM_BYTES);
    l->host_factors = bm_alloc(UINT64_C(2) * BM_SEARCH_AT_ONCE, l->channels * sizeof *l->host_factors);
    l->host_sums = bm_alloc(sums, SUM_BYTES);
    BM_FAIL_IF(!l->host_factors || !l->host_sums, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_tensor_create(l->device, BM_DTYPE_F32, UINT64_C(2) * BM_SEARCH_AT_ONCE, l->channels, "scales",
                            &l->factors, err));
    BM_TRY(bm_tensor_create(l->device, BM_DTYPE_F32, sums, 4, "errors", &l->sums, err));
    BM_TRY(create_slabs(l, slab, err));
    BM_TRY(l->is_integer ? create_integers(l, slab, piece, err) : create_floats(l, slab, piece, err));
done:
    return status;
}

// Tokens of the first part, then those of the second; of each every BM_SMOOTH_PRUNE_SHARE-th first.
static void order_tokens(bm_search_loss *l, uint32_t *order)
{
    const uint8_t *part = l->params.part;
    uint64_t count = 0;
    for (uint32_t p = 1; p <= (part ? 2 : 1); p++) {
        for (uint32_t begin = 0; begin < BM_SMOOTH_PRUNE_SHARE; begin++) {
            uint64_t of_part = 0;
            for (uint64_t t = 0; t < l->tokens; t++)
                if (!part || part[t] == p) {
                    if (of_part % BM_SMOOTH_PRUNE_SHARE == begin)
                        order[count++] = (uint32_t)t;
                    of_part++;
                }
        }
        if (p == 1)
            l->first_of_second = count;
    }
    for (uint64_t i = 0; i < l->tokens; i++)
        l->weights[i] = l->params.token_weights ? l->params.token_weights[order[i]] : 1;
}

// Rows of the sample in the order of slabs, less the zero point.
static bm_status copy_inputs(bm_search_loss *l, bm_error *err)
{
    const bm_tensor *inputs = l->params.inputs;
    const uint64_t at_once = bm_max_u64(1, UINT32_C(0x7fffffff) / inputs->stride); // as bm_embedding takes them
    bm_status status = BM_OK;
    bm_tensor shift = {0};
    bm_buffer *ids = NULL;
    uint32_t *order = bm_alloc(l->tokens, sizeof *order);
    float *less = bm_alloc(l->channels, sizeof *less);
    BM_FAIL_IF(!order || !less, err, BM_E_MEMORY, "out of memory");
    order_tokens(l, order);
    BM_TRY(bm_buffer_create(l->device, l->tokens * sizeof *order, "order of tokens", &ids, err));
    BM_TRY(bm_upload(l->device, bm_view_part(bm_buffer_view(ids), 0, l->tokens * sizeof *order), order,
                     l->tokens * sizeof *order, err));
    if (l->params.zero_point) {
        for (uint64_t c = 0; c < l->channels; c++)
            less[c] = -(float)l->params.zero_point[c];
        BM_TRY(bm_tensor_create(l->device, BM_DTYPE_F32, 1, l->channels, "shift", &shift, err));
        BM_TRY(bm_tensor_upload(l->device, &shift, less, err));
    }
    for (uint32_t s = 0; s < l->num_slabs; s++) {
        const bm_tensor *to = &l->slabs[s].inputs;
        const bm_view some =
            bm_view_part(bm_buffer_view(ids), l->slabs[s].first * sizeof *order, to->rows * sizeof *order);
        for (uint64_t first = 0; first < l->tokens; first += at_once) {
            const bm_tensor table = bm_tensor_rows(inputs, first, bm_min_u64(at_once, l->tokens - first));
            BM_TRY(bm_embedding(l->device, some, &table, (uint32_t)first, (uint32_t)l->tokens, to, err));
        }
        if (l->params.zero_point)
            BM_TRY(bm_shift_scale(l->device, to, &shift, NULL, to, err));
    }
done:
    bm_tensor_destroy(&shift);
    bm_buffer_destroy(&ids);
    bm_free(order);
    bm_free(less);
    return status;
}

static bm_status compute_wants(bm_search_loss *l, bm_error *err)
{
    bm_status status = BM_OK;
    for (uint32_t i = 0; i < l->num_pieces; i++) {
        const bm_search_piece *piece = &l->pieces[i];
        BM_TRY(bm_multiplier_set(&l->multiplier, &piece->rows, err));
        for (uint32_t s = 0; s < l->num_slabs; s++) {
            const bm_search_slab *slab = &l->slabs[s];
            const bm_tensor want = bm_tensor_columns(&slab->wants[piece->product], piece->first, piece->rows.rows);
            BM_TRY(bm_multiplier_run(&l->multiplier, &slab->inputs, 0, piece->rows.rows, &want, err));
        }
    }
    if (l->is_integer)
        bm_multiplier_free(&l->multiplier);
done:
    return status;
}

// nmse: 1 / mean square of the linear's outputs; 1 for a linear whose outputs are zeros.
static bm_status compute_weightings(bm_search_loss *l, bm_error *err)
{
    bm_status status = BM_OK;
    for (uint32_t p = 0; p < l->num_products && l->params.nmse; p++) {
        for (uint32_t s = 0; s < l->num_slabs; s++) {
            const bm_tensor *want = &l->slabs[s].wants[p];
            const bm_tensor sums = bm_tensor_rows(&l->sums, l->slabs[s].first, want->rows);
            BM_TRY(bm_row_dot(l->device, want, want, &sums, err));
        }
        const bm_tensor sums = bm_tensor_rows(&l->sums, 0, l->tokens);
        BM_TRY(bm_tensor_download(l->device, &sums, l->host_sums, err));
        BM_TRY(bm_device_wait(l->device, err));
        const double mean =
            bm_search_add_rows(l->host_sums, NULL, l->tokens) / ((double)l->tokens * (double)l->products[p].rows);
        l->products[p].weighting = mean > 0 ? 1 / mean : 1;
    }
    BM_TRY(bm_device_wait(l->device, err));
done:
    return status;
}

bm_status bm_search_loss_create(bm_device *device, const bm_search_loss_params *params, bm_search_loss **out,
                                bm_error *err)
{
    bm_status status = BM_OK;
    *out = NULL;
    bm_search_loss *l = bm_alloc_zero(1, sizeof *l);
    BM_FAIL_IF(!l, err, BM_E_MEMORY, "out of memory");
    l->device = device;
    l->params = *params;
    bm_multiplier_init(&l->multiplier, device);
    BM_TRY(check(params, err));
    l->tokens = params->inputs->rows;
    l->channels = params->inputs->cols;
    l->is_integer = runs_in_integers(params->grids, params->num_linears, params->input, l->channels);
    l->weights = bm_alloc(l->tokens, sizeof *l->weights);
    BM_FAIL_IF(!l->weights, err, BM_E_MEMORY, "out of memory");
    BM_TRY(create_all(l, err));
    BM_TRY(copy_inputs(l, err));
    BM_TRY(compute_wants(l, err));
    BM_TRY(compute_weightings(l, err));
    l->params.inputs = NULL;
    l->params.zero_point = NULL;
    l->params.linears = NULL;
    l->params.grids = NULL;
    l->params.token_weights = NULL;
    l->params.part = NULL;
    *out = l;
    l = NULL;
done:
    bm_search_loss_destroy(&l);
    return status;
}

void bm_search_loss_destroy(bm_search_loss **loss)
{
    bm_search_loss *l = loss ? *loss : NULL;
    if (!l)
        return;
    for (uint32_t p = 0; p < l->num_products; p++)
        bm_int8_weights_destroy(&l->products[p].weights);
    for (uint32_t s = 0; s < l->num_slabs; s++) {
        bm_tensor_destroy(&l->slabs[s].inputs);
        for (uint32_t p = 0; p < l->num_products && l->slabs[s].wants; p++)
            bm_tensor_destroy(&l->slabs[s].wants[p]);
        bm_free(l->slabs[s].wants);
    }
    bm_tensor *const tensors[] = {&l->factors, &l->sums,       &l->scaled_inputs, &l->scaled,
                                  &l->step,    &l->zero_point, &l->outputs,       &l->zeros};
    for (size_t i = 0; i < BM_COUNT(tensors); i++)
        bm_tensor_destroy(tensors[i]);
    bm_int8_rows_destroy(&l->input_codes);
    bm_int8_rows_destroy(&l->piece_codes);
    bm_multiplier_free(&l->multiplier);
    bm_free(l->products);
    bm_free(l->pieces);
    bm_free(l->slabs);
    bm_free(l->host_factors);
    bm_free(l->host_sums);
    bm_free(l->weights);
    bm_free(l);
    *loss = NULL;
}
