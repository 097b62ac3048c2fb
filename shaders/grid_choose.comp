// grid_choose: of the candidates of kernel grid_candidates each row keeps the best.   Twin: cl/grid_choose.cl
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
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "quantization.glsl"
#include "grid_choose.args.glsl"

#define LANES 8
#define SLOTS (GROUP / LANES)
#define FLT_MAX 3.402823466e38

shared float parts[GROUP]; // of lane t of a slot: [t SLOTS + slot]
shared uint choices[SLOTS];

void main()
{
    const uint lane = gl_LocalInvocationID.x, slot = lane / LANES, t = lane % LANES, quads = (a.cols + 3) / 4;
    for (uint r = gl_WorkGroupID.x; r < a.rows; r += gl_NumWorkGroups.x) { // same r for the whole group
        float least = FLT_MAX; // of a slot's first lane: the others only add up
        uint choice = 0;
        for (uint first = 0; first < a.num_factors; first += SLOTS) {
            const uint f = first + slot;
            vec4 sum = vec4(0.0);
            if (f < a.num_factors) {
                const uint row = f * a.rows + r;
                for (uint q = t; q < quads; q += LANES) {
                    const vec4 u = bm_mask4(bm_load4(a.difference, difference_type, row * (a.difference_stride / 4) + q), q, a.cols, 0.0);
                    const vec4 v = bm_mask4(bm_floats4(uvec2(a.product)).v[row * (a.product_stride / 4) + q], q, a.cols, 0.0);
                    sum += u * v;
                }
            }
            parts[t * SLOTS + slot] = (sum.x + sum.y) + (sum.z + sum.w);
            barrier();
            if (t == 0 && f < a.num_factors) {
                float loss = 0.0;
                for (uint i = 0; i < LANES; i++)
                    loss += parts[i * SLOTS + slot];
                if (loss < least) {
                    least = loss;
                    choice = f;
                }
            }
            barrier(); // parts are reused by the next candidates
        }
        if (t == 0) {
            parts[slot] = least;
            choices[slot] = choice;
        }
        barrier();
        if (lane == 0) {
            const float base = a.relative != 0u ? a.best.v[4 * r + 1] : 0.0;
            vec4 winner = a.first_factor == 0 ? vec4(FLT_MAX, a.factors.v[0] + base, 0.0, 0.0) : bm_floats4(uvec2(a.best)).v[r];
            uint chosen = 0; // nothing of an equal loss comes before what was there already
            for (uint s = 0; s < SLOTS; s++) {
                if (parts[s] < winner.x || (parts[s] == winner.x && choices[s] < chosen)) {
                    winner.x = parts[s];
                    chosen = choices[s];
                    winner.y = a.factors.v[a.first_factor + chosen] + base;
                }
            }
            const uint at = r * a.range_stride + a.group;
            const bm_grid grid = bm_group_grid(a.minimum.v[at], a.maximum.v[at], winner.y, a.bits, a.symmetric, a.scale_type);
            bm_floats4(uvec2(a.best)).v[r] = vec4(winner.xy, 0.0, 0.0);
            a.step.v[at] = grid.step;
            a.zero_point.v[at] = int(grid.zero_point);
        }
        barrier(); // parts are reused by the next row
    }
}
