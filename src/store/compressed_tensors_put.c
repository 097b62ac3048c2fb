// Tensors of the pack-quantized format of compressed-tensors: weight_packed, weight_scale, weight_zero_point, weight_shape.
#include "base/half.h"
#include "store/packed_codes.h"
#include "store/store.h"

#include <stdio.h>

#define NAME_SIZE 160

static const char *part(const bm_store_linear *linear, const char *suffix, char name[NAME_SIZE])
{
    snprintf(name, NAME_SIZE, "%s.%s", linear->module, suffix);
    return name;
}

static bm_status declare(bm_checkpoint_writer *writer, const bm_store_linear *linear, bm_error *err)
{
    const bm_grid_params *grid = &linear->grid;
    const uint64_t per_word = 32 / grid->bits, groups = bm_num_groups(linear->in_features, grid->group_size);
    const uint64_t packed[2] = {linear->out_features, bm_divide_up(linear->in_features, per_word)};
    const uint64_t scale[2] = {linear->out_features, groups};
    const uint64_t zero_point[2] = {bm_divide_up(linear->out_features, per_word), groups};
    const uint64_t shape[1] = {2};
    char name[NAME_SIZE];
    bm_status status = BM_OK;
    BM_FAIL_IF(32 % grid->bits != 0, err, BM_E_UNSUPPORTED, "%s: codes of %u bits straddle the words of %s",
               linear->module, grid->bits, bm_store_compressed_tensors.words);
    BM_TRY(bm_checkpoint_writer_declare(writer, part(linear, "weight_packed", name), BM_DTYPE_I32, packed, 2, err));
    BM_TRY(bm_checkpoint_writer_declare(writer, part(linear, "weight_scale", name), grid->scale_dtype, scale, 2, err));
    if (!grid->symmetric)
        BM_TRY(bm_checkpoint_writer_declare(writer, part(linear, "weight_zero_point", name), BM_DTYPE_I32, zero_point,
                                            2, err));
    BM_TRY(bm_checkpoint_writer_declare(writer, part(linear, "weight_shape", name), BM_DTYPE_I64, shape, 1, err));
done:
    return status;
}

// Packs, and brings words, steps and zero points to the host. Nothing is pending when it returns: what can fail comes before
// the downloads, and a failure of theirs leaves none behind (see bm_download).
static bm_status fetch(bm_device *device, const bm_codes *rows, const bm_tensor *words, uint32_t *packed, float *steps,
                       int32_t *zero_points, bm_error *err)
{
    bm_status status = BM_OK;
    BM_TRY(bm_pack_codes(device, &rows->codes, rows->bits, words, err));
    BM_TRY(bm_tensor_download(device, words, packed, err));
    BM_TRY(bm_tensor_download(device, &rows->step, steps, err));
    BM_TRY(bm_tensor_download(device, &rows->zero_point, zero_points, err));
    BM_TRY(bm_device_wait(device, err));
done:
    return status;
}

static bm_status put_words(bm_checkpoint_writer *writer, const bm_store_linear *linear, uint64_t first, uint64_t count,
                           uint32_t *words, bm_error *err)
{
    const uint64_t row = bm_divide_up(linear->in_features, 32 / linear->grid.bits);
    char name[NAME_SIZE];
    for (uint64_t i = 0; i < count * row; i++)
        bm_store_le32(&words[i], words[i]);
    return bm_checkpoint_writer_put(writer, part(linear, "weight_packed", name), first * row * 4, words,
                                    count * row * 4, err);
}

// Steps hold values of the stored type already: the conversion is exact.
static bm_status put_scales(bm_checkpoint_writer *writer, const bm_store_linear *linear, uint64_t first, uint64_t count,
                            const float *steps, bm_error *err)
{
    const uint64_t size = bm_dtype_size(linear->grid.scale_dtype);
    const uint64_t row = bm_num_groups(linear->in_features, linear->grid.group_size) * size;
    char name[NAME_SIZE];
    uint8_t *bytes = bm_alloc(count, row);
    if (!bytes)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    for (uint64_t i = 0; i < count * row / size; i++)
        bm_store_real(bytes, linear->grid.scale_dtype, i, (double)steps[i]);
    const bm_status status =
        bm_checkpoint_writer_put(writer, part(linear, "weight_scale", name), first * row, bytes, count * row, err);
    bm_free(bytes);
    return status;
}

static bm_status put_zero_points(bm_checkpoint_writer *writer, const bm_store_linear *linear, uint64_t first,
                                 uint64_t count, const int32_t *zero_points, bm_error *err)
{
    const uint32_t bits = linear->grid.bits;
    const uint64_t groups = bm_num_groups(linear->in_features, linear->grid.group_size);
    const uint64_t words = bm_packed_num_words(count, bits) * groups;
    bm_status status = BM_OK;
    char name[NAME_SIZE];
    int8_t *codes = bm_alloc(count * groups, 1);
    uint32_t *packed = bm_alloc(words, 4);
    BM_FAIL_IF(!codes || !packed, err, BM_E_MEMORY, "out of memory");
    for (uint64_t i = 0; i < count * groups; i++)
        codes[i] = (int8_t)zero_points[i];
    bm_packed_columns_encode(codes, count, groups, bits, packed);
    for (uint64_t i = 0; i < words; i++)
        bm_store_le32(&packed[i], packed[i]);
    // first is a multiple of 32, so rows before it fill whole words.
    BM_TRY(bm_checkpoint_writer_put(writer, part(linear, "weight_zero_point", name),
                                    bm_packed_num_words(first, bits) * groups * 4, packed, words * 4, err));
done:
    bm_free(codes);
    bm_free(packed);
    return status;
}

static bm_status put_shape(bm_checkpoint_writer *writer, const bm_store_linear *linear, bm_error *err)
{
    uint8_t bytes[16];
    char name[NAME_SIZE];
    bm_store_le64(bytes, linear->out_features);
    bm_store_le64(bytes + 8, linear->in_features);
    return bm_checkpoint_writer_put(writer, part(linear, "weight_shape", name), 0, bytes, sizeof bytes, err);
}

static bm_status put(bm_device *device, bm_checkpoint_writer *writer, const bm_store_linear *linear, uint64_t first,
                     const bm_codes *rows, bm_error *err)
{
    const uint64_t count = rows->step.rows, groups = rows->step.cols;
    const uint64_t width = bm_divide_up(linear->in_features, 32 / linear->grid.bits);
    bm_status status = BM_OK;
    bm_tensor words = {0};
    uint32_t *packed = bm_alloc(count * width, sizeof *packed);
    float *steps = bm_alloc(count * groups, sizeof *steps);
    int32_t *zero_points = bm_alloc(count * groups, sizeof *zero_points);
    BM_FAIL_IF(!packed || !steps || !zero_points, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_tensor_create(device, BM_DTYPE_U32, count, width, "packed codes", &words, err));
    BM_TRY(fetch(device, rows, &words, packed, steps, zero_points, err));
    BM_TRY(put_words(writer, linear, first, count, packed, err));
    BM_TRY(put_scales(writer, linear, first, count, steps, err));
    if (!rows->symmetric)
        BM_TRY(put_zero_points(writer, linear, first, count, zero_points, err));
    if (first == 0)
        BM_TRY(put_shape(writer, linear, err));
done:
    bm_tensor_destroy(&words);
    bm_free(packed);
    bm_free(steps);
    bm_free(zero_points);
    return status;
}

const bm_store_format bm_store_compressed_tensors = {
    .name = "compressed-tensors", .words = "compressed-tensors (pack-quantized)", .declare = declare, .put = put};
