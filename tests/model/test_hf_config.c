#include "support/unit.h"

#include "base/str.h"
#include "model/hf_config.h"
#include "support/folders.h"
#include "support/own_folder.h"

#include <math.h>
#include <string.h>

// The sizes that every file states, in the order of the table of defaults.
static const char *const required[] = {"\"vocab_size\":32000", "\"hidden_size\":4096", "\"intermediate_size\":11008",
                                       "\"num_hidden_layers\":32", "\"num_attention_heads\":32"};

// The text of an object with those sizes that it lacks.
static char *with_sizes(const char *text)
{
    char *out = bm_format("%.*s", (int)(strlen(text) - 1), text);
    for (size_t i = 0; i < BM_COUNT(required); i++) {
        char *key = bm_format("%.*s", (int)strcspn(required[i], ":"), required[i]);
        char *longer = bm_format("%s,%s", out, required[i]);
        const bool has = strstr(text, key) != NULL;
        bm_free(key);
        bm_free(has ? longer : out);
        out = has ? out : longer;
    }
    char *closed = bm_format("%s}", out);
    bm_free(out);
    return closed;
}

static bm_status read_raw(const char *text, bm_hf_config *config, bm_error *err)
{
    bm_free(support_file_write(folder, "config.json", text, strlen(text)));
    return bm_hf_config_read(config, folder, err);
}

static bm_status read_text(const char *text, bm_hf_config *config, bm_error *err)
{
    char *whole = text[0] == '{' && strstr(text, "model_type") ? with_sizes(text) : bm_string_copy(text);
    const bm_status status = read_raw(whole, config, err);
    bm_free(whole);
    return status;
}

// The families' defaults, by their configuration classes.
static const struct {
    const char *text;
    uint32_t kv_heads, head_dim, positions, window;
    int64_t eos;
} defaults[] = {
    {"{\"model_type\":\"llama\"}", 32, 128, 2048, 0, 2},
    {"{\"model_type\":\"mistral\"}", 8, 128, 131072, 4096, 2},
    {"{\"model_type\":\"qwen2\"}", 32, 128, 32768, 0, -1},
    {"{\"model_type\":\"qwen3\"}", 32, 128, 32768, 0, -1},
    {"{\"model_type\":\"phi3\",\"rms_norm_eps\":1e-6}", 32, 128, 4096, 0, 32000},
    {"{\"model_type\":\"llama\",\"num_attention_heads\":16,\"hidden_size\":512}", 16, 32, 2048, 0, 2},
    {"{\"model_type\":\"qwen3\",\"num_attention_heads\":16,\"num_key_value_heads\":4,\"hidden_size\":512}", 4, 128,
     32768, 0, -1},
    // An explicit null means the default, but it switches a window off.
    {"{\"model_type\":\"mistral\",\"num_key_value_heads\":null,\"sliding_window\":null,\"head_dim\":null,"
     "\"rope_scaling\":null,\"quantization_config\":null}",
     8, 128, 131072, 0, 2},
};

static void absent_keys_mean_what_the_family_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < BM_COUNT(defaults); i++) {
        bm_hf_config c;
        bm_error err;
        assert_ok(read_text(defaults[i].text, &c, &err), &err);
        assert_int_equal(c.num_key_value_heads, defaults[i].kv_heads);
        assert_int_equal(c.head_dim, defaults[i].head_dim);
        assert_int_equal(c.max_position_embeddings, defaults[i].positions);
        assert_int_equal(c.sliding_window, defaults[i].window);
        assert_true(c.default_eos_token_id == defaults[i].eos);
        assert_true(c.norm_epsilon == 1e-6f);
        assert_int_equal(c.hidden_act, BM_ACTIVATION_SILU);
        assert_true(c.rope.scaling == BM_ROPE_DEFAULT && c.rope.theta == 10000.0);
        assert_false(c.tie_word_embeddings || c.attention_bias || c.mlp_bias);
        assert_int_equal(c.dtype, BM_DTYPE_NONE);
        assert_null(c.quantization_config);
        bm_hf_config_destroy(&c);
        assert_null(c.root);
        bm_hf_config_destroy(&c);
    }
}

// A context that no key states is told of, with the key and what was taken.
static void a_context_that_is_assumed_has_words(void **state)
{
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"{\"model_type\":\"llama\"}",
         "config.json: key \"max_position_embeddings\": none, taken as 2048, as transformers does for llama"},
        {"{\"model_type\":\"qwen2\",\"max_position_embeddings\":null}",
         "config.json: key \"max_position_embeddings\": null, taken as 32768, as transformers does for qwen2"},
        {"{\"model_type\":\"llama\",\"max_position_embeddings\":2048}", ""},
        {"{\"model_type\":\"bloom\",\"n_head\":32}",
         "config.json: key \"seq_length\": none, taken as 2048, as transformers does for bloom"},
    };
    (void)state;
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        bm_hf_config c;
        bm_error err;
        assert_ok(read_text(cases[i].text, &c, &err), &err);
        assert_string_equal(c.assumed, cases[i].words);
        bm_hf_config_destroy(&c);
    }
}

// bloom's own names of sizes, and those of its first release.
static void keys_of_bloom_are_read_by_either_name(void **state)
{
    static const char *const texts[] = {
        "{\"model_type\":\"bloom\",\"vocab_size\":250880,\"hidden_size\":96,\"n_layer\":3,\"n_head\":6}",
        "{\"model_type\":\"bloom\",\"vocab_size\":250880,\"n_embed\":96,\"hidden_size\":64,\"num_hidden_layers\":3,"
        "\"num_attention_heads\":6,\"n_inner\":null,\"layer_norm_epsilon\":0.001,\"seq_length\":512,"
        "\"tie_word_embeddings\":false,\"slow_but_exact\":true,\"pretraining_tp\":4}"};
    (void)state;
    for (size_t i = 0; i < BM_COUNT(texts); i++) {
        bm_hf_config c;
        bm_error err;
        assert_ok(read_raw(texts[i], &c, &err), &err);
        assert_int_equal(c.hidden_size, 96);
        assert_int_equal(c.intermediate_size, 384);
        assert_int_equal(c.num_hidden_layers, 3);
        assert_true(c.num_attention_heads == 6 && c.num_key_value_heads == 6 && c.head_dim == 16);
        assert_int_equal(c.max_position_embeddings, i == 0 ? 2048 : 512);
        assert_true(c.norm_epsilon == (i == 0 ? 1e-5f : 1e-3f));
        assert_int_equal(c.hidden_act, BM_ACTIVATION_GELU_TANH);
        assert_int_equal(c.tie_word_embeddings, i == 0);
        assert_true(c.default_eos_token_id == 2);
        assert_string_equal(c.not_built, "");
        bm_hf_config_destroy(&c);
    }
}

static void keys_given_are_read(void **state)
{
    static const char text[] =
        "{\"model_type\":\"llama\",\"hidden_size\":576,\"intermediate_size\":1536,\"num_hidden_layers\":30,"
        "\"num_attention_heads\":9,\"num_key_value_heads\":3,\"head_dim\":64,\"vocab_size\":49152,"
        "\"max_position_embeddings\":8192,\"rms_norm_eps\":1e-05,\"hidden_act\":\"gelu\",\"tie_word_embeddings\":true,"
        "\"attention_bias\":true,\"mlp_bias\":true,\"torch_dtype\":"
        "\"bfloat16\","
        "\"rope_theta\":5e5,\"quantization_config\":{\"quant_method\":\"x\"}}";
    bm_hf_config c;
    bm_error err;
    (void)state;
    assert_ok(read_text(text, &c, &err), &err);
    assert_string_equal(c.model_type, "llama");
    assert_int_equal(c.hidden_size, 576);
    assert_int_equal(c.num_key_value_heads, 3);
    assert_int_equal(c.head_dim, 64);
    assert_true(c.norm_epsilon == 1e-5f);
    assert_int_equal(c.hidden_act, BM_ACTIVATION_GELU);
    assert_true(c.tie_word_embeddings && c.attention_bias && c.mlp_bias);
    assert_int_equal(c.dtype, BM_DTYPE_BF16);
    assert_true(c.rope.theta == 5e5);
    assert_non_null(c.quantization_config);
    bm_hf_config_destroy(&c);
}

static const struct {
    const char *keys;
    bm_rope_scaling scaling;
    double theta, factor;
} ropes[] = {
    {"\"rope_theta\":1e6", BM_ROPE_DEFAULT, 1e6, 1},
    {"\"rope_scaling\":{\"type\":\"linear\",\"factor\":4.0},\"rope_theta\":1e6", BM_ROPE_LINEAR, 1e6, 4},
    {"\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":2}", BM_ROPE_LINEAR, 1e4, 2},
    {"\"rope_scaling\":{\"rope_type\":\"default\"}", BM_ROPE_DEFAULT, 1e4, 1},
    {"\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":500000.0}", BM_ROPE_DEFAULT, 5e5, 1},
    {"\"rope_parameters\":{\"rope_theta\":500000.0,\"factor\":null}", BM_ROPE_DEFAULT, 5e5, 1}, // nothing is scaled
    {"\"rope_scaling\":{\"rope_type\":\"linear\",\"type\":\"linear\",\"factor\":2}", BM_ROPE_LINEAR, 1e4, 2},
    {"\"rope_theta\":5e5,\"rope_scaling\":{\"type\":\"linear\",\"factor\":2},\"rope_parameters\":{\"rope_type\":"
     "\"linear\","
     "\"factor\":2.0,\"rope_theta\":500000}",
     BM_ROPE_LINEAR, 5e5, 2}, // said twice
    {"\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8.0,\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,"
     "\"original_max_position_embeddings\":8192}",
     BM_ROPE_LLAMA3, 1e4, 8},
    {"\"rope_parameters\":{\"rope_type\":\"llama3\",\"rope_theta\":5e5,\"factor\":32.0,\"low_freq_factor\":1.0,"
     "\"high_freq_factor\":4.0,\"original_max_position_embeddings\":8192}",
     BM_ROPE_LLAMA3, 5e5, 32},
};

static void both_spellings_of_rope_are_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < BM_COUNT(ropes); i++) {
        bm_hf_config c;
        bm_error err;
        char *text = bm_format("{\"model_type\":\"llama\",%s}", ropes[i].keys);
        assert_ok(read_text(text, &c, &err), &err);
        assert_int_equal(c.rope.scaling, ropes[i].scaling);
        assert_true(c.rope.theta == ropes[i].theta && c.rope.factor == ropes[i].factor);
        if (c.rope.scaling == BM_ROPE_LLAMA3)
            assert_true(c.rope.low_freq_factor == 1 && c.rope.high_freq_factor == 4 &&
                        c.rope.original_max_position_embeddings == 8192);
        bm_hf_config_destroy(&c);
        bm_free(text);
    }
}

// What dynamic and yarn make of absent keys, and the context that they stretch to. Factors: transformers 5.17.0.
static void scalings_of_longer_texts_have_their_own_defaults(void **state)
{
    static const struct {
        const char *keys;
        double factor, original, fast, slow, magnitude;
        uint32_t context;
    } cases[] = {
        {"\"max_position_embeddings\":32768,\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4.0,"
         "\"original_max_position_embeddings\":32768}",
         4, 32768, 32, 1, 1.1386294361119891, 131072},
        {"\"max_position_embeddings\":4096,\"rope_scaling\":{\"type\":\"yarn\",\"factor\":null,\"beta_fast\":16,"
         "\"original_max_position_embeddings\":1024,\"mscale\":1.5}",
         4, 1024, 16, 1, 1.1386294361119891, 4096},
        {"\"original_max_position_embeddings\":512,\"rope_parameters\":{\"rope_type\":\"yarn\",\"factor\":8.0,"
         "\"original_max_position_embeddings\":64,\"mscale\":1.5,\"mscale_all_dim\":0.5,\"beta_slow\":2}",
         8, 512, 32, 2, 1.188359976202698, 4096},
        {"\"rope_scaling\":{\"type\":\"yarn\",\"factor\":0.5,\"attention_factor\":0.75}", 0.5, 2048, 32, 1, 0.75, 2048},
        {"\"max_position_embeddings\":512,\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":2.5}", 2.5, 512, 0, 0, 0,
         1280},
    };
    (void)state;
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        bm_hf_config c;
        bm_error err;
        char *text = bm_format("{\"model_type\":\"llama\",%s}", cases[i].keys);
        assert_ok(read_text(text, &c, &err), &err);
        assert_int_equal(c.rope.scaling, cases[i].fast > 0 ? BM_ROPE_YARN : BM_ROPE_DYNAMIC);
        assert_true(c.rope.factor == cases[i].factor);
        assert_true(c.rope.original_max_position_embeddings == cases[i].original);
        assert_true(c.rope.beta_fast == cases[i].fast && c.rope.beta_slow == cases[i].slow);
        if (fabs(c.rope.attention_factor - cases[i].magnitude) > 1e-15)
            fail_msg("%s: attention factor %.17g", text, c.rope.attention_factor);
        assert_int_equal(c.max_position_embeddings, cases[i].context);
        bm_hf_config_destroy(&c);
        bm_free(text);
    }
}

// Layers with the window, as a string of w and -.
static void assert_layers(const bm_hf_config *c, const char *wanted)
{
    char got[16] = {0};
    for (uint32_t i = 0; i < strlen(wanted); i++)
        got[i] = bm_hf_config_is_windowed(c, i) ? 'w' : '-';
    assert_string_equal(got, wanted);
}

static void keys_of_gemma_are_read(void **state)
{
    static const struct {
        const char *keys;
        float attention_cap, logit_cap;
        double query_scalar, theta, local_theta; // the latter 0: none
        const char *layers;
    } cases[] = {
        {"\"model_type\":\"gemma2\"", 50, 30, 256, 1e4, 0, "w-w-w-w"},
        {"\"model_type\":\"gemma2\",\"attn_logit_softcapping\":null,\"final_logit_softcapping\":15.5,"
         "\"query_pre_attn_scalar\":144,\"hidden_act\":\"relu\",\"rope_theta\":5e5,\"num_hidden_layers\":3,"
         "\"layer_types\":[\"full_attention\",\"full_attention\",\"sliding_attention\"]",
         0, 15.5f, 144, 5e5, 0, "--w"},
        {"\"model_type\":\"gemma3_text\"", 0, 0, 256, 1e6, 1e4, "wwwww-w"},
        {"\"model_type\":\"gemma3_text\",\"sliding_window_pattern\":3,\"rope_theta\":2e6,\"rope_local_base_freq\":2e4,"
         "\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":8.0}",
         0, 0, 256, 2e6, 2e4, "ww-ww-"},
        {"\"model_type\":\"gemma3_text\",\"rope_parameters\":{\"full_attention\":{\"rope_type\":\"linear\",\"factor\":"
         "8.0,"
         "\"rope_theta\":3e6},\"sliding_attention\":{\"rope_type\":\"default\",\"rope_theta\":3e4}}",
         0, 0, 256, 3e6, 3e4, "wwwww-"},
    };
    (void)state;
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        bm_hf_config c;
        bm_error err;
        char *text = bm_format("{%s}", cases[i].keys);
        assert_ok(read_text(text, &c, &err), &err);
        assert_string_equal(c.not_built, "");
        assert_true(c.attention_cap == cases[i].attention_cap && c.logit_cap == cases[i].logit_cap);
        assert_true(c.query_scalar == cases[i].query_scalar && c.rope.theta == cases[i].theta);
        assert_true(c.local_rope.theta == cases[i].local_theta && c.local_rope.scaling == BM_ROPE_DEFAULT);
        assert_int_equal(c.rope.scaling, i >= 3 ? BM_ROPE_LINEAR : BM_ROPE_DEFAULT);
        assert_int_equal(c.has_local_rope, i >= 2);
        assert_int_equal(c.hidden_act, BM_ACTIVATION_GELU_TANH);
        assert_int_equal(c.sliding_window, 4096);
        assert_true(c.head_dim == 256 && c.num_key_value_heads == 4 && c.tie_word_embeddings);
        assert_layers(&c, cases[i].layers);
        bm_hf_config_destroy(&c);
        bm_free(text);
    }
}

static const struct {
    const char *text;
    bm_status status;
    const char *words;
} refused[] = {
    {"[]", BM_E_FORMAT, "object"},
    {"{", BM_E_FORMAT, "JSON"},
    {"{}", BM_E_UNSUPPORTED, "model_type"},
    {"{\"model_type\":\"gpt2\"}", BM_E_UNSUPPORTED, "one of llama"},
    {"{\"model_type\":7}", BM_E_FORMAT, "model_type"},
    {"{\"model_type\":\"llama\",\"hidden_size\":0}", BM_E_FORMAT, "hidden_size"},
    {"{\"model_type\":\"llama\",\"hidden_size\":-4096}", BM_E_FORMAT, "hidden_size"},
    {"{\"model_type\":\"llama\",\"hidden_size\":4096.0}", BM_E_FORMAT, "hidden_size"},
    {"{\"model_type\":\"llama\",\"hidden_size\":\"4096\"}", BM_E_FORMAT, "hidden_size"},
    {"{\"model_type\":\"llama\",\"hidden_size\":4294967296}", BM_E_FORMAT, "hidden_size"},
    {"{\"model_type\":\"llama\",\"num_hidden_layers\":100000}", BM_E_FORMAT, "num_hidden_layers"},
    {"{\"model_type\":\"llama\",\"num_attention_heads\":0}", BM_E_FORMAT, "num_attention_heads"},
    {"{\"model_type\":\"llama\",\"num_key_value_heads\":3}", BM_E_FORMAT, "num_key_value_heads"},
    {"{\"model_type\":\"llama\",\"num_key_value_heads\":64}", BM_E_FORMAT, "num_key_value_heads"},
    {"{\"model_type\":\"llama\",\"hidden_size\":8,\"num_attention_heads\":16}", BM_E_FORMAT, "head_dim"},
    {"{\"model_type\":\"llama\",\"num_attention_heads\":65536,\"head_dim\":512}", BM_E_FORMAT, "num_attention_heads"},
    {"{\"model_type\":\"llama\",\"rms_norm_eps\":-1}", BM_E_FORMAT, "rms_norm_eps"},
    {"{\"model_type\":\"llama\",\"tie_word_embeddings\":1}", BM_E_FORMAT, "tie_word_embeddings"},
    {"{\"model_type\":\"llama\",\"rope_theta\":0}", BM_E_FORMAT, "rope_theta"},
    {"{\"model_type\":\"llama\",\"rope_scaling\":7}", BM_E_FORMAT, "rope_scaling"},
    {"{\"model_type\":\"llama\",\"rope_scaling\":{\"type\":\"linear\"}}", BM_E_FORMAT, "factor"},
    {"{\"model_type\":\"llama\",\"rope_scaling\":{\"type\":\"linear\",\"factor\":0}}", BM_E_FORMAT, "factor"},
    {"{\"model_type\":\"llama\",\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8}}", BM_E_FORMAT,
     "key \"low_freq_factor\": found none, expected a number"},
    {"{\"model_type\":\"llama\",\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":4,"
     "\"high_freq_factor\":4,\"original_max_position_embeddings\":512}}",
     BM_E_FORMAT, "key \"high_freq_factor\": found 4, expected more than low_freq_factor, 4"},
    {"{\"model_type\":\"llama\",\"rope_scaling\":{\"factor\":2}}", BM_E_FORMAT,
     "key \"rope_scaling.rope_type\": found none beside \"factor\", expected default, linear, dynamic, llama3 or yarn"},
    {"{\"model_type\":\"llama\",\"rope_parameters\":{\"rope_type\":null,\"rope_theta\":1e5,\"long_factor\":[1]}}",
     BM_E_FORMAT, "key \"rope_parameters.rope_type\": found none beside \"long_factor\""},
    {"{\"model_type\":\"llama\",\"rope_scaling\":{\"type\":\"dynamic\"}}", BM_E_FORMAT, "factor"},
    {"{\"model_type\":\"llama\",\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":0.5}}", BM_E_FORMAT,
     "key \"factor\": found 0.5, expected 1 or more"},
    {"{\"model_type\":\"llama\",\"rope_scaling\":{\"type\":\"yarn\",\"factor\":2,\"beta_fast\":-1}}", BM_E_FORMAT,
     "beta_fast"},
    {"{\"model_type\":\"llama\",\"rope_scaling\":{\"type\":\"yarn\"}}", BM_E_FORMAT, "factor"},
    {"{\"model_type\":\"llama\",\"rope_theta\":1,\"rope_scaling\":{\"type\":\"yarn\",\"factor\":2}}", BM_E_FORMAT,
     "key \"rope_theta\": found 1"},
    {"{\"model_type\":\"gemma2\",\"attn_logit_softcapping\":0}", BM_E_FORMAT, "attn_logit_softcapping"},
    {"{\"model_type\":\"gemma2\",\"query_pre_attn_scalar\":-1}", BM_E_FORMAT, "query_pre_attn_scalar"},
    {"{\"model_type\":\"gemma3_text\",\"sliding_window_pattern\":0}", BM_E_FORMAT, "sliding_window_pattern"},
    {"{\"model_type\":\"gemma3_text\",\"rope_parameters\":{\"sliding_attention\":7}}", BM_E_FORMAT,
     "key \"rope_parameters.sliding_attention\": found number, expected an object"},
    {"{\"model_type\":\"llama\",\"quantization_config\":[]}", BM_E_FORMAT, "quantization_config"},
    {"{\"model_type\":\"mistral\",\"sliding_window\":-1}", BM_E_FORMAT, "sliding_window"},
    {"{\"model_type\":\"qwen2\",\"use_sliding_window\":true,\"num_hidden_layers\":2,\"layer_types\":[\"full_"
     "attention\"]}",
     BM_E_FORMAT, "layer_types"},
    {"{\"model_type\":\"qwen2\",\"use_sliding_window\":true,\"num_hidden_layers\":1,\"layer_types\":[7]}", BM_E_FORMAT,
     "layer_types"},
    {"{\"model_type\":\"qwen3\",\"layer_types\":\"full_attention\"}", BM_E_FORMAT, "layer_types"},
    {"{\"model_type\":\"llama\",\"hidden_act\":7}", BM_E_FORMAT, "hidden_act"},
    {"{\"model_type\":\"bloom\",\"num_attention_heads\":24}", BM_E_FORMAT,
     "key \"num_attention_heads\": found 24, expected a divisor of hidden_size"},
    {"{\"model_type\":\"bloom\",\"num_attention_heads\":null}", BM_E_FORMAT,
     "key \"n_head\": found none, expected a number"},
    {"{\"model_type\":\"bloom\",\"n_embed\":0}", BM_E_FORMAT, "n_embed"},
    {"{\"model_type\":\"bloom\",\"layer_norm_epsilon\":-1}", BM_E_FORMAT, "layer_norm_epsilon"},
    {"{\"model_type\":\"bloom\",\"apply_residual_connection_post_layernorm\":1}", BM_E_FORMAT, "post_layernorm"},
    {"{\"model_type\":\"llama\",\"rope_scaling\":{\"rope_type\":8}}", BM_E_FORMAT, "rope_type"},
    {"{\"model_type\":\"llama\",\"rope_scaling\":{\"rope_type\":\"linear\",\"type\":\"dynamic\",\"factor\":2}}",
     BM_E_FORMAT, "key \"rope_scaling.type\": found dynamic, expected that of \"rope_type\", linear"},
    {"{\"model_type\":\"llama\",\"rope_theta\":1e4,\"rope_parameters\":{\"rope_theta\":5e5}}", BM_E_FORMAT,
     "key \"rope_parameters.rope_theta\": found 500000, expected that of \"rope_theta\", 10000"},
    {"{\"model_type\":\"gemma3_text\",\"rope_local_base_freq\":1e4,\"rope_parameters\":{\"sliding_attention\":{\"rope_"
     "theta\":2e4}}}",
     BM_E_FORMAT,
     "key \"rope_parameters.sliding_attention.rope_theta\": found 20000, expected that of \"rope_local_base_freq\", "
     "10000"},
    {"{\"model_type\":\"llama\",\"rope_scaling\":{\"type\":\"linear\",\"factor\":2},\"rope_parameters\":{\"rope_"
     "theta\":5e5}}",
     BM_E_FORMAT, "key \"rope_parameters\": found a rope that scales otherwise than \"rope_scaling\""},
    {"{\"model_type\":\"llama\",\"rope_scaling\":{\"type\":\"linear\",\"factor\":2},\"rope_parameters\":{\"rope_type\":"
     "\"linear\",\"factor\":4}}",
     BM_E_FORMAT, "key \"rope_parameters\": found a rope that scales otherwise"},
};

// What only running needs and is not built: read all the same, with the words for whoever wants to run it.
static const struct {
    const char *keys, *words;
} not_built[] = {
    {"\"model_type\":\"llama\",\"hidden_act\":\"silu\"", ""},
    {"\"model_type\":\"llama\",\"hidden_act\":\"relu\"",
     "key \"hidden_act\": found relu, expected silu, gelu or gelu_pytorch_tanh to run the model"},
    {"\"model_type\":\"llama\",\"rope_scaling\":{\"rope_type\":\"longrope\",\"factor\":8}",
     "key \"rope_scaling.rope_type\": found longrope, expected default, linear, dynamic, llama3 or yarn to run the "
     "model"},
    {"\"model_type\":\"llama\",\"rope_scaling\":{\"type\":\"su\",\"factor\":8}", "key \"rope_scaling.type\": found su"},
    {"\"model_type\":\"llama\",\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":8}", ""},
    {"\"model_type\":\"llama\",\"rope_scaling\":{\"type\":\"yarn\",\"factor\":8}", ""},
    {"\"model_type\":\"llama\",\"rope_parameters\":{\"rope_type\":\"longrope\"}",
     "key \"rope_parameters.rope_type\": found longrope"},
    {"\"model_type\":\"llama\",\"partial_rotary_factor\":0.5", "key \"partial_rotary_factor\""},
    {"\"model_type\":\"llama\",\"rope_parameters\":{\"partial_rotary_factor\":0.5}", "key \"partial_rotary_factor\""},
    {"\"model_type\":\"qwen2\",\"use_sliding_window\":true,\"num_hidden_layers\":1,\"layer_types\":[\"other\"]",
     "key \"layer_types\": found other, expected full_attention or sliding_attention"},
    {"\"model_type\":\"qwen3\",\"num_hidden_layers\":2,\"layer_types\":[\"full_attention\",\"linear_attention\"]",
     "found linear_attention"},
    {"\"model_type\":\"qwen3\",\"num_hidden_layers\":1,\"layer_types\":[\"full_attention\"]", ""},
    {"\"model_type\":\"gemma2\",\"use_bidirectional_attention\":true",
     "key \"use_bidirectional_attention\": found true"},
    {"\"model_type\":\"gemma3_text\",\"sliding_window\":null", "key \"sliding_window\": found null, expected a number"},
    {"\"model_type\":\"gemma2\",\"hidden_activation\":\"relu\",\"hidden_act\":\"silu\"",
     "key \"hidden_activation\": found relu"},
    {"\"model_type\":\"bloom\",\"apply_residual_connection_post_layernorm\":true",
     "key \"apply_residual_connection_post_layernorm\": found true, expected false to run the model"},
    // The first one counts.
    {"\"model_type\":\"llama\",\"hidden_act\":\"relu\",\"partial_rotary_factor\":0.5", "key \"hidden_act\""},
};

static void what_only_running_needs_is_no_error(void **state)
{
    (void)state;
    for (size_t i = 0; i < BM_COUNT(not_built); i++) {
        bm_hf_config c;
        bm_error err;
        char *text = bm_format("{%s}", not_built[i].keys);
        assert_ok(read_text(text, &c, &err), &err);
        if ((not_built[i].words[0] == '\0') != (c.not_built[0] == '\0') || !strstr(c.not_built, not_built[i].words))
            fail_msg("%s: words \"%s\"", text, c.not_built);
        bm_hf_config_destroy(&c);
        bm_free(text);
    }
}

// Shapes alone matter for rounding: heads of any width are read.
static void heads_of_any_width_are_read(void **state)
{
    static const uint32_t widths[] = {1, 20, 1024};
    (void)state;
    for (size_t i = 0; i < BM_COUNT(widths); i++) {
        bm_hf_config c;
        bm_error err;
        char *text = bm_format("{\"model_type\":\"llama\",\"head_dim\":%u}", widths[i]);
        assert_ok(read_text(text, &c, &err), &err);
        assert_int_equal(c.head_dim, widths[i]);
        bm_hf_config_destroy(&c);
        bm_free(text);
    }
}

static void sizes_must_be_there(void **state)
{
    (void)state;
    for (size_t i = 0; i < BM_COUNT(required); i++) {
        bm_hf_config c = {0};
        bm_error err = {0};
        bm_string text = BM_STRING_INIT;
        (void)bm_string_append(&text, "{\"model_type\":\"llama\"");
        for (size_t k = 0; k < BM_COUNT(required); k++)
            if (k != i)
                (void)bm_string_append_format(&text, ",%s", required[k]);
        (void)bm_string_append(&text, "}");
        char *words = bm_format("key %.*s: found none", (int)strcspn(required[i], ":"), required[i]);
        assert_int_equal(read_raw(bm_string_text(&text), &c, &err), BM_E_FORMAT);
        assert_non_null(strstr(err.message, words));
        bm_free(words);
        bm_string_free(&text);
    }
}

static void bad_values_are_refused_by_key(void **state)
{
    (void)state;
    for (size_t i = 0; i < BM_COUNT(refused); i++) {
        bm_hf_config c = {0};
        bm_error err = {0};
        const bm_status status = read_text(refused[i].text, &c, &err);
        if (status != refused[i].status || !strstr(err.message, refused[i].words))
            fail_msg("case %zu: %s: status %s, words \"%s\"", i, refused[i].text, bm_status_name(status), err.message);
    }
}

static void a_missing_file_is_an_io_error_that_names_the_folder(void **state)
{
    bm_hf_config c;
    bm_error err;
    (void)state;
    assert_int_equal(bm_hf_config_read(&c, folder, &err), BM_E_IO);
    assert_non_null(strstr(err.message, folder));
}

static const struct {
    const char *keys;
    uint8_t windowed[4];
} windows[] = {
    {"\"model_type\":\"llama\",\"sliding_window\":16", {0, 0, 0, 0}},
    {"\"model_type\":\"mistral\",\"sliding_window\":16", {1, 1, 1, 1}},
    {"\"model_type\":\"mistral\",\"sliding_window\":null", {0, 0, 0, 0}},
    {"\"model_type\":\"qwen2\",\"sliding_window\":16", {0, 0, 0, 0}},
    {"\"model_type\":\"qwen2\",\"sliding_window\":16,\"use_sliding_window\":true", {0, 0, 0, 0}}, // from layer 28 on
    {"\"model_type\":\"qwen2\",\"sliding_window\":16,\"use_sliding_window\":true,\"max_window_layers\":2",
     {0, 0, 1, 1}},
    {"\"model_type\":\"qwen3\",\"sliding_window\":16,\"use_sliding_window\":true,\"max_window_layers\":0",
     {1, 1, 1, 1}},
    {"\"model_type\":\"qwen3\",\"sliding_window\":16,\"use_sliding_window\":true,\"layer_types\":[\"sliding_"
     "attention\","
     "\"full_attention\",\"sliding_attention\",\"full_attention\"]",
     {1, 0, 1, 0}},
};

static void windows_follow_the_family(void **state)
{
    (void)state;
    for (size_t i = 0; i < BM_COUNT(windows); i++) {
        bm_hf_config c;
        bm_error err;
        char *text = bm_format("{%s,\"num_hidden_layers\":4}", windows[i].keys);
        assert_ok(read_text(text, &c, &err), &err);
        for (uint32_t layer = 0; layer < 4; layer++)
            assert_int_equal(bm_hf_config_is_windowed(&c, layer), windows[i].windowed[layer]);
        bm_hf_config_destroy(&c);
        bm_free(text);
    }
}

static void the_older_name_of_quantization_config_counts(void **state)
{
    bm_hf_config c;
    bm_error err;
    (void)state;
    assert_ok(read_text("{\"model_type\":\"llama\",\"compression_config\":{\"a\":1}}", &c, &err), &err);
    assert_non_null(bm_json_find(c.quantization_config, "a"));
    bm_hf_config_destroy(&c);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(absent_keys_mean_what_the_family_says),
        WITH_FOLDER(a_context_that_is_assumed_has_words),
        WITH_FOLDER(keys_given_are_read),
        WITH_FOLDER(keys_of_bloom_are_read_by_either_name),
        WITH_FOLDER(both_spellings_of_rope_are_read),
        WITH_FOLDER(keys_of_gemma_are_read),
        WITH_FOLDER(scalings_of_longer_texts_have_their_own_defaults),
        WITH_FOLDER(sizes_must_be_there),
        WITH_FOLDER(bad_values_are_refused_by_key),
        WITH_FOLDER(what_only_running_needs_is_no_error),
        WITH_FOLDER(heads_of_any_width_are_read),
        WITH_FOLDER(a_missing_file_is_an_io_error_that_names_the_folder),
        WITH_FOLDER(windows_follow_the_family),
        WITH_FOLDER(the_older_name_of_quantization_config_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
