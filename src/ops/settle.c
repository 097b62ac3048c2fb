// Work for clocks to rise.
#include "ops/settle.h"

#include "base/clock.h"
#include "ops/gemm.h"
#include "ops/matrix.h"

#include <math.h>

#define STANDS_NS UINT64_C(500000000) // steps of an H200's clock are 0.25 s apart
#define LONGEST_NS UINT64_C(2000000000)
#define FALLS_BY 0.9
#define PRODUCT_SECONDS 0.05 // about
enum { LEAST_SIDE = 512, USUAL_SIDE = 1024, MOST_SIDE = 4096, NUM_RUNS = 2 };

bool bm_settling_goes_on(bm_settling *s, uint64_t now_ns, double seconds)
{
    const bool is_first = s->least == 0;
    if (is_first)
        s->begin_ns = now_ns;
    if (is_first || seconds < FALLS_BY * s->least) {
        s->least = seconds;
        s->fell_ns = now_ns;
    }
    return now_ns - s->fell_ns < STANDS_NS && now_ns - s->begin_ns < LONGEST_NS;
}

static bm_status create_matrices(bm_device *device, uint64_t side, bm_tensor out[3])
{
    bm_status status = BM_OK;
    for (uint32_t i = 0; i < 3 && status == BM_OK; i++)
        status = bm_tensor_create(device, BM_DTYPE_F32, side, side, "product", &out[i], NULL);
    for (uint32_t i = 0; i < 2 && status == BM_OK; i++)
        status = bm_fill(device, out[i].view, 0, NULL);
    return status;
}

// Operations a second; 0: it did not run. Errors: BM_E_CANCELLED.
static bm_status multiply(bm_device *device, const bm_tensor all[3], bm_phase *phase, double *rate, bm_error *err)
{
    const double operations = bm_gemm_operations(all[0].rows, all[1].rows, all[0].cols);
    const bool is_gpu = bm_device_kind_is_gpu(bm_device_get_info(device)->kind);
    bm_settling settling = {.least = 0};
    bm_multiplier m;
    double least = INFINITY;
    bm_status status = BM_OK;
    bm_multiplier_init(&m, device);
    for (uint32_t run = 0; status == BM_OK; run++) { // the first one compiles
        const uint64_t begin = bm_clock_ns();
        if (bm_multiply(&m, &all[0], &all[1], &all[2], NULL) != BM_OK || bm_device_wait(device, NULL) != BM_OK)
            break;
        const uint64_t now = bm_clock_ns();
        const double seconds = (double)bm_max_u64(1, now - begin) * 1e-9;
        if (run > 0)
            least = fmin(least, seconds);
        if (run + 1 >= NUM_RUNS && !(is_gpu && bm_settling_goes_on(&settling, now, seconds)))
            break;
        status = phase ? bm_phase_step(phase, 0, err) : BM_OK;
    }
    bm_multiplier_free(&m);
    *rate = operations / least;
    return status;
}

bm_status bm_settle(bm_device *device, bm_phase *phase, double *rate, bm_error *err)
{
    bm_tensor all[3] = {{0}};
    double found = 0;
    if (!rate && !bm_device_kind_is_gpu(bm_device_get_info(device)->kind))
        return BM_OK;
    const double wanted = cbrt(PRODUCT_SECONDS * 1e9 * bm_gemm_choose(device).gflops / 2); // by what is believed
    bm_status status = bm_device_wait(device, err);
    // Smaller ones where they do not run, whatever the reason: drivers have the same word for memory that they lack and for what they
    // cannot build.
    for (uint64_t side = bm_round_up((uint64_t)fmin(fmax(wanted, USUAL_SIDE), MOST_SIDE), 128);
         status == BM_OK && found == 0 && side >= LEAST_SIDE; side /= 2) {
        if (create_matrices(device, side, all) == BM_OK)
            status = multiply(device, all, phase, &found, err);
        for (uint32_t i = 0; i < 3; i++)
            bm_tensor_destroy(&all[i]);
        if (status == BM_OK)
            status = bm_device_wait(device, err);
    }
    if (rate && found > 0)
        *rate = found;
    return status;
}
