// bitmill: quantization of large language models on any GPU.
//
// Rules that hold for the whole library, written once:
//
//   Ownership   Every _destroy or _close takes the address of the pointer, sets it to NULL and accepts a NULL object.
//   Params      A params struct need only live until the call returns. It is filled by its _params_init first, because
//               many defaults are not zero.
//   Outputs     Written only when the call returns BM_OK, unless the function says otherwise.
//   Errors      What can fail returns a bm_status and takes a bm_error that may be NULL; see error.h.
//   Threads     An object may be used by one thread at a time. Callbacks run on the thread that made the call.
//   Silence     The library never prints, never exits and never reads the environment (the drivers that it loads may).
//
// This header includes all public ones; each of them also compiles alone.
#ifndef BITMILL_BITMILL_H
#define BITMILL_BITMILL_H

#include <bitmill/error.h>
#include <bitmill/log.h>
#include <bitmill/tensor.h>
#include <bitmill/device.h>
#include <bitmill/evaluate.h>
#include <bitmill/quantize.h>

#ifdef __cplusplus
extern "C" {
#endif

// The version of the library, for example "0.1.0".
const char *bm_version(void);

#ifdef __cplusplus
}
#endif
#endif
