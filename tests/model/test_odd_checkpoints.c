// Checkpoints that hold more than the model reads, or the model's tensors by other names.
#include "support/unit.h"

#include "base/file.h"
#include "base/str.h"
#include "model/model.h"
#include "support/edits.h"
#include "support/model_maker.h"
#include "support/own_folder.h"

#include <string.h>

static void make_model(const char *family)
{
    bm_error err = {0};
    model_maker_params p;
    model_maker_params_init(&p);
    p.family = family;
    assert_ok(model_maker_write(&p, folder, &err), &err);
}

// Tensors that are there too, with the sentences that tell of them.
static const struct {
    const char *family, *names[3];
    uint32_t count;
    const char *words[2];
} unread[] = {
    {"llama", {NULL}, 0, {NULL}},
    {"llama",
     {"v_head.summary.weight", "v_head.summary.bias"},
     1,
     {"2 tensors that a llama model does not compute with are left out (the first is \"v_head.summary.bias\")"}},
    {"llama",
     {"model.layers.0.self_attn.rotary_emb.inv_freq"},
     1,
     {"1 tensor that a llama model does not compute with is left out (the first is "
      "\"model.layers.0.self_attn.rotary_emb.inv_freq\")"}},
    {"llama",
     {"model.layers.0.self_attn.q_proj.bias", "model.layers.0.self_attn.k_proj.bias"},
     1,
     {"2 biases that config.json does not declare are left out (the first is "
      "\"model.layers.0.self_attn.k_proj.bias\"), "
      "as transformers does; if the model was trained with them, its config.json lacks \"attention_bias\": true"}},
    {"llama", {"model.layers.1.mlp.up_proj.bias"}, 1, {"its config.json lacks \"mlp_bias\": true"}},
    {"qwen2", {"model.layers.1.self_attn.o_proj.bias"}, 1, {"1 bias that config.json does not declare is left out"}},
    {"llama",
     {"model.layers.0.self_attn.q_proj.lora_A.weight", "model.layers.0.self_attn.q_proj.bias"},
     2,
     {"1 tensor that a llama model does not compute with", "1 bias that config.json does not declare"}},
    {"qwen3", {"model.layers.0.input_layernorm.bias"}, 1, {"1 tensor that a qwen3 model does not compute with"}},
};

static void tensors_that_nothing_reads_are_counted_and_the_first_is_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < BM_COUNT(unread); i++) {
        bm_error err = {0};
        bm_model *model = NULL;
        bm_model_words words[BM_MAX_UNREAD_WORDS];
        make_model(unread[i].family);
        for (size_t t = 0; t < BM_COUNT(unread[i].names) && unread[i].names[t]; t++)
            support_tensor_add(folder, unread[i].names[t], BM_DTYPE_F32, 4);
        assert_ok(bm_model_open(&model, folder, &err), &err);
        const uint32_t count = bm_model_describe_unread(model, "left out", words);
        assert_int_equal(count, unread[i].count);
        for (uint32_t k = 0; k < count; k++)
            if (!strstr(words[k].text, unread[i].words[k]))
                fail_msg("case %zu: \"%s\"", i, words[k].text);
        for (size_t t = 0; t < BM_COUNT(unread[i].names) && unread[i].names[t]; t++)
            assert_false(bm_model_reads(model, bm_checkpoint_find(model->checkpoint, unread[i].names[t])));
        assert_true(bm_model_reads(model, bm_checkpoint_find(model->checkpoint, "model.norm.weight")));
        bm_model_close(&model);
    }
}

// One list of all that there is to say.
static void remarks_are_those_on_tensors_and_what_else_is_odd(void **state)
{
    (void)state;
    bm_error err = {0};
    bm_model *model = NULL;
    bm_model_words words[BM_MAX_MODEL_REMARKS];
    make_model("llama");
    assert_ok(bm_model_open(&model, folder, &err), &err);
    assert_int_equal(bm_model_remarks(model, "left out", words), 0);
    bm_model_close(&model);
    support_tensor_add(folder, "odd.weight", BM_DTYPE_F32, 4);
    support_text_replace(folder, "config.json", "max_position_embeddings", "max_position_embedding");
    assert_ok(bm_model_open(&model, folder, &err), &err);
    assert_int_equal(bm_model_remarks(model, "left out", words), 2);
    assert_non_null(strstr(words[0].text, "odd.weight"));
    assert_non_null(strstr(words[1].text, "\"max_position_embeddings\": none, taken as 2048"));
    bm_model_close(&model);
}

// Loaders take the embedding where the two are tied, whatever else is there.
static void a_head_beside_a_tied_embedding_is_not_read(void **state)
{
    (void)state;
    bm_error err = {0};
    bm_model *model = NULL;
    make_model("llama");
    support_text_replace(folder, "config.json", "\"tie_word_embeddings\": false", "\"tie_word_embeddings\": true");
    assert_ok(bm_model_open(&model, folder, &err), &err);
    assert_false(bm_model_reads(model, bm_checkpoint_find(model->checkpoint, BM_TENSOR_LM_HEAD)));
    bm_model_close(&model);
}

static const struct {
    const char *prefix; // in the place of "model."
    const char *words;
} renamed[] = {
    {"llama.", "\"llama.embed_tokens.weight\" is there: names of a PaddleNLP checkpoint"},
    {"base_model.model.model.", "is there: names of a model in PEFT's wrapper: merge its adapter"},
    {"_orig_mod.model.", "is there: names of a model that torch.compile wraps"},
    {"base_model.model._orig_mod.model.", "PEFT's wrapper"},
    {"module.model.", "is there: names of a model that a trainer wraps"},
    {"language_model.model.", "is there: names of a larger model"},
    {"", "\"embed_tokens.weight\" is there: names of a model without its head"},
    {"my\\u001b[31m.", "\"my?[31m.embed_tokens.weight\" is there: expected the names that transformers gives"},
    {"my_", "tensor \"model.embed_tokens.weight\" is missing; a llama model needs it"},
};

static void foreign_names_are_recognised(void **state)
{
    (void)state;
    for (size_t i = 0; i < BM_COUNT(renamed); i++) {
        bm_error err = {0};
        bm_model *model = NULL;
        char *to = bm_format("\"%s", renamed[i].prefix);
        make_model("llama");
        support_header_replace(folder, "\"model.", to);
        assert_int_equal(bm_model_open(&model, folder, &err), BM_E_FORMAT);
        if (!strstr(err.message, renamed[i].words))
            fail_msg("%s: \"%s\"", renamed[i].prefix, err.message);
        bm_free(to);
    }
}

// What a bloom lacks, or has in another shape: the words.
static const struct {
    const char *from, *to, *words; // in the header of its file
} broken_blooms[] = {
    {"h.1.self_attention.query_key_value.bias", "h.1.self_attention.query_key_value.bias_",
     "tensor \"transformer.h.1.self_attention.query_key_value.bias\" is missing; a bloom model needs it"},
    {"transformer.ln_f.bias", "transformer.ln_f.shift",
     "tensor \"transformer.ln_f.bias\" is missing; a bloom model needs it"},
    {"word_embeddings_layernorm.weight", "word_embeddings_norm.weight",
     "tensor \"transformer.word_embeddings_layernorm.weight\" is missing"},
    {"h.0.self_attention.query_key_value.weight\":{\"dtype\":\"F32\",\"shape\":[192,64]",
     "h.0.self_attention.query_key_value.weight\":{\"dtype\":\"F32\",\"shape\":[64,192]",
     "tensor \"transformer.h.0.self_attention.query_key_value.weight\": shape [64, 192], expected [192, 64] by "
     "config.json"},
    {"\"transformer.h.1.", "\"transformer.h.2.", "key \"num_hidden_layers\": found 2, expected 3"},
    {"\"transformer.", "\"bloom.", "\"bloom.word_embeddings.weight\" is there: names of a PaddleNLP checkpoint"},
};

static void broken_blooms_are_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < BM_COUNT(broken_blooms); i++) {
        bm_error err = {0};
        bm_model *model = NULL;
        make_model("bloom");
        support_header_replace(folder, broken_blooms[i].from, broken_blooms[i].to);
        assert_int_equal(bm_model_open(&model, folder, &err), BM_E_FORMAT);
        if (!strstr(err.message, broken_blooms[i].words))
            fail_msg("%s: \"%s\"", broken_blooms[i].to, err.message);
    }
}

// Where the index places a tensor; bm_free it.
static char *shard_of(const char *name)
{
    bm_error err = {0};
    bm_json *root = NULL;
    char *path = bm_path_join(folder, "model.safetensors.index.json");
    assert_ok(bm_json_read_file(&root, path, 1 << 20, &err), &err);
    char *shard = bm_string_copy(bm_json_string(bm_json_find(bm_json_find(root, "weight_map"), name)));
    bm_json_destroy(&root);
    bm_free(path);
    return shard;
}

static void an_index_that_leaves_a_tensor_out_is_told_the_shard(void **state)
{
    static const char *const names[] = {"model.layers.1.self_attn.q_proj.weight", "lm_head.weight"};
    (void)state;
    for (size_t i = 0; i < BM_COUNT(names); i++) {
        bm_error err = {0};
        bm_model *model = NULL;
        model_maker_params p;
        model_maker_params_init(&p);
        p.max_shard_bytes = 330000;
        assert_ok(model_maker_write(&p, folder, &err), &err);
        char *shard = shard_of(names[i]), *entry = bm_format(",\n    \"%s\": \"%s\"", names[i], shard);
        char *words =
            bm_format("index.json: weight_map leaves out tensor \"%s\", which lies in \"%s\"", names[i], shard);
        support_text_replace(folder, "model.safetensors.index.json", entry, "");
        assert_int_equal(bm_model_open(&model, folder, &err), BM_E_FORMAT);
        if (!strstr(err.message, words))
            fail_msg("\"%s\", expected \"%s\"", err.message, words);
        bm_free(shard);
        bm_free(entry);
        bm_free(words);
    }
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(tensors_that_nothing_reads_are_counted_and_the_first_is_named),
        WITH_FOLDER(remarks_are_those_on_tensors_and_what_else_is_odd),
        WITH_FOLDER(a_head_beside_a_tied_embedding_is_not_read),
        WITH_FOLDER(foreign_names_are_recognised),
        WITH_FOLDER(broken_blooms_are_named),
        WITH_FOLDER(an_index_that_leaves_a_tensor_out_is_told_the_shard),
    };
    return cmocka_run_group_tests_name("odd_checkpoints", tests, NULL, NULL);
}
