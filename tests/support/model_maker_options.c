// The words in which a made model is described: on make_model's command line and in the files of tests/golden.
#include "support/model_maker.h"

#include "base/str.h"

#include <string.h>

typedef enum option_kind {
    OPTION_U32,
    OPTION_U64,
    OPTION_DOUBLE,
    OPTION_FLOAT,
    OPTION_FLAG,
    OPTION_TEXT,
    OPTION_DTYPE,
    OPTION_TOKENIZER
} option_kind;

// Where an option's value goes.
typedef struct option {
    const char *name;
    option_kind kind;
    void *out;
} option;

static bool set_dtype(bm_dtype *out, const char *value)
{
    static const bm_dtype dtypes[] = {BM_DTYPE_F32, BM_DTYPE_F16, BM_DTYPE_BF16};
    for (size_t i = 0; i < BM_COUNT(dtypes); i++)
        if (bm_equal_ignore_case(value, bm_dtype_name(dtypes[i]))) {
            *out = dtypes[i];
            return true;
        }
    return false;
}

static bool set_tokenizer(model_maker_tokenizer *out, const char *value)
{
    static const char *const tokenizers[] = {"sentencepiece", "byte-level", "none"}; // in the order of the enumeration
    for (size_t i = 0; i < BM_COUNT(tokenizers); i++)
        if (strcmp(value, tokenizers[i]) == 0) {
            *out = (model_maker_tokenizer)i;
            return true;
        }
    return false;
}

static bool set_option(const option *o, const char *value)
{
    uint64_t number = 0;
    double real = 0;
    if (o->kind == OPTION_FLAG) {
        *(bool *)o->out = true;
        return value == NULL;
    }
    if (!value)
        return false;
    switch (o->kind) {
    case OPTION_U32:
        if (!bm_parse_u64(value, &number) || number > UINT32_MAX)
            return false;
        *(uint32_t *)o->out = (uint32_t)number;
        return true;
    case OPTION_U64:
        return bm_parse_u64(value, (uint64_t *)o->out);
    case OPTION_DOUBLE:
        return bm_parse_double(value, (double *)o->out);
    case OPTION_FLOAT:
        if (!bm_parse_double(value, &real))
            return false;
        *(float *)o->out = (float)real;
        return true;
    case OPTION_TEXT:
        *(const char **)o->out = value;
        return true;
    case OPTION_DTYPE:
        return set_dtype(o->out, value);
    case OPTION_TOKENIZER:
        return set_tokenizer(o->out, value);
    case OPTION_FLAG:
        break;
    }
    return false;
}

bool model_maker_set(model_maker_params *p, const char *word)
{
    const option options[] = {
        {"--family", OPTION_TEXT, &p->family},
        {"--hidden-size", OPTION_U32, &p->hidden_size},
        {"--intermediate-size", OPTION_U32, &p->intermediate_size},
        {"--layers", OPTION_U32, &p->num_layers},
        {"--heads", OPTION_U32, &p->num_heads},
        {"--kv-heads", OPTION_U32, &p->num_kv_heads},
        {"--head-dim", OPTION_U32, &p->head_dim},
        {"--vocab-size", OPTION_U32, &p->vocab_size},
        {"--max-positions", OPTION_U32, &p->max_positions},
        {"--dtype", OPTION_DTYPE, &p->dtype},
        {"--tie", OPTION_FLAG, &p->tie_embeddings},
        {"--attention-bias", OPTION_FLAG, &p->attention_bias},
        {"--mlp-bias", OPTION_FLAG, &p->mlp_bias},
        {"--hidden-act", OPTION_TEXT, &p->hidden_act},
        {"--rms-norm-eps", OPTION_DOUBLE, &p->rms_norm_eps},
        {"--rope-theta", OPTION_DOUBLE, &p->rope_theta},
        {"--rope-scaling", OPTION_TEXT, &p->rope_scaling},
        {"--rope-parameters", OPTION_FLAG, &p->rope_parameters},
        {"--sliding-window", OPTION_U32, &p->sliding_window},
        {"--max-window-layers", OPTION_U32, &p->max_window_layers},
        {"--window-pattern", OPTION_U32, &p->window_pattern},
        {"--query-scalar", OPTION_U32, &p->query_scalar},
        {"--attention-cap", OPTION_DOUBLE, &p->attention_cap},
        {"--logit-cap", OPTION_DOUBLE, &p->logit_cap},
        {"--local-rope-theta", OPTION_DOUBLE, &p->local_rope_theta},
        {"--without-prefix", OPTION_FLAG, &p->without_prefix},
        {"--shard-bytes", OPTION_U64, &p->max_shard_bytes},
        {"--outliers", OPTION_U32, &p->num_outlier_channels},
        {"--outlier-scale", OPTION_FLOAT, &p->outlier_scale},
        {"--seed", OPTION_U64, &p->seed},
        {"--tokenizer", OPTION_TOKENIZER, &p->tokenizer},
    };
    const size_t length = strcspn(word, "=");
    const char *value = word[length] == '=' ? word + length + 1 : NULL;
    for (size_t i = 0; i < BM_COUNT(options); i++)
        if (strlen(options[i].name) == length && strncmp(options[i].name, word, length) == 0)
            return set_option(&options[i], value);
    return false;
}
