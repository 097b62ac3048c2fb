// A model whose logits overflow: generation and evaluation end with an error, not with tokens or a loss. Argument: a
// device spec.
#include "support/unit.h"

#include "base/file.h"
#include "schedule/evaluate.h"
#include "schedule/generate.h"
#include "support/folders.h"
#include "support/model_maker.h"
#include "support/support.h"

#include <stdio.h>
#include <string.h>

static bm_device *device;

// A model whose final norm multiplies by a number near the largest float32: each logit is NaN or infinite.
static char *overflowing_model(void)
{
    bm_error err = {0};
    bm_model *model = NULL;
    model_maker_params p;
    model_maker_params_init(&p);
    char *folder = support_folder_create();
    assert_ok(model_maker_write(&p, folder, &err), &err);
    assert_ok(bm_model_open(&model, folder, &err), &err);
    const bm_tensor_info *info = bm_checkpoint_find(model->checkpoint, "model.norm.weight");
    assert_non_null(info);
    const long offset = (long)info->offset;
    char *path = bm_path_join(folder, "model.safetensors");
    bm_model_close(&model);
    float weights[64];
    for (uint32_t i = 0; i < BM_COUNT(weights); i++)
        weights[i] = 3e38f;
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, offset, SEEK_SET), 0);
    assert_int_equal(fwrite(weights, sizeof weights, 1, file), 1);
    assert_int_equal(fclose(file), 0);
    bm_free(path);
    return folder;
}

static void generation_names_model_and_position(void **state)
{
    (void)state;
    static const double temperatures[] = {0, 0.8}; // greedy, sampling
    bm_error err = {0};
    bm_model *model = NULL;
    char *folder = overflowing_model();
    assert_ok(bm_model_open(&model, folder, &err), &err);
    for (size_t i = 0; i < BM_COUNT(temperatures); i++) {
        const uint32_t prompt[] = {1, 5, 9};
        const bm_generate_params params = {.model = model,
                                           .device = device,
                                           .dtype = BM_DTYPE_F32,
                                           .prompt = prompt,
                                           .num_prompt = 3,
                                           .max_new_tokens = 4,
                                           .sample = {.temperature = temperatures[i], .top_p = 0.9, .seed = 1}};
        bm_generation result;
        assert_int_equal(bm_generate(&params, &result, &err), BM_E_NUMERIC);
        assert_non_null(strstr(err.message, folder));
        assert_non_null(strstr(err.message, "position 2"));
    }
    bm_model_close(&model);
    support_folder_remove(&folder);
}

static void evaluation_has_no_loss(void **state)
{
    (void)state;
    static const char text[] = "one two three four five six seven eight nine ten";
    bm_error err = {0};
    bm_evaluation result;
    bm_evaluate_model_params params;
    char *folder = overflowing_model(), *data = support_file_write(folder, "data.txt", text, sizeof text - 1);
    bm_evaluate_model_params_init(&params);
    params.model = folder;
    params.data = data;
    params.dtype = BM_DTYPE_F32;
    assert_int_equal(bm_evaluate_model(&params, device, &result, &err), BM_E_NUMERIC);
    assert_non_null(strstr(err.message, "logits"));
    bm_free(data);
    support_folder_remove(&folder);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(generation_names_model_and_position),
        cmocka_unit_test(evaluation_has_no_loss),
    };
    bm_error err = {0};
    support_log log;
    support_log_init(&log);
    if (support_device_open(argc > 1 ? argv[1] : "auto", &log, &device, &err) != BM_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    if (!device)
        return SUPPORT_SKIP;
    const int failures = cmocka_run_group_tests_name("overflow", tests, NULL, NULL);
    bm_device_close(&device);
    return failures != 0 || log.num_complaints != 0;
}
