// Order, damping, factorization, and what is done when it fails.
#include "quant/inverse_factor.h"

#include "ops/cholesky.h"
#include "quant/factor_in_place.h"
#include "quant/host_cholesky.h"

#include <math.h>
#include <stdlib.h>

#define NOT_DEFINITE "Hessian: not positive definite in %s with a damping of %.3g"
#define MAX_RESIDUAL 0.05       // U^T U may be so far from the inverse: GPTQ's corrections are then off by as little
#define MAX_SPLIT_RESIDUAL 0.01 // the same by products in parts (split_product.h): above, plain ones are tried

typedef struct ranked_channel {
    float value; // of the Hessian's diagonal
    uint32_t index;
} ranked_channel;

// What create works with.
typedef struct factor_work {
    bm_multiplier *multiplier;
    const bm_gram *gram;
    bm_inverse_factor *factor;
    float *hessian_diagonal;  // [channels]
    float *added;             // [channels]: what this try adds to the diagonal
    uint32_t *reversed_order; // [channels]
    double live_mean;
    bm_tensor added_device, reversed, pivots; // [1, channels]; reversed: u32, the order from the last to the first
} factor_work;

static int by_falling_value(const void *a, const void *b)
{
    const ranked_channel *x = a, *y = b;
    return x->value != y->value ? (x->value < y->value) - (x->value > y->value) : (x->index > y->index) * 2 - 1;
}

static bm_status read_diagonal(factor_work *w, bm_error *err)
{
    bm_device *device = w->multiplier->device;
    const uint32_t n = w->gram->channels;
    bm_inverse_factor *f = w->factor;
    bm_status status = BM_OK;
    bm_tensor diagonal = {0};
    double sum = 0;
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, 1, n, "diagonal", &diagonal, err));
    BM_TRY(bm_diagonal(device, &w->gram->hessian, &diagonal, err));
    BM_TRY(bm_tensor_download(device, &diagonal, w->hessian_diagonal, err));
    BM_TRY(bm_device_wait(device, err));
    for (uint32_t i = 0; i < n; i++) {
        f->dead[i] = !(w->hessian_diagonal[i] > 0);
        f->num_dead += f->dead[i];
        sum += f->dead[i] ? 0 : (double)w->hessian_diagonal[i];
    }
    BM_FAIL_IF(
        f->num_dead == n, err, BM_E_NUMERIC,
        "Hessian: no input was ever different from 0 (so it is where a norm met numbers whose squares overflow)");
    w->live_mean = f->live_mean = sum / (n - f->num_dead);
done:
    bm_tensor_destroy(&diagonal);
    return status;
}

static bm_status make_order(factor_work *w, bool ordered, bm_error *err)
{
    bm_device *device = w->multiplier->device;
    const uint32_t n = w->gram->channels;
    const uint64_t part = bm_round_up(4 * (uint64_t)n, BM_VIEW_ALIGNMENT);
    bm_inverse_factor *f = w->factor;
    bm_status status = BM_OK;
    uint32_t *reversed = w->reversed_order;
    ranked_channel *ranked = bm_alloc(n, sizeof *ranked);
    BM_FAIL_IF(!ranked, err, BM_E_MEMORY, "out of memory");
    for (uint32_t i = 0; i < n; i++)
        ranked[i] = (ranked_channel){w->hessian_diagonal[i], i};
    if (ordered)
        qsort(ranked, n, sizeof *ranked, by_falling_value);
    for (uint32_t i = 0; i < n; i++) {
        f->order[i] = ranked[i].index;
        f->place[ranked[i].index] = i;
        reversed[n - 1 - i] = ranked[i].index;
    }
    BM_TRY(bm_buffer_create(device, 2 * part, "orders of columns", &f->orders, err));
    f->order_view = bm_view_part(bm_buffer_view(f->orders), 0, part);
    f->place_view = bm_view_part(bm_buffer_view(f->orders), part, part);
    BM_TRY(bm_upload(device, f->order_view, f->order, 4 * (uint64_t)n, err));
    BM_TRY(bm_upload(device, f->place_view, f->place, 4 * (uint64_t)n, err));
    BM_TRY(bm_tensor_upload(device, &w->reversed, reversed, err));
done:
    bm_free(ranked);
    return status;
}

// What stands on the diagonal beside H itself, by channel.
static bm_status add_damping(factor_work *w, bm_error *err)
{
    const bm_inverse_factor *f = w->factor;
    for (uint32_t i = 0; i < f->channels; i++)
        w->added[i] = (float)(w->live_mean * (f->damping + (f->dead[i] ? 1 : 0)));
    return bm_tensor_upload(w->multiplier->device, &w->added_device, w->added, err);
}

// The reversed, ordered, damped Hessian: its Cholesky factor runs from the last column to the first.
static bm_status permute_hessian(const factor_work *w, const bm_tensor *out, bm_error *err)
{
    const bm_permutation permutation = {
        .row_order = w->reversed.view, .col_order = w->reversed.view, .diagonal = w->added_device.view};
    return bm_permute(w->multiplier->device, &w->gram->hessian, &permutation, out, err);
}

// Upper factor and its transpose from inverse = L^-1: U = P inverse P, P the reversal. memory becomes U's, inverse U^T's.
static bm_status reverse(factor_work *w, bm_tensor *memory, bm_tensor *inverse, bm_error *err)
{
    bm_device *device = w->multiplier->device;
    const uint32_t n = w->gram->channels;
    bm_status status = BM_OK;
    bm_tensor reversal = {0};
    uint32_t *indices = bm_alloc(n, sizeof *indices);
    BM_FAIL_IF(!indices, err, BM_E_MEMORY, "out of memory");
    for (uint32_t i = 0; i < n; i++)
        indices[i] = n - 1 - i;
    BM_TRY(bm_tensor_create(device, BM_DTYPE_U32, 1, n, "reversal", &reversal, err));
    BM_TRY(bm_tensor_upload(device, &reversal, indices, err));
    BM_TRY(bm_permute(device, inverse, &(bm_permutation){.row_order = reversal.view, .col_order = reversal.view},
                      memory, err));
    BM_TRY(bm_transpose(device, memory, inverse, err));
    w->factor->upper = *memory;
    w->factor->transposed = *inverse;
    *memory = *inverse = (bm_tensor){0};
done:
    bm_tensor_destroy(&reversal);
    bm_free(indices);
    return status;
}

static bool are_positive(const float *pivots, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (!(pivots[i] > 0) || !isfinite(pivots[i]))
            return false;
    return true;
}

// One try in float32 with the present damping. *good: pivots are positive; the factor's matrices are made.
static bm_status try_device(factor_work *w, bool *good, bm_error *err)
{
    bm_device *device = w->multiplier->device;
    const uint32_t n = w->gram->channels;
    bm_status status = BM_OK;
    bm_tensor x = {0}, inverse = {0};
    float *pivots = bm_alloc(n, sizeof *pivots);
    *good = false;
    BM_FAIL_IF(!pivots, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, n, n, "ordered Hessian", &x, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, n, n, "inverse factor", &inverse, err));
    BM_TRY(add_damping(w, err));
    BM_TRY(permute_hessian(w, &x, err));
    status = bm_cholesky_inverse(w->multiplier, &x, &inverse, &w->pivots, err);
    if (status == BM_OK)
        status = bm_tensor_download(device, &w->pivots, pivots, err);
    if (status == BM_OK)
        status = bm_device_wait(device, err);
    if (status == BM_E_NUMERIC) { // what follows a bad pivot may overflow, and kernels that pack operands report that
        status = BM_OK;
        goto done;
    }
    if (status == BM_OK && are_positive(pivots, n)) {
        BM_TRY(reverse(w, &x, &inverse, err));
        *good = true;
    }
done:
    bm_tensor_destroy(&x);
    bm_tensor_destroy(&inverse);
    bm_free(pivots);
    return status;
}

// The same in the Hessian's own memory.
static bm_status try_in_place(factor_work *w, bool *good, bm_error *err)
{
    bm_device *device = w->multiplier->device;
    const uint32_t n = w->gram->channels;
    bm_status status = BM_OK;
    float *pivots = bm_alloc(n, sizeof *pivots);
    *good = false;
    BM_FAIL_IF(!pivots, err, BM_E_MEMORY, "out of memory");
    BM_TRY(add_damping(w, err));
    status = bm_factor_in_place(w->multiplier, w->gram, w->reversed_order, w->added, &w->pivots, err);
    if (status == BM_OK)
        status = bm_tensor_download(device, &w->pivots, pivots, err);
    if (status == BM_OK)
        status = bm_device_wait(device, err);
    *good = status == BM_OK && are_positive(pivots, n);
    status = status == BM_E_NUMERIC ? BM_OK : status;
    w->factor->is_in_place = true;
    w->factor->upper = w->factor->transposed = w->gram->hessian;
done:
    bm_free(pivots);
    return status;
}

// One try in float64 on the host.
static bm_status try_host(factor_work *w, bool *good, bm_error *err)
{
    bm_device *device = w->multiplier->device;
    const uint32_t n = w->gram->channels;
    const uint64_t count = (uint64_t)n * n;
    bm_status status = BM_OK;
    bm_tensor x = {0}, inverse = {0};
    float *values = bm_alloc(count, sizeof *values);
    double *wide = bm_alloc(count, sizeof *wide);
    *good = false;
    BM_FAIL_IF(!values || !wide, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, n, n, "ordered Hessian", &x, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, n, n, "inverse factor", &inverse, err));
    BM_TRY(add_damping(w, err));
    BM_TRY(permute_hessian(w, &x, err));
    BM_TRY(bm_tensor_download(device, &x, values, err));
    BM_TRY(bm_device_wait(device, err));
    for (uint64_t i = 0; i < count; i++)
        wide[i] = (double)values[i];
    BM_TRY(bm_host_cholesky_inverse(wide, n, w->multiplier->phase, good, err));
    if (*good) {
        for (uint64_t i = 0; i < count; i++)
            values[i] = (float)wide[i];
        BM_TRY(bm_tensor_upload(device, &inverse, values, err));
        BM_TRY(reverse(w, &x, &inverse, err));
        w->factor->by_host = true;
    }
done:
    bm_tensor_destroy(&x);
    bm_tensor_destroy(&inverse);
    bm_free(values);
    bm_free(wide);
    return status;
}

static void destroy_matrices(bm_inverse_factor *f)
{
    if (!f->is_in_place) {
        bm_tensor_destroy(&f->upper);
        bm_tensor_destroy(&f->transposed);
    }
    f->upper = f->transposed = (bm_tensor){0};
}

// By the tokens: with few of them a small damping fits the weights to those alone.
static double automatic_damping(const bm_gram *gram)
{
    return fmax(0.01, gram->channels / (2.0 * (double)gram->tokens));
}

// Tries until one is good enough. A damping that is too small for float32 means a Hessian that is all but singular: ten times
// as much, and again, would end where a factor is just found, which is where it is worth least (four times the KL divergence
// of plain rounding was seen), after up to thirty tries. So what is below the automatic damping becomes that first.
static bm_status find_factor(factor_work *w, bm_error *err)
{
    bm_inverse_factor *f = w->factor;
    const double automatic = automatic_damping(w->gram);
    bm_split_product *split = &w->multiplier->split;
    bm_status status = BM_OK;
    bool good = false;
    bool is_split = bm_split_product_pays(split, f->channels / 2, f->channels / 2, f->channels / 2);
    split->is_off = !is_split;
    for (;;) {
        BM_TRY(w->gram->file ? try_in_place(w, &good, err) : try_device(w, &good, err));
        if (good) {
            BM_TRY(bm_inverse_factor_measure(w->multiplier, w->gram, &w->added_device, f, err));
            if (f->residual <= (is_split ? MAX_SPLIT_RESIDUAL : MAX_RESIDUAL))
                goto done;
            destroy_matrices(f);
        }
        if (is_split) { // what parts lose is never worth a larger damping
            is_split = false;
            split->is_off = true;
            continue;
        }
        if (f->damping >= fmax(1, automatic))
            break;
        f->damping = f->damping < automatic ? automatic : fmin(1, 10 * f->damping);
        f->num_raised++;
    }
    BM_FAIL_IF(w->gram->file, err, BM_E_NUMERIC, NOT_DEFINITE "; memory for float64 was not there", "float32",
               f->damping);
    status = try_host(w, &good, err);
    if (status == BM_E_UNSUPPORTED) { // no LAPACK: the words say what to install
        bm_error_prefix(err, NOT_DEFINITE, "float32", f->damping);
        status = BM_E_NUMERIC;
        goto done;
    }
    BM_TRY(status);
    if (good)
        BM_TRY(bm_inverse_factor_measure(w->multiplier, w->gram, &w->added_device, f, err));
    BM_FAIL_IF(!good || f->residual > MAX_RESIDUAL, err, BM_E_NUMERIC, NOT_DEFINITE, "float64", f->damping);
done:
    split->is_off = false;
    return status;
}

static bm_status read_factor_diagonal(factor_work *w, bm_error *err)
{
    bm_device *device = w->multiplier->device;
    bm_inverse_factor *f = w->factor;
    bm_status status = BM_OK;
    float *ordered = bm_alloc(f->channels, sizeof *ordered);
    BM_FAIL_IF(!ordered, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_diagonal(device, &f->upper, &w->pivots, err));
    BM_TRY(bm_tensor_download(device, &w->pivots, ordered, err));
    BM_TRY(bm_device_wait(device, err));
    for (uint32_t i = 0; i < f->channels; i++)
        f->diagonal[f->order[i]] = ordered[i];
done:
    bm_free(ordered);
    return status;
}

bm_status bm_inverse_factor_create(bm_multiplier *multiplier, const bm_gram *gram, double damping, bool ordered,
                                   bm_inverse_factor *out, bm_error *err)
{
    bm_device *device = multiplier->device;
    const uint32_t n = gram->channels;
    bm_status status = BM_OK;
    bm_inverse_factor f = {.channels = n};
    factor_work w = {.multiplier = multiplier, .gram = gram, .factor = &f};
    BM_FAIL_IF(gram->tokens == 0, err, BM_E_ARGUMENT, "Hessian: no tokens");
    f.damping = damping > 0 ? damping : automatic_damping(gram);
    f.order = bm_alloc(n, sizeof *f.order);
    f.place = bm_alloc(n, sizeof *f.place);
    f.diagonal = bm_alloc(n, sizeof *f.diagonal);
    f.dead = bm_alloc(n, sizeof *f.dead);
    w.hessian_diagonal = bm_alloc(n, sizeof *w.hessian_diagonal);
    w.added = bm_alloc(n, sizeof *w.added);
    w.reversed_order = bm_alloc(n, sizeof *w.reversed_order);
    BM_FAIL_IF(!w.reversed_order || !f.order || !f.place || !f.diagonal || !f.dead || !w.hessian_diagonal || !w.added,
               err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, 1, n, "damping", &w.added_device, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, 1, n, "pivots", &w.pivots, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_U32, 1, n, "order of columns", &w.reversed, err));
    BM_TRY(read_diagonal(&w, err));
    BM_TRY(make_order(&w, ordered, err));
    BM_TRY(find_factor(&w, err));
    BM_TRY(read_factor_diagonal(&w, err));
    if (f.is_in_place)
        BM_TRY(bm_factor_mirror(device, &f.upper, err));
    *out = f;
    f = (bm_inverse_factor){0};
done:
    bm_tensor_destroy(&w.added_device);
    bm_tensor_destroy(&w.pivots);
    bm_tensor_destroy(&w.reversed);
    bm_free(w.hessian_diagonal);
    bm_free(w.added);
    bm_free(w.reversed_order);
    bm_inverse_factor_destroy(&f);
    return status;
}

bm_status bm_inverse_factor_add_automatic(bm_multiplier *multiplier, const bm_gram *gram, bm_inverse_factor *factor,
                                          bm_error *err)
{
    if (factor->damping >= automatic_damping(gram))
        return BM_OK;
    bm_inverse_factor *f = bm_alloc_zero(1, sizeof *f);
    if (!f)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    const bm_status status = bm_inverse_factor_create(multiplier, gram, 0, true, f, err);
    if (status == BM_OK)
        factor->automatic = f;
    else
        bm_free(f);
    return status;
}

void bm_inverse_factor_destroy(bm_inverse_factor *f)
{
    if (f->automatic)
        bm_inverse_factor_destroy(f->automatic);
    bm_free(f->automatic);
    destroy_matrices(f);
    bm_buffer_destroy(&f->orders);
    bm_free(f->order);
    bm_free(f->place);
    bm_free(f->diagonal);
    bm_free(f->dead);
    *f = (bm_inverse_factor){0};
}
