// Rows of a linear stream through host memory, a bounded number at a time: devices have no float64 that can be counted
// on.
#include "model/fold_rows.h"

#include "base/thread.h"
#include "model/model.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { PIECE = 256, LANES = 8 };

typedef struct row_job {
    const bm_fold_row_change *change;
    uint8_t *rows; // of which first is the linear's row
    uint64_t first, cols;
    bm_dtype dtype;
    double *bias;
} row_job;

static void load_piece(const void *row, bm_dtype dtype, uint64_t first, uint64_t count, double *out)
{
    if (dtype == BM_DTYPE_F64)
        memcpy(out, (const double *)row + first, count * sizeof *out);
    else
        for (uint64_t i = 0; i < count; i++)
            out[i] = (double)((const float *)row)[first + i];
}

// Whether the type holds all of them.
static bool store_piece(void *row, bm_dtype dtype, uint64_t first, uint64_t count, const double *values)
{
    const double largest = dtype == BM_DTYPE_F64 ? DBL_MAX : (double)FLT_MAX;
    bool fits = true;
    for (uint64_t i = 0; i < count; i++)
        fits &= fabs(values[i]) <= largest;
    if (!fits)
        return false;
    if (dtype == BM_DTYPE_F64)
        memcpy((double *)row + first, values, count * sizeof *values);
    else
        for (uint64_t i = 0; i < count; i++)
            ((float *)row)[first + i] = (float)values[i];
    return true;
}

// The sum over c of row[c] in_shift[c], in lanes so that it is as fast as the rest; NaN: the type does not hold the new
// row.
static double fold_row(void *row, const row_job *job, double factor)
{
    const double *scale = job->change->in_scale, *shift = job->change->in_shift;
    double values[PIECE], sums[LANES] = {0}, sum = 0;
    for (uint64_t first = 0; first < job->cols; first += PIECE) {
        const uint64_t count = bm_min_u64(PIECE, job->cols - first), whole = count / LANES * LANES;
        load_piece(row, job->dtype, first, count, values);
        if (shift) { // before it is scaled
            for (uint64_t i = 0; i < whole; i += LANES)
                for (uint64_t k = 0; k < LANES; k++)
                    sums[k] += values[i + k] * shift[first + i + k];
            for (uint64_t i = whole; i < count; i++)
                sum += values[i] * shift[first + i];
        }
        if (scale)
            for (uint64_t i = 0; i < count; i++)
                values[i] *= scale[first + i];
        if (factor != 1)
            for (uint64_t i = 0; i < count; i++)
                values[i] *= factor;
        if (!store_piece(row, job->dtype, first, count, values))
            return NAN;
    }
    for (uint64_t k = 0; k < LANES; k++)
        sum += sums[k];
    return sum;
}

static void fold_range(void *user, uint64_t begin, uint64_t end)
{
    const row_job *job = user;
    const bm_fold_row_change *change = job->change;
    for (uint64_t r = begin; r < end; r++) {
        const uint64_t o = job->first + r;
        const double divisor = change->out_scale ? change->out_scale[o] : 1;
        const double sum = fold_row(job->rows + r * job->cols * bm_dtype_size(job->dtype), job, 1 / divisor);
        job->bias[o] = (job->bias[o] + sum - (change->out_shift ? change->out_shift[o] : 0)) / divisor;
    }
}

static bm_status fold_part(bm_device *device, const bm_weights *weights, row_job *job, const bm_tensor *rows,
                           bm_error *err)
{
    bm_status status = BM_OK;
    BM_TRY(bm_tensor_download(device, rows, job->rows, err));
    BM_TRY(bm_device_wait(device, err));
    bm_parallel_for(rows->rows, 1 + (UINT64_C(1) << 16) / job->cols, fold_range, job);
    for (uint64_t o = job->first; o < job->first + rows->rows; o++)
        BM_FAIL_IF(!isfinite(job->bias[o]), err, BM_E_NUMERIC,
                   "%s: row %llu, or its bias, is beyond the range of %s when folded", weights->name,
                   (unsigned long long)o, bm_dtype_name(job->dtype));
    BM_TRY(bm_tensor_upload(device, rows, job->rows, err));
done:
    return status;
}

bm_status bm_fold_rows(bm_device *device, bm_weights *weights, const bm_fold_row_change *change, double *bias,
                       bm_error *err)
{
    const uint64_t cols = weights->in_features, step = bm_model_rows_per_read(cols, weights->dtype);
    bm_status status = BM_OK;
    row_job job = {.change = change, .cols = cols, .dtype = weights->dtype, .bias = bias};
    job.rows = bm_alloc(bm_min_u64(step, weights->out_features) * cols, bm_dtype_size(weights->dtype));
    BM_FAIL_IF(!job.rows, err, BM_E_MEMORY, "out of memory");
    for (uint32_t p = 0; p < weights->num_parts; p++)
        for (uint64_t first = 0; first < weights->parts[p].rows; first += step) {
            const bm_tensor rows =
                bm_tensor_rows(&weights->parts[p], first, bm_min_u64(step, weights->parts[p].rows - first));
            job.first = p * weights->rows_per_part + first;
            BM_TRY(fold_part(device, weights, &job, &rows, err));
        }
done:
    bm_free(job.rows);
    return status;
}
