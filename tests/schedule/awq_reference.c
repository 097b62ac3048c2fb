// AWQ in double.
#include "schedule/awq_reference.h"

#include "base/half.h"
#include "base/str.h"
#include "support/edits.h"

#include <math.h>
#include <string.h>

static const bm_hf_config *config_of(const awq_block *block)
{
    return &block->model->config;
}

// Values of channels become the mean over the query heads that share a key and value head.
static void share_heads(const awq_block *block, double *values)
{
    const uint32_t width = config_of(block)->head_dim, kv = config_of(block)->num_key_value_heads;
    const uint32_t shared = config_of(block)->num_attention_heads / kv;
    for (uint32_t g = 0; g < kv; g++)
        for (uint32_t d = 0; d < width; d++) {
            double sum = 0;
            for (uint32_t h = g * shared; h < (g + 1) * shared; h++)
                sum += values[h * width + d];
            for (uint32_t h = g * shared; h < (g + 1) * shared; h++)
                values[h * width + d] = sum / shared;
        }
}

static double mean_magnitude(const awq_block *block, bm_stage stage, uint64_t tokens, uint32_t c)
{
    double sum = 0;
    for (uint64_t t = 0; t < tokens; t++)
        sum += fabs((double)block->inputs[stage][t * block->channels[stage] + c]);
    return sum / (double)tokens;
}

// Means over rows of |w| / the largest of the row's group.
static void weights_beside_their_groups(const awq_block *block, bm_stage stage, const awq_search *search, double *w)
{
    const uint32_t channels = block->channels[stage];
    uint64_t rows = 0;
    for (bm_linear_id l = 0; l < BM_NUM_LINEARS; l++) {
        if (bm_linear_stage(l) != stage || block->rows[l] == 0)
            continue;
        const uint32_t group_size = search->grids[l].group_size;
        rows += block->rows[l];
        for (uint32_t r = 0; r < block->rows[l]; r++)
            for (uint32_t first = 0; first < channels; first += group_size) {
                const float *group = block->weights[l] + (uint64_t)r * channels + first;
                double amax = 0;
                for (uint32_t c = 0; c < group_size; c++)
                    amax = fmax(amax, fabs((double)group[c]));
                for (uint32_t c = 0; c < group_size && amax > 0; c++)
                    w[first + c] += fabs((double)group[c]) / amax;
            }
    }
    for (uint32_t c = 0; c < channels; c++)
        w[c] /= (double)rows;
}

static void scales_of(uint32_t candidate, const awq_search *search, uint32_t channels, const double *m, const double *w,
                      float *scales)
{
    const bool weighs = candidate > search->n_grid;
    const double ratio = (double)(weighs ? candidate - search->n_grid - 1 : candidate) / search->n_grid;
    double least = INFINITY, largest = 0, raw[512];
    for (uint32_t c = 0; c < channels; c++) {
        raw[c] = pow(m[c], ratio) / (weighs ? pow(w[c], 1 - ratio) + 1e-4 : 1);
        raw[c] = raw[c] < 1e-4 ? 1e-4 : raw[c];
        if (m[c] > 0 && w[c] > 0) {
            least = fmin(least, raw[c]);
            largest = fmax(largest, raw[c]);
        }
    }
    for (uint32_t c = 0; c < channels; c++)
        scales[c] = m[c] > 0 && w[c] > 0 ? (float)(raw[c] / sqrt(least * largest)) : 1;
}

static double round_to(double value, double step, uint32_t bits)
{
    const double half = ldexp(1, (int)bits - 1);
    return step == 0 ? 0 : fmin(fmax(rint(value / step), -half), half - 1) * step;
}

// Weights become those of the grid.
static void round_group(double *w, uint32_t count, const awq_grid *grid)
{
    const double half = ldexp(1, (int)grid->bits - 1);
    double low = 0, high = 0;
    for (uint32_t c = 0; c < count; c++) {
        low = fmin(low, w[c]);
        high = fmax(high, w[c]);
    }
    float step = (float)(grid->has_zero_points ? (high - low) / (2 * half - 1) : fmax(-low, high) / (half - 1));
    if (grid->half_steps && step > 0)
        step = bm_f16_to_f32(bm_f32_to_f16(fmaxf(step, 0x1p-14f)));
    const double zero = grid->has_zero_points ? fmin(fmax(rint(-low / (double)step) - half, -half), half - 1) : 0;
    for (uint32_t c = 0; c < count && step > 0; c++)
        w[c] = (fmin(fmax(rint(w[c] / (double)step) + zero, -half), half - 1) - zero) * (double)step;
}

// Of one row behind scales, summed over tokens.
static double row_loss(const awq_block *block, bm_stage stage, const awq_search *search, const awq_grid *grid,
                       const float *w, const float *scales)
{
    const uint32_t channels = block->channels[stage];
    double error[512] = {0}, loss = 0;
    for (uint32_t c = 0; c < channels; c++)
        error[c] = (double)(w[c] * scales[c]);
    for (uint32_t first = 0; first < channels; first += grid->group_size)
        round_group(error + first, grid->group_size, grid);
    for (uint32_t c = 0; c < channels; c++)
        error[c] = (double)w[c] - error[c] / (double)scales[c];
    for (uint64_t t = 0; t < search->tokens; t++) {
        const float *x = block->inputs[stage] + t * channels;
        double sum = 0;
        for (uint32_t c = 0; c < channels; c++)
            sum += (double)x[c] * error[c];
        loss += sum * sum;
    }
    return loss;
}

uint32_t awq_reference_search(const awq_block *block, bm_stage stage, const awq_search *search,
                              double losses[AWQ_MAX_CANDIDATES], float *scales)
{
    const uint32_t channels = block->channels[stage];
    const uint32_t count = search->extended ? 2 * search->n_grid + 1 : search->n_grid;
    double m[512] = {0}, w[512] = {0};
    for (uint32_t c = 0; c < channels; c++)
        m[c] = mean_magnitude(block, stage, search->tokens, c);
    weights_beside_their_groups(block, stage, search, w);
    if (stage == BM_STAGE_O) {
        share_heads(block, m);
        share_heads(block, w);
    }
    for (uint32_t i = 0; i < count; i++) {
        float *s = scales + (uint64_t)i * channels;
        uint64_t rows = 0;
        losses[i] = 0;
        scales_of(i, search, channels, m, w, s);
        for (bm_linear_id l = 0; l < BM_NUM_LINEARS; l++) {
            if (bm_linear_stage(l) != stage)
                continue;
            rows += block->rows[l];
            for (uint32_t r = 0; r < block->rows[l]; r++)
                losses[i] +=
                    row_loss(block, stage, search, &search->grids[l], block->weights[l] + (uint64_t)r * channels, s);
        }
        losses[i] /= (double)search->tokens * (double)rows;
    }
    return count;
}

// What the rows of v and up are divided by: the scales of o's inputs and of down's.
static double divided_by(const awq_block *block, const awq_folded *folded, bm_linear_id linear, uint32_t row)
{
    const bm_hf_config *config = config_of(block);
    const uint32_t width = config->head_dim, shared = config->num_attention_heads / config->num_key_value_heads;
    if (linear == BM_LINEAR_V && folded->scales[BM_STAGE_O])
        return folded->scales[BM_STAGE_O][row / width * shared * width + row % width];
    if (linear == BM_LINEAR_UP && folded->scales[BM_STAGE_DOWN])
        return folded->scales[BM_STAGE_DOWN][row];
    return 1;
}

float *awq_reference_fold(const awq_block *block, const awq_folded *folded, bm_linear_id linear)
{
    const uint32_t channels = block->channels[bm_linear_stage(linear)];
    const double *scales = folded->scales[bm_linear_stage(linear)];
    float *out = bm_alloc((uint64_t)block->rows[linear] * channels, sizeof *out);
    for (uint32_t r = 0; r < block->rows[linear]; r++)
        for (uint32_t c = 0; c < channels; c++) {
            const uint64_t i = (uint64_t)r * channels + c;
            out[i] = (float)((double)block->weights[linear][i] * (scales ? scales[c] : 1) /
                             divided_by(block, folded, linear, r));
        }
    return out;
}

static char *norm_of(uint32_t block, bm_stage stage)
{
    return bm_format("model.layers.%u.%s.weight", block,
                     stage == BM_STAGE_QKV ? "input_layernorm" : "post_attention_layernorm");
}

double *awq_divided_norm(const awq_run *r, uint32_t block, bm_stage stage)
{
    uint64_t count;
    char *name = norm_of(block, stage);
    float *before = awq_read(r->folder, name, &count), *after = awq_read(r->output, name, &count);
    double *out = bm_alloc(count, sizeof *out);
    for (uint64_t c = 0; c < count; c++)
        out[c] = after[c] == 0 ? 1 : (double)before[c] / (double)after[c];
    bm_free(before);
    bm_free(after);
    bm_free(name);
    return out;
}

void awq_fold_write(const awq_run *r, const awq_block *block, const awq_folded *folded, const char *copy)
{
    static const bm_stage behind_norms[] = {BM_STAGE_QKV, BM_STAGE_GATE_UP};
    char name[BM_TENSOR_NAME_SIZE];
    for (size_t i = 0; i < BM_COUNT(behind_norms); i++) {
        uint64_t count;
        char *norm = norm_of(block->index, behind_norms[i]);
        float *after = awq_read(r->output, norm, &count);
        support_tensor_write(copy, norm, after, count * sizeof *after);
        bm_free(after);
        bm_free(norm);
    }
    for (bm_linear_id l = 0; l < BM_NUM_LINEARS; l++) {
        if (block->rows[l] == 0)
            continue;
        const uint64_t count = (uint64_t)block->rows[l] * block->channels[bm_linear_stage(l)];
        float *w = awq_reference_fold(block, folded, l);
        support_tensor_write(copy, bm_linear_tensor_name(r->plan->family, block->index, l, ".weight", name), w,
                             count * sizeof *w);
        bm_free(w);
    }
}

double *awq_reference_gram(const awq_block *block, const awq_folded *folded, bm_stage stage, uint64_t tokens)
{
    const uint32_t channels = block->channels[stage];
    const double *s = folded->scales[stage];
    double *gram = bm_alloc_zero((uint64_t)channels * channels, sizeof *gram);
    for (uint64_t t = 0; t < tokens; t++) {
        const float *x = block->inputs[stage] + t * channels;
        for (uint32_t i = 0; i < channels; i++)
            for (uint32_t j = 0; j < channels; j++)
                gram[(uint64_t)i * channels + j] += (double)x[i] / (s ? s[i] : 1) * ((double)x[j] / (s ? s[j] : 1));
    }
    return gram;
}

double awq_reference_loss(const float *w, const double *gram, uint32_t channels, uint32_t first, uint32_t count,
                          double step, uint32_t bits)
{
    double error[512], loss = 0;
    for (uint32_t c = 0; c < count; c++)
        error[c] = (double)w[first + c] - round_to((double)w[first + c], step, bits);
    for (uint32_t i = 0; i < count; i++) {
        double sum = 0;
        for (uint32_t j = 0; j < count; j++)
            sum += error[j] * gram[(uint64_t)(first + i) * channels + first + j];
        loss += error[i] * sum;
    }
    return loss;
}
