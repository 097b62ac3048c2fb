// gate: y[r, c] = act(gate[r, c]) * up[r, c].   Twin: shaders/gate.comp
//
//   gate, up, y  [rows, cols]  real; y may be gate or up
//   activation   0 SiLU: g sigmoid(g)   1 GELU by tanh: g sigmoid(2 z), z = sqrt(2 / pi) (g + 0.044715 g^3)
//                2 GELU by erf: g (1 + erf(g / sqrt 2)) / 2, erf by a polynomial with an error of 1.5e-7 at most
//
// A work-item computes four neighbours; any number of work-groups is correct.
// Source: Hendrycks and Gimpel, 2016; erf: Abramowitz and Stegun 7.1.26.
#include "bitmill.h"
#include "gate.args.h"

// 1 / (1 + exp(-z)); exp never sees a positive argument, so nothing overflows. Of four at once: PoCL's exp of one number costs
// more than that of four.
inline float4 sigmoid(float4 z)
{
    const float4 e = exp(-fabs(z));
    return select(e, (float4)(1.0f), z >= 0.0f) / (1.0f + e);
}

// (1 + erf(g / sqrt 2)) / 2: the share of a normal distribution below g.
inline float4 share_below(float4 g)
{
    const float4 x = fabs(g) * 0.707106781f;
    const float4 t = 1.0f / (1.0f + 0.3275911f * x);
    const float4 p = t * (0.254829592f + t * (-0.284496736f + t * (1.421413741f + t * (-1.453152027f + t * 1.061405429f))));
    const float4 tail = 0.5f * p * exp(-x * x); // erfc(x) / 2
    return select(tail, 1.0f - tail, g >= 0.0f);
}

inline float4 act(float4 g, uint activation)
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
    const uint quads = (a.cols + 3) / 4;
    const ulong count = (ulong)a.rows * quads;
    for (ulong i = get_global_id(0); i < count; i += get_global_size(0)) {
        const uint r = (uint)(i / quads), q = (uint)(i % quads);
        const float4 g = bm_load4(gate, gate_type, (ulong)r * (a.gate_stride / 4) + q);
        const float4 u = bm_load4(up, up_type, (ulong)r * (a.up_stride / 4) + q);
        bm_store4(y, y_type, (ulong)r * (a.y_stride / 4) + q, act(g, a.activation) * u);
    }
}
