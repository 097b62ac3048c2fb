#include "golden/continuation.h"

#include "infer/generation.h"

static bool append(void *user, uint32_t id)
{
    return bm_token_list_append(user, &id, 1);
}

bm_status golden_continue(const bm_model *model, bm_device *device, uint32_t count, bm_token_list *ids, bm_error *err)
{
    bm_status status = BM_OK;
    bm_token_list prompt = BM_TOKEN_LIST_INIT; // a copy: ids grows meanwhile
    bm_generation generation;
    BM_FAIL_IF(!bm_token_list_append(&prompt, ids->ids, ids->count), err, BM_E_MEMORY, "out of memory");
    const bm_generate_params params = {.model = model,
                                       .device = device,
                                       .dtype = BM_DTYPE_F32,
                                       .prompt = prompt.ids,
                                       .num_prompt = (uint32_t)prompt.count,
                                       .max_new_tokens = count,
                                       .sample = {.temperature = 0, .top_p = 1},
                                       .on_token = append,
                                       .user = ids};
    BM_TRY(bm_generate(&params, &generation, err));
done:
    bm_token_list_free(&prompt);
    return status;
}
