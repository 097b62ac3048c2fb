#include "support/own_folder.h"

#include "support/folders.h"

char *folder;

int make_folder(void **state)
{
    (void)state;
    folder = support_folder_create();
    return 0;
}

int remove_folder(void **state)
{
    (void)state;
    support_folder_remove(&folder);
    return 0;
}
