// scale_refit: the best step of one group of each row with its codes held.   Twin: shaders/scale_refit.comp
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
#include "quantization.h"
#include "scale_refit.args.h"

BM_KERNEL scale_refit(BM_PARAMETERS)
{
    BM_BEGIN
    __local float nums[GROUP], dens[GROUP];
    const uint lane = get_local_id(0), quads = (a.cols + 3) / 4;
    for (uint r = get_group_id(0); r < a.rows; r += get_num_groups(0)) { // same r for the whole group
        const size_t w_row = (size_t)r * (a.w_stride / 4);
        float num = 0.0f, den = 0.0f;
        for (uint q = lane; q < quads; q += GROUP) {
            const float4 v = bm_mask4(vload4(w_row + q, w), q, a.cols, 0.0f);
            const float4 x = bm_mask4(vload4((ulong)r * (a.residual_stride / 4) + q, residual), q, a.cols, 0.0f);
            const float4 y = bm_mask4(vload4((ulong)r * (a.product_stride / 4) + q, product), q, a.cols, 0.0f);
            num += (x.x * v.x + x.y * v.y) + (x.z * v.z + x.w * v.w);
            den += (y.x * v.x + y.y * v.y) + (y.z * v.z + y.w * v.w);
        }
        nums[lane] = num;
        dens[lane] = den;
        const ulong at = (ulong)r * a.step_stride + a.group;
        const float old = step[at];
        barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);
        for (uint s = GROUP / 2; s > 0; s /= 2) {
            if (lane < s) {
                nums[lane] += nums[lane + s];
                dens[lane] += dens[lane + s];
            }
            barrier(CLK_LOCAL_MEM_FENCE);
        }
        float now = old;
        if (dens[0] > 0.0f) {
            const float wanted = old * (1.0f + nums[0] / dens[0]);
            if (wanted * old > 0.0f)
                now = bm_stored_step(wanted, a.scale_type);
            const float t = (now - old) / old;
            if (!(2.0f * t * nums[0] - t * t * dens[0] > 0.0f))
                now = old;
        }
        for (uint q = lane; q < quads; q += GROUP) {
            const float4 before = vload4(w_row + q, w), after = now == old ? before : rint(before / old) * now;
            vstore4(after, w_row + q, w);
            vstore4(bm_mask4(after - before, q, a.cols, 0.0f), (ulong)r * (a.change_stride / 4) + q, change);
        }
        if (lane == 0)
            step[at] = now;
        barrier(CLK_LOCAL_MEM_FENCE); // the sums are reused by the next row
    }
}
