// convert: no arithmetic but the rounding of the stored value, so the result is exact.
#include "base/half.h"
#include "kernels/table.h"
#include "device/tensor.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
// cmocka needs the four above
#include <cmocka.h>

enum { ROWS, COLS };

static void make(kernel_run *run)
{
    const uint32_t rows = run->shape[ROWS], cols = run->shape[COLS];
    kernel_shape(run, 0, rows, cols);
    kernel_shape(run, 1, rows, cols);
    kernel_fill(run, 0, 1);
    const bm_convert_scalars scalars = {rows, cols, (uint32_t)run->buffers[0].stride, (uint32_t)run->buffers[1].stride};
    kernel_scalars(run, &scalars, sizeof scalars);
    run->groups[0] = kernel_groups((uint64_t)rows * cols / 4, 64);
}

static void reference(const kernel_run *run, double *const *out)
{
    memcpy(out[1], run->buffers[0].values, run->buffers[0].rows * run->buffers[0].cols * sizeof(double));
}

static double operations(const kernel_run *run)
{
    (void)run;
    return 0;
}

// Converts 3 x 5 values with one bad one and expects an error that names the subject and the place.
static void expect_report(bm_device *device, float bad, bm_dtype to, const char *place)
{
    float values[15];
    for (uint32_t i = 0; i < 15; i++)
        values[i] = (float)i;
    values[7] = bad; // row 1, column 2: its quad begins at element 5
    bm_error err = {0};
    bm_tensor x = {0}, y = {0};
    assert_int_equal(bm_tensor_create(device, BM_DTYPE_F32, 3, 5, "x", &x, &err), BM_OK);
    assert_int_equal(bm_tensor_create(device, to, 3, 5, "y", &y, &err), BM_OK);
    assert_int_equal(bm_tensor_upload(device, &x, values, &err), BM_OK);
    const bm_convert_scalars scalars = {3, 5, (uint32_t)x.stride, (uint32_t)y.stride};
    const bm_call call = {.kernel = BM_KERNEL_CONVERT,
                          .buffers = {x.view, y.view},
                          .types = {x.dtype, y.dtype},
                          .scalars = &scalars,
                          .groups = {1, 1, 1},
                          .subject = "model.norm.weight"};
    assert_int_equal(bm_dispatch(device, &call, &err), BM_OK);
    const bm_status status = bm_device_wait(device, &err);
    if (place) {
        assert_int_equal(status, BM_E_NUMERIC);
        assert_non_null(strstr(err.message, "model.norm.weight"));
        assert_non_null(strstr(err.message, place));
        assert_int_equal(bm_device_wait(device, &err), BM_OK); // read once, then discarded
    } else {
        assert_int_equal(status, BM_OK);
    }
    bm_tensor_destroy(&x);
    bm_tensor_destroy(&y);
    assert_int_equal(bm_device_wait(device, &err), BM_OK);
}

// Every float16 there is, subnormal ones too, becomes the float32 of the same value, bit for bit.
static void every_half(bm_device *device)
{
    enum { HALVES = 65536 };
    static uint16_t halves[HALVES];
    static float back[HALVES];
    bm_error err = {0};
    bm_tensor x = {0}, y = {0};
    for (uint32_t i = 0; i < HALVES; i++)
        halves[i] = (uint16_t)i;
    assert_int_equal(bm_tensor_create(device, BM_DTYPE_F16, 1, HALVES, "x", &x, &err), BM_OK);
    assert_int_equal(bm_tensor_create(device, BM_DTYPE_F32, 1, HALVES, "y", &y, &err), BM_OK);
    assert_int_equal(bm_tensor_upload(device, &x, halves, &err), BM_OK);
    const bm_convert_scalars scalars = {1, HALVES, (uint32_t)x.stride, (uint32_t)y.stride};
    const bm_call call = {.kernel = BM_KERNEL_CONVERT,
                          .buffers = {x.view, y.view},
                          .types = {x.dtype, y.dtype},
                          .scalars = &scalars,
                          .groups = {16, 1, 1}};
    assert_int_equal(bm_dispatch(device, &call, &err), BM_OK);
    assert_int_equal(bm_tensor_download(device, &y, back, &err), BM_OK);
    assert_int_equal(bm_device_wait(device, &err), BM_E_NUMERIC); // infinity and NaN are among them
    for (uint32_t i = 0; i < HALVES; i++) {
        const float want = bm_f16_to_f32((uint16_t)i);
        if (isnan(want) ? !isnan(back[i]) : memcmp(&back[i], &want, sizeof want) != 0) // NOLINT: the bits
            fail_msg("float16 %#x: got %a, want %a", i, (double)back[i], (double)want);
    }
    bm_tensor_destroy(&x);
    bm_tensor_destroy(&y);
    assert_int_equal(bm_device_wait(device, &err), BM_OK);
}

static void reports(bm_device *device)
{
    every_half(device);
    expect_report(device, NAN, BM_DTYPE_F32, "element 5");
    expect_report(device, INFINITY, BM_DTYPE_BF16, "element 5");
    expect_report(device, -70000.0f, BM_DTYPE_F16, "element 5"); // above float16's range
    expect_report(device, 65519.0f, BM_DTYPE_F16, NULL);         // rounds to 65504, the largest
    expect_report(device, 3e38f, BM_DTYPE_F32, NULL);
}

const kernel_operation kernel_convert = {
    .kernel = BM_KERNEL_CONVERT,
    .cases = {{"1", {1, 1}, false},
              {"prime", {7, 13}, false},
              {"tile - 1", {3, 255}, false},
              {"tile", {3, 256}, false},
              {"tile + 1", {3, 257}, false},
              {"long thin", {1031, 3}, false},
              {"layer", {64, 2048}, true}},
    .type_sets = {{BM_DTYPE_F32, BM_DTYPE_F16},
                  {BM_DTYPE_F32, BM_DTYPE_BF16},
                  {BM_DTYPE_F16, BM_DTYPE_F32},
                  {BM_DTYPE_BF16, BM_DTYPE_F32},
                  {BM_DTYPE_F32, BM_DTYPE_F32},
                  {BM_DTYPE_BF16, BM_DTYPE_F16}},
    .make = make,
    .exact = true, // what is stored is the value rounded once, half to even
    .reference = reference,
    .operations = operations,
    .extra = reports,
};
