// Which matrix product each device gets, in reals and in 8-bit codes: the variants, what each needs, and tables of devices. What a
// kernel's variant itself needs, and which types it takes, stands in kernels.def.
//
// Figures: PoCL on 2 cores with AVX-512, 14 x 32: 100 to 108 % of OpenBLAS. lavapipe, 16 x 16: 31 to 38 GFLOP/s on 2 cores.
// H100, OpenCL, float32, tiles of 128 x 128 at 4096^3: slices of 16 35.3 TFLOP/s, of 8 31.5, the generic kernel 9.5; one row
// of x by 14336 x 4096 (_thin): 2.9 TB/s in float32, 2.7 in bfloat16, where a copy reaches 3.0.
#include "device/kernels.h"
#include "ops/gemm_int8.h"

#include <string.h>

enum {
    KIND_HOST = 1 << BM_DEVICE_HOST,
    KIND_CPU = 1 << BM_DEVICE_CPU,
    KIND_GPU = 1 << BM_DEVICE_INTEGRATED_GPU | 1 << BM_DEVICE_DISCRETE_GPU,
    KIND_OTHER = 1 << BM_DEVICE_OTHER,
    KIND_ANY = 0xff
};

// choice.gflops is the low estimate for a device that was not measured.
typedef struct gemm_variant {
    const char *backend; // NULL: any
    uint32_t kinds;
    uint32_t min_group, min_shared_bytes;
    bm_gemm_choice choice;
} gemm_variant;

static const gemm_variant real_variants[] = {
    {NULL, KIND_ANY, 0, 0, {"generic", BM_GEMM_ROWS, 0, 64, 8, 0, 0, 20, "the generic kernel", 0}},
    {NULL,
     KIND_GPU | KIND_OTHER,
     256,
     16384,
     {"tile-8", BM_GEMM_ROWS, BM_VARIANT_GEMM_TILE, 256, 8, 8, 0, 200, "tiles of 128 x 128, slices of 8", 0}},
    {NULL,
     KIND_GPU | KIND_OTHER,
     256,
     32768,
     {"tile-16", BM_GEMM_ROWS, BM_VARIANT_GEMM_TILE, 256, 16, 8, 0, 200, "tiles of 128 x 128, slices of 16", 0}},
    {NULL,
     KIND_GPU | KIND_OTHER,
     256,
     24576,
     {"tile-64", BM_GEMM_ROWS, BM_VARIANT_GEMM_TILE, 256, 16, 4, 0, 200, "tiles of 64 x 128, slices of 16", 0}},
    // Matrix units: kernels.def says of which types. Parts of subgroups are 64 x 64, 64 x 32 (8 subgroups), 32 x 64 (tiles of 64).
    {"vulkan",
     KIND_GPU | KIND_OTHER,
     128,
     36864,
     {"matrix", BM_GEMM_ROWS, BM_VARIANT_GEMM_CM, 128, 64, 8, 0, 200, "matrix units, 128 x 128, slices of 64", 0}},
    {"vulkan",
     KIND_GPU | KIND_OTHER,
     128,
     20480,
     {"matrix-32", BM_GEMM_ROWS, BM_VARIANT_GEMM_CM, 128, 32, 8, 0, 200, "matrix units, 128 x 128, slices of 32", 0}},
    {"vulkan",
     KIND_GPU | KIND_OTHER,
     256,
     36864,
     {"matrix-8", BM_GEMM_ROWS, BM_VARIANT_GEMM_CM, 256, 64, 8, 0, 200, "matrix units, 128 x 128 by 8 subgroups", 0}},
    {"vulkan",
     KIND_GPU | KIND_OTHER,
     128,
     27648,
     {"matrix-64", BM_GEMM_ROWS, BM_VARIANT_GEMM_CM, 128, 64, 4, 0, 200, "matrix units, 64 x 128, slices of 64", 0}},
    {"opencl",
     KIND_GPU,
     128,
     32784,
     {"wgmma", BM_GEMM_ROWS, BM_VARIANT_GEMM_WGMMA, 128, 64, 8, 0, 200, "matrix units of warpgroups, 128 x 128", 0}},
    {"opencl",
     KIND_GPU,
     256,
     49152,
     {"mma", BM_GEMM_ROWS, BM_VARIANT_GEMM_MMA, 256, 32, 16, 0, 200, "matrix units by mma.sync, 256 x 128", 0}},
    {"opencl",
     KIND_GPU,
     128,
     49152,
     {"mma-128", BM_GEMM_ROWS, BM_VARIANT_GEMM_MMA, 128, 32, 8, 0, 200, "matrix units by mma.sync, 128 x 128", 0}},
    {"opencl",
     KIND_GPU,
     64,
     49152,
     {"mma-64", BM_GEMM_ROWS, BM_VARIANT_GEMM_MMA, 64, 32, 4, 0, 200, "matrix units by mma.sync, 64 x 128", 0}},
    // CLBlast has tuned parameters for hundreds of devices; where it is absent, our tiles.
    {"opencl",
     KIND_GPU | KIND_OTHER,
     256,
     16384,
     {"library", BM_GEMM_LIBRARY, BM_VARIANT_GEMM_TILE, 256, 8, 8, 0, 200,
      "CLBlast, or tiles of 128 x 128 where it has no product", 0}},
    {"opencl",
     KIND_GPU | KIND_OTHER,
     256,
     24576,
     {"library-64", BM_GEMM_LIBRARY, BM_VARIANT_GEMM_TILE, 256, 16, 4, 0, 200,
      "CLBlast, or tiles of 64 x 128 where it has no product", 0}},
    // 28 sums of 16 numbers, 2 of w and 1 of x fill the 32 registers of AVX-512; 16 x 16 is as fast there, but reads more.
    {"opencl", KIND_CPU, 0, 0, {"panels-14x32", BM_GEMM_PANELS, 0, 1, 0, 14, 32, 30, "panels of 14 x 32", 16}},
    // 6 rows of 16: 12 sums of 8 fill the 16 registers of AVX2, 24 of 4 those of NEON.
    {"opencl", KIND_CPU, 0, 0, {"panels-6x16", BM_GEMM_PANELS, 0, 1, 0, 6, 16, 30, "panels of 6 x 16", 0}},
    {"vulkan", KIND_CPU, 0, 0, {"panels-16x16", BM_GEMM_PANELS, 0, 8, 0, 16, 16, 10, "panels of 16 x 16", 16}},
};

// The first row that fits is taken, unless its variant does not run on the device or does not take the types. Rows behind the
// first of a kind of device say what its other variants reach.
typedef struct device_row {
    const char *backend; // NULL: any
    uint32_t kinds;
    const char *name; // part of the device's name; NULL: any
    uint32_t min_vector_width;
    const char *variant;
    double gflops; // a low estimate for such a device; 0: the variant's
} device_row;

static const device_row real_rows[] = {
    {"opencl", KIND_CPU, NULL, 16, "panels-14x32", 100},
    {"opencl", KIND_CPU, NULL, 0, "panels-6x16", 0},
    {"opencl", KIND_CPU, NULL, 0, "generic", 5},
    {"vulkan", KIND_CPU, NULL, 0, "panels-16x16", 0},
    {"vulkan", KIND_CPU, NULL, 0, "generic", 1},
    {"opencl", KIND_GPU, "NVIDIA", 0, "tile-16", 0},
    {"vulkan", KIND_GPU, "NVIDIA", 0, "tile-8", 0}, // slices of 16 are 3 to 7 % slower on an H100
    // Intel's compiler spills 64 sums of a work-item from its registers on every GPU of theirs (docs/performance.md).
    {"opencl", KIND_GPU, "Intel", 0, "library-64", 0},
    {NULL, KIND_GPU, "Intel", 0, "tile-64", 0},
    {"opencl", KIND_GPU | KIND_OTHER, NULL, 0, "library", 0},
    {NULL, KIND_GPU | KIND_OTHER, NULL, 0, "tile-8", 0},
    {"host", KIND_ANY, NULL, 0, "generic", 1},
    {NULL, KIND_ANY, NULL, 0, "generic", 0}, // small work-groups, little local memory
    // Matrix units only by name, until each driver's results are compared with the generic kernel's at its first use.
    {"vulkan", KIND_GPU | KIND_OTHER, NULL, 0, "matrix", 0},
    {"opencl", KIND_GPU, NULL, 0, "wgmma", 0},
    {"opencl", KIND_GPU, NULL, 0, "mma", 0},
};

// Products of 8-bit codes. Tiles need the packed dot product: without it their sums do not fit the registers of Intel's older GPUs.
static const gemm_variant int8_variants[] = {
    {NULL, KIND_ANY, 0, 0, {"generic", BM_GEMM_ROWS, 0, 64, 0, 0, 0, 20, "the generic kernel", 0}},
    {NULL,
     KIND_GPU | KIND_OTHER,
     256,
     25088,
     {"dot", BM_GEMM_ROWS, BM_VARIANT_GEMM_INT8_DOT, 256, 0, 0, 0, 200, "tiles of 128 x 128, four codes at once", 0}},
    {"opencl", KIND_CPU, 0, 0, {"panels-14x32", BM_GEMM_PANELS, 0, 1, 0, 14, 32, 30, "panels of 14 x 32", 0}},
    {"opencl", KIND_CPU, 0, 0, {"panels-6x16", BM_GEMM_PANELS, 0, 1, 0, 6, 16, 30, "panels of 6 x 16", 0}},
    {"vulkan", KIND_CPU, 0, 0, {"panels-16x16", BM_GEMM_PANELS, 0, 8, 0, 16, 16, 10, "panels of 16 x 16", 0}},
};

static const device_row int8_rows[] = {
    {"opencl", KIND_CPU, NULL, 16, "panels-14x32", 100},
    {"opencl", KIND_CPU, NULL, 0, "panels-6x16", 0},
    {"opencl", KIND_CPU, NULL, 0, "generic", 2},
    {"vulkan", KIND_CPU, NULL, 0, "panels-16x16", 0},
    {"vulkan", KIND_CPU, NULL, 0, "generic", 1},
    {NULL, KIND_GPU | KIND_OTHER, NULL, 0, "dot", 0},
    {"host", KIND_ANY, NULL, 0, "generic", 0.5},
    {NULL, KIND_ANY, NULL, 0, "generic", 0}, // small work-groups, little local memory, no packed dot product
};

typedef struct choice_table {
    const char *kernel;
    bm_kernel_id id;
    const gemm_variant *variants;
    size_t num_variants;
    const device_row *rows;
    size_t num_rows;
} choice_table;
static const choice_table reals = {"gemm",    BM_KERNEL_GEMM,     real_variants, BM_COUNT(real_variants),
                                   real_rows, BM_COUNT(real_rows)};
static const choice_table codes = {"gemm_int8", BM_KERNEL_GEMM_INT8, int8_variants, BM_COUNT(int8_variants),
                                   int8_rows,   BM_COUNT(int8_rows)};

// A low estimate of the rate. NVIDIA's GPUs have from 1 to 170 multiprocessors, each with a peak of 190 to 440 GFLOP/s: an
// H100 (132) reaches 35 TFLOP/s by tiles and 9.5 by the generic kernel. Their matrix units have 800 GFLOP/s or more, of which a
// sixth; by warpgroups an H200 (132) reaches 537 TFLOP/s, of which a sixth too. Where Vulkan does not tell their number, few.
static double estimate(const bm_device_info *info, const choice_table *table, const gemm_variant *variant,
                       double from_table)
{
    const bool is_gpu = KIND_GPU >> info->kind & 1;
    const bm_kernel_variant *needs = &bm_kernel_table[table->id].variants[variant->choice.variant];
    const double one = needs->wgmma                               ? 650.0
                       : needs->matrix.m > 0 || needs->nvidia_mma ? 130.0
                       : variant->min_group > 0                   ? 20.0
                                                                  : 5.0;
    if (is_gpu && strstr(info->name, "NVIDIA"))
        return (info->limits.compute_units > 0 ? info->limits.compute_units : 5) * one;
    return from_table > 0 ? from_table : variant->choice.gflops;
}

// The kernel's variant for x of this type: the one on matrix units has a twin for bfloat16.
static uint32_t kernel_variant(const choice_table *table, const gemm_variant *variant, bm_dtype x)
{
    const bool has_twin = table->id == BM_KERNEL_GEMM && variant->choice.variant == BM_VARIANT_GEMM_CM;
    return has_twin && x == BM_DTYPE_BF16 ? BM_VARIANT_GEMM_CM_BF16 : variant->choice.variant;
}

static bool has_kernel(const choice_table *table, const gemm_variant *variant, bm_device *device, bm_dtype x)
{
    return variant->choice.form == BM_GEMM_PANELS ||
           bm_kernel_has_variant(device, table->id, kernel_variant(table, variant, x));
}

static bool runs_on(const choice_table *table, const gemm_variant *variant, bm_device *device)
{
    const bm_device_info *info = bm_device_get_info(device);
    return (!variant->backend || strcmp(variant->backend, info->backend) == 0) && (variant->kinds >> info->kind & 1) &&
           info->limits.max_group_invocations >= variant->min_group &&
           info->limits.shared_memory_bytes >= variant->min_shared_bytes &&
           (variant->choice.form != BM_GEMM_LIBRARY || bm_device_has_product(device)) &&
           (has_kernel(table, variant, device, BM_DTYPE_NONE) || has_kernel(table, variant, device, BM_DTYPE_BF16));
}

// Whether a variant that runs on a device takes x and w of these types there; BM_DTYPE_NONE: of any.
static bool takes(const choice_table *table, const gemm_variant *variant, bm_device *device, bm_dtype x, bm_dtype w)
{
    const bm_dtype types[BM_MAX_BUFFERS] = {x, w};
    return (variant->choice.form == BM_GEMM_PANELS ||
            bm_kernel_takes(table->id, kernel_variant(table, variant, x), types)) &&
           has_kernel(table, variant, device, x);
}

// NULL: no such variant on this device for these types. Types come first: a driver may have to compile to tell whether it has one.
static const gemm_variant *find_variant(const choice_table *table, const char *name, bm_device *device, bm_dtype x,
                                        bm_dtype w)
{
    for (const gemm_variant *variant = table->variants; variant < table->variants + table->num_variants; variant++)
        if (strcmp(variant->choice.name, name) == 0 && takes(table, variant, device, x, w) &&
            runs_on(table, variant, device))
            return variant;
    return NULL;
}

static const char *name_of(const choice_table *table, bm_device *device, uint32_t index)
{
    for (const gemm_variant *variant = table->variants; variant < table->variants + table->num_variants; variant++)
        if (runs_on(table, variant, device) && index-- == 0)
            return variant->choice.name;
    return NULL;
}

const char *bm_gemm_variant(bm_device *device, uint32_t index)
{
    return name_of(&reals, device, index);
}

const char *bm_gemm_int8_variant(bm_device *device, uint32_t index)
{
    return name_of(&codes, device, index);
}

// The first row for this device and types, or (name not NULL) the first for this variant on it. NULL: there is none.
static const device_row *find_row(const choice_table *table, bm_device *device, const char *name, bm_dtype x,
                                  bm_dtype w)
{
    const bm_device_info *info = bm_device_get_info(device);
    for (const device_row *row = table->rows; row < table->rows + table->num_rows; row++)
        if ((!row->backend || strcmp(row->backend, info->backend) == 0) && (row->kinds >> info->kind & 1) &&
            (!row->name || strstr(info->name, row->name)) && info->limits.vector_width >= row->min_vector_width &&
            (!name || strcmp(row->variant, name) == 0) && find_variant(table, row->variant, device, x, w))
            return row;
    return NULL;
}

static bm_gemm_choice choose(const choice_table *table, bm_device *device, bm_dtype x, bm_dtype w)
{
    char asked[32];
    const gemm_variant *variant =
        bm_device_variant(device, table->kernel, asked, sizeof asked) ? find_variant(table, asked, device, x, w) : NULL;
    const device_row *row = find_row(table, device, variant ? asked : NULL, x, w);
    if (!variant && row)
        variant = find_variant(table, row->variant, device, x, w);
    if (!variant)
        variant = &table->variants[0];
    bm_gemm_choice choice = variant->choice;
    choice.variant = kernel_variant(table, variant, x);
    choice.gflops = estimate(bm_device_get_info(device), table, variant, row ? row->gflops : 0);
    return choice;
}

bm_gemm_choice bm_gemm_choose(bm_device *device)
{
    return choose(&reals, device, BM_DTYPE_NONE, BM_DTYPE_NONE);
}

bm_gemm_choice bm_gemm_choose_for(bm_device *device, bm_dtype x, bm_dtype w)
{
    return choose(&reals, device, x, w);
}

bm_gemm_choice bm_gemm_int8_choose(bm_device *device)
{
    return choose(&codes, device, BM_DTYPE_NONE, BM_DTYPE_NONE);
}
