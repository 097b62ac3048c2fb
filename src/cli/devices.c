// bitmill devices: what is here, what it can do, what is missing.
#include "cli/cli.h"
#include "device/device.h"
#include "device/kernels.h"
#include "ops/variants.h"

#include <stdio.h>
#include <string.h>

// The index-th variant on matrix units that a device has what it needs for; its number among its kernel's variants. UINT32_MAX: no
// more.
static uint32_t matrix_variant(const bm_device_limits *limits, uint32_t index, bm_kernel_id *kernel)
{
    for (uint32_t k = 0; k < BM_NUM_KERNELS; k++)
        for (uint32_t i = 0; i < bm_kernel_table[k].num_variants; i++)
            if (bm_kernel_uses_matrix_units((bm_kernel_id)k, i) &&
                bm_kernel_needs_are_met(limits, (bm_kernel_id)k, i) && index-- == 0) {
                *kernel = (bm_kernel_id)k;
                return i;
            }
    return UINT32_MAX;
}

// What kernels of ours take of a device's matrix units: its hardware may have more.
static void print_matrix_units(const bm_device_limits *l)
{
    bm_kernel_id kernel = BM_NUM_KERNELS;
    uint32_t count = 0;
    for (uint32_t i; (i = matrix_variant(l, count, &kernel)) != UINT32_MAX; count++) {
        const bm_matrix_shape *s = &bm_kernel_table[kernel].variants[i].matrix;
        printf("%s%s ", count == 0 ? "\n           matrix units: " : ", ", bm_kernel_table[kernel].name);
        if (s->m > 0)
            printf("%s %ux%ux%u", bm_dtype_name(s->component), s->m, s->n, s->k);
        else
            printf("%s", bm_kernel_table[kernel].variants[i].suffix + 1);
    }
    const uint32_t shapes = l->num_matrix_shapes + l->num_more_shapes;
    if (count == 0 && shapes > 0)
        printf(", matrix units of %u shape%s, none of which a kernel here takes", shapes, bm_plural(shapes));
    else if (count == 0)
        printf(", matrix units no");
    printf("\n");
}

// What a driver does not tell is left out.
static void print_limits(const bm_device_limits *l)
{
    printf("           memory %.1f GiB (largest buffer %.2f GiB)", (double)l->memory_bytes / (1 << 30),
           (double)l->max_allocation_bytes / (1 << 30));
    if (l->available_bytes > 0 && l->available_bytes < l->memory_bytes)
        printf(", %.1f GiB of it free", (double)l->available_bytes / (1 << 30));
    if (l->compute_units > 0)
        printf(", %u compute unit%s", l->compute_units, l->compute_units == 1 ? "" : "s");
    printf(", local memory %u KiB", l->shared_memory_bytes / 1024);
    if (l->subgroup_size > 0)
        printf(", subgroups of %u", l->subgroup_size);
    printf("\n           float16 arithmetic %s, int8 dot product %s", l->fp16_arithmetic ? "yes" : "no",
           l->int8_dot ? "yes" : "no");
    print_matrix_units(l);
}

// A tuning, and what comparisons of variants found, a line each. Which names a device has it says when it is open.
static bool describe_remembered(const cli_context *context, const bm_device_info *info, bm_string *out)
{
    static const char tuning[] = "tuning: ";
    bm_device *device = NULL;
    bm_device_params params;
    bm_string lines = BM_STRING_INIT;
    bm_error problem = {0};
    bm_device_params_init(&params);
    params.spec = info->spec;
    params.cache_folder = context->cache_folder;
    const bool is_whole = bm_tuning_describe(info, context->cache_folder, &lines);
    const char *rest = bm_string_text(&lines);
    if (strncmp(rest, tuning, sizeof tuning - 1) == 0 && bm_device_open(&device, &params, NULL) == BM_OK &&
        bm_variants_check_tuning(device, &problem) == BM_E_ARGUMENT) {
        (void)bm_string_append_format(out, "tuning ignored: %s\n", problem.message);
        rest = strchr(rest, '\n') + 1;
    }
    (void)bm_string_append(out, rest);
    bm_device_close(&device);
    bm_string_free(&lines);
    return is_whole && !out->failed;
}

// --verbose
static void print_remembered(const cli_context *context, const bm_device_info *info)
{
    bm_string lines = BM_STRING_INIT;
    if (context->verbose && describe_remembered(context, info, &lines))
        for (const char *line = bm_string_text(&lines); *line; line += strcspn(line, "\n") + 1)
            cli_print("           %.*s", (int)strcspn(line, "\n"), line);
    bm_string_free(&lines);
}

static void print_people(const cli_context *context, const bm_device_list *list)
{
    for (uint32_t i = 0; i < list->num_devices; i++) {
        const bm_device_info *d = &list->devices[i];
        cli_print("%-10s %s [%s]", d->spec, d->name, bm_device_kind_name(d->kind));
        cli_print("           driver: %s", d->driver);
        if (!d->usable) {
            cli_print("           cannot be used: %s", d->problem);
            continue;
        }
        if (d->kind == BM_DEVICE_HOST) {
            printf("           the reference: correct and slow; for real work install a driver\n");
            continue;
        }
        print_limits(&d->limits);
        print_remembered(context, d);
    }
    for (uint32_t i = 0; i < list->num_missing; i++)
        cli_print("missing: %s: %s", list->missing[i].component, list->missing[i].words);
}

// C [m, n] += A [m, k] B [k, n]
static void put_matrix_shape(bm_json_writer *w, const bm_matrix_shape *shape)
{
    bm_json_begin_object(w, NULL);
    bm_json_put_integer(w, "m", shape->m);
    bm_json_put_integer(w, "n", shape->n);
    bm_json_put_integer(w, "k", shape->k);
    bm_json_put_string(w, "component", bm_dtype_name(shape->component));
    bm_json_put_string(w, "sum", bm_dtype_name(shape->sum));
    bm_json_end_object(w);
}

// What --verbose prints.
static void put_remembered(const cli_context *context, bm_json_writer *w, const bm_device_info *info)
{
    bm_string lines = BM_STRING_INIT;
    bm_json_begin_array(w, "remembered");
    if (describe_remembered(context, info, &lines))
        for (char *line = lines.data; line && *line;) {
            char *end = strchr(line, '\n');
            *end = '\0';
            bm_json_put_string(w, NULL, line);
            line = end + 1;
        }
    bm_json_end_array(w);
    bm_string_free(&lines);
}

static void put_device(const cli_context *context, bm_json_writer *w, const bm_device_info *d)
{
    bm_kernel_id kernel = BM_NUM_KERNELS;
    char name[64];
    bm_json_begin_object(w, NULL);
    bm_json_put_string(w, "spec", d->spec);
    bm_json_put_string(w, "backend", d->backend);
    bm_json_put_string(w, "name", d->name);
    bm_json_put_string(w, "kind", bm_device_kind_name(d->kind));
    bm_json_put_string(w, "driver", d->driver);
    bm_json_put_bool(w, "usable", d->usable);
    if (!d->usable)
        bm_json_put_string(w, "problem", d->problem);
    bm_json_put_integer(w, "memory_bytes", (int64_t)d->limits.memory_bytes);
    if (d->limits.available_bytes > 0)
        bm_json_put_integer(w, "available_bytes", (int64_t)d->limits.available_bytes);
    bm_json_put_integer(w, "max_allocation_bytes", (int64_t)d->limits.max_allocation_bytes);
    bm_json_put_integer(w, "compute_units", d->limits.compute_units);
    bm_json_put_integer(w, "shared_memory_bytes", d->limits.shared_memory_bytes);
    bm_json_put_integer(w, "subgroup_size", d->limits.subgroup_size);
    bm_json_put_bool(w, "fp16_arithmetic", d->limits.fp16_arithmetic);
    bm_json_put_bool(w, "int8_dot", d->limits.int8_dot);
    bm_json_put_bool(w, "wgmma", d->limits.wgmma);
    bm_json_put_bool(w, "nvidia_mma", d->limits.nvidia_mma);
    bm_json_put_bool(w, "cooperative_matrix", d->limits.num_matrix_shapes > 0);
    bm_json_begin_array(w, "matrix_shapes");
    for (uint32_t i = 0; i < d->limits.num_matrix_shapes; i++)
        put_matrix_shape(w, &d->limits.matrix_shapes[i]);
    bm_json_end_array(w);
    bm_json_put_integer(w, "more_matrix_shapes", d->limits.num_more_shapes);
    bm_json_begin_array(w, "matrix_kernels");
    for (uint32_t n = 0, i; (i = matrix_variant(&d->limits, n, &kernel)) != UINT32_MAX; n++) {
        snprintf(name, sizeof name, "%s%s", bm_kernel_table[kernel].name, bm_kernel_table[kernel].variants[i].suffix);
        bm_json_put_string(w, NULL, name);
    }
    bm_json_end_array(w);
    put_remembered(context, w, d);
    bm_json_end_object(w);
}

static bm_status print_list_json(const cli_context *context, const bm_device_list *list, bm_error *err)
{
    bm_string text = BM_STRING_INIT;
    bm_json_writer w;
    bm_json_writer_init(&w, &text, 2);
    bm_json_begin_object(&w, NULL);
    bm_json_begin_array(&w, "devices");
    for (uint32_t i = 0; i < list->num_devices; i++)
        put_device(context, &w, &list->devices[i]);
    bm_json_end_array(&w);
    bm_json_begin_array(&w, "missing");
    for (uint32_t i = 0; i < list->num_missing; i++) {
        bm_json_begin_object(&w, NULL);
        bm_json_put_string(&w, "component", list->missing[i].component);
        bm_json_put_string(&w, "words", list->missing[i].words);
        bm_json_end_object(&w);
    }
    bm_json_end_array(&w);
    bm_json_end_object(&w);
    const bm_status status = cli_print_json(&text, err);
    bm_string_free(&text);
    return status;
}

// --device: the device that it would open, alone.
static bm_status keep_one(bm_device_list *list, const char *spec, bm_error *err)
{
    uint32_t index = 0;
    const bm_status status = bm_device_list_find(list, spec, &index, err);
    if (status != BM_OK)
        return status;
    list->devices[0] = list->devices[index];
    list->num_devices = 1;
    list->num_missing = 0;
    return BM_OK;
}

static int run(cli_context *context, int argc, char **argv)
{
    bm_error err = {0};
    bm_device_list list = {0};
    const char *positional[1];
    uint32_t num_positional;
    bool help;
    bm_device_params params;
    bm_status status =
        cli_parse(context, &cli_command_devices, NULL, 0, argc, argv, positional, 0, &num_positional, &help, &err);
    if (status != BM_OK)
        return cli_fail(context, status, &err);
    if (help)
        return CLI_DONE;
    bm_device_params_init(&params);
    status = bm_device_list_create(&params, &list, &err);
    if (status == BM_OK && context->device)
        status = keep_one(&list, context->device, &err);
    if (status == BM_OK && context->json)
        status = print_list_json(context, &list, &err);
    else if (status == BM_OK)
        print_people(context, &list);
    bm_device_list_free(&list);
    return status == BM_OK ? CLI_DONE : cli_fail(context, status, &err);
}

const cli_command cli_command_devices = {"devices", "[--device D] [--json]",
                                         "lists what can compute here, and what is missing", run, CLI_NAMES_DEVICE};
