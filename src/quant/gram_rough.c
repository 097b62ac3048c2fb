// Rough losses: for each candidate one dispatch that rounds and subtracts, then for all that fit products of panels and sums of rows.
#include "quant/gram_rough.h"

#include "ops/elementwise.h"
#include "quant/scaled_rounding.h"

#include <math.h>

#define MIN_PANEL 256 // columns: narrower products are slow
#define MAX_PANELS 8
#define SPREAD 4096 // G' is stored times this, so that nothing that counts is a denormal number

bool bm_rough_gram_pays(const bm_multiplier *m, uint64_t channels)
{
    const bm_split_product *split = &m->split;
    return split->choice.gflops > 0 && !split->is_off && channels >= split->min_columns;
}

// ---- the matrix

void bm_rough_gram_destroy(bm_rough_gram *rough)
{
    bm_tensor_destroy(&rough->matrix);
    bm_tensor_destroy(&rough->factor);
}

// From the diagonal D = 1 / sqrt(G[c, c]), and D^-1.
static void balance(float *d, float *inverse, uint64_t channels)
{
    for (uint64_t c = 0; c < channels; c++) {
        inverse[c] = d[c] > 0 ? (float)sqrt((double)d[c]) : 0;
        d[c] = d[c] > 0 ? (float)(1 / sqrt((double)d[c])) : 0;
    }
}

// Columns of G times D, which are its rows too, then their columns times D: once in the panel, twice behind it.
static bm_status make_panel(bm_device *device, const bm_tensor *gram, const bm_tensor *d, const bm_tensor *columns,
                            uint64_t first, uint64_t count, const bm_tensor *kept, const bm_tensor *panel,
                            bm_error *err)
{
    const uint64_t channels = gram->cols;
    const bm_tensor some = bm_tensor_columns(gram, first, count), own = bm_tensor_columns(d, first, count);
    const bm_tensor scaled = bm_tensor_reshape(&kept[0], channels, count);
    const bm_tensor turned = bm_tensor_reshape(&kept[1], count, channels);
    bm_status status = BM_OK;
    BM_TRY(bm_shift_scale(device, &some, NULL, &own, &scaled, err));
    BM_TRY(bm_transpose(device, &scaled, &turned, err));
    BM_TRY(bm_shift_scale(device, &turned, NULL, columns, panel, err));
done:
    return status;
}

bm_status bm_rough_gram_create(bm_device *device, const bm_tensor *gram, bm_rough_gram *out, bm_error *err)
{
    const uint64_t channels = gram->cols;
    const uint64_t width = bm_round_up(bm_max_u64(MIN_PANEL, channels / MAX_PANELS), BM_GEMM_SLICE_ROWS);
    const uint64_t panels = bm_divide_up(channels, width), stride = bm_tensor_stride(BM_DTYPE_F32, width);
    const uint64_t elements = bm_max_u64(channels * stride, width * bm_tensor_stride(BM_DTYPE_F32, channels));
    bm_status status = BM_OK;
    bm_tensor diagonal = {0}, columns = {0}, kept[2] = {{0}, {0}};
    float *host = bm_alloc((panels + 2) * channels, sizeof *host), *d = host, *inverse = host + channels;
    *out = (bm_rough_gram){.width = width, .unit = 1.0 / SPREAD};
    BM_FAIL_IF(!host, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, 1, channels, "diagonal", &diagonal, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, 1, channels, "factors of differences", &out->factor, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, panels, channels, "factors of a Gram matrix", &columns, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F16, channels, channels, "Gram matrix in float16", &out->matrix, err));
    for (uint32_t i = 0; i < BM_COUNT(kept); i++)
        BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, 1, elements, "panel of a Gram matrix", &kept[i], err));
    BM_TRY(bm_diagonal(device, gram, &diagonal, err));
    BM_TRY(bm_tensor_download(device, &diagonal, d, err));
    BM_TRY(bm_device_wait(device, err));
    balance(d, inverse, channels);
    for (uint64_t p = 0; p < panels; p++)
        for (uint64_t c = 0; c < channels; c++)
            host[(2 + p) * channels + c] = d[c] * SPREAD * (c < p * width ? 0.0f : c < (p + 1) * width ? 1.0f : 2.0f);
    BM_TRY(bm_tensor_upload(device, &diagonal, d, err));
    BM_TRY(bm_tensor_upload(device, &out->factor, inverse, err));
    BM_TRY(bm_tensor_upload(device, &columns, host + 2 * channels, err));
    for (uint64_t p = 0; p < panels; p++) {
        const uint64_t first = p * width, count = bm_min_u64(width, channels - first);
        const bm_tensor row = bm_tensor_rows(&columns, p, 1), panel = bm_tensor_rows(&out->matrix, first, count);
        BM_TRY(make_panel(device, gram, &diagonal, &row, first, count, kept, &panel, err));
    }
    BM_TRY(bm_device_wait(device, err));
done:
    bm_tensor_destroy(&diagonal);
    bm_tensor_destroy(&columns);
    for (uint32_t i = 0; i < BM_COUNT(kept); i++)
        bm_tensor_destroy(&kept[i]);
    bm_free(host);
    return status;
}

// ---- the losses

typedef struct rough_work {
    bm_device *device;
    const bm_split_product *split;
    const bm_rough_gram *rough;
    const bm_gram_loss_params *params;
    uint64_t channels, most_rows, max_rows; // of a part; of candidates one below the other
    uint32_t count;
    bm_scaled_rounding rounding;
    bm_tensor parts, product; // [max_rows, channels]
    bm_tensor units, sums;    // of all rows of all candidates, in the order of batches; a candidate's begin at 16 bytes
    float *host_units, *host_sums;
} rough_work;

// Some rows of a part behind some candidates. Begin with zeros.
typedef struct rough_batch {
    uint32_t linear, part, first_candidate, count;
    uint64_t first_row, rows, at; // at: of its first row among all
    bool is_begun;
} rough_batch;

static bool next(const rough_work *w, rough_batch *b)
{
    const bm_gram_loss_params *p = w->params;
    if (b->is_begun) {
        b->at += b->count * bm_round_up(b->rows, 4);
        b->first_candidate += b->count;
    }
    if (b->first_candidate == w->count) {
        b->first_candidate = 0;
        b->first_row += b->rows;
    }
    while (b->linear < p->num_linears && b->first_row == p->linears[b->linear]->parts[b->part].rows) {
        b->first_row = 0;
        if (++b->part == p->linears[b->linear]->num_parts)
            b->part = 0, b->linear++;
    }
    if (b->linear == p->num_linears)
        return false;
    b->is_begun = true;
    b->rows =
        bm_min_u64(bm_min_u64(w->most_rows, w->max_rows), p->linears[b->linear]->parts[b->part].rows - b->first_row);
    if (b->rows == 0)
        return false;
    b->count = (uint32_t)bm_min_u64(w->count - b->first_candidate, w->max_rows / b->rows);
    return true;
}

static void free_work(rough_work *w)
{
    bm_tensor *const all[] = {&w->parts, &w->product, &w->units, &w->sums};
    bm_scaled_rounding_end(&w->rounding);
    for (size_t i = 0; i < BM_COUNT(all); i++)
        bm_tensor_destroy(all[i]);
    bm_free(w->host_units);
    bm_free(w->host_sums);
}

static bm_status begin(rough_work *w, const float *scales, bm_error *err)
{
    const bm_gram_loss_params *p = w->params;
    bm_status status = BM_OK;
    rough_batch last = {0};
    for (uint32_t i = 0; i < p->num_linears; i++)
        w->most_rows = bm_max_u64(w->most_rows, p->linears[i]->parts[0].rows);
    w->max_rows = bm_gram_loss_rows(w->device, w->channels, w->most_rows, w->count);
    while (next(w, &last))
        continue;
    BM_TRY(bm_scaled_rounding_begin(w->device, p->grids, p->num_linears, 1, w->channels, scales, w->count, &w->rounding,
                                    err));
    BM_TRY(bm_tensor_create(w->device, BM_DTYPE_F16, w->max_rows, w->channels, "differences", &w->parts, err));
    BM_TRY(bm_tensor_create(w->device, BM_DTYPE_F32, w->max_rows, w->channels, "products", &w->product, err));
    BM_TRY(bm_tensor_create(w->device, BM_DTYPE_F32, 1, last.at, "units of differences", &w->units, err));
    BM_TRY(bm_tensor_create(w->device, BM_DTYPE_F32, last.at, 4, "sums", &w->sums, err));
    w->host_units = bm_alloc(last.at, sizeof *w->host_units);
    w->host_sums = bm_alloc(4 * last.at, sizeof *w->host_sums);
    BM_FAIL_IF(!w->host_units || !w->host_sums, err, BM_E_MEMORY, "out of memory");
done:
    return status;
}

// product = what gives e' G' e'^T when it is multiplied by e' and summed up: half of the work of e' G', since G' is symmetric.
static bm_status multiply(const rough_work *w, const bm_tensor *parts, const bm_tensor *product, bm_error *err)
{
    const bm_tensor *matrix = &w->rough->matrix;
    bm_status status = BM_OK;
    for (uint64_t first = 0; first < w->channels; first += w->rough->width) {
        const uint64_t count = bm_min_u64(w->rough->width, w->channels - first), rest = w->channels - first;
        const bm_tensor x = bm_tensor_columns(parts, first, rest), y = bm_tensor_columns(product, first, count);
        const bm_tensor panel = bm_tensor_part(matrix, first, count, first, rest);
        BM_TRY(bm_half_product(w->split, &x, &panel, &y, err));
    }
done:
    return status;
}

static bm_status run(const rough_work *w, const rough_batch *b, bm_error *err)
{
    const bm_tensor *part = &w->params->linears[b->linear]->parts[b->part];
    const bm_grid_params *grid = &w->params->grids[b->linear];
    const bm_tensor rows = bm_tensor_rows(part, b->first_row, b->rows);
    const uint64_t all = b->count * b->rows, padded = bm_round_up(b->rows, 4);
    const bm_tensor parts = bm_tensor_rows(&w->parts, 0, all), product = bm_tensor_rows(&w->product, 0, all);
    const bm_tensor sums = bm_tensor_rows(&w->sums, b->at, all);
    bm_status status = BM_OK;
    for (uint32_t i = 0; i < b->count; i++) {
        const bm_tensor out = bm_tensor_rows(&parts, i * b->rows, b->rows),
                        units = bm_tensor_columns(&w->units, b->at + i * padded, b->rows);
        BM_TRY(bm_scaled_difference(w->device, &w->rounding, grid, &rows, b->first_candidate + i, &w->rough->factor,
                                    &out, &units, err));
    }
    BM_TRY(multiply(w, &parts, &product, err));
    BM_TRY(bm_row_dot(w->device, &parts, &product, &sums, err));
    if (w->params->phase)
        BM_TRY(bm_phase_step(w->params->phase, 0, err));
done:
    return status;
}

static void add_up(const rough_work *w, const rough_batch *b, double *losses)
{
    const uint64_t padded = bm_round_up(b->rows, 4);
    for (uint32_t i = 0; i < b->count; i++)
        for (uint64_t r = 0; r < b->rows; r++) {
            const double unit = (double)w->host_units[b->at + i * padded + r];
            losses[b->first_candidate + i] +=
                (double)w->host_sums[4 * (b->at + i * b->rows + r)] * unit * unit * w->rough->unit;
        }
}

bm_status bm_rough_losses(bm_multiplier *m, const bm_rough_gram *rough, const bm_gram_loss_params *p,
                          const float *scales, uint32_t count, double *losses, bm_error *err)
{
    bm_status status = BM_OK;
    rough_work w = {.device = m->device,
                    .split = &m->split,
                    .rough = rough,
                    .params = p,
                    .channels = p->gram->cols,
                    .count = count};
    for (uint32_t i = 0; i < count; i++)
        losses[i] = 0;
    BM_TRY(bm_gram_loss_check(p, err));
    BM_TRY(begin(&w, scales, err));
    for (rough_batch b = {0}; next(&w, &b);)
        BM_TRY(run(&w, &b, err));
    BM_TRY(bm_tensor_download(w.device, &w.units, w.host_units, err));
    BM_TRY(bm_tensor_download(w.device, &w.sums, w.host_sums, err));
    BM_TRY(bm_device_wait(w.device, err));
    for (rough_batch b = {0}; next(&w, &b);)
        add_up(&w, &b, losses);
done:
    free_work(&w);
    return status;
}
