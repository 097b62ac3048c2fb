// The tensors that folds add to a checkpoint.
#include "model/added.h"

#include <stdio.h>

static void add(bm_fold_added *out, uint32_t *count, const char *module, const char *suffix, uint32_t width)
{
    bm_fold_added *added = &out[(*count)++];
    snprintf(added->name, sizeof added->name, "%s%s", module, suffix);
    added->width = width;
}

// Whether a linear of the checkpoint gets a bias: where its inputs are shifted, and where v takes back what o's shift
// was.
static bool needs_bias(const bm_fold_wanted wanted[BM_NUM_STAGES], bm_linear_id linear)
{
    const bool has_v = linear == BM_LINEAR_V || linear == BM_LINEAR_QKV;
    return wanted[bm_linear_stage(linear)].shift ||
           (has_v && wanted[BM_STAGE_O].shift && !wanted[BM_STAGE_O].as_operations);
}

uint32_t bm_fold_added_tensors(const bm_model *model, uint32_t block, const bm_fold_wanted wanted[BM_NUM_STAGES],
                               bm_fold_added out[BM_FOLD_MAX_ADDED])
{
    const bm_family *family = model->family;
    uint32_t count = 0, rows, cols;
    char module[BM_TENSOR_NAME_SIZE];
    for (bm_stage stage = 0; stage < BM_NUM_STAGES; stage++) {
        const bm_norm_id norm = bm_norm_of_stage(stage);
        if (norm != BM_NUM_NORMS && wanted[stage].shift && !family->has_layer_norms)
            add(out, &count, bm_norm_name(family, block, norm, module), ".bias", bm_norm_width(&model->config, norm));
    }
    for (bm_linear_id linear = 0; linear < BM_NUM_LINEARS; linear++) {
        if (!bm_family_has_linear(family, linear))
            continue;
        const bm_fold_wanted *fold = &wanted[bm_linear_stage(linear)];
        bm_linear_shape(&model->config, linear, &rows, &cols);
        bm_linear_tensor_name(family, block, linear, "", module);
        if (needs_bias(wanted, linear) && !bm_linear_has_bias(family, &model->config, linear))
            add(out, &count, module, ".bias", rows);
        if (fold->as_operations && fold->shift)
            add(out, &count, module, BM_ADDED_SHIFT, cols);
        if (fold->as_operations && fold->scale)
            add(out, &count, module, BM_ADDED_FACTOR, cols);
    }
    return count;
}
