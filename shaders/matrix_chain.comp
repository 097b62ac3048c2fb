// matrix_chain: what variants on matrix units make of `rounds` products, in each lane; those variants are the arithmetic limit of such
// units.   Twin: cl/matrix_chain.cl
//
//   y  [items, 4]  float32; item i of a dispatch writes row i: rounds, one added in each
//
// Variants add products of ones in each round, and divide by how many ones there were.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "matrix_chain.args.glsl"

void main()
{
    const uint item = gl_GlobalInvocationID.x;
    vec4 sum = vec4(0.0);
    for (uint i = 0; i < a.rounds; i++)
        sum += 1.0;
    if (item < a.items)
        bm_store4(bm_words(uvec2(a.y)), BM_F32, item, sum);
}
