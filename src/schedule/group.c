// A group of linears from its first input to its codes.
#include "schedule/group.h"

#include <string.h>

bm_status bm_group_begin(bm_group *group, const bm_emit_context *emit, bm_multiplier *multiplier, uint32_t block,
                         bm_stage stage, const bm_equalizer *equalizer, bm_error *err)
{
    const bm_plan *plan = emit->plan;
    *group = (bm_group){.emit = emit, .multiplier = multiplier, .equalizer = equalizer};
    for (uint32_t i = 0; i < plan->num_linears; i++) {
        const bm_plan_linear *p = &plan->linears[i];
        if (p->quantized && p->block == block && bm_linear_stage(p->linear) == stage)
            group->members[group->num_members++] = p;
    }
    if (group->num_members == 0)
        return BM_OK;
    const bm_plan_linear *first = group->members[0];
    group->params = bm_plan_method_params(plan, first);
    bm_linear_tensor_name(plan->family, first->block, first->linear, "", group->name);
    return plan->method->begin(multiplier, &group->params, first->in_features, &group->state, err);
}

bm_status bm_group_watch(bm_group *group, const bm_tensor *inputs, const bm_tensor *float_inputs, bm_error *err)
{
    if (!group->state || inputs->rows == 0)
        return BM_OK;
    return group->emit->plan->method->watch(group->multiplier, group->state, inputs, float_inputs, err);
}

// Which group each channel belongs to, where the output stores it: the method's order, or, where it has none, neighbours.
static bm_status find_group_index(bm_group *group, bm_error *err)
{
    const uint32_t channels = group->members[0]->in_features;
    const bm_status status =
        group->emit->plan->method->group_index(group->state, &group->params, &group->group_index, err);
    if (status != BM_OK || group->group_index || group->params.act_order != BM_COLUMN_ORDER_DYNAMIC)
        return status;
    group->group_index = bm_alloc(channels, sizeof *group->group_index);
    if (!group->group_index)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    for (uint32_t c = 0; c < channels; c++)
        group->group_index[c] = c / group->params.grid.group_size;
    return BM_OK;
}

// Whether a group before fell back for the same reason.
static bool was_met(const bm_quantize_result *result, const char *reason)
{
    for (uint32_t i = 0; i < result->num_linears; i++)
        if (result->linears[i].group.fell_back && strcmp(result->linears[i].group.reason, reason) == 0)
            return true;
    return false;
}

bm_status bm_group_prepare(bm_group *group, const bm_quantize_result *result, const bm_log *log, bm_error *err)
{
    if (group->num_members == 0)
        return BM_OK;
    const bm_method *method = group->emit->plan->method;
    bm_status status = method->prepare(group->multiplier, group->state, &group->params, &group->found, err);
    if (status == BM_OK)
        status = find_group_index(group, err);
    if (status != BM_OK)
        bm_error_prefix(err, "%s", group->name);
    else if (group->found.fell_back && !was_met(result, group->found.reason))
        bm_log_write(log, BM_LOG_WARNING, "%s: %s; plain rounding is used for this group of linears", group->name,
                     group->found.reason);
    return status;
}

void bm_group_record_linear(bm_linear_record *record, const bm_plan *plan, const bm_plan_linear *p,
                            const bm_row_errors *errors)
{
    *record = (bm_linear_record){.bits = p->grid.bits,
                                 .group_size = bm_plan_group_size(p),
                                 .keeps_range = p->keeps_range,
                                 .out_features = p->out_features,
                                 .in_features = p->in_features,
                                 .squared_error = errors->weight_error,
                                 .nmse = errors->weight_norm > 0 ? errors->weight_error / errors->weight_norm : 0,
                                 .output_error = errors->output_error,
                                 .output_error_rounding = errors->output_error_rounding,
                                 .guarded_rows = errors->guarded_rows};
    bm_linear_tensor_name(plan->family, p->block, p->linear, "", record->name);
}

// Where the values of the members' codes go.
static bm_status choose_weights(const bm_group *group, const bm_block *block, bool keep_old, bm_emit_member *members,
                                bm_error *err)
{
    bm_status status = BM_OK;
    for (uint32_t i = 0; i < group->num_members; i++) {
        bm_linear_rows *rows = &members[i].rows;
        members[i].linear = group->members[i];
        *rows = bm_block_linear_rows(block, group->members[i]->linear);
        for (uint32_t p = 0; keep_old && p < rows->num_parts; p++) {
            const bm_weights *old = rows->parts[p];
            rows->parts[p] = NULL;
            if (status == BM_OK)
                status = bm_weights_create(group->emit->device, old->out_features, old->in_features, old->dtype,
                                           old->name, NULL, &rows->parts[p], err);
        }
    }
    return status;
}

// Whether the block has all members' rows as the checkpoint stores them: then they are read from there, where the device has them.
static bool holds_rows(const bm_group *group, const bm_block *block)
{
    char name[BM_TENSOR_NAME_SIZE];
    const bm_emit_context *emit = group->emit;
    for (uint32_t i = 0; i < group->num_members; i++) {
        const bm_plan_linear *p = group->members[i];
        const bm_tensor_info *info = bm_checkpoint_find(
            emit->model->checkpoint, bm_linear_tensor_name(emit->plan->family, p->block, p->linear, ".weight", name));
        const bm_linear_rows rows = bm_block_linear_rows(block, p->linear);
        for (uint32_t k = 0; k < rows.num_parts; k++)
            if (!info || !rows.parts[k] || rows.parts[k]->dtype != info->dtype ||
                rows.parts[k]->choice.form == BM_GEMM_PANELS)
                return false;
    }
    return true;
}

bm_status bm_group_solve(bm_group *group, bm_block *block, bool keep_old, bm_quantize_result *result, const bm_log *log,
                         bm_error *err)
{
    bm_status status = BM_OK;
    bm_emit_member members[BM_NUM_LINEARS] = {{0}};
    bm_emit_solving solving = {
        .multiplier = group->multiplier, .state = group->state, .group_index = group->group_index};
    if (group->num_members == 0)
        return BM_OK;
    if (group->equalizer) {
        solving.masters = &group->equalizer->masters;
        solving.input = group->equalizer->stages[bm_linear_stage(group->members[0]->linear)].input;
    } else if (holds_rows(group, block)) {
        solving.masters = block;
    }
    BM_TRY(choose_weights(group, block, keep_old, members, err));
    for (uint32_t i = 0; i < group->num_members; i++)
        BM_TRY(bm_emit_member_keep_steps(group->emit, &members[i], err));
    BM_TRY(bm_emit_linears(group->emit, members, group->num_members, &solving, err));
    for (uint32_t i = 0; i < group->num_members; i++) {
        bm_linear_record *record = &result->linears[result->num_linears++];
        bm_linear_id parts[BM_MAX_LINEAR_PARTS];
        for (uint32_t p = 0; p < bm_linear_parts(members[i].linear->linear, parts); p++) {
            block->linears[parts[p]] = members[i].rows.parts[p];
            members[i].rows.parts[p] = NULL; // the block's
        }
        bm_group_record_linear(record, group->emit->plan, members[i].linear, &members[i].errors);
        BM_TRY(bm_emit_tell_scales(group->emit, &members[i], &solving.input, err));
        record->group = group->found;
        record->has_output_error = true;
        bm_log_write(log, BM_LOG_DEBUG,
                     "%s: relative squared error %.3e; of its outputs %.3f of rounding to the same grid", record->name,
                     record->nmse,
                     record->output_error_rounding > 0 ? record->output_error / record->output_error_rounding : 1.0);
    }
done:
    for (uint32_t i = 0; i < group->num_members; i++) {
        bm_free(members[i].steps);
        for (uint32_t p = 0; p < BM_MAX_LINEAR_PARTS && keep_old; p++)
            bm_weights_destroy(&members[i].rows.parts[p]);
    }
    return status;
}

void bm_group_end(bm_group *group)
{
    if (group->emit)
        group->emit->plan->method->end(&group->state);
    bm_free(group->group_index);
    *group = (bm_group){0};
}
