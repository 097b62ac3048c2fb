// matrix_chain: what variants on matrix units make of `rounds` products, in each lane; those variants are the arithmetic limit of such
// units.   Twin: shaders/matrix_chain.comp
//
//   y  [items, 4]  float32; item i of a dispatch writes row i: rounds, one added in each
//
// Variants add products of ones in each round, and divide by how many ones there were.
#include "bitmill.h"
#include "matrix_chain.args.h"

BM_KERNEL matrix_chain(BM_PARAMETERS)
{
    BM_BEGIN
    const uint item = get_global_id(0);
    float4 sum = (float4)(0.0f);
    for (uint i = 0; i < a.rounds; i++)
        sum += 1.0f;
    if (item < a.items)
        bm_store4((__global uint *)y, BM_F32, item, sum);
}
