// Shared libraries found at run time.
#ifndef BM_BASE_LIBRARY_H
#define BM_BASE_LIBRARY_H

#include "base/base.h"

typedef struct bm_library bm_library;

// Opens the first of the NULL-terminated names that can be opened; BM_E_DEVICE with the loader's message otherwise.
bm_status bm_library_open(bm_library **out, const char *const *names, bm_error *err);
// The address of a symbol, or NULL. Cast through a union or memcpy where -Wpedantic matters: the type is a generic
// function pointer.
typedef void (*bm_library_function)(void);
bm_library_function bm_library_symbol(bm_library *library, const char *name);
void bm_library_close(bm_library **library);

#endif
