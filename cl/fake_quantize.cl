// fake_quantize: y[r, c] = what w[r, c] becomes when it is quantized and dequantized.   Twin: shaders/fake_quantize.comp
//
//   w                 [rows, cols]    real
//   step, zero_point  [rows, groups]  float32, int32
//   y                 [rows, cols]    real; may be w
//
// group_size is a multiple of 4, or cols. A work-item makes four elements; any number of work-groups is correct.
#include "quantization.h"
#include "fake_quantize.args.h"

BM_KERNEL fake_quantize(BM_PARAMETERS)
{
    BM_BEGIN
    const uint quads = (a.cols + 3) / 4;
    const ulong count = (ulong)a.rows * quads;
    for (ulong i = get_global_id(0); i < count; i += get_global_size(0)) {
        const uint r = (uint)(i / quads), q = (uint)(i % quads);
        const ulong at = (ulong)r * a.step_stride + 4 * q / a.group_size;
        const float4 v = bm_load4(w, w_type, (ulong)r * (a.w_stride / 4) + q);
        const float zero = (float)zero_point[at];
        const float4 c = bm_codes4(v, bm_inverse_step(step[at]), zero, a.bits);
        bm_store4(y, y_type, (ulong)r * (a.y_stride / 4) + q, (c - zero) * step[at]);
    }
}
