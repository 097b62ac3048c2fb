// stream_copy: y = x: the memory limit of a device.   Twin: cl/stream_copy.cl
//
//   x, y  [quads, 4]  float32, apart
//
// Any number of work-groups is correct. 32 bytes of traffic a quad.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "stream_copy.args.glsl"

void main()
{
    for (uint i = gl_GlobalInvocationID.x; i < a.quads; i += gl_NumWorkGroups.x * GROUP)
        bm_floats4(uvec2(a.y)).v[i] = bm_floats4(uvec2(a.x)).v[i];
}
