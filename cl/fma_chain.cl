// fma_chain: the arithmetic limit of a device: y = what `rounds` dependent fma leave, in each lane.
// Twin: shaders/fma_chain.comp
//
//   y  [items, 4]  float32; item i of a dispatch writes row i: the sum of its chains
//
// Each item keeps QUADS independent chains of four numbers, enough to hide the latency of an fma. 8 * QUADS operations a
// round and item. The factor lies just below 1, so that no chain overflows or fades into subnormal numbers.
// QUADS: a multiple of 4.
#include "bitmill.h"
#include "fma_chain.args.h"

BM_KERNEL fma_chain(BM_PARAMETERS)
{
    BM_BEGIN
    const uint item = get_global_id(0);
    float16 chain[QUADS / 4];
    #pragma unroll
    for (uint c = 0; c < QUADS / 4; c++)
        chain[c] = (float16)(0.0f, 1.0f, 2.0f, 3.0f, 4.0f, 5.0f, 6.0f, 7.0f, 8.0f, 9.0f, 10.0f, 11.0f, 12.0f, 13.0f, 14.0f, 15.0f) + (float)(16 * c);
    for (uint i = 0; i < a.rounds; i++)
        #pragma unroll
        for (uint c = 0; c < QUADS / 4; c++)
            chain[c] = fma(chain[c], (float16)(a.factor), (float16)(a.summand));
    float4 sum = (float4)(0.0f);
    #pragma unroll
    for (uint c = 0; c < QUADS / 4; c++) {
        sum += chain[c].s0123;
        sum += chain[c].s4567;
        sum += chain[c].s89ab;
        sum += chain[c].scdef;
    }
    if (item < a.items)
        bm_store4((__global uint *)y, BM_F32, item, sum);
}
