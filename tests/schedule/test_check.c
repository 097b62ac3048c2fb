// What is found out before any work: what this version cannot do, and what the disk and the device's name say.
#include "support/unit.h"

#include "arguments/arguments_fixture.h"
#include "schedule/check.h"
#include "support/folders.h"
#include <bitmill/bitmill.h>

static const struct {
    const char *name;
    bm_job job;
    const char *refused; // words of check_built; NULL: built
} files[] = {
    {"ptq_argument.json", BM_JOB_A8W8, NULL},       {"gptq_argument.json", BM_JOB_GPTQ, NULL},
    {"awq_argument.json", BM_JOB_AWQ, NULL},        {"wint8_argument.json", BM_JOB_ROUNDING, NULL},
    {"wint4_argument.json", BM_JOB_ROUNDING, NULL},
};

static void files_of_ours_are_taken_or_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t num_files; // the first so many
        bm_dtype dtype;
    } families[] = {{"llama", BM_COUNT(files), BM_DTYPE_BF16},
                    {"qwen2", BM_COUNT(files), BM_DTYPE_BF16},
                    {"bloom", 2, BM_DTYPE_F16}};
    for (size_t i = 0; i < BM_COUNT(families) * BM_COUNT(files); i++) {
        const size_t f = i % BM_COUNT(files), family = i / BM_COUNT(files);
        if (f >= families[family].num_files)
            continue;
        bm_arguments *args = NULL;
        bm_error err = {BM_OK, ""};
        char *path = bm_format("%s/configs/%s/%s", BM_SOURCE_DIR, families[family].name, files[f].name);
        assert_ok(bm_arguments_read_file(&args, path, NULL, &err), &err);
        assert_int_equal(args->job, files[f].job);
        assert_int_equal(args->src_length, 256);
        assert_int_equal(args->max_length, 512);
        assert_int_equal(args->storage_dtype, families[family].dtype);
        assert_true(args->do_eval);
        const bm_status status = bm_check_built(args, &err);
        if (status != (files[f].refused ? BM_E_UNSUPPORTED : BM_OK) ||
            (files[f].refused && !strstr(err.message, files[f].refused)))
            fail_msg("%s: status %d: %s", path, (int)status, err.message);
        bm_free(path);
        bm_arguments_destroy(&args);
    }
}

// The keys of each kind of file that PaddleNLP publishes, with values of ours: all are known, those that do nothing are
// named once, and what is not built is refused by name.
#define RUN                                                                                                            \
    "\"model_name_or_path\":\"m\",\"output_dir\":\"o\",\"per_device_train_batch_size\":4,"                             \
    "\"per_device_eval_batch_size\":4,\"eval_accumulation_steps\":2,\"src_length\":200,\"do_eval\":true,"              \
    "\"eval_with_do_generation\":false,"
#define DATASET "\"dataset_name_or_path\":\"d\","
#define FP16 "\"fp16\":true,\"fp16_opt_level\":\"O2\",\"max_length\":400,"
#define BF16 "\"bf16\":true,\"fp16_opt_level\":\"O2\",\"max_length\":400,"
#define OLD "\"fp16\":true,\"fp16_opt_level\":\"O2\",\"tgt_length\":200,"
#define PIECEWISE                                                                                                      \
    "\"smooth\":true,\"smooth_step\":4,\"smooth_all_linears\":true,\"smooth_piecewise_search\":true,"                  \
    "\"smooth_search_piece\":true,"
#define PTQ "\"do_ptq\":true,\"ptq_step\":4"
#define LOADED                                                                                                         \
    "\"do_ptq\":false,\"ptq_step\":2,\"unified_checkpoint\":false,\"load_quant_model\":true,\"do_ceval\":true"
#define ABS_MAX                                                                                                        \
    "\"smooth\":false,\"weight_quant_method\":\"abs_max\",\"act_quant_method\":\"abs_max\","                           \
    "\"cachekv_quant_method\":\"abs_max\","
static const struct {
    const char *kind, *members;
    bm_job job;
    const char *refused; // by the check of what is built; NULL: built
    const char *note;
} published[] = {
    {"ptq, early", RUN DATASET FP16 PIECEWISE "\"smooth_k_piece\":true," PTQ, BM_JOB_A8W8, NULL,
     "\"smooth_k_piece\": true: TAKEN AS 1"},
    {"ptq, late", RUN DATASET BF16 PIECEWISE "\"smooth_k_piece\":2,\"unified_checkpoint\":true," PTQ, BM_JOB_A8W8, NULL,
     "\"unified_checkpoint\": no effect"},
    {"ptq, chatglm", RUN DATASET OLD PTQ, BM_JOB_A8W8, NULL, "\"eval_accumulation_steps\": no effect"},
    {"ptq, w8a8 with a list",
     RUN DATASET BF16 PIECEWISE "\"quant_type\":\"a8w8\",\"smooth_k_piece\":2,\"act_quant_method\":\"abs_max\","
                                "\"cachekv_quant_method\":\"abs_max_headwise\",\"skip_list_names\":[\"o_proj\"]," PTQ,
     BM_JOB_A8W8, NULL, "\"cachekv_quant_method\": not used"},
    {"ptq, c8",
     RUN DATASET FP16 PIECEWISE "\"quant_type\":\"W8A8C8\",\"smooth_k_piece\":2,\"act_quant_method\":\"avg\","
                                "\"cachekv_quant_method\":\"avg_headwise\"," PTQ,
     BM_JOB_A8W8, "\"quant_type\": \"a8w8c8\": not built", "\"eval_accumulation_steps\": no effect"},
    {"fp8", RUN DATASET FP16 ABS_MAX "\"quant_type\":\"W8A8\",\"use_fp8\":\"WA\",\"fp8_type\":[\"e4m3\",\"e5m2\"]," PTQ,
     BM_JOB_A8W8, "\"quant_type\": \"a8w8_fp8\": not built",
     "\"use_fp8\": \"WA\": deprecated, taken as \"quant_type\": \"a8w8_fp8\""},
    {"gptq, early", RUN DATASET OLD "\"do_gptq\":true,\"gptq_step\":2", BM_JOB_GPTQ, NULL,
     "\"quant_type\": absent beside \"do_gptq\": wint4"},
    {"gptq, late", RUN DATASET BF16 "\"do_gptq\":true,\"gptq_step\":2,\"unified_checkpoint\":true", BM_JOB_GPTQ, NULL,
     "\"unified_checkpoint\": no effect"},
    {"foem",
     RUN DATASET "\"bf16\":false,\"fp16_opt_level\":\"O0\",\"max_length\":400,\"do_gptq\":true,\"do_foem\":true,"
                 "\"unified_checkpoint\":true,\"gptq_step\":2",
     BM_JOB_GPTQ, "\"do_foem\": true: FOEM is", "\"unified_checkpoint\": no effect"},
    {"awq",
     RUN DATASET FP16 "\"quant_type\":\"weight_only_int4\",\"weight_quant_method\":\"groupwise\",\"smooth\":true,"
                      "\"auto_clip\":true,\"autoclip_step\":2,\"do_awq\":true,\"unified_checkpoint\":true," PTQ,
     BM_JOB_AWQ, NULL, "\"ptq_step\": not used"},
    {"ceval",
     RUN FP16 PIECEWISE // without a data set
     "\"quant_type\":\"a8w8\",\"smooth_k_piece\":1,\"act_quant_method\":\"avg\","
     "\"cachekv_quant_method\":\"avg_headwise\"," LOADED
     ",\"cot\":false,\"few_shot\":true,\"ntrain\":3,\"with_prompt\":false,\"constrained_decoding\":true,"
     "\"temperature\":0.5,\"n_times\":2,\"do_save_csv\":false,\"do_test\":false,\"ceval_data_path\":\"c\"",
     BM_JOB_LOAD, NULL,
     "\"do_ceval\", \"cot\", \"few_shot\", \"ntrain\", \"with_prompt\", \"constrained_decoding\", \"temperature\", "
     "\"n_times\", \"do_save_csv\", \"do_test\", \"ceval_data_path\": C-Eval is not built"},
    {"ceval, fp8", RUN DATASET FP16 ABS_MAX "\"quant_type\":\"a8w8\",\"use_fp8\":\"WA\"," LOADED, BM_JOB_LOAD, NULL,
     "\"do_ceval\": C-Eval is not built"},
};

static void published_kinds_are_read_and_refused_by_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < BM_COUNT(published); i++) {
        bm_arguments *args = NULL;
        bm_error err = {BM_OK, ""};
        if (fixture_read(&args, published[i].members, NULL, &err) != BM_OK)
            fail_msg("%s: %s", published[i].kind, err.message);
        if (args->job != published[i].job || args->max_length != 400 || !fixture_note(args, published[i].note))
            fail_msg("%s: %s, %d tokens, a note that has %s", published[i].kind, bm_job_name(args->job),
                     (int)args->max_length, published[i].note);
        const bm_status status = bm_check_built(args, &err);
        const bool is_refused =
            status == BM_E_UNSUPPORTED && strstr(err.message, "not built yet in this version") != NULL;
        if (published[i].refused ? !is_refused || !strstr(err.message, published[i].refused) : status != BM_OK)
            fail_msg("%s: status %d: %s", published[i].kind, (int)status, err.message);
        bm_arguments_destroy(&args);
    }
}

#define GPTQ MODEL_AND_DATA ",\"do_gptq\":true"

// One key each that is valid and not built, beside plain rounding or alone.
static const struct {
    const char *members, *words;
} unbuilt[] = {
    {NEEDED ",\"quant_type\":\"a8w8c8\"", "\"quant_type\": \"a8w8c8\": "},
    {NEEDED ",\"act_quant_method\":\"percentile\"",
     "\"act_quant_method\": \"percentile\": not built yet in this version; built: avg, abs_max, per_token, mse"},
    {NEEDED ",\"quant_type\":\"wint4\",\"qep_alpha\":0.5", "\"qep_alpha\": 0.5: the correction by rounding is not"},
    {NEEDED ",\"quant_type\":\"wint4\",\"format\":\"paddle\"", "\"format\": \"paddle\": not built yet"},
    {NEEDED ",\"quant_type\":\"wint4\",\"weight_quant_method\":\"groupwise\",\"group_tail\":\"short\"",
     "\"group_tail\""},
    {NEEDED ",\"quant_type\":\"wint4\",\"method_choice\":\"best\"", "\"method_choice\""},
    {NEEDED ",\"quant_type\":\"wint4\",\"bias_correction\":true", "\"bias_correction\""},
    {NEEDED ",\"quant_type\":\"wint4\",\"weight_quant_method\":\"groupwise\",\"compat\":\"paddleslim\"",
     "\"compat\": \"paddleslim\": beside it groups are not built yet"},
    {GPTQ ",\"compat\":\"paddleslim\"", "\"compat\": \"paddleslim\": beside it GPTQ is not built yet"},
    {NEEDED ",\"do_awq\":true,\"compat\":\"paddleslim\"", "\"compat\": \"paddleslim\": beside it AWQ is not built yet"},
    {NEEDED ",\"quant_type\":\"wint4\",\"auto_clip\":true,\"compat\":\"paddleslim\"",
     "\"compat\": \"paddleslim\": beside it clipping is not built yet"},
    {NEEDED ",\"do_awq\":true,\"quant_type\":\"wint4\",\"weight_quant_method\":\"groupwise\",\"compat\":\"paddleslim\"",
     "\"compat\": \"paddleslim\": beside it AWQ is not built yet"},
    {NEEDED ",\"quant_type\":\"wint4\",\"resume_from_checkpoint\":\"true\"", "\"resume_from_checkpoint\""},
    {GPTQ ",\"do_foem\":true", "\"do_foem\": true: FOEM is not built yet"},
    {GPTQ ",\"act_order\":\"group_aware\"",
     "\"act_order\": \"group_aware\": not built yet in this version; built: none, static, dynamic"},
};
static const char *const built[] = {
    NEEDED,
    NEEDED ",\"quant_type\":\"wint4\",\"shift\":true",
    NEEDED ",\"act_quant_method\":\"mse\"",
    NEEDED ",\"compat\":\"paddleslim\"",
    NEEDED ",\"compat\":\"paddleslim\",\"act_quant_method\":\"per_token\"",
    NEEDED ",\"quant_type\":\"wint4\",\"smooth\":true,\"compat\":\"paddleslim\"",
    NEEDED ",\"smooth\":true,\"smooth_piecewise_search\":true,\"act_quant_method\":\"per_token\"",
    NEEDED ",\"quant_type\":\"wint8\"",
    NEEDED ",\"quant_type\":\"wint4\",\"weight_quant_method\":\"groupwise\",\"group_size\":32,\"symmetric\":false",
    NEEDED
    ",\"quant_type\":\"wint4\",\"weight_quant_method\":\"groupwise\",\"group_size\":-1,\"scale_search\":\"abs_max\"",
    NEEDED ",\"quant_type\":\"wint8\",\"skip_list_names\":[\"down_proj\"],\"do_eval\":true",
    MODEL_AND_DATA ",\"do_eval\":true",
    MODEL_AND_DATA ",\"load_quant_model\":true,\"do_predict\":true",
    NEEDED ",\"quant_type\":\"wint4\",\"scale_search\":\"gram\"",
    NEEDED ",\"quant_type\":\"wint4\",\"scale_search\":\"weighted_mse\",\"bits\":3",
    NEEDED ",\"quant_type\":\"wint4\",\"bits\":2,\"weight_quant_method\":\"groupwise\",\"group_size\":256",
    NEEDED ",\"quant_type\":\"wint4\",\"scale_search\":\"mse\",\"qep_alpha\":0.5", // not used: a note
    GPTQ ",\"act_order\":\"dynamic\",\"qep_alpha\":0.5,\"bits\":8,\"damp_percent\":0.1,\"scale_search\":\"gram\"",
    GPTQ ",\"act_order\":\"none\",\"symmetric\":false,\"true_sequential\":false,\"skip_bad_sequences\":true",
    NEEDED ",\"do_awq\":true,\"auto_clip\":true",
    NEEDED ",\"quant_type\":\"wint4\",\"auto_clip\":true,\"scale_search\":\"abs_max\",\"clip_skip\":[\"q_proj\"]",
    GPTQ ",\"do_awq\":true",
    GPTQ ",\"smooth\":true",
    GPTQ ",\"scaling\":\"awq\"",
    GPTQ ",\"scaling\":\"smooth\",\"smooth_piecewise_search\":true",
};

static void unbuilt_is_refused_by_name(void **state)
{
    (void)state;
    bm_arguments *args = NULL;
    bm_error err = {BM_OK, ""};
    for (size_t i = 0; i < BM_COUNT(unbuilt); i++) {
        assert_ok(fixture_read(&args, unbuilt[i].members, NULL, &err), &err);
        const bm_status status = bm_check_built(args, &err);
        if (status != BM_E_UNSUPPORTED || !strstr(err.message, unbuilt[i].words))
            fail_msg("%s: status %d: %s", unbuilt[i].members, (int)status, err.message);
        bm_arguments_destroy(&args);
    }
    for (size_t i = 0; i < BM_COUNT(built); i++) {
        assert_ok(fixture_read(&args, built[i], NULL, &err), &err);
        assert_ok(bm_check_built(args, &err), &err);
        bm_arguments_destroy(&args);
    }
}

// Of a value that no key has, the message names those that would be taken, and of these the ones that are built.
static void messages_name_values_that_are_built(void **state)
{
    (void)state;
    static const struct {
        const char *key, *words;
    } cases[] = {
        {"act_quant_method", "avg, abs_max, per_token, mse, percentile (built: avg, abs_max, per_token, mse)"},
        {"weight_quant_method", "abs_max, avg (built: abs_max_channel_wise, groupwise)"},
        {"group_tail", "reject, short (built: reject)"},
        {"method_choice", "as_given, best (built: as_given)"},
        {"act_order", "group_aware (built: none, static, dynamic)"},
    };
    const bm_arguments_options options = {.built = bm_built_values};
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        bm_arguments *args = NULL;
        bm_error err = {BM_OK, ""};
        char *text = bm_format("{" NEEDED ",\"%s\":\"maxx\"}", cases[i].key);
        const bm_status status = bm_arguments_read_text(&args, text, strlen(text), FIXTURE_NAME, &options, &err);
        if (status != BM_E_ARGUMENT || !strstr(err.message, cases[i].words))
            fail_msg("%s: status %d: %s", cases[i].key, (int)status, err.message);
        bm_free(text);
    }
}

// Folders of one test; each file is made as the case asks.
typedef struct disk {
    char *root;
    bm_arguments *args;
    bm_error err;
} disk;

static void disk_create(disk *d, const char *members)
{
    static const char *const folders[] = {"model", "data", "empty", "ours", "theirs", "form_b", "form_b/dev"};
    static const char *const names[] = {"model/config.json", "data/dev.json", "data/train.json", "ours/bitmill.json",
                                        "theirs/thesis.tex", "text.txt",      "image.png"};
    d->root = support_folder_create();
    for (size_t i = 0; i < BM_COUNT(folders); i++) {
        char *path = bm_path_join(d->root, folders[i]);
        assert_ok(bm_folder_create(path, true, &d->err), &d->err);
        bm_free(path);
    }
    for (size_t i = 0; i < BM_COUNT(names); i++)
        bm_free(support_file_write(d->root, names[i], "{}", 2));
    bm_string text = BM_STRING_INIT; // '$' stands for the folder
    for (const char *c = members; *c; c++)
        if (*c == '$')
            bm_string_append(&text, d->root);
        else
            bm_string_append_bytes(&text, c, 1);
    assert_ok(fixture_read(&d->args, bm_string_text(&text), NULL, &d->err), &d->err);
    bm_string_free(&text);
}

static void disk_destroy(disk *d)
{
    bm_arguments_destroy(&d->args);
    support_folder_remove(&d->root);
}

#define W4 "\"do_ptq\":true,\"quant_type\":\"wint4\","
#define LOAD "\"load_quant_model\":true,\"do_eval\":true,"
#define AWQ "\"do_ptq\":true,\"do_awq\":true,"
#define MODEL "\"model_name_or_path\":\"$/model\","
#define OUT "\"output_dir\":\"$/out\","
#define DATA "\"dataset_name_or_path\":\"$/data\""
static const struct {
    const char *members, *words; // words NULL: fine
} paths[] = {
    {W4 MODEL OUT DATA ",\"do_eval\":true", NULL},
    {W4 MODEL OUT "\"seed\":1", NULL},
    {W4 OUT "\"model_name_or_path\":\"meta-llama/Meta-Llama-3-8B\"", "--set model_name_or_path=DIR"},
    {W4 OUT "\"model_name_or_path\":\"$/data\"", "has no config.json"},
    {W4 OUT "\"model_name_or_path\":\"$/model/config.json\"", "no such folder"},
    {W4 MODEL OUT "\"tokenizer_name_or_path\":\"$/none\"", "tokenizer_name_or_path"},
    {W4 MODEL OUT "\"dataset_name_or_path\":\"$/none\"", "no such folder or file"},
    {W4 MODEL OUT "\"dataset_name_or_path\":\"$/text.txt\"", NULL},
    {W4 MODEL OUT "\"dataset_name_or_path\":\"$/image.png\"", ".jsonl"},
    {W4 MODEL OUT "\"do_eval\":true,\"dataset_name_or_path\":\"$/text.txt\"", NULL},
    {"\"do_gptq\":true," MODEL OUT "\"seed\":1",
     "\"dataset_name_or_path\": missing: the method needs calibration data (--data FILE)"},
    {"\"do_eval\":true," MODEL OUT "\"seed\":1", "\"dataset_name_or_path\": missing: \"do_eval\": true needs data"},
    {W4 MODEL OUT "\"do_eval\":true,\"dataset_name_or_path\":\"$/empty\"", "has no dev.json"},
    {W4 MODEL OUT "\"do_eval\":true,\"dataset_name_or_path\":\"$/form_b\"", NULL},
    {W4 MODEL OUT DATA ",\"do_predict\":true", "has no test.json"},
    {LOAD "\"model_name_or_path\":\"$/none\"," DATA ",\"output_dir\":\"$/model\"", NULL},
    {LOAD "\"model_name_or_path\":\"$/none\"," DATA ",\"output_dir\":\"$/none\"",
     "none\": no such folder; give a local folder or a gguf file, for example --set output_dir=DIR"},
    {LOAD MODEL DATA ",\"output_dir\":\"$/empty\"", "empty\": has no config.json"},
    {"\"do_gptq\":true," MODEL OUT DATA, NULL},
    {AWQ MODEL OUT "\"seed\":1", "\"dataset_name_or_path\": missing: the method needs calibration data (--data FILE)"},
    {AWQ MODEL OUT "\"dataset_name_or_path\":\"$/empty\"", "neither quant.json nor train.json"},
    {AWQ MODEL OUT DATA, NULL},
    {"\"do_gptq\":true," MODEL OUT "\"dataset_name_or_path\":\"$/empty\"", "neither quant.json nor train.json"},
    {W4 MODEL OUT "\"scale_search\":\"gram\",\"dataset_name_or_path\":\"$/form_b\"",
     "neither quant.json nor train.json"},
    {W4 MODEL OUT "\"auto_clip\":true,\"dataset_name_or_path\":\"$/form_b\"", "neither quant.json nor train.json"},
    {W4 MODEL OUT "\"auto_clip\":true", "\"dataset_name_or_path\": missing: the method needs calibration data"},
    {W4 MODEL OUT "\"auto_clip\":true," DATA, NULL},
    {W4 MODEL "\"output_dir\":\"$/empty\"", "--output DIR"},
    {W4 MODEL "\"output_dir\":\"$/empty\",\"overwrite_output_dir\":true", NULL},
    {W4 MODEL "\"output_dir\":\"$/ours\",\"overwrite_output_dir\":true", NULL},
    {W4 MODEL "\"output_dir\":\"$/theirs\",\"overwrite_output_dir\":true",
     "no bitmill.json, so it is no result of ours and is not replaced"},
    {W4 MODEL "\"output_dir\":\"$/text.txt\",\"overwrite_output_dir\":true", "is no folder"},
    {"\"do_eval\":true," MODEL DATA, NULL},
    {"\"do_eval\":true," MODEL DATA ",\"output_dir\":\"$/theirs\"", NULL}, // nothing is written there
};

static void paths_are_checked(void **state)
{
    (void)state;
    for (size_t i = 0; i < BM_COUNT(paths); i++) {
        disk d = {0};
        disk_create(&d, paths[i].members);
        const bm_status status = bm_check_paths(d.args, &d.err);
        if (status != (paths[i].words ? BM_E_ARGUMENT : BM_OK) ||
            (paths[i].words && !strstr(d.err.message, paths[i].words)))
            fail_msg("%s: status %d: %s", paths[i].members, (int)status, d.err.message);
        disk_destroy(&d);
    }
}

// Forms of the key device. Whether the device is there is another matter: the model's folder, which is looked for after
// the form was checked, is not.
static void form_of_the_device_is_checked(void **state)
{
    (void)state;
    static const struct {
        const char *device, *words; // words NULL: a good form
    } devices[] = {
        {"opencl:nvidia", NULL}, {"npu", "bitmill devices"},
        {"gpu:1", NULL},         {"gpu:nvidia", "gpu:"},
        {"CPU", NULL},           {"xpu:0", "vulkan"},
        {"Vulkan:0", NULL},      {"vulkan:", "vulkan:"},
        {"gpu", NULL},           {"a\ab", "\"device\": \"a?b\""},
    };
    for (size_t i = 0; i < BM_COUNT(devices); i++) {
        bm_error err = {0};
        bm_quantize_summary summary;
        bm_quantize_params params;
        char *override = bm_format("device=%s", devices[i].device);
        const char *const overrides[] = {override};
        bm_quantize_params_init(&params);
        params.model = "nowhere";
        params.output = "o";
        params.overrides = overrides;
        params.num_overrides = 1;
        assert_int_equal(bm_quantize_model(&params, &summary, &err), BM_E_ARGUMENT);
        if (!strstr(err.message, devices[i].words ? devices[i].words : "no such folder") ||
            (devices[i].words && !strstr(err.message, "\"device\": \"")))
            fail_msg("%s: %s", devices[i].device, err.message);
        bm_free(override);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_of_ours_are_taken_or_refused_by_name),
        cmocka_unit_test(published_kinds_are_read_and_refused_by_name),
        cmocka_unit_test(unbuilt_is_refused_by_name),
        cmocka_unit_test(messages_name_values_that_are_built),
        cmocka_unit_test(paths_are_checked),
        cmocka_unit_test(form_of_the_device_is_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
