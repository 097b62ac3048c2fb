// Losses of scales by a Gram matrix: differences of some rows, of several candidates one below the other, times the matrix.
#include "quant/gram_loss.h"

#include "ops/elementwise.h"
#include "quant/scaled_rounding.h"

#include <math.h>

#define MAX_BYTES (UINT64_C(128) << 20) // of one of the three matrices: rounded rows, differences, products
#define MEMORY_SHARE 16                 // of the device's memory: of one of them, if that is less
#define MIN_PANEL 256                   // columns: narrower products are slow
#define MAX_PANELS 8

typedef struct loss_work {
    bm_device *device;
    bm_multiplier *multiplier;
    const bm_gram_loss_params *params;
    uint64_t channels, max_rows;
    bm_scaled_rounding rounding;
    bm_tensor rounded;                   // of some rows of one candidate
    bm_tensor difference, product, sums; // [max_rows, ..]
    float *host;                         // [max_rows, 4]
} loss_work;

uint64_t bm_gram_loss_rows(const bm_device *device, uint64_t channels, uint64_t rows, uint32_t count)
{
    const bm_device_limits *limits = &bm_device_get_info(device)->limits;
    const uint64_t bytes =
        bm_min_u64(bm_min_u64(MAX_BYTES, limits->max_allocation_bytes), limits->memory_bytes / MEMORY_SHARE);
    const uint64_t fit = bm_max_u64(4, bytes / (bm_tensor_stride(BM_DTYPE_F32, channels) * sizeof(float)));
    return bm_min_u64(fit, rows * count);
}

uint64_t bm_gram_loss_bytes(const bm_device *device, uint64_t channels, uint64_t rows, uint32_t count)
{
    const uint64_t all = bm_gram_loss_rows(device, channels, rows, count), one = bm_min_u64(all, rows);
    const uint64_t row = bm_tensor_stride(BM_DTYPE_F32, channels) * sizeof(float);
    // Steps and zero points of a row, of groups of four channels at the least, take as much as it when padded.
    return all * (2 * row + 16) + one * 3 * row;
}

static void free_work(loss_work *w)
{
    bm_tensor *const all[] = {&w->rounded, &w->difference, &w->product, &w->sums};
    bm_scaled_rounding_end(&w->rounding);
    for (size_t i = 0; i < BM_COUNT(all); i++)
        bm_tensor_destroy(all[i]);
    bm_free(w->host);
}

static bm_status begin(loss_work *w, const float *scales, uint32_t count, bm_error *err)
{
    const bm_gram_loss_params *p = w->params;
    bm_status status = BM_OK;
    uint64_t rows = 0;
    for (uint32_t i = 0; i < p->num_linears; i++)
        rows = bm_max_u64(rows, p->linears[i]->parts[0].rows);
    w->max_rows = bm_gram_loss_rows(w->device, w->channels, rows, count);
    const uint64_t one = bm_min_u64(w->max_rows, rows);
    BM_TRY(bm_scaled_rounding_begin(w->device, p->grids, p->num_linears, one, w->channels, scales, count, &w->rounding,
                                    err));
    BM_TRY(bm_tensor_create(w->device, BM_DTYPE_F32, one, w->channels, "rounded weights", &w->rounded, err));
    BM_TRY(bm_tensor_create(w->device, BM_DTYPE_F32, w->max_rows, w->channels, "differences", &w->difference, err));
    BM_TRY(bm_tensor_create(w->device, BM_DTYPE_F32, w->max_rows, w->channels, "products", &w->product, err));
    BM_TRY(bm_tensor_create(w->device, BM_DTYPE_F32, w->max_rows, 4, "sums", &w->sums, err));
    w->host = bm_alloc(4 * w->max_rows, sizeof *w->host);
    BM_FAIL_IF(!w->host, err, BM_E_MEMORY, "out of memory");
done:
    return status;
}

// out = rows - Q(rows s) / s.
static bm_status subtract_rounded(loss_work *w, const bm_grid_params *grid, const bm_tensor *rows, uint32_t candidate,
                                  const bm_tensor *out, bm_error *err)
{
    const bm_tensor rounded = bm_tensor_rows(&w->rounded, 0, rows->rows);
    bm_status status = BM_OK;
    BM_TRY(bm_scaled_rounding_run(w->device, &w->rounding, grid, rows, candidate, &rounded, err));
    BM_TRY(bm_add_scaled(w->device, rows, &rounded, -1.0f, out, err));
done:
    return status;
}

// product = what gives e G e^T when it is multiplied by e and summed up: of each panel of columns, e times the panel's own square, and
// twice what lies below it, since G is symmetric: half of the work of e G.
static bm_status multiply(loss_work *w, const bm_tensor *difference, const bm_tensor *product, bm_error *err)
{
    const bm_tensor *gram = w->params->gram;
    const uint64_t channels = w->channels;
    const uint64_t width = bm_round_up(bm_max_u64(MIN_PANEL, channels / MAX_PANELS), BM_GEMM_SLICE_ROWS);
    bm_status status = BM_OK;
    for (uint64_t first = 0; first < channels; first += width) {
        const uint64_t count = bm_min_u64(width, channels - first), end = first + count;
        const bm_tensor out = bm_tensor_columns(product, first, count),
                        own = bm_tensor_columns(difference, first, count);
        const bm_tensor square = bm_tensor_part(gram, first, count, first, count);
        BM_TRY(bm_multiply(w->multiplier, &own, &square, &out, err));
        if (end == channels)
            break;
        const bm_tensor later = bm_tensor_columns(difference, end, channels - end);
        const bm_tensor below = bm_tensor_part(gram, first, count, end, channels - end);
        BM_TRY(bm_multiply_add(w->multiplier, &later, &below, 2.0f, &out, err));
    }
done:
    return status;
}

// Some rows of a linear behind candidates first .. first + count - 1, which fit.
static bm_status add_losses(loss_work *w, const bm_grid_params *grid, const bm_tensor *rows, uint32_t first,
                            uint32_t count, double *losses, bm_error *err)
{
    const uint64_t all = count * rows->rows;
    const bm_tensor difference = bm_tensor_rows(&w->difference, 0, all), product = bm_tensor_rows(&w->product, 0, all);
    const bm_tensor sums = bm_tensor_rows(&w->sums, 0, all);
    bm_status status = BM_OK;
    for (uint32_t i = 0; i < count; i++) {
        const bm_tensor out = bm_tensor_rows(&difference, i * rows->rows, rows->rows);
        BM_TRY(subtract_rounded(w, grid, rows, first + i, &out, err));
    }
    BM_TRY(multiply(w, &difference, &product, err));
    BM_TRY(bm_row_dot(w->device, &difference, &product, &sums, err));
    BM_TRY(bm_tensor_download(w->device, &sums, w->host, err));
    BM_TRY(bm_device_wait(w->device, err));
    for (uint64_t r = 0; r < all; r++)
        losses[first + r / rows->rows] += (double)w->host[4 * r];
    if (w->params->phase)
        BM_TRY(bm_phase_step(w->params->phase, 0, err));
done:
    return status;
}

bm_status bm_gram_loss_check(const bm_gram_loss_params *p, bm_error *err)
{
    const uint64_t channels = p->gram->cols;
    bm_status status = BM_OK;
    for (uint32_t i = 0; i < p->num_linears; i++)
        BM_FAIL_IF(p->linears[i]->in_features != channels, err, BM_E_ARGUMENT, "%s: %llu inputs, expected %llu",
                   p->linears[i]->name, (unsigned long long)p->linears[i]->in_features, (unsigned long long)channels);
done:
    return status;
}

bm_status bm_gram_losses(bm_multiplier *m, const bm_gram_loss_params *p, const float *scales, uint32_t count,
                         double *losses, bm_error *err)
{
    bm_status status = BM_OK;
    loss_work w = {.device = m->device, .multiplier = m, .params = p, .channels = p->gram->cols};
    for (uint32_t i = 0; i < count; i++)
        losses[i] = 0;
    BM_TRY(bm_gram_loss_check(p, err));
    BM_TRY(begin(&w, scales, count, err));
    for (uint32_t i = 0; i < p->num_linears; i++)
        for (uint32_t part = 0; part < p->linears[i]->num_parts; part++) {
            const bm_tensor *all = &p->linears[i]->parts[part];
            for (uint64_t first = 0; first < all->rows; first += w.rounded.rows) {
                const bm_tensor rows = bm_tensor_rows(all, first, bm_min_u64(w.rounded.rows, all->rows - first));
                const uint32_t at_once = (uint32_t)bm_min_u64(count, w.max_rows / rows.rows);
                for (uint32_t c = 0; c < count; c += at_once)
                    BM_TRY(
                        add_losses(&w, &p->grids[i], &rows, c, (uint32_t)bm_min_u64(at_once, count - c), losses, err));
            }
        }
done:
    free_work(&w);
    return status;
}
