// grid_choose: of the candidates of kernel grid_candidates each row keeps the best.   Twin: shaders/grid_choose.comp
//
// The best is the one with the least sum over c of difference product; the first wins ties. With product = difference G, G the
// group's block of X^T X, that is the least output error.
//
//   difference, product  [num_factors * rows, cols]  real, float32
//   minimum, maximum     [rows, groups]              float32, of kernel group_range
//   factors              [.]                         float32
//   best                 [rows, 4]                   float32 {least loss, its factor, 0, 0}; where first_factor is 0 written, else what came
//                                                    before; with relative all factors here are added to the one that came before
//   step, zero_point     [rows, groups]              column group: the grid of the best so far
//
// One work-group walks one row at a time, so any number of groups is correct; LANES lanes sum a candidate's loss, SLOTS
// candidates at once. Local memory: GROUP * 4 + SLOTS * 4 bytes.
#include "quantization.h"
#include "grid_choose.args.h"

#define LANES 8
#define SLOTS (GROUP / LANES)

BM_KERNEL grid_choose(BM_PARAMETERS)
{
    BM_BEGIN
    __local float parts[GROUP]; // of lane t of a slot: [t SLOTS + slot]
    __local uint choices[SLOTS];
    const uint lane = get_local_id(0), slot = lane / LANES, t = lane % LANES, quads = (a.cols + 3) / 4;
    for (uint r = get_group_id(0); r < a.rows; r += get_num_groups(0)) { // same r for the whole group
        float least = FLT_MAX; // of a slot's first lane: the others only add up
        uint choice = 0;
        for (uint first = 0; first < a.num_factors; first += SLOTS) {
            const uint f = first + slot;
            float4 sum = 0.0f;
            if (f < a.num_factors) {
                const ulong row = (ulong)f * a.rows + r;
                for (uint q = t; q < quads; q += LANES) {
                    const float4 u = bm_mask4(bm_load4(difference, difference_type, row * (a.difference_stride / 4) + q), q, a.cols, 0.0f);
                    const float4 v = bm_mask4(vload4(row * (a.product_stride / 4) + q, product), q, a.cols, 0.0f);
                    sum += u * v;
                }
            }
            parts[t * SLOTS + slot] = (sum.x + sum.y) + (sum.z + sum.w);
            barrier(CLK_LOCAL_MEM_FENCE);
            if (t == 0 && f < a.num_factors) {
                float loss = 0.0f;
                for (uint i = 0; i < LANES; i++)
                    loss += parts[i * SLOTS + slot];
                if (loss < least) {
                    least = loss;
                    choice = f;
                }
            }
            barrier(CLK_LOCAL_MEM_FENCE); // parts are reused by the next candidates
        }
        if (t == 0) {
            parts[slot] = least;
            choices[slot] = choice;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        if (lane == 0) {
            const float base = a.relative != 0 ? best[4 * (ulong)r + 1] : 0.0f;
            float4 winner = a.first_factor == 0 ? (float4)(FLT_MAX, factors[0] + base, 0.0f, 0.0f) : vload4(r, best);
            uint chosen = 0; // nothing of an equal loss comes before what was there already
            for (uint s = 0; s < SLOTS; s++) {
                if (parts[s] < winner.x || (parts[s] == winner.x && choices[s] < chosen)) {
                    winner.x = parts[s];
                    chosen = choices[s];
                    winner.y = factors[a.first_factor + chosen] + base;
                }
            }
            const ulong at = (ulong)r * a.range_stride + a.group;
            const bm_grid grid = bm_group_grid(minimum[at], maximum[at], winner.y, a.bits, a.symmetric, a.scale_type);
            vstore4((float4)(winner.x, winner.y, 0.0f, 0.0f), r, best);
            step[at] = grid.step;
            zero_point[at] = (int)grid.zero_point;
        }
        barrier(CLK_LOCAL_MEM_FENCE); // parts are reused by the next row
    }
}
