// GPTQ in float64 by its definition, column by column, with an explicit inverse: nothing is shared with the program.
#ifndef BM_TESTS_GPTQ_REFERENCE_H
#define BM_TESTS_GPTQ_REFERENCE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct gptq_reference {
    uint32_t rows, channels, group_size, bits;
    bool symmetric, ordered, dynamic_groups;
    double damping;
    const double *hessian; // [channels, channels]
    const double *weights; // [rows, channels]
    // Grids of static groups, [rows, groups]; with dynamic groups abs-max of the corrected columns is taken
    const float *step;
    const int32_t *zero_point;
    double *rounded;  // [rows, channels], in the order of channels
    double *distance; // [rows, channels]: how far the value was from the nearest rounding boundary, in steps
} gptq_reference;

void gptq_reference_solve(const gptq_reference *g);
// Columns in the order of the loop, [channels]; the caller frees.
uint32_t *gptq_reference_order(const gptq_reference *g);
// inverse [n, n] = a^-1 by elimination; a is destroyed.
void gptq_reference_invert(double *a, double *inverse, uint32_t n);
// (a - b) H (a - b)^T of one row.
double gptq_reference_error(const double *a, const double *b, const double *hessian, uint32_t channels);

#endif
