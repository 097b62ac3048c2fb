// Tensors of the pack-quantized format of compressed-tensors: weight_packed, weight_scale, weight_zero_point, weight_g_idx,
// weight_shape; and the format's row.
#include "base/half.h"
#include "store/compressed_tensors.h"
#include "store/packed_codes.h"
#include "store/part.h"

// What is multiplied by quantized inputs: symmetric weights of 8 bits. Groups are for needs_bitmill alone: runtimes want one
// scale an output.
static bm_status check_bytes(const bm_store_linear *linear, bm_error *err)
{
    const bm_grid_params *grid = &linear->grid;
    if (grid->bits != 8 || !grid->symmetric)
        return bm_fail(
            err, BM_E_FORMAT,
            "int-quantized: found %s weights of %u bits beside quantized inputs of %s, expected symmetric ones "
            "of 8 bits: no runtime multiplies others",
            grid->symmetric ? "symmetric" : "asymmetric", grid->bits, linear->module);
    return BM_OK;
}

static bm_status check(const bm_store_linear *linear, bm_error *err)
{
    if (linear->in_features % linear->grid.group_size != 0)
        return bm_fail(err, BM_E_FORMAT, "key \"group_size\": found %u, expected a divisor of %llu, the inputs of %s",
                       linear->grid.group_size, (unsigned long long)linear->in_features, linear->module);
    if (linear->version == 0 &&
        bm_compressed_tensors_is_unpacked(linear)) // whatever a reader meets was written somewhere
        return check_bytes(linear, err);
    if (linear->version == BM_COMPRESSED_TENSORS_PACKED && linear->input != BM_INPUT_FLOAT)
        return bm_fail(err, BM_E_FORMAT,
                       "pack-quantized: found quantized inputs of %s, expected float ones: it holds weights alone",
                       linear->module);
    if (linear->version == BM_COMPRESSED_TENSORS_UNPACKED && linear->has_group_index)
        return bm_fail(err, BM_E_FORMAT,
                       "int-quantized: found columns of %s that name their groups, expected groups of neighbours",
                       linear->module);
    return BM_OK;
}

static uint32_t parts(const bm_store_linear *linear, bm_store_part out[BM_STORE_MAX_PARTS])
{
    const bm_grid_params *grid = &linear->grid;
    const uint64_t rows = linear->out_features, cols = linear->in_features,
                   groups = bm_num_groups(cols, grid->group_size);
    uint32_t n = 0;
    if (bm_compressed_tensors_is_unpacked(linear))
        return bm_compressed_tensors_bytes_parts(linear, out);
    out[n++] = (bm_store_part){.suffix = ".weight_packed",
                               .dtype = BM_DTYPE_I32,
                               .num_dims = 2,
                               .shape = {rows, bm_packed_num_words(cols, grid->bits)}};
    out[n++] = (bm_store_part){
        .suffix = ".weight_scale", .dtype = grid->scale_dtype, .is_real = true, .num_dims = 2, .shape = {rows, groups}};
    if (!grid->symmetric)
        out[n++] = (bm_store_part){.suffix = ".weight_zero_point",
                                   .dtype = BM_DTYPE_I32,
                                   .num_dims = 2,
                                   .shape = {bm_packed_num_words(rows, grid->bits), groups}};
    if (linear->has_group_index)
        out[n++] = (bm_store_part){.suffix = ".weight_g_idx", .dtype = BM_DTYPE_I32, .num_dims = 1, .shape = {cols}};
    out[n++] = (bm_store_part){
        .suffix = ".weight_shape", .dtype = BM_DTYPE_I64, .or_dtype = BM_DTYPE_I32, .num_dims = 1, .shape = {2}};
    return n;
}

// Steps hold values of the stored type already: the conversion is exact.
bm_status bm_compressed_tensors_put_scales(bm_checkpoint_writer *writer, const bm_store_linear *linear, uint64_t first,
                                           uint64_t count, const float *steps, bm_error *err)
{
    const uint64_t size = bm_dtype_size(linear->grid.scale_dtype);
    const uint64_t row = bm_num_groups(linear->in_features, linear->grid.group_size) * size;
    char name[BM_STORE_NAME_SIZE];
    uint8_t *bytes = bm_alloc(count, row);
    if (!bytes)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    for (uint64_t i = 0; i < count * row / size; i++)
        bm_store_real(bytes, linear->grid.scale_dtype, i, steps[i]);
    const bm_status status = bm_checkpoint_writer_put(writer, bm_part_name(linear, ".weight_scale", name), first * row,
                                                      bytes, count * row, err);
    bm_free(bytes);
    return status;
}

static bm_status put_zero_points(bm_checkpoint_writer *writer, const bm_store_linear *linear, uint64_t first,
                                 uint64_t count, const int32_t *zero_points, bm_error *err)
{
    const uint32_t bits = linear->grid.bits;
    const uint64_t groups = bm_num_groups(linear->in_features, linear->grid.group_size);
    const uint64_t words = bm_packed_num_words(count, bits) * groups;
    const bm_packed_run column = {count, bits, 1 << (bits - 1), groups, groups};
    bm_status status = BM_OK;
    char name[BM_STORE_NAME_SIZE];
    uint32_t *packed = bm_alloc(words, sizeof *packed);
    BM_FAIL_IF(!packed, err, BM_E_MEMORY, "out of memory");
    for (uint64_t g = 0; g < groups; g++)
        bm_packed_encode(&column, zero_points + g, packed + g);
    bm_part_swap_words(packed, words);
    // first is a multiple of 32, so rows before it fill whole words.
    BM_TRY(bm_checkpoint_writer_put(writer, bm_part_name(linear, ".weight_zero_point", name),
                                    bm_packed_num_words(first, bits) * groups * 4, packed, words * 4, err));
done:
    bm_free(packed);
    return status;
}

static bm_status put_shape(bm_checkpoint_writer *writer, const bm_store_linear *linear, bm_error *err)
{
    uint8_t bytes[16];
    char name[BM_STORE_NAME_SIZE];
    bm_store_le64(bytes, linear->out_features);
    bm_store_le64(bytes + 8, linear->in_features);
    return bm_checkpoint_writer_put(writer, bm_part_name(linear, ".weight_shape", name), 0, bytes, sizeof bytes, err);
}

static bm_status put(bm_checkpoint_writer *writer, const bm_store_linear *linear, uint64_t first,
                     const bm_store_rows *words, bm_error *err)
{
    const uint64_t count = words->count, row = bm_packed_num_words(linear->in_features, linear->grid.bits);
    bm_status status = BM_OK;
    char name[BM_STORE_NAME_SIZE];
    if (bm_compressed_tensors_is_unpacked(linear))
        return bm_compressed_tensors_bytes_put(writer, linear, first, words, err);
    bm_part_swap_words(words->packed, count * row);
    BM_TRY(bm_checkpoint_writer_put(writer, bm_part_name(linear, ".weight_packed", name), first * row * 4,
                                    words->packed, count * row * 4, err));
    BM_TRY(bm_compressed_tensors_put_scales(writer, linear, first, count, words->steps, err));
    if (!linear->grid.symmetric)
        BM_TRY(put_zero_points(writer, linear, first, count, words->zero_points, err));
    if (first == 0 && linear->has_group_index)
        BM_TRY(bm_part_put_group_index(writer, linear, ".weight_g_idx", words, err));
    if (first == 0)
        BM_TRY(put_shape(writer, linear, err));
done:
    return status;
}

static bm_status open_config(const bm_json *object, const char *name, void **out, bm_error *err)
{
    bm_compressed_tensors_config *config = NULL;
    const bm_status status = bm_compressed_tensors_parse(&config, object, name, err);
    *out = config;
    return status;
}

static void close_config(void *parsed)
{
    bm_compressed_tensors_config *config = parsed;
    bm_compressed_tensors_destroy(&config);
}

static bool match(const void *parsed, bm_store_linear *linear)
{
    const bm_compressed_tensors_scheme *scheme = bm_compressed_tensors_match(parsed, linear->module);
    if (!scheme)
        return false;
    linear->grid = (bm_grid_params){.bits = scheme->num_bits,
                                    .group_size = scheme->group_size > 0 ? (uint32_t)scheme->group_size
                                                                         : (uint32_t)linear->in_features,
                                    .symmetric = scheme->symmetric};
    linear->per_channel = scheme->group_size == 0;
    linear->has_group_index = scheme->has_group_index;
    linear->per_tensor = scheme->per_tensor;
    linear->input = scheme->input;
    linear->version = scheme->is_unpacked ? BM_COMPRESSED_TENSORS_UNPACKED : BM_COMPRESSED_TENSORS_PACKED;
    return true;
}

static const char *words(const bm_store_description *description)
{
    static const char *const names[2][2] = {
        {"compressed-tensors (pack-quantized)", "compressed-tensors (pack-quantized, bitmill only)"},
        {"compressed-tensors (int-quantized)", "compressed-tensors (int-quantized, bitmill only)"}};
    return names[bm_compressed_tensors_writes_bytes(description)][description->needs_bitmill];
}

// vLLM has kernels for 4 and 8 bits; zero points of 8 bits were never tried there, and its CPU build lacks the kernel of 8. The
// library has dropped weight_g_idx between its versions 0.17.0 and 0.19.0, and packs 3 bits without gaps since then.
static void loads_in(const bm_store_description *description, bool vllm_runs, bm_string *out)
{
    const bm_grid_params *grid = &description->grid;
    const bool has_index = description->act_order == BM_COLUMN_ORDER_DYNAMIC && !description->per_channel;
    if (description->needs_bitmill)
        return;
    if (description->input != BM_INPUT_FLOAT) {
        (void)bm_string_append_format(out, "%stransformers 5.17.0 (with compressed-tensors 0.19.0), ",
                                      vllm_runs ? "vLLM 0.32.0, " : "");
        return;
    }
    if (bm_compressed_tensors_writes_bytes(description)) {
        (void)bm_string_append(out, "transformers (not tried), ");
        return;
    }
    if (vllm_runs && grid->bits == 4)
        (void)bm_string_append(out, has_index ? "vLLM (not tried), " : "vLLM 0.32.0, ");
    else if (vllm_runs && grid->bits == 8 && grid->symmetric)
        (void)bm_string_append(out, "vLLM (on GPUs, not tried), ");
    if (!has_index)
        (void)bm_string_append(out, grid->bits < 4 ? "transformers 5.17.0 (with compressed-tensors 0.19.0), "
                                                   : "transformers 5.24.0 (with compressed-tensors 0.20.0), ");
    else if (grid->bits != 3)
        (void)bm_string_append(
            out, "transformers 5.17.0 (with compressed-tensors 0.17.0; 0.19.0 refuses act_order dynamic), ");
}

const bm_store_format bm_store_compressed_tensors = {
    .name = "compressed-tensors",
    .forms = {{"pack-quantized", BM_COMPRESSED_TENSORS_PACKED}, {"int-quantized", BM_COMPRESSED_TENSORS_UNPACKED}},
    .holds_operations = true,
    .holds_schemes = true,
    .holds_head = true,
    .quant_method = "compressed-tensors",
    .check = check,
    .parts = parts,
    .takes_bytes = bm_compressed_tensors_is_unpacked,
    .put = put,
    .words = words,
    .config = bm_compressed_tensors_write,
    .loads_in = loads_in,
    .open = open_config,
    .close = close_config,
    .match = match,
    .check_values = bm_compressed_tensors_check_values,
    .get_input = bm_compressed_tensors_get_input,
    .get = bm_compressed_tensors_get,
    .get_grid = bm_compressed_tensors_get_grid,
    .get_group_index = bm_compressed_tensors_get_group_index};
