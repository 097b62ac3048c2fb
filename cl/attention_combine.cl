// attention_combine: y[t, h] from the parts that attention_split leaves.   Twin: shaders/attention_combine.comp
//
//   parts  [tokens * heads * splits, head_dim + 2]  float32: row (t * heads + h) * splits + s has sum exp(score - largest) v, then
//                                                   largest, then sum exp(score - largest), of the keys of split s
//   y      [tokens, heads * head_dim]               real; zeros where no split has a key
//
// A work-group takes one token and head; its work-items take quads of the head, as many to a quad as there are for it, which take
// splits by turns and add up in the end. Groups walk tokens and heads, so any number of them is correct.
// GROUP: any. Local memory: GROUP * 32 bytes.
#include "bitmill.h"
#include "attention_combine.args.h"

BM_KERNEL attention_combine(BM_PARAMETERS)
{
    BM_BEGIN
    __local float4 values[GROUP], scales[GROUP]; // scales: largest, sum
    const uint lane = get_local_id(0), quads = a.head_dim / 4, width = min(quads, (uint)GROUP), turns = GROUP / width;
    for (uint row = get_group_id(0); row < a.tokens * a.heads; row += get_num_groups(0)) // same for the whole group
        for (uint first = 0; first < quads; first += width) {
            const uint quad = min(first + lane % width, quads - 1), turn = lane / width;
            float4 value = (float4)(0.0f);
            float largest = -FLT_MAX, sum = 0.0f;
            for (uint s = turn; s < a.splits && turn < turns; s += turns) {
                const size_t at = ((size_t)row * a.splits + s) * (a.parts_stride / 4);
                const float4 scale = vload4(at + quads, parts);
                const float grown = fmax(largest, scale.x), shrink = exp(largest - grown), factor = exp(scale.x - grown);
                largest = grown;
                sum = sum * shrink + scale.y * factor;
                value = value * shrink + vload4(at + quad, parts) * factor;
            }
            values[lane] = value;
            scales[lane] = (float4)(largest, sum, 0.0f, 0.0f);
            barrier(CLK_LOCAL_MEM_FENCE);
            if (lane < width && first + lane < quads) {
                for (uint i = 1; i < turns; i++) {
                    const float4 scale = scales[i * width + lane];
                    const float grown = fmax(largest, scale.x), shrink = exp(largest - grown), factor = exp(scale.x - grown);
                    largest = grown;
                    sum = sum * shrink + scale.y * factor;
                    value = value * shrink + values[i * width + lane] * factor;
                }
                const size_t head = row / a.heads * (size_t)(a.y_stride / 4) + row % a.heads * quads;
                bm_store4(y, y_type, head + quad, value * (sum > 0.0f ? 1.0f / sum : 0.0f));
            }
            barrier(CLK_LOCAL_MEM_FENCE); // values and scales are reused
        }
}
