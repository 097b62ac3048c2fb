// Do the keys that are given say what an earlier result was made with?
#include "arguments/keys.h"

#include <string.h>

// Keys that tell what a result is, and under which name bitmill.json has what they came to: "resolved", or as they were
// read. How it was searched for (steps, grids, the seed) may have changed since.
static const struct {
    const char *key, *resolved;
} compared[] = {
    {"quant_type", "quant_type"},      {"bits", "weight_bits"},    {"weight_quant_method", "weight_quant_method"},
    {"group_size", "group_size"},      {"symmetric", "symmetric"}, {"format", "format"},
    {"act_quant_method", NULL},        {"skip_list_names", NULL},  {"shift", NULL},
    {"shift_all_linears", NULL},       {"smooth", NULL},           {"smooth_all_linears", NULL},
    {"smooth_piecewise_search", NULL}, {"do_awq", NULL},           {"auto_clip", NULL},
    {"gguf_type", "gguf_type"}};

// Whether another key overrides it, or it means nothing beside what the result is.
static bool is_idle(const bm_arguments *args, const char *key, const bm_json *resolved)
{
    const bm_json *method = bm_json_find(resolved, "weight_quant_method");
    const bool is_groupwise = method && bm_json_kind_of(method) == BM_JSON_STRING &&
                              strcmp(bm_json_string(method), bm_weight_method_name(BM_WEIGHT_GROUPWISE)) == 0;
    if (strcmp(key, "quant_type") == 0)
        return bm_arguments_is_given(args, "bits") || bm_arguments_is_given(args, "gguf_type");
    if (strcmp(key, "weight_quant_method") == 0) // one group is a channel
        return !is_groupwise && args->group_size == -1;
    return strcmp(key, "group_size") == 0 && !is_groupwise;
}

static void print(const bm_json *value, bm_string *out)
{
    const key_value printed = key_value_of_json(value);
    bm_string_clear(out);
    key_value_print(&printed, out);
}

// The members as they would be recorded, parsed again: one form for both sides.
static bm_status record_of(const bm_arguments *args, bm_json **out, bm_error *err)
{
    bm_string text = BM_STRING_INIT;
    bm_json_writer json;
    bm_json_writer_init(&json, &text, 0);
    bm_json_begin_object(&json, NULL);
    bm_arguments_write_json(args, &json);
    bm_json_end_object(&json);
    const bm_status status = text.failed ? bm_fail(err, BM_E_MEMORY, "%s: out of memory", args->source_name)
                                         : bm_json_parse(out, text.data, text.length, args->source_name, err);
    bm_string_free(&text);
    return status;
}

bm_status bm_arguments_check_earlier(const bm_arguments *args, const bm_json *record, const char *path, bm_error *err)
{
    const bm_json *theirs = bm_json_find(record, "arguments"), *resolved = bm_json_find(record, "resolved");
    bm_status status = BM_OK;
    bm_json *ours = NULL;
    bm_string one = BM_STRING_INIT, other = BM_STRING_INIT;
    char shown[KEY_SHOWN_SIZE];
    BM_TRY(record_of(args, &ours, err));
    for (size_t i = 0; i < BM_COUNT(compared); i++) {
        const char *key = compared[i].key, *name = compared[i].resolved;
        const bm_json *value = bm_json_find(name ? resolved : theirs, name ? name : key);
        if (!bm_arguments_is_given(args, key) || !value || is_idle(args, key, resolved))
            continue;
        print(bm_json_find(bm_json_find(ours, "arguments"), key), &one);
        print(value, &other);
        BM_FAIL_IF(one.failed || other.failed, err, BM_E_MEMORY, "%s: out of memory", args->source_name);
        if (strcmp(bm_string_text(&one), bm_string_text(&other)) == 0)
            continue;
        status =
            bm_arguments_reject(args, err, "\"%s\": %s: the result was made with %s (%s)", key, bm_string_text(&one),
                                bm_printable(bm_string_text(&other), other.length, shown, sizeof shown), path);
        goto done;
    }
done:
    bm_string_free(&one);
    bm_string_free(&other);
    bm_json_destroy(&ours);
    return status;
}
