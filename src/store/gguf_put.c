// Blocks of a GGUF file's quantized linears, and the format's row.
//
// A row is in_features / 32 blocks, each with the step of the group that it lies in:
//
//     Q4_0   d, 16 bytes      weight = (q - 8) d       symmetric codes of 4 bits: d = step
//     Q4_1   d, m, 16 bytes   weight = q d + m         asymmetric ones: d = step, m = -zero_point step
//     Q5_0   d, 4 and 16 bytes      the same of 5 bits, whose fifth lie in 4 bytes: weight = (q - 16) d
//     Q5_1   d, m, 4 and 16 bytes   the same
//     Q8_0   d, 32 bytes      weight = q d             symmetric codes of 8 bits: d = step
//
// Of 256 inputs where steps are nested: gguf_nested.c.
//
// d and m are float16, as steps are; m alone is rounded, by at most 2^-11 of itself: less than 0.0074 steps. q is unsigned in 4 bits: the low
// halves of the 16 bytes are elements 0 to 15, the high ones 16 to 31. Source: ggml's block_q4_0, block_q4_1, block_q5_0,
// block_q5_1, block_q8_0.
#include "store/gguf.h"

#include "base/half.h"
#include "store/gguf_nested.h"
#include "store/gguf_weights.h"
#include "store/part.h"

#include <math.h>
#include <string.h>

#define BLOCK 32 // elements of a block

bm_gguf_type bm_store_gguf_type(const bm_grid_params *grid)
{
    if (grid->nested)
        return grid->symmetric ? BM_GGUF_Q6_K : grid->bits == 5 ? BM_GGUF_Q5_K : BM_GGUF_Q4_K;
    if (grid->bits == 5)
        return grid->symmetric ? BM_GGUF_Q5_0 : BM_GGUF_Q5_1;
    return grid->bits == 8 ? BM_GGUF_Q8_0 : grid->symmetric ? BM_GGUF_Q4_0 : BM_GGUF_Q4_1;
}

bm_gguf_type bm_store_gguf_float_type(bm_dtype dtype)
{
    return dtype == BM_DTYPE_F32 ? BM_GGUF_F32 : dtype == BM_DTYPE_F16 ? BM_GGUF_F16 : BM_GGUF_BF16;
}

static bm_status check_nested(const bm_store_linear *linear, bm_error *err)
{
    const bm_grid_params *grid = &linear->grid;
    if (grid->symmetric ? grid->bits != 6 : grid->bits != 4 && grid->bits != 5)
        return bm_fail(err, BM_E_FORMAT, "gguf: found %u bits of %s with nested steps, expected %s", grid->bits,
                       linear->module, grid->symmetric ? "6" : "4 or 5");
    if (linear->has_group_index || grid->group_size != bm_nested_group_size(grid->symmetric))
        return bm_fail(err, BM_E_FORMAT, "gguf: found groups of %u%s of %s, expected neighbours in groups of %u",
                       grid->group_size, linear->has_group_index ? " in an order of their own" : "", linear->module,
                       bm_nested_group_size(grid->symmetric));
    if (linear->in_features % BM_NESTED_COLUMNS != 0)
        return bm_fail(err, BM_E_FORMAT, "gguf: found %llu inputs of %s, expected a multiple of %d",
                       (unsigned long long)linear->in_features, linear->module, BM_NESTED_COLUMNS);
    return BM_OK;
}

static bm_status check(const bm_store_linear *linear, bm_error *err)
{
    const bm_grid_params *grid = &linear->grid;
    if (linear->input != BM_INPUT_FLOAT)
        return bm_fail(err, BM_E_FORMAT,
                       "gguf: found quantized inputs of %s, expected float ones: it holds weights alone; "
                       "compressed-tensors holds them",
                       linear->module);
    if (grid->nested)
        return check_nested(linear, err);
    if (grid->bits != 4 && grid->bits != 5 && grid->bits != 8)
        return bm_fail(err, BM_E_FORMAT,
                       "gguf: found %u bits of %s, expected 4 or 8; compressed-tensors and gptq hold others",
                       grid->bits, linear->module);
    if (grid->bits == 8 && !grid->symmetric)
        return bm_fail(err, BM_E_FORMAT,
                       "gguf: found asymmetric codes of 8 bits of %s, expected symmetric ones; compressed-tensors and "
                       "gptq hold them",
                       linear->module);
    if (linear->has_group_index)
        return bm_fail(err, BM_E_FORMAT,
                       "gguf: found an order of columns of %s, expected groups of neighbours; compressed-tensors and "
                       "gptq hold it",
                       linear->module);
    if (linear->in_features % BLOCK != 0)
        return bm_fail(err, BM_E_FORMAT,
                       "gguf: found %llu inputs of %s, expected a multiple of %d; skip_list_names leaves it float, "
                       "compressed-tensors holds it",
                       (unsigned long long)linear->in_features, linear->module, BLOCK);
    if (grid->group_size % BLOCK != 0)
        return bm_fail(err, BM_E_FORMAT,
                       "gguf: found groups of %u of %s, expected a multiple of %d; compressed-tensors holds them",
                       grid->group_size, linear->module, BLOCK);
    return BM_OK;
}

static const bm_gguf_layout *layout_of(const bm_store_linear *linear)
{
    return bm_gguf_layout_of(bm_store_gguf_type(&linear->grid));
}

static uint64_t row_bytes(const bm_store_linear *linear)
{
    return linear->in_features / layout_of(linear)->block_elements * layout_of(linear)->block_bytes;
}

static uint32_t parts(const bm_store_linear *linear, bm_store_part out[BM_STORE_MAX_PARTS])
{
    out[0] = (bm_store_part){
        .suffix = ".weight", .dtype = BM_DTYPE_U8, .num_dims = 2, .shape = {linear->out_features, row_bytes(linear)}};
    return 1;
}

static bool takes_bytes(const bm_store_linear *linear)
{
    return linear->grid.bits != 4 || linear->grid.nested;
}

static bm_dtype float_dtype(bm_dtype asked, uint32_t num_dims)
{
    if (num_dims < 2)
        return BM_DTYPE_F32; // of norms and biases its readers know no other
    return asked != BM_DTYPE_NONE ? asked : BM_DTYPE_F16;
}

// The eight halves of bytes of a word, from the lowest up, a byte each.
static uint64_t spread(uint32_t word)
{
    uint64_t x = word;
    x = (x | x << 16) & UINT64_C(0x0000ffff0000ffff);
    x = (x | x << 8) & UINT64_C(0x00ff00ff00ff00ff);
    return (x | x << 4) & UINT64_C(0x0f0f0f0f0f0f0f0f);
}

// Four words hold 32 codes in order, each plus 8.
static void put_halves(const uint32_t words[4], uint8_t out[16])
{
    bm_store_le64(out, spread(words[0]) | spread(words[2]) << 4);
    bm_store_le64(out + 8, spread(words[1]) | spread(words[3]) << 4);
}

// The product of a code and a step is exact in float32.
float bm_store_gguf_least(uint32_t bits, float step, int32_t zero_point)
{
    return -(float)(zero_point + (1 << (bits - 1))) * step;
}

// Of a group.
static bm_status put_scales(const bm_store_linear *linear, float step, int32_t zero_point, uint8_t *out, bm_error *err)
{
    const float least = bm_store_gguf_least(linear->grid.bits, step, zero_point);
    bm_store_le16(out, bm_f32_to_f16(step));
    if (linear->grid.symmetric)
        return BM_OK;
    bm_store_le16(out + 2, bm_f32_to_f16(least));
    return isfinite(bm_f16_to_f32(bm_f32_to_f16(least)))
               ? BM_OK
               : bm_fail(err, BM_E_NUMERIC, "%s: the least weight of a group is %g, which F16 does not hold",
                         linear->module, (double)least);
}

// 32 signed codes of 5 bits.
static void put_fifths(const int8_t *codes, uint8_t *out)
{
    uint32_t high = 0;
    for (uint32_t i = 0; i < 16; i++) {
        const uint32_t first = (uint32_t)(codes[i] + 16), second = (uint32_t)(codes[i + 16] + 16);
        high |= first >> 4 << i | second >> 4 << (i + 16);
        out[4 + i] = (uint8_t)((first & 15) | (second & 15) << 4);
    }
    bm_store_le32(out, high);
}

static void put_codes(const bm_store_linear *linear, const bm_store_rows *rows, uint64_t block, uint8_t *out)
{
    if (linear->grid.bits == 8)
        memcpy(out, rows->bytes + block * BLOCK, BLOCK);
    else if (linear->grid.bits == 5)
        put_fifths(rows->bytes + block * BLOCK, out);
    else
        put_halves(rows->packed + block * 4, out);
}

static bm_status put(bm_checkpoint_writer *writer, const bm_store_linear *linear, uint64_t first,
                     const bm_store_rows *rows, bm_error *err)
{
    const bool nested = linear->grid.nested;
    const uint64_t blocks = linear->in_features / layout_of(linear)->block_elements;
    const uint32_t size = layout_of(linear)->block_bytes, scales = size - BLOCK / 8 * linear->grid.bits;
    char name[BM_STORE_NAME_SIZE];
    bm_status status = BM_OK;
    uint8_t *bytes = bm_alloc(rows->count, row_bytes(linear));
    BM_FAIL_IF(!bytes, err, BM_E_MEMORY, "out of memory");
    for (uint64_t i = 0; i < rows->count * blocks; i++) {
        if (nested) {
            gguf_put_nested(linear, rows, i, bytes + i * size);
            continue;
        }
        const uint64_t group = i / blocks * rows->groups + i % blocks * BLOCK / linear->grid.group_size;
        BM_TRY(put_scales(linear, rows->steps[group], rows->zero_points[group], bytes + i * size, err));
        put_codes(linear, rows, i, bytes + i * size + scales);
    }
    BM_TRY(bm_checkpoint_writer_put(writer, bm_part_name(linear, ".weight", name), first * row_bytes(linear), bytes,
                                    rows->count * row_bytes(linear), err));
done:
    bm_free(bytes);
    return status;
}

static bm_status round_block(const float *values, uint8_t *out, bm_error *err)
{
    float largest = 0;
    for (uint32_t i = 0; i < BLOCK; i++)
        largest = fmaxf(largest, fabsf(values[i]));
    const uint16_t bits = bm_f32_to_f16(largest / 127);
    const float step = bm_f16_to_f32(bits);
    if (!isfinite(step))
        return bm_fail(err, BM_E_NUMERIC, "found %g, of which Q8_0 has no step", (double)largest);
    bm_store_le16(out, bits);
    for (uint32_t i = 0; i < BLOCK; i++) {
        const float code = step > 0 ? roundf(values[i] / step) : 0; // a step that was rounded down makes it 128
        out[2 + i] = (uint8_t)(int8_t)fmaxf(-127, fminf(127, code));
    }
    return BM_OK;
}

bm_status bm_store_gguf_round(const float *values, uint64_t count, uint8_t *blocks, bm_error *err)
{
    const uint32_t size = bm_gguf_layout_of(BM_GGUF_Q8_0)->block_bytes;
    bm_status status = BM_OK;
    for (uint64_t i = 0; i < count / BLOCK && status == BM_OK; i++)
        status = round_block(values + i * BLOCK, blocks + i * size, err);
    return status;
}

static const char *words(const bm_store_description *description)
{
    static const struct {
        bm_gguf_type type;
        const char *words;
    } names[] = {{BM_GGUF_Q4_0, "gguf (Q4_0)"}, {BM_GGUF_Q4_1, "gguf (Q4_1)"}, {BM_GGUF_Q5_0, "gguf (Q5_0)"},
                 {BM_GGUF_Q5_1, "gguf (Q5_1)"}, {BM_GGUF_Q8_0, "gguf (Q8_0)"}, {BM_GGUF_Q4_K, "gguf (Q4_K)"},
                 {BM_GGUF_Q5_K, "gguf (Q5_K)"}, {BM_GGUF_Q6_K, "gguf (Q6_K)"}};
    const bm_gguf_type type = bm_store_gguf_type(&description->grid);
    if (description->mixture)
        return description->mixture;
    for (size_t i = 0; i < BM_COUNT(names); i++)
        if (names[i].type == type)
            return names[i].words;
    return "gguf";
}

static void loads_in(const bm_store_description *description, bool vllm_runs, bm_string *out)
{
    (void)vllm_runs;
    (void)bm_string_append_format(out, "llama.cpp (by cyllama 0.7.0%s), ",
                                  description->has_no_vocabulary ? "; token ids alone, no vocabulary" : "");
}

const bm_store_format bm_store_gguf = {.name = "gguf",
                                       .scale_dtype = BM_DTYPE_F16,
                                       .block = BLOCK,
                                       .holds_schemes = true,
                                       .holds_head = true,
                                       .check = check,
                                       .parts = parts,
                                       .takes_bytes = takes_bytes,
                                       .float_dtype = float_dtype,
                                       .put = put,
                                       .get = bm_store_gguf_get,
                                       .get_grid = bm_store_gguf_get_grid,
                                       .weights = gguf_weights,
                                       .words = words,
                                       .loads_in = loads_in};
