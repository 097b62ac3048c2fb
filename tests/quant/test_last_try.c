// What happens where float32 finds no factor: float64 by LAPACK, found at run time; without LAPACK plain rounding, and words that say
// what to install. The linker puts functions of this file in the place of two (__wrap_NAME for NAME): no real Hessian fails with a
// damping of 1, and a machine with LAPACK has it. On the host, and on OpenCL's packed products, which report what is not finite.
#include "base/library.h"
#include "ops/cholesky.h"
#include "quant/host_cholesky.h"
#include "quant/problem.h"
#include "support/listener.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// ISO C leaves names that begin with two underscores to the implementation; the linker's option asks for these.
bm_status __wrap_bm_library_open(bm_library **out, const char *const *names, bm_error *err);
bm_status __real_bm_library_open(bm_library **out, const char *const *names, bm_error *err);
bm_status __wrap_bm_cholesky_inverse(bm_multiplier *multiplier, const bm_tensor *x, const bm_tensor *inverse,
                                     const bm_tensor *pivots, bm_error *err);

static bool has_library, overflows;

bm_status __wrap_bm_library_open(bm_library **out, const char *const *names, bm_error *err)
{
    const bool is_lapack = strstr(names[0], "openblas") != NULL; // a device's loader is found whatever the case
    return has_library || !is_lapack ? __real_bm_library_open(out, names, err)
                                     : bm_fail(err, BM_E_DEVICE, "no such library");
}

// As where every pivot is bad, or where the pivots are good and their inverse overflows.
bm_status __wrap_bm_cholesky_inverse(bm_multiplier *multiplier, const bm_tensor *x, const bm_tensor *inverse,
                                     const bm_tensor *pivots, bm_error *err)
{
    const uint32_t one = 0x3f800000, infinity = 0x7f800000;
    (void)x;
    const bm_status status = bm_fill(multiplier->device, inverse->view, overflows ? infinity : 0, err);
    return status == BM_OK ? bm_fill(multiplier->device, pivots->view, overflows ? one : 0, err) : status;
}

static void need_library(void)
{
    static const char *const names[] = {"libopenblas.so.0", "liblapack.so.3", NULL};
    bm_library *library = NULL;
    bm_error err = {0};
    has_library = __real_bm_library_open(&library, names, &err) == BM_OK;
    bm_library_close(&library);
    if (!has_library)
        skip();
}

// x = A A^T + I; inverse x inverse^T = I. In one block of columns, and in several, of which the last is cut.
static void check_inverse(uint32_t n, bm_phase *phase)
{
    const size_t count = (size_t)n * n;
    double *x = allocate(count, sizeof *x), *whole = allocate(count, sizeof *x), *inverse = allocate(count, sizeof *x);
    bm_random random;
    bool is_definite = false;
    bm_random_init(&random, 1, 0);
    for (size_t i = 0; i < count; i++)
        inverse[i] = bm_random_normal(&random); // A
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            x[i * n + j] = i == j;
            for (size_t k = 0; k < n; k++)
                x[i * n + j] += inverse[i * n + k] * inverse[j * n + k];
            whole[i * n + j] = x[i * n + j];
        }
    for (size_t i = 0; i < n; i++)
        for (size_t j = i + 1; j < n; j++)
            x[i * n + j] = NAN; // not read
    MUST(bm_host_cholesky_inverse(x, n, phase, &is_definite, &failure));
    assert_true(is_definite);
    memset(inverse, 0, count * sizeof *inverse); // x whole
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k <= i; k++)
            for (size_t j = 0; j < n; j++)
                inverse[i * n + j] += x[i * n + k] * whole[k * n + j];
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            double sum = 0;
            assert_true(j <= i || x[i * n + j] == 0);
            for (size_t l = 0; l <= j; l++)
                sum += inverse[i * n + l] * x[j * n + l];
            assert_true(fabs(sum - (i == j)) <= 1e-9);
        }
    free(x);
    free(whole);
    free(inverse);
}

static void inverse_of_the_factor_is_that_of_its_definition(void **state)
{
    (void)state;
    need_library();
    listener l = {0, 0};
    const bm_progress progress = {hear, &l};
    bm_phase phase = {.progress = &progress};
    check_inverse(37, NULL);
    check_inverse(150, &phase);
    assert_int_equal(l.reports, 6); // three blocks of both
}

// Before any of its steps.
static void work_of_the_host_can_be_stopped(void **state)
{
    (void)state;
    need_library();
    enum { N = 150 };
    static double x[N * N];
    for (uint32_t stop = 1; stop <= 6; stop++) {
        listener l = {0, stop};
        const bm_progress progress = {hear, &l};
        bm_phase phase = {.progress = &progress};
        bool is_definite = true;
        bm_error err = {0};
        for (uint32_t i = 0; i < N * N; i++)
            x[i] = i % (N + 1) == 0 ? 2 : 0;
        assert_int_equal(bm_host_cholesky_inverse(x, N, &phase, &is_definite, &err), BM_E_CANCELLED);
        assert_false(is_definite);
        assert_int_equal(l.reports, stop);
    }
}

static void what_is_not_definite_is_said(void **state)
{
    (void)state;
    need_library();
    double x[] = {1, 0, 0, 2, 1, 0, 0, 0, 1}; // [[1, 2, 0], [2, 1, 0], [0, 0, 1]]
    bool is_definite = true;
    MUST(bm_host_cholesky_inverse(x, 3, NULL, &is_definite, &failure));
    assert_false(is_definite);
}

static void without_lapack_the_words_name_the_package(void **state)
{
    (void)state;
    double x = 1;
    bool is_definite = true;
    bm_error err = {0};
    has_library = false;
    assert_int_equal(bm_host_cholesky_inverse(&x, 1, NULL, &is_definite, &err), BM_E_UNSUPPORTED);
    assert_non_null(strstr(err.message, "install libopenblas0-pthread"));
    assert_false(is_definite);
}

// The damping went up to 1 before.
static void check_float64_solves(bool float32_overflows)
{
    overflows = float32_overflows;
    need_library();
    problem p = {.rows = 5, .channels = 70, .tokens = 200, .num_dead = 1};
    make_problem(&p, 3);
    bm_multiplier m;
    bm_gram gram = {0};
    bm_inverse_factor factor = {0};
    bm_multiplier_init(&m, test_device);
    watch_problem(&m, &p, &gram);
    MUST(bm_inverse_factor_create(&m, &gram, 0.01, true, &factor, &failure));
    assert_true(factor.by_host && factor.damping == 1 && factor.num_raised == 2);
    assert_true(factor.residual < 1e-5); // a wrong factor has about 1
    const bm_method_params params = {
        .grid = {.bits = 4, .group_size = 70, .symmetric = true, .scale_dtype = BM_DTYPE_F32},
        .act_order = BM_COLUMN_ORDER_STATIC};
    result r;
    solve_problem(&m, &p, &gram, &factor, &params, &r);
    check_result(&p, &params, &factor, &r);
    assert_true(r.error < 0.9 * r.rounding);
    free_result(&r);
    bm_inverse_factor_destroy(&factor);
    bm_gram_destroy(&gram);
    bm_multiplier_free(&m);
    free_problem(&p);
}

static void float64_solves_what_float32_cannot(void **state)
{
    (void)state;
    check_float64_solves(false);
}

// Whether a kernel reports what is not finite, as those that pack operands do, or carries it on.
static void float64_solves_where_the_factor_overflows(void **state)
{
    (void)state;
    check_float64_solves(true);
}

static void without_lapack_gptq_rounds_and_says_why(void **state)
{
    (void)state;
    overflows = false;
    problem p = {.rows = 3, .channels = 40, .tokens = 10}; // so few that their damping is above 1
    make_problem(&p, 4);
    const bm_method_params params = {
        .grid = {.bits = 4, .group_size = 40, .symmetric = true, .scale_dtype = BM_DTYPE_F32},
        .act_order = BM_COLUMN_ORDER_STATIC};
    bm_multiplier m;
    bm_group_record record = {0};
    void *group = NULL;
    bm_multiplier_init(&m, test_device);
    has_library = false;
    const bm_tensor x = make_tensor(p.tokens, p.channels, p.inputs);
    MUST(bm_method_gptq.begin(&m, &params, p.channels, &group, &failure));
    MUST(bm_method_gptq.watch(&m, group, &x, NULL, &failure));
    MUST(bm_method_gptq.prepare(&m, group, &params, &record, &failure));
    assert_true(record.fell_back && !record.by_host);
    assert_string_equal(record.reason, "Hessian: not positive definite in float32 with a damping of 2: no LAPACK here "
                                       "for float64; install libopenblas0-pthread");
    bm_method_gptq.end(&group);
    bm_multiplier_free(&m);
    free_problem(&p);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inverse_of_the_factor_is_that_of_its_definition),
        cmocka_unit_test(work_of_the_host_can_be_stopped),
        cmocka_unit_test(what_is_not_definite_is_said),
        cmocka_unit_test(without_lapack_the_words_name_the_package),
        cmocka_unit_test(float64_solves_what_float32_cannot),
        cmocka_unit_test(float64_solves_where_the_factor_overflows),
        cmocka_unit_test(without_lapack_gptq_rounds_and_says_why),
    };
    return run_on_device(argc, argv, tests, BM_COUNT(tests));
}
