// Where what a run keeps may lie, and whether it may.
#include "schedule/memory_plan.h"

#include "base/process.h"
#include "ops/hessian.h"
#include "quant/gram.h"
#include "schedule/equalize.h"

// To memory of the host that the device copies from, there or back: half of what 16 lanes of PCI Express 4 carry.
#define HOST_BYTES_PER_SECOND 1.6e10
#define DISK_BYTES_PER_SECOND 5e8 // a low estimate, there and back

bm_kept_place bm_memory_place(bm_device *device, uint64_t bytes, uint64_t room_bytes, double again, const char *folder,
                              bool spares_host)
{
    const bm_device_info *info = bm_device_get_info(device);
    const uint64_t physical = bm_process_memory_bytes();
    uint64_t disk = 0;
    if (bytes <= room_bytes)
        return BM_KEPT_DEVICE;
    if (!spares_host && info->kind == BM_DEVICE_DISCRETE_GPU && bytes <= physical / 2 &&
        2.0 * (double)bytes / HOST_BYTES_PER_SECOND < again)
        return BM_KEPT_HOST;
    const double file = 2.0 * (double)bytes / DISK_BYTES_PER_SECOND;
    if (folder && bm_folder_free_bytes(folder, &disk) && disk / 2 >= bytes && file < again)
        return BM_KEPT_FILE;
    return BM_KEPT_NOWHERE;
}

uint64_t bm_memory_multiplier_bytes(bm_device *device, uint64_t channels, uint64_t rows, uint32_t tokens,
                                    bool watches_both)
{
    bm_split_product split;
    bm_split_product_init(&split, device);
    return bm_max_u64(bm_multiplier_bytes(device, channels, channels),
                      bm_hessian_bytes(device, tokens, channels, watches_both)) +
           bm_split_product_bytes(&split, bm_max_u64(channels, rows), channels, channels);
}

uint64_t bm_memory_slice_bytes(bm_device *device, uint64_t channels, uint64_t rows, uint32_t tokens)
{
    const uint64_t slice = bm_min_u64(channels, BM_GRAM_ROWS);
    bm_split_product split;
    bm_split_product_init(&split, device);
    const uint64_t panels =
        bm_max_u64(bm_multiplier_bytes(device, slice, channels), bm_multiplier_bytes(device, channels, slice));
    return bm_max_u64(panels, bm_hessian_bytes(device, tokens, channels, false)) +
           bm_split_product_bytes(&split, bm_max_u64(channels, rows), slice, channels);
}

uint64_t bm_memory_state_bytes(bm_device *device, const bm_plan *plan, bool at_once, uint32_t tokens)
{
    uint64_t most = 0, widest = 0, rows = 0;
    bool watches_both = false;
    for (uint32_t first = 0; first < plan->num_linears; first += plan->linears_per_block) {
        uint64_t groups[BM_NUM_STAGES] = {0}, sum = 0;
        for (uint32_t i = first; i < first + plan->linears_per_block; i++) {
            const bm_plan_linear *linear = &plan->linears[i];
            if (!linear->quantized)
                continue;
            widest = bm_max_u64(widest, linear->in_features);
            rows = bm_max_u64(rows, BM_NUM_LINEARS * (uint64_t)linear->out_features); // those of a stage go together
            const bm_method_params params = bm_plan_method_params(plan, linear);
            const bool both = plan->method->watches(&params) == BM_WATCHES_BOTH_INPUTS;
            watches_both = watches_both || both;
            groups[bm_linear_stage(linear->linear)] = plan->method->state_bytes(&params, linear->in_features) +
                                                      (both ? 4 * (uint64_t)tokens * linear->in_features : 0);
        }
        for (bm_stage stage = 0; stage < BM_NUM_STAGES; stage++)
            sum = at_once ? sum + groups[stage] : bm_max_u64(sum, groups[stage]);
        most = bm_max_u64(most, sum);
    }
    if (most == 0)
        return 0;
    return most + (plan->params.folder ? bm_memory_slice_bytes(device, widest, rows, tokens)
                                       : bm_memory_multiplier_bytes(device, widest, rows, tokens, watches_both));
}

// Whose sums they are, as the parameter file says it.
static const char *asked_by(const bm_arguments *a, bool for_scales)
{
    if (for_scales && a->job == BM_JOB_GPTQ)
        return "\"scaling\": \"awq\"";
    return for_scales                         ? "\"do_awq\": true"
           : a->job == BM_JOB_GPTQ            ? "\"do_gptq\": true"
           : a->scale_search == BM_SCALE_GRAM ? "\"scale_search\": \"gram\""
                                              : "\"scale_search\": \"weighted_mse\"";
}

bm_status bm_memory_check_sums(const bm_emit_context *emit, bm_error *err)
{
    const bm_plan *plan = emit->plan;
    const bm_device_info *info = bm_device_get_info(emit->device);
    const bool is_watched = bm_plan_method_watches(plan);
    char name[BM_TENSOR_NAME_SIZE];
    for (uint32_t i = 0; i < plan->num_linears; i++) {
        const bm_plan_linear *p = &plan->linears[i];
        const bool for_scales = bm_equalizer_gram_bytes(emit, bm_linear_stage(p->linear)) > 0;
        if (!p->quantized || !(for_scales || is_watched))
            continue;
        // What solves multiplies by all of them, laid out for the device's products.
        const uint64_t sums = bm_gram_bytes(p->in_features, false), n = p->in_features;
        const uint64_t rows = plan->params.folder ? bm_min_u64(n, BM_GRAM_ROWS) : n; // of a panel
        const uint64_t bytes = is_watched ? bm_max_u64(sums, bm_multiplier_bytes(emit->device, rows, n)) : sums;
        if (bytes > info->limits.max_allocation_bytes)
            return bm_arguments_reject(emit->arguments, err,
                                       "%s: sums of products of the %u inputs of %s take %.1f MB, expected at most "
                                       "%.1f MB, the largest buffer "
                                       "of %s",
                                       asked_by(emit->arguments, for_scales), p->in_features,
                                       bm_linear_tensor_name(plan->family, p->block, p->linear, "", name),
                                       (double)bytes / 1e6, (double)info->limits.max_allocation_bytes / 1e6,
                                       info->spec);
    }
    return BM_OK;
}

uint64_t bm_memory_stream_bytes(bm_device *device, uint32_t num_streams, uint64_t reserved_bytes)
{
    const uint64_t memory = bm_device_get_info(device)->limits.memory_bytes;
    const uint64_t bytes = bm_min_u64(memory / 2, (memory - bm_min_u64(memory, reserved_bytes)) / 4 * 3 / num_streams);
    return bm_max_u64(1, bytes);
}
