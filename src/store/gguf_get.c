// Reading the linears of a GGUF file whose blocks hold the canonical form: Q4_0, Q4_1 and Q8_0, in groups of a block.
//
// Q4_1 is asymmetric: its least weight m is a float16 of its own, and the canonical form has a zero point. It holds blocks whose
// m is what gguf_put.c writes for a zero point; those of other writers mostly are not.
#include "store/gguf.h"

#include "base/half.h"
#include "store/part.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

// Rows of a linear as the file has them.
typedef struct stored_rows {
    const bm_tensor_info *info;
    const bm_gguf_layout *layout;
    uint64_t num_blocks;
    uint8_t *bytes;
} stored_rows;

static const bm_gguf_view *view_of(const bm_checkpoint *checkpoint, const char *module, const bm_tensor_info **info)
{
    char name[BM_STORE_NAME_SIZE];
    snprintf(name, sizeof name, "%s.weight", module);
    *info = bm_checkpoint_find(checkpoint, name);
    return *info ? bm_checkpoint_view(checkpoint, *info) : NULL;
}

static bool match(const void *parsed, bm_store_linear *linear)
{
    const bm_tensor_info *info = NULL;
    const bm_gguf_view *view = view_of(parsed, linear->module, &info);
    const uint32_t type = view ? view->tensor->type : BM_GGUF_F32;
    if (type != BM_GGUF_Q4_0 && type != BM_GGUF_Q4_1 && type != BM_GGUF_Q8_0)
        return false;
    linear->grid = (bm_grid_params){.bits = type == BM_GGUF_Q8_0 ? 8 : 4,
                                    .group_size = bm_gguf_layout_of(type)->block_elements,
                                    .symmetric = type != BM_GGUF_Q4_1,
                                    .scale_dtype = BM_DTYPE_F16};
    return true;
}

void bm_store_open_gguf(bm_store_config *out, bm_checkpoint *checkpoint)
{
    *out = (bm_store_config){.format = &bm_store_gguf, .parsed = checkpoint, .match = match};
}

static bm_status read_rows(bm_checkpoint *checkpoint, const bm_store_linear *linear, uint64_t first, uint64_t count,
                           stored_rows *out, bm_error *err)
{
    bm_status status = BM_OK;
    stored_rows rows = {0};
    const bm_gguf_view *view = view_of(checkpoint, linear->module, &rows.info);
    BM_FAIL_IF(!view, err, BM_E_FORMAT, "tensor \"%s.weight\" is missing", linear->module);
    rows.layout = bm_gguf_layout_of(view->tensor->type);
    rows.num_blocks = count * (linear->in_features / rows.layout->block_elements);
    rows.bytes = bm_alloc(rows.num_blocks, rows.layout->block_bytes);
    BM_FAIL_IF(!rows.bytes, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_gguf_view_read_rows(bm_checkpoint_gguf(checkpoint), view, first, count, rows.bytes, err));
    *out = rows;
    rows.bytes = NULL;
done:
    bm_free(rows.bytes);
    return status;
}

static float load_f16(const uint8_t *bytes)
{
    return bm_f16_to_f32(bm_load_le16(bytes));
}

// The zero point that makes m of step; false: none does.
static bool find_zero_point(float step, float least, int32_t *out)
{
    const float zero = step == 0 ? 8 : rintf(-least / step);
    if (!(zero >= 0 && zero <= 15))
        return false;
    *out = (int32_t)zero - 8;
    return bm_f16_to_f32(bm_f32_to_f16(bm_store_gguf_least(4, step, *out))) == least;
}

static bm_status get_scales(const stored_rows *rows, const bm_store_linear *linear, float *steps, int32_t *zero_points,
                            bm_error *err)
{
    for (uint64_t i = 0; i < rows->num_blocks; i++) {
        const uint8_t *block = rows->bytes + i * rows->layout->block_bytes;
        const char *file = bm_checkpoint_file_name(rows->info), *name = bm_checkpoint_tensor_name(rows->info);
        const float least = linear->grid.symmetric ? 0 : load_f16(block + 2);
        steps[i] = load_f16(block);
        zero_points[i] = 0;
        if (!isfinite(steps[i]) || !isfinite(least))
            return bm_fail(err, BM_E_FORMAT, "%s: tensor \"%s\": found a block of d %g, m %g, expected finite ones",
                           file, name, (double)steps[i], (double)least);
        if (!linear->grid.symmetric && !find_zero_point(steps[i], least, &zero_points[i]))
            return bm_fail(
                err, BM_E_UNSUPPORTED,
                "%s: tensor \"%s\": found a block of Q4_1 of d %.6g, m %.6g, expected m to be 0 to -15 whole d: "
                "other formats have zero points; bitmill quantize makes new codes",
                file, name, (double)steps[i], (double)least);
    }
    return BM_OK;
}

bm_status bm_store_gguf_get_grid(bm_checkpoint *checkpoint, const bm_store_linear *linear, uint64_t first,
                                 uint64_t count, float *steps, int32_t *zero_points, bm_error *err)
{
    stored_rows rows = {0};
    bm_status status = read_rows(checkpoint, linear, first, count, &rows, err);
    if (status == BM_OK)
        status = get_scales(&rows, linear, steps, zero_points, err);
    bm_free(rows.bytes);
    return status;
}

// Every second half of bytes in the eight bytes of a word, the low halves or the high ones, from the lowest up.
static uint32_t gather(uint64_t x)
{
    x &= UINT64_C(0x0f0f0f0f0f0f0f0f);
    x = (x | x >> 4) & UINT64_C(0x00ff00ff00ff00ff);
    x = (x | x >> 8) & UINT64_C(0x0000ffff0000ffff);
    return (uint32_t)(x | x >> 16);
}

// 32 codes become four words of them in order, or eight of bytes, each plus half its range.
static void get_codes(const uint8_t *codes, uint32_t bits, uint32_t *words)
{
    if (bits == 8) {
        for (uint32_t w = 0; w < 8; w++)
            words[w] = bm_load_le32(codes + 4 * w) ^ 0x80808080u;
        return;
    }
    for (uint32_t half = 0; half < 2; half++) {
        const uint64_t bytes = bm_load_le64(codes + 8 * half);
        words[half] = gather(bytes);
        words[2 + half] = gather(bytes >> 4);
    }
}

bm_status bm_store_gguf_get(bm_checkpoint *checkpoint, const bm_store_linear *linear, uint64_t first,
                            bm_store_rows *rows, bm_error *err)
{
    const uint32_t bits = linear->grid.bits;
    bm_status status = BM_OK;
    stored_rows stored = {0};
    uint32_t words[8];
    BM_TRY(read_rows(checkpoint, linear, first, rows->count, &stored, err));
    BM_TRY(get_scales(&stored, linear, rows->steps, rows->zero_points, err));
    for (uint64_t i = 0; i < stored.num_blocks; i++) {
        const uint8_t *codes = stored.bytes + (i + 1) * stored.layout->block_bytes - 4 * bits;
        if (rows->bytes) {
            memcpy(rows->bytes + 4 * bits * i, codes, 4 * bits);
            continue;
        }
        get_codes(codes, bits, words);
        memcpy(rows->packed + i * bits, words, bits * sizeof *words);
    }
done:
    bm_free(stored.bytes);
    return status;
}
