// Which matrix product each device gets, in reals and in 8-bit codes: the variants, what each needs, and tables of devices. What a
// kernel's variant itself needs, and which types it takes, stands in kernels.def.
//
// Figures: PoCL on 2 cores with AVX-512, 14 x 32: 100 to 108 % of OpenBLAS. lavapipe, 16 x 16: 31 to 38 GFLOP/s on 2 cores.
// H100, OpenCL, float32, tiles of 128 x 128 at 4096^3: slices of 16 35.3 TFLOP/s, of 8 31.5, the generic kernel 9.5; one row
// of x by 14336 x 4096 (_thin): 2.9 TB/s in float32, 2.7 in bfloat16, where a copy reaches 3.0.
#include "device/kernels.h"
#include "ops/gemm_int8.h"
#include "ops/rate.h"

#include <string.h>

enum {
    KIND_HOST = 1 << BM_DEVICE_HOST,
    KIND_CPU = 1 << BM_DEVICE_CPU,
    KIND_GPU = 1 << BM_DEVICE_INTEGRATED_GPU | 1 << BM_DEVICE_DISCRETE_GPU,
    KIND_OTHER = 1 << BM_DEVICE_OTHER,
    KIND_ANY = 0xff
};

// choice.gflops is that of a device (bm_rate).
typedef struct gemm_variant {
    const char *backend; // NULL: any
    uint32_t kinds;
    uint32_t min_group, min_shared_bytes;
    bm_gemm_choice choice;
} gemm_variant;

static const gemm_variant real_variants[] = {
    {NULL, KIND_ANY, 0, 0, {"generic", BM_GEMM_ROWS, 0, 64, 8, 0, 0, 0, "the generic kernel", 0}},
    {NULL,
     KIND_GPU | KIND_OTHER,
     256,
     16384,
     {"tile-8", BM_GEMM_ROWS, BM_VARIANT_GEMM_TILE, 256, 8, 8, 0, 0, "tiles of 128 x 128, slices of 8", 0}},
    {NULL,
     KIND_GPU | KIND_OTHER,
     256,
     32768,
     {"tile-16", BM_GEMM_ROWS, BM_VARIANT_GEMM_TILE, 256, 16, 8, 0, 0, "tiles of 128 x 128, slices of 16", 0}},
    {NULL,
     KIND_GPU | KIND_OTHER,
     256,
     24576,
     {"tile-64", BM_GEMM_ROWS, BM_VARIANT_GEMM_TILE, 256, 16, 4, 0, 0, "tiles of 64 x 128, slices of 16", 0}},
    // Matrix units: kernels.def says of which types. Parts of subgroups are 64 x 64, 64 x 32 (8 subgroups), 32 x 64 (tiles of 64).
    {"vulkan",
     KIND_GPU | KIND_OTHER,
     128,
     36864,
     {"matrix", BM_GEMM_ROWS, BM_VARIANT_GEMM_CM, 128, 64, 8, 0, 0, "matrix units, 128 x 128, slices of 64", 0}},
    {"vulkan",
     KIND_GPU | KIND_OTHER,
     128,
     20480,
     {"matrix-32", BM_GEMM_ROWS, BM_VARIANT_GEMM_CM, 128, 32, 8, 0, 0, "matrix units, 128 x 128, slices of 32", 0}},
    {"vulkan",
     KIND_GPU | KIND_OTHER,
     256,
     36864,
     {"matrix-8", BM_GEMM_ROWS, BM_VARIANT_GEMM_CM, 256, 64, 8, 0, 0, "matrix units, 128 x 128 by 8 subgroups", 0}},
    {"vulkan",
     KIND_GPU | KIND_OTHER,
     128,
     27648,
     {"matrix-64", BM_GEMM_ROWS, BM_VARIANT_GEMM_CM, 128, 64, 4, 0, 0, "matrix units, 64 x 128, slices of 64", 0}},
    {"vulkan",
     KIND_GPU | KIND_OTHER,
     256,
     18432,
     {"matrix-64-8", BM_GEMM_ROWS, BM_VARIANT_GEMM_CM, 256, 32, 4, 0, 0,
      "matrix units, 64 x 128 by 8 subgroups, slices of 32", 0}},
    {"vulkan",
     KIND_GPU | KIND_OTHER,
     256,
     20480,
     {"matrix-32-8", BM_GEMM_ROWS, BM_VARIANT_GEMM_CM, 256, 32, 8, 0, 0,
      "matrix units, 128 x 128 by 8 subgroups, slices of 32", 0}},
    // The same of other subgroups: AMD's of 64 (those of 32 are above), Intel's of 16 and of 8, whose registers hold parts of 32 x 32.
    {"vulkan",
     KIND_GPU | KIND_OTHER,
     256,
     20480,
     {"matrix-wave64", BM_GEMM_ROWS, BM_VARIANT_GEMM_CM_16X16_S64, 256, 32, 8, 0, 0,
      "matrix units of subgroups of 64, 128 x 128, slices of 32", 0}},
    {"vulkan",
     KIND_GPU | KIND_OTHER,
     512,
     20480,
     {"matrix-wave64-8", BM_GEMM_ROWS, BM_VARIANT_GEMM_CM_16X16_S64, 512, 32, 8, 0, 0,
      "matrix units of subgroups of 64, 128 x 128 by 8 subgroups", 0}},
    {"vulkan",
     KIND_GPU | KIND_OTHER,
     128,
     15360,
     {"matrix-simd16", BM_GEMM_ROWS, BM_VARIANT_GEMM_CM_8X16_S16, 128, 32, 4, 0, 0,
      "matrix units of subgroups of 16, 64 x 128 by 8 subgroups", 0}},
    {"vulkan",
     KIND_GPU | KIND_OTHER,
     64,
     15360,
     {"matrix-simd8", BM_GEMM_ROWS, BM_VARIANT_GEMM_CM_8X8_S8, 64, 32, 4, 0, 0,
      "matrix units of subgroups of 8, 64 x 128 by 8 subgroups", 0}},
    {"opencl",
     KIND_GPU,
     128,
     32784,
     {"wgmma", BM_GEMM_ROWS, BM_VARIANT_GEMM_WGMMA, 128, 64, 8, 0, 0, "matrix units of warpgroups, 128 x 128", 0}},
    {"opencl",
     KIND_GPU,
     256,
     49152,
     {"mma-256", BM_GEMM_ROWS, BM_VARIANT_GEMM_MMA, 256, 32, 16, 0, 0, "matrix units by mma.sync, 256 x 128", 0}},
    {"opencl",
     KIND_GPU,
     128,
     49152,
     {"mma", BM_GEMM_ROWS, BM_VARIANT_GEMM_MMA, 128, 32, 8, 0, 0, "matrix units by mma.sync, 128 x 128", 0}},
    {"opencl",
     KIND_GPU,
     64,
     49152,
     {"mma-64", BM_GEMM_ROWS, BM_VARIANT_GEMM_MMA, 64, 32, 4, 0, 0, "matrix units by mma.sync, 64 x 128", 0}},
    // CLBlast has tuned parameters for hundreds of devices; where it is absent, our tiles.
    {"opencl",
     KIND_GPU | KIND_OTHER,
     256,
     16384,
     {"library", BM_GEMM_LIBRARY, BM_VARIANT_GEMM_TILE, 256, 8, 8, 0, 0,
      "CLBlast, or tiles of 128 x 128 where it has no product", 0}},
    {"opencl",
     KIND_GPU | KIND_OTHER,
     256,
     24576,
     {"library-64", BM_GEMM_LIBRARY, BM_VARIANT_GEMM_TILE, 256, 16, 4, 0, 0,
      "CLBlast, or tiles of 64 x 128 where it has no product", 0}},
    // 28 sums of 16 numbers, 2 of w and 1 of x fill the 32 registers of AVX-512; 16 x 16 is as fast there, but reads more.
    {"opencl", KIND_CPU, 0, 0, {"panels-14x32", BM_GEMM_PANELS, 0, 1, 0, 14, 32, 0, "panels of 14 x 32", 16}},
    // 6 rows of 16: 12 sums of 8 fill the 16 registers of AVX2, 24 of 4 those of NEON.
    {"opencl", KIND_CPU, 0, 0, {"panels-6x16", BM_GEMM_PANELS, 0, 1, 0, 6, 16, 0, "panels of 6 x 16", 0}},
    {"vulkan", KIND_CPU, 0, 0, {"panels-16x16", BM_GEMM_PANELS, 0, 8, 0, 16, 16, 0, "panels of 16 x 16", 16}},
};

// The first row that fits is taken, unless its variant does not run on the device or does not take the types.
typedef struct device_row {
    const char *backend; // NULL: any
    uint32_t kinds;
    const char *name; // part of the device's name; NULL: any
    uint32_t min_vector_width;
    const char *variant;
} device_row;

static const device_row real_rows[] = {
    // Matrix units, for the types that they take.
    {"vulkan", KIND_GPU | KIND_OTHER, "AMD", 0, "matrix-32-8"}, // slices of 64 spill on RDNA 3
    {"vulkan", KIND_GPU | KIND_OTHER, "RADV", 0, "matrix-32-8"},
    {"vulkan", KIND_GPU | KIND_OTHER, "Intel", 0, "matrix-simd16"},
    {"vulkan", KIND_GPU | KIND_OTHER, "Intel", 0, "matrix-simd8"},
    {"vulkan", KIND_GPU | KIND_OTHER, "Intel", 0, "matrix-64-8"},
    {"vulkan", KIND_GPU | KIND_OTHER, NULL, 0, "matrix"},
    {"opencl", KIND_GPU, NULL, 0, "wgmma"},
    {"opencl", KIND_GPU, NULL, 0, "mma"},
    {"opencl", KIND_CPU, NULL, 16, "panels-14x32"},
    {"opencl", KIND_CPU, NULL, 0, "panels-6x16"},
    {"vulkan", KIND_CPU, NULL, 0, "panels-16x16"},
    {"opencl", KIND_GPU, "NVIDIA", 0, "tile-16"},
    {"vulkan", KIND_GPU, "NVIDIA", 0, "tile-8"}, // slices of 16 are 3 to 7 % slower on an H100
    // Intel's compiler spills 64 sums of a work-item from its registers on every GPU of theirs (docs/performance.md).
    {"opencl", KIND_GPU, "Intel", 0, "library-64"},
    {NULL, KIND_GPU, "Intel", 0, "tile-64"},
    {"opencl", KIND_GPU | KIND_OTHER, NULL, 0, "library"},
    {NULL, KIND_GPU | KIND_OTHER, NULL, 0, "tile-8"},
    {NULL, KIND_ANY, NULL, 0, "generic"}, // small work-groups, little local memory
};

// Variants that stand in for another one of the table where a product is not for many tiles. Of fewer tiles than multiprocessors, some
// of those are left without work: each tile gets more subgroups. H200, 2048 x 1024 x 4096, 128 tiles for 132: 158 TFLOP/s by 4
// subgroups, 241 by 8. Products that add to y in float32 want registers for it. H100, X^T X of 8192 tokens added to 4096 x 4096 float32:
// 0.709 ms by 4 subgroups, which take all 255 registers, 0.541 by 8.
typedef struct use_row {
    const char *variant, *instead;
} use_row;
static const use_row use_rows[] = {{"matrix", "matrix-8"}};

// Products of 8-bit codes. Tiles need the packed dot product: without it their sums do not fit the registers of Intel's older GPUs.
static const gemm_variant int8_variants[] = {
    {NULL, KIND_ANY, 0, 0, {"generic", BM_GEMM_ROWS, 0, 64, 0, 0, 0, 0, "the generic kernel", 0}},
    {NULL,
     KIND_GPU | KIND_OTHER,
     256,
     25088,
     {"dot", BM_GEMM_ROWS, BM_VARIANT_GEMM_INT8_DOT, 256, 0, 0, 0, 0, "tiles of 128 x 128, four codes at once", 0}},
    // Parts of subgroups are 64 x 64, 64 x 32 (8 subgroups).
    {"vulkan",
     KIND_GPU | KIND_OTHER,
     128,
     36864,
     {"matrix", BM_GEMM_ROWS, BM_VARIANT_GEMM_INT8_CM, 128, 0, 0, 0, 0, "matrix units, 128 x 128", 0}},
    {"vulkan",
     KIND_GPU | KIND_OTHER,
     256,
     36864,
     {"matrix-8", BM_GEMM_ROWS, BM_VARIANT_GEMM_INT8_CM, 256, 0, 0, 0, 0, "matrix units, 128 x 128 by 8 subgroups", 0}},
    {"opencl",
     KIND_GPU,
     128,
     32784,
     {"wgmma", BM_GEMM_ROWS, BM_VARIANT_GEMM_INT8_WGMMA, 128, 0, 0, 0, 0, "matrix units of warpgroups, 128 x 128", 0}},
    {"opencl", KIND_CPU, 0, 0, {"panels-14x32", BM_GEMM_PANELS, 0, 1, 0, 14, 32, 0, "panels of 14 x 32", 0}},
    {"opencl", KIND_CPU, 0, 0, {"panels-6x16", BM_GEMM_PANELS, 0, 1, 0, 6, 16, 0, "panels of 6 x 16", 0}},
    {"vulkan", KIND_CPU, 0, 0, {"panels-16x16", BM_GEMM_PANELS, 0, 8, 0, 16, 16, 0, "panels of 16 x 16", 0}},
};

static const device_row int8_rows[] = {
    {"opencl", KIND_CPU, NULL, 16, "panels-14x32"}, {"opencl", KIND_CPU, NULL, 0, "panels-6x16"},
    {"vulkan", KIND_CPU, NULL, 0, "panels-16x16"},  {"vulkan", KIND_GPU, NULL, 0, "matrix"},
    {"opencl", KIND_GPU, NULL, 0, "wgmma"},         {NULL, KIND_GPU | KIND_OTHER, NULL, 0, "dot"},
    {NULL, KIND_ANY, NULL, 0, "generic"}, // small work-groups, little local memory, no packed dot product
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

static bm_work work_of(const choice_table *table, const gemm_variant *variant)
{
    const bm_kernel_variant *needs = &bm_kernel_table[table->id].variants[variant->choice.variant];
    return needs->wgmma                                                       ? BM_WORK_WARPGROUPS
           : needs->matrix.m > 0 || needs->nvidia_mma                         ? BM_WORK_MATRIX_UNITS
           : variant->min_group > 0 || variant->choice.form == BM_GEMM_PANELS ? BM_WORK_TILES
                                                                              : BM_WORK_GENERIC;
}

// The kernel's variant for x and w of these types, of those on matrix units that a device has: there may be one for each type and
// shape of units. NULL: any types.
static bool find_kernel(const choice_table *table, const gemm_variant *variant, bm_device *device,
                        const bm_dtype *types, uint32_t *out)
{
    *out = variant->choice.variant;
    return variant->choice.form == BM_GEMM_PANELS || bm_kernel_find_variant(device, table->id, *out, types, out);
}

// The same for x and w of one type, or that of the table where there is none.
static uint32_t kernel_variant(const choice_table *table, const gemm_variant *variant, bm_device *device, bm_dtype x)
{
    const bm_dtype types[BM_MAX_BUFFERS] = {x, x};
    uint32_t number = 0;
    (void)find_kernel(table, variant, device, types, &number);
    return number;
}

static bool runs_on(const choice_table *table, const gemm_variant *variant, bm_device *device)
{
    const bm_device_info *info = bm_device_get_info(device);
    uint32_t number = 0;
    return (!variant->backend || strcmp(variant->backend, info->backend) == 0) && (variant->kinds >> info->kind & 1) &&
           info->limits.max_group_invocations >= variant->min_group &&
           info->limits.shared_memory_bytes >= variant->min_shared_bytes &&
           (variant->choice.form != BM_GEMM_LIBRARY || bm_device_has_product(device)) &&
           find_kernel(table, variant, device, NULL, &number);
}

// Whether a variant that runs on a device takes x and w of these types there; BM_DTYPE_NONE: of any.
static bool takes(const choice_table *table, const gemm_variant *variant, bm_device *device, bm_dtype x, bm_dtype w)
{
    const bm_dtype types[BM_MAX_BUFFERS] = {x, w};
    uint32_t number = 0;
    return find_kernel(table, variant, device, types, &number);
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

// Whether a comparison found nothing wrong with a variant for x of this type: codes are compared as such.
static bool may_use(const choice_table *table, const char *name, bm_device *device, bm_dtype x, bm_variant_use use)
{
    return bm_device_may_use(device, table->kernel, name, table->id == BM_KERNEL_GEMM ? x : BM_DTYPE_I8, use);
}

// The first variant of the table for this device and types. NULL: there is none.
static const gemm_variant *usual_variant(const choice_table *table, bm_device *device, bm_dtype x, bm_dtype w,
                                         bm_variant_use use)
{
    const bm_device_info *info = bm_device_get_info(device);
    for (const device_row *row = table->rows; row < table->rows + table->num_rows; row++)
        if ((!row->backend || strcmp(row->backend, info->backend) == 0) && (row->kinds >> info->kind & 1) &&
            (!row->name || strstr(info->name, row->name)) && info->limits.vector_width >= row->min_vector_width &&
            may_use(table, row->variant, device, x, use)) {
            const gemm_variant *variant = find_variant(table, row->variant, device, x, w);
            if (variant)
                return variant;
        }
    return NULL;
}

bool bm_gemm_uses_matrix_units(bm_kernel_id kernel, const bm_gemm_choice *choice)
{
    return choice->form != BM_GEMM_PANELS && bm_kernel_uses_matrix_units(kernel, choice->variant);
}

// What stands in for a variant in this use, if anything. A name that the caller gives is obeyed; one of a tuning is for the products
// that it measured, which add to nothing.
static const gemm_variant *variant_for_use(const choice_table *table, const gemm_variant *variant, bm_device *device,
                                           bm_dtype x, bm_dtype w, bm_variant_use use)
{
    char asked[32];
    const char *name = variant->choice.name;
    if (use == BM_USE_MANY_TILES || bm_device_is_named(device, table->kernel, name) ||
        (use == BM_USE_FEW_TILES && bm_device_variant(device, table->kernel, asked, sizeof asked) &&
         strcmp(asked, name) == 0))
        return variant;
    for (const use_row *row = use_rows; row < use_rows + BM_COUNT(use_rows); row++)
        if (strcmp(row->variant, name) == 0 && may_use(table, row->instead, device, x, use)) {
            const gemm_variant *instead = find_variant(table, row->instead, device, x, w);
            return instead ? instead : variant;
        }
    return variant;
}

static bm_gemm_choice choose(const choice_table *table, bm_device *device, bm_dtype x, bm_dtype w, bm_variant_use use)
{
    char asked[32];
    const gemm_variant *variant =
        bm_device_variant(device, table->kernel, asked, sizeof asked) && may_use(table, asked, device, x, use)
            ? find_variant(table, asked, device, x, w)
            : NULL;
    const gemm_variant *usual = usual_variant(table, device, x, w, use);
    // A tuning's name without matrix units is for types that they do not take; where they are slower, the tuning says so too.
    if (variant && usual && !bm_device_is_named(device, table->kernel, asked) &&
        !bm_gemm_uses_matrix_units(table->id, &variant->choice) && bm_gemm_uses_matrix_units(table->id, &usual->choice))
        variant = NULL;
    if (!variant)
        variant = usual ? usual : &table->variants[0];
    variant = variant_for_use(table, variant, device, x, w, use);
    bm_gemm_choice choice = variant->choice;
    choice.variant = kernel_variant(table, variant, device, x);
    choice.gflops = bm_rate(device, work_of(table, variant)) * 1e-9;
    return choice;
}

bm_gemm_choice bm_gemm_choose(bm_device *device)
{
    return choose(&reals, device, BM_DTYPE_NONE, BM_DTYPE_NONE, BM_USE_MANY_TILES);
}

bm_gemm_choice bm_gemm_choose_for(bm_device *device, bm_dtype x, bm_dtype w, bm_variant_use use)
{
    return choose(&reals, device, x, w, use);
}

bm_gemm_choice bm_gemm_int8_choose(bm_device *device)
{
    return choose(&codes, device, BM_DTYPE_NONE, BM_DTYPE_NONE, BM_USE_MANY_TILES);
}
