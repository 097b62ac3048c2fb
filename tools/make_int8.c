// make_int8: a float model with its linears in 8 bits and quantized inputs (int-quantized), by plain rounding: for trials with
// other programs before a method writes such folders.
//
//   make_int8 MODEL OUT [STEP]...     four steps a block: of the inputs of q k v, o, gate up, down; none: each token its own
#include "support/int8_maker.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    bm_error err = {0};
    if (argc < 3) {
        fprintf(stderr, "make_int8 MODEL OUT [STEP]...\n");
        return 2;
    }
    const uint32_t num_steps = (uint32_t)argc - 3;
    float *steps = bm_alloc_zero((uint64_t)num_steps + 1, sizeof *steps);
    for (uint32_t i = 0; steps && i < num_steps; i++)
        steps[i] = strtof(argv[3 + i], NULL);
    const bm_status status = int8_maker_write(argv[1], argv[2], num_steps > 0 ? steps : NULL, num_steps, NULL, &err);
    bm_free(steps);
    if (status != BM_OK)
        fprintf(stderr, "make_int8: %s\n", err.message);
    return status == BM_OK ? 0 : 2;
}
