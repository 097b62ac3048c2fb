// bitmill bench: each hot kernel beside the device's limit, and products on CPU devices beside OpenBLAS.
#include "cli/cli.h"
#include "base/process.h"
#include "base/progress.h"
#include "bench/benchmark.h"
#include "bench/tune.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#define YARDSTICK_WORD "--yardstick-child" // hidden: bitmill bench --yardstick-child M N K

enum { MAX_DEVICES = 8, NAME_WIDTH = 15, SHAPE_WIDTH = 20 }; // columns: the longest name and shape
enum { MAX_FEW_ROWS = 8 };                                   // products of as few are also measured with codes

typedef struct bench {
    cli_context *context;
    bm_progress_report at; // the phase, and how many of its measurements are done
    bm_json_writer json;   // the array `kernels` is open
    bm_dtype dtype;
    char *program; // NULL: no yardstick
    bm_device *devices[MAX_DEVICES];
    bm_benchmark_limits limits[MAX_DEVICES];
    uint32_t num_devices;
} bench;

static int run_child(char **numbers)
{
    signal(SIGINT, SIG_DFL); // Ctrl-C reaches the child as well and shall end it at once
    uint64_t size[3];
    char line[128];
    bm_error err = {0};
    for (int i = 0; i < 3; i++)
        if (!bm_parse_u64(numbers[i], &size[i]) || size[i] == 0 || size[i] > 65536)
            return CLI_BAD_INPUT;
    const bm_status status = bm_yardstick_child((uint32_t)size[0], (uint32_t)size[1], (uint32_t)size[2], line, &err);
    puts(status == BM_OK ? line : err.message);
    return cli_exit_code(status);
}

// Begins a phase of so many measurements, or one more of them.
static void begin(bench *b, const char *phase, uint64_t total)
{
    b->at = (bm_progress_report){.phase = phase, .total = total, .unit = "measurements", .seconds_left = -1};
    (void)cli_report_progress(b->context, &b->at);
}

static bm_status step(bench *b, bm_error *err)
{
    b->at.done++;
    cli_erase_progress(b->context); // so that it is drawn at once
    return bm_progress_tell(&b->context->progress, &b->at, err);
}

static void show_variant(bench *b, const bm_device *device, const bm_benchmark_result *r, const char *variant,
                         const char *what)
{
    const char *spec = bm_device_get_info(device)->spec;
    if (!b->context->json) {
        cli_erase_progress(b->context);
        char shape[64] = "", share[BM_BENCHMARK_SHARE_SIZE];
        for (uint32_t i = 0; i < r->num_shape; i++)
            snprintf(shape + strlen(shape), sizeof shape - strlen(shape), "%s%llu", i ? " x " : "",
                     (unsigned long long)r->shape[i]);
        printf("%-10s %-*s %-*s %10.1f %-7s %8.1f GB/s  %s %9.3f ms (%.3f to %.3f)%s%s\n", spec, NAME_WIDTH,
               variant ? variant : r->name, SHAPE_WIDTH, shape, r->gflops, r->counts_integers ? "GOP/s" : "GFLOP/s",
               r->gbps, bm_benchmark_share_words(r->limit_share, share), 1e3 * r->time.seconds, 1e3 * r->time.fastest,
               1e3 * r->time.slowest, what ? "  " : "", what ? what : "");
        fflush(stdout);
        return;
    }
    bm_json_begin_object(&b->json, NULL);
    bm_json_put_string(&b->json, "device", spec);
    bm_json_put_string(&b->json, "name", r->name);
    if (variant)
        bm_json_put_string(&b->json, "variant", variant);
    bm_json_begin_array(&b->json, "shape");
    for (uint32_t i = 0; i < r->num_shape; i++)
        bm_json_put_integer(&b->json, NULL, (int64_t)r->shape[i]);
    bm_json_end_array(&b->json);
    bm_json_put_string(&b->json, "dtype", bm_dtype_name(b->dtype));
    if (what)
        bm_json_put_string(&b->json, "what", what);
    bm_json_put_double(&b->json, "gflops", r->gflops);
    bm_json_put_double(&b->json, "gbps", r->gbps);
    bm_json_put_double(&b->json, "limit_share", r->limit_share);
    bm_json_put_double(&b->json, "seconds", r->time.seconds);
    bm_json_put_double(&b->json, "seconds_fastest", r->time.fastest);
    bm_json_put_double(&b->json, "seconds_slowest", r->time.slowest);
    bm_json_end_object(&b->json);
}

static void show(bench *b, const bm_device *device, const bm_benchmark_result *r, const char *what)
{
    show_variant(b, device, r, NULL, what);
}

// OpenBLAS at this shape; returns its best median, 0 without it.
static bm_status show_yardstick(bench *b, const bm_benchmark_shape *s, double *best, bm_error *err)
{
    static const char *const words[] = {"bench", YARDSTICK_WORD, NULL};
    bm_yardstick found[BM_MAX_YARDSTICKS];
    uint32_t count = 0;
    *best = 0;
    bm_status status = bm_yardstick_measure(b->program, words, s->m, s->n, s->k, found, &count, err);
    if (cli_interrupted()) // which ended the child too
        status = bm_fail(err, BM_E_CANCELLED, "interrupted");
    if (status == BM_OK && count == 0) { // said once, not for every shape
        cli_say(b->context, "no yardstick: OpenBLAS is not here (Debian, Ubuntu: libopenblas0)");
        bm_free(b->program);
        b->program = NULL;
    }
    for (uint32_t i = 0; i < count && status == BM_OK; i++) {
        *best = found[i].median_gflops > *best ? found[i].median_gflops : *best;
        if (!b->context->json) {
            cli_erase_progress(b->context);
            char shape[64];
            snprintf(shape, sizeof shape, "%u x %u x %u", s->m, s->n, s->k);
            printf("%-10s %-*s %-*s %10.1f GFLOP/s (median), best %.1f  kernels %s (%s)\n", "openblas", NAME_WIDTH,
                   "gemm", SHAPE_WIDTH, shape, found[i].median_gflops, found[i].best_gflops, found[i].core,
                   found[i].setting);
            continue;
        }
        bm_json_begin_object(&b->json, NULL);
        bm_json_put_string(&b->json, "device", "openblas");
        bm_json_put_string(&b->json, "name", "gemm");
        bm_json_begin_array(&b->json, "shape");
        bm_json_put_integer(&b->json, NULL, s->m);
        bm_json_put_integer(&b->json, NULL, s->n);
        bm_json_put_integer(&b->json, NULL, s->k);
        bm_json_end_array(&b->json);
        bm_json_put_string(&b->json, "core", found[i].core);
        bm_json_put_string(&b->json, "setting", found[i].setting);
        bm_json_put_double(&b->json, "gflops", found[i].median_gflops);
        bm_json_put_double(&b->json, "gflops_best", found[i].best_gflops);
        bm_json_end_object(&b->json);
    }
    return status;
}

static bm_status measure_limits(bench *b, bm_error *err)
{
    bm_status status = BM_OK;
    begin(b, "measure limits", b->num_devices);
    for (uint32_t d = 0; d < b->num_devices; d++) {
        BM_TRY(bm_benchmark_measure_limits(b->devices[d], cli_interrupted, &b->limits[d], err));
        cli_say(b->context, "%s: limits: %.1f GFLOP/s (float32, chains of fma), %.1f GB/s (copy)",
                bm_device_get_info(b->devices[d])->spec, b->limits[d].gflops, b->limits[d].gbps);
        if (b->limits[d].matrix_gflops > 0 || b->limits[d].matrix_gops > 0)
            cli_say(b->context,
                    "%s: limits of matrix units: %.1f GFLOP/s (float16), %.1f GOP/s (int8), chains of products",
                    bm_device_get_info(b->devices[d])->spec, b->limits[d].matrix_gflops, b->limits[d].matrix_gops);
        BM_TRY(step(b, err));
    }
done:
    return status;
}

// ---- --products, --attention ----

typedef struct product_report {
    bench *b;
    const bm_device *device;
} product_report;

static void show_product(void *user, const char *variant, const bm_benchmark_result *result)
{
    const product_report *report = user;
    show_variant(report->b, report->device, result, variant, result->what[0] ? result->what : NULL);
    (void)cli_report_progress(report->b->context, &report->b->at);
}

static bm_status multiply_by_variants(bench *b, uint32_t d, const bm_benchmark_shape *shape, bm_error *err)
{
    product_report report = {b, b->devices[d]};
    return b->dtype == BM_DTYPE_I8 ? bm_benchmark_gemm_int8_variants(b->devices[d], shape, NULL, &b->limits[d],
                                                                     cli_interrupted, show_product, &report, err)
                                   : bm_benchmark_gemm_variants(b->devices[d], shape, b->dtype, NULL, &b->limits[d],
                                                                cli_interrupted, show_product, &report, err);
}

static bm_status bench_products(bench *b, const bm_benchmark_shape *shapes, uint32_t num_shapes, bm_error *err)
{
    bm_status status = BM_OK;
    BM_TRY(measure_limits(b, err));
    begin(b, "measure products", (uint64_t)num_shapes * b->num_devices);
    for (uint32_t s = 0; s < num_shapes; s++)
        for (uint32_t d = 0; d < b->num_devices; d++) {
            BM_TRY(multiply_by_variants(b, d, &shapes[s], err));
            BM_TRY(step(b, err));
        }
done:
    return status;
}

static bm_status bench_attention(bench *b, bm_error *err)
{
    bm_status status = BM_OK;
    BM_TRY(measure_limits(b, err));
    begin(b, "measure attention", (uint64_t)bm_benchmark_num_attention() * b->num_devices);
    for (uint32_t i = 0; i < bm_benchmark_num_attention(); i++)
        for (uint32_t d = 0; d < b->num_devices; d++) {
            product_report report = {b, b->devices[d]};
            BM_TRY(bm_benchmark_attention_variants(b->devices[d], i, b->dtype, &b->limits[d], cli_interrupted,
                                                   show_product, &report, err));
            BM_TRY(step(b, err));
        }
done:
    return status;
}

// A shape by one device: the product in every form.
static bm_status bench_shape(bench *b, uint32_t d, const bm_benchmark_shape *s, double best, bm_error *err)
{
    bm_device *device = b->devices[d];
    const bm_benchmark_limits *limits = &b->limits[d];
    const char *spec = bm_device_get_info(device)->spec;
    bm_status status = BM_OK;
    bm_benchmark_result result;
    double alone = 0;
    BM_TRY(bm_benchmark_gemm(device, s->m, s->n, s->k, b->dtype, NULL, limits, cli_interrupted, &result, err));
    show(b, device, &result, s->what);
    if (best > 0)
        cli_say(b->context, "%s: %.0f %% of OpenBLAS", spec, 100 * result.gflops / best);
    BM_TRY(step(b, err));
    if (s->m <= MAX_FEW_ROWS) {
        BM_TRY(bm_benchmark_gemm_codes(device, s->m, s->n, s->k, b->dtype, limits, cli_interrupted, &result, err));
        show(b, device, &result, s->what);
    }
    BM_TRY(step(b, err));
    for (uint32_t compares = 0; compares < 2; compares++) {
        BM_TRY(bm_benchmark_gemm_int8(device, s->m, s->n, s->k, compares != 0, limits, cli_interrupted, &result, err));
        show(b, device, &result, s->what);
        alone = compares ? alone : result.time.seconds;
        BM_TRY(step(b, err));
    }
    BM_TRY(bm_benchmark_search_loss(device, s->m, s->n, s->k, limits, cli_interrupted, &result, err));
    show(b, device, &result, s->what);
    cli_say(b->context, "%s: search_loss takes %.2f times gemm_int8", spec, result.time.seconds / alone);
    BM_TRY(step(b, err));
done:
    return status;
}

static bm_status bench_all(bench *b, const bm_benchmark_shape *shapes, uint32_t num_shapes, bm_error *err)
{
    enum { MEASUREMENTS = 5 }; // of a shape
    const uint32_t operations = bm_benchmark_num_operations(), methods = bm_benchmark_num_quantization();
    bm_status status = BM_OK;
    bm_benchmark_result result;
    BM_TRY(measure_limits(b, err));
    begin(b, "measure kernels",
          (uint64_t)b->num_devices * (MEASUREMENTS * (uint64_t)num_shapes + operations + methods));
    for (uint32_t s = 0; s < num_shapes; s++) {
        double best = 0;
        if (b->program)
            BM_TRY(show_yardstick(b, &shapes[s], &best, err));
        for (uint32_t d = 0; d < b->num_devices; d++)
            BM_TRY(bench_shape(b, d, &shapes[s], best, err));
    }
    for (uint32_t d = 0; d < b->num_devices; d++)
        for (uint32_t i = 0; i < operations; i++) {
            BM_TRY(bm_benchmark_operation(b->devices[d], i, b->dtype, &b->limits[d], cli_interrupted, &result, err));
            show(b, b->devices[d], &result, NULL);
            BM_TRY(step(b, err));
        }
    for (uint32_t d = 0; d < b->num_devices; d++)
        for (uint32_t i = 0; i < methods; i++) {
            BM_TRY(bm_benchmark_quantization(b->devices[d], i, b->dtype, &b->limits[d], cli_interrupted, &result, err));
            show(b, b->devices[d], &result, NULL);
            BM_TRY(step(b, err));
        }
done:
    return status;
}

// ---- --tune ----

static void say_variant(void *user, const char *kernel, const char *variant, double seconds, const char *problem)
{
    bench *b = user;
    if (!b->context->json)
        cli_erase_progress(b->context);
    if (b->context->json) {
        bm_json_begin_object(&b->json, NULL);
        bm_json_put_string(&b->json, "name", kernel);
        bm_json_put_string(&b->json, "variant", variant);
        if (problem)
            bm_json_put_string(&b->json, "problem", problem);
        else
            bm_json_put_double(&b->json, "seconds", seconds);
        bm_json_end_object(&b->json);
    } else if (problem) {
        printf("%-10s %-14s left out: %s\n", kernel, variant, problem);
    } else {
        printf("%-10s %-14s %10.3f ms\n", kernel, variant, 1e3 * seconds);
    }
    fflush(stdout);
    (void)cli_report_progress(b->context, &b->at);
}

// shapes NULL: tuning's own.
static bm_status tune(bench *b, const bm_benchmark_shape *shapes, uint32_t num_shapes, bm_error *err)
{
    const bm_tune_params params = {.dtype = b->dtype,
                                   .shapes = shapes,
                                   .num_shapes = num_shapes,
                                   .stop = cli_interrupted,
                                   .report = say_variant,
                                   .user = b};
    bm_string words = BM_STRING_INIT;
    char *path = bm_tuning_path(b->devices[0]);
    bm_status status = BM_OK;
    BM_FAIL_IF(!path, err, BM_E_IO,
               "--tune: there is no cache folder in which a tuning could be kept (set XDG_CACHE_HOME "
               "or HOME)");
    BM_TRY(bm_verdicts_write(b->devices[0], err)); // what can't be kept is said before the work
    begin(b, "measure variants", 0);
    BM_TRY(bm_tune(b->devices[0], &params, &words, err));
    BM_TRY(bm_tuning_write(b->devices[0], words.data, err));
    cli_say(b->context, "%s: kept in %s", words.data, path);
done:
    bm_free(path);
    bm_string_free(&words);
    return status;
}

// What a model is computed in by default: 16 bits on GPUs.
static bm_dtype usual_dtype(const bm_device *device)
{
    return bm_device_kind_is_gpu(bm_device_get_info(device)->kind) ? BM_DTYPE_F16 : BM_DTYPE_F32;
}

static void begin_json(bench *b, bm_string *text)
{
    bm_json_writer_init(&b->json, text, 2);
    bm_json_begin_object(&b->json, NULL);
    bm_json_begin_array(&b->json, "kernels");
}

static bm_status end_json(bench *b, bm_string *text, bm_error *err)
{
    bm_json_end_array(&b->json);
    bm_json_begin_array(&b->json, "devices");
    for (uint32_t d = 0; d < b->num_devices; d++) {
        const bm_device_info *info = bm_device_get_info(b->devices[d]);
        bm_json_begin_object(&b->json, NULL);
        bm_json_put_string(&b->json, "spec", info->spec);
        bm_json_put_string(&b->json, "name", info->name);
        bm_json_put_string(&b->json, "driver", info->driver);
        bm_json_put_double(&b->json, "limit_gflops", b->limits[d].gflops);
        bm_json_put_double(&b->json, "limit_gbps", b->limits[d].gbps);
        bm_json_put_double(&b->json, "limit_matrix_gflops", b->limits[d].matrix_gflops);
        bm_json_put_double(&b->json, "limit_matrix_gops", b->limits[d].matrix_gops);
        cli_put_profile(b->context, &b->json, b->devices[d]);
        bm_json_end_object(&b->json);
    }
    bm_json_end_array(&b->json);
    bm_json_end_object(&b->json);
    return cli_print_json(text, err);
}

// --products and --attention measure one kernel: a variant of another would say nothing.
static bm_status check_variants(const cli_context *context, const char *kernel, bm_error *err)
{
    const size_t length = strlen(kernel);
    for (const char *word = cli_variants(context); word && *word; word += strcspn(word, ","), word += *word == ',')
        if (strncmp(word, kernel, length) != 0 || word[length] != '=')
            return bm_fail(err, BM_E_ARGUMENT, "--variant %.*s: what is measured here is %s, expected %s=NAME",
                           (int)strcspn(word, ","), word, kernel, kernel);
    return BM_OK;
}

static int run(cli_context *context, int argc, char **argv)
{
    bm_error err = {0};
    bm_status status = BM_OK;
    bm_string text = BM_STRING_INIT;
    bench b = {.context = context, .dtype = BM_DTYPE_F32};
    const char *shape_name = NULL, *dtype = NULL, *first_device = context->device;
    cli_list others = {0};
    bool no_yardstick = false, help = false, on_cpu = false, tunes = false, compiles = false, products = false;
    bool attention = false;
    const cli_option options[] = {
        {"--shapes", CLI_TEXT, &shape_name, "NAME",
         "sizes of products: llama3-8b (default), targets, large, 2048, small"},
        {"--dtype", CLI_TEXT, &dtype, "TYPE",
         "float32 (default; with --tune on GPUs float16), float16 or bfloat16: storage; with --products also int8"},
        {"--compare", CLI_LIST, &others, "DEVICE", "measure this device in the same run too; may be repeated"},
        {"--no-yardstick", CLI_FLAG, &no_yardstick, NULL, "leave OpenBLAS out (it is measured beside CPU devices)"},
        {"--products", CLI_FLAG, &products, NULL, "only products, by every variant (or the one that --variant names)"},
        {"--attention", CLI_FLAG, &attention, NULL, "only attention, by every variant, in the same way"},
        {"--tune", CLI_FLAG, &tunes, NULL, "measure the variants of kernels and keep the fastest for this device"},
        {"--compile", CLI_FLAG, &compiles, NULL,
         "compile every variant of every kernel, run nothing: registers, spills, local memory"},
    };
    const char *positional[1];
    uint32_t num_positional = 0, num_shapes = 0;
    if (argc == 5 && strcmp(argv[1], YARDSTICK_WORD) == 0)
        return run_child(argv + 2);
    BM_TRY(cli_parse(context, &cli_command_bench, options, BM_COUNT(options), argc, argv, positional, 0,
                     &num_positional, &help, &err));
    if (help)
        return CLI_DONE;
    first_device = context->device;
    const bm_benchmark_shape *shapes = bm_benchmark_shapes(shape_name ? shape_name : "llama3-8b", &num_shapes);
    BM_FAIL_IF(!shapes, &err, BM_E_ARGUMENT, "--shapes %s: expected one of %s", shape_name, bm_benchmark_shape_names);
    if (products && dtype && bm_equal_ignore_case(dtype, "int8"))
        b.dtype = BM_DTYPE_I8;
    else
        BM_FAIL_IF(dtype && (!cli_find_dtype(dtype, &b.dtype) || b.dtype == BM_DTYPE_F64), &err, BM_E_ARGUMENT,
                   "bench: --dtype \"%s\", expected float32, float16 or bfloat16%s", dtype,
                   products ? ", or int8" : "");
    BM_FAIL_IF(tunes && (others.count > 0 || context->variants.count > 0 || no_yardstick), &err, BM_E_ARGUMENT,
               "--tune: one device at a time, without --compare, --variant and --no-yardstick");
    BM_FAIL_IF(products && (tunes || compiles || no_yardstick), &err, BM_E_ARGUMENT,
               "--products: without --tune, --compile and --no-yardstick");
    BM_FAIL_IF(attention && (products || tunes || compiles || no_yardstick || shape_name), &err, BM_E_ARGUMENT,
               "--attention: without --products, --shapes, --tune, --compile and --no-yardstick");
    BM_FAIL_IF(compiles && (tunes || others.count > 0 || no_yardstick || shape_name || dtype), &err, BM_E_ARGUMENT,
               "--compile: every type and variant of one device, without other options of bench");
    if (compiles)
        return cli_bench_compile(context);
    if (products || attention)
        BM_TRY(check_variants(context, attention ? "attention" : b.dtype == BM_DTYPE_I8 ? "gemm_int8" : "gemm", &err));
    BM_FAIL_IF(others.count >= MAX_DEVICES, &err, BM_E_ARGUMENT, "--compare: at most %d devices", MAX_DEVICES - 1);
    for (uint32_t d = 0; d <= others.count; d++) {
        if (d > 0)
            context->device = others.items[d - 1];
        BM_TRY(cli_open_device(context, NULL, &b.devices[d], &err));
        b.num_devices++;
        on_cpu |= bm_device_get_info(b.devices[d])->kind == BM_DEVICE_CPU;
    }
    if (on_cpu && !no_yardstick && !products && !attention && b.dtype == BM_DTYPE_F32)
        b.program = bm_process_own_path();
    if (context->json)
        begin_json(&b, &text);
    if (tunes && !dtype)
        b.dtype = usual_dtype(b.devices[0]);
    BM_TRY(tunes       ? tune(&b, shape_name ? shapes : NULL, num_shapes, &err)
           : products  ? bench_products(&b, shapes, num_shapes, &err)
           : attention ? bench_attention(&b, &err)
                       : bench_all(&b, shapes, num_shapes, &err));
    if (context->json)
        BM_TRY(end_json(&b, &text, &err));
done:
    context->device = first_device;
    for (uint32_t d = 0; d < b.num_devices; d++)
        bm_device_close(&b.devices[d]);
    bm_free(b.program);
    bm_string_free(&text);
    return status == BM_OK ? CLI_DONE : cli_fail(context, status, &err);
}

const cli_command cli_command_bench = {"bench", "[--device D] [--shapes NAME] [--json]",
                                       "measures each hot kernel beside the device's limit", run, CLI_RUNS_ON_DEVICE};
