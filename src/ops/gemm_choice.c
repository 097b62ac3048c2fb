// Which matrix product each device gets. Measured rows name what was measured; the last row of a kind takes the rest.
//
// Figures: PoCL on 2 cores with AVX-512, 14 x 32: 100 to 108 % of OpenBLAS. lavapipe, 16 x 16: 31 to 38 GFLOP/s on 2 cores.
// H100, OpenCL, float32, tiles of 128 x 128 at 4096^3: slices of 16 35.3 TFLOP/s, of 8 31.5, the generic kernel 9.5; one row
// of x by 14336 x 4096 (_thin): 2.9 TB/s in float32, 2.7 in bfloat16, where a copy reaches 3.0.
#include "ops/gemm.h"

#include <string.h>

enum {
    KIND_HOST = 1 << BM_DEVICE_HOST,
    KIND_CPU = 1 << BM_DEVICE_CPU,
    KIND_INTEGRATED = 1 << BM_DEVICE_INTEGRATED_GPU,
    KIND_DISCRETE = 1 << BM_DEVICE_DISCRETE_GPU,
    KIND_OTHER = 1 << BM_DEVICE_OTHER,
    KIND_ANY = 0xff
};

typedef struct gemm_row {
    const char *backend; // NULL: any
    uint32_t kinds;
    const char *name; // part of the device's name; NULL: any
    uint32_t min_vector_width, min_group, min_shared_bytes;
    bm_gemm_choice choice;
} gemm_row;

// The first row that fits is taken.
static const gemm_row rows[] = {
    {"host", KIND_ANY, NULL, 0, 0, 0, {BM_GEMM_ROWS, 0, 64, 8, 0, 0, 1, "the reference"}},
    // 28 sums of 16 numbers, 2 of w and 1 of x fill the 32 registers of AVX-512.
    {"opencl", KIND_CPU, NULL, 16, 0, 0, {BM_GEMM_PANELS, 0, 1, 0, 14, 32, 100, "panels of 14 x 32 for vectors of 16"}},
    // 6 rows of 16: 12 sums of 8 fill the 16 registers of AVX2, 24 of 4 those of NEON.
    {"opencl",
     KIND_CPU,
     NULL,
     0,
     0,
     0,
     {BM_GEMM_PANELS, 0, 1, 0, 6, 16, 30, "panels of 6 x 16 for vectors of 8 or fewer"}},
    {"vulkan", KIND_CPU, NULL, 0, 0, 0, {BM_GEMM_PANELS, 0, 8, 0, 16, 16, 10, "panels of 16 x 16 for lavapipe"}},
    {"opencl",
     KIND_DISCRETE | KIND_INTEGRATED,
     "NVIDIA",
     0,
     256,
     32768,
     {BM_GEMM_ROWS, BM_VARIANT_GEMM_TILE, 256, 16, 0, 0, 2000, "tiles of 128 x 128, slices of 16"}},
    // Not measured with this kernel yet; in trials of the same tile slices of 8 were 11 % faster than of 16.
    {"vulkan",
     KIND_DISCRETE | KIND_INTEGRATED,
     "NVIDIA",
     0,
     256,
     16384,
     {BM_GEMM_ROWS, BM_VARIANT_GEMM_TILE, 256, 8, 0, 0, 2000, "tiles of 128 x 128, slices of 8"}},
    // CLBlast has tuned parameters for hundreds of devices; where it is absent, our tiles.
    {"opencl",
     KIND_DISCRETE | KIND_INTEGRATED | KIND_OTHER,
     NULL,
     0,
     256,
     16384,
     {BM_GEMM_LIBRARY, BM_VARIANT_GEMM_TILE, 256, 8, 0, 0, 200, "CLBlast for a device that was not measured"}},
    {"vulkan",
     KIND_DISCRETE | KIND_INTEGRATED | KIND_OTHER,
     NULL,
     0,
     256,
     16384,
     {BM_GEMM_ROWS, BM_VARIANT_GEMM_TILE, 256, 8, 0, 0, 200, "tiles of 128 x 128, not measured on this device"}},
    {NULL,
     KIND_ANY,
     NULL,
     0,
     0,
     0,
     {BM_GEMM_ROWS, 0, 64, 8, 0, 0, 20, "the generic kernel: small work-groups or little local memory"}},
};

bm_gemm_choice bm_gemm_choose(const bm_device *device)
{
    const bm_device_info *info = bm_device_get_info(device);
    const gemm_row *row = rows;
    for (; row < rows + BM_COUNT(rows) - 1; row++)
        if ((!row->backend || strcmp(row->backend, info->backend) == 0) && (row->kinds >> info->kind & 1) &&
            (!row->name || strstr(info->name, row->name)) && info->limits.vector_width >= row->min_vector_width &&
            info->limits.max_group_invocations >= row->min_group &&
            info->limits.shared_memory_bytes >= row->min_shared_bytes)
            break;
    return row->choice;
}
