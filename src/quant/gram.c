// Sums of products of inputs.
#include "quant/gram.h"

#include "ops/elementwise.h"

#include <math.h>

static bm_status create_square(bm_device *device, uint32_t channels, const char *name, bm_tensor *out, bm_error *err)
{
    const bm_status status = bm_tensor_create(device, BM_DTYPE_F32, channels, channels, name, out, err);
    return status == BM_OK ? bm_fill(device, out->view, 0, err) : status;
}

bm_status bm_gram_create(bm_device *device, uint32_t channels, bool with_difference, bm_gram *out, bm_error *err)
{
    bm_status status = BM_OK;
    bm_gram gram = {.channels = channels};
    BM_TRY(create_square(device, channels, "Hessian", &gram.hessian, err));
    if (with_difference)
        BM_TRY(create_square(device, channels, "difference of inputs", &gram.difference, err));
    *out = gram;
    gram = (bm_gram){0};
done:
    bm_gram_destroy(&gram);
    return status;
}

void bm_gram_destroy(bm_gram *gram)
{
    bm_tensor_destroy(&gram->hessian);
    bm_tensor_destroy(&gram->difference);
    bm_tensor_destroy(&gram->scratch);
    bm_scratch_close(&gram->file);
    *gram = (bm_gram){0};
}

uint64_t bm_gram_bytes(uint32_t channels, bool with_difference)
{
    const uint64_t square = channels * bm_tensor_stride(BM_DTYPE_F32, channels) * sizeof(float);
    return with_difference ? 2 * square : square;
}

bm_status bm_gram_add(bm_multiplier *m, bm_gram *gram, const bm_tensor *inputs, const bm_tensor *float_inputs,
                      bm_error *err)
{
    bm_device *device = m->device;
    bm_status status = BM_OK;
    BM_TRY(bm_hessian_add(m, inputs, NULL, 1.0f, &gram->hessian, err));
    gram->tokens += inputs->rows;
    if (!gram->difference.view.buffer)
        return BM_OK;
    const bool is_narrow = float_inputs->dtype == inputs->dtype && bm_multiplier_narrow(m, inputs->dtype);
    bm_tensor difference;
    BM_TRY(bm_tensor_keep(device, &gram->scratch, is_narrow ? inputs->dtype : BM_DTYPE_F32, inputs->rows,
                          gram->channels, "difference of inputs", &difference, err));
    BM_TRY(bm_half_difference(device, float_inputs, inputs, &difference, err));
    BM_TRY(bm_hessian_add(m, &difference, inputs, 2.0f, &gram->difference, err));
done:
    return status;
}

// A channel that is not finite in some token makes its own sum so: infinities and NaN stay, whatever is added.
static bm_status check_finite(bm_device *device, const bm_tensor *square, const char *whose, bm_error *err)
{
    bm_status status = BM_OK;
    bm_tensor diagonal = {0};
    float *host = bm_alloc(square->rows, sizeof *host);
    BM_FAIL_IF(!host, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, 1, square->rows, "diagonal", &diagonal, err));
    BM_TRY(bm_diagonal(device, square, &diagonal, err));
    BM_TRY(bm_tensor_download(device, &diagonal, host, err));
    BM_TRY(bm_device_wait(device, err));
    for (uint64_t c = 0; c < square->rows; c++)
        BM_FAIL_IF(!isfinite(host[c]), err, BM_E_NUMERIC, "%s: " BM_GRAM_NOT_FINITE ", in channel %llu", whose,
                   (unsigned long long)c);
done:
    bm_tensor_destroy(&diagonal);
    bm_free(host);
    return status;
}

bm_status bm_gram_finish(bm_device *device, bm_gram *gram, const char *folder, bm_error *err)
{
    bm_status status = BM_OK;
    bm_tensor whole = {0};
    BM_TRY(check_finite(device, &gram->hessian, "inputs", err));
    if (gram->difference.view.buffer)
        BM_TRY(check_finite(device, &gram->difference, "the float model's inputs", err));
    if (folder) {
        bm_tensor_destroy(&gram->scratch);
        return bm_gram_spill(device, gram, folder, err);
    }
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, gram->channels, gram->channels, "Hessian", &whole, err));
    BM_TRY(bm_permute(device, &gram->hessian, &(bm_permutation){.lower = true}, &whole, err));
    bm_tensor_destroy(&gram->hessian);
    bm_tensor_destroy(&gram->scratch);
    gram->hessian = whole;
    whole = (bm_tensor){0};
done:
    bm_tensor_destroy(&whole);
    return status;
}

bm_status bm_gram_damp(bm_device *device, bm_gram *gram, double amount, bm_error *err)
{
    bm_status status = BM_OK;
    bm_tensor damped = {0}, diagonal = {0};
    float *values = NULL;
    if (gram->file) { // rows get it as they come back
        gram->damping += amount;
        return BM_OK;
    }
    values = bm_alloc(gram->channels, sizeof *values);
    BM_FAIL_IF(!values, err, BM_E_MEMORY, "out of memory");
    for (uint32_t c = 0; c < gram->channels; c++)
        values[c] = (float)amount;
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, 1, gram->channels, "damping", &diagonal, err));
    BM_TRY(bm_tensor_upload(device, &diagonal, values, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, gram->channels, gram->channels, "Hessian", &damped, err));
    BM_TRY(bm_permute(device, &gram->hessian, &(bm_permutation){.diagonal = diagonal.view}, &damped, err));
    bm_tensor_destroy(&gram->hessian);
    gram->hessian = damped;
    gram->damping += amount;
    damped = (bm_tensor){0};
done:
    bm_tensor_destroy(&damped);
    bm_tensor_destroy(&diagonal);
    bm_free(values);
    return status;
}
