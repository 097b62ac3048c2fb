// Keys that are right and have no effect, because no phase of this job reads them: one note each, saying what the key
// would need. A switch that is off says nothing.
#include "arguments/keys.h"

#include <string.h>

static const struct {
    uint32_t phase;
    const char *needs;
} phase_words[] = {
    {PHASE_QUANTIZE, "a quantization job"},
    {PHASE_CALIBRATE, "a method that reads calibration data"},
    {PHASE_ROUND, "a quantization job"},
    {PHASE_GROUP, "\"weight_quant_method\": \"groupwise\""},
    {PHASE_SHIFT, "\"shift\": true"},
    {PHASE_SMOOTH, "\"smooth\": true"},
    {PHASE_PLAIN_SMOOTH, "\"smooth\": true without a search"},
    {PHASE_PIECEWISE, "\"smooth_piecewise_search\": true"},
    {PHASE_AWQ, "\"do_awq\": true"},
    {PHASE_CLIP, "\"auto_clip\": true"},
    {PHASE_OBSERVE, "a quant_type with static activations (A8W8)"},
    {PHASE_KV, "\"quant_type\": \"a8w8c8\""},
    {PHASE_FP8, "\"quant_type\": \"a8w8_fp8\""},
    {PHASE_GPTQ, "\"do_gptq\": true"},
    {PHASE_EVALUATE, "\"do_eval\": true"},
    {PHASE_PACK, "\"zero_padding\": true"},
    {PHASE_INT, "integer weights"},
};

static uint32_t phases_of_quantization(const bm_arguments *args)
{
    const bool is_fp8 = args->quant_type == BM_QUANT_A8W8_FP8;
    const bool awq = args->do_awq || (args->job == BM_JOB_GPTQ && args->scaling == BM_SCALING_AWQ);
    const bool smooth = args->smooth || awq || (args->job == BM_JOB_GPTQ && args->scaling == BM_SCALING_SMOOTH);
    const bool piecewise = smooth && args->smooth_piecewise_search;
    uint32_t phases = PHASE_QUANTIZE | PHASE_ROUND;
    phases |= args->needs_calibration ? PHASE_CALIBRATE : 0;
    phases |= args->weight_quant_method == BM_WEIGHT_GROUPWISE ? PHASE_GROUP : 0;
    phases |= args->shift ? PHASE_SHIFT : 0;
    phases |= smooth ? PHASE_SMOOTH : 0;
    phases |= smooth && !awq && !piecewise ? PHASE_PLAIN_SMOOTH : 0;
    phases |= piecewise ? PHASE_PIECEWISE : 0;
    phases |= awq ? PHASE_AWQ : 0;
    phases |= args->shift || smooth ? PHASE_SCALED : 0;
    phases |= args->auto_clip ? PHASE_CLIP : 0;
    phases |= args->job == BM_JOB_A8W8 ? PHASE_OBSERVE : 0;
    phases |= args->quant_type == BM_QUANT_A8W8C8 ? PHASE_KV : 0;
    phases |= is_fp8 ? PHASE_FP8 : PHASE_INT;
    phases |= args->job == BM_JOB_GPTQ ? PHASE_GPTQ : 0;
    return phases;
}

static uint32_t phases_of(const bm_arguments *args)
{
    uint32_t phases = PHASE_RUN;
    phases |= args->do_eval || args->do_predict ? PHASE_EVALUATE : 0;
    phases |= args->zero_padding ? PHASE_PACK : 0;
    if (job_quantizes(args->job))
        phases |= phases_of_quantization(args);
    if (args->job == BM_JOB_LOAD) // the keys must agree with those of the earlier run
        phases |= ~(uint32_t)0;
    return phases;
}

// A switch that is off, an empty list, an empty text.
static bool is_off(const bm_arguments *args, const key_row *row)
{
    const char *field = (const char *)args + row->field;
    if (row->type == KEY_BOOL)
        return !*(const bool *)field;
    if (row->type == KEY_LIST)
        return ((const bm_name_list *)(const void *)field)->count == 0;
    if (row->type == KEY_STRING)
        return *(char *const *)(const void *)field == NULL;
    return false;
}

static const char *needs_of(uint32_t phases)
{
    for (size_t i = 0; i < BM_COUNT(phase_words); i++)
        if (phases & phase_words[i].phase)
            return phase_words[i].needs;
    return "shift or smooth";
}

void arguments_note_unused(bm_arguments *args)
{
    const uint32_t active = phases_of(args);
    for (uint32_t i = 0; i < key_table_count; i++) {
        const key_row *row = &key_table[i];
        if (row->class_of != KEY_HONOUR || !key_is_given(args, i) || (row->phases & active) || is_off(args, row))
            continue;
        note_add(args, "\"%s\": not used: needs %s", row->name, needs_of(row->phases));
    }
}
