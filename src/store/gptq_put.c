// Tensors of GPTQ's checkpoints: qweight, qzeros, scales, g_idx; and the format's row.
//
// A linear lies turned: qweight is [in_features bits / 32, out_features], each column the packed inputs of one output; scales are
// [groups, out_features], and qzeros [groups, out_features bits / 32] packs the outputs.
//
//     weight[n, k] = scales[g, n] (code[n, k] - zero[n, g]), g = g_idx[k]; codes and zero points are unsigned
#include "base/half.h"
#include "store/gptq_config.h"
#include "store/packed_codes.h"
#include "store/part.h"
#include "store/turned.h"

#define TURNED_ROWS 32

static bm_status check(const bm_store_linear *linear, bm_error *err)
{
    const bool is_out = linear->out_features % 32 != 0;
    if (linear->input != BM_INPUT_FLOAT)
        return bm_fail(err, BM_E_FORMAT,
                       "gptq: found quantized inputs of %s, expected float ones: it holds weights alone",
                       linear->module);
    if (is_out || linear->in_features % 32 != 0)
        return bm_fail(err, BM_E_FORMAT, "gptq: found %llu %s of %s, expected a multiple of 32",
                       (unsigned long long)(is_out ? linear->out_features : linear->in_features),
                       is_out ? "outputs" : "inputs", linear->module);
    return BM_OK;
}

static uint32_t parts(const bm_store_linear *linear, bm_store_part out[BM_STORE_MAX_PARTS])
{
    const bm_grid_params *grid = &linear->grid;
    const uint64_t rows = linear->out_features, cols = linear->in_features,
                   groups = bm_num_groups(cols, grid->group_size);
    uint32_t n = 0;
    out[n++] = (bm_store_part){.suffix = ".qweight",
                               .dtype = BM_DTYPE_I32,
                               .num_dims = 2,
                               .shape = {bm_packed_num_words(cols, grid->bits), rows}};
    out[n++] = (bm_store_part){.suffix = ".qzeros",
                               .dtype = BM_DTYPE_I32,
                               .num_dims = 2,
                               .shape = {groups, bm_packed_num_words(rows, grid->bits)}};
    out[n++] = (bm_store_part){
        .suffix = ".scales", .dtype = BM_DTYPE_F16, .is_real = true, .num_dims = 2, .shape = {groups, rows}};
    if (!linear->lacks_index)
        out[n++] = (bm_store_part){.suffix = ".g_idx",
                                   .dtype = BM_DTYPE_I32,
                                   .is_optional = linear->index_may_lack,
                                   .num_dims = 1,
                                   .shape = {cols}};
    return n;
}

static bm_status put_codes(bm_checkpoint_writer *writer, const bm_store_linear *linear, uint64_t first, uint64_t count,
                           const uint32_t *packed, bm_error *err)
{
    const uint64_t words = bm_packed_num_words(linear->in_features, linear->grid.bits);
    uint32_t *turned = bm_alloc(words * count, sizeof *turned);
    if (!turned)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    for (uint64_t begin = 0; begin < count;
         begin += TURNED_ROWS) // few enough to stay in the cache while all words go by
        for (uint64_t w = 0; w < words; w++)
            for (uint64_t n = begin; n < bm_min_u64(count, begin + TURNED_ROWS); n++)
                bm_store_le32(&turned[w * count + n], packed[n * words + w]);
    const bm_turned at = {words, linear->out_features * sizeof *turned, first * sizeof *turned, count * sizeof *turned};
    const bm_status status = bm_turned_put(writer, linear, ".qweight", &at, turned, err);
    bm_free(turned);
    return status;
}

static bm_status put_zero_points(bm_checkpoint_writer *writer, const bm_store_linear *linear, uint64_t first,
                                 uint64_t count, uint64_t groups, const int32_t *zero_points, bm_error *err)
{
    const uint32_t bits = linear->grid.bits;
    const uint64_t words = bm_packed_num_words(count, bits);
    const int32_t half = 1 << (bits - 1), less = bm_gptq_version_of(linear) == BM_GPTQ_V1 ? 1 : 0;
    const bm_packed_run run = {count, bits, half - less, groups, 1};
    uint32_t *packed = bm_alloc(groups * words, sizeof *packed);
    if (!packed)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    for (uint64_t g = 0; g < groups; g++)
        bm_packed_encode(&run, zero_points + g, packed + g * words);
    bm_part_swap_words(packed, groups * words);
    // first and count are multiples of 32: whole words, whatever the bits.
    const bm_turned at = {groups, bm_packed_num_words(linear->out_features, bits) * sizeof *packed,
                          bm_packed_num_words(first, bits) * sizeof *packed, words * sizeof *packed};
    const bm_status status = bm_turned_put(writer, linear, ".qzeros", &at, packed, err);
    bm_free(packed);
    return status;
}

static bm_status put(bm_checkpoint_writer *writer, const bm_store_linear *linear, uint64_t first,
                     const bm_store_rows *rows, bm_error *err)
{
    bm_status status = BM_OK;
    BM_TRY(put_codes(writer, linear, first, rows->count, rows->packed, err));
    BM_TRY(bm_turned_put_scales(writer, linear, first, rows->count, rows->groups, rows->steps, err));
    BM_TRY(put_zero_points(writer, linear, first, rows->count, rows->groups, rows->zero_points, err));
    if (first == 0)
        BM_TRY(bm_part_put_group_index(writer, linear, ".g_idx", rows, err));
done:
    return status;
}

static const char *words(const bm_store_description *description)
{
    (void)description;
    return "gptq (qweight, qzeros, scales, g_idx)";
}

// vLLM refuses "sym": false and "desc_act": true, and its CPU build lacks the kernel of 8 bits. Which linears stay float is said
// by "dynamic", which transformers does not ask: it knows kinds of linears, the same in all blocks.
static void loads_in(const bm_store_description *description, bool vllm_runs, bm_string *out)
{
    const bm_grid_params *grid = &description->grid;
    const bool is_ordered = description->act_order == BM_COLUMN_ORDER_DYNAMIC && !description->per_channel;
    if (vllm_runs && grid->symmetric && !is_ordered && grid->bits >= 4)
        (void)bm_string_append(out, grid->bits == 4 ? "vLLM 0.32.0, " : "vLLM (on GPUs, not tried), ");
    (void)bm_string_append(out, "GPTQModel 7.7.0, ");
    if (description->num_float_modules <= 1 || description->num_block_modules > 0)
        (void)bm_string_append(out, "transformers 5.24.0 (with gptqmodel 7.7.0, optimum 2.3.0), ");
}

const bm_store_format bm_store_gptq = {.name = "gptq",
                                       .quant_method = "gptq",
                                       .config_file = "quantize_config.json",
                                       .older_file = "quantize_config.json",
                                       .holds_schemes = true,
                                       .holds_head = true,
                                       .scale_dtype = BM_DTYPE_F16,
                                       .forms = {{"gptq_v2", BM_GPTQ_V2}},
                                       .check = check,
                                       .parts = parts,
                                       .put = put,
                                       .words = words,
                                       .config = bm_gptq_write,
                                       .loads_in = loads_in,
                                       .open = bm_gptq_open,
                                       .close = bm_gptq_close,
                                       .match = bm_gptq_match,
                                       .check_values = bm_gptq_check_values,
                                       .get = bm_gptq_get,
                                       .get_grid = bm_gptq_get_grid,
                                       .get_group_index = bm_gptq_get_group_index};
