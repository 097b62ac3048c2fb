// bitmill bench --compile: every pipeline that the program may want on a device, compiled and described, nothing run. A
// device that cannot run at all will do (RADV's null device), so this is also how kernels meet compilers without hardware.
#include "cli/cli.h"
#include "device/kernels.h"
#include "bench/pipelines.h"
#include "ops/variants.h"

#include <stdio.h>
#include <string.h>

typedef struct totals {
    uint32_t failed, spilled, spilled_default;
    bool tells_spills; // the driver does
} totals;

// "gemm_tile"
static void write_name(const bm_call *call, char out[64])
{
    const bm_kernel_info *info = &bm_kernel_table[call->kernel];
    snprintf(out, 64, "%s%s", info->name, info->variants[call->variant].suffix);
}

// "GROUP=256 SLICE=8" and "F16 F16 F32"
static void write_choices(const bm_call *call, char tunables[96], char types[64])
{
    const bm_kernel_info *info = &bm_kernel_table[call->kernel];
    tunables[0] = types[0] = '\0';
    for (uint32_t i = 0; i < info->num_tunables; i++)
        snprintf(tunables + strlen(tunables), 96 - strlen(tunables), "%s%s=%u", i ? " " : "", info->tunable_names[i],
                 call->tunables[i]);
    for (uint32_t i = 0; i < info->num_buffers; i++)
        if (info->buffers[i].element == BM_ELEMENT_REAL)
            snprintf(types + strlen(types), 64 - strlen(types), "%s%s", types[0] ? " " : "",
                     bm_dtype_name(call->types[i]));
}

static void print_number(uint64_t value, int width)
{
    if (value == BM_COMPILE_UNKNOWN)
        printf("%*s", width, "-");
    else
        printf("%*llu", width, (unsigned long long)value);
}

static void print_head(void)
{
    printf("%-20s %-28s %-20s %9s %7s %9s %9s\n", "kernel", "tunables", "types", "registers", "spills", "local, B",
           "subgroup");
}

static void print_pipeline(const bm_pipeline *p, const bm_compile_report *report, const char *problem)
{
    char name[64], tunables[96], types[64];
    write_name(&p->call, name);
    write_choices(&p->call, tunables, types);
    printf("%-20s %-28s %-20s ", name, tunables, types);
    if (problem) {
        printf("FAILED: %s\n", problem);
        return;
    }
    print_number(report->registers, 9);
    print_number(report->spills, 8);
    print_number(report->shared_bytes, 10);
    print_number(report->subgroup_size, 10);
    printf("%s\n", p->is_default ? "  default" : "");
    fflush(stdout);
}

static void put_number(bm_json_writer *w, const char *key, uint64_t value)
{
    if (value == BM_COMPILE_UNKNOWN)
        bm_json_put_null(w, key);
    else
        bm_json_put_integer(w, key, (int64_t)value);
}

static void put_pipeline(bm_json_writer *w, const bm_pipeline *p, const bm_compile_report *report, const char *problem)
{
    const bm_kernel_info *info = &bm_kernel_table[p->call.kernel];
    char name[64];
    write_name(&p->call, name);
    bm_json_begin_object(w, NULL);
    bm_json_put_string(w, "kernel", name);
    bm_json_begin_object(w, "tunables");
    for (uint32_t i = 0; i < info->num_tunables; i++)
        bm_json_put_integer(w, info->tunable_names[i], p->call.tunables[i]);
    bm_json_end_object(w);
    bm_json_begin_object(w, "types");
    for (uint32_t i = 0; i < info->num_buffers; i++)
        if (info->buffers[i].element == BM_ELEMENT_REAL)
            bm_json_put_string(w, info->buffers[i].name, bm_dtype_name(p->call.types[i]));
    bm_json_end_object(w);
    bm_json_put_bool(w, "default", p->is_default);
    if (problem)
        bm_json_put_string(w, "problem", problem);
    put_number(w, "registers", report->registers);
    put_number(w, "spills", report->spills);
    put_number(w, "shared_bytes", report->shared_bytes);
    put_number(w, "subgroup_size", report->subgroup_size);
    bm_json_begin_object(w, "statistics");
    for (uint32_t i = 0; i < report->num_statistics; i++)
        bm_json_put_double(w, report->statistics[i].name, report->statistics[i].value);
    bm_json_end_object(w);
    bm_json_end_object(w);
}

static void begin_json(bm_json_writer *w, bm_string *text, const bm_device_info *info)
{
    bm_json_writer_init(w, text, 2);
    bm_json_begin_object(w, NULL);
    bm_json_begin_object(w, "device");
    bm_json_put_string(w, "spec", info->spec);
    bm_json_put_string(w, "name", info->name);
    bm_json_put_string(w, "driver", info->driver);
    bm_json_end_object(w);
    bm_json_begin_array(w, "pipelines");
}

static bm_status end_json(bm_json_writer *w, bm_string *text, const totals *t, bm_error *err)
{
    bm_json_end_array(w);
    bm_json_put_integer(w, "failed", t->failed);
    put_number(w, "spilled", t->tells_spills ? t->spilled : BM_COMPILE_UNKNOWN);
    put_number(w, "spilled_default", t->tells_spills ? t->spilled_default : BM_COMPILE_UNKNOWN);
    bm_json_end_object(w);
    return cli_print_json(text, err);
}

static bm_status open_device(cli_context *context, bm_device **out, bm_error *err)
{
    bm_device_params params;
    bm_device_params_init(&params);
    if (context->device)
        params.spec = context->device;
    params.log = &context->log;
    params.variants = cli_variants(context);
    params.compile_only = true; // and no cache folder: what comes from a cache was not compiled
    const bm_status status = bm_device_open(out, &params, err);
    return status == BM_OK ? bm_variants_resolve(*out, err) : status;
}

int cli_bench_compile(cli_context *context)
{
    bm_error err = {0};
    bm_status status = BM_OK;
    bm_device *device = NULL;
    bm_pipeline_list list = {0};
    bm_string text = BM_STRING_INIT;
    bm_json_writer json;
    totals t = {0};
    BM_TRY(open_device(context, &device, &err));
    const bm_device_info *info = bm_device_get_info(device);
    cli_say(context, "device: %s, %s (%s)", info->spec, info->name, info->driver);
    BM_FAIL_IF(bm_device_is_host(device), &err, BM_E_UNSUPPORTED, "--compile: host is plain C, compiled already");
    BM_TRY(bm_pipelines_list(device, &list, &err));
    if (context->json)
        begin_json(&json, &text, info);
    else
        print_head();
    for (uint32_t i = 0; i < list.count; i++) {
        const bm_pipeline *p = &list.items[i];
        bm_compile_report report;
        bm_error problem = {0};
        BM_FAIL_IF(cli_interrupted(), &err, BM_E_CANCELLED, "interrupted");
        const bool works = bm_device_compile(device, &p->call, &report, &problem) == BM_OK;
        const bool spills = works && report.spills != BM_COMPILE_UNKNOWN && report.spills > 0;
        t.failed += !works;
        t.tells_spills |= works && report.spills != BM_COMPILE_UNKNOWN;
        t.spilled += spills;
        t.spilled_default += spills && p->is_default;
        if (context->json)
            put_pipeline(&json, p, &report, works ? NULL : problem.message);
        else
            print_pipeline(p, &report, works ? NULL : problem.message);
    }
    if (context->json)
        BM_TRY(end_json(&json, &text, &t, &err));
    else if (t.tells_spills)
        printf("%u pipelines: %u failed, %u spill, %u of them in a default variant\n", list.count, t.failed, t.spilled,
               t.spilled_default);
    else
        printf("%u pipelines: %u failed; the driver does not tell what spills\n", list.count, t.failed);
    BM_FAIL_IF(t.failed > 0, &err, BM_E_DEVICE, "%s: %u of %u pipelines do not compile", info->name, t.failed,
               list.count);
done:
    bm_pipelines_free(&list);
    bm_device_close(&device);
    bm_string_free(&text);
    return status == BM_OK ? CLI_DONE : cli_fail(context, status, &err);
}
