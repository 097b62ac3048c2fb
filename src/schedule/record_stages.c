// What became of the inputs of each stage, as members of bitmill.json.
#include "schedule/record_parts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_CURVES = 8 }; // pieces whose losses are kept: those of the largest magnitudes

static const char *const stage_names[BM_NUM_STAGES] = {"qkv", "o", "gate_up", "down"};
static const char *const input_names[] = {"float", "static", "dynamic"};
static const char *const candidate_names[] = {
    [BM_SMOOTH_CONSTANT] = "constant",       [BM_SMOOTH_ALPHA] = "alpha", [BM_SMOOTH_FACTOR] = "factor",
    [BM_SMOOTH_RESCALED] = "rescaled_alpha", [BM_SMOOTH_AWQ] = "awq",     [BM_SMOOTH_AWQ_DUO] = "awq_duo",
};

// Members up to end_line stand on one line. Returns what end_line wants.
static uint32_t begin_line(bm_json_writer *json)
{
    const uint32_t indent = json->indent;
    json->indent = 0;
    return indent;
}

static void end_line(bm_json_writer *json, uint32_t indent)
{
    json->indent = indent;
}

// Four digits, which is more than a picture shows. Not finite: null.
static void put_short(bm_json_writer *json, const char *key, double value)
{
    char text[32];
    snprintf(text, sizeof text, "%.3e", value);
    bm_json_put_double(json, key, strtod(text, NULL));
}

static void put_floats(bm_json_writer *json, const char *key, const float *values, uint32_t count)
{
    bm_json_begin_array(json, key);
    const uint32_t indent = begin_line(json);
    for (uint32_t i = 0; i < count; i++)
        put_short(json, NULL, (double)values[i]);
    bm_json_end_array(json);
    end_line(json, indent);
}

static void put_ranges(bm_json_writer *json, const bm_stage_record *r)
{
    if (r->num_bins == 0)
        return;
    bm_json_begin_object(json, "ranges");
    bm_json_put_integer(json, "channels_per_bin", (int64_t)bm_divide_up(r->channels, r->num_bins));
    bm_json_begin_object(json, "before");
    put_floats(json, "low", r->low_before, r->num_bins);
    put_floats(json, "high", r->high_before, r->num_bins);
    bm_json_end_object(json);
    bm_json_begin_object(json, "after");
    put_floats(json, "low", r->low, r->num_bins);
    put_floats(json, "high", r->high, r->num_bins);
    bm_json_end_object(json);
    bm_json_end_object(json);
}

// ---- the search

static const bm_smooth_grid *grid_of(const bm_smooth_record *s, const bm_smooth_move *move)
{
    return move->num_pieces > 0 ? &s->grid : &s->first_grid;
}

// Of those that led to what was chosen: the first stage's, and those of the chosen number of pieces.
static bool is_told(const bm_smooth_record *s, const bm_smooth_move *move)
{
    return move->num_pieces == 0 || move->num_pieces == s->chosen_pieces;
}

static void put_move_head(bm_json_writer *json, const bm_smooth_move *move)
{
    bm_json_put_integer(json, "pieces", move->num_pieces);
    bm_json_put_integer(json, "round", move->round);
    bm_json_put_integer(json, "piece", move->piece);
}

static void put_moves(bm_json_writer *json, const bm_smooth_record *s)
{
    bm_json_begin_array(json, "moves");
    for (uint32_t i = 0; i < s->num_moves; i++) {
        const bm_smooth_move *move = &s->moves[i];
        if (!is_told(s, move))
            continue;
        bm_json_begin_object(json, NULL);
        const uint32_t indent = begin_line(json);
        put_move_head(json, move);
        if (move->chosen == BM_SMOOTH_KEPT) {
            bm_json_put_null(json, "candidate");
        } else {
            const bm_smooth_candidate *candidate = &grid_of(s, move)->candidates[move->chosen];
            bm_json_begin_object(json, "candidate");
            bm_json_put_string(json, "kind", candidate_names[candidate->kind]);
            put_short(json, "value", candidate->value);
            bm_json_end_object(json);
        }
        bm_json_put_double(json, "loss", move->loss);
        bm_json_end_object(json);
        end_line(json, indent);
    }
    bm_json_end_array(json);
}

// One list of a move's candidates of a kind whose loss is known: values, or losses.
static void put_points(bm_json_writer *json, const bm_smooth_record *s, uint32_t move, bm_smooth_candidate_kind kind,
                       bool losses)
{
    const bm_smooth_grid *grid = grid_of(s, &s->moves[move]);
    const double *row = s->losses + (size_t)move * s->stride;
    bm_json_begin_array(json, losses ? "loss" : "value");
    for (uint32_t i = 0; i < grid->count; i++)
        if (grid->candidates[i].kind == kind && isfinite(row[i]))
            put_short(json, NULL, losses ? row[i] : grid->candidates[i].value);
    bm_json_end_array(json);
}

static void put_curve(bm_json_writer *json, const bm_smooth_record *s, uint32_t move)
{
    bm_json_begin_object(json, NULL);
    const uint32_t indent = begin_line(json);
    put_move_head(json, &s->moves[move]);
    for (bm_smooth_candidate_kind kind = 0; kind < BM_COUNT(candidate_names); kind++) {
        const bm_smooth_grid *grid = grid_of(s, &s->moves[move]);
        bool has_kind = false;
        for (uint32_t i = 0; i < grid->count; i++)
            has_kind |= grid->candidates[i].kind == kind;
        if (!has_kind)
            continue;
        bm_json_begin_object(json, candidate_names[kind]);
        put_points(json, s, move, kind, false);
        put_points(json, s, move, kind, true);
        bm_json_end_object(json);
    }
    bm_json_end_object(json);
    end_line(json, indent);
}

// Of the first round: in the later ones pieces hardly move.
static void put_curves(bm_json_writer *json, const bm_smooth_record *s)
{
    bm_json_begin_array(json, "curves");
    for (uint32_t i = 0; i < s->num_moves; i++)
        if (is_told(s, &s->moves[i]) && s->moves[i].round == 0 &&
            s->moves[i].piece + MAX_CURVES >= s->moves[i].num_pieces)
            put_curve(json, s, i);
    bm_json_end_array(json);
}

static void put_number_of_pieces(bm_json_writer *json, uint32_t num_pieces, double loss)
{
    bm_json_begin_object(json, NULL);
    const uint32_t indent = begin_line(json);
    bm_json_put_integer(json, "pieces", num_pieces);
    bm_json_put_double(json, "loss", loss);
    bm_json_end_object(json);
    end_line(json, indent);
}

// What each number of pieces ended with; first that of none: what the stage in front of all chose, or no scales.
static void put_numbers_of_pieces(bm_json_writer *json, const bm_smooth_record *s)
{
    bm_json_begin_array(json, "loss_by_pieces");
    if (s->num_moves > 0 && s->moves[0].num_pieces > 0 &&
        isfinite(s->identity_loss)) // compat does not try the identity
        put_number_of_pieces(json, 0, s->identity_loss);
    for (uint32_t i = 0; i < s->num_moves; i++) {
        const bm_smooth_move *move = &s->moves[i];
        if (i + 1 == s->num_moves || s->moves[i + 1].num_pieces != move->num_pieces)
            put_number_of_pieces(json, move->num_pieces, move->loss);
    }
    bm_json_end_array(json);
}

static void put_search(bm_json_writer *json, const bm_smooth_record *s)
{
    if (!bm_smooth_record_is_search(s))
        return;
    bm_json_begin_object(json, "search");
    bm_json_put_double(json, "identity_loss", s->identity_loss);
    bm_json_put_double(json, "loss", s->loss);
    bm_json_put_integer(json, "asked_pieces", s->asked_pieces);
    bm_json_put_integer(json, "most_pieces", s->most_pieces);
    bm_json_put_integer(json, "pieces", s->chosen_pieces);
    bm_json_put_integer(json, "evaluated", (int64_t)s->num_evaluated);
    bm_json_put_bool(json, "skipped", s->skipped);
    bm_json_put_bool(json, "nothing_finite", s->nothing_finite);
    bm_json_put_bool(json, "one_sided", s->one_sided);
    put_numbers_of_pieces(json, s);
    put_moves(json, s);
    put_curves(json, s);
    bm_json_end_object(json);
}

// ---- a stage

static void put_shift(bm_json_writer *json, const bm_shift_record *shift)
{
    bm_json_begin_object(json, "shift");
    bm_json_put_bool(json, "applied", !shift->enlarges);
    bm_json_put_integer(json, "small_channels", shift->num_small);
    bm_json_put_double(json, "amax_before", shift->amax_before);
    bm_json_put_double(json, "amax_after", shift->amax_after);
    bm_json_end_object(json);
}

static void put_scales(bm_json_writer *json, const bm_stage_record *r)
{
    bm_json_begin_object(json, "scales");
    bm_json_put_float(json, "least", r->least_scale);
    bm_json_put_float(json, "largest", r->largest_scale);
    bm_json_put_integer(json, "exponent", r->finish.exponent);
    bm_json_put_integer(json, "limited_channels", r->finish.num_moved);
    bm_json_end_object(json);
}

static void put_stage(bm_json_writer *json, const bm_stage_record *r)
{
    bm_json_begin_object(json, NULL);
    bm_json_put_integer(json, "block", r->block);
    bm_json_put_string(json, "stage", stage_names[r->stage]);
    bm_json_put_integer(json, "channels", r->channels);
    bm_json_put_integer(json, "tokens", (int64_t)r->tokens);
    bm_json_put_integer(json, "sequences", r->num_sequences);
    bm_json_put_integer(json, "sample_tokens", r->sample_tokens);
    bm_json_put_bool(json, "as_operations", r->as_operations);
    if (r->shifts)
        put_shift(json, &r->shift);
    if (r->scales) {
        put_scales(json, r);
        put_search(json, &r->search);
    }
    bm_json_begin_object(json, "amax");
    bm_json_put_double(json, "before", r->amax_before);
    bm_json_put_double(json, "after", r->amax);
    if (r->amax_share > 0) {
        bm_json_put_float(json, "share", (float)r->amax_share);
        bm_json_put_bool(json, "skipped", r->share_skipped);
    }
    bm_json_end_object(json);
    bm_json_begin_object(json, "input");
    bm_json_put_string(json, "kind", input_names[r->input.kind]);
    if (r->input.kind == BM_INPUT_STATIC)
        bm_json_put_float(json, "step", r->input.step);
    bm_json_end_object(json);
    put_ranges(json, r);
    bm_json_end_object(json);
}

void bm_record_put_stages(bm_json_writer *json, const bm_quantize_result *result)
{
    if (result->num_stages == 0)
        return;
    bm_json_begin_array(json, "stages");
    for (uint32_t i = 0; i < result->num_stages; i++)
        put_stage(json, &result->stages[i]);
    bm_json_end_array(json);
}
