// The tensors that folds have added to a checkpoint: which are there, and that none is missing.
#include "model/added.h"

#include <stdio.h>

const bm_tensor_info *bm_model_added(const bm_model *model, const char *module, const char *suffix)
{
    char name[BM_TENSOR_NAME_SIZE + 24];
    snprintf(name, sizeof name, "%s%s", module, suffix);
    return model->quantization.needs_bitmill ? bm_checkpoint_find(model->checkpoint, name) : NULL;
}

bool bm_model_norm_has_bias(const bm_model *model, const char *module)
{
    return model->family->has_layer_norms || bm_model_added(model, module, ".bias");
}

bool bm_model_linear_has_bias(const bm_model *model, uint32_t block, bm_linear_id linear)
{
    char module[BM_TENSOR_NAME_SIZE];
    return bm_linear_has_bias(model->family, &model->config, linear) ||
           bm_model_added(model, bm_linear_tensor_name(model->family, block, linear, "", module), ".bias");
}

// What of a stage is shifted or scaled, as far as the tensors tell it.
static bm_fold_wanted wanted_of(const bm_model *model, uint32_t block, bm_stage stage)
{
    const bm_norm_id norm = bm_norm_of_stage(stage);
    char module[BM_TENSOR_NAME_SIZE];
    if (norm != BM_NUM_NORMS) {
        bm_norm_name(model->family, block, norm, module);
        const bool is_shifted = !model->family->has_layer_norms && bm_model_added(model, module, ".bias");
        return (bm_fold_wanted){.shift = is_shifted};
    }
    bm_linear_tensor_name(model->family, block, bm_stage_linear(stage), "", module);
    const bm_fold_wanted wanted = {.scale = bm_model_added(model, module, BM_ADDED_FACTOR),
                                   .shift = bm_model_added(model, module, BM_ADDED_SHIFT),
                                   .as_operations = true};
    return wanted;
}

bm_status bm_model_check_added(const bm_model *model, uint32_t block, bm_error *err)
{
    bm_fold_wanted wanted[BM_NUM_STAGES];
    bm_fold_added added[BM_FOLD_MAX_ADDED];
    if (!model->quantization.needs_bitmill)
        return BM_OK;
    for (bm_stage stage = 0; stage < BM_NUM_STAGES; stage++)
        wanted[stage] = wanted_of(model, block, stage);
    const uint32_t count = bm_fold_added_tensors(model, block, wanted, added);
    for (uint32_t i = 0; i < count; i++)
        if (!bm_checkpoint_find(model->checkpoint, added[i].name))
            return bm_model_fail_missing(model, added[i].name, "what the block's inputs are shifted by needs it", err);
    return BM_OK;
}
