// What tests of quantization_config share.
#ifndef BM_TESTS_STORE_CONFIG_H
#define BM_TESTS_STORE_CONFIG_H

#include "store/store.h"

bm_json *parse_json(const char *text); // bm_json_destroy it; text that is no JSON fails the test
// Asks an object, which is this format's, for a module of [64, 256].
bool match_module(const bm_store_format *format, const char *text, const char *module, bm_store_linear *out);

#endif
