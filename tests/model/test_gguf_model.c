// A made model's folder and the GGUF file that its converter would make: the same configuration, and tensor by tensor the
// same bytes under the same names, in their old order.
#include "support/unit.h"

#include "base/half.h"
#include "formats/read_ahead.h"
#include "model/block.h"
#include "model/gguf_model.h"
#include "model/model.h"
#include "support/folders.h"
#include "support/gguf_maker.h"
#include "support/model_maker.h"

#include <math.h>
#include <string.h>

#define TYPE_F32 0
#define TYPE_F16 1
#define TYPE_Q8_0 8
#define TYPE_BF16 30

static void check_config(const bm_hf_config *a, const bm_hf_config *b)
{
    assert_string_equal(a->model_type, b->model_type);
    assert_int_equal(a->hidden_size, b->hidden_size);
    assert_int_equal(a->intermediate_size, b->intermediate_size);
    assert_int_equal(a->num_hidden_layers, b->num_hidden_layers);
    assert_int_equal(a->num_attention_heads, b->num_attention_heads);
    assert_int_equal(a->num_key_value_heads, b->num_key_value_heads);
    assert_int_equal(a->head_dim, b->head_dim);
    assert_int_equal(a->vocab_size, b->vocab_size);
    assert_int_equal(a->max_position_embeddings, b->max_position_embeddings);
    assert_true(a->norm_epsilon == b->norm_epsilon);
    assert_int_equal(a->hidden_act, b->hidden_act);
    assert_int_equal(a->tie_word_embeddings, b->tie_word_embeddings);
    assert_int_equal(a->attention_bias, b->attention_bias);
    assert_int_equal(a->mlp_bias, b->mlp_bias);
    assert_int_equal(a->sliding_window, b->sliding_window);
    assert_string_equal(a->not_built, b->not_built);
    assert_int_equal(a->rope.scaling, b->rope.scaling);
    assert_true(a->rope.theta == b->rope.theta && a->rope.factor == b->rope.factor);
    assert_true(a->rope.low_freq_factor == b->rope.low_freq_factor &&
                a->rope.high_freq_factor == b->rope.high_freq_factor &&
                a->rope.original_max_position_embeddings == b->rope.original_max_position_embeddings);
}

static uint8_t *read_all(bm_checkpoint *checkpoint, const bm_tensor_info *info)
{
    bm_error err = {0};
    uint8_t *bytes = bm_alloc(info->size_bytes, 1);
    assert_ok(bm_checkpoint_read(checkpoint, info, 0, bytes, info->size_bytes, &err), &err);
    return bytes;
}

// bound: of |difference| relative to a tensor's largest magnitude; 0: bytes where the types agree.
static void check_tensors(const bm_model *folder, const bm_model *file, double bound)
{
    const uint32_t count = bm_checkpoint_count(folder->checkpoint);
    assert_int_equal(bm_checkpoint_count(file->checkpoint), count);
    for (uint32_t i = 0; i < count; i++) {
        const bm_tensor_info *a = bm_checkpoint_at(folder->checkpoint, i), *b = bm_checkpoint_at(file->checkpoint, i);
        assert_string_equal(a->name, b->name);
        assert_int_equal(a->num_dims, b->num_dims);
        assert_memory_equal(a->shape, b->shape, sizeof a->shape);
        uint8_t *want = read_all(folder->checkpoint, a), *got = read_all(file->checkpoint, b);
        const uint64_t elements = a->size_bytes / bm_dtype_size(a->dtype);
        double largest = 0, difference = 0;
        for (uint64_t k = 0; k < elements; k++) {
            const double value = (double)bm_load_real(want, a->dtype, k);
            largest = fmax(largest, fabs(value));
            difference = fmax(difference, fabs(value - (double)bm_load_real(got, b->dtype, k)));
        }
        if (!(difference <= bound * largest))
            fail_msg("%s: differs by %g of %g", a->name, difference, largest);
        bm_free(want);
        bm_free(got);
    }
}

static void check(const model_maker_params *params, uint32_t type, double bound)
{
    bm_error err = {0};
    char *folder = support_folder_create(), *out = support_folder_create();
    bm_model *model = NULL, *file = NULL;
    assert_ok(model_maker_write(params, folder, &err), &err);
    char *path = gguf_maker_convert(folder, type, NULL, out, "model.gguf");
    assert_ok(bm_model_open(&model, folder, &err), &err);
    assert_ok(bm_model_open(&file, out, &err), &err); // the only one of its folder
    check_config(&model->config, &file->config);
    check_tensors(model, file, bound);
    assert_int_equal(model->num_parameters, file->num_parameters);
    bm_model_close(&model);
    bm_model_close(&file);
    bm_free(path);
    support_folder_remove(&folder);
    support_folder_remove(&out);
}

static model_maker_params base_of(const char *family)
{
    model_maker_params p;
    model_maker_params_init(&p);
    p.family = family;
    p.tokenizer = MODEL_MAKER_NO_TOKENIZER;
    return p;
}

static void every_family_opens(void **state)
{
    (void)state;
    static const char *const families[] = {"llama", "qwen2", "qwen3"};
    for (size_t i = 0; i < BM_COUNT(families); i++) {
        model_maker_params p = base_of(families[i]);
        p.tie_embeddings = i == 1;
        p.dtype = i == 2 ? BM_DTYPE_BF16 : BM_DTYPE_F16;
        check(&p, TYPE_F32, 0);
        check(&p, i == 2 ? TYPE_BF16 : TYPE_F16, 0);
        check(&p, TYPE_Q8_0, 0.5 / 127 + 1e-3); // half a step, and what float16 takes away
    }
}

static void odd_heads_and_biases_open(void **state)
{
    (void)state;
    model_maker_params p = base_of("llama");
    p.attention_bias = p.mlp_bias = true;
    p.hidden_size = 72;
    p.num_heads = 3;
    p.num_kv_heads = 1;
    p.head_dim = 24;
    p.intermediate_size = 131;
    check(&p, TYPE_F32, 0);
    p = base_of("qwen3");
    p.attention_bias = true;
    p.num_heads = 6;
    p.head_dim = 32;
    p.rms_norm_eps = 0.001;
    check(&p, TYPE_F32, 0);
}

static void scaled_frequencies_come_back(void **state)
{
    (void)state;
    model_maker_params p = base_of("llama");
    p.rope_scaling = "linear";
    p.rope_theta = 1000000;
    check(&p, TYPE_F32, 0);
    p.rope_scaling = "llama3";
    p.rope_theta = 500000;
    p.head_dim = 64;
    check(&p, TYPE_F32, 0);
}

// Divisors of other bounds than the published ones: what they give is solved for.
static void divisors_of_llama3_are_solved_for(void **state)
{
    (void)state;
    static const bm_gguf_rope_factors wanted[] = {{8, 1, 4, 8192}, {32, 1, 4, 8192}, {4, 1, 8, 4096}};
    enum { HALF = 64 };
    bm_error err = {0};
    char *folder = support_folder_create();
    for (size_t n = 0; n <= BM_COUNT(wanted); n++) {
        const bm_gguf_rope_factors *w = &wanted[n % BM_COUNT(wanted)];
        const bool is_broken = n == BM_COUNT(wanted);
        bm_gguf_rope_factors got;
        bm_gguf *gguf = NULL;
        gguf_maker m;
        uint8_t bytes[4 * HALF];
        for (uint32_t i = 0; i < HALF; i++) {
            const double turns = pow(500000, -2.0 * i / (2 * HALF)) / 6.283185307179586;
            const double part = (w->original_max_position_embeddings * turns - w->low_freq_factor) /
                                (w->high_freq_factor - w->low_freq_factor);
            const double divisor = part >= 1 ? 1 : part <= 0 ? w->factor : 1 / ((1 - part) / w->factor + part);
            bm_store_real(bytes, BM_DTYPE_F32, i, (float)(is_broken && i == HALF - 1 ? 2 * divisor : divisor));
        }
        gguf_maker_init(&m);
        gguf_maker_add_tensor(&m, "rope_freqs.weight", 0, (const uint64_t[]){HALF}, 1, bytes, sizeof bytes);
        char *path = gguf_maker_write(&m, folder, "t.gguf");
        assert_ok(bm_gguf_open(&gguf, path, &err), &err);
        const bm_status status =
            bm_gguf_read_rope_factors(gguf, bm_gguf_tensor_at(gguf, 0), 500000, 2 * HALF, &got, &err);
        assert_int_equal(status, is_broken ? BM_E_UNSUPPORTED : BM_OK);
        if (!is_broken)
            assert_true(got.factor == w->factor && got.low_freq_factor == w->low_freq_factor &&
                        got.high_freq_factor == w->high_freq_factor &&
                        got.original_max_position_embeddings == w->original_max_position_embeddings);
        bm_gguf_close(&gguf);
        gguf_maker_free(&m);
        bm_free(path);
    }
    support_folder_remove(&folder);
}

// A small llama, of which one key or tensor is another.
typedef struct deviation {
    const char *key; // of UINT32, instead of that of the model; NULL: none
    uint32_t value;
    const char *text_key, *text; // a string; NULL: none
    const char *tensor;          // one more; NULL: none
    uint32_t type;               // of token_embd
    const char *leave_out;       // a key; NULL: none
    uint32_t num_tokens;         // of a list; 0: there is none
    bm_status status;
    const char *words;
} deviation;

static void add_llama(gguf_maker *m, const deviation *d)
{
    static const struct {
        const char *key;
        uint32_t value;
    } keys[] = {{"llama.block_count", 1},          {"llama.context_length", 32},
                {"llama.embedding_length", 256},   {"llama.feed_forward_length", 32},
                {"llama.attention.head_count", 4}, {"llama.rope.dimension_count", 64}};
    static const struct {
        const char *name;
        uint64_t dims[2];
    } tensors[] = {{"output_norm.weight", {256}},
                   {"blk.0.attn_norm.weight", {256}},
                   {"blk.0.ffn_norm.weight", {256}},
                   {"blk.0.attn_q.weight", {256, 256}},
                   {"blk.0.attn_k.weight", {256, 256}},
                   {"blk.0.attn_v.weight", {256, 256}},
                   {"blk.0.attn_output.weight", {256, 256}},
                   {"blk.0.ffn_gate.weight", {256, 32}},
                   {"blk.0.ffn_up.weight", {256, 32}},
                   {"blk.0.ffn_down.weight", {32, 256}}};
    static const uint8_t zeros[4 * 256 * 256];
    bool is_text = d->text_key && strcmp(d->text_key, "general.architecture") == 0;
    gguf_maker_init(m);
    gguf_maker_add_string(m, "general.architecture", is_text ? d->text : "llama");
    if (d->text_key && !is_text)
        gguf_maker_add_string(m, d->text_key, d->text);
    bool is_known = false;
    for (size_t i = 0; i < BM_COUNT(keys); i++) {
        const bool is_it = d->key && strcmp(d->key, keys[i].key) == 0;
        is_known = is_known || is_it;
        if (!d->leave_out || strcmp(d->leave_out, keys[i].key) != 0)
            gguf_maker_add_u32(m, keys[i].key, is_it ? d->value : keys[i].value);
    }
    if (d->key && !is_known)
        gguf_maker_add_u32(m, d->key, d->value);
    static const char *const tokens[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i",
                                         "j", "k", "l", "m", "n", "o", "p", "q"};
    if (d->num_tokens > 0)
        gguf_maker_add_strings(m, "tokenizer.ggml.tokens", tokens, d->num_tokens);
    const bm_gguf_layout *layout = bm_gguf_layout_of(d->type);
    gguf_maker_add_tensor(m, "token_embd.weight", d->type, (const uint64_t[]){256, 16}, 2, zeros,
                          256 * 16 / layout->block_elements * layout->block_bytes);
    for (size_t i = 0; i < BM_COUNT(tensors); i++) {
        const uint32_t num_dims = tensors[i].dims[1] > 0 ? 2 : 1;
        const uint64_t count = tensors[i].dims[0] * (num_dims == 2 ? tensors[i].dims[1] : 1);
        gguf_maker_add_tensor(m, tensors[i].name, 0, tensors[i].dims, num_dims, zeros, 4 * count);
    }
    if (d->tensor)
        gguf_maker_add_tensor(m, d->tensor, 0, (const uint64_t[]){2}, 1, zeros, 8);
}

static void what_is_not_built_is_refused(void **state)
{
    (void)state;
    static const deviation deviations[] = {
        {.status = BM_OK},
        {.type = 12, .status = BM_OK},
        {.type = 14, .status = BM_OK},
        {.type = 13, .status = BM_OK},
        {.type = 11, .status = BM_E_UNSUPPORTED, .words = "\"token_embd.weight\": type Q3_K is not read; F32, F16,"},
        {.type = 23, .status = BM_E_UNSUPPORTED, .words = "type IQ4_XS is not read"},
        {.text_key = "general.architecture",
         .text = "gemma3",
         .status = BM_E_UNSUPPORTED,
         .words = "found \"gemma3\", expected llama, qwen2 or qwen3"},
        {.text_key = "general.type", .text = "adapter", .status = BM_E_UNSUPPORTED, .words = "expected \"model\""},
        {.key = "llama.expert_count", .value = 8, .status = BM_E_UNSUPPORTED, .words = "models of experts"},
        {.key = "llama.attention.key_length",
         .value = 32,
         .status = BM_E_FORMAT,
         .words = "found UINT32 64, expected an integer from 1 to 32"},
        {.key = "llama.attention.value_length",
         .value = 32,
         .status = BM_E_UNSUPPORTED,
         .words = "\"llama.attention.value_length\": found 32, expected 64"},
        {.key = "llama.attention.key_length",
         .value = 128,
         .status = BM_E_FORMAT,
         .words = "shape [256, 256], expected [512, 256] by its metadata"},
        {.key = "tokenizer.ggml.eos_token_id", .value = 15, .status = BM_OK},
        {.key = "tokenizer.ggml.eos_token_id",
         .value = 16,
         .status = BM_E_FORMAT,
         .words = "t.gguf: key \"tokenizer.ggml.eos_token_id\": expected 0..15, found 16"},
        {.key = "tokenizer.ggml.eos_token_id", .value = UINT32_MAX, .status = BM_OK}, // none
        {.key = "llama.rope.dimension_count",
         .value = 7,
         .status = BM_E_UNSUPPORTED,
         .words = "\"llama.rope.dimension_count\": found an odd number, expected an even one"},
        {.key = "llama.attention.head_count", .value = 0, .status = BM_E_FORMAT, .words = "found UINT32 0"},
        {.key = "llama.attention.head_count_kv",
         .value = 3,
         .status = BM_E_FORMAT,
         .words = "t.gguf: key \"llama.attention.head_count_kv\": found 3, expected a divisor of "
                  "llama.attention.head_count"},
        {.key = "llama.block_count", .value = 2, .status = BM_E_FORMAT, .words = "\"blk.1."},
        {.key = "llama.block_count", .value = 1000000, .status = BM_E_FORMAT, .words = "from 1 to 4096"},
        {.leave_out = "llama.block_count", .status = BM_E_FORMAT, .words = "no key \"llama.block_count\""},
        {.leave_out = "llama.attention.head_count", .status = BM_E_FORMAT, .words = "no key"},
        {.leave_out = "llama.context_length", .status = BM_E_FORMAT, .words = "no key \"llama.context_length\""},
        {.key = "llama.vocab_size", .value = 16, .num_tokens = 16, .status = BM_OK},
        {.key = "llama.vocab_size",
         .value = 17,
         .status = BM_E_FORMAT,
         .words = "t.gguf: key \"llama.vocab_size\": found 17, expected 16, the rows of tensor \"token_embd.weight\""},
        {.num_tokens = 17,
         .status = BM_E_FORMAT,
         .words = "t.gguf: key \"tokenizer.ggml.tokens\": found 17 tokens, expected 16, the rows of tensor"},
        {.key = "llama.vocab_size", .value = 15, .num_tokens = 15, .status = BM_E_FORMAT, .words = "found 15 tokens"},
        {.tensor = "blk.0.ffn_gate_inp.weight", .status = BM_E_UNSUPPORTED, .words = "has none of this name"},
        {.tensor = "blk.0.attn_q_norm.weight", .status = BM_E_UNSUPPORTED, .words = "has none of this name"},
        {.tensor = "blk.7.attn_v.weight", .status = BM_E_FORMAT, .words = "\"llama.block_count\""},
        {.tensor = "blk.00.attn_v.weight", .status = BM_E_FORMAT, .words = "attn_v.weight\" is there twice"},
        {.tensor = "blk.99999999999999999999.attn_v.weight", .status = BM_E_UNSUPPORTED, .words = "of this name"},
        {.tensor = "blk.0.attn_q.bias", .status = BM_E_FORMAT, .words = "2 rows, expected an even number"},
        {.tensor = "rope_freqs.weight", .status = BM_E_FORMAT, .words = "expected 32 elements of F32"},
        {.key = "llama.rope.scaling.attn_factor", .value = 1, .status = BM_OK},
        {.key = "llama.rope.scaling.attn_factor",
         .value = 2,
         .status = BM_E_UNSUPPORTED,
         .words = "key \"llama.rope.scaling.attn_factor\": found 2, expected 1"},
        {.key = "llama.rope.scaling.yarn_attn_factor", .value = 0, .status = BM_E_UNSUPPORTED, .words = "found 0"},
        {.key = "llama.rope.scaling.yarn_ext_factor", .value = 0, .status = BM_E_UNSUPPORTED, .words = "found 0"},
        {.key = "llama.rope.scaling.yarn_log_multiplier", .value = 1, .status = BM_E_UNSUPPORTED, .words = "found 1"},
        {.text_key = "llama.block_size", .text = "", .status = BM_OK}, // a key that nobody reads
    };
    bm_error err = {0};
    char *folder = support_folder_create();
    for (size_t i = 0; i < BM_COUNT(deviations); i++) {
        gguf_maker m;
        bm_model *model = NULL;
        add_llama(&m, &deviations[i]);
        char *path = gguf_maker_write(&m, folder, "t.gguf");
        const bm_status status = bm_model_open(&model, path, &err);
        if (status != deviations[i].status || (status != BM_OK && !strstr(err.message, deviations[i].words)))
            fail_msg("%zu: expected %d \"%s\", got %d \"%s\"", i, deviations[i].status,
                     deviations[i].words ? deviations[i].words : "", status, err.message);
        bm_model_close(&model);
        gguf_maker_free(&m);
        bm_free(path);
    }
    support_folder_remove(&folder);
}

// An id of 2^32 - 1 says that there is none.
static void ids_of_no_token_are_left_out(void **state)
{
    (void)state;
    const deviation none = {.key = "tokenizer.ggml.bos_token_id", .value = UINT32_MAX};
    bm_error err = {0};
    bm_string text = BM_STRING_INIT;
    bm_gguf *gguf = NULL;
    gguf_maker m;
    char *folder = support_folder_create();
    add_llama(&m, &none);
    gguf_maker_add_u32(&m, "tokenizer.ggml.eos_token_id", 2);
    char *path = gguf_maker_write(&m, folder, "t.gguf");
    assert_ok(bm_gguf_open(&gguf, path, &err), &err);
    assert_ok(bm_gguf_write_config(gguf, &text, &err), &err);
    assert_null(strstr(text.data, "bos_token_id"));
    assert_non_null(strstr(text.data, "\"eos_token_id\": 2"));
    bm_gguf_close(&gguf);
    bm_string_free(&text);
    gguf_maker_free(&m);
    bm_free(path);
    support_folder_remove(&folder);
}

// What can be rounded and not run says so when it is to be run.
static void a_rope_that_is_not_built_is_named(void **state)
{
    (void)state;
    static const deviation deviations[] = {
        {.text_key = "llama.rope.scaling.type", .text = "longrope", .words = "longrope"},
        {.key = "llama.rope.dimension_count",
         .value = 32,
         .words = "\"llama.rope.dimension_count\": found a part of the head, expected all of it"},
    };
    bm_error err = {0};
    char *folder = support_folder_create();
    for (size_t i = 0; i < BM_COUNT(deviations); i++) {
        gguf_maker m;
        bm_model *model = NULL;
        add_llama(&m, &deviations[i]);
        char *path = gguf_maker_write(&m, folder, "t.gguf");
        assert_ok(bm_model_open(&model, path, &err), &err);
        assert_int_equal(bm_block_check_runnable(model, &err), BM_E_UNSUPPORTED);
        assert_non_null(strstr(err.message, "t.gguf: key"));
        assert_non_null(strstr(err.message, deviations[i].words));
        bm_model_close(&model);
        gguf_maker_free(&m);
        bm_free(path);
    }
    support_folder_remove(&folder);
}

// What a device makes of blocks is what the file's reader decodes on the host.
static void assert_decoded(const bm_model *model, bm_device *device, const bm_tensor_info *info, const uint8_t *want)
{
    enum { FIRST = 32 };
    const uint64_t rows = info->shape[0] - FIRST, cols = info->shape[1];
    bm_error err = {0};
    bm_tensor decoded = {0};
    uint16_t *got = bm_alloc(rows * cols, sizeof *got);
    assert_ok(bm_tensor_create(device, BM_DTYPE_F16, rows, cols, "rows", &decoded, &err), &err);
    assert_ok(bm_model_decode_rows(model, device, info, FIRST, &decoded, &err), &err);
    assert_ok(bm_tensor_download(device, &decoded, got, &err), &err);
    assert_ok(bm_device_wait(device, &err), &err);
    for (uint64_t i = 0; i < rows * cols; i++)
        assert_int_equal(got[i], bm_load_le16(want + 2 * (FIRST * cols + i)));
    bm_tensor_destroy(&decoded);
    bm_free(got);
}

// The thread that reads ahead gets the same elements, or the blocks that they lie in.
static void a_file_is_read_ahead(void **state)
{
    (void)state;
    bm_error err = {0};
    char *folder = support_folder_create(), *out = support_folder_create();
    bm_model *model = NULL;
    bm_device *device = NULL;
    const model_maker_params p = base_of("llama");
    assert_ok(model_maker_write(&p, folder, &err), &err);
    char *path = gguf_maker_convert(folder, TYPE_Q8_0, NULL, out, "model.gguf");
    assert_ok(bm_model_open(&model, path, &err), &err);
    assert_ok(bm_device_open(&device, &(bm_device_params){.spec = "host"}, &err), &err);
    const bm_tensor_info *info = bm_checkpoint_find(model->checkpoint, "model.layers.1.self_attn.q_proj.weight");
    uint8_t *want = read_all(model->checkpoint, info);
    assert_true(bm_checkpoint_has_blocks(model->checkpoint, info));
    assert_decoded(model, device, info, want);
    for (int as_blocks = 0; as_blocks < 2; as_blocks++) {
        bm_read_ahead *reader = NULL;
        assert_ok(bm_read_ahead_start(&reader, model->checkpoint, 1 << 20, as_blocks, NULL, &err), &err);
        bm_read_ahead_want(reader, 1, &info, 1);
        const uint8_t *elements = bm_read_ahead_find(reader, info, false);
        const uint8_t *blocks = bm_read_ahead_find(reader, info, true);
        assert_true(!elements || !blocks); // neither: there was no thread to be had
        assert_null(as_blocks ? elements : blocks);
        if (elements)
            assert_memory_equal(elements, want, info->size_bytes);
        assert_decoded(model, device, info, want);
        uint8_t *again = read_all(model->checkpoint, info);
        assert_memory_equal(again, want, info->size_bytes);
        bm_free(again);
        bm_read_ahead_stop(&reader);
    }
    bm_free(want);
    bm_device_close(&device);
    bm_model_close(&model);
    bm_free(path);
    support_folder_remove(&folder);
    support_folder_remove(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_family_opens),
        cmocka_unit_test(odd_heads_and_biases_open),
        cmocka_unit_test(scaled_frequencies_come_back),
        cmocka_unit_test(divisors_of_llama3_are_solved_for),
        cmocka_unit_test(ids_of_no_token_are_left_out),
        cmocka_unit_test(what_is_not_built_is_refused),
        cmocka_unit_test(a_rope_that_is_not_built_is_named),
        cmocka_unit_test(a_file_is_read_ahead),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
