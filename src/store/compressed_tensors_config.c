// Writing quantization_config.
#include "store/compressed_tensors.h"

#include <stdio.h>
#include <string.h>

static void write_weights(bm_json_writer *json, const bm_compressed_tensors_scheme *scheme)
{
    bm_json_begin_object(json, "weights");
    bm_json_put_null(json, "actorder");
    bm_json_put_null(json, "block_structure");
    bm_json_put_bool(json, "dynamic", false);
    if (scheme->group_size > 0)
        bm_json_put_integer(json, "group_size", scheme->group_size);
    else
        bm_json_put_null(json, "group_size");
    bm_json_put_integer(json, "num_bits", scheme->num_bits);
    bm_json_put_string(json, "observer", "minmax");
    bm_json_begin_object(json, "observer_kwargs");
    bm_json_end_object(json);
    bm_json_put_string(json, "strategy", scheme->group_size > 0 ? "group" : "channel");
    bm_json_put_bool(json, "symmetric", scheme->symmetric);
    bm_json_put_string(json, "type", "int");
    bm_json_end_object(json);
}

void bm_compressed_tensors_write(bm_json_writer *json, const bm_compressed_tensors_scheme *scheme,
                                 const char *const *ignore, uint32_t num_ignore)
{
    bm_json_begin_object(json, "quantization_config");
    bm_json_begin_object(json, "config_groups");
    bm_json_begin_object(json, "group_0");
    bm_json_put_string(json, "format", "pack-quantized");
    bm_json_put_null(json, "input_activations");
    bm_json_put_null(json, "output_activations");
    bm_json_begin_array(json, "targets");
    bm_json_put_string(json, NULL, "Linear");
    bm_json_end_array(json);
    write_weights(json, scheme);
    bm_json_end_object(json);
    bm_json_end_object(json);
    bm_json_put_string(json, "format", "pack-quantized");
    bm_json_put_null(json, "global_compression_ratio");
    bm_json_begin_array(json, "ignore");
    for (uint32_t i = 0; i < num_ignore; i++)
        bm_json_put_string(json, NULL, ignore[i]);
    bm_json_end_array(json);
    bm_json_put_null(json, "kv_cache_scheme");
    bm_json_put_string(json, "quant_method", "compressed-tensors");
    bm_json_put_string(json, "quantization_status", "compressed");
    bm_json_begin_object(json, "sparsity_config");
    bm_json_end_object(json);
    bm_json_begin_object(json, "transform_config");
    bm_json_end_object(json);
    bm_json_put_string(json, "version", "0.12.2");
    bm_json_end_object(json);
}
