// Logits of a whole model.
#include "model/logits.h"

#include "infer/stream.h"

#include <math.h>
#include <string.h>

static bm_status run_blocks(bm_stream *stream, logits_make_block *make, void *user, bm_error *err)
{
    bm_device *device = stream->params.device;
    bm_status status = BM_OK;
    bm_tensor hidden;
    bm_block block = {0};
    for (uint32_t i = 0; i < stream->params.model->config.num_hidden_layers; i++) {
        BM_TRY(make(user, i, &block, err));
        BM_TRY(bm_stream_acquire(stream, 0, &hidden, err));
        BM_TRY(bm_block_forward(device, &block, &stream->batches[0].batch, &stream->workspace, NULL, &hidden, err));
        BM_TRY(bm_stream_release(stream, 0, &hidden, true, err));
        BM_TRY(bm_device_wait(device, err));
        bm_block_destroy(&block);
    }
done:
    bm_block_destroy(&block);
    return status;
}

bm_status model_logits(const bm_model *model, bm_device *device, bm_dtype dtype, const uint32_t *ids, uint32_t count,
                       double *logits, bm_error *err)
{
    return model_logits_of_blocks(model, device, dtype, NULL, NULL, ids, count, logits, err);
}

bm_status model_logits_of_blocks(const bm_model *model, bm_device *device, bm_dtype dtype, logits_make_block *make,
                                 void *user, const uint32_t *ids, uint32_t count, double *logits, bm_error *err)
{
    const bm_hf_config *c = &model->config;
    const bm_dtype wide = dtype == BM_DTYPE_F64 ? BM_DTYPE_F64 : BM_DTYPE_F32;
    const uint64_t total = (uint64_t)count * c->vocab_size;
    bm_status status = BM_OK;
    bm_stream *stream = NULL;
    bm_norm norm = {0};
    bm_tensor hidden, normed = {0}, out = {0};
    bm_weights *head = NULL;
    const bm_batch_sequence sequence = {ids, count};
    const bm_stream_params params = {.model = model,
                                     .device = device,
                                     .dtype = dtype,
                                     .sequences = &sequence,
                                     .num_sequences = 1,
                                     .phase = "logits"};
    BM_TRY(bm_stream_create(&params, &stream, err));
    BM_TRY(make ? run_blocks(stream, make, user, err) : bm_stream_run(stream, err));
    BM_TRY(bm_stream_acquire(stream, 0, &hidden, err));
    BM_TRY(bm_norm_load(model, device, model->family->layout->final_norm, c->hidden_size, dtype, &norm, err));
    BM_TRY(bm_tensor_create(device, dtype, count, c->hidden_size, "normed", &normed, err));
    BM_TRY(bm_tensor_create(device, wide, count, c->vocab_size, "logits", &out, err));
    BM_TRY(bm_model_load_head_rows(model, device, 0, c->vocab_size, dtype, &head, err));
    BM_TRY(bm_norm_apply(device, &norm, &hidden, &normed, err));
    BM_TRY(bm_gemm(device, &normed, head, NULL, &out, err));
    BM_TRY(bm_model_cap_logits(model, device, &out, err));
    BM_TRY(bm_tensor_download(device, &out, logits, err));
    BM_TRY(bm_device_wait(device, err));
    if (wide == BM_DTYPE_F32) // widened in place, from the end
        for (uint64_t i = total; i > 0; i--) {
            float value;
            memcpy(&value, (const char *)logits + (i - 1) * sizeof value, sizeof value);
            logits[i - 1] = (double)value;
        }
done:
    bm_weights_destroy(&head);
    bm_norm_destroy(&norm);
    bm_tensor_destroy(&normed);
    bm_tensor_destroy(&out);
    bm_stream_destroy(&stream);
    return status;
}

static double log_sum_exp(const double *row, uint64_t cols)
{
    double largest = row[0], sum = 0;
    for (uint64_t i = 1; i < cols; i++)
        largest = fmax(largest, row[i]);
    for (uint64_t i = 0; i < cols; i++)
        sum += exp(row[i] - largest);
    return largest + log(sum);
}

static uint64_t largest_of(const double *row, uint64_t cols)
{
    uint64_t best = 0;
    for (uint64_t i = 1; i < cols; i++)
        if (row[i] > row[best])
            best = i;
    return best;
}

logits_difference logits_compare(const double *want, const double *got, uint64_t rows, uint64_t cols)
{
    logits_difference all = {0};
    double largest = 0, difference = 0;
    for (uint64_t i = 0; i < rows * cols; i++) {
        largest = fmax(largest, fabs(want[i]));
        const double d = fabs(want[i] - got[i]);
        if (d > difference || isnan(d)) // a NaN then stays: no number is larger
            difference = d;
    }
    for (uint64_t r = 0; r < rows; r++) {
        const double *a = want + r * cols, *b = got + r * cols;
        const double la = log_sum_exp(a, cols), lb = log_sum_exp(b, cols);
        for (uint64_t i = 0; i < cols; i++)
            all.kl += exp(a[i] - la) * ((a[i] - la) - (b[i] - lb)) / (double)rows;
        all.top1 += (largest_of(a, cols) == largest_of(b, cols)) / (double)rows;
    }
    all.relative = difference / largest;
    return all;
}

double logits_bound(bm_dtype dtype)
{
    return dtype == BM_DTYPE_F32 ? 6e-6 : dtype == BM_DTYPE_F16 ? 5e-3 : 4e-2;
}
