// Slopes of ALiBi.
#include "ops/alibi.h"

#include <math.h>

double bm_alibi_slope(uint32_t num_heads, uint32_t head)
{
    uint32_t power = 1;
    while (power <= num_heads / 2)
        power *= 2;
    if (head < power)
        return exp2(-8.0 * (head + 1) / power);
    return exp2(-4.0 * (2 * (head - power) + 1) / power);
}

bm_status bm_alibi_slopes_create(bm_device *device, uint32_t num_heads, bm_buffer **out, bm_error *err)
{
    bm_status status = BM_OK;
    bm_buffer *slopes = NULL;
    const uint64_t bytes = bm_round_up((uint64_t)num_heads * sizeof(float), BM_VIEW_ALIGNMENT);
    float *values = bm_alloc_zero(1, bytes);
    BM_FAIL_IF(!values, err, BM_E_MEMORY, "out of memory");
    for (uint32_t h = 0; h < num_heads; h++)
        values[h] = (float)bm_alibi_slope(num_heads, h);
    BM_TRY(bm_buffer_create(device, bytes, "slopes of ALiBi", &slopes, err));
    BM_TRY(bm_upload(device, bm_buffer_view(slopes), values, bytes, err));
    *out = slopes;
    slopes = NULL;
done:
    bm_buffer_destroy(&slopes);
    bm_free(values);
    return status;
}
