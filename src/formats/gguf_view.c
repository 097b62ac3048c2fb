// Reading a GGUF tensor's elements: runs of blocks are decoded piece by piece, rows are taken from where they lie.
#include "formats/gguf_view.h"

#include "base/half.h"
#include "base/thread.h"
#include "formats/gguf_blocks.h"

#include <string.h>

#define PIECE_ELEMENTS 8192                // of any type whole blocks
#define RANGE_ELEMENTS (UINT64_C(1) << 18) // that a thread decodes at least: about a millisecond

static bm_dtype dtype_of(uint32_t type)
{
    return type == BM_GGUF_F32 ? BM_DTYPE_F32 : type == BM_GGUF_BF16 ? BM_DTYPE_BF16 : BM_DTYPE_F16;
}

bm_status bm_gguf_view_describe(const bm_gguf_view *view, bm_tensor_info *out, bm_error *err)
{
    const bm_gguf_tensor *t = view->tensor;
    const bm_gguf_layout *layout = bm_gguf_layout_of(t->type);
    uint64_t elements = 1;
    if (!layout->is_read)
        return bm_fail(err, BM_E_UNSUPPORTED,
                       "%s: tensor \"%s\": type %s is not read; F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, "
                       "Q5_K and Q6_K are",
                       t->path, t->name, layout->name);
    *out = (bm_tensor_info){.dtype = dtype_of(t->type),
                            .num_dims = t->num_dims,
                            .path = t->path,
                            .offset = t->offset,
                            .name_in_file = t->name};
    for (uint32_t d = 0; d < t->num_dims; d++) {
        out->shape[d] = t->dims[t->num_dims - 1 - d];
        elements *= out->shape[d]; // below 2^63, as the reader has seen to
    }
    if (!bm_multiply_u64(elements, bm_dtype_size(out->dtype), &out->size_bytes))
        return bm_fail(err, BM_E_FORMAT, "%s: tensor \"%s\": its size overflows 64 bits", t->path, t->name);
    out->name = bm_string_copy(view->name);
    return out->name ? BM_OK : bm_fail(err, BM_E_MEMORY, "out of memory");
}

static void put_f16(const float *values, uint64_t count, uint8_t *out)
{
    uint16_t halves[PIECE_ELEMENTS];
    bm_f32_to_f16_all(values, count, halves);
    for (uint64_t i = 0; i < count; i++) {
        out[2 * i] = (uint8_t)halves[i];
        out[2 * i + 1] = (uint8_t)(halves[i] >> 8);
    }
}

// Elements as the file has them one behind the other; a run may begin and end within blocks.
static bm_status read_run(const bm_gguf *gguf, const bm_gguf_tensor *t, uint64_t first, uint64_t count, uint8_t *out,
                          bm_error *err)
{
    const bm_gguf_layout *layout = bm_gguf_layout_of(t->type);
    const uint64_t block = layout->block_elements, size = bm_dtype_size(dtype_of(t->type));
    uint8_t bytes[PIECE_ELEMENTS / 32 * 34];
    float values[PIECE_ELEMENTS];
    bm_status status = BM_OK;
    if (block == 1)
        return bm_gguf_read(gguf, t, first * size, out, count * size, err);
    while (count > 0 && status == BM_OK) {
        const uint64_t begin = first / block, skipped = first % block;
        const uint64_t taken = bm_min_u64(count, PIECE_ELEMENTS - skipped);
        const uint64_t blocks = bm_divide_up(skipped + taken, block);
        status = bm_gguf_read(gguf, t, begin * layout->block_bytes, bytes, blocks * layout->block_bytes, err);
        if (status == BM_OK)
            bm_gguf_decode(t->type, bytes, blocks * block, values);
        if (status == BM_OK)
            put_f16(values + skipped, taken, out);
        first += taken;
        count -= taken;
        out += taken * size;
    }
    return status;
}

// The file's row that is this row of the view. Source: formats.md 6.6.
static uint64_t stored_row(const bm_gguf_view *view, uint64_t rows, uint64_t row)
{
    const uint64_t width = rows / view->num_paired_heads, in_head = row % width, half = width / 2;
    return row - in_head + 2 * (in_head % half) + in_head / half;
}

static bm_status read_part(const bm_gguf *gguf, const bm_gguf_view *view, uint64_t first, uint64_t count, uint8_t *to,
                           bm_error *err)
{
    const bm_gguf_tensor *t = view->tensor;
    const uint64_t rows = t->num_dims < 2 ? t->dims[0] : t->dims[1], cols = t->num_dims < 2 ? 1 : t->dims[0];
    const uint64_t size = bm_dtype_size(dtype_of(t->type));
    bm_status status = BM_OK;
    if (view->num_paired_heads == 0)
        return read_run(gguf, t, first, count, to, err);
    while (count > 0 && status == BM_OK) {
        const uint64_t row = first / cols, col = first % cols, taken = bm_min_u64(count, cols - col);
        status = read_run(gguf, t, stored_row(view, rows, row) * cols + col, taken, to, err);
        first += taken;
        count -= taken;
        to += taken * size;
    }
    return status;
}

typedef struct reading {
    const bm_gguf *gguf;
    const bm_gguf_view *view;
    uint64_t first;
    uint8_t *out;
    uint8_t *failed; // a byte for each RANGE_ELEMENTS: one at least is a range's own
} reading;

static void read_range(void *user, uint64_t begin, uint64_t end)
{
    const reading *r = user;
    const uint64_t size = bm_dtype_size(dtype_of(r->view->tensor->type));
    if (read_part(r->gguf, r->view, r->first + begin, end - begin, r->out + begin * size, NULL) != BM_OK)
        r->failed[begin / RANGE_ELEMENTS] = 1;
}

bm_status bm_gguf_view_read(const bm_gguf *gguf, const bm_gguf_view *view, uint64_t first, uint64_t count, void *out,
                            bm_error *err)
{
    const uint64_t num_ranges = count / RANGE_ELEMENTS + 1;
    reading r = {gguf, view, first, out, NULL};
    bool is_read = false;
    if (num_ranges > 2 && bm_gguf_layout_of(view->tensor->type)->block_elements > 1)
        r.failed = bm_alloc_zero(num_ranges, 1);
    if (r.failed) {
        bm_parallel_for(count, RANGE_ELEMENTS, read_range, &r);
        is_read = !memchr(r.failed, 1, num_ranges);
        bm_free(r.failed);
    }
    return is_read ? BM_OK : read_part(gguf, view, first, count, out, err); // here errors get their words
}

bool bm_gguf_view_has_blocks(const bm_gguf_view *view)
{
    static const uint32_t types[] = {BM_GGUF_Q4_0, BM_GGUF_Q4_1, BM_GGUF_Q5_0, BM_GGUF_Q5_1,
                                     BM_GGUF_Q8_0, BM_GGUF_Q4_K, BM_GGUF_Q5_K, BM_GGUF_Q6_K};
    for (size_t i = 0; i < BM_COUNT(types); i++)
        if (view->tensor->type == types[i])
            return view->tensor->num_dims == 2;
    return false;
}

uint64_t bm_gguf_view_row_bytes(const bm_gguf_view *view)
{
    const bm_gguf_layout *layout = bm_gguf_layout_of(view->tensor->type);
    return view->tensor->dims[0] / layout->block_elements * layout->block_bytes;
}

bm_status bm_gguf_view_read_rows(const bm_gguf *gguf, const bm_gguf_view *view, uint64_t first, uint64_t count,
                                 void *out, bm_error *err)
{
    const uint64_t size = bm_gguf_view_row_bytes(view), rows = view->tensor->dims[1];
    uint8_t *to = out;
    bm_status status = BM_OK;
    if (view->num_paired_heads == 0)
        return bm_gguf_read(gguf, view->tensor, first * size, out, count * size, err);
    for (uint64_t row = first; row < first + count && status == BM_OK; row++, to += size)
        status = bm_gguf_read(gguf, view->tensor, stored_row(view, rows, row) * size, to, size, err);
    return status;
}
