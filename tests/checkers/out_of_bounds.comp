// Planted defect: with offset beyond the buffer, a write through its address that lands behind it.
#version 450
#extension GL_EXT_buffer_reference : require
layout(local_size_x = 8) in;
layout(buffer_reference, std430, buffer_reference_align = 4) buffer words { uint at[]; };
layout(push_constant) uniform push { words data; uint offset; } arguments;

void main()
{
    arguments.data.at[gl_GlobalInvocationID.x + arguments.offset] = gl_GlobalInvocationID.x;
}
