// dequantize: w[r, c] = (codes[r, c] - zero_point) * step of the column's group.   Twin: shaders/dequantize.comp
//
//   codes             [rows, cols]    int8
//   step, zero_point  [rows, groups]  float32, int32
//   group_index       [cols]          uint32: the group of each column; absent: c / group_size
//   w                 [rows, cols]    real
//
// group_size is a multiple of 4, or cols. A work-item makes four elements; any number of work-groups is correct.
#include "bitmill.h"
#include "dequantize.args.h"

BM_KERNEL dequantize(BM_PARAMETERS)
{
    BM_BEGIN
    const uint quads = (a.cols + 3) / 4;
    const ulong count = (ulong)a.rows * quads;
    for (ulong i = get_global_id(0); i < count; i += get_global_size(0)) {
        const uint r = (uint)(i / quads), q = (uint)(i % quads);
        const ulong at = (ulong)r * a.step_stride + 4 * q / a.group_size;
        const uint u = codes[(ulong)r * (a.code_stride / 4) + q];
        const float4 c = (float4)((float)((int)(u << 24) >> 24), (float)((int)(u << 16) >> 24), (float)((int)(u << 8) >> 24),
                                  (float)((int)u >> 24));
        float4 value = (c - (float)zero_point[at]) * step[at];
        if (a.has_group_index != 0) {
            const float codes4[4] = {c.x, c.y, c.z, c.w};
            float values[4];
            for (uint k = 0; k < 4; k++) {
                const ulong mine = (ulong)r * a.step_stride + group_index[min(4 * q + k, a.cols - 1)];
                values[k] = (codes4[k] - (float)zero_point[mine]) * step[mine];
            }
            value = (float4)(values[0], values[1], values[2], values[3]);
        }
        bm_store4(w, w_type, (ulong)r * (a.w_stride / 4) + q, value);
    }
}
