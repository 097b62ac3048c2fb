// Attention: checks, choice of the kernel, cuts by tokens, dispatches.
#include "ops/attention.h"
#include "device/kernels.h"
#include "ops/attention_split.h"
#include "ops/chunks.h"

#include <stdio.h>
#include <string.h>

enum { MIN_MATRIX_TOKENS = 32 }; // two subgroups' tokens: fewer go to tiles

double bm_attention_operations(uint64_t tokens, double keys_per_token, uint64_t heads, uint64_t head_dim)
{
    return 4.0 * (double)tokens * keys_per_token * (double)heads * (double)head_dim;
}

static bm_status check(const bm_device *device, const bm_tensor *q, const bm_tensor *k, const bm_tensor *v,
                       const bm_attention_params *p, const bm_tensor *y, bm_error *err)
{
    bm_status status = BM_OK;
    BM_FAIL_IF(p->head_dim == 0 || p->head_dim % 8 != 0 || p->head_dim > BM_ATTENTION_MAX_HEAD_DIM, err, BM_E_ARGUMENT,
               "attention: heads of %u elements, expected a multiple of 8 up to %d", p->head_dim,
               BM_ATTENTION_MAX_HEAD_DIM);
    BM_FAIL_IF(p->num_heads == 0 || p->num_key_value_heads == 0 || p->num_heads % p->num_key_value_heads != 0, err,
               BM_E_ARGUMENT, "attention: %u heads share %u of keys and values", p->num_heads, p->num_key_value_heads);
    BM_TRY(bm_check_real(device, "attention", "q", q, q->rows, (uint64_t)p->num_heads * p->head_dim, err));
    BM_TRY(bm_check_real(device, "attention", "k", k, k->rows, (uint64_t)p->num_key_value_heads * p->head_dim, err));
    BM_TRY(bm_check_real(device, "attention", "v", v, k->rows, (uint64_t)p->num_key_value_heads * p->head_dim, err));
    BM_TRY(bm_check_real(device, "attention", "y", y, q->rows, q->cols, err));
    BM_TRY(bm_check_integers("attention", "first_key", p->first_key, q->rows, err));
    BM_TRY(bm_check_integers("attention", "last_key", p->last_key, q->rows, err));
    if (p->slopes.buffer)
        BM_TRY(bm_check_integers("attention", "slopes", p->slopes, p->num_heads, err));
    BM_FAIL_IF(k->rows * bm_max_u64(k->stride, v->stride) > UINT32_C(0x7fffffff), err, BM_E_ARGUMENT,
               "attention: %llu keys of %llu elements, expected less than 2^31 in all", (unsigned long long)k->rows,
               (unsigned long long)k->cols);
done:
    return status;
}

// Whether the tile kernel with groups of that size runs here. Its local memory, from its declarations: the exponentials,
// the larger of the two kinds of slices, and the tokens' ranges of keys.
static bool tile_fits(const bm_device *device, uint32_t group, uint32_t head_dim)
{
    const bm_device_limits *limits = &bm_device_get_info(device)->limits;
    const uint32_t slices = (uint32_t)bm_max_u64((group / 4 + 64) * 64, 32 * head_dim);
    return bm_kernel_has_variant(device, BM_KERNEL_ATTENTION, BM_VARIANT_ATTENTION_TILE) &&
           group <= limits->max_group_invocations && group * 64 + slices + group * 2 <= limits->shared_memory_bytes;
}

static bool is_on_matrix_units(uint32_t variant)
{
    return bm_kernel_uses_matrix_units(BM_KERNEL_ATTENTION, variant);
}

// By name, for each type that a device has matrix units for: tokens of a work-group are half of its work-items, in _mma_wide as
// many. like: of the same subgroups. step: head_dim is a multiple of it.
typedef struct matrix_variant {
    const char *name;
    uint32_t like, group, keys, step;
} matrix_variant;
static const matrix_variant matrix_variants[] = {{"matrix", BM_VARIANT_ATTENTION_CM, 256, 64, 16},
                                                 {"matrix-64", BM_VARIANT_ATTENTION_CM, 128, 64, 16},
                                                 {"matrix-32", BM_VARIANT_ATTENTION_CM, 128, 32, 16},
                                                 {"matrix-simd16", BM_VARIANT_ATTENTION_CM_8X16_S16, 128, 32, 16},
                                                 {"mma", BM_VARIANT_ATTENTION_MMA, 128, 64, 16},
                                                 {"mma-96", BM_VARIANT_ATTENTION_MMA, 192, 64, 16},
                                                 {"mma-32", BM_VARIANT_ATTENTION_MMA, 128, 32, 16},
                                                 {"mma-wide", BM_VARIANT_ATTENTION_MMA_WIDE, 128, 32, 64}};

// What devices on matrix units get by themselves: the first row of their name (NULL: any) that fits. Tiles of 64 keys spill on
// RDNA 3 (docs/performance.md).
typedef struct matrix_row {
    const char *device, *name;
} matrix_row;
static const matrix_row matrix_rows[] = {{"AMD", "matrix-32"}, {"RADV", "matrix-32"},   {"NVIDIA", "matrix-64"},
                                         {NULL, "matrix"},     {NULL, "matrix-simd16"}, {NULL, "mma"}};

// Its local memory, from its declarations: rows of keys and values or of queries; strips, ranges and states of subgroups (_mma:
// only the ranges of whole subgroups; _mma_wide: all the rows and nothing else).
static bool matrix_fits(const bm_device *device, const matrix_variant *variant, uint32_t head_dim)
{
    const bm_device_limits *limits = &bm_device_get_info(device)->limits;
    const uint32_t rows = (uint32_t)bm_max_u64(2 * variant->keys, variant->group / 2);
    const uint32_t others = variant->like == BM_VARIANT_ATTENTION_MMA ? variant->group / 4 : 42 * variant->group;
    const uint32_t bytes = variant->like == BM_VARIANT_ATTENTION_MMA_WIDE
                               ? (variant->group + 2 * variant->keys) * 2 * head_dim
                               : rows * (2 * head_dim + 16) + others;
    uint32_t number = 0;
    return bm_kernel_find_variant(device, BM_KERNEL_ATTENTION, variant->like, NULL, &number) &&
           variant->group <= limits->max_group_invocations && bytes <= limits->shared_memory_bytes;
}

const char *bm_attention_variant(bm_device *device, uint32_t index)
{
    const char *names[4 + BM_COUNT(matrix_variants)] = {"plain"};
    uint32_t count = 1;
    if (tile_fits(device, 64, BM_ATTENTION_MAX_HEAD_DIM))
        names[count++] = "tile";
    if (bm_chunk_lanes(device, BM_KERNEL_ATTENTION) != 0)
        names[count++] = "lanes";
    for (size_t i = 0; i < BM_COUNT(matrix_variants); i++)
        if (matrix_fits(device, &matrix_variants[i], BM_ATTENTION_MAX_MATRIX_DIM))
            names[count++] = matrix_variants[i].name;
    if (bm_attention_split_runs(device))
        names[count++] = "split";
    return index < count ? names[index] : NULL;
}

// NULL: no such variant on this device.
static const char *find_variant(bm_device *device, const char *name)
{
    for (uint32_t i = 0; bm_attention_variant(device, i); i++)
        if (strcmp(bm_attention_variant(device, i), name) == 0)
            return bm_attention_variant(device, i);
    return NULL;
}

// The row of a name; NULL: another kernel.
static const matrix_variant *find_matrix_variant(const char *name)
{
    for (size_t i = 0; i < BM_COUNT(matrix_variants); i++)
        if (strcmp(matrix_variants[i].name, name) == 0)
            return &matrix_variants[i];
    return NULL;
}

// Of the kernels for more tokens than are split over keys.
static const char *asked_variant(bm_device *device)
{
    char asked[32];
    return bm_device_variant(device, "attention", asked, sizeof asked) && strcmp(asked, "split") != 0
               ? find_variant(device, asked)
               : NULL;
}

// What a device gets where matrix units do not take the call.
static const char *plain_variant(bm_device *device)
{
    const char *asked = asked_variant(device);
    const char *fast = find_variant(device, bm_device_kind_is_gpu(bm_device_get_info(device)->kind) ? "tile" : "lanes");
    return asked && !find_matrix_variant(asked) ? asked : fast ? fast : find_variant(device, "plain");
}

// What it gets where they do; NULL: none. A tuning's other name is for types that they do not take.
static const char *variant_on_matrix_units(bm_device *device)
{
    const char *asked = asked_variant(device);
    if (asked && find_matrix_variant(asked))
        return asked;
    if (asked && bm_device_is_named(device, "attention", asked))
        return NULL;
    const bm_device_info *info = bm_device_get_info(device);
    for (size_t i = 0; i < BM_COUNT(matrix_rows) && bm_device_kind_is_gpu(info->kind); i++)
        if ((!matrix_rows[i].device || strstr(info->name, matrix_rows[i].device)) &&
            find_variant(device, matrix_rows[i].name))
            return matrix_rows[i].name;
    return NULL;
}

const char *bm_attention_chosen(bm_device *device)
{
    const char *matrix = variant_on_matrix_units(device);
    return matrix ? matrix : plain_variant(device);
}

// A GPU shares keys and values among the tokens of a tile; a work-group of 64 takes 16 tokens, which also serves a single
// one, since its keys spread over the lanes. A CPU device runs one work-group on one core: without barriers, and small, so
// that the heads of one token spread over the cores. The lanes kernel needs tokens to fill its lanes, matrix units need 16
// for each subgroup.
bm_attention_choice bm_attention_choose(bm_device *device, bm_dtype type, uint64_t tokens, uint32_t head_dim)
{
    const bm_device_info *info = bm_device_get_info(device);
    const bm_dtype types[BM_MAX_BUFFERS] = {type, type, type};
    const char *chosen = bm_attention_chosen(device);
    const matrix_variant *matrix = find_matrix_variant(chosen);
    bm_attention_choice choice = {"plain", 0, bm_chunk_group(device, info->kind == BM_DEVICE_CPU ? 8 : 64), 0};
    uint32_t variant = 0;
    if (matrix &&
        (!bm_kernel_find_variant(device, BM_KERNEL_ATTENTION, matrix->like, types, &variant) ||
         !bm_device_may_use(device, "attention", chosen, type, BM_USE_MANY_TILES) || tokens < MIN_MATRIX_TOKENS ||
         head_dim % matrix->step != 0 || head_dim > BM_ATTENTION_MAX_MATRIX_DIM)) {
        matrix = NULL;
        chosen = plain_variant(device);
    }
    if (matrix) {
        choice = (bm_attention_choice){chosen, variant, matrix->group, matrix->keys};
    } else if (strcmp(chosen, "tile") == 0) {
        choice.name = chosen;
        choice.variant = BM_VARIANT_ATTENTION_TILE;
        choice.group = tokens >= 64 && tile_fits(device, 256, head_dim) ? 256 : 64;
    } else if (strcmp(chosen, "lanes") == 0 && tokens >= BM_CHUNK_LANES) {
        choice.name = chosen;
        choice.variant = BM_VARIANT_ATTENTION_LANES;
        choice.group = 1;
    }
    bm_log_write(bm_device_log(device), BM_LOG_DEBUG, "attention: %s kernel, groups of %u (%s, %llu tokens)",
                 choice.name, choice.group, bm_device_kind_name(info->kind), (unsigned long long)tokens);
    return choice;
}

// Rounds of all loops of a work-item for one token (or block of tokens) and head. The plain kernel by its source
// (attention.comp): four keys a round, two loops over the quads of a head unrolled by 16, and two that are not. The tile
// kernel by trial on lavapipe: between 236 and 295 for each 64 keys of the widest heads. The lanes kernel by its source.
static uint64_t rounds_of(uint32_t variant, uint64_t keys, uint32_t head_dim)
{
    const uint64_t quads = head_dim / 4;
    if (variant == BM_VARIANT_ATTENTION_LANES)
        return BM_CHUNK_LANES + (4 + 2 * BM_CHUNK_LANES) * quads + bm_divide_up(keys, 8) * (1 + 5 * quads);
    if (variant == BM_VARIANT_ATTENTION_TILE || is_on_matrix_units(variant)) // no lavapipe has the latter
        return bm_divide_up(keys, 64) * 300;
    return 1 + 2 * quads + bm_divide_up(keys, 4) * (1 + 2 * bm_divide_up(quads, 16));
}

// Tokens of one head that a work-group takes at a time.
static uint32_t tokens_per_group(uint32_t variant, uint32_t group)
{
    return variant == BM_VARIANT_ATTENTION_TILE       ? group / 4
           : variant == BM_VARIANT_ATTENTION_MMA_WIDE ? group
           : is_on_matrix_units(variant)              ? group / 2
           : variant == BM_VARIANT_ATTENTION_LANES    ? group * BM_CHUNK_LANES
                                                      : group;
}

// Work-groups for one dispatch of tokens.
static uint32_t groups_for(const bm_device *device, uint32_t variant, uint32_t group, uint64_t tokens, uint32_t heads)
{
    if (variant == 0)
        return bm_chunk_groups(device, tokens * heads, group);
    return bm_chunk_groups(device, bm_divide_up(tokens, tokens_per_group(variant, group)) * heads, 1);
}

// Parts for the keys of each token; 0: not split. A variant that is asked for and takes few tokens is left to them; one that a
// tuning found is for many.
static uint32_t splits_of(bm_device *device, const bm_tensor *q, const bm_tensor *k, const bm_attention_params *p)
{
    char asked[32];
    const bool is_asked =
        strstr(bm_device_variants(device), "attention=") && bm_device_variant(device, "attention", asked, sizeof asked);
    const char *name = is_asked ? find_variant(device, asked) : NULL;
    if (name && strcmp(name, "split") != 0 && !find_matrix_variant(name))
        return 0;
    return bm_attention_splits(device, q->rows, k->rows, p->num_heads, p->num_key_value_heads, p->head_dim,
                               name && strcmp(name, "split") == 0);
}

bm_status bm_attention(bm_device *device, const bm_tensor *q, const bm_tensor *k, const bm_tensor *v,
                       const bm_attention_params *params, const bm_tensor *y, bm_error *err)
{
    bm_status status = BM_OK;
    char subject[96];
    BM_TRY(check(device, q, k, v, params, y, err));
    const uint32_t splits = params->cap > 0 ? 0 : splits_of(device, q, k, params);
    if (splits > 0)
        return bm_attention_run_split(device, q, k, v, params, splits, y, err);
    const bool is_one_type = q->dtype == k->dtype && k->dtype == v->dtype && !(params->cap > 0); // or no matrix units
    const bm_attention_choice choice =
        bm_attention_choose(device, is_one_type ? q->dtype : BM_DTYPE_NONE, q->rows, params->head_dim);
    const uint32_t variant = choice.variant, group = choice.group;
    // The device's rate is that of plain kernels; the lanes kernel and matrix units are at least four times as fast.
    const bool is_fast = variant == BM_VARIANT_ATTENTION_LANES || is_on_matrix_units(variant);
    const double operations =
        bm_attention_operations(1, (double)k->rows, params->num_heads, params->head_dim) / (is_fast ? 4 : 1);
    const uint64_t unit = is_fast ? tokens_per_group(variant, group) : 4;
    uint64_t step = bm_chunk_rows(device, bm_max_u64(q->stride, y->stride), operations);
    const uint64_t rounds = rounds_of(variant, k->rows, params->head_dim);
    const uint64_t pieces = bm_chunk_pieces(device, rounds, tokens_per_group(variant, group));
    snprintf(subject, sizeof subject, "attention: %llu keys for heads of %u", (unsigned long long)k->rows,
             params->head_dim);
    BM_TRY(bm_check_rounds(device, rounds, subject, "a shorter context, or ", err));
    step = bm_max_u64(unit, bm_min_u64(step, pieces / params->num_heads) / unit * unit);
    for (uint64_t first = 0; first < q->rows; first += step) {
        const uint64_t rows = bm_min_u64(step, q->rows - first);
        const bm_attention_scalars scalars = {(uint32_t)rows,      params->num_heads,   params->num_key_value_heads,
                                              params->head_dim,    (uint32_t)q->stride, (uint32_t)k->stride,
                                              (uint32_t)v->stride, (uint32_t)y->stride, params->slopes.buffer != NULL,
                                              params->scale,       params->cap};
        const bm_call call = {
            .kernel = BM_KERNEL_ATTENTION,
            .variant = variant,
            .buffers = {bm_tensor_rows(q, first, rows).view, k->view, v->view,
                        bm_view_part(params->first_key, 4 * first, 4 * rows),
                        bm_view_part(params->last_key, 4 * first, 4 * rows), params->slopes,
                        bm_tensor_rows(y, first, rows).view},
            .types = {q->dtype, k->dtype, v->dtype, BM_DTYPE_NONE, BM_DTYPE_NONE, BM_DTYPE_NONE, y->dtype},
            .scalars = &scalars,
            .tunables = {group, params->head_dim, choice.keys},
            .groups = {groups_for(device, variant, group, rows, params->num_heads), 1, 1},
            .seconds = bm_chunk_seconds(device, (double)rows * operations)};
        BM_TRY(bm_dispatch(device, &call, err));
    }
done:
    return status;
}
