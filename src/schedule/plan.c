// What a run will do, decided once.
#include "schedule/plan.h"

#include "model/block.h"
#include "model/gguf_model.h"
#include "schedule/check.h"
#include "schedule/companions.h"
#include "schedule/gguf.h"
#include "schedule/plan_folds.h"
#include "schedule/plan_grids.h"
#include "schedule/plan_loaded.h"
#include "schedule/tokenizer_files.h"
#include "text/tokenizer.h"

#include <stdio.h>
#include <string.h>

// Whether an entry of the list is in the name; used [count] keeps in mind which ever were.
static bool is_listed(const bm_name_list *list, const char *name, uint8_t *used)
{
    bool is_in = false;
    for (uint32_t i = 0; i < list->count; i++)
        if (strstr(name, list->names[i])) {
            used[i] = 1;
            is_in = true;
        }
    return is_in;
}

static void note_unused(bm_plan *plan, const char *key, const bm_name_list *list, const uint8_t *used)
{
    for (uint32_t i = 0; i < list->count; i++)
        if (!used[i])
            bm_notes_add(&plan->notes, "%s: \"%s\" matches no linear", key, list->names[i]);
}

static bm_status list_linears(bm_plan *plan, const bm_arguments *arguments, const bm_model *model, bm_error *err)
{
    const uint32_t num_blocks = model->config.num_hidden_layers;
    char name[BM_TENSOR_NAME_SIZE];
    bm_status status = BM_OK;
    const bm_name_list *skipped = &arguments->skip_list_names, *unclipped = &arguments->clip_skip;
    uint8_t *used = bm_alloc_zero(skipped->count, 1), *used_by_clip = bm_alloc_zero(unclipped->count, 1);
    plan->linears_per_block = bm_family_num_linears(plan->family);
    plan->linears = bm_alloc_zero((uint64_t)num_blocks * plan->linears_per_block, sizeof *plan->linears);
    BM_FAIL_IF(!plan->linears || !used || !used_by_clip, err, BM_E_MEMORY, "out of memory");
    for (uint32_t block = 0; block < num_blocks; block++)
        for (bm_linear_id linear = 0; linear < BM_NUM_LINEARS; linear++) {
            if (!bm_family_has_linear(plan->family, linear))
                continue;
            bm_plan_linear *p = &plan->linears[plan->num_linears++];
            *p = (bm_plan_linear){.block = block, .linear = linear};
            bm_linear_shape(&model->config, linear, &p->out_features, &p->in_features);
            bm_linear_tensor_name(plan->family, block, linear, "", name);
            p->quantized = !is_listed(skipped, name, used);
            p->keeps_range = is_listed(unclipped, name, used_by_clip) && arguments->auto_clip;
            plan->num_quantized += p->quantized;
        }
    note_unused(plan, "skip_list_names", skipped, used);
    if (arguments->auto_clip)
        note_unused(plan, "clip_skip", unclipped, used_by_clip);
    BM_FAIL_IF(plan->num_quantized == 0, err, BM_E_ARGUMENT, "%s: \"skip_list_names\": leaves no linear to quantize",
               bm_arguments_source_of(arguments, "skip_list_names"));
done:
    bm_free(used);
    bm_free(used_by_clip);
    return status;
}

// Loaders like vLLM compute q, k and v as one layer, gate and up as another: all linears of a stage must be quantized
// there, or none. Returns the number of blocks that split the stage, and the first of them.
uint32_t bm_plan_count_split_blocks(const bm_plan *plan, bm_stage stage, uint32_t *first)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < plan->num_linears; i += plan->linears_per_block) {
        uint32_t members = 0, quantized = 0;
        for (uint32_t l = i; l < i + plan->linears_per_block; l++)
            if (bm_linear_stage(plan->linears[l].linear) == stage) {
                members++;
                quantized += plan->linears[l].quantized;
            }
        if (quantized > 0 && quantized < members && count++ == 0)
            *first = plan->linears[i].block;
    }
    return count;
}

static void note_split_stages(bm_plan *plan)
{
    static const struct {
        bm_stage stage;
        const char *members;
    } stages[] = {{BM_STAGE_QKV, "q_proj, k_proj and v_proj"}, {BM_STAGE_GATE_UP, "gate_proj and up_proj"}};
    for (size_t i = 0; i < BM_COUNT(stages); i++) {
        uint32_t first = 0;
        const uint32_t count = bm_plan_count_split_blocks(plan, stages[i].stage, &first);
        if (count > 0)
            bm_notes_add(&plan->notes,
                         "skip_list_names: keeps only some of %s float in %u block%s (the first is %u); vLLM computes "
                         "them as one layer and refuses such a checkpoint: name all of them or none",
                         stages[i].members, count, count == 1 ? "" : "s", first);
    }
}

static void note_quantized_fusion(bm_plan *plan)
{
    if (bm_plan_quantizes_fusion(plan))
        bm_notes_add_choice(&plan->notes, "vLLM 0.32.0 does not load a quantized query_key_value; skip_list_names "
                                          "[\"query_key_value\"] leaves it float for vLLM");
}

_Static_assert((int)BM_SEARCH_MSE == (int)BM_SCALE_MSE && (int)BM_SEARCH_GRAM == (int)BM_SCALE_GRAM &&
                   (int)BM_COLUMN_ORDER_STATIC == (int)BM_ORDER_STATIC &&
                   (int)BM_COLUMN_ORDER_DYNAMIC == (int)BM_ORDER_DYNAMIC,
               "enumerations of keys and of methods go in the same order");

// A search that weighs by data and that nobody asked for gives way where there are none, or where they cannot be run.
static bm_search choose_search(bm_plan *plan, const bm_arguments *arguments)
{
    const char *reason = !plan->is_runnable                    ? "bitmill does not run the model"
                         : !bm_has_calibration_data(arguments) ? "the data have no part for calibration"
                                                               : NULL;
    if (!arguments->needs_calibration || !bm_calibration_is_optional(arguments) || !reason)
        return (bm_search)arguments->scale_search;
    bm_notes_add_choice(&plan->notes, "scale_search: mse instead of %s: %s",
                        bm_scale_search_name(arguments->scale_search), reason);
    return BM_SEARCH_MSE;
}

// The method, and what the keys say of it for all linears alike.
static void choose_method(bm_plan *plan, const bm_arguments *arguments)
{
    const bool is_gptq = arguments->job == BM_JOB_GPTQ;
    const bool compat = arguments->compat == BM_COMPAT_PADDLESLIM;
    plan->method = is_gptq ? &bm_method_gptq : compat ? &bm_method_rtn_paddleslim : &bm_method_rtn;
    plan->params = (bm_method_params){.scale_search = choose_search(plan, arguments)};
    if (!is_gptq)
        return;
    plan->params.act_order = (bm_column_order)arguments->act_order;
    plan->params.damp_percent = arguments->damp_percent;
    plan->params.qep_alpha = arguments->qep_alpha;
    plan->params.code_sweeps = (uint32_t)arguments->code_sweeps;
    plan->params.scale_refit = arguments->scale_refit;
    if (bm_plan_first(plan)->per_channel && arguments->act_order == BM_ORDER_DYNAMIC) {
        plan->params.act_order = BM_COLUMN_ORDER_STATIC;
        bm_notes_add(&plan->notes,
                     "\"act_order\": \"dynamic\": taken as static: with one scale an output channel there "
                     "are no groups to order");
    }
}

// Lowers the lengths to what the model addresses. A length that nobody gave is ours to choose; one that was given is not
// taken as given.
static bm_status fit_context(bm_plan *plan, const bm_arguments *arguments, uint32_t context, bm_error *err)
{
    bool is_given = bm_arguments_is_given(arguments, "max_length") || bm_arguments_is_given(arguments, "tgt_length");
    const uint32_t asked = (uint32_t)arguments->max_length;
    const char *data = arguments->dataset_name_or_path;
    const bool is_text = data && bm_ends_with(data, ".txt"); // without prompts
    char words[160];
    plan->src_length = (uint32_t)arguments->src_length;
    plan->max_length = asked;
    if (!bm_plan_reads_data(plan, arguments) || context == 0 || asked <= context) // 0: the model does not say
        return BM_OK;
    if (context < 3)
        return bm_arguments_reject(arguments, err, "\"max_length\": the model addresses only %u positions", context);
    plan->max_length = context;
    size_t length =
        (size_t)snprintf(words, sizeof words, "\"max_length\": %u: lowered to %u, the model's context", asked, context);
    if (plan->src_length >= context) {
        plan->src_length = (uint32_t)bm_max_u64(2, context / 2);
        if (!is_text) {
            is_given = is_given || bm_arguments_is_given(arguments, "src_length");
            snprintf(words + length, sizeof words - length, "; src_length to %u", plan->src_length);
        }
    }
    if (is_given)
        bm_notes_add(&plan->notes, "%s", words);
    else
        bm_notes_add_choice(&plan->notes, "%s", words);
    return BM_OK;
}

void bm_plan_note_limits(bm_plan *plan, const bm_model *model, const char *done)
{
    bm_error words = {0};
    bm_model_words remarks[BM_MAX_MODEL_REMARKS];
    const uint32_t count = bm_model_remarks(model, "left out", remarks);
    for (uint32_t i = 0; i < count; i++)
        bm_notes_add(&plan->notes, "%s", remarks[i].text);
    plan->is_runnable = bm_block_check_runnable(model, &words) == BM_OK;
    if (!plan->is_runnable)
        bm_notes_add(&plan->notes, "%s; it is %s all the same", words.message, done);
}

// What made it one scale a channel.
static const char *describe_channels(const bm_arguments *a)
{
    if (!bm_arguments_is_given(a, "weight_quant_method"))
        return "\"weight_quant_method\": absent: abs_max_channel_wise";
    return bm_arguments_is_given(a, "group_size") || a->weight_quant_method == BM_WEIGHT_GROUPWISE
               ? "\"group_size\": -1 (per channel)"
               : "\"weight_quant_method\": \"abs_max_channel_wise\"";
}

// Whether the format holds what was planned.
static bm_status check_format(const bm_plan *plan, const bm_arguments *arguments, bm_error *err)
{
    const bm_store_format *format = plan->format;
    bm_error words = {0};
    if (format->scale_dtype != BM_DTYPE_NONE && bm_plan_first(plan)->grid.scale_dtype != format->scale_dtype)
        return bm_arguments_reject(arguments, err, "\"scale_dtype\": %s: the format %s holds scales of type %s alone",
                                   bm_dtype_name(bm_plan_first(plan)->grid.scale_dtype), format->name,
                                   bm_dtype_name(format->scale_dtype));
    if (format->writes_groups && bm_plan_first(plan)->per_channel)
        return bm_arguments_reject(
            arguments, err,
            "%s: the format %s holds groups alone; expected \"weight_quant_method\": \"groupwise\" and a group_size of "
            "32, 64, 128 or 256 that divides the inputs of every linear",
            describe_channels(arguments), format->name);
    if (arguments->compat == BM_COMPAT_PADDLESLIM &&
        (bm_plan_first(plan)->grid.scale_dtype != BM_DTYPE_F32 || !arguments->symmetric))
        return bm_arguments_reject(arguments, err, "\"compat\": \"paddleslim\": its codes are %s; found \"%s\": %s",
                                   arguments->symmetric ? "of scales in float32" : "symmetric",
                                   arguments->symmetric ? "scale_dtype" : "symmetric",
                                   arguments->symmetric ? bm_dtype_name(bm_plan_first(plan)->grid.scale_dtype)
                                                        : "false");
    if (plan->needs_bitmill && !format->holds_operations)
        return bm_arguments_reject(
            arguments, err,
            "\"format\": \"%s\": has no place for what shift adds to this model (biases of norms "
            "and linears); compressed-tensors has",
            format->name);
    for (uint32_t i = 0; i < plan->num_linears; i++) {
        char module[BM_TENSOR_NAME_SIZE];
        const bm_store_linear linear = bm_emit_store_linear(plan, &plan->linears[i], module);
        if (plan->linears[i].quantized && format->check(&linear, &words) != BM_OK)
            return bm_arguments_reject(arguments, err, "\"format\": \"%s\": %s", format->name, words.message);
    }
    return BM_OK;
}

static bm_status plan_gguf(bm_plan *plan, const bm_arguments *arguments, const bm_model *model, bm_error *err)
{
    bm_error words = {0};
    if (bm_gguf_check_model(model, &words) != BM_OK)
        return bm_arguments_reject(arguments, err, "\"format\": \"gguf\": %s; compressed-tensors holds the model",
                                   words.message);
    plan->mixture = bm_gguf_mixture_find(arguments->gguf_type);
    plan->packs_embeddings = arguments->gguf_embeddings == BM_EMBEDDINGS_Q8_0;
    if (plan->packs_embeddings && model->config.hidden_size % bm_gguf_layout_of(BM_GGUF_Q8_0)->block_elements != 0)
        return bm_arguments_reject(arguments, err,
                                   "\"gguf_embeddings\": \"q8_0\": the model has a hidden size of %u, expected a "
                                   "multiple of 32",
                                   model->config.hidden_size);
    return bm_plan_describe_gguf(plan, arguments->tokenizer_name_or_path, model, err);
}

// Rounding codes of another format once more is worse than rounding the weights from which they were made.
static void note_codes_before(bm_plan *plan, const bm_model *model)
{
    const bm_gguf *gguf = bm_checkpoint_gguf(model->checkpoint);
    char types[BM_GGUF_TYPES_SIZE] = "";
    if (gguf && bm_gguf_describe_types(gguf, true, types)[0])
        bm_notes_add(&plan->notes, "weights were %s before; they are dequantized to float16 and quantized again",
                     types);
}

static bm_status plan_quantization(bm_plan *plan, const bm_arguments *arguments, const bm_model *model, bm_error *err)
{
    const bm_dtype stored = bm_checkpoint_find(model->checkpoint, model->family->layout->embedding)->dtype;
    bm_status status = BM_OK;
    BM_FAIL_IF(model->is_quantized, err, BM_E_UNSUPPORTED, "%s: is quantized already; give the float model",
               model->folder);
    plan->format = bm_store_find(bm_checkpoint_format_name(arguments->format));
    plan->storage_dtype = arguments->storage_dtype;
    BM_TRY(list_linears(plan, arguments, model, err));
    note_codes_before(plan, model);
    note_split_stages(plan);
    note_quantized_fusion(plan);
    bm_plan_note_limits(plan, model, "quantized");
    BM_TRY(bm_plan_choose_grids(plan, arguments, stored, err));
    choose_method(plan, arguments);
    bm_plan_choose_folds(plan, arguments, model);
    BM_TRY(check_format(plan, arguments, err));
    BM_TRY(
        bm_plan_look_at_tokenizer(plan, arguments->tokenizer_name_or_path, bm_plan_reads_data(plan, arguments), err));
    if (bm_plan_writes_gguf(plan))
        BM_TRY(plan_gguf(plan, arguments, model, err)); // all in one file
    else
        BM_TRY(bm_companions_choose(plan, arguments->tokenizer_name_or_path, model, err));
    BM_TRY(bm_emit_count_bytes(model, plan, err));
done:
    return status;
}

bm_status bm_plan_create(const bm_arguments *arguments, const bm_model *model, bm_plan **out, bm_error *err)
{
    bm_status status = BM_OK;
    bm_plan *plan = bm_alloc_zero(1, sizeof *plan);
    BM_FAIL_IF(!plan, err, BM_E_MEMORY, "out of memory");
    plan->family = model->family;
    if (bm_job_quantizes(arguments->job))
        BM_TRY(plan_quantization(plan, arguments, model, err));
    if (arguments->job == BM_JOB_LOAD)
        BM_TRY(bm_plan_check_loaded(plan, arguments, model, err));
    BM_TRY(fit_context(plan, arguments, model->config.max_position_embeddings, err));
    BM_TRY(bm_arguments_check_notes(arguments, &plan->notes, err));
    *out = plan;
    plan = NULL;
done:
    bm_plan_destroy(&plan);
    return status;
}

void bm_plan_destroy(bm_plan **plan)
{
    if (!plan || !*plan)
        return;
    bm_calibration_data_free(&(*plan)->calibration);
    bm_notes_free(&(*plan)->notes);
    bm_gguf_metadata_free(&(*plan)->gguf);
    bm_free((*plan)->gguf_file);
    bm_free((*plan)->linears);
    bm_free(*plan);
    *plan = NULL;
}

const bm_plan_linear *bm_plan_first(const bm_plan *plan)
{
    uint32_t i = 0;
    while (i + 1 < plan->num_linears && !plan->linears[i].quantized)
        i++;
    return &plan->linears[i];
}

bool bm_plan_begins_grid(const bm_plan *plan, uint32_t i)
{
    const bm_plan_linear *l = plan->linears;
    bool begins = l[i].quantized;
    for (uint32_t k = 0; k < i && begins; k++) {
        bm_grid_params grid = l[k].grid;
        if (l[k].per_channel && l[i].per_channel)
            grid.group_size = l[i].grid.group_size;
        begins = !l[k].quantized || !bm_grid_is_same(&grid, &l[i].grid);
    }
    return begins;
}

const char *bm_plan_linear_name(const bm_plan *plan, const bm_plan_linear *linear, char out[BM_TENSOR_NAME_SIZE])
{
    if (plan->has_head && linear == &plan->linears[plan->num_linears]) {
        snprintf(out, BM_TENSOR_NAME_SIZE, BM_STORE_HEAD);
        return out;
    }
    return bm_linear_tensor_name(plan->family, linear->block, linear->linear, "", out);
}

bm_store_description bm_plan_description(const bm_plan *plan)
{
    const bm_plan_linear *first = bm_plan_first(plan);
    bm_store_description description = {.grid = first->grid,
                                        .per_channel = first->per_channel,
                                        .act_order = plan->params.act_order,
                                        .input = plan->input,
                                        .needs_bitmill = plan->needs_bitmill,
                                        .model_type = plan->family->model_type,
                                        .mixture = plan->mixture ? plan->mixture->words : NULL,
                                        .version = plan->version,
                                        .has_no_vocabulary = plan->has_no_vocabulary,
                                        .quantizes_head = plan->has_head,
                                        .num_float_modules = plan->num_linears - plan->num_quantized + 1};
    bool are_alike = true;
    for (uint32_t i = 0; i < plan->num_linears; i++)
        are_alike = are_alike && plan->linears[i].quantized == plan->linears[i % plan->linears_per_block].quantized;
    for (uint32_t i = 0; are_alike && i < plan->linears_per_block; i++)
        if (plan->linears[i].quantized)
            description.block_modules[description.num_block_modules++] =
                plan->family->layout->linears[plan->linears[i].linear];
    return description;
}

bool bm_plan_could_spill(const bm_plan *plan)
{
    for (uint32_t i = 0; i < plan->num_linears; i++)
        if (plan->linears[i].quantized && (plan->linears[i].in_features % 8 != 0 || plan->linears[i].grid.nested))
            return false;
    return plan->method == &bm_method_gptq && !plan->equalizes;
}

bool bm_plan_may_spill(const bm_plan *plan)
{
    const bm_method_params *p = &plan->params;
    return bm_plan_could_spill(plan) && p->qep_alpha == 0 && p->code_sweeps == 0 && !p->scale_refit &&
           p->act_order != BM_COLUMN_ORDER_DYNAMIC && p->scale_search != BM_SEARCH_GRAM;
}
