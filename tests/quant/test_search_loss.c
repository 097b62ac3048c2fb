// The loss of piecewise search on a device: beside the plain one in codes, beside its formula in double for every other grid, and what
// a search makes of it.
#include "quant/search_loss.h"
#include "ops/fixture.h"
#include "quant/equalize/close.h"
#include "quant/equalize/int8_loss.h"
#include "quant/equalize/smooth_problem.h"
#include "quant/equalize/smooth_scales.h"
#include "support/listener.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TOKENS = 200, MAX_CHANNELS = 160, MAX_ROWS = 300, MAX_LINEARS = 3, CANDIDATES = 5 };

// A group of linears over a sample, on the host and on the device.
typedef struct group {
    uint32_t tokens, channels, num_linears, rows;
    uint64_t linear_rows[MAX_LINEARS];
    float inputs[MAX_TOKENS * MAX_CHANNELS]; // without the zero point
    float weights[MAX_ROWS * MAX_CHANNELS];
    double zero_point[MAX_CHANNELS];
    float scales[CANDIDATES * MAX_CHANNELS];
    double act_amax[CANDIDATES];
    bm_tensor sample;
    bm_weights *linears[MAX_LINEARS];
    bm_grid_params grids[MAX_LINEARS];
} group;
static group g;

static const bm_grid_params plain_grid = {8,     0, true, BM_DTYPE_F32, false, false,
                                          false, 0, 0}; // group_size 0: channels

// Numbers of 10 bits, so that a zero point of quarters is taken off without rounding; channel 3 is large, channel 5 is dead.
static void make_group(uint32_t tokens, uint32_t channels, uint32_t num_linears, const uint32_t *rows)
{
    bm_random random;
    bm_random_init(&random, 11, 0);
    g.tokens = tokens, g.channels = channels, g.num_linears = num_linears, g.rows = 0;
    float *raw = malloc((size_t)tokens * channels * sizeof *raw);
    assert_non_null(raw);
    for (uint32_t c = 0; c < channels; c++)
        g.zero_point[c] = (double)(c % 7) / 4 - 0.5;
    for (uint32_t i = 0; i < tokens * channels; i++) {
        const uint32_t c = i % channels;
        const double value = rint(bm_random_normal(&random) * 64 * (c == 3 ? 20 : 1)) / 64;
        g.inputs[i] = c == 5 ? 0 : (float)value;
        raw[i] = g.inputs[i] + (float)g.zero_point[c];
    }
    g.sample = make_tensor(tokens, channels, raw);
    free(raw);
    for (uint32_t l = 0; l < num_linears; l++) {
        static const bm_gemm_choice plain = {
            .name = "masters", .form = BM_GEMM_ROWS, .group = 64, .slice = 8, .gflops = 1};
        float *w = g.weights + (size_t)g.rows * channels;
        for (uint32_t i = 0; i < rows[l] * channels; i++)
            w[i] = i % channels == 8 ? 0 : (float)(bm_random_normal(&random) * (l == 0 ? 5 : 1));
        const bm_tensor staged = make_tensor(rows[l], channels, w);
        MUST(
            bm_weights_create(test_device, rows[l], channels, BM_DTYPE_F32, "linear", &plain, &g.linears[l], &failure));
        MUST(bm_weights_set_rows(test_device, g.linears[l], 0, &staged, &failure));
        g.linear_rows[l] = rows[l];
        g.rows += rows[l];
    }
    for (uint32_t i = 0; i < CANDIDATES; i++) {
        g.act_amax[i] = 0;
        for (uint32_t c = 0; c < channels; c++)
            g.scales[i * channels + c] = i == 0 ? 1 : (float)exp(bm_random_normal(&random) / 2);
        for (uint32_t k = 0; k < tokens * channels; k++)
            g.act_amax[i] =
                fmax(g.act_amax[i], fabs((double)g.inputs[k] / (double)g.scales[i * channels + k % channels]));
        g.act_amax[i] *= i == 2 ? 0.5 : 1; // saturates
    }
}

static void destroy_group(void)
{
    for (uint32_t l = 0; l < g.num_linears; l++)
        bm_weights_destroy(&g.linears[l]);
    destroy_tensors();
}

static bm_search_loss_params params_of(bm_grid_params grid, bm_input_kind input, bool nmse)
{
    grid.group_size = grid.group_size ? grid.group_size : g.channels;
    for (uint32_t l = 0; l < MAX_LINEARS; l++)
        g.grids[l] = grid;
    return (bm_search_loss_params){.inputs = &g.sample,
                                   .zero_point = g.zero_point,
                                   .linears = (const bm_weights *const *)g.linears,
                                   .num_linears = g.num_linears,
                                   .grids = g.grids,
                                   .input = input,
                                   .nmse = nmse};
}

// losses [count] of the candidates.
static void run(const bm_search_loss_params *params, uint32_t count, uint32_t token_share, double *losses)
{
    bm_search_loss *loss = NULL;
    const bm_smooth_batch batch = {count, g.scales, g.act_amax, token_share, BM_SMOOTH_WHOLE};
    MUST(bm_search_loss_create(test_device, params, &loss, &failure));
    MUST(bm_search_loss_run(loss, &batch, losses, &failure));
    bm_search_loss_destroy(&loss);
    assert_null(loss);
}

static bm_int8_loss_params plain_params(bm_input_kind input, bool nmse)
{
    return (bm_int8_loss_params){.inputs = g.inputs,
                                 .weights = g.weights,
                                 .tokens = g.tokens,
                                 .rows = g.rows,
                                 .channels = g.channels,
                                 .linear_rows = g.linear_rows,
                                 .num_linears = g.num_linears,
                                 .group_size = g.channels,
                                 .per_token = input == BM_INPUT_DYNAMIC,
                                 .nmse = nmse};
}

static void run_plain(const bm_int8_loss_params *params, uint32_t count, uint32_t token_share, double *losses)
{
    bm_int8_loss loss;
    const bm_smooth_batch batch = {count, g.scales, g.act_amax, token_share, BM_SMOOTH_WHOLE};
    MUST(bm_int8_loss_init(&loss, params, &failure));
    MUST(bm_int8_loss_run(&loss, &batch, losses, &failure));
    bm_int8_loss_free(&loss);
}

static void losses_are_those_of_plain_codes(void **state)
{
    (void)state;
    static const uint32_t rows[][MAX_LINEARS] = {{64, 36, 20}, {7, 13, 130}, {1}, {129}, {130, 5}};
    static const struct {
        uint32_t tokens, channels, num_linears, rows;
    } shapes[] = {{64, 96, 3, 0}, {131, 37, 3, 1}, {9, 16, 1, 2}, {17, 150, 1, 3}, {200, 63, 2, 4}};
    for (uint32_t i = 0; i < BM_COUNT(shapes); i++) {
        make_group(shapes[i].tokens, shapes[i].channels, shapes[i].num_linears, rows[shapes[i].rows]);
        for (uint32_t k = 0; k < 8; k++) {
            double found[CANDIDATES], expected[CANDIDATES];
            const bm_input_kind input = k & 1 ? BM_INPUT_DYNAMIC : BM_INPUT_STATIC;
            const uint32_t share = k & 4 ? BM_SMOOTH_PRUNE_SHARE : 1;
            const bm_search_loss_params params = params_of(plain_grid, input, k & 2);
            const bm_int8_loss_params plain = plain_params(input, k & 2);
            run(&params, CANDIDATES, share, found);
            run_plain(&plain, CANDIDATES, share, expected);
            // Outputs are rounded to float32 here: few of them average less.
            const double outputs = (double)bm_divide_up(g.tokens, share) * g.rows;
            for (uint32_t c = 0; c < CANDIDATES; c++)
                assert_close(found[c], expected[c], 1e-5 * sqrt(fmax(1, 1000 / outputs)) * expected[c]);
        }
        destroy_group();
    }
}

// ---- weights and parts of tokens ----

// What each token loses by itself, by plain codes: losses [tokens, CANDIDATES].
static void lose_alone(bm_input_kind input, double *losses)
{
    for (uint32_t t = 0; t < g.tokens; t++) {
        bm_int8_loss_params plain = plain_params(input, false);
        plain.inputs = g.inputs + (size_t)t * g.channels;
        plain.tokens = 1;
        run_plain(&plain, CANDIDATES, 1, losses + (size_t)t * CANDIDATES);
    }
}

static double mean_of(const double *alone, const double *weights, const uint8_t *part, uint32_t wanted, uint32_t share,
                      uint32_t candidate)
{
    double loss = 0, sum = 0;
    uint32_t seen = 0;
    for (uint32_t t = 0; t < g.tokens; t++)
        if (wanted == BM_SMOOTH_WHOLE || part[t] == wanted)
            if (seen++ % share == 0) {
                loss += weights[t] * alone[t * CANDIDATES + candidate];
                sum += weights[t];
            }
    return loss / sum;
}

// Tokens of 0 count nothing, others as often as their weight says; a part's are those of the part, in any order.
static void tokens_weigh_and_are_of_parts(void **state)
{
    static const uint32_t rows[MAX_LINEARS] = {33, 20, 7};
    static double alone[MAX_TOKENS * CANDIDATES], weights[MAX_TOKENS], ones[MAX_TOKENS];
    static uint8_t part[MAX_TOKENS];
    (void)state;
    make_group(150, 40, 3, rows);
    for (uint32_t t = 0; t < g.tokens; t++) {
        weights[t] = t % 5 == 0 ? 0 : t % 7 == 0 ? 12.5 : 0.25 * (t % 4 + 1);
        part[t] = t % 3 == 0 || t > 100 ? 2 : 1;
        ones[t] = 1;
    }
    for (uint32_t k = 0; k < 4; k++) {
        const bm_input_kind input = k & 1 ? BM_INPUT_DYNAMIC : BM_INPUT_STATIC;
        bm_search_loss_params params = params_of(plain_grid, input, false);
        bm_search_loss *loss = NULL;
        params.token_weights = k & 2 ? weights : NULL;
        params.part = part;
        lose_alone(input, alone);
        MUST(bm_search_loss_create(test_device, &params, &loss, &failure));
        for (uint32_t wanted = BM_SMOOTH_WHOLE; wanted <= 2; wanted++)
            for (uint32_t share = 1; share <= (wanted ? BM_SMOOTH_PRUNE_SHARE : 1);
                 share += BM_SMOOTH_PRUNE_SHARE - 1) {
                const bm_smooth_batch batch = {CANDIDATES, g.scales, g.act_amax, share, wanted};
                double found[CANDIDATES];
                MUST(bm_search_loss_run(loss, &batch, found, &failure));
                for (uint32_t c = 0; c < CANDIDATES; c++) {
                    const double expected = mean_of(alone, k & 2 ? weights : ones, part, wanted, share, c);
                    assert_close(found[c], expected, 3e-5 * expected);
                }
            }
        const bm_smooth_batch some_of_all = {1, g.scales, g.act_amax, BM_SMOOTH_PRUNE_SHARE, BM_SMOOTH_WHOLE};
        double found;
        assert_int_equal(bm_search_loss_run(loss, &some_of_all, &found, &failure), BM_E_ARGUMENT);
        bm_search_loss_destroy(&loss);
    }
    destroy_group();
}

// ---- other grids ----

// w on the grid of its abs-max or range, as ops/rounding.h has it.
static void round_group(double *w, uint32_t count, const bm_grid_params *grid)
{
    const double half = exp2(grid->bits - 1);
    double low = 0, high = 0, step, zero = 0;
    for (uint32_t i = 0; i < count; i++)
        low = fmin(low, w[i]), high = fmax(high, w[i]);
    if (fmax(-low, high) < 1e-30)
        return;
    step = grid->symmetric ? fmax(-low, high) / (half - 1) : (high - low) / (2 * half - 1);
    if (!grid->symmetric)
        zero = fmin(fmax(rint(-low / step) - half, -half), half - 1);
    for (uint32_t i = 0; i < count; i++)
        w[i] = (fmin(fmax(rint(w[i] / step) + zero, -half), half - 1) - zero) * step;
}

static double expected_loss(const bm_search_loss_params *p, uint32_t candidate, uint32_t share)
{
    const float *s = g.scales + (size_t)candidate * g.channels;
    double loss = 0;
    uint32_t first = 0;
    for (uint32_t l = 0; l < g.num_linears; l++) {
        double error = 0, square = 0;
        for (uint32_t r = first; r < first + g.linear_rows[l]; r++) {
            double q[MAX_CHANNELS];
            for (uint32_t c = 0; c < g.channels; c++)
                q[c] = (double)(g.weights[r * g.channels + c] * s[c]);
            const bm_grid_params *grid = &p->grids[l];
            for (uint32_t c = 0; c < g.channels; c += grid->group_size)
                round_group(q + c, (uint32_t)bm_min_u64(grid->group_size, g.channels - c), grid);
            for (uint32_t t = 0; t < g.tokens; t++) {
                double y = 0, yq = 0, most = 0;
                for (uint32_t c = 0; c < g.channels; c++)
                    most = fmax(most, fabs((double)g.inputs[t * g.channels + c] / (double)s[c]));
                const double step = (p->input == BM_INPUT_STATIC ? g.act_amax[candidate] : most) / 127;
                for (uint32_t c = 0; c < g.channels; c++) {
                    const double x = (double)g.inputs[t * g.channels + c];
                    double v = x / (double)s[c];
                    if (p->input != BM_INPUT_FLOAT)
                        v = fmin(fmax(rint(v / step), -128), 127) * step;
                    y += x * (double)g.weights[r * g.channels + c];
                    yq += v * q[c];
                }
                square += y * y;
                error += t % share == 0 ? (y - yq) * (y - yq) : 0;
            }
        }
        loss += error / (p->nmse ? square / ((double)g.tokens * (double)g.linear_rows[l]) : 1);
        first += (uint32_t)g.linear_rows[l];
    }
    return loss / ((double)bm_divide_up(g.tokens, share) * g.rows);
}

// A code that lies between two numbers may be either: few of them, each worth less than a step.
static void losses_of_other_grids_are_those_of_the_formula(void **state)
{
    (void)state;
    static const uint32_t rows[MAX_LINEARS] = {70, 33, 9};
    static const struct {
        bm_grid_params grid;
        bm_input_kind input;
    } cases[] = {
        {{4, 0, true, BM_DTYPE_F32, false, false, false, 0, 0}, BM_INPUT_FLOAT},
        {{8, 0, true, BM_DTYPE_F32, false, false, false, 0, 0}, BM_INPUT_FLOAT},
        {{4, 32, true, BM_DTYPE_F32, false, false, false, 0, 0}, BM_INPUT_FLOAT},
        {{4, 32, false, BM_DTYPE_F32, false, false, false, 0, 0}, BM_INPUT_FLOAT},
        {{8, 32, true, BM_DTYPE_F32, false, false, false, 0, 0}, BM_INPUT_STATIC},
        {{8, 32, true, BM_DTYPE_F32, false, false, false, 0, 0}, BM_INPUT_DYNAMIC},
        {{4, 0, true, BM_DTYPE_F32, false, false, false, 0, 0}, BM_INPUT_STATIC},
    };
    make_group(75, 72, 3, rows);
    for (uint32_t i = 0; i < BM_COUNT(cases); i++)
        for (uint32_t k = 0; k < 4; k++) {
            double found[CANDIDATES];
            const uint32_t share = k & 2 ? BM_SMOOTH_PRUNE_SHARE : 1;
            const bm_search_loss_params params = params_of(cases[i].grid, cases[i].input, k & 1);
            run(&params, CANDIDATES, share, found);
            for (uint32_t c = 0; c < CANDIDATES; c++) {
                const double expected = expected_loss(&params, c, share);
                assert_close(found[c], expected, 1e-3 * expected);
            }
        }
    // A searched grid loses less than the plain one, all in all.
    double plain[CANDIDATES], searched[CANDIDATES], less = 0;
    bm_search_loss_params params = params_of(cases[0].grid, BM_INPUT_FLOAT, false);
    run(&params, CANDIDATES, 1, plain);
    for (uint32_t l = 0; l < g.num_linears; l++)
        g.grids[l].search = true;
    run(&params, CANDIDATES, 1, searched);
    for (uint32_t c = 0; c < CANDIDATES; c++)
        less += plain[c] - searched[c];
    assert_true(less > 0);
    destroy_group();
}

// One linear that is not of 8 bits is enough: products are of float32.
static void linears_lose_on_their_own_grids(void **state)
{
    (void)state;
    static const uint32_t rows[MAX_LINEARS] = {70, 33, 9};
    static const bm_grid_params narrow = {3, 12, false, BM_DTYPE_F32, false, false, false, 0, 0},
                                wide = {6, 0, true, BM_DTYPE_F32, false, false, false, 0, 0};
    make_group(75, 72, 3, rows);
    for (uint32_t k = 0; k < 6; k++) {
        double found[CANDIDATES];
        const bm_search_loss_params params =
            params_of(plain_grid, k % 2 ? BM_INPUT_STATIC : BM_INPUT_FLOAT, k % 4 == 1);
        g.grids[k % 3] = narrow;
        if (k > 2) {
            g.grids[(k + 1) % 3] = wide;
            g.grids[(k + 1) % 3].group_size = g.channels;
        }
        run(&params, CANDIDATES, 1, found);
        for (uint32_t c = 0; c < CANDIDATES; c++) {
            const double expected = expected_loss(&params, c, 1);
            assert_close(found[c], expected, 1e-3 * expected);
        }
    }
    destroy_group();
}

// ---- the search ----

static void search_with(bm_smooth_loss *loss, void *context, float *scales, bm_smooth_record *record)
{
    static double a[MAX_CHANNELS], magnitudes[2 * MAX_CHANNELS];
    static float w[MAX_CHANNELS];
    memset(magnitudes, 0, sizeof magnitudes);
    memset(w, 0, sizeof w);
    for (uint32_t t = 0; t < g.tokens; t++)
        for (uint32_t c = 0; c < g.channels; c++) {
            double *most = &magnitudes[t % 2 * g.channels + c];
            *most = fmax(*most, fabs((double)g.inputs[t * g.channels + c]));
        }
    for (uint32_t c = 0; c < g.channels; c++)
        a[c] = fmax(magnitudes[c], magnitudes[g.channels + c]);
    bm_column_amax_add(g.weights, g.rows, g.channels, w);
    bm_smooth_problem problem = make_smooth_problem(g.channels, a, w, g.tokens, loss, context);
    observe(&problem, BM_ACTIVATION_ABS_MAX, magnitudes, 2);
    bm_smooth_search_params search;
    bm_smooth_search_params_init(&search);
    search.search_piece = true;
    MUST(search_pieces(&problem, &search, scales, record, &failure));
}

static void a_search_chooses_as_with_plain_codes(void **state)
{
    (void)state;
    static const uint32_t rows[MAX_LINEARS] = {24, 8};
    float found[MAX_CHANNELS], expected[MAX_CHANNELS];
    bm_smooth_record record, plain_record;
    bm_search_loss *loss = NULL;
    bm_int8_loss plain;
    make_group(144, 40, 2, rows); // tokens enough that candidates are pruned
    const bm_search_loss_params params = params_of(plain_grid, BM_INPUT_STATIC, true);
    const bm_int8_loss_params plain_codes = plain_params(BM_INPUT_STATIC, true);
    MUST(bm_search_loss_create(test_device, &params, &loss, &failure));
    search_with(bm_search_loss_run, loss, found, &record);
    MUST(bm_int8_loss_init(&plain, &plain_codes, &failure));
    search_with(bm_int8_loss_run, &plain, expected, &plain_record);
    assert_memory_equal(found, expected, g.channels * sizeof *found);
    assert_int_equal(record.num_moves, plain_record.num_moves);
    for (uint32_t i = 0; i < record.num_moves; i++)
        assert_int_equal(record.moves[i].chosen, plain_record.moves[i].chosen);
    assert_true(record.loss < record.identity_loss);
    assert_close(record.loss, plain_record.loss, 1e-5 * plain_record.loss);
    bm_smooth_record_free(&record);
    bm_smooth_record_free(&plain_record);
    bm_search_loss_destroy(&loss);
    bm_int8_loss_free(&plain);
    destroy_group();
}

// ---- edges ----

static void one_token_and_zeros_lose_what_they_should(void **state)
{
    (void)state;
    static const uint32_t rows[MAX_LINEARS] = {6};
    double found[CANDIDATES], expected[CANDIDATES];
    make_group(1, 12, 1, rows);
    bm_search_loss_params params = params_of(plain_grid, BM_INPUT_STATIC, false);
    const bm_int8_loss_params plain = plain_params(BM_INPUT_STATIC, false);
    run(&params, CANDIDATES, 1, found);
    run_plain(&plain, CANDIDATES, 1, expected);
    for (uint32_t c = 0; c < CANDIDATES; c++)
        assert_close(found[c], expected[c], 1e-3 * expected[c]);
    // The floor of a largest input: all codes are 0 or saturate.
    for (uint32_t c = 0; c < CANDIDATES; c++)
        g.act_amax[c] = c % 2 ? 0 : 1e-7;
    run(&params, CANDIDATES, 1, found);
    run_plain(&plain, CANDIDATES, 1, expected);
    for (uint32_t c = 0; c < CANDIDATES; c++)
        assert_close(found[c], expected[c], 1e-5 * expected[c]);
    // Weights of zeros lose nothing, whatever the grid and the weighting.
    MUST(bm_fill(test_device, g.linears[0]->parts[0].view, 0, &failure));
    params.nmse = true;
    for (uint32_t i = 0; i < 2; i++) {
        g.grids[0].bits = i ? 4 : 8;
        run(&params, CANDIDATES, 1, found);
        for (uint32_t c = 0; c < CANDIDATES; c++)
            assert_true(found[c] == 0);
    }
    destroy_group();
}

// A candidate that is not finite is not one; those beside it in the batch are what they would be without it.
static void losses_that_are_not_finite_are_alone(void **state)
{
    (void)state;
    static const uint32_t rows[MAX_LINEARS] = {20, 9};
    make_group(20, 24, 2, rows);
    for (uint32_t i = 0; i < 3; i++) {
        double found[CANDIDATES], clean[CANDIDATES];
        bm_grid_params grid = plain_grid;
        grid.bits = i == 2 ? 4 : 8;
        const bm_search_loss_params params = params_of(grid, i == 1 ? BM_INPUT_DYNAMIC : BM_INPUT_STATIC, false);
        run(&params, CANDIDATES, 1, clean);
        const float kept = g.scales[1 * g.channels + 2], other = g.scales[3 * g.channels + 2];
        const double kept_amax = g.act_amax[4];
        g.scales[1 * g.channels + 2] = 0;       // inputs are infinite
        g.scales[3 * g.channels + 2] = FLT_MAX; // weights are
        g.act_amax[4] = INFINITY;
        run(&params, CANDIDATES, 1, found);
        assert_true(found[0] == clean[0] && found[2] == clean[2]);
        assert_false(isfinite(found[1]));
        assert_true(!isfinite(found[3]) || (i == 2 && found[3] > 2 * clean[3])); // saturated
        assert_true(params.input == BM_INPUT_DYNAMIC ? found[4] == clean[4] : isnan(found[4]));
        g.scales[1 * g.channels + 2] = kept;
        g.scales[3 * g.channels + 2] = other;
        g.act_amax[4] = kept_amax;
    }
    destroy_group();
}

static void a_search_ends_when_asked(void **state)
{
    (void)state;
    static const uint32_t rows[MAX_LINEARS] = {4};
    listener l = {.stop_at = 2};
    const bm_progress progress = {.report = hear, .user = &l};
    bm_phase phase = {.progress = &progress};
    double losses[CANDIDATES];
    bm_search_loss *loss = NULL;
    make_group(3, 8, 1, rows);
    bm_search_loss_params params = params_of(plain_grid, BM_INPUT_STATIC, false);
    params.phase = &phase;
    const bm_smooth_batch batch = {CANDIDATES, g.scales, g.act_amax, 1, BM_SMOOTH_WHOLE};
    MUST(bm_search_loss_create(test_device, &params, &loss, &failure));
    MUST(bm_search_loss_run(loss, &batch, losses, &failure));
    bm_error err = {0};
    assert_int_equal(bm_search_loss_run(loss, &batch, losses, &err), BM_E_CANCELLED);
    bm_search_loss_destroy(&loss);
    destroy_group();
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    static const uint32_t rows[MAX_LINEARS] = {4};
    double losses[CANDIDATES];
    bm_error err = {0};
    bm_search_loss *loss = NULL;
    make_group(3, 8, 1, rows);
    bm_search_loss_params params = params_of(plain_grid, BM_INPUT_STATIC, false);
    const bm_tensor narrow = make_tensor(3, 7, NULL);
    params.inputs = &narrow;
    assert_int_equal(bm_search_loss_create(test_device, &params, &loss, &err), BM_E_ARGUMENT);
    assert_string_equal(err.message, "linear: 8 input features, the sample has 7");
    assert_null(loss);
    params.inputs = &g.sample;
    params.num_linears = 0;
    assert_int_equal(bm_search_loss_create(test_device, &params, &loss, &err), BM_E_ARGUMENT);
    params.num_linears = 1;
    MUST(bm_search_loss_create(test_device, &params, &loss, &failure));
    const bm_smooth_batch batch = {1, g.scales, g.act_amax, 2, BM_SMOOTH_WHOLE};
    assert_int_equal(bm_search_loss_run(loss, &batch, losses, &err), BM_E_ARGUMENT);
    bm_search_loss_destroy(&loss);
    destroy_group();
}

// Memory is what the plan was told, and all comes back.
static void memory_is_what_was_told(void **state)
{
    (void)state;
    static const uint32_t rows[MAX_LINEARS] = {150, 70, 30};
    const bool is_short = support_is_instrumented(); // looking for an address takes rounds too
    make_group(is_short ? 33 : 100, is_short ? 40 : 150, 3, rows);
    for (uint32_t i = 0; i < 3; i++) {
        double losses[CANDIDATES];
        bm_grid_params grid = plain_grid;
        grid.bits = i == 2 ? 4 : 8;
        grid.group_size = i == 1 ? 28 : 0;
        bm_search_loss *loss = NULL;
        const bm_search_loss_params params = params_of(grid, i == 2 ? BM_INPUT_FLOAT : BM_INPUT_STATIC, true);
        const bm_smooth_batch batch = {CANDIDATES, g.scales, g.act_amax, 1, BM_SMOOTH_WHOLE};
        if (i > 1) // the last linear has many more groups than the others
            g.grids[2].group_size = 4;
        const uint64_t told =
            bm_search_loss_bytes(test_device, g.tokens, g.channels, g.rows, g.grids, g.num_linears, params.input);
        run(&params, CANDIDATES, 1, losses); // scratch grows
        MUST(bm_device_wait(test_device, &failure));
        const uint64_t before = bm_device_live_bytes(test_device);
        MUST(bm_search_loss_create(test_device, &params, &loss, &failure));
        MUST(bm_search_loss_run(loss, &batch, losses, &failure));
        assert_true(bm_device_live_bytes(test_device) - before <= told + 24 * 4096); // what a driver rounds up to
        bm_search_loss_destroy(&loss);
        MUST(bm_device_wait(test_device, &failure));
        assert_int_equal(bm_device_live_bytes(test_device), before);
    }
    destroy_group();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(losses_are_those_of_plain_codes),
        cmocka_unit_test(tokens_weigh_and_are_of_parts),
        cmocka_unit_test(losses_of_other_grids_are_those_of_the_formula),
        cmocka_unit_test(linears_lose_on_their_own_grids),
        cmocka_unit_test(a_search_chooses_as_with_plain_codes),
        cmocka_unit_test(one_token_and_zeros_lose_what_they_should),
        cmocka_unit_test(losses_that_are_not_finite_are_alone),
        cmocka_unit_test(a_search_ends_when_asked),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(memory_is_what_was_told),
    };
    return run_on_device(argc, argv, tests, BM_COUNT(tests));
}
