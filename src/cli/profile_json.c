// --profile in results as JSON; for people it is a table in the log.
#include "cli/cli.h"

#include "device/device.h"
#include "device/kernels.h"

#include <stdio.h>

void cli_put_profile(const cli_context *context, bm_json_writer *w, bm_device *device)
{
    const bm_kernel_time *rows = NULL;
    char name[64];
    if (!context->profile)
        return;
    bm_json_begin_array(w, "profile");
    const uint32_t count = device ? bm_device_kernel_times(device, &rows) : 0;
    for (uint32_t i = 0; i < count; i++) {
        const bm_kernel_info *info = &bm_kernel_table[rows[i].kernel];
        snprintf(name, sizeof name, "%s%s", info->name, info->variants[rows[i].variant].suffix);
        bm_json_begin_object(w, NULL);
        bm_json_put_string(w, "kernel", name);
        bm_json_put_integer(w, "dispatches", (int64_t)rows[i].dispatches);
        bm_json_put_double(w, "seconds", rows[i].seconds);
        bm_json_put_integer(w, "first_launches", (int64_t)rows[i].first_launches);
        bm_json_put_double(w, "first_seconds", rows[i].first_seconds);
        bm_json_end_object(w);
    }
    bm_json_end_array(w);
}
