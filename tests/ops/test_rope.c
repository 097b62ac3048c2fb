// Tables against formulas, the llama3 scaling against published numbers, and the meaning of both pairings.
#include "ops/fixture.h"
#include "ops/rope.h"

#include <math.h>
#include <string.h>

static const bm_rope_config plain = {.scaling = BM_ROPE_DEFAULT, .theta = 10000};
static const bm_rope_config llama31 = {.scaling = BM_ROPE_LLAMA3,
                                       .theta = 500000,
                                       .factor = 8,
                                       .low_freq_factor = 1,
                                       .high_freq_factor = 4,
                                       .original_max_position_embeddings = 8192};

static void assert_near(double got, double want, double bound)
{
    if (!(fabs(got - want) <= bound))
        fail_msg("got %.12g, want %.12g, bound %.3g", got, want, bound);
}

static void frequency_default_is_a_geometric_series(void **state)
{
    (void)state;
    assert_near(bm_rope_frequency(&plain, 64, 0), 1, 0);
    assert_near(bm_rope_frequency(&plain, 64, 8), 0.1, 1e-16); // 10000^(-1/4)
    assert_near(bm_rope_frequency(&plain, 64, 16), 0.01, 1e-17);
}

static void frequency_linear_divides_by_factor(void **state)
{
    (void)state;
    bm_rope_config linear = plain;
    linear.scaling = BM_ROPE_LINEAR;
    linear.factor = 4;
    for (uint32_t i = 0; i < 32; i++)
        assert_near(4 * bm_rope_frequency(&linear, 64, i), bm_rope_frequency(&plain, 64, i), 1e-16);
}

// The three regions of Llama 3.1's config with heads of 128: wavelengths below 8192 / 4 are kept, above 8192 divided by
// 8.
static void frequency_llama3_has_three_regions(void **state)
{
    (void)state;
    const bm_rope_config unscaled = {.scaling = BM_ROPE_DEFAULT, .theta = 500000};
    uint32_t kept = 0, divided = 0, between = 0;
    for (uint32_t i = 0; i < 64; i++) {
        const double f = bm_rope_frequency(&unscaled, 128, i), scaled = bm_rope_frequency(&llama31, 128, i);
        const double wavelength = 2 * acos(-1) / f;
        if (wavelength < 2048) {
            kept++;
            assert_near(scaled, f, 0);
        } else if (wavelength > 8192) {
            divided++;
            assert_near(scaled, f / 8, 1e-20);
        } else {
            between++;
            const double smooth = (8192 / wavelength - 1) / 3;
            assert_near(scaled, (1 - smooth) * f / 8 + smooth * f, 1e-18);
            assert_true(scaled < f && scaled > f / 8);
        }
    }
    // 500000^(i/64) < 2048 / (2 pi) up to i = 28, < 8192 / (2 pi) up to i = 34
    assert_int_equal(kept, 29);
    assert_int_equal(between, 6);
    assert_int_equal(divided, 29);
}

// Frequencies of pairs 0, 4, 8 .. of heads of 64, as transformers 5.17.0 computes them in float32.
static void frequencies_of_longer_texts_are_as_computed_elsewhere(void **state)
{
    static const struct {
        bm_rope_config config;
        uint32_t length;
        double wanted[8];
    } cases[] = {
        {{BM_ROPE_YARN, 1e6, 4, .original_max_position_embeddings = 32768, .beta_fast = 32, .beta_slow = 1},
         0,
         {1, 0.177827939, 0.0316227786, 0.00515479548, 0.000583333371, 4.44569851e-05, 7.90569356e-06, 1.40585337e-06}},
        {{BM_ROPE_YARN, 1e4, 8, .original_max_position_embeddings = 512, .beta_fast = 32, .beta_slow = 2,
          .untruncated = true},
         9999,
         {1, 0.294613391, 0.0568313524, 0.00648196042, 0.00124999997, 0.000395284733, 0.000125000006, 3.95284733e-05}},
        {{BM_ROPE_DYNAMIC, 1e4, 2.5, .original_max_position_embeddings = 512},
         1000,
         {1, 0.270212889, 0.0730150118, 0.0197295975, 0.00533119123, 0.00144055672, 0.000389257009, 0.000105182262}},
        {{BM_ROPE_DYNAMIC, 1e4, 2.5, .original_max_position_embeddings = 512},
         300,
         {1, 0.316227764, 0.100000001, 0.0316227786, 0.00999999978, 0.00316227786, 0.00100000005, 0.000316227786}},
    };
    (void)state;
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        const bm_rope_config at_length = bm_rope_at_length(&cases[i].config, 64, cases[i].length);
        for (uint32_t k = 0; k < 8; k++)
            assert_near(bm_rope_frequency(&at_length, 64, 4 * k) / cases[i].wanted[k], 1, 4e-7);
    }
    assert_near(bm_rope_yarn_magnitude(4, 1), 1.138629436111989, 1e-15);
    assert_near(bm_rope_yarn_magnitude(0.5, 1), 1, 0);
}

// Of the rows that are asked for, and only where the text is long; a shorter one turns back to the first angles.
static void tables_of_a_dynamic_scaling_follow_the_length(void **state)
{
    enum { POSITIONS = 40, HALF = 4 };
    static const uint32_t spans[][2] = {{0, 8}, {12, 20}, {0, 20}, {39, 40}, {3, 5}, {0, 10}, {2, 12}};
    const bm_rope_config config = {BM_ROPE_DYNAMIC, 100, 3, .original_max_position_embeddings = 10};
    bm_rope_tables *tables = NULL;
    float cosines[POSITIONS * HALF], sines[POSITIONS * HALF];
    bm_error err = {0};
    (void)state;
    MUST(bm_rope_tables_create(test_device, &config, 2 * HALF, POSITIONS, &tables, &failure));
    for (size_t s = 0; s < BM_COUNT(spans); s++) {
        const bm_rope_config at_length = bm_rope_at_length(&config, 2 * HALF, spans[s][1]);
        MUST(bm_rope_tables_fit(test_device, tables, spans[s][0], spans[s][1], &failure));
        read_tensor(&tables->cosines, cosines);
        read_tensor(&tables->sines, sines);
        for (uint32_t p = spans[s][0]; p < spans[s][1]; p++)
            for (uint32_t i = 0; i < HALF; i++) {
                const double angle = p * bm_rope_frequency(&at_length, 2 * HALF, i);
                assert_near(cosines[p * HALF + i], cos(angle), 0x1p-24);
                assert_near(sines[p * HALF + i], sin(angle), 0x1p-24);
            }
    }
    assert_int_equal(bm_rope_tables_fit(test_device, tables, 0, POSITIONS + 1, &err), BM_E_ARGUMENT);
    bm_rope_tables_destroy(&tables);
}

static void tables_of_yarn_are_longer_by_its_factor(void **state)
{
    const bm_rope_config config = {
        BM_ROPE_YARN,           100, 2, .original_max_position_embeddings = 16, .beta_fast = 2, .beta_slow = 1,
        .attention_factor = 1.5};
    bm_rope_tables *tables = NULL;
    float cosines[2 * 4], sines[2 * 4];
    (void)state;
    MUST(bm_rope_tables_create(test_device, &config, 8, 2, &tables, &failure));
    read_tensor(&tables->cosines, cosines);
    read_tensor(&tables->sines, sines);
    assert_near(cosines[0], 1.5, 0);
    assert_near(hypot(cosines[4], sines[4]), 1.5, 0x1p-22);
    bm_rope_tables_destroy(&tables);
}

static void tables_hold_cosines_and_sines_of_the_angles(void **state)
{
    (void)state;
    enum { POSITIONS = 1200, HALF = 32 };
    static float cosines[POSITIONS * HALF], sines[POSITIONS * HALF];
    bm_rope_tables *tables = NULL;
    MUST(bm_rope_tables_create(test_device, &plain, 2 * HALF, POSITIONS, &tables, &failure));
    read_tensor(&tables->cosines, cosines);
    read_tensor(&tables->sines, sines);
    for (uint32_t p = 0; p < POSITIONS; p++)
        for (uint32_t i = 0; i < HALF; i++) { // rounded once from float64
            const double angle = p * pow(10000, -2.0 * i / (2 * HALF));
            assert_near(cosines[p * HALF + i], cos(angle), 0x1p-24);
            assert_near(sines[p * HALF + i], sin(angle), 0x1p-24);
        }
    bm_rope_tables_destroy(&tables);
    assert_null(tables);
}

// The dot product of a turned query and a turned key depends on the distance of their positions alone.
static void apply_makes_products_depend_on_distance(void **state)
{
    (void)state;
    enum { DIM = 64, TOKENS = 5 };
    const uint32_t query_positions[TOKENS] = {3, 10, 117, 500, 1000}, key_positions[TOKENS] = {0, 7, 114, 497, 997};
    for (uint32_t interleaved = 0; interleaved < 2; interleaved++) {
        float one_query[DIM], one_key[DIM], queries[TOKENS * DIM], keys[TOKENS * DIM];
        bm_random random;
        bm_random_init(&random, 5, interleaved);
        fill_normal(&random, DIM, 1, one_query);
        fill_normal(&random, DIM, 1, one_key);
        for (uint32_t t = 0; t < TOKENS; t++) {
            memcpy(queries + t * DIM, one_query, sizeof one_query);
            memcpy(keys + t * DIM, one_key, sizeof one_key);
        }
        bm_rope_tables *tables = NULL;
        MUST(bm_rope_tables_create(test_device, &llama31, DIM, 1001, &tables, &failure));
        const bm_tensor q = make_tensor(TOKENS, DIM, queries), k = make_tensor(TOKENS, DIM, keys);
        MUST(
            bm_rope_apply(test_device, tables, &q, DIM, make_integers(TOKENS, query_positions), interleaved, &failure));
        MUST(bm_rope_apply(test_device, tables, &k, DIM, make_integers(TOKENS, key_positions), interleaved, &failure));
        read_tensor(&q, queries);
        read_tensor(&k, keys);
        double first = 0, size = 0;
        for (uint32_t t = 0; t < TOKENS; t++) {
            double dot = 0;
            for (uint32_t d = 0; d < DIM; d++) {
                dot += (double)queries[t * DIM + d] * keys[t * DIM + d];
                size += t == 0 ? fabs((double)queries[d] * keys[d]) : 0;
            }
            first = t == 0 ? dot : first;
            assert_near(dot, first, 64 * 0x1p-24 * (size + 1)); // tables and turns: a few roundings of each product
        }
        bm_rope_tables_destroy(&tables);
    }
}

static void apply_turns_neighbours_or_halves(void **state)
{
    (void)state;
    const float x[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    const uint32_t position = 1;
    bm_rope_tables *tables = NULL;
    MUST(bm_rope_tables_create(test_device, &plain, 8, 2, &tables, &failure));
    const bm_tensor halves = make_tensor(1, 8, x), neighbours = make_tensor(1, 8, x);
    MUST(bm_rope_apply(test_device, tables, &halves, 8, make_integers(1, &position), false, &failure));
    MUST(bm_rope_apply(test_device, tables, &neighbours, 8, make_integers(1, &position), true, &failure));
    float half[8], neighbour[8];
    read_tensor(&halves, half);
    read_tensor(&neighbours, neighbour);
    for (uint32_t i = 0; i < 4; i++) {
        const double angle = pow(10, -(double)i); // 10000^(-2 i / 8)
        assert_near(half[i], x[i] * cos(angle) - x[i + 4] * sin(angle), 1e-6);
        assert_near(half[i + 4], x[i + 4] * cos(angle) + x[i] * sin(angle), 1e-6);
        assert_near(neighbour[2 * i], x[2 * i] * cos(angle) - x[2 * i + 1] * sin(angle), 1e-6);
        assert_near(neighbour[2 * i + 1], x[2 * i + 1] * cos(angle) + x[2 * i] * sin(angle), 1e-6);
    }
    bm_rope_tables_destroy(&tables);
}

static void wrong_shapes_are_argument_errors(void **state)
{
    (void)state;
    bm_error err = {0};
    bm_rope_tables *tables = NULL;
    assert_int_equal(bm_rope_tables_create(test_device, &plain, 12, 4, &tables, &err), BM_E_ARGUMENT);
    assert_int_equal(bm_rope_tables_create(test_device, &(bm_rope_config){.theta = 0}, 8, 4, &tables, &err),
                     BM_E_ARGUMENT);
    assert_null(tables);
    MUST(bm_rope_tables_create(test_device, &plain, 16, 4, &tables, &failure));
    const bm_tensor x = make_tensor(3, 16, NULL);
    const uint32_t positions[4] = {0};
    const bm_view view = make_integers(4, positions);
    assert_int_equal(bm_rope_apply(test_device, tables, &x, 8, view, false, &err), BM_E_ARGUMENT); // tables turn 16
    assert_int_equal(bm_rope_apply(test_device, tables, &x, 24, view, false, &err), BM_E_ARGUMENT);
    assert_int_equal(bm_rope_apply(test_device, tables, &x, 16, bm_view_part(view, 0, 8), false, &err), BM_E_ARGUMENT);
    bm_rope_tables_destroy(&tables);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frequency_default_is_a_geometric_series),
        cmocka_unit_test(frequency_linear_divides_by_factor),
        cmocka_unit_test(frequency_llama3_has_three_regions),
        cmocka_unit_test(frequencies_of_longer_texts_are_as_computed_elsewhere),
        cmocka_unit_test(tables_of_a_dynamic_scaling_follow_the_length),
        cmocka_unit_test(tables_of_yarn_are_longer_by_its_factor),
        cmocka_unit_test(tables_hold_cosines_and_sines_of_the_angles),
        cmocka_unit_test(apply_makes_products_depend_on_distance),
        cmocka_unit_test(apply_turns_neighbours_or_halves),
        cmocka_unit_test(wrong_shapes_are_argument_errors),
    };
    return run_on_device(argc, argv, tests, BM_COUNT(tests));
}
