// gate: y[r, c] = act(gate[r, c]) * up[r, c], or without up act(gate[r, c]).   Twin: shaders/gate.comp
//
//   gate, up, y  [rows, cols]  real; y may be gate or up; has_up 0: there is no up
//   activation   0 SiLU: g sigmoid(g)   1 GELU by tanh: g sigmoid(2 z), z = sqrt(2 / pi) (g + 0.044715 g^3)
//                2 GELU by erf: g (1 + erf(g / sqrt 2)) / 2, erf by a polynomial with an error of 1.5e-7 at most
//
// A work-item computes WIDTH neighbours; any number of work-groups is correct.
// WIDTH: 4 or 16.
// Source: Hendrycks and Gimpel, 2016; erf: Abramowitz and Stegun 7.1.26.
#include "bitmill.h"
#include "gate.args.h"
#include "wide.h"

// 1 / (1 + exp(-z)); exp never sees a positive argument, so nothing overflows.
inline bm_wide sigmoid(bm_wide z)
{
    const bm_wide e = bm_exp_wide(-fabs(z));
    return select(e, (bm_wide)(1.0f), z >= 0.0f) / (1.0f + e);
}

// (1 + erf(g / sqrt 2)) / 2: the share of a normal distribution below g.
inline bm_wide share_below(bm_wide g)
{
    const bm_wide x = fabs(g) * 0.707106781f;
    const bm_wide t = 1.0f / (1.0f + 0.3275911f * x);
    const bm_wide p = t * (0.254829592f + t * (-0.284496736f + t * (1.421413741f + t * (-1.453152027f + t * 1.061405429f))));
    const bm_wide tail = 0.5f * p * bm_exp_wide(-x * x); // erfc(x) / 2
    return select(tail, 1.0f - tail, g >= 0.0f);
}

inline bm_wide act(bm_wide g, uint activation)
{
    if (activation == 0u)
        return g * sigmoid(g);
    if (activation == 1u)
        return g * sigmoid(1.59576912f * (g + 0.044715f * g * g * g));
    return g * share_below(g);
}

BM_KERNEL gate(BM_PARAMETERS)
{
    BM_BEGIN
    const uint across = (a.cols + WIDTH - 1) / WIDTH, count = a.rows * across;
    for (uint i = get_global_id(0); i < count; i += get_global_size(0)) {
        const uint r = i / across, c = (i - r * across) * WIDTH;
        const bm_wide g = bm_load_wide(gate, gate_type, (size_t)r * (a.gate_stride / 4), c, a.cols);
        bm_wide u = 1.0f;
        if (a.has_up)
            u = bm_load_wide(up, up_type, (size_t)r * (a.up_stride / 4), c, a.cols);
        bm_store_wide(y, y_type, (size_t)r * (a.y_stride / 4), c, a.cols, act(g, a.activation) * u);
    }
}
