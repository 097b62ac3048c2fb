// A plan that accepts a budget is kept to: for each method, with budgets from far too small to plenty, the run is refused before
// anything is done, or ends within it; and the least that a refusal names is accepted.
// Argument: a device spec.
#include "schedule/on_device.h"

#include "base/file.h"
#include "base/str.h"
#include "schedule/job.h"
#include "schedule/memory_fit.h"
#include "support/folders.h"
#include "support/model_maker.h"
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *model, *wide, *two, *data, *cache; // wide: inputs of whole blocks of 256; two: blocks of them

typedef struct budget {
    uint64_t device, host; // 0: none
} budget;

// CLAIMED: planned by the budget, and done with no more than the claims come to, without what is given up where memory is short.
typedef enum extent { PLANNED, CLAIMED, DONE } extent;

// Nothing but the claims may be taken, and no kernel needs memory of its own.
static bm_status run_with_claims(const bm_quantize_job *job, bm_quantize_result *result, bm_error *err)
{
    const bm_quantize_run_params run = {.arguments = job->arguments,
                                        .plan = job->plan,
                                        .model = job->model,
                                        .device = job->device,
                                        .budget = &job->budget,
                                        .skips_verification = true};
    const bm_emit_context emit = {
        .arguments = job->arguments, .plan = job->plan, .model = job->model, .device = job->device};
    const uint64_t size = bm_device_get_info(job->device)->limits.memory_bytes;
    const uint64_t need = bm_memory_claims_need(&job->claims, &job->budget, false, NULL);
    bm_buffer *most = NULL;
    bm_device_limit_memory(job->device, need, "the test");
    bm_device_size_work(job->device, size);
    assert_ok(bm_buffer_create(job->device, need - 4096, "most", &most, err), err);
    assert_ok(bm_quantize_run_warm_up(&run, &emit, err), err);
    bm_buffer_destroy(&most);
    return bm_quantize_run(&run, result, err);
}

static const char alone[] = "GPTQ without what needs Hessian and factor at once";
static const char second[] = "the second block alone";

// type: of a GGUF file; alone; NULL: neither. *least: where it is refused, the least that is named, in bytes.
static bm_status quantize(const char *method, const char *type, budget b, extent wanted, uint64_t *least)
{
    static const char *const common[] = {"group_size=32",    "keep_order=true", "gptq_step=2",
                                         "smooth_step=2",    "ptq_step=2",      "awq_n_grid=2",
                                         "search_tokens=16", "max_length=24",   "seed=1"};
    static const char *const plain[] = {"qep_alpha=0", "code_sweeps=0", "scale_refit=false", "scale_search=abs_max"};
    static const char *const of_second[] = {"skip_list_names=[\"layers.0.\"]", "qep_alpha=0", "act_order=dynamic"};
    const char *keys[BM_COUNT(common) + BM_COUNT(plain)];
    uint32_t num_keys = 0;
    for (uint32_t i = 0; i < BM_COUNT(common); i++)
        keys[num_keys++] = common[i];
    for (uint32_t i = 0; type == alone && i < BM_COUNT(plain); i++)
        keys[num_keys++] = plain[i];
    for (uint32_t i = 0; type == second && i < BM_COUNT(of_second); i++)
        keys[num_keys++] = of_second[i];
    if (type && type != alone && type != second) {
        keys[num_keys++] = "format=gguf";
        keys[num_keys++] = type;
    }
    char *folder = support_folder_create(), *output = bm_path_join(folder, "out");
    bm_error err = {0};
    bm_quantize_params params;
    bm_quantize_job job = {0};
    double megabytes;
    bm_quantize_params_init(&params);
    params.model = type == second ? two : type ? wide : model;
    params.method = method;
    params.data = data;
    params.output = output;
    params.device = spec;
    params.overrides = keys;
    params.num_overrides = num_keys;
    params.device_memory = b.device;
    params.host_memory = b.host;
    params.cache_folder = cache;
    params.skips_verification = false;
    bm_status status =
        wanted == DONE ? bm_quantize_job_run(&params, &job, &err) : bm_quantize_job_plan(&params, &job, &err);
    if (status == BM_OK && wanted == CLAIMED)
        status = run_with_claims(&job, &job.result, &err);
    if (status == BM_E_ARGUMENT) {
        const char *found = strstr(err.message, "expected at least ");
        assert_non_null(strstr(err.message, b.host ? "--host-memory" : "--device-memory"));
        assert_non_null(found);
        megabytes = strtod(found + strlen("expected at least "), NULL);
        assert_true(megabytes > 0);
        *least = (uint64_t)(megabytes * 1e6 + 0.5);
        assert_null(job.result.timeline);
        assert_true(job.is_planned);
    } else {
        assert_ok(status, &err);
        assert_true(b.device == 0 || job.result.peak_device_bytes <= b.device);
        assert_true(b.host == 0 || support_keeps_freed_memory() || job.result.peak_process_bytes <= b.host);
    }
    bm_quantize_job_free(&job);
    bm_free(output);
    support_folder_remove(&folder);
    return status;
}

// lavapipe compiles every kernel in every run: there each method is done once, with one of these.
enum { LEAST = 1, CLAIMS = 2, LEAST_OF_PROCESS = 4 };

static void accepted_budgets_are_kept(const char *method, const char *type, unsigned done, unsigned done_slowly)
{
    uint64_t least = 0, other = 0;
    if (strncmp(spec, "vulkan", 6) == 0)
        done = done_slowly;
    assert_int_equal(quantize(method, type, (budget){.device = 5000}, DONE, &least), BM_E_ARGUMENT);
    assert_int_equal(quantize(method, type, (budget){.device = least / 100 * 98}, PLANNED, &other), BM_E_ARGUMENT);
    assert_int_equal(other, least);
    assert_int_equal(quantize(method, type, (budget){.device = least}, done & LEAST ? DONE : PLANNED, &other), BM_OK);
    assert_int_equal(quantize(method, type, (budget){.device = least / 8 * 11}, PLANNED, &other), BM_OK);
    assert_int_equal(quantize(method, type, (budget){.device = 64000000}, done & CLAIMS ? CLAIMED : PLANNED, &other),
                     BM_OK);
    printf("%s: at least %.1f MB of the device", method, (double)least / 1e6);
    assert_int_equal(quantize(method, type, (budget){.host = 5000}, PLANNED, &least), BM_E_ARGUMENT);
    const uint64_t given = support_keeps_freed_memory() ? least / 4 * 5 : least; // the process grows from plan to plan
    assert_int_equal(quantize(method, type, (budget){.host = given}, done & LEAST_OF_PROCESS ? DONE : PLANNED, &other),
                     BM_OK);
    printf(", %.1f MB of the process\n", (double)least / 1e6);
}

static void rounding(void **state)
{
    (void)state;
    accepted_budgets_are_kept("rtn", NULL, LEAST | CLAIMS, CLAIMS);
}

static void gptq(void **state)
{
    (void)state;
    accepted_budgets_are_kept("gptq", NULL, LEAST | CLAIMS, LEAST);
}

// Its least is that of one square, with the Hessian in a file.
static void gptq_in_one_square(void **state)
{
    (void)state;
    accepted_budgets_are_kept("gptq", alone, LEAST | CLAIMS | LEAST_OF_PROCESS, LEAST);
}

// What is solved of a block that is not the first counts.
static void gptq_behind_a_block_that_stays_float(void **state)
{
    (void)state;
    accepted_budgets_are_kept("gptq", second, LEAST | CLAIMS, 0);
}

static void awq(void **state)
{
    (void)state;
    if (support_is_instrumented())
        skip(); // whole runs
    accepted_budgets_are_kept("awq", NULL, LEAST | CLAIMS | LEAST_OF_PROCESS, LEAST_OF_PROCESS);
}

static void inputs_of_8_bits(void **state)
{
    (void)state;
    if (support_is_instrumented())
        skip(); // whole runs
    accepted_budgets_are_kept("a8w8", NULL, LEAST | CLAIMS, LEAST);
}

// Steps that are nested in 256 inputs.
static void rounding_to_mixtures(void **state)
{
    (void)state;
    accepted_budgets_are_kept("rtn", "gguf_type=q4_k_m", LEAST | CLAIMS, 0);
}

static void gptq_to_mixtures(void **state)
{
    (void)state;
    accepted_budgets_are_kept("gptq", "gguf_type=q4_k_m", LEAST | CLAIMS, 0);
}

// Pieces of a large output are in the host's memory before rows are in the device's: of a process that both share they take turns.
static void phases_take_turns_with_memory_that_is_shared(void **state)
{
    (void)state;
    char *folder = support_folder_create(), *output = bm_path_join(folder, "out");
    bm_error err = {0};
    bm_quantize_params params;
    bm_quantize_job job = {0};
    bm_quantize_params_init(&params);
    params.model = model;
    params.output = output;
    params.device = spec;
    params.cache_folder = cache;
    assert_ok(bm_quantize_job_plan(&params, &job, &err), &err);
    bm_memory_budget b = job.budget;
    if (b.is_shared) {
        const bm_emit_context emit = {
            .arguments = job.arguments, .plan = job.plan, .model = job.model, .device = job.device};
        bm_memory_claims claims;
        bm_memory_least least;
        job.plan->output_bytes = UINT64_C(1) << 30;
        b.host_is_given = true;
        b.host_bytes = 1;
        assert_int_equal(bm_memory_fit(&emit, &b, NULL, &claims, &least, &err), BM_E_ARGUMENT);
        b.host_bytes = least.process_bytes - b.resident_bytes / 16; // what the program may take beyond the claims
        assert_ok(bm_memory_fit(&emit, &b, NULL, &claims, &least, &err), &err);
        assert_true(bm_device_memory_bytes(job.device) >= bm_memory_claims_need(&claims, &b, false, NULL));
    }
    bm_quantize_job_free(&job);
    bm_free(output);
    support_folder_remove(&folder);
}

// The claims of a method on the host's memory for statistics, and meanwhile.
static uint64_t claim_statistics(const char *method, const char *key, uint64_t *kept, uint64_t *meanwhile)
{
    const char *keys[] = {"group_size=32", "smooth_step=2", "search_tokens=16", "max_length=24", key};
    char *folder = support_folder_create(), *output = bm_path_join(folder, "out");
    bm_error err = {0};
    bm_quantize_params params;
    bm_quantize_job job = {0};
    *kept = *meanwhile = 0;
    bm_quantize_params_init(&params);
    params.model = wide;
    params.method = method;
    params.data = data;
    params.output = output;
    params.device = spec;
    params.cache_folder = cache;
    params.overrides = keys;
    params.num_overrides = BM_COUNT(keys);
    assert_ok(bm_quantize_job_plan(&params, &job, &err), &err);
    for (uint32_t i = 0; i < job.claims.count; i++) {
        const bm_memory_claim *claim = &job.claims.items[i];
        *kept += strcmp(claim->what, "statistics of sequences") == 0 ? claim->bytes : 0;
        *meanwhile += strcmp(claim->what, "magnitudes and candidates of a stage") == 0 ? claim->bytes : 0;
    }
    const uint64_t sequences = job.plan->calibration.num_segments;
    bm_quantize_job_free(&job);
    bm_free(output);
    support_folder_remove(&folder);
    return sequences;
}

// For each sequence and channel of each stage, of which three have 256 and one 512: a minimum, a maximum and a sum, and AWQ's of
// magnitudes. Meanwhile those of the widest once more, or magnitudes as doubles, twice; candidates of a search, 61 alphas, 1 and 16
// factors or compat's 100 and 10 constants, whichever are more, before and behind finishing, for both halves of the data.
static void statistics_of_sequences_are_claimed(void **state)
{
    (void)state;
    uint64_t kept, meanwhile, sequences = claim_statistics("awq", "awq_n_grid=2", &kept, &meanwhile);
    assert_int_equal(kept, sequences * (3 * 256 + 512) * 4 * 4);
    assert_int_equal(meanwhile, sequences * 512 * 16);
    sequences = claim_statistics("a8w8", "smooth_piecewise_search=true", &kept, &meanwhile);
    assert_int_equal(kept, sequences * (3 * 256 + 512) * 3 * 4);
    assert_int_equal(meanwhile, sequences * 512 * 16 + UINT64_C(2) * 110 * 2 * 512 * 4);
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
    p.hidden_size = 256;
    p.intermediate_size = 512;
    wide = support_folder_create();
    assert_ok(model_maker_write(&p, wide, &err), &err);
    p.num_layers = 2;
    two = support_folder_create();
    assert_ok(model_maker_write(&p, two, &err), &err);
    return 0;
}

static int remove_model(void **state)
{
    (void)state;
    bm_free(data);
    support_folder_remove(&cache);
    support_folder_remove(&wide);
    support_folder_remove(&two);
    support_folder_remove(&model);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rounding),
        cmocka_unit_test(gptq),
        cmocka_unit_test(rounding_to_mixtures),
        cmocka_unit_test(gptq_to_mixtures),
        cmocka_unit_test(gptq_behind_a_block_that_stays_float),
        cmocka_unit_test(awq),
        cmocka_unit_test(statistics_of_sequences_are_claimed),
        cmocka_unit_test(inputs_of_8_bits),
        cmocka_unit_test(gptq_in_one_square),
        cmocka_unit_test(phases_take_turns_with_memory_that_is_shared),
    };
    const int status = open_device(argc, argv, LONG_LOOPS);
    if (status != 0)
        return status;
    const int failures = _cmocka_run_group_tests("budgets", tests, BM_COUNT(tests), create_model, remove_model);
    return close_device() ? failures : failures + 1;
}
