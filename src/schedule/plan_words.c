// What a plan says of itself: to people before the run, and in its record.
#include "schedule/plan.h"

#include "schedule/calibrate.h"
#include "schedule/gguf.h"

#include <string.h>

static bool loads_fused(const bm_plan *plan)
{
    uint32_t first;
    return bm_plan_count_split_blocks(plan, BM_STAGE_QKV, &first) == 0 &&
           bm_plan_count_split_blocks(plan, BM_STAGE_GATE_UP, &first) == 0;
}

// vLLM's loader of such a family takes the rows of every tensor of query_key_value for outputs, by head, and puts them in
// another order. Those of a quantized linear (weight_shape; qweight, whose rows are inputs) are none: it ends with an error.
bool bm_plan_quantizes_fusion(const bm_plan *plan)
{
    for (uint32_t i = 0; i < plan->num_linears; i++)
        if (plan->family->layout->qkv_by_heads && plan->linears[i].linear == BM_LINEAR_QKV &&
            plan->linears[i].quantized)
            return true;
    return false;
}

// vLLM's models of these families compute silu alone and refuse whatever else config.json names.
static bool vllm_runs(const bm_plan *plan, const bm_model *model)
{
    const bm_json *act = bm_json_find(model->config.root, "hidden_act");
    if (plan->family->defaults.query_scalar > 0) // gemma, whose activation has another key
        return loads_fused(plan);
    const bool is_silu = !act || bm_json_kind_of(act) == BM_JSON_NULL || strcmp(bm_json_string(act), "silu") == 0;
    return is_silu && loads_fused(plan) && !bm_plan_quantizes_fusion(plan);
}

// bitmill last, with what the model and its tokenizer leave of the promise.
static const char *bitmill_words(const bm_plan *plan)
{
    if (!plan->is_runnable)
        return "bitmill (to inspect, not to run)";
    switch (plan->tokenizer) {
    case BM_PLAN_TOKENIZER_READ:
        break;
    case BM_PLAN_TOKENIZER_NOT_BUILT:
        return "bitmill (the weights alone)";
    case BM_PLAN_TOKENIZER_ABSENT:
        return "bitmill: the weights alone, there is no tokenizer";
    }
    return "bitmill";
}

// A path may hold what would break its line, or a terminal.
static const char *show(const char *path, char shown[512])
{
    return path ? bm_printable(path, strlen(path), shown, 512) : "none";
}

// How GPTQ goes about it, without a line's end.
static void describe_gptq(const bm_method_params *p, bm_string *out)
{
    static const char *const orders[] = {"none", "static", "dynamic"};
    (void)bm_string_append_format(out, "act_order %s, damping ", orders[p->act_order]);
    if (p->damp_percent > 0)
        (void)bm_string_append_format(out, "%.4g, ", p->damp_percent);
    else
        (void)bm_string_append(out, "auto, ");
    if (p->qep_alpha > 0)
        (void)bm_string_append_format(out, "qep_alpha %.4g, ", p->qep_alpha);
    (void)bm_string_append_format(out, "%u code sweep%s, %s", p->code_sweeps, bm_plural(p->code_sweeps),
                                  p->scale_refit ? "scales refitted" : "scales kept");
}

static void describe_passes(const bm_plan *plan, const bm_arguments *arguments, bm_string *out)
{
    (void)bm_string_append_format(out, "%u a block, %u of which watch%s, on inputs from %s blocks%s",
                                  bm_calibrate_passes(plan, arguments), arguments->true_sequential ? BM_NUM_STAGES : 1,
                                  arguments->true_sequential ? "" : "es",
                                  arguments->calibration_inputs == BM_INPUTS_FLOAT ? "float" : "quantized",
                                  plan->params.qep_alpha > 0 ? ", the float model beside it" : "");
}

static void describe_data(const bm_plan *plan, const bm_arguments *arguments, bm_string *out)
{
    const bm_calibration_data *data = &plan->calibration;
    char shown[512];
    if (data->dataset)
        (void)bm_string_append_format(out, "data:    %s, %u sequence%s, %llu token%s for calibration\n",
                                      show(bm_dataset_source(data->dataset), shown), data->num_sequences,
                                      bm_plural(data->num_sequences), (unsigned long long)data->num_tokens,
                                      bm_plural(data->num_tokens));
    else if (arguments->do_eval || arguments->do_predict)
        (void)bm_string_append_format(out, "data:    %s, for evaluation: rounding looks at the weights alone\n",
                                      show(arguments->dataset_name_or_path, shown));
    else if (plan->input == BM_INPUT_DYNAMIC)
        (void)bm_string_append(out, "data:    none needed: steps of inputs are found when the model runs\n");
    else
        (void)bm_string_append(out, "data:    none needed: rounding looks at the weights alone\n");
}

// ---- what is done about the inputs

// Steps of a phase, "all" where it takes all there are.
static void append_steps(int64_t steps, bm_string *out)
{
    if (steps < 0)
        (void)bm_string_append(out, "all steps");
    else
        (void)bm_string_append_format(out, "%lld step%s", (long long)steps, bm_plural((uint64_t)steps));
}

// Of the sample that losses are computed on.
static void append_tokens(const bm_plan *plan, const bm_arguments *a, bool searches, bm_string *out)
{
    const int64_t tokens = plan->calibration.num_tokens > 0 // else they are not loaded yet
                               ? (int64_t)bm_min_u64((uint64_t)a->search_tokens, plan->calibration.num_tokens)
                               : a->search_tokens;
    if (searches && a->compat == BM_COMPAT_PADDLESLIM)
        (void)bm_string_append(out, "those of the last step");
    else if (searches && a->smooth_sampler == BM_SAMPLER_MULTI_STEP)
        (void)bm_string_append(out, "all tokens");
    else
        (void)bm_string_append_format(out, "%lld token%s", (long long)tokens, bm_plural((uint64_t)tokens));
}

static void describe_inputs(const bm_plan *plan, const bm_arguments *a, bm_string *out)
{
    if (plan->input == BM_INPUT_DYNAMIC) {
        (void)bm_string_append(out, "8 bits, dynamic (per_token): each token has its own step");
        return;
    }
    (void)bm_string_append(out, "8 bits, static: one step for the inputs of a stage, by the ");
    if (a->act_quant_method == BM_ACT_MSE) {
        (void)bm_string_append(out, "share of the largest magnitude that loses least (mse) on ");
        append_tokens(plan, a, a->smooth && a->smooth_piecewise_search, out);
        (void)bm_string_append(out, ",");
    } else
        (void)bm_string_append(out, a->act_quant_method == BM_ACT_ABS_MAX ? "largest magnitude (abs_max)"
                                                                          : "mean of the sequences' largest (avg)");
    (void)bm_string_append(out, " over ");
    append_steps(a->ptq_step, out);
}

static void describe_shift(const bm_arguments *a, bm_string *out)
{
    const bool ema = a->shift_sampler == BM_SAMPLER_EMA;
    const bm_shift_statistic compat = ema ? BM_SHIFT_MEAN : BM_SHIFT_MIDRANGE;
    static const char *const words[] = {[BM_SHIFT_AVERAGE] = "middle of the sequences' mean range",
                                        [BM_SHIFT_MIDRANGE] = "middle of the range",
                                        [BM_SHIFT_MEAN] = "mean"};
    (void)bm_string_append_format(out, "by the %s of each channel%s, over ",
                                  words[a->compat == BM_COMPAT_PADDLESLIM ? compat : a->shift_statistic],
                                  ema ? ", averaged from step to step (ema)" : "");
    append_steps(a->shift_step, out);
}

static void describe_awq(const bm_arguments *a, bm_string *out)
{
    (void)bm_string_append_format(out, "by AWQ, ratios in steps of 1/%lld (%s), losses ", (long long)a->awq_n_grid,
                                  a->awq_candidates == BM_AWQ_EXTENDED ? "extended" : "published");
    if (a->awq_inspect == BM_INSPECT_BLOCK)
        (void)bm_string_append_format(out,
                                      "behind attention and behind the MLP (block), on whole sequences of about %lld "
                                      "tokens, over ",
                                      (long long)a->search_tokens);
    else
        (void)bm_string_append(out, "of the linears, over ");
    append_steps(a->smooth_step, out);
}

static void describe_smooth(const bm_plan *plan, const bm_arguments *a, bm_string *out)
{
    const bool compat = a->compat == BM_COMPAT_PADDLESLIM;
    const bool relative = a->piecewise_candidates == BM_PIECES_RELATIVE && !compat;
    const bool has_constants = a->search_scale_min > 0 && a->search_scale_max > 0;
    const double alpha_step = compat ? 0.01 : a->search_alpha_step, // PaddleSlim's are fixed
        scale_step = compat ? 0.5 : a->search_scale_step;
    const char *weights = compat || a->smooth_weight_statistic == BM_SMOOTH_BY_ABS_MAX ? "abs_max" : "rms";
    if (bm_job_scales_by_awq(a)) {
        describe_awq(a, out);
        return;
    }
    if (!a->smooth_piecewise_search) {
        (void)bm_string_append_format(out, "alpha %.4g, weights by %s, over ", a->smooth_alpha, weights);
        append_steps(a->smooth_step, out);
        return;
    }
    // One piece is what more have to be better than by search_margin; relative candidates begin with all channels instead.
    const bool from_one = a->smooth_k_piece > 1 && a->search_margin > 0 && !relative && !compat;
    (void)bm_string_append_format(out, "piecewise search, %s%lld piece%s of channels, alphas %.4g to %.4g by %.4g",
                                  a->smooth_search_piece ? "1 to "
                                  : from_one             ? "1 or "
                                                         : "",
                                  (long long)a->smooth_k_piece, bm_plural((uint64_t)a->smooth_k_piece),
                                  a->search_alpha_min, a->search_alpha_max, alpha_step);
    if (has_constants)
        (void)bm_string_append_format(out, ", constants %.4g to %.4g by %.4g", a->search_scale_min, a->search_scale_max,
                                      scale_step);
    (void)bm_string_append_format(out, ", weights by %s", weights);
    if (relative)
        (void)bm_string_append_format(out, ", %sfor all channels, then for each piece from there (relative)",
                                      has_constants ? "alphas " : "");
    if (a->search_crosswise && !compat && bm_calibration_data_first(&plan->calibration, a->smooth_step) > 1 &&
        bm_calibration_data_first(&plan->calibration, a->ptq_step) > 1)
        (void)bm_string_append(out, ", judged crosswise");
    (void)bm_string_append(out, ", ");
    append_tokens(plan, a, true, out);
    (void)bm_string_append(out, ", over ");
    append_steps(a->smooth_step, out);
}

// Into what each stage's change goes: "q, k, v into input_layernorm".
static void describe_folds(const bm_plan *plan, const bm_arguments *a, bm_string *out)
{
    static const char *const words[2][BM_NUM_STAGES] = {
        {"q, k, v into the norm before them", "o into v", "gate, up into the norm before them", "down into up"},
        {"query_key_value into the norm before it", "dense into values", "dense_h_to_4h into the norm before it",
         "dense_4h_to_h into dense_h_to_4h"}};
    static const char *const names[2][BM_NUM_STAGES] = {{"q, k, v", "o", "gate, up", "down"},
                                                        {"query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"}};
    const bool is_fused = plan->family->layout->qkv_by_heads;
    const char *between = "";
    for (bm_stage stage = 0; stage < BM_NUM_STAGES; stage++) {
        const bm_fold_wanted *w = &plan->folds[stage];
        if (!w->shift && !w->scale)
            continue;
        if (w->as_operations)
            (void)bm_string_append_format(out, "%s%s by operations that bitmill alone runs", between,
                                          names[is_fused][stage]);
        else
            (void)bm_string_append_format(out, "%s%s", between, words[is_fused][stage]);
        if (a->shift && a->smooth && w->shift != w->scale)
            (void)bm_string_append_format(out, " (%s alone)", w->shift ? "shift" : "scale");
        between = "; ";
    }
    if (!between[0])
        (void)bm_string_append(out, "none");
    if (plan->needs_bitmill && !plan->family->has_layer_norms && plan->folds[BM_STAGE_QKV].shift)
        (void)bm_string_append(out, "; norms get biases, which bitmill alone reads");
}

// Which thresholds steps of weights are chosen among, and which linears keep theirs.
static void describe_clip(const bm_plan *plan, const bm_arguments *a, bm_string *out)
{
    char shown[256];
    uint32_t num_kept = 0;
    for (uint32_t i = 0; i < plan->num_linears; i++)
        num_kept += plan->linears[i].quantized && plan->linears[i].keeps_range;
    if (a->clips_by_thresholds)
        (void)bm_string_append_format(out, "thresholds 1 - i/%lld above %.4g", (long long)a->clip_n_grid,
                                      1 - a->clip_max_shrink);
    else
        (void)bm_string_append(out, "factors of scale_search gram");
    (void)bm_string_append(out, ", by the error of outputs over ");
    append_steps(a->autoclip_step, out);
    if (num_kept == 0)
        return;
    (void)bm_string_append_format(out, "; %u of %u linears keep their range (clip_skip:", num_kept,
                                  plan->num_quantized);
    for (uint32_t i = 0; i < a->clip_skip.count; i++) {
        const char *name = a->clip_skip.names[i];
        (void)bm_string_append_format(out, "%s %s", i ? "," : "",
                                      bm_printable(name, strlen(name), shown, sizeof shown));
    }
    (void)bm_string_append(out, ")");
}

// Lines of words, or members of the record.
typedef struct line {
    bool is_there;
    const char *name;
    bm_string words;
} line;

#define NUM_LINES 5

static void make_lines(const bm_plan *plan, const bm_arguments *a, line lines[NUM_LINES])
{
    const bool is_asked = plan->equalizes || plan->input != BM_INPUT_FLOAT;
    lines[0] = (line){plan->input != BM_INPUT_FLOAT, "inputs", BM_STRING_INIT};
    lines[1] = (line){is_asked && a->shift, "shift", BM_STRING_INIT};
    lines[2] = (line){is_asked && a->smooth, "smooth", BM_STRING_INIT};
    lines[3] = (line){is_asked && (a->shift || a->smooth), "folds", BM_STRING_INIT};
    lines[4] = (line){a->auto_clip, "clip", BM_STRING_INIT};
    describe_inputs(plan, a, &lines[0].words);
    describe_shift(a, &lines[1].words);
    describe_smooth(plan, a, &lines[2].words);
    describe_folds(plan, a, &lines[3].words);
    describe_clip(plan, a, &lines[4].words);
}

static void describe_lines(const bm_plan *plan, const bm_arguments *arguments, bm_string *out)
{
    line lines[NUM_LINES];
    make_lines(plan, arguments, lines);
    for (int i = 0; i < NUM_LINES; i++) {
        if (lines[i].is_there)
            (void)bm_string_append_format(out, "%s:%*s%s\n", lines[i].name, 8 - (int)strlen(lines[i].name), "",
                                          bm_string_text(&lines[i].words));
        bm_string_free(&lines[i].words);
    }
}

// Whether all linears have one grid, and the head none.
static bool is_uniform(const bm_plan *plan)
{
    const bm_plan_linear *first = bm_plan_first(plan);
    for (uint32_t i = 0; i < plan->num_linears; i++) {
        const bm_plan_linear *p = &plan->linears[i];
        if (p->quantized && (p->grid.bits != first->grid.bits || bm_plan_group_size(p) != bm_plan_group_size(first)))
            return false;
    }
    return !plan->has_head;
}

void bm_plan_describe_output(const bm_plan *plan, const char *output_dir, const bm_model *model, bm_string *out)
{
    const bm_store_description description = bm_plan_description(plan);
    char shown[512];
    (void)bm_string_append_format(out, "output:  %s, %s, scales %s, %.2f MB of tensors\n", show(output_dir, shown),
                                  plan->format->words(&description),
                                  bm_dtype_name(bm_plan_first(plan)->grid.scale_dtype),
                                  (double)plan->output_bytes / 1e6);
    (void)bm_string_append(out, "loads in: ");
    if (is_uniform(plan) || plan->mixture)
        plan->format->loads_in(&description, vllm_runs(plan, model), out);
    else
        (void)bm_string_append(out, "what reads grids of single linears (not tried), ");
    (void)bm_string_append_format(out, "%s\n", bitmill_words(plan));
}

static void describe_grid(const bm_plan_linear *linear, bm_string *out)
{
    (void)bm_string_append_format(out, "%u bits, ", linear->grid.bits);
    if (!linear->per_channel)
        (void)bm_string_append_format(out, "groups of %u, ", linear->grid.group_size);
    else
        (void)bm_string_append(out, "one scale a channel, ");
    (void)bm_string_append_format(out, "%s, ", linear->grid.symmetric ? "symmetric" : "asymmetric");
}

void bm_plan_describe(const bm_plan *plan, const bm_arguments *arguments, const bm_model *model, bm_string *out)
{
    const bm_plan_linear *first = bm_plan_first(plan);
    const bm_grid_params *grid = &first->grid;
    char shown[512];
    (void)bm_string_append_format(out, "model:   %s, %s, %u block%s, %.2f million parameters\n",
                                  show(model->folder, shown), model->config.model_type, model->config.num_hidden_layers,
                                  bm_plural(model->config.num_hidden_layers), (double)model->num_parameters / 1e6);
    (void)bm_string_append_format(out, "method:  %s%s, ",
                                  plan->equalizes && bm_job_scales_by_awq(arguments) ? "AWQ, then " : "",
                                  plan->method->words);
    if (plan->mixture)
        (void)bm_string_append_format(out, "%s, ", plan->mixture->name);
    else
        describe_grid(first, out);
    if (grid->clip_n_grid > 0)
        (void)bm_string_append(out, "clipped\n");
    else
        (void)bm_string_append_format(out, "scale search %s%s\n",
                                      bm_scale_search_name((bm_scale_search)plan->params.scale_search),
                                      grid->signed_scales && !plan->mixture ? ", scales of both signs" : "");
    if (arguments->job == BM_JOB_GPTQ) {
        (void)bm_string_append(out, "gptq:    ");
        describe_gptq(&plan->params, out);
        (void)bm_string_append(out, "\npasses:  ");
        describe_passes(plan, arguments, out);
        (void)bm_string_append(out, "\n");
    }
    describe_lines(plan, arguments, out);
    (void)bm_string_append_format(out, "linears: %u of %u quantized%s\n", plan->num_quantized, plan->num_linears,
                                  plan->num_quantized < plan->num_linears ? " (the others are named in skip_list_names)"
                                                                          : "");
    bm_plan_describe_output(plan, arguments->output_dir, model, out);
    describe_data(plan, arguments, out);
}

void bm_plan_say_lines(const bm_log *log, bm_string *words)
{
    for (char *text = words->data; text && *text;) {
        char *end = strchr(text, '\n');
        if (end)
            *end = '\0';
        bm_log_write(log, BM_LOG_INFO, "%s", text);
        text = end ? end + 1 : NULL;
    }
}

static void write_dtype(const char *key, bm_dtype dtype, bm_json_writer *writer)
{
    bm_json_put_string(writer, key, dtype == BM_DTYPE_NONE ? NULL : bm_dtype_name(dtype));
}

// The same lines for the record, and the report that is made of it.
static void write_gptq(const bm_plan *plan, const bm_arguments *arguments, bm_json_writer *writer)
{
    bm_string words = BM_STRING_INIT;
    if (arguments->job != BM_JOB_GPTQ)
        return;
    describe_gptq(&plan->params, &words);
    bm_json_put_string(writer, "gptq", bm_string_text(&words));
    bm_string_clear(&words);
    describe_passes(plan, arguments, &words);
    bm_json_put_string(writer, "passes", bm_string_text(&words));
    bm_string_free(&words);
}

static void write_lines(const bm_plan *plan, const bm_arguments *arguments, bm_json_writer *writer)
{
    line lines[NUM_LINES];
    make_lines(plan, arguments, lines);
    for (int i = 0; i < NUM_LINES; i++) {
        if (lines[i].is_there)
            bm_json_put_string(writer, lines[i].name, bm_string_text(&lines[i].words));
        bm_string_free(&lines[i].words);
    }
}

static void write_calibration(const bm_calibration_data *data, bm_json_writer *writer)
{
    if (!data->dataset)
        return;
    bm_json_begin_object(writer, "calibration");
    bm_json_put_string(writer, "source", bm_dataset_source(data->dataset));
    bm_json_put_integer(writer, "sequences", data->num_sequences);
    bm_json_put_integer(writer, "tokens", (int64_t)data->num_tokens);
    bm_json_end_object(writer);
}

static void write_notes(const bm_notes *notes, bm_json_writer *writer)
{
    for (uint32_t i = 0; i < notes->count; i++)
        bm_json_put_string(writer, NULL, notes->items[i].text);
}

static bool tries_both_signs(const bm_plan *plan)
{
    bool any = false;
    for (uint32_t i = 0; i < plan->num_linears; i++)
        any = any || (plan->linears[i].quantized && plan->linears[i].grid.signed_scales);
    return any;
}

void bm_plan_write_json(const bm_plan *plan, const bm_arguments *arguments, bm_json_writer *writer)
{
    bm_json_begin_object(writer, "resolved");
    bm_json_put_string(writer, "job", bm_job_name(arguments->job));
    if (plan->method) {
        const bm_plan_linear *first = bm_plan_first(plan);
        bm_json_put_string(writer, "quant_type", bm_quant_type_name(arguments->quant_type));
        bm_json_put_integer(writer, "weight_bits", plan->mixture ? arguments->weight_bits : first->grid.bits);
        bm_json_put_string(writer, "weight_quant_method",
                           bm_weight_method_name(first->per_channel ? BM_WEIGHT_CHANNEL_WISE : BM_WEIGHT_GROUPWISE));
        bm_json_put_integer(writer, "group_size", plan->mixture ? arguments->group_size : bm_plan_group_size(first));
        bm_json_put_bool(writer, "symmetric", plan->mixture ? arguments->symmetric : first->grid.symmetric);
        bm_json_put_string(writer, "scale_search", bm_scale_search_name((bm_scale_search)plan->params.scale_search));
        bm_json_put_bool(writer, "signed_scales", tries_both_signs(plan));
        bm_json_put_string(writer, "format", bm_checkpoint_format_name(arguments->format));
        if (plan->mixture)
            bm_json_put_string(writer, "gguf_type", bm_gguf_mixture_name(arguments->gguf_type));
        bm_json_put_bool(writer, "needs_calibration", bm_plan_watches(plan));
        write_gptq(plan, arguments, writer);
        write_lines(plan, arguments, writer);
    }
    if (bm_plan_reads_data(plan, arguments)) {
        bm_json_put_integer(writer, "src_length", plan->src_length);
        bm_json_put_integer(writer, "max_length", plan->max_length);
    }
    write_calibration(&plan->calibration, writer);
    write_dtype("storage_dtype", arguments->storage_dtype, writer);
    bm_json_end_object(writer);
    bm_json_begin_array(writer, "notes");
    write_notes(&arguments->notes, writer);
    write_notes(&plan->notes, writer);
    bm_json_end_array(writer);
}
