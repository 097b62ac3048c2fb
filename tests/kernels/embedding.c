// embedding: rows are copied, so the result is exact but for the rounding of the stored value.
#include "kernels/table.h"
#include "device/tensor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
// cmocka needs the four above
#include <cmocka.h>

enum { TOKENS, COLS, FIRST_ROW, NUM_ROWS, VOCABULARY };
enum { IDS, TABLE, Y };

static void make(kernel_run *run)
{
    const uint32_t *shape = run->shape;
    kernel_shape(run, IDS, 1, shape[TOKENS]);
    kernel_shape(run, TABLE, shape[NUM_ROWS], shape[COLS]);
    kernel_shape(run, Y, shape[TOKENS], shape[COLS]);
    kernel_fill_integers(run, IDS, 0, shape[VOCABULARY] - 1);
    kernel_fill(run, TABLE, 1);
    kernel_fill(run, Y, 1); // rows of other slices keep this
    const bm_embedding_scalars scalars = {shape[TOKENS],
                                          shape[COLS],
                                          (uint32_t)run->buffers[TABLE].stride,
                                          (uint32_t)run->buffers[Y].stride,
                                          shape[FIRST_ROW],
                                          shape[NUM_ROWS],
                                          shape[VOCABULARY]};
    kernel_scalars(run, &scalars, sizeof scalars);
    run->groups[0] = kernel_groups((uint64_t)shape[TOKENS] * shape[COLS] / 4, 64);
}

static void reference(const kernel_run *run, double *const *out)
{
    const uint32_t *shape = run->shape;
    for (uint64_t k = 0; k < (uint64_t)shape[TOKENS] * shape[COLS]; k++) {
        const double row = run->buffers[IDS].values[k / shape[COLS]] - shape[FIRST_ROW];
        if (row >= 0 && row < shape[NUM_ROWS])
            out[Y][k] = run->buffers[TABLE].values[(uint64_t)row * shape[COLS] + k % shape[COLS]];
    }
}

static double operations(const kernel_run *run)
{
    (void)run;
    return 0;
}

// An id outside the vocabulary is reported with the token's position; the other rows are written.
static void reports(bm_device *device)
{
    const uint32_t ids[5] = {0, 2, 1, 3, 0};
    float table[3 * 4], values[5 * 4] = {0};
    for (uint32_t i = 0; i < 12; i++)
        table[i] = (float)i + 1;
    bm_error err = {0};
    bm_tensor w = {0}, y = {0};
    bm_buffer *buffer = NULL;
    assert_int_equal(bm_tensor_create(device, BM_DTYPE_F32, 3, 4, "table", &w, &err), BM_OK);
    assert_int_equal(bm_tensor_create(device, BM_DTYPE_F32, 5, 4, "y", &y, &err), BM_OK);
    assert_int_equal(bm_buffer_create(device, sizeof ids, "ids", &buffer, &err), BM_OK);
    assert_int_equal(bm_upload(device, bm_buffer_view(buffer), ids, sizeof ids, &err), BM_OK);
    assert_int_equal(bm_tensor_upload(device, &w, table, &err), BM_OK);
    assert_int_equal(bm_tensor_upload(device, &y, values, &err), BM_OK);
    const bm_embedding_scalars scalars = {5, 4, (uint32_t)w.stride, (uint32_t)y.stride, 0, 3, 3};
    const bm_call call = {.kernel = BM_KERNEL_EMBEDDING,
                          .buffers = {bm_buffer_view(buffer), w.view, y.view},
                          .types = {BM_DTYPE_NONE, w.dtype, y.dtype},
                          .scalars = &scalars,
                          .groups = {1, 1, 1},
                          .subject = "model.embed_tokens.weight"};
    assert_int_equal(bm_dispatch(device, &call, &err), BM_OK);
    assert_int_equal(bm_tensor_download(device, &y, values, &err), BM_OK);
    assert_int_equal(bm_device_wait(device, &err), BM_E_NUMERIC);
    assert_non_null(strstr(err.message, "model.embed_tokens.weight"));
    assert_non_null(strstr(err.message, "element 3"));
    assert_true(values[4] == 9 && values[11] == 8 && values[12] == 0 && values[16] == 1);
    bm_tensor_destroy(&w);
    bm_tensor_destroy(&y);
    bm_buffer_destroy(&buffer);
    assert_int_equal(bm_device_wait(device, &err), BM_OK);
}

const kernel_operation kernel_embedding = {
    .kernel = BM_KERNEL_EMBEDDING,
    .cases = {{"1", {1, 1, 0, 1, 1}, false},
              {"prime", {7, 13, 0, 11, 11}, false},
              {"first part", {31, 255, 0, 5, 17}, false},
              {"middle part", {31, 256, 5, 7, 17}, false},
              {"last part", {31, 257, 12, 5, 17}, false},
              {"long thin", {1031, 3, 0, 100, 100}, false},
              {"layer", {64, 2048, 0, 100, 100}, true}},
    .make = make,
    .exact = true,
    .reference = reference,
    .operations = operations,
    .extra = reports,
};
