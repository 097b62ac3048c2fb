// Status codes and error messages.
//
// A function that can fail returns a bm_status. Each code asks for a different action of the caller. The message goes
// to a bm_error of the caller, a fixed-size struct, so that reporting an error never allocates.
#ifndef BITMILL_ERROR_H
#define BITMILL_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

typedef enum bm_status {
    BM_OK = 0,
    BM_E_ARGUMENT,    // the caller's argument or a key of a parameter file is wrong: correct it
    BM_E_FORMAT,      // an input file is malformed: get a good one
    BM_E_IO,          // reading or writing failed: look at the disk, the path, the rights
    BM_E_MEMORY,      // the machine's memory is used up
    BM_E_DEVICE,      // a device, driver or kernel failed, or there is no usable device
    BM_E_UNSUPPORTED, // valid, but not built: the message names it
    BM_E_NUMERIC,     // a NaN, an infinity or an index out of range was met in the data
    BM_E_CANCELLED,   // the caller asked to stop
    BM_E_INTERNAL,    // a defect of bitmill: please report it
} bm_status;

// Size of a message, terminating zero included. Longer messages are cut.
#define BM_ERROR_MESSAGE_SIZE 1024

typedef struct bm_error {
    bm_status status; // the code that was returned
    char
        message[BM_ERROR_MESSAGE_SIZE]; // one line of UTF-8 without a newline: where, what was found, what was expected
} bm_error;

// The name of a status, for example "format". Never NULL.
const char *bm_status_name(bm_status status);

#ifdef __cplusplus
}
#endif
#endif
