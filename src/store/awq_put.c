// Tensors of AWQ's checkpoints, as AutoAWQ's version "gemm" has them: qweight, qzeros, scales; and the format's row.
//
// A linear lies turned: qweight is [in_features, out_features / 8], qzeros [groups, out_features / 8], scales
// [groups, out_features]; words pack outputs (awq_words.h).
//
//     weight[n, k] = scales[g, n] (code[k, n] - zero[g, n]), g = k / group_size; codes and zero points are unsigned
#include "store/awq_config.h"
#include "store/awq_words.h"
#include "base/half.h"
#include "store/part.h"
#include "store/turned.h"

#include <string.h>

static bm_status check(const bm_store_linear *linear, bm_error *err)
{
    const bm_grid_params *grid = &linear->grid;
    if (linear->input != BM_INPUT_FLOAT)
        return bm_fail(err, BM_E_FORMAT,
                       "awq: found quantized inputs of %s, expected float ones: it holds weights alone",
                       linear->module);
    if (grid->bits != BM_AWQ_BITS)
        return bm_fail(err, BM_E_FORMAT, "awq: found weights of %u bits of %s, expected %d", grid->bits, linear->module,
                       BM_AWQ_BITS);
    if (linear->out_features % BM_AWQ_OUTPUTS != 0)
        return bm_fail(err, BM_E_FORMAT, "awq: found %llu outputs of %s, expected a multiple of %d",
                       (unsigned long long)linear->out_features, linear->module, BM_AWQ_OUTPUTS);
    if (linear->in_features % grid->group_size != 0)
        return bm_fail(err, BM_E_FORMAT, "awq: found %llu inputs of %s, expected a multiple of the group_size %u",
                       (unsigned long long)linear->in_features, linear->module, grid->group_size);
    return BM_OK;
}

static uint32_t parts(const bm_store_linear *linear, bm_store_part out[BM_STORE_MAX_PARTS])
{
    const uint64_t rows = linear->out_features, cols = linear->in_features,
                   groups = bm_num_groups(cols, linear->grid.group_size);
    uint32_t n = 0;
    out[n++] = (bm_store_part){
        .suffix = ".qweight", .dtype = BM_DTYPE_I32, .num_dims = 2, .shape = {cols, rows / BM_AWQ_OUTPUTS}};
    out[n++] = (bm_store_part){
        .suffix = ".qzeros", .dtype = BM_DTYPE_I32, .num_dims = 2, .shape = {groups, rows / BM_AWQ_OUTPUTS}};
    out[n++] = (bm_store_part){
        .suffix = ".scales", .dtype = BM_DTYPE_F16, .is_real = true, .num_dims = 2, .shape = {groups, rows}};
    return n;
}

static bm_status put_words(bm_checkpoint_writer *writer, const bm_store_linear *linear, const char *suffix,
                           uint64_t first, uint64_t count, uint64_t num_rows, uint32_t *words, bm_error *err)
{
    const bm_turned at = {num_rows, linear->out_features * sizeof *words / BM_AWQ_OUTPUTS,
                          first * sizeof *words / BM_AWQ_OUTPUTS, count * sizeof *words / BM_AWQ_OUTPUTS};
    bm_part_swap_words(words, num_rows * count / BM_AWQ_OUTPUTS);
    return bm_turned_put(writer, linear, suffix, &at, words, err);
}

// packed is [count, inputs / 8]: its fields are those of the file, in words of eight inputs.
static bm_status put_codes(bm_checkpoint_writer *writer, const bm_store_linear *linear, uint64_t first, uint64_t count,
                           const uint32_t *packed, bm_error *err)
{
    const uint64_t cols = linear->in_features, num_words = bm_divide_up(cols, 8), row = count / BM_AWQ_OUTPUTS;
    uint32_t fields[BM_AWQ_OUTPUTS];
    uint32_t *turned = bm_alloc(cols * row, sizeof *turned);
    if (!turned)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    for (uint64_t k = 0; k < cols; k++)
        for (uint64_t w = 0; w < row; w++) {
            for (uint64_t o = 0; o < BM_AWQ_OUTPUTS; o++)
                fields[o] = packed[(w * BM_AWQ_OUTPUTS + o) * num_words + k / 8] >> 4 * (k % 8) & 15;
            turned[k * row + w] = bm_awq_encode(fields);
        }
    const bm_status status = put_words(writer, linear, ".qweight", first, count, cols, turned, err);
    bm_free(turned);
    return status;
}

static bm_status put_zero_points(bm_checkpoint_writer *writer, const bm_store_linear *linear, uint64_t first,
                                 uint64_t count, uint64_t groups, const int32_t *zero_points, bm_error *err)
{
    const uint64_t row = count / BM_AWQ_OUTPUTS;
    uint32_t fields[BM_AWQ_OUTPUTS];
    uint32_t *turned = bm_alloc(groups * row, sizeof *turned);
    if (!turned)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    for (uint64_t g = 0; g < groups; g++)
        for (uint64_t w = 0; w < row; w++) {
            for (uint64_t o = 0; o < BM_AWQ_OUTPUTS; o++)
                fields[o] = (uint32_t)(zero_points[(w * BM_AWQ_OUTPUTS + o) * groups + g] + BM_AWQ_HALF);
            turned[g * row + w] = bm_awq_encode(fields);
        }
    const bm_status status = put_words(writer, linear, ".qzeros", first, count, groups, turned, err);
    bm_free(turned);
    return status;
}

static bm_status put(bm_checkpoint_writer *writer, const bm_store_linear *linear, uint64_t first,
                     const bm_store_rows *rows, bm_error *err)
{
    bm_status status = BM_OK;
    BM_TRY(put_codes(writer, linear, first, rows->count, rows->packed, err));
    BM_TRY(put_zero_points(writer, linear, first, rows->count, rows->groups, rows->zero_points, err));
    BM_TRY(bm_turned_put_scales(writer, linear, first, rows->count, rows->groups, rows->steps, err));
done:
    return status;
}

static const char *words(const bm_store_description *description)
{
    (void)description;
    return "awq (qweight, qzeros, scales)";
}

// Kernels of all of them know groups of up to 128. transformers looks for AutoAWQ's factors behind bloom's activation, which are
// none here, and makes some up.
static void loads_in(const bm_store_description *description, bool vllm_runs, bm_string *out)
{
    if (description->grid.group_size > 128)
        return;
    if (vllm_runs)
        (void)bm_string_append(out, "vLLM (not tried), ");
    (void)bm_string_append(out, "GPTQModel 7.7.0, ");
    if (strcmp(description->model_type, "bloom") != 0)
        (void)bm_string_append(out, "transformers 5.24.0 (with gptqmodel 7.7.0), ");
}

const bm_store_format bm_store_awq = {.name = "awq",
                                      .quant_method = "awq",
                                      .older_file = "quant_config.json",
                                      .scale_dtype = BM_DTYPE_F16,
                                      .writes_groups = true,
                                      .check = check,
                                      .parts = parts,
                                      .put = put,
                                      .words = words,
                                      .config = bm_awq_write,
                                      .loads_in = loads_in,
                                      .open = bm_awq_open,
                                      .close = bm_awq_close,
                                      .match = bm_awq_match,
                                      .check_values = bm_awq_check_values,
                                      .get = bm_awq_get,
                                      .get_grid = bm_awq_get_grid};
