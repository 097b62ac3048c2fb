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

bm_rope_config bm_rope_at_length(const bm_rope_config *config, uint32_t rotary_dim, uint32_t length)
{
    bm_rope_config fixed = *config;
    const double old = config->original_max_position_embeddings;
    if (config->scaling != BM_ROPE_DYNAMIC)
        return fixed;
    fixed.scaling = BM_ROPE_DEFAULT;
    if (length > old)
        fixed.theta *= pow(config->factor * length / old - (config->factor - 1), rotary_dim / (rotary_dim - 2.0));
    return fixed;
}

double bm_rope_yarn_magnitude(double factor, double multiplier)
{
    return factor <= 1 ? 1 : 0.1 * multiplier * log(factor) + 1;
}

// The pair, a fraction of them too, that makes so many turns in the original length.
static double pair_of_turns(const bm_rope_config *config, uint32_t rotary_dim, double turns)
{
    return rotary_dim * log(config->original_max_position_embeddings / (turns * TWO_PI)) / (2 * log(config->theta));
}

static double yarn_frequency(const bm_rope_config *config, uint32_t rotary_dim, uint32_t index, double frequency)
{
    double low = pair_of_turns(config, rotary_dim, config->beta_fast);
    double high = pair_of_turns(config, rotary_dim, config->beta_slow);
    low = fmax(config->untruncated ? low : floor(low), 0);
    high = fmin(config->untruncated ? high : ceil(high), rotary_dim - 1.0);
    if (low == high)
        high += 0.001;
    const double divided = fmin(fmax((index - low) / (high - low), 0), 1);
    return divided * frequency / config->factor + (1 - divided) * frequency;
}

double bm_rope_frequency(const bm_rope_config *config, uint32_t rotary_dim, uint32_t index)
{
    const double frequency = pow(config->theta, -2.0 * index / rotary_dim);
    if (config->scaling == BM_ROPE_LINEAR)
        return frequency / config->factor;
    if (config->scaling == BM_ROPE_YARN)
        return yarn_frequency(config, rotary_dim, index, frequency);
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
    if (config->scaling == BM_ROPE_DYNAMIC && !(config->original_max_position_embeddings > 0))
        return bm_fail(err, BM_E_ARGUMENT, "rope: original_max_position_embeddings %g, expected a positive length",
                       config->original_max_position_embeddings);
    if (config->scaling == BM_ROPE_YARN &&
        !(config->theta > 1 && config->beta_fast > 0 && config->beta_slow > 0 && config->attention_factor > 0 &&
          config->original_max_position_embeddings > 0))
        return bm_fail(err, BM_E_ARGUMENT,
                       "rope: theta %g, beta_fast %g, beta_slow %g, attention_factor %g, "
                       "original_max_position_embeddings %g; expected a theta above 1 and positive numbers",
                       config->theta, config->beta_fast, config->beta_slow, config->attention_factor,
                       config->original_max_position_embeddings);
    return BM_OK;
}

// Rows first .. first + count - 1, for a text of that length.
static bm_status fill(bm_device *device, const bm_rope_tables *tables, uint32_t first, uint32_t count, uint32_t length,
                      bm_error *err)
{
    const uint32_t half = tables->rotary_dim / 2;
    const bm_rope_config config = bm_rope_at_length(&tables->config, tables->rotary_dim, length);
    const double magnitude = config.scaling == BM_ROPE_YARN ? config.attention_factor : 1;
    const bm_tensor cosine_rows = bm_tensor_rows(&tables->cosines, first, count);
    const bm_tensor sine_rows = bm_tensor_rows(&tables->sines, first, count);
    bm_status status = BM_OK;
    float *cosines = bm_alloc((uint64_t)count * half, sizeof *cosines);
    float *sines = bm_alloc((uint64_t)count * half, sizeof *sines);
    BM_FAIL_IF(!cosines || !sines, err, BM_E_MEMORY, "out of memory");
    for (uint32_t i = 0; i < half; i++) {
        const double frequency = bm_rope_frequency(&config, tables->rotary_dim, i);
        for (uint32_t p = 0; p < count; p++) {
            cosines[(uint64_t)p * half + i] = (float)(magnitude * cos((first + p) * frequency));
            sines[(uint64_t)p * half + i] = (float)(magnitude * sin((first + p) * frequency));
        }
    }
    BM_TRY(bm_tensor_upload(device, &cosine_rows, cosines, err));
    BM_TRY(bm_tensor_upload(device, &sine_rows, sines, err));
done:
    bm_free(cosines);
    bm_free(sines);
    return status;
}

bm_status bm_rope_tables_create(bm_device *device, const bm_rope_config *config, uint32_t rotary_dim,
                                uint32_t num_positions, bm_rope_tables **out, bm_error *err)
{
    const uint32_t half = rotary_dim / 2;
    bm_status status = BM_OK;
    bm_rope_tables *tables = NULL;
    BM_TRY(check_config(config, rotary_dim, num_positions, err));
    tables = bm_alloc_zero(1, sizeof *tables);
    BM_FAIL_IF(!tables, err, BM_E_MEMORY, "out of memory");
    tables->rotary_dim = rotary_dim;
    tables->num_positions = num_positions;
    tables->config = *config;
    tables->end = num_positions; // of length 0: that of texts no longer than the original length
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, num_positions, half, "rope cosines", &tables->cosines, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, num_positions, half, "rope sines", &tables->sines, err));
    BM_TRY(fill(device, tables, 0, num_positions, 0, err));
    *out = tables;
    tables = NULL;
done:
    bm_rope_tables_destroy(&tables);
    return status;
}

bm_status bm_rope_tables_fit(bm_device *device, bm_rope_tables *tables, uint32_t first, uint32_t length, bm_error *err)
{
    const uint32_t scaled = length > tables->config.original_max_position_embeddings ? length : 0;
    bm_status status = BM_OK;
    if (tables->config.scaling != BM_ROPE_DYNAMIC ||
        (scaled == tables->length && first >= tables->first && length <= tables->end))
        return BM_OK;
    BM_FAIL_IF(length > tables->num_positions || first >= length, err, BM_E_ARGUMENT,
               "rope: positions %u to %u of tables of %u", first, length, tables->num_positions);
    BM_TRY(fill(device, tables, first, length - first, scaled, err));
    tables->length = scaled;
    tables->first = first;
    tables->end = length;
done:
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
