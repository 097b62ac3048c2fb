// Measuring what plain rounding is bound by.
//
// Linears of one shape and grid are alike, so of each such kind three are looked at, from the first to the last block, and a piece of
// each: as many rows as take some hundredths of a second. Times of such pieces are medians, behind one that was not looked at.
#include "schedule/rounding_trial.h"

#include "base/clock.h"
#include "base/thread.h"
#include "formats/read_ahead.h"
#include "ops/rounding.h"
#include "schedule/dry_run.h"

#include <math.h>

#define NUM_ROUNDS 3
#define PIECE_SECONDS 0.012                // of the clock and of processors: a shorter piece is made longer
#define MOST_BUSY_SECONDS 0.5              // of processors: no round begins behind that
#define LONGEST_SECONDS 1.0                // of the clock, likewise
#define FLOAT_ELEMENTS (UINT64_C(4) << 20) // of a piece, as a run copies them

typedef struct kind {
    const bm_plan_linear *like;
    uint32_t count; // of linears
    double weights; // of them all
    uint64_t rows;  // of a piece
    // Seconds of a weight.
    double device[NUM_ROUNDS], reading[NUM_ROUNDS], writing[NUM_ROUNDS], busy[NUM_ROUNDS];
    uint32_t num_samples;
} kind;

typedef struct trial {
    const bm_quantize_run_params *run;
    bm_emit_context emit;
    bm_timeline *timeline;
    bm_multiplier multiplier;
    bm_read_ahead *reader;
    kind *kinds;
    uint32_t num_kinds;
    double loading;
    bm_lanes all; // of all pieces, as they were: by them the pace is told
} trial;

static double processors_since(uint64_t begin_ns)
{
    return (double)(bm_clock_processors_ns() - begin_ns) * 1e-9;
}

static double weights_of(const bm_plan_linear *l)
{
    return (double)l->out_features * l->in_features;
}

static bool are_alike(const bm_plan_linear *a, const bm_plan_linear *b)
{
    return a->out_features == b->out_features && a->in_features == b->in_features && a->keeps_range == b->keeps_range &&
           bm_grid_is_same(&a->grid, &b->grid);
}

static void find_kinds(trial *t)
{
    const bm_plan *plan = t->run->plan;
    for (uint32_t i = 0; i < plan->num_linears; i++) {
        const bm_plan_linear *l = &plan->linears[i];
        uint32_t k = 0;
        while (l->quantized && k < t->num_kinds && !are_alike(t->kinds[k].like, l))
            k++;
        if (!l->quantized)
            continue;
        if (k == t->num_kinds)
            t->kinds[t->num_kinds++] = (kind){.like = l};
        t->kinds[k].count++;
        t->kinds[k].weights += weights_of(l);
    }
}

// The linear of a kind for a round: from the first to the last.
static const bm_plan_linear *pick(const trial *t, const kind *k, uint32_t round)
{
    const bm_plan *plan = t->run->plan;
    uint32_t left = (k->count - 1) * round / (NUM_ROUNDS - 1), i = 0;
    while (!plan->linears[i].quantized || !are_alike(&plan->linears[i], k->like) || left-- > 0)
        i++;
    return &plan->linears[i];
}

// The worker of a trial writes where a piece is handed over, and what it takes is told as waiting.
static double written(const trial *t)
{
    return (double)t->timeline->waited_ns[BM_TRACK_WRITING] * 1e-9;
}

static bm_status emit_rows(trial *t, const bm_plan_linear *linear, uint64_t rows, bm_lanes *out, bm_error *err)
{
    const bm_emit_solving solving = {.multiplier = &t->multiplier, .input = {.kind = t->run->plan->input}};
    bm_emit_member member = {.linear = linear, .max_rows = rows};
    const double before = written(t);
    const uint64_t begin = bm_clock_ns(), busy = bm_clock_processors_ns();
    const bm_status status = bm_emit_linears(&t->emit, &member, 1, &solving, err);
    *out = (bm_lanes){.writing = written(t) - before, .busy = processors_since(busy)};
    out->device = bm_clock_seconds_since(begin) - out->writing;
    t->all.device += out->device;
    t->all.writing += out->writing;
    t->all.busy += out->busy;
    return status;
}

static uint64_t most_rows(const trial *t, const kind *k)
{
    return bm_min_u64(k->like->out_features, bm_emit_rows_at_once(t->run->device, false, k->like->in_features));
}

// The first of all loads what it needs.
static bm_status use_once(trial *t, kind *k, bm_error *err)
{
    const bm_plan_linear *linear = k->like;
    const uint64_t compiled = bm_device_compiled_kernels(t->run->device);
    const bm_lanes all = t->all;
    bm_lanes first, l;
    bm_status status = BM_OK;
    k->rows = bm_min_u64(most_rows(t, k), BM_STORE_ROWS);
    BM_TRY(emit_rows(t, linear, k->rows, &first, err));
    t->all = all; // it may have compiled
    BM_TRY(emit_rows(t, linear, k->rows, &l, err));
    if (!bm_device_keeps_kernels(t->run->device) || bm_device_compiled_kernels(t->run->device) == compiled)
        t->loading += bm_lanes_rest(first.device, l.device);
done:
    return status;
}

// How many rows a piece has, from few on.
static bm_status find_rows(trial *t, kind *k, bm_error *err)
{
    const uint64_t most = most_rows(t, k);
    bm_lanes l;
    bm_status status = BM_OK;
    BM_TRY(emit_rows(t, k->like, k->rows, &l, err));
    while (fmin(l.device, l.busy) < PIECE_SECONDS && k->rows < most) {
        k->rows = bm_min_u64(most, 4 * k->rows);
        BM_TRY(emit_rows(t, k->like, k->rows, &l, err));
    }
done:
    return status;
}

static const bm_tensor_info *tensor_of(const bm_quantize_run_params *p, const bm_plan_linear *l)
{
    char name[BM_TENSOR_NAME_SIZE];
    return bm_checkpoint_find(p->model->checkpoint,
                              bm_linear_tensor_name(p->plan->family, l->block, l->linear, ".weight", name));
}

// Waits for one that is read ahead.
static void find_tensor(const trial *t, const bm_plan_linear *l)
{
    const bm_tensor_info *info = tensor_of(t->run, l);
    if (info)
        (void)bm_read_ahead_find(t->reader, info,
                                 bm_model_decodes_on(t->run->device) &&
                                     bm_checkpoint_has_blocks(t->run->model->checkpoint, info));
}

static bm_status sample(trial *t, kind *k, uint32_t round, bm_error *err)
{
    const bm_plan_linear *linear = pick(t, k, round);
    const bm_tensor_info *info = tensor_of(t->run, linear);
    bm_status status = BM_OK;
    double reading = 0, reading_busy = 0;
    bm_lanes l = {0};
    const uint64_t begin = bm_clock_ns(), busy = bm_clock_processors_ns();
    if (info && t->reader) {
        bm_read_ahead_want(t->reader, linear->block, &info, 1);
        find_tensor(t, linear);
        reading = bm_clock_seconds_since(begin);
        reading_busy = processors_since(busy);
    }
    BM_TRY(emit_rows(t, linear, k->rows, &l, err));
    const double weights = (double)k->rows * linear->in_features;
    k->device[k->num_samples] = l.device / weights;
    k->writing[k->num_samples] = l.writing / weights;
    k->busy[k->num_samples] = l.busy / weights + reading_busy / weights_of(linear);
    k->reading[k->num_samples++] = reading / weights_of(linear);
done:
    bm_read_ahead_drop(t->reader, linear->block);
    return status;
}

// So that what is measured is read into memory that is used again, as it is in a run.
static void warm_up_reading(trial *t)
{
    for (uint32_t i = 0; i < t->num_kinds; i++) {
        const bm_tensor_info *info = tensor_of(t->run, t->kinds[i].like);
        if (info)
            bm_read_ahead_want(t->reader, t->kinds[i].like->block, &info, 1);
    }
    for (uint32_t i = 0; i < t->num_kinds; i++)
        find_tensor(t, t->kinds[i].like);
    for (uint32_t i = 0; i < t->num_kinds; i++)
        bm_read_ahead_drop(t->reader, t->kinds[i].like->block);
}

static bm_status measure_linears(trial *t, bm_rounding_costs *out, bm_error *err)
{
    bm_status status = BM_OK;
    for (uint32_t i = 0; i < t->num_kinds; i++)
        BM_TRY(use_once(t, &t->kinds[i], err)); // what is compiled for it is no part of the rounds' time
    warm_up_reading(t);
    BM_TRY(bm_dry_run_settle(t->run, t->emit.phase, NULL, err));
    for (uint32_t i = 0; i < t->num_kinds; i++)
        BM_TRY(find_rows(t, &t->kinds[i], err));
    const uint64_t begin = bm_clock_ns(), busy = bm_clock_processors_ns();
    for (uint32_t round = 0; round == 0 || (round < NUM_ROUNDS && bm_clock_seconds_since(begin) < LONGEST_SECONDS &&
                                            processors_since(busy) < MOST_BUSY_SECONDS);
         round++)
        for (uint32_t i = 0; i < t->num_kinds; i++)
            BM_TRY(sample(t, &t->kinds[i], round, err));
    for (uint32_t i = 0; i < t->num_kinds; i++) {
        kind *k = &t->kinds[i];
        out->linears.device += k->weights * bm_median(k->device, k->num_samples);
        out->linears.reading += k->weights * bm_median(k->reading, k->num_samples);
        out->linears.writing += k->weights * bm_median(k->writing, k->num_samples);
        out->linears.busy += k->weights * bm_median(k->busy, k->num_samples);
        out->num_samples += k->num_samples;
    }
    out->num_kinds = t->num_kinds;
    out->loading = t->loading;
    if (!bm_device_kind_is_gpu(bm_device_get_info(t->run->device)->kind))
        out->pace = bm_lanes_pace(&t->all, bm_processor_count());
done:
    return status;
}

static bm_status measure_floats(trial *t, bm_rounding_costs *out, bm_error *err)
{
    const bm_tensor_info *info = bm_emit_largest_float(t->run->model, t->run->plan);
    const double all = (double)bm_emit_float_bytes(t->run->model, t->run->plan);
    double device[NUM_ROUNDS], writing[NUM_ROUNDS], busy[NUM_ROUNDS];
    bm_status status = BM_OK;
    uint64_t first = 0;
    for (uint32_t round = 0; info && round < NUM_ROUNDS; round++) {
        uint64_t bytes = 1;
        const double before = written(t);
        const uint64_t begin = bm_clock_ns(), busy_ns = bm_clock_processors_ns();
        BM_TRY(bm_emit_float_part(&t->emit, info, &first, FLOAT_ELEMENTS, &bytes, err));
        const double seconds = bm_clock_seconds_since(begin), scale = all / (double)bytes;
        writing[round] = scale * (written(t) - before);
        device[round] = scale * seconds - writing[round];
        busy[round] = scale * processors_since(busy_ns);
    }
    if (info)
        out->floats = (bm_lanes){.device = bm_median(device, NUM_ROUNDS),
                                 .writing = bm_median(writing, NUM_ROUNDS),
                                 .busy = bm_median(busy, NUM_ROUNDS)};
done:
    return status;
}

// A run reads the next block's linears ahead where there is memory for them; else its own thread reads.
static bool reads_ahead(const bm_quantize_run_params *p)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < p->plan->linears_per_block; i++) {
        const bm_tensor_info *info = tensor_of(p, &p->plan->linears[i]);
        bytes += info ? info->size_bytes : 0;
    }
    return !p->budget || p->budget->reading_bytes >= bytes;
}

bm_status bm_rounding_trial(const bm_trial_params *params, bm_rounding_costs *out, bm_error *err)
{
    const bm_quantize_run_params *p = params->run;
    bm_status status = BM_OK;
    bm_phase phase = {
        .progress = p->progress, .report = {.phase = "measure", .unit = "bytes"}, .start_ns = bm_clock_ns()};
    trial t = {.run = p, .timeline = bm_timeline_create()};
    t.emit = (bm_emit_context){
        .model = p->model, .device = p->device, .plan = p->plan, .arguments = p->arguments, .phase = &phase};
    *out = (bm_rounding_costs){0};
    bm_multiplier_init(&t.multiplier, p->device);
    t.kinds = bm_alloc_zero(p->plan->num_linears, sizeof *t.kinds);
    BM_FAIL_IF(!t.timeline || !t.kinds, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_emit_writer_create(p->model, p->plan, params->folder, &t.emit.writer, err));
    BM_TRY(bm_checkpoint_writer_begin_trial(t.emit.writer, err));
    BM_TRY(bm_worker_create(&t.emit.writing, 0, 1, t.timeline, BM_TRACK_WRITING, err));
    t.emit.writing_bytes = p->budget ? p->budget->writing_bytes : 0;
    if (!p->skips_verification)
        BM_TRY(bm_verification_create(&t.emit.verification, err));
    BM_TRY(measure_floats(&t, out, err));
    if (params->only_floats)
        goto done;
    if (reads_ahead(p))
        BM_TRY(bm_read_ahead_start(&t.reader, p->model->checkpoint, p->budget ? p->budget->reading_bytes : UINT64_MAX,
                                   bm_model_decodes_on(p->device), NULL, err));
    find_kinds(&t);
    BM_TRY(measure_linears(&t, out, err));
done:
    bm_read_ahead_stop(&t.reader);
    bm_worker_destroy(&t.emit.writing);
    bm_checkpoint_writer_destroy(&t.emit.writer);
    bm_verification_destroy(&t.emit.verification);
    bm_multiplier_free(&t.multiplier);
    bm_free(t.kinds);
    bm_free(t.timeline);
    return status;
}
