// scale_refit: the best step of one group of each row with its codes held.   Twin: cl/scale_refit.cl
//
// With w' = (1 + t) w the error changes by -2 t num + t^2 den, num = residual . w, den = product . w, least at t = num / den. The
// step is rounded to its stored type (BM_UNIT: that of units) and kept only where the error falls.
//
//   w         [rows, cols]    float32: rounded weights of the group's columns; becomes those of the new step
//   residual  [rows, cols]    float32: (target - w) H at these columns
//   product   [rows, cols]    float32: w H[group, group]
//   step      [rows, groups]  float32; column group is read and written
//   change    [rows, cols]    float32, zeros in the row's padding: what was added to w
//
// One work-group walks one row at a time, so any number of groups is correct. Local memory: GROUP * 8 bytes.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "quantization.glsl"
#include "scale_refit.args.glsl"

shared float nums[GROUP], dens[GROUP];

void main()
{
    const uint lane = gl_LocalInvocationID.x, quads = (a.cols + 3) / 4;
    for (uint r = gl_WorkGroupID.x; r < a.rows; r += gl_NumWorkGroups.x) { // same r for the whole group
        const uint w_row = r * (a.w_stride / 4);
        float num = 0.0, den = 0.0;
        for (uint q = lane; q < quads; q += GROUP) {
            const vec4 v = bm_mask4(bm_floats4(uvec2(a.w)).v[w_row + q], q, a.cols, 0.0);
            const vec4 x = bm_mask4(bm_floats4(uvec2(a.residual)).v[r * (a.residual_stride / 4) + q], q, a.cols, 0.0);
            const vec4 y = bm_mask4(bm_floats4(uvec2(a.product)).v[r * (a.product_stride / 4) + q], q, a.cols, 0.0);
            num += (x.x * v.x + x.y * v.y) + (x.z * v.z + x.w * v.w);
            den += (y.x * v.x + y.y * v.y) + (y.z * v.z + y.w * v.w);
        }
        nums[lane] = num;
        dens[lane] = den;
        const uint at = r * a.step_stride + a.group;
        const float old = a.step.v[at];
        memoryBarrierBuffer();
        barrier();
        for (uint s = GROUP / 2; s > 0; s /= 2) {
            if (lane < s) {
                nums[lane] += nums[lane + s];
                dens[lane] += dens[lane + s];
            }
            barrier();
        }
        float now = old;
        if (dens[0] > 0.0) {
            const float wanted = old * (1.0 + nums[0] / dens[0]);
            if (wanted * old > 0.0)
                now = bm_stored_step(wanted, a.scale_type);
            const float t = (now - old) / old;
            if (!(2.0 * t * nums[0] - t * t * dens[0] > 0.0))
                now = old;
        }
        for (uint q = lane; q < quads; q += GROUP) {
            const vec4 before = bm_floats4(uvec2(a.w)).v[w_row + q], after = now == old ? before : roundEven(before / old) * now;
            bm_floats4(uvec2(a.w)).v[w_row + q] = after;
            bm_floats4(uvec2(a.change)).v[r * (a.change_stride / 4) + q] = bm_mask4(after - before, q, a.cols, 0.0);
        }
        if (lane == 0)
            a.step.v[at] = now;
        barrier(); // the sums are reused by the next row
    }
}
