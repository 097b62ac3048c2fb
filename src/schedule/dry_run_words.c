// What a dry run found, in words and as JSON.
#include "schedule/dry_run.h"

#include <math.h>

#define LIKELY_ERROR 1.3 // of an estimate, either way

bool bm_dry_run_is_below_a_second(const bm_dry_run *d)
{
    return d->seconds * LIKELY_ERROR < 1;
}

// Of a claim that one phase has alone; NULL: several do.
static const char *only_phase(const bm_emit_context *emit, unsigned phases)
{
    for (bm_memory_phase phase = 0; phase < BM_NUM_MEMORY_PHASES; phase++)
        if (phases == 1u << phase)
            return bm_memory_phase_name(emit, phase);
    return NULL;
}

static void describe_memory(const bm_quantize_run_params *p, const bm_memory_claims *c, bm_string *out)
{
    const bm_emit_context emit = {.arguments = p->arguments, .plan = p->plan};
    const bm_memory_budget *b = p->budget;
    (void)bm_string_append_format(out, "memory:  %.1f of %.1f MB of the device, %.1f of %.1f MB of the process%s\n",
                                  (double)bm_memory_claims_peak(c, BM_MEMORY_DEVICE) / 1e6,
                                  (double)b->device_bytes / 1e6, (double)bm_memory_claims_process(c, b) / 1e6,
                                  (double)b->host_bytes / 1e6, b->is_shared ? ", the device's among them" : "");
    (void)bm_string_append(out, "  phase             device, MB    host, MB    disk, MB\n");
    for (bm_memory_phase phase = 0; phase < BM_NUM_MEMORY_PHASES; phase++) {
        const uint64_t host = bm_memory_claims_bytes(c, phase, BM_MEMORY_HOST);
        if (host > 0)
            (void)bm_string_append_format(out, "  %-16s  %10.1f  %10.1f  %10.1f\n", bm_memory_phase_name(&emit, phase),
                                          (double)bm_memory_claims_bytes(c, phase, BM_MEMORY_DEVICE) / 1e6,
                                          (double)host / 1e6,
                                          (double)bm_memory_claims_bytes(c, phase, BM_MEMORY_DISK) / 1e6);
    }
    static const char *const places[] = {"device", "host", "disk"};
    for (uint32_t i = 0; i < c->count; i++) {
        const char *phase = only_phase(&emit, c->items[i].phases);
        (void)bm_string_append_format(out, "  %10.1f MB of the %-6s  %s%s%s%s\n", (double)c->items[i].bytes / 1e6,
                                      places[c->items[i].place], c->items[i].what, phase ? " (" : "",
                                      phase ? phase : "", phase ? ")" : "");
    }
    (void)bm_string_append_format(out, "largest: %.1f MB in one buffer, %s; the device allows %.1f MB\n",
                                  (double)c->largest_bytes / 1e6, c->largest,
                                  (double)bm_device_get_info(p->device)->limits.max_allocation_bytes / 1e6);
}

static void describe_fit(const bm_dry_run *d, const bm_quantize_run_params *p, bm_string *out)
{
    const bm_memory_budget *b = p->budget;
    if (d->refusal) // the words of which are the error that the dry run ends with
        (void)bm_string_append(out, "does not fit\n");
    else
        (void)bm_string_append_format(
            out, "fits in %.1f MB of the device and %.1f MB of the process; %.1f and %.1f MB would be enough\n",
            (double)b->device_bytes / 1e6, (double)b->host_bytes / 1e6, ceil((double)d->least.device_bytes / 1e5) / 10,
            ceil((double)d->least.process_bytes / 1e5) / 10);
}

void bm_dry_run_describe(const bm_dry_run *d, const bm_quantize_run_params *p, const bm_memory_claims *c,
                         bm_string *out)
{
    describe_memory(p, c, out);
    if (c->watches)
        (void)bm_string_append_format(
            out,
            "tokens:  %llu in %u batch%s of at most %u, %u pass%s a block; residual stream %s, inputs between "
            "passes %s\n",
            (unsigned long long)c->num_tokens, c->num_batches, c->num_batches == 1 ? "" : "es", c->batch_tokens,
            c->num_passes, c->num_passes == 1 ? "" : "es", bm_kept_place_name(c->stream_place),
            bm_kept_place_name(c->kept_place));
    describe_fit(d, p, out);
    if (!d->refusal) {
        (void)bm_string_append_format(out, "disk:    %.2f MB for the result", (double)d->disk_bytes / 1e6);
        if (d->knows_disk)
            (void)bm_string_append_format(out, ", %.2f MB are free", (double)d->free_bytes / 1e6);
        if (bm_dry_run_is_below_a_second(d))
            (void)bm_string_append_format(out, "\ntime:    less than a second; %s\n", d->how);
        else
            (void)bm_string_append_format(out, "\ntime:    %.1f s; %s\n", d->seconds, d->how);
    }
    for (uint32_t i = 0; i < d->num_phases; i++)
        (void)bm_string_append_format(out, "  %-16s  %10.2f s\n", d->phases[i].name, d->phases[i].seconds);
    (void)bm_string_append(out, "nothing was written: this is a dry run\n");
}

static void put_memory(const bm_quantize_run_params *p, const bm_memory_claims *c, bm_json_writer *json)
{
    const bm_emit_context emit = {.arguments = p->arguments, .plan = p->plan};
    static const char *const places[] = {"device", "host", "disk"};
    bm_json_begin_object(json, "memory");
    bm_json_put_integer(json, "device_budget_bytes", (int64_t)p->budget->device_bytes);
    bm_json_put_integer(json, "process_budget_bytes", (int64_t)p->budget->host_bytes);
    bm_json_put_bool(json, "device_is_process", p->budget->is_shared);
    bm_json_put_integer(json, "device_bytes", (int64_t)bm_memory_claims_peak(c, BM_MEMORY_DEVICE));
    bm_json_put_integer(json, "process_bytes", (int64_t)bm_memory_claims_process(c, p->budget));
    bm_json_put_integer(json, "largest_allocation_bytes", (int64_t)c->largest_bytes);
    bm_json_put_string(json, "largest_allocation", c->largest);
    bm_json_put_bool(json, "hessians_in_files", p->plan->params.folder != NULL);
    bm_json_begin_array(json, "phases");
    for (bm_memory_phase phase = 0; phase < BM_NUM_MEMORY_PHASES; phase++) {
        if (bm_memory_claims_bytes(c, phase, BM_MEMORY_HOST) == 0)
            continue;
        bm_json_begin_object(json, NULL);
        bm_json_put_string(json, "name", bm_memory_phase_name(&emit, phase));
        bm_json_put_integer(json, "device_bytes", (int64_t)bm_memory_claims_bytes(c, phase, BM_MEMORY_DEVICE));
        bm_json_put_integer(json, "host_bytes", (int64_t)bm_memory_claims_bytes(c, phase, BM_MEMORY_HOST));
        bm_json_put_integer(json, "disk_bytes", (int64_t)bm_memory_claims_bytes(c, phase, BM_MEMORY_DISK));
        bm_json_end_object(json);
    }
    bm_json_end_array(json);
    bm_json_begin_array(json, "claims");
    for (uint32_t i = 0; i < c->count; i++) {
        bm_json_begin_object(json, NULL);
        bm_json_put_string(json, "what", c->items[i].what);
        bm_json_put_string(json, "place", places[c->items[i].place]);
        bm_json_put_integer(json, "bytes", (int64_t)c->items[i].bytes);
        bm_json_put_integer(json, "least_bytes", (int64_t)c->items[i].least);
        bm_json_end_object(json);
    }
    bm_json_end_array(json);
    bm_json_end_object(json);
}

static void put_fit(const bm_dry_run *d, bm_json_writer *json)
{
    bm_json_put_bool(json, "fits", d->refusal == NULL);
    if (d->refusal)
        bm_json_put_string(json, "refusal", d->refusal);
    if (d->least.device_bytes != UINT64_MAX)
        bm_json_put_integer(json, "least_device_bytes", (int64_t)d->least.device_bytes);
    if (d->least.process_bytes != UINT64_MAX)
        bm_json_put_integer(json, "least_process_bytes", (int64_t)d->least.process_bytes);
}

void bm_dry_run_put(const bm_dry_run *d, const bm_quantize_run_params *p, const bm_memory_claims *c,
                    bm_json_writer *json)
{
    bm_json_put_bool(json, "dry_run", true);
    bm_json_put_string(json, "output", p->arguments->output_dir);
    put_memory(p, c, json);
    put_fit(d, json);
    if (!d->refusal) {
        bm_json_put_integer(json, "disk_bytes", (int64_t)d->disk_bytes);
        if (d->knows_disk)
            bm_json_put_integer(json, "free_disk_bytes", (int64_t)d->free_bytes);
    }
    if (c->watches) {
        bm_json_put_integer(json, "tokens", (int64_t)c->num_tokens);
        bm_json_put_integer(json, "batches", c->num_batches);
        bm_json_put_integer(json, "batch_tokens", c->batch_tokens);
        bm_json_put_integer(json, "passes", c->num_passes);
        bm_json_put_string(json, "residual_stream", bm_kept_place_name(c->stream_place));
        bm_json_put_string(json, "inputs_between_passes", bm_kept_place_name(c->kept_place));
    }
    if (d->refusal)
        return;
    bm_json_put_double(json, "seconds", d->seconds);
    if (bm_dry_run_is_below_a_second(d))
        bm_json_put_double(json, "seconds_at_most", 1);
    if (d->processor_seconds > 0)
        bm_json_put_double(json, "processor_seconds", d->processor_seconds);
    bm_json_put_bool(json, "is_measured", d->is_measured);
    bm_json_put_string(json, "estimated_by", d->how);
    bm_json_begin_array(json, "phases");
    for (uint32_t i = 0; i < d->num_phases; i++) {
        bm_json_begin_object(json, NULL);
        bm_json_put_string(json, "name", d->phases[i].name);
        bm_json_put_double(json, "seconds", d->phases[i].seconds);
        bm_json_end_object(json);
    }
    bm_json_end_array(json);
}
