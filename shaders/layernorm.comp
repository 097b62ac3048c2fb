// layernorm: y[r, c] = weight[c] * (x[r, c] - mean) / sqrt(variance + epsilon) + bias[c], mean and variance of row r.   Twin: cl/layernorm.cl
//
//   x, y          [rows, cols]  real; y may be x
//   weight, bias  [1, cols]     real
//
// One work-group walks one row at a time, so any number of groups is correct. The variance is that of the differences from
// the mean, in a second walk: nothing cancels where the mean is large.
// Source: Ba, Kiros and Hinton, Layer Normalization, 2016, equation 4.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "layernorm.args.glsl"

shared float part[GROUP];

// The sum of one number of each lane. part is free when it returns.
float layernorm_sum(vec4 sums)
{
    const uint lane = gl_LocalInvocationID.x;
    part[lane] = (sums.x + sums.y) + (sums.z + sums.w);
    barrier();
    for (uint s = GROUP / 2; s > 0; s /= 2) {
        if (lane < s)
            part[lane] += part[lane + s];
        barrier();
    }
    const float sum = part[0];
    barrier();
    return sum;
}

void main()
{
    const uint lane = gl_LocalInvocationID.x, quads = (a.cols + 3) / 4;
    for (uint r = gl_WorkGroupID.x; r < a.rows; r += gl_NumWorkGroups.x) { // same r for the whole group
        const uint x_row = r * (a.x_stride / 4), y_row = r * (a.y_stride / 4);
        vec4 sums = vec4(0.0), squares = vec4(0.0);
        for (uint q = lane; q < quads; q += GROUP)
            sums += bm_mask4(bm_load4(a.x, x_type, x_row + q), q, a.cols, 0.0);
        const float mean = layernorm_sum(sums) / float(a.cols);
        for (uint q = lane; q < quads; q += GROUP) {
            const vec4 v = bm_mask4(bm_load4(a.x, x_type, x_row + q) - mean, q, a.cols, 0.0);
            squares += v * v;
        }
        const float scale = 1.0 / sqrt(layernorm_sum(squares) / float(a.cols) + a.epsilon);
        for (uint q = lane; q < quads; q += GROUP)
            bm_store4(a.y, y_type, y_row + q,
                      bm_load4(a.weight, weight_type, q) * ((bm_load4(a.x, x_type, x_row + q) - mean) * scale) + bm_load4(a.bias, bias_type, q));
    }
}
