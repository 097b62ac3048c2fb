// act_scales.json and weight_scales.json: names, meaning and layout, and figures of the original implementation.
#include "support/unit.h"

#include "base/file.h"
#include "formats/checkpoint.h"
#include "formats/json.h"
#include "store/scale_files.h"
#include "support/folders.h"

#include <math.h>
#include <string.h>

static char *read_text(const char *folder, const char *name)
{
    bm_error err;
    uint64_t size;
    char *text = NULL, *path = bm_path_join(folder, name);
    assert_ok(bm_file_read_all(path, 1 << 20, &text, &size, &err), &err);
    bm_free(path);
    return text;
}

static void expect_file(const char *folder, const char *name, const char *expected)
{
    char *text = read_text(folder, name);
    assert_string_equal(text, expected);
    bm_free(text);
}

// Two outputs; then three outputs in two groups, which lie turned in the file. Zeros, and a linear of weights alone.
static void names_and_layout_are_those_of_the_readers(void **state)
{
    static const float channels[] = {0.1f, 0}, groups[] = {1, 2, 3, 4, 5, 6}, input = 4.99526787f, nothing = 0;
    bm_error err;
    bm_scale_files *files = NULL;
    char *folder = support_folder_create();
    (void)state;
    assert_ok(bm_scale_files_create(&files, folder, "llama", &err), &err);
    assert_ok(bm_scale_files_add(files, "model.layers.0.self_attn.q_proj", channels, 2, 1, &input, &err), &err);
    assert_ok(bm_scale_files_add(files, "model.layers.0.mlp.down_proj", groups, 3, 2, NULL, &err), &err);
    assert_ok(bm_scale_files_add(files, "lm_head", channels, 1, 1, &nothing, &err), &err);
    assert_false(support_folder_has(folder, "weight_scales.json"));
    assert_ok(bm_scale_files_finish(&files, &err), &err);
    assert_null(files);
    expect_file(folder, "weight_scales.json",
                "{\"llama.layers.0.self_attn.q_proj.weight_quanter\":[0.1,1e-08],"
                "\"llama.layers.0.mlp.down_proj.weight_quanter\":[[1.0,3.0,5.0],[2.0,4.0,6.0]],"
                "\"lm_head.weight_quanter\":[0.1]}\n");
    expect_file(folder, "act_scales.json",
                "{\"llama.layers.0.self_attn.q_proj.activation_quanter\":4.995268,"
                "\"lm_head.activation_quanter\":1e-07}\n");
    support_folder_remove(&folder);
}

static void weights_alone_leave_an_empty_object(void **state)
{
    bm_error err;
    bm_scale_files *files = NULL;
    char *folder = support_folder_create();
    (void)state;
    assert_ok(bm_scale_files_create(&files, folder, "llama", &err), &err);
    assert_ok(bm_scale_files_finish(&files, &err), &err);
    expect_file(folder, "act_scales.json", "{}\n");
    support_folder_remove(&folder);
}

static void what_is_no_scale_leaves_nothing(void **state)
{
    static const float wrong[] = {-1, NAN, INFINITY}, good = 1;
    bm_error err = {0};
    bm_scale_files *files = NULL;
    char *folder = support_folder_create();
    (void)state;
    assert_ok(bm_scale_files_create(&files, folder, "llama", &err), &err);
    for (size_t i = 0; i < BM_COUNT(wrong); i++) {
        assert_int_equal(bm_scale_files_add(files, "model.x", &wrong[i], 1, 1, NULL, &err), BM_E_NUMERIC);
        assert_non_null(strstr(err.message, "model.x: found the scale"));
        assert_int_equal(bm_scale_files_add(files, "model.x", &good, 1, 1, &wrong[i], &err), BM_E_NUMERIC);
    }
    bm_scale_files_destroy(&files);
    bm_scale_files_destroy(&files);
    assert_int_equal(support_folder_count(folder), 0);
    support_folder_remove(&folder);
}

static const bm_json *find(const bm_json *object, const char *key)
{
    const bm_json *value = bm_json_find(object, key);
    if (!value)
        fail_msg("no key %s", key);
    return value;
}

// What was recorded of plain A8W8: largest magnitudes of rows of the checkpoint. Ours, written and read again, are equal.
static void weights_are_as_the_original_has_them(void **state)
{
    static const char module[] = "model.layers.0.mlp.down_proj";
    char *record = support_data_find("paddleslim/stories260K__a8w8.json"), *source = support_data_find("stories260K");
    bm_error err;
    bm_json *recorded = NULL, *written = NULL;
    bm_checkpoint *checkpoint = NULL;
    bm_scale_files *files = NULL;
    char *text = NULL, *folder = support_folder_create();
    uint64_t size;
    (void)state;
    if (!record || !source) {
        bm_free(record);
        bm_free(source);
        support_folder_remove(&folder);
        skip();
    }
    assert_ok(bm_file_read_all(record, UINT64_C(1) << 28, &text, &size, &err), &err);
    assert_ok(bm_json_parse(&recorded, text, size, "RECORD", &err), &err);
    bm_free(text);
    const bm_json *linear = find(find(find(recorded, "steps"), "ptq"), module);
    const float input = (float)bm_json_number(find(linear, "act_scale"));
    assert_ok(bm_checkpoint_open(&checkpoint, source, &err), &err);
    const bm_tensor_info *info = bm_checkpoint_find(checkpoint, "model.layers.0.mlp.down_proj.weight");
    const uint64_t rows = info->shape[0], cols = info->shape[1];
    float *weights = bm_alloc(rows * cols, sizeof *weights), *peaks = bm_alloc_zero(rows, sizeof *peaks);
    assert_ok(bm_checkpoint_read(checkpoint, info, 0, weights, info->size_bytes, &err), &err);
    for (uint64_t at = 0; at < rows * cols; at++)
        peaks[at / cols] = fmaxf(peaks[at / cols], fabsf(weights[at]));
    assert_ok(bm_scale_files_create(&files, folder, "llama", &err), &err);
    assert_ok(bm_scale_files_add(files, module, peaks, rows, 1, &input, &err), &err);
    assert_ok(bm_scale_files_finish(&files, &err), &err);
    text = read_text(folder, "weight_scales.json");
    assert_ok(bm_json_parse(&written, text, strlen(text), "WRITTEN", &err), &err);
    const bm_json *got = bm_json_first(find(written, "llama.layers.0.mlp.down_proj.weight_quanter"));
    const bm_json *want = find(find(linear, "weight_scale"), "values");
    assert_int_equal(bm_json_count(want), rows);
    for (const bm_json *w = bm_json_first(want); w; w = bm_json_next(w), got = bm_json_next(got))
        assert_true(fabs(bm_json_number(got) - bm_json_number(w)) <= 1e-7 * bm_json_number(w));
    bm_json_destroy(&written);
    bm_json_destroy(&recorded);
    bm_checkpoint_close(&checkpoint);
    bm_free(text);
    bm_free(weights);
    bm_free(peaks);
    bm_free(record);
    bm_free(source);
    support_folder_remove(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_layout_are_those_of_the_readers),
        cmocka_unit_test(weights_alone_leave_an_empty_object),
        cmocka_unit_test(what_is_no_scale_leaves_nothing),
        cmocka_unit_test(weights_are_as_the_original_has_them),
    };
    return cmocka_run_group_tests_name("scale files", tests, NULL, NULL);
}
