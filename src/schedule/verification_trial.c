// Measuring what verification takes.
#include "schedule/verification_trial.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/thread.h"
#include "schedule/lanes.h"

#define NUM_TRIES 3
#define VERIFIED_BYTES (UINT64_C(4) << 20) // of the largest tensor

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
