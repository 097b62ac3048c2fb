// libFuzzer: bytes as a parameter file; what stands behind a zero byte is an override. What is taken is checked further
// and written, and the writing must be JSON.
#include "schedule/check.h"
#include "schedule/plan.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(const bm_arguments *args)
{
    bm_string text = BM_STRING_INIT;
    bm_json_writer writer;
    bm_json *root = NULL;
    bm_error err;
    const bm_model model = {.config.max_position_embeddings = 512};
    bm_plan *plan = NULL;
    (void)bm_check_built(args, &err);
    if (!bm_job_quantizes(args->job) && bm_plan_create(args, &model, &plan, &err) == BM_OK)
        bm_plan_destroy(&plan);
    bm_json_writer_init(&writer, &text, 2);
    bm_json_begin_object(&writer, NULL);
    bm_arguments_write_json(args, &writer);
    bm_json_end_object(&writer);
    if (bm_json_parse(&root, bm_string_text(&text), text.length, "written", &err) != BM_OK)
        abort();
    bm_json_destroy(&root);
    bm_string_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bm_arguments *args = NULL;
    bm_error err;
    const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
    const size_t length = zero ? (size_t)(zero - data) : size;
    char *override = bm_alloc_zero((uint64_t)(size - length) + 1, 1);
    if (!override)
        return 0;
    if (zero)
        memcpy(override, zero + 1, size - length - 1);
    const char *const overrides[] = {override};
    const bm_arguments_options options = {.overrides = overrides, .num_overrides = zero ? 1 : 0};
    if (bm_arguments_read_text(&args, (const char *)data, length, "input", &options, &err) == BM_OK)
        use(args);
    bm_arguments_destroy(&args);
    bm_free(override);
    return 0;
}
