// Tensors of a GGUF file: names, types, and the order in which they lie.
#include "schedule/gguf.h"

#include "base/half.h"
#include "model/gguf_target.h"
#include "store/gguf.h"

#include <stdio.h>

typedef struct declarer {
    const bm_model *model;
    const bm_plan *plan;
    const bm_gguf_target *target;
    bm_checkpoint_writer *writer;
} declarer;

// Whose rows change places: those that are rotated.
static uint32_t heads_of(const declarer *d, bm_linear_id linear)
{
    const bm_hf_config *c = &d->model->config;
    if (!d->target->interleaved)
        return 0;
    return linear == BM_LINEAR_Q ? c->num_attention_heads : linear == BM_LINEAR_K ? c->num_key_value_heads : 0;
}

static bm_status declare(const declarer *d, const char *name, bm_gguf_type type, const uint64_t *shape,
                         uint32_t num_dims, bm_error *err)
{
    char in_file[BM_GGUF_NAME_SIZE];
    bm_linear_id linear;
    if (!bm_gguf_tensor_name(d->target, d->model->family, name, in_file, &linear))
        return bm_fail(err, BM_E_ARGUMENT,
                       "gguf: the architecture %s has no place for tensor \"%s\"; compressed-tensors "
                       "has",
                       d->target->name, name);
    const bm_gguf_declaration tensor = {in_file, type, heads_of(d, linear), shape, num_dims};
    return bm_gguf_writer_declare(d->writer, name, &tensor, err);
}

// A tensor that stays float; nothing where the checkpoint has none, or the model does not read it.
static bm_status declare_float(const declarer *d, const char *module, const char *suffix, bm_error *err)
{
    char name[BM_TENSOR_NAME_SIZE];
    snprintf(name, sizeof name, "%s%s", module, suffix);
    const bm_tensor_info *info = bm_checkpoint_find(d->model->checkpoint, name);
    if (!info || !bm_model_reads(d->model, info))
        return BM_OK;
    const bm_gguf_type type = bm_emit_is_packed(d->model, d->plan, name)
                                  ? BM_GGUF_Q8_0
                                  : bm_store_gguf_float_type(bm_emit_stored_dtype(d->plan, info));
    return declare(d, name, type, info->shape, info->num_dims, err);
}

static bm_status declare_linear(const declarer *d, const bm_plan_linear *p, bm_error *err)
{
    const uint64_t shape[2] = {p->out_features, p->in_features};
    char module[BM_TENSOR_NAME_SIZE], weight[BM_TENSOR_NAME_SIZE];
    bm_status status = BM_OK;
    bm_linear_tensor_name(d->plan->family, p->block, p->linear, "", module);
    bm_linear_tensor_name(d->plan->family, p->block, p->linear, ".weight", weight);
    BM_TRY(p->quantized ? declare(d, weight, bm_store_gguf_type(&p->grid), shape, 2, err)
                        : declare_float(d, module, ".weight", err));
    BM_TRY(declare_float(d, module, ".bias", err));
done:
    return status;
}

static bm_status declare_head(const declarer *d, bm_error *err)
{
    const bm_plan_linear *head = &d->plan->linears[d->plan->num_linears];
    const uint64_t shape[2] = {d->model->config.vocab_size, d->model->config.hidden_size};
    return d->plan->has_head ? declare(d, BM_TENSOR_LM_HEAD, bm_store_gguf_type(&head->grid), shape, 2, err)
                             : declare_float(d, BM_TENSOR_LM_HEAD, "", err);
}

static bm_status declare_block(const declarer *d, uint32_t block, bm_error *err)
{
    const bm_family *family = d->model->family;
    char module[BM_TENSOR_NAME_SIZE];
    bm_status status = BM_OK;
    for (bm_norm_id norm = 0; norm < BM_NUM_NORMS; norm++)
        if (bm_family_has_norm(family, norm))
            BM_TRY(declare_float(d, bm_norm_name(family, block, norm, module), ".weight", err));
    for (uint32_t i = 0; i < d->plan->linears_per_block; i++)
        BM_TRY(declare_linear(d, &d->plan->linears[block * d->plan->linears_per_block + i], err));
done:
    return status;
}

bm_status bm_emit_gguf_writer(const bm_model *model, const bm_plan *plan, const char *folder,
                              bm_checkpoint_writer **out, bm_error *err)
{
    const bm_family_layout *layout = model->family->layout;
    const uint64_t num_freqs = model->config.head_dim / 2;
    bm_status status = BM_OK;
    declarer d = {model, plan, bm_gguf_target_find(model->config.model_type), NULL};
    BM_TRY(bm_gguf_writer_create(&d.writer, folder, plan->gguf_file, &plan->gguf, err));
    BM_TRY(declare_float(&d, layout->embedding, "", err));
    BM_TRY(declare_float(&d, layout->final_norm, ".weight", err));
    BM_TRY(declare_head(&d, err));
    if (bm_gguf_has_rope_freqs(model)) {
        const bm_gguf_declaration tensor = {BM_GGUF_ROPE_FREQS, BM_GGUF_F32, 0, &num_freqs, 1};
        BM_TRY(bm_gguf_writer_declare(d.writer, BM_GGUF_ROPE_FREQS, &tensor, err));
    }
    for (uint32_t block = 0; block < model->config.num_hidden_layers; block++)
        BM_TRY(declare_block(&d, block, err));
    *out = d.writer;
    d.writer = NULL;
done:
    bm_checkpoint_writer_destroy(&d.writer);
    return status;
}

bool bm_gguf_has_rope_freqs(const bm_model *model)
{
    return model->config.rope.scaling == BM_ROPE_LLAMA3;
}

// Readers divide a frequency by its value.
bm_status bm_emit_gguf_rope_freqs(const bm_emit_context *emit, bm_error *err)
{
    const bm_rope_config *rope = &emit->model->config.rope, plain = {.theta = rope->theta};
    const uint32_t head_dim = emit->model->config.head_dim;
    const uint64_t size = head_dim / 2 * sizeof(float);
    uint8_t *bytes = bm_alloc(size, 1);
    if (!bytes)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    for (uint32_t i = 0; i < head_dim / 2; i++)
        bm_store_real(bytes, BM_DTYPE_F32, i,
                      (float)(bm_rope_frequency(&plain, head_dim, i) / bm_rope_frequency(rope, head_dim, i)));
    bm_emit_context unlooked = *emit; // readers make keys of it, no tensor: one that has no keys does not open
    unlooked.verification = NULL;
    const bm_status status = bm_emit_put_bytes(&unlooked, BM_GGUF_ROPE_FREQS, 0, &bytes, size, err);
    bm_free(bytes);
    return status;
}
