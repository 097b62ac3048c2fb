// group_normalize: normalized[r, c] = |w[r, c]| / peak, the largest magnitude of the group of c in row r.   Twin: shaders/group_normalize.comp
//
//   w                 [rows, cols]    real
//   minimum, maximum  [rows, groups]  float32: what group_range finds of w
//   normalized        [rows, cols]    float32; may be w
//
// group_size is a multiple of 4, or cols. A group whose peak counts as zero gives zeros, magnitudes saturate as on the way to
// codes, and NaN stays NaN. A work-item makes four elements; any number of work-groups is correct.
#include "quantization.h"
#include "group_normalize.args.h"

BM_KERNEL group_normalize(BM_PARAMETERS)
{
    BM_BEGIN
    const uint quads = (a.cols + 3) / 4;
    const ulong count = (ulong)a.rows * quads;
    for (ulong i = get_global_id(0); i < count; i += get_global_size(0)) {
        const uint r = (uint)(i / quads), q = (uint)(i % quads);
        const ulong at = (ulong)r * a.range_stride + 4 * q / a.group_size;
        const float peak = fmax(fabs(minimum[at]), fabs(maximum[at]));
        const float inverse = peak < BM_ZERO_PEAK ? 0.0f : bm_divide(1.0f, fmin(peak, BM_LARGEST_PEAK));
        const float4 v = fabs(bm_load4(w, w_type, (ulong)r * (a.w_stride / 4) + q));
        const float4 magnitude = select(v, (float4)(BM_LARGEST_PEAK), v > BM_LARGEST_PEAK); // fmin would lose NaN
        vstore4(magnitude * inverse, (ulong)r * (a.out_stride / 4) + q, normalized);
    }
}
