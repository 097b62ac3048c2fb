// The short form: `bitmill quantize MODEL --method NAME` says in one word what a parameter file says in ten keys. The
// word is written as a parameter file and read like one, so that there is one road for all checks.
#include "arguments/keys.h"

static const struct {
    const char *method;
    const char *switches[3]; // keys set to true
    bool is_weight_only;     // groupwise integers, else a8w8
    bool has_bits[9];        // widths that the method takes
} methods[] = {
    {"rtn", {"do_ptq"}, true, {[2] = true, [3] = true, [4] = true, [8] = true}},
    {"gptq", {"do_gptq"}, true, {[2] = true, [3] = true, [4] = true, [8] = true}},
    {"awq", {"do_ptq", "do_awq", "smooth"}, true, {[2] = true, [3] = true, [4] = true, [8] = true}},
    {"a8w8", {"do_ptq"}, false, {[8] = true}},
};

static bm_status find_method(const bm_arguments_short_form *form, size_t *index, bm_error *err)
{
    for (size_t i = 0; form->method && i < BM_COUNT(methods); i++)
        if (bm_equal_ignore_case(methods[i].method, form->method)) {
            *index = i;
            return BM_OK;
        }
    return bm_fail(err, BM_E_ARGUMENT, "--method %.40s: expected one of rtn, gptq, awq, a8w8",
                   form->method ? form->method : "");
}

static bm_status check_form(const bm_arguments_short_form *form, size_t method, bm_error *err)
{
    const bool bits_are_known = form->bits >= 0 && form->bits < (int64_t)BM_COUNT(methods[0].has_bits);
    if (form->bits != 0 && (!bits_are_known || !methods[method].has_bits[form->bits]))
        return bm_fail(err, BM_E_ARGUMENT, "--bits %lld: expected %s for --method %s", (long long)form->bits,
                       methods[method].is_weight_only ? "one of 2, 3, 4, 8 (built: 4, 8)" : "8",
                       methods[method].method);
    if (!form->model || !form->model[0])
        return bm_fail(err, BM_E_ARGUMENT, "--method %s: the model's folder is missing", methods[method].method);
    return BM_OK;
}

static void write_keys(const bm_arguments_short_form *form, size_t method, bm_string *text)
{
    bm_json_writer writer;
    bm_json_writer_init(&writer, text, 0);
    bm_json_begin_object(&writer, NULL);
    bm_json_put_string(&writer, "model_name_or_path", form->model);
    for (size_t i = 0; i < BM_COUNT(methods[method].switches) && methods[method].switches[i]; i++)
        bm_json_put_bool(&writer, methods[method].switches[i], true);
    if (methods[method].is_weight_only) {
        bm_json_put_string(&writer, "quant_type", form->bits == 8 ? "wint8" : "wint4");
        bm_json_put_string(&writer, "weight_quant_method", "groupwise");
        if (form->bits == 2 || form->bits == 3)
            bm_json_put_integer(&writer, "bits", form->bits);
    } else {
        bm_json_put_string(&writer, "quant_type", "a8w8");
    }
    if (form->data)
        bm_json_put_string(&writer, "dataset_name_or_path", form->data);
    if (form->output)
        bm_json_put_string(&writer, "output_dir", form->output);
    bm_json_end_object(&writer);
}

bm_status bm_arguments_from_short_form(bm_arguments **out, const bm_arguments_short_form *form,
                                       const char *const *overrides, uint32_t num_overrides, bm_error *err)
{
    bm_status status = BM_OK;
    bm_string text = BM_STRING_INIT;
    bm_arguments *args = NULL;
    char *name = NULL;
    size_t method = 0;
    BM_TRY(find_method(form, &method, err));
    BM_TRY(check_form(form, method, err));
    write_keys(form, method, &text);
    name = bm_format("--method %s", methods[method].method);
    BM_FAIL_IF(text.failed || !name, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_arguments_read_text(&args, bm_string_text(&text), text.length, name, overrides, num_overrides, err));
    args->may_choose_group_size = args->weight_quant_method == BM_WEIGHT_GROUPWISE && !IS_GIVEN(args, group_size);
    if (form->data && !args->needs_calibration && !args->do_eval && !args->do_predict)
        BM_TRY(
            bm_arguments_add_note(args, err,
                                  "--data: not read: rounding looks at the weights alone; with --set do_eval=true the "
                                  "result is measured on it"));
    *out = args;
    args = NULL;
done:
    bm_arguments_destroy(&args);
    bm_free(name);
    bm_string_free(&text);
    return status;
}
