// Comparing variants at the first use of a device.
#include "ops/first_use.h"
#include "base/clock.h"
#include "ops/rate.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_ROUNDS = 5 };
#define LONG_NS UINT64_C(30000000) // runs that take so long are timed once
#define SLOWER_BY 1.05             // less than that is no difference: it may be another one at the next measurement

bool bm_is_slower(double seconds, double than)
{
    return seconds > SLOWER_BY * than;
}

// ---- one comparison ----

static bm_status ask(bm_device *device, const bm_variant_set *set, const char *variant, bm_error *err)
{
    char words[64];
    snprintf(words, sizeof words, "%s=%s", set->kernel, variant);
    return bm_device_set_variants(device, words, err);
}

// is_it: the variant that is compared, not another one.
static bm_status run(const bm_comparison *c, const char *variant, bool is_it, const bm_trial *trial, bm_error *err)
{
    bm_status status = ask(trial->device, c->set, variant, err);
    if (status == BM_OK)
        status = c->set->trial->run(trial, err);
    return status == BM_OK && c->also && is_it ? c->also(c->user, trial, err) : status;
}

// A trial that is there: what failed while it was made, or is reported behind that, is not the variant's work.
static bm_status create(bm_device *device, const bm_comparison *c, const char *variant, bm_trial_size size,
                        bm_trial *out, bm_error *err)
{
    bm_status status = ask(device, c->set, variant, err);
    if (status == BM_OK)
        status = bm_trial_create(device, c->set->trial, c->type, size, out, err);
    return status == BM_OK ? bm_device_wait(device, err) : status;
}

// has_run: the trial could be made.
static bm_status outputs_of(bm_device *device, const bm_comparison *c, const char *variant, bool is_it,
                            bm_trial_size size, bm_trial_outputs *out, bool *has_run, bm_error *err)
{
    bm_trial trial = {0};
    bm_status status = BM_OK;
    *out = (bm_trial_outputs){0};
    BM_TRY(create(device, c, variant, size, &trial, err));
    *has_run = true;
    BM_TRY(run(c, variant, is_it, &trial, err));
    BM_TRY(bm_trial_read(&trial, out, err));
done:
    bm_trial_destroy(&trial);
    return status;
}

// What the generic kernel gives, and how large what is added up there is.
typedef struct wanted_outputs {
    bm_trial_outputs values, magnitudes;
} wanted_outputs;

static bm_status make_wanted(bm_device *device, const bm_comparison *c, wanted_outputs *out, bm_error *err)
{
    const char *generic = c->set->name(device, 0);
    bool has_run = false;
    const bm_status status = outputs_of(device, c, generic, false, BM_TRIAL_SMALL, &out->values, &has_run, err);
    return status == BM_OK ? outputs_of(device, c, generic, false, BM_TRIAL_MAGNITUDES, &out->magnitudes, &has_run, err)
                           : status;
}

// The rounding of what is stored: half a unit in the last place.
static double unit_of(bm_dtype type, bool is_narrow)
{
    return !is_narrow ? 0x1p-24 : type == BM_DTYPE_F16 ? 0x1p-11 : 0x1p-8;
}

// Outputs from first on.
static bool is_right(const bm_comparison *c, const bm_trial_outputs *wanted, const float *magnitudes, uint64_t first,
                     double relative, const float *got, char *why, size_t size)
{
    for (uint64_t i = first; i < wanted->count; i++) {
        const double want = wanted->values[i], unit = unit_of(c->type, i < wanted->num_narrow);
        const double bound = relative > 0 ? relative * magnitudes[i] + 2 * unit * fabs(want) + 0x1p-24 : 0;
        if (!(fabs(got[i] - want) <= bound)) { // NaN is not right
            snprintf(why, size, "output %llu of %llu is %g, of the generic kernel %g (within %.2g)",
                     (unsigned long long)i, (unsigned long long)wanted->count, got[i], want, bound);
            return false;
        }
    }
    return true;
}

// Outputs once, and those in float32, of which Hessians and products in parts are made, once more of absolute values: beside sums of
// both signs, which come near 0, a share of what is added up is much. Of one sign sums rise evenly, so that their additions lose half
// of what relative allows: of k terms the generic kernel k/2 2^-24, matrix units, which align terms with the sum and cut what
// lies below 23 bits of it (a term each, and the sum for each 8 of them), k/2 9/8 2^-23; together less than k 2^-23 of the sum.
static bm_status compare_outputs(bm_device *device, const bm_comparison *c, bm_verdict *out, char *why, size_t size,
                                 bool *it_fails, bm_error *err)
{
    const double relative = c->set->trial->relative(c->type);
    wanted_outputs wanted = {{0}, {0}};
    bm_trial_outputs got = {0};
    bm_status status = BM_OK;
    bool has_run = false, right = false;
    BM_TRY(make_wanted(device, c, &wanted, err));
    const bool has_wide = relative > 0 && wanted.values.num_narrow < wanted.values.count;
    for (uint32_t turn = 0; turn < (has_wide ? 2 : 1) && (turn == 0 || right); turn++) {
        const bm_trial_outputs *values = turn == 0 ? &wanted.values : &wanted.magnitudes;
        has_run = false;
        bm_free(got.values);
        status = outputs_of(device, c, c->variant, true, turn == 0 ? BM_TRIAL_SMALL : BM_TRIAL_MAGNITUDES, &got,
                            &has_run, err);
        *it_fails = status != BM_OK && has_run;
        BM_TRY(status);
        right = is_right(c, values, wanted.magnitudes.values, turn == 0 ? 0 : values->num_narrow,
                         turn == 0 ? relative : relative / 2, got.values, why, size);
    }
    *out = right ? BM_VERDICT_RIGHT : BM_VERDICT_WRONG;
done:
    bm_free(wanted.values.values);
    bm_free(wanted.magnitudes.values);
    bm_free(got.values);
    return status;
}

// The fastest of some runs of each, by turns: clocks and other work change for both alike. it_fails: the variant does, where an
// error is returned.
static bm_status measure(bm_device *device, const bm_comparison *c, double seconds[2], bool *it_fails, bm_error *err)
{
    const char *const names[2] = {c->variant, c->instead};
    static const bm_trial_size sizes[] = {BM_TRIAL_LARGE, BM_TRIAL_FEW_TILES, BM_TRIAL_ADDING};
    bm_trial trials[2] = {{0}};
    bm_status status = BM_OK;
    uint64_t longest = 0;
    seconds[0] = seconds[1] = INFINITY;
    *it_fails = false;
    for (uint32_t i = 0; i < 2; i++)
        BM_TRY(create(device, c, names[i], sizes[c->use], &trials[i], err));
    for (uint32_t i = 0; i < 2; i++)
        for (uint32_t turn = 0; turn < 2; turn++) { // the first one compiles
            const uint64_t start = bm_clock_ns();
            *it_fails = i == 0;
            BM_TRY(run(c, names[i], i == 0, &trials[i], err));
            BM_TRY(bm_device_wait(device, err));
            *it_fails = false;
            longest = turn == 1 ? bm_max_u64(longest, bm_clock_ns() - start) : longest;
        }
    for (uint32_t round = 0; round < (longest > LONG_NS ? 1 : MAX_ROUNDS); round++)
        for (uint32_t i = 0; i < 2; i++) {
            double ns = 0;
            BM_TRY(bm_timestamp_record(device, 0, err));
            *it_fails = i == 0;
            BM_TRY(run(c, names[i], i == 0, &trials[i], err));
            *it_fails = false;
            BM_TRY(bm_timestamp_record(device, 1, err));
            *it_fails = i == 0;
            BM_TRY(bm_device_wait(device, err));
            *it_fails = false;
            BM_TRY(bm_timestamp_elapsed_ns(device, 0, 1, &ns, err));
            seconds[i] = fmin(seconds[i], ns * 1e-9);
        }
done:
    bm_trial_destroy(&trials[0]);
    bm_trial_destroy(&trials[1]);
    return status;
}

// Whether the generic kernel runs where a variant did not. Drivers say BM_E_DEVICE of code that they cannot build and of memory
// that they do not have alike: what is not the variant's fault fails here too.
static bool others_run(bm_device *device, const bm_comparison *c)
{
    bm_trial_outputs outputs;
    bool has_run = false;
    const bm_status status =
        outputs_of(device, c, c->set->name(device, 0), false, BM_TRIAL_SMALL, &outputs, &has_run, NULL);
    bm_free(outputs.values);
    return status == BM_OK;
}

static bool is_under_way(bm_verdict verdict)
{
    return verdict == BM_VERDICT_TRIED || verdict == BM_VERDICT_TRIED_TWICE || verdict == BM_VERDICT_TIMING ||
           verdict == BM_VERDICT_TIMING_TWICE;
}

// Into the file before anything runs: the next start knows in what this one ended. times: outputs are right, and a start that ends
// while times are taken says nothing against that. False: it cannot be kept.
static bool remember_trying(bm_device *device, const bm_comparison *c, bool times)
{
    const bm_verdict verdict = bm_device_verdict(device, c->set->kernel, c->variant, c->type, c->use);
    const bm_verdict first = times ? BM_VERDICT_TIMING : BM_VERDICT_TRIED;
    const bm_verdict second = times ? BM_VERDICT_TIMING_TWICE : BM_VERDICT_TRIED_TWICE;
    return bm_device_set_verdict(device, c->set->kernel, c->variant, c->type, c->use, verdict == first ? second : first,
                                 NULL) == BM_OK &&
           bm_verdicts_write(device, NULL) == BM_OK;
}

// The verdict, and why. Failures of others, as for lack of memory, say nothing of the variant. known: outputs were right before.
static bm_status compare(bm_device *device, const bm_comparison *c, bool known, bm_verdict *out, char *why, size_t size,
                         bm_error *err)
{
    bm_status status = BM_OK;
    double seconds[2];
    bool it_fails = false;
    bm_error problem = {0};
    *out = known ? BM_VERDICT_RIGHT : BM_VERDICT_NONE;
    if (!known)
        status = compare_outputs(device, c, out, why, size, &it_fails, &problem);
    if (*out == BM_VERDICT_RIGHT && c->remembers) {
        if (!known)
            (void)remember_trying(device, c, true);
        status = measure(device, c, seconds, &it_fails, &problem);
        if (status != BM_OK)
            *out = BM_VERDICT_UNTIMED;
        else if (bm_is_slower(seconds[0], seconds[1]))
            *out = BM_VERDICT_SLOWER;
        if (status == BM_OK)
            snprintf(why, size, "%.3g ms where %s=%s takes %.3g", 1e3 * seconds[0], c->set->kernel, c->instead,
                     1e3 * seconds[1]);
    }
    if (status != BM_OK)
        snprintf(why, size, "%s", problem.message);
    const bool is_lost = bm_device_discard_reports(device, NULL) != BM_OK;
    if (it_fails && status != BM_E_MEMORY && (is_lost || others_run(device, c)))
        *out = BM_VERDICT_WRONG;
    if (is_lost)
        return bm_fail(err, BM_E_DEVICE, "%s=%s: %s", c->set->kernel, c->variant, why);
    return BM_OK;
}

// Into the file, where the word of another process that compared the same wins. A time that cannot be kept does not count.
static bm_verdict remember(bm_device *device, const bm_comparison *c, bm_verdict verdict)
{
    bm_error problem = {0};
    if (bm_verdicts_write(device, &problem) == BM_OK)
        return bm_device_verdict(device, c->set->kernel, c->variant, c->type, c->use);
    bm_log_write(bm_device_log(device), BM_LOG_WARNING, "%s", problem.message);
    if (verdict == BM_VERDICT_SLOWER &&
        bm_device_set_verdict(device, c->set->kernel, c->variant, c->type, c->use, BM_VERDICT_RIGHT, NULL) == BM_OK)
        return BM_VERDICT_RIGHT;
    return verdict;
}

bm_status bm_compare_variants(bm_device *device, const bm_comparison *asked, bm_verdict *out, bm_error *err)
{
    char why[256] = "";
    bm_error problem = {0};
    bm_comparison comparison = *asked;
    const bm_comparison *c = &comparison;
    const bm_verdict before_it = bm_device_verdict(device, c->set->kernel, c->variant, c->type, c->use);
    const bool known = before_it == BM_VERDICT_UNTIMED || before_it == BM_VERDICT_TIMING;
    comparison.remembers = asked->remembers && remember_trying(device, asked, known);
    *out = bm_device_verdict(device, c->set->kernel, c->variant, c->type, c->use);
    if (c->remembers && !is_under_way(*out))
        return BM_OK; // another process has compared it by now
    char *before = bm_string_copy(bm_device_variants(device));
    if (!before)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    bm_status status = compare(device, c, known, out, why, sizeof why, err);
    const bm_status kept = bm_device_set_variants(device, before, &problem);
    bm_free(before);
    const bm_status set =
        bm_device_set_verdict(device, c->set->kernel, c->variant, c->type, c->use, *out, status == BM_OK ? err : NULL);
    if (set == BM_OK && c->remembers)
        *out = remember(device, c, *out);
    if (*out >= BM_VERDICT_SLOWER)
        bm_log_write(bm_device_log(device), BM_LOG_WARNING, "%s=%s is not used for %s%s on %s: it is %s: %s",
                     c->set->kernel, c->variant, bm_dtype_name(c->type), bm_variant_use_words(c->use),
                     bm_device_get_info(device)->name, bm_verdict_name(*out), why);
    else
        bm_log_write(bm_device_log(device), BM_LOG_DEBUG, "%s=%s for %s%s is %s: %s", c->set->kernel, c->variant,
                     bm_dtype_name(c->type), bm_variant_use_words(c->use),
                     *out == BM_VERDICT_NONE      ? "not compared"
                     : *out == BM_VERDICT_UNTIMED ? "right, and not timed"
                                                  : "right",
                     why);
    status = status == BM_OK ? set : status;
    return status == BM_OK && kept != BM_OK ? bm_fail(err, kept, "%s", problem.message) : status;
}

// ---- all of a device ----

typedef struct first_use {
    bm_device *device;
    bool is_begun, is_said, remembers;
    bm_file_lock *lock; // of comparisons, from the first on
} first_use;

static void begin(first_use *f)
{
    f->is_begun = true;
    f->lock = bm_tuning_lock_comparisons(f->device);
    f->remembers = bm_verdicts_write(f->device, NULL) == BM_OK; // takes over what another process found meanwhile
}

// Before the first comparison of outputs, which takes its time: times alone that no memory is there for do not.
static void say(first_use *f)
{
    if (f->is_said)
        return;
    f->is_said = true;
    bm_log_write(bm_device_log(f->device), BM_LOG_INFO, "kernels on matrix units are compared%s",
                 f->remembers ? " once" : "; there is no cache folder that remembers it");
}

// What the set gives for a type, and whatever that would be replaced by, is compared, the last first.
static bm_status settle(first_use *f, const bm_variant_set *set, bm_dtype type, bm_variant_use use, bm_error *err)
{
    bm_device *device = f->device;
    const char *names[8], *name = NULL;
    bm_verdict before[8];
    uint32_t count = 0;
    bm_status status = BM_OK;
    while (status == BM_OK && count < BM_COUNT(names)) {
        bool on_matrix_units = false;
        name = set->taken(device, type, use, &on_matrix_units);
        if (!on_matrix_units || bm_device_is_named(device, set->kernel, name) ||
            bm_device_verdict(device, set->kernel, name, type, use) > BM_VERDICT_TIMING)
            break;
        if (!f->is_begun) {
            begin(f);
            continue;
        }
        before[count] = bm_device_verdict(device, set->kernel, name, type, use);
        names[count++] = name; // switched off meanwhile, to see what stands behind it
        status = bm_device_set_verdict(device, set->kernel, name, type, use, BM_VERDICT_WRONG, err);
    }
    for (uint32_t i = 0; i < count; i++) { // before anything is written
        const bm_status restored =
            bm_device_set_verdict(device, set->kernel, names[i], type, use, before[i], status == BM_OK ? err : NULL);
        status = status == BM_OK ? restored : status;
    }
    while (count-- > 0 && status == BM_OK) {
        bm_verdict verdict;
        if (before[count] != BM_VERDICT_UNTIMED && before[count] != BM_VERDICT_TIMING)
            say(f);
        const bm_comparison comparison = {
            .set = set, .variant = names[count], .instead = name, .type = type, .use = use, .remembers = f->remembers};
        status = bm_compare_variants(device, &comparison, &verdict, err);
        name = bm_device_may_use(device, set->kernel, names[count], type, use) ? names[count] : name;
    }
    return status;
}

bm_status bm_first_use(bm_device *device, bm_error *err)
{
    static const bm_dtype types[] = {BM_DTYPE_F32, BM_DTYPE_F16, BM_DTYPE_BF16, BM_DTYPE_I8};
    first_use f = {.device = device};
    if (!bm_device_runs(device))
        return BM_OK;
    bm_status status = bm_measure_rate(device, err); // by which trials are cut, too
    for (uint32_t k = 0; k < BM_NUM_VARIANT_SETS; k++) {
        const bm_variant_set *set = &bm_variant_sets[k];
        for (uint32_t i = 0; i < set->num_uses * BM_COUNT(types) && status == BM_OK; i++)
            status = settle(&f, set, types[i / set->num_uses], (bm_variant_use)(i % set->num_uses), err);
    }
    bm_file_lock_release(&f.lock);
    return status;
}
