// quantize: codes[r, c] = clamp(rint(w[r, c] / step) + zero_point) of the column's group.   Twin: shaders/quantize.comp
//
//   w                 [rows, cols]    real
//   step, zero_point  [rows, groups]  float32, int32
//   codes             [rows, cols]    int8; padding is written 0
//
// group_size is a multiple of 4, or cols. A work-item makes four codes; any number of work-groups is correct.
// Codes are the same on every device.
#include "quantization.h"
#include "quantize.args.h"

BM_KERNEL quantize(BM_PARAMETERS)
{
    BM_BEGIN
    const uint quads = (a.cols + 3) / 4;
    const ulong count = (ulong)a.rows * quads;
    for (ulong i = get_global_id(0); i < count; i += get_global_size(0)) {
        const uint r = (uint)(i / quads), q = (uint)(i % quads);
        const ulong at = (ulong)r * a.step_stride + 4 * q / a.group_size;
        const float4 v = bm_load4(w, w_type, (ulong)r * (a.w_stride / 4) + q);
        const float4 c = bm_mask4(bm_codes4(v, bm_inverse_step(step[at]), (float)zero_point[at], a.bits), q, a.cols, 0.0f);
        codes[(ulong)r * (a.code_stride / 4) + q] = bm_pack_bytes(c);
    }
}
