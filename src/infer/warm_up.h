// Compiling kernels as a phase of its own: the first use of a device builds dozens of kernels, which takes seconds on
// some drivers. A tiny piece of the work to come is run first, so that the wait has a name and later phases are timed
// truly.
#ifndef BM_INFER_WARM_UP_H
#define BM_INFER_WARM_UP_H

#include "model/model.h"
#include "quant/method.h"

// Runs one block and a slice of the head over a few tokens, for evaluation with their loss; the same with the reference
// (NULL: none), and the divergence. With kernels in the cache this takes milliseconds.
bm_status bm_warm_up_evaluation(const bm_model *model, const bm_model *reference, bm_device *device, bm_dtype dtype,
                                const bm_progress *progress, bm_error *err);
bm_status bm_warm_up_generation(const bm_model *model, bm_device *device, bm_dtype dtype, const bm_progress *progress,
                                bm_error *err);
// Solves a few rows of a linear, by the name of its weight; a method that watches inputs is shown these rows as such.
bm_status bm_warm_up_method(const bm_model *model, bm_device *device, const bm_method *method, const char *weight,
                            const bm_method_params *params, const bm_progress *progress, bm_error *err);

#endif
