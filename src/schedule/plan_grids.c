// The grids of a plan: groups, scales, signs.
#include "schedule/plan_grids.h"

#include "base/str.h"
#include "store/gguf.h"

#include <stdio.h>

#define MAX_TYPES 8 // of a GGUF file's linears: three K-quants, and three that stand for them

static bool divides_all(const bm_plan *plan, int64_t size)
{
    for (uint32_t i = 0; i < plan->num_linears; i++)
        if (plan->linears[i].quantized && plan->linears[i].in_features % size != 0)
            return false;
    return true;
}

// Inputs that share a scale; -1: one scale an output channel. Where the short form leaves it open, the largest size that
// divides every linear: larger groups cost fewer scales, and every runtime that reads groups holds these.
static int64_t choose_group_size(bm_plan *plan, const bm_arguments *arguments)
{
    static const int64_t preferred[] = {128, 64, 32};
    if (!arguments->may_choose_group_size)
        return arguments->group_size;
    for (size_t i = 0; i < BM_COUNT(preferred); i++)
        if (divides_all(plan, preferred[i])) {
            bm_notes_add_choice(&plan->notes, "group_size: %lld, the largest of 128, 64, 32 that divides every linear",
                                (long long)preferred[i]);
            return preferred[i];
        }
    bm_notes_add_choice(&plan->notes,
                        "group_size: one scale an output channel; none of 128, 64, 32 divides every linear");
    return -1;
}

static bm_status reject_group_size(const bm_plan *plan, const bm_arguments *arguments, const bm_plan_linear *linear,
                                   int64_t group_size, bm_error *err)
{
    static const uint32_t sizes[] = {32, 64, 128, 256};
    char name[BM_TENSOR_NAME_SIZE], fitting[64] = "";
    size_t length = 0;
    for (size_t i = 0; i < BM_COUNT(sizes); i++)
        if (divides_all(plan, sizes[i]))
            length += (size_t)snprintf(fitting + length, sizeof fitting - length, "%u, ", sizes[i]);
    return bm_arguments_reject(
        arguments, err,
        "\"group_size\": %lld: layer \"%s\" has %u inputs, which it does not divide; possible for all "
        "linears: %s-1 (per channel)",
        (long long)group_size, bm_linear_tensor_name(plan->family, linear->block, linear->linear, "", name),
        linear->in_features, fitting);
}

// The code of largest magnitude, -2^(bits-1), lies on either side where steps may be negative. With 8 bits a channel it is
// worth nothing.
static bool tries_negative_steps(const bm_arguments *arguments, bool per_channel)
{
    const bool is_given = bm_arguments_is_given(arguments, "signed_scales");
    return arguments->signed_scales && arguments->symmetric && arguments->job != BM_JOB_A8W8 &&
           !arguments->clips_by_thresholds && arguments->scale_search != BM_SCALE_ABS_MAX &&
           (is_given || !per_channel || arguments->weight_bits < 8);
}

// A format of blocks that no group size makes whole.
static bm_status reject_row(const bm_plan *plan, const bm_arguments *arguments, const bm_plan_linear *linear,
                            bm_error *err)
{
    char name[BM_TENSOR_NAME_SIZE];
    return bm_arguments_reject(
        arguments, err,
        "\"format\": \"%s\": layer \"%s\" has %u inputs, expected a multiple of %u; skip_list_names leaves it float, "
        "compressed-tensors holds it",
        plan->format->name, bm_linear_tensor_name(plan->family, linear->block, linear->linear, "", name),
        linear->in_features, plan->format->block);
}

static bm_dtype choose_scale_dtype(const bm_plan *plan, const bm_arguments *arguments, bm_dtype stored)
{
    if (arguments->scale_dtype != BM_DTYPE_NONE)
        return arguments->scale_dtype;
    if (arguments->compat == BM_COMPAT_PADDLESLIM) // its codes are of scales in float32
        return BM_DTYPE_F32;
    if (plan->format->scale_dtype != BM_DTYPE_NONE)
        return plan->format->scale_dtype;
    return arguments->storage_dtype != BM_DTYPE_NONE ? arguments->storage_dtype : stored;
}

// Blocks in which llama.cpp's mixtures spend more bits: the first and the last eighth, and every third between.
static bool has_more_bits(uint32_t block, uint32_t num_blocks)
{
    return block < num_blocks / 8 || block >= 7 * num_blocks / 8 || (block - num_blocks / 8) % 3 == 2;
}

// The K-quant of a linear.
static bm_gguf_mixture type_of(const bm_arguments *arguments, const bm_plan_linear *linear, uint32_t num_blocks)
{
    const bm_gguf_mixture mixture = arguments->gguf_type;
    if (mixture != BM_MIXTURE_Q4_K_M && mixture != BM_MIXTURE_Q5_K_M)
        return mixture;
    if ((linear->linear == BM_LINEAR_V || linear->linear == BM_LINEAR_DOWN) && has_more_bits(linear->block, num_blocks))
        return BM_MIXTURE_Q6_K;
    return mixture == BM_MIXTURE_Q4_K_M ? BM_MIXTURE_Q4_K : BM_MIXTURE_Q5_K;
}

// Of linears whose inputs are not whole blocks of 256: types of blocks of 32, as llama-quantize takes them.
static bm_grid_params fall_back(bm_gguf_mixture type, const bm_grid_params *given)
{
    bm_grid_params grid = *given;
    grid.bits = type == BM_MIXTURE_Q6_K ? 8 : 5;
    grid.group_size = 32;
    grid.symmetric = type != BM_MIXTURE_Q5_K;
    grid.nested = false;
    return grid;
}

static void note_fallback(bm_plan *plan, const bm_arguments *arguments, uint32_t count)
{
    if (count > 0)
        bm_notes_add_choice(
            &plan->notes,
            "\"gguf_type\": \"%s\": %u of %u linears have inputs that are no multiple of %d: Q4_K becomes "
            "Q5_0, Q5_K Q5_1, Q6_K Q8_0 there, as by llama-quantize",
            bm_gguf_mixture_name(arguments->gguf_type), count, plan->num_quantized, BM_NESTED_COLUMNS);
}

// How many linears become which type, in the order in which types appear.
static void note_types(bm_plan *plan, const bm_arguments *arguments)
{
    bm_gguf_type types[MAX_TYPES];
    uint32_t counts[MAX_TYPES] = {0}, num_types = 0;
    bm_string words = BM_STRING_INIT;
    for (uint32_t i = 0; i < plan->num_linears; i++) {
        const bm_plan_linear *linear = &plan->linears[i];
        if (!linear->quantized)
            continue;
        const bm_gguf_type type = bm_store_gguf_type(&linear->grid);
        uint32_t at = 0;
        while (at < num_types && types[at] != type)
            at++;
        if (at == num_types)
            types[num_types++] = type;
        counts[at]++;
    }
    for (uint32_t i = 0; i < num_types; i++)
        (void)bm_string_append_format(&words, "%s%u %s", i ? ", " : "", counts[i], bm_gguf_layout_of(types[i])->name);
    bm_notes_add_choice(&plan->notes, "\"gguf_type\": \"%s\": of %u linears %s",
                        bm_gguf_mixture_name(arguments->gguf_type), plan->num_quantized, bm_string_text(&words));
    bm_string_free(&words);
}

// The grids of a GGUF file's K-quants.
static void choose_nested(bm_plan *plan, const bm_arguments *arguments)
{
    const uint32_t num_blocks = plan->num_linears / plan->linears_per_block;
    uint32_t count = 0;
    for (uint32_t i = 0; i < plan->num_linears; i++) {
        bm_plan_linear *linear = &plan->linears[i];
        if (!linear->quantized)
            continue;
        const bm_gguf_mixture type = type_of(arguments, linear, num_blocks);
        bm_grid_params *grid = &linear->grid;
        grid->symmetric = type == BM_MIXTURE_Q6_K;
        grid->bits = bm_gguf_mixture_bits(type);
        grid->group_size = bm_nested_group_size(grid->symmetric);
        grid->nested = true;
        if (linear->in_features % BM_NESTED_COLUMNS != 0) {
            *grid = fall_back(type, grid);
            count++;
        }
        grid->signed_scales = grid->symmetric && grid->search;
    }
    note_fallback(plan, arguments, count);
    note_types(plan, arguments);
}

bm_status bm_plan_choose_grids(bm_plan *plan, const bm_arguments *arguments, bm_dtype stored, bm_error *err)
{
    const bm_dtype scale_dtype = choose_scale_dtype(plan, arguments, stored);
    const int64_t group_size = choose_group_size(plan, arguments);
    for (uint32_t i = 0; i < plan->num_linears; i++) {
        bm_plan_linear *linear = &plan->linears[i];
        if (!linear->quantized)
            continue;
        linear->per_channel = group_size < 0;
        if (plan->format->block > 0 && linear->in_features % plan->format->block != 0)
            return reject_row(plan, arguments, linear, err);
        if (!linear->per_channel && linear->in_features % group_size != 0)
            return reject_group_size(plan, arguments, linear, group_size, err);
        linear->grid =
            (bm_grid_params){.bits = arguments->weight_bits,
                             .group_size = linear->per_channel ? linear->in_features : (uint32_t)group_size,
                             .symmetric = arguments->symmetric,
                             .scale_dtype = scale_dtype,
                             .search = arguments->scale_search != BM_SCALE_ABS_MAX && !linear->keeps_range,
                             .signed_scales = tries_negative_steps(arguments, linear->per_channel),
                             .clip_n_grid = arguments->clips_by_thresholds ? (uint32_t)arguments->clip_n_grid : 0,
                             .clip_max_shrink = (float)arguments->clip_max_shrink};
    }
    if (arguments->gguf_type != BM_MIXTURE_AUTO)
        choose_nested(plan, arguments);
    return BM_OK;
}
