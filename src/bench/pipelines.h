// Every pipeline that the program may want on a device: each kernel and variant with the tunables and storage types that
// operations give it. Compiled without running anything, they show whether a driver takes our kernels, and how well: also
// of a GPU that is not here, where its compiler is.
#ifndef BM_BENCH_PIPELINES_H
#define BM_BENCH_PIPELINES_H

#include "device/device.h"

typedef struct bm_pipeline {
    bm_call call;    // kernel, variant, types and tunables (every one of them, no 0); the rest is empty
    bool is_default; // the tables of devices choose its variant here
} bm_pipeline;

typedef struct bm_pipeline_list {
    bm_pipeline *items; // none twice
    uint32_t count;
} bm_pipeline_list;

// Lists the pipelines of a device. HEAD_DIM of attention is the model's: the list has the sizes of well-known models.
// Variants that were asked for by name decide what is default. Free with bm_pipelines_free. Errors: BM_E_MEMORY.
bm_status bm_pipelines_list(bm_device *device, bm_pipeline_list *out, bm_error *err);
void bm_pipelines_free(bm_pipeline_list *list);

#endif
