// The short form: `bitmill quantize MODEL --method NAME` says in one word what a parameter file says in ten keys. The
// word is written as a parameter file and read like one, so that there is one road for all checks.
#include "arguments/keys.h"

#include <string.h>

#define SHORT_FORM_STEPS 16 // of 8 sequences: 128, which the field's tools take

typedef struct method {
    const char *name;
    const char *switches[4]; // keys set to true
    bool is_weight_only;     // groupwise integers, else a8w8
} method;
static const method methods[] = {
    {"rtn", {"do_ptq"}, true},
    {"gptq", {"do_gptq"}, true},
    {"awq", {"do_ptq", "do_awq", "smooth"}, true},
    {"a8w8", {"do_ptq", "smooth", "smooth_all_linears", "smooth_piecewise_search"}, false},
};

static const method *find_method(const char *name)
{
    for (const method *m = methods; m < methods + BM_COUNT(methods); m++)
        if (bm_equal_ignore_case(m->name, name))
            return m;
    return NULL;
}

// Parameter files and records hold UTF-8 alone.
static bm_status check_encoding(const bm_arguments_short_form *form, bm_error *err)
{
    const char *const paths[][2] = {
        {"the model's folder", form->model}, {"--data", form->data}, {"--output", form->output}};
    char shown[KEY_SHOWN_SIZE];
    for (size_t i = 0; i < BM_COUNT(paths); i++)
        if (paths[i][1] && !bm_utf8_is_valid(paths[i][1], strlen(paths[i][1])))
            return bm_fail(err, BM_E_ARGUMENT, "%s \"%s\": is not valid UTF-8", paths[i][0],
                           bm_printable(paths[i][1], strlen(paths[i][1]), shown, sizeof shown));
    return BM_OK;
}

static bm_status check_form(const bm_arguments_short_form *form, const method *m, const bm_arguments_options *options,
                            bm_error *err)
{
    const int64_t bits = form->bits;
    const bool takes_bits = bits == 0 || bits == 8 || (m && m->is_weight_only && (bits == 2 || bits == 3 || bits == 4));
    const char *built = key_built(options, "bits");
    if (!m)
        return bm_fail(err, BM_E_ARGUMENT, "--method %.40s: expected one of rtn, gptq, awq, a8w8", form->method);
    if (!takes_bits && m->is_weight_only)
        return bm_fail(err, BM_E_ARGUMENT, "--bits %lld: expected one of 2, 3, 4, 8%s%s%s for --method %s",
                       (long long)bits, built ? " (built: " : "", built ? built : "", built ? ")" : "", m->name);
    if (!takes_bits)
        return bm_fail(err, BM_E_ARGUMENT, "--bits %lld: expected 8 for --method %s", (long long)bits, m->name);
    if (!form->model || !form->model[0])
        return bm_fail(err, BM_E_ARGUMENT, "--method %s: the model's folder is missing", m->name);
    return check_encoding(form, err);
}

// Whether "KEY=VALUE" is of this key, and the value.
static const char *value_of(const char *override, const key_row *row)
{
    const size_t length = strcspn(override, "=");
    const bool is_it = (strlen(row->name) == length && strncmp(override, row->name, length) == 0) ||
                       (row->alias && strlen(row->alias) == length && strncmp(override, row->alias, length) == 0);
    return is_it && override[length] ? override + length + 1 : NULL;
}

// Whether a switch asks for another method than m. AWQ's scales may stand in front of every rounding of weights alone.
static bool is_foreign(const method *m, const char *key)
{
    return strcmp(key, "do_awq") == 0 ? !m->is_weight_only : strcmp(m->switches[0], key) != 0;
}

// Whether the word of the method means this key: without it what is left is another method.
static bool is_switch(const method *m, const char *key)
{
    for (size_t i = 0; i < BM_COUNT(m->switches) && m->switches[i]; i++)
        if (strcmp(m->switches[i], key) == 0)
            return true;
    return false;
}

// A job that --set asks for beside the one of --method, or takes from it, said in the words of the short form.
static bm_status check_method(const bm_arguments_short_form *form, const method *m, const bm_arguments_options *options,
                              bm_error *err)
{
    // A key, its method, and the one that a method is without it (NULL: none).
    static const char *const jobs[][3] = {{"do_ptq", "rtn", NULL}, {"do_gptq", "gptq", NULL}, {"do_awq", "awq", "rtn"}};
    for (uint32_t i = 0; options && i < options->num_overrides; i++)
        for (size_t k = 0; k < BM_COUNT(jobs); k++) {
            const char *text = value_of(options->overrides[i], key_find(jobs[k][0]));
            const key_value value = key_value_of_text(text ? text : "");
            if (text && is_foreign(m, jobs[k][0]) && !key_value_is_off(&value))
                return bm_fail(err, BM_E_ARGUMENT, "--set %s=true: --method is %s%s; give --method %s", jobs[k][0],
                               m->name, form->method ? "" : " by default", jobs[k][1]);
            if (text && jobs[k][2] && is_switch(m, jobs[k][0]) && key_value_is_off(&value))
                return bm_fail(err, BM_E_ARGUMENT, "--set %s=false: --method is %s; give --method %s", jobs[k][0],
                               m->name, jobs[k][2]);
        }
    return BM_OK;
}

// --set wins over the options of the short form, as over a file; which of them was meant is not for us to know.
static void note_replaced(bm_arguments *args, const bm_arguments_short_form *form, const bm_arguments_options *options)
{
    const struct {
        const char *option, *key;
        bool is_given;
    } pairs[] = {{"--bits", "bits", form->bits != 0},
                 {"--data", "dataset_name_or_path", form->data != NULL},
                 {"--output", "output_dir", form->output != NULL}};
    char shown[KEY_SHOWN_SIZE];
    for (uint32_t i = 0; options && i < options->num_overrides; i++)
        for (size_t k = 0; k < BM_COUNT(pairs); k++)
            if (pairs[k].is_given && value_of(options->overrides[i], key_find(pairs[k].key)))
                bm_notes_add(&args->notes, "%s: replaced by --set %s", pairs[k].option,
                             bm_printable(options->overrides[i], strlen(options->overrides[i]), shown, sizeof shown));
}

// A piecewise search that nothing is asked of: coarser candidates and fewer tokens than a parameter file's, whose values
// are the published ones, and pieces that move from the best scales of all channels together. It costs a twentieth of
// theirs. Alphas above the published 0.8 lose less on the sample, and on two of four models more on other text.
static void choose_search(bm_arguments *args)
{
    if (!args->smooth_piecewise_search || args->compat != BM_COMPAT_NONE)
        return;
    if (!bm_arguments_is_given(args, "piecewise_candidates"))
        args->piecewise_candidates = BM_PIECES_RELATIVE;
    if (!bm_arguments_is_given(args, "search_alpha_step"))
        args->search_alpha_step = 0.1;
    if (!bm_arguments_is_given(args, "search_tokens"))
        args->search_tokens = 1024;
    if (!bm_arguments_is_given(args, "search_rounds"))
        args->search_rounds = 1;
}

static void write_keys(const bm_arguments_short_form *form, const method *m, bm_string *text)
{
    const char *integers = form->bits == 8 ? "wint8" : "wint4";
    bm_json_writer writer;
    bm_json_writer_init(&writer, text, 0);
    bm_json_begin_object(&writer, NULL);
    bm_json_put_string(&writer, "model_name_or_path", form->model);
    for (size_t i = 0; i < BM_COUNT(m->switches) && m->switches[i]; i++)
        bm_json_put_bool(&writer, m->switches[i], true);
    bm_json_put_string(&writer, "quant_type", m->is_weight_only ? integers : "a8w8");
    if (m->is_weight_only)
        bm_json_put_string(&writer, "weight_quant_method", "groupwise");
    if (form->bits != 0 &&
        m->is_weight_only) // 8 by its number: nothing need be said of what quant_type means elsewhere
        bm_json_put_integer(&writer, "bits", form->bits);
    if (form->data)
        bm_json_put_string(&writer, "dataset_name_or_path", form->data);
    if (form->output)
        bm_json_put_string(&writer, "output_dir", form->output);
    bm_json_end_object(&writer);
}

bm_status bm_arguments_from_short_form(bm_arguments **out, const bm_arguments_short_form *form,
                                       const bm_arguments_options *options, bm_error *err)
{
    const method *m = find_method(form->method ? form->method : "rtn");
    bm_status status = BM_OK;
    bm_string text = BM_STRING_INIT;
    bm_arguments *args = NULL;
    char *name = NULL;
    BM_TRY(check_form(form, m, options, err));
    BM_TRY(check_method(form, m, options, err));
    write_keys(form, m, &text);
    name = form->method ? bm_format("--method %s", m->name) : bm_string_copy("quantize"); // what was typed
    BM_FAIL_IF(text.failed || !name, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_arguments_read_text(&args, bm_string_text(&text), text.length, name, options, err));
    args->may_choose_group_size = args->weight_quant_method == BM_WEIGHT_GROUPWISE &&
                                  !bm_arguments_is_given(args, "group_size") && args->format != BM_FORMAT_GGUF;
    if (!bm_arguments_is_given(args, "gptq_step"))
        args->gptq_step = SHORT_FORM_STEPS;
    if (!bm_arguments_is_given(args, "ptq_step"))
        args->ptq_step = SHORT_FORM_STEPS;
    if (!bm_arguments_is_given(args, "autoclip_step"))
        args->autoclip_step = SHORT_FORM_STEPS;
    const bool has_awq_step = bm_job_scales_by_awq(args) && bm_arguments_is_given(args, "awq_step");
    if (!bm_arguments_is_given(args, "smooth_step") && !has_awq_step) // which it holds already
        args->smooth_step = SHORT_FORM_STEPS;
    if (!bm_arguments_is_given(args, "awq_step"))
        args->awq_step = args->smooth_step;
    if (!bm_arguments_is_given(args, "shift_step"))
        args->shift_step = SHORT_FORM_STEPS;
    choose_search(args);
    note_replaced(args, form, options);
    if (form->data && !bm_arguments_reads_data(args))
        bm_notes_add(&args->notes,
                     "--data: not read: with scale_search %s rounding looks at the weights alone; with --set "
                     "do_eval=true the result is measured on it",
                     bm_scale_search_name(args->scale_search));
    BM_TRY(bm_arguments_check_notes(args, &args->notes, err));
    *out = args;
    args = NULL;
done:
    bm_arguments_destroy(&args);
    bm_free(name);
    bm_string_free(&text);
    return status;
}
