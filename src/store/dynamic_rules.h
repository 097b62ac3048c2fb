// "dynamic" of a quantization_config, GPTQModel's key: its own keys are expressions over names, of which the first that matches
// counts; "-:" before one leaves the modules out, the others, with "+:" or nothing before them, give them a grid of their own.
#ifndef BM_STORE_DYNAMIC_RULES_H
#define BM_STORE_DYNAMIC_RULES_H

#include "store/module_pattern.h"
#include "store/store.h"

// What is said of some modules; what is not said is as for all.
typedef struct bm_module_grid {
    bool is_float;
    uint32_t bits;      // 0: not said
    int64_t group_size; // 0: not said; -1: one scale an output
    int symmetric;      // -1: not said
} bm_module_grid;

// Reads bits, group_size and sym of an object, each where it is there. is_known says which other keys change nothing in what is
// stored. where: what the object belongs to, for messages. Errors: BM_E_UNSUPPORTED for another key, BM_E_FORMAT.
bm_status bm_module_grid_read(const bm_json *object, bool (*is_known)(const char *key), bm_module_grid *out,
                              const char *where, bm_error *err);
// Puts what is said in place of a linear's own.
void bm_module_grid_apply(const bm_module_grid *grid, bm_store_linear *linear);

typedef struct bm_dynamic_rules {
    bm_module_pattern *patterns;
    bm_module_grid *grids; // of each
    uint32_t count;
} bm_dynamic_rules;

// object is the quantization_config, which must outlive *out; without the key there are no rules. Errors: BM_E_UNSUPPORTED for
// rules that are not built, BM_E_FORMAT, with name before the words. Close with bm_dynamic_rules_close, after errors too.
bm_status bm_dynamic_rules_open(bm_dynamic_rules *out, const bm_json *object, const char *name, bm_error *err);
void bm_dynamic_rules_close(bm_dynamic_rules *rules);
// The rule of a module; NULL: there is none.
const bm_module_grid *bm_dynamic_rules_find(const bm_dynamic_rules *rules, const char *module);

// The key, with the linears that stay float but for lm_head, which is none of a block's, and with those of schemes: full names as
// expressions.
void bm_dynamic_rules_write(bm_json_writer *json, const bm_store_description *description);

#endif
