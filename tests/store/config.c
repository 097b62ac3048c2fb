// What tests of quantization_config share.
#include "store/config.h"

#include "support/unit.h"

#include <string.h>

bm_json *parse_json(const char *text)
{
    bm_json *root = NULL;
    bm_error err = {0};
    assert_ok(bm_json_parse(&root, text, strlen(text), "NAME", &err), &err);
    return root;
}

bool match_module(const bm_store_format *format, const char *text, const char *module, bm_store_linear *out)
{
    bm_error err = {0};
    bm_store_config config = {0};
    bm_json *root = parse_json(text);
    assert_ok(bm_store_open(&config, root, "NAME", &err), &err);
    assert_ptr_equal(config.format, format);
    *out = (bm_store_linear){.module = module, .out_features = 64, .in_features = 256};
    const bool found = config.match(config.parsed, out);
    bm_store_close(&config);
    bm_store_close(&config); // once more: nothing is left
    bm_json_destroy(&root);
    return found;
}
