// nested_search: steps of groups that are whole multiples of one step for 256 columns, and offsets likewise.
//
// All arithmetic is float32, in the order of the kernels (element c to lane c mod 4, then the lanes): the choice must be the same on
// every device.
#include "device/host/quantization.h"
#include "device/host_kernels.h"

#include <math.h>

#define COLS 256
#define CANDIDATES 32
#define MAX_GROUPS 16
#define TINY 1e-30f

typedef struct nested_block {
    float y[COLS], w[COLS]; // weights near 1, and what a column counts
    float unit, back;       // y = unit weight; back = 1 / unit
    uint32_t size, groups;  // columns of a group
    float low, high, top;   // codes; the largest scale
    bool symmetric;
} nested_block;

typedef struct nested_fit {
    float step[MAX_GROUPS], offset[MAX_GROUPS];
} nested_fit;

static float clamp(float x, float low, float high)
{
    return fminf(fmaxf(x, low), high);
}

// The power of two that brings range to 1 .. 2.
static float unit_of(float range)
{
    return host_range_unit(fminf(range, HOST_LARGEST_PEAK)) * 0x1p-40f;
}

static float sum4(const float sums[4])
{
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

static float group_error(const nested_block *b, uint32_t g, float step, float offset)
{
    const float inverse = 1.0f / step;
    float sums[4] = {0};
    for (uint32_t c = g * b->size; c < (g + 1) * b->size; c++) {
        const float v = b->y[c] + offset;
        const float d = v - clamp(rintf(v * inverse), b->low, b->high) * step;
        sums[c % 4] += d * d * b->w[c];
    }
    return sum4(sums);
}

static float peak_of_group(const nested_block *b, uint32_t g, float *low)
{
    float least = 0, most = b->symmetric ? 0 : -INFINITY;
    for (uint32_t c = g * b->size; c < (g + 1) * b->size; c++) {
        least = fminf(least, b->y[c]);
        most = fmaxf(most, b->y[c]);
    }
    *low = b->symmetric ? 0 : least;
    return b->symmetric ? fmaxf(-least, most) : most - least;
}

// The grid of the range.
static void fit_plainly(const nested_block *b, uint32_t g, nested_fit *fit)
{
    float low;
    const float range = peak_of_group(b, g, &low);
    fit->step[g] = range > 0x1p-30f ? range / b->high : 0;
    fit->offset[g] = -low;
}

// Least squares for the codes that a grid with so many steps in the range gives.
static void fit_candidate(const nested_block *b, uint32_t g, uint32_t i, float *step, float *offset)
{
    float low, sw[4] = {0}, sx[4] = {0}, sl[4] = {0}, sll[4] = {0}, sxl[4] = {0};
    const float range = peak_of_group(b, g, &low);
    const uint32_t pair = i / 2;
    const float steps = b->symmetric ? b->high - 0.75f + 0.1875f * (float)pair : b->high - 1 + 0.0625f * (float)i;
    const float scale = steps / range * (b->symmetric && i % 2 == 1 ? -1.0f : 1.0f);
    for (uint32_t c = g * b->size; c < (g + 1) * b->size; c++) {
        const float l = clamp(rintf((b->y[c] - low) * scale), b->low, b->high), wl = b->w[c] * l;
        sw[c % 4] += b->w[c];
        sx[c % 4] += b->w[c] * b->y[c];
        sl[c % 4] += wl;
        sll[c % 4] += wl * l;
        sxl[c % 4] += wl * b->y[c];
    }
    const float w = sum4(sw), x = sum4(sx), l = sum4(sl), ll = sum4(sll), xl = sum4(sxl);
    const float divisor = w * ll - l * l, of_step = w * xl - x * l, of_offset = l * xl - ll * x;
    *step = range / b->high;
    *offset = -low;
    if (!b->symmetric && divisor >= TINY && of_step >= TINY && of_offset >= TINY) {
        *step = of_step / divisor;
        *offset = of_offset / divisor;
    } else if ((b->symmetric ? fabsf(xl) : xl) >= TINY && ll >= TINY &&
               (b->symmetric || (divisor >= TINY && of_step >= TINY))) {
        *step = xl / ll;
        *offset = 0;
    }
}

static void fit_group(const nested_block *b, uint32_t g, nested_fit *fit)
{
    float least = INFINITY, low;
    fit->step[g] = 0;
    fit->offset[g] = 0;
    if (!(peak_of_group(b, g, &low) > 0x1p-30f)) {
        fit->offset[g] = -low;
        return;
    }
    for (uint32_t i = 0; i < CANDIDATES; i++) {
        float step, offset;
        fit_candidate(b, g, i, &step, &offset);
        const float error = group_error(b, g, step, offset);
        if (error < least) {
            least = error;
            fit->step[g] = step;
            fit->offset[g] = offset;
        }
    }
}

// What a float16 holds of value / divisor, in units of y.
static float half_of(const nested_block *b, float value, float divisor)
{
    const float quotient = value >= TINY ? value / divisor * b->back : 0;
    return host_stored_step(quotient, BM_DTYPE_NONE) * b->unit;
}

typedef struct nested_units {
    float step, offset; // offset 0: there are none
} nested_units;

static nested_units units_of(const nested_block *b, const nested_fit *fit, uint32_t i)
{
    const uint32_t k = i > 0 ? i - 1 : 0;
    float step = 0, offset = 0;
    for (uint32_t g = 0; g < b->groups; g++) {
        step = fmaxf(step, fabsf(fit->step[g]));
        offset = fmaxf(offset, fit->offset[g]);
    }
    const uint32_t row = k / 8;
    return (nested_units){half_of(b, step, b->top - 0.5f * (float)(b->symmetric ? k : k % 8)),
                          offset >= TINY ? half_of(b, offset, b->top - (float)row) : 0};
}

static float scale_of(const nested_block *b, float step, float unit)
{
    const float scale = clamp(rintf(step * (1.0f / unit)), b->symmetric ? -b->top : 1, b->top);
    return scale == 0 ? 1 : scale;
}

static float min_of(const nested_block *b, float offset, float unit)
{
    return unit > 0 ? clamp(rintf(offset * (1.0f / unit)), 0, b->top) : 0;
}

static float block_error(const nested_block *b, const nested_fit *fit, nested_units units)
{
    float error = 0;
    for (uint32_t g = 0; g < b->groups; g++)
        error += group_error(b, g, scale_of(b, fit->step[g], units.step) * units.step,
                             min_of(b, fit->offset[g], units.offset) * units.offset);
    return error;
}

// 0, -1, 1, -2, 2, ...
static float away(uint32_t k)
{
    const uint32_t distance = (k + 1) / 2;
    return (float)distance * (k % 2 == 1 ? -1.0f : 1.0f);
}

static void refine_group(const nested_block *b, uint32_t g, nested_units units, uint32_t count, float *scale,
                         float *min)
{
    const float first_scale = *scale, first_min = *min;
    float least = INFINITY;
    for (uint32_t i = 0; i < count; i++) {
        const float s = first_scale + away(b->symmetric ? i : i % 5), m = first_min + (b->symmetric ? 0 : away(i / 5));
        if (s == 0 || s > b->top || s < (b->symmetric ? -b->top : 1) || m < 0 || m > b->top ||
            (units.offset == 0 && m > 0))
            continue;
        const float error = group_error(b, g, s * units.step, m * units.offset);
        if (error < least) {
            least = error;
            *scale = s;
            *min = m;
        }
    }
}

static float load_block(const host_call *call, uint32_t r, uint32_t k, nested_block *b)
{
    const bm_nested_search_scalars *a = call->scalars;
    const float *values = (const float *)call->buffers[0] + (uint64_t)r * a->w_stride + (uint64_t)k * COLS;
    const float *weights = (const float *)call->buffers[1] + (a->has_weights ? (uint64_t)k * COLS : 0);
    float peak = 0, heaviest = 0;
    for (uint32_t c = 0; c < COLS; c++) {
        peak = fmaxf(peak, fabsf(values[c]));
        heaviest = fmaxf(heaviest, a->has_weights ? weights[c] : 0);
    }
    *b = (nested_block){.size = a->symmetric ? 16 : 32,
                        .groups = a->symmetric ? 16 : 8,
                        .low = a->symmetric ? -(float)(1u << (a->bits - 1)) : 0,
                        .high = a->symmetric ? (float)(1u << (a->bits - 1)) - 1 : (float)(1u << a->bits) - 1,
                        .top = a->symmetric ? 127 : 63,
                        .symmetric = a->symmetric != 0};
    if (peak < HOST_ZERO_PEAK)
        return peak;
    const float unit_of_weights = heaviest >= TINY ? unit_of(heaviest) : 0;
    b->unit = unit_of(peak);
    b->back = 1.0f / b->unit;
    for (uint32_t c = 0; c < COLS; c++)
        b->y[c] = values[c] * b->unit;
    for (uint32_t g = 0; g < b->groups; g++) {
        float sums[4] = {0};
        for (uint32_t c = g * b->size; c < (g + 1) * b->size; c++)
            sums[c % 4] += fabsf(b->y[c]);
        const float mean = sum4(sums) * (1.0f / (float)b->size);
        for (uint32_t c = g * b->size; c < (g + 1) * b->size; c++)
            b->w[c] = (unit_of_weights > 0 ? weights[c] * unit_of_weights : 1.0f) *
                      (a->by_magnitude ? mean + fabsf(b->y[c]) : 1.0f);
    }
    return peak;
}

static void search_block(const host_call *call, uint32_t r, uint32_t k)
{
    const bm_nested_search_scalars *a = call->scalars;
    nested_block b;
    nested_fit fits[2];
    float scale[MAX_GROUPS], min[MAX_GROUPS];
    nested_units units = {1, 0};
    const uint32_t size = a->symmetric ? 16 : 32, groups = COLS / size;
    const bool is_zero = load_block(call, r, k, &b) < HOST_ZERO_PEAK;
    for (uint32_t g = 0; g < groups; g++) {
        scale[g] = 1;
        min[g] = 0;
        if (is_zero)
            continue;
        fit_plainly(&b, g, &fits[0]);
        if (a->search)
            fit_group(&b, g, &fits[1]);
    }
    if (!is_zero) {
        uint32_t choice = 0;
        float least = INFINITY;
        for (uint32_t i = 0; i < (a->search ? CANDIDATES : 1); i++) {
            const float error = block_error(&b, &fits[i > 0], units_of(&b, &fits[i > 0], i));
            if (error < least) {
                least = error;
                choice = i;
            }
        }
        const nested_fit *fit = &fits[choice > 0];
        units = units_of(&b, fit, choice);
        for (uint32_t g = 0; g < groups; g++) {
            scale[g] = scale_of(&b, fit->step[g], units.step);
            min[g] = min_of(&b, fit->offset[g], units.offset);
            refine_group(&b, g, units, a->search ? CANDIDATES : 1, &scale[g], &min[g]);
        }
        units.step *= b.back;
        units.offset *= b.back;
    }
    const uint32_t super = a->first_super + k;
    ((float *)call->buffers[6])[(uint64_t)r * a->unit_stride + super] = units.step;
    if (!a->symmetric)
        ((float *)call->buffers[7])[(uint64_t)r * a->unit_stride + super] = units.offset;
    for (uint32_t g = 0; g < groups; g++) {
        const uint64_t at = (uint64_t)r * a->step_stride + (uint64_t)super * groups + g,
                       byte = (uint64_t)r * a->scale_stride + (uint64_t)super * groups + g;
        ((float *)call->buffers[2])[at] = scale[g] * units.step;
        ((int8_t *)call->buffers[4])[byte] = (int8_t)scale[g];
        if (a->symmetric)
            continue;
        ((float *)call->buffers[3])[at] = min[g] * units.offset;
        ((int8_t *)call->buffers[5])[byte] = (int8_t)min[g];
    }
}

void host_nested_search(const host_call *call)
{
    const bm_nested_search_scalars *a = call->scalars;
    for (uint32_t r = 0; r < a->rows; r++)
        for (uint32_t k = 0; k < a->supers; k++)
            search_block(call, r, k);
}
