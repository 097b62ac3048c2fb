// make_model: writes a small random model in the Hugging Face layout, for trials without a download.
#include "support/model_maker.h"

#include "base/str.h"

#include <stdio.h>
#include <string.h>

static const char help[] =
    "usage: make_model [OPTION=VALUE]... FOLDER\n"
    "Writes config.json, safetensors, tokenizer.json and tokenizer_config.json of a random model into FOLDER.\n"
    "\n"
    "  --family=NAME          llama, mistral, qwen2 or qwen3 (llama)\n"
    "  --hidden-size=N        width of the residual (64)\n"
    "  --intermediate-size=N  width of the MLP (160)\n"
    "  --layers=N             blocks (2)\n"
    "  --heads=N              query heads (4)\n"
    "  --kv-heads=N           key and value heads (2)\n"
    "  --head-dim=N           width of a head (hidden size / heads)\n"
    "  --vocab-size=N         tokens (512)\n"
    "  --max-positions=N      longest sequence (256)\n"
    "  --dtype=NAME           F32, F16 or BF16 (F32)\n"
    "  --tie                  no lm_head.weight of its own\n"
    "  --attention-bias       biases of q, k, v and o (llama, qwen3)\n"
    "  --mlp-bias             biases of the MLP (llama)\n"
    "  --rope-theta=X         base of the rotary embedding (10000)\n"
    "  --rope-scaling=NAME    linear or llama3 (none)\n"
    "  --rope-parameters      the newer spelling of the rotary embedding in config.json\n"
    "  --sliding-window=N     keys that a query sees (all); not for llama\n"
    "  --max-window-layers=N  first layer with the window, qwen2 and qwen3 (0)\n"
    "  --shard-bytes=N        most bytes in a file (one file)\n"
    "  --outliers=N           planted outlier channels (0)\n"
    "  --outlier-scale=X      how much larger they are (16)\n"
    "  --seed=N               (1)\n"
    "  --tokenizer=NAME       sentencepiece, byte-level or none (sentencepiece)\n"
    "  --help                 this text\n";

typedef enum option_kind { OPTION_U32, OPTION_U64, OPTION_DOUBLE, OPTION_FLOAT, OPTION_FLAG, OPTION_TEXT } option_kind;

// Where an option's value goes.
typedef struct option {
    const char *name;
    option_kind kind;
    void *out;
} option;

static bool set_option(const option *o, const char *value)
{
    uint64_t number = 0;
    double real = 0;
    switch (o->kind) {
    case OPTION_U32:
        if (!value || !bm_parse_u64(value, &number) || number > UINT32_MAX)
            return false;
        *(uint32_t *)o->out = (uint32_t)number;
        return true;
    case OPTION_U64:
        return value && bm_parse_u64(value, (uint64_t *)o->out);
    case OPTION_DOUBLE:
        return value && bm_parse_double(value, (double *)o->out);
    case OPTION_FLOAT:
        if (!value || !bm_parse_double(value, &real))
            return false;
        *(float *)o->out = (float)real;
        return true;
    case OPTION_FLAG:
        *(bool *)o->out = true;
        return value == NULL;
    case OPTION_TEXT:
        *(const char **)o->out = value;
        return value != NULL;
    }
    return false;
}

static bool parse_option(const option *options, size_t num_options, const char *argument)
{
    const size_t length = strcspn(argument, "=");
    const char *value = argument[length] == '=' ? argument + length + 1 : NULL;
    for (size_t i = 0; i < num_options; i++)
        if (strlen(options[i].name) == length && strncmp(options[i].name, argument, length) == 0)
            return set_option(&options[i], value);
    return false;
}

static bool set_names(model_maker_params *params, const char *dtype, const char *tokenizer)
{
    static const char *const tokenizers[] = {"sentencepiece", "byte-level", "none"};
    static const bm_dtype dtypes[] = {BM_DTYPE_F32, BM_DTYPE_F16, BM_DTYPE_BF16};
    bool has_dtype = false, has_tokenizer = false;
    for (size_t i = 0; i < BM_COUNT(dtypes); i++)
        if (bm_equal_ignore_case(dtype, bm_dtype_name(dtypes[i]))) {
            params->dtype = dtypes[i];
            has_dtype = true;
        }
    for (size_t i = 0; i < BM_COUNT(tokenizers); i++)
        if (strcmp(tokenizer, tokenizers[i]) == 0) {
            params->tokenizer = (model_maker_tokenizer)i;
            has_tokenizer = true;
        }
    return has_dtype && has_tokenizer;
}

int main(int argc, char **argv)
{
    model_maker_params p;
    const char *folder = NULL, *dtype = "F32", *tokenizer = "sentencepiece";
    bm_error err;
    model_maker_params_init(&p);
    const option options[] = {
        {"--family", OPTION_TEXT, &p.family},
        {"--hidden-size", OPTION_U32, &p.hidden_size},
        {"--intermediate-size", OPTION_U32, &p.intermediate_size},
        {"--layers", OPTION_U32, &p.num_layers},
        {"--heads", OPTION_U32, &p.num_heads},
        {"--kv-heads", OPTION_U32, &p.num_kv_heads},
        {"--head-dim", OPTION_U32, &p.head_dim},
        {"--vocab-size", OPTION_U32, &p.vocab_size},
        {"--max-positions", OPTION_U32, &p.max_positions},
        {"--dtype", OPTION_TEXT, &dtype},
        {"--tie", OPTION_FLAG, &p.tie_embeddings},
        {"--attention-bias", OPTION_FLAG, &p.attention_bias},
        {"--mlp-bias", OPTION_FLAG, &p.mlp_bias},
        {"--rope-theta", OPTION_DOUBLE, &p.rope_theta},
        {"--rope-scaling", OPTION_TEXT, &p.rope_scaling},
        {"--rope-parameters", OPTION_FLAG, &p.rope_parameters},
        {"--sliding-window", OPTION_U32, &p.sliding_window},
        {"--max-window-layers", OPTION_U32, &p.max_window_layers},
        {"--shard-bytes", OPTION_U64, &p.max_shard_bytes},
        {"--outliers", OPTION_U32, &p.num_outlier_channels},
        {"--outlier-scale", OPTION_FLOAT, &p.outlier_scale},
        {"--seed", OPTION_U64, &p.seed},
        {"--tokenizer", OPTION_TEXT, &tokenizer},
    };
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            fputs(help, stdout);
            return 0;
        }
        if (argv[i][0] != '-' && !folder) {
            folder = argv[i];
        } else if (!parse_option(options, BM_COUNT(options), argv[i])) {
            fprintf(stderr, "make_model: %s: not understood; see --help\n", argv[i]);
            return 2;
        }
    }
    if (!folder || !set_names(&p, dtype, tokenizer)) {
        fputs("make_model: no folder, or an unknown type or tokenizer; see --help\n", stderr);
        return 2;
    }
    if (model_maker_write(&p, folder, &err) != BM_OK) {
        fprintf(stderr, "make_model: %s\n", err.message);
        return 1;
    }
    return 0;
}
