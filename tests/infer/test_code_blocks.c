// Blocks whose linears stay codes compute what those of weights do, for few tokens and for many, and products that a slow device cuts into
// several dispatches what others do; what cannot stay codes becomes weights. The device's spec is the only argument.
#include "support/unit.h"

#include "base/random.h"
#include "device/backend.h"
#include "model/block.h"
#include "support/folders.h"
#include "support/model_maker.h"
#include "support/support.h"
#include <bitmill/bitmill.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_TOKENS = 70, HIDDEN = 64 };

static bm_device *device;
static bm_error failure;

#define MUST(call) assert_ok(call, &failure)

// Seconds that a dispatch may take; 0: what the device has. The linker puts this in the place of the real one (__wrap_NAME for NAME).
static double most_seconds;
double __wrap_bm_chunk_max_seconds(const bm_device *of);
double __real_bm_chunk_max_seconds(const bm_device *of);

double __wrap_bm_chunk_max_seconds(const bm_device *of)
{
    return most_seconds > 0 ? most_seconds : __real_bm_chunk_max_seconds(of);
}

static void run_block(const bm_model *model, const bm_block *block, uint32_t tokens, float *hidden)
{
    static const uint32_t ids[MAX_TOKENS];
    bm_workspace workspace;
    bm_batch batch;
    bm_tensor stream = {0};
    bm_random random;
    bm_random_init(&random, 5, 0);
    for (uint32_t i = 0; i < tokens * HIDDEN; i++)
        hidden[i] = (float)bm_random_normal(&random);
    MUST(bm_workspace_create(model, device, tokens, tokens, BM_DTYPE_F32, &workspace, &failure));
    MUST(bm_batch_create(device, &(bm_batch_sequence){ids, tokens}, 1, 0, &batch, &failure));
    MUST(bm_tensor_create(device, BM_DTYPE_F32, tokens, HIDDEN, "hidden", &stream, &failure));
    MUST(bm_tensor_upload(device, &stream, hidden, &failure));
    MUST(bm_block_forward(device, block, &batch, &workspace, NULL, &stream, &failure));
    MUST(bm_tensor_download(device, &stream, hidden, &failure));
    MUST(bm_device_wait(device, &failure));
    bm_tensor_destroy(&stream);
    bm_batch_destroy(&batch);
    bm_workspace_destroy(&workspace);
}

static void compare(const char *folder, bool keeps_codes)
{
    static const uint32_t tokens[] = {1, 5, 20, MAX_TOKENS};
    static float want[MAX_TOKENS * HIDDEN], got[MAX_TOKENS * HIDDEN], cut[MAX_TOKENS * HIDDEN];
    bm_model *model = NULL;
    bm_block dense, codes;
    MUST(bm_model_open(&model, folder, &failure));
    MUST(bm_block_load(model, device, 1, BM_DTYPE_F32, &dense, &failure));
    MUST(bm_block_load_codes(model, device, 1, BM_DTYPE_F32, &codes, &failure));
    for (bm_linear_id linear = 0; linear < BM_NUM_LINEARS; linear++) {
        assert_int_equal(codes.code_linears[linear] != NULL, keeps_codes && dense.linears[linear]);
        assert_int_equal(codes.linears[linear] != NULL, !keeps_codes && dense.linears[linear]);
        assert_null(dense.code_linears[linear]);
    }
    assert_int_equal(bm_block_code_bytes(model, device, 1, BM_DTYPE_F32) <
                         bm_block_bytes(model, device, 1, BM_DTYPE_F32) / 3,
                     keeps_codes && model->quantization.format != bm_store_find("gptq"));
    for (size_t i = 0; i < BM_COUNT(tokens); i++) {
        run_block(model, &dense, tokens[i], want);
        run_block(model, &codes, tokens[i], got);
        for (uint32_t k = 0; k < tokens[i] * HIDDEN; k++)
            if (!(fabs((double)got[k] - want[k]) <= 2e-5 * (1 + fabs((double)want[k]))))
                fail_msg("%u tokens, element %u: got %.9g, want %.9g", tokens[i], k, got[k], want[k]);
        most_seconds = 1e-9;
        run_block(model, &codes, tokens[i], cut);
        assert_memory_equal(cut, got, tokens[i] * HIDDEN * sizeof *cut);
        run_block(model, &dense, tokens[i], cut);
        assert_memory_equal(cut, want, tokens[i] * HIDDEN * sizeof *cut);
        most_seconds = 0;
    }
    bm_block_destroy(&dense);
    bm_block_destroy(&codes);
    bm_model_close(&model);
}

static void blocks_of_codes_equal_blocks_of_weights(void **state)
{
    (void)state;
    static const struct {
        const char *format, *bits, *group_size;
        bool keeps_codes;
    } cases[] = {{"format=compressed-tensors", "bits=4", "group_size=32", true},
                 {"format=compressed-tensors", "bits=8", "group_size=-1", true},
                 {"format=gptq", "bits=4", "group_size=32", true},
                 {"format=awq", "bits=4", "group_size=32", true},
                 {"format=gptq", "bits=3", "group_size=32", false}};
    model_maker_params made;
    model_maker_params_init(&made);
    if (!bm_device_is_host(device) && !bm_code_weights_pay(device))
        device->info.kind = BM_DEVICE_OTHER; // a CPU device, as another would have it
    const bool pays = bm_code_weights_pay(device);
    char *original = support_folder_create();
    MUST(model_maker_write(&made, original, &failure));
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        char *parent = support_folder_create(), *folder = bm_path_join(parent, "out");
        const char *overrides[] = {"device=host", cases[i].format, cases[i].bits, cases[i].group_size};
        bm_quantize_params params;
        bm_quantize_summary summary;
        bm_quantize_params_init(&params);
        params.model = original;
        params.method = "rtn";
        params.output = folder;
        params.overrides = overrides;
        params.num_overrides = BM_COUNT(overrides);
        MUST(bm_quantize_model(&params, &summary, &failure));
        compare(folder, cases[i].keeps_codes && pays);
        bm_free(folder);
        support_folder_remove(&parent);
    }
    compare(original, false);
    support_folder_remove(&original);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(blocks_of_codes_equal_blocks_of_weights)};
    support_log log;
    if (argc != 2)
        return 2;
    support_log_init(&log);
    if (support_device_open(argv[1], &log, &device, &failure) != BM_OK) {
        fprintf(stderr, "%s\n", failure.message);
        return 1;
    }
    if (!device)
        return SUPPORT_SKIP;
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    bm_device_close(&device);
    return failed != 0 || log.num_complaints != 0;
}
