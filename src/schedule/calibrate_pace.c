// How far a pass is recorded ahead of the device. Waiting behind each batch would leave a fast device idle; never waiting
// would make progress untrue, and Ctrl-C slow. So a pass waits about twice a second, and what must be looked at on the host
// is looked at then. What is computed does not depend on it.
#include "schedule/calibrate_lanes.h"

#include "base/clock.h"

#define SECONDS_AHEAD 0.5

#define END BM_NUM_PARTS // of the last part

// Times serve the report alone: a driver that has none for us ends no run.
void bm_calibration_mark(bm_calibration *c, bm_calibration_part part)
{
    bm_pace *p = &c->pace;
    bm_error ignored;
    if (p->has_no_times || p->num_marks + (part == END ? 0 : 1) == BM_MAX_TIMESTAMPS)
        return; // its time counts as that of the part before
    p->has_no_times = bm_device_get_info(c->device)->limits.timestamp_period_ns == 0 ||
                      bm_timestamp_record(c->device, p->num_marks, &ignored) != BM_OK;
    p->parts[p->num_marks++] = (uint8_t)part;
}

// The share of the marked time that went to running blocks; the rest went to watching.
static double share_of_activations(bm_calibration *c)
{
    bm_pace *p = &c->pace;
    double sums[BM_NUM_PARTS + 1] = {0}, ns;
    bm_error ignored;
    for (uint32_t i = 0; i + 1 < p->num_marks && !p->has_no_times; i++) {
        p->has_no_times = bm_timestamp_elapsed_ns(c->device, i, i + 1, &ns, &ignored) != BM_OK;
        sums[p->parts[i]] += !p->has_no_times && ns > 0 ? ns : 0;
    }
    const double all = sums[BM_PART_ACTIVATIONS] + sums[BM_PART_STATISTICS];
    return all > 0 && !p->has_no_times ? sums[BM_PART_ACTIVATIONS] / all : 1;
}

// The pace for the next batches, by what the last ones took.
static void adjust(bm_pace *p)
{
    const double seconds = (double)(bm_clock_ns() - p->begin_ns) * 1e-9, each = seconds / p->num_batches;
    const double fit = each > 0 ? SECONDS_AHEAD / each : BM_MAX_BATCHES_AHEAD;
    p->most_batches = fit < 1 ? 1 : fit < BM_MAX_BATCHES_AHEAD ? (uint32_t)fit : BM_MAX_BATCHES_AHEAD;
    p->begin_ns = bm_clock_ns();
}

static bm_status settle(bm_calibration *c, bm_error *err)
{
    bm_pace *p = &c->pace;
    bm_status status = BM_OK;
    bm_calibration_mark(c, END);
    BM_TRY(bm_bad_sequences_settle(c, err));
    bm_quantize_result_spend_two(c->result, bm_calibration_part_name(c, BM_PART_ACTIVATIONS), share_of_activations(c),
                                 bm_calibration_part_name(c, BM_PART_STATISTICS));
    adjust(p);
    const uint64_t tokens = p->num_tokens;
    p->num_batches = p->num_marks = 0;
    p->num_tokens = 0;
    BM_TRY(bm_phase_step(c->p->emit->phase, tokens, err));
done:
    return status;
}

bm_status bm_calibration_step(bm_calibration *c, uint32_t batch, bm_error *err)
{
    const bm_stream *stream = c->lanes[BM_LANE_QUANTIZED].stream;
    bm_pace *p = &c->pace;
    p->num_batches++;
    p->num_tokens += stream->batches[batch].batch.num_tokens;
    const bool is_full = p->num_batches >= p->most_batches || !bm_bad_sequences_has_room(c);
    return is_full || batch + 1 == stream->num_batches ? settle(c, err) : BM_OK;
}

void bm_calibration_begin_pass(bm_calibration *c)
{
    const uint32_t most = c->pace.most_batches / 4; // batches of this pass may take longer
    c->pace =
        (bm_pace){.begin_ns = bm_clock_ns(), .most_batches = most > 0 ? most : 1, .has_no_times = c->pace.has_no_times};
}

// A kernel may have met what a look that is not settled yet would have named.
bm_status bm_calibration_end_pass(bm_calibration *c, bm_status status, bm_error *err)
{
    bm_error named;
    if (status != BM_E_NUMERIC || c->pace.num_looks == 0)
        return status;
    const bm_status other = bm_bad_sequences_settle(c, &named);
    return other == BM_OK ? status : bm_fail(err, other, "%s", named.message);
}
