// The enumerations of the parameter file. A value may have several spellings; the first is canonical. Comparison
// ignores case, because the reference folds some keys and silently turns a misspelt text of the others into "off".
#include "arguments/keys.h"

const enum_name names_job[] = {{"evaluate", BM_JOB_EVALUATE},
                               {"rounding", BM_JOB_ROUNDING},
                               {"a8w8", BM_JOB_A8W8},
                               {"awq", BM_JOB_AWQ},
                               {"gptq", BM_JOB_GPTQ},
                               {"load", BM_JOB_LOAD},
                               {NULL, 0}};
const enum_name names_quant_type[] = {{"a8w8", BM_QUANT_A8W8},
                                      {"w8a8", BM_QUANT_A8W8},
                                      {"a8w8c16", BM_QUANT_A8W8},
                                      {"w8a8c16", BM_QUANT_A8W8},
                                      {"a8w8c8", BM_QUANT_A8W8C8},
                                      {"w8a8c8", BM_QUANT_A8W8C8},
                                      {"a8w8_fp8", BM_QUANT_A8W8_FP8},
                                      {"w8a8_fp8", BM_QUANT_A8W8_FP8},
                                      {"wint8", BM_QUANT_WINT8},
                                      {"weight_only_int8", BM_QUANT_WINT8},
                                      {"w8a16", BM_QUANT_WINT8},
                                      {"wint4", BM_QUANT_WINT4},
                                      {"weight_only_int4", BM_QUANT_WINT4},
                                      {"w4a16", BM_QUANT_WINT4},
                                      {"a8w4", BM_QUANT_A8W4},
                                      {NULL, 0}};
const enum_name names_weight_method[] = {{"abs_max_channel_wise", BM_WEIGHT_CHANNEL_WISE},
                                         {"groupwise", BM_WEIGHT_GROUPWISE},
                                         {"group_wise", BM_WEIGHT_GROUPWISE},
                                         {"abs_max", BM_WEIGHT_ABS_MAX},
                                         {"avg", BM_WEIGHT_AVG},
                                         {NULL, 0}};
const enum_name names_act_method[] = {
    {"avg", BM_ACT_AVG}, {"abs_max", BM_ACT_ABS_MAX},       {"per_token", BM_ACT_PER_TOKEN},
    {"mse", BM_ACT_MSE}, {"percentile", BM_ACT_PERCENTILE}, {NULL, 0}};
const enum_name names_kv_method[] = {{"avg_headwise", BM_KV_AVG_HEADWISE},
                                     {"abs_max_headwise", BM_KV_ABS_MAX_HEADWISE},
                                     {"abs_max", BM_KV_ABS_MAX},
                                     {NULL, 0}};
const enum_name names_shift_sampler[] = {{"none", BM_SAMPLER_NONE}, {"ema", BM_SAMPLER_EMA}, {NULL, 0}};
const enum_name names_smooth_sampler[] = {{"none", BM_SAMPLER_NONE}, {"multi_step", BM_SAMPLER_MULTI_STEP}, {NULL, 0}};
const enum_name names_scale_search[] = {{"abs_max", BM_SCALE_ABS_MAX},
                                        {"mse", BM_SCALE_MSE},
                                        {"weighted_mse", BM_SCALE_WEIGHTED_MSE},
                                        {"gram", BM_SCALE_GRAM},
                                        {NULL, 0}};
const enum_name names_format[] = {{"compressed-tensors", BM_FORMAT_COMPRESSED_TENSORS},
                                  {"gptq", BM_FORMAT_GPTQ},
                                  {"awq", BM_FORMAT_AWQ},
                                  {"gguf", BM_FORMAT_GGUF},
                                  {"paddle", BM_FORMAT_PADDLE},
                                  {NULL, 0}};
const enum_name names_act_order[] = {{"none", BM_ORDER_NONE},
                                     {"static", BM_ORDER_STATIC},
                                     {"dynamic", BM_ORDER_DYNAMIC},
                                     {"group_aware", BM_ORDER_GROUP_AWARE},
                                     {NULL, 0}};
const enum_name names_scaling[] = {
    {"none", BM_SCALING_NONE}, {"smooth", BM_SCALING_SMOOTH}, {"awq", BM_SCALING_AWQ}, {NULL, 0}};
const enum_name names_group_tail[] = {{"reject", BM_TAIL_REJECT}, {"short", BM_TAIL_SHORT}, {NULL, 0}};
const enum_name names_opt_level[] = {{"O0", BM_OPT_O0}, {"O1", BM_OPT_O1}, {"O2", BM_OPT_O2}, {NULL, 0}};
const enum_name names_calibration_inputs[] = {
    {"quantized", BM_INPUTS_QUANTIZED}, {"float", BM_INPUTS_FLOAT}, {NULL, 0}};
const enum_name names_method_choice[] = {{"as_given", BM_CHOICE_AS_GIVEN}, {"best", BM_CHOICE_BEST}, {NULL, 0}};
const enum_name names_shift_statistic[] = {{"midrange", BM_SHIFT_MIDRANGE}, {"mean", BM_SHIFT_MEAN}, {NULL, 0}};
const enum_name names_fold_other[] = {{"auto", BM_FOLD_AUTO}, {"ops", BM_FOLD_OPS}, {"off", BM_FOLD_OFF}, {NULL, 0}};
const enum_name names_search_loss[] = {{"mse", BM_LOSS_MSE}, {"nmse", BM_LOSS_NMSE}, {NULL, 0}};
const enum_name names_piece_order[] = {{"rising", BM_PIECES_RISING}, {"falling", BM_PIECES_FALLING}, {NULL, 0}};
const enum_name names_piece_candidates[] = {
    {"absolute", BM_PIECES_ABSOLUTE}, {"relative", BM_PIECES_RELATIVE}, {NULL, 0}};
const enum_name names_awq_inspect[] = {{"linear", BM_INSPECT_LINEAR}, {"block", BM_INSPECT_BLOCK}, {NULL, 0}};
const enum_name names_awq_candidates[] = {{"extended", BM_AWQ_EXTENDED}, {"published", BM_AWQ_PUBLISHED}, {NULL, 0}};
const enum_name names_compat[] = {{"none", BM_COMPAT_NONE}, {"paddleslim", BM_COMPAT_PADDLESLIM}, {NULL, 0}};
const enum_name names_float_dtype[] = {
    {"float32", BM_DTYPE_F32}, {"float16", BM_DTYPE_F16}, {"bfloat16", BM_DTYPE_BF16}, {NULL, 0}};
const enum_name names_auto_dtype[] = {{"auto", BM_DTYPE_NONE},
                                      {"float32", BM_DTYPE_F32},
                                      {"float16", BM_DTYPE_F16},
                                      {"bfloat16", BM_DTYPE_BF16},
                                      {NULL, 0}};

bool enum_find(const enum_name *names, const char *text, int *value)
{
    for (; names->name; names++)
        if (bm_equal_ignore_case(names->name, text)) {
            *value = names->value;
            return true;
        }
    return false;
}

const char *enum_text(const enum_name *names, int value)
{
    for (; names->name; names++)
        if (names->value == value)
            return names->name;
    return "?";
}

void enum_append_names(const enum_name *names, bm_string *out)
{
    for (const enum_name *one = names; one->name; one++) {
        const bool is_canonical = one == names || enum_text(names, one->value) == one->name;
        if (!is_canonical)
            continue;
        if (one != names)
            bm_string_append(out, ", ");
        bm_string_append(out, one->name);
    }
}

const char *bm_job_name(bm_job job)
{
    return enum_text(names_job, (int)job);
}
const char *bm_quant_type_name(bm_quant_type type)
{
    return enum_text(names_quant_type, (int)type);
}
const char *bm_weight_method_name(bm_weight_method method)
{
    return enum_text(names_weight_method, (int)method);
}
const char *bm_scale_search_name(bm_scale_search search)
{
    return enum_text(names_scale_search, (int)search);
}
const char *bm_checkpoint_format_name(bm_checkpoint_format format)
{
    return enum_text(names_format, (int)format);
}
