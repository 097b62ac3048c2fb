// quantize_rows: activations to 8-bit codes, with one step for all or a step a row.   Twin: shaders/quantize_rows.comp
//
//   x              [rows, cols]  real
//   shift, factor  [1, cols]     float32, read where has_shift, has_factor are 1; absent: 0 and 1
//   codes          [rows, cols]  int8: clamp(rint(v * inverse), -128, 127), half to even, v = (x - shift) * factor; padding
//                                of the last four is written 0
//   x_rows         [rows, 4]     float32: {step, peak, how many |v| exceed a peak that is given, 0}
//
// With per_row 0 the scalars peak, inverse = fl(127 / peak) and step = fl(peak / 127) serve all rows: values beyond the peak
// saturate. With per_row 1 the peak is the largest |v| of the row; below 1e-30 it counts as zero: codes 0, step 1.
// A v that is not finite is reported; NaN becomes 0, infinity 2^120 with its sign, which saturates.
// Each operation is rounded once, in this order: the same codes on every device.
// One work-group walks one row at a time, WIDTH elements a work-item, so any number of groups is correct.
// GROUP: a power of two. WIDTH: 4 or 16. Local memory: GROUP * 4 bytes.
#include "quantization.h"
#include "quantize_rows.args.h"
#include "wide.h"

BM_KERNEL quantize_rows(BM_PARAMETERS)
{
    BM_BEGIN
    __local float parts[GROUP];
    const uint lane = get_local_id(0);
    for (uint r = get_group_id(0); r < a.rows; r += get_num_groups(0)) { // same r for the whole group
        const size_t row = (size_t)r * (a.x_stride / 4);
        float peak = a.peak, inverse = a.inverse, step = a.step, count = 0.0f;
        for (uint pass = a.per_row != 0 ? 0 : 1; pass < 2; pass++) { // 0: the peak; 1: the codes
            bm_wide part = 0.0f;
            for (uint c = lane * WIDTH; c < a.cols; c += GROUP * WIDTH) {
                bm_wide v = bm_mask_wide(bm_load_wide(x, x_type, row, c, a.cols), c, a.cols);
                if (a.has_shift != 0)
                    v -= bm_mask_wide(bm_load_wide((__global const uint *)shift, BM_F32, 0, c, a.cols), c, a.cols);
                if (a.has_factor != 0)
                    v *= bm_mask_wide(bm_load_wide((__global const uint *)factor, BM_F32, 0, c, a.cols), c, a.cols);
                if (!bm_is_finite_wide(v)) {
                    float w[WIDTH];
                    bm_put_wide(v, w);
                    for (uint i = 0; i < WIDTH; i++)
                        if (!bm_is_finite(w[i])) {
                            bm_report(BM_REPORT_NOT_FINITE, r * a.cols + c + i);
                            w[i] = isnan(w[i]) ? 0.0f : copysign(BM_LARGEST_PEAK, w[i]);
                        }
                    v = bm_take_wide(w);
                }
                if (pass == 0) {
                    part = fmax(part, fabs(v));
                } else {
                    if (a.per_row == 0)
                        part += select((bm_wide)(0.0f), (bm_wide)(1.0f), fabs(v) > peak);
                    bm_store_codes_wide(codes, (size_t)r * (a.code_stride / 4), c, a.cols, clamp(rint(v * inverse), -128.0f, 127.0f));
                }
            }
            parts[lane] = pass == 0 ? bm_max_wide(part) : bm_sum_wide(part);
            barrier(CLK_LOCAL_MEM_FENCE);
            for (uint s = GROUP / 2; s > 0; s /= 2) {
                if (lane < s)
                    parts[lane] = pass == 0 ? fmax(parts[lane], parts[lane + s]) : parts[lane] + parts[lane + s];
                barrier(CLK_LOCAL_MEM_FENCE);
            }
            count = parts[0];
            if (pass == 0) {
                peak = parts[0] < BM_ZERO_PEAK ? 0.0f : fmin(parts[0], BM_LARGEST_PEAK);
                inverse = peak > 0.0f ? bm_divide(127.0f, peak) : 0.0f;
                step = peak > 0.0f ? bm_divide(peak, 127.0f) : 1.0f;
            }
            barrier(CLK_LOCAL_MEM_FENCE); // parts are reused by the next pass
        }
        if (lane == 0)
            vstore4((float4)(step, peak, count, 0.0f), r, x_rows);
    }
}
