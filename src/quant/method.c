// What all methods share.
#include "quant/method.h"

bm_row_errors bm_row_errors_sum(const bm_row_errors *rows, uint64_t count)
{
    bm_row_errors sum = {0};
    for (uint64_t r = 0; r < count; r++) {
        sum.weight_error += rows[r].weight_error;
        sum.weight_norm += rows[r].weight_norm;
        sum.output_error += rows[r].output_error;
        sum.output_error_rounding += rows[r].output_error_rounding;
        sum.guarded_rows += rows[r].guarded_rows;
    }
    return sum;
}
