// Problems, and the checks that every solution of one must pass.
#include "quant/problem.h"

#include "quant/gptq_reference.h"

#include <math.h>
#include <stdlib.h>

void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    assert_non_null(memory);
    return memory;
}

void make_problem(problem *p, uint64_t seed)
{
    const uint32_t n = p->channels, hidden = p->rank ? p->rank : n;
    bm_random random;
    bm_random_init(&random, seed, 0);
    float *mix = allocate((size_t)hidden * n, sizeof *mix), *hidden_values = allocate(hidden, sizeof *hidden_values);
    p->inputs = allocate((size_t)p->tokens * n, sizeof *p->inputs);
    p->weights = allocate((size_t)p->rows * n, sizeof *p->weights);
    p->hessian = allocate((size_t)n * n, sizeof *p->hessian);
    p->wide = allocate((size_t)p->rows * n, sizeof *p->wide);
    fill_normal(&random, (uint64_t)hidden * n, 1, mix);
    fill_normal(&random, (uint64_t)p->rows * n, 0.1, p->weights);
    for (uint32_t t = 0; t < p->tokens; t++) {
        fill_normal(&random, hidden, 1, hidden_values);
        for (uint32_t c = 0; c < n; c++) {
            double x = 0;
            for (uint32_t k = 0; k < hidden; k++)
                x += (double)hidden_values[k] * (double)mix[(size_t)k * n + c] / (1 + k); // falling spectrum
            x += (p->rank ? p->noise : 0.3) * bm_random_normal(&random);
            x *= c % 7 == 3 ? 4 : 1;
            p->inputs[(size_t)t * n + c] = c % 11 == 5 && c / 11 < p->num_dead ? 0.0f : (float)x;
        }
    }
    for (uint32_t t = 0; t < p->tokens; t++)
        for (uint32_t i = 0; i < n; i++)
            for (uint32_t j = 0; j < n; j++)
                p->hessian[(size_t)i * n + j] +=
                    (double)p->inputs[(size_t)t * n + i] * (double)p->inputs[(size_t)t * n + j];
    for (size_t k = 0; k < (size_t)p->rows * n; k++)
        p->wide[k] = (double)p->weights[k];
    free(mix);
    free(hidden_values);
}

void free_problem(problem *p)
{
    free(p->inputs);
    free(p->weights);
    free(p->hessian);
    free(p->wide);
}

void watch_problem(bm_multiplier *m, const problem *p, bm_gram *gram)
{
    const uint32_t half = p->tokens / 2 + 1;
    MUST(bm_gram_create(test_device, p->channels, false, gram, &failure));
    const bm_tensor all = make_tensor(p->tokens, p->channels, p->inputs);
    const bm_tensor first = bm_tensor_rows(&all, 0, half), second = bm_tensor_rows(&all, half, p->tokens - half);
    MUST(bm_gram_add(m, gram, &first, NULL, &failure));
    MUST(bm_gram_add(m, gram, &second, NULL, &failure));
    MUST(bm_gram_finish(test_device, gram, NULL, &failure));
}

void solve_problem(bm_multiplier *m, const problem *p, const bm_gram *gram, const bm_inverse_factor *factor,
                   const bm_method_params *params, result *out)
{
    const uint32_t groups = bm_num_groups(p->channels, params->grid.group_size);
    const size_t count = (size_t)p->rows * p->channels;
    bm_row_errors *errors = allocate(p->rows, sizeof *errors);
    bm_codes codes = {0};
    *out = (result){.groups = groups,
                    .step = allocate((size_t)p->rows * groups, sizeof(float)),
                    .zero_point = allocate((size_t)p->rows * groups, sizeof(int32_t)),
                    .codes = allocate(count, 1),
                    .rounded = allocate(count, sizeof(float))};
    const bm_tensor weights = make_tensor(p->rows, p->channels, p->weights);
    const bm_tensor rounded = make_tensor(p->rows, p->channels, NULL);
    MUST(bm_codes_create(test_device, p->rows, p->channels, &params->grid, &codes, &failure));
    const bm_method_rows rows = {.weights = &weights, .codes = &codes, .rounded = &rounded, .errors = errors};
    MUST(bm_gptq_rows_solve(m, gram, factor, params, &rows, &failure));
    MUST(bm_tensor_download(test_device, &codes.codes, out->codes, &failure));
    MUST(bm_tensor_download(test_device, &codes.step, out->step, &failure));
    MUST(bm_tensor_download(test_device, &codes.zero_point, out->zero_point, &failure));
    MUST(bm_tensor_download(test_device, &rounded, out->rounded, &failure));
    MUST(bm_device_wait(test_device, &failure));
    bm_codes_destroy(&codes);
    const bm_row_errors sum = bm_row_errors_sum(errors, p->rows);
    free(errors);
    out->error = sum.output_error;
    out->rounding = sum.output_error_rounding;
    double error = 0, norm = 0;
    for (size_t k = 0; k < count; k++) {
        error += pow((double)out->rounded[k] - p->wide[k], 2);
        norm += p->wide[k] * p->wide[k];
    }
    assert_true(fabs(error - sum.weight_error) <= 1e-4 * error && fabs(norm - sum.weight_norm) <= 1e-4 * norm);
}

void free_result(result *r)
{
    free(r->step);
    free(r->rounded);
    free(r->zero_point);
    free(r->codes);
}

void check_result(const problem *p, const bm_method_params *params, const bm_inverse_factor *factor, const result *r)
{
    const uint32_t n = p->channels;
    const double half = ldexp(1, (int)params->grid.bits - 1);
    double *row = allocate(n, sizeof *row), *plain = allocate(n, sizeof *plain), *target = allocate(n, sizeof *target);
    const double told_within = p->told_within > 0 ? p->told_within : 1e-3;
    double sum = 0, sum_plain = 0;
    for (uint32_t i = 0; i < p->rows; i++) {
        for (uint32_t c = 0; c < n; c++) {
            const uint32_t at = params->act_order == BM_COLUMN_ORDER_DYNAMIC ? factor->place[c] : c;
            const uint32_t k = i * r->groups + at / params->grid.group_size;
            const float value = (float)(r->codes[(size_t)i * n + c] - r->zero_point[k]) * r->step[k];
            assert_true(fabsf(value - r->rounded[(size_t)i * n + c]) <= 1e-6f * fabsf(value));
            row[c] = (double)value;
            target[c] = factor->dead[c] ? 0 : p->wide[(size_t)i * n + c];
            const double step = (double)r->step[k], zero = r->zero_point[k];
            plain[c] = (fmin(fmax(rint(target[c] / step) + zero, -half), half - 1) - zero) * step;
        }
        const double error = gptq_reference_error(target, row, p->hessian, n);
        const double rounding = gptq_reference_error(target, plain, p->hessian, n);
        assert_true(error <= rounding * 1.001 + 1e-9);
        sum += error;
        sum_plain += rounding;
    }
    if (!(fabs(sum - r->error) <= told_within * sum + 1e-7))
        fail_msg("error %g, told as %g", sum, r->error);
    if (!(fabs(sum_plain - r->rounding) <= told_within * sum_plain + 1e-7))
        fail_msg("plain rounding: %g, expected %g (%g %g)", r->rounding, sum_plain, r->error, sum);
    free(row);
    free(plain);
    free(target);
}
