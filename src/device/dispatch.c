// Dispatches: every argument is checked here, once, against limits and kernels.def; backends rely on it. Parallel sections
// and the names for the status word too.
#include "device/profile.h"

#include <stdio.h>
#include <string.h>

// The one place where what variants need meets what devices have.
static bool meets_needs(const bm_device_limits *limits, const bm_kernel_variant *variant)
{
    const bm_matrix_shape *need = &variant->matrix;
    const uint32_t size = variant->subgroup_size;
    bool has_matrix = need->m == 0;
    for (uint32_t i = 0; i < limits->num_matrix_shapes && !has_matrix; i++) {
        const bm_matrix_shape *shape = &limits->matrix_shapes[i];
        has_matrix = shape->m == need->m && shape->n == need->n && shape->k == need->k &&
                     shape->component == need->component && shape->sum == need->sum;
    }
    return has_matrix && (!variant->int8_dot || limits->int8_dot) && (!variant->wgmma || limits->wgmma) &&
           (!variant->nvidia_mma || limits->nvidia_mma) &&
           (size == 0 ||
            (limits->min_subgroup_size > 0 && size >= limits->min_subgroup_size && size <= limits->max_subgroup_size));
}

bool bm_kernel_needs_are_met(const bm_device_limits *limits, bm_kernel_id kernel, uint32_t variant)
{
    return meets_needs(limits, &bm_kernel_table[kernel].variants[variant]);
}

bool bm_kernel_uses_matrix_units(bm_kernel_id kernel, uint32_t variant)
{
    const bm_kernel_variant *needs = &bm_kernel_table[kernel].variants[variant];
    return needs->matrix.m > 0 || needs->wgmma || needs->nvidia_mma;
}

bool bm_kernel_has_variant(const bm_device *device, bm_kernel_id kernel, uint32_t variant)
{
    return (uint32_t)kernel < BM_NUM_KERNELS && variant < bm_kernel_table[kernel].num_variants &&
           meets_needs(&device->info.limits, &bm_kernel_table[kernel].variants[variant]) &&
           device->backend->has_variant(device, kernel, variant);
}

bool bm_kernel_takes(bm_kernel_id kernel, uint32_t variant, const bm_dtype types[BM_MAX_BUFFERS])
{
    const bm_kernel_info *info = &bm_kernel_table[kernel];
    const bm_kernel_variant *needs = &info->variants[variant];
    bm_dtype wanted = needs->matrix.m > 0 ? needs->matrix.component : BM_DTYPE_NONE; // NONE: that of the first input
    for (uint32_t i = 0; i < info->num_buffers && bm_kernel_uses_matrix_units(kernel, variant); i++) {
        const bm_kernel_buffer *buffer = &info->buffers[i];
        if (buffer->element != BM_ELEMENT_REAL || buffer->writes || buffer->optional)
            continue;
        wanted = wanted == BM_DTYPE_NONE ? types[i] : wanted;
        if (types[i] != wanted || (needs->matrix.m == 0 && types[i] != BM_DTYPE_F16 && types[i] != BM_DTYPE_BF16))
            return false;
    }
    return true;
}

bool bm_kernel_find_variant(const bm_device *device, bm_kernel_id kernel, uint32_t like, const bm_dtype *types,
                            uint32_t *out)
{
    const bm_kernel_info *info = &bm_kernel_table[kernel];
    const bm_kernel_variant *wanted = &info->variants[like];
    for (uint32_t i = wanted->source; i < info->num_variants; i++)
        if (info->variants[i].source == wanted->source && info->variants[i].lanes == wanted->lanes &&
            (!types || bm_kernel_takes(kernel, i, types)) && bm_kernel_has_variant(device, kernel, i)) {
            *out = i;
            return true;
        }
    return false;
}

// Fills the defaults of tunables and checks what a pipeline depends on.
static bm_status check_pipeline(const bm_device *device, bm_call *call, bm_error *err)
{
    if ((uint32_t)call->kernel >= BM_NUM_KERNELS)
        return bm_fail(err, BM_E_ARGUMENT, "dispatch: no kernel %u", (unsigned)call->kernel);
    const bm_kernel_info *info = &bm_kernel_table[call->kernel];
    if (!bm_kernel_has_variant(device, call->kernel, call->variant))
        return bm_fail(err, BM_E_ARGUMENT, "%s: variant %u is not on %s", info->name, call->variant,
                       device->info.backend);
    for (uint32_t i = 0; i < info->num_tunables; i++)
        if (call->tunables[i] == 0)
            call->tunables[i] = info->tunable_defaults[i];
    if (call->tunables[0] > device->info.limits.max_group_invocations)
        return bm_fail(err, BM_E_ARGUMENT, "%s: GROUP %u, the device allows %u", info->name, call->tunables[0],
                       device->info.limits.max_group_invocations);
    for (uint32_t i = 0; i < info->num_buffers; i++) {
        if (info->buffers[i].element != BM_ELEMENT_REAL)
            call->types[i] = BM_DTYPE_NONE;
        else if (call->types[i] == BM_DTYPE_NONE && info->buffers[i].optional)
            call->types[i] = BM_DTYPE_F32;
        else if (!bm_device_is_real(device, call->types[i]))
            return bm_fail(err, BM_E_ARGUMENT, "%s: %s: storage type %s, expected F32, F16 or BF16", info->name,
                           info->buffers[i].name, bm_dtype_name(call->types[i]));
    }
    if (!bm_kernel_takes(call->kernel, call->variant, call->types))
        return bm_fail(err, BM_E_ARGUMENT, "%s%s: inputs of other types than %s", info->name,
                       info->variants[call->variant].suffix,
                       info->variants[call->variant].matrix.m == 0
                           ? "F16 alone or BF16 alone"
                           : bm_dtype_name(info->variants[call->variant].matrix.component));
    return BM_OK;
}

static bm_status check_call(const bm_device *device, bm_call *call, bm_error *err)
{
    bm_status status = check_pipeline(device, call, err);
    if (status != BM_OK)
        return status;
    const bm_kernel_info *info = &bm_kernel_table[call->kernel];
    for (uint32_t i = 0; i < info->num_buffers; i++) {
        if (!call->buffers[i].buffer && info->buffers[i].optional)
            continue;
        status = bm_device_check_view(device, call->buffers[i], info->name, info->buffers[i].name, err);
        if (status != BM_OK)
            return status;
    }
    for (uint32_t d = 0; d < 3; d++)
        if (call->groups[d] == 0 || call->groups[d] > device->info.limits.max_groups[d])
            return bm_fail(err, BM_E_ARGUMENT, "%s: %u work-groups in dimension %u, the device allows 1..%u",
                           info->name, call->groups[d], d, device->info.limits.max_groups[d]);
    if (info->scalar_bytes > 0 && !call->scalars)
        return bm_fail(err, BM_E_ARGUMENT, "%s: no scalars", info->name);
    return BM_OK;
}

// In a parallel section no dispatch may touch what another one writes.
static bm_status check_parallel(bm_device *device, const bm_call *call, bm_error *err)
{
    const bm_kernel_info *info = &bm_kernel_table[call->kernel];
    const uint32_t before = device->num_uses;
    for (uint32_t i = 0; i < info->num_buffers; i++) {
        if (!call->buffers[i].buffer)
            continue;
        for (uint32_t k = 0; k < before; k++)
            if ((device->uses[k].written || info->buffers[i].writes) &&
                bm_views_overlap(device->uses[k].view, call->buffers[i]))
                return bm_fail(err, BM_E_ARGUMENT, "%s: %s: touches what another dispatch of the section writes",
                               info->name, info->buffers[i].name);
        if (device->num_uses == device->max_uses) {
            const uint32_t max_uses = device->max_uses ? 2 * device->max_uses : 64;
            struct bm_parallel_use *uses = bm_resize(device->uses, max_uses, sizeof *uses);
            if (!uses)
                return bm_fail(err, BM_E_MEMORY, "out of memory");
            device->uses = uses;
            device->max_uses = max_uses;
        }
        device->uses[device->num_uses++] = (struct bm_parallel_use){call->buffers[i], info->buffers[i].writes};
    }
    return BM_OK;
}

// Remembers the subject of a dispatch for the status word. When the table is full, what was recorded is waited for and the
// table begun anew: a report never loses its name.
static bm_status remember_subject(bm_device *device, const bm_call *call, uint32_t *out, bm_error *err)
{
    const char *subject = call->subject ? call->subject : bm_kernel_table[call->kernel].name;
    for (uint32_t i = device->num_subjects; i > 0; i--)
        if (strncmp(device->subjects[i - 1], subject, sizeof device->subjects[0] - 1) == 0) {
            *out = i;
            return BM_OK;
        }
    if (device->num_subjects == BM_MAX_SUBJECTS) {
        const bm_status status = bm_device_drain(device, err);
        if (status != BM_OK)
            return status;
    }
    snprintf(device->subjects[device->num_subjects], sizeof device->subjects[0], "%s", subject);
    *out = ++device->num_subjects;
    return BM_OK;
}

// Drivers end a submission that takes too long (some after two seconds), however short each of its dispatches is.
static bm_status make_way(bm_device *device, double seconds, bm_error *err)
{
    const bool is_too_long = device->recorded_seconds > 0 && device->recorded_seconds + seconds > BM_BATCH_SECONDS;
    return is_too_long && !device->in_parallel ? bm_device_submit(device, err) : BM_OK;
}

static bm_status count_work(bm_device *device, double seconds, bm_error *err)
{
    device->recorded_seconds += seconds;
    return ++device->num_recorded >= device->auto_submit && !device->in_parallel ? bm_device_submit(device, err)
                                                                                 : BM_OK;
}

static bm_status record_call(bm_device *device, const bm_call *call, bm_error *err)
{
    if (device->lost)
        return bm_device_check_lost(device, err);
    bm_call checked = *call;
    uint32_t subject = 0;
    bm_status status = check_call(device, &checked, err);
    if (status == BM_OK && device->profile)
        status = bm_profile_make_room(device, err);
    if (status == BM_OK && bm_kernel_table[call->kernel].reports)
        status = remember_subject(device, call, &subject, err); // may wait: before the uses of this call are noted
    const uint32_t num_uses = device->num_uses;
    if (status == BM_OK && device->in_parallel)
        status = check_parallel(device, &checked, err);
    if (status == BM_OK)
        status = make_way(device, call->seconds, err);
    if (status == BM_OK && device->profile)
        status = bm_profile_before(device, &checked, err);
    if (status == BM_OK)
        status = device->backend->dispatch(device, &checked, subject, !device->in_parallel, err);
    if (status == BM_OK && device->profile)
        status = bm_profile_after(device, err);
    if (status != BM_OK) {
        device->num_uses = num_uses; // what was refused uses nothing
        return status;
    }
    return count_work(device, call->seconds, err);
}

bm_status bm_dispatch(bm_device *device, const bm_call *call, bm_error *err)
{
    return bm_device_finish_on_failure(device, record_call(device, call, err));
}

bm_status bm_device_compile(bm_device *device, const bm_call *call, bm_compile_report *out, bm_error *err)
{
    bm_call checked = *call;
    *out = (bm_compile_report){BM_COMPILE_UNKNOWN, BM_COMPILE_UNKNOWN, BM_COMPILE_UNKNOWN, BM_COMPILE_UNKNOWN, 0,
                               {{{0}, 0}}};
    if (device->lost)
        return bm_device_check_lost(device, err);
    if (!device->backend->compile)
        return bm_fail(err, BM_E_UNSUPPORTED, "%s compiles nothing", device->info.name);
    const bm_status status = check_pipeline(device, &checked, err);
    return status == BM_OK ? device->backend->compile(device, &checked, out, err) : status;
}

bool bm_device_has_product(bm_device *device)
{
    return !device->lost && device->backend->has_product && device->backend->has_product(device);
}

static bm_status record_product(bm_device *device, const bm_product *product, bm_error *err)
{
    if (device->lost)
        return bm_device_check_lost(device, err);
    if (!bm_device_has_product(device))
        return bm_fail(err, BM_E_UNSUPPORTED, "product: the %s backend has no library for it", device->info.backend);
    if (device->in_parallel)
        return bm_fail(err, BM_E_ARGUMENT, "product: not inside a parallel section");
    const uint64_t size = sizeof(float);
    const struct {
        const char *name;
        bm_view view;
        uint64_t rows, cols, stride;
    } matrices[] = {{"a", product->a, product->m, product->k, product->a_stride},
                    {"b", product->b, product->n, product->k, product->b_stride},
                    {"c", product->c, product->m, product->n, product->c_stride}};
    for (uint32_t i = 0; i < BM_COUNT(matrices); i++) {
        bm_status status = bm_device_check_view(device, matrices[i].view, "product", matrices[i].name, err);
        if (status == BM_OK && matrices[i].stride < matrices[i].cols)
            status = bm_fail(err, BM_E_ARGUMENT, "product: %s: a stride of %llu for %llu columns", matrices[i].name,
                             (unsigned long long)matrices[i].stride, (unsigned long long)matrices[i].cols);
        if (status == BM_OK)
            status = bm_device_check_rows(device, matrices[i].view, matrices[i].stride * size, matrices[i].cols * size,
                                          matrices[i].rows, "product", err);
        if (status != BM_OK)
            return status;
    }
    bm_status status = make_way(device, product->seconds, err);
    if (status == BM_OK)
        status = device->backend->product(device, product, err);
    return status == BM_OK ? count_work(device, product->seconds, err) : status;
}

bm_status bm_device_product(bm_device *device, const bm_product *product, bm_error *err)
{
    return bm_device_finish_on_failure(device, record_product(device, product, err));
}

bm_status bm_batch_parallel_begin(bm_device *device, bm_error *err)
{
    if (device->lost)
        return bm_device_check_lost(device, err);
    if (device->in_parallel)
        return bm_device_finish_on_failure(device, bm_fail(err, BM_E_ARGUMENT, "a parallel section is open already"));
    device->in_parallel = true;
    device->num_uses = 0;
    return BM_OK;
}

bm_status bm_batch_parallel_end(bm_device *device, bm_error *err)
{
    const bool was_open = device->in_parallel;
    device->in_parallel = false;
    if (device->lost)
        return bm_device_check_lost(device, err);
    if (!was_open)
        return bm_device_finish_on_failure(device, bm_fail(err, BM_E_ARGUMENT, "no parallel section is open"));
    return bm_device_finish_on_failure(device, device->backend->barrier(device, err));
}
