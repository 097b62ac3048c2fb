// What became of the inputs of linears: the order by layer-wise errors, warnings, charts.
#include "report_fixture.h"

static void contains(const char *page, const char *text)
{
    if (!strstr(page, text))
        fail_msg("the page lacks: %s", text);
}

#define ERROR(WEIGHTS, INPUTS, BOTH, SQNR, SATURATED)                                                                  \
    "\"layer_error\":{\"weights\":{\"nmse\":" WEIGHTS "},\"inputs\":{\"nmse\":" INPUTS "},\"both\":{\"nmse\":" BOTH    \
    ",\"sqnr_db\":" SQNR ",\"saturated_share\":" SATURATED "}}"
#define ITSELF "\"output_error\":1,\"squared_error\":9"

static const char three_linears[] =
    "{\"linears\":["
    "{\"name\":\"m.0.q\"," ITSELF
    "," ERROR("1e-4", "2e-4", "4e-4", "34",
              "1e-4") "},"
                      "{\"name\":\"m.0.<b>\"," ITSELF
                      "," ERROR("0", "8e-3", "8e-3", "21", "0.025") "},"
                                                                    "{\"name\":\"m.1.q\"," ITSELF "," ERROR(
                                                                        "1e-4", "3e-4", "16e-4", "28", "0.002") "}]}";

static void the_order_is_by_the_error_of_both(void **state)
{
    (void)state;
    char *page = page_of(three_linears);
    check_nesting(page);
    contains(page, "Half of the relative output error lies in 1 of 3 linears.");
    contains(page, "<h3>The worst</h3>\n<ol>\n<li><b>m.<wbr>0.<wbr>&#60;b&#62;</b> has 80.0&nbsp;% of the relative");
    contains(page, "<pre>&#34;skip_list_names&#34;: [&#34;m.0.&#60;b&#62;&#34;]</pre>"); // the others do not stand out
    contains(page, "<th class=\"n\">quantized weights alone</th><th class=\"n\">inputs alone</th><th class=\"n\">both"
                   "</th><th class=\"n\">SQNR, dB</th><th class=\"n\">inputs saturated, %</th></tr></thead>\n"
                   "<tr><td class=\"n soft\">1</td><td class=\"name\">m.<wbr>0.<wbr>&#60;b&#62;</td><td class=\"n\">"
                   "0.00e+00</td><td class=\"n\">8.00e-03</td><td class=\"n\">8.00e-03</td><td class=\"n\">21.0</td>"
                   "<td class=\"n\">2.5000</td></tr>\n"
                   "<tr><td class=\"n soft\">2</td><td class=\"name\">m.<wbr>1.<wbr>q</td>");
    bm_free(page);
}

// Where inputs stay float there are no columns of what quantizing them does.
static void float_inputs_have_no_columns(void **state)
{
    (void)state;
    char *page =
        page_of("{\"linears\":[{\"name\":\"a\",\"layer_error\":{\"weights\":{\"nmse\":4e-3},\"both\":{\"nmse\":4e-3,"
                "\"sqnr_db\":24}}}]}");
    check_nesting(page);
    contains(page, "<h3>Relative error of outputs</h3>");
    contains(page, "<th class=\"n\">relative error</th><th class=\"n\">SQNR, dB</th></tr></thead>\n"
                   "<tr><td class=\"n soft\">1</td><td class=\"name\">a</td><td class=\"n\">4.00e-03</td><td "
                   "class=\"n\">24.0</td></tr>");
    assert_null(strstr(page, "saturated"));
    bm_free(page);
}

static void equal_errors_have_no_worst(void **state)
{
    (void)state;
    char *page = page_of("{\"linears\":[{\"name\":\"a\"," ERROR("0", "0", "4e-3", "24", "0") "},{\"name\":\"b\"," ERROR(
        "0", "0", "2e-3", "27", "0") "},{\"name\":\"c\"," ERROR("0", "0", "1e-3", "30", "0") "}]}");
    contains(page,
             "<p>No linear stands out: the largest relative output error is 2.0 times the one in the middle.</p>");
    assert_null(strstr(page, "skip_list_names"));
    bm_free(page);
}

// Ten for all to see, of more all of them folded.
static void a_long_table_is_folded(void **state)
{
    (void)state;
    bm_string record = BM_STRING_INIT;
    bm_string_append(&record, "{\"linears\":[");
    for (int i = 0; i < 11; i++)
        bm_string_append_format(&record, "%s{\"name\":\"l%d\",\"layer_error\":{\"inputs\":{},\"both\":{\"nmse\":%d}}}",
                                i ? "," : "", i, i + 1);
    bm_string_append(&record, "]}");
    char *page = page_of(bm_string_text(&record));
    check_nesting(page);
    const char *open = strstr(page, "<h3>Where it comes from"),
               *folded = strstr(page, "<summary>Relative error of every");
    assert_non_null(open);
    assert_non_null(folded);
    assert_true(strstr(open, ">l10<") < folded && strstr(open, ">l0<") > folded);
    assert_null(strstr(page, "inputs alone")); // no linear has it
    bm_free(page);
    bm_string_free(&record);
}

#define SEARCH                                                                                                         \
    "\"search\":{\"identity_loss\":10,\"loss\":2.5,\"most_pieces\":3,\"pieces\":2,\"moves\":["                         \
    "{\"pieces\":0,\"round\":0,\"piece\":0,\"candidate\":{\"kind\":\"alpha\",\"value\":0.5},\"loss\":8},"              \
    "{\"pieces\":2,\"round\":0,\"piece\":0,\"candidate\":{\"kind\":\"factor\",\"value\":2},\"loss\":5},"               \
    "{\"pieces\":2,\"round\":0,\"piece\":1,\"candidate\":{\"kind\":\"rescaled_alpha\",\"value\":0.25},\"loss\":2.5},"  \
    "{\"pieces\":2,\"round\":1,\"piece\":1,\"candidate\":null,\"loss\":2.5}],\"curves\":["                             \
    "{\"pieces\":2,\"piece\":1,\"alpha\":{\"value\":[0.25,0.5,0.75],\"loss\":[2.5,40,20]},"                            \
    "\"constant\":{\"value\":[1,4],\"loss\":[10,null]}}]}"
#define STAGE(BLOCK)                                                                                                   \
    "{\"block\":" BLOCK                                                                                                \
    ",\"stage\":\"gate_up\",\"channels\":4,\"shift\":{\"applied\":true},\"scales\":{\"least\":0.5,"                    \
    "\"largest\":4,\"limited_channels\":1}," SEARCH ",\"amax\":{\"before\":8,\"after\":2},"                            \
    "\"input\":{\"kind\":\"static\",\"step\":0.0157},\"ranges\":{"                                                     \
    "\"before\":{\"low\":[-1,-1,0],\"high\":[1,1,10]},\"after\":{\"low\":[-1,-1,-1],\"high\":[1,1,1]}}}"

static void a_stage_is_told_in_words(void **state)
{
    (void)state;
    char *page = page_of("{\"stages\":[" STAGE("0") "]}");
    check_nesting(page);
    contains(page, "<h2>Inputs of the linears</h2>");
    // amax 8 over the mean of 1, 1, 10; 2 over that of 1, 1, 1; a quarter of the loss.
    contains(page, "<tr><td>gate, up</td><td class=\"n\">1</td><td class=\"n\">1</td><td class=\"n\">2</td>"
                   "<td class=\"n\">2</td><td class=\"n\">25</td><td class=\"n\">2</td></tr>");
    contains(page, "<details open><summary>block 0</summary>");
    contains(page, "<figcaption>inputs of <b>gate, up</b>, 4 channels</figcaption>\n"
                   "<p class=\"soft\">amax 8, then 2; step 0.0157; shifted; scales 0.5 to 4, 1 of them limited by the "
                   "type of weights; loss left 25 % with 2 pieces of up to 3</p>");
    contains(page, "<li><i class=\"key\" style=\"background:hsl(0,0%,55%)\"></i>all channels: alpha 0.5</li>\n"
                   "<li><i class=\"key\" style=\"background:hsl(210,45%,55%)\"></i>piece 1: times 2</li>\n"
                   "<li><i class=\"key\" style=\"background:hsl(277,45%,55%)\"></i>piece 2: alpha 0.25 at the same "
                   "mean, then kept</li>\n");
    assert_null(strstr(page, "block by block</h3>\n<p class=\"sides\">")); // one block is no curve
    assert_null(strstr(page, "<script"));
    bm_free(page);
}

#define SEARCHED(MEMBERS)                                                                                              \
    "{\"block\":0,\"stage\":\"o\",\"search\":{\"identity_loss\":10,\"most_pieces\":3," MEMBERS "}}"
#define NUMBERS(LAST)                                                                                                  \
    ",\"loss_by_pieces\":[{\"pieces\":0,\"loss\":10},{\"pieces\":1,\"loss\":6},{\"pieces\":" LAST ",\"loss\":5}]"

// How many pieces a search chose, and why not more.
static void the_choice_of_pieces_has_a_reason(void **state)
{
    (void)state;
    static const struct {
        const char *stage, *arguments, *words;
    } cases[] = {
        {SEARCHED("\"loss\":6,\"pieces\":0" NUMBERS("3")), "\"search_margin\":0.5",
         "loss left 60 % with one choice for all channels; pieces did not lower it by search_margin (50 %)"},
        {SEARCHED("\"loss\":6,\"pieces\":1" NUMBERS("3")), "\"search_margin\":0.25,\"compat\":\"none\"",
         "loss left 60 % with 1 piece of up to 3; more pieces did not lower it by search_margin (25 %)"},
        {SEARCHED("\"loss\":6,\"pieces\":1" NUMBERS("3")), "\"search_margin\":0.25,\"compat\":\"paddleslim\"",
         "loss left 60 % with 1 piece of up to 3; more pieces did not lower it</p>"},
        {SEARCHED("\"loss\":6,\"pieces\":1" NUMBERS("3")), "\"search_margin\":0",
         "loss left 60 % with 1 piece of up to 3; more pieces did not lower it</p>"},
        {SEARCHED("\"loss\":5,\"pieces\":3" NUMBERS("3")), "\"search_margin\":0.25",
         "loss left 50 % with 3 pieces of up to 3</p>"},
        {SEARCHED("\"loss\":10,\"pieces\":1" NUMBERS("3")), "\"search_margin\":0.25",
         "<p class=\"soft\">no scales: no candidate lost less than without</p>"},
    };
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        char *record = bm_format("{\"arguments\":{%s},\"stages\":[%s]}", cases[i].arguments, cases[i].stage);
        char *page = page_of(record);
        check_nesting(page);
        contains(page, cases[i].words);
        bm_free(page);
        bm_free(record);
    }
}

// On paper heads of tables are repeated, which they are where they may not break, and nothing is folded.
static void paper_shows_all(void **state)
{
    (void)state;
    char *page =
        page_of("{\"before\":{\"loss\":1},\"after\":{\"loss\":2},\"linears\":[{\"name\":\"m.q\",\"squared_error\":9}],"
                "\"stages\":[" STAGE("0") "]}");
    const char *print = strstr(page, "@media print{");
    check_nesting(page);
    assert_non_null(print);
    contains(print, "thead{break-inside:avoid}");
    contains(print, "details::details-content{content-visibility:visible;display:block}");
    contains(page, "<table><thead><tr><th></th><th class=\"n\">before</th><th class=\"n\">after</th></tr></thead>");
    contains(page, "<table>\n<thead><tr><th class=\"n\"></th><th>linear</th>");
    contains(page, "<table>\n<thead><tr><th>inputs of</th>");
    bm_free(page);
}

static void shares_of_the_largest_are_told(void **state)
{
    (void)state;
    char *page =
        page_of("{\"stages\":[{\"block\":0,\"stage\":\"o\",\"amax\":{\"before\":8,\"after\":2,\"share\":0.85}},"
                "{\"block\":1,\"stage\":\"o\",\"amax\":{\"before\":8,\"after\":4,\"share\":1}},"
                "{\"block\":1,\"stage\":\"down\",\"amax\":{\"before\":8,\"after\":4,\"share\":1e308}}]}");
    check_nesting(page);
    contains(page, "<th class=\"n\">after</th><th class=\"n\">amax, % of the largest</th></tr></thead>");
    contains(page, "<td class=\"n\">100 <span class=\"soft sums\">(85 to 100)</span></td></tr>");
    contains(page, "<p class=\"soft\">amax 8, then 2, 85 % of the largest</p>");
    contains(page, "<p class=\"soft\">amax 8, then 4</p>"); // no share is larger than all
    bm_free(page);
    page = page_of("{\"stages\":[" STAGE("0") "]}");
    assert_null(strstr(page, "% of the largest"));
    bm_free(page);
}

static void ranges_are_drawn_to_scale(void **state)
{
    (void)state;
    char *page = page_of("{\"stages\":[" STAGE("0") "]}");
    // 200 steps from 10 to -10: 1 is at 90, 10 at 0, -1 at 110, 0 at 100; there and back.
    contains(page, "viewBox=\"0 0 3 200\" preserveAspectRatio=\"none\"><path class=\"area\" "
                   "d=\"M0 100v-10h2v-90h1v100h-1v10h-2z\"/>");
    // After it amax, 2, is farther than all: half of the height, and no line of saturation. Before it 8 of 10.
    contains(page, "d=\"M0 100v-50h3v100h-3z\"/>");
    assert_int_equal(count_of(page, "<path class=\"limit\" d=\"M48 27L198 27\"/>"), 1);
    assert_int_equal(count_of(page, "class=\"limit\""), 4); // two here, two in the picture of losses
    bm_free(page);
}

static void losses_are_drawn_against_those_without_scales(void **state)
{
    (void)state;
    char *page = page_of("{\"stages\":[" STAGE("0") "]}");
    // From 25 % to 400 %, so by logarithms: 100 % is in the middle, and 200 % at three quarters.
    contains(page, ">loss, of that without scales (log)</text>");
    contains(page, ">400 %</text>");
    contains(page, ">25 %</text>");
    contains(page, "<path class=\"limit\" d=\"M48 64L250 64\"/>");
    contains(page, "<polyline class=\"curve\" points=\"48,110 149,18 250,41\"/>"
                   "<circle class=\"dot\" cx=\"48\" cy=\"110\" r=\"3\"/>");
    contains(page, "<polyline class=\"curve\" points=\"336,64\"/>"); // the other has no loss
    bm_free(page);
}

// AWQ's: one axis of ratios, and two lines over it, of which that of inputs against weights is broken.
static void ratios_have_two_lines(void **state)
{
#define RATIOS(KINDS)                                                                                                  \
    "{\"stages\":[{\"block\":0,\"stage\":\"o\",\"search\":{\"identity_loss\":10,\"loss\":2.5,\"pieces\":0,"            \
    "\"most_pieces\":0,\"loss_by_pieces\":[{\"pieces\":0,\"loss\":2.5}],\"moves\":[{\"pieces\":0,\"round\":0,"         \
    "\"piece\":0,\"candidate\":{\"kind\":\"awq_duo\",\"value\":0.5},\"loss\":2.5}],\"curves\":["                       \
    "{\"pieces\":0,\"piece\":0,\"awq\":{\"value\":[0,0.5,1],\"loss\":[10,20,40]}" KINDS "}]}}]}"
    (void)state;
    char *page = page_of(RATIOS(",\"awq_duo\":{\"value\":[0,0.5],\"loss\":[5,2.5]}"));
    check_nesting(page);
    contains(page, "<p class=\"soft\">loss left 25 % with one choice for all channels</p>");
    contains(page, "</i>all channels: ratio 0.5 of inputs against weights</li>");
    // From 25 % to 400 %, by logarithms; ratios from 0 to 1 over the whole width.
    contains(page, "<polyline class=\"curve\" points=\"48,64 220,41 392,18\"/>");
    contains(page, "<polyline class=\"curve broken\" points=\"48,87 220,110\"/>"
                   "<circle class=\"dot\" cx=\"220\" cy=\"110\" r=\"3\"/>");
    contains(page, ">ratio; broken: against weights</text>");
    contains(page, ".broken{stroke-dasharray:");
    contains(page, "Losses: of each ratio that was tried");
    assert_null(strstr(page, ">pieces</th>"));
    bm_free(page);
    page = page_of(RATIOS("")); // the published candidates
    contains(page, ">ratio of inputs alone</text>");
    assert_null(strstr(page, "class=\"curve broken\""));
    bm_free(page);
}

// Of inputs that stay float nothing is said of 8 bits, nor of a shift that nothing has.
static void float_inputs_have_no_codes(void **state)
{
#define SCALED(KIND)                                                                                                   \
    "{\"linears\":[{\"name\":\"a\",\"layer_error\":{\"weights\":{\"nmse\":4e-3}" KIND ",\"both\":{\"nmse\":4e-3}}}],"  \
    "\"stages\":[{\"block\":0,\"stage\":\"o\",\"scales\":{\"least\":1,\"largest\":2},\"amax\":{\"before\":8,"          \
    "\"after\":2},"                                                                                                    \
    "\"input\":{\"kind\":\"float\"}}"
    (void)state;
    char *page = page_of(SCALED("") "]}");
    check_nesting(page);
    contains(page, "<th>inputs of</th><th class=\"n\">scaled</th><th class=\"n\">outliers before</th>");
    contains(page, "<tr><td>o</td><td class=\"n\">1</td>");
    contains(page, "|X W - X Q(W)|&sup2;");
    contains(page, "Outliers: amax over how far a channel reaches");
    contains(page, "Ranges: each side is as high as what it has to hold; channels");
    assert_null(strstr(page, "8-bit"));
    assert_null(strstr(page, "saturate"));
    assert_null(strstr(page, "shifted"));
    assert_null(strstr(page, "Q(X)"));
    bm_free(page);
    page = page_of(SCALED(",\"inputs\":{}") ",{\"block\":1,\"stage\":\"o\",\"input\":{\"kind\":\"static\"}}]}");
    contains(page, "|X W - Q(X) Q(W)|&sup2;");
    contains(page, "how much of the 8-bit values");
    bm_free(page);
}

// Of five blocks the first alone is open, and there are curves over blocks.
static void many_blocks_are_folded(void **state)
{
    (void)state;
    bm_string record = BM_STRING_INIT;
    bm_string_append(&record, "{\"stages\":[");
    for (int block = 0; block < 5; block++)
        bm_string_append_format(&record, "%s" STAGE("%d"), block ? "," : "", block);
    bm_string_append(&record, "]}");
    char *page = page_of(bm_string_text(&record));
    check_nesting(page);
    assert_int_equal(count_of(page, "<details open><summary>block "), 1);
    assert_int_equal(count_of(page, "<details><summary>block "), 4);
    assert_int_equal(count_of(page, "<svg class=\"chart\""), 11);
    contains(page, "<h3>Outliers, block by block</h3>");
    contains(page, "<polyline class=\"curve before\" points=\"50,18 135.5,18 221,18 306.5,18 392,18 \"/>");
    bm_free(page);
    bm_string_free(&record);
}

static void warnings_are_at_the_top(void **state)
{
    (void)state;
    char *page =
        page_of("{\"linears\":[{\"name\":\"a.<i>\"," ERROR("0", "0", "1", "0", "0.002") "},{\"name\":\"a.b\"," ERROR(
            "0", "0", "1", "0",
            "0.025") "},{\"name\":\"c\"," ERROR("0", "0", "1", "0",
                                                "0.001") "}],\"stages\":["
                                                         "{\"block\":3,\"search\":{\"nothing_"
                                                         "finite\":true}},{\"block\":4,\"search\":"
                                                         "{\"nothing_finite\":true}},{\"block\":5,"
                                                         "\"search\":{\"skipped\":true}},{\"block\":6,\"search\":{"
                                                         "\"one_sided\":true}},{\"block\":7,\"amax\":{\"skipped\":true}"
                                                         "},"
                                                         "{\"block\":8,\"amax\":{\"skipped\":true}}]}");
    char *rest = strstr(page, "<h2>What was done");
    check_nesting(page);
    assert_non_null(rest);
    *rest = 0;
    contains(page, "<ul class=\"warn\">\n"
                   "<li><b>a.<wbr>b</b>: 2.5&nbsp;% of its inputs are beyond the largest 8-bit value; 2 linears have "
                   "more than 0.1&nbsp;% of such.</li>\n"
                   "<li><b>2 searches without a result</b>, the first in block 3: no candidate had a finite loss. "
                   "Scales stay 1 there.</li>\n"
                   "<li><b>1 search without a result</b>, the first in block 5: there were fewer than two tokens. "
                   "Scales stay 1 there.</li>\n"
                   "<li><b>1 search not judged crosswise</b>, the first in block 6: one half of the sequences has no "
                   "tokens. Scales were judged by what they are made of there.</li>\n"
                   "<li><b>2 steps without a search</b>, the first in block 7: there were fewer than two tokens. "
                   "The largest magnitude decides there.</li>\n</ul>");
    bm_free(page);
}

static void strange_stages_leave_their_parts_out(void **state)
{
    (void)state;
    static const char *const stages[] = {
        "3",
        "{}",
        "[]",
        "[1,null,\"x\"]",
        "[{}]",
        "[{\"stage\":\"</b><script>\",\"block\":\"x\",\"ranges\":{\"before\":{\"low\":[1],\"high\":[]}}}]",
        "[{\"stage\":\"o\",\"ranges\":{\"before\":{\"low\":[null],\"high\":[null]},\"after\":7},\"search\":[]}]",
        "[{\"ranges\":{\"before\":{\"low\":[-1e308],\"high\":[1e308]},\"after\":{\"low\":[null],\"high\":[2]}}}]",
        "[{\"amax\":{\"before\":1e308,\"after\":0},\"search\":{\"pieces\":1e300,\"moves\":[{},3]}}]",
        "[{\"search\":{\"curves\":[{},{\"alpha\":{\"value\":[1]}},{\"factor\":{\"value\":[0],\"loss\":[1]}}]}}]",
        "[{\"search\":{\"identity_loss\":null,\"curves\":[{\"factor\":{\"value\":[2],\"loss\":[0]}}]}}]",
    };
    for (size_t i = 0; i < BM_COUNT(stages); i++) {
        char *record = bm_format("{\"stages\":%s}", stages[i]);
        char *page = page_of(record);
        check_nesting(page);
        assert_int_equal(strstr(page, "<h2>Inputs of the linears") != NULL, i > 3);
        assert_null(strstr(page, "<script"));
        assert_null(strstr(page, "nan"));
        assert_null(strstr(page, "inf%"));
        bm_free(page);
        bm_free(record);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_order_is_by_the_error_of_both),
        cmocka_unit_test(float_inputs_have_no_columns),
        cmocka_unit_test(equal_errors_have_no_worst),
        cmocka_unit_test(a_long_table_is_folded),
        cmocka_unit_test(a_stage_is_told_in_words),
        cmocka_unit_test(the_choice_of_pieces_has_a_reason),
        cmocka_unit_test(paper_shows_all),
        cmocka_unit_test(shares_of_the_largest_are_told),
        cmocka_unit_test(ranges_are_drawn_to_scale),
        cmocka_unit_test(losses_are_drawn_against_those_without_scales),
        cmocka_unit_test(ratios_have_two_lines),
        cmocka_unit_test(float_inputs_have_no_codes),
        cmocka_unit_test(many_blocks_are_folded),
        cmocka_unit_test(warnings_are_at_the_top),
        cmocka_unit_test(strange_stages_leave_their_parts_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
