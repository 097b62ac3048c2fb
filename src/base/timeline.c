// Spans on tracks.
#include "base/timeline.h"

#include "base/clock.h"

#include <string.h>

#define FIRST_GRAIN_NS UINT64_C(1000000)
#define LEAST_WAIT_NS UINT64_C(20000) // less is the way there and back
#define MAX_KINDS 16                  // of spans within a grain

bm_timeline *bm_timeline_create(void)
{
    bm_timeline *t = bm_alloc_zero(1, sizeof *t);
    if (t) {
        t->start_ns = t->clock_ns = bm_clock_ns();
        t->block = -1;
    }
    return t;
}

const char *bm_track_name(bm_track_id track)
{
    static const char *const names[BM_NUM_TRACKS] = {"run", "read", "write results"};
    return names[track];
}

const char *bm_track_waiting(bm_track_id track)
{
    static const char *const names[BM_NUM_TRACKS] = {"", "wait for reading", "wait for writing"};
    return names[track];
}

// Spans within a grain that are alike become one, in the order of the first of each. What lies between them gathers behind.
static uint32_t merge_grain(const bm_span *from, uint32_t count, bool by_block, bm_span *to)
{
    bm_span kinds[MAX_KINDS];
    uint32_t num_kinds = 0;
    uint64_t at = from[0].begin_ns;
    for (uint32_t i = 0; i < count; i++) {
        const int32_t block = by_block ? from[i].block : -1;
        uint32_t k = 0;
        while (k < num_kinds && (kinds[k].phase != from[i].phase || kinds[k].block != block))
            k++;
        if (k == num_kinds)
            kinds[num_kinds++] = (bm_span){from[i].phase, block, 0, 0};
        kinds[k].end_ns += from[i].end_ns - from[i].begin_ns;
    }
    for (uint32_t k = 0; k < num_kinds; k++) {
        to[k] = (bm_span){kinds[k].phase, kinds[k].block, at, at + kinds[k].end_ns};
        at = to[k].end_ns;
    }
    return num_kinds;
}

static void merge(bm_track *track, bool by_block)
{
    uint32_t merged = 0;
    for (uint32_t i = 0, n; i < track->count; i += n) {
        const bm_span *first = &track->spans[i];
        n = 1;
        while (i + n < track->count && n < MAX_KINDS && first[n].end_ns - first->begin_ns <= track->grain_ns)
            n++;
        merged += merge_grain(first, n, by_block, &track->spans[merged]);
    }
    track->count = merged;
}

// There are fewer phases than kinds: without their blocks, spans become fewer in the end.
static void reduce(bm_track *track, uint32_t max_spans)
{
    while (track->count > max_spans) {
        const uint64_t whole_ns = track->spans[track->count - 1].end_ns - track->spans[0].begin_ns;
        track->grain_ns = bm_max_u64(FIRST_GRAIN_NS, bm_min_u64(whole_ns, 2 * track->grain_ns));
        merge(track, track->grain_ns < whole_ns);
    }
}

static void add(bm_track *track, const char *phase, int32_t block, uint64_t begin_ns, uint64_t end_ns)
{
    bm_span *last = track->count > 0 ? &track->spans[track->count - 1] : NULL;
    if (end_ns <= begin_ns)
        return;
    if (last && last->phase == phase && last->block == block && last->end_ns == begin_ns) {
        last->end_ns = end_ns;
        return;
    }
    if (track->count == BM_MAX_SPANS)
        reduce(track, BM_MAX_SPANS / 2);
    track->spans[track->count++] = (bm_span){phase, block, begin_ns, end_ns};
}

void bm_timeline_add(bm_timeline *t, bm_track_id track, const char *phase, int32_t block, uint64_t begin_ns,
                     uint64_t end_ns)
{
    if (t)
        add(&t->tracks[track], phase ? phase : bm_track_name(track), block, begin_ns, end_ns);
}

void bm_timeline_wait(bm_timeline *t, bm_track_id track, uint64_t begin_ns, uint64_t end_ns)
{
    if (t && end_ns - begin_ns >= LEAST_WAIT_NS)
        t->waited_ns[track] += end_ns - begin_ns;
}

static void go_on(bm_timeline *t, const char *phase, uint64_t ns, double *seconds)
{
    add(&t->tracks[BM_TRACK_RUN], phase, t->block, t->clock_ns, t->clock_ns + ns);
    t->clock_ns += ns;
    *seconds = (double)ns * 1e-9;
}

void bm_timeline_spend_two(bm_timeline *t, const char *first, double part, const char *second,
                           double seconds[BM_NUM_TRACKS], double *second_seconds)
{
    memset(seconds, 0, BM_NUM_TRACKS * sizeof *seconds);
    *second_seconds = 0;
    if (!t)
        return;
    uint64_t left = bm_clock_ns() - t->clock_ns, waited[BM_NUM_TRACKS] = {0};
    for (bm_track_id i = BM_TRACK_READING; i < BM_NUM_TRACKS; i++) {
        waited[i] = bm_min_u64(left, t->waited_ns[i]);
        left -= waited[i];
        t->waited_ns[i] = 0;
    }
    const uint64_t first_ns = bm_min_u64(left, (uint64_t)(part * (double)left));
    for (bm_track_id i = BM_TRACK_READING; i < BM_NUM_TRACKS; i++)
        go_on(t, bm_track_waiting(i), waited[i], &seconds[i]);
    go_on(t, first, second ? first_ns : left, &seconds[BM_TRACK_RUN]);
    if (second)
        go_on(t, second, left - first_ns, second_seconds);
}

void bm_timeline_spend(bm_timeline *t, const char *phase, double seconds[BM_NUM_TRACKS])
{
    double none;
    bm_timeline_spend_two(t, phase, 1, NULL, seconds, &none);
}

int32_t bm_timeline_block(const bm_timeline *t)
{
    return t ? t->block : -1;
}

void bm_timeline_reduce(bm_timeline *t, uint32_t max_spans)
{
    for (bm_track_id i = 0; i < BM_NUM_TRACKS; i++)
        reduce(&t->tracks[i], max_spans);
}
