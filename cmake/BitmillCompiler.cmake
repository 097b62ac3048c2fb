# Warnings are errors in every preset. Contraction is off because codes are promised to be equal on every device.
add_compile_options(
    -Wall -Wextra -Wpedantic -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith
    -Wcast-qual -Wwrite-strings -Wvla -Wundef -Wformat=2 -Wno-format-nonliteral -Wswitch-enum -ffp-contract=off -fno-math-errno)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
    add_compile_options(-Wno-format-truncation) # words that are cut to a message's size are meant so
endif()
if(NOT WIN32)
    add_compile_definitions(_POSIX_C_SOURCE=200809L _FILE_OFFSET_BITS=64)
else()
    add_compile_definitions(_WIN32_WINNT=0x0A00 __USE_MINGW_ANSI_STDIO=1 WIN32_LEAN_AND_MEAN UNICODE _UNICODE)
endif()
if(BITMILL_SANITIZE)
    add_compile_options(-fsanitize=${BITMILL_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer -g)
    add_link_options(-fsanitize=${BITMILL_SANITIZE})
endif()
