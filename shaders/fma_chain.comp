// fma_chain: the arithmetic limit of a device: y = what `rounds` dependent fma leave, in each lane.
// Twin: cl/fma_chain.cl
//
//   y  [items, 4]  float32; item i of a dispatch writes row i: the sum of its chains
//
// Each item keeps QUADS independent chains of four numbers, enough to hide the latency of an fma. 8 * QUADS operations a
// round and item. The factor lies just below 1, so that no chain overflows or fades into subnormal numbers.
// QUADS: a multiple of 4.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "fma_chain.args.glsl"

void main()
{
    const uint item = gl_GlobalInvocationID.x;
    vec4 chain[QUADS];
    [[unroll]] for (uint c = 0; c < QUADS; c++)
        chain[c] = vec4(0.0, 1.0, 2.0, 3.0) + float(4 * c);
    for (uint i = 0; i < a.rounds; i++)
        [[unroll]] for (uint c = 0; c < QUADS; c++)
            chain[c] = fma(chain[c], vec4(a.factor), vec4(a.summand));
    vec4 sum = vec4(0.0);
    [[unroll]] for (uint c = 0; c < QUADS; c++)
        sum += chain[c];
    if (item < a.items)
        bm_store4(bm_words(uvec2(a.y)), BM_F32, item, sum);
}
