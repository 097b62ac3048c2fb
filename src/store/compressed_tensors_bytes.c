// The int-quantized form of compressed-tensors: weight, a byte a code; weight_scale, weight_zero_point; input_scale where the
// inputs are quantized with one step.
#include "base/half.h"
#include "store/compressed_tensors.h"
#include "store/part.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define INPUT_SCALE ".input_scale"

bool bm_compressed_tensors_is_unpacked(const bm_store_linear *linear)
{
    return linear->version != 0 ? linear->version == BM_COMPRESSED_TENSORS_UNPACKED : linear->input != BM_INPUT_FLOAT;
}

bool bm_compressed_tensors_writes_bytes(const bm_store_description *description)
{
    const bm_store_linear linear = {.input = description->input, .version = description->version};
    return bm_compressed_tensors_is_unpacked(&linear);
}

uint32_t bm_compressed_tensors_bytes_parts(const bm_store_linear *linear, bm_store_part out[BM_STORE_MAX_PARTS])
{
    const bm_grid_params *grid = &linear->grid;
    const uint64_t rows = linear->out_features, cols = linear->in_features;
    bm_store_part scale = {.dtype = grid->scale_dtype,
                           .is_real = true,
                           .num_dims = 2,
                           .shape = {rows, bm_num_groups(cols, grid->group_size)}};
    uint32_t n = 0;
    if (linear->per_tensor) {
        scale.num_dims = 1;
        scale.shape[0] = 1;
    }
    bm_store_part zero_point = scale;
    scale.suffix = ".weight_scale";
    zero_point.suffix = ".weight_zero_point";
    zero_point.dtype = BM_DTYPE_I8;
    zero_point.is_real = false;
    out[n++] = (bm_store_part){.suffix = ".weight", .dtype = BM_DTYPE_I8, .num_dims = 2, .shape = {rows, cols}};
    out[n++] = scale;
    if (!grid->symmetric)
        out[n++] = zero_point;
    if (linear->input == BM_INPUT_STATIC)
        out[n++] = (bm_store_part){
            .suffix = INPUT_SCALE, .dtype = grid->scale_dtype, .is_real = true, .num_dims = 1, .shape = {1}};
    return n;
}

// The step holds a value of the stored type already: the conversion is exact.
static bm_status put_input_scale(bm_checkpoint_writer *writer, const bm_store_linear *linear, float step, bm_error *err)
{
    uint8_t bytes[sizeof(float)];
    char name[BM_STORE_NAME_SIZE];
    bm_store_real(bytes, linear->grid.scale_dtype, 0, step);
    return bm_checkpoint_writer_put(writer, bm_part_name(linear, INPUT_SCALE, name), 0, bytes,
                                    bm_dtype_size(linear->grid.scale_dtype), err);
}

// One byte a row and group.
static bm_status put_zero_points(bm_checkpoint_writer *writer, const bm_store_linear *linear, uint64_t first,
                                 const bm_store_rows *rows, bm_error *err)
{
    const uint64_t length = rows->count * rows->groups;
    char name[BM_STORE_NAME_SIZE];
    int8_t *bytes = bm_alloc(length, 1);
    if (!bytes)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    for (uint64_t i = 0; i < length; i++)
        bytes[i] = (int8_t)rows->zero_points[i];
    const bm_status status = bm_checkpoint_writer_put(writer, bm_part_name(linear, ".weight_zero_point", name),
                                                      first * rows->groups, bytes, length, err);
    bm_free(bytes);
    return status;
}

bm_status bm_compressed_tensors_bytes_put(bm_checkpoint_writer *writer, const bm_store_linear *linear, uint64_t first,
                                          const bm_store_rows *rows, bm_error *err)
{
    const uint64_t count = rows->count, cols = linear->in_features;
    char name[BM_STORE_NAME_SIZE];
    bm_status status = BM_OK;
    const int8_t *codes = rows->bytes;
    BM_TRY(bm_checkpoint_writer_put(writer, bm_part_name(linear, ".weight", name), first * cols, codes, count * cols,
                                    err));
    BM_TRY(bm_compressed_tensors_put_scales(writer, linear, first, count, rows->steps, err));
    if (!linear->grid.symmetric)
        BM_TRY(put_zero_points(writer, linear, first, rows, err));
    if (first == 0 && linear->input == BM_INPUT_STATIC)
        BM_TRY(put_input_scale(writer, linear, rows->input.step, err));
done:
    return status;
}

static bm_status get_codes(bm_checkpoint *checkpoint, const bm_store_linear *linear, uint64_t first, uint64_t count,
                           int8_t *out, bm_error *err)
{
    const int32_t half = 1 << (linear->grid.bits - 1);
    const uint64_t cols = linear->in_features;
    const bm_tensor_info *info = NULL;
    bm_status status = BM_OK;
    BM_TRY(bm_part_find(checkpoint, linear, ".weight", &info, err));
    BM_TRY(bm_checkpoint_read(checkpoint, info, first * cols, out, count * cols, err));
    for (uint64_t i = 0; i < count * cols; i++)
        BM_FAIL_IF(out[i] < -half || out[i] >= half, err, BM_E_FORMAT,
                   "%s: tensor \"%s\": found code %d at element %llu, expected %d to %d by config.json: %u bits",
                   bm_checkpoint_file_name(info), info->name, out[i], (unsigned long long)(first * cols + i), -half,
                   half - 1, linear->grid.bits);
done:
    return status;
}

// One value a row and group, or one that all rows share.
static bm_status get_steps(bm_checkpoint *checkpoint, const bm_store_linear *linear, uint64_t first, uint64_t count,
                           uint64_t groups, float *out, bm_error *err)
{
    const bm_tensor_info *info = NULL;
    bm_status status = BM_OK;
    BM_TRY(bm_part_find(checkpoint, linear, ".weight_scale", &info, err));
    if (!linear->per_tensor)
        return bm_part_read_scales(checkpoint, info, first * groups, count * groups, out, err);
    BM_TRY(bm_part_read_scales(checkpoint, info, 0, 1, out, err));
    for (uint64_t i = 1; i < count * groups; i++)
        out[i] = out[0];
done:
    return status;
}

static bm_status get_zero_points(bm_checkpoint *checkpoint, const bm_store_linear *linear, uint64_t first,
                                 uint64_t count, uint64_t groups, int32_t *out, bm_error *err)
{
    const int32_t half = 1 << (linear->grid.bits - 1);
    const uint64_t from = linear->per_tensor ? 0 : first * groups, length = linear->per_tensor ? 1 : count * groups;
    const bm_tensor_info *info = NULL;
    bm_status status = BM_OK;
    int8_t *bytes = bm_alloc(length, 1);
    BM_FAIL_IF(!bytes, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_part_find(checkpoint, linear, ".weight_zero_point", &info, err));
    BM_TRY(bm_checkpoint_read(checkpoint, info, from, bytes, length, err));
    for (uint64_t i = 0; i < count * groups; i++) {
        out[i] = (int32_t)(uint8_t)bytes[linear->per_tensor ? 0 : i] ^ 0x80; // from its bits, with its sign
        out[i] -= 0x80;
        BM_FAIL_IF(out[i] < -half || out[i] >= half, err, BM_E_FORMAT,
                   "%s: tensor \"%s\": found %d at element %llu, expected %d to %d by config.json: %u bits",
                   bm_checkpoint_file_name(info), info->name, out[i], (unsigned long long)(from + i), -half, half - 1,
                   linear->grid.bits);
    }
done:
    bm_free(bytes);
    return status;
}

// Symmetric grids have no zero points in the file.
bm_status bm_compressed_tensors_bytes_get_grid(bm_checkpoint *checkpoint, const bm_store_linear *linear, uint64_t first,
                                               uint64_t count, float *steps, int32_t *zero_points, bm_error *err)
{
    const uint64_t groups = bm_num_groups(linear->in_features, linear->grid.group_size);
    const bm_status status = get_steps(checkpoint, linear, first, count, groups, steps, err);
    if (status == BM_OK && !linear->grid.symmetric)
        return get_zero_points(checkpoint, linear, first, count, groups, zero_points, err);
    memset(zero_points, 0, count * groups * sizeof *zero_points);
    return status;
}

bm_status bm_compressed_tensors_bytes_get(bm_checkpoint *checkpoint, const bm_store_linear *linear, uint64_t first,
                                          bm_store_rows *rows, bm_error *err)
{
    const uint64_t count = rows->count;
    bm_status status = BM_OK;
    BM_TRY(get_codes(checkpoint, linear, first, count, rows->bytes, err));
    BM_TRY(bm_compressed_tensors_bytes_get_grid(checkpoint, linear, first, count, rows->steps, rows->zero_points, err));
    BM_TRY(bm_compressed_tensors_get_input(checkpoint, linear, &rows->input, err));
done:
    return status;
}

// A step whose reciprocal is no normal number codes nothing: loaders would divide by it all the same.
bm_status bm_compressed_tensors_get_input(bm_checkpoint *checkpoint, const bm_store_linear *linear, bm_input_grid *out,
                                          bm_error *err)
{
    const bm_tensor_info *info = NULL;
    bm_status status = BM_OK;
    *out = (bm_input_grid){.kind = linear->input};
    if (linear->input != BM_INPUT_STATIC)
        return BM_OK;
    BM_TRY(bm_part_find(checkpoint, linear, INPUT_SCALE, &info, err));
    BM_TRY(bm_part_read_scales(checkpoint, info, 0, 1, &out->step, err));
    BM_FAIL_IF(out->step < FLT_MIN || 1 / out->step < FLT_MIN, err, BM_E_FORMAT,
               "%s: tensor \"%s\": found %g, expected a step above 0 (%g to %g)", bm_checkpoint_file_name(info),
               info->name, (double)out->step, (double)FLT_MIN, 1 / (double)FLT_MIN);
done:
    return status;
}
