// Devices with little memory: activations that live in host memory, blocks that are loaded anew, and how much of the
// device both take. Results are those of a large device, bit for bit. The device's spec is the only argument.
#include "device/backend.h"
#include "infer/evaluate.h"
#include "infer/generation.h"
#include "infer/stream.h"
#include "support/folders.h"
#include "support/model_maker.h"
#include "support/support.h"
#include "support/unit.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *spec;
static support_log test_log;
static bm_device *device; // a fresh one for each test
static bm_error failure;

#define MUST(call) assert_ok(call, &failure)

static int open_device(void **state)
{
    (void)state;
    return support_device_open(spec, &test_log, &device, &failure) != BM_OK;
}

static int close_device(void **state)
{
    (void)state;
    bm_device_close(&device);
    return test_log.num_complaints != 0;
}

// A device that believes to have memory_bytes; 0: what it has.
static void reopen_device(uint64_t memory_bytes)
{
    bm_device_close(&device);
    assert_int_equal(open_device(NULL), 0);
    if (memory_bytes)
        device->info.limits.memory_bytes = memory_bytes;
}

static bm_model *make_model(const model_maker_params *params, char **folder)
{
    bm_model *model = NULL;
    *folder = support_folder_create();
    MUST(model_maker_write(params, *folder, &failure));
    MUST(bm_model_open(&model, *folder, &failure));
    return model;
}

static void remove_model(bm_model **model, char **folder)
{
    bm_model_close(model);
    support_folder_remove(folder);
}

enum { NUM_SEQUENCES = 7, TOKENS = 40 };

static void make_sequences(uint32_t ids[NUM_SEQUENCES][TOKENS], bm_batch_sequence sequences[NUM_SEQUENCES])
{
    for (uint32_t s = 0; s < NUM_SEQUENCES; s++) {
        sequences[s] = (bm_batch_sequence){ids[s], TOKENS - s};
        for (uint32_t i = 0; i < TOKENS; i++)
            ids[s][i] = (s * 1009u + i * i * 37u) % 512;
    }
}

static float *read_stream(bm_stream *stream)
{
    const uint32_t width = stream->params.model->config.hidden_size;
    float *out = bm_alloc(stream->num_tokens * width, sizeof *out);
    assert_non_null(out);
    for (uint32_t b = 0; b < stream->num_batches; b++) {
        bm_tensor hidden;
        MUST(bm_stream_acquire(stream, b, &hidden, &failure));
        MUST(bm_tensor_download(device, &hidden, out + stream->batches[b].first_token * width, &failure));
    }
    MUST(bm_device_wait(device, &failure));
    return out;
}

// The residual stream of all tokens behind the last block.
static float *run_stream(const bm_model *model, const bm_batch_sequence *sequences, uint64_t budget, const char *folder,
                         bm_kept_place wanted)
{
    const bm_stream_params params = {.model = model,
                                     .device = device,
                                     .dtype = BM_DTYPE_F32,
                                     .sequences = sequences,
                                     .num_sequences = NUM_SEQUENCES,
                                     .max_batch_tokens = 2 * TOKENS,
                                     .hidden_budget = budget,
                                     .folder = folder};
    bm_stream *stream = NULL;
    MUST(bm_stream_create(&params, &stream, &failure));
    assert_true(stream->num_batches > 2);
    assert_int_equal(stream->place, wanted);
    MUST(bm_stream_run(stream, &failure));
    float *out = read_stream(stream);
    bm_stream_destroy(&stream);
    return out;
}

// The same in batches of up to max_tokens tokens, num_batches of them.
static float *run_sequences(const bm_model *model, const bm_batch_sequence *sequences, uint32_t count,
                            uint32_t max_tokens, uint32_t num_batches)
{
    const bm_stream_params params = {.model = model,
                                     .device = device,
                                     .dtype = BM_DTYPE_F32,
                                     .sequences = sequences,
                                     .num_sequences = count,
                                     .max_batch_tokens = max_tokens};
    bm_stream *stream = NULL;
    MUST(bm_stream_create(&params, &stream, &failure));
    assert_int_equal(stream->num_batches, num_batches);
    MUST(bm_stream_run(stream, &failure));
    float *out = read_stream(stream);
    bm_stream_destroy(&stream);
    return out;
}

static void activations_elsewhere_are_the_same(void **state)
{
    (void)state;
    static uint32_t ids[NUM_SEQUENCES][TOKENS];
    bm_batch_sequence sequences[NUM_SEQUENCES];
    model_maker_params p;
    char *folder = NULL;
    uint64_t num_tokens = 0;
    model_maker_params_init(&p);
    bm_model *model = make_model(&p, &folder);
    make_sequences(ids, sequences);
    for (uint32_t s = 0; s < NUM_SEQUENCES; s++)
        num_tokens += sequences[s].count;
    const uint64_t bytes = num_tokens * p.hidden_size * 4;
    float *on_device = run_stream(model, sequences, bytes, NULL, BM_KEPT_DEVICE);
    float *on_host = run_stream(model, sequences, bytes - 1, NULL, BM_KEPT_HOST);
    float *in_file = run_stream(model, sequences, bytes - 1, folder, BM_KEPT_FILE);
    assert_memory_equal(on_device, on_host, bytes);
    assert_memory_equal(on_device, in_file, bytes);
    bm_free(on_device);
    bm_free(on_host);
    bm_free(in_file);
    remove_model(&model, &folder);
}

// Dynamic scaling turns a text by angles of its own length: what it gives is what it gives alone.
static void long_texts_turn_no_others(void **state)
{
    (void)state;
    static uint32_t ids[NUM_SEQUENCES][TOKENS];
    bm_batch_sequence sequences[NUM_SEQUENCES]; // of 40, 39 .. 34 tokens
    model_maker_params p;
    char *folder = NULL;
    uint64_t at = 0;
    model_maker_params_init(&p);
    p.rope_scaling = "dynamic";
    p.max_positions = 37;
    bm_model *model = make_model(&p, &folder);
    const uint32_t width = p.hidden_size;
    make_sequences(ids, sequences);
    sequences[1].count = TOKENS; // its length is the first one's
    float *together = run_sequences(model, sequences, NUM_SEQUENCES, 10 * TOKENS, 3);
    for (uint32_t s = 0; s < NUM_SEQUENCES; s++) {
        float *alone = run_sequences(model, &sequences[s], 1, TOKENS, 1);
        for (uint32_t i = 0; i < sequences[s].count * width; i++)
            if (!(fabsf(alone[i] - together[at + i]) <= 1e-4f))
                fail_msg("text %u, element %u: %g alone, %g beside others", s, i, alone[i], together[at + i]);
        at += (uint64_t)sequences[s].count * width;
        bm_free(alone);
    }
    bm_free(together);
    remove_model(&model, &folder);
}

static int count_down(void *user, const bm_progress_report *report)
{
    uint32_t *left = user;
    assert_int_equal(report->done, 0);
    return *left > 0 ? (int)(*left)-- : 0;
}

// A caller is asked before each batch whose embeddings are looked up, so that it can stop there.
static void embedding_can_be_stopped_before_every_batch(void **state)
{
    (void)state;
    static uint32_t ids[NUM_SEQUENCES][TOKENS];
    bm_batch_sequence sequences[NUM_SEQUENCES];
    model_maker_params p;
    char *folder = NULL;
    model_maker_params_init(&p);
    bm_model *model = make_model(&p, &folder);
    make_sequences(ids, sequences);
    for (uint32_t reports = 0; reports <= NUM_SEQUENCES; reports++) {
        uint32_t left = reports;
        const bm_progress progress = {count_down, &left};
        const bm_stream_params params = {.model = model,
                                         .device = device,
                                         .dtype = BM_DTYPE_F32,
                                         .sequences = sequences,
                                         .num_sequences = NUM_SEQUENCES,
                                         .max_batch_tokens = TOKENS, // one sequence a batch
                                         .progress = &progress,
                                         .phase = "embed"};
        bm_stream *stream = NULL;
        const bm_status status = bm_stream_create(&params, &stream, &failure);
        assert_int_equal(status, reports < NUM_SEQUENCES ? BM_E_CANCELLED : BM_OK);
        assert_true((stream != NULL) == (status == BM_OK));
        assert_int_equal(left, 0);
        bm_stream_destroy(&stream);
    }
    remove_model(&model, &folder);
}

static bm_status embed(const bm_model *model, const uint32_t *ids, uint32_t count)
{
    const bm_batch_sequence sequence = {ids, count};
    const bm_stream_params params = {
        .model = model, .device = device, .dtype = BM_DTYPE_F32, .sequences = &sequence, .num_sequences = 1};
    bm_stream *stream = NULL;
    const bm_status status = bm_stream_create(&params, &stream, &failure);
    bm_stream_destroy(&stream);
    return status;
}

// Only rows that occur are read: a bad one elsewhere is not met.
static void embeddings_of_other_tokens_are_not_read(void **state)
{
    (void)state;
    static const uint8_t not_a_number[4] = {0, 0, 0xc0, 0x7f};
    const uint32_t good[] = {6, 8, 511, 6, 0}, bad[] = {6, 8, 7}, beyond[] = {0, 512};
    model_maker_params p;
    char *folder = NULL;
    model_maker_params_init(&p);
    bm_model *model = make_model(&p, &folder);
    const bm_tensor_info *info = bm_checkpoint_find(model->checkpoint, model->family->layout->embedding);
    FILE *file = fopen(bm_checkpoint_file_name(info), "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, (long)info->offset + 4 * (7 * 64 + 5), SEEK_SET), 0);
    assert_int_equal(fwrite(not_a_number, 1, 4, file), 4);
    assert_int_equal(fclose(file), 0);
    MUST(embed(model, good, BM_COUNT(good)));
    MUST(bm_device_wait(device, &failure));
    assert_int_equal(embed(model, bad, BM_COUNT(bad)), BM_E_FORMAT);
    assert_non_null(strstr(failure.message, "NaN or infinity at element 453"));
    assert_int_equal(embed(model, beyond, BM_COUNT(beyond)), BM_E_ARGUMENT);
    assert_string_equal(failure.message, "token 1 has id 512, the model's vocabulary has 512");
    remove_model(&model, &folder);
}

static bm_evaluation evaluate(const bm_model *model, const bm_dataset *dataset, uint64_t memory_bytes, uint64_t *peak)
{
    bm_evaluation result = {0};
    reopen_device(memory_bytes);
    const bm_evaluate_params params = {.model = model,
                                       .reference = model,
                                       .device = device,
                                       .dtype = BM_DTYPE_F32,
                                       .dataset = dataset,
                                       .max_batch_tokens = 256};
    MUST(bm_evaluate(&params, &result, &failure));
    *peak = bm_device_peak_bytes(device);
    return result;
}

// Memory for one model: its activations fit half of it, those of two models and the work on them do not fit at all.
static void a_reference_halves_the_memory_of_each_model(void **state)
{
    (void)state;
    enum { LETTERS = 4000 };
    model_maker_params p;
    char *folder = NULL, text[LETTERS];
    uint64_t large_peak = 0, small_peak = 0;
    bm_tokenizer *tokenizer = NULL;
    bm_dataset *dataset = NULL;
    bm_dataset_params data;
    model_maker_params_init(&p);
    bm_model *model = make_model(&p, &folder);
    for (uint32_t i = 0; i < LETTERS; i++)
        text[i] = (char)('a' + i * i % 23);
    char *path = support_file_write(folder, "text.txt", text, sizeof text);
    MUST(bm_tokenizer_open(&tokenizer, folder, &failure));
    bm_dataset_params_init(&data);
    data.path = path;
    data.purpose = BM_DATASET_EVALUATION;
    data.context = 64;
    MUST(bm_dataset_load(&dataset, &data, tokenizer, NULL, &failure));
    const uint64_t bytes = bm_dataset_num_tokens(dataset) * p.hidden_size * 4;
    const bm_evaluation large = evaluate(model, dataset, 0, &large_peak);
    const bm_evaluation small = evaluate(model, dataset, 3 * bytes, &small_peak);
    assert_true(large.kl_divergence == 0 && small.kl_divergence == 0);
    assert_true(large.loss == small.loss && large.reference_loss == small.reference_loss);
    assert_true(large_peak > 3 * bytes && small_peak <= 3 * bytes);
    bm_dataset_destroy(&dataset);
    bm_tokenizer_close(&tokenizer);
    bm_free(path);
    remove_model(&model, &folder);
}

enum { NEW_TOKENS = 4 };

static bool keep_token(void *user, uint32_t id)
{
    uint32_t **next = user;
    *(*next)++ = id;
    return true;
}

static uint64_t generate(const bm_model *model, uint64_t memory_bytes, uint32_t ids[NEW_TOKENS])
{
    static const uint32_t prompt[] = {1, 100, 200, 300};
    bm_generation result = {0};
    reopen_device(memory_bytes);
    const bm_generate_params params = {.model = model,
                                       .device = device,
                                       .dtype = BM_DTYPE_F32,
                                       .prompt = prompt,
                                       .num_prompt = BM_COUNT(prompt),
                                       .max_new_tokens = NEW_TOKENS,
                                       .sample = {.top_p = 1},
                                       .on_token = keep_token,
                                       .user = &ids};
    MUST(bm_generate(&params, &result, &failure));
    return bm_device_peak_bytes(device);
}

static void blocks_that_are_loaded_anew_are_freed_in_time(void **state)
{
    (void)state;
    uint32_t resident[NEW_TOKENS] = {0}, streamed[NEW_TOKENS] = {0};
    model_maker_params p;
    char *folder = NULL;
    model_maker_params_init(&p);
    p.hidden_size = 256;
    p.intermediate_size = 768;
    p.num_layers = 8;
    bm_model *model = make_model(&p, &folder);
    const uint64_t block = bm_block_bytes(model, device, 0, BM_DTYPE_F32);
    const uint64_t resident_peak = generate(model, 0, resident);
    const uint64_t streamed_peak = generate(model, 8 * block, streamed); // of which blocks may take six
    assert_memory_equal(resident, streamed, sizeof resident);
    assert_true(resident_peak > 8 * block);
    assert_true(streamed_peak <
                4 * block); // embedding and head, a block, and another's raw parts and those pending release
    remove_model(&model, &folder);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
#define FACT(function) cmocka_unit_test_setup_teardown(function, open_device, close_device)
        FACT(activations_elsewhere_are_the_same),          FACT(long_texts_turn_no_others),
        FACT(embedding_can_be_stopped_before_every_batch), FACT(embeddings_of_other_tokens_are_not_read),
        FACT(a_reference_halves_the_memory_of_each_model), FACT(blocks_that_are_loaded_anew_are_freed_in_time),
#undef FACT
    };
    if (argc != 2) {
        fprintf(stderr, "usage: %s SPEC\n", argv[0]);
        return 2;
    }
    spec = argv[1];
    support_log_init(&test_log);
    if (open_device(NULL) != 0) {
        fprintf(stderr, "%s\n", failure.message);
        return 1;
    }
    if (!device)
        return SUPPORT_SKIP;
    bm_device_close(&device);
    if (support_is_instrumented())
        return SUPPORT_SKIP; // whole models
    return cmocka_run_group_tests(tests, NULL, NULL);
}
