// make_model: writes a small random model in the Hugging Face layout, for trials without a download.
#include "support/model_maker.h"

#include <stdio.h>
#include <string.h>

static const char help[] =
    "usage: make_model [OPTION=VALUE]... FOLDER\n"
    "Writes config.json, safetensors, tokenizer.json and tokenizer_config.json of a random model into FOLDER.\n"
    "\n"
    "  --family=NAME          llama, mistral, qwen2, qwen3, phi3, gemma2, gemma3_text or bloom (llama)\n"
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
    "  --attention-bias       biases of q, k, v and o (llama, qwen3, gemma)\n"
    "  --mlp-bias             biases of the MLP (llama)\n"
    "  --hidden-act=NAME      silu, gelu or gelu_pytorch_tanh (silu)\n"
    "  --rms-norm-eps=X       what norms add to the mean square, or the variance (1e-5)\n"
    "  --rope-theta=X         base of the rotary embedding (10000)\n"
    "  --rope-scaling=NAME    linear, llama3, dynamic, yarn or yarn-mscale (none)\n"
    "  --rope-parameters      the newer spelling of the rotary embedding in config.json\n"
    "  --sliding-window=N     keys that a query sees (all); not for llama and bloom\n"
    "  --max-window-layers=N  first layer with the window, qwen2 and qwen3 (0)\n"
    "  --window-pattern=N     each N-th layer has no window, gemma (its own)\n"
    "  --query-scalar=N       scores are divided by its root, gemma (24)\n"
    "  --attention-cap=X      tanh bends scores below it, gemma (none)\n"
    "  --logit-cap=X          the same of logits\n"
    "  --local-rope-theta=X   base of layers with the window, gemma 3 (500)\n"
    "  --without-prefix       names of a model without its head (bloom)\n"
    "  --shard-bytes=N        most bytes in a file (one file)\n"
    "  --outliers=N           planted outlier channels (0)\n"
    "  --outlier-scale=X      how much larger they are (16)\n"
    "  --seed=N               (1)\n"
    "  --tokenizer=NAME       sentencepiece, byte-level or none (sentencepiece)\n"
    "  --help                 this text\n";

int main(int argc, char **argv)
{
    model_maker_params p;
    const char *folder = NULL;
    bm_error err;
    model_maker_params_init(&p);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            fputs(help, stdout);
            return 0;
        }
        if (argv[i][0] != '-' && !folder) {
            folder = argv[i];
        } else if (!model_maker_set(&p, argv[i])) {
            fprintf(stderr, "make_model: %s: not understood; see --help\n", argv[i]);
            return 2;
        }
    }
    if (!folder) {
        fputs("make_model: no folder; see --help\n", stderr);
        return 2;
    }
    if (model_maker_write(&p, folder, &err) != BM_OK) {
        fprintf(stderr, "make_model: %s\n", err.message);
        return 1;
    }
    return 0;
}
