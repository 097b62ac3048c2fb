// The heat map: a table whose cells are coloured by a linear's share and say it in digits, so that it can be read in
// grey, on paper and by a program that reads aloud. Colours are classes of the page's style: one hue from light to
// dark (on a dark screen from dark to light), which every kind of colour vision tells apart.
#include "report/linears.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_KINDS = 32, MAX_LEVELS = 8 }; // the style has colours for that many levels

typedef struct heat_map {
    const char *kinds[MAX_KINDS];
    uint32_t num_kinds;
    uint32_t num_hidden; // linears of kinds that found no column
    bool has_gaps;       // not every kind is in every block
    uint32_t *blocks;    // rising; owned
    uint32_t num_blocks;
    double *shares; // [num_blocks, num_kinds]; NAN: no such linear; owned
    double step;    // level i holds shares over i steps and up to i + 1
    uint32_t num_levels;
    int digits, step_digits; // behind the point, in per cent
} heat_map;

static int compare_blocks(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static uint32_t find_kind(const heat_map *map, const char *kind)
{
    uint32_t k = 0;
    while (k < map->num_kinds && strcmp(map->kinds[k], kind) != 0)
        k++;
    return k;
}

// Kinds in the order in which they appear, blocks by number.
static bool find_rows_and_columns(const report_linears *linears, heat_map *map)
{
    map->blocks = bm_alloc(linears->count, sizeof *map->blocks);
    if (!map->blocks)
        return false;
    for (uint32_t i = 0; i < linears->count; i++) {
        if (find_kind(map, linears->items[i].kind) == map->num_kinds && map->num_kinds < MAX_KINDS)
            map->kinds[map->num_kinds++] = linears->items[i].kind;
        map->blocks[i] = linears->items[i].block;
    }
    qsort(map->blocks, linears->count, sizeof *map->blocks, compare_blocks);
    for (uint32_t i = 0; i < linears->count; i++)
        if (i == 0 || map->blocks[i] != map->blocks[i - 1])
            map->blocks[map->num_blocks++] = map->blocks[i];
    return true;
}

static bool fill(const report_linears *linears, heat_map *map)
{
    map->shares = bm_alloc((uint64_t)map->num_blocks * map->num_kinds, sizeof *map->shares);
    if (!map->shares)
        return false;
    for (uint32_t i = 0; i < map->num_blocks * map->num_kinds; i++)
        map->shares[i] = (double)NAN;
    for (uint32_t i = 0; i < linears->count; i++) {
        const report_linear *linear = &linears->items[i];
        const uint32_t kind = find_kind(map, linear->kind);
        const uint32_t *block =
            bsearch(&linear->block, map->blocks, map->num_blocks, sizeof *map->blocks, compare_blocks);
        if (kind == map->num_kinds) {
            map->num_hidden++;
            continue;
        }
        double *cell = &map->shares[(uint64_t)(block - map->blocks) * map->num_kinds + kind];
        *cell = isnan(*cell) ? linear->share : *cell + linear->share;
    }
    return true;
}

// Levels with round bounds: the smallest step of one digit with which the largest share is in the last level or below.
static void choose_levels(heat_map *map)
{
    double largest = 0;
    for (uint32_t i = 0; i < map->num_blocks * map->num_kinds; i++) {
        largest = fmax(largest, map->shares[i]);
        map->has_gaps |= isnan(map->shares[i]);
    }
    if (!(largest > 0)) // all the error is in linears without a column
        largest = 1;
    const int exponent = (int)floor(log10(largest / MAX_LEVELS));
    const double unit = pow(10, exponent);
    double count = 1;
    while (count * unit * MAX_LEVELS < largest && count < 10)
        count++;
    map->step = count * unit;
    map->num_levels = (uint32_t)fmin(fmax(ceil(largest / map->step), 1), MAX_LEVELS);
    const int least = count < 10 ? -2 - exponent : -3 - exponent; // one step is `count` in the last of these digits
    map->step_digits = least > 0 ? least : 0;
}

static void write_percent(double share, int digits, bm_string *out)
{
    (void)bm_string_append_format(out, "%.*f", digits, 100 * share);
}

// The colours in use spread from the first to the last.
static uint32_t colour_of(const heat_map *map, uint32_t level)
{
    return map->num_levels > 1 ? level * (MAX_LEVELS - 1) / (map->num_levels - 1) : 0;
}

static void write_legend(const heat_map *map, bm_string *out)
{
    (void)bm_string_append(out, "<p class=\"legend\"><span>share up to, in per cent:</span>");
    for (uint32_t level = 0; level < map->num_levels; level++) {
        (void)bm_string_append_format(out, "<span class=\"heat%u\">", colour_of(map, level));
        write_percent((level + 1) * map->step, map->step_digits, out);
        (void)bm_string_append(out, "</span>");
    }
    (void)bm_string_append(out, map->has_gaps ? "<span>&ndash; none quantized</span></p>\n" : "</p>\n");
}

// What kinds have in common, up to their last dot, spans their columns; below it stands what tells them apart.
static size_t prefix_length(const char *kind)
{
    const char *dot = strrchr(kind, '.');
    return dot ? (size_t)(dot - kind) : 0;
}

static void write_head(const heat_map *map, bm_string *out)
{
    (void)bm_string_append(out, "<thead><tr><th rowspan=\"2\">block</th>");
    for (uint32_t k = 0, end = 0; k < map->num_kinds; k = end) {
        const size_t length = prefix_length(map->kinds[k]);
        for (end = k + 1; end < map->num_kinds; end++)
            if (prefix_length(map->kinds[end]) != length || strncmp(map->kinds[end], map->kinds[k], length) != 0)
                break;
        (void)bm_string_append_format(out, "<th colspan=\"%u\"%s>", end - k, length > 0 ? " class=\"over\"" : "");
        html_name(out, map->kinds[k], length);
        (void)bm_string_append(out, "</th>");
    }
    (void)bm_string_append(out, "<th rowspan=\"2\">all</th></tr>\n<tr>");
    for (uint32_t k = 0; k < map->num_kinds; k++) {
        const size_t length = prefix_length(map->kinds[k]);
        const char *last = map->kinds[k] + length + (length > 0);
        (void)bm_string_append(out, "<th scope=\"col\">");
        html_name(out, last, strlen(last));
        (void)bm_string_append(out, "</th>");
    }
    (void)bm_string_append(out, "</tr></thead>\n");
}

static void write_cell(const heat_map *map, double share, bm_string *out)
{
    if (isnan(share)) {
        (void)bm_string_append(out, "<td>&ndash;</td>");
        return;
    }
    // By the number that is shown, so that equal numbers have one colour.
    const double unit = pow(10, -2 - map->digits), shown = round(share / unit) * unit;
    const double level = ceil(shown / map->step - 1e-9) - 1;
    (void)bm_string_append_format(out, "<td class=\"heat%u\">",
                                  colour_of(map, (uint32_t)fmin(fmax(level, 0), map->num_levels - 1)));
    write_percent(share, map->digits, out);
    (void)bm_string_append(out, "</td>");
}

static void write_sum(const heat_map *map, double sum, bm_string *out)
{
    (void)bm_string_append(out, "<td class=\"sum\">");
    write_percent(sum, map->digits, out);
    (void)bm_string_append(out, "</td>");
}

static void write_rows(const heat_map *map, bm_string *out)
{
    double columns[MAX_KINDS] = {0}, all = 0;
    for (uint32_t b = 0; b < map->num_blocks; b++) {
        double sum = 0;
        if (map->blocks[b] == REPORT_NO_BLOCK)
            (void)bm_string_append(out, "<tr><th scope=\"row\">none</th>");
        else
            (void)bm_string_append_format(out, "<tr><th scope=\"row\">%u</th>", map->blocks[b]);
        for (uint32_t k = 0; k < map->num_kinds; k++) {
            const double share = map->shares[(uint64_t)b * map->num_kinds + k];
            write_cell(map, share, out);
            columns[k] += isnan(share) ? 0 : share;
            sum += isnan(share) ? 0 : share;
        }
        write_sum(map, sum, out);
        (void)bm_string_append(out, "</tr>\n");
        all += sum;
    }
    (void)bm_string_append(out, "<tr><th scope=\"row\">all</th>");
    for (uint32_t k = 0; k < map->num_kinds; k++)
        write_sum(map, columns[k], out);
    write_sum(map, all, out);
    (void)bm_string_append(out, "</tr>\n");
}

static void write_map(const heat_map *map, const char *error, bm_string *out)
{
    (void)bm_string_append_format(out, "<h3>Share of the %s in per cent, a row a block</h3>\n", error);
    write_legend(map, out);
    // Below that width the map scrolls sideways and the page does not.
    (void)bm_string_append_format(out, "<div class=\"wide\"><table class=\"map\" style=\"min-width:%uem\">\n",
                                  3 * (map->num_kinds + 2));
    write_head(map, out);
    write_rows(map, out);
    (void)bm_string_append(out, "</table></div>\n");
    if (map->num_hidden > 0)
        (void)bm_string_append_format(out, "<p class=\"soft\">%u linears of more kinds are in the table alone.</p>\n",
                                      map->num_hidden);
}

void report_heat_map_write(const report_linears *linears, bm_string *out)
{
    heat_map map = {.digits = linears->percent_digits};
    if (find_rows_and_columns(linears, &map) && fill(linears, &map)) {
        choose_levels(&map);
        write_map(&map, linears->error, out);
    } else {
        out->failed = true;
    }
    bm_free(map.blocks);
    bm_free(map.shares);
}
