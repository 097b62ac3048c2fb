// The list of pipelines.
#include "bench/pipelines.h"

#include "device/kernels.h"
#include "ops/attention_split.h"
#include "ops/cholesky.h"
#include "ops/chunks.h"
#include "ops/gemm_codes.h"
#include "ops/gemm_int8.h"
#include "ops/variants.h"

#include <string.h>

static const bm_dtype reals[] = {BM_DTYPE_F32, BM_DTYPE_F16, BM_DTYPE_BF16};
static const uint32_t head_dims[] = {32, 64, 80, 96, 128, 192, 256};

typedef struct builder {
    bm_device *device;
    bm_pipeline_list *list;
    bm_error *err;
    bool is_default; // of what is added now
} builder;

static bm_status append(builder *b, const bm_call *call)
{
    for (uint32_t i = 0; i < b->list->count; i++) {
        bm_pipeline *p = &b->list->items[i];
        if (p->call.kernel == call->kernel && p->call.variant == call->variant &&
            memcmp(p->call.types, call->types, sizeof call->types) == 0 &&
            memcmp(p->call.tunables, call->tunables, sizeof call->tunables) == 0) {
            p->is_default |= b->is_default;
            return BM_OK;
        }
    }
    bm_pipeline *items = bm_resize(b->list->items, (uint64_t)b->list->count + 1, sizeof *items);
    if (!items)
        return bm_fail(b->err, BM_E_MEMORY, "out of memory");
    b->list->items = items;
    items[b->list->count++] = (bm_pipeline){*call, b->is_default};
    return BM_OK;
}

// What a product stores: weights and activations of one type, the outputs of it too (logits and the residual stream: float32),
// with a bias or without one, which counts as float32.
static bm_status append_product(builder *b, bm_call *call)
{
    bm_status status = BM_OK;
    for (uint32_t t = 0; t < BM_COUNT(reals) && status == BM_OK; t++)
        for (uint32_t form = 0; form < 4 && status == BM_OK; form++) {
            if (call->kernel == BM_KERNEL_GEMM)
                call->types[0] = reals[t];
            call->types[1] = reals[t];
            if (!bm_kernel_takes(call->kernel, call->variant, call->types))
                continue;
            call->types[2] = form % 2 == 0 ? reals[t] : BM_DTYPE_F32;
            call->types[3] = form >= 2 ? BM_DTYPE_F32 : reals[t];
            status = append(b, call);
        }
    return status;
}

// The residual stream, which norms read, is float32, whatever the activations are.
static bm_status append_residual(builder *b, bm_call *call)
{
    bm_status status = BM_OK;
    for (uint32_t t = 0; t < BM_COUNT(reals) && status == BM_OK; t++) {
        call->types[0] = BM_DTYPE_F32;
        call->types[1] = call->types[2] = reals[t];
        call->types[3] = call->kernel == BM_KERNEL_LAYERNORM ? reals[t] : call->types[3];
        status = append(b, call);
    }
    return status;
}

// A pipeline for each combination of types that operations store. tunables: 0 for the row's default, as in bm_call.
static bm_status add(builder *b, bm_kernel_id kernel, uint32_t variant, uint32_t group, uint32_t second, uint32_t third)
{
    const bm_kernel_info *info = &bm_kernel_table[kernel];
    const uint32_t tunables[] = {group, second, third};
    bm_call call = {.kernel = kernel, .variant = variant};
    uint32_t where[BM_MAX_BUFFERS], num_reals = 0;
    bm_status status = BM_OK;
    for (uint32_t i = 0; i < info->num_tunables; i++)
        call.tunables[i] = i < BM_COUNT(tunables) && tunables[i] ? tunables[i] : info->tunable_defaults[i];
    for (uint32_t i = 0; i < info->num_buffers; i++)
        if (info->buffers[i].element == BM_ELEMENT_REAL)
            where[num_reals++] = i;
    if (kernel == BM_KERNEL_GEMM || kernel == BM_KERNEL_GEMM_PACKED)
        return append_product(b, &call);
    if (num_reals == 0)
        return append(b, &call);
    // Two matrices may differ in type, as a checkpoint's and the device's do; of more, all are what activations are.
    const uint32_t others = num_reals == 2 ? (uint32_t)BM_COUNT(reals) : 1;
    for (uint32_t t = 0; t < BM_COUNT(reals); t++)
        for (uint32_t u = 0; u < others && status == BM_OK; u++) {
            for (uint32_t i = 0; i < num_reals; i++)
                call.types[where[i]] = reals[i > 0 && others > 1 ? u : t];
            if (bm_kernel_takes(kernel, variant, call.types))
                status = append(b, &call);
        }
    const bool has_residual = kernel == BM_KERNEL_RMSNORM || kernel == BM_KERNEL_LAYERNORM;
    return status == BM_OK && has_residual ? append_residual(b, &call) : status;
}

// Products by the variant that is asked for: many rows, and few; many of types that have a variant of their own.
static bm_status add_gemm(builder *b)
{
    const bm_gemm_choice choice = bm_gemm_choose(b->device), *c = &choice;
    bm_status status = BM_OK;
    for (uint32_t i = 0; i < BM_NUM_VARIANT_USES * BM_COUNT(reals); i++) {
        const bm_dtype type = reals[i / BM_NUM_VARIANT_USES];
        const bm_gemm_choice many =
            bm_gemm_choose_for(b->device, type, type, (bm_variant_use)(i % BM_NUM_VARIANT_USES));
        if (many.form != BM_GEMM_PANELS)
            BM_TRY(add(b, BM_KERNEL_GEMM, many.variant, many.group, many.slice, many.rows));
    }
    if (c->form != BM_GEMM_PANELS) {
        BM_TRY(add(b, BM_KERNEL_GEMM, c->variant, c->group, c->slice, c->rows));
        for (uint32_t rows = 1; rows <= 8 && bm_kernel_has_variant(b->device, BM_KERNEL_GEMM, BM_VARIANT_GEMM_THIN);
             rows *= 2)
            for (uint32_t group = 64; group <= 256; group *= 4)
                BM_TRY(add(b, BM_KERNEL_GEMM, BM_VARIANT_GEMM_THIN, bm_chunk_group(b->device, group), 0, rows));
        return status;
    }
    const uint32_t rows[] = {1, 4, c->rows};
    BM_TRY(add(b, BM_KERNEL_GEMM_PACK_WEIGHTS, 0, 0, c->panel_cols, 0));
    for (uint32_t i = 0; i < BM_COUNT(rows); i++) {
        BM_TRY(add(b, BM_KERNEL_GEMM_PACK_INPUTS, 0, 0, rows[i], 0));
        BM_TRY(add(b, BM_KERNEL_GEMM_PACKED, 0, c->group, rows[i], c->panel_cols));
    }
    // Products of columns: of two matrices, and of one by itself.
    const uint32_t panels[] = {c->rows, c->panel_cols, c->square};
    for (uint32_t i = 0; i < BM_COUNT(panels) && panels[i] > 0; i++)
        BM_TRY(add(b, BM_KERNEL_GEMM_PACK_COLUMNS, 0, 0, panels[i], 0));
    if (c->square > 0)
        BM_TRY(add(b, BM_KERNEL_GEMM_PACKED, 0, c->group, c->square, c->square));
done:
    return status;
}

// The same of 8-bit integers.
static bm_status add_gemm_int8(builder *b)
{
    const bm_gemm_choice choice = bm_gemm_int8_choose(b->device), *c = &choice;
    bm_status status = BM_OK;
    if (c->form != BM_GEMM_PANELS) {
        BM_TRY(add(b, BM_KERNEL_GEMM_INT8, c->variant, c->group, 0, 0));
        for (uint32_t rows = 1;
             rows <= 8 && bm_kernel_has_variant(b->device, BM_KERNEL_GEMM_INT8, BM_VARIANT_GEMM_INT8_THIN); rows *= 2)
            BM_TRY(add(b, BM_KERNEL_GEMM_INT8, BM_VARIANT_GEMM_INT8_THIN, bm_chunk_group(b->device, 64), rows, 0));
        return status;
    }
    const uint32_t rows[] = {1, 4, c->rows};
    BM_TRY(add(b, BM_KERNEL_GEMM_INT8_PACK, 0, 0, c->panel_cols, 0));
    for (uint32_t i = 0; i < BM_COUNT(rows); i++) {
        BM_TRY(add(b, BM_KERNEL_GEMM_INT8_PACK, 0, 0, rows[i], 0));
        BM_TRY(add(b, BM_KERNEL_GEMM_INT8_PACKED, 0, c->group, rows[i], c->panel_cols));
    }
done:
    return status;
}

// Few rows by weights that stay codes: outputs as of other products.
static bm_status add_gemm_codes(builder *b)
{
    static const uint32_t bits[] = {2, 4, 8}, num_rows[] = {1, BM_GEMM_CODES_MAX_ROWS};
    uint32_t group;
    bm_call call = {.kernel = BM_KERNEL_GEMM_CODES, .variant = bm_gemm_codes_form(b->device, &group)};
    bm_status status = BM_OK;
    for (uint32_t i = 0; i < BM_COUNT(bits) * BM_COUNT(num_rows) * BM_COUNT(reals); i++)
        for (uint32_t form = 0; form < 4; form++) {
            const bm_dtype type = reals[i / BM_COUNT(num_rows) / BM_COUNT(bits)];
            call.tunables[0] = group;
            call.tunables[2] = bits[i / BM_COUNT(num_rows) % BM_COUNT(bits)];
            call.tunables[1] = bm_gemm_codes_rows(b->device, num_rows[i % BM_COUNT(num_rows)]);
            call.types[0] = type;
            call.types[4] = form % 2 == 0 ? type : BM_DTYPE_F32;
            call.types[5] = form >= 2 ? BM_DTYPE_F32 : type;
            BM_TRY(append(b, &call));
        }
done:
    return status;
}

// One token and a long cache, where that is split: heads share keys by one, two or four.
static bm_status add_attention_split(builder *b)
{
    uint32_t group;
    const uint32_t variant = bm_attention_split_form(b->device, &group);
    bm_status status = BM_OK;
    for (uint32_t i = 0; i < BM_COUNT(head_dims) && bm_attention_split_runs(b->device); i++)
        for (uint32_t heads = 1; heads <= bm_attention_shared_heads(b->device, 4, head_dims[i]); heads *= 2)
            BM_TRY(add(b, BM_KERNEL_ATTENTION_SPLIT, variant, group, head_dims[i], heads));
    BM_TRY(add(b, BM_KERNEL_ATTENTION_COMBINE, 0, bm_chunk_group(b->device, 128), 0, 0));
done:
    return status;
}

static bm_status add_attention(builder *b)
{
    bm_status status = BM_OK;
    for (uint32_t i = 0; i < BM_COUNT(head_dims) * BM_COUNT(reals); i++)
        for (uint32_t tokens = 1; tokens <= 64; tokens *= 64) {
            const uint32_t head_dim = head_dims[i / BM_COUNT(reals)];
            const bm_attention_choice c = bm_attention_choose(b->device, reals[i % BM_COUNT(reals)], tokens, head_dim);
            BM_TRY(add(b, BM_KERNEL_ATTENTION, c.variant, c.group, head_dim, c.keys));
        }
done:
    return status;
}

static bm_status add_variant(builder *b, const bm_variant_set *set)
{
    return strcmp(set->kernel, "gemm") == 0        ? add_gemm(b)
           : strcmp(set->kernel, "gemm_int8") == 0 ? add_gemm_int8(b)
                                                   : add_attention(b);
}

// The variants that have names: each is asked for in turn, and the words that were there put back; what the device takes then is
// the default.
static bm_status add_variants(builder *b)
{
    bm_status status = BM_OK;
    bm_string words = BM_STRING_INIT;
    char *before = bm_string_copy(bm_device_variants(b->device));
    BM_FAIL_IF(!before, b->err, BM_E_MEMORY, "out of memory");
    for (uint32_t k = 0; k < BM_NUM_VARIANT_SETS; k++) {
        const bm_variant_set *set = &bm_variant_sets[k];
        for (uint32_t i = 0; set->name(b->device, i); i++) {
            const char *name = set->name(b->device, i);
            bm_string_clear(&words);
            BM_FAIL_IF(!bm_string_append_format(&words, "%s=%s", set->kernel, name), b->err, BM_E_MEMORY,
                       "out of memory");
            BM_TRY(bm_device_set_variants(b->device, words.data, b->err));
            b->is_default = false;
            BM_TRY(add_variant(b, set));
        }
    }
    BM_TRY(bm_device_set_variants(b->device, before, b->err));
    b->is_default = true;
    for (uint32_t k = 0; k < BM_NUM_VARIANT_SETS; k++)
        BM_TRY(add_variant(b, &bm_variant_sets[k]));
done:
    if (before && bm_device_set_variants(b->device, before, NULL) != BM_OK && status == BM_OK)
        status = bm_fail(b->err, BM_E_MEMORY, "out of memory");
    bm_free(before);
    bm_string_free(&words);
    return status;
}

// Kernels that only products by panels use, those whose variants have names, and those that choose a form of their own.
static bool is_added_by_variant(bm_kernel_id kernel)
{
    return kernel == BM_KERNEL_GEMM || kernel == BM_KERNEL_GEMM_PACKED || kernel == BM_KERNEL_GEMM_PACK_INPUTS ||
           kernel == BM_KERNEL_GEMM_PACK_WEIGHTS || kernel == BM_KERNEL_GEMM_PACK_COLUMNS ||
           kernel == BM_KERNEL_GEMM_INT8 || kernel == BM_KERNEL_GEMM_INT8_PACK ||
           kernel == BM_KERNEL_GEMM_INT8_PACKED || kernel == BM_KERNEL_ATTENTION ||
           kernel == BM_KERNEL_ATTENTION_SPLIT || kernel == BM_KERNEL_ATTENTION_COMBINE ||
           kernel == BM_KERNEL_GEMM_CODES;
}

bm_status bm_pipelines_list(bm_device *device, bm_pipeline_list *out, bm_error *err)
{
    const bm_device_info *info = bm_device_get_info(device);
    const bool cpu_vectors = info->limits.vector_width > 0 && info->kind == BM_DEVICE_CPU;
    bm_status status = BM_OK;
    *out = (bm_pipeline_list){0};
    builder b = {.device = device, .list = out, .err = err, .is_default = true};
    for (uint32_t k = 0; k < BM_NUM_KERNELS; k++) {
        const bm_kernel_id kernel = (bm_kernel_id)k;
        if (kernel == BM_KERNEL_FMA_CHAIN)
            BM_TRY(add(&b, kernel, 0, cpu_vectors ? 1 : 64, cpu_vectors ? 48 : 8, 0)); // as the benchmark has it
        else if (kernel == BM_KERNEL_MATRIX_CHAIN) // the generic one runs in no benchmark
            for (uint32_t v = 0; v < bm_kernel_table[kernel].num_variants; v++) {
                if (bm_kernel_has_variant(device, kernel, v))
                    BM_TRY(add(&b, kernel, v, 128, 16, 0));
            }
        else if (kernel == BM_KERNEL_RMSNORM || kernel == BM_KERNEL_LAYERNORM || kernel == BM_KERNEL_ROW_ERROR ||
                 kernel == BM_KERNEL_CROSS_ENTROPY || kernel == BM_KERNEL_KL_DIVERGENCE)
            BM_TRY(add(&b, kernel, 0, bm_chunk_row_group(device), bm_chunk_width(device), 0));
        else if (kernel == BM_KERNEL_GATE || kernel == BM_KERNEL_ROPE || kernel == BM_KERNEL_COLUMN_RANGE)
            BM_TRY(add(&b, kernel, 0, 0, bm_chunk_width(device), 0));
        else if (kernel == BM_KERNEL_QUANTIZE_ROWS)
            BM_TRY(add(&b, kernel, 0, bm_chunk_row_group(device), 0, 0));
        else if (kernel == BM_KERNEL_CHOLESKY_BLOCK)
            BM_TRY(add(&b, kernel, 0, bm_cholesky_group(device), 0, 0));
        else if (kernel == BM_KERNEL_TRANSPOSE)
            BM_TRY(add(&b, kernel, 0, bm_chunk_group(device, 256), 0, 0));
        else if (!is_added_by_variant(kernel))
            BM_TRY(add(&b, kernel, bm_chunk_lanes(device, kernel), bm_chunk_lanes(device, kernel) ? 1 : 0, 0, 0));
    }
    BM_TRY(add_gemm_codes(&b));
    BM_TRY(add_attention_split(&b));
    BM_TRY(add_variants(&b));
done:
    if (status != BM_OK)
        bm_pipelines_free(out);
    return status;
}

void bm_pipelines_free(bm_pipeline_list *list)
{
    bm_free(list->items);
    *list = (bm_pipeline_list){0};
}
