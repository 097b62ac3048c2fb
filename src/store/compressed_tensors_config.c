// Writing quantization_config.
#include "store/compressed_tensors.h"

#include <stdio.h>

// Only groups have an order: the library refuses another one. These two words are the ones that every version knows.
static const char *actorder(const bm_store_description *description, bool per_channel)
{
    if (per_channel || description->act_order == BM_COLUMN_ORDER_NONE)
        return NULL;
    return description->act_order == BM_COLUMN_ORDER_DYNAMIC ? "group" : "weight";
}

static void write_weights(bm_json_writer *json, const bm_store_description *description, const bm_grid_params *grid,
                          bool per_channel)
{
    bm_json_begin_object(json, "weights");
    bm_json_put_string(json, "actorder", actorder(description, per_channel));
    bm_json_put_null(json, "block_structure");
    bm_json_put_bool(json, "dynamic", false);
    if (per_channel)
        bm_json_put_null(json, "group_size");
    else
        bm_json_put_integer(json, "group_size", grid->group_size);
    bm_json_put_integer(json, "num_bits", grid->bits);
    bm_json_put_string(json, "observer", "minmax");
    bm_json_begin_object(json, "observer_kwargs");
    bm_json_end_object(json);
    bm_json_put_string(json, "strategy", per_channel ? "channel" : "group");
    bm_json_put_bool(json, "symmetric", grid->symmetric);
    bm_json_put_string(json, "type", "int");
    bm_json_end_object(json);
}

// One step for all tokens, which the file holds, or one a token, which whoever runs the model finds.
static void write_input(bm_json_writer *json, bm_input_kind input)
{
    const bool is_static = input == BM_INPUT_STATIC;
    if (input == BM_INPUT_FLOAT) {
        bm_json_put_null(json, "input_activations");
        return;
    }
    bm_json_begin_object(json, "input_activations");
    bm_json_put_null(json, "actorder");
    bm_json_put_null(json, "block_structure");
    bm_json_put_bool(json, "dynamic", !is_static);
    bm_json_put_null(json, "group_size");
    bm_json_put_integer(json, "num_bits", 8);
    bm_json_put_string(json, "observer", is_static ? "minmax" : NULL);
    bm_json_begin_object(json, "observer_kwargs");
    bm_json_end_object(json);
    bm_json_put_string(json, "strategy", is_static ? "tensor" : "token");
    bm_json_put_bool(json, "symmetric", true);
    bm_json_put_string(json, "type", "int");
    bm_json_end_object(json);
}

// Whole names, which count before the class of all linears.
static void write_group(bm_json_writer *json, const bm_store_description *description, const char *format,
                        uint32_t index, const bm_store_scheme *scheme)
{
    char key[24];
    snprintf(key, sizeof key, "group_%u", index);
    bm_json_begin_object(json, key);
    bm_json_put_string(json, "format", format);
    write_input(json, description->input);
    bm_json_put_null(json, "output_activations");
    bm_json_begin_array(json, "targets");
    for (uint32_t i = 0; i < scheme->num_modules; i++)
        bm_json_put_string(json, NULL, scheme->modules[i]);
    bm_json_end_array(json);
    write_weights(json, description, &scheme->grid, scheme->per_channel);
    bm_json_end_object(json);
}

void bm_compressed_tensors_write(bm_json_writer *json, const bm_store_description *description)
{
    static const char *const all[] = {"Linear"};
    const char *format = bm_compressed_tensors_writes_bytes(description) ? "int-quantized" : "pack-quantized";
    const bm_store_scheme rest = {description->grid, description->per_channel, all, 1};
    bm_json_begin_object(json, "config_groups");
    write_group(json, description, format, 0, &rest);
    for (uint32_t i = 0; i < description->num_schemes; i++)
        write_group(json, description, format, i + 1, &description->schemes[i]);
    bm_json_end_object(json);
    bm_json_put_string(json, "format", format);
    bm_json_put_null(json, "global_compression_ratio");
    bm_json_begin_array(json, "ignore");
    for (uint32_t i = description->quantizes_head ? 1 : 0; i < description->num_float_modules; i++)
        bm_json_put_string(json, NULL, description->float_modules[i]);
    bm_json_end_array(json);
    bm_json_put_null(json, "kv_cache_scheme");
    bm_json_put_string(json, "quant_method", description->needs_bitmill ? BM_STORE_BITMILL : "compressed-tensors");
    bm_json_put_string(json, "quantization_status", "compressed");
    bm_json_begin_object(json, "sparsity_config");
    bm_json_end_object(json);
    bm_json_begin_object(json, "transform_config");
    bm_json_end_object(json);
    bm_json_put_string(json, "version", "0.12.2");
}
