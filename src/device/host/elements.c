// Elements of the storage types, one at a time and by rows; and the status word.
#include "base/half.h"
#include "device/host/host.h"

double host_load(const void *buffer, bm_dtype type, uint64_t i)
{
    switch ((int)type) {
    case BM_DTYPE_F64:
        return ((const double *)buffer)[i];
    case BM_DTYPE_F16:
        return bm_f16_to_f32(((const uint16_t *)buffer)[i]);
    case BM_DTYPE_BF16:
        return bm_bf16_to_f32(((const uint16_t *)buffer)[i]);
    default:
        return ((const float *)buffer)[i];
    }
}

void host_store(void *buffer, bm_dtype type, uint64_t i, double value)
{
    switch ((int)type) {
    case BM_DTYPE_F64:
        ((double *)buffer)[i] = value;
        break;
    case BM_DTYPE_F16:
        ((uint16_t *)buffer)[i] = bm_f64_to_f16(value);
        break;
    case BM_DTYPE_BF16:
        ((uint16_t *)buffer)[i] = bm_f64_to_bf16(value);
        break;
    default:
        ((float *)buffer)[i] = (float)value;
        break;
    }
}

void host_load_row(const void *buffer, bm_dtype type, uint64_t i, uint64_t count, double *out)
{
    for (uint64_t k = 0; k < count; k++)
        out[k] = host_load(buffer, type, i + k);
}

void host_report(const host_call *call, uint32_t code, uint32_t position)
{
    if (call->status_word[0] != 0)
        return;
    call->status_word[0] = code;
    call->status_word[1] = call->subject;
    call->status_word[2] = position;
}
