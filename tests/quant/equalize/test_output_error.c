// Figures of the layer-wise error, worked by hand.
#include "quant/equalize/output_error.h"
#include "quant/equalize/close.h"

#include <math.h>

// Y = (3, 4, 0), Yq = (3, 3, 1): errors 0, 1, 1; squares of Y 25, of Yq 19; product 21.
static void figures_are_those_of_their_formulas(void **state)
{
    (void)state;
    bm_output_sums sums = {0}, more = {0};
    bm_output_sums_add(&sums, (const float[]){3}, (const float[]){3}, 1);
    bm_output_sums_add(&more, (const float[]){4, 0}, (const float[]){3, 1}, 2);
    bm_output_sums_add_inputs(&sums, (const float[]){1, -2, 2.5f}, 3, 2);
    bm_output_sums_add_inputs(&more, (const float[]){-3}, 1, 2);
    bm_output_sums_merge(&sums, &more);
    const bm_output_error error = bm_output_error_of(&sums);
    assert_close(error.mse, 2.0 / 3, 1e-12);
    assert_close(error.nmse, 2.0 / 25, 1e-12);
    assert_close(error.sqnr_db, 10.969100, 1e-6);
    assert_close(error.cosine, 21 / sqrt(25.0 * 19), 1e-12);
    assert_true(error.max_error == 1);
    assert_true(error.saturated_share == 0.5); // 2.5 and -3 of four; the amax itself is met
}

static void zeros_have_their_figures(void **state)
{
    (void)state;
    bm_output_error error = bm_output_error_of(&(bm_output_sums){0});
    assert_true(error.mse == 0 && error.nmse == 0 && isinf(error.sqnr_db) && error.sqnr_db > 0 && error.cosine == 1);
    assert_true(error.saturated_share == 0);
    bm_output_sums sums = {0};
    bm_output_sums_add(&sums, (const float[]){0, 0}, (const float[]){0, 2}, 2);
    error = bm_output_error_of(&sums);
    assert_true(error.mse == 2 && isinf(error.nmse) && isinf(error.sqnr_db) && error.sqnr_db < 0 && error.cosine == 0);
}

static void an_error_of_nan_is_no_number(void **state)
{
    (void)state;
    bm_output_sums sums = {0};
    bm_output_sums_add(&sums, (const float[]){1, NAN}, (const float[]){1, 2}, 2);
    const bm_output_error error = bm_output_error_of(&sums);
    assert_true(isnan(error.mse) && isnan(error.nmse));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(figures_are_those_of_their_formulas),
        cmocka_unit_test(zeros_have_their_figures),
        cmocka_unit_test(an_error_of_nan_is_no_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
