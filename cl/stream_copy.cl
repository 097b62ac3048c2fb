// stream_copy: y = x: the memory limit of a device.   Twin: shaders/stream_copy.comp
//
//   x, y  [quads, 4]  float32, apart
//
// Any number of work-groups is correct. 32 bytes of traffic a quad.
#include "bitmill.h"
#include "stream_copy.args.h"

BM_KERNEL stream_copy(BM_PARAMETERS)
{
    BM_BEGIN
    for (ulong i = get_global_id(0); i < a.quads; i += get_global_size(0))
        vstore4(vload4(i, x), i, y);
}
