// Candidates one after the other: weights and inputs to codes, products beside the wanted outputs, sums of squared errors a
// token. Sums of several candidates are fetched with one wait.
//
// Tokens lie in another order than the sample's: every BM_SMOOTH_PRUNE_SHARE-th first, so that a share of them is the rows in
// front.
#include "quant/search_loss.h"

#include "ops/elementwise.h"
#include "ops/embedding.h"
#include "ops/gemm_int8.h"
#include "ops/matrix.h"

#include <math.h>

#define MAX_AT_ONCE 16                      // candidates between two waits
#define MAX_SECONDS 0.5                     // of work between two waits, by a low estimate of the device's rate
#define MAX_SUM_BYTES (UINT64_C(8) << 20)   // of sums that are fetched at once, where those of one candidate are fewer
#define SUM_BYTES (4 * sizeof(float))       // of a token's sum, as operations give it
#define PIECE_ELEMENTS (UINT64_C(16) << 20) // of weights, or of outputs, that are made at once

// Linears that are multiplied as one: their rows lie behind one another, and their errors count the same.
typedef struct search_product {
    uint64_t rows;
    double weighting;
    bm_int8_weights *weights; // NULL: products are of float32
} search_product;

// Rows of a linear that are made at once.
typedef struct search_piece {
    bm_tensor rows;   // of the master
    uint32_t product; // and where they lie in it
    uint64_t first;
} search_piece;

// Tokens that fit an allocation; as a rule all of them.
typedef struct search_slab {
    uint64_t first;
    bm_tensor inputs; // [tokens, channels] float32, without the zero point
    bm_tensor *wants; // [num_products]: [tokens, rows] float32
} search_slab;

struct bm_search_loss {
    bm_device *device;
    bm_search_loss_params params;
    uint64_t tokens, channels, rows;
    bool is_integer;
    search_product *products;
    search_piece *pieces;
    search_slab *slabs;
    uint32_t num_products, num_pieces, num_slabs, num_sums; // sums: of a candidate and a token
    float *host_factors;                                    // [2 MAX_AT_ONCE, channels]
    float *host_sums;                                       // as sums
    bm_tensor factors;                                      // [2 MAX_AT_ONCE, channels]: s and 1 / s of each candidate
    bm_tensor sums;                                         // [candidates, num_sums, tokens] rows of 4
    bm_int8_rows input_codes;                               // of a slab
    bm_int8_rows piece_codes;                               // of a piece
    // Of products in float32.
    bm_multiplier multiplier;
    bm_tensor scaled_inputs;    // of a slab
    bm_tensor scaled;           // [rows of a piece, channels]
    bm_tensor step, zero_point; // of a piece
    bm_tensor outputs;          // [tokens of a slab, rows of a piece]
    bm_tensor zeros;            // [tokens of a slab, 1]: zero points of inputs
};

// ---- sizes ----

static bool runs_in_integers(const bm_grid_params *grid, bm_input_kind input, uint64_t channels)
{
    return grid->bits == 8 && grid->symmetric && !grid->search && grid->group_size >= channels &&
           input != BM_INPUT_FLOAT && channels <= BM_INT8_MAX_FEATURES;
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
                              const bm_grid_params *grid, bm_input_kind input)
{
    const uint64_t slab = slab_tokens(device, tokens, bm_max_u64(channels, rows));
    const uint64_t piece = bm_min_u64(rows, piece_rows(slab, channels));
    const uint64_t wide = bm_tensor_stride(BM_DTYPE_F32, channels), groups = bm_num_groups(channels, grid->group_size);
    const uint64_t sample = 4 * tokens * (wide + rows + 4), factors = 8 * MAX_AT_ONCE * wide;
    const uint64_t once = bm_multiplier_bytes(device, piece, channels);
    const uint64_t codes = bm_tensor_stride(BM_DTYPE_I8, channels) + 16;
    const uint64_t fixed = sample + factors + bm_max_u64(MAX_SUM_BYTES, 16 * tokens * (rows / piece + 1));
    if (runs_in_integers(grid, input, channels)) {
        const bool panels = bm_gemm_int8_choose(device).form == BM_GEMM_PANELS;
        const uint64_t weights = (rows + 64) * (panels ? 4 * channels + 16 : codes);
        return fixed + bm_max_u64(once, weights + slab * codes + piece * codes);
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
static uint32_t cut_pieces(const bm_search_loss *l, uint64_t at_once, search_piece *out)
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
                    out[count] = (search_piece){bm_tensor_rows(&w->parts[p], r, rows), product, first};
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
            l->products[l->num_products++] = (search_product){.weighting = 1};
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
        search_slab *slab = &l->slabs[l->num_slabs++];
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
    const uint32_t groups = bm_num_groups(l->channels, l->params.grid.group_size);
    bm_status status = BM_OK;
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, slab, l->channels, "scaled inputs", &l->scaled_inputs, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, piece, l->channels, "scaled weights", &l->scaled, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, piece, groups, "steps", &l->step, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_I32, piece, groups, "zero points", &l->zero_point, err));
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
    l->host_factors = bm_alloc(UINT64_C(2) * MAX_AT_ONCE, l->channels * sizeof *l->host_factors);
    l->host_sums = bm_alloc(sums, SUM_BYTES);
    BM_FAIL_IF(!l->host_factors || !l->host_sums, err, BM_E_MEMORY, "out of memory");
    BM_TRY(
        bm_tensor_create(l->device, BM_DTYPE_F32, UINT64_C(2) * MAX_AT_ONCE, l->channels, "scales", &l->factors, err));
    BM_TRY(bm_tensor_create(l->device, BM_DTYPE_F32, sums, 4, "errors", &l->sums, err));
    BM_TRY(create_slabs(l, slab, err));
    BM_TRY(l->is_integer ? create_integers(l, slab, piece, err) : create_floats(l, slab, piece, err));
done:
    return status;
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
    uint64_t count = 0;
    for (uint32_t begin = 0; begin < BM_SMOOTH_PRUNE_SHARE; begin++)
        for (uint64_t t = begin; t < l->tokens; t += BM_SMOOTH_PRUNE_SHARE)
            order[count++] = (uint32_t)t;
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
        const search_piece *piece = &l->pieces[i];
        BM_TRY(bm_multiplier_set(&l->multiplier, &piece->rows, err));
        for (uint32_t s = 0; s < l->num_slabs; s++) {
            const search_slab *slab = &l->slabs[s];
            const bm_tensor want = bm_tensor_columns(&slab->wants[piece->product], piece->first, piece->rows.rows);
            BM_TRY(bm_multiplier_run(&l->multiplier, &slab->inputs, 0, piece->rows.rows, &want, err));
        }
    }
    if (l->is_integer)
        bm_multiplier_free(&l->multiplier);
done:
    return status;
}

static double add_rows(const float *sums, uint64_t count)
{
    double sum = 0;
    for (uint64_t i = 0; i < count; i++)
        sum += (double)sums[4 * i];
    return sum;
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
        const double mean = add_rows(l->host_sums, l->tokens) / ((double)l->tokens * (double)l->products[p].rows);
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
    l->is_integer = runs_in_integers(&params->grid, params->input, l->channels);
    BM_TRY(create_all(l, err));
    BM_TRY(copy_inputs(l, err));
    BM_TRY(compute_wants(l, err));
    BM_TRY(compute_weightings(l, err));
    l->params.inputs = NULL;
    l->params.zero_point = NULL;
    l->params.linears = NULL;
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
    bm_free(l);
    *loss = NULL;
}

// ---- one candidate ----

// What is recorded for it.
typedef struct candidate {
    bm_tensor scales, inverses; // [1, channels]
    float peak;                 // of static inputs
    uint64_t first_sum, tokens;
} candidate;

static bm_int8_rows first_rows(const bm_int8_rows *rows, uint64_t count)
{
    return (bm_int8_rows){bm_tensor_rows(&rows->codes, 0, count), bm_tensor_rows(&rows->rows, 0, count)};
}

// Steps of rows as a column.
static bm_tensor steps_of(const bm_int8_rows *rows)
{
    bm_tensor steps = rows->rows;
    steps.cols = 1;
    return steps;
}

static bm_tensor sums_of(const bm_search_loss *l, const candidate *c, uint32_t sum, const search_slab *slab,
                         uint64_t tokens)
{
    return bm_tensor_rows(&l->sums, c->first_sum + sum * c->tokens + slab->first, tokens);
}

static bm_status quantize_inputs(bm_search_loss *l, const candidate *c, const bm_tensor *inputs, bm_int8_rows *codes,
                                 bm_error *err)
{
    const bm_quantize_rows_params params = {.name = "inputs of the search",
                                            .factor = &c->inverses,
                                            .per_row = l->params.input == BM_INPUT_DYNAMIC,
                                            .peak = c->peak};
    *codes = first_rows(&l->input_codes, inputs->rows);
    return bm_quantize_rows(l->device, inputs, &params, codes, err);
}

static bm_status record_integers(bm_search_loss *l, const candidate *c, bm_error *err)
{
    bm_status status = BM_OK;
    for (uint32_t i = 0; i < l->num_pieces; i++) {
        const search_piece *piece = &l->pieces[i];
        const bm_int8_rows rows = first_rows(&l->piece_codes, piece->rows.rows);
        const bm_quantize_rows_params params = {.name = "weights", .factor = &c->scales, .per_row = true};
        const bm_tensor steps = steps_of(&rows);
        BM_TRY(bm_quantize_rows(l->device, &piece->rows, &params, &rows, err));
        BM_TRY(bm_int8_weights_set_rows(l->device, l->products[piece->product].weights, piece->first, &rows.codes,
                                        &steps, err));
    }
    for (uint32_t s = 0; s < l->num_slabs && l->slabs[s].first < c->tokens; s++) {
        const search_slab *slab = &l->slabs[s];
        const uint64_t tokens = bm_min_u64(slab->inputs.rows, c->tokens - slab->first);
        const bm_tensor inputs = bm_tensor_rows(&slab->inputs, 0, tokens);
        bm_int8_rows codes;
        BM_TRY(quantize_inputs(l, c, &inputs, &codes, err));
        for (uint32_t p = 0; p < l->num_products; p++) {
            const bm_tensor want = bm_tensor_rows(&slab->wants[p], 0, tokens), sums = sums_of(l, c, p, slab, tokens);
            BM_TRY(bm_gemm_int8_loss(l->device, &codes, l->products[p].weights, NULL, &want, &sums, err));
        }
    }
done:
    return status;
}

static bm_status scale_inputs(bm_search_loss *l, const candidate *c, const bm_tensor *inputs, const bm_tensor *out,
                              bm_error *err)
{
    if (l->params.input == BM_INPUT_FLOAT)
        return bm_shift_scale(l->device, inputs, NULL, &c->inverses, out, err);
    bm_status status = BM_OK;
    bm_int8_rows codes;
    BM_TRY(quantize_inputs(l, c, inputs, &codes, err));
    const bm_tensor steps = steps_of(&codes), zeros = bm_tensor_rows(&l->zeros, 0, inputs->rows);
    BM_TRY(bm_dequantize(l->device, &codes.codes, &steps, &zeros, (uint32_t)l->channels, out, err));
done:
    return status;
}

static bm_status record_floats(bm_search_loss *l, const candidate *c, bm_error *err)
{
    const bm_grid_params *grid = &l->params.grid;
    bm_status status = BM_OK;
    for (uint32_t s = 0; s < l->num_slabs && l->slabs[s].first < c->tokens; s++) {
        const search_slab *slab = &l->slabs[s];
        const uint64_t tokens = bm_min_u64(slab->inputs.rows, c->tokens - slab->first);
        const bm_tensor inputs = bm_tensor_rows(&slab->inputs, 0, tokens);
        const bm_tensor scaled_inputs = bm_tensor_rows(&l->scaled_inputs, 0, tokens);
        BM_TRY(scale_inputs(l, c, &inputs, &scaled_inputs, err));
        for (uint32_t i = 0; i < l->num_pieces; i++) {
            const search_piece *piece = &l->pieces[i];
            const uint64_t rows = piece->rows.rows;
            const bm_tensor scaled = bm_tensor_rows(&l->scaled, 0, rows), step = bm_tensor_rows(&l->step, 0, rows);
            const bm_tensor zero_point = bm_tensor_rows(&l->zero_point, 0, rows);
            const bm_tensor want_rows = bm_tensor_rows(&slab->wants[piece->product], 0, tokens);
            const bm_tensor want = bm_tensor_columns(&want_rows, piece->first, rows);
            const bm_tensor outputs = bm_tensor_reshape(&l->outputs, tokens, rows);
            const bm_tensor sums = sums_of(l, c, i, slab, tokens);
            BM_TRY(bm_shift_scale(l->device, &piece->rows, NULL, &c->scales, &scaled, err));
            BM_TRY(bm_grid_search(l->device, &scaled, grid, NULL, &step, &zero_point, err));
            BM_TRY(
                bm_fake_quantize(l->device, &scaled, &step, &zero_point, grid->group_size, grid->bits, &scaled, err));
            BM_TRY(bm_multiplier_set(&l->multiplier, &scaled, err));
            BM_TRY(bm_multiplier_run(&l->multiplier, &scaled_inputs, 0, rows, &outputs, err));
            BM_TRY(bm_row_error(l->device, &want, &outputs, &sums, err));
        }
    }
done:
    return status;
}

// ---- batches ----

static double loss_of(const bm_search_loss *l, const float *sums, uint64_t tokens)
{
    double loss = 0;
    for (uint32_t s = 0; s < l->num_sums; s++) {
        const uint32_t product = l->is_integer ? s : l->pieces[s].product;
        loss += l->products[product].weighting * add_rows(sums + 4 * s * tokens, tokens);
    }
    return loss / ((double)tokens * (double)l->rows);
}

// Candidates first .. first + count - 1, at most at_once. One that has no largest input is not computed.
static bm_status evaluate(bm_search_loss *l, const bm_smooth_batch *batch, uint32_t first, uint32_t count,
                          double *losses, bm_error *err)
{
    const uint64_t tokens = bm_divide_up(l->tokens, batch->token_share), block = l->num_sums * tokens;
    const bm_tensor factors = bm_tensor_rows(&l->factors, 0, 2 * (uint64_t)count);
    const bm_tensor sums = bm_tensor_rows(&l->sums, 0, count * block);
    bm_status status = BM_OK;
    for (uint32_t i = 0; i < count; i++) {
        const float *scales = batch->scales + (first + i) * l->channels;
        float *to = l->host_factors + 2 * i * l->channels;
        for (uint64_t c = 0; c < l->channels; c++) {
            to[c] = scales[c];
            to[l->channels + c] = 1.0f / scales[c];
        }
    }
    BM_TRY(bm_tensor_upload(l->device, &factors, l->host_factors, err));
    for (uint32_t i = 0; i < count; i++) {
        const candidate c = {.scales = bm_tensor_rows(&l->factors, 2 * (uint64_t)i, 1),
                             .inverses = bm_tensor_rows(&l->factors, 2 * (uint64_t)i + 1, 1),
                             .peak = (float)batch->act_amax[first + i],
                             .first_sum = i * block,
                             .tokens = tokens};
        losses[first + i] = l->params.input == BM_INPUT_STATIC && !(c.peak >= 0 && isfinite(c.peak)) ? NAN : 0;
        if (isfinite(losses[first + i]))
            BM_TRY(l->is_integer ? record_integers(l, &c, err) : record_floats(l, &c, err));
    }
    BM_TRY(bm_tensor_download(l->device, &sums, l->host_sums, err));
    BM_TRY(bm_device_wait(l->device, err));
    for (uint32_t i = 0; i < count; i++)
        if (isfinite(losses[first + i]))
            losses[first + i] = loss_of(l, l->host_sums + 4 * i * block, tokens);
done:
    return status;
}

static bm_status evaluate_alone(bm_search_loss *l, const bm_smooth_batch *batch, uint32_t first, uint32_t count,
                                double *losses, bm_error *err)
{
    bm_status status = BM_OK;
    for (uint32_t i = first; i < first + count && status == BM_OK; i++) {
        status = evaluate(l, batch, i, 1, losses, err);
        if (status == BM_E_NUMERIC) {
            losses[i] = NAN;
            status = BM_OK;
        }
    }
    return status;
}

// How many are evaluated between two waits.
static uint32_t candidates_at_once(const bm_search_loss *l, uint64_t tokens)
{
    const double gflops = (l->is_integer ? bm_gemm_int8_choose(l->device) : bm_gemm_choose(l->device)).gflops;
    const double seconds = bm_gemm_operations(tokens, l->rows, l->channels) / (gflops * 1e9);
    const uint64_t by_size = bm_min_u64(MAX_AT_ONCE, l->sums.rows / (l->num_sums * tokens));
    return (uint32_t)fmax(1, fmin((double)by_size, MAX_SECONDS / seconds));
}

bm_status bm_search_loss_run(void *context, const bm_smooth_batch *batch, double *losses, bm_error *err)
{
    bm_search_loss *l = context;
    bm_status status = BM_OK;
    BM_FAIL_IF(batch->token_share != 1 && batch->token_share != BM_SMOOTH_PRUNE_SHARE, err, BM_E_ARGUMENT,
               "piecewise search: one token in %u, expected 1 or %d", batch->token_share, BM_SMOOTH_PRUNE_SHARE);
    const uint32_t at_once = candidates_at_once(l, bm_divide_up(l->tokens, batch->token_share));
    for (uint32_t first = 0; first < batch->count; first += at_once) {
        const uint32_t count = (uint32_t)bm_min_u64(at_once, batch->count - first);
        if (l->params.phase)
            BM_TRY(bm_phase_step(l->params.phase, 0, err));
        status = evaluate(l, batch, first, count, losses, err);
        if (status == BM_E_NUMERIC) // one of them is not finite: each alone
            status = evaluate_alone(l, batch, first, count, losses, err);
        BM_TRY(status);
    }
done:
    return status;
}
