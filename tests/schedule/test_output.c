// Output folders: one run at a time, whole or not there, nothing left behind, debris of broken runs removed.
#include "support/unit.h"

#include "base/str.h"
#include "schedule/output.h"
#include "support/folders.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

// A folder of the test's own and a path "out" in it.
typedef struct place {
    char *parent, *out, *partial;
} place;

static place place_create(void)
{
    place p = {.parent = support_folder_create()};
    p.out = bm_path_join(p.parent, "out");
    p.partial = bm_path_join(p.parent, "out.partial");
    return p;
}

static void place_remove(place *p)
{
    bm_free(p->out);
    bm_free(p->partial);
    support_folder_remove(&p->parent);
}

// A small file; bitmill.json lists the files of a result.
static void put(const char *folder, const char *name)
{
    static const char record[] = "{\"files\": [\"model.safetensors\", \"old\", \"new\", \"bitmill.json\"]}";
    bm_error err = {0};
    const char *text = strcmp(name, "bitmill.json") == 0 ? record : name;
    assert_ok(bm_folder_create(folder, true, &err), &err);
    char *path = bm_path_join(folder, name);
    assert_ok(bm_file_write_all(path, text, strlen(text), &err), &err);
    bm_free(path);
}

// Gathers warnings.
static void gather(void *user, bm_log_level level, const char *message)
{
    (void)level;
    (void)bm_string_append(user, message);
}

static void one_run_at_a_time(void **state)
{
    (void)state;
    bm_error err = {0};
    bm_output a, b;
    place p = place_create();
    assert_ok(bm_output_begin(&a, p.out, false, NULL, &err), &err);
    put(a.partial, "bitmill.json");
    assert_int_equal(bm_output_begin(&b, p.out, true, NULL, &err), BM_E_IO);
    assert_non_null(strstr(err.message, "out.partial: another run is writing it"));
    assert_true(support_folder_has(p.partial, "bitmill.json"));
    assert_ok(bm_output_commit(&a, &err), &err);
    assert_int_equal(support_folder_count(p.parent), 1); // no lock stays
    assert_int_equal(support_folder_count(p.out), 1);
    assert_int_equal(bm_output_begin(&b, p.out, false, NULL, &err), BM_E_ARGUMENT);
    assert_ok(bm_output_begin(&b, p.out, true, NULL, &err), &err);
    bm_output_abort(&b);
    assert_int_equal(support_folder_count(p.parent), 1);
    place_remove(&p);
}

static void parents_that_were_made_go_again(void **state)
{
    (void)state;
    bm_error err = {0};
    bm_output output;
    place p = place_create();
    char *deep = bm_path_join(p.out, "a//b/c/");
    assert_ok(bm_output_begin(&output, deep, false, NULL, &err), &err);
    bm_output_abort(&output);
    assert_int_equal(support_folder_count(p.parent), 0);
    // Not those that were there, nor those that hold something else.
    assert_ok(bm_folder_create(p.out, false, &err), &err);
    assert_ok(bm_output_begin(&output, deep, false, NULL, &err), &err);
    bm_output_abort(&output);
    assert_true(bm_path_kind_of(p.out) == BM_PATH_FOLDER && support_folder_count(p.out) == 0);
    assert_ok(bm_output_begin(&output, deep, false, NULL, &err), &err);
    char *a = bm_path_join(p.out, "a");
    put(a, "letter");
    bm_output_abort(&output);
    assert_int_equal(support_folder_count(a), 1);
    assert_ok(bm_output_begin(&output, deep, false, NULL, &err), &err);
    assert_ok(bm_output_commit(&output, &err), &err);
    assert_int_equal(bm_path_kind_of(deep), BM_PATH_FOLDER);
    bm_free(a);
    bm_free(deep);
    place_remove(&p);
}

static void debris_of_ours_is_removed_and_nothing_else(void **state)
{
    (void)state;
    static const char *const marks[] = {"bitmill.journal", "bitmill.json"};
    bm_error err = {0};
    bm_output output;
    place p = place_create();
    for (size_t i = 0; i < BM_COUNT(marks); i++) {
        put(p.partial, marks[i]);
        put(p.partial, "model.safetensors");
        bm_free(support_file_write(p.parent, "out.partial.lock", "", 0)); // its holder was killed
        assert_ok(bm_output_begin(&output, p.out, false, NULL, &err), &err);
        assert_false(support_folder_has(p.partial, "model.safetensors"));
        bm_output_abort(&output);
        assert_int_equal(support_folder_count(p.parent), 0);
    }
    put(p.partial, "letter");
    assert_int_equal(bm_output_begin(&output, p.out, false, NULL, &err), BM_E_ARGUMENT);
    assert_non_null(strstr(err.message, "not ours"));
    assert_int_equal(support_folder_count(p.parent), 1);
    assert_true(support_folder_has(p.partial, "letter"));
    put(p.parent, "other.partial.lock");
    char *other = bm_path_join(p.parent, "other");
    assert_int_equal(bm_output_begin(&output, other, false, NULL, &err), BM_E_IO);
    char *words = bm_format("output folder \"%s\": %s.partial.lock: is in the way", other, other);
    assert_true(bm_starts_with(err.message, words));
    bm_free(words);
    assert_true(support_folder_has(p.parent, "other.partial.lock") && support_folder_count(p.parent) == 2);
    bm_free(other);
    // A result of that name would pass for debris.
    assert_int_equal(bm_output_check(p.partial, true, &err), BM_E_ARGUMENT);
    place_remove(&p);
}

// What bitmill.json does not list is nobody's to remove: not before the run, and not when it came during the run.
static void strangers_in_a_result_stay(void **state)
{
    (void)state;
    bm_error err = {0};
    bm_output output;
    bm_string words = BM_STRING_INIT;
    const bm_log log = {.level = BM_LOG_WARNING, .write = gather, .user = &words};
    place p = place_create();
    put(p.out, "bitmill.json");
    put(p.out, "letter");
    assert_int_equal(bm_output_check(p.out, true, &err), BM_E_ARGUMENT);
    assert_non_null(strstr(err.message, "holds \"letter\""));
    char *letter = bm_path_join(p.out, "letter");
    assert_ok(bm_folder_remove(letter, &err), &err);
    bm_free(letter);
    assert_ok(bm_output_begin(&output, p.out, true, &log, &err), &err);
    put(output.partial, "bitmill.json");
    put(output.partial, "new");
    put(p.out, "letter");
    assert_ok(bm_output_commit(&output, &err), &err);
    assert_true(support_folder_has(p.out, "new") && support_folder_count(p.out) == 2);
    assert_true(support_folder_has(p.partial, "letter") && support_folder_has(p.partial, "bitmill.json"));
    assert_non_null(strstr(bm_string_text(&words), "out.partial is the replaced result"));
    assert_int_equal(bm_output_begin(&output, p.out, true, &log, &err), BM_E_ARGUMENT); // nor by the next run
    assert_non_null(strstr(err.message, "holds \"letter\""));
    assert_true(support_folder_has(p.partial, "letter"));
    bm_string_free(&words);
    place_remove(&p);
}

// An empty folder is replaced like a result: nothing stays of it, and nothing is said.
static void an_empty_folder_is_replaced(void **state)
{
    (void)state;
    bm_error err = {0};
    bm_output output;
    bm_string words = BM_STRING_INIT;
    const bm_log log = {.level = BM_LOG_WARNING, .write = gather, .user = &words};
    place p = place_create();
    assert_ok(bm_folder_create(p.out, false, &err), &err);
    assert_int_equal(bm_output_begin(&output, p.out, false, &log, &err), BM_E_ARGUMENT);
    assert_ok(bm_output_begin(&output, p.out, true, &log, &err), &err);
    put(output.partial, "new");
    assert_ok(bm_output_commit(&output, &err), &err);
    assert_true(support_folder_has(p.out, "new") && support_folder_count(p.out) == 1);
    assert_int_equal(support_folder_count(p.parent), 1);
    assert_string_equal(bm_string_text(&words), "");
    place_remove(&p);
}

// What took hours to make is not removed because something came into its place, or went from there, meanwhile.
static void a_whole_result_is_never_removed(void **state)
{
    (void)state;
    bm_error err = {0};
    bm_output output;
    place p = place_create();
    char *kept = bm_path_join(p.parent, "out.kept");
    assert_ok(bm_output_begin(&output, p.out, false, NULL, &err), &err);
    put(output.partial, "bitmill.json");
    put(p.out, "letter");
    assert_int_equal(bm_output_commit(&output, &err), BM_E_IO);
    assert_non_null(strstr(err.message, "the result is whole and lies in "));
    assert_non_null(strstr(err.message, "out.kept: rename it"));
    assert_true(support_folder_has(kept, "bitmill.json") && support_folder_count(kept) == 1);
    assert_true(support_folder_has(p.out, "letter") && support_folder_count(p.parent) == 2);
    place_remove(&p);
    bm_free(kept);

    p = place_create();
    put(p.out, "bitmill.json");
    assert_ok(bm_output_begin(&output, p.out, true, NULL, &err), &err);
    put(output.partial, "new");
    assert_ok(bm_folder_remove(p.out, &err), &err);
    assert_ok(bm_output_commit(&output, &err), &err);
    assert_true(support_folder_has(p.out, "new") && support_folder_count(p.parent) == 1);
    place_remove(&p);
}

// Neither lies within the other, however their paths are written.
static void output_and_model_lie_apart(void **state)
{
    (void)state;
    bm_error err = {0};
    place p = place_create();
    put(p.out, "config.json");
    char *link = bm_path_join(p.parent, "link"), *sub = bm_path_join(p.out, "a/b"), *through = bm_path_join(link, "c");
    char *dots = bm_path_join(p.out, "../out//d"), *beside = bm_format("%s2", p.out),
         *above = bm_path_join(p.out, "..");
    assert_int_equal(symlink("out", link), 0);
    const char *const models[] = {p.out, link};
    for (size_t m = 0; m < BM_COUNT(models); m++) {
        const char *const inside[] = {sub, through, dots, p.out, link};
        for (size_t i = 0; i < BM_COUNT(inside); i++)
            assert_int_equal(bm_output_check_apart(inside[i], models[m], &err), BM_E_ARGUMENT);
        assert_ok(bm_output_check_apart(beside, models[m], &err), &err);
        assert_int_equal(bm_output_check_apart(above, models[m], &err), BM_E_ARGUMENT);
        assert_non_null(strstr(err.message, "is inside it"));
    }
    put(p.partial, "model.gguf"); // what the folder of an unfinished output holds is removed when a run begins
    char *file = bm_path_join(p.partial, "model.gguf");
    const char *const sources[] = {p.partial, file};
    for (size_t i = 0; i < BM_COUNT(sources); i++) {
        assert_int_equal(bm_output_check_apart(p.out, sources[i], &err), BM_E_ARGUMENT);
        assert_non_null(strstr(err.message, "which is read"));
        assert_int_equal(bm_output_check_apart(link, sources[i], &err), BM_E_ARGUMENT);
        assert_ok(bm_output_check_apart(beside, sources[i], &err), &err);
    }
    bm_free(file);
    bm_free(link);
    bm_free(sub);
    bm_free(through);
    bm_free(dots);
    bm_free(beside);
    bm_free(above);
    place_remove(&p);
}

static void parents_that_are_files_are_named(void **state)
{
    (void)state;
    bm_error err = {0};
    place p = place_create();
    put(p.parent, "out");
    char *below = bm_path_join(p.out, "a/b");
    assert_int_equal(bm_output_check(below, false, &err), BM_E_ARGUMENT);
    char *words = bm_format("%s is no folder", p.out);
    assert_non_null(strstr(err.message, words));
    bm_free(words);
    bm_free(below);
    place_remove(&p);
}

// The folder that a link leads to is replaced; the link stays.
static void a_link_stands_for_its_folder(void **state)
{
    (void)state;
    bm_error err = {0};
    bm_output output;
    place p = place_create();
    char *link = bm_path_join(p.parent, "link"), *slash = bm_path_join(link, "");
    put(p.out, "bitmill.json");
    put(p.out, "old");
    assert_int_equal(symlink("out", link), 0);
    assert_int_equal(bm_output_check(link, false, &err), BM_E_ARGUMENT);
    for (int i = 0; i < 2; i++) {
        assert_ok(bm_output_begin(&output, i == 0 ? link : slash, true, NULL, &err), &err);
        assert_true(support_folder_has(p.partial, "bitmill.journal"));
        put(output.partial, "bitmill.json");
        put(output.partial, "new");
        assert_ok(bm_output_commit(&output, &err), &err);
        assert_true(bm_path_is_link(link) && bm_path_is_real_folder(p.out));
        assert_true(support_folder_has(p.out, "new") && support_folder_count(p.out) == 2 &&
                    support_folder_count(p.parent) == 2);
    }
    assert_ok(bm_folder_remove(p.out, &err), &err);
    assert_int_equal(bm_output_check(slash, true, &err), BM_E_ARGUMENT);
    assert_non_null(strstr(err.message, "link/: is a link that leads nowhere"));
    put(p.partial, "bitmill.json");
    assert_ok(bm_folder_remove(link, &err), &err);
    assert_int_equal(symlink("out.partial", link), 0);
    assert_int_equal(bm_output_check(link, true, &err), BM_E_ARGUMENT);
    assert_non_null(strstr(err.message, "unfinished"));
    bm_free(slash);
    bm_free(link);
    place_remove(&p);
}

// A link that took the folder's place during the run: the link goes, what it leads to does not.
static void a_link_that_came_later_is_not_followed(void **state)
{
    (void)state;
    bm_error err = {0};
    bm_output output;
    bm_string words = BM_STRING_INIT;
    const bm_log log = {.level = BM_LOG_WARNING, .write = gather, .user = &words};
    place p = place_create();
    char *other = bm_path_join(p.parent, "other");
    put(p.out, "bitmill.json");
    put(other, "precious");
    assert_ok(bm_output_begin(&output, p.out, true, &log, &err), &err);
    put(output.partial, "new");
    assert_ok(bm_folder_remove(p.out, &err), &err);
    assert_int_equal(symlink("other", p.out), 0);
    assert_ok(bm_output_commit(&output, &err), &err);
    assert_true(support_folder_has(p.out, "new") && bm_path_is_real_folder(p.out));
    assert_true(support_folder_has(other, "precious") && support_folder_count(other) == 1);
    assert_non_null(strstr(bm_string_text(&words), "out.partial: is a link"));
    bm_string_free(&words);
    bm_free(other);
    place_remove(&p);
}

static void a_file_is_no_output_however_it_is_written(void **state)
{
    (void)state;
    bm_error err = {0};
    place p = place_create();
    put(p.parent, "out");
    char *slash = bm_format("%s//", p.out);
    assert_int_equal(bm_output_check(p.out, true, &err), BM_E_ARGUMENT);
    assert_int_equal(bm_output_check(slash, true, &err), BM_E_ARGUMENT);
    assert_non_null(strstr(err.message, "exists and is no folder"));
    char *link = bm_path_join(p.parent, "link"), *linked = bm_path_join(link, "");
    assert_int_equal(symlink("out", link), 0);
    assert_int_equal(bm_output_check(linked, true, &err), BM_E_ARGUMENT);
    assert_non_null(strstr(err.message, "exists and is no folder"));
    bm_free(linked);
    bm_free(link);
    bm_free(slash);
    place_remove(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_run_at_a_time),
        cmocka_unit_test(parents_that_were_made_go_again),
        cmocka_unit_test(debris_of_ours_is_removed_and_nothing_else),
        cmocka_unit_test(strangers_in_a_result_stay),
        cmocka_unit_test(an_empty_folder_is_replaced),
        cmocka_unit_test(a_whole_result_is_never_removed),
        cmocka_unit_test(output_and_model_lie_apart),
        cmocka_unit_test(parents_that_are_files_are_named),
        cmocka_unit_test(a_link_stands_for_its_folder),
        cmocka_unit_test(a_link_that_came_later_is_not_followed),
        cmocka_unit_test(a_file_is_no_output_however_it_is_written),
    };
    return cmocka_run_group_tests_name("output", tests, NULL, NULL);
}
