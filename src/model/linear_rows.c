// Rows of a checkpoint's linear and where they lie in a block.
#include "model/linear_rows.h"

#include "ops/elementwise.h"

#include <string.h>

uint32_t bm_linear_parts(bm_linear_id linear, bm_linear_id parts[BM_MAX_LINEAR_PARTS])
{
    if (linear == BM_LINEAR_QKV) {
        parts[0] = BM_LINEAR_Q;
        parts[1] = BM_LINEAR_K;
        parts[2] = BM_LINEAR_V;
        return 3;
    }
    if (linear == BM_LINEAR_GATE_UP) {
        parts[0] = BM_LINEAR_GATE;
        parts[1] = BM_LINEAR_UP;
        return 2;
    }
    parts[0] = linear;
    return 1;
}

uint32_t bm_linear_runs(const bm_family *family, const bm_hf_config *config, bm_linear_id linear,
                        uint32_t runs[BM_MAX_LINEAR_PARTS])
{
    bm_linear_id parts[BM_MAX_LINEAR_PARTS];
    const uint32_t count = bm_linear_parts(linear, parts);
    const bool by_heads = linear == BM_LINEAR_QKV && family->layout->qkv_by_heads;
    uint32_t in_features;
    for (uint32_t p = 0; p < count; p++) {
        bm_linear_shape(config, parts[p], &runs[p], &in_features);
        if (by_heads)
            runs[p] = config->head_dim;
    }
    return count;
}

// Of one run of every part.
static uint64_t rows_of_a_turn(const bm_linear_rows *linear)
{
    uint64_t rows = 0;
    for (uint32_t p = 0; p < linear->num_parts; p++)
        rows += linear->runs[p];
    return rows;
}

// Where a row lies, and how many of the left rows from it on lie behind it there.
typedef struct place {
    uint32_t part;
    uint64_t row, count;
} place;

static place place_of(const bm_linear_rows *linear, uint64_t row, uint64_t left)
{
    const uint64_t turn = row / rows_of_a_turn(linear);
    uint64_t within = row % rows_of_a_turn(linear);
    uint32_t part = 0;
    while (within >= linear->runs[part])
        within -= linear->runs[part++];
    return (place){part, turn * linear->runs[part] + within, bm_min_u64(linear->runs[part] - within, left)};
}

bm_status bm_linear_rows_set(bm_device *device, const bm_linear_rows *linear, uint64_t first, const bm_tensor *rows,
                             bm_error *err)
{
    bm_status status = BM_OK;
    for (uint64_t done = 0; done < rows->rows && status == BM_OK;) {
        const place to = place_of(linear, first + done, rows->rows - done);
        const bm_tensor some = bm_tensor_rows(rows, done, to.count);
        status = bm_weights_set_rows(device, linear->parts[to.part], to.row, &some, err);
        done += to.count;
    }
    return status;
}

bm_status bm_linear_rows_set_codes(bm_device *device, const bm_linear_rows *linear, uint64_t first,
                                   const bm_tensor *codes, const bm_tensor *step, bm_error *err)
{
    bm_status status = BM_OK;
    for (uint64_t done = 0; done < codes->rows && status == BM_OK;) {
        const place to = place_of(linear, first + done, codes->rows - done);
        const bm_tensor some = bm_tensor_rows(codes, done, to.count), steps = bm_tensor_rows(step, done, to.count);
        status = bm_int8_weights_set_rows(device, linear->int8_parts[to.part], to.row, &some, &steps, err);
        done += to.count;
    }
    return status;
}

bm_status bm_linear_rows_get(bm_device *device, const bm_linear_rows *linear, uint64_t first, const bm_tensor *rows,
                             bm_error *err)
{
    bm_status status = BM_OK;
    for (uint64_t done = 0; done < rows->rows && status == BM_OK;) {
        const place from = place_of(linear, first + done, rows->rows - done);
        const bm_tensor some = bm_tensor_rows(rows, done, from.count);
        status = bm_weights_get_rows(device, linear->parts[from.part], from.row, &some, err);
        done += from.count;
    }
    return status;
}

// values [width of the vector]
static bm_status download_as_floats(bm_device *device, const bm_tensor *vector, const char *name, float *values,
                                    bm_error *err)
{
    bm_status status = BM_OK;
    bm_tensor floats = {0};
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, 1, vector->cols, name, &floats, err));
    BM_TRY(bm_convert(device, vector, &floats, name, err));
    BM_TRY(bm_tensor_download(device, &floats, values, err));
    BM_TRY(bm_device_wait(device, err));
done:
    bm_tensor_destroy(&floats);
    return status;
}

bm_status bm_linear_bias_get(bm_device *device, const bm_linear_rows *linear, float *bias, bm_error *err)
{
    bm_status status = BM_OK;
    const uint64_t stride = rows_of_a_turn(linear), turns = linear->parts[0]->out_features / linear->runs[0];
    uint64_t offset = 0;
    float *values = bm_alloc(turns * stride, sizeof *values);
    BM_FAIL_IF(!values, err, BM_E_MEMORY, "out of memory");
    memset(bias, 0, turns * stride * sizeof *bias);
    for (uint32_t p = 0; p < linear->num_parts; offset += linear->runs[p++]) {
        const uint64_t run = linear->runs[p];
        if (!linear->biases[p] || !linear->biases[p]->view.buffer)
            continue;
        BM_TRY(download_as_floats(device, linear->biases[p], linear->parts[p]->name, values, err));
        for (uint64_t t = 0; t < turns; t++)
            memcpy(bias + t * stride + offset, values + t * run, run * sizeof *bias);
    }
done:
    bm_free(values);
    return status;
}
