// cross_entropy: one slice of the vocabulary goes into each token's running softmax.   Twin: cl/cross_entropy.cl
//
//   logits   [tokens, cols]  float32: columns first_column .. first_column + cols - 1; NaN and infinity are reported with the token
//   targets  [1, tokens]     u32: the wanted column; 0xffffffff or one in another slice is not looked up
//   state    [tokens, 8]     float32: {largest logit, sum of exp(logit - largest), logit of the target, best logit, its
//                            column (the first of equals; exact up to 2^24), 1 once the target was met, 0, 0}
//                            first not 0: started here; else that of the slices before
//
// Over all slices the loss of a token is largest + log(sum) - target; no tokens x vocabulary matrix is needed.
// One work-group walks one token at a time, so any number of groups is correct. Local memory: GROUP * 12 bytes.
// Source: Milakov and Gimelshein, Online normalizer calculation for softmax, 2018.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "cross_entropy.args.glsl"

const float LOWEST = -3.40282347e38;
shared float part_largest[GROUP], part_sum[GROUP];
shared uint part_column[GROUP];

void main()
{
    const uint lane = gl_LocalInvocationID.x, quads = (a.cols + 3) / 4;
    for (uint t = gl_WorkGroupID.x; t < a.tokens; t += gl_NumWorkGroups.x) { // same t for the whole group
        const uint row = t * (a.logits_stride / 4);
        float largest = LOWEST, sum = 0.0;
        uint column = 0xffffffffu;
        bool good = true;
        for (uint q = lane; q < quads; q += GROUP) {
            const vec4 v = bm_mask4(bm_floats4(uvec2(a.logits)).v[row + q], q, a.cols, LOWEST);
            good = good && !any(greaterThanEqual(floatBitsToUint(v) & 0x7fffffffu, uvec4(0x7f800000u))); // NaN or infinity
            const float m = max(max(v.x, v.y), max(v.z, v.w));
            if (m > largest) {
                sum *= exp(largest - m);
                largest = m;
                column = 4 * q + (v.x == m ? 0 : v.y == m ? 1 : v.z == m ? 2 : 3);
            }
            sum += (exp(v.x - largest) + exp(v.y - largest)) + (exp(v.z - largest) + exp(v.w - largest));
        }
        if (!good)
            bm_report(BM_REPORT_NOT_FINITE, t);
        part_largest[lane] = largest;
        part_sum[lane] = column == 0xffffffffu ? 0.0 : sum; // a lane without columns, or with nothing above LOWEST
        part_column[lane] = column;
        barrier();
        for (uint s = GROUP / 2; s > 0; s /= 2) {
            if (lane < s) {
                const float m = max(part_largest[lane], part_largest[lane + s]);
                part_sum[lane] = part_sum[lane] * exp(part_largest[lane] - m) + part_sum[lane + s] * exp(part_largest[lane + s] - m);
                if (part_largest[lane + s] > part_largest[lane])
                    part_column[lane] = part_column[lane + s];
                else if (part_largest[lane + s] == part_largest[lane])
                    part_column[lane] = min(part_column[lane], part_column[lane + s]);
                part_largest[lane] = m;
            }
            barrier();
        }
        if (lane == 0) {
            const uint at = t * 8;
            const bool first = a.first != 0;
            const float old_largest = first ? LOWEST : a.state.v[at], m = max(old_largest, part_largest[0]);
            const bool better = first || part_largest[0] > a.state.v[at + 3];
            a.state.v[at + 1] = (first ? 0.0 : a.state.v[at + 1] * exp(old_largest - m)) + part_sum[0] * exp(part_largest[0] - m);
            a.state.v[at] = m;
            if (better) {
                a.state.v[at + 3] = part_largest[0];
                a.state.v[at + 4] = float(a.first_column + part_column[0]);
            }
            const uint target = a.targets.v[t];
            if (target >= a.first_column && target - a.first_column < a.cols) {
                a.state.v[at + 2] = a.logits.v[t * a.logits_stride + (target - a.first_column)];
                a.state.v[at + 5] = 1.0;
            } else if (first) {
                a.state.v[at + 2] = 0.0;
                a.state.v[at + 5] = 0.0;
            }
            a.state.v[at + 6] = 0.0;
            a.state.v[at + 7] = 0.0;
        }
        barrier(); // the parts are reused by the next token
    }
}
