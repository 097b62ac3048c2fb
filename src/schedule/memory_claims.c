// Claims on memory, by the sizes that the parts of a run give themselves.
#include "schedule/memory_claims.h"

#include "infer/stream.h"
#include "infer/evaluate.h"
#include "ops/cholesky.h"
#include "ops/gram_search.h"
#include "ops/statistics.h"
#include "schedule/calibrate.h"
#include "schedule/equalize.h"
#include "schedule/memory_plan.h"
#include "schedule/verify_logits.h"

#include <assert.h>

#define PENDING_BYTES (UINT64_C(64) << 20) // of buffers that wait to be released, at most
#define PIECE_BYTES (UINT64_C(16) << 20)   // of a tensor that is copied
#define PANEL_ROWS 64                      // rows that are laid out are filled up to a multiple of at most so many
#define DEVICE_BYTES (UINT64_C(256) << 10) // of vectors, tables and sums too small to be told one by one
#define BIT(phase) (1u << (phase))

static const unsigned all_phases = BIT(BM_NUM_MEMORY_PHASES) - 1;
static const unsigned block_phases =
    BIT(BM_MEMORY_LOADING) | BIT(BM_MEMORY_EQUALIZING) | BIT(BM_MEMORY_WATCHING) | BIT(BM_MEMORY_SOLVING);

const char *bm_memory_phase_name(const bm_emit_context *emit, bm_memory_phase phase)
{
    static const char *const names[] = {"copy floats",  "evaluate", "load blocks",   "shift and smooth",
                                        "watch inputs", "solve",    "compare logits"};
    const bool is_awq = phase == BM_MEMORY_EQUALIZING && bm_job_scales_by_awq(emit->arguments);
    const bool rounds = phase == BM_MEMORY_SOLVING && !bm_plan_watches(emit->plan);
    return is_awq ? "AWQ" : rounds ? "quantize" : names[phase];
}

// What must be had.
static void add(bm_memory_claims *c, const char *what, bm_memory_kind place, unsigned phases, uint64_t bytes,
                const char *cure)
{
    if (bytes == 0 || phases == 0)
        return;
    assert(c->count < BM_MAX_MEMORY_CLAIMS);
    c->items[c->count++] = (bm_memory_claim){what, place, phases, bytes, bytes, cure};
}

// Buffers that wait to be released are, where memory is short.
static void add_pending(bm_memory_claims *c, const bm_emit_context *emit, unsigned phases, uint64_t bytes)
{
    const uint64_t memory = bm_device_get_info(emit->device)->limits.memory_bytes;
    const uint32_t before = c->count;
    add(c, "buffers to be released", BM_MEMORY_DEVICE, phases,
        bm_min_u64(bytes, bm_min_u64(PENDING_BYTES, memory / 16)), NULL);
    if (c->count > before)
        c->items[before].least = 0;
}

static void consider(bm_memory_claims *c, const char *what, uint64_t bytes)
{
    if (bytes > c->largest_bytes) {
        c->largest_bytes = bytes;
        c->largest = what;
    }
}

// Rows that are rounded at a time: as float32, rounded, as they are stored and as codes, with their steps, ranges and sums. Nested
// steps have offsets and scales in the place of ranges, and units in that of sums.
static void add_rows(bm_memory_claims *c, const bm_emit_context *emit)
{
    uint64_t most = 0;
    for (uint32_t i = 0; i < emit->plan->num_linears; i++) {
        const bm_plan_linear *l = &emit->plan->linears[i];
        if (!l->quantized)
            continue;
        const uint64_t steps = 4 * bm_tensor_stride(BM_DTYPE_F32, bm_num_groups(l->in_features, l->grid.group_size));
        const uint64_t blocks = bm_checkpoint_gguf(emit->model->checkpoint) ? 2 * (uint64_t)l->in_features : 0;
        const uint64_t a_row = bm_tensor_stride(BM_DTYPE_F32, l->in_features) * UINT64_C(10) + 4 * steps + 64 + blocks;
        const uint64_t rows = bm_min_u64(l->out_features, bm_emit_rows_at_once(emit->device, false, l->in_features));
        most = bm_max_u64(most, rows * a_row);
        consider(c, "rows of a linear", rows * l->in_features * 4);
    }
    add(c, "rows that are rounded", BM_MEMORY_DEVICE, BIT(BM_MEMORY_SOLVING), most, NULL);
    add_pending(c, emit, BIT(BM_MEMORY_SOLVING), most);
}

// The largest piece of a tensor that is read at a time, of a block or of the embedding.
static uint64_t largest_piece(const bm_emit_context *emit)
{
    const bm_checkpoint *checkpoint = emit->model->checkpoint;
    uint64_t most = 0;
    for (uint32_t i = 0; i < bm_checkpoint_count(checkpoint); i++) {
        const bm_tensor_info *info = bm_checkpoint_at(checkpoint, i);
        if (!bm_model_reads(emit->model, info) || info->num_dims != 2)
            continue;
        const uint64_t rows = bm_min_u64(info->shape[0], bm_model_rows_per_read((uint32_t)info->shape[1], info->dtype));
        most = bm_max_u64(most, rows * bm_tensor_stride(info->dtype, info->shape[1]) * bm_dtype_size(info->dtype));
    }
    return most;
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

static void count_batches(bm_memory_claims *c, const bm_model *model, const bm_calibration_data *data, uint32_t limit)
{
    for (uint32_t first = 0, tokens = 0; first < data->num_segments; c->num_batches++) {
        const uint32_t count =
            bm_stream_first_batch(model, data->segments + first, data->num_segments - first, limit, &tokens);
        first += count;
        c->num_tokens += tokens;
        c->batch_tokens = (uint32_t)bm_max_u64(c->batch_tokens, tokens);
        c->batch_sequences = (uint32_t)bm_max_u64(c->batch_sequences, count);
    }
}

// The widest inputs of a linear.
static uint64_t widest_input(const bm_model *model)
{
    const bm_hf_config *c = &model->config;
    const uint64_t query = (uint64_t)c->num_attention_heads * c->head_dim;
    return bm_max_u64(bm_max_u64(c->hidden_size, query), c->intermediate_size);
}

static uint64_t work_bytes(const bm_model *model, bm_dtype dtype, uint64_t tokens)
{
    // Tables of positions, of which there are no more than tokens of the longest sequence; row numbers of the embedding.
    return tokens * (bm_workspace_bytes_per_token(model, dtype) + 4 * (uint64_t)model->config.head_dim + 4);
}

// Rows that products lay out for themselves, of so many elements at a time.
static uint64_t laid_out_bytes(bm_device *device, uint64_t rows, uint64_t cols)
{
    return bm_multiplier_bytes(device, 1, 1) > 0 ? bm_round_up(rows, PANEL_ROWS) * cols * sizeof(float) : 0;
}

// Evaluation before and behind: as evaluate.c sizes it by the device's memory.
static void add_scoring(bm_memory_claims *c, const bm_emit_context *emit)
{
    const bm_model *model = emit->model;
    const bm_dtype dtype = bm_calibrate_dtype(emit->arguments, model, emit->device);
    const bm_evaluation_memory m =
        bm_evaluate_claim(model, emit->device, dtype,
                          emit->plan->max_length ? emit->plan->max_length : model->config.max_position_embeddings);
    if (!emit->arguments->do_eval && !emit->arguments->do_predict)
        return;
    add(c, "activations that are scored", BM_MEMORY_DEVICE, BIT(BM_MEMORY_SCORING), m.activations,
        "lower \"max_length\"");
    add(c, "a block, or logits and their head", BM_MEMORY_DEVICE, BIT(BM_MEMORY_SCORING),
        bm_max_u64(bm_block_bytes(model, emit->device, 0, dtype), m.logits) +
            3 * largest_piece(emit) + // of the result: codes, and their values in float32
            laid_out_bytes(emit->device, m.batch_tokens, widest_input(model)) + DEVICE_BYTES,
        NULL);
}

uint64_t bm_memory_comparing_bytes(const bm_emit_context *emit, uint64_t tokens)
{
    const bm_model *model = emit->model;
    const bm_dtype dtype = bm_calibrate_dtype(emit->arguments, model, emit->device);
    const uint64_t hidden = model->config.hidden_size * sizeof(double), vocabulary = model->config.vocab_size;
    return bm_block_bytes(model, emit->device, 0, dtype) + 3 * largest_piece(emit) +
           laid_out_bytes(emit->device, tokens, widest_input(model)) + work_bytes(model, dtype, tokens) +
           2 * tokens * (3 * hidden + vocabulary * sizeof(float)) + DEVICE_BYTES;
}

// Where that is not there, logits are not compared.
static void add_comparing(bm_memory_claims *c, const bm_emit_context *emit, const bm_memory_budget *budget)
{
    if (emit->skips_verification || !bm_verify_logits_fits(emit, budget))
        return;
    const uint32_t before = c->count;
    add(c, "a block of the input or of the result", BM_MEMORY_DEVICE, BIT(BM_MEMORY_COMPARING),
        bm_memory_comparing_bytes(emit, BM_VERIFY_LOGITS_TOKENS), NULL);
    add(c, "blocks that are read ahead", BM_MEMORY_HOST, BIT(BM_MEMORY_COMPARING),
        BM_VERIFY_LOGITS_BLOCKS * budget->block_bytes, NULL);
    add_pending(c, emit, BIT(BM_MEMORY_COMPARING), bm_memory_comparing_bytes(emit, BM_VERIFY_LOGITS_TOKENS));
    for (uint32_t i = before; i < c->count; i++)
        c->items[i].least = 0;
}

// Elements of inputs of o_proj or of down_proj.
static uint64_t kept_width(const bm_model *model)
{
    const bm_hf_config *config = &model->config;
    return bm_max_u64(config->intermediate_size, (uint64_t)config->num_attention_heads * config->head_dim);
}

static uint64_t kept_room(const bm_memory_claims *c, const bm_emit_context *emit)
{
    const uint64_t memory = bm_device_get_info(emit->device)->limits.memory_bytes;
    uint64_t most = 0;
    for (bm_memory_phase phase = 0; phase < BM_NUM_MEMORY_PHASES; phase++)
        if (BIT(phase) & block_phases)
            most = bm_max_u64(most, bm_memory_claims_bytes(c, phase, BM_MEMORY_DEVICE));
    return (memory - bm_min_u64(memory, most)) / 4 * 3;
}

// Inputs of o_proj or of down_proj between two passes, where a block is solved stage by stage.
static void add_kept(bm_memory_claims *c, const bm_emit_context *emit, const bm_calibration_shape *s,
                     const char *folder, bool spares_host)
{
    static const bm_memory_kind kinds[] = {
        [BM_KEPT_DEVICE] = BM_MEMORY_DEVICE, [BM_KEPT_HOST] = BM_MEMORY_HOST, [BM_KEPT_FILE] = BM_MEMORY_DISK};
    const bm_hf_config *config = &emit->model->config;
    const uint64_t bytes = c->num_tokens * kept_width(emit->model) * bm_dtype_size(s->dtype) * c->num_lanes;
    const uint64_t room = kept_room(c, emit), on_device = bm_min_u64(bytes, room);
    const double rate = bm_gemm_choose_for(emit->device, s->dtype, s->dtype, BM_USE_MANY_TILES).gflops * 1e9;
    const double operations =
        (double)c->num_lanes *
        bm_gemm_operations(c->num_tokens, 2 * (uint64_t)config->intermediate_size, config->hidden_size);
    c->kept_place = BM_KEPT_NOWHERE;
    if (!emit->arguments->true_sequential || !bm_plan_method_watches(emit->plan) || s->one_pass)
        return;
    c->kept_place = bm_memory_place(emit->device, bytes, room, operations / rate, folder, spares_host);
    add(c, "inputs kept between passes", BM_MEMORY_DEVICE, block_phases, on_device, NULL);
    if (c->kept_place != BM_KEPT_NOWHERE && c->kept_place != BM_KEPT_DEVICE)
        add(c, "inputs kept between passes", kinds[c->kept_place], block_phases, bytes - on_device, NULL);
}

// A batch that goes to a file, or comes from there, passes through the host's memory.
static void add_passing(bm_memory_claims *c, const bm_emit_context *emit, const bm_calibration_shape *s)
{
    const uint64_t stream = (uint64_t)emit->model->config.hidden_size * (s->dtype == BM_DTYPE_F64 ? 8 : 4);
    const uint64_t kept = kept_width(emit->model) * bm_dtype_size(s->dtype);
    add(c, "a batch on its way to a file", BM_MEMORY_HOST, block_phases,
        c->batch_tokens *
            bm_max_u64(c->stream_place == BM_KEPT_FILE ? stream : 0, c->kept_place == BM_KEPT_FILE ? kept : 0),
        NULL);
}

// What rows of a stage take beyond what is counted as the state of the widest: stages are solved one after the other.
static uint64_t solving_bytes(const bm_emit_context *emit, uint64_t *elements)
{
    const bm_plan *plan = emit->plan;
    uint64_t states = 0, together = 0;
    for (bm_stage stage = 0; stage < BM_NUM_STAGES; stage++) {
        uint64_t rows = 0, of_block = 0, state = 0;
        uint32_t channels = 0;
        for (uint32_t i = 0; i < plan->num_linears; i++) { // blocks may differ in what they leave float
            const bm_plan_linear *l = &plan->linears[i];
            of_block = i % plan->linears_per_block == 0 ? 0 : of_block;
            if (!l->quantized || bm_linear_stage(l->linear) != stage)
                continue;
            const bm_method_params params = bm_plan_method_params(plan, l);
            state = bm_max_u64(state, plan->method->state_bytes(&params, l->in_features));
            channels = l->in_features;
            of_block += l->out_features;
            rows = bm_max_u64(rows, of_block);
        }
        rows = channels ? bm_min_u64(rows, bm_emit_rows_at_once(emit->device, true, channels)) : 0;
        states = bm_max_u64(states, state);
        together = bm_max_u64(together, state + rows * bm_emit_solving_row_bytes(channels));
        *elements = bm_max_u64(*elements, rows * channels);
    }
    return together - states;
}

// Of the halves, quarters and so on of a square that is factored.
static uint64_t elements_of_factor(bm_device *device, uint64_t channels, bool in_place)
{
    uint64_t most = 0;
    if (in_place)
        return bm_multiply_elements_at_once(device, channels, bm_min_u64(channels, BM_CHOLESKY_PANEL), channels);
    for (uint64_t side = channels; side > PANEL_ROWS;) {
        side = bm_round_up(bm_divide_up(side, 2), PANEL_ROWS);
        most = bm_max_u64(most, bm_multiply_elements_at_once(device, side, side, side));
    }
    return most;
}

// *elements: of rows that go into one product, or more.
static void add_method(bm_memory_claims *c, const bm_emit_context *emit, uint64_t *elements)
{
    const bool spills = emit->plan->params.folder != NULL;
    uint64_t widest = 0, tried = 0;
    for (uint32_t i = 0; i < emit->plan->num_linears; i++) {
        const bm_plan_linear *l = &emit->plan->linears[i];
        widest = l->quantized ? bm_max_u64(widest, l->in_features) : widest;
        if (l->quantized && !l->grid.nested)
            tried = bm_max_u64(tried, bm_gram_search_bytes(emit->device, l->grid.group_size));
    }
    if (!bm_plan_method_watches(emit->plan))
        return;
    add(c, "what the method watches and solves with", BM_MEMORY_DEVICE,
        BIT(BM_MEMORY_WATCHING) | BIT(BM_MEMORY_SOLVING),
        bm_memory_state_bytes(emit->device, emit->plan, !emit->arguments->true_sequential, c->batch_tokens),
        emit->arguments->job == BM_JOB_ROUNDING
            ? "name the widest linears in \"skip_list_names\", or round without data"
        : bm_plan_may_spill(emit->plan) || !bm_plan_could_spill(emit->plan)
            ? "name the widest linears in \"skip_list_names\", or take --method rtn"
            : "name the widest linears in \"skip_list_names\", set \"qep_alpha\" and \"code_sweeps\" to 0, "
              "\"scale_refit\" to false, \"act_order\" to static and \"scale_search\" to mse, or take --method rtn");
    consider(c, "sums of products of inputs", widest * widest * sizeof(float));
    for (uint32_t i = 0, last = 0; i < emit->plan->num_linears && emit->arguments->job == BM_JOB_GPTQ; i++) {
        const bm_plan_linear *l = &emit->plan->linears[i];
        if (l->quantized && l->in_features != last)
            *elements = bm_max_u64(*elements, elements_of_factor(emit->device, last = l->in_features, spills));
    }
    consider(c, "what a product multiplies by",
             bm_multiplier_bytes(emit->device, spills ? bm_min_u64(widest, BM_GRAM_ROWS) : widest, widest));
    if (spills) {
        add(c, "sums of products", BM_MEMORY_DISK, BIT(BM_MEMORY_WATCHING) | BIT(BM_MEMORY_SOLVING),
            bm_gram_bytes((uint32_t)widest, false), NULL);
        add(c, "rows of them on their way to a file", BM_MEMORY_HOST, BIT(BM_MEMORY_WATCHING) | BIT(BM_MEMORY_SOLVING),
            (bm_min_u64(widest, BM_GRAM_ROWS) + 1) * widest * sizeof(float), NULL);
    }
    if (emit->plan->params.scale_search == BM_SEARCH_GRAM) {
        add(c, "scales that are tried", BM_MEMORY_DEVICE, BIT(BM_MEMORY_SOLVING), tried, NULL);
        *elements = bm_max_u64(*elements, tried / 2 / sizeof(float)); // differences go into one product
    }
}

static void add_equalizer(bm_memory_claims *c, const bm_emit_context *emit, bool solves, uint64_t *elements)
{
    const unsigned solving = BIT(BM_MEMORY_SOLVING);
    const bm_equalizer_memory m = bm_equalizer_claim(emit, c->batch_tokens);
    const uint64_t block = bm_block_bytes(emit->model, emit->device, 0, BM_DTYPE_F32);
    add(c, "masters of a block", BM_MEMORY_DEVICE, block_phases, block, NULL);
    add(c, "statistics and samples", BM_MEMORY_DEVICE, block_phases, m.kept - block, "lower \"search_tokens\"");
    add(c, "sums for scales", BM_MEMORY_DEVICE, BIT(BM_MEMORY_EQUALIZING) | (solves ? solving : 0), m.grams,
        "name the widest linears in \"skip_list_names\"");
    add(c, "search of scales", BM_MEMORY_DEVICE, BIT(BM_MEMORY_EQUALIZING), bm_max_u64(m.search, 1),
        "lower \"search_tokens\"");
    add(c, "outputs that are measured", BM_MEMORY_DEVICE, solves ? solving : 0, m.measured, "lower \"search_tokens\"");
    add(c, "statistics of sequences", BM_MEMORY_HOST, block_phases, m.host_kept, "lower \"smooth_step\"");
    add(c, "magnitudes and candidates of a stage", BM_MEMORY_HOST, BIT(BM_MEMORY_EQUALIZING), m.host_search,
        "lower \"smooth_step\"");
    consider(c, "weights of a linear", largest_weights(emit, BM_DTYPE_F32));
    *elements = bm_max_u64(*elements, m.multiplied);
}

// Without what is kept between passes.
static void add_calibration(bm_memory_claims *c, const bm_emit_context *emit, bm_calibration_shape *s, bool has_file)
{
    const bm_model *model = emit->model;
    const bm_plan *plan = emit->plan;
    const uint64_t row = (uint64_t)model->config.hidden_size * (s->dtype == BM_DTYPE_F64 ? 8 : 4);
    const uint64_t memory = bm_device_get_info(emit->device)->limits.memory_bytes;
    uint64_t elements = 0;
    c->watches = true;
    c->num_lanes = s->num_lanes;
    c->num_passes = bm_calibrate_passes(plan, emit->arguments);
    c->num_sequences = plan->calibration.num_segments;
    count_batches(c, model, &plan->calibration, s->batch_tokens);
    const uint64_t lanes = c->num_lanes, stream = c->num_tokens * row, staged = c->batch_tokens * row;
    const bool on_device = stream <= s->stream_bytes && lanes * stream <= memory / 4 * 3;
    c->stream_place = on_device ? BM_KEPT_DEVICE : has_file ? BM_KEPT_FILE : BM_KEPT_HOST;
    add(c, "residual stream", BM_MEMORY_DEVICE, block_phases,
        lanes * (on_device ? stream : staged) + (s->copies_stream ? staged : 0), "lower \"max_length\"");
    if (!on_device)
        add(c, "residual stream", has_file ? BM_MEMORY_DISK : BM_MEMORY_HOST, block_phases, lanes * stream,
            "lower \"gptq_step\"");
    add(c, "work on a batch", BM_MEMORY_DEVICE, block_phases,
        lanes * (work_bytes(model, s->dtype, c->batch_tokens) + c->num_tokens * 20 + c->num_batches * UINT64_C(128)) +
            DEVICE_BYTES,
        "lower \"max_length\"");
    // Linears that are solved lie beside those that the float model runs on with. Where errors of outputs are measured, those are float32.
    const uint64_t weights = largest_weights(emit, s->dtype);
    uint64_t block = bm_block_bytes(model, emit->device, 0, s->dtype);
    if (s->one_pass)
        block = bm_max_u64(block, bm_block_bytes(model, emit->device, 0, BM_DTYPE_F32));
    add(c, "weights of a block", BM_MEMORY_DEVICE, block_phases, block,
        s->dtype == BM_DTYPE_F32 && !plan->equalizes ? "set \"compute_dtype\" to \"bfloat16\"" : NULL);
    add(c, "a piece of a tensor", BM_MEMORY_DEVICE, BIT(BM_MEMORY_LOADING), largest_piece(emit), NULL);
    if (lanes > 1)
        add(c, "weights beside them, solved", BM_MEMORY_DEVICE, BIT(BM_MEMORY_WATCHING) | BIT(BM_MEMORY_SOLVING), block,
            "set \"qep_alpha\" to 0");
    add(c, "row sums", BM_MEMORY_DEVICE, block_phases, s->sums_bytes, NULL);
    add_pending(c, emit, block_phases, 2 * weights);
    consider(c, "weights of a linear", weights);
    consider(c, "work on a batch",
             c->batch_tokens * (uint64_t)model->config.intermediate_size * bm_dtype_size(s->dtype));
    consider(c, "residual stream", c->batch_tokens * row);
    add_method(c, emit, &elements);
    if (plan->equalizes)
        add_equalizer(c, emit, s->one_pass, &elements);
    if (bm_plan_method_watches(plan))
        add(c, "rows that are solved", BM_MEMORY_DEVICE, BIT(BM_MEMORY_SOLVING), solving_bytes(emit, &elements), NULL);
    else
        add_rows(c, emit);
    // What products lay out, of a batch, of samples or of rows, and parts of ranges: one memory, which grows and stays.
    const uint64_t widest = widest_input(model);
    const uint64_t ranges =
        plan->equalizes ? bm_column_range_bytes(c->batch_tokens, c->batch_sequences, widest, true) : 0;
    elements = bm_max_u64(elements, c->batch_tokens * widest);
    add(c, "rows laid out for products", BM_MEMORY_DEVICE, block_phases,
        bm_max_u64(ranges, laid_out_bytes(emit->device, bm_divide_up(elements, widest), widest)), NULL);
}

uint64_t bm_memory_claims_kept_room(const bm_emit_context *emit)
{
    bm_memory_claims c = {.count = 0};
    bm_calibration_shape s;
    bm_calibrate_shape(emit, &s);
    add_calibration(&c, emit, &s, false);
    return kept_room(&c, emit);
}

void bm_memory_claims_make(const bm_emit_context *emit, const bm_memory_budget *budget, const char *folder,
                           bm_memory_claims *out)
{
    bm_memory_claims c = {.kept_place = BM_KEPT_NOWHERE};
    add(&c, "the program, its driver and data", BM_MEMORY_HOST, all_phases, budget->resident_bytes, NULL);
    add(&c, budget->has_kernels ? "kernels that the driver loads" : "the driver's compiler", BM_MEMORY_HOST, all_phases,
        budget->driver_bytes, NULL);
    add(&c, "what waits to be written", BM_MEMORY_HOST, all_phases,
        bm_min_u64(bm_emit_waiting_bytes(emit->plan, budget->writing_bytes), emit->plan->output_bytes), NULL);
    add(&c, "pieces of tensors", BM_MEMORY_HOST, BIT(BM_MEMORY_COPYING),
        bm_min_u64(2 * PIECE_BYTES, emit->plan->output_bytes), NULL);
    add(&c, "blocks that are read ahead", BM_MEMORY_HOST, block_phases, budget->reading_bytes, NULL);
    add_scoring(&c, emit);
    add_comparing(&c, emit, budget);
    if (bm_plan_watches(emit->plan)) {
        bm_calibration_shape s;
        bm_calibrate_shape(emit, &s);
        add_calibration(&c, emit, &s, folder && budget->spares_host);
        add_kept(&c, emit, &s, folder, budget->spares_host);
        add_passing(&c, emit, &s);
    } else {
        add_rows(&c, emit);
    }
    *out = c;
}

// All runs copy and solve; what else there is has a claim of its own, but for loading and watching, which go together.
static bool has_phase(const bm_memory_claims *c, bm_memory_phase phase)
{
    if (phase == BM_MEMORY_COPYING || phase == BM_MEMORY_SOLVING)
        return true;
    if (phase == BM_MEMORY_LOADING || phase == BM_MEMORY_WATCHING)
        return c->watches;
    for (uint32_t i = 0; i < c->count; i++)
        if (c->items[i].phases == BIT(phase))
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

uint64_t bm_memory_claims_need(const bm_memory_claims *claims, const bm_memory_budget *budget, bool of_the_process,
                               bm_memory_phase *worst)
{
    uint64_t most = 0;
    for (bm_memory_phase phase = 0; phase < BM_NUM_MEMORY_PHASES; phase++) {
        const uint64_t bytes =
            of_the_process ? of_process(claims, budget, phase, true) : sum(claims, phase, BM_MEMORY_DEVICE, true);
        if (worst && bytes > most)
            *worst = phase;
        most = bm_max_u64(most, bytes);
    }
    return most;
}
