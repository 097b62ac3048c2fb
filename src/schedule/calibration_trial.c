// A block with some of the tokens, and where that is quick with more of them, scaled.
#include "schedule/calibration_trial.h"

#include "formats/read_ahead.h"
#include "model/block.h"
#include "schedule/calibrate.h"
#include "schedule/dry_run.h"

#include <string.h>

#define TRIAL_TOKENS 4096  // or what a search looks at, if that is more
#define MORE_TOKENS 8      // times as many
#define QUICK_SECONDS 0.25 // of what grows with tokens: the largest try takes a few seconds at most

typedef struct tried {
    bm_quantize_result result;
    uint64_t num_tokens;
} tried;

static bool grows(const char *phase)
{
    return strcmp(phase, "run blocks") == 0 || strcmp(phase, "watch inputs") == 0;
}

static bool is_once(const char *phase)
{
    return strcmp(phase, "embed") == 0;
}

// What blocks take that stay float, too.
static bool is_of_all_blocks(const char *phase)
{
    return strcmp(phase, "run blocks") == 0 || strcmp(phase, "load blocks") == 0;
}

static double seconds_of(const tried *t, const char *phase)
{
    for (uint32_t i = 0; i < t->result.num_phases; i++)
        if (strcmp(t->result.phases[i].name, phase) == 0)
            return t->result.phases[i].seconds;
    return 0;
}

uint64_t bm_calibration_trial_tokens(const bm_quantize_run_params *p)
{
    return bm_max_u64(TRIAL_TOKENS, (uint64_t)p->arguments->search_tokens);
}

uint32_t bm_calibration_trial_block(const bm_plan *plan, uint32_t *num_blocks)
{
    uint32_t most = 0, chosen = 0;
    *num_blocks = 0;
    for (uint32_t first = 0; first < plan->num_linears; first += plan->linears_per_block) {
        uint32_t count = 0;
        for (uint32_t i = first; i < first + plan->linears_per_block; i++)
            count += plan->linears[i].quantized;
        *num_blocks += count > 0;
        if (count > most) {
            most = count;
            chosen = first / plan->linears_per_block;
        }
    }
    return chosen;
}

// What all tries share. reader: as in a run, of which blocks are read ahead.
typedef struct trial {
    const bm_quantize_run_params *run;
    bm_emit_context *emit;
    bm_read_ahead *reader;
    char *folder;
} trial;

// A block with the first sequences, of wanted tokens or a few more.
static bm_status try_tokens(const trial *t, uint64_t wanted, tried *out, bm_error *err)
{
    const bm_quantize_run_params *p = t->run;
    bm_plan plan = *p->plan;
    bm_calibration_data *data = &plan.calibration;
    bm_status status = BM_OK;
    uint32_t num_blocks;
    const uint32_t block = bm_calibration_trial_block(p->plan, &num_blocks);
    const bm_calibrate_params params = {.emit = t->emit,
                                        .reader = t->reader,
                                        .first_block = block,
                                        .num_blocks = 1,
                                        .folder = t->folder,
                                        .spares_host = p->budget && p->budget->spares_host};
    bm_block_read_ahead(t->reader, p->model, block);
    bm_read_ahead_wait(t->reader); // which the work on the block before it hides in a run
    bm_quantize_result_free(&out->result);
    out->result.timeline = bm_timeline_create();
    out->result.linears = bm_alloc_zero(plan.num_linears, sizeof *out->result.linears);
    out->result.stages = bm_alloc_zero(BM_NUM_STAGES, sizeof *out->result.stages);
    BM_FAIL_IF(!out->result.timeline || !out->result.linears || !out->result.stages, err, BM_E_MEMORY, "out of memory");
    data->num_segments = 0;
    data->num_tokens = 0;
    while (data->num_segments < p->plan->calibration.num_segments && data->num_tokens < wanted)
        data->num_tokens += data->segments[data->num_segments++].count;
    out->num_tokens = data->num_tokens;
    BM_TRY(bm_dry_run_settle(p, t->emit->phase, NULL, err)); // behind what was compiled or read
    t->emit->plan = &plan;
    status = bm_calibrate(&params, &out->result, err);
    bm_read_ahead_drop(t->reader, block + 1);
done:
    t->emit->plan = p->plan;
    return status;
}

// Of a phase that grows with tokens, for all of them. few: NULL: there was one try alone.
static double extrapolate(const tried *few, const tried *many, const char *phase, uint64_t tokens)
{
    const double seconds = seconds_of(many, phase), more = few ? seconds - seconds_of(few, phase) : seconds,
                 each = more / (double)(many->num_tokens - (few ? few->num_tokens : 0));
    const double fixed = seconds - each * (double)many->num_tokens;
    if (!(each > 0) || fixed < 0) // one of them was disturbed, or both have the same tokens
        return seconds / (double)many->num_tokens * (double)tokens;
    return fixed + each * (double)tokens;
}

static void scale(const bm_quantize_run_params *p, const bm_memory_claims *c, const tried *few, const tried *many,
                  bm_calibration_costs *out)
{
    const uint32_t blocks = p->model->config.num_hidden_layers, passes = c->num_passes;
    const bool last_is_shorter =
        passes > 1 && (p->arguments->true_sequential || p->arguments->calibration_inputs != BM_INPUTS_FLOAT);
    const double rounds = blocks == 1 ? 1 : (double)(passes * blocks - last_is_shorter) / passes;
    uint32_t num_quantized;
    (void)bm_calibration_trial_block(p->plan, &num_quantized);
    for (uint32_t i = 0; i < many->result.num_phases; i++) {
        bm_phase_record phase = many->result.phases[i];
        if (strncmp(phase.name, "wait for", strlen("wait for")) == 0)
            continue;
        if (grows(phase.name) || is_once(phase.name))
            phase.seconds = extrapolate(few, many, phase.name, c->num_tokens);
        if (!is_once(phase.name))
            phase.seconds *= (grows(phase.name) ? rounds : blocks) *
                             (is_of_all_blocks(phase.name) ? 1 : (double)num_quantized / blocks);
        out->phases[out->num_phases++] = phase;
    }
    out->num_tokens = many->num_tokens;
}

bm_status bm_calibration_trial(const bm_quantize_run_params *p, const bm_memory_claims *c, bm_emit_context *emit,
                               bm_calibration_costs *out, bm_error *err)
{
    const uint64_t wanted = bm_calibration_trial_tokens(p);
    tried few = {.num_tokens = 0}, many = {.num_tokens = 0};
    trial t = {.run = p, .emit = emit};
    bm_status status = BM_OK;
    t.folder = p->folder ? bm_string_copy(p->folder) : bm_dry_run_folder(p->arguments->output_dir);
    BM_FAIL_IF(!t.folder, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_read_ahead_start(&t.reader, p->model->checkpoint, p->budget ? p->budget->reading_bytes : UINT64_MAX,
                               bm_model_decodes_on(p->device), NULL, err));
    BM_TRY(try_tokens(&t, wanted, &few, err));
    if (c->num_tokens >= 2 * few.num_tokens &&
        seconds_of(&few, "run blocks") + seconds_of(&few, "watch inputs") < QUICK_SECONDS) {
        BM_TRY(try_tokens(&t, wanted, &few, err)); // without what only a first use takes
        BM_TRY(try_tokens(&t, MORE_TOKENS * wanted, &many, err));
        scale(p, c, &few, &many, out);
    } else {
        scale(p, c, NULL, &few, out);
    }
done:
    bm_read_ahead_stop(&t.reader);
    bm_free(t.folder);
    bm_quantize_result_free(&few.result);
    bm_quantize_result_free(&many.result);
    return status;
}
