// Sizes that are tried, and what is said where none fits.
//
// Claims bound what a run takes, so one that is accepted ends within its budget. They fall with the size of the work, not always
// evenly: so the same sizes are tried whatever the budget is, and the least that any of them needs is accepted when it is given.
#include "schedule/memory_fit.h"

#include <math.h>

#define LARGEST_SIZE 44 // binary digits of the sizes of devices that are tried
#define SMALLEST_SIZE 16
#define PROGRAM_SHARE 16 // of what the program takes: how much that varies

typedef struct fitting {
    const bm_emit_context *emit;
    bm_memory_budget *budget;
    const char *folder;
    bm_memory_claims *claims; // of the size that was tried last
    bm_memory_least least;
    uint64_t chosen, smallest; // 0: none; smallest: the size that needs least
} fitting;

static uint64_t need(const fitting *f, bool of_process)
{
    return bm_memory_claims_need(f->claims, f->budget, of_process, NULL);
}

static void make(const fitting *f, uint64_t size)
{
    bm_device_size_work(f->emit->device, size);
    bm_memory_claims_make(f->emit, f->budget, f->folder, f->claims);
}

static void try_size(fitting *f, uint64_t size)
{
    const bm_memory_budget *b = f->budget;
    make(f, size);
    const uint64_t device = need(f, false), process = need(f, true);
    const bool suits_host = !b->host_is_given || process <= b->host_bytes;
    f->least.process_bytes = bm_min_u64(f->least.process_bytes, process + b->resident_bytes / PROGRAM_SHARE);
    if (suits_host && device < f->least.device_bytes) {
        f->least.device_bytes = device;
        f->smallest = size;
    }
    if (f->chosen == 0 && suits_host && device <= b->device_bytes)
        f->chosen = size;
}

// All of the device, unless it shares the process's memory, which is never twice the same; then powers of two and three quarters of them.
static void try_sizes(fitting *f)
{
    const bm_memory_budget *b = f->budget;
    if (!b->is_shared || !b->host_is_given)
        try_size(f, b->device_bytes);
    for (uint32_t digits = LARGEST_SIZE; digits >= SMALLEST_SIZE; digits--) {
        try_size(f, UINT64_C(1) << digits);
        try_size(f, UINT64_C(3) << (digits - 2));
    }
}

// The claims of a phase, largest first in words: "A 1.0 MB, B 0.5 MB", and the cure of the largest that has one.
static const char *describe(const bm_memory_claims *c, bm_memory_phase phase, bool with_host, bm_string *words)
{
    const char *cure = NULL;
    uint64_t below = UINT64_MAX, largest_cured = 0;
    for (uint32_t n = 0; n < 4; n++) {
        const bm_memory_claim *found = NULL;
        for (uint32_t i = 0; i < c->count; i++) {
            const bm_memory_claim *claim = &c->items[i];
            const bool counts = claim->place == BM_MEMORY_DEVICE || (with_host && claim->place == BM_MEMORY_HOST);
            if (counts && claim->phases & 1u << phase && claim->least > 0 && claim->least < below &&
                (!found || claim->least > found->least))
                found = claim;
        }
        if (!found)
            break;
        below = found->least;
        (void)bm_string_append_format(words, "%s%s %.1f MB", n ? ", " : "", found->what, (double)found->least / 1e6);
        if (found->cure && found->least > largest_cured) {
            largest_cured = found->least;
            cure = found->cure;
        }
    }
    return cure;
}

// Of the size that needs least. Figures are rounded so that the budget is below the least, and the least, given, is enough.
static bm_status refuse(const fitting *f, bool of_process, bm_error *err)
{
    const bm_memory_budget *b = f->budget;
    const uint64_t limit = of_process ? b->host_bytes : b->device_bytes;
    const uint64_t least = of_process ? f->least.process_bytes : f->least.device_bytes;
    const bool is_given = of_process || b->device_is_given;
    const char *option = of_process ? "--host-memory" : "--device-memory";
    bm_string words = BM_STRING_INIT;
    bm_memory_phase worst = 0;
    (void)bm_memory_claims_need(f->claims, b, of_process, &worst);
    const char *cure = describe(f->claims, worst, of_process && b->is_shared, &words);
    const bm_status status =
        bm_fail(err, BM_E_ARGUMENT, "%s: %.1f MB of %s, expected at least %.1f MB for \"%s\": %s; %s%sraise %s",
                is_given ? option : "memory", floor((double)limit / 1e5) / 10,
                of_process ? "the process" : bm_device_get_info(f->emit->device)->spec, ceil((double)least / 1e5) / 10,
                bm_memory_phase_name(f->emit, worst), bm_string_text(&words), cure ? cure : "", cure ? ", or " : "",
                is_given ? option : "the device's memory");
    bm_string_free(&words);
    return status;
}

// Buffers that wait are released before more is taken than there is.
static void trim_pending(const fitting *f)
{
    const bm_memory_budget *b = f->budget;
    const uint64_t device = bm_memory_claims_peak(f->claims, BM_MEMORY_DEVICE),
                   process = b->host_is_given ? bm_memory_claims_process(f->claims, b) : 0;
    const uint64_t beyond =
        bm_max_u64(device - bm_min_u64(device, b->device_bytes), process - bm_min_u64(process, b->host_bytes));
    for (uint32_t i = 0; i < f->claims->count; i++) {
        bm_memory_claim *claim = &f->claims->items[i];
        claim->bytes -= bm_min_u64(claim->bytes - claim->least, beyond);
    }
}

// What is left of the process for the device in the phase that leaves it most, of those that use the device for work: each stays
// within its claims. Logits are compared behind all work, in what is there then.
static uint64_t device_share(const bm_memory_claims *claims, uint64_t host_bytes)
{
    uint64_t most = 0;
    for (bm_memory_phase phase = 0; phase < BM_NUM_MEMORY_PHASES; phase++) {
        const uint64_t host = bm_memory_claims_bytes(claims, phase, BM_MEMORY_HOST);
        if (phase != BM_MEMORY_COMPARING && bm_memory_claims_bytes(claims, phase, BM_MEMORY_DEVICE) > 0)
            most = bm_max_u64(most, host_bytes - bm_min_u64(host_bytes, host));
    }
    return most;
}

bm_status bm_memory_fit(const bm_emit_context *emit, bm_memory_budget *budget, const char *folder,
                        bm_memory_claims *claims, bm_memory_least *least, bm_error *err)
{
    fitting f = {.emit = emit, .budget = budget, .folder = folder, .claims = claims};
    f.least = (bm_memory_least){UINT64_MAX, UINT64_MAX};
    try_sizes(&f);
    if (f.chosen == 0 && budget->host_is_given) {
        bm_memory_budget_reduce(budget);
        f.least = (bm_memory_least){UINT64_MAX, UINT64_MAX};
        try_sizes(&f);
    }
    if (f.chosen == 0 && budget->host_is_given && folder && claims->watches) {
        budget->spares_host = true;
        f.least = (bm_memory_least){UINT64_MAX, UINT64_MAX};
        try_sizes(&f);
    }
    *least = f.least;
    if (f.chosen == 0) {
        make(&f, f.smallest ? f.smallest : UINT64_C(1) << SMALLEST_SIZE);
        return refuse(&f, f.smallest == 0, err);
    }
    make(&f, f.chosen);
    if (budget->host_is_given && budget->is_shared) {
        bm_device_limit_memory(emit->device, device_share(claims, budget->host_bytes), "--host-memory");
        make(&f, f.chosen);
    }
    trim_pending(&f);
    return BM_OK;
}
