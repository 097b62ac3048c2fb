// matrix_chain, variants _cm and _cm_i8: the arithmetic limit of matrix units.   No twin in OpenCL.
//
//   y  [items, 4]  float32; item i of a dispatch writes row i: rounds
//
// Each subgroup keeps CHAINS independent sums of 16 x 8, enough to hide the latency of a product. A round adds a product of ones to
// each: 2 * 16 * 8 * 16 operations in float16, twice as many in int8. An element then is rounds times the columns of a product, which
// float32 holds exactly up to 2^24.
// GROUP: a multiple of 32, subgroups of 32. CHAINS: a power of two.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "matrix.glsl"
#include "bitmill.glsl"
#include "matrix_chain.args.glsl"

#ifdef MATRIX_INT8
const uint ONES = 0x01010101u, PRODUCTS = 32;
#define chain_sums(words) vec4(ivec4(words))
#else
const uint ONES = 0x3c003c00u, PRODUCTS = 16;
#define chain_sums(words) uintBitsToFloat(words)
#endif

shared uvec4 memory[GROUP]; // ones for all; later the elements of a sum of each subgroup

void main()
{
    const uint item = gl_GlobalInvocationID.x;
    memory[gl_LocalInvocationID.x] = uvec4(ONES);
    barrier();
    bm_left u;
    bm_right v;
    bm_load_left(u, memory, 0, 2);
    bm_load_right(v, memory, 0, 2);
    bm_sums sum[CHAINS];
    [[unroll]] for (uint c = 0; c < CHAINS; c++)
        sum[c] = bm_no_sums();
    for (uint i = 0; i < a.rounds; i++)
        [[unroll]] for (uint c = 0; c < CHAINS; c++)
            sum[c] = bm_multiply_add(u, v, sum[c]);
    vec4 total = vec4(0.0);
    [[unroll]] for (uint c = 0; c < CHAINS; c++) {
        barrier(); // all have read the ones, or the sum before
        bm_store_sums(sum[c], memory, BM_SUBGROUP * 32, 2);
        barrier();
        total += chain_sums(memory[BM_SUBGROUP * 32 + BM_SUBGROUP_LANE]) / float(PRODUCTS * CHAINS);
    }
    if (item < a.items)
        bm_store4(bm_words(uvec2(a.y)), BM_F32, item, total);
}
