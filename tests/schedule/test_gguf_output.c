// Runs whose output is a GGUF file: its tensors are those of the same run in compressed-tensors, its metadata is the model's,
// and what it cannot hold is refused before anything is written. On the host: nothing here depends on the device.
#include "base/file.h"
#include "base/str.h"
#include "formats/gguf.h"
#include "formats/gguf_blocks.h"
#include "model/model.h"
#include "schedule/job.h"
#include "support/edits.h"
#include "support/folders.h"
#include "support/host_device.h"
#include "support/model_maker.h"
#include <bitmill/bitmill.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

// A model, and a folder of texts and results.
typedef struct place {
    char *model, *work, *data;
} place;

static place place_create(const char *const *options)
{
    static const char text[] = "Once upon a time there was a small model. It read a short text, and its words were "
                               "counted one by one. Then it "
                               "read another text, which was as short as the first one, and forgot it.";
    place p = {.model = support_folder_create(), .work = support_folder_create()};
    model_maker_params params;
    model_maker_params_init(&params);
    params.intermediate_size = 96;
    params.num_layers = 1;
    for (; options && *options; options++)
        assert_true(model_maker_set(&params, *options));
    MUST(model_maker_write(&params, p.model, &failure));
    p.data = support_file_write(p.work, "text.txt", text, sizeof text - 1);
    return p;
}

static void place_remove(place *p)
{
    bm_free(p->data);
    support_folder_remove(&p->work);
    support_folder_remove(&p->model);
}

#define MAX_KEYS 8

// keys: separated by spaces.
static bm_status quantize(const place *p, const char *method, const char *keys, const char *name)
{
    bm_quantize_params params;
    bm_quantize_summary summary;
    const char *overrides[MAX_KEYS] = {"device=host", "overwrite_output_dir=true"};
    char *words = bm_string_copy(keys), *output = bm_path_join(p->work, name), *next = words;
    uint32_t count = 2;
    while (*next) {
        assert_true(count < MAX_KEYS);
        overrides[count++] = next;
        next += strcspn(next, " ");
        if (*next)
            *next++ = '\0';
    }
    bm_quantize_params_init(&params);
    params.model = p->model;
    params.method = method;
    params.data = p->data;
    params.output = output;
    params.overrides = overrides;
    params.num_overrides = count;
    const bm_status status = bm_quantize_model(&params, &summary, &failure);
    bm_free(words);
    bm_free(output);
    return status;
}

// The only GGUF file of a result.
static bm_gguf *open_file(const place *p, const char *name, const char *type)
{
    bm_gguf *gguf = NULL;
    char *folder = bm_path_join(p->work, name);
    char *file = bm_format("%s-%s.gguf", bm_path_base_name(p->model), type);
    assert_true(support_folder_has(folder, file));
    assert_true(support_folder_has(folder, "bitmill.json"));
    assert_int_equal(support_folder_count(folder), 3); // and the report
    char *path = bm_path_join(folder, file);
    MUST(bm_gguf_open(&gguf, path, &failure));
    bm_free(path);
    bm_free(file);
    bm_free(folder);
    return gguf;
}

static bm_model *open_model(const place *p, const char *name)
{
    bm_model *model = NULL;
    char *folder = bm_path_join(p->work, name);
    MUST(bm_model_open(&model, folder, &failure));
    bm_free(folder);
    return model;
}

// Names of linears and norms in a block: theirs, ours.
static const char *const names[][2] = {
    {"attn_q", "self_attn.q_proj"},
    {"attn_k", "self_attn.k_proj"},
    {"attn_v", "self_attn.v_proj"},
    {"attn_output", "self_attn.o_proj"},
    {"ffn_gate", "mlp.gate_proj"},
    {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"},
    {"attn_norm", "input_layernorm"},
    {"attn_q_norm", "self_attn.q_norm"},
    {"attn_k_norm", "self_attn.k_norm"},
    {"ffn_norm", "post_attention_layernorm"},
};

static bool ours_of(const char *theirs, char out[BM_TENSOR_NAME_SIZE])
{
    char part[64], suffix[64], block[12];
    if (sscanf(theirs, "blk.%11[0-9].%63[^.].%63s", block, part, suffix) == 3) {
        for (size_t i = 0; i < BM_COUNT(names); i++)
            if (strcmp(names[i][0], part) == 0)
                return snprintf(out, BM_TENSOR_NAME_SIZE, "model.layers.%s.%s.%s", block, names[i][1], suffix) > 0;
        return false;
    }
    const char *whole = strcmp(theirs, "token_embd.weight") == 0    ? "model.embed_tokens.weight"
                        : strcmp(theirs, "output_norm.weight") == 0 ? "model.norm.weight"
                        : strcmp(theirs, "output.weight") == 0      ? "lm_head.weight"
                                                                    : NULL;
    return whole && snprintf(out, BM_TENSOR_NAME_SIZE, "%s", whole) > 0;
}

// Values of a tensor of a folder, of a quantized linear those of its codes; step [rows, groups] of 32 of one. bm_free it.
static float *values_of(const bm_model *model, const char *name, uint64_t rows, uint64_t cols)
{
    char module[BM_TENSOR_NAME_SIZE];
    bm_store_linear linear;
    bm_tensor tensor = {0};
    float *values = bm_alloc(rows * cols, sizeof *values);
    const bm_tensor_info *info = bm_checkpoint_find(model->checkpoint, name);
    if (info) {
        uint8_t *bytes = bm_alloc(info->size_bytes, 1);
        MUST(bm_checkpoint_read(model->checkpoint, info, 0, bytes, info->size_bytes, &failure));
        bm_gguf_decode(info->dtype == BM_DTYPE_F32 ? BM_GGUF_F32 : BM_GGUF_F16, bytes, rows * cols, values);
        bm_free(bytes);
        return values;
    }
    snprintf(module, sizeof module, "%.*s", (int)(strlen(name) - strlen(".weight")), name);
    assert_true(bm_store_match(&model->quantization, model->checkpoint, module, rows, cols, &linear));
    MUST(bm_store_read_rows(&model->quantization, model->checkpoint, &linear, device, 0, rows, &tensor, &failure));
    MUST(bm_tensor_download(device, &tensor, values, &failure));
    MUST(bm_device_wait(device, &failure));
    bm_tensor_destroy(&tensor);
    return values;
}

// Where a row of a folder's tensor lies in a file of the architecture llama: halves of heads become pairs.
static uint64_t place_of(uint64_t row, uint64_t rows, uint64_t heads)
{
    const uint64_t head = rows / heads, in_head = row % head;
    return row - in_head + in_head % (head / 2) * 2 + in_head / (head / 2);
}

// deviation: of a value from that of the folder, in the largest weight of its block.
static void assert_same_tensor(bm_gguf *gguf, const bm_gguf_tensor *t, const bm_model *folder, bool is_llama,
                               float deviation)
{
    char name[BM_TENSOR_NAME_SIZE];
    const uint64_t rows = t->num_dims == 1 ? t->dims[0] : t->dims[1], cols = t->num_dims == 1 ? 1 : t->dims[0];
    const uint64_t heads = !is_llama                    ? 0
                           : strstr(t->name, "attn_q.") ? folder->config.num_attention_heads
                           : strstr(t->name, "attn_k.") ? folder->config.num_key_value_heads
                                                        : 0;
    uint8_t *bytes = bm_alloc(t->size_bytes, 1);
    float *got = bm_alloc(rows * cols, sizeof *got);
    if (!ours_of(t->name, name))
        fail_msg("%s", t->name);
    float *expected = values_of(folder, name, rows, cols);
    MUST(bm_gguf_read(gguf, t, 0, bytes, t->size_bytes, &failure));
    bm_gguf_decode(t->type, bytes, rows * cols, got);
    for (uint64_t r = 0; r < rows; r++)
        for (uint64_t c = 0; c < cols; c++) {
            const float value = got[(heads > 0 ? place_of(r, rows, heads) : r) * cols + c],
                        due = expected[r * cols + c];
            if (!(fabsf(value - due) <= (t->type == BM_GGUF_Q4_1 ? deviation : 0)))
                fail_msg("%s: row %llu, column %llu: %.9g, expected %.9g", t->name, (unsigned long long)r,
                         (unsigned long long)c, (double)value, (double)due);
        }
    bm_free(expected);
    bm_free(got);
    bm_free(bytes);
}

// The same run, once into a folder and once into a file.
static void assert_same_result(const char *const *options, const char *method, const char *keys, const char *type)
{
    place p = place_create(options);
    char *folder_keys = bm_format("group_size=32 scale_dtype=float16 %s", keys);
    char *file_keys = bm_format("format=gguf %s", keys);
    MUST(quantize(&p, method, folder_keys, "folder"));
    MUST(quantize(&p, method, file_keys, "file"));
    bm_model *folder = open_model(&p, "folder"), *reopened = open_model(&p, "file");
    bm_gguf *gguf = open_file(&p, "file", type);
    const bool is_llama =
        strcmp(folder->config.model_type, "llama") == 0 || strcmp(folder->config.model_type, "mistral") == 0;
    uint32_t num_codes = 0;
    for (uint32_t i = 0; i < bm_gguf_num_tensors(gguf); i++) {
        const bm_gguf_tensor *t = bm_gguf_tensor_at(gguf, i);
        assert_same_tensor(gguf, t, folder, is_llama, 1e-3f);
        num_codes += bm_gguf_layout_of(t->type)->block_elements > 1;
        if (t->num_dims == 1)
            assert_int_equal(t->type, BM_GGUF_F32);
    }
    assert_int_equal(num_codes, folder->config.num_hidden_layers * 7);
    assert_string_equal(bm_gguf_layout_of(bm_gguf_find_tensor(gguf, "blk.0.attn_q.weight")->type)->name, type);
    bm_gguf_close(&gguf);
    bm_model_close(&reopened);
    bm_model_close(&folder);
    bm_free(file_keys);
    bm_free(folder_keys);
    place_remove(&p);
}

static void files_hold_the_codes_of_folders(void **state)
{
    (void)state;
    assert_same_result((const char *[]){"--attention-bias", "--mlp-bias", "--dtype=bf16", NULL}, "rtn",
                       "scale_search=mse dtype=float16", "Q4_0");
    assert_same_result((const char *[]){"--family=mistral", "--dtype=f16", NULL}, "rtn",
                       "scale_search=mse symmetric=false", "Q4_1");
    assert_same_result((const char *[]){"--family=qwen2", "--dtype=f16", "--tie", NULL}, "rtn",
                       "scale_search=mse bits=8", "Q8_0");
    assert_same_result((const char *[]){"--family=qwen3", "--head-dim=32", "--dtype=f16", NULL}, "rtn",
                       "scale_search=mse", "Q4_0");
}

// GPTQ in an order of its own, and AWQ, whose norms and biases change.
static void methods_that_watch_write_files(void **state)
{
    (void)state;
    assert_same_result((const char *[]){"--dtype=f16", NULL}, "gptq", "act_order=static", "Q4_0");
    assert_same_result((const char *[]){"--dtype=f32", "--attention-bias", NULL}, "awq", "dtype=float32", "Q4_0");
}

static double number_at(const bm_gguf *gguf, const char *key)
{
    const bm_gguf_value *value = bm_gguf_find(gguf, key);
    if (!value)
        fail_msg("no key %s", key);
    return bm_gguf_number_at(value, 0);
}

static bool text_is(const bm_gguf *gguf, const char *key, const char *text)
{
    return bm_gguf_find(gguf, key) && bm_gguf_string_is(bm_gguf_string_at(bm_gguf_find(gguf, key), 0), text);
}

static void metadata_are_those_of_the_model(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        double value;
    } numbers[] = {
        {"general.file_type", 2},           {"general.quantization_version", 2},
        {"llama.block_count", 1},           {"llama.context_length", 256},
        {"llama.embedding_length", 64},     {"llama.feed_forward_length", 96},
        {"llama.attention.head_count", 4},  {"llama.attention.head_count_kv", 2},
        {"llama.attention.key_length", 16}, {"llama.attention.value_length", 16},
        {"llama.rope.dimension_count", 16}, {"llama.rope.freq_base", 10000},
        {"llama.rope.scaling.factor", 2},   {"llama.vocab_size", 512},
    };
    place p = place_create((const char *[]){"--rope-scaling=linear", NULL});
    MUST(quantize(&p, "rtn", "format=gguf scale_search=mse", "file"));
    bm_gguf *gguf = open_file(&p, "file", "Q4_0");
    for (size_t i = 0; i < BM_COUNT(numbers); i++)
        if (number_at(gguf, numbers[i].key) != numbers[i].value)
            fail_msg("%s: %g, expected %g", numbers[i].key, number_at(gguf, numbers[i].key), numbers[i].value);
    assert_true(fabs(number_at(gguf, "llama.attention.layer_norm_rms_epsilon") - 1e-5) < 1e-11);
    assert_true(text_is(gguf, "general.architecture", "llama"));
    assert_true(text_is(gguf, "general.name", bm_path_base_name(p.model)));
    assert_true(text_is(gguf, "llama.rope.scaling.type", "linear"));
    assert_true(text_is(gguf, "tokenizer.ggml.model", "llama"));
    assert_int_equal(bm_gguf_count(bm_gguf_find(gguf, "tokenizer.ggml.tokens")), 512);
    assert_int_equal(bm_gguf_count(bm_gguf_find(gguf, "tokenizer.ggml.scores")), 512);
    assert_int_equal(bm_gguf_count(bm_gguf_find(gguf, "tokenizer.ggml.token_type")), 512);
    assert_null(bm_gguf_find(gguf, "tokenizer.chat_template"));
    bm_gguf_close(&gguf);
    place_remove(&p);
}

// Frequencies of llama3 lie in a tensor: 1 where waves are short, the factor where they are long.
static void frequencies_of_llama3_are_a_tensor(void **state)
{
    (void)state;
    place p = place_create((const char *[]){"--rope-scaling=llama3", NULL});
    float factors[8];
    MUST(quantize(&p, "rtn", "format=gguf scale_search=mse", "file"));
    bm_model *model = NULL;
    MUST(bm_model_open(&model, p.model, &failure));
    const bm_rope_config *rope = &model->config.rope;
    bm_gguf *gguf = open_file(&p, "file", "Q4_0");
    const bm_gguf_tensor *t = bm_gguf_find_tensor(gguf, "rope_freqs.weight");
    assert_non_null(t);
    assert_int_equal(t->size_bytes, sizeof factors);
    MUST(bm_gguf_read(gguf, t, 0, factors, sizeof factors, &failure));
    for (uint32_t i = 0; i < 8; i++) {
        const double wave = 2 * 3.14159265358979323846 * pow(rope->theta, 2.0 * i / 16),
                     old = rope->original_max_position_embeddings;
        const double s = (old / wave - rope->low_freq_factor) / (rope->high_freq_factor - rope->low_freq_factor);
        const double due = wave < old / rope->high_freq_factor  ? 1
                           : wave > old / rope->low_freq_factor ? rope->factor
                                                                : 1 / ((1 - s) / rope->factor + s);
        assert_true(fabs(factors[i] - due) <= 1e-6 * due);
    }
    assert_true(factors[0] == 1 && factors[7] > 1);
    bm_gguf_close(&gguf);
    bm_model_close(&model);
    place_remove(&p);
}

static void chat_templates_go_along(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text, *chosen;
    } cases[] = {
        {"tokenizer_config.json", "{\"chat_template\":\"A\"}", "A"},
        {"tokenizer_config.json",
         "{\"chat_template\":[{\"name\":\"tool_use\",\"template\":\"X\"},{\"name\":\"default\",\"template\":\"B\"}]}",
         "B"},
        {"chat_template.json", "{\"chat_template\":\"C\"}", "C"},
        {"chat_template.jinja", "D\n", "D\n"}, // the first of all
    };
    // Of several none is for chats: the model runs without.
    static const char for_tools[] = "{\"chat_template\":[{\"name\":\"tool_use\",\"template\":\"X\"}]}";
    place p = place_create(NULL);
    bm_free(support_file_write(p.model, "tokenizer_config.json", for_tools, strlen(for_tools)));
    MUST(quantize(&p, "rtn", "format=gguf scale_search=mse", "file"));
    bm_gguf *without = open_file(&p, "file", "Q4_0");
    assert_null(bm_gguf_find(without, "tokenizer.chat_template"));
    bm_gguf_close(&without);
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        bm_free(support_file_write(p.model, cases[i].name, cases[i].text, strlen(cases[i].text)));
        MUST(quantize(&p, "rtn", "format=gguf scale_search=mse", "file"));
        bm_gguf *gguf = open_file(&p, "file", "Q4_0");
        assert_true(text_is(gguf, "tokenizer.chat_template", cases[i].chosen));
        bm_gguf_close(&gguf);
    }
    place_remove(&p);
}

// Ids alone, and the tokenizer's file for whoever reads it.
static void a_tokenizer_that_cannot_be_said_goes_along_whole(void **state)
{
    (void)state;
    uint64_t size = 0;
    place p = place_create((const char *[]){"--vocab-size=128", NULL}); // single characters, without bytes
    char *json = support_file_read(p.model, "tokenizer.json", &size);
    MUST(quantize(&p, "rtn", "format=gguf scale_search=mse", "file"));
    bm_gguf *gguf = open_file(&p, "file", "Q4_0");
    assert_true(text_is(gguf, "tokenizer.ggml.model", "no_vocab"));
    assert_true(text_is(gguf, "tokenizer.huggingface.json", json));
    assert_null(bm_gguf_find(gguf, "tokenizer.ggml.tokens"));
    bm_gguf_close(&gguf);
    bm_free(json);
    place_remove(&p);
}

// Each token that ends a text does so in the file, whether it has parts of a tokenizer or all of tokenizer.json.
static void further_ends_go_along(void **state)
{
    (void)state;
    static const char *const vocabularies[] = {"--vocab-size=128", "--vocab-size=512"};
    for (size_t i = 0; i < BM_COUNT(vocabularies); i++) {
        place p = place_create((const char *[]){vocabularies[i], NULL});
        static const char config[] = "{\"eos_token_id\": [2, 77, 2, 78, 79]}";
        bm_free(support_file_write(p.model, "generation_config.json", config, sizeof config - 1));
        MUST(quantize(&p, "rtn", "format=gguf scale_search=mse", "file"));
        bm_gguf *gguf = open_file(&p, "file", "Q4_0");
        assert_true(number_at(gguf, "tokenizer.ggml.eos_token_id") == 2);
        assert_true(number_at(gguf, "tokenizer.ggml.eot_token_id") == 77);
        assert_true(number_at(gguf, "tokenizer.ggml.eom_token_id") == 78);
        bm_gguf_close(&gguf);
        place_remove(&p);
    }
}

// Linears that stay float, rows of q and k among them, which change places all the same.
static void linears_that_are_left_out_are_floats(void **state)
{
    (void)state;
    place p = place_create((const char *[]){"--dtype=f16", "--intermediate-size=100", NULL});
    MUST(quantize(&p, "rtn", "format=gguf scale_search=mse skip_list_names=[\"down_proj\",\"q_proj\"]", "file"));
    bm_model *source = NULL;
    MUST(bm_model_open(&source, p.model, &failure));
    bm_gguf *gguf = open_file(&p, "file", "Q4_0");
    for (uint32_t i = 0; i < bm_gguf_num_tensors(gguf); i++) {
        const bm_gguf_tensor *t = bm_gguf_tensor_at(gguf, i);
        const bool is_left = strstr(t->name, "attn_q.") || strstr(t->name, "ffn_down");
        if (is_left)
            assert_int_equal(t->type, BM_GGUF_F16);
        if (bm_gguf_layout_of(t->type)->block_elements == 1)
            assert_same_tensor(gguf, t, source, true, 0);
        else
            assert_false(is_left);
    }
    bm_gguf_close(&gguf);
    bm_model_close(&source);
    place_remove(&p);
}

static void embeddings_may_be_blocks(void **state)
{
    (void)state;
    place p = place_create((const char *[]){"--vocab-size=3072", NULL}); // more weights than are verified in one slice
    MUST(quantize(&p, "rtn", "format=gguf scale_search=mse gguf_embeddings=q8_0", "file"));
    bm_gguf *gguf = open_file(&p, "file", "Q4_0");
    bm_model *source = NULL;
    MUST(bm_model_open(&source, p.model, &failure));
    static const char *const names_of_both[][2] = {{"token_embd.weight", "model.embed_tokens.weight"},
                                                   {"output.weight", BM_TENSOR_LM_HEAD}};
    for (size_t n = 0; n < BM_COUNT(names_of_both); n++) {
        const bm_gguf_tensor *t = bm_gguf_find_tensor(gguf, names_of_both[n][0]);
        const uint64_t count = t->dims[0] * t->dims[1];
        float *expected = values_of(source, names_of_both[n][1], t->dims[1], t->dims[0]);
        float *got = bm_alloc(count, sizeof *got);
        uint8_t *bytes = bm_alloc(t->size_bytes, 1);
        assert_int_equal(t->type, BM_GGUF_Q8_0);
        MUST(bm_gguf_read(gguf, t, 0, bytes, t->size_bytes, &failure));
        bm_gguf_decode(t->type, bytes, count, got);
        for (uint64_t first = 0; first < count; first += 32) {
            float largest = 0;
            for (uint64_t i = first; i < first + 32; i++)
                largest = fmaxf(largest, fabsf(expected[i]));
            for (uint64_t i = first; i < first + 32; i++)
                assert_true(fabsf(got[i] - expected[i]) <= 0.51f / 127 * largest);
        }
        bm_free(bytes);
        bm_free(got);
        bm_free(expected);
    }
    bm_gguf_close(&gguf);
    bm_model_close(&source);
    place_remove(&p);
}

// The figures of a run are of tensors, as they are of other formats; the disk is asked for the whole file.
static void a_plan_knows_the_sizes_of_tensors_and_file(void **state)
{
    (void)state;
    static const char *const overrides[] = {"device=host", "format=gguf", "overwrite_output_dir=true"};
    place p = place_create(NULL);
    char *output = bm_path_join(p.work, "sized");
    bm_quantize_params params;
    bm_quantize_job job = {0};
    bm_file *file = NULL;
    uint64_t tensors = 0;
    bm_quantize_params_init(&params);
    params.model = p.model;
    params.output = output;
    params.overrides = overrides;
    params.num_overrides = BM_COUNT(overrides);
    MUST(bm_quantize_job_run(&params, &job, &failure));
    bm_gguf *gguf = open_file(&p, "sized", "Q4_0");
    for (uint32_t i = 0; i < bm_gguf_num_tensors(gguf); i++)
        tensors += bm_gguf_tensor_at(gguf, i)->size_bytes;
    MUST(bm_file_open(&file, bm_gguf_path(gguf), &failure));
    assert_int_equal(job.plan->output_bytes, tensors);
    assert_int_equal(job.result.output_bytes, tensors);
    assert_int_equal(job.plan->output_bytes + job.plan->companion_bytes, bm_file_size(file));
    bm_file_close(&file);
    bm_gguf_close(&gguf);
    bm_quantize_job_free(&job);
    bm_free(output);
    place_remove(&p);
}

// Types of a file's linears, by mixture and width; and that what is read back was verified.
static void linears_have_the_types_of_their_mixture(void **state)
{
    (void)state;
    static const char *const options[] = {"--hidden-size=256", "--intermediate-size=288", "--layers=4", NULL};
    static const struct {
        const char *keys, *file;
        uint32_t file_type, q, v, down[4];
    } cases[] = {
        // Of four blocks the third and the last have more bits; down has 288 inputs.
        {"q4_k", "Q4_K", 14, BM_GGUF_Q4_K, BM_GGUF_Q4_K, {BM_GGUF_Q5_0, BM_GGUF_Q5_0, BM_GGUF_Q5_0, BM_GGUF_Q5_0}},
        {"q4_k_m", "Q4_K_M", 15, BM_GGUF_Q4_K, BM_GGUF_Q6_K, {BM_GGUF_Q5_0, BM_GGUF_Q5_0, BM_GGUF_Q8_0, BM_GGUF_Q8_0}},
        {"q5_k_m", "Q5_K_M", 17, BM_GGUF_Q5_K, BM_GGUF_Q6_K, {BM_GGUF_Q5_1, BM_GGUF_Q5_1, BM_GGUF_Q8_0, BM_GGUF_Q8_0}},
        {"q6_k", "Q6_K", 18, BM_GGUF_Q6_K, BM_GGUF_Q6_K, {BM_GGUF_Q8_0, BM_GGUF_Q8_0, BM_GGUF_Q8_0, BM_GGUF_Q8_0}},
    };
    place p = place_create(options);
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        char *keys = bm_format("format=gguf scale_search=mse gguf_type=%s", cases[i].keys);
        MUST(quantize(&p, "rtn", keys, "file"));
        bm_gguf *gguf = open_file(&p, "file", cases[i].file);
        int64_t file_type = 0;
        MUST(bm_gguf_get_integer(gguf, "general.file_type", 0, 99, 0, &file_type, &failure));
        assert_int_equal(file_type, cases[i].file_type);
        assert_int_equal(bm_gguf_find_tensor(gguf, "blk.2.attn_q.weight")->type, cases[i].q);
        assert_int_equal(bm_gguf_find_tensor(gguf, "blk.2.attn_v.weight")->type, cases[i].v);
        assert_int_equal(bm_gguf_find_tensor(gguf, "blk.0.attn_v.weight")->type, cases[i].q);
        for (uint32_t block = 0; block < 4; block++) {
            char name[BM_GGUF_MAX_NAME + 1];
            snprintf(name, sizeof name, "blk.%u.ffn_down.weight", block);
            assert_int_equal(bm_gguf_find_tensor(gguf, name)->type, cases[i].down[block]);
        }
        bm_gguf_close(&gguf);
        bm_free(keys);
    }
    place_remove(&p);
}

static void a_note_counts_linears_by_type(void **state)
{
    (void)state;
    static const char *const options[] = {"--hidden-size=256", "--intermediate-size=288", "--layers=4", NULL};
    static const char *const overrides[] = {"device=host", "format=gguf", "gguf_type=q4_k_m"};
    place p = place_create(options);
    char *output = bm_path_join(p.work, "counted");
    bm_quantize_params params;
    bm_quantize_job job = {0};
    uint32_t found = 0;
    bm_quantize_params_init(&params);
    params.model = p.model;
    params.output = output;
    params.overrides = overrides;
    params.num_overrides = BM_COUNT(overrides);
    MUST(bm_quantize_job_plan(&params, &job, &failure));
    for (uint32_t i = 0; i < job.plan->notes.count; i++)
        found += strstr(job.plan->notes.items[i].text, "of 28 linears 22 Q4_K, 2 Q5_0, 2 Q6_K, 2 Q8_0") != NULL;
    assert_int_equal(found, 1);
    bm_quantize_job_free(&job);
    bm_free(output);
    place_remove(&p);
}

static void what_no_file_holds_is_refused_before_the_work(void **state)
{
    (void)state;
    static const struct {
        const char *options[4], *method, *keys, *words;
    } cases[] = {
        {{"--family=bloom"}, "rtn", "", "found a model of type bloom, expected llama, mistral, qwen2 and qwen3"},
        {{"--hidden-act=gelu"}, "rtn", "", "found an activation other than silu"},
        {{"--family=qwen3", "--attention-bias"},
         "rtn",
         "",
         "the architecture qwen3 has no place for tensor \"model.layers.0.self_attn.q_proj.bias\""},
        {{"--family=qwen2", "--rope-scaling=llama3"}, "rtn", "", "found rope_type llama3 in a model of type qwen2"},
        {{"--family=qwen2", "--head-dim=32"}, "rtn", "", "found 4 heads of 32 in a model of type qwen2"},
        {{"--intermediate-size=100"},
         "rtn",
         "",
         "layer \"model.layers.0.mlp.down_proj\" has 100 inputs, expected a multiple of 32; skip_list_names"},
        {{NULL}, "rtn", "bits=3", "found 3 bits of model.layers.0.self_attn.q_proj, expected 4 or 8"},
        {{NULL}, "rtn", "bits=8 symmetric=false", "found asymmetric codes of 8 bits"},
        {{NULL}, "gptq", "act_order=dynamic", "\"act_order\": \"dynamic\": the format gguf has no place for g_idx"},
        {{NULL}, "a8w8", "", "\"format\": \"gguf\": cannot hold quantized activations"},
        {{NULL}, "rtn", "shift=true", "\"format\": \"gguf\": has no place for what shift adds"},
        {{"--hidden-size=48", "--intermediate-size=64"},
         "rtn",
         "gguf_embeddings=q8_0 skip_list_names=[\"q_proj\",\"k_proj\",\"v_proj\",\"o_proj\",\"gate\",\"up\"]",
         "the model has a hidden size of 48, expected a multiple of 32"},
        {{"--intermediate-size=100"}, "rtn", "gguf_type=q4_k", "has 100 inputs, expected a multiple of 32"},
        {{NULL}, "rtn", "scale_dtype=bfloat16", "the format gguf holds scales of type F16 alone"},
    };
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        place p = place_create(cases[i].options);
        char *keys = bm_format("format=gguf%s%s", cases[i].keys[0] ? " " : "", cases[i].keys);
        const bm_status status = quantize(&p, cases[i].method, keys, "file");
        if (status == BM_OK || !strstr(failure.message, cases[i].words))
            fail_msg("%zu: status %d: %s", i, (int)status, failure.message);
        assert_false(support_folder_has(p.work, "file"));
        bm_free(keys);
        place_remove(&p);
    }
}

// A parameter file that says nothing of groups, and one that asks for others.
static void groups_are_those_of_blocks_unless_a_key_says_otherwise(void **state)
{
    (void)state;
    static const struct {
        const char *keys;
        int group_size;
    } cases[] = {
        {"", 32},
        {",\"group_size\":64", 64},
        {",\"group_size\":-1", -1},
        {",\"weight_quant_method\":\"groupwise\"", 32},
        {",\"weight_quant_method\":\"abs_max_channel_wise\"", -1},
    };
    place p = place_create((const char *[]){"--intermediate-size=128", NULL});
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        uint64_t size = 0;
        char group[32], *output = bm_path_join(p.work, "file");
        char *text = bm_format("{\"model_name_or_path\":\"%s\",\"output_dir\":\"%s\",\"do_ptq\":true,\"quant_type\":"
                               "\"wint4\",\"device\":\"host\",\"format\":\"gguf\",\"overwrite_output_dir\":true,"
                               "\"scale_search\":\"mse\"%s}",
                               p.model, output, cases[i].keys);
        char *path = support_file_write(p.work, "parameters.json", text, strlen(text));
        bm_quantize_params params;
        bm_quantize_summary summary;
        bm_quantize_params_init(&params);
        params.arguments_file = path;
        MUST(bm_quantize_model(&params, &summary, &failure));
        bm_gguf *gguf = open_file(&p, "file", "Q4_0");
        bm_gguf_close(&gguf);
        char *record = support_file_read(output, "bitmill.json", &size);
        snprintf(group, sizeof group, "\"group_size\": %d,", cases[i].group_size);
        assert_non_null(strstr(strstr(record, "\"linears\""), group));
        bm_free(record);
        bm_free(path);
        bm_free(text);
        bm_free(output);
    }
    place_remove(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_hold_the_codes_of_folders),
        cmocka_unit_test(methods_that_watch_write_files),
        cmocka_unit_test(metadata_are_those_of_the_model),
        cmocka_unit_test(a_plan_knows_the_sizes_of_tensors_and_file),
        cmocka_unit_test(frequencies_of_llama3_are_a_tensor),
        cmocka_unit_test(chat_templates_go_along),
        cmocka_unit_test(a_tokenizer_that_cannot_be_said_goes_along_whole),
        cmocka_unit_test(further_ends_go_along),
        cmocka_unit_test(linears_that_are_left_out_are_floats),
        cmocka_unit_test(embeddings_may_be_blocks),
        cmocka_unit_test(linears_have_the_types_of_their_mixture),
        cmocka_unit_test(a_note_counts_linears_by_type),
        cmocka_unit_test(what_no_file_holds_is_refused_before_the_work),
        cmocka_unit_test(groups_are_those_of_blocks_unless_a_key_says_otherwise),
    };
    return cmocka_run_group_tests_name("gguf_output", tests, open_host, close_host);
}
