// quantize_rows: activations to 8-bit codes, with one step for all or a step a row.   Twin: cl/quantize_rows.cl
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
// One work-group walks one row at a time, so any number of groups is correct. GROUP: a power of two.
// Local memory: GROUP * 4 bytes.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "quantization.glsl"
#include "quantize_rows.args.glsl"

shared float parts[GROUP];

void main()
{
    const uint lane = gl_LocalInvocationID.x, quads = (a.cols + 3) / 4;
    for (uint r = gl_WorkGroupID.x; r < a.rows; r += gl_NumWorkGroups.x) { // same r for the whole group
        float peak = a.peak, inverse = a.inverse, step = a.step, count = 0.0;
        for (uint pass = a.per_row != 0 ? 0 : 1; pass < 2; pass++) { // 0: the peak; 1: the codes
            float part = 0.0;
            for (uint q = lane; q < quads; q += GROUP) {
                precise vec4 v = bm_mask4(bm_load4(a.x, x_type, r * (a.x_stride / 4) + q), q, a.cols, 0.0);
                if (a.has_shift != 0)
                    v -= bm_mask4(bm_floats4(uvec2(a.shift)).v[q], q, a.cols, 0.0);
                if (a.has_factor != 0)
                    v *= bm_mask4(bm_floats4(uvec2(a.factor)).v[q], q, a.cols, 0.0);
                [[unroll]] for (uint i = 0; i < 4; i++)
                    if (!bm_is_finite(v[i])) {
                        bm_report(BM_REPORT_NOT_FINITE, r * a.cols + 4 * q + i);
                        v[i] = (floatBitsToUint(v[i]) & 0x7fffffu) != 0u ? 0.0 : bm_copy_sign(BM_LARGEST_PEAK, v[i]);
                    }
                const vec4 m = abs(v);
                if (pass == 0) {
                    part = max(part, max(max(m.x, m.y), max(m.z, m.w)));
                } else {
                    const vec4 beyond = mix(vec4(0.0), vec4(1.0), greaterThan(m, vec4(peak)));
                    part += a.per_row != 0 ? 0.0 : (beyond.x + beyond.y) + (beyond.z + beyond.w);
                    a.codes.v[r * (a.code_stride / 4) + q] = bm_pack_bytes(bm_codes4(v, inverse, 0.0, 8));
                }
            }
            parts[lane] = part;
            barrier();
            for (uint s = GROUP / 2; s > 0; s /= 2) {
                if (lane < s)
                    parts[lane] = pass == 0 ? max(parts[lane], parts[lane + s]) : parts[lane] + parts[lane + s];
                barrier();
            }
            count = parts[0];
            if (pass == 0) {
                peak = parts[0] < BM_ZERO_PEAK ? 0.0 : min(parts[0], BM_LARGEST_PEAK);
                inverse = peak > 0.0 ? bm_divide(127.0, peak) : 0.0;
                step = peak > 0.0 ? bm_divide(peak, 127.0) : 1.0;
            }
            barrier(); // parts are reused by the next pass
        }
        if (lane == 0)
            bm_floats4(uvec2(a.x_rows)).v[r] = vec4(step, peak, count, 0.0);
    }
}
