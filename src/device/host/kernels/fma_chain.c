// fma_chain: y[i, c] = the sum over q of what `rounds` steps v = v * factor + summand leave of v = 4 q + c.
#include "device/host_kernels.h"
#include <math.h>

void host_fma_chain(const host_call *call)
{
    const bm_fma_chain_scalars *a = call->scalars;
    const uint32_t QUADS = call->tunables[1];
    float *y = call->buffers[0];
    for (uint32_t c = 0; c < 4; c++) {
        double sum = 0;
        for (uint32_t q = 0; q < QUADS; q++) {
            double v = 4 * q + c;
            for (uint32_t i = 0; i < a->rounds; i++)
                v = fma(v, (double)a->factor, (double)a->summand);
            sum += v;
        }
        for (uint32_t item = 0; item < a->items; item++) // every item does the same
            y[(uint64_t)item * 4 + c] = (float)sum;
    }
}
