// copy_column: y[r, column] = x[r, 0].   Twin: cl/copy_column.cl
//
//   x  [rows, 1]  32-bit words
//   y  [rows, .]  32-bit words
//
// Any number of work-groups is correct.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "copy_column.args.glsl"

void main()
{
    for (uint r = gl_GlobalInvocationID.x; r < a.rows; r += gl_NumWorkGroups.x * GROUP)
        a.y.v[r * a.y_stride + a.column] = a.x.v[r * a.x_stride];
}
