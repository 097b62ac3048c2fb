// Measuring what verification takes.
#include "schedule/verification_trial.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/thread.h"
#include "model/model.h"
#include "schedule/dry_run.h"
#include "schedule/verify_logits.h"

#include <math.h>

#define NUM_TRIES 3
#define VERIFIED_BYTES (UINT64_C(4) << 20) // of the largest tensor
#define MORE_SECONDS 1.0                   // of blocks behind the first two
#define MORE_BLOCKS 7                      // of them at most
#define NUM_SIDES 2                        // the result and the input

// Of a format that is not read as codes the weights are read back, in float16.
static double verified_bytes(const bm_quantize_run_params *p)
{
    double weights = 0;
    for (uint32_t i = 0; i < p->plan->num_linears; i++)
        weights += p->plan->linears[i].quantized
                       ? (double)p->plan->linears[i].out_features * p->plan->linears[i].in_features
                       : 0;
    return p->plan->format->weights ? 2 * weights + (double)bm_emit_float_bytes(p->model, p->plan)
                                    : (double)p->plan->output_bytes;
}

bm_status bm_verification_trial(const bm_quantize_run_params *p, double *seconds, bm_error *err)
{
    const bm_checkpoint *checkpoint = p->model->checkpoint;
    const bm_tensor_info *info = NULL;
    bm_status status = BM_OK;
    double taken[NUM_TRIES + 1];
    uint64_t sum = 0;
    for (uint32_t i = 0; i < bm_checkpoint_count(checkpoint); i++) {
        const bm_tensor_info *other = bm_checkpoint_at(checkpoint, i);
        if (bm_model_reads(p->model, other) && (!info || other->size_bytes > info->size_bytes))
            info = other;
    }
    *seconds = 0;
    if (!info || p->skips_verification)
        return BM_OK;
    const uint64_t size = bm_min_u64(VERIFIED_BYTES, info->size_bytes);
    for (uint32_t round = 0; round <= NUM_TRIES; round++) { // the first makes the system keep the bytes
        const uint64_t begin = bm_clock_ns();
        void *bytes = bm_alloc(size, 1);
        BM_FAIL_IF(!bytes, err, BM_E_MEMORY, "out of memory");
        status = bm_checkpoint_read(p->model->checkpoint, info, 0, bytes, size, err);
        sum += bm_checksum64(bytes, size);
        bm_free(bytes);
        taken[round] = (double)(bm_clock_ns() - begin) * 1e-9;
        BM_TRY(status);
    }
    (void)sum;
    *seconds = bm_median(taken + 1, NUM_TRIES) / (double)size * verified_bytes(p) / bm_processor_count();
done:
    return status;
}

// What passed from the end of one block to the end of the next. The first of a side is read while nothing else is done, the second into
// memory that is new: neither is like the rest.
typedef struct block_times {
    bm_phase *phase;
    uint32_t first; // that counts
    uint64_t end_ns, end_busy_ns;
    double device[NUM_SIDES * MORE_BLOCKS], busy[NUM_SIDES * MORE_BLOCKS];
    uint32_t count;
} block_times;

static int note_block(void *user, const bm_progress_report *r)
{
    block_times *t = user;
    bm_error reason;
    if (r->num_blocks > 0 && r->done > 0 && r->done == r->total / r->num_blocks * (r->block + 1)) {
        const uint64_t now = bm_clock_ns(), busy = bm_clock_processors_ns();
        if (r->block >= t->first && t->count < NUM_SIDES * MORE_BLOCKS) {
            t->device[t->count] = (double)(now - t->end_ns) * 1e-9;
            t->busy[t->count++] = (double)(busy - t->end_busy_ns) * 1e-9;
        }
        t->end_ns = now;
        t->end_busy_ns = busy;
    }
    return bm_phase_step(t->phase, 0, &reason) == BM_OK;
}

// The first blocks alone, with embedding and head. each: what a block takes on both sides; 0 of one block alone.
static bm_status run_blocks(const bm_emit_context *emit, uint32_t count, bm_lanes *all, bm_lanes *each, bm_error *err)
{
    bm_model model = *emit->model; // a view of it
    block_times times = {.phase = emit->phase, .first = count > 2 ? 2 : 1};
    const bm_progress progress = {note_block, &times};
    const uint64_t begin = bm_clock_ns(), busy = bm_clock_processors_ns();
    model.config.num_hidden_layers = count;
    bm_status status = bm_verify_logits_try(emit, &model, &progress, err);
    if (status == BM_OK)
        status = bm_device_wait(emit->device, err);
    *all = (bm_lanes){.device = (double)(bm_clock_ns() - begin) * 1e-9,
                      .busy = (double)(bm_clock_processors_ns() - busy) * 1e-9};
    *each = (bm_lanes){.device = NUM_SIDES * bm_median(times.device, times.count),
                       .busy = NUM_SIDES * bm_median(times.busy, times.count)};
    return status;
}

bm_status bm_logits_trial(const bm_quantize_run_params *p, bm_lanes *out, double *loading, bm_error *err)
{
    bm_phase phase = {.progress = p->progress, .report = {.phase = "measure"}};
    const bm_emit_context emit = {
        .model = p->model, .device = p->device, .plan = p->plan, .arguments = p->arguments, .phase = &phase};
    const uint32_t count = p->model->config.num_hidden_layers, few = (uint32_t)bm_min_u64(2, count);
    const uint64_t compiled = bm_device_compiled_kernels(p->device);
    bm_status status = BM_OK;
    uint32_t many = few;
    bm_lanes first, tried, each;
    *out = (bm_lanes){0};
    *loading = 0;
    if (p->skips_verification || !bm_verify_logits_fits(&emit, p->budget))
        return BM_OK;
    status = run_blocks(&emit, few, &first, &each, err);
    const bool has_compiled = bm_device_compiled_kernels(p->device) > compiled;
    if (status == BM_OK)
        status = bm_dry_run_settle(p, &phase, NULL, err);
    if (status == BM_OK) {
        many += (uint32_t)fmin(MORE_BLOCKS, each.device > 0 ? MORE_SECONDS / each.device : 0);
        many = (uint32_t)bm_min_u64(many, count);
        status = run_blocks(&emit, many, &tried, &each, err);
    }
    if (status == BM_E_NUMERIC ||
        (status != BM_OK && !bm_verify_logits_is_fault(status))) // so will the run, and compare nothing
        return bm_device_discard_reports(p->device, err);
    BM_TRY(status);
    if (!bm_device_keeps_kernels(p->device) || !has_compiled)
        *loading = bm_lanes_rest(first.device, tried.device - (many - few) * each.device);
    *out = (bm_lanes){.device = tried.device + (count - many) * each.device,
                      .busy = tried.busy + (count - many) * each.busy};
done:
    return status;
}
