// Claims on memory, by the sizes that the parts of a run give themselves.
#include "schedule/memory_claims.h"

#include "infer/stream.h"
#include "ops/gram_search.h"
#include "schedule/calibrate.h"
#include "schedule/equalize.h"
#include "schedule/memory_plan.h"

#include <stdio.h>

#define PENDING_BYTES (UINT64_C(64) << 20) // of buffers that wait to be released, at most
#define SCRATCH_BYTES (UINT64_C(64) << 20) // that a product lays out at a time
#define PIECE_BYTES (UINT64_C(16) << 20)   // of a tensor that is copied
#define BIT(phase) (1u << (phase))

static const unsigned all_phases = BIT(BM_NUM_MEMORY_PHASES) - 1;
static const unsigned block_phases = BIT(BM_MEMORY_EQUALIZING) | BIT(BM_MEMORY_WATCHING) | BIT(BM_MEMORY_SOLVING);

const char *bm_memory_phase_name(const bm_emit_context *emit, bm_memory_phase phase)
{
    static const char *const names[] = {"copy floats", "shift and smooth", "watch inputs", "solve"};
    const bool is_awq = phase == BM_MEMORY_EQUALIZING && bm_job_scales_by_awq(emit->arguments);
    const bool rounds = phase == BM_MEMORY_SOLVING && !bm_plan_watches(emit->plan);
    return is_awq ? "AWQ" : rounds ? "quantize" : names[phase];
}

static void add(bm_memory_claims *c, const char *what, bm_memory_kind place, unsigned phases, uint64_t bytes,
                uint64_t least, const char *cure)
{
    if (bytes > 0 && c->count < BM_MAX_MEMORY_CLAIMS)
        c->items[c->count++] = (bm_memory_claim){what, place, phases, bytes, bm_min_u64(least, bytes), cure};
}

static void consider(bm_memory_claims *c, const char *what, uint64_t bytes)
{
    if (bytes > c->largest_bytes) {
        c->largest_bytes = bytes;
        c->largest = what;
    }
}

static uint64_t square_bytes(uint64_t channels)
{
    return channels * channels * sizeof(float);
}

// Rows that are rounded at a time, in float32 and as they are stored, and their codes: more of it for methods that watch.
static void add_rows(bm_memory_claims *c, const bm_emit_context *emit)
{
    uint64_t most = 0, least = 0;
    for (uint32_t i = 0; i < emit->plan->num_linears; i++) {
        const bm_plan_linear *l = &emit->plan->linears[i];
        if (!l->quantized)
            continue;
        // float32, 16 bits, a byte a code, steps; what a file has in blocks
        const uint64_t a_row = l->in_features * (bm_checkpoint_gguf(emit->model->checkpoint) ? UINT64_C(10) : 8);
        const uint64_t rows = bm_min_u64(l->out_features, bm_model_rows_per_read(l->in_features, BM_DTYPE_F32));
        const uint64_t bytes = rows * a_row;
        most = bm_max_u64(most, bytes);
        least = bm_max_u64(least, rows * (uint64_t)l->in_features * 4);
        consider(c, "rows of a linear", rows * l->in_features * 4);
    }
    add(c, "rows that are rounded", BM_MEMORY_DEVICE, BIT(BM_MEMORY_SOLVING), most, least, NULL);
    const uint64_t memory = bm_device_get_info(emit->device)->limits.memory_bytes;
    add(c, "buffers to be released", BM_MEMORY_DEVICE, BIT(BM_MEMORY_SOLVING),
        bm_min_u64(most, bm_min_u64(PENDING_BYTES, memory / 16)), 0, NULL);
}

// The largest weights of a block, and the linears that are solved while the float model keeps its own.
static uint64_t largest_weights(const bm_emit_context *emit, bm_dtype dtype)
{
    uint64_t most = 0;
    for (bm_linear_id i = 0; i < BM_NUM_LINEARS; i++) {
        uint32_t out_features, in_features;
        bm_linear_shape(&emit->model->config, i, &out_features, &in_features);
        if (bm_family_has_linear(emit->model->family, i))
            most = bm_max_u64(most, (uint64_t)out_features * in_features * bm_dtype_size(dtype));
    }
    return most;
}

static void count_batches(bm_memory_claims *c, const bm_calibration_data *data, uint32_t limit)
{
    for (uint32_t first = 0, tokens = 0; first < data->num_segments; c->num_batches++) {
        first += bm_stream_first_batch(data->segments + first, data->num_segments - first, limit, &tokens);
        c->num_tokens += tokens;
        c->batch_tokens = (uint32_t)bm_max_u64(c->batch_tokens, tokens);
    }
}

// Inputs of o_proj or of down_proj between two passes, where a block is solved stage by stage.
static void add_kept(bm_memory_claims *c, const bm_emit_context *emit, const bm_calibration_shape *s,
                     const char *folder)
{
    const bm_hf_config *config = &emit->model->config;
    const uint64_t width =
        bm_max_u64(config->intermediate_size, (uint64_t)config->num_attention_heads * config->head_dim);
    const uint64_t bytes = c->num_tokens * width * bm_dtype_size(s->dtype) * c->num_lanes;
    const unsigned phases = BIT(BM_MEMORY_WATCHING) | BIT(BM_MEMORY_SOLVING);
    uint64_t before = s->state_bytes + s->solving_bytes;
    for (uint32_t i = 0; i < c->count; i++)
        before += c->items[i].place == BM_MEMORY_DEVICE && c->items[i].phases & BIT(BM_MEMORY_WATCHING)
                      ? c->items[i].bytes
                      : 0;
    const double rate = bm_gemm_choose_for(emit->device, s->dtype, s->dtype).gflops * 1e9;
    const double operations =
        (double)c->num_lanes *
        bm_gemm_operations(c->num_tokens, 2 * (uint64_t)config->intermediate_size, config->hidden_size);
    c->kept_place = BM_KEPT_NOWHERE;
    if (!emit->arguments->true_sequential || !bm_plan_method_watches(emit->plan) || s->one_pass)
        return;
    c->kept_place = bm_memory_place(emit->device, bytes, before, operations / rate, folder);
    if (c->kept_place != BM_KEPT_NOWHERE)
        add(c, "inputs kept between passes",
            c->kept_place == BM_KEPT_DEVICE ? BM_MEMORY_DEVICE
            : c->kept_place == BM_KEPT_HOST ? BM_MEMORY_HOST
                                            : BM_MEMORY_DISK,
            phases, bytes, 0, NULL);
}

// What rows of a stage take beyond what is counted as the state of the widest: stages are solved one after the other.
static uint64_t solving_bytes(const bm_emit_context *emit, uint64_t most)
{
    const bm_plan *plan = emit->plan;
    uint64_t states = 0, together = 0;
    for (bm_stage stage = 0; stage < BM_NUM_STAGES; stage++) {
        uint64_t rows = 0, state = 0;
        for (uint32_t i = 0; i < plan->linears_per_block; i++) {
            const bm_plan_linear *l = &plan->linears[i];
            if (!l->quantized || bm_linear_stage(l->linear) != stage)
                continue;
            const bm_method_params params = bm_plan_method_params(plan, l);
            state = plan->method->state_bytes(&params, l->in_features);
            rows += bm_emit_solving_row_bytes(l->in_features) * l->out_features;
        }
        states = bm_max_u64(states, state);
        together = bm_max_u64(together, state + bm_min_u64(rows, most));
    }
    return together - states;
}

static void add_method(bm_memory_claims *c, const bm_emit_context *emit)
{
    uint64_t widest = 0;
    for (uint32_t i = 0; i < emit->plan->num_linears; i++)
        widest = emit->plan->linears[i].quantized ? bm_max_u64(widest, emit->plan->linears[i].in_features) : widest;
    if (bm_plan_method_watches(emit->plan)) {
        const uint64_t states =
            bm_memory_state_bytes(emit->device, emit->plan, !emit->arguments->true_sequential, c->batch_tokens);
        // What is certain: the sums and the two matrices that factor them.
        const bm_method_params params = bm_plan_method_params(emit->plan, bm_plan_first(emit->plan));
        const uint64_t certain = bm_min_u64(emit->plan->method->state_bytes(&params, (uint32_t)widest),
                                            square_bytes(widest) * (emit->arguments->job == BM_JOB_GPTQ ? 3 : 2));
        add(c, "what the method watches and solves with", BM_MEMORY_DEVICE,
            BIT(BM_MEMORY_WATCHING) | BIT(BM_MEMORY_SOLVING), states, certain,
            "name the widest linears in \"skip_list_names\", or take --method rtn");
        consider(c, "sums of products of inputs", square_bytes(widest));
        consider(c, "what a product multiplies by", bm_multiplier_bytes(emit->device, widest, widest));
    }
    if (emit->plan->equalizes) {
        add(c, "statistics, samples and masters", BM_MEMORY_DEVICE, BIT(BM_MEMORY_EQUALIZING),
            bm_equalizer_bytes(emit, c->batch_tokens), bm_block_bytes(emit->model, emit->device, 0, BM_DTYPE_F32),
            NULL);
        consider(c, "weights of a linear", largest_weights(emit, BM_DTYPE_F32));
    }
}

static void add_calibration(bm_memory_claims *c, const bm_emit_context *emit, const bm_memory_budget *budget,
                            const char *folder)
{
    const bm_model *model = emit->model;
    const bm_calibration_data *data = &emit->plan->calibration;
    const uint64_t row = (uint64_t)model->config.hidden_size * sizeof(float);
    bm_calibration_shape s;
    bm_calibrate_shape(emit, &s);
    c->watches = true;
    c->num_lanes = s.num_lanes;
    c->num_passes = bm_calibrate_passes(emit->plan, emit->arguments);
    c->num_sequences = data->num_segments;
    count_batches(c, data, s.batch_tokens);
    const uint64_t lanes = c->num_lanes, stream = c->num_tokens * row, staged = c->batch_tokens * row;
    const bool on_device = stream <= s.stream_bytes && lanes * stream <= budget->device_bytes / 4 * 3;
    c->stream_place = on_device ? BM_KEPT_DEVICE : BM_KEPT_HOST;
    add(c, "residual stream", BM_MEMORY_DEVICE, block_phases, lanes * (on_device ? stream : staged), lanes * staged,
        "lower \"max_length\"");
    if (!on_device)
        add(c, "residual stream", BM_MEMORY_HOST, block_phases, lanes * stream, lanes * stream, "lower \"gptq_step\"");
    add(c, "work on a batch", BM_MEMORY_DEVICE, block_phases,
        lanes * c->batch_tokens * bm_workspace_bytes_per_token(model, s.dtype) + c->num_tokens * 20,
        lanes * c->batch_tokens * bm_workspace_bytes_per_token(model, s.dtype), "lower \"max_length\"");
    // Linears that are solved lie beside those that the float model runs on with; those of the last stage do not.
    const uint64_t block = bm_block_bytes(model, emit->device, 0, s.dtype), weights = largest_weights(emit, s.dtype);
    add(c, "weights of a block", BM_MEMORY_DEVICE, block_phases, block, block, NULL);
    if (lanes > 1)
        add(c, "weights beside them, solved", BM_MEMORY_DEVICE, BIT(BM_MEMORY_WATCHING) | BIT(BM_MEMORY_SOLVING), block,
            block - bm_min_u64(block, weights), "set \"qep_alpha\" to 0");
    if (emit->plan->params.scale_search == BM_SEARCH_GRAM)
        add(c, "scales that are tried", BM_MEMORY_DEVICE, BIT(BM_MEMORY_SOLVING),
            bm_gram_search_bytes(emit->device, bm_plan_first(emit->plan)->grid.group_size), 0, NULL);
    add(c, "row sums", BM_MEMORY_DEVICE, block_phases, s.sums_bytes, s.sums_bytes, NULL);
    // Products lay their rows out for themselves; buffers wait for their release.
    const uint64_t laid_out = c->batch_tokens * (uint64_t)model->config.intermediate_size * sizeof(float);
    if (bm_multiplier_bytes(emit->device, 1, 1) > 0)
        add(c, "rows laid out for products", BM_MEMORY_DEVICE, block_phases, bm_min_u64(SCRATCH_BYTES, laid_out), 0,
            NULL);
    add(c, "buffers to be released", BM_MEMORY_DEVICE, block_phases,
        bm_min_u64(2 * weights, bm_min_u64(PENDING_BYTES, budget->device_bytes / 16)), 0, NULL);
    consider(c, "weights of a linear", weights);
    consider(c, "work on a batch",
             c->batch_tokens * (uint64_t)model->config.intermediate_size * bm_dtype_size(s.dtype));
    consider(c, "residual stream", c->batch_tokens * row);
    add_method(c, emit);
    if (bm_plan_method_watches(emit->plan) && !s.one_pass)
        add(c, "rows that are solved", BM_MEMORY_DEVICE, BIT(BM_MEMORY_SOLVING), solving_bytes(emit, s.solving_bytes),
            0, NULL);
    else
        add_rows(c, emit);
    add_kept(c, emit, &s, folder);
}

void bm_memory_claims_make(const bm_emit_context *emit, const bm_memory_budget *budget, const char *folder,
                           bm_memory_claims *out)
{
    bm_memory_claims c = {.kept_place = BM_KEPT_NOWHERE};
    add(&c, "the program, its driver and data", BM_MEMORY_HOST, all_phases, budget->resident_bytes,
        budget->resident_bytes, NULL);
    add(&c, "the driver's compiler", BM_MEMORY_HOST, all_phases, budget->driver_bytes, 0, NULL);
    add(&c, "what waits to be written", BM_MEMORY_HOST, all_phases,
        bm_min_u64(budget->writing_bytes, emit->plan->output_bytes), 0, NULL);
    add(&c, "pieces of tensors", BM_MEMORY_HOST, BIT(BM_MEMORY_COPYING),
        bm_min_u64(2 * PIECE_BYTES, emit->plan->output_bytes), 0, NULL);
    add(&c, "blocks that are read ahead", BM_MEMORY_HOST, block_phases, budget->reading_bytes, 0, NULL);
    if (bm_plan_watches(emit->plan))
        add_calibration(&c, emit, budget, folder);
    else
        add_rows(&c, emit);
    *out = c;
}

static bool has_phase(const bm_memory_claims *c, bm_memory_phase phase)
{
    if (phase == BM_MEMORY_COPYING || phase == BM_MEMORY_SOLVING)
        return true;
    for (uint32_t i = 0; i < c->count; i++)
        if (c->items[i].place == BM_MEMORY_DEVICE && c->items[i].phases & BIT(phase) &&
            (phase == BM_MEMORY_WATCHING || c->items[i].phases == BIT(phase)))
            return true;
    return false;
}

static uint64_t sum(const bm_memory_claims *c, bm_memory_phase phase, bm_memory_kind place, bool least)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < c->count && has_phase(c, phase); i++)
        if (c->items[i].place == place && c->items[i].phases & BIT(phase))
            bytes += least ? c->items[i].least : c->items[i].bytes;
    return bytes;
}

uint64_t bm_memory_claims_bytes(const bm_memory_claims *c, bm_memory_phase phase, bm_memory_kind place)
{
    return sum(c, phase, place, false);
}

uint64_t bm_memory_claims_peak(const bm_memory_claims *c, bm_memory_kind place)
{
    uint64_t most = 0;
    for (bm_memory_phase phase = 0; phase < BM_NUM_MEMORY_PHASES; phase++)
        most = bm_max_u64(most, sum(c, phase, place, false));
    return most;
}

static uint64_t of_process(const bm_memory_claims *c, const bm_memory_budget *budget, bm_memory_phase phase, bool least)
{
    return sum(c, phase, BM_MEMORY_HOST, least) + (budget->is_shared ? sum(c, phase, BM_MEMORY_DEVICE, least) : 0);
}

uint64_t bm_memory_claims_process(const bm_memory_claims *c, const bm_memory_budget *budget)
{
    uint64_t most = 0;
    for (bm_memory_phase phase = 0; phase < BM_NUM_MEMORY_PHASES; phase++)
        most = bm_max_u64(most, of_process(c, budget, phase, false));
    return most;
}

// The claims of a phase, largest first in words: "A 1.0 MB, B 0.5 MB", and the cure of the largest that has one.
static const char *describe(const bm_memory_claims *c, bm_memory_phase phase, bool with_host, bm_string *words)
{
    const char *cure = NULL;
    uint64_t below = UINT64_MAX, largest_cured = 0;
    for (uint32_t n = 0; n < 4; n++) {
        const bm_memory_claim *found = NULL;
        for (uint32_t i = 0; i < c->count; i++) {
            const bm_memory_claim *claim = &c->items[i];
            const bool counts = claim->place == BM_MEMORY_DEVICE || (with_host && claim->place == BM_MEMORY_HOST);
            if (counts && claim->phases & BIT(phase) && claim->least > 0 && claim->least < below &&
                (!found || claim->least > found->least))
                found = claim;
        }
        if (!found)
            break;
        below = found->least;
        (void)bm_string_append_format(words, "%s%s %.1f", n ? ", " : "", found->what, (double)found->least / 1e6);
        if (found->cure && found->least > largest_cured) {
            largest_cured = found->least;
            cure = found->cure;
        }
    }
    return cure;
}

// Refuses where the least is more than was given, or than there is at all; warns where the plan is.
static bm_status check(const bm_memory_claims *c, const bm_emit_context *emit, const bm_memory_budget *budget,
                       bool of_host, const bm_log *log, bm_error *err)
{
    const uint64_t limit = of_host ? budget->host_bytes : budget->device_bytes;
    const bool is_given = of_host ? budget->host_is_given : budget->device_is_given || budget->host_is_given;
    const char *option = of_host || !budget->device_is_given ? "--host-memory" : "--device-memory";
    const char *memory = of_host ? "the process" : bm_device_get_info(emit->device)->spec;
    bm_memory_phase worst = 0;
    uint64_t least = 0, planned = 0;
    bm_status status = BM_OK;
    for (bm_memory_phase phase = 0; phase < BM_NUM_MEMORY_PHASES; phase++) {
        const uint64_t bytes = of_host ? of_process(c, budget, phase, true) : sum(c, phase, BM_MEMORY_DEVICE, true);
        planned =
            bm_max_u64(planned, of_host ? of_process(c, budget, phase, false) : sum(c, phase, BM_MEMORY_DEVICE, false));
        worst = bytes > least ? phase : worst;
        least = bm_max_u64(least, bytes);
    }
    if (least > limit && (is_given || !of_host)) {
        bm_string words = BM_STRING_INIT;
        const char *cure = describe(c, worst, of_host, &words);
        status = bm_fail(err, BM_E_ARGUMENT, "%s: %.1f MB of %s, expected at least %.1f for \"%s\": %s; %s%sraise %s",
                         is_given ? option : "memory", (double)limit / 1e6, memory, (double)least / 1e6,
                         bm_memory_phase_name(emit, worst), bm_string_text(&words), cure ? cure : "",
                         cure ? ", or " : "", is_given ? option : "the device's memory");
        bm_string_free(&words);
    } else if (planned > limit) {
        bm_log_write(log, of_host ? BM_LOG_WARNING : BM_LOG_DEBUG,
                     "memory: the plan takes up to %.1f MB of %s, where there are %.1f", (double)planned / 1e6, memory,
                     (double)limit / 1e6);
    }
    return status;
}

bm_status bm_memory_claims_check(const bm_memory_claims *c, const bm_emit_context *emit, const bm_memory_budget *budget,
                                 const bm_log *log, bm_error *err)
{
    const bm_status status = check(c, emit, budget, false, log, err);
    return status == BM_OK ? check(c, emit, budget, true, log, err) : status;
}
