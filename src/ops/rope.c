// Rotary position embedding: tables on the host in float64, application by one kernel.
#include "ops/rope.h"
#include "ops/chunks.h"

#include <math.h>

#define GROUP 64 // the kernel's default
#define TWO_PI 6.283185307179586476925286766559

double bm_rope_operations(uint64_t tokens, uint64_t heads, uint64_t rotary_dim)
{
    return 3.0 * (double)tokens * (double)heads * (double)rotary_dim;
}

double bm_rope_frequency(const bm_rope_config *config, uint32_t rotary_dim, uint32_t index)
{
    const double frequency = pow(config->theta, -2.0 * index / rotary_dim);
    if (config->scaling == BM_ROPE_LINEAR)
        return frequency / config->factor;
    if (config->scaling != BM_ROPE_LLAMA3)
        return frequency;
    const double wavelength = TWO_PI / frequency, old = config->original_max_position_embeddings;
    if (wavelength < old / config->high_freq_factor)
        return frequency;
    if (wavelength > old / config->low_freq_factor)
        return frequency / config->factor;
    const double kept =
        (old / wavelength - config->low_freq_factor) / (config->high_freq_factor - config->low_freq_factor);
    return (1 - kept) * frequency / config->factor + kept * frequency;
}

static bm_status check_config(const bm_rope_config *config, uint32_t rotary_dim, uint32_t num_positions, bm_error *err)
{
    if (rotary_dim == 0 || rotary_dim % 8 != 0)
        return bm_fail(err, BM_E_ARGUMENT, "rope: %u elements of a head are rotated, expected a multiple of 8",
                       rotary_dim);
    if (num_positions == 0)
        return bm_fail(err, BM_E_ARGUMENT, "rope: tables of no position");
    if (!(config->theta > 0))
        return bm_fail(err, BM_E_ARGUMENT, "rope: theta %g, expected a positive number", config->theta);
    if (config->scaling != BM_ROPE_DEFAULT && !(config->factor > 0))
        return bm_fail(err, BM_E_ARGUMENT, "rope: factor %g, expected a positive number", config->factor);
    if (config->scaling == BM_ROPE_LLAMA3 &&
        !(config->low_freq_factor > 0 && config->high_freq_factor > config->low_freq_factor &&
          config->original_max_position_embeddings > 0))
        return bm_fail(err, BM_E_ARGUMENT,
                       "rope: low_freq_factor %g, high_freq_factor %g, original_max_position_embeddings %g; expected "
                       "0 < low < high and a positive length",
                       config->low_freq_factor, config->high_freq_factor, config->original_max_position_embeddings);
    return BM_OK;
}

bm_status bm_rope_tables_create(bm_device *device, const bm_rope_config *config, uint32_t rotary_dim,
                                uint32_t num_positions, bm_rope_tables **out, bm_error *err)
{
    const uint32_t half = rotary_dim / 2;
    bm_status status = BM_OK;
    bm_rope_tables *tables = NULL;
    float *cosines = NULL, *sines = NULL;
    BM_TRY(check_config(config, rotary_dim, num_positions, err));
    tables = bm_alloc_zero(1, sizeof *tables);
    cosines = bm_alloc((uint64_t)num_positions * half, sizeof *cosines);
    sines = bm_alloc((uint64_t)num_positions * half, sizeof *sines);
    BM_FAIL_IF(!tables || !cosines || !sines, err, BM_E_MEMORY, "out of memory");
    for (uint32_t i = 0; i < half; i++) {
        const double frequency = bm_rope_frequency(config, rotary_dim, i);
        for (uint32_t p = 0; p < num_positions; p++) {
            cosines[(uint64_t)p * half + i] = (float)cos(p * frequency);
            sines[(uint64_t)p * half + i] = (float)sin(p * frequency);
        }
    }
    tables->rotary_dim = rotary_dim;
    tables->num_positions = num_positions;
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, num_positions, half, "rope cosines", &tables->cosines, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, num_positions, half, "rope sines", &tables->sines, err));
    BM_TRY(bm_tensor_upload(device, &tables->cosines, cosines, err));
    BM_TRY(bm_tensor_upload(device, &tables->sines, sines, err));
    *out = tables;
    tables = NULL;
done:
    bm_free(cosines);
    bm_free(sines);
    bm_rope_tables_destroy(&tables);
    return status;
}

void bm_rope_tables_destroy(bm_rope_tables **tables)
{
    if (!tables || !*tables)
        return;
    bm_tensor_destroy(&(*tables)->cosines);
    bm_tensor_destroy(&(*tables)->sines);
    bm_free(*tables);
    *tables = NULL;
}

bm_status bm_rope_apply(bm_device *device, const bm_rope_tables *tables, const bm_tensor *x, uint32_t head_dim,
                        bm_view positions, bool interleaved, bm_error *err)
{
    bm_status status = BM_OK;
    BM_TRY(bm_check_real(device, "rope", "x", x, x->rows, x->cols, err));
    BM_TRY(bm_check_integers("rope", "positions", positions, x->rows, err));
    BM_FAIL_IF(head_dim == 0 || head_dim % 8 != 0 || x->cols % head_dim != 0 || tables->rotary_dim > head_dim, err,
               BM_E_ARGUMENT, "rope: heads of %u elements in rows of %llu, of which %u are rotated", head_dim,
               (unsigned long long)x->cols, tables->rotary_dim);
    const uint64_t heads = x->cols / head_dim;
    const uint32_t width = bm_chunk_width(device);
    const uint64_t step = bm_chunk_rows(device, x->stride, bm_rope_operations(1, heads, tables->rotary_dim));
    for (uint64_t first = 0; first < x->rows; first += step) {
        const uint64_t rows = bm_min_u64(step, x->rows - first);
        const bm_rope_scalars scalars = {(uint32_t)rows,
                                         (uint32_t)heads,
                                         head_dim,
                                         (uint32_t)x->stride,
                                         tables->rotary_dim,
                                         interleaved,
                                         (uint32_t)tables->cosines.stride};
        const bm_call call = {
            .kernel = BM_KERNEL_ROPE,
            .buffers = {bm_tensor_rows(x, first, rows).view, tables->cosines.view, tables->sines.view,
                        bm_view_part(positions, 4 * first, 4 * rows)},
            .types = {x->dtype},
            .scalars = &scalars,
            .tunables = {GROUP, width},
            .groups = {bm_chunk_groups(device, rows * heads * bm_divide_up(tables->rotary_dim / 2, width), GROUP), 1,
                       1}};
        BM_TRY(bm_dispatch(device, &call, err));
    }
done:
    return status;
}
