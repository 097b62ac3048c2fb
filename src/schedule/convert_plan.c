// Whether a format holds what a checkpoint has: linears, grids, the values of scales, the order of columns.
#include "schedule/convert_plan.h"

#include "base/half.h"
#include "base/str.h"
#include "model/gguf_model.h"
#include "schedule/companions.h"
#include "schedule/gguf.h"
#include "store/gguf.h"

#include <stdio.h>
#include <string.h>

#define SCALES_AT_ONCE (UINT64_C(1) << 20)

// What is looked at before the work: scales, zero points and orders of all linears.
typedef struct source {
    const bm_model *model;
    bm_store_config codes;
    bool has_zero_points; // other than 0
    bool has_group_index;
    char indexed[BM_TENSOR_NAME_SIZE]; // the first linear that has
    // By type of a format's scales: the first value that it does not hold, and its linear; "" where it holds all.
    struct {
        char module[BM_TENSOR_NAME_SIZE];
        float value;
    } lost[BM_DTYPE_BF16 + 1];
} source;

static bm_store_linear stored_linear(const source *s, const bm_plan *plan, const bm_plan_linear *p,
                                     char module[BM_TENSOR_NAME_SIZE])
{
    bm_store_linear linear;
    bm_plan_linear_name(plan, p, module);
    bm_store_match(&s->codes, s->model->checkpoint, module, p->out_features, p->in_features, &linear);
    return linear;
}

bm_store_config bm_convert_source(const bm_model *model)
{
    bm_store_config codes = model->quantization;
    if (!codes.format && bm_checkpoint_gguf(model->checkpoint))
        bm_store_open_gguf(&codes, model->checkpoint);
    return codes;
}

uint64_t bm_convert_plan_linears(const bm_model *model)
{
    bm_store_linear head;
    return (uint64_t)model->config.num_hidden_layers * bm_family_num_linears(model->family) +
           bm_model_quantized_head(model, &head);
}

static void list_head(bm_plan *plan, const bm_model *model)
{
    bm_store_linear head;
    plan->has_head = bm_model_quantized_head(model, &head);
    if (plan->has_head)
        plan->linears[plan->num_linears] = (bm_plan_linear){.out_features = model->config.vocab_size,
                                                            .in_features = model->config.hidden_size,
                                                            .quantized = true,
                                                            .per_channel = head.per_channel,
                                                            .grid = head.grid};
}

// A linear without codes that could be read is float, or of a type of GGUF that no other format has.
static bm_status check_float(const bm_model *model, const char *module, const bm_store_format *format, bm_error *err)
{
    char name[BM_TENSOR_NAME_SIZE];
    snprintf(name, sizeof name, "%s.weight", module);
    const bm_tensor_info *info = bm_checkpoint_find(model->checkpoint, name);
    const bm_gguf_view *view = info ? bm_checkpoint_view(model->checkpoint, info) : NULL;
    const bm_gguf_layout *layout = view ? bm_gguf_layout_of(view->tensor->type) : NULL;
    if (!layout || layout->block_elements == 1)
        return BM_OK;
    return bm_fail(
        err, BM_E_UNSUPPORTED,
        "%s: tensor \"%s\": found type %s, expected Q4_0, Q4_1, Q8_0, F16, BF16 or F32: %s; bitmill quantize makes new "
        "ones",
        view->tensor->path, view->tensor->name, layout->name,
        format == &bm_store_gguf ? "the file is gguf already, and convert writes the codes of those alone"
                                 : "other formats do not hold its codes");
}

static bm_status list_linears(bm_plan *plan, const source *s, const bm_store_format *format, bm_error *err)
{
    const bm_model *model = s->model;
    bm_status status = BM_OK;
    plan->linears_per_block = bm_family_num_linears(model->family);
    plan->linears = bm_alloc_zero(bm_convert_plan_linears(model), sizeof *plan->linears);
    BM_FAIL_IF(!plan->linears, err, BM_E_MEMORY, "out of memory");
    for (uint32_t block = 0; block < model->config.num_hidden_layers; block++)
        for (bm_linear_id id = 0; id < BM_NUM_LINEARS; id++) {
            char module[BM_TENSOR_NAME_SIZE];
            bm_store_linear linear;
            if (!bm_family_has_linear(model->family, id))
                continue;
            bm_plan_linear *p = &plan->linears[plan->num_linears++];
            *p = (bm_plan_linear){.block = block, .linear = id};
            bm_linear_shape(&model->config, id, &p->out_features, &p->in_features);
            bm_linear_tensor_name(model->family, block, id, "", module);
            p->quantized =
                bm_store_match(&s->codes, model->checkpoint, module, p->out_features, p->in_features, &linear);
            if (!p->quantized) {
                BM_TRY(check_float(model, module, format, err));
                continue;
            }
            plan->num_quantized++;
            p->per_channel = linear.per_channel;
            p->grid = linear.grid;
            plan->input = linear.input;
        }
    list_head(plan, model);
done:
    return status;
}

static void look_at_scale(source *s, const char *module, float step)
{
    static const bm_dtype dtypes[] = {BM_DTYPE_F16, BM_DTYPE_BF16};
    uint8_t bytes[sizeof(float)];
    for (size_t i = 0; i < BM_COUNT(dtypes); i++) {
        bm_store_real(bytes, dtypes[i], 0, step);
        if (bm_load_real(bytes, dtypes[i], 0) == step || s->lost[dtypes[i]].module[0])
            continue;
        snprintf(s->lost[dtypes[i]].module, BM_TENSOR_NAME_SIZE, "%s", module);
        s->lost[dtypes[i]].value = step;
    }
}

static bm_status look_at_grid(source *s, const bm_store_linear *linear, float *steps, int32_t *zero_points,
                              uint64_t at_once, bm_error *err)
{
    const bm_store_format *format = s->codes.format;
    const uint64_t groups = bm_num_groups(linear->in_features, linear->grid.group_size);
    bm_status status = BM_OK;
    for (uint64_t first = 0; first < linear->out_features; first += at_once) {
        const uint64_t count = bm_min_u64(at_once, linear->out_features - first);
        BM_TRY(format->get_grid(s->model->checkpoint, linear, first, count, steps, zero_points, err));
        for (uint64_t i = 0; i < count * groups; i++) {
            s->has_zero_points = s->has_zero_points || zero_points[i] != 0;
            look_at_scale(s, linear->module, steps[i]);
        }
    }
done:
    return status;
}

static bm_status look_at_linear(source *s, const bm_plan *plan, const bm_plan_linear *p, bm_error *err)
{
    const bm_store_format *format = s->codes.format;
    char module[BM_TENSOR_NAME_SIZE];
    const bm_store_linear linear = stored_linear(s, plan, p, module);
    const uint64_t groups = bm_num_groups(linear.in_features, linear.grid.group_size);
    const uint64_t at_once = bm_round_up(bm_divide_up(SCALES_AT_ONCE, groups), BM_STORE_ROWS);
    const uint64_t room = groups * bm_min_u64(at_once, linear.out_features);
    bm_input_grid input = {0};
    uint32_t *index = NULL;
    float *steps = bm_alloc(room, sizeof *steps);
    int32_t *zero_points = bm_alloc(room, sizeof *zero_points);
    bm_status status = BM_OK;
    BM_FAIL_IF(!steps || !zero_points, err, BM_E_MEMORY, "out of memory");
    BM_TRY(look_at_grid(s, &linear, steps, zero_points, at_once, err));
    BM_TRY(bm_store_read_input(&s->codes, s->model->checkpoint, &linear, &input, err));
    if (input.kind == BM_INPUT_STATIC)
        look_at_scale(s, module, input.step);
    if (format->get_group_index)
        BM_TRY(format->get_group_index(s->model->checkpoint, &linear, &index, err));
    if (index && !s->has_group_index) {
        s->has_group_index = true;
        snprintf(s->indexed, sizeof s->indexed, "%s", module);
    }
done:
    bm_free(index);
    bm_free(steps);
    bm_free(zero_points);
    return status;
}

static bm_status look(source *s, const bm_plan *plan, bm_phase *phase, bm_error *err)
{
    bm_status status = BM_OK;
    for (uint32_t i = 0; i < bm_plan_num_modules(plan); i++) {
        if (plan->linears[i].quantized)
            BM_TRY(look_at_linear(s, plan, &plan->linears[i], err));
        BM_TRY(bm_phase_step(phase, 1, err));
    }
done:
    return status;
}

// Linears that differ are for formats that say so of each.
static bm_status check_alike(const source *s, const bm_plan *plan, const char *form, const bm_store_format *format,
                             bm_error *err)
{
    const bm_plan_linear *first = bm_plan_first(plan);
    char module[BM_TENSOR_NAME_SIZE], other[BM_TENSOR_NAME_SIZE];
    const bm_store_linear a = stored_linear(s, plan, first, module);
    for (uint32_t i = 0; i < plan->num_linears; i++) {
        const bm_plan_linear *p = &plan->linears[i];
        if (!p->quantized)
            continue;
        const bm_store_linear b = stored_linear(s, plan, p, other);
        const bool fits = p->grid.bits == first->grid.bits && p->per_channel == first->per_channel &&
                          (p->per_channel || p->grid.group_size == first->grid.group_size);
        if (!fits && !format->holds_schemes)
            return bm_fail(err, BM_E_ARGUMENT,
                           "%s: found %u bits, group_size %d of %s and %u bits, group_size %d of %s, expected one grid "
                           "for all linears",
                           form, first->grid.bits, bm_plan_group_size(first), module, p->grid.bits,
                           bm_plan_group_size(p), other);
        if (a.input != b.input)
            return bm_fail(err, BM_E_ARGUMENT,
                           "%s: found inputs of %s and %s that are quantized differently, expected them alike", form,
                           module, other);
    }
    return BM_OK;
}

// The grids of the output, or why the format does not hold them.
static bm_status choose_grids(const source *s, bm_plan *plan, const char *form, const bm_store_format *format,
                              uint32_t version, bm_error *err)
{
    const bm_dtype scales = format->scale_dtype;
    bm_error words = {0};
    bm_status status = BM_OK;
    plan->format = format;
    plan->version = version;
    plan->needs_bitmill = s->codes.needs_bitmill;
    plan->params.act_order = s->has_group_index ? BM_COLUMN_ORDER_DYNAMIC : BM_COLUMN_ORDER_NONE;
    BM_FAIL_IF(bm_plan_writes_gguf(plan) && bm_gguf_check_model(s->model, &words) != BM_OK, err, BM_E_ARGUMENT,
               "%s: %s", form, words.message);
    BM_TRY(check_alike(s, plan, form, format, err));
    BM_FAIL_IF(plan->has_head && !format->holds_head, err, BM_E_ARGUMENT,
               "%s: found codes of lm_head, expected a float one", form);
    BM_FAIL_IF(format->writes_groups && bm_plan_first(plan)->per_channel, err, BM_E_ARGUMENT,
               "%s: found one scale an output, expected groups", form);
    BM_FAIL_IF(plan->needs_bitmill && !format->holds_operations, err, BM_E_ARGUMENT,
               "%s: found tensors that shift or scaling added to the model, which it has no place for", form);
    BM_FAIL_IF(s->has_group_index && !format->get_group_index, err, BM_E_ARGUMENT,
               "%s: found columns of %s that name their groups (act_order dynamic), expected groups of neighbours",
               form, s->indexed);
    BM_FAIL_IF(scales != BM_DTYPE_NONE && s->lost[scales].module[0], err, BM_E_ARGUMENT,
               "%s: found the scale %.9g of %s, which %s, the type of its scales, does not hold", form,
               (double)s->lost[scales].value, s->lost[scales].module, bm_dtype_name(scales));
    for (uint32_t i = 0; i < bm_plan_num_modules(plan); i++) {
        bm_plan_linear *p = &plan->linears[i];
        char module[BM_TENSOR_NAME_SIZE];
        if (!p->quantized)
            continue;
        p->grid = stored_linear(s, plan, p, module).grid;
        p->grid.symmetric = !s->has_zero_points;
        if (scales != BM_DTYPE_NONE)
            p->grid.scale_dtype = scales;
        const bm_store_linear linear = bm_emit_store_linear(plan, p, module);
        BM_FAIL_IF(format->check(&linear, &words) != BM_OK, err, BM_E_ARGUMENT, "%s", words.message);
    }
done:
    return status;
}

// "compressed-tensors, gptq", those that hold what the source has, or all that there are.
static void append_forms(const source *s, bm_plan *plan, bool those_that_hold, bm_string *out)
{
    const bm_store_format *format;
    uint32_t version;
    const char *name;
    for (uint32_t i = 0; (name = bm_store_form_at(i, &format, &version)) != NULL; i++) {
        bm_error words = {0};
        if (!those_that_hold || choose_grids(s, plan, name, format, version, &words) == BM_OK)
            (void)bm_string_append_format(out, "%s%s", out->length > 0 ? ", " : "", name);
    }
}

bm_status bm_convert_find_form(const char *form, const bm_store_format **format, uint32_t *version, bm_error *err)
{
    bm_string all = BM_STRING_INIT;
    char shown[64];
    const char *name = "";
    for (uint32_t i = 0; name; i++) {
        name = bm_store_form_at(i, format, version);
        if (name && strcmp(name, form) == 0)
            return BM_OK;
    }
    append_forms(NULL, NULL, false, &all);
    const bm_status status = bm_fail(err, BM_E_ARGUMENT, "convert: --format \"%s\", expected one of %s",
                                     bm_printable(form, strlen(form), shown, sizeof shown), bm_string_text(&all));
    bm_string_free(&all);
    return status;
}

static bm_status choose_format(const source *s, bm_plan *plan, const char *form, const bm_store_format *format,
                               uint32_t version, bm_error *err)
{
    bm_error words = {0};
    bm_string others = BM_STRING_INIT;
    if (choose_grids(s, plan, form, format, version, &words) == BM_OK)
        return BM_OK;
    append_forms(s, plan, true, &others);
    const bm_status status =
        bm_fail(err, BM_E_ARGUMENT, "%s: cannot be converted to %s: %s; formats that hold it: %s", s->model->folder,
                form, words.message, others.length > 0 ? bm_string_text(&others) : "none of those that are built");
    bm_string_free(&others);
    return status;
}

// Embedding and head of a file may be blocks, too; what is written of them are values.
static void note_blocks(bm_plan *plan, const bm_model *model)
{
    const char *const names[] = {model->family->layout->embedding, BM_TENSOR_LM_HEAD};
    for (size_t i = 0; i < BM_COUNT(names); i++) {
        const bm_tensor_info *info = bm_checkpoint_find(model->checkpoint, names[i]);
        const bm_gguf_view *view = info ? bm_checkpoint_view(model->checkpoint, info) : NULL;
        const bm_gguf_layout *layout = view ? bm_gguf_layout_of(view->tensor->type) : NULL;
        if (layout && layout->block_elements > 1)
            bm_notes_add(&plan->notes, "tensor \"%s\" is %s; what it stands for is written, rounded to float16",
                         view->tensor->name, layout->name);
    }
}

bm_status bm_convert_plan_create(const bm_model *model, const char *form, bm_phase *phase, bm_plan **out, bm_error *err)
{
    const bm_store_format *format = NULL;
    uint32_t version = 0;
    bm_status status = BM_OK;
    bm_plan *plan = bm_alloc_zero(1, sizeof *plan);
    source *s = bm_alloc_zero(1, sizeof *s);
    BM_FAIL_IF(!plan || !s, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_convert_find_form(form, &format, &version, err));
    *s = (source){.model = model, .codes = bm_convert_source(model)};
    plan->family = model->family;
    BM_TRY(list_linears(plan, s, format, err));
    BM_FAIL_IF(plan->num_quantized == 0, err, BM_E_ARGUMENT, "%s: %s: there are no codes to convert",
               model->config_path,
               model->is_quantized ? "quantization_config: matches no linear" : "no linear is Q4_0, Q4_1 or Q8_0");
    BM_TRY(look(s, plan, phase, err));
    BM_TRY(choose_format(s, plan, form, format, version, err));
    BM_TRY(bm_plan_look_at_tokenizer(plan, model->folder, false, err));
    bm_plan_note_limits(plan, model, "converted");
    note_blocks(plan, model);
    if (bm_plan_writes_gguf(plan))
        BM_TRY(bm_plan_describe_gguf(plan, model->folder, model, err)); // all in one file
    else
        BM_TRY(bm_companions_choose(plan, model->folder, model, err));
    BM_TRY(bm_emit_count_bytes(model, plan, err));
    *out = plan;
    plan = NULL;
done:
    bm_plan_destroy(&plan);
    bm_free(s);
    return status;
}
