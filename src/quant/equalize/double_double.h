// Sums of two doubles as one number of about 106 bits: for differences of prefix sums, where doubles cancel. Values are
// far from overflow and subnormals.
// Source: Dekker, 1971; Knuth, The Art of Computer Programming, volume 2, section 4.2.2.
#ifndef BM_QUANT_EQUALIZE_DOUBLE_DOUBLE_H
#define BM_QUANT_EQUALIZE_DOUBLE_DOUBLE_H

#include <math.h>

typedef struct bm_double2 {
    double high, low; // |low| at most half a unit in the last place of high
} bm_double2;

static inline bm_double2 bm_double2_sum(double x, double y)
{
    const double sum = x + y, of_y = sum - x;
    return (bm_double2){sum, (x - (sum - of_y)) + (y - of_y)};
}

static inline bm_double2 bm_double2_product(double x, double y)
{
    const double product = x * y;
    return (bm_double2){product, fma(x, y, -product)};
}

static inline bm_double2 bm_double2_add(bm_double2 x, bm_double2 y)
{
    const bm_double2 sum = bm_double2_sum(x.high, y.high), rest = bm_double2_sum(x.low, y.low);
    const bm_double2 first = bm_double2_sum(sum.high, sum.low + rest.high);
    return bm_double2_sum(first.high, first.low + rest.low);
}

static inline bm_double2 bm_double2_subtract(bm_double2 x, bm_double2 y)
{
    return bm_double2_add(x, (bm_double2){-y.high, -y.low});
}

static inline bm_double2 bm_double2_multiply(bm_double2 x, bm_double2 y)
{
    const bm_double2 product = bm_double2_product(x.high, y.high);
    return bm_double2_sum(product.high, product.low + (x.high * y.low + x.low * y.high));
}

static inline bm_double2 bm_double2_divide(bm_double2 x, double y)
{
    const double quotient = x.high / y;
    const bm_double2 rest = bm_double2_subtract(x, bm_double2_product(quotient, y));
    return bm_double2_sum(quotient, rest.high / y);
}

#endif
