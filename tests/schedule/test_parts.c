// What is read, rounded, written or scored in parts is what it is as a whole. The linker puts a function of this file in the
// place of the one that says how many rows are read at once (__wrap_NAME for NAME), so that small tensors have many parts, and of the
// one that writes them, so that writing may be slow. On the host: nothing here depends on the device.
#include "base/clock.h"
#include "device/backend.h"
#include "formats/checkpoint_writer.h"
#include "infer/evaluate.h"
#include "infer/generation.h"
#include "model/fold.h"
#include "model/masters.h"
#include "schedule/emit.h"
#include "support/folders.h"
#include "support/host_device.h"
#include "support/model_maker.h"
#include <bitmill/bitmill.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

// ISO C leaves names that begin with two underscores to the implementation; the linker's option asks for these.
uint64_t __wrap_bm_model_rows_per_read(uint64_t cols, bm_dtype dtype);
uint64_t __real_bm_model_rows_per_read(uint64_t cols, bm_dtype dtype);

bm_status __wrap_bm_checkpoint_writer_put(bm_checkpoint_writer *writer, const char *name, uint64_t offset,
                                          const void *bytes, uint64_t size, bm_error *err);
bm_status __real_bm_checkpoint_writer_put(bm_checkpoint_writer *writer, const char *name, uint64_t offset,
                                          const void *bytes, uint64_t size, bm_error *err);

static uint64_t rows_at_once;  // 0: as many as ever
static uint32_t writing_pause; // milliseconds before each piece

uint64_t __wrap_bm_model_rows_per_read(uint64_t cols, bm_dtype dtype)
{
    return rows_at_once ? rows_at_once : __real_bm_model_rows_per_read(cols, dtype);
}

bm_status __wrap_bm_checkpoint_writer_put(bm_checkpoint_writer *writer, const char *name, uint64_t offset,
                                          const void *bytes, uint64_t size, bm_error *err)
{
    if (writing_pause > 0)
        bm_clock_sleep_ms(writing_pause);
    return __real_bm_checkpoint_writer_put(writer, name, offset, bytes, size, err);
}

static int open_whole(void **state)
{
    rows_at_once = 0;
    return open_host(state);
}

static char *made_model(const model_maker_params *params)
{
    char *folder = support_folder_create();
    MUST(model_maker_write(params, folder, &failure));
    return folder;
}

// The tensors of what quantizing the model gives; the folder stays.
static char *quantize(const char *model, const char *output, const char *const overrides[2], uint64_t *size)
{
    bm_quantize_params params;
    bm_quantize_summary summary;
    bm_quantize_params_init(&params);
    params.model = model;
    params.output = output;
    params.device = "host";
    params.overrides = overrides;
    params.num_overrides = 2;
    MUST(bm_quantize_model(&params, &summary, &failure));
    return support_file_read(output, "model.safetensors", size);
}

static bool keep_token(void *user, uint32_t id)
{
    uint32_t **next = user;
    *(*next)++ = id;
    return true;
}

enum { NEW_TOKENS = 6 };

// What a model makes of a text and of a prompt.
typedef struct answers {
    double loss;
    uint32_t ids[NEW_TOKENS];
} answers;

static answers ask(const char *folder)
{
    static const char text[] =
        "Once upon a time there was a small model. It read a short text, and its words were scored.";
    static const uint32_t prompt[] = {1, 100, 200, 300};
    answers got = {0};
    uint32_t *next = got.ids;
    bm_model *model = NULL;
    bm_evaluation evaluation;
    bm_generation generation;
    bm_evaluate_model_params params;
    char *place = support_folder_create(), *path = support_file_write(place, "text.txt", text, sizeof text - 1);
    bm_evaluate_model_params_init(&params);
    params.model = folder;
    params.data = path;
    params.context = 40;
    MUST(bm_evaluate_model(&params, device, &evaluation, &failure));
    got.loss = evaluation.loss;
    MUST(bm_model_open(&model, folder, &failure));
    MUST(bm_generate(&(bm_generate_params){.model = model,
                                           .device = device,
                                           .prompt = prompt,
                                           .num_prompt = BM_COUNT(prompt),
                                           .max_new_tokens = NEW_TOKENS,
                                           .sample = {.top_p = 1},
                                           .on_token = keep_token,
                                           .user = &next},
                     &generation, &failure));
    bm_model_close(&model);
    bm_free(path);
    support_folder_remove(&place);
    return got;
}

static void assert_same_answers(const char *folder)
{
    rows_at_once = 0;
    const answers whole = ask(folder);
    rows_at_once = 32;
    const answers parts = ask(folder);
    assert_true(whole.loss == parts.loss);
    assert_memory_equal(whole.ids, parts.ids, sizeof whole.ids);
}

// Matrices of 64 to 512 rows, 32 rows a part; also where pieces still wait to be written when the last one has been made.
static void rows_in_parts_are_those_of_the_whole(void **state)
{
    (void)state;
    static const char *const overrides[][2] = {
        {"scale_search=abs_max", "group_size=32"},
        {"weight_quant_method=abs_max_channel_wise", "symmetric=false"},
    };
    model_maker_params params;
    model_maker_params_init(&params);
    char *model = made_model(&params), *parent = support_folder_create();
    assert_same_answers(model);
    for (size_t i = 0; i < BM_COUNT(overrides); i++) {
        uint64_t size, size_in_parts;
        char *whole_folder = bm_format("%s/whole-%zu", parent, i), *parts_folder = bm_format("%s/parts-%zu", parent, i);
        rows_at_once = 0;
        char *whole = quantize(model, whole_folder, overrides[i], &size);
        rows_at_once = 32;
        writing_pause = 1;
        char *parts = quantize(model, parts_folder, overrides[i], &size_in_parts);
        writing_pause = 0;
        assert_int_equal(size, size_in_parts);
        assert_memory_equal(whole, parts, size);
        assert_same_answers(whole_folder);
        bm_free(whole);
        bm_free(parts);
        bm_free(whole_folder);
        bm_free(parts_folder);
    }
    support_folder_remove(&parent);
    support_folder_remove(&model);
}

// What goes to a writing thread keeps to its share of the memory, down to the least piece that formats take.
static void pieces_keep_to_the_share_of_a_writer(void **state)
{
    (void)state;
    bm_plan plan = {.format = &bm_store_compressed_tensors};
    const bm_store_linear linear = {
        .module = "m", .out_features = 1024, .in_features = 256, .grid = {.bits = 4, .group_size = 128}};
    const uint64_t block = bm_store_rows_bytes(plan.format, &linear, BM_STORE_ROWS);
    bm_emit_context emit = {.plan = &plan};
    assert_int_equal(bm_emit_rows_of_share(&emit, &linear, 1000), 1000);
    emit.writing_bytes = 1;
    assert_int_equal(bm_emit_rows_of_share(&emit, &linear, 1000), BM_STORE_ROWS);
    assert_int_equal(bm_emit_rows_of_share(&emit, &linear, 5), 5);
    emit.writing_bytes = 3 * BM_EMIT_THREADS * block;
    assert_int_equal(bm_emit_rows_of_share(&emit, &linear, 1000), 3 * BM_STORE_ROWS);
    emit.writing_bytes -= BM_EMIT_THREADS;
    assert_int_equal(bm_emit_rows_of_share(&emit, &linear, 1000), 2 * BM_STORE_ROWS);
}

static bm_evaluation evaluate(const bm_model *model, const bm_dataset *dataset, uint32_t max_batch_tokens)
{
    bm_evaluation result = {0};
    const bm_evaluate_params params = {.model = model,
                                       .device = device,
                                       .dtype = BM_DTYPE_F32,
                                       .dataset = dataset,
                                       .max_batch_tokens = max_batch_tokens};
    MUST(bm_evaluate(&params, &result, &failure));
    return result;
}

// A batch of 2048 tokens takes 8192 columns of logits at once, so that this vocabulary has two slices; one of 256 takes all.
static void a_vocabulary_in_slices_has_the_same_loss(void **state)
{
    (void)state;
    enum { LETTERS = 9000 };
    model_maker_params params;
    char text[LETTERS];
    bm_model *model = NULL;
    bm_tokenizer *tokenizer = NULL;
    bm_dataset *dataset = NULL;
    bm_dataset_params data;
    model_maker_params_init(&params);
    params.hidden_size = 8;
    params.intermediate_size = 8;
    params.num_heads = 1;
    params.num_kv_heads = 1;
    params.num_layers = 1;
    params.vocab_size = 8300;
    char *folder = made_model(&params);
    for (uint32_t i = 0; i < LETTERS; i++)
        text[i] = (char)('a' + i * i % 23);
    char *path = support_file_write(folder, "text.txt", text, sizeof text);
    MUST(bm_model_open(&model, folder, &failure));
    MUST(bm_tokenizer_open(&tokenizer, folder, &failure));
    bm_dataset_params_init(&data);
    data.path = path;
    data.purpose = BM_DATASET_EVALUATION;
    data.context = 32;
    MUST(bm_dataset_load(&dataset, &data, tokenizer, NULL, &failure));
    assert_true(bm_dataset_num_tokens(dataset) > 2048);
    const bm_evaluation whole = evaluate(model, dataset, 256);
    const bm_evaluation slices = evaluate(model, dataset, 2048);
    assert_true(fabs(whole.loss - slices.loss) <= 1e-6);
    assert_true(whole.accuracy == slices.accuracy);
    bm_dataset_destroy(&dataset);
    bm_tokenizer_close(&tokenizer);
    bm_model_close(&model);
    bm_free(path);
    support_folder_remove(&folder);
}

enum { HIDDEN = 64, INTERMEDIATE = 160 };

// Weights of a linear of a folded block as a block that runs has them, and its bias.
static void fold_up(const bm_model *model, float weights[INTERMEDIATE * HIDDEN], float bias[INTERMEDIATE])
{
    double scales[HIDDEN], shifts[HIDDEN], down[INTERMEDIATE];
    bm_block masters = {0}, block = {0};
    for (uint32_t c = 0; c < INTERMEDIATE; c++)
        down[c] = 1 + 0.01 * c;
    for (uint32_t c = 0; c < HIDDEN; c++) {
        scales[c] = 1 + 0.1 * c;
        shifts[c] = 0.5 - 0.01 * c;
    }
    bm_folds folds = {
        .stages = {[BM_STAGE_GATE_UP] = {.scale = scales, .shift = shifts}, [BM_STAGE_DOWN] = {.scale = down}}};
    MUST(bm_masters_load(model, device, 0, BM_DTYPE_F32, &masters, &failure));
    MUST(bm_fold_apply(device, &masters, &folds, &failure));
    MUST(bm_masters_make_block(device, &masters, BM_DTYPE_F32, &block, &failure));
    const bm_weights *up = block.linears[BM_LINEAR_UP];
    for (uint32_t p = 0; p < up->num_parts; p++)
        MUST(bm_tensor_download(device, &up->parts[p], weights + p * up->rows_per_part * HIDDEN, &failure));
    MUST(bm_tensor_download(device, &block.biases[BM_LINEAR_UP], bias, &failure));
    MUST(bm_device_wait(device, &failure));
    assert_int_equal(up->num_parts, rows_at_once ? 2 : 1);
    bm_block_destroy(&masters);
    bm_block_destroy(&block);
}

static void folds_in_parts_are_those_of_the_whole(void **state)
{
    (void)state;
    static float whole[INTERMEDIATE * HIDDEN], parts[INTERMEDIATE * HIDDEN];
    float bias[2][INTERMEDIATE];
    model_maker_params params;
    bm_model *model = NULL;
    model_maker_params_init(&params);
    char *folder = made_model(&params);
    MUST(bm_model_open(&model, folder, &failure));
    fold_up(model, whole, bias[0]);
    rows_at_once = 24;
    device->info.limits.max_allocation_bytes = 64 * INTERMEDIATE * sizeof(float); // 128 rows of HIDDEN
    fold_up(model, parts, bias[1]);
    assert_memory_equal(whole, parts, sizeof whole);
    assert_memory_equal(bias[0], bias[1], sizeof bias[0]);
    bm_model_close(&model);
    support_folder_remove(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_keep_to_the_share_of_a_writer),
        cmocka_unit_test_setup_teardown(rows_in_parts_are_those_of_the_whole, open_whole, close_host),
        cmocka_unit_test_setup_teardown(a_vocabulary_in_slices_has_the_same_loss, open_whole, close_host),
        cmocka_unit_test_setup_teardown(folds_in_parts_are_those_of_the_whole, open_whole, close_host),
    };
    return cmocka_run_group_tests_name("parts", tests, NULL, NULL);
}
