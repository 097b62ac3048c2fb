// Quantizes a model to 4 bits and measures what that cost, with the public API alone.
//
//   example_quantize MODEL TEXT OUTPUT
#include <bitmill/bitmill.h>

#include <stdio.h>

static void say(void *user, bm_log_level level, const char *message)
{
    (void)user, (void)level;
    fprintf(stderr, "%s\n", message);
}

int main(int argc, char **argv)
{
    bm_error err;
    bm_device *device = NULL;
    bm_quantize_summary summary;
    bm_evaluation evaluation;
    const bm_log log = {BM_LOG_INFO, say, NULL};
    if (argc != 4) {
        fprintf(stderr, "usage: %s MODEL TEXT OUTPUT\n", argv[0]);
        return 2;
    }

    bm_quantize_params quantize;
    bm_quantize_params_init(&quantize);
    quantize.model = argv[1];
    quantize.bits = 4;
    quantize.output = argv[3];
    quantize.log = &log;
    bm_status status = bm_quantize_model(&quantize, &summary, &err);
    if (status != BM_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }

    bm_device_params open;
    bm_device_params_init(&open);
    bm_evaluate_model_params evaluate;
    bm_evaluate_model_params_init(&evaluate);
    evaluate.model = argv[3];
    evaluate.reference = argv[1];
    evaluate.data = argv[2];
    status = bm_device_open(&device, &open, &err);
    if (status == BM_OK)
        status = bm_evaluate_model(&evaluate, device, &evaluation, &err);
    if (status != BM_OK)
        fprintf(stderr, "%s\n", err.message);
    else
        printf("%u linears, %.2f MB instead of %.2f MB, KL divergence %.6f\n", summary.num_linears,
               (double)summary.output_bytes / 1e6, (double)summary.input_bytes / 1e6, evaluation.kl_divergence);
    bm_device_close(&device);
    return status == BM_OK ? 0 : 1;
}
