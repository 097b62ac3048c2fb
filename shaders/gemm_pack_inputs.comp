// gemm_pack_inputs: lays the rows of x out in panels for gemm_packed.   Twin: cl/gemm_pack_inputs.cl
//
//   x       [m, k]                          real
//   packed  [panels of ROWS rows][k][ROWS]  float32: element (i, l) lies at (i / ROWS * k + l) * ROWS + i % ROWS;
//                                           rows behind m are zeros
//
// A work-item moves four columns of one panel; any number of work-groups is correct.
// ROWS: rows of a panel, 1 to 16.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "gemm_pack_inputs.args.glsl"

void main()
{
    const uint quads = (a.k + 3) / 4;
    const uint count = (a.m + ROWS - 1) / ROWS * quads;
    for (uint i = gl_GlobalInvocationID.x; i < count; i += gl_NumWorkGroups.x * GROUP) {
        const uint panel = i / quads, q = i % quads;
        const uint first = (panel * a.k + 4 * q) * ROWS;
        [[unroll]] for (uint r = 0; r < ROWS; r++) {
            const uint row = panel * ROWS + r;
            const vec4 v = row < a.m ? bm_load4(a.x, x_type, row * (a.x_stride / 4) + q) : vec4(0.0);
            a.packed.v[first + r] = v.x;
            if (4 * q + 1 < a.k)
                a.packed.v[first + ROWS + r] = v.y;
            if (4 * q + 2 < a.k)
                a.packed.v[first + 2 * ROWS + r] = v.z;
            if (4 * q + 3 < a.k)
                a.packed.v[first + 3 * ROWS + r] = v.w;
        }
    }
}
