// decode_blocks: elements of GGUF's blocks, equal bit for bit to what the reader of files decodes on the host.
#include "base/half.h"
#include "device/tensor.h"
#include "formats/gguf.h"
#include "formats/gguf_blocks.h"
#include "kernels/table.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
// cmocka needs the four above
#include <cmocka.h>

enum { ROWS, BLOCKS, TYPE, FIRST_BYTE };
enum { WORDS, Y };

static uint32_t row_bytes(const kernel_run *run)
{
    return run->shape[BLOCKS] * bm_gguf_layout_of(run->shape[TYPE])->block_bytes;
}

// A finite half of at most 8, so that every element fits float16; subnormal ones among them.
static uint16_t small_half(uint16_t bits)
{
    return (uint16_t)((bits & 0x83ff) | (bits >> 10 & 31) % 17 << 10);
}

// Where halves stand in a block: the step, and behind it the least weight of types that have one.
static void tame(uint32_t type, uint8_t *block)
{
    const bool has_least = type == BM_GGUF_Q4_1 || type == BM_GGUF_Q5_1 || type == BM_GGUF_Q4_K || type == BM_GGUF_Q5_K;
    uint8_t *at = block + (type == BM_GGUF_Q6_K ? 208 : 0);
    for (int i = 0; i < 1 + has_least; i++)
        bm_store_le16(at + 2 * i, small_half(bm_load_le16(at + 2 * i)));
}

static void make(kernel_run *run)
{
    const bm_gguf_layout *layout = bm_gguf_layout_of(run->shape[TYPE]);
    const uint32_t rows = run->shape[ROWS], cols = run->shape[BLOCKS] * layout->block_elements;
    const uint64_t size = run->shape[FIRST_BYTE] + (uint64_t)rows * row_bytes(run), words = bm_divide_up(size, 4);
    kernel_shape(run, WORDS, 1, words);
    kernel_shape(run, Y, rows, cols);
    kernel_fill_integers(run, WORDS, 0, UINT32_MAX);
    uint8_t *bytes = bm_alloc(words, 4);
    for (uint64_t i = 0; i < words; i++)
        bm_store_le32(bytes + 4 * i, (uint32_t)run->buffers[WORDS].values[i]);
    for (uint64_t b = 0; b < (uint64_t)rows * run->shape[BLOCKS]; b++)
        tame(layout->type, bytes + run->shape[FIRST_BYTE] + b * layout->block_bytes);
    for (uint64_t i = 0; i < words; i++)
        kernel_set(run, WORDS, i, bm_load_le32(bytes + 4 * i));
    bm_free(bytes);
    const bm_decode_blocks_scalars scalars = {rows, cols, run->shape[FIRST_BYTE], row_bytes(run),
                                              (uint32_t)run->buffers[Y].stride};
    kernel_scalars(run, &scalars, sizeof scalars);
    run->tunables[1] = layout->type;
    run->tunables[2] = rows % 2 == 0 ? 4 : 16;
    run->groups[0] = kernel_groups((uint64_t)rows * cols / 4, 64);
}

static void reference(const kernel_run *run, double *const *out)
{
    const uint64_t words = run->buffers[WORDS].cols, count = run->buffers[Y].rows * run->buffers[Y].cols;
    uint8_t *bytes = bm_alloc(words, 4);
    float *values = bm_alloc(count, sizeof *values);
    for (uint64_t i = 0; i < words; i++)
        bm_store_le32(bytes + 4 * i, (uint32_t)run->buffers[WORDS].values[i]);
    bm_gguf_decode(run->shape[TYPE], bytes + run->shape[FIRST_BYTE], count, values);
    for (uint64_t i = 0; i < count; i++)
        out[Y][i] = (double)values[i];
    bm_free(values);
    bm_free(bytes);
}

static double operations(const kernel_run *run)
{
    return 2.0 * (double)run->buffers[Y].rows * (double)run->buffers[Y].cols;
}

// A block with a step of d and codes of 7 times it.
static bm_status decode_one(bm_device *device, uint16_t d, bm_dtype to, bm_error *err)
{
    uint8_t bytes[2 * 18 + 2] = {0}; // read by words
    bm_tensor words = {0}, y = {0};
    bm_store_le16(bytes, 0x3c00);
    bm_store_le16(bytes + 18, d);
    memset(bytes + 20, 0xff, 16);
    memset(bytes + 2, 0xff, 16);
    assert_int_equal(bm_tensor_create(device, BM_DTYPE_U32, 1, 9, "words", &words, err), BM_OK);
    assert_int_equal(bm_tensor_create(device, to, 1, 64, "y", &y, err), BM_OK);
    assert_int_equal(bm_tensor_upload(device, &words, bytes, err), BM_OK);
    const bm_decode_blocks_scalars scalars = {1, 64, 0, 36, (uint32_t)y.stride};
    const bm_call call = {.kernel = BM_KERNEL_DECODE_BLOCKS,
                          .buffers = {words.view, y.view},
                          .types = {words.dtype, y.dtype},
                          .scalars = &scalars,
                          .tunables = {64, BM_GGUF_Q4_0, 4},
                          .groups = {1, 1, 1},
                          .subject = "blk.0.attn_q.weight"};
    assert_int_equal(bm_dispatch(device, &call, err), BM_OK);
    const bm_status status = bm_device_wait(device, err);
    bm_tensor_destroy(&words);
    bm_tensor_destroy(&y);
    return status;
}

static void reports(bm_device *device)
{
    bm_error err = {0};
    assert_int_equal(decode_one(device, 0x7c00, BM_DTYPE_F32, &err), BM_E_NUMERIC); // infinity
    assert_non_null(strstr(err.message, "blk.0.attn_q.weight"));
    assert_int_equal(decode_one(device, 0x7e00, BM_DTYPE_F16, &err), BM_E_NUMERIC); // NaN
    assert_int_equal(decode_one(device, 0x7bff, BM_DTYPE_F16, &err), BM_E_NUMERIC); // 7 times 65504
    assert_int_equal(decode_one(device, 0x7bff, BM_DTYPE_F32, &err), BM_OK);
    assert_int_equal(decode_one(device, 0x3c00, BM_DTYPE_F16, &err), BM_OK);
}

const kernel_operation kernel_decode_blocks = {
    .kernel = BM_KERNEL_DECODE_BLOCKS,
    .cases = {{"1", {1, 1, BM_GGUF_Q4_0, 0}, false},
              {"prime", {7, 5, BM_GGUF_Q4_0, 0}, false},
              {"least", {7, 3, BM_GGUF_Q4_1, 0}, false},
              {"five", {5, 3, BM_GGUF_Q5_0, 0}, false},
              {"five, least", {3, 7, BM_GGUF_Q5_1, 0}, false},
              {"eight", {5, 5, BM_GGUF_Q8_0, 0}, false},
              {"four of 256", {3, 2, BM_GGUF_Q4_K, 0}, false},
              {"six of 256", {3, 1, BM_GGUF_Q6_K, 0}, false},
              {"five of 256", {3, 2, BM_GGUF_Q5_K, 0}, false},
              {"six, more", {2, 3, BM_GGUF_Q6_K, 0}, false},
              {"four, more", {2, 2, BM_GGUF_Q4_K, 0}, false},
              {"five of 256, more", {2, 3, BM_GGUF_Q5_K, 0}, false},
              {"five, more", {2, 3, BM_GGUF_Q5_1, 0}, false},
              {"eight, more", {4, 3, BM_GGUF_Q8_0, 0}, false},
              {"from a byte on", {3, 3, BM_GGUF_Q4_0, 54}, false},
              {"long thin", {517, 1, BM_GGUF_Q8_0, 34}, false},
              {"layer", {64, 32, BM_GGUF_Q4_0, 0}, true}},
    .skips_values = {[KERNEL_ZEROS] = true, [KERNEL_ONE_HUGE] = true, [KERNEL_DENORMALS] = true, [KERNEL_TIES] = true},
    .make = make,
    .exact = true,
    .reference = reference,
    .operations = operations,
    .extra = reports,
};
