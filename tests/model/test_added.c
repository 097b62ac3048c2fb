// Checkpoints to which folds have added tensors: written from folded blocks, marked, and read back. Argument: a device spec.
#include "base/random.h"
#include "base/str.h"
#include "formats/checkpoint_writer.h"
#include "model/fold.h"
#include "model/logits.h"
#include "model/masters.h"
#include "ops/fixture.h"
#include "support/edits.h"
#include "support/folders.h"
#include "support/int8_maker.h"
#include "support/model_maker.h"

#include "base/file.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { TOKENS = 12, MAX_TENSORS = 64 };
static uint32_t ids[TOKENS];

// The tensors of a folded block by name, on the host. Those of the checkpoint that are not among them are as they were.
typedef struct named {
    char name[BM_TENSOR_NAME_SIZE + 24];
    uint64_t shape[2];
    uint32_t num_dims;
    float *values;
} named;
typedef struct tensors {
    named list[MAX_TENSORS];
    uint32_t count;
} tensors;

static void keep(tensors *all, const char *module, const char *suffix, uint64_t rows, const bm_tensor *tensor)
{
    if (!tensor->view.buffer)
        return;
    assert_true(all->count < MAX_TENSORS);
    named *n = &all->list[all->count++];
    *n = (named){.shape = {rows > 0 ? rows : tensor->cols, tensor->cols}, .num_dims = rows > 0 ? 2 : 1};
    snprintf(n->name, sizeof n->name, "%s%s", module, suffix);
    n->values = bm_alloc(tensor->rows * tensor->cols, sizeof(float));
    read_tensor(tensor, n->values);
}

static void keep_block(tensors *all, const bm_block *block)
{
    const bm_family *family = block->model->family;
    char module[BM_TENSOR_NAME_SIZE];
    for (bm_norm_id n = 0; n < BM_NUM_NORMS; n++) {
        if (!bm_family_has_norm(family, n))
            continue;
        bm_norm_name(family, block->index, n, module);
        keep(all, module, ".weight", 0, &block->norms[n].weight);
        keep(all, module, ".bias", 0, &block->norms[n].bias);
    }
    for (bm_linear_id l = BM_LINEAR_Q; l < BM_NUM_LINEARS; l++) {
        if (!bm_family_has_linear(family, l)) // parts of a fusion, which are not folded here
            continue;
        assert_int_equal(block->linears[l]->num_parts, 1);
        bm_linear_tensor_name(family, block->index, l, "", module);
        keep(all, module, ".weight", block->linears[l]->out_features, &block->linears[l]->parts[0]);
        keep(all, module, ".bias", 0, &block->biases[l]);
    }
    bm_linear_tensor_name(family, block->index, BM_LINEAR_O, "", module);
    keep(all, module, ".shift_bias", 0, &block->changes[BM_STAGE_O].shift);
    keep(all, module, ".smooth_weight", 0, &block->changes[BM_STAGE_O].factor);
    bm_linear_tensor_name(family, block->index, BM_LINEAR_DOWN, "", module);
    keep(all, module, ".shift_bias", 0, &block->changes[BM_STAGE_DOWN].shift);
    keep(all, module, ".smooth_weight", 0, &block->changes[BM_STAGE_DOWN].factor);
}

static void fold(const bm_model *model, bm_block *masters)
{
    bm_folds folds = {0};
    for (bm_stage s = 0; s < BM_NUM_STAGES; s++) {
        bm_random random;
        const bool by_operations = bm_norm_of_stage(s) == BM_NUM_NORMS;
        if (model->family->has_layer_norms && !by_operations)
            continue; // a fold adds nothing there
        bm_fold *f = &folds.stages[s];
        const uint32_t width = bm_fold_width(&model->config, s, by_operations);
        bm_random_init(&random, 11 + masters->index, s);
        f->as_operations = by_operations;
        f->scale = bm_alloc(width, sizeof *f->scale);
        f->shift = bm_alloc(width, sizeof *f->shift);
        for (uint32_t c = 0; c < width; c++) {
            f->scale[c] = exp(0.3 * bm_random_normal(&random));
            f->shift[c] = 0.5 * bm_random_normal(&random);
        }
    }
    MUST(bm_fold_apply(test_device, masters, &folds, &failure));
    for (bm_stage s = 0; s < BM_NUM_STAGES; s++) {
        bm_free(folds.stages[s].scale);
        bm_free(folds.stages[s].shift);
    }
}

static bm_status make_folded(void *user, uint32_t index, bm_block *out, bm_error *err)
{
    const bm_model *model = user;
    bm_block masters = {0};
    bm_status status = bm_masters_load(model, test_device, index, BM_DTYPE_F32, &masters, err);
    if (status == BM_OK) {
        fold(model, &masters);
        status = bm_masters_make_block(test_device, &masters, BM_DTYPE_F32, out, err);
    }
    bm_block_destroy(&masters);
    return status;
}

static const named *find(const tensors *all, const char *name)
{
    for (uint32_t i = 0; i < all->count; i++)
        if (strcmp(all->list[i].name, name) == 0)
            return &all->list[i];
    return NULL;
}

static void copy_rest(const bm_model *model, bm_checkpoint_writer *writer, const tensors *all, bool declares)
{
    for (uint32_t i = 0; i < bm_checkpoint_count(model->checkpoint); i++) {
        const bm_tensor_info *info = bm_checkpoint_at(model->checkpoint, i);
        if (find(all, info->name))
            continue;
        if (declares) {
            MUST(bm_checkpoint_writer_declare(writer, info->name, info->dtype, info->shape, info->num_dims, &failure));
            continue;
        }
        uint8_t *bytes = bm_alloc(info->size_bytes, 1);
        MUST(bm_checkpoint_read(model->checkpoint, info, 0, bytes, info->size_bytes, &failure));
        MUST(bm_checkpoint_writer_put(writer, info->name, 0, bytes, info->size_bytes, &failure));
        bm_free(bytes);
    }
}

// The folded model in floats, without a word on it in config.json.
static char *write_folded(const bm_model *model)
{
    char *folder = support_folder_create(), *from = bm_path_join(model->folder, "config.json"),
         *to = bm_path_join(folder, "config.json");
    tensors all = {.count = 0};
    bm_checkpoint_writer *writer = NULL;
    for (uint32_t i = 0; i < model->config.num_hidden_layers; i++) {
        bm_block masters;
        MUST(bm_masters_load(model, test_device, i, BM_DTYPE_F32, &masters, &failure));
        fold(model, &masters);
        keep_block(&all, &masters);
        bm_block_destroy(&masters);
    }
    MUST(bm_checkpoint_writer_create(&writer, folder, BM_DEFAULT_SHARD_BYTES, &failure));
    copy_rest(model, writer, &all, true);
    for (uint32_t i = 0; i < all.count; i++) {
        const named *n = &all.list[i];
        MUST(bm_checkpoint_writer_declare(writer, n->name, BM_DTYPE_F32, n->shape, n->num_dims, &failure));
    }
    MUST(bm_checkpoint_writer_begin(writer, &failure));
    copy_rest(model, writer, &all, false);
    for (uint32_t i = 0; i < all.count; i++) {
        const named *n = &all.list[i];
        const uint64_t size = n->shape[0] * (n->num_dims == 2 ? n->shape[1] : 1) * sizeof(float);
        MUST(bm_checkpoint_writer_put(writer, n->name, 0, n->values, size, &failure));
        bm_free(n->values);
    }
    MUST(bm_checkpoint_writer_finish(&writer, &failure));
    MUST(bm_file_copy(from, to, &failure));
    bm_free(from);
    bm_free(to);
    return folder;
}

// All linears are left float: what is said is that other runtimes would get them wrong.
static void mark(const char *folder)
{
    support_text_replace(folder, "config.json", "\"model_type\"",
                         "\"quantization_config\": {\"quant_method\": \"bitmill\", \"format\": \"int-quantized\", "
                         "\"config_groups\": {\"group_0\": {\"targets\": [\"Linear\"], \"weights\": {\"num_bits\": 8, "
                         "\"strategy\": \"channel\"}}}, \"ignore\": [\"Linear\"]}, \"model_type\"");
}

static bm_model *open_made(const char *family, char **folder)
{
    bm_model *model = NULL;
    model_maker_params p;
    model_maker_params_init(&p);
    p.family = family;
    p.vocab_size = 128;
    p.tokenizer = MODEL_MAKER_NO_TOKENIZER;
    *folder = support_folder_create();
    MUST(model_maker_write(&p, *folder, &failure));
    MUST(bm_model_open(&model, *folder, &failure));
    for (uint32_t i = 0; i < TOKENS; i++)
        ids[i] = (i * 7919u + 13u) % p.vocab_size;
    return model;
}

// How far the logits of a folder lie from those that are wanted; it is open with this many kinds of unread tensors.
static double difference_of(const char *folder, const double *want, uint32_t unread, bool in_integers)
{
    bm_model *model = NULL;
    bm_block block;
    bm_model_words words[BM_MAX_UNREAD_WORDS];
    MUST(bm_model_open(&model, folder, &failure));
    const uint64_t cols = model->config.vocab_size;
    double *got = bm_alloc(TOKENS * cols, sizeof *got);
    assert_int_equal(bm_model_describe_unread(model, "not read", words), unread);
    MUST(bm_block_load(model, test_device, 1, BM_DTYPE_F32, &block, &failure));
    assert_int_equal(block.in_integers[BM_STAGE_DOWN], in_integers);
    bm_block_destroy(&block);
    MUST(model_logits(model, test_device, BM_DTYPE_F32, ids, TOKENS, got, &failure));
    const double difference = logits_compare(want, got, TOKENS, cols).relative;
    bm_free(got);
    bm_model_close(&model);
    return difference;
}

// The tensors come back bit by bit; of an unmarked folder they are left out, as other runtimes would.
static void what_folds_add_is_read_where_it_is_marked(void **state)
{
    static const char *const families[] = {"llama", "qwen2", "qwen3", "bloom"};
    (void)state;
    support_shorten_loops(test_device);
    for (size_t i = 0; i < BM_COUNT(families); i++) {
        char *original;
        bm_model *model = open_made(families[i], &original);
        double *want = bm_alloc(TOKENS * (uint64_t)model->config.vocab_size, sizeof *want);
        MUST(model_logits_of_blocks(model, test_device, BM_DTYPE_F32, make_folded, model, ids, TOKENS, want, &failure));
        char *folder = write_folded(model), *codes = support_folder_create();
        const double left_out = difference_of(folder, want, model->family->has_layer_norms ? 1 : 2, false);
        MUST(int8_maker_write(folder, codes, NULL, 0, NULL, &failure));
        support_text_replace(codes, "config.json", "\"compressed-tensors\"", "\"bitmill\"");
        mark(folder);
        const double floats = difference_of(folder, want, 0, false), integers = difference_of(codes, want, 0, true);
        printf("  %s: %.2e, in integers %.2e, left out %.2e\n", families[i], floats, integers, left_out);
        assert_true(floats == 0 && integers > 1e-5 && integers < 0.1 && left_out > 3 * integers);
        bm_free(want);
        bm_model_close(&model);
        support_folder_remove(&original);
        support_folder_remove(&folder);
        support_folder_remove(&codes);
    }
}

static void expect_refused(const char *folder, bool when_loaded, const char *words)
{
    bm_model *model = NULL;
    bm_block block = {0};
    bm_error err = {0};
    bm_status status = bm_model_open(&model, folder, &err);
    if (when_loaded) {
        assert_int_equal(status, BM_OK);
        status = bm_block_load(model, test_device, 1, BM_DTYPE_F32, &block, &err);
    }
    if (status != BM_E_FORMAT || !strstr(err.message, words))
        fail_msg("%s: \"%s\" lacks \"%s\"", bm_status_name(status), err.message, words);
    bm_block_destroy(&block);
    bm_model_close(&model);
}

// One that is gone is there again with four elements.
static void tensors_of_another_shape_are_refused(void **state)
{
    static const char *const names[] = {
        "model.layers.1.mlp.down_proj.shift_bias", "model.layers.1.self_attn.o_proj.smooth_weight",
        "model.layers.1.self_attn.k_proj.bias", "model.layers.1.post_attention_layernorm.bias"};
    static const uint32_t widths[] = {160, 64, 32, 64};
    (void)state;
    for (size_t i = 0; i < BM_COUNT(names); i++) {
        char *original, *quoted = bm_format("\"%s\"", names[i]);
        bm_model *model = open_made("llama", &original);
        assert_true(i > 0 || model->config.intermediate_size == widths[0]);
        char *folder = write_folded(model),
             *words = bm_format("model.safetensors: tensor \"%s\": shape [4], expected [%u] by config.json", names[i],
                                widths[i]);
        mark(folder);
        support_header_replace(folder, quoted, "\"gone\"");
        support_tensor_add(folder, names[i], BM_DTYPE_F32, 4);
        expect_refused(folder, false, words);
        bm_free(words);
        bm_free(quoted);
        bm_model_close(&model);
        support_folder_remove(&original);
        support_folder_remove(&folder);
    }
}

// A shift whose bias is gone computes something else; an operation that is gone, nothing wrong that could be seen.
static void biases_of_a_shift_are_all_there(void **state)
{
    static const struct {
        const char *name;
        bool refused;
    } cases[] = {
        {"model.layers.1.self_attn.v_proj.bias", true},     {"model.layers.1.mlp.gate_proj.bias", true},
        {"model.layers.1.self_attn.o_proj.bias", true},     {"model.layers.0.mlp.down_proj.bias", true},
        {"model.layers.0.mlp.down_proj.shift_bias", false}, {"model.layers.0.self_attn.o_proj.smooth_weight", false}};
    (void)state;
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        char *original, *quoted = bm_format("\"%s\"", cases[i].name);
        bm_model *model = open_made("llama", &original), *opened = NULL;
        char *folder = write_folded(model), *words = bm_format("tensor \"%s\" is missing; what the", cases[i].name);
        mark(folder);
        support_header_replace(folder, quoted, "\"gone\"");
        if (cases[i].refused)
            expect_refused(folder, false, words);
        else
            MUST(bm_model_open(&opened, folder, &failure));
        bm_free(words);
        bm_free(quoted);
        bm_model_close(&opened);
        bm_model_close(&model);
        support_folder_remove(&original);
        support_folder_remove(&folder);
    }
}

static void numbers_that_are_none_are_refused(void **state)
{
    static const char *const names[] = {
        "model.layers.1.mlp.down_proj.shift_bias", "model.layers.1.self_attn.o_proj.smooth_weight",
        "model.layers.1.self_attn.k_proj.bias", "model.layers.1.post_attention_layernorm.bias"};
    const float bad[] = {NAN, INFINITY, NAN, -INFINITY};
    (void)state;
    for (size_t i = 0; i < BM_COUNT(names); i++) {
        char *original;
        bm_model *model = open_made("llama", &original);
        char *folder = write_folded(model);
        mark(folder);
        support_tensor_write(folder, names[i], &bad[i], sizeof bad[i]);
        expect_refused(folder, true, names[i]);
        bm_model_close(&model);
        support_folder_remove(&original);
        support_folder_remove(&folder);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_folds_add_is_read_where_it_is_marked),
        cmocka_unit_test(tensors_of_another_shape_are_refused),
        cmocka_unit_test(biases_of_a_shift_are_all_there),
        cmocka_unit_test(numbers_that_are_none_are_refused),
    };
    return run_on_device(argc, argv, tests, BM_COUNT(tests));
}
