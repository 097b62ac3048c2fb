// stream_copy: the benchmark's memory limit moves what it says.
#include "kernels/table.h"

#include <string.h>

static void make(kernel_run *run)
{
    const uint32_t quads = run->shape[0];
    kernel_shape(run, 0, 1, 4 * (uint64_t)quads);
    kernel_shape(run, 1, 1, 4 * (uint64_t)quads);
    kernel_fill(run, 0, 1);
    const bm_stream_copy_scalars scalars = {quads};
    kernel_scalars(run, &scalars, sizeof scalars);
    run->groups[0] = kernel_groups(quads, 64);
}

static void reference(const kernel_run *run, double *const *out)
{
    memcpy(out[1], run->buffers[0].values, run->buffers[0].cols * sizeof(double));
}

static double operations(const kernel_run *run)
{
    (void)run;
    return 0;
}

const kernel_operation kernel_stream_copy = {
    .kernel = BM_KERNEL_STREAM_COPY,
    .cases = {{"1", {1}, false}, {"prime", {1031}, false}, {"tile", {4096}, true}},
    .make = make,
    .exact = true,
    .reference = reference,
    .operations = operations,
};
