// bitmill inspect: what is in a model folder, a safetensors file or a gguf file.
#include "cli/cli.h"

#include "cli/inspect_gguf.h"

#include "formats/gguf_locate.h"
#include "model/block.h"

#include <stdio.h>
#include <string.h>

// What was opened: a whole model, or only the tensors of a file.
typedef struct inspected {
    bm_model *model;           // NULL: only the checkpoint
    bm_checkpoint *checkpoint; // NULL: the model's
} inspected;

static const bm_checkpoint *checkpoint_of(const inspected *in)
{
    return in->model ? in->model->checkpoint : in->checkpoint;
}

static uint64_t elements_of(const bm_tensor_info *info)
{
    uint64_t count = 1;
    for (uint32_t d = 0; d < info->num_dims; d++)
        count *= info->shape[d];
    return count;
}

// How the first quantized linear is stored, for the summary; false: a float model.
static bool find_quantized(const bm_model *model, bm_store_linear *out)
{
    char name[BM_TENSOR_NAME_SIZE];
    uint32_t rows, cols;
    for (uint32_t block = 0; block < model->config.num_hidden_layers; block++)
        for (bm_linear_id linear = 0; linear < BM_NUM_LINEARS; linear++) {
            bm_linear_shape(&model->config, linear, &rows, &cols);
            if (bm_family_has_linear(model->family, linear) &&
                bm_store_match(&model->quantization, model->checkpoint,
                               bm_linear_tensor_name(model->family, block, linear, "", name), rows, cols, out)) {
                out->module = NULL; // its memory ends here
                return true;
            }
        }
    return false;
}

// Quantized linears of blocks whose bits or groups are not those of the first.
static uint32_t count_other_grids(const bm_model *model, const bm_store_linear *first)
{
    char name[BM_TENSOR_NAME_SIZE];
    uint32_t rows, cols, count = 0;
    bm_store_linear other;
    for (uint32_t block = 0; block < model->config.num_hidden_layers; block++)
        for (bm_linear_id linear = 0; linear < BM_NUM_LINEARS; linear++) {
            if (!bm_family_has_linear(model->family, linear))
                continue;
            bm_linear_shape(&model->config, linear, &rows, &cols);
            bm_linear_tensor_name(model->family, block, linear, "", name);
            if (bm_store_match(&model->quantization, model->checkpoint, name, rows, cols, &other))
                count += other.grid.bits != first->grid.bits || other.per_channel != first->per_channel ||
                         (!other.per_channel && other.grid.group_size != first->grid.group_size);
        }
    return count;
}

static void describe_scheme(const bm_store_format *format, const bm_store_linear *s, char *out, size_t size)
{
    char group[32];
    snprintf(group, sizeof group, "groups of %u", s->grid.group_size);
    snprintf(out, size, "%s, %u bits, %s, %s%s", format->name, s->grid.bits,
             s->per_tensor    ? "one scale a linear"
             : s->per_channel ? "per channel"
                              : group,
             s->grid.symmetric ? "symmetric" : "asymmetric",
             s->input == BM_INPUT_STATIC    ? "; inputs 8 bits, static"
             : s->input == BM_INPUT_DYNAMIC ? "; inputs 8 bits, dynamic"
                                            : "");
}

void cli_print_shape(const bm_model *model)
{
    const bm_hf_config *c = &model->config;
    cli_print("  family        %s, %u block%s, hidden %u, intermediate %u", c->model_type, c->num_hidden_layers,
              bm_plural(c->num_hidden_layers), c->hidden_size, c->intermediate_size);
    cli_print("  attention     %u heads, %u key/value head%s, head_dim %u%s", c->num_attention_heads,
              c->num_key_value_heads, bm_plural(c->num_key_value_heads), c->head_dim,
              c->sliding_window ? ", sliding window" : "");
    cli_print("  vocabulary    %u, context %u", c->vocab_size, c->max_position_embeddings);
    cli_print("  parameters    %llu", (unsigned long long)model->num_parameters);
}

void cli_print_limits(const bm_model *model)
{
    bm_error words = {0};
    bm_model_words remarks[BM_MAX_MODEL_REMARKS];
    const uint32_t count = bm_model_remarks(model, "not read", remarks);
    if (bm_block_check_runnable(model, &words) != BM_OK)
        cli_print("  note          %s", words.message);
    for (uint32_t i = 0; i < count; i++)
        cli_print("  note          %s", remarks[i].text);
}

// Where the line on the first linear is not all there is to say.
static void print_grids(const bm_model *model)
{
    bm_store_linear quantized;
    const uint32_t others = find_quantized(model, &quantized) ? count_other_grids(model, &quantized) : 0;
    if (others > 0)
        cli_print("  note          %u linear%s with other bits or groups than the first", others, bm_plural(others));
    if (bm_model_quantized_head(model, &quantized))
        cli_print("  note          lm_head is quantized: %u bits", quantized.grid.bits);
}

static void print_people(const inspected *in, const char *path)
{
    const bm_checkpoint *checkpoint = checkpoint_of(in);
    cli_print("%s", path);
    if (in->model) {
        char scheme[128] = "none (float weights)";
        bm_store_linear quantized;
        if (find_quantized(in->model, &quantized))
            describe_scheme(in->model->quantization.format, &quantized, scheme, sizeof scheme);
        cli_print_shape(in->model);
        cli_print("  quantization  %s%s", scheme,
                  in->model->quantization.needs_bitmill ? "; bitmill only: folds have added tensors" : "");
        cli_print_limits(in->model);
        print_grids(in->model);
    }
    cli_print("  tensors       %u, %.2f MB", bm_checkpoint_count(checkpoint),
              (double)bm_checkpoint_stored_bytes(checkpoint) / 1e6);
    for (uint32_t i = 0; i < bm_checkpoint_count(checkpoint); i++) {
        const bm_tensor_info *info = bm_checkpoint_at(checkpoint, i);
        bm_string shape = BM_STRING_INIT;
        for (uint32_t d = 0; d < info->num_dims; d++)
            (void)bm_string_append_format(&shape, "%s%llu", d ? ", " : "", (unsigned long long)info->shape[d]);
        cli_print("    %-56s %-5s [%s]", info->name, bm_dtype_name(info->dtype), bm_string_text(&shape));
        bm_string_free(&shape);
    }
}

static void put_summary(bm_json_writer *w, const bm_model *model)
{
    bm_store_linear s;
    bm_json_put_string(w, "family", model->config.model_type);
    bm_json_put_integer(w, "parameters", (int64_t)model->num_parameters);
    if (!find_quantized(model, &s)) {
        bm_json_put_null(w, "quantization");
        return;
    }
    bm_json_begin_object(w, "quantization");
    bm_json_put_string(w, "format", model->quantization.format->name);
    bm_json_put_integer(w, "bits", s.grid.bits);
    bm_json_put_integer(w, "group_size", s.per_channel ? -1 : (int64_t)s.grid.group_size);
    bm_json_put_bool(w, "symmetric", s.grid.symmetric);
    bm_json_put_string(w, "inputs",
                       s.input == BM_INPUT_STATIC    ? "static"
                       : s.input == BM_INPUT_DYNAMIC ? "dynamic"
                                                     : NULL);
    bm_json_end_object(w);
}

static bm_status print_json(const inspected *in, bm_error *err)
{
    bm_string text = BM_STRING_INIT;
    bm_json_writer w;
    const bm_checkpoint *checkpoint = checkpoint_of(in);
    uint64_t elements = 0;
    bm_json_writer_init(&w, &text, 2);
    bm_json_begin_object(&w, NULL);
    if (in->model) {
        put_summary(&w, in->model);
    } else {
        for (uint32_t i = 0; i < bm_checkpoint_count(checkpoint); i++)
            elements += elements_of(bm_checkpoint_at(checkpoint, i));
        bm_json_put_null(&w, "family");
        bm_json_put_integer(&w, "parameters", (int64_t)elements);
        bm_json_put_null(&w, "quantization");
    }
    bm_json_put_integer(&w, "bytes", (int64_t)bm_checkpoint_stored_bytes(checkpoint));
    bm_json_begin_array(&w, "tensors");
    for (uint32_t i = 0; i < bm_checkpoint_count(checkpoint); i++) {
        const bm_tensor_info *info = bm_checkpoint_at(checkpoint, i);
        bm_json_begin_object(&w, NULL);
        bm_json_put_string(&w, "name", info->name);
        bm_json_begin_array(&w, "shape");
        for (uint32_t d = 0; d < info->num_dims; d++)
            bm_json_put_integer(&w, NULL, (int64_t)info->shape[d]);
        bm_json_end_array(&w);
        bm_json_put_string(&w, "dtype", bm_dtype_name(info->dtype));
        bm_json_end_object(&w);
    }
    bm_json_end_array(&w);
    bm_json_end_object(&w);
    const bm_status status = cli_print_json(&text, err);
    bm_string_free(&text);
    return status;
}

static int run(cli_context *context, int argc, char **argv)
{
    bm_error err = {0};
    inspected in = {0};
    const char *words[1];
    uint32_t num_words;
    bool help;
    bm_status status = cli_parse(context, &cli_command_inspect, NULL, 0, argc, argv, words, 1, &num_words, &help, &err);
    if (status == BM_OK && !help && num_words == 0)
        status = bm_fail(&err, BM_E_ARGUMENT,
                         "inspect: found no path, expected a model folder, a .safetensors or a .gguf file");
    if (status != BM_OK || help)
        return status == BM_OK ? CLI_DONE : cli_fail(context, status, &err);
    char *gguf_path = NULL;
    status = bm_gguf_locate(words[0], &gguf_path, &err);
    if (gguf_path)
        return cli_inspect_gguf(context, gguf_path);
    if (status != BM_OK)
        return cli_fail(context, status, &err);
    if (bm_path_kind_of(words[0]) == BM_PATH_FOLDER)
        status = bm_model_open(&in.model, words[0], &err);
    else
        status = bm_checkpoint_open(&in.checkpoint, words[0], &err);
    if (status == BM_OK && context->json)
        status = print_json(&in, &err);
    else if (status == BM_OK)
        print_people(&in, words[0]);
    bm_model_close(&in.model);
    bm_checkpoint_close(&in.checkpoint);
    return status == BM_OK ? CLI_DONE : cli_fail(context, status, &err);
}

const cli_command cli_command_inspect = {
    "inspect", "MODEL|FILE", "says what is in a model: tensors, formats, bits, sizes", run, CLI_KNOWS_NO_DEVICE};
