// Planted defect: writes one byte behind a heap block. AddressSanitizer must stop it.
#include <stdlib.h>

int main(int argc, char **argv)
{
    (void)argv;
    volatile char *block = malloc(16);
    if (!block)
        return 0;
    block[15 + argc] = 1;
    free((void *)block);
    return 0;
}
