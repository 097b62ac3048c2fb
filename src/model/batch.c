// Ragged batches: arrays are made on the host and uploaded in one piece.
#include "model/batch.h"

typedef struct batch_arrays {
    uint32_t *words;                                                       // num_arrays * stride
    uint32_t *ids, *positions, *last_key, *first_key, *first_key_windowed; // inside words
    uint32_t stride;                                                       // words, a multiple of 4
} batch_arrays;

enum { NUM_ARRAYS = 5 };

static bool arrays_create(batch_arrays *arrays, uint32_t num_tokens)
{
    arrays->stride = (uint32_t)bm_round_up(num_tokens, BM_VIEW_ALIGNMENT / 4);
    arrays->words = bm_alloc_zero((uint64_t)NUM_ARRAYS * arrays->stride, sizeof *arrays->words);
    if (!arrays->words)
        return false;
    uint32_t **const fields[NUM_ARRAYS] = {&arrays->ids, &arrays->positions, &arrays->last_key, &arrays->first_key,
                                           &arrays->first_key_windowed};
    for (uint32_t i = 0; i < NUM_ARRAYS; i++)
        *fields[i] = arrays->words + (size_t)i * arrays->stride;
    return true;
}

// Token at row `row` of the keys, whose sequence starts at row first.
static void arrays_put(batch_arrays *arrays, uint32_t token, uint32_t id, uint32_t position, uint32_t first,
                       uint32_t row, uint32_t window)
{
    arrays->ids[token] = id;
    arrays->positions[token] = position;
    arrays->last_key[token] = row;
    arrays->first_key[token] = first;
    arrays->first_key_windowed[token] = window > 0 && row - first >= window ? row - window + 1 : first;
}

static bm_status arrays_upload(bm_device *device, const batch_arrays *arrays, uint32_t num_tokens,
                               uint32_t first_position, uint32_t max_position, bm_batch *out, bm_error *err)
{
    const uint64_t array_bytes = (uint64_t)arrays->stride * 4;
    bm_batch batch = {.num_tokens = num_tokens, .first_position = first_position, .max_position = max_position};
    bm_status status = bm_buffer_create(device, NUM_ARRAYS * array_bytes, "batch", &batch.memory, err);
    if (status != BM_OK)
        return status;
    const bm_view whole = bm_buffer_view(batch.memory);
    bm_view *const views[NUM_ARRAYS] = {&batch.ids, &batch.positions, &batch.last_key, &batch.first_key,
                                        &batch.first_key_windowed};
    for (uint32_t i = 0; i < NUM_ARRAYS; i++)
        *views[i] = bm_view_part(whole, i * array_bytes, array_bytes);
    status = bm_upload(device, whole, arrays->words, NUM_ARRAYS * array_bytes, err);
    if (status != BM_OK)
        bm_buffer_destroy(&batch.memory);
    else
        *out = batch;
    return status;
}

bm_status bm_batch_create(bm_device *device, const bm_batch_sequence *sequences, uint32_t num_sequences,
                          uint32_t window, bm_batch *out, bm_error *err)
{
    uint64_t num_tokens = 0;
    uint32_t max_position = 0;
    for (uint32_t s = 0; s < num_sequences; s++) {
        num_tokens += sequences[s].count;
        max_position = sequences[s].count > max_position ? sequences[s].count : max_position;
    }
    if (num_tokens == 0 || num_tokens > UINT32_MAX / 2)
        return bm_fail(err, BM_E_ARGUMENT, "a batch of %llu tokens", (unsigned long long)num_tokens);
    batch_arrays arrays = {0};
    if (!arrays_create(&arrays, (uint32_t)num_tokens))
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    uint32_t row = 0;
    for (uint32_t s = 0; s < num_sequences; s++) {
        const uint32_t first = row;
        for (uint32_t i = 0; i < sequences[s].count; i++, row++)
            arrays_put(&arrays, row, sequences[s].ids[i], i, first, row, window);
    }
    const bm_status status = arrays_upload(device, &arrays, (uint32_t)num_tokens, 0, max_position, out, err);
    bm_free(arrays.words);
    return status;
}

bm_status bm_batch_create_cached(bm_device *device, const uint32_t *ids, uint32_t count, uint32_t first_position,
                                 uint32_t window, bm_batch *out, bm_error *err)
{
    if (count == 0 || count > UINT32_MAX / 2 - first_position)
        return bm_fail(err, BM_E_ARGUMENT, "a batch of %u tokens", count);
    batch_arrays arrays = {0};
    if (!arrays_create(&arrays, count))
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    for (uint32_t i = 0; i < count; i++)
        arrays_put(&arrays, i, ids[i], first_position + i, 0, first_position + i, window);
    const bm_status status = arrays_upload(device, &arrays, count, first_position, first_position + count, out, err);
    bm_free(arrays.words);
    return status;
}

void bm_batch_destroy(bm_batch *batch)
{
    bm_buffer_destroy(&batch->memory);
    *batch = (bm_batch){0};
}
