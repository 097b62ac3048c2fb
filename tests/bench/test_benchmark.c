// What is measured is right, also where a product takes so long that it is cut. Argument: the device.
#include "support/unit.h"

#include "bench/benchmark.h"
#include "ops/attention.h"
#include "ops/gemm_int8.h"
#include "support/support.h"

#include <stdio.h>
#include <string.h>

static bm_device *device;
static support_log test_log;

// By these rates a dispatch takes 128 rows (14 in panels) by 64 output features. bm_benchmark_gemm checks what was written.
static void a_product_cut_by_rows_and_columns_is_measured(void **state)
{
    (void)state;
    static const bm_gemm_choice choices[] = {
        {"test", BM_GEMM_ROWS, 0, 64, 8, 0, 0, 1e-6, "rows, short dispatches", 0},
        {"test", BM_GEMM_PANELS, 0, 8, 0, 14, 32, 1e-6, "panels, short dispatches", 0},
    };
    const bm_benchmark_limits limits = {.gflops = 1, .gbps = 1};
    for (size_t c = 0; c < BM_COUNT(choices); c++) {
        bm_error err = {0};
        bm_benchmark_result result = {0};
        assert_ok(bm_benchmark_gemm(device, 130, 100, 20, c == 0 ? BM_DTYPE_F32 : BM_DTYPE_BF16, &choices[c], &limits,
                                    NULL, &result, &err),
                  &err);
        assert_true(result.time.seconds > 0);
    }
}

// Every name of a variant once, or the one that is asked for; what was asked for stays asked for.
static char seen[256];
static void note_variant(void *user, const char *variant, const bm_benchmark_result *result)
{
    (void)user;
    assert_true(result->time.seconds > 0 && result->gflops > 0);
    snprintf(seen + strlen(seen), sizeof seen - strlen(seen), "%s,", variant);
}

static void a_product_is_measured_by_every_variant(void **state)
{
    (void)state;
    static const bm_benchmark_shape shape = {"odd", 131, 70, 45};
    const bm_benchmark_limits limits = {.gflops = 1, .gbps = 1};
    bm_error err = {0};
    char names[256] = "";
    for (uint32_t i = 0; bm_gemm_variant(device, i); i++)
        snprintf(names + strlen(names), sizeof names - strlen(names), "%s,", bm_gemm_variant(device, i));
    seen[0] = '\0';
    assert_ok(bm_benchmark_gemm_variants(device, &shape, BM_DTYPE_F16, NULL, &limits, NULL, note_variant, NULL, &err),
              &err);
    assert_string_equal(seen, names);
    assert_string_equal(bm_device_variants(device), "");
    seen[0] = '\0';
    assert_ok(bm_device_set_variants(device, "gemm=generic", &err), &err);
    assert_ok(bm_benchmark_gemm_variants(device, &shape, BM_DTYPE_F32, NULL, &limits, NULL, note_variant, NULL, &err),
              &err);
    assert_string_equal(seen, "generic,");
    assert_string_equal(bm_device_variants(device), "gemm=generic");
    assert_ok(bm_device_set_variants(device, "", &err), &err);
}

static void products_of_codes_are_measured_by_every_variant(void **state)
{
    (void)state;
    const bm_benchmark_limits limits = {.gflops = 1, .gbps = 1};
    const bm_benchmark_shape shape = {NULL, 130, 100, 70};
    bm_error err = {0};
    char names[256] = "";
    for (uint32_t i = 0; bm_gemm_int8_variant(device, i); i++)
        snprintf(names + strlen(names), sizeof names - strlen(names), "%s,", bm_gemm_int8_variant(device, i));
    seen[0] = '\0';
    assert_ok(bm_benchmark_gemm_int8_variants(device, &shape, NULL, &limits, NULL, note_variant, NULL, &err), &err);
    assert_string_equal(seen, names);
    assert_string_equal(bm_device_variants(device), "");
    seen[0] = '\0';
    assert_ok(bm_device_set_variants(device, "gemm_int8=generic", &err), &err);
    assert_ok(bm_benchmark_gemm_int8_variants(device, &shape, NULL, &limits, NULL, note_variant, NULL, &err), &err);
    assert_string_equal(seen, "generic,");
    assert_string_equal(bm_device_variants(device), "gemm_int8=generic");
    assert_ok(bm_device_set_variants(device, "", &err), &err);
}

// Short sequences in a pack, then one token behind a cache, which alone is split. Outputs are checked where they are measured.
static void attention_is_measured_by_every_variant(void **state)
{
    (void)state;
    const bm_benchmark_limits limits = {.gflops = 1, .gbps = 1};
    bm_error err = {0};
    char names[256] = "";
    bool is_split = false;
    for (uint32_t i = 0; bm_attention_variant(device, i); i++) {
        const bool is_this = strcmp(bm_attention_variant(device, i), "split") == 0;
        if (!is_this)
            snprintf(names + strlen(names), sizeof names - strlen(names), "%s,", bm_attention_variant(device, i));
        is_split = is_split || is_this;
    }
    seen[0] = '\0';
    assert_ok(bm_benchmark_attention_variants(device, 2, BM_DTYPE_F16, &limits, NULL, note_variant, NULL, &err), &err);
    assert_string_equal(seen, names);
    if (support_is_instrumented())
        return;
    seen[0] = '\0';
    assert_ok(bm_benchmark_attention_variants(device, 3, BM_DTYPE_F16, &limits, NULL, note_variant, NULL, &err), &err);
    assert_non_null(strstr(seen, "plain,"));
    assert_int_equal(strstr(seen, "split,") != NULL, is_split);
    assert_string_equal(bm_device_variants(device), "");
}

// Outputs and errors are checked by bm_benchmark_gemm_int8.
static void a_product_of_codes_is_measured(void **state)
{
    (void)state;
    const bm_benchmark_limits limits = {.gflops = 1, .gbps = 1};
    for (uint32_t compares = 0; compares < 2; compares++) {
        bm_error err = {0};
        bm_benchmark_result result = {0};
        assert_ok(bm_benchmark_gemm_int8(device, 130, 100, 70, compares != 0, &limits, NULL, &result, &err), &err);
        assert_string_equal(result.name, compares ? "gemm_int8_loss" : "gemm_int8");
        assert_true(result.time.seconds > 0 && result.counts_integers && result.gflops > 0);
    }
}

// Outputs are checked by bm_benchmark_gemm_codes.
static void a_product_of_packed_codes_is_measured(void **state)
{
    (void)state;
    const bm_benchmark_limits limits = {.gflops = 1, .gbps = 1};
    bm_error err = {0};
    bm_benchmark_result result = {0};
    assert_ok(bm_benchmark_gemm_codes(device, 2, 96, 1056, BM_DTYPE_F16, &limits, NULL, &result, &err), &err);
    assert_string_equal(result.name, "gemm_codes");
    assert_true(result.time.seconds > 0 && result.gflops > 0 && result.time.fastest <= result.time.slowest);
}

// Its loss is checked by bm_benchmark_search_loss.
static void a_candidate_of_a_search_is_measured(void **state)
{
    (void)state;
    const bm_benchmark_limits limits = {.gflops = 1, .gbps = 1};
    bm_error err = {0};
    bm_benchmark_result result = {0};
    const uint32_t m = support_is_instrumented() ? 33 : 130; // looking for an address takes rounds too
    assert_ok(bm_benchmark_search_loss(device, m, 100, m / 2 + 5, &limits, NULL, &result, &err), &err);
    assert_string_equal(result.name, "search_loss");
    assert_true(result.time.seconds > 0 && result.counts_integers && result.gflops > 0);
}

// On a busy machine a kernel may outrun what was measured before it.
static void a_share_above_the_limit_is_no_percentage(void **state)
{
    (void)state;
    char words[BM_BENCHMARK_SHARE_SIZE];
    assert_string_equal(bm_benchmark_share_words(0.874, words), " 87 % of the limit");
    assert_string_equal(bm_benchmark_share_words(1.04, words), "104 % of the limit");
    assert_string_equal(bm_benchmark_share_words(3.63, words), "above the limit as measured");
}

// The rows of a linear, behind all that comes before them.
static void what_watches_inputs_is_measured(void **state)
{
    (void)state;
    const bm_benchmark_limits limits = {.gflops = 1, .gbps = 1};
    bm_error err = {0};
    bm_benchmark_result result = {0};
    uint32_t index = 0;
    if (bm_device_is_host(device) || support_is_instrumented())
        skip(); // long there
    while (strcmp(bm_benchmark_quantization_name(index), "gptq_rows_plain") != 0)
        index++;
    assert_true(index < bm_benchmark_num_quantization());
    assert_ok(bm_benchmark_quantization(device, index, BM_DTYPE_F32, &limits, NULL, &result, &err), &err);
    assert_string_equal(result.name, "gptq_rows_plain");
    assert_true(result.time.seconds > 0 && result.gflops > 0 && result.gbps > 0 && result.shape[1] >= 1024);
}

int main(int argc, char **argv)
{
    bm_error err = {0};
    support_log_init(&test_log);
    if (argc != 2 || support_device_open(argv[1], &test_log, &device, &err) != BM_OK) {
        fprintf(stderr, "usage: test_benchmark SPEC\n%s\n", err.message);
        return 1;
    }
    if (!device)
        return SUPPORT_SKIP;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_product_cut_by_rows_and_columns_is_measured),
        cmocka_unit_test(a_product_is_measured_by_every_variant),
        cmocka_unit_test(products_of_codes_are_measured_by_every_variant),
        cmocka_unit_test(attention_is_measured_by_every_variant),
        cmocka_unit_test(a_product_of_codes_is_measured),
        cmocka_unit_test(a_product_of_packed_codes_is_measured),
        cmocka_unit_test(a_candidate_of_a_search_is_measured),
        cmocka_unit_test(a_share_above_the_limit_is_no_percentage),
        cmocka_unit_test(what_watches_inputs_is_measured),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    bm_device_close(&device);
    return failed != 0 || test_log.num_complaints != 0;
}
