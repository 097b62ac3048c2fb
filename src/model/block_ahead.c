// Reading a block's tensors ahead.
#include "model/block.h"

#include <string.h>

// Tensors whose names are a module's and a suffix: its weight and bias, or what a format has in their place.
static void add_module(const bm_model *model, const char *module, const bm_tensor_info **tensors, uint32_t *count)
{
    const size_t length = strlen(module);
    for (uint32_t i = 0; i < bm_checkpoint_count(model->checkpoint); i++) {
        const bm_tensor_info *info = bm_checkpoint_at(model->checkpoint, i);
        if (strncmp(info->name, module, length) == 0 && info->name[length] == '.' && bm_model_reads(model, info))
            tensors[(*count)++] = info;
    }
}

void bm_block_read_ahead(bm_read_ahead *reader, const bm_model *model, uint32_t index)
{
    char module[BM_TENSOR_NAME_SIZE];
    uint32_t count = 0;
    if (!reader || index >= model->config.num_hidden_layers)
        return;
    const bm_tensor_info **tensors = bm_alloc(bm_checkpoint_count(model->checkpoint), sizeof *tensors);
    if (!tensors)
        return; // they are read where they are asked for
    for (bm_norm_id norm = 0; norm < BM_NUM_NORMS; norm++)
        if (bm_family_has_norm(model->family, norm))
            add_module(model, bm_norm_name(model->family, index, norm, module), tensors, &count);
    for (bm_linear_id linear = 0; linear < BM_NUM_LINEARS; linear++)
        if (bm_family_has_linear(model->family, linear))
            add_module(model, bm_linear_tensor_name(model->family, index, linear, "", module), tensors, &count);
    bm_read_ahead_want(reader, index, tensors, count);
    bm_free(tensors);
}
