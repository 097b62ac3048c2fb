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
    {"vulkan",
     KIND_GPU | KIND_OTHER,
     256,
     18432,
     {"matrix-64-8", BM_GEMM_ROWS, BM_VARIANT_GEMM_CM, 256, 32, 4, 0, 200,
      "matrix units, 64 x 128 by 8 subgroups, slices of 32", 0}},
    {"vulkan",
     KIND_GPU | KIND_OTHER,
     256,
     20480,
     {"matrix-32-8", BM_GEMM_ROWS, BM_VARIANT_GEMM_CM, 256, 32, 8, 0, 200,
      "matrix units, 128 x 128 by 8 subgroups, slices of 32", 0}},
    // The same of other subgroups: AMD's of 64 (those of 32 are above), Intel's of 16 and of 8, whose registers hold parts of 32 x 32.
    {"vulkan",
     KIND_GPU | KIND_OTHER,
     256,
     20480,
     {"matrix-wave64", BM_GEMM_ROWS, BM_VARIANT_GEMM_CM_16X16_S64, 256, 32, 8, 0, 200,
      "matrix units of subgroups of 64, 128 x 128, slices of 32", 0}},
    {"vulkan",
     KIND_GPU | KIND_OTHER,
     512,
     20480,
     {"matrix-wave64-8", BM_GEMM_ROWS, BM_VARIANT_GEMM_CM_16X16_S64, 512, 32, 8, 0, 200,
      "matrix units of subgroups of 64, 128 x 128 by 8 subgroups", 0}},
    {"vulkan",
     KIND_GPU | KIND_OTHER,
     128,
     15360,
     {"matrix-simd16", BM_GEMM_ROWS, BM_VARIANT_GEMM_CM_8X16_S16, 128, 32, 4, 0, 200,
      "matrix units of subgroups of 16, 64 x 128 by 8 subgroups", 0}},
    {"vulkan",
     KIND_GPU | KIND_OTHER,
     64,
     15360,
     {"matrix-simd8", BM_GEMM_ROWS, BM_VARIANT_GEMM_CM_8X8_S8, 64, 32, 4, 0, 200,
      "matrix units of subgroups of 8, 64 x 128 by 8 subgroups", 0}},
    {"opencl",
     KIND_GPU,
     128,
     32784,
     {"wgmma", BM_GEMM_ROWS, BM_VARIANT_GEMM_WGMMA, 128, 64, 8, 0, 200, "matrix units of warpgroups, 128 x 128", 0}},
    {"opencl",
     KIND_GPU,
     256,
     49152,
     {"mma-256", BM_GEMM_ROWS, BM_VARIANT_GEMM_MMA, 256, 32, 16, 0, 200, "matrix units by mma.sync, 256 x 128", 0}},
    {"opencl",
     KIND_GPU,
     128,
     49152,
     {"mma", BM_GEMM_ROWS, BM_VARIANT_GEMM_MMA, 128, 32, 8, 0, 200, "matrix units by mma.sync, 128 x 128", 0}},
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
    // Matrix units, for the types that they take.
    {"vulkan", KIND_GPU | KIND_OTHER, "AMD", 0, "matrix-32-8", 0}, // slices of 64 spill on RDNA 3
    {"vulkan", KIND_GPU | KIND_OTHER, "RADV", 0, "matrix-32-8", 0},
    {"vulkan", KIND_GPU | KIND_OTHER, "Intel", 0, "matrix-simd16", 0},
    {"vulkan", KIND_GPU | KIND_OTHER, "Intel", 0, "matrix-simd8", 0},
    {"vulkan", KIND_GPU | KIND_OTHER, "Intel", 0, "matrix-64-8", 0},
    {"vulkan", KIND_GPU | KIND_OTHER, NULL, 0, "matrix", 0},
    {"opencl", KIND_GPU, NULL, 0, "wgmma", 0},
    {"opencl", KIND_GPU, NULL, 0, "mma", 0},
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
};

// Products of fewer tiles than the device has multiprocessors leave some of them without work: there each tile gets more
// subgroups. H200, 2048 x 1024 x 4096, 128 tiles for 132: 158 TFLOP/s by 4 subgroups, 241 by 8.
typedef struct few_tiles_row {
    const char *variant, *few;
} few_tiles_row;
static const few_tiles_row few_tiles_rows[] = {{"matrix", "matrix-8"}};

// Products of 8-bit codes. Tiles need the packed dot product: without it their sums do not fit the registers of Intel's older GPUs.
static const gemm_variant int8_variants[] = {
    {NULL, KIND_ANY, 0, 0, {"generic", BM_GEMM_ROWS, 0, 64, 0, 0, 0, 20, "the generic kernel", 0}},
    {NULL,
     KIND_GPU | KIND_OTHER,
     256,
     25088,
     {"dot", BM_GEMM_ROWS, BM_VARIANT_GEMM_INT8_DOT, 256, 0, 0, 0, 200, "tiles of 128 x 128, four codes at once", 0}},
    // Parts of subgroups are 64 x 64, 64 x 32 (8 subgroups).
    {"vulkan",
     KIND_GPU | KIND_OTHER,
     128,
     36864,
     {"matrix", BM_GEMM_ROWS, BM_VARIANT_GEMM_INT8_CM, 128, 0, 0, 0, 200, "matrix units, 128 x 128", 0}},
    {"vulkan",
     KIND_GPU | KIND_OTHER,
     256,
     36864,
     {"matrix-8", BM_GEMM_ROWS, BM_VARIANT_GEMM_INT8_CM, 256, 0, 0, 0, 200, "matrix units, 128 x 128 by 8 subgroups",
      0}},
    {"opencl",
     KIND_GPU,
     128,
     32784,
     {"wgmma", BM_GEMM_ROWS, BM_VARIANT_GEMM_INT8_WGMMA, 128, 0, 0, 0, 200, "matrix units of warpgroups, 128 x 128",
      0}},
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
    {"vulkan", KIND_GPU, NULL, 0, "matrix", 0},
    {"opencl", KIND_GPU, NULL, 0, "wgmma", 0},
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
static bool may_use(const choice_table *table, const char *name, bm_device *device, bm_dtype x)
{
    return bm_device_may_use(device, table->kernel, name, table->id == BM_KERNEL_GEMM ? x : BM_DTYPE_I8);
}

// The first row for this device and types, or (name not NULL) the first for this variant on it. NULL: there is none.
static const device_row *find_row(const choice_table *table, bm_device *device, const char *name, bm_dtype x,
                                  bm_dtype w)
{
    const bm_device_info *info = bm_device_get_info(device);
    for (const device_row *row = table->rows; row < table->rows + table->num_rows; row++)
        if ((!row->backend || strcmp(row->backend, info->backend) == 0) && (row->kinds >> info->kind & 1) &&
            (!row->name || strstr(info->name, row->name)) && info->limits.vector_width >= row->min_vector_width &&
            (!name || strcmp(row->variant, name) == 0) && may_use(table, row->variant, device, x) &&
            find_variant(table, row->variant, device, x, w))
            return row;
    return NULL;
}

static bm_gemm_choice choice_of(const choice_table *table, const gemm_variant *variant, bm_device *device, bm_dtype x,
                                double from_table)
{
    bm_gemm_choice choice = variant->choice;
    choice.variant = kernel_variant(table, variant, device, x);
    choice.gflops = estimate(bm_device_get_info(device), table, variant, from_table);
    return choice;
}

bool bm_gemm_uses_matrix_units(bm_kernel_id kernel, const bm_gemm_choice *choice)
{
    return choice->form != BM_GEMM_PANELS && bm_kernel_uses_matrix_units(kernel, choice->variant);
}

static bm_gemm_choice choose(const choice_table *table, bm_device *device, bm_dtype x, bm_dtype w)
{
    char asked[32];
    const gemm_variant *variant =
        bm_device_variant(device, table->kernel, asked, sizeof asked) && may_use(table, asked, device, x)
            ? find_variant(table, asked, device, x, w)
            : NULL;
    const device_row *usual = find_row(table, device, NULL, x, w);
    // A tuning's name without matrix units is for types that they do not take; where they are slower, the tuning says so too.
    if (variant && usual && !bm_device_is_named(device, table->kernel, asked) &&
        !bm_gemm_uses_matrix_units(table->id, &variant->choice) &&
        bm_gemm_uses_matrix_units(table->id, &find_variant(table, usual->variant, device, x, w)->choice))
        variant = NULL;
    const device_row *row = variant ? find_row(table, device, asked, x, w) : usual;
    if (!variant && row)
        variant = find_variant(table, row->variant, device, x, w);
    if (!variant)
        variant = &table->variants[0];
    return choice_of(table, variant, device, x, row ? row->gflops : 0);
}

bm_gemm_choice bm_gemm_choose(bm_device *device)
{
    return choose(&reals, device, BM_DTYPE_NONE, BM_DTYPE_NONE);
}

bm_gemm_choice bm_gemm_choose_for(bm_device *device, bm_dtype x, bm_dtype w)
{
    return choose(&reals, device, x, w);
}

bm_gemm_choice bm_gemm_choose_for_few(bm_device *device, bm_dtype x, bm_dtype w)
{
    char asked[32];
    const bm_gemm_choice choice = bm_gemm_choose_for(device, x, w);
    if (bm_device_variant(device, reals.kernel, asked, sizeof asked) && strcmp(asked, choice.name) == 0)
        return choice;
    for (const few_tiles_row *row = few_tiles_rows; row < few_tiles_rows + BM_COUNT(few_tiles_rows); row++)
        if (strcmp(row->variant, choice.name) == 0 && may_use(&reals, row->few, device, x)) {
            const gemm_variant *few = find_variant(&reals, row->few, device, x, w);
            return few ? choice_of(&reals, few, device, x, 0) : choice;
        }
    return choice;
}

bm_gemm_choice bm_gemm_int8_choose(bm_device *device)
{
    return choose(&codes, device, BM_DTYPE_NONE, BM_DTYPE_NONE);
}

// Products that add to y in float32 want registers for it. H100, X^T X of 8192 tokens added to 4096 x 4096 float32: 0.709 ms by
// 4 subgroups, which take all 255 registers, 0.541 by 8.
typedef struct adding_row {
    const char *variant, *adding;
} adding_row;
static const adding_row adding_rows[] = {{"matrix", "matrix-8"}};

bm_gemm_choice bm_gemm_choose_adding(bm_device *device, bm_dtype x, bm_dtype w)
{
    bm_gemm_choice choice = choose(&reals, device, x, w);
    for (const adding_row *row = adding_rows; row < adding_rows + BM_COUNT(adding_rows); row++) {
        const gemm_variant *adding = strcmp(row->variant, choice.name) == 0 && may_use(&reals, row->adding, device, x)
                                         ? find_variant(&reals, row->adding, device, x, w)
                                         : NULL;
        if (adding) {
            const double gflops = choice.gflops;
            choice = adding->choice;
            choice.variant = kernel_variant(&reals, adding, device, x);
            choice.gflops = gflops;
            return choice;
        }
    }
    return choice;
}
