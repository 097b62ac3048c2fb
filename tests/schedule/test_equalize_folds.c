// Whole runs that shift and smooth, on the device that the argument names: the function is kept by every fold, whichever linears
// stay float and whatever the types of norms; devices agree, and a device agrees with itself.
#include "schedule/equalize_fixture.h"

#include "base/half.h"
#include "support/edits.h"
#include "support/folders.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- the function is kept

// Weights of 8 bits leave little error; a fold that is not undone somewhere leaves a great one. Skipped names are those that a
// fold goes into, and parts of stages: they are written as floats from the masters.
static void folds_keep_the_function(void **state)
{
    static const char *const llama_skips[] = {
        "",
        ",\"skip_list_names\":[\"v_proj\",\"up_proj\"]",
        ",\"skip_list_names\":[\"q_proj\",\"k_proj\",\"gate_proj\"]",
        ",\"skip_list_names\":[\"self_attn\"]",
        ",\"skip_list_names\":[\"o_proj\",\"down_proj\",\"layers.1\"]",
        ",\"skip_list_names\":[\"q_proj\",\"k_proj\",\"v_proj\",\"gate_proj\",\"up_proj\"]"};
    static const char *const bloom_skips[] = {"", ",\"skip_list_names\":[\"query_key_value\"]",
                                              ",\"skip_list_names\":[\"dense_h_to_4h\",\"self_attention.dense\"]"};
    static const char *const folds[] = {SHIFT SMOOTH, SHIFT SMOOTH OPS, SMOOTH ",\"smooth_pow2\":true"};
    const struct {
        const char *family;
        uint32_t num_kv_heads;
        bool biases;
    } models[] = {{"llama", 4, false}, {"llama", 2, true}, {"mistral", 1, false}, {"qwen2", 2, false},
                  {"qwen3", 2, true},  {"bloom", 4, true}, {"gemma2", 2, false}};
    (void)state;
    for (size_t m = 0; m < BM_COUNT(models); m++) {
        model_maker_params p = small_model();
        const bool is_bloom = strcmp(models[m].family, "bloom") == 0, is_llama = strcmp(models[m].family, "llama") == 0;
        const char *const *skips = is_bloom ? bloom_skips : llama_skips;
        const size_t num_skips = is_bloom ? BM_COUNT(bloom_skips) : m == 1 ? BM_COUNT(llama_skips) : 1;
        p.family = models[m].family;
        p.num_kv_heads = models[m].num_kv_heads;
        p.attention_bias = models[m].biases && !is_bloom;
        p.mlp_bias = models[m].biases && is_llama;
        char *folder = made_model(&p);
        for (size_t s = 0; s < num_skips; s++) {
            char *plain = bm_format(WINT8 "%s", skips[s]);
            const double without = run_and_compare(folder, plain);
            bm_free(plain);
            for (size_t f = 0; f < (s == 0 ? BM_COUNT(folds) : 1); f++) {
                char *keys = bm_format(WINT8 "%s%s", folds[f], skips[s]);
                const double with = run_and_compare(folder, keys);
                if (!(with < 2.5 * without))
                    fail_msg("%s, %s: divergence %.3g, without folds %.3g", p.family, keys, with, without);
                bm_free(keys);
            }
        }
        support_folder_remove(&folder);
    }
}

// Inputs of o from query heads that share a key and value head count together and are divided by the same: by what its rows of v are.
static void assert_heads_are_divided_alike(const bm_stage_record *o, uint32_t head_dim, uint32_t shared)
{
    for (uint32_t c = 0; c < o->num_bins; c++) {
        const uint32_t first = c / head_dim / shared * shared * head_dim + c % head_dim;
        assert_true(o->low[c] == o->low[first] && o->high[c] == o->high[first]);
    }
}

// Channels of which inputs are 20 times larger than others: what smooth is for. A search that sees six sequences does not find much
// worse scales.
static void smooth_meets_outliers(void **state)
{
    model_maker_params p = small_model();
    (void)state;
    p.num_outlier_channels = 2;
    p.outlier_scale = 20;
    char *folder = made_model(&p);
    const double plain = run_and_compare(folder, A8W8), smooth = run_and_compare(folder, A8W8 SMOOTH);
    const double search = run_and_compare(folder, A8W8 SMOOTH SEARCH);
    const double dynamic = run_and_compare(folder, A8W8 SMOOTH ",\"act_quant_method\":\"per_token\"");
    print_message("plain %.3g, smooth %.3g, search %.3g, dynamic %.3g\n", plain, smooth, search, dynamic);
    assert_true(smooth < plain / 4 && search < 2 * smooth && dynamic < smooth);
    run r = {.folder = folder, .keys = A8W8 SMOOTH};
    quantize_well(&r);
    assert_heads_are_divided_alike(stage_of(&r, 0, BM_STAGE_O), p.hidden_size / p.num_heads,
                                   p.num_heads / p.num_kv_heads);
    end_run(&r);
    support_folder_remove(&folder);
}

// Inputs of a stage are looked at where one of its linears is quantized, and there alone.
static void stages_that_stay_float_are_left_alone(void **state)
{
    static const char keys[] = A8W8 SMOOTH ",\"skip_list_names\":[\"self_attn\",\"layers.1.mlp.down_proj\"]";
    const bm_stage expected[] = {BM_STAGE_GATE_UP, BM_STAGE_DOWN, BM_STAGE_GATE_UP};
    model_maker_params p = small_model();
    (void)state;
    char *folder = made_model(&p);
    run r = {.folder = folder, .keys = keys};
    quantize_well(&r);
    assert_int_equal(r.result.num_stages, BM_COUNT(expected));
    for (uint32_t i = 0; i < BM_COUNT(expected); i++)
        assert_int_equal(r.result.stages[i].stage, expected[i]);
    end_run(&r);
    support_folder_remove(&folder);
}

// The observer may see fewer steps than smooth: halves have sequences of both, or nothing is judged crosswise. Which sequences is the
// same on every device: all pairs on the host, one each way elsewhere.
static void fewer_steps_are_observed_than_smoothed(void **state)
{
    model_maker_params p = small_model();
    (void)state;
    char *folder = made_model(&p);
    const double plain = run_and_compare(folder, A8W8);
    for (int ptq = 1; ptq <= 3; ptq++)
        for (int smooth = 1; smooth <= 3; smooth++) {
            if (!bm_device_is_host(device) && abs(ptq - smooth) < 2)
                continue;
            char *keys = bm_format(A8W8 SMOOTH SEARCH ",\"ptq_step\":%d,\"smooth_step\":%d", ptq, smooth);
            const double nats = run_and_compare(folder, keys);
            if (!(nats < 20 * plain))
                fail_msg("%s: divergence %.3g, plain %.3g", keys, nats, plain);
            bm_free(keys);
        }
    support_folder_remove(&folder);
}

// ---- types of norms

// A channel of weight 60000 that has small inputs and large weights wants a scale by which float16 would overflow.
static void folds_stay_in_the_range_of_their_type(void **state)
{
    static const char norm[] = "model.layers.0.post_attention_layernorm.weight";
    static const char *const types[] = {"float16", "bfloat16", "float32"};
    model_maker_params p = small_model();
    uint64_t count;
    (void)state;
    char *folder = made_model(&p);
    scale_tensor(folder, "model.embed_tokens.weight", -1, 9, 32, 1e-6f);
    scale_tensor(folder, "model.layers.0.self_attn.o_proj.weight", 9, -1, 32, 0);
    scale_tensor(folder, "model.layers.0.mlp.gate_proj.weight", -1, 9, 32, 1e2f);
    set_element(folder, norm, 9, 60000);
    for (size_t i = 0; i < BM_COUNT(types); i++) {
        char *keys = bm_format(A8W8 SMOOTH ",\"dtype\":\"%s\",\"skip_list_names\":[\"up_proj\",\"v_proj\"]", types[i]);
        run r = {.folder = folder, .keys = keys};
        quantize_well(&r);
        char *output = output_of(&r);
        float *after = read_from(output, norm, &count);
        assert_true(isfinite(after[9]) && after[9] > 0);
        assert_true(i == 0 ? after[9] == 65504 : after[9] > 65504); // the scale is moved no farther than it must be
        assert_int_equal(stage_of(&r, 0, BM_STAGE_GATE_UP)->finish.num_moved, i == 0);
        assert_true(divergence(&r) < 0.05);
        const bm_stage_record *stage = stage_of(&r, 0, BM_STAGE_GATE_UP);
        float *step = read_from(output, "model.layers.0.mlp.gate_proj.input_scale", &count);
        assert_true(step[0] == stage->input.step && fabs(step[0] * 127 / stage->amax - 1) < 0.005);
        // Scales are what norms were really divided by once they are stored.
        float *original = read_from(folder, norm, &count), least = INFINITY, largest = 0;
        for (uint64_t c = 0; c < count; c++) {
            least = fminf(least, original[c] / after[c]);
            largest = fmaxf(largest, original[c] / after[c]);
        }
        assert_true(fabsf(stage->least_scale / least - 1) < 1e-6f && fabsf(stage->largest_scale / largest - 1) < 1e-6f);
        bm_free(step);
        bm_free(original);
        bm_free(after);
        bm_free(output);
        bm_free(keys);
        end_run(&r);
    }
    support_folder_remove(&folder);
}

// Puts another tensor of `count` numbers, rounded to a type of 16 bits, in the place of a float32 one of a made model.
static void change_type(const char *folder, const char *name, bm_dtype dtype)
{
    uint64_t count;
    char from[200], to[200];
    float *values = read_from(folder, name, &count);
    uint8_t *bytes = bm_alloc(count, bm_dtype_size(dtype));
    for (uint64_t i = 0; i < count; i++)
        bm_store_real(bytes, dtype, i, values[i]);
    snprintf(from, sizeof from, "\"%s\"", name);
    snprintf(to, sizeof to, "\"-%s\"", name + 1); // one that nobody reads
    support_header_replace(folder, from, to);
    support_tensor_add(folder, name, dtype, count);
    support_tensor_write(folder, name, bytes, count * bm_dtype_size(dtype));
    bm_free(values);
    bm_free(bytes);
}

// Norms of several types, from block to block and in one: each keeps its own, and scales are what each was really divided
// by.
static void norms_keep_their_types(void **state)
{
    static const struct {
        uint32_t block;
        bm_stage stage;
        const char *norm;
        bm_dtype dtype;
    } norms[] = {{0, BM_STAGE_QKV, "input_layernorm", BM_DTYPE_F32},
                 {0, BM_STAGE_GATE_UP, "post_attention_layernorm", BM_DTYPE_BF16},
                 {1, BM_STAGE_QKV, "input_layernorm", BM_DTYPE_F16},
                 {1, BM_STAGE_GATE_UP, "post_attention_layernorm", BM_DTYPE_F32}};
    static const char *const families[][2] = {{"llama", "model.layers"}, {"bloom", "transformer.h"}};
    for (size_t f = 0; f < BM_COUNT(families); f++) {
        model_maker_params p = small_model();
        bm_error err = {0};
        bm_model *model = NULL;
        (void)state;
        p.family = families[f][0];
        p.num_kv_heads = p.num_heads;
        char *folder = made_model(&p);
        for (size_t i = 0; i < BM_COUNT(norms); i++)
            for (int is_bias = 0; is_bias < (f == 0 ? 1 : 2); is_bias++) { // biases: of the next norm's type
                const bm_dtype dtype = norms[(i + (size_t)is_bias) % BM_COUNT(norms)].dtype;
                char *name = bm_format("%s.%u.%s.%s", families[f][1], norms[i].block, norms[i].norm,
                                       is_bias ? "bias" : "weight");
                if (dtype != BM_DTYPE_F32)
                    change_type(folder, name, dtype);
                bm_free(name);
            }
        const double plain = run_and_compare(folder, WINT8);
        run r = {.folder = folder, .keys = WINT8 SHIFT SMOOTH};
        quantize_well(&r);
        assert_true(divergence(&r) < 2.5 * plain);
        char *output = output_of(&r);
        assert_ok(bm_model_open(&model, output, &err), &err);
        for (size_t i = 0; i < BM_COUNT(norms); i++) {
            char *name = bm_format("%s.%u.%s.weight", families[f][1], norms[i].block, norms[i].norm);
            const bm_stage_record *record = stage_of(&r, norms[i].block, norms[i].stage);
            float least = INFINITY, largest = 0;
            uint64_t count;
            float *before = read_from(folder, name, &count), *after = read_floats(model, name, &count);
            char *bias = bm_format("%s.%u.%s.bias", families[f][1], norms[i].block, norms[i].norm);
            float *added = f == 0 ? bm_alloc_zero(count, sizeof *added) : read_from(folder, bias, &count);
            float *shifted = read_floats(model, bias, &count);
            assert_int_equal(record->num_bins, count);
            for (uint64_t c = 0; c < count; c++) {
                const float scale = before[c] / after[c];
                const double taken = (double)(record->low_before[c] - record->low[c] * scale);
                least = fminf(least, scale);
                largest = fmaxf(largest, scale);
                if (!(fabs(taken - (double)(added[c] - shifted[c] * scale)) <= 2e-5)) // of inputs up to 5
                    fail_msg("%s: channel %u: %.9g was taken off", bias, (uint32_t)c, taken);
            }
            bm_free(bias);
            bm_free(added);
            bm_free(shifted);
            assert_int_equal(bm_checkpoint_find(model->checkpoint, name)->dtype, norms[i].dtype);
            assert_near((double)record->least_scale, (double)least, name);
            assert_near((double)record->largest_scale, (double)largest, name);
            bm_free(before);
            bm_free(after);
            bm_free(name);
        }
        bm_model_close(&model);
        bm_free(output);
        end_run(&r);
        support_folder_remove(&folder);
    }
}

// ---- agreement

// Codes that differ, of all; other numbers are near.
typedef struct agreement {
    uint64_t codes, differing;
    double scales; // largest relative difference of those of weights and inputs
} agreement;

static agreement compare(const char *a, const char *b)
{
    bm_error err = {0};
    bm_model *models[2] = {NULL, NULL};
    agreement found = {0};
    assert_ok(bm_model_open(&models[0], a, &err), &err);
    assert_ok(bm_model_open(&models[1], b, &err), &err);
    for (uint32_t i = 0; i < bm_checkpoint_count(models[0]->checkpoint); i++) {
        const bm_tensor_info *info = bm_checkpoint_at(models[0]->checkpoint, i);
        uint64_t count;
        if (info->dtype == BM_DTYPE_I8) {
            const bm_tensor_info *other = bm_checkpoint_find(models[1]->checkpoint, info->name);
            int8_t *x = bm_alloc(info->size_bytes, 1), *y = bm_alloc(info->size_bytes, 1);
            assert_ok(bm_checkpoint_read(models[0]->checkpoint, info, 0, x, info->size_bytes, &err), &err);
            assert_ok(bm_checkpoint_read(models[1]->checkpoint, other, 0, y, info->size_bytes, &err), &err);
            for (uint64_t e = 0; e < info->size_bytes; e++) {
                found.differing += x[e] != y[e];
                assert_true(abs(x[e] - y[e]) <= 1);
            }
            found.codes += info->size_bytes;
            bm_free(x);
            bm_free(y);
        } else if (strstr(info->name, "scale")) {
            float *x = read_floats(models[0], info->name, &count), *y = read_floats(models[1], info->name, &count);
            for (uint64_t e = 0; e < count; e++)
                found.scales = fmax(found.scales, (double)(fabsf(x[e] - y[e]) / x[e]));
            bm_free(x);
            bm_free(y);
        }
    }
    bm_model_close(&models[0]);
    bm_model_close(&models[1]);
    return found;
}

// The device twice: the same bytes. The host beside it: scales but for rounding, and so nearly all codes.
static void devices_agree(void **state)
{
    static const char *const keys[] = {A8W8, A8W8 SHIFT SMOOTH, A8W8 SMOOTH SEARCH};
    bm_error err = {0};
    support_log log;
    bm_device *host = NULL;
    model_maker_params p = small_model();
    (void)state;
    p.num_outlier_channels = 2;
    p.outlier_scale = 20;
    char *folder = made_model(&p);
    support_log_init(&log);
    assert_ok(support_device_open("host", &log, &host, &err), &err);
    for (size_t i = 0; i < BM_COUNT(keys); i++) {
        run once = {.folder = folder, .keys = keys[i]}, again = once, beside = once;
        uint64_t size, size_again;
        beside.device = host;
        assert_ok(quantize(&once, &err), &err);
        assert_ok(quantize(&again, &err), &err);
        assert_ok(quantize(&beside, &err), &err);
        char *a = output_of(&once), *b = output_of(&again), *c = output_of(&beside);
        char *bytes = support_file_read(a, "model.safetensors", &size),
             *same = support_file_read(b, "model.safetensors", &size_again);
        assert_int_equal(size, size_again);
        assert_memory_equal(bytes, same, size);
        const agreement found = compare(a, c);
        print_message("%s: %llu of %llu codes differ from the host's, scales by %.2g\n", keys[i],
                      (unsigned long long)found.differing, (unsigned long long)found.codes, found.scales);
        assert_true(found.codes > 10000 && found.differing * 1000 <= found.codes && found.scales < 1e-5);
        bm_free(bytes);
        bm_free(same);
        bm_free(a);
        bm_free(b);
        bm_free(c);
        end_run(&once);
        end_run(&again);
        end_run(&beside);
    }
    bm_device_close(&host);
    support_folder_remove(&folder);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folds_keep_the_function),
        cmocka_unit_test(smooth_meets_outliers),
        cmocka_unit_test(folds_stay_in_the_range_of_their_type),
        cmocka_unit_test(norms_keep_their_types),
        cmocka_unit_test(stages_that_stay_float_are_left_alone),
        cmocka_unit_test(fewer_steps_are_observed_than_smoothed),
        cmocka_unit_test(devices_agree),
    };
    return run_on_device(argc, argv, "equalize_folds", LONG_LOOPS, tests, BM_COUNT(tests));
}
