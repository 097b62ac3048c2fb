// A whole quantization job: from parameters to the output folder. The command line and bm_quantize_model both run it.
#ifndef BM_SCHEDULE_JOB_H
#define BM_SCHEDULE_JOB_H

#include <bitmill/quantize.h>
#include "schedule/dry_run.h"

// What a job made, kept for whoever reports on it.
typedef struct bm_quantize_job {
    bm_arguments *arguments;
    bm_model *model;
    bm_plan *plan;
    bm_device *device;
    bm_memory_budget budget;
    bm_memory_claims claims;
    bm_memory_least least;
    const char *folder; // for files of activations, as it was given; NULL: none was
    char *file_folder;  // for them and for Hessians, as they are planned; owned
    bool has_kernels;   // all that the run needs are in the cache: no compiler takes memory
    bool is_planned;    // budget and claims are there; where planning fails all the same, the run does not fit
    bm_quantize_result result;
} bm_quantize_job;

// Reads and checks parameters, says notes and plan, opens the device, and checks that memory suffices: what comes before any
// work. Free the job also after a failure.
bm_status bm_quantize_job_plan(const bm_quantize_params *params, bm_quantize_job *job, bm_error *err);
// The same, then runs.
bm_status bm_quantize_job_run(const bm_quantize_params *params, bm_quantize_job *job, bm_error *err);
// Of a job that is planned: how long its run would take, from a short measurement.
bm_status bm_quantize_job_dry_run(const bm_quantize_params *params, bm_quantize_job *job, bm_dry_run *out,
                                  bm_error *err);
// The same of one whose planning failed where it is_planned, without any measurement. why: lives as long as the result.
bm_dry_run bm_quantize_job_refused(const bm_quantize_job *job, const bm_error *why);
void bm_quantize_job_describe_dry_run(const bm_quantize_job *job, const bm_dry_run *dry, bm_string *out);
void bm_quantize_job_put_dry_run(const bm_quantize_job *job, const bm_dry_run *dry, bm_json_writer *json);
void bm_quantize_job_free(bm_quantize_job *job);
// Appends the result's members to an open object, as bitmill.json and --json have them.
void bm_quantize_job_put_result(const bm_quantize_job *job, bm_json_writer *json);

#endif
