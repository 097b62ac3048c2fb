// "dynamic" of a quantization_config, GPTQModel's key: its own keys are expressions over names; "-:" before one leaves the modules
// out, the others, which are not built, give them a grid of their own.
#ifndef BM_STORE_DYNAMIC_RULES_H
#define BM_STORE_DYNAMIC_RULES_H

#include "store/module_pattern.h"
#include "store/store.h"

typedef struct bm_dynamic_rules {
    bm_module_pattern *left_out; // linears that stay float
    uint32_t num_left_out;
} bm_dynamic_rules;

// object is the quantization_config, which must outlive *out; without the key there are no rules. Errors: BM_E_UNSUPPORTED for
// rules that are not built, BM_E_FORMAT, with name before the words. Close with bm_dynamic_rules_close, after errors too.
bm_status bm_dynamic_rules_open(bm_dynamic_rules *out, const bm_json *object, const char *name, bm_error *err);
void bm_dynamic_rules_close(bm_dynamic_rules *rules);
bool bm_dynamic_rules_leave_out(const bm_dynamic_rules *rules, const char *module);

// The key, with the linears that stay float but for lm_head, which is none of a block's: full names as expressions.
void bm_dynamic_rules_write(bm_json_writer *json, const bm_store_description *description);

#endif
