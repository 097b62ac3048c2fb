// Runs on models that are odd in some way, and runs that are stopped while they write. On the host: nothing here
// depends on the device.
#include "support/unit.h"

#include "base/file.h"
#include "base/str.h"
#include "formats/checkpoint_writer.h"
#include "model/model.h"
#include "schedule/plan.h"
#include "support/folders.h"
#include "support/model_maker.h"
#include <bitmill/bitmill.h>

#include <stdio.h>
#include <string.h>

// A copy of a small float32 llama with something else about it.
typedef struct oddity {
    const char *config;  // members for the front of config.json, with a comma; NULL: none
    const char *tensor;  // whose element 5 is replaced; NULL: none
    uint32_t word;       // by this float32
    uint64_t num_extras; // elements of one more tensor, of int64; 0: no such
} oddity;

static void write_tensors(const bm_model *from, const char *folder, const oddity *odd)
{
    bm_error err = {0};
    bm_checkpoint_writer *writer = NULL;
    assert_ok(bm_checkpoint_writer_create(&writer, folder, BM_DEFAULT_SHARD_BYTES, &err), &err);
    for (uint32_t i = 0; i < bm_checkpoint_count(from->checkpoint); i++) {
        const bm_tensor_info *t = bm_checkpoint_at(from->checkpoint, i);
        assert_ok(bm_checkpoint_writer_declare(writer, t->name, t->dtype, t->shape, t->num_dims, &err), &err);
    }
    if (odd->num_extras)
        assert_ok(bm_checkpoint_writer_declare(writer, "extra.counts", BM_DTYPE_I64, &odd->num_extras, 1, &err), &err);
    assert_ok(bm_checkpoint_writer_begin(writer, &err), &err);
    for (uint32_t i = 0; i < bm_checkpoint_count(from->checkpoint); i++) {
        const bm_tensor_info *t = bm_checkpoint_at(from->checkpoint, i);
        uint8_t *bytes = bm_alloc(t->size_bytes, 1);
        assert_ok(bm_checkpoint_read(from->checkpoint, t, 0, bytes, t->size_bytes, &err), &err);
        if (odd->tensor && strcmp(odd->tensor, t->name) == 0)
            bm_store_le32(bytes + 4 * 5, odd->word);
        assert_ok(bm_checkpoint_writer_put(writer, t->name, 0, bytes, t->size_bytes, &err), &err);
        bm_free(bytes);
    }
    if (odd->num_extras) {
        uint8_t *zeros = bm_alloc_zero(odd->num_extras, 8);
        assert_ok(bm_checkpoint_writer_put(writer, "extra.counts", 0, zeros, odd->num_extras * 8, &err), &err);
        bm_free(zeros);
    }
    assert_ok(bm_checkpoint_writer_finish(&writer, &err), &err);
}

static char *odd_model(const oddity *odd)
{
    static const char *const companions[] = {"tokenizer.json", "tokenizer_config.json"};
    bm_error err = {0};
    bm_model *model = NULL;
    char *folder = support_folder_create(), *original = support_folder_create(), *config = NULL;
    uint64_t size = 0;
    model_maker_params params;
    model_maker_params_init(&params);
    assert_ok(model_maker_write(&params, original, &err), &err);
    assert_ok(bm_model_open(&model, original, &err), &err);
    write_tensors(model, folder, odd);
    bm_model_close(&model);
    char *path = bm_path_join(original, "config.json");
    assert_ok(bm_file_read_all(path, 1 << 20, &config, &size, &err), &err);
    char *text = bm_format("{%s%s", odd->config ? odd->config : "", config + 1);
    bm_free(path);
    bm_free(support_file_write(folder, "config.json", text, strlen(text)));
    for (size_t i = 0; i < BM_COUNT(companions); i++) {
        char *from = bm_path_join(original, companions[i]), *to = bm_path_join(folder, companions[i]);
        assert_ok(bm_file_copy(from, to, &err), &err);
        bm_free(from);
        bm_free(to);
    }
    bm_free(config);
    bm_free(text);
    support_folder_remove(&original);
    return folder;
}

static bm_status quantize(const char *model, const char *output, const char *dtype, const bm_progress *progress,
                          bm_quantize_summary *summary, bm_error *err)
{
    bm_quantize_params params;
    const char *overrides[2] = {"device=host", dtype};
    bm_quantize_params_init(&params);
    params.model = model;
    params.method = "rtn";
    params.output = output;
    params.overrides = overrides;
    params.num_overrides = dtype ? 2 : 1;
    params.progress = progress;
    return bm_quantize_model(&params, summary, err);
}

static void quantization_keys_that_are_null_give_way(void **state)
{
    (void)state;
    const oddity odd = {.config = "\"quantization_config\":null,\"compression_config\":null,"};
    bm_error err = {0};
    bm_quantize_summary summary;
    bm_model *opened = NULL;
    char *model = odd_model(&odd), *parent = support_folder_create(), *output = bm_path_join(parent, "out");
    assert_ok(quantize(model, output, NULL, NULL, &summary, &err), &err);
    assert_ok(bm_model_open(&opened, output, &err), &err);
    assert_true(opened->is_quantized);
    bm_model_close(&opened);
    bm_free(output);
    support_folder_remove(&parent);
    support_folder_remove(&model);
}

#define EMBEDDING "model.embed_tokens.weight"

// Numbers that the output's type does not hold, and what is no number at all.
static void what_cannot_be_stored_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *tensor, *dtype, *words;
        uint32_t word;
        bm_status status;
    } cases[] = {
        {EMBEDDING, "dtype=bfloat16", "element 5 is 3.40282e+38, which BF16 does not hold", 0x7f7fffff, BM_E_NUMERIC},
        {EMBEDDING, "dtype=float16", "element 5 is -3.40282e+38, which F16 does not hold", 0xff7fffff, BM_E_NUMERIC},
        {EMBEDDING, "dtype=float16", "element 5 is 65520, which F16 does not hold", 0x477ff000, BM_E_NUMERIC},
        {EMBEDDING, "dtype=float16", NULL, 0x477fef00, BM_OK},
        {EMBEDDING, "dtype=bfloat16", NULL, 0x7f7f7fff, BM_OK},
        {EMBEDDING, "dtype=float32", NULL, 0x7f7fffff, BM_OK},
        {EMBEDDING, "dtype=float16", "NaN or infinity at element 5", 0x7fc00000, BM_E_FORMAT},
        {EMBEDDING, NULL, "NaN or infinity at element 5", 0xff800000, BM_E_FORMAT},
        {"model.layers.1.mlp.up_proj.weight", NULL, "NaN or infinity at element 5", 0x7fc00000, BM_E_FORMAT},
    };
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        const oddity odd = {.tensor = cases[i].tensor, .word = cases[i].word};
        bm_error err = {0};
        bm_quantize_summary summary;
        char *model = odd_model(&odd), *parent = support_folder_create(), *output = bm_path_join(parent, "out");
        const bm_status status = quantize(model, output, cases[i].dtype, NULL, &summary, &err);
        if (status != cases[i].status ||
            (cases[i].words && (!strstr(err.message, cases[i].words) || !strstr(err.message, cases[i].tensor))))
            fail_msg("%zu: status %d: %s", i, (int)status, err.message);
        assert_int_equal(support_folder_count(parent), cases[i].status == BM_OK);
        bm_free(output);
        support_folder_remove(&parent);
        support_folder_remove(&model);
    }
}

static void the_plan_says_the_size_that_is_written(void **state)
{
    (void)state;
    const oddity odd = {.num_extras = 3000};
    static const char *const overrides[] = {"dtype=float16"};
    bm_error err = {0};
    bm_quantize_summary summary;
    bm_model *opened = NULL;
    bm_plan *plan = NULL;
    bm_arguments *arguments = NULL;
    char *model = odd_model(&odd), *parent = support_folder_create(), *output = bm_path_join(parent, "out");
    const bm_arguments_short_form form = {.model = model, .method = "rtn", .output = output};
    assert_ok(bm_model_open(&opened, model, &err), &err);
    const bm_arguments_options options = {.overrides = overrides, .num_overrides = 1};
    assert_ok(bm_arguments_from_short_form(&arguments, &form, &options, &err), &err);
    assert_ok(bm_plan_create(arguments, opened, &plan, &err), &err);
    bm_model_close(&opened);
    assert_ok(quantize(model, output, overrides[0], NULL, &summary, &err), &err);
    assert_ok(bm_model_open(&opened, output, &err), &err);
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < bm_checkpoint_count(opened->checkpoint); i++)
        bytes += bm_checkpoint_at(opened->checkpoint, i)->size_bytes;
    assert_int_equal(summary.output_bytes, bytes);
    assert_int_equal(plan->output_bytes, bytes);
    bm_plan_destroy(&plan);
    bm_arguments_destroy(&arguments);
    bm_model_close(&opened);
    bm_free(output);
    support_folder_remove(&parent);
    support_folder_remove(&model);
}

// Stops at report number `at` of the phase, counted from 0.
typedef struct stop {
    const char *phase;
    uint32_t at, seen;
    uint64_t done, total;
} stop;

static int count_reports(void *user, const bm_progress_report *report)
{
    stop *s = user;
    if (strcmp(report->phase, s->phase) != 0)
        return 1;
    assert_true(report->done <= report->total);
    s->done = report->done;
    s->total = report->total;
    return s->seen++ != s->at;
}

static void a_run_can_be_stopped_at_every_step(void **state)
{
    (void)state;
    static const char *const phases[] = {"quantize", "write"};
    const oddity odd = {.num_extras = 10};
    bm_error err = {0};
    bm_quantize_summary summary;
    char *model = odd_model(&odd), *parent = support_folder_create(), *output = bm_path_join(parent, "out");
    for (size_t i = 0; i < BM_COUNT(phases); i++) {
        stop all = {.phase = phases[i], .at = UINT32_MAX};
        const bm_progress watch = {count_reports, &all};
        assert_ok(quantize(model, output, NULL, &watch, &summary, &err), &err);
        assert_int_equal(all.done, all.total);
        // Of 14 linears: before each, after each piece of rows, at the end. Of the rest: at least each tensor, the
        // shard, each companion, the end.
        assert_true(all.seen >= (i == 0 ? 29 : 16));
        assert_ok(bm_folder_remove(output, &err), &err);
        for (uint32_t at = 0; at < all.seen; at++) {
            stop one = {.phase = phases[i], .at = at};
            const bm_progress early = {count_reports, &one};
            assert_int_equal(quantize(model, output, NULL, &early, &summary, &err), BM_E_CANCELLED);
            assert_int_equal(one.seen, at + 1); // nothing is asked again
            assert_int_equal(support_folder_count(parent), 0);
        }
    }
    bm_free(output);
    support_folder_remove(&parent);
    support_folder_remove(&model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantization_keys_that_are_null_give_way),
        cmocka_unit_test(what_cannot_be_stored_is_refused),
        cmocka_unit_test(the_plan_says_the_size_that_is_written),
        cmocka_unit_test(a_run_can_be_stopped_at_every_step),
    };
    return cmocka_run_group_tests_name("quantize_input", tests, NULL, NULL);
}
