// Statistics and a sample of the inputs of a group of linears.
#include "quant/activation_statistics.h"

#include "base/random.h"
#include "ops/embedding.h"
#include "ops/statistics.h"

#include <math.h>
#include <string.h>

static uint32_t end_sampled(const bm_activation_statistics_params *p)
{
    return (uint32_t)bm_min_u64((uint64_t)p->first_sampled + p->num_sampled, p->num_sequences);
}

static uint32_t count_sampled(const bm_activation_statistics_params *p)
{
    uint64_t tokens = 0;
    for (uint32_t n = p->first_sampled; n < end_sampled(p); n++)
        tokens += p->tokens[n];
    return (uint32_t)bm_min_u64(tokens, p->search_tokens);
}

uint64_t bm_activation_statistics_bytes(const bm_activation_statistics_params *p, uint64_t sample)
{
    const uint64_t row = bm_tensor_stride(BM_DTYPE_F32, p->channels) * sizeof(float);
    const uint64_t sample_row =
        sample ? bm_tensor_stride(p->sample_dtype, p->channels) * bm_dtype_size(p->sample_dtype) : 0;
    return (uint64_t)(p->magnitudes ? 4 : 3) * p->num_sequences * row + sample * (sample_row + sizeof(uint32_t));
}

static bm_status check(const bm_activation_statistics_params *p, bm_error *err)
{
    uint64_t tokens = 0;
    if (p->channels == 0 || p->num_sequences == 0)
        return bm_fail(err, BM_E_ARGUMENT, "activation statistics: expected channels and sequences, found none");
    for (uint32_t n = 0; n < p->num_sequences; n++) {
        if (p->tokens[n] == 0)
            return bm_fail(err, BM_E_ARGUMENT, "activation statistics: sequence %u has no tokens", n);
        tokens += p->tokens[n];
    }
    if (tokens > UINT32_C(1) << 31)
        return bm_fail(err, BM_E_ARGUMENT, "activation statistics: found %llu tokens, expected at most 2^31",
                       (unsigned long long)tokens);
    return BM_OK;
}

// Draws the tokens and makes room for them.
static bm_status begin_sample(bm_device *device, bm_activation_statistics *s, bm_error *err)
{
    const bm_activation_statistics_params *p = &s->params;
    const uint64_t bytes = s->num_sample * sizeof *s->sample_tokens;
    bm_status status = BM_OK;
    bm_random random;
    bm_random_init(&random, p->seed, 0);
    s->sample_tokens = bm_alloc(s->num_sample, sizeof *s->sample_tokens);
    BM_FAIL_IF(!s->sample_tokens, err, BM_E_MEMORY, "out of memory");
    const uint32_t first = s->first_token[p->first_sampled], drawn_from = s->first_token[end_sampled(p)] - first;
    bm_random_choose(&random, drawn_from, s->num_sample, s->sample_tokens);
    for (uint32_t i = 0; i < s->num_sample; i++)
        s->sample_tokens[i] += first;
    BM_TRY(bm_tensor_create(device, p->sample_dtype, s->num_sample, p->channels, "sample of inputs", &s->sample, err));
    BM_TRY(bm_buffer_create(device, bytes, "tokens of the sample", &s->ids, err));
    BM_TRY(bm_upload(device, bm_view_part(bm_buffer_view(s->ids), 0, bytes), s->sample_tokens, bytes, err));
done:
    return status;
}

bm_status bm_activation_statistics_begin(bm_device *device, const bm_activation_statistics_params *params,
                                         bm_activation_statistics *out, bm_error *err)
{
    const uint32_t num = params->num_sequences, channels = params->channels;
    bm_status status = BM_OK;
    *out = (bm_activation_statistics){.params = *params, .bad_sequence = UINT32_MAX};
    BM_TRY(check(params, err));
    out->params.tokens = out->tokens = bm_alloc(num, sizeof *out->tokens);
    out->first_token = bm_alloc((uint64_t)num + 1, sizeof *out->first_token);
    out->watched = bm_alloc_zero(num, 1);
    BM_FAIL_IF(!out->tokens || !out->first_token || !out->watched, err, BM_E_MEMORY, "out of memory");
    memcpy(out->tokens, params->tokens, num * sizeof *out->tokens);
    out->first_token[0] = 0;
    for (uint32_t n = 0; n < num; n++)
        out->first_token[n + 1] = out->first_token[n] + out->tokens[n];
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, num, channels, "minima of inputs", &out->minimum, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, num, channels, "maxima of inputs", &out->maximum, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, num, channels, "sums of inputs", &out->sum, err));
    if (params->magnitudes)
        BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, num, channels, "sums of magnitudes of inputs", &out->magnitudes,
                                err));
    out->num_sample = count_sampled(params);
    if (out->num_sample > 0)
        BM_TRY(begin_sample(device, out, err));
done:
    return status;
}

void bm_activation_statistics_destroy(bm_activation_statistics *s)
{
    bm_free(s->tokens);
    bm_free(s->first_token);
    bm_free(s->watched);
    bm_free(s->sample_tokens);
    bm_tensor_destroy(&s->minimum);
    bm_tensor_destroy(&s->maximum);
    bm_tensor_destroy(&s->sum);
    bm_tensor_destroy(&s->magnitudes);
    bm_tensor_destroy(&s->sample);
    bm_buffer_destroy(&s->ids);
    *s = (bm_activation_statistics){0};
}

// How many tokens of the sample lie in front of this one.
static uint32_t find_sample(const bm_activation_statistics *s, uint32_t token)
{
    uint32_t low = 0, high = s->num_sample;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (s->sample_tokens[middle] < token)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bm_status bm_activation_statistics_sample(bm_device *device, const bm_activation_statistics *s, const bm_tensor *rows,
                                          uint32_t first_sequence, const bm_tensor *sample, bm_error *err)
{
    const uint32_t first_token = s->first_token[first_sequence];
    const uint32_t end = find_sample(s, first_token + (uint32_t)rows->rows);
    uint32_t first = find_sample(s, first_token);
    if (first == end)
        return BM_OK;
    first -= first % 4; // views begin at 16 bytes; tokens of other batches are left alone
    const bm_view ids =
        bm_view_part(bm_buffer_view(s->ids), first * sizeof(uint32_t), (end - first) * sizeof(uint32_t));
    const bm_tensor to = bm_tensor_rows(sample, first, end - first);
    return bm_embedding(device, ids, rows, first_token, s->first_token[s->params.num_sequences], &to, err);
}

bm_status bm_activation_statistics_watch(bm_device *device, bm_activation_statistics *s, const bm_tensor *inputs,
                                         uint32_t first, uint32_t count, bm_error *err)
{
    bm_status status = BM_OK;
    BM_FAIL_IF(count == 0 || first >= s->params.num_sequences || count > s->params.num_sequences - first, err,
               BM_E_ARGUMENT, "activation statistics: %u sequences behind %u, of %u", count, first,
               s->params.num_sequences);
    for (uint32_t n = first; n < first + count; n++)
        BM_FAIL_IF(s->watched[n], err, BM_E_ARGUMENT, "activation statistics: sequence %u comes again", n);
    const bm_tensor minimum = bm_tensor_rows(&s->minimum, first, count), sum = bm_tensor_rows(&s->sum, first, count);
    const bm_tensor maximum = bm_tensor_rows(&s->maximum, first, count);
    const bm_tensor magnitudes = s->params.magnitudes ? bm_tensor_rows(&s->magnitudes, first, count) : (bm_tensor){0};
    BM_TRY(bm_column_range(device, inputs, s->tokens + first, count, &minimum, &maximum, &sum, BM_MOMENT_MAGNITUDES,
                           s->params.magnitudes ? &magnitudes : NULL, err));
    BM_TRY(bm_activation_statistics_sample(device, s, inputs, first, &s->sample, err));
    memset(s->watched + first, 1, count);
done:
    return status;
}

// Leaves out the sample's tokens of sequences that were not watched.
static bm_status finish_sample(bm_device *device, bm_activation_statistics *s, bm_error *err)
{
    bm_status status = BM_OK;
    bm_tensor kept = {0};
    bm_buffer *buffer = NULL;
    uint32_t count = 0, sequence = 0, *rows = bm_alloc(s->num_sample, sizeof *rows);
    BM_FAIL_IF(!rows, err, BM_E_MEMORY, "out of memory");
    for (uint32_t i = 0; i < s->num_sample; i++) {
        while (s->sample_tokens[i] >= s->first_token[sequence + 1])
            sequence++;
        if (s->watched[sequence]) {
            s->sample_tokens[count] = s->sample_tokens[i];
            rows[count++] = i;
        }
    }
    if (count == s->num_sample)
        goto done;
    if (count > 0) {
        const uint64_t bytes = count * sizeof *rows;
        BM_TRY(bm_buffer_create(device, bytes, "rows of the sample", &buffer, err));
        BM_TRY(bm_upload(device, bm_view_part(bm_buffer_view(buffer), 0, bytes), rows, bytes, err));
        BM_TRY(bm_tensor_create(device, s->sample.dtype, count, s->sample.cols, "sample of inputs", &kept, err));
        BM_TRY(bm_embedding(device, bm_view_part(bm_buffer_view(buffer), 0, bytes), &s->sample, 0, s->num_sample, &kept,
                            err));
    }
    bm_tensor_destroy(&s->sample);
    s->sample = kept;
    s->num_sample = count;
    kept = (bm_tensor){0};
done:
    bm_tensor_destroy(&kept);
    bm_buffer_destroy(&buffer);
    bm_free(rows);
    return status;
}

enum { MINIMUM, MAXIMUM, MEAN, MEAN_MAGNITUDE, NUM_VALUES };

// Moves a watched sequence's numbers to row `to`, sums becoming means.
static bm_status finish_sequence(bm_activation_statistics *s, float *const values[NUM_VALUES], uint32_t sequence,
                                 uint32_t to, bm_error *err)
{
    const uint32_t channels = s->params.channels;
    for (uint32_t c = 0; c < channels; c++) {
        const uint64_t from = (uint64_t)sequence * channels + c, at = (uint64_t)to * channels + c;
        for (uint32_t i = 0; i < NUM_VALUES; i++) {
            if (!values[i])
                continue;
            if (!isfinite(values[i][from])) {
                s->bad_sequence = sequence;
                return bm_fail(err, BM_E_NUMERIC,
                               "sequence %u, channel %u: found a NaN, an infinity or a sum beyond float32, expected "
                               "finite activations",
                               sequence, c);
            }
            const double divisor = i >= MEAN ? s->tokens[sequence] : 1;
            values[i][at] = (float)((double)values[i][from] / divisor);
        }
    }
    return BM_OK;
}

bm_status bm_activation_statistics_finish(bm_device *device, bm_activation_statistics *s, bm_channel_statistics *out,
                                          bm_error *err)
{
    const uint32_t num = s->params.num_sequences, channels = s->params.channels;
    const bm_tensor *const tensors[NUM_VALUES] = {&s->minimum, &s->maximum, &s->sum, &s->magnitudes};
    const uint32_t num_values = s->params.magnitudes ? NUM_VALUES : MEAN_MAGNITUDE;
    float *values[NUM_VALUES] = {NULL};
    bm_status status = BM_OK;
    uint32_t count = 0;
    uint64_t *tokens = bm_alloc(num, sizeof *tokens);
    BM_FAIL_IF(!tokens, err, BM_E_MEMORY, "out of memory");
    BM_FAIL_IF(out->mean_magnitude && !s->params.magnitudes, err, BM_E_ARGUMENT,
               "activation statistics: mean magnitudes are to be kept, but were not watched");
    for (uint32_t i = 0; i < num_values; i++) {
        values[i] = bm_alloc((uint64_t)num * channels, sizeof **values);
        BM_FAIL_IF(!values[i], err, BM_E_MEMORY, "out of memory");
        BM_TRY(bm_tensor_download(device, tensors[i], values[i], err));
    }
    BM_TRY(bm_device_wait(device, err));
    for (uint32_t n = 0; n < num; n++)
        if (s->watched[n]) {
            BM_TRY(finish_sequence(s, values, n, count, err));
            tokens[count++] = s->tokens[n];
        }
    if (s->num_sample > 0)
        BM_TRY(finish_sample(device, s, err));
    BM_TRY(bm_channel_statistics_add(out, count, values[MINIMUM], values[MAXIMUM], values[MEAN], values[MEAN_MAGNITUDE],
                                     tokens, err));
done:
    for (uint32_t i = 0; i < NUM_VALUES; i++)
        bm_free(values[i]);
    bm_free(tokens);
    return status;
}
