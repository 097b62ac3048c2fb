// gate: y[r, c] = act(gate[r, c]) * up[r, c], or without up act(gate[r, c]).   Twin: cl/gate.cl
//
//   gate, up, y  [rows, cols]  real; y may be gate or up; has_up 0: there is no up
//   activation   0 SiLU: g sigmoid(g)   1 GELU by tanh: g sigmoid(2 z), z = sqrt(2 / pi) (g + 0.044715 g^3)
//                2 GELU by erf: g (1 + erf(g / sqrt 2)) / 2, erf by a polynomial with an error of 1.5e-7 at most
//
// A work-item computes four neighbours; any number of work-groups is correct.
// Source: Hendrycks and Gimpel, 2016; erf: Abramowitz and Stegun 7.1.26.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "gate.args.glsl"

// 1 / (1 + exp(-z)); exp never sees a positive argument, so nothing overflows.
float sigmoid(float z)
{
    const float e = exp(-abs(z));
    return (z >= 0.0 ? 1.0 : e) / (1.0 + e);
}

// (1 + erf(g / sqrt 2)) / 2: the share of a normal distribution below g.
float share_below(float g)
{
    const float x = abs(g) * 0.707106781;
    const float t = 1.0 / (1.0 + 0.3275911 * x);
    const float p = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
    const float tail = 0.5 * p * exp(-x * x); // erfc(x) / 2
    return g >= 0.0 ? 1.0 - tail : tail;
}

float act(float g, uint activation)
{
    if (activation == 0u)
        return g * sigmoid(g);
    if (activation == 1u)
        return g * sigmoid(1.59576912 * (g + 0.044715 * g * g * g));
    return g * share_below(g);
}

void main()
{
    const uint quads = (a.cols + 3) / 4;
    const uint count = a.rows * quads;
    for (uint i = gl_GlobalInvocationID.x; i < count; i += gl_NumWorkGroups.x * GROUP) {
        const uint r = i / quads, q = i % quads;
        const vec4 g = bm_load4(a.gate, gate_type, r * (a.gate_stride / 4) + q);
        vec4 u = vec4(1.0);
        if (a.has_up != 0)
            u = bm_load4(a.up, up_type, r * (a.up_stride / 4) + q);
        const vec4 v = vec4(act(g.x, a.activation), act(g.y, a.activation), act(g.z, a.activation), act(g.w, a.activation));
        bm_store4(a.y, y_type, r * (a.y_stride / 4) + q, v * u);
    }
}
