#include "kernels/harness.h"
#include "base/half.h"
#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GUARD_BYTES 256
#define PATTERN 0xffc1ffc1u // NaN as float32, float16 and bfloat16

static const char *const value_names[KERNEL_NUM_VALUES] = {"normal", "zeros", "one huge", "denormals", "ties"};

static void *must(void *memory)
{
    if (!memory)
        abort(); // a test machine without memory
    return memory;
}

double kernel_round(bm_dtype type, double value)
{
    switch ((int)type) {
    case BM_DTYPE_F32:
        return (double)(float)value;
    case BM_DTYPE_F16:
        return bm_f16_to_f32(bm_f64_to_f16(value));
    case BM_DTYPE_BF16:
        return bm_bf16_to_f32(bm_f64_to_bf16(value));
    default:
        return value;
    }
}

uint32_t kernel_groups(uint64_t count, uint32_t group)
{
    return (uint32_t)bm_min_u64(1024, bm_max_u64(1, bm_divide_up(count, group)));
}

static bm_dtype element_type(bm_element element)
{
    static const bm_dtype types[] = {[BM_ELEMENT_REAL] = BM_DTYPE_F32,
                                     [BM_ELEMENT_F32] = BM_DTYPE_F32,
                                     [BM_ELEMENT_U32] = BM_DTYPE_U32,
                                     [BM_ELEMENT_I32] = BM_DTYPE_I32,
                                     [BM_ELEMENT_I8] = BM_DTYPE_I8};
    return types[element];
}

void kernel_shape(kernel_run *run, uint32_t i, uint64_t rows, uint64_t cols)
{
    kernel_matrix *m = &run->buffers[i];
    const uint32_t step = 16 / bm_dtype_size(m->type);
    m->rows = rows;
    m->cols = cols;
    m->stride = bm_round_up(cols, step) + (rows > 1 ? (run->seed + i) % 3 * step : 0);
    m->values = must(bm_alloc_zero(rows * cols, sizeof *m->values));
    m->exact = must(bm_alloc_zero(rows * cols, sizeof *m->exact));
    m->bounds = must(bm_alloc_zero(rows * cols, sizeof *m->bounds));
}

void kernel_tune_wide(kernel_run *run)
{
    // GROUP 1 takes more rounds for large matrices than lavapipe allows.
    const uint32_t few = run->buffers[0].rows * run->buffers[0].cols < 32768 ? 1 : 4;
    const uint32_t pairs[][2] = {{64, 4}, {few, 16}, {128, 4}, {8, 16}};
    const uint64_t turn = run->seed / 1000 + run->seed / 10 + run->seed; // other cases, types and values, other pairs
    // Instruments on lavapipe call every write of groups smaller than its vectors out of bounds; only OpenCL has them.
    const uint64_t pair = support_is_instrumented() ? turn % 2 * 2 : turn % BM_COUNT(pairs);
    memcpy(run->tunables, pairs[pair], sizeof pairs[0]);
}

void kernel_scalars(kernel_run *run, const void *scalars, uint32_t size)
{
    memcpy(run->scalars, scalars, size);
}

void kernel_set(kernel_run *run, uint32_t i, uint64_t index, double value)
{
    run->buffers[i].values[index] = kernel_round(run->buffers[i].type, value);
}

void kernel_fill(kernel_run *run, uint32_t i, double scale)
{
    const kernel_matrix *m = &run->buffers[i];
    const uint64_t count = m->rows * m->cols;
    const double tiny = m->type == BM_DTYPE_F16 ? 0x1p-24 : m->type == BM_DTYPE_BF16 ? 0x1p-133 : 0x1p-149;
    const double tie = m->type == BM_DTYPE_F32 ? 0x1p-12 : 0x1p-6; // of float16, which bfloat16 rounds too
    const uint64_t huge = bm_random_below(&run->random, (uint32_t)count);
    for (uint64_t k = 0; k < count; k++) {
        const double normal = bm_random_normal(&run->random);
        double value = normal * scale;
        switch (run->kind) {
        case KERNEL_ZEROS:
            value = 0;
            break;
        case KERNEL_ONE_HUGE:
            value = k == huge ? copysign(4000 * scale, normal) : value;
            break;
        case KERNEL_DENORMALS:
            value = copysign(tiny * (1 + bm_random_below(&run->random, 100)), normal);
            break;
        case KERNEL_TIES: // odd multiples of tie behind 1, 2, 4, and x.5
            value = k % 4 == 3
                        ? copysign(bm_random_below(&run->random, 8) + 0.5, normal)
                        : copysign(ldexp(1 + tie * (2 * bm_random_below(&run->random, 16) + 1), (int)(k % 3)), normal);
            break;
        case KERNEL_NORMAL:
        case KERNEL_NUM_VALUES:
        default:
            break;
        }
        kernel_set(run, i, k, value);
    }
}

void kernel_fill_integers(kernel_run *run, uint32_t i, int64_t lowest, int64_t highest)
{
    const kernel_matrix *m = &run->buffers[i];
    for (uint64_t k = 0; k < m->rows * m->cols; k++)
        m->values[k] = (double)(lowest + (int64_t)(bm_random_double(&run->random) * (double)(highest - lowest + 1)));
}

void kernel_run_create(kernel_run *run, const kernel_operation *operation, uint32_t case_index, const bm_dtype *types,
                       kernel_values kind, uint64_t seed)
{
    *run = (kernel_run){.operation = operation,
                        .info = &bm_kernel_table[operation->kernel],
                        .shape = operation->cases[case_index].shape,
                        .kind = kind,
                        .seed = seed,
                        .groups = {1, 1, 1}};
    bm_random_init(&run->random, seed, operation->kernel);
    for (uint32_t i = 0, real = 0; i < run->info->num_buffers; i++)
        run->buffers[i].type = run->info->buffers[i].element == BM_ELEMENT_REAL
                                   ? types[real++]
                                   : element_type(run->info->buffers[i].element);
    operation->make(run);
}

void kernel_run_destroy(kernel_run *run)
{
    for (uint32_t i = 0; i < BM_MAX_BUFFERS; i++) {
        bm_free(run->buffers[i].values);
        bm_free(run->buffers[i].exact);
        bm_free(run->buffers[i].bounds);
    }
    *run = (kernel_run){0};
}

static void store(bm_dtype type, uint8_t *bytes, uint64_t i, double value)
{
    switch ((int)type) {
    case BM_DTYPE_F64:
        memcpy(bytes + 8 * i, &value, 8);
        break;
    case BM_DTYPE_F32:
        memcpy(bytes + 4 * i, &(float){(float)value}, 4);
        break;
    case BM_DTYPE_F16:
        bm_store_le16(bytes + 2 * i, bm_f64_to_f16(value));
        break;
    case BM_DTYPE_BF16:
        bm_store_le16(bytes + 2 * i, bm_f64_to_bf16(value));
        break;
    case BM_DTYPE_U32:
        bm_store_le32(bytes + 4 * i, (uint32_t)value);
        break;
    case BM_DTYPE_I32:
        bm_store_le32(bytes + 4 * i, (uint32_t)(int32_t)value);
        break;
    case BM_DTYPE_I8:
        bytes[i] = (uint8_t)(int8_t)value;
        break;
    default:
        abort();
    }
}

static double load(bm_dtype type, const uint8_t *bytes, uint64_t i)
{
    double wide = 0;
    float single = 0;
    switch ((int)type) {
    case BM_DTYPE_F64:
        memcpy(&wide, bytes + 8 * i, 8);
        return wide;
    case BM_DTYPE_F32:
        memcpy(&single, bytes + 4 * i, 4);
        return single;
    case BM_DTYPE_F16:
        return bm_f16_to_f32(bm_load_le16(bytes + 2 * i));
    case BM_DTYPE_BF16:
        return bm_bf16_to_f32(bm_load_le16(bytes + 2 * i));
    case BM_DTYPE_U32:
        return bm_load_le32(bytes + 4 * i);
    case BM_DTYPE_I32:
        return (int32_t)bm_load_le32(bytes + 4 * i);
    case BM_DTYPE_I8:
        return (int8_t)bytes[i];
    default:
        abort();
    }
}

// The bytes of one argument with its guards: guard, rows, guard, all pattern where no element is.
typedef struct argument_image {
    bm_dtype type;
    uint64_t size; // with both guards
    uint8_t *before, *after;
    bm_buffer *buffer;
} argument_image;

static void image_create(argument_image *image, const kernel_matrix *m, const bm_kernel_buffer *info, bool wide)
{
    image->type = wide && info->element == BM_ELEMENT_REAL ? BM_DTYPE_F64 : m->type;
    const uint32_t size = bm_dtype_size(image->type);
    image->size = 2 * GUARD_BYTES + bm_round_up(m->rows * m->stride * size, BM_VIEW_ALIGNMENT);
    image->before = must(bm_alloc(image->size, 1));
    image->after = must(bm_alloc(image->size, 1));
    for (uint64_t k = 0; k + 4 <= image->size; k += 4)
        bm_store_le32(image->before + k, PATTERN);
    if (info->reads)
        for (uint64_t r = 0; r < m->rows; r++)
            for (uint64_t c = 0; c < m->cols; c++)
                store(image->type, image->before + GUARD_BYTES, r * m->stride + c, m->values[r * m->cols + c]);
}

// What must not have changed: all of a pure input, the guards of the others.
static bm_status image_check(const argument_image *image, const bm_kernel_buffer *info, bm_error *err)
{
    for (uint64_t k = 0; k < image->size; k++) {
        const bool guarded = !info->writes || k < GUARD_BYTES || k >= image->size - GUARD_BYTES;
        if (guarded && image->before[k] != image->after[k])
            return bm_fail(err, BM_E_INTERNAL, "%s: byte %lld of the matrix was changed (%s)", info->name,
                           (long long)k - GUARD_BYTES, info->writes ? "guard" : "input");
    }
    return BM_OK;
}

bm_status kernel_run_execute(bm_device *device, const kernel_run *run, bool wide, double *out[BM_MAX_BUFFERS],
                             bm_error *err)
{
    bm_status status = BM_OK;
    argument_image images[BM_MAX_BUFFERS] = {0};
    bm_call call = {.kernel = run->operation->kernel,
                    .variant = run->variant,
                    .scalars = run->scalars,
                    .groups = {run->groups[0], run->groups[1], run->groups[2]}};
    memcpy(call.tunables, run->tunables, sizeof call.tunables);
    for (uint32_t i = 0; i < BM_MAX_BUFFERS; i++)
        out[i] = NULL;
    for (uint32_t i = 0; i < run->info->num_buffers; i++) {
        if (run->buffers[i].absent)
            continue;
        image_create(&images[i], &run->buffers[i], &run->info->buffers[i], wide);
        BM_TRY(bm_buffer_create(device, images[i].size, run->info->buffers[i].name, &images[i].buffer, err));
        const bm_view whole = bm_buffer_view(images[i].buffer);
        BM_TRY(bm_upload(device, whole, images[i].before, images[i].size, err));
        call.buffers[i] = bm_view_part(whole, GUARD_BYTES, images[i].size - 2 * GUARD_BYTES);
        call.types[i] = images[i].type;
    }
    BM_TRY(bm_dispatch(device, &call, err));
    for (uint32_t i = 0; i < run->info->num_buffers; i++)
        if (images[i].buffer)
            BM_TRY(bm_download(device, bm_buffer_view(images[i].buffer), images[i].after, images[i].size, err));
    BM_TRY(bm_device_wait(device, err));
    for (uint32_t i = 0; i < run->info->num_buffers; i++) {
        const kernel_matrix *m = &run->buffers[i];
        if (!images[i].buffer)
            continue;
        BM_TRY(image_check(&images[i], &run->info->buffers[i], err));
        if (!run->info->buffers[i].writes)
            continue;
        out[i] = must(bm_alloc(m->rows * m->cols, sizeof *out[i]));
        for (uint64_t r = 0; r < m->rows; r++)
            for (uint64_t c = 0; c < m->cols; c++)
                out[i][r * m->cols + c] = load(images[i].type, images[i].after + GUARD_BYTES, r * m->stride + c);
    }
done:
    for (uint32_t i = 0; i < BM_MAX_BUFFERS; i++) {
        bm_buffer_destroy(&images[i].buffer);
        bm_free(images[i].before);
        bm_free(images[i].after);
    }
    if (status != BM_OK)
        for (uint32_t i = 0; i < BM_MAX_BUFFERS; i++) {
            bm_free(out[i]);
            out[i] = NULL;
        }
    return status;
}

static void free_outputs(double *out[BM_MAX_BUFFERS])
{
    for (uint32_t i = 0; i < BM_MAX_BUFFERS; i++) {
        bm_free(out[i]);
        out[i] = NULL;
    }
}

// Everything needed to run the same again.
static void print_run(const kernel_run *run, const char *device, const char *label)
{
    printf("  kernel %s%s on %s, shape", run->info->name, run->info->variants[run->variant].suffix, device);
    for (uint32_t i = 0; i < KERNEL_MAX_SHAPE && (i == 0 || run->shape[i] != 0); i++)
        printf(" %u", run->shape[i]);
    printf(" (%s), types", label);
    for (uint32_t i = 0; i < run->info->num_buffers; i++)
        printf(" %s:%s/%llu", run->info->buffers[i].name,
               run->buffers[i].absent ? "-" : bm_dtype_name(run->buffers[i].type),
               (unsigned long long)run->buffers[i].stride);
    printf(", values %s, seed %llu, groups %u %u %u, tunables", value_names[run->kind], (unsigned long long)run->seed,
           run->groups[0], run->groups[1], run->groups[2]);
    for (uint32_t i = 0; i < run->info->num_tunables; i++)
        printf(" %s=%u", run->info->tunable_names[i],
               run->tunables[i] ? run->tunables[i] : run->info->tunable_defaults[i]);
    printf("\n");
}

// What is allowed beside the bound of an element: a device may flush what is denormal, and the exact result of an f32
// buffer was itself rounded to float32. An exact operation is allowed nothing; one that computes, the flush of a
// denormal result.
static double slack(const kernel_run *run, bm_element element, double exact, bool flushes)
{
    if (element != BM_ELEMENT_REAL && element != BM_ELEMENT_F32)
        return 0;
    const double flush = flushes ? KERNEL_FLUSH : 0;
    if (run->operation->exact)
        return run->operation->computes && fabs(exact) < KERNEL_FLUSH ? flush : 0;
    return flush + (element == BM_ELEMENT_F32 ? KERNEL_EPSILON * fabs(exact) : 0);
}

// Compares got with exact in every written buffer; scale is what the bounds are multiplied by. wide: `real` buffers
// were stored as float64, which rounds nothing.
static bool compare(const kernel_run *run, double *const *got, double *const *exact, double scale, bool wide,
                    const bm_device *device, const char *label)
{
    bool good = true;
    const bool flushes = !bm_device_is_host(device);
    for (uint32_t i = 0; i < run->info->num_buffers; i++) {
        if (!got[i])
            continue;
        const kernel_matrix *m = &run->buffers[i];
        const bm_element element = run->info->buffers[i].element;
        const bm_dtype type = wide && element == BM_ELEMENT_REAL ? BM_DTYPE_F64 : m->type;
        uint64_t num_wrong = 0, first = 0, num_excused = 0;
        for (uint64_t k = 0; k < m->rows * m->cols; k++) {
            const double bound = scale * m->bounds[k] + slack(run, element, exact[i][k], flushes);
            if (got[i][k] >= kernel_round(type, exact[i][k] - bound) &&
                got[i][k] <= kernel_round(type, exact[i][k] + bound))
                continue;
            if (run->operation->excused && run->operation->excused(run, i, k, got[i][k], exact[i][k])) {
                num_excused++;
                continue;
            }
            if (num_wrong++ == 0)
                first = k;
        }
        if (num_excused)
            printf("  note: %s.%s: %llu of %llu elements at a rounding boundary\n", run->info->name,
                   run->info->buffers[i].name, (unsigned long long)num_excused,
                   (unsigned long long)(m->rows * m->cols));
        if (num_wrong) {
            print_run(run, wide ? "host with float64 against the formula" : bm_device_get_info(device)->name, label);
            printf("  %s[%llu, %llu]: got %.9g, want %.9g, bound %.3g; %llu of %llu elements wrong\n",
                   run->info->buffers[i].name, (unsigned long long)(first / m->cols),
                   (unsigned long long)(first % m->cols), got[i][first], exact[i][first], scale * m->bounds[first],
                   (unsigned long long)num_wrong, (unsigned long long)(m->rows * m->cols));
            good = false;
        }
    }
    return good;
}

static bool print_failure(const kernel_run *run, const char *device, const char *label, const bm_error *err)
{
    print_run(run, device, label);
    printf("  %s: %s\n", bm_status_name(err->status), err->message);
    return false;
}

// Sets exact by the host kernel with float64 storage, then the bounds; with_formula checks it against the formula.
static bool make_exact(kernel_run *run, bm_device *host, bool with_formula, const char *label)
{
    bm_error err = {0};
    double *exact[BM_MAX_BUFFERS], *formula[BM_MAX_BUFFERS] = {0};
    if (kernel_run_execute(host, run, true, exact, &err) != BM_OK)
        return print_failure(run, "host", label, &err);
    for (uint32_t i = 0; i < run->info->num_buffers; i++)
        if (exact[i])
            memcpy(run->buffers[i].exact, exact[i], run->buffers[i].rows * run->buffers[i].cols * sizeof *exact[i]);
    if (run->operation->bound)
        run->operation->bound(run);
    bool good = true;
    if (with_formula && run->operation->reference) {
        for (uint32_t i = 0; i < run->info->num_buffers; i++)
            if (exact[i]) {
                const uint64_t count = run->buffers[i].rows * run->buffers[i].cols;
                formula[i] = must(bm_alloc(count, sizeof *formula[i]));
                memcpy(formula[i], run->buffers[i].values, count * sizeof *formula[i]);
            }
        run->operation->reference(run, formula);
        good = compare(run, exact, formula, 0x1p-24, true, host, label);
    }
    free_outputs(formula);
    free_outputs(exact);
    return good;
}

// Runs once and compares; with repeat, the same call again must give the same bits.
static bool check_once(bm_device *device, const kernel_run *run, bool repeat, const char *label)
{
    bm_error err = {0};
    const char *name = bm_device_get_info(device)->name;
    double *got[BM_MAX_BUFFERS], *again[BM_MAX_BUFFERS] = {0};
    double *exact[BM_MAX_BUFFERS];
    for (uint32_t i = 0; i < BM_MAX_BUFFERS; i++)
        exact[i] = run->buffers[i].exact;
    if (kernel_run_execute(device, run, false, got, &err) != BM_OK)
        return print_failure(run, name, label, &err);
    const bool on_matrix_units = bm_kernel_uses_matrix_units(run->operation->kernel, run->variant);
    bool good = compare(run, got, exact, on_matrix_units ? KERNEL_MATRIX_WIDTH : 1, false, device, label);
    if (good && repeat && kernel_run_execute(device, run, false, again, &err) != BM_OK)
        good = print_failure(run, name, label, &err);
    for (uint32_t i = 0; good && repeat && i < run->info->num_buffers; i++)
        if (got[i] && memcmp(got[i], again[i], run->buffers[i].rows * run->buffers[i].cols * sizeof *got[i]) != 0) {
            print_run(run, name, label);
            printf("  %s: the same call gave other bits\n", run->info->buffers[i].name);
            good = false;
        }
    free_outputs(again);
    free_outputs(got);
    return good;
}

// All float32, all float16, all bfloat16, and mixtures, where the description names no sets of its own.
static uint32_t default_type_sets(const bm_kernel_info *info, bm_dtype sets[KERNEL_MAX_TYPE_SETS][BM_MAX_BUFFERS])
{
    static const bm_dtype types[] = {BM_DTYPE_F32, BM_DTYPE_F16, BM_DTYPE_BF16};
    uint32_t num_reals = 0;
    for (uint32_t i = 0; i < info->num_buffers; i++)
        num_reals += info->buffers[i].element == BM_ELEMENT_REAL;
    for (uint32_t set = 0; set < 3; set++)
        for (uint32_t i = 0; i < num_reals; i++) {
            sets[set][i] = types[set];
            sets[3][i] = types[i % 3];       // float32 in, others out
            sets[4][i] = types[(i + 2) % 3]; // bfloat16 in, others out
        }
    return num_reals == 0 ? 1 : num_reals == 1 ? 3 : 5;
}

static uint32_t count_type_sets(const kernel_operation *operation)
{
    uint32_t count = 0;
    while (count < KERNEL_MAX_TYPE_SETS && operation->type_sets[count][0] != BM_DTYPE_NONE)
        count++;
    return count;
}

// In a table of matrices by hand (test_kernels_by_hand) their variants alone: the others are as in the usual table.
static bool takes(const kernel_run *run)
{
    const bool is_by_hand = bm_kernel_table[BM_KERNEL_GEMM].variants[BM_VARIANT_GEMM_CM].subgroup_size == 0;
    bm_dtype types[BM_MAX_BUFFERS];
    if (is_by_hand && !bm_kernel_uses_matrix_units(run->operation->kernel, run->variant))
        return false;
    for (uint32_t i = 0; i < BM_MAX_BUFFERS; i++)
        types[i] = run->buffers[i].type;
    return bm_kernel_takes(run->operation->kernel, run->variant, types) &&
           (!run->operation->takes || run->operation->takes(run));
}

// One case with one set of types: every kind of values, every variant, other numbers of groups, another GROUP.
static bool check_case(const kernel_operation *operation, uint32_t case_index, const bm_dtype *types,
                       uint32_t set_index, bm_device *device, bm_device *host, uint64_t *num_runs)
{
    static const uint32_t other_groups[] = {0, 1, 3}; // 0: what make chose
    const kernel_case *one = &operation->cases[case_index];
    const bm_kernel_info *info = &bm_kernel_table[operation->kernel];
    bool good = true;
    for (uint32_t kind = 0; kind < KERNEL_NUM_VALUES && good; kind++) {
        if (operation->skips_values[kind] || (kind != KERNEL_NORMAL && (one->only_normal || support_is_interpreted())))
            continue;
        kernel_run run;
        const uint64_t seed = 1000 * (uint64_t)case_index + 10 * (uint64_t)set_index + kind;
        kernel_run_create(&run, operation, case_index, types, (kernel_values)kind, seed);
        run.shared_memory_bytes = bm_device_get_info(device)->limits.shared_memory_bytes;
        good = make_exact(&run, host, bm_device_is_host(device), one->label);
        const uint32_t groups = run.groups[0], tunable = run.tunables[0];
        for (run.variant = 0; run.variant < info->num_variants && good; run.variant++) {
            if (!bm_kernel_has_variant(device, operation->kernel, run.variant) || !takes(&run))
                continue;
            if (operation->tune)
                operation->tune(&run);
            if (operation->bound && bm_kernel_uses_matrix_units(operation->kernel, run.variant))
                operation->bound(&run);
            if (!operation->fixed_groups && other_groups[(seed / 10 + kind) % 3] != 0)
                run.groups[0] = other_groups[(seed / 10 + kind) % 3];
            good = check_once(device, &run, kind == KERNEL_NORMAL, one->label);
            ++*num_runs;
            run.groups[0] = groups;
            const uint32_t usual = info->tunable_defaults[0];
            if (good && set_index == 0 && kind == KERNEL_NORMAL && !operation->fixed_groups && run.variant == 0 &&
                !bm_device_is_host(device) && tunable == 0 && !operation->tune) {
                run.tunables[0] =
                    2 * usual <= bm_device_get_info(device)->limits.max_group_invocations ? 2 * usual : usual / 2;
                good = check_once(device, &run, false, one->label);
                ++*num_runs;
                run.tunables[0] = tunable;
            }
        }
        kernel_run_destroy(&run);
    }
    return good;
}

enum { INTERPRETED_CASES = 4 }; // the first of each operation are small

bool kernel_operation_check(const kernel_operation *operation, bm_device *device, bm_device *host)
{
    const bm_kernel_info *info = &bm_kernel_table[operation->kernel];
    bm_dtype defaults[KERNEL_MAX_TYPE_SETS][BM_MAX_BUFFERS] = {{BM_DTYPE_NONE}};
    uint32_t num_sets = count_type_sets(operation);
    const bm_dtype(*sets)[BM_MAX_BUFFERS] = operation->type_sets;
    if (num_sets == 0) {
        num_sets = default_type_sets(info, defaults);
        sets = (const bm_dtype(*)[BM_MAX_BUFFERS])defaults;
    }
    uint64_t num_runs = 0;
    bool good = true;
    for (uint32_t i = 0; i < KERNEL_MAX_CASES && operation->cases[i].label; i++) {
        if (i >= INTERPRETED_CASES && support_is_interpreted()) {
            printf("  %s: \"%s\" is left out under an interpreter\n", info->name, operation->cases[i].label);
            continue;
        }
        if (operation->long_loops[i] && support_is_instrumented()) {
            printf("  %s: \"%s\" is left out under GPU-assisted validation\n", info->name, operation->cases[i].label);
            continue;
        }
        for (uint32_t set = 0; set < num_sets; set++) // a failure ends its case, not the others: each is printed once
            good &= check_case(operation, i, sets[set], set, device, host, &num_runs);
    }
    printf("  %s: %llu runs\n", info->name, (unsigned long long)num_runs);
    return good;
}
