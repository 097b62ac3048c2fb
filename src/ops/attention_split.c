// Attention split over keys: the number of parts, and the dispatches.
#include "ops/attention_split.h"
#include "ops/chunks.h"
#include "ops/rate.h"

#include <stdio.h>
#include <string.h>

// What fills a device: work-groups for each of its compute units, and the fewest keys that are worth a part. most_quads: of a head in
// a work-item times heads that share keys; more spill there.
typedef struct split_row {
    const char *backend; // NULL: any
    uint32_t kinds;
    const char *name; // a part of the device's; NULL: any
    uint32_t groups_per_unit, min_keys, most_quads;
} split_row;
static const split_row rows[] = {
    {"opencl", 1 << BM_DEVICE_CPU, NULL, 2, 64, 16},
    {NULL, 1 << BM_DEVICE_DISCRETE_GPU, "NVIDIA", 4, 64, 16},
    {NULL, 1 << BM_DEVICE_INTEGRATED_GPU, "Intel", 4, 64, 4},
    {NULL, 1 << BM_DEVICE_DISCRETE_GPU, "Intel", 4, 64, 4},
    {NULL, 1 << BM_DEVICE_INTEGRATED_GPU, NULL, 4, 64, 8},
    {NULL, 1 << BM_DEVICE_DISCRETE_GPU | 1 << BM_DEVICE_OTHER, NULL, 4, 64, 8},
};
static const split_row others = {NULL, 0, NULL, 1, 64, 16}; // only by name

enum { GROUP = 128, COMBINE_GROUP = 128, MAX_SPLITS = 64, KEYS_PER_ROUND = 4 };

static const split_row *find_row(const bm_device *device)
{
    const bm_device_info *info = bm_device_get_info(device);
    for (size_t i = 0; i < BM_COUNT(rows); i++)
        if ((!rows[i].backend || strcmp(rows[i].backend, info->backend) == 0) && (rows[i].kinds >> info->kind & 1) &&
            (!rows[i].name || strstr(info->name, rows[i].name)))
            return &rows[i];
    return &others;
}

// Work-items that walk the same keys, as the kernel has them.
static uint32_t lanes_of(uint32_t head_dim)
{
    return head_dim > 128 ? 16 : 8;
}

uint32_t bm_attention_shared_heads(const bm_device *device, uint32_t share, uint32_t head_dim)
{
    const uint32_t quads = (uint32_t)bm_divide_up(head_dim / 4, lanes_of(head_dim)),
                   most = find_row(device)->most_quads;
    uint32_t heads = share >= 3 ? 4 : share;
    while (heads > 1 && heads * quads > most)
        heads /= 2;
    return heads;
}

// A whole work-item each on CPU devices with vectors; elsewhere rows of lanes, and local memory as the kernel declares it.
uint32_t bm_attention_split_form(const bm_device *device, uint32_t *group)
{
    const bool is_wide = bm_device_get_info(device)->kind == BM_DEVICE_CPU &&
                         bm_kernel_has_variant(device, BM_KERNEL_ATTENTION_SPLIT, BM_VARIANT_ATTENTION_SPLIT_WIDE);
    *group = is_wide ? 1 : bm_chunk_group(device, GROUP);
    return is_wide ? BM_VARIANT_ATTENTION_SPLIT_WIDE : 0;
}

bool bm_attention_split_runs(const bm_device *device)
{
    const bm_device_limits *limits = &bm_device_get_info(device)->limits;
    uint32_t group;
    return !bm_device_is_host(device) && (bm_attention_split_form(device, &group) != 0 ||
                                          (group >= 16 && group * 128 <= limits->shared_memory_bytes));
}

uint32_t bm_attention_splits(const bm_device *device, uint64_t tokens, uint64_t keys, uint32_t num_heads,
                             uint32_t num_key_value_heads, uint32_t head_dim, bool is_asked)
{
    const split_row *row = find_row(device);
    const uint64_t wanted = (uint64_t)bm_compute_units(device) * row->groups_per_unit;
    const uint32_t share = num_heads / num_key_value_heads, heads = bm_attention_shared_heads(device, share, head_dim);
    const uint64_t works = tokens * num_key_value_heads * bm_divide_up(share, heads); // in one part each
    if (tokens > BM_ATTENTION_MAX_SPLIT_TOKENS || !bm_attention_split_runs(device) ||
        (!is_asked && (row == &others || keys < 2 * row->min_keys)))
        return 0;
    const uint64_t most = bm_min_u64(MAX_SPLITS, keys / row->min_keys);
    return (uint32_t)bm_max_u64(1, bm_min_u64(most, bm_divide_up(wanted, works)));
}

static bm_status combine(bm_device *device, bm_view parts, const bm_attention_params *p, uint32_t splits,
                         const bm_tensor *y, bm_error *err)
{
    const uint32_t group = bm_chunk_group(device, COMBINE_GROUP);
    const bm_attention_combine_scalars scalars = {(uint32_t)y->rows, p->num_heads,       p->head_dim, splits,
                                                  p->head_dim + 4,   (uint32_t)y->stride};
    const bm_call call = {.kernel = BM_KERNEL_ATTENTION_COMBINE,
                          .buffers = {parts, y->view},
                          .types = {BM_DTYPE_NONE, y->dtype},
                          .scalars = &scalars,
                          .tunables = {group},
                          .groups = {bm_chunk_groups(device, y->rows * p->num_heads, 1), 1, 1}};
    return bm_dispatch(device, &call, err);
}

bm_status bm_attention_run_split(bm_device *device, const bm_tensor *q, const bm_tensor *k, const bm_tensor *v,
                                 const bm_attention_params *params, uint32_t splits, const bm_tensor *y, bm_error *err)
{
    uint32_t group;
    const uint32_t variant = bm_attention_split_form(device, &group), dim = params->head_dim;
    const uint32_t share = params->num_heads / params->num_key_value_heads;
    const uint32_t heads = bm_attention_shared_heads(device, share, dim);
    const uint64_t blocks = bm_divide_up(share, heads);
    const uint64_t works = q->rows * params->num_key_value_heads * blocks * splits;
    // Rounds of a work-item: of its keys (rows of 8 or 16 lanes, or all), of its quads in the beginning and of rows in the end.
    const uint64_t walkers = variant != 0 ? 1 : group / lanes_of(dim);
    const uint64_t rounds = bm_divide_up(bm_divide_up(k->rows, splits), walkers * KEYS_PER_ROUND) * 4 + 1024;
    bm_status status = BM_OK;
    bm_view parts;
    char subject[96];
    snprintf(subject, sizeof subject, "attention: %llu keys for heads of %u", (unsigned long long)k->rows, dim);
    BM_TRY(bm_check_rounds(device, rounds, subject, "a shorter context, or ", err));
    BM_TRY(bm_device_scratch(device, q->rows * params->num_heads * splits * (dim + 4) * sizeof(float), &parts, err));
    const bm_attention_split_scalars scalars = {
        (uint32_t)q->rows,   params->num_heads,   params->num_key_value_heads, dim,     splits,
        (uint32_t)q->stride, (uint32_t)k->stride, (uint32_t)v->stride,         dim + 4, params->slopes.buffer != NULL,
        params->scale};
    const double operations =
        bm_attention_operations(q->rows, (double)k->rows, params->num_heads, dim) / 4; // faster than plain kernels
    const bm_call call = {
        .kernel = BM_KERNEL_ATTENTION_SPLIT,
        .variant = variant,
        .buffers = {q->view, k->view, v->view, params->first_key, params->last_key, params->slopes, parts},
        .types = {q->dtype, k->dtype, v->dtype},
        .scalars = &scalars,
        .tunables = {group, dim, heads},
        .groups = {bm_chunk_groups(device, works, 1), 1, 1},
        .seconds = bm_chunk_seconds(device, operations)};
    BM_TRY(bm_dispatch(device, &call, err));
    BM_TRY(combine(device, parts, params, splits, y, err));
done:
    return status;
}
