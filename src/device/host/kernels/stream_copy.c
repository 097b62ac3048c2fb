// stream_copy: y = x.
#include "device/host_kernels.h"
#include <string.h>

void host_stream_copy(const host_call *call)
{
    const bm_stream_copy_scalars *a = call->scalars;
    memcpy(call->buffers[1], call->buffers[0], (size_t)a->quads * 16);
}
