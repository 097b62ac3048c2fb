// own_folder: setup and teardown of tests that have a folder each.
#ifndef BM_TESTS_OWN_FOLDER_H
#define BM_TESTS_OWN_FOLDER_H

extern char *folder; // of the running test

int make_folder(void **state);
int remove_folder(void **state);

#endif
