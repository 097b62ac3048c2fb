// The keys of llama3's scaling, from the divisors that a converter has made of them.
//
// A frequency f of wavelength w is divided by 1 where w < old / high, by factor where w > old / low, and between the two by
// 1 / ((1 - s) / factor + s) with s = (old / w - low) / (high - low), which is a line in 1 / w: two divisors between give
// it. old, low and high times any number are the same line, so low is 1, as in every published model. Source: formats.md 2.3
// and 6.6.
#include "model/gguf_model.h"

#include "base/half.h"

#include <math.h>
#include <string.h>

#define MAX_DIVISORS 512
#define TWO_PI 6.283185307179586476925
#define TOLERANCE 1e-5 // of a divisor that was rounded to float32, computed from a base that was too

typedef struct divisors {
    uint32_t count;
    float each[MAX_DIVISORS];
    double turns[MAX_DIVISORS]; // 1 / wavelength
} divisors;

static double expected(const bm_gguf_rope_factors *f, double turns)
{
    const double part =
        (f->original_max_position_embeddings * turns - f->low_freq_factor) / (f->high_freq_factor - f->low_freq_factor);
    return part >= 1 ? 1 : part <= 0 ? f->factor : 1 / ((1 - part) / f->factor + part);
}

static bool give(const bm_gguf_rope_factors *f, const divisors *d)
{
    for (uint32_t i = 0; i < d->count; i++)
        if (!(fabs(expected(f, d->turns[i]) / (double)d->each[i] - 1) < TOLERANCE))
            return false;
    return true;
}

// The line through the outermost divisors between; false: there are fewer than two.
static bool solve(const divisors *d, double factor, bm_gguf_rope_factors *out)
{
    uint32_t found = 0;
    double turns[2] = {0, 0}, parts[2] = {0, 0};
    for (uint32_t i = 0; i < d->count; i++) {
        const double each = (double)d->each[i];
        if (!(each > 1 + 1e-4) || !(each < factor * (1 - 1e-4)))
            continue;
        const uint32_t at = found++ > 0;
        turns[at] = d->turns[i];
        parts[at] = (1 / each - 1 / factor) / (1 - 1 / factor);
    }
    if (found < 2)
        return false;
    const double slope = (parts[1] - parts[0]) / (turns[1] - turns[0]), at_zero = parts[0] - slope * turns[0];
    const double width = -1 / at_zero; // high - low, where low is 1
    // Published values are whole numbers; what float32 took from the divisors comes back by rounding.
    *out = (bm_gguf_rope_factors){factor, 1, round(1 + width), round(slope * width)};
    return true;
}

// Of short heads, which have one divisor between or none: some keys that give the same, with the line through that one and one of
// the ends that its neighbours leave. False: there are none.
static bool solve_few(const divisors *d, double factor, bm_gguf_rope_factors *out)
{
    double lower = 0, upper = INFINITY, turns = 0, part = 0;
    for (uint32_t i = 0; i < d->count; i++) {
        const double each = (double)d->each[i];
        if (each >= factor * (1 - 1e-4))
            lower = fmax(lower, d->turns[i]);
        else if (each <= 1 + 1e-4)
            upper = fmin(upper, d->turns[i]);
        else
            turns = d->turns[i], part = (1 / each - 1 / factor) / (1 - 1 / factor);
    }
    if (lower <= 0 || isinf(upper))
        return false;
    const double olds[] = {floor(1 / lower), turns > 0 ? round((1 - part) / (turns - part * upper)) : 0};
    for (uint32_t i = 0; i < 2; i++) {
        *out =
            (bm_gguf_rope_factors){factor, 1, turns > 0 ? 1 + (olds[i] * turns - 1) / part : olds[i] * upper, olds[i]};
        if (olds[i] >= 1 && out->high_freq_factor > 1 && give(out, d))
            return true;
    }
    return false;
}

bm_status bm_gguf_read_rope_factors(const bm_gguf *gguf, const bm_gguf_tensor *tensor, double theta,
                                    uint32_t rotary_dim, bm_gguf_rope_factors *out, bm_error *err)
{
    bm_status status = BM_OK;
    uint8_t bytes[4 * MAX_DIVISORS];
    divisors d = {.count = rotary_dim / 2};
    double factor = 1;
    BM_FAIL_IF(tensor->type != BM_GGUF_F32 || tensor->num_dims != 1 || tensor->dims[0] != d.count ||
                   d.count > MAX_DIVISORS,
               err, BM_E_FORMAT, "%s: tensor \"%s\": expected %u elements of F32 in one dimension", tensor->path,
               tensor->name, d.count);
    BM_TRY(bm_gguf_read(gguf, tensor, 0, bytes, 4 * (uint64_t)d.count, err));
    for (uint32_t i = 0; i < d.count; i++) {
        d.each[i] = bm_load_real(bytes, BM_DTYPE_F32, i);
        d.turns[i] = pow(theta, -2.0 * i / rotary_dim) / TWO_PI;
        factor = fmax(factor, (double)d.each[i]); // ignores NaN, which no key gives
    }
    const bm_gguf_rope_factors usual = {factor, 1, 4, 8192};
    *out = usual;
    BM_FAIL_IF(!give(out, &d) && !(solve(&d, factor, out) && give(out, &d)) && !solve_few(&d, factor, out), err,
               BM_E_UNSUPPORTED, "%s: tensor \"%s\": divisors that llama3's scaling of frequencies does not give",
               tensor->path, tensor->name);
done:
    return status;
}
