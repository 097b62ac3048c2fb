// Frantar et al., GPTQ, 2023, algorithm 1, with the inverse recomputed by elimination after each column (section 3.1 there):
// no Cholesky factor, so a mistake in the program's cannot be here too.
#include "quant/gptq_reference.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    if (!memory)
        abort();
    return memory;
}

double gptq_reference_error(const double *a, const double *b, const double *hessian, uint32_t channels)
{
    double error = 0;
    for (uint32_t i = 0; i < channels; i++)
        for (uint32_t j = 0; j < channels; j++)
            error += (a[i] - b[i]) * hessian[(size_t)i * channels + j] * (a[j] - b[j]);
    return error;
}

uint32_t *gptq_reference_order(const gptq_reference *g)
{
    uint32_t *order = allocate(g->channels, sizeof *order);
    for (uint32_t i = 0; i < g->channels; i++)
        order[i] = i;
    for (uint32_t i = 1; i < g->channels && g->ordered; i++) // insertion sort: stable
        for (uint32_t k = i; k > 0; k--) {
            const double here = g->hessian[(size_t)order[k] * (g->channels + 1)];
            const double before = g->hessian[(size_t)order[k - 1] * (g->channels + 1)];
            if (here <= before)
                break;
            const uint32_t swap = order[k];
            order[k] = order[k - 1];
            order[k - 1] = swap;
        }
    return order;
}

// Gauss-Jordan with pivoting.
void gptq_reference_invert(double *a, double *inverse, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < n; j++)
            inverse[(size_t)i * n + j] = i == j;
    for (uint32_t c = 0; c < n; c++) {
        uint32_t best = c;
        for (uint32_t r = c + 1; r < n; r++)
            if (fabs(a[(size_t)r * n + c]) > fabs(a[(size_t)best * n + c]))
                best = r;
        for (uint32_t j = 0; j < n; j++) {
            double swap = a[(size_t)c * n + j];
            a[(size_t)c * n + j] = a[(size_t)best * n + j], a[(size_t)best * n + j] = swap;
            swap = inverse[(size_t)c * n + j];
            inverse[(size_t)c * n + j] = inverse[(size_t)best * n + j], inverse[(size_t)best * n + j] = swap;
        }
        const double pivot = a[(size_t)c * n + c];
        for (uint32_t j = 0; j < n; j++)
            a[(size_t)c * n + j] /= pivot, inverse[(size_t)c * n + j] /= pivot;
        for (uint32_t r = 0; r < n; r++) {
            const double factor = a[(size_t)r * n + c];
            for (uint32_t j = 0; j < n && r != c && factor != 0; j++) {
                a[(size_t)r * n + j] -= factor * a[(size_t)c * n + j];
                inverse[(size_t)r * n + j] -= factor * inverse[(size_t)c * n + j];
            }
        }
    }
}

// The inverse of the damped Hessian in the order of the loop; dead channels have the mean of the live on the diagonal.
static double *ordered_inverse(const gptq_reference *g, const uint32_t *order)
{
    const uint32_t n = g->channels;
    double *h = allocate((size_t)n * n, sizeof *h), *inverse = allocate((size_t)n * n, sizeof *inverse), mean = 0;
    uint32_t live = 0;
    for (uint32_t i = 0; i < n; i++)
        if (g->hessian[(size_t)i * (n + 1)] > 0) {
            mean += g->hessian[(size_t)i * (n + 1)];
            live++;
        }
    mean /= live;
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < n; j++)
            h[(size_t)i * n + j] = g->hessian[(size_t)order[i] * n + order[j]];
    for (uint32_t i = 0; i < n; i++)
        h[(size_t)i * (n + 1)] += g->damping * mean + (h[(size_t)i * (n + 1)] > 0 ? 0 : mean);
    gptq_reference_invert(h, inverse, n);
    free(h);
    return inverse;
}

// Row c becomes row c of the inverse of what is left when columns 0 .. c - 1 have been taken out of the problem.
static void eliminate(double *inverse, uint32_t n)
{
    for (uint32_t c = 0; c < n; c++)
        for (uint32_t i = c + 1; i < n; i++) {
            const double factor = inverse[(size_t)i * n + c] / inverse[(size_t)c * (n + 1)];
            for (uint32_t j = c + 1; j < n; j++)
                inverse[(size_t)i * n + j] -= factor * inverse[(size_t)c * n + j];
        }
}

static void solve_row(const gptq_reference *g, uint32_t row, const uint32_t *order, const double *inverse)
{
    const uint32_t n = g->channels, groups = (n + g->group_size - 1) / g->group_size;
    const double half = ldexp(1, (int)g->bits - 1);
    double *w = allocate(n, sizeof *w), dynamic_step = 0;
    for (uint32_t i = 0; i < n; i++) {
        const bool dead = !(g->hessian[(size_t)order[i] * (n + 1)] > 0);
        w[i] = dead ? 0 : g->weights[(size_t)row * n + order[i]];
    }
    for (uint32_t c = 0; c < n; c++) {
        const size_t group = (size_t)row * groups + order[c] / g->group_size;
        if (g->dynamic_groups && c % g->group_size == 0) {
            double peak = 0;
            for (uint32_t j = c; j < n && j < c + g->group_size; j++)
                peak = fmax(peak, fabs(w[j]));
            dynamic_step = peak > 0 ? (double)(float)(peak / (half - 1)) : 1e-8;
        }
        const double step = g->dynamic_groups ? dynamic_step : (double)g->step[group];
        const double zero = g->dynamic_groups ? 0 : g->zero_point[group];
        const double scaled = w[c] / step, code = fmin(fmax(rint(scaled) + zero, -half), half - 1);
        const double q = (code - zero) * step, error = (w[c] - q) / inverse[(size_t)c * (n + 1)];
        g->rounded[(size_t)row * n + order[c]] = q;
        g->distance[(size_t)row * n + order[c]] = fabs(scaled - floor(scaled) - 0.5);
        for (uint32_t j = c + 1; j < n; j++)
            w[j] -= error * inverse[(size_t)c * n + j];
    }
    free(w);
}

void gptq_reference_solve(const gptq_reference *g)
{
    uint32_t *order = gptq_reference_order(g);
    double *inverse = ordered_inverse(g, order);
    eliminate(inverse, g->channels);
    for (uint32_t r = 0; r < g->rows; r++)
        solve_row(g, r, order, inverse);
    free(inverse);
    free(order);
}
