// The table of methods.
#include "quant/method.h"

#include <string.h>

static const bm_method *const methods[] = {&bm_method_rtn, &bm_method_gptq};

const bm_method *bm_method_find(const char *name)
{
    for (size_t i = 0; i < BM_COUNT(methods); i++)
        if (strcmp(methods[i]->name, name) == 0)
            return methods[i];
    return NULL;
}

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
