// Dependencies: each rule is a file that is rejected with words, or a file that is taken with a note or without one.
#include "support/unit.h"

#include "arguments/arguments_fixture.h"

#define G MODEL_AND_DATA ",\"do_gptq\":true"
#define N MODEL_AND_DATA
#define P NEEDED
#define C P ",\"smooth\":true,\"smooth_piecewise_search\":true,\"compat\":\"paddleslim\""
#define W4 P ",\"quant_type\":\"wint4\""
#define A W4 ",\"do_awq\":true,\"smooth\":true"
#define NO_DATA "\"model_name_or_path\":\"m\",\"output_dir\":\"o\",\"do_ptq\":true,\"quant_type\":\"wint4\""

// Rejected.
static const struct {
    const char *members, *words;
} rejected[] = {
    {P ",\"do_gptq\":true", "only one of"},
    {P ",\"load_quant_model\":true", "only one of"},
    {G ",\"load_quant_model\":true", "only one of"},
    {MODEL_AND_DATA ",\"load_quant_model\":true", "set \"do_eval\" or \"do_predict\" to true"},
    {P ",\"do_qat\":true", "does not train"},
    {P ",\"do_train\":true", "does not train"},
    {N, "nothing to do"},
    {N ",\"do_ptq\":false,\"quant_type\":\"wint4\"", "nothing to do"},
    {N ",\"do_eval\":true,\"shift\":true", "\"shift\": true: needs \"do_ptq\""},
    {G ",\"shift\":true", "\"shift\": true: needs \"do_ptq\": true; it cannot stand beside do_gptq"},
    {N ",\"do_eval\":true,\"smooth\":true", "\"smooth\": true: needs"},
    {N ",\"do_eval\":true,\"do_awq\":true", "\"do_awq\": true: needs"},
    {N ",\"do_eval\":true,\"auto_clip\":true", "\"auto_clip\": true: needs"},
    {G ",\"auto_clip\":true", "cannot stand beside do_gptq"},
    {P ",\"auto_clip\":true", "weight-only"},
    {P ",\"do_awq\":true,\"shift\":true", "\"shift\": true: cannot stand beside \"do_awq\": true"},
    {P ",\"do_awq\":true,\"fold_other_linears\":\"ops\"",
     "\"fold_other_linears\": \"ops\": cannot stand beside AWQ, whose scales are folded into weights alone; expected "
     "auto or off"},
    {G ",\"do_awq\":true,\"fold_other_linears\":\"ops\"", "\"fold_other_linears\": \"ops\": cannot stand beside AWQ"},
    {G ",\"scaling\":\"awq\",\"fold_other_linears\":\"ops\"",
     "\"fold_other_linears\": \"ops\": cannot stand beside AWQ"},
    {P ",\"auto_clip\":true,\"quant_type\":\"wint4\",\"scale_search\":\"mse\"",
     "\"auto_clip\": true: cannot stand beside \"scale_search\": \"mse\"; expected gram or abs_max"},
    {P ",\"auto_clip\":true,\"quant_type\":\"a8w8c8\"", "weight-only"},
    {P ",\"smooth\":true,\"do_awq\":true,\"smooth_piecewise_search\":true", "one search or the other"},
    {G ",\"smooth_piecewise_search\":true,\"scaling\":\"awq\"", "smooth_piecewise_search"},
    {P ",\"do_awq\":true,\"quant_type\":\"a8w8\"", "\"quant_type\": \"a8w8\": cannot stand beside \"do_awq\""},
    {G ",\"quant_type\":\"a8w8\"", "cannot stand beside \"do_gptq\""},
    {G ",\"quant_type\":\"a8w8c8\"", "cannot stand beside \"do_gptq\""},
    {G ",\"quant_type\":\"a8w8_fp8\"", "cannot stand beside \"do_gptq\""},
    {G ",\"use_fp8\":\"WA\"", "do_gptq"},
    {P ",\"do_awq\":true,\"use_fp8\":\"WA\"", "do_awq"},
    {P ",\"quant_type\":\"wint8\",\"use_fp8\":\"WA\"", "contradicts \"quant_type\": \"wint8\""},
    {G ",\"smooth\":true,\"scaling\":\"none\"", "contradicts \"smooth\""},
    {G ",\"do_awq\":true,\"scaling\":\"smooth\"", "contradicts \"do_awq\""},
    {A ",\"scaling\":\"none\"", "\"scaling\": \"none\": contradicts \"do_awq\": true"},
    {A ",\"scaling\":\"smooth\"", "\"scaling\": \"smooth\": contradicts \"do_awq\": true"},
    {W4 ",\"scaling\":\"awq\"",
     "\"scaling\": \"awq\": needs \"do_gptq\": true; before rounding AWQ is \"do_awq\": true, or --method awq"},
    {W4 ",\"smooth\":true,\"scaling\":\"awq\"", "\"scaling\": \"awq\": needs \"do_gptq\": true; before rounding AWQ"},
    {W4 ",\"scaling\":\"smooth\"",
     "\"scaling\": \"smooth\": needs \"do_gptq\": true; before rounding it is \"smooth\": true"},
    {W4 ",\"smooth\":true,\"scaling\":\"none\"", "\"scaling\": \"none\": contradicts \"smooth\": true"},
    {W4 ",\"do_awq\":true,\"smooth\":false", "\"smooth\": false: contradicts \"do_awq\": true"},
    {G ",\"do_awq\":true,\"smooth\":false", "\"smooth\": false: contradicts \"do_awq\": true"},
    {G ",\"scaling\":\"awq\",\"smooth\":false", "\"smooth\": false: contradicts \"scaling\": \"awq\""},
    {A ",\"auto_clip\":true,\"clip_n_grid\":1",
     "\"clip_n_grid\": 1: clips nothing: no threshold below 1 with \"clip_max_shrink\": 0.5; expected above 2, "
     "1 / clip_max_shrink"},
    {A ",\"auto_clip\":true,\"clip_n_grid\":2", "\"clip_n_grid\": 2: clips nothing"},
    {A ",\"auto_clip\":true,\"scale_search\":\"abs_max\",\"clip_max_shrink\":0.05",
     "\"clip_n_grid\": 20: clips nothing"},
    {P ",\"weight_quant_method\":\"abs_max\"", "only for a8w8_fp8"},
    {P ",\"quant_type\":\"wint4\",\"weight_quant_method\":\"avg\"", "wint4 takes abs_max_channel_wise or groupwise"},
    {P ",\"quant_type\":\"a8w8_fp8\",\"weight_quant_method\":\"groupwise\"", "takes abs_max or avg"},
    {P ",\"quant_type\":\"a8w8_fp8\",\"weight_quant_method\":\"abs_max_channel_wise\"", "takes abs_max or avg"},
    {P ",\"quant_type\":\"a8w8c8\",\"cachekv_quant_method\":\"abs_max\"", "cachekv_quant_method"},
    {P ",\"bits\":4", "a8w8 has 8 bits"},
    {P ",\"search_alpha_min\":0.5,\"search_alpha_max\":0.5", "must be below"},
    {P ",\"search_scale_min\":3,\"search_scale_max\":2", "must not be below"},
    {P ",\"search_scale_max\":5000,\"search_scale_step\":0.25",
     "\"search_scale_step\": 0.25: expected 0.4999 or more: at most 10000 constants from search_scale_min 1 to "
     "search_scale_max 5000"},
    {P ",\"act_quant_method\":\"mse\",\"compat\":\"paddleslim\"",
     "\"act_quant_method\": \"mse\": cannot stand beside \"compat\": \"paddleslim\", which takes avg, abs_max or "
     "per_token"},
    {P ",\"fp16\":true,\"bf16\":true", "choose one"},
    {P ",\"fp16_opt_level\":\"O2\"", "needs \"fp16\" or \"bf16\""},
    {P ",\"dtype\":\"float16\",\"bf16\":true", "contradicts \"bf16\""},
    {P ",\"dtype\":\"float32\",\"fp16\":true,\"fp16_opt_level\":\"O2\"", "contradicts \"fp16_opt_level\""},
    {P ",\"dtype\":\"bfloat16\",\"fp16_opt_level\":\"O1\"", "contradicts \"fp16_opt_level\": \"O1\""},
    {P ",\"src_length\":512,\"max_length\":512", "above src_length 512"},
    {P ",\"src_length\":512,\"tgt_length\":512,\"max_length\":2048", "src_length + tgt_length = 1024"},
    {P ",\"format\":\"gptq\"", "cannot hold quantized activations"},
    {P ",\"quant_type\":\"wint4\",\"gguf_embeddings\":\"q8_0\"",
     "\"gguf_embeddings\": \"q8_0\": needs \"format\": \"gguf\", not compressed-tensors"},
    {W4 ",\"gguf_type\":\"q4_k\"", "\"gguf_type\": \"q4_k\": needs \"format\": \"gguf\", not compressed-tensors"},
    {W4 ",\"format\":\"gguf\",\"gguf_type\":\"q5_k_m\",\"bits\":4",
     "\"bits\": 4: \"gguf_type\": \"q5_k_m\" has 5; leave \"bits\" out"},
    {W4 ",\"format\":\"gguf\",\"gguf_type\":\"q4_k\",\"symmetric\":true", "\"symmetric\": true: \"gguf_type\""},
    {W4 ",\"format\":\"gguf\",\"gguf_type\":\"q6_k\",\"symmetric\":false", "\"q6_k\" has symmetric codes"},
    {W4 ",\"format\":\"gguf\",\"gguf_type\":\"q4_k\",\"weight_quant_method\":\"abs_max_channel_wise\"",
     "expected groupwise"},
    {W4 ",\"format\":\"gguf\",\"gguf_type\":\"q4_k\",\"weight_quant_method\":\"groupwise\",\"group_size\":64",
     "\"group_size\": 64: \"gguf_type\": \"q4_k\" has groups of 32 of its own"},
    {W4 ",\"format\":\"gguf\",\"gguf_type\":\"q6_k\",\"auto_clip\":true", "\"auto_clip\": true: cannot stand beside"},
    {P ",\"format\":\"gguf\",\"quant_type\":\"a8w8_fp8\"", "cannot hold quantized activations"},
    {P ",\"format\":\"awq\",\"quant_type\":\"wint8\"", "holds 4 bits, not 8"},
    {G ",\"format\":\"awq\",\"act_order\":\"dynamic\"", "no place for g_idx"},
    {"\"do_ptq\":true,\"output_dir\":\"o\"", "\"model_name_or_path\": missing"},
    {"\"do_ptq\":true,\"model_name_or_path\":\"m\"", "\"output_dir\": missing"},
    {"\"do_ptq\":true,\"model_name_or_path\":\"m\",\"output_dir\":\"\"", "\"output_dir\": missing"},
    {P ",\"shift_all_linears\":true,\"shift_all_linear\":false", "two names"},
    {P ",\"src_length\":8,\"max_source_length\":9", "two names"},
    {P ",\"task_name_or_path\":\"other\"", "two names"},
    {P ",\"zero_padding\":true,\"intokens\":false", "two names"},
    {P ",\"weight_quantize_algo\":\"weight_only_int4\"", "quantizing while loading"},
    {P ",\"eval_with_do_generation\":true", "generation metrics"},
    {P ",\"strict\":true,\"quant_type\":\"wint4\",\"lazy\":true", "a note, which --strict refuses: \"lazy\""},
    {P ",\"strict\":true,\"smooth\":true,\"smooth_piecewise_search\":true,\"smooth_k_piece\":true", "TAKEN AS 1"},
    {P ",\"strict\":true,\"device\":\"GPU\"", "\"device\": \"gpu\": taken as auto"},
    {P ",\"strict\":true,\"allow_unknown\":true,\"xyz\":1", "a note, which --strict refuses: \"xyz\""},
    {P ",\"strict\":true,\"smooth\":\"yes\"", "a note, which --strict refuses: \"smooth\""},
};

// Taken; note: words that a note must contain, or with '!' in front must not.
static const struct {
    const char *members, *note;
} taken[] = {
    {P ",\"quant_type\":\"wint4\",\"shift\":true", "\"shift\": true: no benefit"},
    {P ",\"quant_type\":\"wint4\",\"smooth\":true", "\"smooth\": true: little benefit"},
    {P ",\"shift_all_linears\":true", "\"shift_all_linears\": not used: needs \"shift\""},
    {P ",\"shift_all_linears\":false", "!shift_all_linears"},
    {P ",\"smooth_all_linear\":true", "\"smooth_all_linears\": not used: needs \"smooth\""},
    {P ",\"do_awq\":true,\"smooth_all_linears\":true,\"quant_type\":\"wint4\"", "!smooth_all_linears"},
    {P ",\"shift_step\":4", "\"shift_step\": not used"},
    {P ",\"shift\":true,\"shift_step\":4", "!shift_step"},
    {P ",\"smooth_piecewise_search\":true", "\"smooth_piecewise_search\": not used: needs \"smooth\""},
    {P ",\"smooth\":true,\"smooth_k_piece\":3", "\"smooth_k_piece\": not used: needs \"smooth_piecewise_search\""},
    {P ",\"smooth\":true,\"smooth_search_piece\":true", "\"smooth_search_piece\": not used"},
    {P ",\"smooth\":true,\"search_scale_max\":4", "\"search_scale_max\": not used"},
    {P ",\"smooth\":true,\"search_crosswise\":true",
     "\"search_crosswise\": not used: needs \"smooth_piecewise_search\""},
    {P ",\"smooth\":true,\"search_margin\":0.1", "\"search_margin\": not used"},
    {P ",\"smooth_weight_statistic\":\"rms\"", "\"smooth_weight_statistic\": not used: needs \"smooth\""},
    {C ",\"search_crosswise\":true", "\"search_crosswise\": not used: with \"compat\": \"paddleslim\""},
    {C ",\"search_crosswise\":false", "!not used"},
    {C ",\"search_margin\":0.1", "\"search_margin\": not used: with \"compat\""},
    {C ",\"search_alpha_step\":0.1", "\"search_alpha_step\": not used: with \"compat\""},
    {C ",\"search_scale_step\":1", "\"search_scale_step\": not used: with \"compat\""},
    {C ",\"search_rounds\":1", "\"search_rounds\": not used: with \"compat\""},
    {C ",\"search_prune\":true", "\"search_prune\": not used: with \"compat\""},
    {C ",\"search_loss\":\"mse\"", "\"search_loss\": not used: with \"compat\""},
    {C ",\"search_tokens\":9", "\"search_tokens\": not used: with \"compat\""},
    {P ",\"compat\":\"paddleslim\",\"search_tokens\":9", "!not used"}, // errors of outputs are measured on so many
    {P ",\"compat\":\"paddleslim\",\"search_loss\":\"mse\"", "\"search_loss\": not used: with \"compat\""},
    {C ",\"smooth_piece_order\":\"falling\"", "\"smooth_piece_order\": not used: with \"compat\""},
    {C ",\"piecewise_candidates\":\"log\"", "\"piecewise_candidates\": not used: with \"compat\""},
    {C ",\"smooth_sampler\":\"multi_step\"", "\"smooth_sampler\": not used: with \"compat\""},
    {C ",\"smooth_weight_statistic\":\"rms\"", "\"smooth_weight_statistic\": not used: with \"compat\""},
    {C ",\"shift\":true,\"shift_statistic\":\"mean\"", "\"shift_statistic\": not used: with \"compat\""},
    {C ",\"scale_search\":\"mse\"", "\"scale_search\": not used: with \"compat\""},
    {C ",\"smooth_k_piece\":2,\"smooth_search_piece\":true,\"search_alpha_min\":0.1,\"search_scale_max\":4,"
       "\"smooth_pow2\":true,\"shift\":true,\"shift_sampler\":\"ema\",\"act_quant_method\":\"avg\"",
     "!not used"},
    {P ",\"smooth\":true,\"compat\":\"paddleslim\",\"search_margin\":0.1",
     "\"search_margin\": not used: needs \"smooth_piecewise_search\""},
    {MODEL_AND_DATA ",\"do_eval\":true,\"load_quant_model\":true,\"compat\":\"paddleslim\",\"search_margin\":0.1",
     "!not used"},
    {W4 ",\"compat\":\"paddleslim\"", "!scale_search"},
    {P ",\"search_loss\":\"mse\",\"search_tokens\":9", "!search_"}, // act_quant_method mse reads them
    {W4 ",\"search_loss\":\"mse\"", "\"search_loss\": not used: needs \"smooth_piecewise_search\""},
    {P ",\"smooth\":true,\"smooth_piecewise_search\":true,\"smooth_k_piece\":3", "!smooth_k_piece"},
    {P ",\"smooth\":true,\"smooth_piecewise_search\":true,\"smooth_k_piece\":17", "more than 16"},
    {P ",\"smooth\":true,\"smooth_piecewise_search\":true,\"weight_quant_method\":\"groupwise\"", "!groupwise"},
    {P ",\"do_awq\":true", "implies the smooth phase"},
    {P ",\"do_awq\":true", "\"quant_type\": absent beside \"do_awq\": wint4"},
    {P ",\"do_awq\":true", "designed for groupwise"},
    {P ",\"do_awq\":true,\"smooth\":true", "!implies the smooth phase"},
    {P ",\"do_awq\":true,\"quant_type\":\"wint8\"", "!wint8"},
    {P ",\"do_awq\":true,\"awq_step\":5", "!awq_step"},
    {P ",\"do_awq\":true,\"awq_step\":5,\"smooth_step\":4", "\"awq_step\": 5: used instead of \"smooth_step\": 4"},
    {P ",\"do_awq\":true,\"awq_step\":5,\"smooth_step\":5", "!awq_step"},
    {P ",\"do_awq\":true", "!smooth_all_linears"},
    {P ",\"awq_step\":5", "\"awq_step\": not used: needs \"do_awq\": true, or \"scaling\": \"awq\" beside GPTQ"},
    {G ",\"awq_n_grid\":5", "\"awq_n_grid\": not used: needs \"do_awq\": true, or \"scaling\": \"awq\" beside GPTQ"},
    {G ",\"scaling\":\"awq\",\"awq_n_grid\":5", "!awq_n_grid"},
    {A ",\"scaling\":\"awq\"", "!scaling"},
    {W4 ",\"smooth\":true,\"scaling\":\"smooth\"", "!scaling"},
    {W4 ",\"scaling\":\"none\"", "\"scaling\": not used: needs \"do_gptq\": true"},
    {N ",\"do_eval\":true,\"scaling\":\"awq\"", "\"scaling\": not used: needs \"do_gptq\": true"},
    {A ",\"auto_clip\":true,\"clip_n_grid\":3", "!clip"},
    {A ",\"auto_clip\":true,\"scale_search\":\"gram\",\"clip_n_grid\":1", "\"clip_n_grid\": not used"},
    {G ",\"smooth\":true,\"fold_other_linears\":\"ops\"", "!fold_other"},
    {G ",\"scaling\":\"awq\",\"fold_other_linears\":\"off\"", "!fold_other"},
    {A ",\"search_loss\":\"mse\"", "\"search_loss\": not used: needs \"smooth_piecewise_search\""},
    {A ",\"smooth_sampler\":\"multi_step\"", "\"smooth_sampler\": not used: needs \"smooth\": true without AWQ"},
    {A ",\"smooth_weight_statistic\":\"abs_max\"",
     "\"smooth_weight_statistic\": not used: needs \"smooth\": true without"},
    {G ",\"smooth\":true,\"smooth_weight_statistic\":\"abs_max\"", "!not used"},
    {A ",\"calibration_inputs\":\"quantized\"",
     "\"calibration_inputs\": not used: needs GPTQ, or rounding that weighs by data without AWQ"},
    {A ",\"true_sequential\":true", "\"true_sequential\": not used: needs GPTQ"},
    {A ",\"auto_clip\":true,\"true_sequential\":true", "\"true_sequential\": not used"},
    {G ",\"scaling\":\"awq\",\"calibration_inputs\":\"float\",\"true_sequential\":true", "!not used"},
    {G ",\"scale_search\":\"mse\",\"true_sequential\":true", "!not used"},
    {W4 ",\"smooth\":true,\"calibration_inputs\":\"float\",\"true_sequential\":true", "!not used"},
    {W4 ",\"smooth\":true,\"scale_search\":\"mse\",\"true_sequential\":true", "\"true_sequential\": not used"},
    {A ",\"ptq_step\":4", "!ptq_step"},
    {A ",\"scale_search\":\"mse\",\"ptq_step\":4",
     "\"ptq_step\": not used: needs static activations (A8W8), or rounding that weighs by data without clipping"},
    {A ",\"scale_search\":\"abs_max\",\"ptq_step\":4", "\"ptq_step\": not used"},
    {A ",\"search_tokens\":4", "!search_tokens"},
    {G ",\"scaling\":\"awq\",\"awq_inspect\":\"block\",\"search_tokens\":4", "!search_tokens"},
    {G ",\"scaling\":\"awq\",\"search_tokens\":4", "\"search_tokens\": not used"},
    {A ",\"auto_clip\":true,\"signed_scales\":true", "!signed_scales"},
    {A ",\"auto_clip\":true,\"clip_n_grid\":10,\"signed_scales\":true",
     "\"signed_scales\": not used: needs symmetric weights and a scale_search other than abs_max, without thresholds"},
    {A ",\"auto_clip\":true,\"scale_search\":\"gram\",\"clip_n_grid\":10",
     "\"clip_n_grid\": not used: needs \"auto_clip\": true without \"scale_search\": \"gram\""},
    {A ",\"auto_clip\":true,\"scale_search\":\"gram\",\"clip_max_shrink\":0.25", "\"clip_max_shrink\": not used"},
    {A ",\"clip_n_grid\":10", "\"clip_n_grid\": not used: needs \"auto_clip\": true"},
    {A ",\"auto_clip\":true,\"scale_search\":\"abs_max\",\"clip_n_grid\":10,\"clip_max_shrink\":0.25", "!not used"},
    {W4 ",\"auto_clip\":true", "!\"scale_search\": absent"},
    {NO_DATA ",\"auto_clip\":true,\"scale_search\":\"gram\"", "!of which there are none"},
    {P ",\"quant_type\":\"wint4\",\"auto_clip\":true", "!auto_clip"}, // resolved.clip says by what
    {P ",\"quant_type\":\"wint4\",\"auto_clip\":true,\"scale_search\":\"abs_max\"", "!auto_clip"},
    {P ",\"quant_type\":\"wint4\",\"auto_clip\":true,\"clip_n_grid\":10", "!auto_clip"},
    {P ",\"quant_type\":\"wint4\",\"clip_skip\":[\"q_proj\"]", "\"clip_skip\": not used"},
    {G, "\"quant_type\": absent beside \"do_gptq\": wint4"},
    {G ",\"quant_type\":\"wint8\"", "GPTQ with 8 bits (PaddleNLP always takes 4)"},
    {G ",\"quant_type\":\"wint8\",\"bits\":8", "!GPTQ with 8 bits"},
    {G ",\"smooth\":true", "folded first, then GPTQ"},
    {G ",\"do_awq\":true", "\"do_awq\": true: the scaling is folded first"},
    {G ",\"ptq_step\":4", "\"ptq_step\": not used"},
    {P ",\"gptq_step\":4", "\"gptq_step\": not used: needs \"do_gptq\""},
    {P ",\"damp_percent\":0.1", "\"damp_percent\": not used"},
    {P ",\"cachekv_quant_method\":\"avg_headwise\"",
     "\"cachekv_quant_method\": not used: needs \"quant_type\": \"a8w8c8\""},
    {P ",\"cachekv_quant_method\":\"abs_max\"", "\"cachekv_quant_method\": not used"},
    {P ",\"quant_type\":\"A8W8C8\",\"cachekv_quant_method\":\"avg_headwise\"", "!cachekv"},
    {P ",\"fp8_type\":[\"e4m3\",\"e4m3\"]", "\"fp8_type\": not used"},
    {P ",\"use_fp8\":\"WA\"", "deprecated"},
    {P ",\"quant_type\":\"wint8\",\"act_quant_method\":\"avg\"", "\"act_quant_method\": not used"},
    {P ",\"quant_type\":\"wint8\",\"group_size\":64",
     "\"group_size\": not used: needs \"weight_quant_method\": \"groupwise\""},
    {P ",\"quant_type\":\"wint8\",\"weight_quant_method\":\"groupwise\",\"group_size\":64", "!group_size"},
    {P ",\"quant_type\":\"wint8\",\"bits\":4", "overrides the width"},
    {W4, "\"scale_search\": absent: gram"},
    {NO_DATA, "\"scale_search\": absent: mse; with calibration data gram"},
    {NO_DATA ",\"scale_search\":\"gram\"",
     "\"scale_search\": \"gram\": weighs by calibration data, of which there are none: mse"},
    {NO_DATA ",\"scale_search\":\"mse\"", "!scale_search"},
    {W4 ",\"scale_search\":\"weighted_mse\"", "!scale_search"},
    {W4 ",\"ptq_step\":4", "!ptq_step"},
    {W4 ",\"scale_search\":\"mse\",\"ptq_step\":4", "\"ptq_step\": not used"},
    {W4 ",\"signed_scales\":true", "!signed_scales"},
    {W4 ",\"signed_scales\":true,\"scale_search\":\"abs_max\"",
     "\"signed_scales\": not used: needs symmetric weights and a scale_search other than abs_max"},
    {W4 ",\"signed_scales\":true,\"symmetric\":false", "\"signed_scales\": not used"},
    {W4 ",\"signed_scales\":true,\"format\":\"awq\"", "\"signed_scales\": not used"},
    {P ",\"signed_scales\":true", "\"signed_scales\": not used"},
    {G ",\"qep_alpha\":0.25,\"calibration_inputs\":\"float\"",
     "\"qep_alpha\": 0.25: no effect with \"calibration_inputs\": \"float\""},
    {G ",\"calibration_inputs\":\"float\"", "!qep_alpha"},
    {G ",\"block_size\":64", "\"block_size\": 64: no effect on the result"},
    {G ",\"block_size\":128", "!block_size"},
    {P ",\"max_length\":512", "\"src_length\": absent: 256, half of max_length"},
    {P ",\"max_length\":3", "\"src_length\": absent: 2, half of max_length"},
    {P ",\"max_length\":1025", "!src_length"},
    {NO_DATA ",\"dataset_name_or_path\":\"d.txt\",\"max_length\":512", "!src_length"},
    {P ",\"quant_type\":\"wint4\",\"scale_search\":\"abs_max\"", "!scale_search"},
    {P ",\"greedy_zero_padding\":true", "\"greedy_zero_padding\": not used: needs \"zero_padding\""},
    {P ",\"bf16\":true", "float32 without \"fp16_opt_level\": \"O2\""},
    {P ",\"bf16\":true,\"fp16_opt_level\":\"O2\"", "!float32"},
    {P ",\"tensor_parallel_degree\":8", "one device is used"},
    {P ",\"zero_padding\":true,\"intokens\":true", "two names with the same value"},
    {N ",\"do_eval\":true,\"quant_type\":\"wint4\"", "\"quant_type\": not used: needs a quantization job"},
    {P ",\"strict\":true,\"quant_type\":\"wint4\"", "\"scale_search\": absent"}, // a choice is no error
};

static void contradiction_is_rejected(void **state)
{
    (void)state;
    for (size_t i = 0; i < BM_COUNT(rejected); i++) {
        bm_arguments *args = NULL;
        bm_error err = {BM_OK, ""};
        const bm_status status = fixture_read(&args, rejected[i].members, NULL, &err);
        if (status != BM_E_ARGUMENT || !strstr(err.message, rejected[i].words))
            fail_msg("%s: status %d: %s", rejected[i].members, (int)status, err.message);
        if (strncmp(err.message, FIXTURE_NAME ": ", strlen(FIXTURE_NAME ": ")) != 0)
            fail_msg("%s: %s", rejected[i].members, err.message);
    }
}

static void key_without_its_partner_is_noted(void **state)
{
    (void)state;
    for (size_t i = 0; i < BM_COUNT(taken); i++) {
        bm_arguments *args = NULL;
        bm_error err;
        const bool is_forbidden = taken[i].note[0] == '!';
        if (fixture_read(&args, taken[i].members, NULL, &err) != BM_OK)
            fail_msg("%s: %s", taken[i].members, err.message);
        const bm_note *note = fixture_note(args, taken[i].note + (is_forbidden ? 1 : 0));
        if (is_forbidden ? note != NULL : note == NULL)
            fail_msg("%s: note \"%s\": %s", taken[i].members, taken[i].note, note ? note->text : "absent");
        bm_arguments_destroy(&args);
    }
}

// What the files mean.
static const struct {
    const char *members;
    bm_job job;
    bm_quant_type type;
    uint32_t bits;
    bm_weight_method method;
    int64_t group_size;
    bm_scale_search search;
} resolved[] = {
    {P, BM_JOB_A8W8, BM_QUANT_A8W8, 8, BM_WEIGHT_CHANNEL_WISE, -1, BM_SCALE_ABS_MAX},
    {P ",\"quant_type\":\"W8A8C8\"", BM_JOB_A8W8, BM_QUANT_A8W8C8, 8, BM_WEIGHT_CHANNEL_WISE, -1, BM_SCALE_ABS_MAX},
    {P ",\"use_fp8\":\"WA\"", BM_JOB_A8W8, BM_QUANT_A8W8_FP8, 8, BM_WEIGHT_ABS_MAX, -1, BM_SCALE_ABS_MAX},
    {P ",\"quant_type\":\"WINT8\"", BM_JOB_ROUNDING, BM_QUANT_WINT8, 8, BM_WEIGHT_CHANNEL_WISE, -1, BM_SCALE_GRAM},
    {NO_DATA ",\"weight_quant_method\":\"groupwise\"", BM_JOB_ROUNDING, BM_QUANT_WINT4, 4, BM_WEIGHT_GROUPWISE, 128,
     BM_SCALE_MSE},
    {P ",\"quant_type\":\"WINT4\",\"weight_quant_method\":\"groupwise\"", BM_JOB_ROUNDING, BM_QUANT_WINT4, 4,
     BM_WEIGHT_GROUPWISE, 128, BM_SCALE_GRAM},
    {P ",\"quant_type\":\"WINT4\",\"weight_quant_method\":\"groupwise\",\"group_size\":-1", BM_JOB_ROUNDING,
     BM_QUANT_WINT4, 4, BM_WEIGHT_CHANNEL_WISE, -1, BM_SCALE_GRAM},
    {P ",\"quant_type\":\"WINT4\",\"bits\":3,\"scale_search\":\"abs_max\"", BM_JOB_ROUNDING, BM_QUANT_WINT4, 3,
     BM_WEIGHT_CHANNEL_WISE, -1, BM_SCALE_ABS_MAX},
    {P ",\"quant_type\":\"WINT4\",\"bits\":8", BM_JOB_ROUNDING, BM_QUANT_WINT8, 8, BM_WEIGHT_CHANNEL_WISE, -1,
     BM_SCALE_GRAM},
    {NO_DATA ",\"auto_clip\":true", BM_JOB_ROUNDING, BM_QUANT_WINT4, 4, BM_WEIGHT_CHANNEL_WISE, -1, BM_SCALE_GRAM},
    {P ",\"do_awq\":true", BM_JOB_AWQ, BM_QUANT_WINT4, 4, BM_WEIGHT_CHANNEL_WISE, -1, BM_SCALE_GRAM},
    {G ",\"weight_quant_method\":\"groupwise\",\"group_size\":64", BM_JOB_GPTQ, BM_QUANT_WINT4, 4, BM_WEIGHT_GROUPWISE,
     64, BM_SCALE_WEIGHTED_MSE},
    {N ",\"do_eval\":true", BM_JOB_EVALUATE, BM_QUANT_A8W8, 0, BM_WEIGHT_CHANNEL_WISE, 128, BM_SCALE_ABS_MAX},
    {N ",\"load_quant_model\":true,\"do_predict\":true", BM_JOB_LOAD, BM_QUANT_A8W8, 0, BM_WEIGHT_CHANNEL_WISE, 128,
     BM_SCALE_ABS_MAX},
};

static void method_is_resolved(void **state)
{
    (void)state;
    for (size_t i = 0; i < BM_COUNT(resolved); i++) {
        bm_arguments *args = NULL;
        bm_error err;
        if (fixture_read(&args, resolved[i].members, NULL, &err) != BM_OK)
            fail_msg("%s: %s", resolved[i].members, err.message);
        if (args->job != resolved[i].job || args->quant_type != resolved[i].type ||
            args->weight_bits != resolved[i].bits || args->weight_quant_method != resolved[i].method ||
            args->group_size != resolved[i].group_size || args->scale_search != resolved[i].search)
            fail_msg("%s: %s %s %u bits %s groups of %d, %s", resolved[i].members, bm_job_name(args->job),
                     bm_quant_type_name(args->quant_type), (unsigned)args->weight_bits,
                     bm_weight_method_name(args->weight_quant_method), (int)args->group_size,
                     bm_scale_search_name(args->scale_search));
        bm_arguments_destroy(&args);
    }
}

// What the file says of scaling stays; keys of AWQ count where its scales are used.
static void scaling_is_resolved(void **state)
{
    (void)state;
    static const struct {
        const char *members;
        bm_scaling scaling;
        bool smooth, smooth_all_linears;
        int64_t smooth_step;
    } cases[] = {{G, BM_SCALING_NONE, false, false, 32},
                 {G ",\"smooth\":true", BM_SCALING_SMOOTH, true, false, 32},
                 {G ",\"do_awq\":true", BM_SCALING_AWQ, true, true, 32},
                 {G ",\"smooth\":true,\"do_awq\":true,\"awq_step\":5", BM_SCALING_AWQ, true, true, 5},
                 {G ",\"smooth\":true,\"scaling\":\"awq\",\"awq_step\":5", BM_SCALING_AWQ, true, true, 5},
                 {G ",\"smooth\":true,\"scaling\":\"smooth\",\"awq_step\":5", BM_SCALING_SMOOTH, true, false, 32},
                 {A ",\"smooth_step\":7", BM_SCALING_NONE, true, true, 7},
                 {A ",\"awq_step\":5", BM_SCALING_NONE, true, true, 5}};
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        bm_arguments *args = NULL;
        bm_error err;
        assert_ok(fixture_read(&args, cases[i].members, NULL, &err), &err);
        if (args->scaling != cases[i].scaling || args->smooth != cases[i].smooth ||
            args->smooth_all_linears != cases[i].smooth_all_linears || args->smooth_step != cases[i].smooth_step)
            fail_msg("%s: scaling %d, smooth %d, all linears %d, %d steps", cases[i].members, (int)args->scaling,
                     args->smooth, args->smooth_all_linears, (int)args->smooth_step);
        assert_int_equal(args->awq_step, strstr(cases[i].members, "awq_step") ? 5 : args->smooth_step);
        bm_arguments_destroy(&args);
    }
}

static void qep_alpha_is_resolved(void **state)
{
    (void)state;
    static const struct {
        const char *members;
        double alpha;
    } cases[] = {{G, 0.5},
                 {G ",\"qep_alpha\":0", 0},
                 {G ",\"qep_alpha\":0.25", 0.25},
                 {G ",\"calibration_inputs\":\"float\"", 0},
                 {G ",\"qep_alpha\":0.25,\"calibration_inputs\":\"float\"", 0},
                 {W4, 0}};
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        bm_arguments *args = NULL;
        bm_error err;
        assert_ok(fixture_read(&args, cases[i].members, NULL, &err), &err);
        if (args->qep_alpha != cases[i].alpha)
            fail_msg("%s: %g", cases[i].members, args->qep_alpha);
        bm_arguments_destroy(&args);
    }
}

static void fp8_letters_order_the_types(void **state)
{
    (void)state;
    bm_arguments *args = NULL;
    bm_error err;
    assert_ok(fixture_read(&args, P ",\"use_fp8\":\"WA\",\"fp8_type\":[\"e4m3\",\"e5m2\"]", NULL, &err), &err);
    assert_int_equal(args->fp8_weight, BM_DTYPE_F8_E4M3);
    assert_int_equal(args->fp8_activation, BM_DTYPE_F8_E5M2);
    bm_arguments_destroy(&args);
    assert_ok(fixture_read(&args, P ",\"quant_type\":\"a8w8_fp8\",\"fp8_type\":[\"e4m3\",\"e5m2\"]", NULL, &err), &err);
    assert_int_equal(args->fp8_activation, BM_DTYPE_F8_E4M3);
    assert_int_equal(args->fp8_weight, BM_DTYPE_F8_E5M2);
    bm_arguments_destroy(&args);
}

static const struct {
    const char *members;
    bm_dtype storage;
} storages[] = {
    {P, BM_DTYPE_NONE},
    {P ",\"fp16\":true", BM_DTYPE_F32},
    {P ",\"fp16\":true,\"fp16_opt_level\":\"O2\"", BM_DTYPE_F16},
    {P ",\"bf16\":true,\"fp16_opt_level\":\"o2\"", BM_DTYPE_BF16},
    {P ",\"bf16\":true,\"fp16_opt_level\":\"O1\"", BM_DTYPE_F32},
    {P ",\"fp16_opt_level\":\"O0\"", BM_DTYPE_F32},
    {P ",\"dtype\":\"float16\"", BM_DTYPE_F16},
    {P ",\"dtype\":\"bfloat16\",\"bf16\":true,\"fp16_opt_level\":\"O2\"", BM_DTYPE_BF16},
    {P ",\"dtype\":\"float32\"", BM_DTYPE_F32},
};

static void storage_type_is_resolved(void **state)
{
    (void)state;
    for (size_t i = 0; i < BM_COUNT(storages); i++) {
        bm_arguments *args = NULL;
        bm_error err;
        if (fixture_read(&args, storages[i].members, NULL, &err) != BM_OK)
            fail_msg("%s: %s", storages[i].members, err.message);
        if (args->storage_dtype != storages[i].storage)
            fail_msg("%s: %s", storages[i].members, bm_dtype_name(args->storage_dtype));
        bm_arguments_destroy(&args);
    }
}

static void awq_format_has_zero_points_by_default(void **state)
{
    (void)state;
    bm_arguments *args = NULL;
    bm_error err;
    assert_ok(fixture_read(&args, P ",\"quant_type\":\"wint4\",\"format\":\"awq\"", NULL, &err), &err);
    assert_false(args->symmetric);
    bm_arguments_destroy(&args);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contradiction_is_rejected), cmocka_unit_test(key_without_its_partner_is_noted),
        cmocka_unit_test(method_is_resolved),        cmocka_unit_test(scaling_is_resolved),
        cmocka_unit_test(qep_alpha_is_resolved),     cmocka_unit_test(fp8_letters_order_the_types),
        cmocka_unit_test(storage_type_is_resolved),  cmocka_unit_test(awq_format_has_zero_points_by_default),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
