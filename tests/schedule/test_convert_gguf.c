// Conversions to GGUF and from it: codes are the same in every format, floats and tokenizer are those of quantize's files, and what
// a format does not hold is refused.
#include "support/unit.h"

#include "base/file.h"
#include "base/half.h"
#include "base/str.h"
#include "schedule/convert_run.h"
#include "support/edits.h"
#include "support/folders.h"
#include "support/gguf_maker.h"
#include "support/model_maker.h"
#include <bitmill/quantize.h>

#include <stdio.h>
#include <string.h>

#define Q_PROJ "model.layers.0.self_attn.q_proj"

static bm_error failure;
static bm_device *device;
static char *parent;

#define MUST(call) assert_ok(call, &failure)

static int set_up(void **state)
{
    (void)state;
    parent = support_folder_create();
    return bm_device_open(&device, &(bm_device_params){.spec = "host"}, &failure) != BM_OK;
}

static int tear_down(void **state)
{
    (void)state;
    bm_device_close(&device);
    support_folder_remove(&parent);
    return 0;
}

static char *path_of(const char *name)
{
    return bm_path_join(parent, name);
}

static void remove_all(const char *const *names)
{
    for (; *names; names++) {
        char *path = path_of(*names);
        if (bm_path_kind_of(path) != BM_PATH_ABSENT)
            MUST(bm_folder_remove(path, &failure));
        bm_free(path);
    }
}

static void make_float(const char *option)
{
    model_maker_params p;
    model_maker_params_init(&p);
    p.dtype = BM_DTYPE_F16;
    p.num_layers = 1;
    assert_true(!option || model_maker_set(&p, option));
    char *folder = path_of("float");
    MUST(model_maker_write(&p, folder, &failure));
    bm_free(folder);
}

// keys: separated by spaces, up to six.
static void quantize(const char *model, const char *out, int64_t bits, const char *keys)
{
    bm_quantize_params params;
    bm_quantize_summary summary;
    const char *overrides[6];
    char *from = path_of(model), *to = path_of(out), *words = bm_string_copy(keys);
    bm_quantize_params_init(&params);
    params.model = from;
    params.output = to;
    params.method = "rtn";
    params.bits = bits;
    params.device = "host";
    params.overrides = overrides;
    for (char *next = strtok(words, " "); next; next = strtok(NULL, " "))
        overrides[params.num_overrides++] = next;
    MUST(bm_quantize_model(&params, &summary, &failure));
    bm_free(words);
    bm_free(from);
    bm_free(to);
}

static bm_status convert_path(const char *from, const char *form, const char *out, const bm_progress *progress)
{
    bm_status status = BM_OK;
    bm_error *err = &failure;
    bm_model *model = NULL;
    bm_quantize_result result = {0};
    char *to = path_of(out);
    BM_TRY(bm_model_open(&model, from, err));
    const bm_convert_params params = {
        .model = model, .form = form, .output = to, .device = device, .progress = progress};
    status = bm_convert_run(&params, &result, err);
done:
    bm_quantize_result_free(&result);
    bm_model_close(&model);
    bm_free(to);
    return status;
}

static bm_status convert(const char *name, const char *form, const char *out)
{
    char *from = path_of(name);
    const bm_status status = convert_path(from, form, out, NULL);
    bm_free(from);
    return status;
}

static bm_model *open_model(const char *name)
{
    bm_model *model = NULL;
    char *folder = path_of(name);
    MUST(bm_model_open(&model, folder, &failure));
    bm_free(folder);
    return model;
}

// Tensors of quantized linears are byte for byte the same, those that stay float have the same values.
static void assert_same_folders(const char *a, const char *b)
{
    bm_model *x = open_model(a), *y = open_model(b);
    assert_int_equal(bm_checkpoint_count(x->checkpoint), bm_checkpoint_count(y->checkpoint));
    for (uint32_t i = 0; i < bm_checkpoint_count(x->checkpoint); i++) {
        const bm_tensor_info *s = bm_checkpoint_at(x->checkpoint, i), *t = bm_checkpoint_at(y->checkpoint, i);
        assert_string_equal(s->name, t->name);
        assert_true(s->num_dims == t->num_dims && s->shape[0] == t->shape[0]);
        uint8_t *bytes[2] = {bm_alloc(s->size_bytes, 1), bm_alloc(t->size_bytes, 1)};
        MUST(bm_checkpoint_read(x->checkpoint, s, 0, bytes[0], s->size_bytes, &failure));
        MUST(bm_checkpoint_read(y->checkpoint, t, 0, bytes[1], t->size_bytes, &failure));
        if (s->dtype == t->dtype) {
            assert_int_equal(s->size_bytes, t->size_bytes);
            if (memcmp(bytes[0], bytes[1], s->size_bytes) != 0)
                fail_msg("%s of %s and %s", s->name, a, b);
        } else {
            assert_int_equal(s->num_dims, 1); // vectors are float32 in a file
            for (uint64_t k = 0; k < s->shape[0]; k++)
                assert_true(bm_load_real(bytes[0], s->dtype, k) == bm_load_real(bytes[1], t->dtype, k));
        }
        bm_free(bytes[0]);
        bm_free(bytes[1]);
    }
    bm_model_close(&x);
    bm_model_close(&y);
}

static bm_gguf *open_file(const char *name)
{
    bm_model *model = open_model(name);
    bm_gguf *gguf = NULL;
    MUST(bm_gguf_open(&gguf, bm_gguf_path(bm_checkpoint_gguf(model->checkpoint)), &failure));
    bm_model_close(&model);
    return gguf;
}

static void assert_same_files(const char *a, const char *b)
{
    bm_gguf *x = open_file(a), *y = open_file(b);
    assert_int_equal(bm_gguf_num_tensors(x), bm_gguf_num_tensors(y));
    for (uint32_t i = 0; i < bm_gguf_num_tensors(x); i++) {
        const bm_gguf_tensor *s = bm_gguf_tensor_at(x, i), *t = bm_gguf_find_tensor(y, s->name);
        assert_non_null(t);
        assert_true(s->type == t->type && s->size_bytes == t->size_bytes);
        uint8_t *bytes[2] = {bm_alloc(s->size_bytes, 1), bm_alloc(t->size_bytes, 1)};
        MUST(bm_gguf_read(x, s, 0, bytes[0], s->size_bytes, &failure));
        MUST(bm_gguf_read(y, t, 0, bytes[1], t->size_bytes, &failure));
        if (memcmp(bytes[0], bytes[1], s->size_bytes) != 0)
            fail_msg("%s of %s and %s", s->name, a, b);
        bm_free(bytes[0]);
        bm_free(bytes[1]);
    }
    bm_gguf_close(&x);
    bm_gguf_close(&y);
}

#define GROUPS "scale_search=abs_max weight_quant_method=groupwise group_size=32"

// A folder's codes go through a file into each of the formats that hold them, and arrive as they go there directly; the file is the
// one that quantize writes. llama's rows of heads change places on the way and come back.
static void codes_go_through_a_file(void **state)
{
    (void)state;
    static const struct {
        const char *option;
        int64_t bits;
        const char *symmetric, *type, *forms[5];
    } cases[] = {
        {NULL, 4, "symmetric=true", "Q4_0", {"compressed-tensors", "gptq", "awq"}},
        {NULL, 4, "symmetric=false", "Q4_1", {"compressed-tensors", "gptq", "gptq_v2", "awq"}},
        {"--family=qwen3", 4, "symmetric=true", "Q4_0", {"compressed-tensors"}},
        {NULL, 8, "symmetric=true", "Q8_0", {"compressed-tensors", "gptq", "int-quantized"}},
    };
    static const char *const made[] = {"float", "ct", "file", "written", "again", NULL};
    static const char *const once[] = {"through", "direct", NULL};
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        char *keys = bm_format(GROUPS " %s", cases[i].symmetric);
        char *gguf_keys = bm_format("%s format=gguf", keys);
        make_float(cases[i].option);
        quantize("float", "ct", cases[i].bits, keys);
        quantize("float", "written", cases[i].bits, gguf_keys);
        MUST(convert("ct", "gguf", "file"));
        assert_same_files("file", "written");
        MUST(convert("file", "gguf", "again"));
        assert_same_files("file", "again");
        bm_gguf *gguf = open_file("file");
        assert_string_equal(bm_gguf_layout_of(bm_gguf_find_tensor(gguf, "blk.0.attn_q.weight")->type)->name,
                            cases[i].type);
        bm_gguf_close(&gguf);
        for (const char *const *form = cases[i].forms; *form; form++) {
            MUST(convert("file", *form, "through"));
            MUST(convert("ct", *form, "direct"));
            assert_same_folders("through", "direct");
            remove_all(once);
        }
        remove_all(made);
        bm_free(gguf_keys);
        bm_free(keys);
    }
}

// Groups of several blocks, or of a whole row: each block has the step of its group.
static void groups_become_blocks(void **state)
{
    (void)state;
    static const char *const groups[] = {"weight_quant_method=groupwise group_size=64",
                                         "weight_quant_method=abs_max_channel_wise"};
    static const char *const made[] = {"ct", "file", "back", "written", NULL};
    make_float("--intermediate-size=128");
    for (size_t i = 0; i < BM_COUNT(groups); i++) {
        char *keys = bm_format("scale_search=abs_max symmetric=false %s", groups[i]);
        char *gguf_keys = bm_format("%s format=gguf", keys);
        quantize("float", "ct", 4, keys);
        quantize("float", "written", 4, gguf_keys);
        MUST(convert("ct", "gguf", "file"));
        assert_same_files("file", "written");
        MUST(convert("file", "gptq", "back"));
        bm_model *model = open_model("back");
        const bm_tensor_info *scales = bm_checkpoint_find(model->checkpoint, Q_PROJ ".scales");
        assert_int_equal(scales->shape[0], 64 / 32);
        uint8_t *bytes = bm_alloc(scales->size_bytes, 1);
        MUST(bm_checkpoint_read(model->checkpoint, scales, 0, bytes, scales->size_bytes, &failure));
        assert_memory_equal(bytes, bytes + scales->size_bytes / 2, scales->size_bytes / 2); // 64 inputs, one group
        bm_free(bytes);
        bm_model_close(&model);
        remove_all(made);
        bm_free(gguf_keys);
        bm_free(keys);
    }
    remove_all((const char *const[]){"float", NULL});
}

static void assert_refused(bm_status status, const char *words)
{
    if (status == BM_OK || !strstr(failure.message, words))
        fail_msg("status %d, not \"%s\": %s", (int)status, words, failure.message);
    char *path = path_of("no");
    assert_int_equal(bm_path_kind_of(path), BM_PATH_ABSENT);
    bm_free(path);
}

static void what_a_file_does_not_hold_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *option;
        int64_t bits;
        const char *keys, *words;
    } cases[] = {
        {NULL, 3, GROUPS,
         "cannot be converted to gguf: gguf: found 3 bits of " Q_PROJ
         ", expected 4 or 8; compressed-tensors and gptq hold others; formats that hold it: compressed-tensors, "
         "pack-quantized, int-quantized, gptq, gptq_v2"},
        {NULL, 8, GROUPS " symmetric=false", "gguf: found asymmetric codes of 8 bits"},
        {"--family=bloom", 4, GROUPS, "gguf: found a model of type bloom, expected llama, mistral, qwen2 and qwen3"},
        {"--hidden-act=gelu", 4, GROUPS, "gguf: found an activation other than silu"},
        {NULL, 4, GROUPS " scale_dtype=float32",
         "which F16, the type of its scales, does not hold; formats that hold it"},
    };
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        make_float(cases[i].option);
        quantize("float", "ct", cases[i].bits, cases[i].keys);
        assert_refused(convert("ct", "gguf", "no"), cases[i].words);
        remove_all((const char *const[]){"float", "ct", NULL});
    }
}

static void what_of_a_file_no_format_holds_is_refused(void **state)
{
    (void)state;
    make_float(NULL);
    char *folder = path_of("float");
    static const struct {
        uint32_t type;
        const char *form, *words;
    } cases[] = {
        {1, "gptq", "m.gguf: no linear is Q4_0, Q4_1 or Q8_0: there are no codes to convert"},
        {6, "gptq",
         "m.gguf: tensor \"blk.0.attn_q.weight\": found type Q5_0, expected Q4_0, Q4_1, Q8_0, F16, BF16 or F32: other "
         "formats do not hold its codes"},
        {6, "gguf", "found type Q5_0, expected Q4_0, Q4_1, Q8_0, F16, BF16 or F32: the file is gguf already"},
        {8, "awq",
         "cannot be converted to awq: awq: found weights of 8 bits of " Q_PROJ
         ", expected 4; formats that hold it: compressed-tensors, pack-quantized, int-quantized, gptq, gptq_v2, gguf"},
    };
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        char *path = gguf_maker_convert(folder, cases[i].type, NULL, parent, "m.gguf");
        assert_refused(convert_path(path, cases[i].form, "no", NULL), cases[i].words);
        assert_int_equal(remove(path), 0);
        bm_free(path);
    }
    bm_free(folder);
    remove_all((const char *const[]){"float", NULL});
}

// Of a head in codes: it has its own type beside the linears'.
static void a_head_in_codes_goes_along(void **state)
{
    (void)state;
    char *peer = bm_path_join(BM_SOURCE_DIR, "tests/golden/peers/gptqmodel-head");
    MUST(convert_path(peer, "gguf", "file", NULL));
    bm_gguf *gguf = open_file("file");
    assert_int_equal(bm_gguf_find_tensor(gguf, "output.weight")->type, BM_GGUF_Q8_0);
    assert_int_equal(bm_gguf_find_tensor(gguf, "blk.0.attn_q.weight")->type, BM_GGUF_Q4_0);
    bm_gguf_close(&gguf);
    remove_all((const char *const[]){"file", NULL});
    bm_free(peer);
}

// Keys of a file beside its model's shape: those that hold for another file of the model, those that hold for one with the same
// codes, and those of the file itself.
static const char *const keys_of_all[] = {"general.name",
                                          "general.author",
                                          "general.tags",
                                          "general.sampling.top_k",
                                          "somebody.bytes",
                                          "llama.rope.scaling.attn_factor",
                                          "tokenizer.ggml.model",
                                          "tokenizer.ggml.pre",
                                          "tokenizer.ggml.mask_token_id",
                                          "tokenizer.chat_template",
                                          "tokenizer.chat_template.tool_use"};
static const char *const keys_of_codes[] = {"general.quantized_by", "quantize.imatrix.file"};
static const char *const keys_of_file[] = {"split.count", "general.alignment"};

static char *make_file_with_keys(const char *folder)
{
    static const char *const tags[] = {"text", "", "small"};
    static const uint8_t bytes[] = {0, 255, 7};
    gguf_maker extra;
    gguf_maker_init(&extra);
    gguf_maker_add_string(&extra, "general.name", "A model");
    gguf_maker_add_string(&extra, "general.author", "somebody");
    gguf_maker_add_strings(&extra, "general.tags", tags, 3);
    gguf_maker_add_u32(&extra, "general.sampling.top_k", 40);
    gguf_maker_add_array(&extra, "somebody.bytes", BM_GGUF_UINT8, 3, bytes, 3);
    gguf_maker_add_f32(&extra, "llama.rope.scaling.attn_factor", 1);
    gguf_maker_add_u32(&extra, "general.file_type", 7);
    gguf_maker_add_string(&extra, "tokenizer.ggml.model", "of another world");
    gguf_maker_add_string(&extra, "tokenizer.ggml.pre", "unheard of");
    gguf_maker_add_u32(&extra, "tokenizer.ggml.mask_token_id", 3);
    gguf_maker_add_string(&extra, "tokenizer.chat_template", "caf\xe9"); // of Latin-1
    gguf_maker_add_string(&extra, "tokenizer.chat_template.tool_use", "{{ tools }}");
    gguf_maker_add_string(&extra, "general.quantized_by", "somebody else");
    gguf_maker_add_string(&extra, "quantize.imatrix.file", "a.dat");
    gguf_maker_add_u32(&extra, "split.count", 1);
    gguf_maker_add_u32(&extra, "general.alignment", 32);
    char *path = gguf_maker_convert(folder, BM_GGUF_Q8_0, &extra, parent, "m.gguf");
    gguf_maker_free(&extra);
    return path;
}

static void assert_kept(const bm_gguf *from, const bm_gguf *to, const char *const *keys, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const bm_gguf_value *a = bm_gguf_find(from, keys[i]), *b = bm_gguf_find(to, keys[i]);
        if (!a || !b)
            fail_msg("%s", keys[i]);
        const bm_gguf_string x = bm_gguf_stored(a), y = bm_gguf_stored(b);
        assert_true(x.length == y.length && memcmp(x.bytes, y.bytes, x.length) == 0);
    }
}

static void assert_dropped(const bm_gguf *from, const bm_gguf *to, const char *const *keys, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!bm_gguf_find(from, keys[i]) || bm_gguf_find(to, keys[i]))
            fail_msg("%s", keys[i]);
}

static void metadata_that_hold_are_kept(void **state)
{
    (void)state;
    make_float(NULL);
    char *folder = path_of("float"), *path = make_file_with_keys(folder);
    MUST(convert_path(path, "gguf", "converted", NULL));
    quantize("m.gguf", "quantized", 4, GROUPS " format=gguf");
    bm_gguf *from = NULL, *converted = open_file("converted"), *quantized = open_file("quantized");
    int64_t type = 0;
    MUST(bm_gguf_open(&from, path, &failure));
    assert_kept(from, converted, keys_of_all, BM_COUNT(keys_of_all));
    assert_kept(from, converted, keys_of_codes, BM_COUNT(keys_of_codes));
    assert_dropped(from, converted, keys_of_file, BM_COUNT(keys_of_file));
    assert_kept(from, quantized, keys_of_all, BM_COUNT(keys_of_all));
    assert_dropped(from, quantized, keys_of_codes, BM_COUNT(keys_of_codes));
    assert_dropped(from, quantized, keys_of_file, BM_COUNT(keys_of_file));
    MUST(bm_gguf_get_integer(quantized, "general.file_type", 0, 99, -1, &type, &failure));
    assert_int_equal(type, 2);
    bm_gguf_close(&from);
    bm_gguf_close(&converted);
    bm_gguf_close(&quantized);
    bm_free(folder);
    assert_int_equal(remove(path), 0);
    bm_free(path);
    remove_all((const char *const[]){"float", "converted", "quantized", NULL});
}

// A tokenizer that llama.cpp would not read either is no part of a new file; one that is not built here goes along.
static void tokenizers_that_nobody_reads_are_refused(void **state)
{
    (void)state;
    enum { NUM_TOKENS = 512 };
    static const char *const merges[] = {"a a"};
    static char names[NUM_TOKENS][8];
    const char *tokens[NUM_TOKENS];
    make_float(NULL);
    char *folder = path_of("float");
    for (uint32_t has_twins = 0; has_twins < 2; has_twins++) {
        gguf_maker extra;
        gguf_maker_init(&extra);
        for (uint32_t i = 0; i < NUM_TOKENS; i++) {
            snprintf(names[i], sizeof names[i], "t%u", has_twins && i == 7 ? 3 : i);
            tokens[i] = names[i];
        }
        gguf_maker_add_string(&extra, "tokenizer.ggml.model", "gpt2");
        gguf_maker_add_string(&extra, "tokenizer.ggml.pre", has_twins ? "gpt-2" : "unheard of");
        gguf_maker_add_strings(&extra, "tokenizer.ggml.tokens", tokens, NUM_TOKENS);
        gguf_maker_add_strings(&extra, "tokenizer.ggml.merges", merges, 1);
        char *path = gguf_maker_convert(folder, BM_GGUF_Q8_0, &extra, parent, "m.gguf");
        const bm_status status = convert_path(path, "gguf", "converted", NULL);
        if (has_twins) {
            assert_int_equal(status, BM_E_FORMAT);
            assert_non_null(strstr(failure.message, "tokens 3 and 7 are both \"t3\"; llama.cpp refuses that too"));
            failure = (bm_error){0};
        } else {
            MUST(status);
            remove_all((const char *const[]){"converted", NULL});
        }
        gguf_maker_free(&extra);
        assert_int_equal(remove(path), 0);
        bm_free(path);
    }
    bm_free(folder);
    remove_all((const char *const[]){"float", NULL});
}

typedef struct mischief {
    const char *folder; // unfinished
    uint64_t at;        // in the first block
    uint8_t bytes[2];
    bool is_done;
} mischief;

// Somebody changes a block of the file behind the verification of weights.
static int spoil(void *user, const bm_progress_report *report)
{
    mischief *m = user;
    if (m->is_done || strcmp(report->phase, "compare codes") != 0)
        return 1;
    bm_model *model = NULL;
    MUST(bm_model_open(&model, m->folder, &failure));
    const bm_gguf_tensor *t = bm_gguf_find_tensor(bm_checkpoint_gguf(model->checkpoint), "blk.0.ffn_down.weight");
    FILE *file = fopen(t->path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, (long)(t->offset + m->at), SEEK_SET), 0);
    assert_int_equal(fwrite(m->bytes, 1, 2, file), 2);
    assert_int_equal(fclose(file), 0);
    bm_model_close(&model);
    m->is_done = true;
    return 1;
}

static void codes_are_compared(void **state)
{
    (void)state;
    static const struct {
        const char *keys;
        uint64_t at;
        uint8_t bytes[2];
        const char *words;
    } cases[] = {
        {GROUPS, 0, {0x00, 0x40}, "linear \"model.layers.0.mlp.down_proj\": scales of rows 0 to 63 differ"},
        {GROUPS, 2, {0x12, 0x34}, "linear \"model.layers.0.mlp.down_proj\": codes of rows 0 to 63 differ"},
        {GROUPS " symmetric=false", 2, {0, 0}, "down_proj\": zero points of rows 0 to 63 differ"},
        {GROUPS " symmetric=false", 2, {0x00, 0x40}, "found a block of Q4_1 of d "},
    };
    make_float(NULL);
    char *from = path_of("ct"), *partial = path_of("no.partial");
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        mischief m = {.folder = partial, .at = cases[i].at};
        memcpy(m.bytes, cases[i].bytes, sizeof m.bytes);
        const bm_progress progress = {spoil, &m};
        quantize("float", "ct", 4, cases[i].keys);
        const bm_status status = convert_path(from, "gguf", "no", &progress);
        assert_int_equal(status, BM_E_INTERNAL);
        assert_refused(status, cases[i].words);
        assert_non_null(strstr(failure.message, "verification failed: "));
        assert_non_null(strstr(failure.message, "; nothing is kept"));
        assert_true(m.is_done);
        assert_int_equal(bm_path_kind_of(partial), BM_PATH_ABSENT);
        remove_all((const char *const[]){"ct", NULL});
    }
    bm_free(from);
    bm_free(partial);
    remove_all((const char *const[]){"float", NULL});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_go_through_a_file),
        cmocka_unit_test(groups_become_blocks),
        cmocka_unit_test(what_a_file_does_not_hold_is_refused),
        cmocka_unit_test(what_of_a_file_no_format_holds_is_refused),
        cmocka_unit_test(a_head_in_codes_goes_along),
        cmocka_unit_test(metadata_that_hold_are_kept),
        cmocka_unit_test(tokenizers_that_nobody_reads_are_refused),
        cmocka_unit_test(codes_are_compared),
    };
    return cmocka_run_group_tests_name("convert_gguf", tests, set_up, tear_down);
}
