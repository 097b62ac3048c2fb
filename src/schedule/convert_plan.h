// Plan of a conversion: what a quantized checkpoint holds, and whether another format holds the same codes.
#ifndef BM_SCHEDULE_CONVERT_PLAN_H
#define BM_SCHEDULE_CONVERT_PLAN_H

#include "schedule/plan.h"

// How the model's codes are read: by its quantization; of a GGUF file by its blocks. All zeros: there are none. Lives as long as
// the model, and is not closed.
bm_store_config bm_convert_source(const bm_model *model);
// What a name of bm_store_form_at stands for. Errors: BM_E_ARGUMENT with all of them.
bm_status bm_convert_find_form(const char *form, const bm_store_format **format, uint32_t *version, bm_error *err);
// form is such a name. The plan has no method: linears keep their grids. Errors: BM_E_ARGUMENT for a name that is
// unknown, a model that is not quantized, and for what the format does not hold, with the formats that do; those of reading
// scales and zero points; BM_E_CANCELLED.
bm_status bm_convert_plan_create(const bm_model *model, const char *form, bm_phase *phase, bm_plan **out,
                                 bm_error *err);
// What the scales and zero points that are looked at first come to, for the phase's report.
uint64_t bm_convert_plan_linears(const bm_model *model);

#endif
