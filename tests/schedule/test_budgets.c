// A plan that accepts a budget is kept to: for each method, with budgets from far too small to plenty, the run is refused before
// anything is done, or ends within it; and the least that a refusal names is accepted.
// Argument: a device spec.
#include "schedule/on_device.h"

#include "base/file.h"
#include "base/str.h"
#include "schedule/job.h"
#include "support/folders.h"
#include "support/model_maker.h"

#include <stdio.h>
#include <string.h>

static char *model, *data, *cache;

typedef struct budget {
    uint64_t device, host; // 0: none
} budget;

enum { PLANNED, DONE };

// *least: where it is refused, the least that is named, in bytes.
static bm_status quantize(const char *method, budget b, int extent, uint64_t *least)
{
    static const char *const keys[] = {"group_size=32",    "keep_order=true", "gptq_step=2",
                                       "smooth_step=2",    "ptq_step=2",      "awq_n_grid=2",
                                       "search_tokens=16", "max_length=24",   "seed=1"};
    char *folder = support_folder_create(), *output = bm_path_join(folder, "out");
    bm_error err = {0};
    bm_quantize_params params;
    bm_quantize_job job = {0};
    double megabytes;
    bm_quantize_params_init(&params);
    params.model = model;
    params.method = method;
    params.data = data;
    params.output = output;
    params.device = spec;
    params.overrides = keys;
    params.num_overrides = BM_COUNT(keys);
    params.device_memory = b.device;
    params.host_memory = b.host;
    params.cache_folder = cache;
    params.skips_verification = true;
    const bm_status status =
        extent == DONE ? bm_quantize_job_run(&params, &job, &err) : bm_quantize_job_plan(&params, &job, &err);
    if (status == BM_E_ARGUMENT) {
        const char *found = strstr(err.message, "expected at least ");
        assert_non_null(strstr(err.message, b.host ? "--host-memory" : "--device-memory"));
        assert_non_null(found);
        assert_int_equal(sscanf(found, "expected at least %lf", &megabytes), 1);
        *least = (uint64_t)(megabytes * 1e6 + 0.5);
        assert_null(job.result.timeline);
        assert_true(job.is_planned);
    } else {
        assert_ok(status, &err);
        assert_true(b.device == 0 || job.result.peak_device_bytes <= b.device);
        assert_true(b.host == 0 || job.result.peak_process_bytes <= b.host);
    }
    bm_quantize_job_free(&job);
    bm_free(output);
    support_folder_remove(&folder);
    return status;
}

// Runs with the least of the device; others, which take time, where they are DONE.
static void accepted_budgets_are_kept(const char *method, int plenty, int least_of_process)
{
    uint64_t least = 0, other = 0;
    assert_int_equal(quantize(method, (budget){.device = 5000}, DONE, &least), BM_E_ARGUMENT);
    assert_int_equal(quantize(method, (budget){.device = least}, DONE, &other), BM_OK);
    assert_int_equal(quantize(method, (budget){.device = least / 100 * 98}, PLANNED, &other), BM_E_ARGUMENT);
    assert_int_equal(other, least);
    assert_int_equal(quantize(method, (budget){.device = least / 8 * 11}, plenty, &other), BM_OK);
    printf("%s: at least %.1f MB of the device", method, (double)least / 1e6);
    assert_int_equal(quantize(method, (budget){.host = 5000}, PLANNED, &least), BM_E_ARGUMENT);
    assert_int_equal(quantize(method, (budget){.host = least}, least_of_process, &other), BM_OK);
    printf(", %.1f MB of the process\n", (double)least / 1e6);
}

static void rounding(void **state)
{
    (void)state;
    accepted_budgets_are_kept("rtn", PLANNED, PLANNED);
}

static void gptq(void **state)
{
    (void)state;
    accepted_budgets_are_kept("gptq", DONE, PLANNED);
}

static void awq(void **state)
{
    (void)state;
    accepted_budgets_are_kept("awq", PLANNED, DONE);
}

static void inputs_of_8_bits(void **state)
{
    (void)state;
    accepted_budgets_are_kept("a8w8", PLANNED, PLANNED);
}

static int create_model(void **state)
{
    static const char sequence[] = "{\"input_ids\": [5, 60, 7, 8, 90, 10, 11, 12, 130, 14, 15, 16, 17, 180, 19, 20]}\n";
    bm_error err = {0};
    model_maker_params p;
    (void)state;
    model = support_folder_create();
    cache = support_folder_create();
    char *lines = bm_format("%s%s%s", sequence, sequence, sequence);
    assert_non_null(lines);
    data = support_file_write(cache, "data.jsonl", lines, strlen(lines));
    bm_free(lines);
    model_maker_params_init(&p);
    p.num_layers = 1;
    assert_ok(model_maker_write(&p, model, &err), &err);
    return 0;
}

static int remove_model(void **state)
{
    (void)state;
    bm_free(data);
    support_folder_remove(&cache);
    support_folder_remove(&model);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rounding),
        cmocka_unit_test(gptq),
        cmocka_unit_test(awq),
        cmocka_unit_test(inputs_of_8_bits),
    };
    const int status = open_device(argc, argv, LONG_LOOPS);
    if (status != 0)
        return status;
    const int failures = _cmocka_run_group_tests("budgets", tests, BM_COUNT(tests), create_model, remove_model);
    return close_device() ? failures : failures + 1;
}
