// attention_combine: y[t, h] from the parts that attention_split leaves.   Twin: cl/attention_combine.cl
//
//   parts  [tokens * heads * splits, head_dim + 2]  float32: row (t * heads + h) * splits + s has sum exp(score - largest) v, then
//                                                   largest, then sum exp(score - largest), of the keys of split s
//   y      [tokens, heads * head_dim]               real; zeros where no split has a key
//
// A work-group takes one token and head; its work-items take quads of the head, as many to a quad as there are for it, which take
// splits by turns and add up in the end. Groups walk tokens and heads, so any number of them is correct.
// GROUP: any. Local memory: GROUP * 32 bytes.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "attention_combine.args.glsl"

const float LOWEST = -3.40282347e38;

shared vec4 values[GROUP], scales[GROUP]; // scales: largest, sum

void main()
{
    const uint lane = gl_LocalInvocationID.x, quads = a.head_dim / 4, width = min(quads, GROUP), turns = GROUP / width;
    for (uint row = gl_WorkGroupID.x; row < a.tokens * a.heads; row += gl_NumWorkGroups.x) // same for the whole group
        for (uint first = 0; first < quads; first += width) {
            const uint quad = min(first + lane % width, quads - 1), turn = lane / width;
            vec4 value = vec4(0.0);
            float largest = LOWEST, sum = 0.0;
            for (uint s = turn; s < a.splits && turn < turns; s += turns) {
                const uint at = (row * a.splits + s) * (a.parts_stride / 4);
                const vec4 scale = bm_floats4(uvec2(a.parts)).v[at + quads];
                const float grown = max(largest, scale.x), shrink = exp(largest - grown), factor = exp(scale.x - grown);
                largest = grown;
                sum = sum * shrink + scale.y * factor;
                value = value * shrink + bm_floats4(uvec2(a.parts)).v[at + quad] * factor;
            }
            values[lane] = value;
            scales[lane] = vec4(largest, sum, 0.0, 0.0);
            barrier();
            if (lane < width && first + lane < quads) {
                for (uint i = 1; i < turns; i++) {
                    const vec4 scale = scales[i * width + lane];
                    const float grown = max(largest, scale.x), shrink = exp(largest - grown), factor = exp(scale.x - grown);
                    largest = grown;
                    sum = sum * shrink + scale.y * factor;
                    value = value * shrink + values[i * width + lane] * factor;
                }
                const uint head = row / a.heads * (a.y_stride / 4) + row % a.heads * quads;
                bm_store4(a.y, y_type, head + quad, value * (sum > 0.0 ? 1.0 / sum : 0.0));
            }
            barrier(); // values and scales are reused
        }
}
