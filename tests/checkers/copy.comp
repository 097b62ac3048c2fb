// Copies one buffer to another through descriptors, where synchronization validation can see them.
#version 450
layout(local_size_x = 8) in;
layout(set = 0, binding = 0, std430) readonly buffer source { uint at[]; } from;
layout(set = 0, binding = 1, std430) writeonly buffer target { uint at[]; } to;

void main()
{
    to.at[gl_GlobalInvocationID.x] = from.at[gl_GlobalInvocationID.x];
}
