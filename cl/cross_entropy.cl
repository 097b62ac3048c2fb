// cross_entropy: one slice of the vocabulary goes into each token's running softmax.   Twin: shaders/cross_entropy.comp
//
//   logits   [tokens, cols]  float32: columns first_column .. first_column + cols - 1; NaN and infinity are reported with the token
//   targets  [1, tokens]     u32: the wanted column; 0xffffffff or one in another slice is not looked up
//   state    [tokens, 8]     float32: {largest logit, sum of exp(logit - largest), logit of the target, best logit, its
//                            column (the first of equals; exact up to 2^24), 1 once the target was met, 0, 0}
//                            first not 0: started here; else that of the slices before
//
// Over all slices the loss of a token is largest + log(sum) - target; no tokens x vocabulary matrix is needed.
// One work-group walks one token at a time, so any number of groups is correct. Local memory: GROUP * 12 bytes. A work-item takes
// WIDTH neighbours at a time, each with a sum of its own. GROUP, a power of two, may be 1. WIDTH: 4 or 16.
// Source: Milakov and Gimelshein, Online normalizer calculation for softmax, 2018.
#include "bitmill.h"
#include "cross_entropy.args.h"
#include "wide.h"

BM_KERNEL cross_entropy(BM_PARAMETERS)
{
    BM_BEGIN
    __local float part_largest[GROUP], part_sum[GROUP];
    __local uint part_column[GROUP];
    const uint lane = get_local_id(0);
    for (uint t = get_group_id(0); t < a.tokens; t += get_num_groups(0)) { // same t for the whole group
        const size_t row = (size_t)t * (a.logits_stride / 4);
        float largest = -FLT_MAX;
        bm_wide sums = 0.0f;
        bm_wide_int bad = 0;
        uint column = 0xffffffffu;
        for (uint c = lane * WIDTH; c < a.cols; c += GROUP * WIDTH) {
            const bm_wide v = bm_fill_wide(bm_load_wide((__global const uint *)logits, BM_F32, row, c, a.cols), c, a.cols, -FLT_MAX);
            bad |= (bm_as_wide_int(v) & 0x7f800000) == 0x7f800000; // NaN or infinity
            if (any(v > largest)) {
                const float m = bm_max_wide(v);
                sums *= exp(largest - m);
                largest = m;
                column = c + bm_find_wide(v, m);
            }
            sums += bm_exp_wide(v - largest);
        }
        const bool good = !any(bad);
        const float sum = bm_sum_wide(sums);
        if (!good)
            bm_report(BM_REPORT_NOT_FINITE, t);
        part_largest[lane] = largest;
        part_sum[lane] = column == 0xffffffffu ? 0.0f : sum; // a lane without columns, or with nothing above -FLT_MAX
        part_column[lane] = column;
        barrier(CLK_LOCAL_MEM_FENCE);
        for (uint s = GROUP / 2; s > 0; s /= 2) {
            if (lane < s) {
                const float m = fmax(part_largest[lane], part_largest[lane + s]);
                part_sum[lane] = part_sum[lane] * exp(part_largest[lane] - m) + part_sum[lane + s] * exp(part_largest[lane + s] - m);
                if (part_largest[lane + s] > part_largest[lane])
                    part_column[lane] = part_column[lane + s];
                else if (part_largest[lane + s] == part_largest[lane])
                    part_column[lane] = min(part_column[lane], part_column[lane + s]);
                part_largest[lane] = m;
            }
            barrier(CLK_LOCAL_MEM_FENCE);
        }
        if (lane == 0) {
            __global float *out = state + (size_t)t * 8;
            const bool first = a.first != 0;
            const float old_largest = first ? -FLT_MAX : out[0], m = fmax(old_largest, part_largest[0]);
            const bool better = first || part_largest[0] > out[3];
            out[1] = (first ? 0.0f : out[1] * exp(old_largest - m)) + part_sum[0] * exp(part_largest[0] - m);
            out[0] = m;
            if (better) {
                out[3] = part_largest[0];
                out[4] = (float)(a.first_column + part_column[0]);
            }
            const uint target = targets[t];
            if (target >= a.first_column && target - a.first_column < a.cols) {
                out[2] = logits[(size_t)t * a.logits_stride + (target - a.first_column)];
                out[5] = 1.0f;
            } else if (first) {
                out[2] = 0.0f;
                out[5] = 0.0f;
            }
            out[6] = 0.0f;
            out[7] = 0.0f;
        }
        barrier(CLK_LOCAL_MEM_FENCE); // the parts are reused by the next token
    }
}
