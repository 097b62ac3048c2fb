// diagonal: y[i] = x[i, i].   Twin: cl/diagonal.cl
//
//   x  [rows, rows]  float32
//   y  [rows]        float32
//
// Any number of work-groups is correct.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "diagonal.args.glsl"

void main()
{
    for (uint i = gl_GlobalInvocationID.x; i < a.rows; i += gl_NumWorkGroups.x * GROUP)
        a.y.v[i] = a.x.v[i * a.x_stride + i];
}
