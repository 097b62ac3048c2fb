// Reading the known answers of this folder, which tools/make_golden.py writes. A file that is not as that script writes it
// fails the test.
#ifndef BM_TESTS_GOLDEN_GOLDEN_H
#define BM_TESTS_GOLDEN_GOLDEN_H

#include "support/unit.h"

#include "formats/json.h"
#include "support/model_maker.h"

// tests/golden/NAME.json; bm_json_destroy it.
bm_json *golden_open(const char *name);

const bm_json *golden_find(const bm_json *object, const char *key);
double golden_number(const bm_json *object, const char *key);
const char *golden_text(const bm_json *object, const char *key);
uint32_t *golden_ids(const bm_json *object, const char *key, uint32_t *count); // bm_free it

// What the made model or tokenizer of a file is made from: the words of its "model".
model_maker_params golden_params(const bm_json *file);

#endif
