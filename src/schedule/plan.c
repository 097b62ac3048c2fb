// Planning.
#include "schedule/plan.h"

#include "schedule/emit.h"
#include "text/tokenizer.h"

#include <stdio.h>
#include <string.h>

static bool is_skipped(const bm_arguments *arguments, const char *name, uint8_t *used)
{
    bool skipped = false;
    for (uint32_t i = 0; i < arguments->skip_list_names.count; i++)
        if (strstr(name, arguments->skip_list_names.names[i])) {
            used[i] = 1;
            skipped = true;
        }
    return skipped;
}

static bm_status list_linears(bm_plan *plan, bm_arguments *arguments, const bm_model *model, bm_error *err)
{
    const uint32_t num_blocks = model->config.num_hidden_layers;
    char name[BM_TENSOR_NAME_SIZE];
    bm_status status = BM_OK;
    uint8_t *used = bm_alloc_zero(arguments->skip_list_names.count, 1);
    plan->linears = bm_alloc_zero((uint64_t)num_blocks * BM_NUM_LINEARS, sizeof *plan->linears);
    BM_FAIL_IF(!plan->linears || !used, err, BM_E_MEMORY, "out of memory");
    for (uint32_t block = 0; block < num_blocks; block++)
        for (bm_linear_id linear = 0; linear < BM_NUM_LINEARS; linear++) {
            bm_plan_linear *p = &plan->linears[plan->num_linears++];
            *p = (bm_plan_linear){.block = block, .linear = linear};
            bm_linear_shape(&model->config, linear, &p->out_features, &p->in_features);
            p->quantized = !is_skipped(arguments, bm_linear_tensor_name(block, linear, "", name), used);
            plan->num_quantized += p->quantized;
        }
    for (uint32_t i = 0; i < arguments->skip_list_names.count; i++)
        if (!used[i])
            BM_TRY(bm_arguments_add_note(arguments, err, "skip_list_names: \"%s\" matches no linear",
                                         arguments->skip_list_names.names[i]));
    BM_FAIL_IF(plan->num_quantized == 0, err, BM_E_ARGUMENT, "%s: \"skip_list_names\": leaves no linear to quantize",
               arguments->source_name);
done:
    bm_free(used);
    return status;
}

// Loaders like vLLM compute q, k and v as one layer, gate and up as another: all linears of a stage must be quantized
// there, or none. Returns the number of blocks that split the stage, and the first of them.
static uint32_t count_split_blocks(const bm_plan *plan, bm_stage stage, uint32_t *first)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < plan->num_linears; i += BM_NUM_LINEARS) {
        uint32_t members = 0, quantized = 0;
        for (uint32_t l = i; l < i + BM_NUM_LINEARS; l++)
            if (bm_linear_stage(plan->linears[l].linear) == stage) {
                members++;
                quantized += plan->linears[l].quantized;
            }
        if (quantized > 0 && quantized < members && count++ == 0)
            *first = plan->linears[i].block;
    }
    return count;
}

static bool loads_fused(const bm_plan *plan)
{
    uint32_t first;
    return count_split_blocks(plan, BM_STAGE_QKV, &first) == 0 &&
           count_split_blocks(plan, BM_STAGE_GATE_UP, &first) == 0;
}

static bm_status note_split_stages(const bm_plan *plan, bm_arguments *arguments, bm_error *err)
{
    static const struct {
        bm_stage stage;
        const char *members;
    } stages[] = {{BM_STAGE_QKV, "q_proj, k_proj and v_proj"}, {BM_STAGE_GATE_UP, "gate_proj and up_proj"}};
    bm_status status = BM_OK;
    for (size_t i = 0; i < BM_COUNT(stages); i++) {
        uint32_t first = 0;
        const uint32_t count = count_split_blocks(plan, stages[i].stage, &first);
        if (count > 0)
            BM_TRY(bm_arguments_add_note(
                arguments, err,
                "skip_list_names: keeps only some of %s float in %u block%s (the first is %u); vLLM "
                "computes them as one layer and refuses such a checkpoint: name all of them or none",
                stages[i].members, count, count == 1 ? "" : "s", first));
    }
done:
    return status;
}

static bm_status choose_groups(bm_plan *plan, bm_arguments *arguments, bm_error *err)
{
    char name[BM_TENSOR_NAME_SIZE];
    bm_status status = BM_OK;
    uint32_t count = 0;
    uint32_t *widths = bm_alloc((uint64_t)plan->num_linears, sizeof *widths);
    BM_FAIL_IF(!widths, err, BM_E_MEMORY, "out of memory");
    for (uint32_t i = 0; i < plan->num_linears; i++)
        if (plan->linears[i].quantized)
            widths[count++] = plan->linears[i].in_features;
    BM_TRY(bm_arguments_choose_group_size(arguments, widths, count, err));
    for (uint32_t i = 0; i < plan->num_linears; i++)
        if (plan->linears[i].quantized)
            BM_TRY(bm_arguments_check_group_size(
                arguments, bm_linear_tensor_name(plan->linears[i].block, plan->linears[i].linear, "", name),
                plan->linears[i].in_features, err));
    plan->scheme = (bm_compressed_tensors_scheme){
        .num_bits = arguments->weight_bits,
        .group_size = arguments->weight_quant_method == BM_WEIGHT_GROUPWISE ? (int32_t)arguments->group_size : 0,
        .symmetric = arguments->symmetric,
    };
done:
    bm_free(widths);
    return status;
}

// What the writer will declare, added up; no file is made.
static bm_status count_output_bytes(bm_plan *plan, const bm_model *model, bm_error *err)
{
    bm_status status = BM_OK;
    bm_checkpoint_writer *writer = NULL;
    BM_TRY(bm_checkpoint_writer_create(&writer, "", BM_DEFAULT_SHARD_BYTES, err));
    BM_TRY(bm_emit_declare(model, plan, writer, err));
    plan->output_bytes = bm_checkpoint_writer_total_bytes(writer);
done:
    bm_checkpoint_writer_destroy(&writer);
    return status;
}

// A tokenizer.json goes along unread, unless the run evaluates: a broken one would be found by whoever loads the result.
// Without one, or with one that only other programs read, the weights are still worth having.
static bm_status look_at_tokenizer(bm_plan *plan, bm_arguments *arguments, bm_error *err)
{
    const bool is_needed = arguments->do_eval || arguments->do_predict;
    bm_status status = BM_OK;
    bm_tokenizer *tokenizer = NULL;
    bm_error words = {0};
    char *path = bm_path_join(arguments->tokenizer_name_or_path, "tokenizer.json");
    BM_FAIL_IF(!path, err, BM_E_MEMORY, "out of memory");
    if (!is_needed && bm_path_kind_of(path) == BM_PATH_ABSENT) {
        plan->tokenizer = BM_PLAN_TOKENIZER_ABSENT;
        BM_TRY(bm_arguments_add_note(arguments, err,
                                     "%s: no such file; the output has no tokenizer.json, without which bitmill does "
                                     "not evaluate or generate",
                                     path));
        goto done;
    }
    status = bm_tokenizer_open(&tokenizer, arguments->tokenizer_name_or_path, &words);
    if (status == BM_E_UNSUPPORTED && !is_needed) {
        plan->tokenizer = BM_PLAN_TOKENIZER_NOT_BUILT;
        status = bm_arguments_add_note(arguments, err, "%s; it is copied as it is", words.message);
    } else if (status != BM_OK) {
        (void)bm_fail(err, status, "%s", words.message);
    }
done:
    bm_tokenizer_close(&tokenizer);
    bm_free(path);
    return status;
}

bm_status bm_plan_create(bm_arguments *arguments, const bm_model *model, bm_plan **out, bm_error *err)
{
    bm_status status = BM_OK;
    bm_plan *plan = bm_alloc_zero(1, sizeof *plan);
    BM_FAIL_IF(!plan, err, BM_E_MEMORY, "out of memory");
    BM_FAIL_IF(model->is_quantized, err, BM_E_UNSUPPORTED, "%s: is quantized already; give the float model",
               model->folder);
    plan->method = bm_method_find("rtn");
    BM_TRY(list_linears(plan, arguments, model, err));
    BM_TRY(note_split_stages(plan, arguments, err));
    BM_TRY(choose_groups(plan, arguments, err));
    const bm_dtype stored = bm_checkpoint_find(model->checkpoint, BM_TENSOR_EMBEDDING)->dtype;
    plan->storage_dtype = arguments->storage_dtype != BM_DTYPE_NONE ? arguments->storage_dtype : stored;
    plan->scale_dtype = arguments->scale_dtype != BM_DTYPE_NONE ? arguments->scale_dtype : plan->storage_dtype;
    BM_TRY(look_at_tokenizer(plan, arguments, err));
    BM_TRY(count_output_bytes(plan, model, err));
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
    bm_free((*plan)->linears);
    bm_free(*plan);
    *plan = NULL;
}

// bitmill last, with what the tokenizer leaves of the promise.
static const char *tokenizer_words(bm_plan_tokenizer tokenizer)
{
    switch (tokenizer) {
    case BM_PLAN_TOKENIZER_READ:
        break;
    case BM_PLAN_TOKENIZER_NOT_BUILT:
        return "bitmill (the weights alone)";
    case BM_PLAN_TOKENIZER_ABSENT:
        return "bitmill: the weights alone, there is no tokenizer.json";
    }
    return "bitmill";
}

void bm_plan_describe(const bm_plan *plan, const bm_arguments *arguments, const bm_model *model, bm_string *out)
{
    const bm_compressed_tensors_scheme *s = &plan->scheme;
    (void)bm_string_append_format(out, "model:   %s, %s, %u blocks, %.2f million parameters\n", model->folder,
                                  model->config.model_type, model->config.num_hidden_layers,
                                  (double)model->num_parameters / 1e6);
    (void)bm_string_append_format(out, "method:  %s, %u bits, ", plan->method->words, s->num_bits);
    if (s->group_size > 0)
        (void)bm_string_append_format(out, "groups of %d, ", s->group_size);
    else
        (void)bm_string_append(out, "one scale a channel, ");
    (void)bm_string_append_format(out, "%s, scale search %s\n", s->symmetric ? "symmetric" : "asymmetric",
                                  bm_scale_search_name(arguments->scale_search));
    (void)bm_string_append_format(out, "linears: %u of %u quantized%s\n", plan->num_quantized, plan->num_linears,
                                  plan->num_quantized < plan->num_linears ? " (the others are named in skip_list_names)"
                                                                          : "");
    (void)bm_string_append_format(
        out, "output:  %s, compressed-tensors (pack-quantized), scales %s, %.2f MB of tensors\n", arguments->output_dir,
        bm_dtype_name(plan->scale_dtype), (double)plan->output_bytes / 1e6);
    (void)bm_string_append_format(out, "loads in: %stransformers (with the compressed-tensors package), %s\n",
                                  !loads_fused(plan)           ? ""
                                  : plan->scheme.num_bits == 8 ? "vLLM (on GPUs), " // its CPU build lacks the kernel
                                                               : "vLLM, ",
                                  tokenizer_words(plan->tokenizer));
    if (arguments->needs_calibration && arguments->dataset_name_or_path)
        (void)bm_string_append_format(out, "data:    %s\n", arguments->dataset_name_or_path);
    else if (arguments->do_eval || arguments->do_predict)
        (void)bm_string_append_format(out, "data:    %s, for evaluation: rounding looks at the weights alone\n",
                                      arguments->dataset_name_or_path);
    else
        (void)bm_string_append(out, "data:    none needed: rounding looks at the weights alone\n");
}
