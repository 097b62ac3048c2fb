// Generation with a key/value cache.
#include "infer/generation.h"

#include "base/clock.h"
#include "infer/resident.h"
#include "infer/warm_up.h"

#include <math.h>

// What one generation holds.
typedef struct generation_state {
    const bm_generate_params *params;
    bm_resident *resident;
    bm_workspace workspace;
    bm_key_value_cache *caches; // [num_hidden_layers]
    bm_tensor hidden;           // [max(num_prompt, 1), hidden_size]
    bm_tensor normed, logits;   // of the last token
    float *host_logits;         // [vocab_size]
    bm_sampler_state sampler;
} generation_state;

static bm_status load(generation_state *s, bm_dtype dtype, bm_error *err)
{
    const bm_generate_params *p = s->params;
    bm_status status = BM_OK;
    BM_TRY(bm_warm_up_generation(p->model, p->device, dtype, p->progress, err));
    BM_TRY(bm_resident_create(p->model, p->device, dtype, p->progress, &s->resident, err));
    if (p->resident)
        *p->resident = s->resident;
done:
    return status;
}

static bm_status state_create(generation_state *s, const bm_generate_params *p, bm_dtype dtype, bm_error *err)
{
    const bm_hf_config *c = &p->model->config;
    const uint32_t positions = p->num_prompt + p->max_new_tokens, key_value = c->num_key_value_heads * c->head_dim;
    bm_status status = BM_OK;
    *s = (generation_state){.params = p};
    s->resident = p->resident ? *p->resident : NULL;
    if (!s->resident)
        BM_TRY(load(s, dtype, err));
    BM_TRY(bm_workspace_create(p->model, p->device, p->num_prompt, positions, dtype, &s->workspace, err));
    s->caches = bm_alloc_zero(c->num_hidden_layers, sizeof *s->caches);
    s->host_logits = bm_alloc(c->vocab_size, sizeof(float));
    BM_FAIL_IF(!s->caches || !s->host_logits, err, BM_E_MEMORY, "out of memory");
    for (uint32_t i = 0; i < c->num_hidden_layers; i++) {
        BM_TRY(bm_tensor_create(p->device, dtype, positions, key_value, "key cache", &s->caches[i].key, err));
        BM_TRY(bm_tensor_create(p->device, dtype, positions, key_value, "value cache", &s->caches[i].value, err));
    }
    BM_TRY(bm_tensor_create(p->device, BM_DTYPE_F32, p->num_prompt, c->hidden_size, "hidden", &s->hidden, err));
    BM_TRY(bm_tensor_create(p->device, dtype, 1, c->hidden_size, "normed", &s->normed, err));
    BM_TRY(bm_tensor_create(p->device, BM_DTYPE_F32, 1, c->vocab_size, "logits", &s->logits, err));
    BM_TRY(bm_sampler_create(&s->sampler, &p->sample, c->vocab_size, err));
done:
    return status;
}

static void state_destroy(generation_state *s)
{
    for (uint32_t i = 0; s->caches && i < s->params->model->config.num_hidden_layers; i++) {
        bm_tensor_destroy(&s->caches[i].key);
        bm_tensor_destroy(&s->caches[i].value);
    }
    bm_free(s->caches);
    bm_free(s->host_logits);
    bm_sampler_destroy(&s->sampler);
    bm_tensor_destroy(&s->hidden);
    bm_tensor_destroy(&s->normed);
    bm_tensor_destroy(&s->logits);
    bm_workspace_destroy(&s->workspace);
    if (!s->params->resident)
        bm_resident_destroy(&s->resident);
}

static bm_status run_blocks(generation_state *s, const bm_batch *batch, const bm_tensor *hidden, bm_error *err)
{
    const bm_generate_params *p = s->params;
    bm_status status = BM_OK;
    for (uint32_t i = 0; i < p->model->config.num_hidden_layers && status == BM_OK; i++) {
        bm_block loaded = {0};
        const bm_block *block = s->resident->blocks ? &s->resident->blocks[i] : &loaded;
        if (!s->resident->blocks)
            status = bm_block_load_codes(p->model, p->device, i, s->resident->dtype, &loaded, err);
        if (status == BM_OK)
            status = bm_block_forward(p->device, block, batch, &s->workspace, &s->caches[i], hidden, err);
        s->caches[i].num_cached += batch->num_tokens;
        bm_block_destroy(&loaded);
    }
    return status;
}

// No choice among logits that overflowed means anything.
static bm_status check_logits(const generation_state *s, uint32_t position, bm_error *err)
{
    const bm_model *model = s->params->model;
    for (uint32_t i = 0; i < model->config.vocab_size; i++)
        if (!isfinite(s->host_logits[i]))
            return bm_fail(err, BM_E_NUMERIC, "%s: the logit of token id %u at position %u is %s", model->folder, i,
                           position, isnan(s->host_logits[i]) ? "NaN" : "infinite");
    return BM_OK;
}

// Runs count tokens behind first_position cached ones; leaves the logits of the last in host_logits, all of them
// finite.
static bm_status run_tokens(generation_state *s, const uint32_t *ids, uint32_t count, uint32_t first_position,
                            bm_error *err)
{
    const bm_generate_params *p = s->params;
    const bm_hf_config *c = &p->model->config;
    bm_status status = BM_OK;
    bm_batch batch = {0};
    const bm_tensor hidden = bm_tensor_rows(&s->hidden, 0, count);
    const bm_tensor last = bm_tensor_rows(&s->hidden, count - 1, 1);
    BM_TRY(bm_batch_create_cached(p->device, ids, count, first_position, c->sliding_window, &batch, err));
    BM_TRY(bm_resident_embed(s->resident, &batch, &hidden, err));
    BM_TRY(run_blocks(s, &batch, &hidden, err));
    BM_TRY(bm_norm_apply(p->device, &s->resident->final_norm, &last, &s->normed, err));
    BM_TRY(bm_gemm(p->device, &s->normed, s->resident->head, NULL, &s->logits, err));
    BM_TRY(bm_model_cap_logits(p->model, p->device, &s->logits, err));
    BM_TRY(bm_tensor_download(p->device, &s->logits, s->host_logits, err));
    BM_TRY(bm_device_wait(p->device, err));
    BM_TRY(check_logits(s, first_position + count - 1, err));
done:
    bm_batch_destroy(&batch);
    return status;
}

static bool is_end(const bm_generate_params *p, uint32_t id)
{
    for (size_t i = 0; i < p->num_end_ids; i++)
        if (p->end_ids[i] == id)
            return true;
    return false;
}

static bm_status check_params(const bm_generate_params *p, bm_error *err)
{
    const bm_hf_config *c = &p->model->config;
    const bm_status status = bm_block_check_runnable(p->model, err);
    if (status != BM_OK)
        return status;
    if (p->num_prompt == 0)
        return bm_fail(err, BM_E_ARGUMENT, "the prompt has no tokens and the model no beginning-of-sequence token");
    if ((uint64_t)p->num_prompt + p->max_new_tokens > c->max_position_embeddings)
        return bm_fail(err, BM_E_ARGUMENT, "prompt of %u tokens, %u new, and the model takes %u in all", p->num_prompt,
                       p->max_new_tokens, c->max_position_embeddings);
    for (uint32_t i = 0; i < p->num_prompt; i++)
        if (p->prompt[i] >= c->vocab_size)
            return bm_fail(err, BM_E_ARGUMENT, "token %u of the prompt has id %u, the model's vocabulary has %u", i,
                           p->prompt[i], c->vocab_size);
    return BM_OK;
}

bm_status bm_generate(const bm_generate_params *p, bm_generation *out, bm_error *err)
{
    generation_state s = {.params = p};
    bm_generation result = {0};
    bm_status status = BM_OK;
    BM_TRY(check_params(p, err));
    BM_TRY(bm_device_discard_reports(p->device, err));
    const bm_dtype dtype = p->dtype != BM_DTYPE_NONE ? p->dtype : bm_model_compute_dtype(p->model, p->device);
    BM_TRY(state_create(&s, p, dtype, err));
    uint64_t start = bm_clock_ns();
    BM_TRY(run_tokens(&s, p->prompt, p->num_prompt, 0, err));
    result.prompt_seconds = (double)(bm_clock_ns() - start) * 1e-9;
    start = bm_clock_ns();
    while (result.num_new_tokens < p->max_new_tokens) {
        const uint32_t id = bm_sampler_choose(&s.sampler, s.host_logits);
        result.ended = is_end(p, id);
        if (result.ended)
            break;
        result.num_new_tokens++;
        if (p->on_token && !p->on_token(p->user, id))
            break;
        if (result.num_new_tokens == p->max_new_tokens)
            break;
        BM_TRY(run_tokens(&s, &id, 1, p->num_prompt + result.num_new_tokens - 1, err));
        result.num_steps++;
    }
    result.decode_seconds = (double)(bm_clock_ns() - start) * 1e-9;
    *out = result;
done:
    state_destroy(&s);
    return status;
}
