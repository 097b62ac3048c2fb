// Quantizing a model: what `bitmill quantize` does, as one call.
//
// Either a parameter file (arguments_file), or a model, a method and a number of bits; overrides win over both, and
// device over them. Before the work starts, what will be done and notes on the parameters go to log at level info.
#ifndef BITMILL_QUANTIZE_H
#define BITMILL_QUANTIZE_H

#include <bitmill/error.h>
#include <bitmill/log.h>
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct bm_quantize_params {
    uint32_t size;                // set by bm_quantize_params_init
    const char *arguments_file;   // a JSON parameter file; NULL: the short form below
    const char *model;            // short form: a Hugging Face model folder, or a GGUF file
    const char *method;           // short form: "rtn", "gptq" or "a8w8"; NULL: "rtn"
    int64_t bits;                 // short form: bits of a weight; 0: 4, of "a8w8" 8
    const char *data;             // short form: calibration and evaluation data; NULL: none
    const char *output;           // the folder to create; NULL: as the file says
    const char *const *overrides; // "key=value" texts, as --set takes them; NULL: none
    uint32_t num_overrides;
    const char *device; // a spec (device.h), where gpu insists on one; NULL: as the file says, where gpu means auto
    const char *cache_folder;    // where compiled kernels and tunings are kept; NULL: nowhere
    const char *variants;        // as in bm_device_params; NULL: as a tuning says, else the tables
    bool profile;                // as in bm_device_params
    const bm_log *log;           // NULL: silent
    const bm_progress *progress; // NULL: none
    uint64_t device_memory;      // bytes of the device's memory that may be taken; 0: all
    bool skips_verification;     // the written result is not read back and compared, nor its logits with the input's
    uint64_t host_memory;        // bytes that the process may take; 0: what the system has available
    const char
        *activation_folder; // there is: for files of activations that memory does not hold; NULL: beside the output
} bm_quantize_params;
void bm_quantize_params_init(bm_quantize_params *params);

typedef struct bm_quantize_summary {
    double seconds;
    uint64_t input_bytes, output_bytes; // of all tensors
    uint32_t num_linears;               // quantized
    double largest_nmse;                // of a linear: sum (W - What)^2 / sum W^2
    bool has_evaluation;                // do_eval
    double perplexity_before, perplexity_after;
    bool has_prediction; // do_predict
    double test_perplexity_before, test_perplexity_after;
} bm_quantize_summary;

// Quantizes and writes the output folder, whole or not at all.
// Errors: BM_E_ARGUMENT, BM_E_FORMAT, BM_E_IO bad input, with file, key or tensor, found and expected (NaN and infinity
// among the weights are BM_E_FORMAT; an output that another run is writing is BM_E_IO); BM_E_NUMERIC a weight that the
// output's type does not hold; BM_E_UNSUPPORTED what is not built, by name; BM_E_MEMORY; BM_E_DEVICE; BM_E_CANCELLED
// when progress asked to stop, at any time before the output is put in its place; BM_E_INTERNAL a defect of bitmill.
bm_status bm_quantize_model(const bm_quantize_params *params, bm_quantize_summary *out, bm_error *err);

#ifdef __cplusplus
}
#endif
#endif
