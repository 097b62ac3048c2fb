// gate: y[r, c] = act(gate[r, c]) * up[r, c], or without up act(gate[r, c]); activation 0 SiLU, 1 GELU by tanh, 2 GELU by erf.
// Source: Hendrycks and Gimpel, Gaussian error linear units, 2016.
#include "device/host_kernels.h"
#include <math.h>

static double act(double g, uint32_t activation)
{
    switch (activation) {
    case 0:
        return g / (1 + exp(-g));
    // 0.5 g (1 + tanh z), z = sqrt(2 / pi) (g + 0.044715 g^3), in the form that does not cancel for negative g
    case 1:
        return g / (1 + exp(-2 * 0.79788456080286535588 * (g + 0.044715 * g * g * g)));
    default:
        return 0.5 * g * erfc(-g * 0.70710678118654752440);
    }
}

void host_gate(const host_call *call)
{
    const bm_gate_scalars *a = call->scalars;
    for (uint32_t r = 0; r < a->rows; r++)
        for (uint32_t c = 0; c < a->cols; c++)
            host_store(
                call->buffers[2], call->types[2], (uint64_t)r * a->y_stride + c,
                act(host_load(call->buffers[0], call->types[0], (uint64_t)r * a->gate_stride + c), a->activation) *
                    (a->has_up ? host_load(call->buffers[1], call->types[1], (uint64_t)r * a->up_stride + c) : 1));
}
