// Planted defect: a signed sum that overflows. UndefinedBehaviorSanitizer must stop it.
#include <limits.h>

int main(int argc, char **argv)
{
    (void)argv;
    volatile int most = INT_MAX;
    most = most + argc;
    return 0;
}
