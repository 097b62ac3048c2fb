// "timeline" of bitmill.json: where the time of the run went.
#include "schedule/record_parts.h"

#define MAX_SPANS 240 // a track, for a picture

static double seconds(uint64_t ns)
{
    const uint64_t microseconds = ns / 1000;
    return (double)microseconds * 1e-6;
}

static void put_span(bm_json_writer *json, const bm_span *span, uint64_t start_ns)
{
    bm_json_begin_object(json, NULL);
    bm_json_put_string(json, "phase", span->phase);
    if (span->block >= 0)
        bm_json_put_integer(json, "block", span->block);
    bm_json_put_double(json, "begin", seconds(span->begin_ns - start_ns));
    bm_json_put_double(json, "end", seconds(span->end_ns - start_ns));
    bm_json_end_object(json);
}

void bm_record_put_timeline(bm_json_writer *json, const bm_quantize_result *result)
{
    bm_timeline *t = result->timeline;
    if (!t)
        return;
    bm_timeline_reduce(t, MAX_SPANS);
    bm_json_begin_array(json, "timeline");
    for (bm_track_id track = 0; track < BM_NUM_TRACKS; track++) {
        bm_json_begin_object(json, NULL);
        bm_json_put_string(json, "track", bm_track_name(track));
        bm_json_begin_array(json, "spans");
        for (uint32_t i = 0; i < t->tracks[track].count; i++)
            put_span(json, &t->tracks[track].spans[i], t->start_ns);
        bm_json_end_array(json);
        bm_json_end_object(json);
    }
    bm_json_end_array(json);
}
