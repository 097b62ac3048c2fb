// Companions: which files go along with the weights, and which are named for it.
#include "support/unit.h"

#include "base/str.h"
#include "schedule/companions.h"
#include "support/folders.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char *parent;

static int make_folder(void **state)
{
    (void)state;
    parent = support_folder_create();
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    support_folder_remove(&parent);
    return 0;
}

// A folder below parent; bm_free the path.
static char *folder(const char *name)
{
    bm_error err = {0};
    char *path = bm_path_join(parent, name);
    assert_ok(bm_folder_create(path, true, &err), &err);
    return path;
}

static void put(const char *where, const char *name)
{
    bm_free(support_file_write(where, name, name, strlen(name)));
}

static void link_to(const char *target, const char *where, const char *name)
{
    char *path = bm_path_join(where, name);
    assert_int_equal(symlink(target, path), 0);
    bm_free(path);
}

// Chooses of a model and a tokenizer folder (NULL: the same). The notes are added to *notes.
static bm_status choose(char *model_folder, char *tokenizer, bm_plan *plan, bm_string *notes, bm_error *err)
{
    const bm_model model = {.folder = model_folder};
    *plan = (bm_plan){0};
    const bm_status status = bm_companions_choose(plan, tokenizer ? tokenizer : model_folder, &model, err);
    for (uint32_t i = 0; i < plan->notes.count; i++)
        (void)bm_string_append(notes, plan->notes.items[i].text);
    bm_notes_free(&plan->notes);
    return status;
}

static int count_step(void *user, const bm_progress_report *report)
{
    (void)report;
    return (int)++*(uint32_t *)user;
}

static void those_of_the_tokenizer_come_from_its_folder(void **state)
{
    (void)state;
    bm_error err = {0};
    bm_plan plan;
    bm_string notes = BM_STRING_INIT;
    uint32_t steps = 0;
    char *model = folder("model"), *tokenizer = folder("tokenizer"), *out = folder("out");
    put(model, "generation_config.json");
    put(model, "tokenizer.json");
    put(model, "README.md");
    put(tokenizer, "tokenizer.model");
    put(tokenizer, "generation_config.json");
    bm_free(folder("tokenizer/vocab.json"));
    assert_ok(choose(model, tokenizer, &plan, &notes, &err), &err);
    assert_int_equal(plan.companion_bytes, strlen("generation_config.json") + strlen("tokenizer.model"));
    const bm_model opened = {.folder = model};
    const bm_progress progress = {count_step, &steps};
    bm_phase phase = {.progress = &progress};
    const bm_emit_context emit = {.model = &opened, .plan = &plan, .phase = &phase};
    assert_ok(bm_companions_copy(&emit, tokenizer, out, &err), &err);
    assert_int_equal(steps, 2);
    assert_true(support_folder_count(out) == 2 && support_folder_has(out, "generation_config.json") &&
                support_folder_has(out, "tokenizer.model"));
    assert_string_equal(bm_string_text(&notes), "");
    bm_free(model);
    bm_free(tokenizer);
    bm_free(out);
}

static void links_out_of_the_folder_are_named(void **state)
{
    (void)state;
    bm_error err = {0};
    bm_plan plan;
    bm_string notes = BM_STRING_INIT;
    uint32_t steps = 0;
    char *model = folder("model"), *out = folder("out");
    put(parent, "secret");
    put(model, "inside");
    link_to("inside", model, "vocab.json");
    link_to("../secret", model, "tokenizer.json");
    link_to("../secret", model, "merges.txt");
    assert_ok(choose(model, NULL, &plan, &notes, &err), &err);
    assert_string_equal(bm_string_text(&notes),
                        "links out of the model's folder, whose content is copied: tokenizer.json, merges.txt");
    const bm_model opened = {.folder = model};
    const bm_progress progress = {count_step, &steps};
    bm_phase phase = {.progress = &progress};
    const bm_emit_context emit = {.model = &opened, .plan = &plan, .phase = &phase};
    assert_ok(bm_companions_copy(&emit, model, out, &err), &err);
    char *copy = bm_path_join(out, "tokenizer.json");
    assert_true(support_folder_count(out) == 3 && bm_path_kind_of(copy) == BM_PATH_FILE && !bm_path_is_link(copy));
    bm_string_free(&notes);
    bm_free(copy);
    bm_free(model);
    bm_free(out);
}

// CACHE/snapshots/REVISION/NAME -> ../../blobs/HASH, also through a link to the snapshot. Other blobs are not its own.
static void the_cache_of_hugging_face_is_the_usual_thing(void **state)
{
    (void)state;
    bm_error err = {0};
    bm_plan plan;
    bm_string notes = BM_STRING_INIT;
    char *snapshot = folder("snapshots/models--a--b/snapshots/1234"), *blobs = folder("snapshots/models--a--b/blobs");
    char *others = folder("snapshots/models--c--d/blobs"), *way = bm_path_join(parent, "way");
    put(blobs, "81c4");
    put(others, "77aa");
    link_to("../../blobs/81c4", snapshot, "tokenizer.json");
    link_to("snapshots/models--a--b/snapshots/1234", parent, "way");
    assert_ok(choose(snapshot, NULL, &plan, &notes, &err), &err);
    assert_ok(choose(way, NULL, &plan, &notes, &err), &err);
    assert_true(plan.companions != 0);
    assert_string_equal(bm_string_text(&notes), "");
    link_to("../../../models--c--d/blobs/77aa", snapshot, "vocab.json");
    assert_ok(choose(snapshot, NULL, &plan, &notes, &err), &err);
    assert_non_null(strstr(bm_string_text(&notes), ": vocab.json"));
    bm_string_free(&notes);
    bm_free(snapshot);
    bm_free(blobs);
    bm_free(others);
    bm_free(way);
}

static void what_cannot_go_along_is_refused(void **state)
{
    (void)state;
    static const char pointer[] = "version https://git-lfs.github.com/spec/v1\noid sha256:81c4\nsize 9085657\n";
    bm_error err = {0};
    bm_plan plan;
    bm_string notes = BM_STRING_INIT;
    char *model = folder("model"), *large = support_file_write(model, "vocab.json", "", 0);
    assert_int_equal(truncate(large, (off_t)BM_MAX_COMPANION_BYTES), 0);
    assert_ok(choose(model, NULL, &plan, &notes, &err), &err);
    assert_int_equal(truncate(large, (off_t)BM_MAX_COMPANION_BYTES + 1), 0);
    assert_int_equal(choose(model, NULL, &plan, &notes, &err), BM_E_FORMAT);
    assert_non_null(strstr(err.message, "vocab.json: 268435457 bytes, expected at most 268435456"));
    assert_int_equal(unlink(large), 0);
    bm_free(support_file_write(model, "tokenizer.model", pointer, sizeof pointer - 1));
    assert_int_equal(choose(model, NULL, &plan, &notes, &err), BM_E_FORMAT);
    assert_non_null(strstr(err.message, "tokenizer.model: is a Git LFS pointer"));
    bm_free(large);
    bm_free(model);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(those_of_the_tokenizer_come_from_its_folder),
        WITH_FOLDER(links_out_of_the_folder_are_named),
        WITH_FOLDER(the_cache_of_hugging_face_is_the_usual_thing),
        WITH_FOLDER(what_cannot_go_along_is_refused),
    };
    return cmocka_run_group_tests_name("companions", tests, NULL, NULL);
}
